//! AMQP 0-9-1, over `lapin`: RabbitMQ and Stele.
//!
//! Topology is MassTransit's: durable fanout exchanges for types, bound to a durable fanout exchange and a durable queue per endpoint.
//! One connection per transport, made when it is first needed and again when it is lost; subscriptions end with it and are made anew
//! by the runner, messages that were not confirmed are sent again with the same id.
//!
//! Delays need no plugin: a message waits in a queue of its own with a time to live and is dead-lettered to its destination.
//! - A scheduled message (with a token) has a queue of its own, `<destination>_delay_<token>`: exact, and deleting the queue cancels it.
//! - Redeliveries share one queue per wait, `<destination>_delay_<ms>`, where the wait is rounded up to two significant digits.
//!
//! Such a queue goes away ten minutes after its time. A message that waits loses its own time to live; 45 days is the longest wait.

mod convert;
mod delay;
mod link;
mod send;
mod topology;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;

use self::link::{Link, OK, error, within};
use super::{
    BoxFuture, Incoming, Replies, Settle, Settler, Stop, Subscription, Transport, TransportError, Verdict,
};
use crate::ids::Ids;
use crate::outgoing::{Destination, Outgoing, ScheduleToken};
use crate::time::Timestamp;
use crate::topology::Topology;

/// The pseudo queue of direct replies.
const DIRECT_REPLY: &str = "amq.rabbitmq.reply-to";

/// A broker that speaks AMQP 0-9-1. Clones share the connection.
#[derive(Clone)]
pub struct Amqp(Arc<Shared>);

struct Shared {
    uri: AMQPUri,
    /// What addresses begin with: `rabbitmq://host/vhost/`.
    base: String,
    patience: Duration,
    temporary_replies: bool,
    link: tokio::sync::Mutex<Option<Arc<Link>>>,
    /// The link's state, for those who only want to look.
    connected: std::sync::atomic::AtomicBool,
}

impl Amqp {
    /// For `amqp://user:password@host:port/vhost` (or `amqps://` with the feature `amqp-tls`). Connects when it is first needed.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        let mut uri: AMQPUri =
            url.parse().map_err(|why| TransportError::Refused(format!("not an AMQP address: {why}")))?;
        if uri.vhost.is_empty() {
            uri.vhost = "/".into(); // what other clients take a lone slash at the end for
        }
        let base = base(&uri);
        Ok(Self(Arc::new(Shared {
            uri,
            base,
            patience: Duration::from_secs(30),
            temporary_replies: false,
            link: tokio::sync::Mutex::default(),
            connected: std::sync::atomic::AtomicBool::default(),
        })))
    }

    /// How long the broker may take for what it is asked, with the connection that it needs, before that fails; 30 s by default. What
    /// was sent may have arrived all the same.
    ///
    /// # Panics
    /// If the transport was cloned before.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        self.with(|shared| shared.patience = patience)
    }

    /// Take replies from a temporary queue and exchange instead of the broker's direct reply-to: for responders that only know
    /// addresses.
    ///
    /// # Panics
    /// If the transport was cloned before.
    #[must_use]
    pub fn temporary_replies(self) -> Self {
        self.with(|shared| shared.temporary_replies = true)
    }

    fn with(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::get_mut(&mut self.0).expect("options are given before the transport is cloned"));
        self
    }

    /// Spells addresses for this broker without a connection: for a [`crate::Composer`] that only writes outbox rows.
    pub fn addressing(&self) -> crate::compose::Addressing {
        let base = self.0.base.clone();
        Arc::new(move |destination| address(&base, destination))
    }

    async fn link(&self) -> Result<Arc<Link>, TransportError> {
        let mut link = self.0.link.lock().await;
        if let Some(link) = link.as_ref().filter(|link| link.is_alive()) {
            return Ok(link.clone());
        }
        self.0.connected.store(false, std::sync::atomic::Ordering::Relaxed);
        let new = Arc::new(Link::open(&self.0.uri).await?);
        self.0.connected.store(true, std::sync::atomic::Ordering::Relaxed);
        *link = Some(new.clone());
        Ok(new)
    }

    async fn consume(&self, queue: &str, credit: u16) -> Result<Subscription, TransportError> {
        let link = self.link().await?;
        let channel = link.channel().await?;
        channel.basic_qos(credit.max(1), BasicQosOptions::default()).await.map_err(error)?;
        let queue = link::short(queue)?;
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(queue, ShortString::default(), options, FieldTable::default())
            .await
            .map_err(error)?;
        let patience = self.0.patience;
        Ok(subscription(Attached { channel, consumer, patience, acknowledges: true }, credit))
    }

    async fn open_replies(&self) -> Result<Replies, TransportError> {
        let link = self.link().await?;
        let no_ack = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let (name, channel, reply_to) = if self.0.temporary_replies {
            let channel = link.channel().await?;
            let name = format!("bus-{}", Ids::random().next(Timestamp::now()));
            topology::temporary(&channel, &name).await?;
            (name, channel, None)
        } else {
            // Requests must leave through the channel that takes the replies.
            (DIRECT_REPLY.to_owned(), link.publishing().await?.clone(), Some(DIRECT_REPLY.to_owned()))
        };
        let queue = link::short(&name)?;
        let consumer =
            channel.basic_consume(queue, ShortString::default(), no_ack, FieldTable::default()).await;
        let consumer = consumer.map_err(error)?;
        let query = if self.0.temporary_replies { "?temporary=true" } else { "" };
        let address = format!("{}{name}{query}", self.0.base);
        let attached = Attached { channel, consumer, patience: self.0.patience, acknowledges: false };
        let subscription = subscription(attached, 256);
        Ok(Replies { address, reply_to, subscription })
    }
}

