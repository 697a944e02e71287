//! What the random runs leave out of records that are published again: samples, what is asked for with them, moves that do not end.

use crate::world::{World, plain, refusal};
use stele_model::id::{NamespaceId, Position};
use stele_model::repeat::Repeat;
use stele_model::stream::due::{Due, DueMove, How, When};
use stele_model::stream::records::{RecordRefusal, RecordSettings, Rollup, Storage, Terms, Ttl};

fn every_second(how: How) -> Terms {
    let due = Due { when: When::Each(Repeat::Every(1000)), subject: "now".into(), how };
    Terms { due: Some(due), rollup: Some(Rollup::Subject), ..Terms::default() }
}

fn sampling(subject: &'static str) -> How {
    How { sample: Some(subject.into()), ..How::default() }
}

/// Positions of what waited, of what is published in its place, and when it comes again, ms from the start.
fn seen(of: &DueMove, start_ms: u64) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let record = of.records.iter().map(|of| {
        let sample = of.sample.map(|sample| sample.position.0);
        (of.record.position.0, sample, of.next.map(|next| next.ms - start_ms))
    });
    record.collect()
}

#[test]
fn a_schedule_publishes_the_last_record_of_another_subject_if_there_is_one() {
    let mut world = World::of(plain());
    let start = world.now_ms();
    world.publish_plain(&["sensor", "sensor"]);
    world.publish_with("a", every_second(sampling("sensor"))).unwrap();
    world.publish_with("b", every_second(sampling("nothing"))).unwrap();
    world.pass(1000);
    let moves = world.due_moves();
    let [(number, of)] = &moves[..] else { panic!("one move: {moves:?}") };
    assert_eq!(seen(of, start), [(42, Some(41), Some(2000)), (43, None, Some(2000))]);
    assert_eq!(of.namespace, NamespaceId(1));
    // Until it has ended it is made again, whatever becomes of the stream.
    world.restart();
    assert_eq!(world.due_moves(), moves);
    world.publish_plain(&["sensor"]);
    world.moved(*number);
    world.pass(5000);
    let [(_, of)] = &world.due_moves()[..] else { panic!("what was missed comes once") };
    assert_eq!(seen(of, start), [(42, Some(44), Some(7000)), (43, None, Some(7000))]);
    assert_eq!(world.state().records, 5, "who comes again stays");
}

#[test]
fn what_asks_for_something_of_its_target_moves_alone() {
    let mut world = World::of(plain());
    world.publish_with("a", every_second(How::default())).unwrap();
    world.publish_with("b", every_second(How { ttl: Ttl::Ms(7), ..How::default() })).unwrap();
    world.publish_with("c", every_second(How { rollup: true, ..How::default() })).unwrap();
    world.publish_with("d", every_second(How::default())).unwrap();
    world.publish_with("e", every_second(How::default())).unwrap();
    world.pass(1000);
    let moves = world.due_moves();
    let asked: Vec<Vec<_>> = moves
        .iter()
        .map(|(_, of)| of.records.iter().map(|of| (of.record.position.0, of.ttl, of.rollup)).collect())
        .collect();
    let plain = |position| (position, Ttl::Stream, false);
    let should = [
        vec![plain(40)],
        vec![(41, Ttl::Ms(7), false)],
        vec![(42, Ttl::Stream, true)],
        vec![plain(43), plain(44)],
    ];
    assert_eq!(asked, should);
    world.restart();
    assert_eq!(world.due_moves(), moves);
}

#[test]
fn a_schedule_in_memory_comes_again_until_the_process_ends() {
    let mut world = World::of(RecordSettings { storage: Storage::Memory, ..plain() });
    world.publish_with("a", every_second(How::default())).unwrap();
    world.pass(1000);
    world.pass(1000);
    assert_eq!(world.due_moves().len(), 2);
    world.restart();
    assert_eq!(world.state().records, 0);
    world.pass(5000);
    assert_eq!(world.due_moves(), []);
}

#[test]
fn a_schedule_lives_as_long_as_it_was_given() {
    let mut world = World::of(plain());
    world.publish_with("a", Terms { ttl: Ttl::Ms(1500), ..every_second(How::default()) }).unwrap();
    world.pass(1000);
    assert_eq!(world.due_moves().len(), 1);
    world.moved(1);
    world.restart();
    world.pass(1000);
    assert_eq!((world.due_moves().len(), world.state().records), (0, 0));
}

#[test]
fn what_cannot_be_published_again_is_refused() {
    let mut world = World::of(RecordSettings { record_ttl: false, ..plain() });
    let refused = |terms: Terms, world: &mut World| world.publish_with("a", terms).unwrap_err();
    let to = |subject: &'static str, how| {
        let due = Due { when: When::At(0), subject: subject.into(), how };
        Terms { due: Some(due), ..Terms::default() }
    };
    let lives = How { ttl: Ttl::Never, ..How::default() };
    for (terms, why) in [
        (to("a", How::default()), RecordRefusal::WrongDue),
        (to("b", sampling("a")), RecordRefusal::WrongSample),
        (to("b", sampling("b")), RecordRefusal::WrongSample),
        (to("b", lives), RecordRefusal::NoTtl),
        (Terms { ends: Some("a".into()), ..Terms::default() }, RecordRefusal::NotDue),
    ] {
        assert_eq!(refused(terms, &mut world), refusal(why));
    }
    let mut world = World::of(RecordSettings { due: false, ..plain() });
    for terms in [to("a", How::default()), Terms { ends: Some("b".into()), ..Terms::default() }] {
        assert_eq!(refused(terms, &mut world), refusal(RecordRefusal::NoDue));
    }
    let mut world = World::of(RecordSettings { subjects: Vec::new(), ..plain() });
    assert_eq!(refused(to("b", How::default()), &mut world), refusal(RecordRefusal::WrongDue));
}

#[test]
fn a_record_ends_what_waits_in_the_same_entry() {
    let mut world = World::of(plain());
    world.publish_with("a", every_second(How::default())).unwrap();
    let entries = world.entries();
    let ends = Terms { ends: Some("a".into()), ..Terms::default() };
    assert_eq!(world.publish_with("b", ends), Ok(Position(41)));
    assert_eq!((world.entries(), world.state().records), (entries + 1, 1));
    world.restart();
    world.pass(5000);
    assert_eq!(world.due_moves(), []);
}
