//! A queue of the judge's own beside the consumer's: it sees everything that the broker was sent, in order. Its connection is not cut.

use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result};
use futures_lite::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};

use crate::Store;
use crate::event::{BILL_ORDER, BILLED, Event, PLACED};
use crate::judge::Arrival;

/// Exchange and routing key of the two events in Debezium's way.
pub(crate) const TOPIC: &str = "outbox.event";

/// What has arrived so far.
pub(crate) struct Tap {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    channel: Channel,
    _connection: Connection,
}

impl Tap {
    /// Makes the exchanges and both queues anew, so that nothing of an earlier run is seen.
    pub(crate) async fn open(url: &str, store: Store) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.queue_delete(BILL_ORDER.into(), QueueDeleteOptions::default()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(BILL_ORDER.into(), durable, FieldTable::default()).await?;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let tap = channel.queue_declare("".into(), own, FieldTable::default()).await?.name().clone();
        let edges = match store {
            Store::Debezium => [(TOPIC, "outbox.event.order"), (TOPIC, "outbox.event.bill")],
            Store::Postgres | Store::Sqlite => [(PLACED, ""), (BILLED, "")],
        };
        let kind = match store {
            Store::Debezium => ExchangeKind::Topic,
            Store::Postgres | Store::Sqlite => ExchangeKind::Fanout,
        };
        let placed = edges[0];
        for (queue, (exchange, key)) in
            [(BILL_ORDER, placed), (tap.as_str(), edges[0]), (tap.as_str(), edges[1])]
        {
            let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare(exchange.into(), kind.clone(), options, FieldTable::default()).await?;
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default())
                .await?;
        }
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let mut consumer = channel.basic_consume(tap, "tap".into(), options, FieldTable::default()).await?;
        let arrivals: Arc<Mutex<Vec<Arrival>>> = Arc::default();
        tokio::spawn({
            let arrivals = Arc::clone(&arrivals);
            async move {
                while let Some(Ok(delivery)) = consumer.next().await {
                    let message_id = delivery.properties.message_id().as_ref();
                    let message_id = message_id.map(|id| id.as_str().to_owned()).unwrap_or_default();
                    let event = Event::read(&delivery.data).expect("only our two events are published");
                    arrivals.lock().expect("nothing panics with it").push(Arrival { message_id, event });
                }
            }
        });
        Ok(Self { arrivals, channel, _connection: connection })
    }

    pub(crate) fn count(&self) -> usize {
        self.arrivals.lock().expect("nothing panics with it").len()
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().expect("nothing panics with it").clone()
    }

    /// Messages that wait for the consumer and are not in its hands.
    pub(crate) async fn waiting(&self) -> Result<u32> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = self.channel.queue_declare(BILL_ORDER.into(), passive, FieldTable::default()).await;
        Ok(queue.context("look at the consumer's queue")?.message_count())
    }
}
