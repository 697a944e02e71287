//! The bytes of registry entries against golden ones: what a released version wrote stays readable, and is still written so.
//! The format is described in `docs/format-registry.md`.

use bytes::Bytes;
use std::fmt::Write as _;
use stele_hub::registry::entry::{
    ExchangeFact, Fact, NamespaceFact, PartitionsFact, QueueFact, RuleFact, StreamFact, decode, encode,
};
use stele_hub::registry::review::Looked;
use stele_hub::router::{ExchangeKind, TargetId};
use stele_model::id::{
    Boot, ExchangeId, HubId, NamespaceId, Position, PrincipalId, QueueId, SessionId, ShardId,
};
use stele_model::queue::QueueKind;
use stele_model::refusal::Object;
use stele_model::registry::{AppliesTo, Grant, KeyGrant, Policy, Right, ScramHash, ScramSecret, User, Verb};
use stele_model::stream::records::{Discard, RecordSettings, Retention, Storage};
use stele_model::stream::{StreamSettings, StreamUuid, TimeKind};
use stele_model::subject::Pattern;
use stele_model::value::{Arguments, Value};

const GOLDEN: &str = include_str!("golden/registry-v1.txt");

/// One of each kind, with every kind of value somewhere.
fn facts() -> Vec<(&'static str, Fact)> {
    let all_values = Arguments::from([
        ("bool".to_owned(), Value::Bool(true)),
        ("bytes".to_owned(), Value::Bytes(vec![0, 255])),
        ("decimal".to_owned(), Value::Decimal { scale: 2, digits: -314 }),
        ("float".to_owned(), Value::Float(0.5)),
        ("int".to_owned(), Value::Int(-2)),
        ("list".to_owned(), Value::List(vec![Value::Int(1), Value::Text("a".into())])),
        ("table".to_owned(), Value::Table(Arguments::from([("k".to_owned(), Value::Void)]))),
        ("text".to_owned(), Value::Text("ü".into())),
        ("timestamp".to_owned(), Value::Timestamp(7)),
    ]);
    let exchange = ExchangeFact {
        id: ExchangeId(8),
        namespace: NamespaceId(1),
        name: "x".into(),
        kind: ExchangeKind::Headers,
        durable: true,
        auto_delete: false,
        internal: true,
        arguments: all_values,
    };
    let queue = QueueFact {
        id: QueueId(3),
        namespace: NamespaceId(1),
        name: "q".into(),
        shard: ShardId(2),
        kind: QueueKind::Quorum,
        durable: true,
        auto_delete: true,
        owner: Some(SessionId { hub: HubId(1), number: 9 }),
        arguments: Arguments::new(),
    };
    let rule = |target, key: &'static [u8]| RuleFact {
        namespace: NamespaceId(1),
        source: ExchangeId(8),
        target,
        key: Bytes::from_static(key),
        arguments: Arguments::from([("x-match".to_owned(), Value::Text("any".into()))]),
    };
    let (id, name) = (NamespaceId(1), "/".to_owned());
    let user = User {
        name: "guest".into(),
        password_hash: "aGFzaA==".into(),
        tags: vec!["administrator".into()],
        scram: Vec::new(),
    };
    let text = |text: &str| text.to_owned();
    let uuid = StreamUuid([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    let partitions = vec![(QueueId(5), ShardId(0)), (QueueId(6), ShardId(1))];
    let stream = StreamFact {
        uuid,
        namespace: id,
        name: text("orders"),
        internal: true,
        settings: StreamSettings {
            retention_ms: Some(604_800_000),
            retention_bytes: None,
            delete: true,
            compact: true,
            compact_after_ms: 3,
            tombstone_ms: 86_400_000,
            batch_bytes_max: 1_048_588,
            capture: true,
            time: TimeKind::Append,
            records: None,
        },
        arguments: Arguments::from([(text("retention.ms"), Value::Text(text("604800000")))]),
    };
    let records = RecordSettings {
        subjects: vec![Pattern::new("a.*").unwrap(), Pattern::new("b.>").unwrap()],
        records_max: Some(1),
        per_subject_max: Some(2),
        discard: Discard::New { per_subject: true },
        dedupe_ms: 3,
        storage: Storage::Memory,
        retention: Retention::Work,
        first: Position(4),
        groups_max: Some(5),
        rollup: true,
        record_ttl: true,
        due: false,
        marker_ttl_ms: Some(6),
        deny_delete: true,
        deny_purge: true,
        sealed: true,
        no_ack: true,
        bundles: false,
        rename: None,
        echo: None,
    };
    let due = RecordSettings { due: true, ..RecordSettings::default() };
    let of_due = StreamFact {
        settings: StreamSettings { records: Some(Box::new(due)), ..stream.settings.clone() },
        ..stream.clone()
    };
    let by_record = StreamFact {
        settings: StreamSettings { records: Some(Box::new(records)), ..stream.settings.clone() },
        ..stream.clone()
    };
    let secret = ScramSecret {
        hash: ScramHash::Sha512,
        salt: vec![1, 2, 3],
        iterations: 4096,
        stored_key: vec![4, 5],
        server_key: vec![6],
    };
    let with_scram =
        User { name: text("ann"), password_hash: String::new(), tags: Vec::new(), scram: vec![secret] };
    vec![
        ("boot", Fact::Boot(Boot(4))),
        (
            "namespace",
            Fact::Namespace(NamespaceFact { id, name, queues_max: Some(5), connections_max: None }),
        ),
        ("namespace gone", Fact::NamespaceGone(id)),
        ("exchange", Fact::Exchange(exchange)),
        ("exchange gone", Fact::ExchangeGone(id, ExchangeId(8))),
        ("queue", Fact::Queue(queue)),
        ("queue gone", Fact::QueueGone(QueueId(3))),
        ("rule", Fact::Rule(rule(TargetId::Queue(QueueId(3)), b"a.#"))),
        ("rule gone", Fact::RuleGone(rule(TargetId::Exchange(ExchangeId(2)), b""))),
        ("user", Fact::User(PrincipalId(1), user)),
        ("user gone", Fact::UserGone(text("guest"))),
        (
            "grant",
            Fact::Grant(Grant {
                user: text("guest"),
                namespace: text("/"),
                configure: text(".*"),
                write: text("^w"),
                read: text(""),
            }),
        ),
        ("grant gone", Fact::GrantGone { user: text("guest"), namespace: text("/") }),
        (
            "policy",
            Fact::Policy(Policy {
                namespace: text("/"),
                name: text("p"),
                pattern: text("^q"),
                applies_to: AppliesTo::QuorumQueues,
                priority: -1,
                operator: true,
                definition: Arguments::from([(text("max-length"), Value::Int(10))]),
            }),
        ),
        ("policy gone", Fact::PolicyGone { namespace: text("/"), name: text("p"), operator: true }),
        ("stream", Fact::Stream(stream)),
        ("stream of records", Fact::Stream(by_record)),
        ("partitions", Fact::Partitions(PartitionsFact { stream: uuid, first: 4, partitions })),
        ("stream gone", Fact::StreamGone(uuid)),
        ("user with scram", Fact::User(PrincipalId(2), with_scram)),
        ("right", Fact::Right(right(Object::Stream, true, Verb::DescribeSettings))),
        ("right gone", Fact::RightGone(right(Object::Group, false, Verb::All))),
        (
            "key grant",
            Fact::KeyGrant(KeyGrant {
                user: text("guest"),
                namespace: text("/"),
                exchange: text("amq.topic"),
                write: text("^w"),
                read: text(""),
            }),
        ),
        (
            "key grant gone",
            Fact::KeyGrantGone { user: text("guest"), namespace: text("/"), exchange: text("amq.topic") },
        ),
        ("review due", Fact::ReviewDue(NamespaceId(1), Looked::default())),
        ("reviewed", Fact::Reviewed(NamespaceId(1), Looked { exchange: ExchangeId(8), queue: QueueId(3) })),
        ("stream of due records", Fact::Stream(of_due)),
    ]
}

fn right(object: Object, is_prefix: bool, verb: Verb) -> Right {
    Right { namespace: "/".into(), user: "guest".into(), object, name: "o".into(), is_prefix, verb }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[test]
fn facts_are_written_in_the_golden_bytes_of_version_1() {
    let mut written = String::new();
    for (name, fact) in facts() {
        writeln!(written, "{name}: {}", hex(&encode(&[fact]))).expect("a string takes everything");
    }
    assert_eq!(written, GOLDEN, "a changed byte is a changed format: see docs/format-registry.md");
}

#[test]
fn the_golden_bytes_of_version_1_are_read_as_the_facts_they_are() {
    for ((name, fact), line) in facts().into_iter().zip(GOLDEN.lines()) {
        let digits = line.strip_prefix(&format!("{name}: ")).expect("lines are in the order of the facts");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("the file is hexadecimal"))
            .collect();
        assert_eq!(decode(&bytes), Ok(vec![fact]), "{name}");
    }
}
