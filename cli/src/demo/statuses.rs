//! The status of every order: a read model in a key-value bucket, kept by a JetStream consumer over the orders' events.
//!
//! Events may come again, and those of two connections in either order: a status is replaced only by a later one, and only if nobody else has
//! replaced it meanwhile.

use super::board::{connect, event};
use super::ledger::{Event, Ledger};
use super::shop::{ORDERS, Shop};
use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::{self, Message, stream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const STREAM: &str = "stele-demo-orders";
const CONSUMER: &str = "stele-demo-keeper";
const BUCKET: &str = "stele-demo-statuses";

/// Events that are taken up together: as many as are there, and no more than these.
const EVENTS_MAX: usize = 256;
/// Statuses that are read or written at a time.
const IN_FLIGHT: usize = 64;

/// See the module.
pub(crate) struct Statuses {
    events: PullConsumer,
    bucket: Store,
}

impl Statuses {
    /// Makes the stream, its consumer and the bucket.
    pub(crate) async fn open(nats: SocketAddr) -> anyhow::Result<Self> {
        let jetstream = jetstream::new(connect(nats, "statuses").await?);
        let bucket = kv::Config { bucket: BUCKET.to_owned(), ..kv::Config::default() };
        let bucket = jetstream.create_key_value(bucket).await?;
        let stream = stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![ORDERS.to_owned()],
            ..stream::Config::default()
        };
        let consumer = pull::Config { durable_name: Some(CONSUMER.to_owned()), ..pull::Config::default() };
        let events = jetstream.create_stream(stream).await?.create_consumer(consumer).await?;
        Ok(Self { events, bucket })
    }

    /// Keeps statuses until the connection ends.
    pub(crate) async fn keep(self, shop: Shop) -> anyhow::Result<()> {
        let mut events = self.events.messages().await?.ready_chunks(EVENTS_MAX);
        while let Some(some) = events.next().await {
            let some: Vec<Message> = some.into_iter().collect::<Result<_, _>>()?;
            self.take(&shop, &some).await?;
        }
        anyhow::bail!("the statuses were sent away")
    }

    /// Brings the orders that some events are about up to date, and lets go of the events.
    async fn take(&self, shop: &Shop, events: &[Message]) -> anyhow::Result<()> {
        let mut latest: BTreeMap<u64, Event> = BTreeMap::new();
        for message in events {
            let Some((order, event)) = event(shop, message) else {
                shop.ledger(Ledger::stranger);
                continue;
            };
            let status = latest.entry(order).or_insert(event);
            *status = event.max(*status);
        }
        let changes = futures_util::stream::iter(latest).map(anyhow::Ok);
        changes
            .try_for_each_concurrent(IN_FLIGHT, |(order, status)| async move {
                let status = self.put(order, status).await?;
                shop.ledger(|ledger| ledger.keep(order, status));
                Ok(())
            })
            .await?;
        for message in events {
            message.ack().await.map_err(anyhow::Error::from_boxed)?;
        }
        Ok(())
    }

    /// Puts an order's status, unless a later one is there; what is there then.
    async fn put(&self, order: u64, status: Event) -> anyhow::Result<Event> {
        let key = order.to_string();
        let known = self.bucket.entry(&key).await?;
        let revision = known.as_ref().map_or(0, |entry| entry.revision);
        if let Some(later) =
            known.and_then(|entry| Event::by_word(&entry.value)).filter(|known| *known >= status)
        {
            return Ok(later);
        }
        self.bucket.update(&key, status.word().into(), revision).await?;
        Ok(status)
    }
}

/// All statuses, as any client reads them. A value that is none is left out.
pub(crate) async fn read(nats: SocketAddr) -> anyhow::Result<BTreeMap<u64, Event>> {
    let bucket = jetstream::new(connect(nats, "reader").await?).get_key_value(BUCKET).await?;
    let values = bucket.keys().await?.map_err(anyhow::Error::from).map_ok(|key| {
        let bucket = &bucket;
        async move { anyhow::Ok((key.parse().ok(), bucket.get(key).await?)) }
    });
    let statuses = values.try_buffer_unordered(IN_FLIGHT).try_filter_map(|(order, value)| async move {
        Ok(order.zip(value.and_then(|value| Event::by_word(&value))))
    });
    statuses.try_collect().await
}
