//! What the registry does with definitions, seen through [`crate::testing::World`].

use super::*;
use crate::testing::{Log, World, arguments, exchange, exclusive, queue, rule, session, setup, text};
use proptest::prelude::*;
use std::collections::VecDeque;
use stele_model::id::PrincipalId;
use stele_model::op::{CreateStream, Define, DestinationName, Rule};
use stele_model::queue::Overflow;
use stele_model::refusal::{Access, Object};
use stele_model::registry::{AppliesTo, Change, Grant, KeyGrant, Policy, Right, Verb};
use stele_model::session::Principal;
use stele_model::stream::{StreamRef, StreamSettings, StreamUuid};
use stele_model::value::{Arguments, Value};

fn policy(name: &str, pattern: &str, operator: bool, pairs: &[(&str, Value)]) -> Change {
    Change::PutPolicy(Policy {
        namespace: "/".into(),
        name: name.into(),
        pattern: pattern.into(),
        applies_to: AppliesTo::All,
        priority: 0,
        operator,
        definition: arguments(pairs),
    })
}

#[test]
fn a_new_data_directory_has_a_namespace_its_exchanges_and_a_user_who_may_do_all() {
    let world = World::new();
    let snapshot = world.registry.current();
    let namespace = snapshot.namespace("/").unwrap();
    let names: Vec<_> = namespace.exchanges().iter().map(|exchange| exchange.name.to_string()).collect();
    let expected =
        ["", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.rabbitmq.trace", "amq.topic"];
    assert_eq!(names, expected);
    assert_eq!(snapshot.user("guest").unwrap().user.tags, ["administrator"]);
    assert!(namespace.permits("guest").unwrap().allows(Access::Write, Object::Exchange, ""));
    assert_eq!(world.told, ["sync 0 []", "sync 1 []", "publish 1"]);
}

#[test]
fn a_declaration_is_told_to_its_shard_then_published_then_answered() {
    let mut world = World::new();
    world.told.clear();
    let done = world.queue("q", &[]).unwrap();
    assert!(matches!(done, Done::Queue { name, .. } if name == "q"));
    assert_eq!(world.told, ["put q to 0", "publish 2", "answer 1"]);
    world.told.clear();
    world.queue("r", &[]).unwrap();
    world.queue("r", &[]).unwrap();
    assert_eq!(world.told, ["put r to 1", "publish 3", "answer 2", "answer 3"], "the emptier shard; once");
}

#[test]
fn a_later_change_and_a_look_at_an_earlier_one_wait_for_the_shard_that_has_not_answered() {
    let mut world = World::new();
    world.told.clear();
    world.held = Some(VecDeque::new());
    world.queue("q", &[]).unwrap();
    world.define(exchange("x", "direct", &[])).unwrap();
    world.queue("q", &[]).unwrap();
    assert!(world.registry.current().namespace("/").unwrap().exchange("x").is_none());
    let held = world.held.as_ref().unwrap().len();
    assert_eq!(held, 1, "only the shard is told so far");
    world.let_go();
    assert_eq!(world.told, ["put q to 0", "publish 2", "answer 1", "publish 3", "answer 2", "answer 3"]);
}

#[test]
fn what_goes_is_published_before_the_shard_lets_go_of_it() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    world.define(Define::Bind(rule("amq.topic", "q", "a.#"))).unwrap();
    world.told.clear();
    let id = world.registry.current().namespace("/").unwrap().queue("q").unwrap().id();
    world.take(RegistryOp::Closing { queue: id });
    world.take(RegistryOp::Closing { queue: id });
    assert_eq!(world.told, ["publish 4", "drop from 0"]);
    assert_eq!(
        world.registry.current().namespace("/").unwrap().exchange("amq.topic").unwrap().rules_len(),
        0
    );
}

#[test]
fn an_exclusive_queue_is_its_sessions_and_goes_with_it() {
    let mut world = World::new();
    let done = world.define_as(session(7), "guest", exclusive("")).unwrap();
    let Done::Queue { name, .. } = done else { panic!("a queue was declared") };
    assert!(name.starts_with("amq.gen-") && name.len() == 30, "{name}");
    let locked = world.define_as(session(8), "guest", Define::Bind(rule("amq.direct", &name, "k")));
    assert!(matches!(locked, Err(Refusal::Locked { .. })));
    world.define_as(session(7), "guest", Define::Bind(rule("amq.direct", &name, "k"))).unwrap();
    world.take(RegistryOp::SessionGone { session: session(8) });
    assert_eq!(world.registry.current().namespace("/").unwrap().queues().len(), 1);
    world.take(RegistryOp::SessionGone { session: session(7) });
    assert_eq!(world.registry.current().namespace("/").unwrap().queues().len(), 0);
}

