//! The shop: its exchanges and queues, and the services that talk through them, each on a connection of its own.
//!
//! ```text
//! shop ──order.placed──► [amq.topic] ──► payment ──(fails)──► [retry] ──► payment.retry ──(after a while)──► [amq.topic] ──► payment
//!                          ├──order.placed, order.paid──► recommendation     payment ──(third failure)──► parking ──► support
//!                          └──order.paid──► inventory     payment ──order.paid──►, inventory ──order.shipped──►, support ──order.parked──► [amq.topic]
//! ```
//!
//! On a broker of our own, others hear of the orders too, by `order.*`: the [audit](super::audit) as a Kafka client, the [board](super::board) and the
//! [statuses](super::statuses) by NATS. What goes through `amq.topic` has its key for a subject.

use super::ledger::{Event, Ledger, Readers, Step};
use anyhow::Context as _;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the names of all objects of the demo begin with.
pub(crate) const PREFIX: &str = "stele-demo.";

/// The exchange of the subject space, which all dialects share.
const TOPIC: &str = "amq.topic";
const RETRY: &str = "stele-demo.retry";
const PAYMENT: &str = "stele-demo.payment";
const PAYMENT_RETRY: &str = "stele-demo.payment.retry";
const PARKING: &str = "stele-demo.parking";
const INVENTORY: &str = "stele-demo.inventory";
const RECOMMENDATION: &str = "stele-demo.recommendation";

/// The stream of all orders.
pub(crate) const EVENTS: &str = "stele-demo.events";
/// Subjects of all events of orders, as AMQP and NATS write them.
pub(crate) const ORDERS: &str = "stele-demo.order.*";

const QUEUES: [&str; 5] = [PAYMENT, PAYMENT_RETRY, PARKING, INVENTORY, RECOMMENDATION];
const BINDINGS: [(&str, &str, &str); 6] = [
    (PAYMENT, TOPIC, "stele-demo.order.placed"),
    (PAYMENT, TOPIC, PAY_AGAIN),
    (INVENTORY, TOPIC, "stele-demo.order.paid"),
    (RECOMMENDATION, TOPIC, "stele-demo.order.placed"),
    (RECOMMENDATION, TOPIC, "stele-demo.order.paid"),
    (PAYMENT_RETRY, RETRY, "payment"),
];
const PAY_AGAIN: &str = "stele-demo.retry.payment";
const NEWSLETTER: &str = "stele-demo.newsletter.sent";

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a failed order waits for its next try.
const RETRY_AFTER_MS: i32 = 400;
/// Tries of one order.
const TRIES: u64 = 3;
/// Deliveries a service has in work at a time.
const PREFETCH: u16 = 64;
/// Orders on their way to their confirms.
const IN_FLIGHT: usize = 256;
/// Every so many orders the shop also sends a newsletter, which nobody has subscribed to.
const NEWSLETTER_EVERY: u64 = 20;

/// One run of the demo against one broker.
#[derive(Clone)]
pub(crate) struct Shop {
    url: String,
    /// Tells this run's messages from others'.
    run: String,
    /// There is a stream, and somebody reads it.
    audited: bool,
    ledger: Arc<Mutex<Ledger>>,
}

/// A service of the shop that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Takes money, and fails now and then.
    Payment,
    /// Ships what is paid.
    Inventory,
    /// Looks at all orders.
    Recommendation,
    /// Looks at what was parked.
    Support,
}

impl Service {
    pub(crate) const ALL: [Self; 4] = [Self::Payment, Self::Inventory, Self::Recommendation, Self::Support];

    fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Inventory => "inventory",
            Self::Recommendation => "recommendation",
            Self::Support => "support",
        }
    }

    fn queue(self) -> &'static str {
        match self {
            Self::Payment => PAYMENT,
            Self::Inventory => INVENTORY,
            Self::Recommendation => RECOMMENDATION,
            Self::Support => PARKING,
        }
    }
}

