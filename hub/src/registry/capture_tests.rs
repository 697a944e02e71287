//! Streams that capture subjects, seen through [`crate::testing::World`].

use super::*;
use crate::router::resolve::{Found, SUBJECTS};
use crate::testing::{World, named, stream};
use stele_model::op::Define;
use stele_model::stream::records::{RecordRefusal, RecordSettings, Storage};
use stele_model::stream::{StreamRefusal, StreamSettings};
use stele_model::subject::Pattern;
use stele_model::value::Arguments;
use stele_record::table::Table;

fn listing(subjects: &[&str]) -> RecordSettings {
    let subjects = subjects.iter().map(|text| Pattern::new((*text).to_owned()).unwrap()).collect();
    RecordSettings { subjects, ..RecordSettings::default() }
}

fn settings(records: RecordSettings) -> StreamSettings {
    StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() }
}

fn create(name: &str, partitions: u32, records: RecordSettings) -> Define {
    let Define::CreateStream(made) = stream(name, partitions) else { unreachable!() };
    Define::CreateStream(stele_model::op::CreateStream { settings: settings(records), ..made })
}

fn alter(name: &str, settings: StreamSettings) -> Define {
    let (arguments, check_only) = (Arguments::new(), false);
    Define::AlterStream { stream: named(name), settings, arguments, check_only }
}

/// The stream that takes what is published to a subject.
fn taker(world: &World, subject: &str) -> Option<String> {
    let snapshot = world.registry.current();
    let namespace = snapshot.namespace("/").unwrap();
    let mut found = Found::default();
    found.resolve(namespace, namespace.exchange(SUBJECTS).unwrap(), &[subject.as_bytes()], Table::default());
    assert!(found.hits.len() <= 1);
    let hit = found.hits.first()?;
    assert!(found.because.iter().all(|because| because.holds(namespace)));
    snapshot.partition(hit.queue).map(|(stream, _)| stream.name.to_string())
}

#[test]
fn a_stream_captures_the_subjects_that_it_lists_as_long_as_it_lists_them() {
    let mut world = World::new();
    world.define(create("o", 1, listing(&["orders.*", "audit.>"]))).unwrap();
    world.define(create("k", 1, listing(&["$KV.k.>"]))).unwrap();
    let of = |world: &World| {
        ["orders.new", "orders.new.x", "audit.a.b", "$KV.k.a", "other"].map(|subject| taker(world, subject))
    };
    let (o, k) = (|| Some("o".to_owned()), || Some("k".to_owned()));
    assert_eq!(of(&world), [o(), None, o(), k(), None]);
    world.define(alter("o", settings(listing(&["orders.>"])))).unwrap();
    assert_eq!(of(&world), [o(), o(), None, k(), None]);
    let replayed = World::of(world.replayed(), Default::default());
    assert_eq!(of(&replayed), of(&world));
    world.define(Define::DeleteStream { stream: named("o") }).unwrap();
    assert_eq!(of(&world), [None, None, None, k(), None]);
}

#[test]
fn two_streams_do_not_capture_one_subject() {
    let mut world = World::new();
    world.define(create("o", 1, listing(&["orders.*"]))).unwrap();
    let refused = world.define(create("p", 1, listing(&["x", "*.new"]))).unwrap_err();
    let why = RecordRefusal::SubjectsOverlap;
    assert_eq!(refused, Refusal::Stream(StreamRefusal::Record { stream: "o".to_owned(), why: why.clone() }));
    world.define(create("p", 1, listing(&["x"]))).unwrap();
    let refused = world.define(alter("p", settings(listing(&["orders.new"])))).unwrap_err();
    assert_eq!(refused, Refusal::Stream(StreamRefusal::Record { stream: "o".to_owned(), why }));
    world.define(alter("o", settings(listing(&["orders.*", "orders.*.x"])))).unwrap();
}

#[test]
fn what_makes_no_sense_of_single_records_is_refused_by_the_setting() {
    let mut world = World::new();
    world.define(create("o", 1, listing(&["a"]))).unwrap();
    let wrong = |define: Define, world: &mut World| match world.define(define) {
        Err(Refusal::InvalidArgument { argument, .. }) => argument,
        other => panic!("{other:?}"),
    };
    assert_eq!(wrong(create("p", 2, listing(&["b"])), &mut world), "partitions");
    assert_eq!(wrong(create("p", 1, listing(&["b.>", "b.c"])), &mut world), "subjects");
    let add = Define::AddPartitions { stream: named("o"), partitions: 2, check_only: false };
    assert_eq!(wrong(add, &mut world), "partitions");
    assert_eq!(wrong(alter("o", StreamSettings::default()), &mut world), "records");
    let memory = RecordSettings { storage: Storage::Memory, ..listing(&["a"]) };
    assert_eq!(wrong(alter("o", settings(memory)), &mut world), "storage");
}
