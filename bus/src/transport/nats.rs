//! NATS JetStream, over `async-nats`.
//!
//! One stream holds everything that is on its way: `bus` (the prefix, by default), with the subjects `bus.type.<Namespace:Type>` and
//! `bus.queue.<name>`. A queue is a durable consumer of the same name that filters its own subject and those of its types, and the
//! stream keeps a message until every queue it belongs to has settled it (interest retention): what nobody consumes is gone, as with an
//! exchange that has no queue. Sending to a queue makes it, so that what lies in `<endpoint>_error` stays there.
//!
//! - A message with supertypes is stored once for each; a queue that takes several of them keeps the most derived copy.
//! - A message id is stored once in two minutes for each subject (`Nats-Msg-Id`), so the copies of an outbox do not even arrive.
//! - Delays wait in the stream `bus-delays`, one subject each; any bus that receives or schedules moves them on when they are due. They
//!   are exact, and wait longer if no bus runs. There is no longest wait.
//! - What is in hand is kept by progress marks; of a process that dies it comes again after [`ACK_WAIT`].
//! - A message that is of no use any more is dropped when it is received, not before.
//!
//! Needs nats-server 2.10 or later. Streams that are there already are taken as they are, so limits and replicas are the operator's.

mod convert;
mod delay;
mod link;
mod names;
mod receive;
mod send;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::ServerAddr;

use self::link::Link;
use self::names::Names;
use super::{BoxFuture, Replies, Subscription, Transport, TransportError};
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::topology::Topology;

/// A message whose process died comes again after this time.
pub const ACK_WAIT: Duration = Duration::from_secs(30);

/// A broker that speaks NATS with JetStream. Clones share its two connections, one to receive on and one to send on.
#[derive(Clone)]
pub struct Nats(Arc<Shared>);

struct Shared {
    server: ServerAddr,
    names: Names,
    /// What addresses begin with: `nats://host:port/`.
    base: String,
    patience: Duration,
    /// What is received on.
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    /// What is sent on.
    sending: tokio::sync::Mutex<Option<Arc<Link>>>,
    connected: Arc<AtomicBool>,
}

impl Nats {
    /// For `nats://user:password@host:port` (or `tls://…`). Connects when it is first needed.
    ///
    /// # Errors
    /// It is no such address.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        let server: ServerAddr =
            url.parse().map_err(|why| TransportError::Refused(format!("not a NATS address: {why}")))?;
        let base = format!("nats://{}:{}/", server.host(), server.port());
        Ok(Self(Arc::new(Shared {
            server,
            names: Names::new("bus"),
            base,
            patience: Duration::from_secs(30),
            link: tokio::sync::Mutex::default(),
            sending: tokio::sync::Mutex::default(),
            connected: Arc::default(),
        })))
    }

    /// What streams and subjects begin with, `bus` by default: buses of different prefixes do not see each other.
    ///
    /// # Panics
    /// If the transport was cloned before, or the prefix is not of letters, digits, `-` and `_`.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        self.with(|shared| shared.names = Names::new(prefix))
    }

    /// How long a send waits for a connection before it fails; 30 s by default.
    ///
    /// # Panics
    /// If the transport was cloned before.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        self.with(|shared| shared.patience = patience)
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::get_mut(&mut self.0).expect("options are given before the transport is cloned"));
        self
    }

    /// Spells addresses for this broker without a connection: for a [`crate::Composer`] that only writes outbox rows.
    pub fn addressing(&self) -> crate::compose::Addressing {
        let (base, names) = (self.0.base.clone(), self.0.names.clone());
        Arc::new(move |destination| names.address(&base, destination))
    }

    async fn link(&self) -> Result<Arc<Link>, TransportError> {
        let mut link = self.0.link.lock().await;
        if let Some(link) = &*link {
            return Ok(link.clone());
        }
        let opened = Link::open(&self.0.server, self.0.names.clone(), self.0.connected.clone()).await?;
        let new = Arc::new(opened);
        *link = Some(new.clone());
        Ok(new)
    }

    async fn sending(&self) -> Result<Arc<Link>, TransportError> {
        let mut sending = self.0.sending.lock().await;
        if let Some(link) = &*sending {
            return Ok(link.clone());
        }
        let new = Arc::new(Link::open_once(&self.0.server, self.0.names.clone()).await?);
        *sending = Some(new.clone());
        Ok(new)
    }

    /// What is sent next goes over a connection that has lost nothing.
    async fn give_up(&self, failed: &Arc<Link>) {
        let mut sending = self.0.sending.lock().await;
        if sending.as_ref().is_some_and(|link| Arc::ptr_eq(link, failed)) {
            *sending = None;
        }
    }
}

impl Transport for Nats {
    fn system(&self) -> &'static str {
        "nats"
    }

    fn address(&self, destination: &Destination) -> String {
        self.0.names.address(&self.0.base, destination)
    }

    fn declare<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let link = self.link().await?;
            for endpoint in &topology.endpoints {
                let types = endpoint.types.iter().map(|kind| self.0.names.of_type(&kind.name)).collect();
                link.queue(&endpoint.name, types).await?;
            }
            Ok(())
        })
    }

    fn send(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), TransportError>>> {
        Box::pin(self.send_until_confirmed(batch))
    }

    fn subscribe<'a>(
        &'a self,
        queue: &'a str,
        credit: u16,
    ) -> BoxFuture<'a, Result<Subscription, TransportError>> {
        Box::pin(async move {
            let link = self.link().await?;
            link.streams().await?;
            delay::move_on(&link);
            receive::subscribe(link, queue, credit).await
        })
    }

    fn replies(&self) -> BoxFuture<'_, Result<Replies, TransportError>> {
        Box::pin(async move { receive::replies(&*self.link().await?, &self.0.base).await })
    }

    fn cancel<'a>(
        &'a self,
        _destination: &'a Destination,
        token: ScheduleToken,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        Box::pin(async move { delay::cancel(&*self.link().await?, token).await })
    }

    fn is_connected(&self) -> bool {
        self.0.connected.load(Ordering::Relaxed)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for place in [&self.0.sending, &self.0.link] {
                if let Some(link) = place.lock().await.take() {
                    link.close().await;
                }
            }
        })
    }
}
