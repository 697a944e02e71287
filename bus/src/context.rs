//! What a handler sees of its delivery, and where it leaves what it wants to say.
//!
//! Made by the pipeline, one per attempt; cheap to clone. What must hold: nothing that a handler publishes, sends, schedules or
//! responds leaves before its attempt has succeeded and its unit of work is committed; if it fails, nothing of it ever leaves. Not
//! here: extracting arguments ([`crate::handler`]).

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use uuid::Uuid;

use crate::compose::{Composer, EncodeError, SendOptions, published};
use crate::delivery::Delivery;
use crate::message::Message;
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::store::UnitOfWork;
use crate::time::Timestamp;

/// Values that handlers ask for by type.
pub(crate) type States = BTreeMap<TypeId, Arc<dyn Any + Send + Sync>>;

/// One attempt to handle one delivery.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// # use stele_bus::{Context, Failure, Message, Msg};
/// # use std::time::Duration;
/// # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Ordered")] struct Ordered { order: u32 }
/// # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Billed")] struct Billed { order: u32 }
/// # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Ship")] struct Ship { order: u32 }
/// # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Late")] struct Late { order: u32 }
/// async fn bill(Msg(Ordered { order }): Msg<Ordered>, cx: Context) -> Result<(), Failure> {
///     cx.publish(&Billed { order })?;
///     cx.send("queue:shipping", &Ship { order })?;
///     cx.publish_after(Duration::from_secs(900), &Late { order })?;
///     Ok(()) // and only now does anything leave
/// }
/// # let bus = stele_bus::Bus::builder(stele_bus::transport::memory::Memory::default());
/// # bus.endpoint("billing", |e| e.handle(bill)).build().unwrap();
/// ```
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    delivery: Arc<Delivery>,
    composer: Composer,
    states: Arc<States>,
    attempt: u32,
    outgoing: Mutex<Vec<Outgoing>>,
    work: Mutex<Option<Box<dyn UnitOfWork>>>,
}

impl Context {
    pub(crate) fn new(
        delivery: Arc<Delivery>,
        composer: Composer,
        states: Arc<States>,
        attempt: u32,
        work: Box<dyn UnitOfWork>,
    ) -> Self {
        let (outgoing, work) = (Mutex::default(), Mutex::new(Some(work)));
        Self(Arc::new(Inner { delivery, composer, states, attempt, outgoing, work }))
    }

    /// The message and what travelled with it.
    pub fn delivery(&self) -> &Arc<Delivery> {
        &self.0.delivery
    }

    /// The message's id.
    pub fn message_id(&self) -> Option<Uuid> {
        self.0.delivery.message_id()
    }

    /// 0 the first time, then the number of the retry.
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Now, by the bus's clock: virtual in tests.
    pub fn now(&self) -> Timestamp {
        self.0.composer.now()
    }

    /// A new id, repeatable in tests.
    pub fn new_id(&self) -> Uuid {
        self.0.composer.new_id()
    }

    /// To everyone who consumes the type, when this attempt has succeeded. Returns the new message's id.
    pub fn publish<M: Message>(&self, message: &M) -> Result<Uuid, EncodeError> {
        self.push(published::<M>(), message, SendOptions::default())
    }

    /// To one destination (`"queue:name"`, `"exchange:name"`), when this attempt has succeeded.
    pub fn send<M: Message>(&self, to: impl Into<Destination>, message: &M) -> Result<Uuid, EncodeError> {
        self.push(to.into(), message, SendOptions::default())
    }

    /// To one destination at a time, when this attempt has succeeded.
    pub fn schedule_send<M: Message>(
        &self,
        to: impl Into<Destination>,
        at: Timestamp,
        message: &M,
    ) -> Result<ScheduleToken, EncodeError> {
        let token = ScheduleToken(self.new_id());
        let options = SendOptions { not_before: Some(at), token: Some(token), ..SendOptions::default() };
        self.push(to.into(), message, options).map(|_| token)
    }

    /// To everyone who consumes the type after a while, when this attempt has succeeded.
    pub fn publish_after<M: Message>(&self, wait: Duration, message: &M) -> Result<Uuid, EncodeError> {
        let options = SendOptions { not_before: Some(self.now().after(wait)), ..SendOptions::default() };
        self.push(published::<M>(), message, options)
    }

    /// To the address where an answer is wanted, when this attempt has succeeded. `None`: nobody asked.
    pub fn respond<M: Message>(&self, message: &M) -> Result<Option<Uuid>, EncodeError> {
        let envelope = &self.0.delivery.envelope;
        let Some(address) = envelope.response_address.clone() else { return Ok(None) };
        let reply_to = self.0.delivery.properties.reply_to.clone();
        let options = SendOptions { request_id: envelope.request_id, ..SendOptions::default() };
        self.push(Destination::Address { address, reply_to }, message, options).map(Some)
    }

    /// The general form of all of the above.
    pub fn push<M: Message>(
        &self,
        to: Destination,
        message: &M,
        options: SendOptions,
    ) -> Result<Uuid, EncodeError> {
        let outgoing = self.0.composer.compose(to, message, options, Some(&self.0.delivery))?;
        let id = outgoing.id;
        self.push_outgoing(outgoing);
        Ok(id)
    }

    /// Leave something that is encoded already.
    pub fn push_outgoing(&self, outgoing: Outgoing) {
        lock(&self.0.outgoing).push(outgoing);
    }

    /// What composes this attempt's messages.
    pub fn composer(&self) -> &Composer {
        &self.0.composer
    }

    /// The value of type `T` that was given to the builder.
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.states.get(&TypeId::of::<T>()).cloned().and_then(|value| value.downcast().ok())
    }

    /// Borrow the unit of work, if it is a `W`. For extractors of stores: such as the one that takes the transaction out and puts it
    /// back when it is dropped. `f` must not wait for anything.
    pub fn with_work<W: UnitOfWork, R>(&self, f: impl FnOnce(&mut W) -> R) -> Option<R> {
        let mut work = lock(&self.0.work);
        let work = work.as_mut()?;
        (**work).as_any().downcast_mut::<W>().map(f)
    }

    /// Take the unit of work out; the pipeline at the end of an attempt, a saga while it loads and saves.
    pub(crate) fn take_work(&self) -> Option<Box<dyn UnitOfWork>> {
        lock(&self.0.work).take()
    }

    /// Put it back.
    pub(crate) fn put_work(&self, work: Box<dyn UnitOfWork>) {
        *lock(&self.0.work) = Some(work);
    }

    pub(crate) fn take_outgoing(&self) -> Vec<Outgoing> {
        std::mem::take(&mut *lock(&self.0.outgoing))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A handler that panics fails its attempt; what the mutex guards is thrown away with it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
