//! AMQP's words for "no": reply codes, and the texts RabbitMQ gives, which clients and people search for.
//!
//! Called by the session. Every [`Refusal`] has its place here, by a `match` without `_`.

use crate::profile::TEXT_BYTES_MAX;
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::RecordRefusal;

/// Reply codes of AMQP 0-9-1 (section 1.2 of its reference) and RabbitMQ's use of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Code {
    /// The operator or the server ends the connection.
    ConnectionForced = 320,
    /// No grant, or a name of the system.
    AccessRefused = 403,
    /// No such thing.
    NotFound = 404,
    /// Another connection's own.
    ResourceLocked = 405,
    /// An argument does not fit.
    PreconditionFailed = 406,
    /// The frames themselves are wrong.
    FrameError = 501,
    /// A frame's content is wrong.
    SyntaxError = 502,
    /// No such method, or not at this time.
    CommandInvalid = 503,
    /// The channel is not open, or open already.
    ChannelError = 504,
    /// A frame of another kind had to come.
    UnexpectedFrame = 505,
    /// A bound was reached.
    ResourceError = 506,
    /// Against the rules of the server.
    NotAllowed = 530,
    /// Not done here.
    NotImplemented = 540,
    /// Our mistake.
    InternalError = 541,
}

impl Code {
    /// Whether it ends the connection; the others end a channel.
    #[must_use]
    pub fn is_hard(self) -> bool {
        match self {
            Self::AccessRefused | Self::NotFound | Self::ResourceLocked | Self::PreconditionFailed => false,
            Self::ConnectionForced
            | Self::FrameError
            | Self::SyntaxError
            | Self::CommandInvalid
            | Self::ChannelError
            | Self::UnexpectedFrame
            | Self::ResourceError
            | Self::NotAllowed
            | Self::NotImplemented
            | Self::InternalError => true,
        }
    }

    /// As RabbitMQ starts its texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }
}

/// What ends a channel or a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// The reply code.
    pub code: Code,
    /// What is wrong; the code's name is put before it.
    pub text: String,
    /// Class and number of the method that caused it; zeros if none did.
    pub method: (u16, u16),
}

impl Exception {
    /// Without a method.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), method: (0, 0) }
    }

    /// Caused by this method, unless another is named already.
    #[must_use]
    pub fn by(mut self, method: (u16, u16)) -> Self {
        if self.method == (0, 0) {
            self.method = method;
        }
        self
    }

    /// The reply text: name and text, cut to the length of a short string.
    #[must_use]
    pub fn reply_text(&self) -> String {
        cut(&format!("{} - {}", self.code.name(), self.text)).to_owned()
    }
}

/// As much of a text as a short string holds.
#[must_use]
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Why a stream does not take a publish or a reader.
fn stream_refused(reason: &StreamRefusal) -> String {
    match reason {
        StreamRefusal::UnknownStream | StreamRefusal::UnknownUuid => "no such stream".to_owned(),
        StreamRefusal::UnknownPartition => "the stream has no such partition".to_owned(),
        StreamRefusal::OutOfRange { ends } => {
            format!("the offset is not within {} and {}", ends.start, ends.end)
        }
        StreamRefusal::TooLarge { max } => format!("message size is larger than the stream's {max} bytes"),
        StreamRefusal::OutOfSequence | StreamRefusal::ProducerFenced | StreamRefusal::UnknownProducer => {
            "the producer's numbers do not follow each other".to_owned()
        }
        StreamRefusal::KeysMissing(_) => "messages of a compacted stream need keys".to_owned(),
        StreamRefusal::Record { stream, why } => format!("stream '{stream}': {}", record_refused(why)),
    }
}

/// Why a stream that tells its messages apart, which another dialect made, does not take one.
fn record_refused(why: &RecordRefusal) -> &'static str {
    match why {
        RecordRefusal::RecordsMax => "maximum messages reached",
        RecordRefusal::BytesMax => "maximum bytes reached",
        RecordRefusal::PerSubjectMax => "maximum messages of the routing key reached",
        RecordRefusal::TooLarge { .. } => "message size is larger than it allows",
        RecordRefusal::Sealed => "it is sealed",
        RecordRefusal::SubjectsOverlap => "it captures some of the same routing keys",
        RecordRefusal::OtherStream
        | RecordRefusal::WrongEnd { .. }
        | RecordRefusal::WrongLast { .. }
        | RecordRefusal::WrongLastId { .. } => "a condition does not hold",
        RecordRefusal::NoRollup
        | RecordRefusal::Impossible
        | RecordRefusal::Bundle(_)
        | RecordRefusal::NoDue
        | RecordRefusal::WrongDue
        | RecordRefusal::WrongSample
        | RecordRefusal::NotDue
        | RecordRefusal::NoTtl
        | RecordRefusal::NoDelete
        | RecordRefusal::NoPurge
        | RecordRefusal::NoRecord
        | RecordRefusal::NotByRecord
        | RecordRefusal::NotSingle => "it does not do this",
    }
}

