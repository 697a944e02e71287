//! From a typed message to something that can leave: ids, addresses, propagation from the message that is consumed, encoding.
//!
//! Called by [`crate::Bus`] and [`crate::Context`], and by programs that only write outbox rows and have no broker connection. Pure but
//! for the clock and the ids it was made with. Not here: sending.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::envelope::{Draft, Host};
use crate::headers::{HeaderValue, Properties, names};
use crate::ids::Ids;
use crate::message::Message;
use crate::name::TypeName;
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::time::{Clock, Timestamp};
use crate::wire::{self, Format};

/// Why a message could not be encoded: its `Serialize` failed.
#[derive(Debug, thiserror::Error)]
#[error("encode {kind}: {error}")]
pub struct EncodeError {
    kind: TypeName,
    error: serde_json::Error,
}

/// What may be said about a message besides its destination. All optional.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// Instead of a new one; for messages whose id follows from what they are about.
    pub message_id: Option<Uuid>,
    /// Instead of [`Message::correlation_id`].
    pub correlation_id: Option<Uuid>,
    /// The request that is made or answered.
    pub request_id: Option<Uuid>,
    /// Where an answer is wanted.
    pub response_address: Option<String>,
    /// Where a fault is wanted.
    pub fault_address: Option<String>,
    /// The broker's own reply-to property.
    pub reply_to: Option<String>,
    /// Own headers; they travel in the envelope and beside it.
    pub headers: BTreeMap<String, Value>,
    /// Of no use after this time.
    pub ttl: Option<Duration>,
    /// Not before this time.
    pub not_before: Option<Timestamp>,
    /// Names it while it waits.
    pub token: Option<ScheduleToken>,
    /// Instead of [`Message::key`].
    pub key: Option<String>,
    /// May be lost when the broker restarts.
    pub transient: bool,
}

/// Spells destinations as addresses.
pub type Addressing = Arc<dyn Fn(&Destination) -> String + Send + Sync>;

/// Makes [`Outgoing`] messages.
#[derive(Clone)]
pub struct Composer {
    addressing: Addressing,
    source: Arc<str>,
    format: Format,
    clock: Clock,
    ids: Arc<Ids>,
    host: Arc<Host>,
    system: &'static str,
}

impl Composer {
    /// Addresses are spelt by `addressing`; new ids are random and the clock is the machine's.
    ///
    /// Must be called inside a tokio runtime if that runtime's clock is paused, so that both agree.
    pub fn new(addressing: Addressing) -> Self {
        let host = Host::this();
        let source = addressing(&Destination::Exchange(format!(
            "{}_{}_bus",
            host.machine_name.as_deref().unwrap_or("host"),
            host.process_name.as_deref().unwrap_or("process")
        )));
        Self {
            addressing,
            source: source.into(),
            format: Format::default(),
            clock: Clock::system(),
            ids: Arc::new(Ids::random()),
            host: Arc::new(host),
            system: "unknown",
        }
    }

    /// For a broker that is called so in telemetry (`messaging.system`). A bus says it for its own composer.
    #[must_use]
    pub fn with_system(mut self, system: &'static str) -> Self {
        self.system = system;
        self
    }

    /// Write in another format.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Take times and ids from these; for repeatable tests.
    #[must_use]
    pub fn with_clock_and_ids(mut self, clock: Clock, ids: Ids) -> Self {
        self.clock = clock;
        self.ids = Arc::new(ids);
        self
    }

    /// The clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A new id.
    pub fn new_id(&self) -> Uuid {
        self.ids.next(self.clock.now())
    }

    /// The process that this composes for.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The address of a destination.
    pub fn address(&self, destination: &Destination) -> String {
        (self.addressing)(destination)
    }

    /// A message for everyone who consumes its type.
    pub fn publish<M: Message>(&self, message: &M, options: SendOptions) -> Result<Outgoing, EncodeError> {
        self.compose(published::<M>(), message, options, None)
    }

    /// A message for one destination.
    pub fn send<M: Message>(
        &self,
        destination: impl Into<Destination>,
        message: &M,
        options: SendOptions,
    ) -> Result<Outgoing, EncodeError> {
        self.compose(destination.into(), message, options, None)
    }

