//! Matching against matchers that are too simple to be wrong.

use super::*;
use crate::testing::{World, exchange, queue, rule};
use bytes::BytesMut;
use proptest::prelude::*;
use std::collections::BTreeSet;
use stele_model::id::{QueueId, ShardId};
use stele_model::op::{Define, DestinationName, Rule};
use stele_model::value::Value;
use stele_record::table::{Table, Value as Header, put_table};

fn bound(queue: u64, key: &str) -> Arc<BoundRule> {
    Arc::new(BoundRule {
        target: Target::Queue { id: QueueId(queue), shard: ShardId(0), durable: true },
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments: Arguments::new(),
        encoded: Bytes::new(),
        headers: HeaderMatch::default(),
    })
}

/// The definition of a pattern, straight.
fn matches(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern, words) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=words.len()).any(|skipped| matches(rest, &words[skipped..])),
        (["*", rest @ ..], [_, words @ ..]) => matches(rest, words),
        ([word, rest @ ..], [first, words @ ..]) => word == first && matches(rest, words),
        _ => false,
    }
}

fn words(key: &str) -> Vec<&str> {
    if key.is_empty() { Vec::new() } else { key.split('.').collect() }
}

fn taken(router: &Router, key: &str) -> Vec<(TargetId, Bytes)> {
    let mut taken = Vec::new();
    router
        .matching(key.as_bytes(), Table::default(), |rule| taken.push((rule.target.id(), rule.key.clone())));
    taken.sort();
    taken
}

fn key(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(words), 0..6).prop_map(|words| words.join("."))
}

