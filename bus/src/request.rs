//! Requests: send, and wait for the answer that brings the request's id back.
//!
//! One place for replies per bus, opened with the first request and again when it is lost. An answer that comes after its time-out is
//! dropped. Not here: answering ([`crate::Respond`]).
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stele_bus::transport::memory::Memory;
//! use stele_bus::{Bus, Either, Message, Msg, Replies, Respond};
//!
//! #[derive(Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:CheckOrder")]
//! struct CheckOrder { order: u32 }
//! #[derive(Debug, Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:OrderFound")]
//! struct OrderFound { order: u32 }
//! #[derive(Debug, Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:OrderUnknown")]
//! struct OrderUnknown { order: u32 }
//!
//! /// What may come back.
//! #[derive(Debug, Replies)]
//! enum Checked {
//!     Found(OrderFound),
//!     Unknown(OrderUnknown),
//! }
//!
//! async fn check(Msg(CheckOrder { order }): Msg<CheckOrder>) -> Either<Respond<OrderFound>, Respond<OrderUnknown>> {
//!     if order == 7 { Either::Left(Respond(OrderFound { order })) } else { Either::Right(Respond(OrderUnknown { order })) }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let bus = Bus::builder(Memory::default()).endpoint("orders", |e| e.handle(check)).build()?;
//! bus.start().await?;
//! let checked: Checked = bus.request(&CheckOrder { order: 7 }).await?;
//! assert!(matches!(checked, Checked::Found(OrderFound { order: 7 })));
//! let checked: Checked = bus.request(&CheckOrder { order: 8 }).to("queue:orders").await?;
//! assert!(matches!(checked, Checked::Unknown(_)));
//! bus.stop().await;
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::bus::{Bus, SendError};
use crate::compose::{SendOptions, published};
use crate::delivery::Delivery;
use crate::failure::Failure;
use crate::fault::Fault;
use crate::handler::read;
use crate::headers::names;
use crate::message::Message;
use crate::name::TypeName;
use crate::outgoing::Destination;
use crate::transport::{
    BoxFuture, Replies as ReplyPlace, Stop, Subscription, Transport, TransportError, Verdict,
};

/// How long an answer is awaited unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Requests that wait for an answer at once.
const PENDING_MAX: usize = 100_000;

/// What may come back: one message type, or an enum of several (`#[derive(Replies)]`).
pub trait Replies: Sized + Send + 'static {
    /// The types, in the order in which they are tried.
    fn names() -> Vec<TypeName>;

    /// The answer, if it is one of them.
    fn read(delivery: &Delivery) -> Option<Result<Self, Failure>>;
}

impl<M: Message> Replies for M {
    fn names() -> Vec<TypeName> {
        vec![M::name()]
    }

    fn read(delivery: &Delivery) -> Option<Result<Self, Failure>> {
        let accepted: Vec<String> =
            std::iter::once(M::name()).chain(M::aliases()).map(|name| name.urn()).collect();
        let fits = delivery.envelope.message_type.iter().any(|urn| accepted.contains(urn));
        fits.then(|| read(delivery))
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request could not be sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The consumer failed.
    #[error("the consumer failed: {}", .0.exceptions.first().and_then(|first| first.message.as_deref()).unwrap_or("no text"))]
    Fault(Box<Fault<Value>>),
    /// Nothing came in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// Something came that is not among the expected answers.
    #[error("an unexpected answer: {0}")]
    Unexpected(String),
    /// The place for replies was lost while waiting; the request may have been handled.
    #[error("the connection was lost while waiting")]
    Lost,
}

impl From<TransportError> for RequestError {
    fn from(error: TransportError) -> Self {
        Self::Send(error.into())
    }
}

/// A request that is being described; `.await` sends it.
pub struct Request<'a, Q, R> {
    bus: &'a Bus,
    message: &'a Q,
    to: Option<Destination>,
    timeout: Duration,
    answer: PhantomData<fn() -> R>,
}

impl<'a, Q: Message, R: Replies> Request<'a, Q, R> {
    pub(crate) fn new(bus: &'a Bus, message: &'a Q) -> Self {
        Self { bus, message, to: None, timeout: TIMEOUT, answer: PhantomData }
    }

    /// To one destination instead of whoever consumes the type.
    #[must_use]
    pub fn to(mut self, destination: impl Into<Destination>) -> Self {
        self.to = Some(destination.into());
        self
    }

