//! An endpoint: one queue, the types it takes, who takes them, and the policies around them.
//!
//! Built by the user through [`EndpointBuilder`]; run by the runner. What must hold: one type has one consumer on an endpoint, so that
//! a retry repeats exactly the work that failed. Not here: the order of the policies ([`crate::policy`]).

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use std::sync::Arc;

use tower_layer::Layer;
use tower_service::Service;

use crate::dispatch::{self, AnyLayer, Attempt, BoxError, Dispatch};
use crate::handler::{Consumer, Erased, Function, Handler, Typed};
use crate::message::Message;
use crate::name::TypeName;
use crate::policy::breaker::Breaker;
use crate::policy::kill_switch::Switch;
use crate::policy::rate::Rate;
use crate::policy::{CircuitBreaker, KillSwitch, RateLimit, Retry};
use crate::saga::{self, Saga};
use crate::topology::{EndpointTopology, TypeTopology};
use crate::turns::Turns;

/// Messages in hand at once unless told otherwise.
const CONCURRENCY: u16 = 16;

/// Who takes a type.
pub(crate) struct Route {
    pub(crate) kind: TypeName,
    pub(crate) supertypes: Vec<TypeName>,
    /// All names under which it is accepted.
    pub(crate) accepted: Vec<TypeName>,
    /// Of its payload, where it says one.
    pub(crate) schema: Option<serde_json::Value>,
    /// Shown in faults.
    pub(crate) consumer: &'static str,
    pub(crate) run: Box<dyn Erased>,
}

impl Route {
    pub(crate) fn new<M: Message>(consumer: &'static str, run: Box<dyn Erased>) -> Self {
        let accepted = std::iter::once(M::name()).chain(M::aliases()).collect();
        Self { kind: M::name(), supertypes: M::supertypes(), accepted, schema: M::schema(), consumer, run }
    }
}

/// Says what an endpoint does. Passed to the closure of [`crate::BusBuilder::endpoint`].
///
/// ```
/// use std::time::Duration;
/// # use serde::{Deserialize, Serialize};
/// # use stele_bus::store::memory::MemoryStore;
/// # use stele_bus::transport::memory::Memory;
/// # use stele_bus::{Bus, Failure, Message, Msg, Retry};
/// # #[derive(Message, Serialize, Deserialize)]
/// # #[message(urn = "Shop:Bill", key = order)]
/// # struct Bill { order: u32 }
/// # async fn bill(Msg(_): Msg<Bill>) -> Result<(), Failure> { Ok(()) }
/// let (ms, minutes) = (Duration::from_millis, |count: u64| Duration::from_secs(60 * count));
/// // In whatever order they are said, they stand in the order of `stele_bus::policy`.
/// let bus = Bus::builder(Memory::default())
///     .store(MemoryStore::default())
///     .endpoint("billing", |e| {
///         e.handle(bill)
///             .partition_by_key(8)
///             .retry(Retry::immediate(2).then(Retry::exponential(ms(200)..ms(5_000), 4).jitter()))
///             .redeliver([minutes(5), minutes(30)])
///             .rate_limit(100, Duration::from_secs(1))
///     })
///     .build()?;
/// let billing = &bus.describe().endpoints[0];
/// assert_eq!((billing.retries, billing.redeliver_ms.len(), billing.inbox), (6, 2, true));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct EndpointBuilder {
    pub(crate) name: String,
    routes: Vec<Route>,
    retry: Retry,
    redeliver: Vec<Duration>,
    concurrency: u16,
    lanes: Option<u16>,
    rate: Option<RateLimit>,
    breaker: Option<CircuitBreaker>,
    switch: Option<KillSwitch>,
    inbox: Option<bool>,
    has_saga: bool,
    layers: Vec<AnyLayer>,
}

