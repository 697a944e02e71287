//! What a message carries besides its body: headers with typed values, and the broker's standard properties.
//!
//! Used by transports in both directions; a message that is moved (`_error`, `_skipped`) keeps all of it. Not here: the envelope's
//! own `headers`, which are JSON inside the body ([`crate::envelope`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Headers by name. Names are compared as they are; [`find`] ignores letter case.
pub type Headers = BTreeMap<String, HeaderValue>;

/// The value of one header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HeaderValue {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// Any floating point number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes that are not a text.
    Bytes(Vec<u8>),
    /// A time, whole seconds since the Unix epoch.
    Seconds(u64),
    /// Several values.
    List(Vec<HeaderValue>),
    /// Named values.
    Table(Headers),
}

impl HeaderValue {
    /// The value as a text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value as an integer: a number, or a text of digits.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl From<&str> for HeaderValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for HeaderValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for HeaderValue {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<Timestamp> for HeaderValue {
    fn from(time: Timestamp) -> Self {
        Self::Text(time.to_string())
    }
}

/// Look up a header, first by its exact name, then in any letter case.
pub fn find<'a>(headers: &'a Headers, name: &str) -> Option<&'a HeaderValue> {
    headers.get(name).or_else(|| {
        headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    })
}

/// The standard properties of a message, named as in AMQP 0-9-1. `user_id` is not among them: a broker checks it against the
/// connection, so it cannot be moved along.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    /// MIME type of the body.
    pub content_type: Option<String>,
    /// Encoding of the body.
    pub content_encoding: Option<String>,
    /// Survives a restart of the broker.
    pub persistent: bool,
    /// 0 to 9.
    pub priority: Option<u8>,
    /// Correlation id as a text.
    pub correlation_id: Option<String>,
    /// Where to reply, as the broker understands it.
    pub reply_to: Option<String>,
    /// Time to live in ms; the broker drops the message afterwards.
    pub expiration_ms: Option<u64>,
    /// Message id as a text.
    pub message_id: Option<String>,
    /// Seconds since the Unix epoch.
    pub timestamp: Option<u64>,
    /// Type of the message as the application names it.
    pub kind: Option<String>,
    /// Name of the sending application.
    pub app_id: Option<String>,
    /// The headers.
    pub headers: Headers,
}

/// Names of headers that MassTransit v8 reads and writes (its `MessageHeaders`), and our own.
pub mod names {
    #![allow(missing_docs, reason = "the names say it; they are MassTransit's")]
    pub const PREFIX: &str = "MT-";
    pub const PREFIX_OURS: &str = "Stele-";
    pub const REASON: &str = "MT-Reason";
    pub const FAULT_EXCEPTION_TYPE: &str = "MT-Fault-ExceptionType";
    pub const FAULT_INPUT_ADDRESS: &str = "MT-Fault-InputAddress";
    pub const FAULT_MESSAGE: &str = "MT-Fault-Message";
    pub const FAULT_MESSAGE_TYPE: &str = "MT-Fault-MessageType";
    pub const FAULT_CONSUMER_TYPE: &str = "MT-Fault-ConsumerType";
    pub const FAULT_TIMESTAMP: &str = "MT-Fault-Timestamp";
    pub const FAULT_STACK_TRACE: &str = "MT-Fault-StackTrace";
    pub const FAULT_RETRY_COUNT: &str = "MT-Fault-RetryCount";
    pub const FAULT_REDELIVERY_COUNT: &str = "MT-Fault-RedeliveryCount";
    pub const REDELIVERY_COUNT: &str = "MT-Redelivery-Count";
    pub const SCHEDULING_TOKEN: &str = "MT-Scheduling-TokenId";
    pub const ACCEPT_TYPE: &str = "MT-Request-AcceptType";
    pub const MESSAGE_ID: &str = "MessageId";
    pub const CORRELATION_ID: &str = "CorrelationId";
    pub const CONVERSATION_ID: &str = "ConversationId";
    pub const REQUEST_ID: &str = "RequestId";
    pub const INITIATOR_ID: &str = "MT-InitiatorId";
    pub const SOURCE_ADDRESS: &str = "MT-Source-Address";
    pub const RESPONSE_ADDRESS: &str = "MT-Response-Address";
    pub const FAULT_ADDRESS: &str = "MT-Fault-Address";
    pub const MESSAGE_TYPE: &str = "MT-MessageType";
    /// Ours, in `_skipped`: what was offered and what the endpoint would have taken.
    pub const SKIPPED_OFFERED: &str = "Stele-Skipped-Offered";
    pub const SKIPPED_HANDLED: &str = "Stele-Skipped-Handled";
    /// Whether a broker writes this header itself.
    pub fn is_broker(name: &str) -> bool {
        let starts = ["x-death", "x-first-death", "x-last-death", "x-delay"];
        starts
            .iter()
            .any(|start| name.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)))
    }
    pub const TRACEPARENT: &str = "traceparent";
    pub const TRACESTATE: &str = "tracestate";
}
