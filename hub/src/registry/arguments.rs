//! The arguments of queues and exchanges: which are known, of what type and range, and what kind of queue takes them.
//!
//! Arguments that nobody knows are kept and shown, and mean nothing, as in RabbitMQ. A known one with a value that cannot be is
//! refused, never passed over.

mod stream;

pub(crate) use stream::{StreamAsked, check_arguments};

use super::bytes::is_shallow;
use crate::router::ExchangeKind;
use crate::router::headers::HeaderMatch;
use stele_model::queue::{Overflow, QueueKind};
use stele_model::refusal::{Object, Refusal};
use stele_model::stream::StreamSettings;
use stele_model::value::{Arguments, Value};

/// Largest number of milliseconds for a time to live or an expiry: as much as a u32 holds, as in RabbitMQ.
const MS_MAX: i64 = u32::MAX as i64;

/// What is being made, for the refusal.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    /// What kind of thing.
    pub(crate) object: Object,
    /// Its name.
    pub(crate) name: &'a str,
    /// Where.
    pub(crate) namespace: &'a str,
}

impl Made<'_> {
    /// The refusal of a queue whose name a stream has, in RabbitMQ's words.
    pub(crate) fn is_stream(&self) -> Refusal {
        Refusal::Inequivalent {
            object: self.object,
            name: self.name.to_owned(),
            namespace: self.namespace.to_owned(),
            argument: "x-queue-type".to_owned(),
            asked: "classic".to_owned(),
            is: "stream".to_owned(),
        }
    }

    /// The refusal of one of its arguments.
    pub(crate) fn invalid(&self, argument: &str, why: impl Into<String>) -> Refusal {
        Refusal::InvalidArgument {
            object: self.object,
            name: self.name.to_owned(),
            namespace: self.namespace.to_owned(),
            argument: argument.to_owned(),
            why: why.into(),
        }
    }
}

/// What a value must be.
#[derive(Clone, Copy)]
enum Want {
    Int {
        min: i64,
        max: i64,
    },
    Bool,
    Text,
    OneOf {
        words: &'static [&'static str],
        /// What is said of another word.
        otherwise: &'static str,
    },
    /// RabbitMQ has it, for streams or for more than one node; kept and shown, without meaning here.
    Any,
}

/// Which types of queue take an argument.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    Both,
    Classic,
    Quorum,
    /// Any type, and streams.
    All,
    /// Both, with a meaning of its own for streams.
    BothAndStream,
}

impl For {
    fn takes(self, kind: QueueKind) -> bool {
        match self {
            Self::Both | Self::All | Self::BothAndStream => true,
            Self::Classic => kind == QueueKind::Classic,
            Self::Quorum => kind == QueueKind::Quorum,
        }
    }

    fn takes_streams(self) -> bool {
        matches!(self, Self::All | Self::BothAndStream)
    }
}

const OVERFLOW: Want = Want::OneOf {
    words: &["drop-head", "reject-publish", "reject-publish-dlx"],
    otherwise: "invalid_overflow",
};
const STRATEGY: Want =
    Want::OneOf { words: &["at-most-once", "at-least-once"], otherwise: "invalid_dlx_strategy" };
const LOCATOR: Want =
    Want::OneOf { words: &["client-local", "balanced"], otherwise: "invalid_queue_locator_arg" };
const MODE: Want = Want::OneOf { words: &["default", "lazy"], otherwise: "invalid_queue_mode" };
const LENGTH: Want = Want::Int { min: 0, max: i64::MAX };

/// Every argument that a queue's equivalence is judged by.
const QUEUE_ARGUMENTS: &[(&str, Want, For)] = &[
    ("x-dead-letter-exchange", Want::Text, For::Both),
    ("x-dead-letter-routing-key", Want::Text, For::Both),
    ("x-dead-letter-strategy", STRATEGY, For::Quorum),
    ("x-delivery-limit", Want::Int { min: i64::MIN, max: u32::MAX as i64 }, For::Quorum),
    ("x-expires", Want::Int { min: 1, max: MS_MAX }, For::Both),
    ("x-max-in-memory-bytes", LENGTH, For::Quorum),
    ("x-max-in-memory-length", LENGTH, For::Quorum),
    ("x-max-length", LENGTH, For::Both),
    ("x-max-length-bytes", LENGTH, For::BothAndStream),
    ("x-max-priority", Want::Int { min: 0, max: 255 }, For::Classic),
    ("x-message-ttl", Want::Int { min: 0, max: MS_MAX }, For::Both),
    ("x-overflow", OVERFLOW, For::Both),
    ("x-queue-leader-locator", LOCATOR, For::All),
    ("x-queue-master-locator", Want::Text, For::Classic),
    ("x-queue-mode", MODE, For::Classic),
    ("x-queue-type", Want::Text, For::All),
    ("x-queue-version", Want::Int { min: 1, max: 2 }, For::Classic),
    ("x-quorum-initial-group-size", Want::Int { min: 1, max: i64::MAX }, For::Quorum),
    ("x-quorum-target-group-size", Want::Int { min: 1, max: i64::MAX }, For::Quorum),
    ("x-single-active-consumer", Want::Bool, For::Both),
    ("x-consumer-timeout", Want::Any, For::Both),
];

