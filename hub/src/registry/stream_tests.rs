//! What the registry does with streams, seen through [`crate::testing::World`].

use super::*;
use crate::testing::{World, named, queue, rule, setup, stream, text};
use stele_model::group::GROUP_STREAM;
use stele_model::op::Define;
use stele_model::refusal::{Object, Refusal};
use stele_model::registry::{Change, ScramHash, ScramSecret};
use stele_model::stream::{StreamRefusal, StreamSettings, StreamUuid};
use stele_model::value::{Arguments, Value};

fn exists(name: &str) -> Refusal {
    Refusal::Exists { object: Object::Stream, name: name.into() }
}

fn alter(name: &str, settings: StreamSettings) -> Define {
    let (arguments, check_only) = (Arguments::new(), false);
    Define::AlterStream { stream: named(name), settings, arguments, check_only }
}

fn add(name: &str, partitions: u32) -> Define {
    Define::AddPartitions { stream: named(name), partitions, check_only: false }
}

#[test]
fn partitions_are_dealt_out_over_the_shards_and_told_before_the_answer() {
    let mut world = World::new();
    world.told.clear();
    let Ok(Done::Stream(info)) = world.define(stream("s", 3)) else { panic!("a stream is made") };
    let expected =
        ["put s-0 to 0", "put s-1 to 1", "put s-2 to 0", "publish 2", "answer 1"].map(str::to_owned);
    assert_eq!(world.told, expected);
    let homes: Vec<_> = info.partitions.iter().map(|(_, shard)| shard.0).collect();
    assert_eq!(homes, [0, 1, 0]);
    assert_ne!(info.uuid, StreamUuid::default(), "a number is made up");
    let snapshot = world.registry.current();
    let (found, index) = snapshot.partition(info.partitions[1].0).unwrap();
    assert_eq!((&*found.name, index), ("s", 1));
    assert_eq!(snapshot.stream(info.uuid).unwrap().info, info);
}

#[test]
fn queues_and_streams_share_their_names_and_so_do_several_partitions() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    world.queue("s-1", &[]).unwrap();
    assert_eq!(world.define(stream("q", 1)).unwrap_err(), exists("q"));
    assert_eq!(world.define(stream("s", 2)).unwrap_err(), exists("s-1"));
    world.define(stream("s", 1)).unwrap();
    assert_eq!(world.define(stream("s", 1)).unwrap_err(), exists("s"));
    assert_eq!(world.define(add("s", 2)).unwrap_err(), exists("s-1"));
    world.define(stream("t", 3)).unwrap();
    assert_eq!(world.define(stream("t-2", 1)).unwrap_err(), exists("t-2"));
    world.define(stream("t-3", 1)).unwrap();
    assert_eq!(world.define(add("t", 4)).unwrap_err(), exists("t-3"));
    for taken in ["s", "t", "t-0"] {
        let refused = world.queue(taken, &[]).unwrap_err();
        assert!(matches!(refused, Refusal::Inequivalent { .. }), "{taken}: {refused:?}");
    }
    world.queue("t-00", &[]).unwrap();
}

#[test]
fn a_stream_that_is_checked_only_is_not_made() {
    let mut world = World::new();
    let Define::CreateStream(mut asked) = stream("s", 2) else { unreachable!() };
    asked.check_only = true;
    let done = world.define(Define::CreateStream(asked)).unwrap();
    assert!(matches!(done, Done::Stream(info) if info.partitions.len() == 2));
    assert!(world.registry.current().namespace("/").unwrap().stream("s").is_none());
}

#[test]
fn a_change_of_settings_is_told_to_every_partition_and_none_is_not() {
    let mut world = World::new();
    world.define(stream("s", 2)).unwrap();
    world.told.clear();
    let settings = StreamSettings { retention_ms: Some(5), ..StreamSettings::default() };
    world.define(alter("s", settings.clone())).unwrap();
    assert_eq!(world.told, ["put s-0 to 0", "put s-1 to 1", "publish 3", "answer 2"]);
    world.told.clear();
    world.define(alter("s", settings)).unwrap();
    assert_eq!(world.told, ["answer 3"]);
}

#[test]
fn partitions_are_added_behind_those_that_are_there() {
    let mut world = World::new();
    world.define(stream("s", 1)).unwrap();
    world.told.clear();
    let Ok(Done::Stream(info)) = world.define(add("s", 3)) else { panic!("partitions are added") };
    assert_eq!(world.told, ["put s-1 to 1", "put s-2 to 0", "publish 3", "answer 2"]);
    assert_eq!(info.partitions.len(), 3);
    for wrong in [0, 3, PARTITIONS_MAX + 1] {
        assert!(matches!(world.define(add("s", wrong)), Err(Refusal::InvalidArgument { .. })), "{wrong}");
    }
}

