//! From the end of a commit to the arrival at a consumer, one order every now and then: nudged, woken by the log, by polling alone; and
//! by the relay that one writes in an afternoon.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_lite::StreamExt as _;
use stele_bus_relay::postgres::follow::{Follow, follow};
use stele_bus_relay::relay::{self, Settings};
use stele_bus_sql::postgres::append;

use super::drain;
use super::setting::Setting;
use super::{Aim, Figure, figure};

const ORDERS: usize = 300;
/// Pauses between orders, in turn: none of them a multiple of a polling pause.
const PAUSES_MS: [u64; 4] = [3, 17, 31, 43];
const ARRIVE: Duration = Duration::from_secs(10);
/// How often the plain relay looks: what most of them have.
const PLAIN_POLL: Duration = Duration::from_millis(100);

pub(super) async fn run(setting: &Setting) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut medians = Vec::new();
    for (way, names, aim) in [
        ("nudged", ["commit to consumer p50, nudged", "commit to consumer p99, nudged"], 5.0),
        ("followed", ["commit to consumer p50, log followed", "commit to consumer p99, log followed"], 5.0),
        ("polled", ["commit to consumer p50, polling", "commit to consumer p99, polling"], 30.0),
    ] {
        setting.fresh_queue().await?;
        let mut relay = relay::start(setting.outbox()?, setting.target()?, Settings::default());
        relay.ready().await;
        let follower = match way {
            "followed" => Some(follow(setting.outbox()?, &relay, Follow::default())),
            _ => None,
        };
        while follower.is_some() && !relay.metrics().is_following() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let times = times(setting, || {
            if way == "nudged" {
                relay.nudge()
            }
        })
        .await?;
        relay.stop().await;
        medians.push(times[ORDERS / 2]);
        figures.push(figure(names[0], times[ORDERS / 2], "ms", Some(Aim::AtMost(aim))));
        figures.push(figure(names[1], times[ORDERS * 99 / 100], "ms", None));
    }
    setting.fresh_queue().await?;
    let plain = tokio::select! {
        never = drain::plain(setting, Some(PLAIN_POLL)) => never.map(|()| Vec::new()),
        times = times(setting, || {}) => times,
    }?;
    let median = plain[ORDERS / 2];
    figures.push(figure("commit to consumer p50, plain relay polling every 100 ms", median, "ms", None));
    figures.push(figure("plain relay over log followed, p50", median / medians[1], "×", None));
    figures.push(figure("plain relay over polling, p50", median / medians[2], "×", None));
    Ok(figures)
}

/// Milliseconds of each order, ascending.
async fn times(setting: &Setting, committed: impl Fn()) -> Result<Vec<f64>> {
    let mut consumer = setting.consume(true).await?;
    let mut times = Vec::with_capacity(ORDERS);
    for order in 0..ORDERS {
        tokio::time::sleep(Duration::from_millis(PAUSES_MS[order % PAUSES_MS.len()])).await;
        let message = setting.message(format!("a-{}", order % 10), order as u64)?;
        let mut tx = setting.pool.begin().await?;
        append(&mut tx, &[message]).await?;
        tx.commit().await?;
        let start = Instant::now();
        committed();
        let arrived = tokio::time::timeout(ARRIVE, consumer.next()).await.context("a row was lost")?;
        arrived.context("the broker closed the channel")??;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    setting.end_consuming().await?;
    times.sort_by(f64::total_cmp);
    Ok(times)
}
