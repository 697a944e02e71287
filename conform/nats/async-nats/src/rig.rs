//! What every case needs: fresh names, a connection, streams that are gone afterwards, waiting with a deadline.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::{self, StorageType, Stream};
use async_nats::jetstream::{self, Context, Message};
use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use serde_json::Value;

/// How long an event may take that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A case: its name, and what it observes.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(Rig) -> Running,
}

/// A case under way.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Value>>>>;

/// One case's view of the server.
#[derive(Clone)]
pub(crate) struct Rig {
    pub(crate) url: String,
    pub(crate) stem: String,
    pub(crate) client: Client,
    pub(crate) js: Context,
    made: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    pub(crate) async fn new(case: &str, url: &str) -> Result<Self> {
        let client = async_nats::connect(url).await.context("connect")?;
        let mut js = jetstream::new(client.clone());
        js.set_timeout(PATIENCE);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        Ok(Self { url: url.into(), stem: format!("{case}-rs-{now:x}"), client, js, made: Arc::default() })
    }

    /// Another connection.
    pub(crate) async fn connect(&self) -> Result<Client> {
        async_nats::connect(&self.url).await.context("connect")
    }

    /// A subject below the case's name.
    pub(crate) fn subject(&self, tail: &str) -> String {
        format!("{}.{tail}", self.stem)
    }

    /// A stream that will be there and must be gone afterwards.
    pub(crate) fn expect(&self, stream: String) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
    }

    /// A stream that captures NAME.>.
    pub(crate) async fn stream(&self, change: impl FnOnce(&mut stream::Config)) -> Result<Stream> {
        let mut config = stream::Config {
            name: self.stem.clone(),
            subjects: vec![self.subject(">")],
            storage: StorageType::Memory,
            ..stream::Config::default()
        };
        change(&mut config);
        self.expect(self.stem.clone());
        Ok(self.js.create_stream(config).await?)
    }

    /// So many messages, over these subjects in turn.
    pub(crate) async fn fill(&self, count: usize, subjects: &[&str]) -> Result<()> {
        for number in 0..count {
            let subject = self.subject(subjects[number % subjects.len()]);
            self.js.publish(subject, number.to_string().into()).await?.await?;
        }
        Ok(())
    }

    /// Publish without waiting for each; the places.
    pub(crate) async fn publish_many(&self, count: usize) -> Result<Vec<u64>> {
        let mut acks = Vec::new();
        for number in 0..count {
            acks.push(self.js.publish(self.subject("a"), number.to_string().into()).await?);
        }
        let mut places = Vec::new();
        for ack in acks {
            places.push(ack.await?.sequence);
        }
        Ok(places)
    }

    pub(crate) async fn clean(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for stream in made {
            let _ = self.js.delete_stream(stream).await; // it may be gone already
        }
    }
}

/// A pull consumer with explicit acknowledgements.
pub(crate) async fn consumer(
    stream: &Stream,
    change: impl FnOnce(&mut pull::Config),
) -> Result<Consumer<pull::Config>> {
    let mut config = pull::Config { durable_name: Some("c".into()), ..pull::Config::default() };
    change(&mut config);
    Ok(stream.create_consumer(config).await?)
}

/// So many messages, in as many fetches as it takes.
pub(crate) async fn fetched(consumer: &Consumer<pull::Config>, count: usize) -> Result<Vec<Message>> {
    let mut found = Vec::new();
    while found.len() < count {
        let left = count - found.len();
        let mut batch = consumer.fetch().max_messages(left).expires(PATIENCE).messages().await?;
        while let Some(message) = batch.next().await {
            found.push(message.map_err(anyhow::Error::from_boxed)?);
        }
        anyhow::ensure!(found.len() > count - left, "late");
    }
    Ok(found)
}

/// So many messages of a subscription.
pub(crate) async fn take(subscriber: &mut Subscriber, count: usize) -> Result<Vec<String>> {
    let mut found = Vec::new();
    while found.len() < count {
        let next = tokio::time::timeout(PATIENCE, subscriber.next()).await.context("late")?;
        found.push(text(&next.context("the subscription ended")?.payload));
    }
    Ok(found)
}

/// Look again and again whether something has happened.
pub(crate) async fn until<F: Future<Output = Result<bool>>>(happened: impl Fn() -> F) -> Result<()> {
    let look = async {
        while !happened().await? {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, look).await.context("late")?
}

pub(crate) fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

pub(crate) fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| text(&message.payload)).collect()
}

pub(crate) fn counted(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// The number of a JetStream error somewhere in the chain, "ok", or the words.
pub(crate) fn code<T, E: std::error::Error + 'static>(result: Result<T, E>) -> Value {
    let Err(error) = result else { return "ok".into() };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<jetstream::Error>() {
            return refused.error_code().0.into();
        }
        cause = inner.source();
    }
    // Where the library keeps only the words of a refusal its number stands among them.
    let words = error.to_string();
    let number =
        words.rsplit_once("error code ").and_then(|(_, rest)| rest.trim_end_matches(')').parse::<u64>().ok());
    number.map_or_else(|| words.into(), Value::from)
}