#[test]
fn nobody_waits_for_what_goes_with_its_owner() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    let (newest, entries) = (world.log.1, world.log.0.len());
    for name in ["", "own"] {
        let done = world.define_as(session(7), "guest", exclusive(name)).unwrap();
        let Done::Queue { name, .. } = done else { panic!("a queue was declared") };
        world.define_as(session(7), "guest", Define::Bind(rule("amq.direct", &name, "k"))).unwrap();
        world.define_as(session(7), "guest", Define::Unbind(rule("amq.direct", &name, "k"))).unwrap();
    }
    let own = world.registry.current().namespace("/").unwrap().queue("own").unwrap().id();
    world.take(RegistryOp::Closing { queue: own });
    assert!(world.registry.current().namespace("/").unwrap().queue("own").is_none());
    world.take(RegistryOp::SessionGone { session: session(7) });
    assert_eq!(world.log.1, newest, "nothing starts a commit");
    assert!(world.log.0.len() > entries, "but it is logged");
    world.define(Define::Bind(rule("amq.direct", "q", "k"))).unwrap();
    assert!(world.log.1 > newest);
}

#[test]
fn numbers_that_a_lost_entry_gave_are_not_given_again() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    let kept = world.log.0.len();
    world.define_as(session(7), "guest", exclusive("own")).unwrap();
    let lost = world.registry.current().namespace("/").unwrap().queue("own").unwrap().id();
    let mut registry = Registry::new(setup());
    for entry in &world.log.0[..kept] {
        registry.apply(Place::default(), Now(0), entry).unwrap();
    }
    let mut after = World::of(registry, Log::default());
    after.start();
    after.queue("r", &[]).unwrap();
    assert!(after.registry.current().namespace("/").unwrap().queue("r").unwrap().id() > lost);
}

#[test]
fn a_restart_forgets_what_is_not_durable_and_tells_the_shards_the_rest() {
    let mut world = World::new();
    world.queue("kept", &[]).unwrap();
    let Define::DeclareQueue { name, passive, exclusive, auto_delete, arguments, .. } = exclusive("own")
    else {
        unreachable!()
    };
    let durable = true;
    let own = Define::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments };
    world.define_as(session(7), "guest", own).unwrap();
    world.define(exchange("x", "topic", &[])).unwrap();
    world.define(Define::Bind(rule("x", "kept", "#"))).unwrap();
    world.define_as(session(7), "guest", Define::Bind(rule("x", "own", "#"))).unwrap();
    let registry = world.replayed();
    let mut world = World::of(registry, world.log);
    world.start();
    assert_eq!(world.told, ["sync 0 [\"kept\"]", "sync 1 []", "publish 7"]);
    assert_eq!(world.registry.current().boot(), Boot(2));
    assert_eq!(world.registry.current().namespace("/").unwrap().exchange("x").unwrap().rules_len(), 1);
    world.queue("new", &[]).unwrap();
    let new = world.registry.current().namespace("/").unwrap().queue("new").unwrap().id();
    assert!(new > QueueId(2), "numbers are never used again");
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_rule() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    let Define::DeclareExchange { name, kind, passive, durable, internal, arguments, .. } =
        exchange("x", "direct", &[])
    else {
        unreachable!()
    };
    let x = Define::DeclareExchange { name, kind, passive, durable, auto_delete: true, internal, arguments };
    world.define(x).unwrap();
    world.define(Define::Bind(rule("x", "q", "k"))).unwrap();
    world.define(Define::Unbind(rule("x", "q", "other"))).unwrap();
    assert!(world.registry.current().namespace("/").unwrap().exchange("x").is_some());
    world.define(Define::Unbind(rule("x", "q", "k"))).unwrap();
    assert!(world.registry.current().namespace("/").unwrap().exchange("x").is_none());
}

