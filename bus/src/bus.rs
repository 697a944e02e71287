//! The bus: endpoints, a transport and a store put together, as a value; several may live in one process.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use stele_bus::transport::memory::Memory;
//! use stele_bus::{Bus, Message, Msg, State};
//! use tokio::sync::mpsc;
//!
//! #[derive(Message, Serialize, Deserialize)]
//! #[message(urn = "Shop:Greeting")]
//! struct Greeting {
//!     name: String,
//! }
//!
//! async fn greet(Msg(greeting): Msg<Greeting>, State(said): State<mpsc::UnboundedSender<String>>) {
//!     said.send(format!("hello {}", greeting.name)).unwrap();
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! let (say, mut said) = mpsc::unbounded_channel::<String>();
//! let bus = Bus::builder(Memory::default()) // or Amqp::new("amqp://…")?, Nats::new("nats://…")?
//!     .state(say)
//!     .endpoint("greeter", |e| e.handle(greet))
//!     .build()?;
//! bus.start().await?;
//! bus.publish(&Greeting { name: "world".into() }).await?;
//! assert_eq!(said.recv().await.unwrap(), "hello world");
//! bus.stop().await;
//! # Ok::<_, Box<dyn std::error::Error>>(()) })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::any::{Any, TypeId};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tower_layer::Layer;
use tower_service::Service;
use uuid::Uuid;

use crate::compose::{Composer, EncodeError, SendOptions, published};
use crate::context::States;
use crate::dispatch::{self, AnyLayer, Attempt, BoxError, Dispatch};
use crate::endpoint::{BuildError, Endpoint, EndpointBuilder};
use crate::handler::Handler;
use crate::health::{Beat, Health, Status};
use crate::message::Message;
use crate::mishap::Mishaps;
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::pipeline::{self, Core};
use crate::request::{Replies, ReplyDesk, Request};
use crate::runner::Runner;
use crate::saga::Saga;
use crate::store::Store;
use crate::store::direct::Direct;
use crate::time::Timestamp;
use crate::topology::Topology;
use crate::transport::{Transport, TransportError};
use crate::wire::Format;

/// How long a stop may take beyond what is in hand: for the broker's answers.
const GOODBYE: Duration = Duration::from_secs(5);

/// Why a message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The broker did not take it.
    #[error(transparent)]
    Transport(#[from] TransportError),
}

/// Where a scheduled message waits; give it to [`Bus::cancel`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Scheduled {
    /// Its token.
    pub token: ScheduleToken,
    /// Where it will go.
    pub destination: Destination,
}

/// A running or stopped bus. Clones are the same bus.
#[derive(Clone)]
pub struct Bus(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    pub(crate) replies: ReplyDesk,
    endpoints: Vec<(Arc<Endpoint>, Arc<Beat>)>,
    stop: watch::Sender<bool>,
    pub(crate) tasks: Mutex<JoinSet<()>>,
    patience: Duration,
}

impl Bus {
    /// Begin to describe a bus on this broker.
    pub fn builder(transport: impl Transport) -> BusBuilder {
        BusBuilder::new(Arc::new(transport))
    }

    /// To everyone who consumes the type. Returns the message's id when the broker has confirmed it.
    pub async fn publish<M: Message>(&self, message: &M) -> Result<Uuid, SendError> {
        self.push(published::<M>(), message, SendOptions::default()).await
    }

    /// To one destination: `"queue:name"`, `"exchange:name"`, or an address.
    pub async fn send<M: Message>(&self, to: impl Into<Destination>, message: &M) -> Result<Uuid, SendError> {
        self.push(to.into(), message, SendOptions::default()).await
    }

    /// The general form.
    pub async fn push<M: Message>(
        &self,
        to: Destination,
        message: &M,
        options: SendOptions,
    ) -> Result<Uuid, SendError> {
        let outgoing = self.0.core.composer.compose(to, message, options, None)?;
        let id = outgoing.id;
        self.send_outgoing(outgoing).await?;
        Ok(id)
    }

    /// Send something that is composed already.
    pub async fn send_outgoing(&self, outgoing: Outgoing) -> Result<(), TransportError> {
        self.0.core.send(vec![outgoing]).await.into_iter().collect()
    }

