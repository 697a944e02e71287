//! What the random runs leave out: memory, streams that acknowledge nothing, and what settings deny.

use crate::world::{World, plain, refusal};
use stele_model::id::Position;
use stele_model::stream::records::{
    PurgeOf, RecordRefusal, RecordSettings, RecordsAsk, ShardRecordsAnswer, Storage,
};

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