impl Transport for Amqp {
    fn system(&self) -> &'static str {
        "rabbitmq"
    }

    fn address(&self, destination: &Destination) -> String {
        address(&self.0.base, destination)
    }

    fn declare<'a>(&'a self, topology: &'a Topology) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(within(self.0.patience, async move {
            let link = self.link().await?;
            for endpoint in &topology.endpoints {
                link.declaring(async |channel| topology::endpoint(channel, endpoint).await).await?;
            }
            Ok(())
        }))
    }

    fn send(&self, batch: Vec<Outgoing>) -> BoxFuture<'_, Vec<Result<(), TransportError>>> {
        Box::pin(self.send_until_confirmed(batch))
    }

    fn subscribe<'a>(
        &'a self,
        queue: &'a str,
        credit: u16,
    ) -> BoxFuture<'a, Result<Subscription, TransportError>> {
        Box::pin(within(self.0.patience, self.consume(queue, credit)))
    }

    fn replies(&self) -> BoxFuture<'_, Result<Replies, TransportError>> {
        Box::pin(within(self.0.patience, self.open_replies()))
    }

    fn cancel<'a>(
        &'a self,
        destination: &'a Destination,
        token: ScheduleToken,
    ) -> BoxFuture<'a, Result<bool, TransportError>> {
        Box::pin(within(self.0.patience, async move {
            let queue = delay::scheduled_queue(&delay::exchange_of(destination), token);
            let link = self.link().await?;
            link.declaring(async |channel| topology::delete(channel, &queue).await).await
        }))
    }

    fn is_connected(&self) -> bool {
        let link = self.0.link.try_lock();
        let known = self.0.connected.load(std::sync::atomic::Ordering::Relaxed);
        link.map_or(known, |link| link.as_ref().is_some_and(|link| link.is_alive()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some(link) = self.0.link.lock().await.take() else { return };
            if let Err(error) = within(self.0.patience, link.close()).await {
                tracing::debug!(%error, "close: the connection is gone already");
            }
        })
    }
}

/// `rabbitmq://host[:port]/[vhost/]`, without credentials.
fn base(uri: &AMQPUri) -> String {
    let port = match uri.authority.port {
        5672 => String::new(),
        port => format!(":{port}"),
    };
    let vhost = match uri.vhost.as_str() {
        "/" => String::new(),
        vhost => format!("{}/", vhost.replace('/', "%2F")),
    };
    format!("rabbitmq://{}{port}/{vhost}", uri.authority.host)
}

fn address(base: &str, destination: &Destination) -> String {
    match destination {
        Destination::Address { address, .. } => address.clone(),
        other => format!("{base}{}", delay::exchange_of(other)),
    }
}

/// Forward what a consumer receives until it ends.
fn subscription(attached: Attached, credit: u16) -> Subscription {
    let (sender, incoming) = mpsc::channel(usize::from(credit.max(1)));
    let attached = Arc::new(attached);
    let (settler, mut consumer) = (attached.clone(), attached.consumer.clone());
    tokio::spawn(async move {
        // An error is the end of the channel or the connection: the subscription ends with it.
        while let Some(Ok(delivery)) = consumer.next().await {
            let incoming = Incoming {
                properties: convert::properties(&delivery.properties),
                body: delivery.data.into(),
                redelivered: delivery.redelivered,
                exchange: delivery.exchange.to_string(),
                settle: Settle::new(settler.clone(), delivery.delivery_tag),
            };
            if sender.send(incoming).await.is_err() {
                return;
            }
        }
    });
    Subscription { incoming, stop: attached }
}

/// One consumer on its channel.
struct Attached {
    channel: Channel,
    consumer: Consumer,
    /// As the transport's.
    patience: Duration,
    /// Replies are taken without: to acknowledge one would close the channel.
    acknowledges: bool,
}

impl Stop for Attached {
    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let cancel = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
            if let Err(error) = within(self.patience, async { cancel.await.map_err(error) }).await {
                tracing::debug!(%error, "cancel: the consumer is gone already");
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if !self.acknowledges {
                return; // requests may leave through the same channel
            }
            let close = self.channel.close(OK, "bye".into());
            if let Err(error) = within(self.patience, async { close.await.map_err(error) }).await {
                tracing::debug!(%error, "close: the channel is gone already");
            }
        })
    }
}

impl Settler for Attached {
    fn settle(&self, tag: u64, verdict: Verdict) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            if !self.acknowledges {
                return Ok(());
            }
            within(self.patience, async {
                match verdict {
                    Verdict::Accept => self.channel.basic_ack(tag, BasicAckOptions::default()).await,
                    Verdict::Release => {
                        let options = BasicNackOptions { requeue: true, multiple: false };
                        self.channel.basic_nack(tag, options).await
                    }
                }
                .map_err(error)
            })
            .await
        })
    }
}
