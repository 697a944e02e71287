//! A broker of any kind, chosen by the scheme of its URL. Used by `stele outbox relay`.

use crate::amqp::{Amqp, AmqpPublisher};
use crate::kafka::{Kafka, KafkaPublisher};
use crate::nats::{Nats, NatsPublisher};
use crate::publish::{Fault, Message, Outcome, Publisher, Target};
use std::path::PathBuf;

/// Where rows go.
#[derive(Clone, Debug)]
pub enum Broker {
    /// `amqp://`, `amqps://`
    Amqp(Amqp),
    /// `nats://`, `tls://`
    Nats(Nats),
    /// `kafka://`
    Kafka(Kafka),
}

impl Broker {
    /// Reads a URL; `name` is what the broker shows of the connection, `authority` a file of certificates (PEM) that its own is checked by,
    /// beside (AMQP) or instead of (NATS) the machine's.
    ///
    /// # Errors
    /// It is no URL that can be connected to, or the file cannot be read. The text does not repeat the URL.
    pub fn new(url: &str, name: &str, authority: Option<PathBuf>) -> Result<Self, String> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("nats" | "tls") => Ok(Self::Nats(Nats::new(url, name)?.authority(authority))),
            Some("kafka") if authority.is_some() => Err("kafka is spoken without TLS".into()),
            Some("kafka") => Ok(Self::Kafka(Kafka::new(url, name)?)),
            Some("amqp" | "amqps") => {
                let amqp = Amqp::new(url, name)?;
                Ok(Self::Amqp(match authority {
                    None => amqp,
                    Some(file) => {
                        let pem = std::fs::read_to_string(&file);
                        amqp.authority(pem.map_err(|error| format!("read {}: {error}", file.display()))?)
                    }
                }))
            }
            _ => Err("expected amqp://…, amqps://…, nats://…, tls://… or kafka://…".into()),
        }
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Amqp(amqp) => amqp.place(),
            Self::Nats(nats) => nats.place(),
            Self::Kafka(kafka) => kafka.place(),
        }
    }
}

impl Target for Broker {
    type Publisher = AnyPublisher;

    async fn open(&self) -> Result<AnyPublisher, Fault> {
        Ok(match self {
            Self::Amqp(amqp) => AnyPublisher::Amqp(amqp.open().await?),
            Self::Nats(nats) => AnyPublisher::Nats(nats.open().await?),
            Self::Kafka(kafka) => AnyPublisher::Kafka(kafka.open().await?),
        })
    }
}

/// A connection to it.
#[expect(missing_docs, reason = "named as the broker is")]
pub enum AnyPublisher {
    Amqp(AmqpPublisher),
    Nats(NatsPublisher),
    Kafka(KafkaPublisher),
}

impl Publisher for AnyPublisher {
    async fn admit(&mut self, message: &Message) -> Result<Outcome, Fault> {
        match self {
            Self::Amqp(amqp) => amqp.admit(message).await,
            Self::Nats(nats) => nats.admit(message).await,
            Self::Kafka(kafka) => kafka.admit(message).await,
        }
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        match self {
            Self::Amqp(amqp) => amqp.publish(batch).await,
            Self::Nats(nats) => nats.publish(batch).await,
            Self::Kafka(kafka) => kafka.publish(batch).await,
        }
    }
}