impl Shop {
    pub(crate) fn new(url: &str, readers: Readers) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = format!("{}-{}", std::process::id(), now.as_micros());
        let ledger = Arc::new(Mutex::new(Ledger::new(readers)));
        Self { url: url.to_owned(), run, audited: readers.kafka, ledger }
    }

    /// Looks at the ledger.
    pub(crate) fn ledger<T>(&self, look: impl FnOnce(&mut Ledger) -> T) -> T {
        look(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn connect(&self, name: &str) -> anyhow::Result<Connection> {
        let properties =
            ConnectionProperties::default().with_connection_name(format!("{PREFIX}{name}").into());
        let connecting = tokio::time::timeout(CONNECT, Connection::connect(&self.url, properties));
        let connected =
            connecting.await.with_context(|| format!("no connection as {name} within {CONNECT:?}"))?;
        // Its text has its causes in it.
        connected.map_err(|error| anyhow::anyhow!("could not connect as {name}: {error}"))
    }

    /// Makes all objects anew, so that nothing of an earlier run is counted.
    pub(crate) async fn open(&self) -> anyhow::Result<()> {
        let connection = self.connect("setup").await?;
        let channel = connection.create_channel().await?;
        remove(&channel).await.context("could not remove what an earlier run left")?;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(RETRY.into(), ExchangeKind::Direct, options, FieldTable::default()).await?;
        for queue in QUEUES {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(queue.into(), options, arguments(queue)).await?;
        }
        for (queue, exchange, key) in BINDINGS {
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())
                .await?;
        }
        if self.audited {
            let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(EVENTS.into(), options, arguments(EVENTS)).await?;
            let (options, table) = (QueueBindOptions::default(), FieldTable::default());
            channel.queue_bind(EVENTS.into(), TOPIC.into(), ORDERS.into(), options, table).await?;
        }
        goodbye(&connection).await
    }

    /// Removes all objects.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        let connection = self.connect("setup").await?;
        let channel = connection.create_channel().await?;
        remove(&channel).await?;
        goodbye(&connection).await
    }

    /// Places `rate` orders per second until `end`, and waits for all confirms.
    pub(crate) async fn place_orders(&self, rate: u32, end: impl Future<Output = ()>) -> anyhow::Result<()> {
        let connection = self.connect("shop").await?;
        let channel = confirming(&connection).await?;
        let every = tokio::time::interval(Duration::from_secs(1) / rate);
        let orders = stream::unfold((every, 0u64), |(mut every, last)| async move {
            every.tick().await;
            Some((last + 1, (every, last + 1)))
        });
        let placing = orders.take_until(end).map(Ok);
        placing.try_for_each_concurrent(IN_FLIGHT, |order| self.place(&channel, order)).await?;
        goodbye(&connection).await
    }

    async fn place(&self, channel: &Channel, order: u64) -> anyhow::Result<()> {
        self.ledger(|ledger| ledger.place(order));
        let confirmed = self.publish(channel, TOPIC, &Event::Placed.subject(), order).await?;
        self.ledger(|ledger| ledger.answer(order, confirmed));
        if order.is_multiple_of(NEWSLETTER_EVERY) {
            self.publish(channel, TOPIC, NEWSLETTER, order).await?;
        }
        Ok(())
    }

    /// Publishes what has happened to an order.
    async fn tell(&self, channel: &Channel, event: Event, order: u64) -> anyhow::Result<()> {
        let confirmed = self.publish(channel, TOPIC, &event.subject(), order).await?;
        anyhow::ensure!(confirmed, "{} was refused", event.subject());
        Ok(())
    }

    /// Publishes a persistent message about an order; the broker's answer.
    async fn publish(
        &self,
        channel: &Channel,
        exchange: &str,
        key: &str,
        order: u64,
    ) -> anyhow::Result<bool> {
        let body =
            format!("{{\"order\":{order},\"items\":{},\"cents\":{}}}", 1 + order % 3, 990 + order % 5000);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into())
            .with_message_id(format!("{}/{order}/{key}", self.run).into());
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await?;
        Ok(matches!(sent.await?, Confirmation::Ack(_)))
    }

    /// Runs a service until its connection ends.
    pub(crate) async fn serve(self, service: Service) -> anyhow::Result<()> {
        let connection = self.connect(service.name()).await?;
        let channel = confirming(&connection).await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let (options, table) = (BasicConsumeOptions::default(), FieldTable::default());
        let tag = service.name();
        let consumer = channel.basic_consume(service.queue().into(), tag.into(), options, table).await?;
        let work = consumer.map_err(anyhow::Error::from).try_for_each_concurrent(
            usize::from(PREFETCH),
            |delivery| {
                let (shop, channel) = (&self, &channel);
                async move { shop.handle(service, channel, delivery).await }
            },
        );
        work.await.with_context(|| format!("{} had to stop", service.name()))?;
        anyhow::bail!("{} was sent away", service.name())
    }

    async fn handle(&self, service: Service, channel: &Channel, delivery: Delivery) -> anyhow::Result<()> {
        let Some(order) = self.order_of(&delivery) else {
            self.ledger(Ledger::stranger);
            return Ok(delivery.ack(BasicAckOptions::default()).await.map(drop)?);
        };
        let (step, event) = match service {
            Service::Payment => return self.pay(channel, delivery, order).await,
            Service::Inventory => (Step::Shipped, Some(Event::Shipped)),
            Service::Support => (Step::Parked, Some(Event::Parked)),
            Service::Recommendation => match Event::of(delivery.routing_key.as_str()) {
                Some(Event::Paid) => (Step::SawPaid, None),
                _ => (Step::SawPlaced, None),
            },
        };
        self.ledger(|ledger| ledger.step(order, step, delivery.redelivered));
        if let Some(event) = event {
            self.tell(channel, event, order).await?;
        }
        delivery.ack(BasicAckOptions::default()).await?;
        Ok(())
    }

    /// Some orders fail at their first try, and a few at every one.
    async fn pay(&self, channel: &Channel, delivery: Delivery, order: u64) -> anyhow::Result<()> {
        let tries = 1 + rejections(&delivery);
        let fails = order % 23 == 5 || (order % 7 == 3 && tries == 1);
        if !fails {
            self.tell(channel, Event::Paid, order).await?;
            self.ledger(|ledger| ledger.step(order, Step::Paid, delivery.redelivered));
            delivery.ack(BasicAckOptions::default()).await?;
            return Ok(());
        }
        self.ledger(Ledger::fail);
        if tries < TRIES {
            // Dead-lettered to the retry queue, from where it comes back.
            delivery.reject(BasicRejectOptions { requeue: false }).await?;
        } else {
            anyhow::ensure!(self.publish(channel, "", PARKING, order).await?, "a parked order was refused");
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }

    /// The order that a message of this run is about.
    fn order_of(&self, delivery: &Delivery) -> Option<u64> {
        self.order_by_id(delivery.properties.message_id().as_ref()?.as_str())
    }
}

