//! What the random runs leave out: memory, streams that acknowledge nothing, and what settings deny.

use crate::world::{World, plain, refusal};
use stele_model::id::{NamespaceId, Position};
use stele_model::stream::echo::{Echo, UNDERWAY_BYTES_MAX};
use stele_model::stream::records::{
    PurgeOf, RecordRefusal, RecordSettings, RecordsAsk, ShardRecordsAnswer, StateOf, Storage, SubjectsOf,
};
use stele_model::subject::Pattern;
use stele_model::subject::renaming::{Piece, Renaming};

#[test]
fn a_stream_in_memory_logs_nothing_and_is_empty_after_a_restart() {
    let mut world = World::of(RecordSettings { storage: Storage::Memory, ..plain() });
    let entries = world.entries();
    assert_eq!(world.publish_plain(&["a", "b", "a"]), [(40, false), (41, false), (42, false)]);
    assert!(matches!(world.ask(RecordsAsk::Delete(Position(41))), Ok(Ok(ShardRecordsAnswer::Removed(1)))));
    assert_eq!(world.entries(), entries, "nothing is logged");
    assert_eq!(world.state().records, 2);
    world.restart();
    let state = world.state();
    assert_eq!((state.records, state.first, state.end), (0, Position(40), Position(40)));
    assert_eq!(world.publish_plain(&["a"]), [(40, false)]);
}

#[test]
fn a_stream_that_acknowledges_nothing_tells_of_no_record() {
    let mut world = World::of(RecordSettings { no_ack: true, ..plain() });
    assert_eq!(world.publish_plain(&["a"]), []);
    assert_eq!(world.state().records, 1);
}

#[test]
fn what_the_settings_deny_is_refused() {
    let delete = || RecordsAsk::Delete(Position(40));
    let purge = || RecordsAsk::Purge(PurgeOf::default());
    let mut world = World::of(RecordSettings { deny_delete: true, deny_purge: true, ..plain() });
    world.publish_plain(&["a"]);
    assert_eq!(world.ask(delete()), Ok(Err(refusal(RecordRefusal::NoDelete))));
    assert_eq!(world.ask(purge()), Ok(Err(refusal(RecordRefusal::NoPurge))));
    let mut world = World::of(RecordSettings { sealed: true, ..plain() });
    assert_eq!(world.publish_plain(&["a"]), []);
    assert_eq!(world.ask(delete()), Ok(Err(refusal(RecordRefusal::Sealed))));
    assert_eq!(world.state().records, 0);
}

fn telling(to: Vec<Piece>) -> RecordSettings {
    let to = Renaming { from: Pattern::everything(), to };
    RecordSettings { echo: Some(Echo { to, head_only: false }), per_subject_max: Some(1), ..plain() }
}

#[test]
fn who_listens_is_told_of_each_record_and_of_the_one_before_it() {
    let mut world = World::of(telling(vec![Piece::Rest]));
    world.listen(1, Some(NamespaceId(1)));
    world.listen(2, Some(NamespaceId(9)));
    world.publish_plain(&["a", "b", "a"]);
    // Those before are pushed out by then: only one of a subject stays.
    assert_eq!(world.echoed(), [(1, 40, None), (1, 41, None), (1, 42, Some(40))]);
    world.publish_plain(&["b"]);
    assert_eq!(world.echoed(), [(1, 43, Some(41))]);
    world.restart();
    world.publish_plain(&["b"]);
    assert_eq!(world.echoed(), [], "who listens says so again after a restart");
}

#[test]
fn who_is_far_behind_is_told_of_nothing_until_it_has_caught_up() {
    let mut world = World::of(telling(vec![Piece::Rest]));
    world.listen(1, Some(NamespaceId(1)));
    let one = world.publish_sized("a", 1 << 10);
    let most = usize::try_from(UNDERWAY_BYTES_MAX / u64::from(one)).unwrap();
    for _ in 1..most {
        world.publish_sized("a", 1 << 10);
        assert_eq!(world.echoed().len(), 1);
    }
    world.publish_sized("a", 1 << 10);
    assert_eq!(world.echoed(), []);
    world.taken(1, u64::from(one));
    world.publish_sized("a", 1 << 10);
    assert_eq!(world.echoed().len(), 1);
    world.listen(1, None);
    world.publish_plain(&["a"]);
    assert_eq!(world.echoed(), []);
}

#[test]
fn records_are_stored_under_the_subjects_that_their_stream_gives_them() {
    let from = Pattern::new("a.*").unwrap();
    let to = vec![Piece::Text("z".into()), Piece::Word(1)];
    let settings = || RecordSettings {
        rename: Some(Renaming { from: from.clone(), to: to.clone() }),
        per_subject_max: Some(1),
        ..plain()
    };
    let mut world = World::of(settings());
    // Also in front of, between, and behind what is not renamed.
    assert_eq!(
        world.publish_plain(&["a.b", "b", "a.c", "a.b"]),
        [(40, false), (41, false), (42, false), (43, false)]
    );
    let lasts = |world: &mut World| {
        let state = RecordsAsk::State(StateOf { subjects: Some(all_subjects()), holes_max: None });
        match world.ask(state) {
            Ok(Ok(ShardRecordsAnswer::State(state))) => state.counted.clone(),
            other => panic!("{other:?}"),
        }
    };
    let expected = [("b".into(), 1), ("z.b".into(), 1), ("z.c".into(), 1)];
    assert_eq!(lasts(&mut world), expected);
    world.restart();
    assert_eq!(lasts(&mut world), expected);
    let long = vec![Piece::Word(1); 1024];
    let mut world = World::of(RecordSettings { rename: Some(Renaming { from, to: long }), ..plain() });
    world.publish_plain(&["a.b", "b"]);
    assert_eq!(world.state().records, 2, "long, but not too long");
    let name = format!("a.{}", "x".repeat(20));
    assert_eq!(world.publish_plain(&[&name]), [], "it would be 21 503 bytes long");
    assert_eq!(world.state().records, 2);
}

fn all_subjects() -> SubjectsOf {
    SubjectsOf { pattern: Pattern::everything(), offset: 0, count_max: 100 }
}