    /// Wait so long (30 s by default); the request expires at the broker after the same time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn run(self) -> Result<R, RequestError> {
        let core = &self.bus.0.core;
        let line = self.bus.0.replies.line(&core.transport).await?;
        let id = core.composer.new_id();
        let mut waiting = line.expect(id)?;
        let accept: Vec<Value> = R::names().iter().map(|name| name.urn().into()).collect();
        let options = SendOptions {
            request_id: Some(id),
            response_address: Some(line.address.clone()),
            reply_to: line.reply_to.clone(),
            ttl: Some(self.timeout),
            headers: BTreeMap::from([(names::ACCEPT_TYPE.to_owned(), Value::Array(accept))]),
            transient: true,
            ..SendOptions::default()
        };
        let destination = self.to.unwrap_or_else(published::<Q>);
        let outgoing =
            core.composer.compose(destination, self.message, options, None).map_err(SendError::from)?;
        self.bus.send_outgoing(outgoing).await?;
        let delivery = match tokio::time::timeout(self.timeout, &mut waiting.answer).await {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(_)) => return Err(RequestError::Lost),
            Err(_) => return Err(RequestError::TimedOut(self.timeout)),
        };
        if let Some(reply) = R::read(&delivery) {
            return reply.map_err(|failure| RequestError::Unexpected(failure.to_string()));
        }
        let types = &delivery.envelope.message_type;
        if types.iter().any(|urn| urn.starts_with("urn:message:MassTransit:Fault")) {
            let fault = crate::fold::from_slice(delivery.envelope.message.0.get().as_bytes());
            return Err(
                fault.map_or_else(|error| RequestError::Unexpected(error.to_string()), RequestError::Fault)
            );
        }
        Err(RequestError::Unexpected(types.join(" ")))
    }
}

impl<'a, Q: Message, R: Replies> IntoFuture for Request<'a, Q, R> {
    type Output = Result<R, RequestError>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

type Pending = Mutex<BTreeMap<Uuid, oneshot::Sender<Delivery>>>;

/// Where the answers of a bus arrive.
#[derive(Default)]
pub(crate) struct ReplyDesk(tokio::sync::Mutex<Option<Arc<Line>>>);

struct Line {
    address: String,
    reply_to: Option<String>,
    pending: Arc<Pending>,
    task: tokio::task::JoinHandle<()>,
    /// Dropped, it ends the subscription.
    _stop: Arc<dyn Stop>,
}

/// A request that waits; forgotten when it is dropped.
struct Waiting {
    id: Uuid,
    pending: Arc<Pending>,
    answer: oneshot::Receiver<Delivery>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl ReplyDesk {
    async fn line(&self, transport: &Arc<dyn Transport>) -> Result<Arc<Line>, TransportError> {
        let mut desk = self.0.lock().await;
        if let Some(line) = desk.as_ref().filter(|line| !line.task.is_finished()) {
            return Ok(line.clone());
        }
        let place = transport.replies().await?;
        let line = Arc::new(Line::open(place));
        *desk = Some(line.clone());
        Ok(line)
    }
}

impl Line {
    fn open(place: ReplyPlace) -> Self {
        let ReplyPlace { address, reply_to, subscription: Subscription { mut incoming, stop } } = place;
        let pending: Arc<Pending> = Arc::default();
        let (desk, input_address) = (pending.clone(), address.clone());
        let task = tokio::spawn(async move {
            while let Some(message) = incoming.recv().await {
                if let Ok(envelope) = crate::wire::decode(&message.properties, &message.body) {
                    let id = envelope.request_id;
                    let asker =
                        id.and_then(|id| desk.lock().unwrap_or_else(PoisonError::into_inner).remove(&id));
                    let delivery = Delivery {
                        endpoint: String::new(),
                        input_address: input_address.clone(),
                        envelope,
                        properties: message.properties,
                        body: message.body,
                        redelivered: message.redelivered,
                        trace: None,
                    };
                    asker.map(|asker| asker.send(delivery));
                }
                let _ = message.settle.settle(Verdict::Accept).await; // replies die with their connection
            }
            desk.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        Self { address, reply_to, pending, task, _stop: stop }
    }

    fn expect(&self, id: Uuid) -> Result<Waiting, TransportError> {
        let (sender, answer) = oneshot::channel();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= PENDING_MAX {
            return Err(TransportError::Unavailable(format!(
                "{PENDING_MAX} requests wait for an answer already"
            )));
        }
        pending.insert(id, sender);
        Ok(Waiting { id, pending: self.pending.clone(), answer })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}
