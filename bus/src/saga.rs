//! Sagas: long-running acts whose state is an enum and whose steps are pure functions.
//!
//! A step takes the state and an event and returns the next state; what is to be said goes into [`Effects`] as values, so a step is
//! tested without a bus ([`step`]). State, effects and the inbox row are committed together; if somebody else changed the row
//! meanwhile, the newest state is loaded and the step runs again.
//!
//! ```
//! use std::time::Duration;
//! use serde::{Deserialize, Serialize};
//! use stele_bus::Message;
//! use stele_bus::saga::{Effects, Next, Saga, SagaDef, step};
//! # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Ordered")] struct Ordered { order: u64 }
//! # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Paid")] struct Paid { order: u64 }
//! # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:PaymentLate")] struct PaymentLate { order: u64 }
//! # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Ship")] struct Ship { order: u64 }
//! # #[derive(Message, Serialize, Deserialize)] #[message(urn = "Shop:Expired")] struct Expired { order: u64 }
//!
//! #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
//! enum Order { AwaitingPayment, Shipping }
//!
//! impl Saga for Order {
//!     const NAME: &'static str = "order";
//!     fn define(saga: &mut SagaDef<Self>) {
//!         saga.starts(|m: &Ordered| m.order, |m, fx| {
//!             fx.after(Duration::from_secs(900), &PaymentLate { order: m.order });
//!             Next::Stay(Order::AwaitingPayment)
//!         });
//!         saga.on(|m: &Paid| m.order, |_, m, fx| {
//!             fx.cancel::<PaymentLate>();
//!             fx.send("queue:ship", &Ship { order: m.order });
//!             Next::Stay(Order::Shipping)
//!         });
//!         saga.on(|m: &PaymentLate| m.order, |_, m, fx| {
//!             fx.publish(&Expired { order: m.order });
//!             Next::Done
//!         });
//!     }
//! }
//!
//! let (next, fx) = step::<Order, _>(Some(Order::AwaitingPayment), &Paid { order: 7 }).unwrap();
//! assert_eq!(next, Next::Stay(Order::Shipping));
//! assert_eq!(fx.said::<Ship>().len(), 1);
//! ```

mod effects;
mod run;

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use effects::{Effects, Note, To};

use crate::endpoint::Route;
use crate::message::Message;

/// The state of a long-running act.
pub trait Saga: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its name in the store. Renaming it loses the instances.
    const NAME: &'static str;

    /// Say which events it takes and what each does.
    fn define(saga: &mut SagaDef<Self>);
}

/// What a step decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<S> {
    /// The instance goes on in this state.
    Stay(S),
    /// The instance is over; its row goes, and its timeouts mean nothing any more.
    Done,
    /// The event means nothing in this state: nothing changes, effects are dropped.
    Ignore,
}

/// What to do with an event whose instance is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnMissing {
    /// Fail: retry policy, then error queue and fault.
    #[default]
    Fault,
    /// Nothing.
    Ignore,
    /// It may have overtaken the event that starts it: try again after each of these waits, then fail.
    Redeliver(Vec<Duration>),
}

type Correlate<M> = Arc<dyn Fn(&M) -> String + Send + Sync>;
type Start<S, M> = Arc<dyn Fn(&M, &mut Effects) -> Next<S> + Send + Sync>;
type Step<S, M> = Arc<dyn Fn(S, &M, &mut Effects) -> Next<S> + Send + Sync>;

/// Collects a saga's events.
pub struct SagaDef<S> {
    events: Vec<AnyEvent<S>>,
    missing: OnMissing,
}

/// An event whose message type is forgotten.
struct AnyEvent<S> {
    message: TypeId,
    event: Box<dyn Any>,
    route: fn(Box<dyn Any>, OnMissing) -> Option<Route>,
    saga: std::marker::PhantomData<S>,
}

/// What a saga does with messages of type `M`.
struct Event<S, M> {
    correlate: Correlate<M>,
    start: Option<Start<S, M>>,
    step: Option<Step<S, M>>,
}

impl<S, M> Clone for Event<S, M> {
    fn clone(&self) -> Self {
        Self { correlate: self.correlate.clone(), start: self.start.clone(), step: self.step.clone() }
    }
}

impl<S: Saga> SagaDef<S> {
    fn of() -> Self {
        let mut saga = Self { events: Vec::new(), missing: OnMissing::default() };
        S::define(&mut saga);
        saga
    }

    /// This event starts an instance. Where the instance is there already it is ignored, unless [`Self::on`] says otherwise.
    pub fn starts<M: Message, K: ToString>(
        &mut self,
        correlate: impl Fn(&M) -> K + Send + Sync + 'static,
        start: impl Fn(&M, &mut Effects) -> Next<S> + Send + Sync + 'static,
    ) {
        self.event::<M>(Arc::new(move |m| correlate(m).to_string())).start = Some(Arc::new(start));
    }

    /// This event moves an instance on.
    pub fn on<M: Message, K: ToString>(
        &mut self,
        correlate: impl Fn(&M) -> K + Send + Sync + 'static,
        step: impl Fn(S, &M, &mut Effects) -> Next<S> + Send + Sync + 'static,
    ) {
        self.event::<M>(Arc::new(move |m| correlate(m).to_string())).step = Some(Arc::new(step));
    }

    /// What to do with an event whose instance is not there. A timeout of an instance that is over is always ignored.
    pub fn missing(&mut self, policy: OnMissing) {
        self.missing = policy;
    }

    fn event<M: Message>(&mut self, correlate: Correlate<M>) -> &mut Event<S, M> {
        let message = TypeId::of::<M>();
        let at = self.events.iter().position(|event| event.message == message).unwrap_or_else(|| {
            let event = Box::new(Event::<S, M> { correlate, start: None, step: None });
            let route = |event: Box<dyn Any>, missing| {
                let event = *event.downcast::<Event<S, M>>().ok()?;
                Some(Route::new::<M>(std::any::type_name::<S>(), Box::new(run::Runs { event, missing })))
            };
            self.events.push(AnyEvent { message, event, route, saga: std::marker::PhantomData });
            self.events.len() - 1
        });
        self.events[at].event.downcast_mut().expect("events are found by the id of their message's type")
    }
}

/// Run one step without a bus: `None` if this saga does not take `M` at all, or not without (or only without) an instance.
pub fn step<S: Saga, M: Message>(state: Option<S>, message: &M) -> Option<(Next<S>, Effects)> {
    let mut saga = SagaDef::<S>::of();
    let event = saga.events.iter_mut().find(|event| event.message == TypeId::of::<M>())?;
    let event = event.event.downcast_ref::<Event<S, M>>()?;
    let mut effects = Effects::default();
    let next = match state {
        Some(state) => event.step.as_ref()?(state, message, &mut effects),
        None => event.start.as_ref()?(message, &mut effects),
    };
    Some((next, effects))
}

/// One route for each event.
pub(crate) fn routes<S: Saga>() -> Vec<Route> {
    let SagaDef { events, missing } = SagaDef::<S>::of();
    events.into_iter().filter_map(|event| (event.route)(event.event, missing.clone())).collect()
}

/// The state inside a stored row, for tests and operators.
pub fn state_of<S: Saga>(row: &crate::store::SagaRow) -> Option<S> {
    serde_json::from_value(row.body.get("state")?.clone()).ok()
}
