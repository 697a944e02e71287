//! The seam between the bus and a broker: declare, send with confirmation, subscribe, settle.
//!
//! Implemented by [`memory`], `amqp` and `nats`; called by [`crate::Bus`] and by the outbox relay, never by users. What must hold: `send`
//! answers a message only when the broker has taken responsibility for it, and puts the messages of one call, and of calls made one
//! after the other, on the wire in that order; a subscription ends (its channel closes) when its connection is lost, and what was
//! not settled comes again. Not here: retries of handlers, envelopes.

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::headers::Properties;
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::topology::Topology;

/// A future behind a pointer, so that seams can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why a broker could not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransportError {
    /// The connection is gone or could not be made in time; the same call may succeed later.
    #[error("broker unavailable: {0}")]
    Unavailable(String),
    /// The broker said no; asking again will not help (no such exchange, no permission, other arguments).
    #[error("broker refused: {0}")]
    Refused(String),
    /// The transport cannot do this at all.
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// One broker.
pub trait Transport: Send + Sync + 'static {
    /// What the broker is called in telemetry (`messaging.system`): `rabbitmq`, `nats`, `memory`.
    fn system(&self) -> &'static str;

    /// The address of a destination as it stands in an envelope. Pure.
    fn address(&self, destination: &Destination) -> String;

    /// Make what consumers need, idempotently. Also called after a reconnect.
    fn declare<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<(), TransportError>>;

    /// Send in order; one answer per message, in the same order, when each is safe.
    fn send(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), TransportError>>>;

    /// Start to receive from a queue, with at most `credit` unsettled messages.
    fn subscribe<'a>(
        &'a self,
        queue: &'a str,
        credit: u16,
    ) -> BoxFuture<'a, Result<Subscription, TransportError>>;

    /// A place where replies arrive, for this process only.
    fn replies(&self) -> BoxFuture<'_, Result<Replies, TransportError>>;

    /// Take back a scheduled message. `false` if it has left already or was never there.
    fn cancel<'a>(
        &'a self,
        destination: &'a Destination,
        token: ScheduleToken,
    ) -> BoxFuture<'a, Result<bool, TransportError>>;

    /// Whether the broker can be spoken to now.
    fn is_connected(&self) -> bool;

    /// Say goodbye to the broker.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A transport behind a pointer, such as one that was chosen when the program ran.
impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn system(&self) -> &'static str {
        (**self).system()
    }

    fn address(&self, destination: &Destination) -> String {
        (**self).address(destination)
    }

    fn declare<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<(), TransportError>> {
        (**self).declare(topology)
    }

    fn send(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), TransportError>>> {
        (**self).send(batch)
    }

    fn subscribe<'a>(
        &'a self,
        queue: &'a str,
        credit: u16,
    ) -> BoxFuture<'a, Result<Subscription, TransportError>> {
        (**self).subscribe(queue, credit)
    }

    fn replies(&self) -> BoxFuture<'_, Result<Replies, TransportError>> {
        (**self).replies()
    }

    fn cancel<'a>(
        &'a self,
        destination: &'a Destination,
        token: ScheduleToken,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        (**self).cancel(destination, token)
    }

    fn is_connected(&self) -> bool {
        (**self).is_connected()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        (**self).close()
    }
}

/// Messages of one queue, until it ends.
pub struct Subscription {
    /// What arrived. Closed when the subscription has ended for whatever reason.
    pub incoming: mpsc::Receiver<Incoming>,
    /// Ends the subscription, also when it is dropped; what is in hand can still be settled.
    pub stop: Arc<dyn Stop>,
}

/// Ends a subscription.
pub trait Stop: Send + Sync {
    /// No more messages arrive afterwards; returns when the broker knows.
    fn stop(&self) -> BoxFuture<'_, ()>;

    /// Gives back what the broker holds for the subscription: nothing of it is settled any more. Dropped without, it is given back as well,
    /// but nobody can wait for it. Nothing to do unless the transport says so.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Where replies of requests arrive.
pub struct Replies {
    /// What to put into `responseAddress`.
    pub address: String,
    /// What to put into the message's own reply-to property.
    pub reply_to: Option<String>,
    /// What arrived.
    pub subscription: Subscription,
}

/// A message that arrived.
pub struct Incoming {
    /// Properties and headers.
    pub properties: Properties,
    /// The body as it was sent.
    pub body: Bytes,
    /// It was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to, where there is such a thing.
    pub exchange: String,
    /// How it is settled.
    pub settle: Settle,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Accept,
    /// Deliver it again.
    Release,
}

/// Answers the broker about deliveries of one subscription.
pub trait Settler: Send + Sync {
    /// Settle one delivery by its tag.
    fn settle(&self, tag: u64, verdict: Verdict) -> BoxFuture<'_, Result<(), TransportError>>;
}

/// The right to settle one delivery, once. Dropped unused, the delivery stays with this consumer until its connection ends.
pub struct Settle {
    settler: Arc<dyn Settler>,
    tag: u64,
}

impl Settle {
    /// The delivery `tag` of `settler`.
    pub fn new(settler: Arc<dyn Settler>, tag: u64) -> Self {
        Self { settler, tag }
    }

    /// Tell the broker.
    pub async fn settle(self, verdict: Verdict) -> Result<(), TransportError> {
        self.settler.settle(self.tag, verdict).await
    }
}