    /// To one destination at a time. What the broker cannot keep longer than itself is in the transport's documentation.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use stele_bus::transport::memory::Memory;
    /// # use stele_bus::{Bus, Message};
    /// # use std::time::Duration;
    /// # #[derive(Message, Serialize, Deserialize)]
    /// # #[message(urn = "Shop:Remind")]
    /// # struct Remind { order: u32 }
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
    /// # let bus = Bus::builder(Memory::default()).build()?;
    /// let tomorrow = bus.composer().now().after(Duration::from_secs(24 * 3600));
    /// let scheduled = bus.schedule_send("queue:reminders", tomorrow, &Remind { order: 7 }).await?;
    /// assert!(bus.cancel(&scheduled).await?, "it was still waiting");
    /// assert!(!bus.cancel(&scheduled).await?, "and is not any more");
    /// # Ok::<_, Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn schedule_send<M: Message>(
        &self,
        to: impl Into<Destination>,
        at: Timestamp,
        message: &M,
    ) -> Result<Scheduled, SendError> {
        let token = ScheduleToken(self.0.core.composer.new_id());
        let destination = to.into();
        let options = SendOptions { not_before: Some(at), token: Some(token), ..SendOptions::default() };
        self.push(destination.clone(), message, options).await?;
        Ok(Scheduled { token, destination })
    }

    /// To everyone who consumes the type, at a time.
    pub async fn schedule_publish<M: Message>(
        &self,
        at: Timestamp,
        message: &M,
    ) -> Result<Scheduled, SendError> {
        self.schedule_send(published::<M>(), at, message).await
    }

    /// Take a scheduled message back. `false` if it has left already.
    pub async fn cancel(&self, scheduled: &Scheduled) -> Result<bool, TransportError> {
        self.0.core.transport.cancel(&scheduled.destination, scheduled.token).await
    }

    /// Ask, and wait for the answer: `bus.request::<_, Answer>(&question).await`.
    pub fn request<'a, Q: Message, R: Replies>(&'a self, message: &'a Q) -> Request<'a, Q, R> {
        Request::new(self, message)
    }

    /// What composes this bus's messages: for outboxes, which write them into a database instead of sending them.
    pub fn composer(&self) -> &Composer {
        &self.0.core.composer
    }

    /// The broker.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.0.core.transport
    }

    /// What the endpoints need at the broker.
    pub fn topology(&self) -> Topology {
        Topology {
            endpoints: self.0.endpoints.iter().map(|(endpoint, _)| endpoint.topology.clone()).collect(),
        }
    }

    /// Make exchanges, queues and bindings, and nothing else: for migrations and deployments. [`Self::start`] does it as well.
    pub async fn declare(&self) -> Result<(), TransportError> {
        self.0.core.transport.declare(&self.topology()).await
    }

    /// Start all endpoints; returns when all receive. An endpoint that cannot reach the broker now is an error, and goes on trying.
    pub async fn start(&self) -> Result<(), TransportError> {
        let mut ready = Vec::new();
        for (endpoint, beat) in &self.0.endpoints {
            let (sender, receiver) = oneshot::channel();
            let runner = Runner {
                core: self.0.core.clone(),
                endpoint: endpoint.clone(),
                stop: self.0.stop.subscribe(),
                beat: beat.clone(),
                patience: self.0.patience,
            };
            self.spawn(runner.run(sender));
            ready.push(receiver);
        }
        for ready in ready {
            let gone = || TransportError::Unavailable("the bus was stopped".into());
            ready.await.map_err(|_| gone())??;
        }
        Ok(())
    }

    /// Stop receiving, let what is in hand finish, say goodbye to the broker. Ends 5 s after the time that [`BusBuilder::stop_within`]
    /// gives at the latest, also when the broker does not answer.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        let in_order = async {
            while tasks.join_next().await.is_some() {}
            self.0.core.transport.close().await;
        };
        if tokio::time::timeout(self.0.patience + GOODBYE, in_order).await.is_err() {
            tracing::warn!("stopped without the broker's answer");
        }
    }

    /// Start, wait for `shutdown`, stop.
    pub async fn run_until(&self, shutdown: impl Future<Output = ()>) -> Result<(), TransportError> {
        let started = self.start().await;
        if started.is_ok() {
            shutdown.await;
        }
        self.stop().await;
        started
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let connected = self.0.core.transport.is_connected();
        let endpoints: Vec<_> = self
            .0
            .endpoints
            .iter()
            .map(|(endpoint, beat)| (endpoint.name.clone(), beat.receives()))
            .collect();
        let receiving = endpoints.iter().filter(|(_, receives)| *receives).count();
        let status = match (connected, receiving == endpoints.len()) {
            (true, true) => Status::Healthy,
            (true, false) if receiving > 0 => Status::Degraded,
            _ => Status::Unhealthy,
        };
        Health { status, connected, endpoints }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(task)
    }

    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stop.subscribe()
    }

    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.endpoints.iter().map(|(endpoint, _)| &**endpoint)
    }
}