#[test]
fn a_stream_goes_with_its_partitions_and_what_led_to_them() {
    let mut world = World::new();
    world.define(stream("s", 2)).unwrap();
    world.define(Define::Bind(rule("amq.topic", "s-1", "k"))).unwrap();
    world.told.clear();
    world.define(Define::DeleteStream { stream: named("s") }).unwrap();
    assert_eq!(world.told, ["publish 4", "drop from 0", "drop from 1", "answer 3"]);
    let snapshot = world.registry.current();
    let namespace = snapshot.namespace("/").unwrap();
    assert!(namespace.stream("s").is_none() && namespace.sequence("s-1").is_none());
    assert_eq!(namespace.exchange("amq.topic").unwrap().rules_len(), 0);
    let gone = world.define(Define::DeleteStream { stream: named("s") }).unwrap_err();
    assert_eq!(gone, Refusal::Stream(StreamRefusal::UnknownStream));
}

#[test]
fn the_homes_of_groups_are_made_once_and_belong_to_the_system() {
    let mut world = World::new();
    for _ in 0..2 {
        world.take(RegistryOp::GroupStream { hub: HubId(0), call: Call(7), namespace: NamespaceId(1) });
        let answer = world.answers.pop().unwrap();
        assert!(
            matches!(answer, (7, Ok(Done::Stream(info))) if info.internal && info.partitions.len() == 50)
        );
    }
    let reserved = |define| matches!(define, Err(Refusal::Reserved { .. }));
    assert!(reserved(world.define(stream(GROUP_STREAM, 1))));
    assert!(reserved(world.define(Define::DeleteStream { stream: named(GROUP_STREAM) })));
    assert!(reserved(world.define(add(GROUP_STREAM, 51))));
}

#[test]
fn a_queue_of_type_stream_is_a_stream_of_one_partition() {
    let mut world = World::new();
    let asked = [("x-queue-type", text("stream")), ("x-max-age", text("1h"))];
    world.queue("s", &asked).unwrap();
    world.queue("s", &asked).unwrap();
    let snapshot = world.registry.current();
    let stream = snapshot.namespace("/").unwrap().stream("s").unwrap();
    assert_eq!(stream.info.settings.retention_ms, Some(3_600_000));
    let other = [("x-queue-type", text("stream")), ("x-max-age", text("2h"))];
    assert!(
        matches!(world.queue("s", &other), Err(Refusal::Inequivalent { argument, .. }) if argument == "x-max-age")
    );
    let wrong = [("x-queue-type", text("stream")), ("x-max-priority", Value::Int(3))];
    assert!(matches!(world.queue("w", &wrong), Err(Refusal::InvalidArgument { .. })));
    assert!(matches!(world.queue("s", &[]), Err(Refusal::Inequivalent { .. })));
}

#[test]
fn a_restart_tells_every_shard_its_partitions() {
    let mut world = World::new();
    world.define(stream("s", 3)).unwrap();
    let mut again = World::of(world.replayed(), std::mem::take(&mut world.log));
    again.start();
    assert_eq!(again.told[..2], ["sync 0 [\"s-0\", \"s-2\"]", "sync 1 [\"s-1\"]"]);
    let restored = Registry::restore(setup(), &again.registry.snapshot()).unwrap();
    assert_eq!(restored.state.shard_queues, [2, 1]);
}

#[test]
fn what_is_kept_for_scram_is_one_for_each_hash() {
    let mut world = World::new();
    let secret = |iterations| ScramSecret {
        hash: ScramHash::Sha256,
        salt: vec![1],
        iterations,
        stored_key: vec![2; 32],
        server_key: vec![3; 32],
    };
    let put = |iterations| Change::PutScram { user: "ann".into(), secret: secret(iterations) };
    world.change(put(4096)).unwrap();
    world.change(put(8192)).unwrap();
    let kept = |world: &World| world.registry.current().user("ann").unwrap().user.scram.clone();
    assert_eq!(kept(&world), [secret(8192)]);
    assert!(world.change(put(100)).is_err());
    let replayed = world.replayed();
    assert_eq!(replayed.state.root.user("ann").unwrap().user.scram, [secret(8192)]);
    let delete = |user: &str| Change::DeleteScram { user: user.into(), hash: ScramHash::Sha256 };
    world.change(delete("ann")).unwrap();
    assert_eq!(kept(&world), []);
    for user in ["ann", "nobody"] {
        assert!(matches!(world.change(delete(user)), Err(Refusal::Missing { .. })), "{user}");
    }
}

#[test]
fn a_queue_declared_again_finds_the_same_one() {
    let mut world = World::new();
    world.define(queue("q", &[])).unwrap();
    world.define(stream("other", 1)).unwrap();
    world.define(queue("q", &[])).unwrap();
}
