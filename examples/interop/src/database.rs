//! `interop migrate | produce | relay | consume`: state, inbox and outbox in one Postgres transaction each.
//!
//! Run by a driver that kills any of them at any moment. What must hold then is said in the contract; what makes it hold is that every
//! verb does its work in one local transaction, and that the relay deletes a row only after its confirm.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use sqlx::postgres::{PgPool, PgPoolOptions};
use stele_bus::transport::amqp::Amqp;
use stele_bus::{Bus, Composer, Context, Failure, Msg, Retry};
use stele_bus_relay::postgres::{Database, PgOutbox};
use stele_bus_relay::relay::{self, Settings};
use stele_bus_sql::postgres::{self, PgStore, Tx};
use stele_bus_sql::relay::OverTransport;

use crate::contracts::{OrderBilled, OrderPlaced};
use crate::{asked_to_stop, say};

const TABLES: &str = "
create table if not exists orders (order_id uuid primary key, aggregate_id text, seq int);
create table if not exists effects (order_id uuid primary key, n int);
";

/// Which orders are placed.
#[derive(Args)]
pub(crate) struct Orders {
    /// Name of this series; part of its aggregates' names.
    #[arg(long)]
    start: String,
    /// So many.
    #[arg(long)]
    count: u32,
    /// Over so many aggregates.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    aggregates: u32,
    /// Every so many-th is rolled back.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rollback_every: Option<u32>,
    /// Every so many-th holds its transaction open…
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), requires = "hold_ms")]
    hold_every: Option<u32>,
    /// … so long.
    #[arg(long, requires = "hold_every")]
    hold_ms: Option<u64>,
}

async fn pool(url: &str) -> Result<PgPool> {
    PgPoolOptions::new().max_connections(16).connect(url).await.context("connect to the database")
}

pub(crate) async fn migrate(url: &str) -> Result<()> {
    let pool = pool(url).await?;
    postgres::migrate(&pool).await.context("make the bus's tables")?;
    sqlx::raw_sql(TABLES).execute(&pool).await.context("make the shop's tables")?;
    Ok(())
}

pub(crate) async fn produce(url: &str, amqp_url: &str, orders: &Orders) -> Result<()> {
    let pool = pool(url).await?;
    // Addresses are spelt as the broker's, but nothing is connected: a producer needs its database only.
    let composer = Composer::new(Amqp::new(amqp_url)?.addressing());
    for at in 0..orders.count {
        let every = |count: Option<u32>| count.is_some_and(|count| (at + 1) % count == 0);
        let order_id = composer.new_id();
        let aggregate_id = format!("{}-{}", orders.start, at % orders.aggregates);
        let seq = i32::try_from(at / orders.aggregates)?;
        let mut tx = pool.begin().await?;
        sqlx::query("insert into orders (order_id, aggregate_id, seq) values ($1, $2, $3)")
            .bind(order_id)
            .bind(&aggregate_id)
            .bind(seq)
            .execute(&mut *tx)
            .await?;
        let placed = OrderPlaced { order_id, aggregate_id, seq };
        postgres::publish(&mut tx, &composer, &placed).await?;
        if let Some(ms) = orders.hold_ms.filter(|_| every(orders.hold_every)) {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
        if every(orders.rollback_every) {
            tx.rollback().await?;
            say(&format!("ROLLEDBACK {order_id}"));
        } else {
            tx.commit().await?;
            say(&format!("COMMITTED {order_id}"));
        }
    }
    Ok(())
}

pub(crate) async fn relay(url: &str, amqp_url: &str) -> Result<()> {
    let outbox = PgOutbox::new(
        Database::new(url).map_err(|why| anyhow!(why))?,
        "outbox".parse().map_err(|why: String| anyhow!(why))?,
        None,
    );
    outbox.prepare().await.map_err(|error| anyhow!("prepare the outbox: {error:?}"))?;
    let amqp = Amqp::new(amqp_url)?;
    let mut relay = relay::start(outbox, OverTransport(Arc::new(amqp)), Settings::default());
    relay.ready().await;
    say("READY");
    asked_to_stop().await?;
    relay.stop().await;
    Ok(())
}

async fn bill(Msg(placed): Msg<OrderPlaced>, mut tx: Tx, cx: Context) -> Result<(), Failure> {
    let count = "insert into effects (order_id, n) values ($1, 1) on conflict (order_id) do update set n = effects.n + 1";
    sqlx::query(count).bind(placed.order_id).execute(&mut **tx).await?;
    cx.publish(&OrderBilled { order_id: placed.order_id })?;
    Ok(())
}

pub(crate) async fn consume(url: &str, amqp_url: &str) -> Result<()> {
    let bus = Bus::builder(Amqp::new(amqp_url)?)
        .store(PgStore::new(pool(url).await?))
        .endpoint("bill-order", |endpoint| {
            // A database that is away is no reason to give an order up: half an hour of tries, then the error queue.
            let patience =
                Retry::exponential(Duration::from_millis(20)..Duration::from_secs(2), 1000).jitter();
            endpoint.handle(bill).retry(patience)
        })
        .build()?;
    bus.start().await.context("start")?;
    say("READY");
    asked_to_stop().await?;
    bus.stop().await;
    Ok(())
}