/// What a refusal is in AMQP.
#[must_use]
pub fn refused(refusal: &Refusal) -> Exception {
    let (code, text) = match refusal {
        Refusal::Missing { object: Object::Namespace, name, .. } => {
            (Code::NotAllowed, format!("vhost {name} not found"))
        }
        Refusal::Exists { object, name } => {
            (Code::PreconditionFailed, format!("{object} '{name}' is there already"))
        }
        Refusal::Stream(reason) => (Code::PreconditionFailed, stream_refused(reason)),
        // No request of this dialect names a group.
        Refusal::Group(reason) => (Code::InternalError, format!("group refused: {reason:?}")),
        Refusal::Missing { object, name, namespace } => {
            (Code::NotFound, format!("no {object} '{name}' in vhost '{namespace}'"))
        }
        Refusal::Inequivalent { object, name, namespace, argument, asked, is } => {
            let (asked, is) = (quoted(asked), quoted(is));
            let thing = format!("{object} '{name}' in vhost '{namespace}'");
            let text =
                format!("inequivalent arg '{argument}' for {thing}: received {asked} but current is {is}");
            (Code::PreconditionFailed, text)
        }
        Refusal::InvalidArgument { object: Object::Stream, name, namespace, argument, why } => {
            let thing = format!("queue '{name}' in vhost '{namespace}'");
            match argument.as_str() {
                "messages_max" => {
                    let text = format!("consumer prefetch count is not set for stream {thing}");
                    (Code::PreconditionFailed, text)
                }
                "no_ack" => {
                    let text = format!("automatic acknowledgement not supported by stream {thing}");
                    (Code::NotImplemented, text)
                }
                "get" => (Code::NotImplemented, format!("basic.get not supported by stream queues {thing}")),
                "purge" => {
                    (Code::NotImplemented, format!("queue.purge not supported by stream queues {thing}"))
                }
                other => (Code::PreconditionFailed, invalid_argument(&thing, other, why)),
            }
        }
        Refusal::InvalidArgument { object, name, namespace, argument, why } => {
            let thing = format!("{object} '{name}' in vhost '{namespace}'");
            (Code::PreconditionFailed, invalid_argument(&thing, argument, why))
        }
        Refusal::UnknownExchangeKind { kind } => {
            (Code::PreconditionFailed, format!("unknown exchange type '{kind}'"))
        }
        Refusal::Reserved { why, .. } => (Code::AccessRefused, why.clone()),
        Refusal::Denied { access, object, name, namespace, user } => {
            let access = access_word(*access);
            let text = format!(
                "{access} access to {object} '{name}' in vhost '{namespace}' refused for user '{user}'"
            );
            (Code::AccessRefused, text)
        }
        Refusal::KeyDenied { access, key, exchange, namespace, user } => {
            let access = access_word(*access);
            let text = format!(
                "{access} access to topic '{key}' in exchange '{exchange}' in vhost '{namespace}' refused for user '{user}'"
            );
            (Code::AccessRefused, text)
        }
        Refusal::NamespaceDenied { namespace, user } => {
            (Code::NotAllowed, format!("access to vhost '{namespace}' refused for user '{user}'"))
        }
        Refusal::InternalExchange { name, namespace } => (
            Code::AccessRefused,
            format!("cannot publish to internal exchange '{name}' in vhost '{namespace}'"),
        ),
        Refusal::Locked { name, namespace } => {
            let text = format!(
                "cannot obtain exclusive access to locked queue '{name}' in vhost '{namespace}'. It could be originally \
                 declared on another connection or the exclusive property value does not match that of the original \
                 declaration."
            );
            (Code::ResourceLocked, text)
        }
        Refusal::ExclusiveConsumer { name, namespace } => {
            (Code::AccessRefused, format!("queue '{name}' in vhost '{namespace}' in exclusive use"))
        }
        Refusal::InUse { object, name, namespace } => {
            (Code::PreconditionFailed, format!("{object} '{name}' in vhost '{namespace}' in use"))
        }
        Refusal::NotEmpty { name, namespace } => {
            (Code::PreconditionFailed, format!("queue '{name}' in vhost '{namespace}' not empty"))
        }
        Refusal::Full { name } => (Code::PreconditionFailed, format!("queue '{name}' is full")),
        Refusal::Limit { what, max } => {
            (Code::PreconditionFailed, format!("limit of {what} ({max}) is reached"))
        }
        Refusal::NotImplemented { what } => (Code::NotImplemented, what.clone()),
        Refusal::Unavailable { why } => (Code::InternalError, format!("not available now: {why}")),
    };
    Exception::new(code, text)
}

