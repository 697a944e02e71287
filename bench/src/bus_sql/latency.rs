//! From the end of a commit to the arrival at a consumer, one order every now and then: with the nudge, and by polling alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_lite::StreamExt as _;
use stele_bus_relay::relay::{self, Settings};
use stele_bus_sql::postgres::append;

use super::setting::Setting;
use super::{Aim, Figure, figure};

const ORDERS: usize = 300;
/// Pauses between orders, in turn: none of them a multiple of a polling pause.
const PAUSES_MS: [u64; 4] = [3, 17, 31, 43];
const ARRIVE: Duration = Duration::from_secs(10);

pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (nudge, names, aim) in [
        (true, ["commit to consumer p50, nudged", "commit to consumer p99, nudged"], 5.0),
        (false, ["commit to consumer p50, polling", "commit to consumer p99, polling"], 30.0),
    ] {
        setting.fresh_queue().await?;
        let mut relay = relay::start(setting.outbox()?, setting.target()?, Settings::default());
        relay.ready().await;
        let mut consumer = setting.consume(true).await?;
        let mut times = Vec::with_capacity(ORDERS);
        for order in 0..ORDERS {
            tokio::time::sleep(Duration::from_millis(PAUSES_MS[order % PAUSES_MS.len()])).await;
            let message = setting.message(format!("a-{}", order % 10), order as u64)?;
            let mut tx = setting.pool.begin().await?;
            append(&mut tx, &[message]).await?;
            tx.commit().await?;
            let committed = Instant::now();
            if nudge {
                relay.nudge();
            }
            let arrived = tokio::time::timeout(ARRIVE, consumer.next()).await.context("a row was lost")?;
            arrived.context("the broker closed the channel")??;
            times.push(committed.elapsed().as_secs_f64() * 1e3);
        }
        setting.end_consuming().await?;
        relay.stop().await;
        times.sort_by(f64::total_cmp);
        figures.push(figure(names[0], times[ORDERS / 2], "ms", Some(Aim::AtMost(aim))));
        figures.push(figure(names[1], times[ORDERS * 99 / 100], "ms", None));
    }
    Ok(figures)
}
