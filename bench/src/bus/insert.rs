//! Transactions per second at 32 connections: an order alone, with its event in a plain table, and with its event in the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::query;
use stele_bus::{Composer, SendOptions};
use stele_bus_sql::postgres::append;
use tokio::task::JoinSet;

use super::setting::{CONNECTIONS, Placed, Setting};
use super::{Aim, Figure, figure};

/// Turns of each kind.
const TURNS: f64 = 5.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Order,
    Plain,
    Outbox,
}

pub(super) async fn run(setting: &Setting, seconds: f64) -> Result<Vec<Figure>> {
    for table in [
        "orders (id bigint generated always as identity primary key, aggregate text, note text)",
        "events (id uuid primary key, type text, aggregate text, body bytea, at timestamptz default now())",
    ] {
        query(sqlx::AssertSqlSafe(format!("create table if not exists {table}")))
            .execute(&setting.pool)
            .await?;
    }
    // In turns, so that what else the machine does meets all kinds alike.
    let mut rates = [0.0; 3];
    for _ in 0..TURNS as u32 {
        for (rate, kind) in rates.iter_mut().zip([Kind::Order, Kind::Plain, Kind::Outbox]) {
            query("truncate orders, events, outbox").execute(&setting.pool).await?;
            *rate += transactions(setting, kind, Duration::from_secs_f64(seconds / TURNS)).await? / TURNS;
        }
    }
    Ok(vec![
        figure("order alone, transactions/s", rates[0], "", None),
        figure("order and plain event row, transactions/s", rates[1], "", None),
        figure("order and outbox row, transactions/s", rates[2], "", None),
        figure(
            "cost of the outbox row over a plain event row",
            rates[1] / rates[2],
            "×",
            Some(Aim::AtMost(1.3)),
        ),
        figure("cost of the outbox row over no row", rates[0] / rates[2], "×", None),
    ])
}

/// Per second.
async fn transactions(setting: &Setting, kind: Kind, time: Duration) -> Result<f64> {
    let (count, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = JoinSet::new();
    for writer in 0..CONNECTIONS {
        let (pool, composer) = (setting.pool.clone(), setting.composer.clone());
        let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
        writers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut tx = pool.begin().await?;
                write(&mut tx, &composer, kind, format!("a-{writer}")).await?;
                tx.commit().await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    let start = Instant::now();
    tokio::time::sleep(time).await;
    let rate = count.load(Ordering::Relaxed) as f64 / start.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok(rate)
}

/// The same message is composed whatever becomes of it, so that only the rows differ.
async fn write(
    on: &mut sqlx::postgres::PgConnection,
    composer: &Composer,
    kind: Kind,
    aggregate: String,
) -> Result<()> {
    let insert = query("insert into orders (aggregate, note) values ($1, $2)").bind(aggregate.clone());
    insert.bind("x".repeat(100)).execute(&mut *on).await?;
    let placed = Placed { aggregate: aggregate.clone(), seq: 0, note: "x".repeat(100) };
    let message = composer.publish(&placed, SendOptions::default())?;
    match kind {
        Kind::Order => {}
        Kind::Plain => {
            let insert = query("insert into events (id, type, aggregate, body) values ($1, $2, $3, $4)");
            let insert =
                insert.bind(message.id).bind("Bench:Placed").bind(aggregate).bind(message.body.to_vec());
            insert.execute(on).await?;
        }
        Kind::Outbox => append(on, &[message]).await?,
    }
    Ok(())
}