/// `argument asked is` of the refusal, or `ok`.
fn verdict(answer: Result<Done, Refusal>) -> String {
    match answer {
        Ok(_) => "ok".into(),
        Err(Refusal::Inequivalent { argument, asked, is, .. }) => format!("{argument} {asked} {is}"),
        Err(Refusal::InvalidArgument { argument, why, .. }) => format!("{argument}: {why}"),
        Err(Refusal::Locked { .. }) => "locked".into(),
        Err(Refusal::Reserved { why, .. }) => why,
        Err(Refusal::Denied { access, object, name, .. }) => format!("{access:?} {object} {name}"),
        Err(Refusal::Missing { object, name, .. }) => format!("no {object} {name}"),
        Err(other) => format!("{other:?}"),
    }
}

/// Keys that the first user may bind with.
fn key_grant(exchange: &str, read: &str) -> Change {
    let (user, namespace, write) = ("guest".into(), "/".into(), String::new());
    Change::PutKeyGrant(KeyGrant { user, namespace, exchange: exchange.into(), write, read: read.into() })
}

#[test]
fn a_user_binds_to_a_topic_exchange_with_the_keys_that_are_granted_only() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    for exchange in ["amq.topic", "amq.direct"] {
        world.change(key_grant(exchange, "^{username}[.]")).unwrap();
    }
    let bind = |world: &mut World, source: &str, key: &str| {
        verdict(world.define(Define::Bind(rule(source, "q", key))))
    };
    assert_eq!(bind(&mut world, "amq.topic", "guest.a"), "ok");
    assert!(bind(&mut world, "amq.topic", "ann.a").starts_with("KeyDenied"));
    assert_eq!(bind(&mut world, "amq.direct", "ann.a"), "ok", "its rules are no patterns");
    let all = || ".*".to_owned();
    let (user, namespace) = ("guest".into(), "/".into());
    let other = Grant { user, namespace, configure: all(), write: "q".into(), read: all() };
    world.change(Change::PutGrant(other)).unwrap();
    world.change(key_grant("amq.topic", "^guest")).unwrap();
    assert!(bind(&mut world, "amq.topic", "ann.a").starts_with("KeyDenied"), "another grant keeps it");
    let unbind = world.define(Define::Unbind(rule("amq.topic", "q", "ann.a")));
    assert!(verdict(unbind).starts_with("KeyDenied"));
    assert_eq!(everything(&world.registry), everything(&world.replayed()));
    assert!(verdict(world.change(key_grant("amq.topic", "("))).starts_with("read: "));
    let exchange = "amq.topic".to_owned();
    let stranger =
        KeyGrant { user: "ann".into(), namespace: "/".into(), exchange, write: all(), read: all() };
    assert!(verdict(world.change(Change::PutKeyGrant(stranger))).starts_with("user: "));
    let (user, namespace) = ("guest".into(), "/".into());
    let gone = Change::DeleteKeyGrant { user, namespace, exchange: "amq.topic".into() };
    world.change(gone).unwrap();
    assert_eq!(bind(&mut world, "amq.topic", "ann.a"), "ok");
}

#[test]
fn declarations_are_compared_with_what_is_there() {
    let mut world = World::new();
    let is = [("x-max-length", Value::Int(10)), ("x-unheard-of", Value::Int(1))];
    world.queue("q", &is).unwrap();
    world.define(exchange("x", "topic", &[("alternate-exchange", text("ae"))])).unwrap();
    let mut check = |define, expected: &str| assert_eq!(verdict(world.define(define)), expected);
    let same = |durable, exclusive, auto_delete| Define::DeclareQueue {
        name: "q".into(),
        passive: false,
        durable,
        exclusive,
        auto_delete,
        arguments: arguments(&is),
    };
    check(same(true, false, false), "ok");
    check(same(false, false, false), "durable false true");
    check(same(true, true, false), "locked");
    check(same(true, false, true), "auto_delete true false");
    check(queue("q", &[("x-max-length", Value::Int(11))]), "x-max-length 11 10");
    check(queue("q", &[]), "x-max-length none the value '10' of type 'signedint'");
    check(queue("q", &[("x-max-length", Value::Int(10)), ("x-unheard-of", Value::Int(2))]), "ok");
    check(queue("q", &[("x-queue-type", text("quorum"))]), "x-queue-type quorum classic");
    check(queue("q", &[("x-queue-type", text("classic")), is[0].clone()]), "ok");
    check(exchange("x", "direct", &[]), "type direct topic");
    check(exchange("x", "topic", &[]), "alternate-exchange none the value 'ae' of type 'longstr'");
    check(exchange("x", "topic", &[("alternate-exchange", text("ae"))]), "ok");
    check(exchange("amq.topic", "topic", &[]), "ok");
    check(exchange("amq.new", "topic", &[]), "exchange name 'amq.new' contains reserved prefix 'amq.*'");
    check(queue("amq.new", &[]), "queue name 'amq.new' contains reserved prefix 'amq.*'");
    check(exchange("", "direct", &[]), "operation not permitted on the default exchange");
}

