//! Where messages go: the seam between the relay and a broker's protocol. Implemented by [`crate::amqp`], [`crate::nats`], [`crate::kafka`],
//! by the relay's tests, and by anybody who wants rows to go elsewhere.

use serde_json::{Map, Value};
use std::future::Future;

/// A broker that can be connected to. One connection per worker.
pub trait Target: Send + Sync + 'static {
    /// A connection.
    type Publisher: Publisher;

    /// Connects.
    ///
    /// # Errors
    /// The broker cannot be reached or does not let us in.
    fn open(&self) -> impl Future<Output = Result<Self::Publisher, Fault>> + Send;
}

/// A connection that publishes and knows what became of it.
pub trait Publisher: Send {
    /// Looks whether this message can be sent at all, and makes what it needs at the broker. Asked before anything behind it in its
    /// aggregate is sent, so what is refused here never costs order.
    ///
    /// # Errors
    /// The connection is gone.
    fn admit(&mut self, message: &Message) -> impl Future<Output = Result<Outcome, Fault>> + Send;

    /// Sends all, in this order, and waits for the broker's word on each: as many outcomes as messages, in the same order.
    ///
    /// # Errors
    /// The connection ended, so that nothing is known of any of them: they are sent again.
    fn publish(&mut self, batch: &[Message]) -> impl Future<Output = Result<Vec<Outcome>, Fault>> + Send;
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has it, as safely as it promises.
    Confirmed,
    /// It does not.
    Refused(Refusal),
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the operator; fits after "could not publish: ".
    pub reason: String,
    /// Whether it will be refused for ever as it is (too long, say), so that the row may be parked. Otherwise it is tried until it works.
    pub lasting: bool,
}

impl Refusal {
    /// It will be refused for ever.
    #[must_use]
    pub fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lasting: true }
    }

    /// It may be taken later.
    #[must_use]
    pub fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lasting: false }
    }
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It was cut, or the broker went away: no message is to blame.
    #[error("{0}")]
    Connection(String),
    /// The broker ended it over something that was sent: one of the messages is to blame, and the relay finds out which.
    #[error("{0}")]
    Message(String),
}

/// A message, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it goes.
    pub address: Address,
    /// The same for every copy.
    pub id: String,
    /// The aggregate: what keeps the order of messages where a broker divides them.
    pub key: String,
    /// The event's type.
    pub kind: String,
    /// Media type of the payload.
    pub content_type: Option<String>,
    /// Application headers.
    pub headers: Map<String, Value>,
    /// What else it carries.
    pub properties: Properties,
    /// The body.
    pub payload: Vec<u8>,
}

/// Properties beside the headers: the keys of the column `properties`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// `correlation_id`
    pub correlation_id: Option<String>,
    /// `reply_to`
    pub reply_to: Option<String>,
    /// `bus`: what only a target that is the bus itself understands.
    pub bus: Option<Value>,
    /// `expiration_ms`: how long it is of use, counted by the broker from its arrival.
    pub expiration_ms: Option<u64>,
}

impl Message {
    /// What is said beside the payload where a broker knows only headers: the application's, which may be of any JSON type, and then
    /// `id`, `type`, `content-type` and those properties that are there.
    #[cfg(any(feature = "nats", feature = "kafka"))]
    pub(crate) fn lines(&self) -> Vec<(&str, String)> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), text(value)));
        let said = [
            ("id", Some(self.id.clone())),
            ("type", Some(self.kind.clone()).filter(|kind| !kind.is_empty())),
            ("content-type", self.content_type.clone()),
            ("correlation-id", self.properties.correlation_id.clone()),
            ("reply-to", self.properties.reply_to.clone()),
            ("expiration-ms", self.properties.expiration_ms.map(|ms| ms.to_string())),
        ];
        let mut lines: Vec<_> = own.filter(|(name, _)| said.iter().all(|(other, _)| other != name)).collect();
        lines.extend(said.into_iter().filter_map(|(name, text)| Some((name, text?))));
        lines
    }
}

impl Address {
    /// Its one name, where a broker has no exchanges and keys: the key if there is one, else the exchange.
    #[cfg(any(feature = "nats", feature = "kafka"))]
    pub(crate) fn name(&self) -> &str {
        if self.routing_key.is_empty() { &self.exchange } else { &self.routing_key }
    }

    /// Whether what it names may be made when it is not there.
    #[cfg(any(feature = "nats", feature = "kafka"))]
    pub(crate) fn is_made(&self) -> bool {
        self.declare != Exchange::Existing
    }
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The exchange; empty for the default one.
    pub exchange: String,
    /// The key it is published with.
    pub routing_key: String,
    /// What is made at the broker before the first message.
    pub declare: Exchange,
    /// Whether a message that reaches no queue is refused.
    pub must_route: bool,
}

/// What is known of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exchange {
    /// Made durable, as a topic exchange.
    Topic,
    /// Made durable, as a fanout exchange.
    Fanout,
    /// Must be there.
    Existing,
}