impl EndpointBuilder {
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            routes: Vec::new(),
            retry: Retry::none(),
            redeliver: Vec::new(),
            concurrency: CONCURRENCY,
            lanes: None,
            rate: None,
            breaker: None,
            switch: None,
            inbox: None,
            has_saga: false,
            layers: Vec::new(),
        }
    }

    /// An async function takes its message's type.
    #[must_use]
    pub fn handle<M: Message, A: 'static, H: Handler<M, A>>(mut self, handler: H) -> Self {
        let run = Box::new(Typed(Function(handler, PhantomData), PhantomData));
        self.routes.push(Route::new::<M>(std::any::type_name::<H>(), run));
        self
    }

    /// A consumer takes messages of type `M`.
    #[must_use]
    pub fn consumer<M: Message, C: Consumer<M>>(mut self, consumer: C) -> Self {
        let run = Box::new(Typed(consumer, PhantomData));
        self.routes.push(Route::new::<M>(std::any::type_name::<C>(), run));
        self
    }

    /// A saga takes all types of its events. Needs a store that keeps state; gives the endpoint an inbox.
    #[must_use]
    pub fn saga<S: Saga>(mut self) -> Self {
        self.routes.extend(saga::routes::<S>());
        self.has_saga = true;
        self
    }

    /// Retry failed attempts. None by default.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// When retries are used up, give the message back to the broker and try again after each of these waits; the number of times
    /// stands in `MT-Redelivery-Count`.
    #[must_use]
    pub fn redeliver(mut self, waits: impl IntoIterator<Item = Duration>) -> Self {
        self.redeliver = waits.into_iter().take(1000).collect();
        self
    }

    /// So many messages at once, 16 by default. Also what the broker may send ahead.
    #[must_use]
    pub fn concurrency(mut self, count: u16) -> Self {
        self.concurrency = count.max(1);
        self
    }

    /// Messages with the same [`Message::key`] one after the other, in the order in which they came; different keys side by side, in
    /// `lanes` lanes. Replaces the concurrency limit; what the broker may send ahead stays.
    #[must_use]
    pub fn partition_by_key(mut self, lanes: u16) -> Self {
        self.lanes = Some(lanes.max(1));
        self
    }

    /// At most so many messages per span.
    #[must_use]
    pub fn rate_limit(mut self, count: u32, span: Duration) -> Self {
        self.rate = Some(RateLimit { count, span });
        self
    }

    /// While most attempts fail, fail at once.
    #[must_use]
    pub fn circuit_breaker(mut self, breaker: CircuitBreaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// While most messages fail, stop receiving.
    #[must_use]
    pub fn kill_switch(mut self, switch: KillSwitch) -> Self {
        self.switch = Some(switch);
        self
    }

    /// One message id has one effect here. Needs a store that keeps state; on by default where there is one.
    #[must_use]
    pub fn inbox(mut self, wanted: bool) -> Self {
        self.inbox = Some(wanted);
        self
    }

    /// Surround every attempt with a tower layer. The first one given is the outermost.
    #[must_use]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<Dispatch> + Send + Sync + 'static,
        L::Service: Service<Attempt, Response = ()> + Clone + Send + Sync + 'static,
        <L::Service as Service<Attempt>>::Error: Into<BoxError>,
        <L::Service as Service<Attempt>>::Future: Send,
    {
        self.layers.push(dispatch::layer(layer));
        self
    }

    pub(crate) fn build(
        self,
        address: String,
        keeps_state: bool,
        outer: &[AnyLayer],
        innermost: impl FnOnce(bool) -> Dispatch,
    ) -> Result<Endpoint, BuildError> {
        let fail = |why: String| BuildError { endpoint: self.name.clone(), why };
        if self.name.is_empty() || self.name.len() > 200 {
            return Err(fail("a name has 1 to 200 bytes".into()));
        }
        if self.routes.is_empty() {
            return Err(fail("it has no consumer".into()));
        }
        let inbox = self.inbox.unwrap_or(keeps_state);
        if !keeps_state && (inbox || self.has_saga) {
            return Err(fail("inbox and sagas need a store that keeps state: BusBuilder::store".into()));
        }
        if self.has_saga && !inbox {
            return Err(fail("a saga needs the inbox: a copy of its last event would start it again".into()));
        }
        let mut routes = BTreeMap::new();
        let mut types = Vec::new();
        for route in self.routes {
            let route = Arc::new(route);
            for name in &route.accepted {
                if routes.insert(name.urn(), route.clone()).is_some() {
                    return Err(BuildError {
                        endpoint: self.name,
                        why: format!("{name} has two consumers: give one its own endpoint"),
                    });
                }
                let supertypes = if *name == route.kind { route.supertypes.clone() } else { Vec::new() };
                types.push(TypeTopology { name: name.clone(), supertypes });
            }
        }
        let layers = outer.iter().chain(&self.layers).rev();
        let dispatch = layers.fold(innermost(inbox), |inner, layer| layer(inner));
        let topology = EndpointTopology { name: self.name.clone(), types };
        Ok(Endpoint {
            name: self.name,
            address,
            topology,
            routes,
            retry: self.retry,
            redeliver: self.redeliver,
            concurrency: self.concurrency,
            lanes: self.lanes,
            rate: self.rate.map(Rate::new),
            breaker: self.breaker.map(Breaker::new),
            switch: self.switch.map(Switch::new),
            turns: inbox.then(Turns::default),
            dispatch,
        })
    }
}

/// An endpoint that cannot be as it was described.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {endpoint:?}: {why}")]
pub struct BuildError {
    pub(crate) endpoint: String,
    pub(crate) why: String,
}

/// An endpoint as it is run.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) topology: EndpointTopology,
    /// By URN.
    pub(crate) routes: BTreeMap<String, Arc<Route>>,
    pub(crate) retry: Retry,
    pub(crate) redeliver: Vec<Duration>,
    pub(crate) concurrency: u16,
    pub(crate) lanes: Option<u16>,
    pub(crate) rate: Option<Rate>,
    pub(crate) breaker: Option<Breaker>,
    pub(crate) switch: Option<Switch>,
    /// Where there is an inbox: copies take turns.
    pub(crate) turns: Option<Turns>,
    pub(crate) dispatch: Dispatch,
}

impl Endpoint {
    /// Who takes a message of these types, the first that fits.
    pub(crate) fn route(&self, types: &[String]) -> Option<&Arc<Route>> {
        types.iter().find_map(|urn| self.routes.get(urn.as_str()))
    }
}