#[test]
fn arguments_that_cannot_be_are_refused() {
    let mut world = World::new();
    let int = Value::Int;
    let mut check = |pairs: &[(&str, Value)], expected: &str| {
        assert_eq!(verdict(world.queue("q", pairs)), expected, "{pairs:?}");
    };
    check(&[("x-expires", int(0))], "x-expires: {value_zero,0}");
    check(&[("x-message-ttl", int(-1))], "x-message-ttl: {value_negative,-1}");
    check(&[("x-message-ttl", text("5"))], "x-message-ttl: \"expected integer, got longstr\"");
    check(&[("x-max-priority", int(256))], "x-max-priority: {max_value_exceeded,256}");
    check(&[("x-overflow", text("x"))], "x-overflow: invalid_overflow");
    check(
        &[("x-dead-letter-routing-key", text("k"))],
        "x-dead-letter-routing-key: routing_key_but_no_dlx_defined",
    );
    check(&[("x-delivery-limit", int(5))], "x-delivery-limit: of queue type rabbit_classic_queue");
    check(&[("x-queue-type", text("other"))], "x-queue-type: \"unsupported queue type 'other'\"");
    check(&[("x-queue-type", text("stream"))], "ok");
    check(
        &[("x-queue-type", text("quorum")), ("x-max-priority", int(5))],
        "x-max-priority: of queue type rabbit_quorum_queue",
    );
    check(&[("x-single-active-consumer", int(1))], "x-single-active-consumer: {unacceptable_type,signedint}");
    let transient = Define::DeclareQueue {
        name: "t".into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: arguments(&[("x-queue-type", text("quorum"))]),
    };
    assert_eq!(verdict(world.define(transient)), "non-durable: a quorum queue is durable");
    let hashed = world.define(exchange("h", "x-consistent-hash", &[]));
    assert!(matches!(hashed, Err(Refusal::NotImplemented { .. })));
    let unknown = world.define(exchange("h", "odd", &[]));
    assert!(matches!(unknown, Err(Refusal::UnknownExchangeKind { .. })));
}

#[test]
fn policies_and_arguments_add_up_to_settings_and_a_change_is_told() {
    let mut world = World::new();
    world.queue("a1", &[("x-max-length", Value::Int(10)), ("x-queue-type", text("quorum"))]).unwrap();
    assert_eq!(world.settings("a1").delivery_max, Some(20));
    world.told.clear();
    let set = [
        ("max-length", Value::Int(20)),
        ("message-ttl", Value::Int(1000)),
        ("overflow", text("reject-publish")),
        ("dead-letter-exchange", text("dlx")),
        ("delivery-limit", Value::Int(3)),
    ];
    world.change(policy("p", "^a", false, &set)).unwrap();
    assert_eq!(world.told, ["put a1 to 0", "publish 3", "answer 2"]);
    world.change(policy("o", "^a", true, &[("max-length", Value::Int(5))])).unwrap();
    let settings = world.settings("a1");
    assert_eq!((settings.length_max, settings.ttl_ms), (Some(5), Some(1000)));
    assert_eq!((settings.overflow, settings.delivery_max), (Overflow::RejectPublish, Some(3)));
    assert_eq!(settings.dead_letter.unwrap().exchange, "dlx");
    let gone = Change::DeletePolicy { namespace: "/".into(), name: "p".into(), operator: false };
    world.change(gone).unwrap();
    assert_eq!(world.settings("a1").ttl_ms, None);
    let odd = world.change(policy("p", "(", false, &set));
    assert!(verdict(odd).starts_with("pattern: "));
    let odd = world.change(policy("p", "", true, &[("dead-letter-exchange", text("x"))]));
    assert_eq!(verdict(odd), "dead-letter-exchange: not a recognised policy setting");
}

