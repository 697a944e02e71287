//! What the judge sees: everything that the broker was sent, in order, by a queue of its own beside the consumer's (of a stream it reads
//! what is there). Its connection is not cut.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use futures_lite::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::Store;
use crate::event::Event;
use crate::judge::Arrival;
use crate::saga::{self, ORDER_SAGA};

/// What has arrived so far.
pub(crate) struct Tap {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    broker: Broker,
}

/// Where the consumer's messages wait.
enum Broker {
    Amqp { channel: Channel, queue: &'static str, _connection: Connection },
    Nats(crate::nats::Tap),
}

impl Tap {
    /// Makes the exchanges and all queues, or the stream, anew, so that nothing of an earlier run is seen.
    pub(crate) async fn open(url: &str, store: Store) -> Result<Self> {
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        let broker = match store {
            Store::Nats => Broker::Nats(crate::nats::Tap::open(url, store, Arc::clone(&arrivals)).await?),
            _ => Self::over_amqp(url, store, Arc::clone(&arrivals)).await?,
        };
        Ok(Self { arrivals, broker })
    }

    async fn over_amqp(url: &str, store: Store, arrivals: Arc<Mutex<Vec<Arrival>>>) -> Result<Broker> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let names = store.names();
        let arguments = FieldTable::default;
        for queue in [names.queue, ORDER_SAGA] {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(names.queue.into(), durable, arguments()).await?;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let tap = channel.queue_declare("".into(), own, arguments()).await?.name().clone();
        let is_topic = !names.placed.1.is_empty();
        let kind = if is_topic { ExchangeKind::Topic } else { ExchangeKind::Fanout };
        let options = || ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        for (exchange, key) in std::iter::once(&names.placed).chain(names.others) {
            channel.exchange_declare((*exchange).into(), kind.clone(), options(), arguments()).await?;
            let bind = QueueBindOptions::default();
            channel.queue_bind(tap.clone(), (*exchange).into(), (*key).into(), bind, arguments()).await?;
        }
        // The consumer's queue stands behind an exchange of its own name, as the bus makes it.
        let (exchange, key) = names.placed;
        channel.exchange_declare(names.queue.into(), ExchangeKind::Fanout, options(), arguments()).await?;
        let bind = ExchangeBindOptions::default();
        channel.exchange_bind(names.queue.into(), exchange.into(), key.into(), bind, arguments()).await?;
        let bind = QueueBindOptions::default();
        channel.queue_bind(names.queue.into(), names.queue.into(), "".into(), bind, arguments()).await?;
        if names.has_saga {
            saga::declare(url).await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = channel.basic_consume(tap, "tap".into(), options, FieldTable::default()).await?;
        tokio::spawn(async move {
            while let Some(Ok(delivery)) = consumer.next().await {
                let message_id = delivery.properties.message_id().as_ref();
                let message_id = message_id.map(|id| id.as_str().to_owned()).unwrap_or_default();
                let event = Event::read(&delivery.data).expect("only our events are published");
                arrivals.lock().expect("nothing panics with it").push(Arrival { message_id, event });
            }
        });
        Ok(Broker::Amqp { channel, queue: names.queue, _connection: connection })
    }

    pub(crate) fn count(&self) -> usize {
        self.arrivals.lock().expect("nothing panics with it").len()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().expect("nothing panics with it").clone()
    }

    /// Messages that wait for the consumer and are not in its hands.
    pub(crate) async fn waiting(&self) -> Result<u64> {
        let (channel, queue) = match &self.broker {
            Broker::Amqp { channel, queue, .. } => (channel, *queue),
            Broker::Nats(tap) => return tap.waiting().await,
        };
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        Ok(queue.context("look at the consumer's queue")?.message_count().into())
    }
}
