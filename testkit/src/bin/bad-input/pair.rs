//! A publisher and a consumer who do nothing wrong, at a steady pace, on a thread of their own.
//!
//! The pace is well below what a broker can do, so that less than the pace means that somebody was kept waiting, not that two cores are busy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures_lite::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const QUEUE: &str = "bad-input.pair";
const TICK: Duration = Duration::from_millis(10);
/// 2 000 records a second.
const RECORDS_PER_TICK: u64 = 20;

/// The two.
pub(crate) struct Pair {
    shared: Arc<Shared>,
    thread: std::thread::JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Shared {
    consumed: AtomicU64,
    stop: AtomicBool,
    /// Time from a tick's first publish to its last confirm, since the last look.
    latencies: Mutex<Vec<Duration>>,
}

/// What the pair did in a while.
pub(crate) struct Measured {
    /// Records consumed per second.
    pub(crate) rate: f64,
    latency: Duration,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{:.0} records/s, p99 of a tick's confirms {:.1} ms",
            self.rate,
            self.latency.as_secs_f64() * 1e3
        )
    }
}

impl Pair {
    /// Start both.
    pub(crate) fn start(address: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("pair".into()).spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(both(address, &theirs))
        })?;
        Ok(Self { shared, thread })
    }

    /// Records consumed so far.
    pub(crate) fn consumed(&self) -> u64 {
        self.shared.consumed.load(Ordering::Relaxed)
    }

    /// Wait until another record was consumed.
    pub(crate) async fn goes_on(&self) -> Result<()> {
        let before = self.consumed();
        while self.consumed() == before {
            anyhow::ensure!(!self.thread.is_finished(), "the pair was cut off");
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// What they do while something else happens. `meanwhile` may ask for their rate so far.
    pub(crate) fn measure(&self, meanwhile: impl FnOnce(&dyn Fn() -> f64) -> Result<()>) -> Result<Measured> {
        self.latencies().clear();
        let (start, before) = (Instant::now(), self.consumed());
        let rate = || (self.consumed() - before) as f64 / start.elapsed().as_secs_f64();
        meanwhile(&rate)?;
        anyhow::ensure!(!self.thread.is_finished(), "the pair was cut off");
        let rate = rate();
        let mut latencies = std::mem::take(&mut *self.latencies());
        latencies.sort_unstable();
        let latency = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
        Ok(Measured { rate, latency })
    }

    /// End both in good order; an error if one of them had one.
    pub(crate) fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the pair panicked"))?
    }

    fn latencies(&self) -> std::sync::MutexGuard<'_, Vec<Duration>> {
        self.shared.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn both(address: SocketAddr, shared: &Arc<Shared>) -> Result<()> {
    let url = format!("amqp://guest:guest@{address}/%2f");
    let connection =
        Connection::connect(&url, ConnectionProperties::default()).await.context("connect the pair")?;
    let channel = connection.create_channel().await?;
    let own = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare(QUEUE.into(), own, FieldTable::default()).await?;
    let no_ack = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let mut consumer = channel.basic_consume(QUEUE.into(), "".into(), no_ack, FieldTable::default()).await?;
    let counting = Arc::clone(shared);
    let consuming = tokio::spawn(async move {
        while let Some(Ok(_)) = consumer.next().await {
            counting.consumed.fetch_add(1, Ordering::Relaxed);
        }
    });
    let publishing = connection.create_channel().await?;
    publishing.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut ticks = tokio::time::interval(TICK);
    while !shared.stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let start = Instant::now();
        tick(&publishing).await?;
        shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(start.elapsed());
    }
    connection.close(200, "done".into()).await?;
    consuming.await?;
    Ok(())
}

async fn tick(channel: &Channel) -> Result<()> {
    let mut confirms = Vec::new();
    for _ in 0..RECORDS_PER_TICK {
        let publish = channel.basic_publish(
            "".into(),
            QUEUE.into(),
            BasicPublishOptions::default(),
            b"fine",
            BasicProperties::default(),
        );
        confirms.push(publish.await?);
    }
    for confirm in confirms {
        confirm.await?;
    }
    Ok(())
}