#[test]
fn a_policy_of_many_queues_is_worked_out_in_steps_and_answered_after_the_last() {
    let mut world = World::new();
    (0..1000).for_each(|n| drop(world.queue(&format!("q{n}"), &[]).unwrap()));
    let set = |max| policy("p", "^q", false, &[("max-length", Value::Int(max))]);
    let ask = |world: &mut World, call, max| {
        world.told.clear();
        world.take(RegistryOp::Administer { hub: HubId(0), call: Call(call), change: set(max) });
        assert!(world.told.iter().all(|told| told.starts_with("publish")), "{:?}", world.told);
    };
    let step = |world: &mut World| {
        let before = world.told.len();
        world.tick();
        let puts = world.told[before..].iter().filter(|told| told.starts_with("put")).count();
        assert!(puts <= review::OBJECTS_MAX, "S7: {puts} queues in one turn");
        puts
    };
    ask(&mut world, 5000, 7);
    let mut puts = step(&mut world) + step(&mut world);
    assert_eq!(everything(&world.registry), everything(&world.replayed()), "I5, also in the midst of it");
    let (chunks, from) = (world.registry.snapshot(), world.log.0.len());
    let interrupted = World::of(world.replayed(), std::mem::take(&mut world.log));
    world.log = Log(interrupted.log.0.clone(), interrupted.log.1);
    assert_eq!(world.queue("q-new", &[]).map(|_| world.settings("q-new").length_max), Ok(Some(7)));
    while world.registry.deadline().is_some() {
        puts += step(&mut world);
    }
    assert_eq!((puts, world.told.last().map(String::as_str)), (1000, Some("answer 5000")));
    assert!((0..1000).all(|n| world.settings(&format!("q{n}")).length_max == Some(7)));
    let mut restored = Registry::restore(setup(), &chunks).unwrap();
    for entry in &world.log.0[from..] {
        restored.apply(Place::default(), Now(0), entry).unwrap();
    }
    assert_eq!(everything(&world.registry), everything(&restored), "I6");
    // A second change while the first is under way: both are answered, and the second one holds.
    ask(&mut world, 5001, 8);
    step(&mut world);
    ask(&mut world, 5002, 9);
    while world.registry.deadline().is_some() {
        step(&mut world);
    }
    let answers: Vec<_> = world.told.iter().filter(|told| told.starts_with("answer")).collect();
    assert_eq!(answers, ["answer 5001", "answer 5002"]);
    assert!((0..1000).all(|n| world.settings(&format!("q{n}")).length_max == Some(9)));
    // A restart takes up what a crash has interrupted.
    let mut world = interrupted;
    world.start();
    while world.registry.deadline().is_some() {
        step(&mut world);
    }
    assert!((0..1000).all(|n| world.settings(&format!("q{n}")).length_max == Some(7)));
}

#[test]
fn each_definition_needs_its_grants() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    world.define(exchange("x", "direct", &[])).unwrap();
    let user = User { name: "u".into(), password_hash: String::new(), tags: Vec::new(), scram: Vec::new() };
    world.change(Change::PutUser(user)).unwrap();
    let grant = |configure: &str, write: &str, read: &str| {
        Change::PutGrant(Grant {
            user: "u".into(),
            namespace: "/".into(),
            configure: configure.into(),
            write: write.into(),
            read: read.into(),
        })
    };
    let dlx = || queue("own", &[("x-dead-letter-exchange", text("d"))]);
    let alternate = || exchange("own", "fanout", &[("alternate-exchange", text("d"))]);
    let bind = || Define::Bind(rule("x", "q", "k"));
    let gone = || Define::DeleteExchange { name: "x".into(), if_unused: false };
    let table = [
        (grant("^own$", "", ""), dlx(), "Read queue own"),
        (grant("^own$", "", "own"), dlx(), "Write exchange d"),
        (grant("^own$", "d", "own"), dlx(), "ok"),
        (grant("", "", ""), alternate(), "Configure exchange own"),
        (grant("own", "", ""), alternate(), "Read exchange own"),
        (grant("own", "", "own"), alternate(), "Write exchange d"),
        (grant(".*", "", ""), bind(), "Write queue q"),
        (grant(".*", "q", ""), bind(), "Read exchange x"),
        (grant("", "q", "x"), bind(), "ok"),
        (grant("", ".*", ".*"), gone(), "Configure exchange x"),
        (grant("amq", ".*", ".*"), queue("", &[]), "ok"),
    ];
    for (grant, define, expected) in table {
        world.change(grant).unwrap();
        assert_eq!(verdict(world.define_as(session(2), "u", define)), expected);
    }
    world.change(Change::DeleteGrant { user: "u".into(), namespace: "/".into() }).unwrap();
    let refused = verdict(world.define_as(session(2), "u", queue("other", &[])));
    assert_eq!(refused, "Configure queue other");
}