/// Names of the queue arguments that an equivalence check looks at, but for the type.
pub(crate) fn compared_queue_arguments() -> impl Iterator<Item = &'static str> {
    QUEUE_ARGUMENTS.iter().map(|(name, ..)| *name).filter(|name| *name != "x-queue-type")
}

/// What a queue is to be, besides its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    /// Outlives a restart.
    pub(crate) durable: bool,
    /// Only for its session.
    pub(crate) exclusive: bool,
    /// Gone after its last consumer.
    pub(crate) auto_delete: bool,
}

/// What is to be made.
pub(crate) enum Checked {
    /// A queue of this type.
    Queue(QueueKind),
    /// A stream.
    Stream(StreamSettings),
}

/// Checks the arguments and properties of a queue that is to be made; tells what it is.
///
/// # Errors
/// The first that cannot be.
pub(crate) fn check_queue(
    made: Made<'_>,
    properties: Properties,
    arguments: &Arguments,
) -> Result<Checked, Refusal> {
    check_shallow(made, arguments)?;
    let kind = match arguments.get("x-queue-type").map(|value| value.as_text()) {
        None | Some(Some("classic")) => QueueKind::Classic,
        Some(Some("quorum")) => QueueKind::Quorum,
        Some(Some("stream")) => return stream::check(made, properties, arguments).map(Checked::Stream),
        Some(Some(other)) => {
            let why = format!("\"unsupported queue type '{other}'\"");
            return Err(made.invalid("x-queue-type", why));
        }
        Some(None) => return Err(made.invalid("x-queue-type", "{unacceptable_type,not_longstr}")),
    };
    for (name, want, of) in QUEUE_ARGUMENTS {
        let Some(value) = arguments.get(*name) else { continue };
        check_value(value, *want).map_err(|why| made.invalid(name, why))?;
        if !of.takes(kind) {
            let kind = match kind {
                QueueKind::Classic => "classic",
                QueueKind::Quorum => "quorum",
            };
            return Err(made.invalid(name, format!("of queue type rabbit_{kind}_queue")));
        }
    }
    if arguments.contains_key("x-dead-letter-routing-key")
        && !arguments.contains_key("x-dead-letter-exchange")
    {
        return Err(made.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
    }
    if kind == QueueKind::Quorum && !properties.durable {
        return Err(made.invalid("non-durable", "a quorum queue is durable"));
    }
    if kind == QueueKind::Quorum && properties.exclusive {
        return Err(made.invalid("exclusive-owner", "a quorum queue is not exclusive"));
    }
    Ok(Checked::Queue(kind))
}

/// Checks the arguments of an exchange.
///
/// # Errors
/// The first that cannot be.
pub(crate) fn check_exchange(made: Made<'_>, arguments: &Arguments) -> Result<(), Refusal> {
    check_shallow(made, arguments)?;
    match arguments.get("alternate-exchange") {
        None | Some(Value::Text(_)) => Ok(()),
        Some(other) => {
            Err(made.invalid("alternate-exchange", format!("{{unacceptable_type,{}}}", type_word(other))))
        }
    }
}

/// Checks the arguments of a rule that leads from an exchange of this kind.
///
/// # Errors
/// What cannot be.
pub(crate) fn check_rule(made: Made<'_>, source: ExchangeKind, arguments: &Arguments) -> Result<(), Refusal> {
    check_shallow(made, arguments)?;
    if source != ExchangeKind::Headers || HeaderMatch::of(arguments).is_some() {
        return Ok(());
    }
    let why = match arguments.get("x-match") {
        Some(Value::Text(word)) => format!(
            "Invalid x-match field value <<\"{word}\">>; expected all, any, all-with-x, or any-with-x"
        ),
        Some(Value::Int(number)) => {
            format!("Invalid x-match field type signedint (value {number}); expected longstr")
        }
        other => {
            let got = other.map_or("void", type_word);
            format!("Invalid x-match field type {got}; expected longstr")
        }
    };
    Err(made.invalid("x-match", why))
}

fn check_shallow(made: Made<'_>, arguments: &Arguments) -> Result<(), Refusal> {
    if is_shallow(arguments) { Ok(()) } else { Err(made.invalid("arguments", "nested too deeply")) }
}

/// Why a value cannot be, in RabbitMQ's terms, which people search for.
fn check_value(value: &Value, want: Want) -> Result<(), String> {
    let got = type_word(value);
    match (want, value) {
        (Want::Any, _) | (Want::Bool, Value::Bool(_)) | (Want::Text, Value::Text(_)) => Ok(()),
        (Want::Int { min, .. }, Value::Int(number)) if *number < min => {
            Err(if *number == 0 { "{value_zero,0}".into() } else { format!("{{value_negative,{number}}}") })
        }
        (Want::Int { max, .. }, Value::Int(number)) if *number > max => {
            Err(format!("{{max_value_exceeded,{number}}}"))
        }
        (Want::Int { .. }, Value::Int(_)) => Ok(()),
        (Want::OneOf { words, .. }, Value::Text(word)) if words.contains(&word.as_str()) => Ok(()),
        (Want::OneOf { otherwise, .. }, Value::Text(_)) => Err(otherwise.into()),
        (Want::Int { .. }, _) => Err(format!("\"expected integer, got {got}\"")),
        (Want::Bool | Want::Text | Want::OneOf { .. }, _) => Err(format!("{{unacceptable_type,{got}}}")),
    }
}

/// The word for a value's type, as RabbitMQ's texts have it.
pub(crate) fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Void => "void",
        Value::Bool(_) => "bool",
        Value::Int(_) => "signedint",
        Value::Float(_) => "double",
        Value::Decimal { .. } => "decimal",
        Value::Text(_) => "longstr",
        Value::Bytes(_) => "binary",
        Value::Timestamp(_) => "timestamp",
        Value::List(_) => "array",
        Value::Table(_) => "table",
    }
}

