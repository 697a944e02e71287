//! The scene `nats`: the stream as the relay makes it, the consumer's durable place in it, and the judge's look at all that is in it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull::{Config, OrderedConfig, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::stream::{Config as StreamConfig, Stream};
use async_nats::jetstream::{Context, new};
use futures_lite::StreamExt as _;

use crate::Store;
use crate::event::Event;
use crate::judge::Arrival;

/// What a killed consumer had in hand comes again after this time.
const ACK_WAIT: Duration = Duration::from_secs(1);
const IN_HAND_MAX: i64 = 20;

/// The judge's connection.
pub(crate) struct Tap {
    jetstream: Context,
    store: Store,
}

impl Tap {
    /// Makes the stream and the consumer's place anew, and notes what is stored from now on.
    pub(crate) async fn open(url: &str, store: Store, arrivals: Arc<Mutex<Vec<Arrival>>>) -> Result<Self> {
        let jetstream = new(async_nats::connect(url).await?);
        let exchange = store.names().placed.0;
        let name = exchange.replace('.', "_");
        // It is not there before the first run.
        let _ = jetstream.delete_stream(&name).await;
        let subjects = vec![format!("{exchange}.>")];
        let stream =
            jetstream.create_stream(StreamConfig { name, subjects, ..StreamConfig::default() }).await?;
        place(&stream, store).await?;
        let consumer = stream.create_consumer(OrderedConfig::default()).await?;
        let mut messages = consumer.messages().await?;
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                let message_id = message_id(message.headers.as_ref()).unwrap_or_default();
                let event = Event::read(&message.payload).expect("only our events are published");
                arrivals.lock().expect("nothing panics with it").push(Arrival { message_id, event });
            }
        });
        Ok(Self { jetstream, store })
    }

    /// Messages that the consumer has not settled.
    pub(crate) async fn waiting(&self) -> Result<u64> {
        let stream = self.jetstream.get_stream(self.store.names().placed.0.replace('.', "_")).await?;
        let mut consumer = place(&stream, self.store).await?;
        let info = consumer.info().await?;
        Ok(info.num_pending + info.num_ack_pending as u64)
    }
}

/// The consumer's place, made when it is not there.
async fn place(stream: &Stream, store: Store) -> Result<PullConsumer> {
    let names = store.names();
    let name = names.queue.replace('.', "-");
    let config = Config {
        durable_name: Some(name.clone()),
        filter_subject: names.placed.1.into(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: IN_HAND_MAX,
        ..Config::default()
    };
    Ok(stream.get_or_create_consumer(&name, config).await?)
}

/// What comes to the consumer's place.
pub(crate) async fn consume(url: &str, store: Store) -> Result<Messages> {
    let jetstream = new(async_nats::connect(url).await?);
    let stream = jetstream.get_stream(store.names().placed.0.replace('.', "_")).await?;
    Ok(place(&stream, store).await?.messages().await?)
}

/// The id that a message's copies share.
pub(crate) fn message_id(lines: Option<&HeaderMap>) -> Option<String> {
    Some(lines?.get("Nats-Msg-Id")?.as_str().to_owned())
}