#[test]
fn a_right_allows_its_verb_on_its_objects_whatever_becomes_of_the_grant() {
    let mut world = World::new();
    let right = |object, name: &str, is_prefix, verb| {
        let (namespace, user, name) = ("/".into(), "ann".into(), name.into());
        Right { namespace, user, object, name, is_prefix, verb }
    };
    let write = right(Object::Stream, "orders", false, Verb::Write);
    let rights = [
        write.clone(),
        right(Object::Stream, "log.", true, Verb::Read),
        right(Object::Group, "*", false, Verb::All),
        right(Object::Stream, "seen", false, Verb::Describe),
    ];
    for right in &rights {
        world.change(Change::PutRight(right.clone())).unwrap();
        world.change(Change::PutRight(right.clone())).unwrap();
    }
    let may = |world: &World, access, object, name: &str| {
        let snapshot = world.registry.current();
        let permits = snapshot.namespace("/").unwrap().permits("ann").cloned();
        permits.is_some_and(|permits| permits.allows(access, object, name))
    };
    let table = [
        (Access::Write, Object::Stream, "orders", true),
        (Access::Read, Object::Stream, "orders", false),
        (Access::Write, Object::Queue, "orders", false),
        (Access::Read, Object::Stream, "log.a", true),
        (Access::Read, Object::Stream, "log", false),
        (Access::Configure, Object::Group, "any", true),
        (Access::Read, Object::Stream, "seen", false),
    ];
    let grant = Grant {
        user: "ann".into(),
        namespace: "/".into(),
        configure: String::new(),
        write: "^$".into(),
        read: String::new(),
    };
    for _ in 0..2 {
        for (access, object, name, expected) in table {
            assert_eq!(may(&world, access, object, name), expected, "{access:?} {object} {name}");
        }
        world.change(Change::PutGrant(grant.clone())).unwrap();
    }
    let snapshot = world.registry.current();
    let permits = snapshot.namespace("/").unwrap().permits("ann").unwrap();
    assert!(permits.shows(Object::Stream, "seen") && !permits.shows(Object::Stream, "unseen"));
    let replayed = world.replayed();
    assert_eq!(replayed.current().namespace("/").unwrap().permits("ann").unwrap().rights, permits.rights);
    world.change(Change::DeleteRight(write.clone())).unwrap();
    world.change(Change::DeleteRight(write)).unwrap();
    assert!(!may(&world, Access::Write, Object::Stream, "orders"));
    let wrong = right(Object::Exchange, "x", false, Verb::Read);
    assert!(world.change(Change::PutRight(wrong)).is_err(), "there are no rights to exchanges");
}

#[test]
fn a_user_goes_with_the_grants() {
    let mut world = World::new();
    world.change(Change::DeleteUser { name: "nobody".into() }).unwrap();
    world.change(Change::DeleteUser { name: "guest".into() }).unwrap();
    let snapshot = world.registry.current();
    assert!(snapshot.user("guest").is_none());
    assert!(snapshot.namespace("/").unwrap().permits("guest").is_none());
    assert_eq!(verdict(world.queue("q", &[])), "Configure queue q");
    let again =
        User { name: "guest".into(), password_hash: String::new(), tags: Vec::new(), scram: Vec::new() };
    world.change(Change::PutUser(again)).unwrap();
    assert_eq!(world.registry.current().user("guest").unwrap().id, PrincipalId(2), "not the one before");
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    world.define(exchange("x", "fanout", &[])).unwrap();
    world.define(Define::Bind(rule("x", "q", ""))).unwrap();
    world.change(Change::DeleteNamespace { name: "/".into() }).unwrap();
    assert!(world.registry.current().namespace("/").is_none());
    assert!(world.told.contains(&"drop from 0".to_owned()));
    assert_eq!(verdict(world.queue("q", &[])), format!("no {} /", Object::Namespace));
    assert_eq!((world.registry.state.rules_len, world.registry.state.exchanges_len()), (0, 0));
}