/// Refuses to find `asked` where something else `is`.
pub(super) fn equal<T: PartialEq + ToString>(
    made: Made<'_>,
    argument: &str,
    asked: T,
    is: T,
) -> Result<(), Refusal> {
    if asked == is {
        return Ok(());
    }
    Err(Refusal::Inequivalent {
        object: made.object,
        name: made.name.to_owned(),
        namespace: made.namespace.to_owned(),
        argument: argument.to_owned(),
        asked: asked.to_string(),
        is: is.to_string(),
    })
}

/// As [`equal`], for an argument.
pub(super) fn equal_argument(
    made: Made<'_>,
    name: &str,
    asked: &Arguments,
    is: &Arguments,
) -> Result<(), Refusal> {
    let (asked, is) = (asked.get(name), is.get(name));
    if asked == is {
        return Ok(());
    }
    // Where one side has nothing, RabbitMQ tells the other's type.
    let told = |value: Option<&Value>| match value {
        None => "none".to_owned(),
        Some(value) if asked.is_some() && is.is_some() => as_text(value),
        Some(value) => format!("the value '{}' of type '{}'", as_text(value), type_word(value)),
    };
    equal(made, name, told(asked), told(is))
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        other => format!("{other:?}"),
    }
}

/// The overflow behaviour that a word stands for.
pub(crate) fn overflow(word: &str) -> Option<Overflow> {
    match word {
        "drop-head" => Some(Overflow::DropHead),
        "reject-publish" => Some(Overflow::RejectPublish),
        "reject-publish-dlx" => Some(Overflow::RejectPublishDlx),
        _ => None,
    }
}

/// Settings that a policy may make, each checked as the argument of a queue that it stands for.
const POLICY_KEYS: &[(&str, Want)] = &[
    ("alternate-exchange", Want::Text),
    ("consumer-timeout", Want::Any),
    ("dead-letter-exchange", Want::Text),
    ("dead-letter-routing-key", Want::Text),
    ("dead-letter-strategy", STRATEGY),
    ("delivery-limit", Want::Int { min: i64::MIN, max: u32::MAX as i64 }),
    ("expires", Want::Int { min: 1, max: MS_MAX }),
    ("max-in-memory-bytes", LENGTH),
    ("max-in-memory-length", LENGTH),
    ("max-length", LENGTH),
    ("max-length-bytes", LENGTH),
    ("message-ttl", Want::Int { min: 0, max: MS_MAX }),
    ("overflow", OVERFLOW),
    ("queue-leader-locator", LOCATOR),
    ("queue-mode", MODE),
    ("queue-version", Want::Int { min: 1, max: 2 }),
    ("target-group-size", Want::Int { min: 1, max: i64::MAX }),
];

/// The settings among them that an operator may make.
const OPERATOR_KEYS: &[&str] = &[
    "delivery-limit",
    "expires",
    "max-in-memory-bytes",
    "max-in-memory-length",
    "max-length",
    "max-length-bytes",
    "message-ttl",
    "overflow",
    "queue-version",
    "target-group-size",
];

/// Checks what a policy sets.
///
/// # Errors
/// The setting that cannot be, and why.
pub(crate) fn check_policy(operator: bool, definition: &Arguments) -> Result<(), (String, String)> {
    if definition.is_empty() {
        return Err(("definition".into(), "sets nothing".into()));
    }
    for (name, value) in definition {
        let known = POLICY_KEYS.iter().find(|(key, _)| key == name);
        let known = known.filter(|_| !operator || OPERATOR_KEYS.contains(&name.as_str()));
        let (_, want) = known.ok_or_else(|| (name.clone(), "not a recognised policy setting".to_owned()))?;
        check_value(value, *want).map_err(|why| (name.clone(), why))?;
    }
    Ok(())
}