/// RabbitMQ quotes plain values, but neither the absence of one nor one that is told with its type.
fn quoted(value: &str) -> String {
    let is_told = value == "none" || value.starts_with("the value ");
    if is_told { value.to_owned() } else { format!("'{value}'") }
}

fn access_word(access: Access) -> &'static str {
    match access {
        Access::Configure => "configure",
        Access::Write => "write",
        Access::Read => "read",
    }
}

/// RabbitMQ has a sentence for each way in which an argument can be wrong.
fn invalid_argument(thing: &str, argument: &str, why: &str) -> String {
    let names_exchange = matches!(argument, "x-dead-letter-exchange" | "alternate-exchange");
    let wrong_type = why.strip_prefix("{unacceptable_type,").and_then(|rest| rest.strip_suffix('}'));
    match (argument, wrong_type) {
        ("x-match", _) => why.to_owned(),
        ("exclusive-owner" | "non-durable" | "auto-delete", _) => {
            format!("invalid property '{argument}' for {thing}")
        }
        (_, Some(wrong)) if names_exchange => {
            format!("invalid type '{wrong}' for arg '{argument}' in {thing}")
        }
        _ if why.starts_with("of queue type ") => format!("invalid arg '{argument}' for {thing} {why}"),
        _ => format!("invalid arg '{argument}' for {thing}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_queue_reads_as_in_rabbitmq() {
        let (name, namespace) = ("q".to_owned(), "/".to_owned());
        let exception = refused(&Refusal::Missing { object: Object::Queue, name, namespace });
        assert_eq!(exception.reply_text(), "NOT_FOUND - no queue 'q' in vhost '/'");
        assert!(!exception.code.is_hard());
    }

    #[test]
    fn a_key_that_may_not_be_used_reads_as_in_rabbitmq() {
        let (exchange, namespace, user) = ("amq.topic".to_owned(), "/".to_owned(), "ann".to_owned());
        let (access, key) = (Access::Write, "a.b".to_owned());
        let exception = refused(&Refusal::KeyDenied { access, key, exchange, namespace, user });
        let text = "ACCESS_REFUSED - write access to topic 'a.b' in exchange 'amq.topic' in vhost '/' refused for user 'ann'";
        assert_eq!(exception.reply_text(), text);
        assert!(!exception.code.is_hard());
    }

    #[test]
    fn values_that_differ_are_told_as_in_rabbitmq() {
        assert_eq!(quoted("false"), "'false'");
        assert_eq!(quoted("none"), "none");
        let told = "the value '60000' of type 'signedint'";
        assert_eq!(quoted(told), told);
    }

    #[test]
    fn each_wrong_argument_has_its_sentence() {
        let cases = [
            ("x-expires", "{value_zero,0}", "invalid arg 'x-expires' for q: {value_zero,0}"),
            ("x-match", "Invalid x-match field", "Invalid x-match field"),
            ("non-durable", "a quorum queue is durable", "invalid property 'non-durable' for q"),
            ("x-delivery-limit", "of queue type t", "invalid arg 'x-delivery-limit' for q of queue type t"),
            (
                "x-dead-letter-exchange",
                "{unacceptable_type,bool}",
                "invalid type 'bool' for arg 'x-dead-letter-exchange' in q",
            ),
            (
                "x-overflow",
                "{unacceptable_type,bool}",
                "invalid arg 'x-overflow' for q: {unacceptable_type,bool}",
            ),
        ];
        for (argument, why, text) in cases {
            assert_eq!(invalid_argument("q", argument, why), text);
        }
    }

    #[test]
    fn a_reply_text_is_cut_between_characters() {
        let exception = Exception::new(Code::NotFound, "é".repeat(300));
        assert!(exception.reply_text().len() <= TEXT_BYTES_MAX);
    }
}