fn any_op() -> impl Strategy<Value = RegistryOp> {
    let name = prop::sample::select(vec!["a", "b", "c"]);
    let key = prop::sample::select(vec!["", "a.*", "#", "k"]);
    let any_define =
        (0..9, name.clone(), name, key, any::<[bool; 3]>()).prop_map(|(what, a, b, key, flags)| {
            let [durable, exclusive, auto_delete] = flags;
            let to_exchange = |source: &str| Rule {
                source: source.into(),
                destination: DestinationName::Exchange(b.into()),
                key: Bytes::copy_from_slice(key.as_bytes()),
                arguments: arguments(&[("x-match", text("any"))]),
            };
            match what {
                0 | 1 => Define::DeclareQueue {
                    name: a.into(),
                    passive: false,
                    durable,
                    exclusive,
                    auto_delete,
                    arguments: arguments(&[("x-max-length", Value::Int(3))]),
                },
                2 | 3 => Define::DeclareExchange {
                    name: a.into(),
                    kind: ["direct", "topic", "fanout", "headers"][key.len().min(3)].into(),
                    passive: false,
                    durable,
                    auto_delete,
                    internal: exclusive,
                    arguments: arguments(&[("alternate-exchange", text(b))]),
                },
                4 => Define::DeleteExchange { name: a.into(), if_unused: durable },
                5 => Define::Bind(rule(a, b, key)),
                6 => Define::Bind(to_exchange(a)),
                7 => Define::Unbind(rule(a, b, key)),
                _ => Define::Unbind(to_exchange(a)),
            }
        });
    let define = (any_define, 0_u64..3).prop_map(|(define, number)| RegistryOp::Define {
        hub: HubId(0),
        call: Call(0),
        session: session(number),
        principal: Principal { id: PrincipalId(1), name: "guest".into() },
        namespace: "/".into(),
        define,
    });
    let set = policy("p", "a|b", false, &[("max-length", Value::Int(2))]);
    let unset = Change::DeletePolicy { namespace: "/".into(), name: "p".into(), operator: false };
    let bound = key_grant("amq.topic", "^a|^k");
    let unbound =
        Change::DeleteKeyGrant { user: "guest".into(), namespace: "/".into(), exchange: "amq.topic".into() };
    let change = prop::sample::select(vec![set, unset, bound, unbound])
        .prop_map(|change| RegistryOp::Administer { hub: HubId(0), call: Call(0), change });
    let stream = ("[a-c]", 1_u32..4, any::<[bool; 2]>(), 0..4).prop_map(|(name, partitions, flags, what)| {
        let (stream, check_only) = (StreamRef::Name(name.clone()), flags[0] && flags[1]);
        let settings = StreamSettings { compact: flags[0], ..StreamSettings::default() };
        let arguments = Arguments::new();
        match what {
            0 => Define::AlterStream { stream, settings, arguments, check_only },
            1 => Define::AddPartitions { stream, partitions, check_only },
            2 if flags[1] => Define::DeleteStream { stream },
            _ => Define::CreateStream(CreateStream {
                name,
                uuid: StreamUuid::default(),
                partitions,
                settings,
                arguments,
                check_only,
            }),
        }
    });
    let stream = stream.prop_map(|define| RegistryOp::Define {
        hub: HubId(0),
        call: Call(0),
        session: session(0),
        principal: Principal { id: PrincipalId(1), name: "guest".into() },
        namespace: "/".into(),
        define,
    });
    let groups = Just(RegistryOp::GroupStream { hub: HubId(0), call: Call(0), namespace: NamespaceId(1) });
    prop_oneof![
        4 => stream,
        1 => groups,
        12 => define,
        1 => change,
        1 => (1_u64..20).prop_map(|id| RegistryOp::Closing { queue: QueueId(id) }),
        1 => (0_u64..3).prop_map(|number| RegistryOp::SessionGone { session: session(number) }),
    ]
}

/// What a restart must not lose: the definitions, the numbers, and all that is worked out from them.
fn everything(registry: &Registry) -> impl PartialEq + std::fmt::Debug + use<> {
    let root = &registry.state.root;
    let mut queues: Vec<_> = root.queues.values().map(|queue| format!("{queue:?}")).collect();
    queues.sort();
    let alternates: Vec<_> = root
        .namespaces()
        .iter()
        .flat_map(|namespace| namespace.exchanges())
        .map(|exchange| (exchange.id, exchange.alternate.clone(), exchange.rules_len()))
        .collect();
    let numbers = (root.revision, root.boot, root.next_queue, registry.state.next, registry.state.rules_len);
    let mut partitions: Vec<_> = root.partitions.iter().map(|(id, of)| (*id, *of)).collect();
    partitions.sort_unstable();
    (
        registry.state.facts().collect::<Vec<_>>(),
        numbers,
        registry.state.shard_queues.clone(),
        queues,
        alternates,
        partitions,
    )
}