/// Describes a bus.
pub struct BusBuilder {
    transport: Arc<dyn Transport>,
    composer: Option<Composer>,
    format: Format,
    store: Arc<dyn Store>,
    states: States,
    layers: Vec<AnyLayer>,
    endpoints: Vec<EndpointBuilder>,
    mishaps: Option<Arc<dyn Mishaps>>,
    patience: Duration,
}

impl BusBuilder {
    fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            composer: None,
            format: Format::default(),
            store: Arc::new(Direct),
            states: States::new(),
            layers: Vec::new(),
            endpoints: Vec::new(),
            mishaps: None,
            patience: Duration::from_secs(10),
        }
    }

    /// How messages are written; MassTransit's envelope by default. All formats are read always.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Where inbox, outbox and sagas live. By default nowhere: what handlers publish is sent when they have succeeded.
    #[must_use]
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Arc::new(store);
        self
    }

    /// A value that handlers can ask for by [`crate::State`]. One per type.
    #[must_use]
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, value: T) -> Self {
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        self.states.insert(TypeId::of::<T>(), value);
        self
    }

    /// Surround every attempt of every endpoint with a tower layer.
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

    /// An endpoint of this name.
    #[must_use]
    pub fn endpoint(
        mut self,
        name: impl Into<String>,
        describe: impl FnOnce(EndpointBuilder) -> EndpointBuilder,
    ) -> Self {
        self.endpoints.push(describe(EndpointBuilder::new(name.into())));
        self
    }

    /// An endpoint for one handler, named after its message: `SubmitOrder` is consumed from `submit-order`.
    #[must_use]
    pub fn handle<M: Message, A: 'static, H: Handler<M, A>>(self, handler: H) -> Self {
        self.endpoint(M::name().endpoint(), |endpoint| endpoint.handle(handler))
    }

    /// An endpoint for one saga.
    #[must_use]
    pub fn saga<S: Saga>(self, endpoint: impl Into<String>) -> Self {
        self.endpoint(endpoint, EndpointBuilder::saga::<S>)
    }

    /// How long messages in hand may take when the bus stops; 10 s by default.
    #[must_use]
    pub fn stop_within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Compose with this instead of a composer of its own: for repeatable ids and times in tests.
    #[must_use]
    pub fn composer(mut self, composer: Composer) -> Self {
        self.composer = Some(composer);
        self
    }

    /// Die on purpose: see [`crate::mishap`].
    #[must_use]
    pub fn mishaps(mut self, mishaps: impl Mishaps) -> Self {
        self.mishaps = Some(Arc::new(mishaps));
        self
    }

    /// Put it together. Nothing is connected yet.
    pub fn build(self) -> Result<Bus, BuildError> {
        let transport = self.transport;
        let addresses = transport.clone();
        let composer = self.composer.unwrap_or_else(|| {
            Composer::new(Arc::new(move |destination: &Destination| addresses.address(destination)))
        });
        let core = Arc::new(Core {
            composer: composer.with_format(self.format).with_system(transport.system()),
            store: self.store,
            states: Arc::new(self.states),
            mishaps: self.mishaps,
            transport,
        });
        let mut names = BTreeSet::new();
        let mut endpoints = Vec::new();
        for endpoint in self.endpoints {
            if !names.insert(endpoint.name.clone()) {
                return Err(BuildError { endpoint: endpoint.name, why: "it is described twice".into() });
            }
            let address = core.transport.address(&Destination::Queue(endpoint.name.clone()));
            let innermost = |inbox: bool| {
                let core = core.clone();
                Dispatch::of(move |attempt: Attempt| {
                    let core = core.clone();
                    Box::pin(async move {
                        pipeline::attempt(&core, inbox, attempt).await.map_err(dispatch::AttemptError)
                    })
                })
            };
            let endpoint = endpoint.build(address, core.store.keeps_state(), &self.layers, innermost)?;
            endpoints.push((Arc::new(endpoint), Arc::default()));
        }
        let inner = Inner {
            core,
            replies: ReplyDesk::default(),
            endpoints,
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
            patience: self.patience,
        };
        Ok(Bus(Arc::new(inner)))
    }
}
