//! What the clients of a run work on: queues that stand for the whole run and whose fate rules the oracle knows exactly, and
//! names that clients make and remove while others use them.
//!
//! The rules here are the ones a user reads in RabbitMQ's documentation; nothing of our code is asked.

use crate::history::stream::Part;
use stele_model::op::{CreateStream, Define, DestinationName, Rule};
use stele_model::queue::DeadLetter;
use stele_model::share::{ShareRef, ShareSettings};
use stele_model::stream::records::RecordSettings;
use stele_model::stream::{PartitionRef, StreamRef, StreamSettings, StreamUuid};
use stele_model::subject::Pattern;
use stele_model::value::{Arguments, Value};

/// A standing queue and what may become of its records without a consumer's doing.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    arguments: &'static [(&'static str, Argument)],
    /// The queue its dead letters arrive in.
    pub dead_letters_to: Option<&'static str>,
    /// Records leave by themselves: by age, by length, by too many deliveries. Where to: `dead_letters_to`, or nowhere.
    pub leaves_alone: bool,
    /// A publish may be refused.
    pub refuses: bool,
    /// Readers may have deliveries settled by sending, so that those under way are lost with their session.
    pub settled_by_sending: bool,
    /// Clients purge it.
    pub purged: bool,
    /// A record may come to it more than once.
    pub circle: bool,
    /// Delivered in the order of positions.
    pub ordered: bool,
    /// Most ready records, also after returns: the oldest make room.
    pub length_max: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Argument {
    Text(&'static str),
    Int(i64),
    Yes,
}

const PLAIN: Standing = Standing {
    name: "",
    arguments: &[],
    dead_letters_to: None,
    leaves_alone: false,
    refuses: false,
    settled_by_sending: false,
    purged: false,
    circle: false,
    ordered: true,
    length_max: None,
};

const DLX: &str = "x-dead-letter-exchange";
const DLK: &str = "x-dead-letter-routing-key";

/// All standing queues.
pub const STANDING: &[Standing] = &[
    Standing { name: "a", ..PLAIN },
    Standing { name: "b", ..PLAIN },
    Standing { name: "c", ..PLAIN },
    Standing {
        name: "work",
        arguments: &[(DLX, Argument::Text("dead"))],
        dead_letters_to: Some("rejected"),
        ..PLAIN
    },
    Standing { name: "rejected", ..PLAIN },
    Standing {
        name: "aging",
        arguments: &[
            (DLX, Argument::Text("")),
            (DLK, Argument::Text("aged")),
            ("x-message-ttl", Argument::Int(3)),
        ],
        dead_letters_to: Some("aged"),
        leaves_alone: true,
        ..PLAIN
    },
    Standing { name: "aged", ..PLAIN },
    Standing {
        name: "short",
        arguments: &[
            (DLX, Argument::Text("")),
            (DLK, Argument::Text("crowded")),
            ("x-max-length", Argument::Int(4)),
        ],
        dead_letters_to: Some("crowded"),
        leaves_alone: true,
        length_max: Some(4),
        ..PLAIN
    },
    Standing { name: "crowded", ..PLAIN },
    Standing {
        name: "brief",
        arguments: &[("x-max-length", Argument::Int(3))],
        leaves_alone: true,
        length_max: Some(3),
        ..PLAIN
    },
    Standing {
        name: "full",
        arguments: &[("x-max-length", Argument::Int(3)), ("x-overflow", Argument::Text("reject-publish"))],
        refuses: true,
        ..PLAIN
    },
    Standing {
        name: "quorum",
        arguments: &[
            ("x-queue-type", Argument::Text("quorum")),
            ("x-delivery-limit", Argument::Int(2)),
            (DLX, Argument::Text("")),
            (DLK, Argument::Text("tired")),
        ],
        dead_letters_to: Some("tired"),
        leaves_alone: true,
        ..PLAIN
    },
    Standing { name: "tired", ..PLAIN },
    Standing { name: "single", arguments: &[("x-single-active-consumer", Argument::Yes)], ..PLAIN },
    Standing { name: "urgent", arguments: &[("x-max-priority", Argument::Int(5))], ordered: false, ..PLAIN },
    Standing { name: "sent", settled_by_sending: true, ..PLAIN },
    Standing { name: "purged", purged: true, ..PLAIN },
    Standing {
        name: "retry",
        arguments: &[(DLX, Argument::Text("")), (DLK, Argument::Text("wait"))],
        dead_letters_to: Some("wait"),
        circle: true,
        ..PLAIN
    },
    Standing {
        name: "wait",
        arguments: &[
            (DLX, Argument::Text("")),
            (DLK, Argument::Text("retry")),
            ("x-message-ttl", Argument::Int(2)),
        ],
        dead_letters_to: Some("retry"),
        leaves_alone: true,
        circle: true,
        ..PLAIN
    },
];

/// The standing queue of this name.
#[must_use]
pub fn standing(name: &str) -> Option<&'static Standing> {
    STANDING.iter().find(|queue| queue.name == name)
}