proptest! {
    #[test]
    fn a_topic_takes_what_the_definition_of_its_patterns_says(
        steps in prop::collection::vec((any::<bool>(), 0_u64..4, key(&["a", "b", "", "*", "#"])), 0..60),
        keys in prop::collection::vec(key(&["a", "b", "c", "", "*"]), 1..20),
    ) {
        let mut router = Router::new(ExchangeKind::Topic);
        let mut rules = BTreeSet::new();
        let mut kept = Vec::new();
        for (add, queue, pattern) in steps {
            let is_there = rules.contains(&(queue, pattern.clone()));
            if add && !is_there {
                router.add(bound(queue, &pattern));
                rules.insert((queue, pattern));
            } else if !add {
                router.remove(&bound(queue, &pattern));
                rules.remove(&(queue, pattern));
            }
            if rules.len() % 7 == 3 {
                kept.push((router.clone(), rules.clone()));
            }
        }
        kept.push((router, rules));
        for (router, rules) in kept {
            for key in &keys {
                let mut expected: Vec<_> = rules
                    .iter()
                    .filter(|(_, pattern)| matches(&words(pattern), &words(key)))
                    .map(|(queue, pattern)| {
                        (TargetId::Queue(QueueId(*queue)), Bytes::copy_from_slice(pattern.as_bytes()))
                    })
                    .collect();
                expected.sort();
                prop_assert_eq!(taken(&router, key), expected, "key {:?}", key);
            }
        }
    }

    #[test]
    fn a_trie_without_rules_is_empty_whatever_was_in_it(
        patterns in prop::collection::btree_set(key(&["a", "b", "*", "#"]), 0..40),
    ) {
        let mut router = Router::new(ExchangeKind::Topic);
        patterns.iter().for_each(|pattern| router.add(bound(1, pattern)));
        patterns.iter().for_each(|pattern| router.remove(&bound(1, pattern)));
        let Router::Topic(trie) = &router else { unreachable!() };
        prop_assert!(trie.is_empty());
    }

    #[test]
    fn a_direct_exchange_takes_equal_keys(
        rules in prop::collection::btree_set((0_u64..4, 0_u8..4), 0..16),
        gone in prop::collection::btree_set((0_u64..4, 0_u8..4), 0..16),
    ) {
        let mut router = Router::new(ExchangeKind::Direct);
        rules.iter().for_each(|(queue, key)| router.add(bound(*queue, &key.to_string())));
        gone.iter().for_each(|(queue, key)| router.remove(&bound(*queue, &key.to_string())));
        for asked in 0_u8..4 {
            let left = rules.difference(&gone).filter(|(_, key)| *key == asked);
            let expected: Vec<_> = left.map(|(queue, _)| TargetId::Queue(QueueId(*queue))).collect();
            let found: Vec<_> = taken(&router, &asked.to_string()).into_iter().map(|(id, _)| id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn many_hash_signs_do_not_take_exponential_time() {
    let mut router = Router::new(ExchangeKind::Topic);
    router.add(bound(1, &["#"; 60].join(".")));
    router.add(bound(2, &["#.a"; 60].join(".")));
    router.add(bound(3, &["#.*"; 40].join(".")));
    let key = ["a"; 120].join(".");
    assert_eq!(taken(&router, &key).len(), 3);
    assert_eq!(taken(&router, &format!("{key}.b")).len(), 2);
}

/// Rows of: arguments of the rule, headers of the record, whether it takes it.
#[test]
fn headers_are_matched_as_rabbitmq_does() {
    let text = |text: &str| Value::Text(text.into());
    let (all, any) = (("x-match", text("all")), ("x-match", text("any")));
    let (all_x, any_x) = (("x-match", text("all-with-x")), ("x-match", text("any-with-x")));
    let (a1, b2, xc) = (("a", Value::Int(1)), ("b", text("2")), ("x-c", Value::Bool(true)));
    let (ha, hb, hx) = (("a", Header::I64(1)), ("b", Header::Str(b"2")), ("x-c", Header::Bool(true)));
    let (odd_a, unsigned) = (("a", Header::I64(5)), ("a", Header::U64(1)));
    let present = ("a", Value::Void);
    let table = [
        (vec![], vec![], true),
        (vec![all.clone()], vec![ha], true),
        (vec![any.clone()], vec![ha], false),
        (vec![a1.clone(), b2.clone()], vec![ha, hb], true),
        (vec![a1.clone(), b2.clone()], vec![ha], false),
        (vec![any.clone(), a1.clone(), b2.clone()], vec![hb], true),
        (vec![any.clone(), a1.clone()], vec![odd_a], false),
        (vec![a1.clone()], vec![unsigned], true),
        (vec![present.clone()], vec![odd_a], true),
        (vec![present.clone()], vec![hb], false),
        (vec![all.clone(), a1.clone(), xc.clone()], vec![ha], true),
        (vec![all_x.clone(), a1.clone(), xc.clone()], vec![ha], false),
        (vec![all_x.clone(), a1.clone(), xc.clone()], vec![ha, hx], true),
        (vec![any.clone(), xc.clone()], vec![hx], false),
        (vec![any_x, xc], vec![hx], true),
        (vec![all, b2], vec![("b", Header::I64(2))], false),
    ];
    for (asked, headers, expected) in table {
        let arguments: Arguments =
            asked.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let mut bytes = BytesMut::new();
        put_table(&mut bytes, |table| {
            headers.iter().for_each(|(name, value)| table.entry(name.as_bytes(), *value));
        });
        let takes = HeaderMatch::of(&arguments).unwrap().takes(Table::of(&bytes[4..]));
        assert_eq!(takes, expected, "{asked:?} {headers:?}");
    }
    assert!(HeaderMatch::of(&[("x-match".to_owned(), text("odd"))].into()).is_none());
}

/// Recorded from RabbitMQ 4.3: `topic_wildcards` in `conform/amqp091/answers-rabbitmq-4.3.json`.
#[test]
fn topics_take_what_rabbitmq_was_seen_to_take() {
    let keys = ["", "a", "b", "a.b", "a.b.c", "a.x.y.c", "b.b", "a.", ".", "..", "a..b", "a.c"];
    let seen: &[(&str, &[&str])] = &[
        ("", &[""]),
        ("#", &["", "a", "b", "a.b", "a.b.c", "a.x.y.c", "b.b", "a.", ".", "..", "a..b", "a.c"]),
        ("#.#", &["", "a", "b", "a.b", "a.b.c", "a.x.y.c", "b.b", "a.", ".", "..", "a..b", "a.c"]),
        ("#.b", &["b", "a.b", "b.b", "a..b"]),
        ("*", &["a", "b"]),
        ("*.#.*", &["a.b", "a.b.c", "a.x.y.c", "b.b", "a.", ".", "..", "a..b", "a.c"]),
        ("*.*", &["a.b", "b.b", "a.", ".", "a.c"]),
        ("*.b", &["a.b", "b.b"]),
        (".", &["."]),
        ("a", &["a"]),
        ("a.#", &["a", "a.b", "a.b.c", "a.x.y.c", "a.", "a..b", "a.c"]),
        ("a.#.c", &["a.b.c", "a.x.y.c", "a.c"]),
        ("a.*", &["a.b", "a.", "a.c"]),
        ("a.*.#", &["a.b", "a.b.c", "a.x.y.c", "a.", "a..b", "a.c"]),
        ("a.*.b", &["a..b"]),
        ("a..b", &["a..b"]),
        ("a.b", &["a.b"]),
    ];
    for (pattern, expected) in seen {
        let mut router = Router::new(ExchangeKind::Topic);
        router.add(bound(1, pattern));
        let taken: Vec<_> = keys.into_iter().filter(|key| !taken(&router, key).is_empty()).collect();
        assert_eq!(taken, *expected, "{pattern:?}");
    }
}

/// Recorded from RabbitMQ 4.3: `headers_exchange_*` in the same file.
#[test]
fn headers_exchanges_take_what_rabbitmq_was_seen_to_take() {
    let (a, b, x_b) = (("a", Header::I64(1)), ("b", Header::Str(b"x")), ("x-b", Header::Str(b"x")));
    let records: &[(&str, &[(&str, Header<'_>)])] = &[
        ("a", &[a]),
        ("b", &[b]),
        ("ab", &[a, b]),
        ("abc", &[a, b, ("c", Header::I64(3))]),
        ("other a", &[("a", Header::I64(2))]),
        ("a as text", &[("a", Header::Str(b"1"))]),
        ("x-b", &[x_b]),
        ("a x-b", &[a, x_b]),
        ("empty", &[]),
    ];
    let rules: &[(&str, &[&str])] = &[
        ("one", &["a"]),
        ("two", &["a", "b"]),
        ("with_x", &["a", "x-b"]),
        ("only_x", &["x-b"]),
        ("nothing", &[]),
    ];
    let seen: &[(&str, &str, &[&str])] = &[
        ("all", "nothing", &["a", "b", "ab", "abc", "other a", "a as text", "x-b", "a x-b", "empty"]),
        ("all", "one", &["a", "ab", "abc", "a x-b"]),
        ("all", "only_x", &["a", "b", "ab", "abc", "other a", "a as text", "x-b", "a x-b", "empty"]),
        ("all", "two", &["ab", "abc"]),
        ("all", "with_x", &["a", "ab", "abc", "a x-b"]),
        ("any", "nothing", &[]),
        ("any", "one", &["a", "ab", "abc", "a x-b"]),
        ("any", "only_x", &[]),
        ("any", "two", &["a", "b", "ab", "abc", "a x-b"]),
        ("any", "with_x", &["a", "ab", "abc", "a x-b"]),
        ("all-with-x", "nothing", &["a", "b", "ab", "abc", "other a", "a as text", "x-b", "a x-b", "empty"]),
        ("all-with-x", "one", &["a", "ab", "abc", "a x-b"]),
        ("all-with-x", "only_x", &["x-b", "a x-b"]),
        ("all-with-x", "two", &["ab", "abc"]),
        ("all-with-x", "with_x", &["a x-b"]),
        ("any-with-x", "nothing", &[]),
        ("any-with-x", "one", &["a", "ab", "abc", "a x-b"]),
        ("any-with-x", "only_x", &["x-b", "a x-b"]),
        ("any-with-x", "two", &["a", "b", "ab", "abc", "a x-b"]),
        ("any-with-x", "with_x", &["a", "ab", "abc", "x-b", "a x-b"]),
    ];
    for (mode, rule, expected) in seen {
        let (_, names) = rules.iter().find(|(name, _)| name == rule).unwrap();
        let value = |name: &str| if name == "a" { Value::Int(1) } else { Value::Text("x".into()) };
        let mut arguments: Arguments = names.iter().map(|name| ((*name).to_owned(), value(name))).collect();
        arguments.insert("x-match".into(), Value::Text((*mode).into()));
        let rule = HeaderMatch::of(&arguments).unwrap();
        let takes = |headers: &[(&str, Header<'_>)]| {
            let mut bytes = BytesMut::new();
            put_table(&mut bytes, |table| {
                headers.iter().for_each(|(name, value)| table.entry(name.as_bytes(), *value));
            });
            rule.takes(Table::of(&bytes[4..]))
        };
        let taken: Vec<_> =
            records.iter().filter(|(_, headers)| takes(headers)).map(|(name, _)| *name).collect();
        assert_eq!(taken, *expected, "{mode} {arguments:?}");
    }
}

fn to_exchange(source: &str, destination: &str, key: &str) -> Define {
    Define::Bind(Rule {
        source: source.into(),
        destination: DestinationName::Exchange(destination.into()),
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments: Arguments::new(),
    })
}

#[test]
fn records_cross_exchanges_once_and_go_to_the_alternate_if_nothing_takes_them() {
    let mut world = World::new();
    let alternate = [("alternate-exchange", Value::Text("spare".into()))];
    world.define(exchange("in", "direct", &alternate)).unwrap();
    world.define(exchange("out", "topic", &[])).unwrap();
    for name in ["one", "two", "other"] {
        world.define(queue(name, &[])).unwrap();
    }
    world.define(to_exchange("in", "out", "k.a")).unwrap();
    world.define(to_exchange("out", "in", "#")).unwrap();
    world.define(Define::Bind(rule("in", "one", "k.a"))).unwrap();
    world.define(Define::Bind(rule("out", "one", "#"))).unwrap();
    world.define(Define::Bind(rule("out", "two", "k.*"))).unwrap();
    let find = |world: &World, from: &str, keys: &[&[u8]]| {
        let snapshot = world.registry.current();
        let namespace = snapshot.namespace("/").unwrap();
        let mut found = resolve::Found::default();
        found.resolve(namespace, namespace.exchange(from).unwrap(), keys, Table::default());
        let names = found.hits.iter().map(|hit| snapshot.queue(hit.queue).unwrap().name.to_string());
        (names.collect::<Vec<_>>(), found.because.iter().all(|because| because.holds(namespace)))
    };
    assert_eq!(find(&world, "in", &[b"k.a"]), (vec!["one".to_owned(), "two".to_owned()], true));
    assert_eq!(find(&world, "in", &[b"k.b"]), (vec![], true), "the alternate is not there");
    world.define(exchange("spare", "fanout", &[])).unwrap();
    world.define(Define::Bind(rule("spare", "other", ""))).unwrap();
    assert_eq!(find(&world, "in", &[b"k.b"]).0, ["other"]);
    assert_eq!(find(&world, "in", &[b"k.b", b"k.a"]).0, ["one", "two"], "one key is enough");
    assert_eq!(find(&world, "", &[b"two", b"none"]).0, ["two"]);
}
