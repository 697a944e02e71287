//! A backlog of rows, drained by the relay and by a plain polling relay; what arrived is counted and its order checked afterwards.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_lite::StreamExt as _;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Confirmation};
use serde::Deserialize;
use sqlx::{Row as _, query};
use stele_bus_relay::relay::{self, Settings};

use super::setting::{EXCHANGE, Setting};
use super::{Aim, Figure, figure};

const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Rows that the plain relay, one confirm each, is given.
const PLAIN_ROWS: u32 = 5_000;
/// Longest wait for one message that must be in the queue.
const ARRIVE: Duration = Duration::from_secs(10);

pub(super) async fn run(setting: &Setting, rows: u32, aggregates: u32) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, strict, workers, aim) in [
        ("drain, rows/s", false, 2, Some(Aim::AtLeast(20_000.0))),
        ("drain by one worker, rows/s", false, 1, None),
        ("drain, strict, rows/s", true, 2, None),
    ] {
        fill(setting, rows, aggregates).await?;
        let relay = relay::start(
            setting.outbox()?,
            setting.target()?,
            Settings { strict, workers, ..Settings::default() },
        );
        let (metrics, start) = (relay.metrics(), Instant::now());
        while metrics.relayed() < u64::from(rows) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        figures.push(figure(name, f64::from(rows) / start.elapsed().as_secs_f64(), "", aim));
        relay.stop().await;
        check(setting, rows).await?;
    }
    fill(setting, PLAIN_ROWS, aggregates).await?;
    let start = Instant::now();
    plain(setting, None).await?;
    let rate = f64::from(PLAIN_ROWS) / start.elapsed().as_secs_f64();
    let ours = figures[0].values[0];
    figures.push(figure("drain by a plain polling relay, rows/s", rate, "", None));
    figures.push(figure("drain over a plain polling relay", ours / rate, "×", None));
    check(setting, PLAIN_ROWS).await?;
    Ok(figures)
}

/// Rows of about 300 bytes, each aggregate's numbered from 0.
async fn fill(setting: &Setting, rows: u32, aggregates: u32) -> Result<()> {
    setting.fresh_queue().await?;
    query("truncate outbox").execute(&setting.pool).await?;
    let text = "insert into outbox (id, type, aggregate_id, destination, content_type, payload) \
        select gen_random_uuid(), 'Bench:Placed', 'a-' || n % $2, 'exchange:Bench:Placed', 'application/json', \
        convert_to(json_build_object('aggregate', 'a-' || n % $2, 'seq', n / $2, 'note', repeat('x', 240))::text, 'UTF8') \
        from generate_series(0, $1 - 1) n order by n";
    query(text).bind(rows as i32).bind(aggregates as i32).execute(&setting.pool).await?;
    query("checkpoint").execute(&setting.pool).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Body {
    aggregate: String,
    seq: u64,
}

/// Every row once, and each aggregate's in order.
async fn check(setting: &Setting, rows: u32) -> Result<()> {
    let mut consumer = setting.consume(true).await?;
    let (mut next, mut ids) = (HashMap::<String, u64>::new(), HashSet::new());
    for _ in 0..rows {
        let delivery = tokio::time::timeout(ARRIVE, consumer.next()).await.context("rows were lost")?;
        let delivery = delivery.context("the broker closed the channel")??;
        let body: Body = serde_json::from_slice(&delivery.data)?;
        let id = delivery.properties.message_id().as_ref().context("a message has an id")?;
        ensure!(ids.insert(id.as_str().to_owned()), "a copy without a fault");
        let next = next.entry(body.aggregate).or_insert(0);
        ensure!(body.seq == *next, "an aggregate's row {} came when {next} was due", body.seq);
        *next += 1;
    }
    setting.end_consuming().await
}

/// What one writes in an afternoon: the oldest hundred, each published and confirmed, then deleted. Ends when nothing is left, or looks
/// again after `poll`.
pub(super) async fn plain(setting: &Setting, poll: Option<Duration>) -> Result<()> {
    setting.channel.confirm_select(ConfirmSelectOptions::default()).await?;
    loop {
        let text = "select lane, ord, id::text, payload from outbox order by ord limit 100";
        let rows = query(text).fetch_all(&setting.pool).await?;
        match poll {
            None if rows.is_empty() => return Ok(()),
            Some(pause) if rows.is_empty() => tokio::time::sleep(pause).await,
            _ => {}
        }
        for row in rows {
            let (lane, ord, id, payload): (i16, i64, String, Vec<u8>) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            let properties = BasicProperties::default().with_message_id(id.into()).with_delivery_mode(2);
            let options = BasicPublishOptions::default();
            let publish =
                setting.channel.basic_publish(EXCHANGE.into(), "".into(), options, &payload, properties);
            ensure!(matches!(publish.await?.await?, Confirmation::Ack(None)), "a message was refused");
            let delete = query("delete from outbox where lane = $1 and ord = $2").bind(lane).bind(ord);
            delete.execute(&setting.pool).await?;
        }
    }
}