/// Names that clients make, bind, purge and remove while others publish to them.
pub const RACING: &[&str] = &["race.0", "race.1"];
/// Names that clients make, and remove only if they are empty: what is confirmed there is never lost by that.
pub const RACING_EMPTY: &[&str] = &["spare.0", "spare.1"];
/// An exchange whose rules come and go, all of them to [`RACING`] queues.
pub const RACING_EXCHANGE: &str = "shifting";

/// Where a publish goes and which standing queues must take it.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Exchange.
    pub exchange: &'static str,
    /// Routing key.
    pub key: &'static str,
    /// The queues.
    pub queues: &'static [&'static str],
}

/// Routes over the standing exchanges.
pub const ROUTES: &[Route] = &[
    Route { exchange: "all", key: "", queues: &["a", "b"] },
    Route { exchange: "by-topic", key: "red.one", queues: &["a", "c"] },
    Route { exchange: "by-topic", key: "red.two", queues: &["a"] },
    Route { exchange: "by-topic", key: "blue.one", queues: &["c"] },
    Route { exchange: "by-topic", key: "blue.two", queues: &[] },
    Route { exchange: "many", key: "k", queues: &["work", "aging", "short", "quorum", "b"] },
];

/// A standing stream and what may become of its records.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    /// Its name.
    pub name: &'static str,
    /// How many partitions.
    pub partitions: u32,
    /// Clients remove what they have read.
    pub trimmed: bool,
    /// The oldest go above so many bytes.
    pub retention_bytes: Option<u64>,
}

/// All standing streams. The group of a run reads the first.
pub const STREAMS: &[Stream] = &[
    Stream { name: "kept", partitions: 3, trimmed: false, retention_bytes: None },
    Stream { name: "trimmed", partitions: 1, trimmed: true, retention_bytes: None },
    Stream { name: "lean", partitions: 1, trimmed: false, retention_bytes: Some(2_000) },
];

/// A partition as clients name it.
#[must_use]
pub fn partition(part: Part) -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(STREAMS[part.stream].name.to_owned()), index: part.index }
}

/// Subjects that the stream by subject captures.
pub const JET_SUBJECTS: &[&str] = &["jet.a", "jet.b", "jet.b.c"];
/// Name of the stream by subject. It keeps everything, and remembers ids for longer than a run.
const JET: &str = "jet";
/// Deliveries of its shared group that have not ended, at most.
pub const PENDING_MAX: u32 = 5;
/// How long a delivery may stay unsettled before it comes again, µs.
const LEASE_US: u64 = 10_000;

/// The stream by subject.
#[must_use]
pub fn jet() -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(JET.to_owned()), index: 0 }
}

/// Its shared group.
#[must_use]
pub fn group() -> ShareRef {
    ShareRef { of: jet(), group: "workers".to_owned() }
}

/// The stream that holds the shared group's dead letters, and the subject they come by.
const BURIED: &str = "buried";

/// See [`BURIED`].
#[must_use]
pub fn buried() -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(BURIED.to_owned()), index: 0 }
}

/// The stream whose messages wait for their time, and what subjects in it begin with.
const LATER: &str = "later";
/// The subject that they are published to then.
pub const LATER_TARGET: &str = "later.now";

/// See [`LATER`].
#[must_use]
pub fn later() -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(LATER.to_owned()), index: 0 }
}

/// The subject at which a message waits: its own.
#[must_use]
pub fn later_subject(message: u64) -> String {
    format!("{LATER}.of.{message}")
}

fn create_later() -> Define {
    let subjects = Pattern::new("later.>").into_iter().collect();
    let records = RecordSettings { subjects, dedupe_ms: 1 << 40, due: true, ..RecordSettings::default() };
    create(LATER, 1, StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() })
}

