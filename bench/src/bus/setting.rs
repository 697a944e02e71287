//! A Postgres of our own with the bus's tables, and a connection to the broker.

use std::sync::Arc;

use anyhow::Result;
use lapin::options::{
    BasicConsumeOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer, ExchangeKind};
use sqlx::postgres::{PgPool, PgPoolOptions};
use stele_bus::{Composer, Outgoing, SendOptions};
use stele_bus_relay::amqp::Amqp;
use stele_bus_relay::postgres::{Database, PgOutbox};
use stele_bus_sql::postgres;
use stele_testkit::postgres::Cluster;

use crate::client::Url;

/// Connections that insert or consume side by side.
pub(crate) const CONNECTIONS: u32 = 32;
/// The queue that everything arrives in.
pub(crate) const QUEUE: &str = "stele-bench.bus";

/// What is published.
#[derive(stele_bus::Message, serde::Serialize, serde::Deserialize)]
#[message(urn = "Bench:Placed", key = aggregate)]
pub(crate) struct Placed {
    pub(crate) aggregate: String,
    pub(crate) seq: u64,
    pub(crate) note: String,
}

/// The exchange of that type.
pub(crate) const EXCHANGE: &str = "Bench:Placed";

/// Both servers.
pub(crate) struct Setting {
    pub(crate) pool: PgPool,
    pub(crate) composer: Composer,
    pub(crate) channel: Channel,
    pub(crate) url: String,
    cluster: Cluster,
    _connection: Connection,
}

impl Setting {
    pub(crate) async fn open(broker: &Url) -> Result<Self> {
        let cluster = Cluster::start(&["max_connections=100", "shared_buffers=256MB", "wal_level=logical"])?;
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(&cluster.url()).await?;
        postgres::migrate(&pool).await?;
        let url = broker.to_string().trim_end_matches('/').to_owned();
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let composer = Composer::new(Arc::new(|destination| format!("rabbitmq://localhost/{destination:?}")));
        Ok(Self { pool, composer, channel, url, cluster, _connection: connection })
    }

    pub(crate) fn outbox(&self) -> Result<PgOutbox> {
        let database = Database::new(&self.cluster.url()).map_err(anyhow::Error::msg)?;
        Ok(PgOutbox::new(database, "outbox".parse().map_err(anyhow::Error::msg)?, None))
    }

    pub(crate) fn target(&self) -> Result<Amqp> {
        Amqp::new(&self.url, "bench relay").map_err(anyhow::Error::msg)
    }

    pub(crate) fn message(&self, aggregate: String, seq: u64) -> Result<Outgoing> {
        let placed = Placed { aggregate, seq, note: "x".repeat(100) };
        Ok(self.composer.publish(&placed, SendOptions::default())?)
    }

    /// An empty queue that everything arrives in.
    pub(crate) async fn fresh_queue(&self) -> Result<()> {
        let (channel, arguments) = (&self.channel, FieldTable::default);
        channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Fanout, durable, arguments()).await?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(QUEUE.into(), durable, arguments()).await?;
        let options = QueueBindOptions::default();
        channel.queue_bind(QUEUE.into(), EXCHANGE.into(), "".into(), options, arguments()).await?;
        Ok(())
    }

    /// Consumes the queue; without settling if `no_ack`.
    pub(crate) async fn consume(&self, no_ack: bool) -> Result<Consumer> {
        let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
        Ok(self.channel.basic_consume(QUEUE.into(), "bench".into(), options, FieldTable::default()).await?)
    }

    pub(crate) async fn end_consuming(&self) -> Result<()> {
        Ok(self.channel.basic_cancel("bench".into(), lapin::options::BasicCancelOptions::default()).await?)
    }
}