proptest! {
    #[test]
    fn a_replay_and_a_snapshot_with_the_rest_of_the_log_equal_the_live_state(
        ops in prop::collection::vec(any_op(), 0..60),
        cut in 0_usize..60,
    ) {
        let mut world = World::new();
        let mut kept = None;
        for (at, op) in ops.into_iter().enumerate() {
            if at == cut {
                kept = Some((world.registry.snapshot(), world.log.0.len()));
            }
            world.take(op);
        }
        let live = everything(&world.registry);
        prop_assert_eq!(&live, &everything(&world.replayed()));
        if let Some((chunks, from)) = kept {
            let mut restored = Registry::restore(setup(), &chunks).unwrap();
            for entry in &world.log.0[from..] {
                restored.apply(Place::default(), Now(0), entry).unwrap();
            }
            prop_assert_eq!(live, everything(&restored));
        }
        for entry in &world.log.0 {
            prop_assert_eq!(&entry::encode(&entry::decode(entry).unwrap())[..], &entry[..]);
        }
    }

    #[test]
    fn a_damaged_entry_is_refused_and_not_believed(
        ops in prop::collection::vec(any_op(), 1..10),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut world = World::new();
        ops.into_iter().for_each(|op| world.take(op));
        for entry in &world.log.0 {
            // What is damaged may be another entry that is whole; half of an entry never is.
            let mut damaged = entry.clone();
            for (at, byte) in &flips {
                let at = at.index(damaged.len());
                damaged[at] = *byte;
            }
            let _ = entry::decode(&damaged);
            let _ = entry::decode(&damaged[..damaged.len() / 2]);
            let _ = entry::decode(&entry[..entry.len() / 2]).unwrap_err();
        }
    }
}

#[test]
fn a_snapshot_of_a_hundred_thousand_rules_takes_many_short_turns_and_is_of_the_moment_it_began() {
    let mut world = World::new();
    world.queue("q", &[]).unwrap();
    let namespace = Arc::clone(world.registry.state.root.namespace("/").unwrap());
    let (source, target) = (namespace.exchange("amq.topic").unwrap().id, namespace.queue("q").unwrap().id());
    let fact = |n: u32| {
        Fact::Rule(entry::RuleFact {
            namespace: namespace.id,
            source,
            target: crate::router::TargetId::Queue(target),
            key: format!("device.{n}.t").into(),
            arguments: Arguments::default(),
        })
    };
    let facts: Vec<Fact> = (0..100_000).map(fact).collect();
    world.registry.state.apply(&facts, &mut Vec::new()).unwrap();
    let before = everything(&world.registry);
    world.registry.begin_snapshot();
    let (mut chunks, mut turns) = (None, 0);
    while chunks.is_none() {
        let key = format!("device.{}.t", turns * 7919 % 100_000);
        world.define(Define::Unbind(rule("amq.topic", "q", &key))).unwrap();
        world.define(Define::Bind(rule("amq.topic", "q", &format!("new.{turns}")))).unwrap();
        chunks = world.registry.step_snapshot();
        turns += 1;
    }
    let chunks = chunks.unwrap_or_default();
    assert!(turns >= 100_000 / frozen::WEIGHT_MAX, "S7: {turns} turns");
    assert!(chunks[1..].iter().all(|chunk| entry::decode(chunk).unwrap().len() <= frozen::WEIGHT_MAX), "S7");
    assert_eq!(before, everything(&Registry::restore(setup(), &chunks).unwrap()));
}

#[test]
fn queues_of_one_session_share_a_shard_and_sessions_spread_over_them() {
    let mut world = World::new();
    for (of, name) in [(1, "a"), (1, "b"), (2, "c"), (2, "d"), (1, "e")] {
        world.define_as(session(of), "guest", queue(name, &[])).unwrap();
    }
    let snapshot = world.registry.current();
    let shard = |name| snapshot.namespace("/").unwrap().queue(name).unwrap().shard;
    assert_eq!((shard("a"), shard("b"), shard("e")), (shard("a"), shard("a"), shard("a")));
    assert_eq!((shard("c"), shard("d")), (shard("c"), shard("c")));
    assert_ne!(shard("a"), shard("c"));
}
