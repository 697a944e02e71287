//! Bounded random runs of JetStream's entry points for fuzzers: requests with fields of every kind of value, and recorded ones with some
//! octets changed.

use proptest::prelude::*;
use serde_json::{Value, json};
use stele_nats::jet::fuzz;

const TAILS: [&str; 12] = [
    "STREAM.CREATE.s",
    "STREAM.UPDATE.s",
    "CONSUMER.CREATE.s.c",
    "CONSUMER.DURABLE.CREATE.s.c",
    "STREAM.MSG.GET.s",
    "DIRECT.GET.s",
    "STREAM.MSG.DELETE.s",
    "STREAM.PURGE.s",
    "STREAM.INFO.s",
    "CONSUMER.PAUSE.s.c",
    "CONSUMER.MSG.NEXT.s.c",
    "STREAM.NAMES",
];

const FIELDS: [&str; 24] = [
    "name",
    "subjects",
    "retention",
    "max_msgs",
    "max_age",
    "duplicate_window",
    "discard",
    "num_replicas",
    "seq",
    "batch",
    "expires",
    "stream_name",
    "config",
    "durable_name",
    "ack_policy",
    "backoff",
    "max_deliver",
    "deliver_policy",
    "opt_start_seq",
    "filter_subjects",
    "idle_heartbeat",
    "deliver_subject",
    "metadata",
    "pedantic",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        prop::sample::select(vec![
            "s",
            "c",
            "a.>",
            "explicit",
            "last",
            "workqueue",
            "new",
            "",
            "2024-01-02T03:04:05Z"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), inner, 0..5)
                .prop_map(|fields| json!(fields)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_requests_make_no_reader_panic(
        tail in prop::sample::select(TAILS.to_vec()), mut fields in prop::collection::btree_map(prop::sample::select(FIELDS.to_vec()), value(), 0..6),
        named: bool,
    ) {
        if named {
            fields.insert("name", Value::from("s"));
            fields.insert("stream_name", Value::from("s"));
        }
        fuzz::requests(tail, json!(fields).to_string().as_bytes());
    }

    #[test]
    fn recorded_requests_with_changed_octets_make_no_reader_panic(
        line: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let lines: Vec<&str> = include_str!("golden/jet.jsonl").lines().collect();
        let entry: Value = serde_json::from_str(lines[line.index(lines.len())]).unwrap();
        let mut body = entry["body"].to_string().into_bytes();
        for (at, octet) in changes {
            let at = at.index(body.len());
            body[at] = octet;
        }
        let subject = entry["subject"].as_str().unwrap();
        fuzz::requests(subject.strip_prefix("$JS.API.").unwrap_or("INFO"), &body);
    }

    #[test]
    fn random_acknowledgements_and_headers_make_no_reader_panic(
        subject in "\\$JS\\.ACK(\\.[a-z0-9]{1,3}){5,10}", body in "(\\+ACK|-NAK|\\+NXT|\\+TERM|\\+WPI)? ?[ -~]{0,20}", block in "NATS/1.0\r\n(Nats-[A-Za-z-]{1,9}: ?[0-9a-z]{0,5}\r\n){0,3}\r\n",
    ) {
        fuzz::acks(&subject, body.as_bytes());
        fuzz::headers(block.as_bytes());
    }

    #[test]
    fn random_mappings_keep_their_bounds(
        subject in "(t|[a-c-]{1,6}|é)(\\.([a-c-]{1,6}|é)){0,4}", source in "(t|\\*)(\\.(\\*|[a-c]))?(\\.(\\*|>))?",
        words in prop::collection::vec(prop::sample::select(vec![
            "a", "$1", "$3", "{{wildcard(1)}}", "{{partition(3,1)}}", "{{Split From Left(1,2)}}", "{{splitfromleft(1,2)}}", "{{slicefromright(1,1)}}",
            "{{split(1,-)}}", "{{left(1,2)}}", "{{right(1,9)}}", "{{random(9)}}", "{{random(0)}}", "{{left(1)}}", "{{", "*", ">", "",
        ]), 1..6),
    ) {
        fuzz::mappings(&subject, format!("{source}\n{}", words.join(".")).as_bytes());
    }

    #[test]
    fn random_configurations_make_no_reader_panic(
        words in prop::collection::vec(prop::sample::select(vec![
            "port", "listen", "jetstream", "authorization", "users", "tls", "include", "$x", "{", "}", "[", "]", ":", "=", "\n", "#", "\"", "1", "8kb",
            "true", "a:4222", "$2a$11$x", "(", ")",
        ]), 0..40),
    ) {
        fuzz::configuration(&words.join(" "));
    }
}