/// The stream of bundles, and the subject that they are published to.
const WHOLE: &str = "whole";
/// See [`WHOLE`].
pub const WHOLE_SUBJECT: &str = "whole.of";

/// See [`WHOLE`].
#[must_use]
pub fn whole() -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(WHOLE.to_owned()), index: 0 }
}

fn create_whole() -> Define {
    let subjects = Pattern::new("whole.>").into_iter().collect();
    let records = RecordSettings { subjects, dedupe_ms: 1 << 40, bundles: true, ..RecordSettings::default() };
    create(WHOLE, 1, StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() })
}

/// What the shared group is set to, by everybody.
#[must_use]
pub fn group_settings() -> ShareSettings {
    let dead_letter = Some(DeadLetter { exchange: "amq.topic".to_owned(), key: Some(BURIED.to_owned()) });
    ShareSettings {
        pending_max: Some(PENDING_MAX),
        lease_us: LEASE_US,
        dead_letter,
        ..ShareSettings::default()
    }
}

fn create_buried() -> Define {
    let subjects = Pattern::new(BURIED).into_iter().collect();
    let records = RecordSettings { subjects, ..RecordSettings::default() };
    create(BURIED, 1, StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() })
}

fn create_jet() -> Define {
    let subjects = Pattern::new("jet.>").into_iter().collect();
    let records = RecordSettings { subjects, dedupe_ms: 1 << 40, ..RecordSettings::default() };
    create(JET, 1, StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() })
}

fn create_standing(stream: &Stream) -> Define {
    let settings = StreamSettings { retention_bytes: stream.retention_bytes, ..StreamSettings::default() };
    create(stream.name, stream.partitions, settings)
}

fn create(name: &str, partitions: u32, settings: StreamSettings) -> Define {
    Define::CreateStream(CreateStream {
        name: name.to_owned(),
        uuid: StreamUuid::default(),
        partitions,
        settings,
        arguments: Arguments::new(),
        check_only: false,
    })
}

/// All definitions that stand, in an order that works.
#[must_use]
pub fn definitions() -> Vec<Define> {
    let mut all = Vec::new();
    for (name, kind) in [
        ("all", "fanout"),
        ("by-topic", "topic"),
        ("many", "direct"),
        ("dead", "fanout"),
        (RACING_EXCHANGE, "fanout"),
    ] {
        all.push(Define::DeclareExchange {
            name: name.to_owned(),
            kind: kind.to_owned(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Arguments::new(),
        });
    }
    all.extend(STANDING.iter().map(declare_standing));
    for (source, key, queue) in [
        ("all", "", "a"),
        ("all", "", "b"),
        ("by-topic", "red.*", "a"),
        ("by-topic", "#.one", "c"),
        ("many", "k", "work"),
        ("many", "k", "aging"),
        ("many", "k", "short"),
        ("many", "k", "quorum"),
        ("many", "k", "b"),
        ("dead", "", "rejected"),
    ] {
        all.push(Define::Bind(rule(source, key, queue)));
    }
    all.extend(STREAMS.iter().map(create_standing));
    all.push(create_jet());
    all.push(create_buried());
    all.push(create_later());
    all.push(create_whole());
    all
}

fn declare_standing(queue: &Standing) -> Define {
    let arguments = queue.arguments.iter().map(|(name, value)| {
        let value = match value {
            Argument::Text(text) => Value::Text((*text).to_owned()),
            Argument::Int(number) => Value::Int(*number),
            Argument::Yes => Value::Bool(true),
        };
        ((*name).to_owned(), value)
    });
    declare(queue.name, arguments.collect())
}

/// Declares a durable queue.
#[must_use]
pub fn declare(name: &str, arguments: Arguments) -> Define {
    Define::DeclareQueue {
        name: name.to_owned(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
    }
}

/// Asks whether a queue is there.
#[must_use]
pub fn look_for(name: &str) -> Define {
    Define::DeclareQueue {
        name: name.to_owned(),
        passive: true,
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Arguments::new(),
    }
}

/// A rule from an exchange to a queue.
#[must_use]
pub fn rule(source: &str, key: &str, queue: &str) -> Rule {
    Rule {
        source: source.to_owned(),
        destination: DestinationName::Queue(queue.to_owned()),
        key: bytes::Bytes::copy_from_slice(key.as_bytes()),
        arguments: Arguments::new(),
    }
}