    /// Any message; `consumed` is what caused it, and hands its conversation on: conversationId is copied, initiatorId is the
    /// consumed correlationId (else requestId), the source is the consuming endpoint, headers are copied but those of the bus.
    pub fn compose<M: Message>(
        &self,
        destination: Destination,
        message: &M,
        options: SendOptions,
        consumed: Option<&Delivery>,
    ) -> Result<Outgoing, EncodeError> {
        let kind = M::name();
        let mut types = vec![kind.urn()];
        types.extend(M::supertypes().iter().map(TypeName::urn));
        self.compose_parts(
            destination,
            message,
            kind,
            &types,
            message.key(),
            message.correlation_id(),
            options,
            consumed,
        )
    }

    /// The same for a payload that is JSON already, such as a stored compensation.
    #[expect(clippy::too_many_arguments, reason = "the parts of a message; called from two places")]
    pub(crate) fn compose_parts<M: serde::Serialize>(
        &self,
        destination: Destination,
        message: &M,
        kind: TypeName,
        types: &[String],
        key: Option<String>,
        correlation_id: Option<Uuid>,
        options: SendOptions,
        consumed: Option<&Delivery>,
    ) -> Result<Outgoing, EncodeError> {
        let now = self.clock.now();
        let id = options.message_id.unwrap_or_else(|| self.ids.next(now));
        let parent = consumed.map(|delivery| &delivery.envelope);
        let correlation_id = options.correlation_id.or(correlation_id);
        let address = self.address(&destination);
        let key = options.key.or(key);
        let mut own = parent.map(|parent| carried(&parent.headers)).unwrap_or_default();
        own.extend(options.headers);
        let draft = Draft {
            message_id: id,
            request_id: options.request_id,
            correlation_id,
            conversation_id: Some(
                parent.and_then(|parent| parent.conversation_id).unwrap_or_else(|| self.ids.next(now)),
            ),
            initiator_id: parent.and_then(|parent| parent.correlation_id.or(parent.request_id)),
            source_address: Some(consumed.map_or(&*self.source, |delivery| &delivery.input_address)),
            destination_address: Some(&address),
            response_address: options.response_address.as_deref(),
            fault_address: options.fault_address.as_deref(),
            message_type: types,
            message,
            expiration_time: options.ttl.map(|ttl| now.after(ttl)),
            sent_time: Some(now),
            headers: &own,
            host: &self.host,
        };
        let encoded = wire::encode(self.format, &draft, key.as_deref())
            .map_err(|error| EncodeError { kind: kind.clone(), error })?;
        let mut properties = Properties {
            content_type: Some(encoded.content_type.into()),
            persistent: !options.transient,
            correlation_id: correlation_id.map(|id| id.to_string()),
            reply_to: options.reply_to,
            expiration_ms: options.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
            message_id: Some(id.to_string()),
            timestamp: Some(now.0 / 1000),
            headers: encoded.headers,
            ..Properties::default()
        };
        for (name, value) in &own {
            if let Some(value) = header(value) {
                properties.headers.insert(name.clone(), value);
            }
        }
        crate::telemetry::inject(self.system, &destination, consumed, &mut properties.headers);
        Ok(Outgoing {
            id,
            destination,
            kind: Some(kind),
            key,
            not_before: options.not_before.filter(|time| *time > now),
            token: options.token,
            properties,
            body: encoded.body,
        })
    }
}

/// Where a type is published to.
pub fn published<M: Message>() -> Destination {
    Destination::Type { name: M::name(), supertypes: M::supertypes() }
}

/// Headers that go on to what a message causes: all but MassTransit's (`MT-`) and ours (`Stele-`).
fn carried(headers: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let starts = |name: &str, prefix: &str| {
        name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
    };
    let own = |name: &str| starts(name, names::PREFIX) || starts(name, names::PREFIX_OURS);
    headers.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn header(value: &Value) -> Option<HeaderValue> {
    Some(match value {
        Value::Bool(truth) => HeaderValue::Bool(*truth),
        Value::Number(number) => {
            number.as_i64().map(HeaderValue::Int).or_else(|| number.as_f64().map(HeaderValue::Float))?
        }
        Value::String(text) => HeaderValue::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => HeaderValue::Text(value.to_string()),
        Value::Null => return None,
    })
}