impl Shop {
    /// The order that a message of this run is about, by the message's id.
    pub(crate) fn order_by_id(&self, id: &str) -> Option<u64> {
        let (order, _) = id.strip_prefix(&self.run)?.strip_prefix('/')?.split_once('/')?;
        order.parse().ok()
    }

    /// The order that the body of one of this run's messages is about.
    pub(crate) fn order_in(&self, body: &[u8]) -> Option<u64> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        body.get("order")?.as_u64()
    }
}

fn arguments(queue: &str) -> FieldTable {
    let mut table = FieldTable::default();
    let mut put = |key: &str, value| {
        table.insert(key.into(), value);
    };
    let text = |text: &str| AMQPValue::LongString(text.into());
    match queue {
        PAYMENT => {
            put("x-dead-letter-exchange", text(RETRY));
            put("x-dead-letter-routing-key", text("payment"));
        }
        PAYMENT_RETRY => {
            put("x-message-ttl", AMQPValue::LongInt(RETRY_AFTER_MS));
            put("x-dead-letter-exchange", text(TOPIC));
            put("x-dead-letter-routing-key", text(PAY_AGAIN));
        }
        EVENTS => put("x-queue-type", text("stream")),
        _ => {}
    }
    table
}

async fn confirming(connection: &Connection) -> anyhow::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

/// Removes all objects of the demo; what is not there is passed over.
async fn remove(channel: &Channel) -> anyhow::Result<()> {
    for queue in QUEUES.into_iter().chain([EVENTS]) {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    channel.exchange_delete(RETRY.into(), ExchangeDeleteOptions::default()).await?;
    Ok(())
}

async fn goodbye(connection: &Connection) -> anyhow::Result<()> {
    Ok(connection.close(200, "done".into()).await?)
}

/// How often the payment queue let go of this message because it was rejected, by its `x-death` header.
fn rejections(delivery: &Delivery) -> u64 {
    let headers = delivery.properties.headers().as_ref();
    let Some(AMQPValue::FieldArray(deaths)) = headers.and_then(|table| table.inner().get("x-death")) else {
        return 0;
    };
    let text_is = |death: &FieldTable, key: &str, wanted: &str| matches!(death.inner().get(key), Some(AMQPValue::LongString(text)) if text.as_bytes() == wanted.as_bytes());
    let counts = deaths.as_slice().iter().map(|death| match death {
        AMQPValue::FieldTable(death)
            if text_is(death, "queue", PAYMENT) && text_is(death, "reason", "rejected") =>
        {
            match death.inner().get("count") {
                Some(AMQPValue::LongLongInt(count)) => u64::try_from(*count).unwrap_or(0),
                _ => 0,
            }
        }
        _ => 0,
    });
    counts.sum()
}
