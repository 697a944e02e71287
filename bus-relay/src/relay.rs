//! A running relay: its settings, its workers, the nudge and the end.
//!
//! Workers share nothing but counters: each has a session of the database with lanes of its own, and a connection to the broker. Two
//! relays of one worker each are the same as one relay of two.

use crate::metrics::Metrics;
use crate::publish::Target;
use crate::route::Route;
use crate::source::Source;
use crate::worker::Worker;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How a relay works; the defaults suit most.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Sessions that read and publish side by side, 1 – 16.
    pub workers: usize,
    /// Rows of one batch, 1 – 10 000.
    pub batch: usize,
    /// Pause after a look that found nothing, while rows have come within the last two seconds.
    pub poll_min: Duration,
    /// Longest pause: what it grows to when nothing comes.
    pub poll_max: Duration,
    /// Whether a row waits for the confirm of the row before it in its aggregate. Without it (the default) both are on their way at a
    /// time, and if the broker refuses the first and takes the second, as a full queue may, the second is there before the first.
    pub strict: bool,
    /// Tries of a row that will be refused for ever before it is parked; `None`: it stays, and its aggregate waits.
    pub park_after: Option<u32>,
    /// Where rows go that do not say it.
    pub route: Route,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            workers: 2,
            batch: 2_000,
            poll_min: Duration::from_millis(10),
            poll_max: Duration::from_millis(250),
            strict: false,
            park_after: Some(3),
            route: Route::default(),
        }
    }
}

/// Largest number of workers.
pub const WORKERS_MAX: usize = 16;
/// Largest batch.
pub const BATCH_MAX: usize = 10_000;

/// A running relay. Dropped without [`Relay::stop`] it ends at once, as if it had been killed.
#[derive(Debug)]
pub struct Relay {
    nudge: Nudge,
    stop: watch::Sender<bool>,
    ready: watch::Receiver<bool>,
    metrics: Arc<Metrics>,
    workers: JoinSet<()>,
}

/// Starts the workers on the current tokio runtime.
///
/// # Panics
/// If a setting is outside its range.
pub fn start(source: impl Source, target: impl Target, settings: Settings) -> Relay {
    assert!((1..=WORKERS_MAX).contains(&settings.workers), "1 to {WORKERS_MAX} workers");
    assert!((1..=BATCH_MAX).contains(&settings.batch), "batches of 1 to {BATCH_MAX} rows");
    assert!(settings.poll_min <= settings.poll_max, "the shorter pause is the shorter one");
    let (nudge, nudged) = watch::channel(Wake::default());
    let (stop, stopped) = watch::channel(false);
    let (is_ready, ready) = watch::channel(false);
    let metrics = Arc::new(Metrics::new(settings.workers));
    let (source, target, is_ready) = (Arc::new(source), Arc::new(target), Arc::new(is_ready));
    let mut workers = JoinSet::new();
    for number in 0..settings.workers {
        let worker = Worker::new(
            number,
            Arc::clone(&source),
            Arc::clone(&target),
            settings.clone(),
            Arc::clone(&metrics),
            Arc::clone(&is_ready),
        );
        workers.spawn(worker.run(nudged.clone(), stopped.clone()));
    }
    Relay { nudge: Nudge(nudge), stop, ready, metrics, workers }
}

impl Relay {
    /// Says that rows were committed: the workers look at once instead of at the end of their pause. Costs nothing when they are busy.
    pub fn nudge(&self) {
        self.nudge.nudge();
    }

    /// Something that nudges and can be kept elsewhere.
    #[must_use]
    pub fn nudger(&self) -> Nudge {
        self.nudge.clone()
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Waits until a worker is connected to both sides.
    pub async fn ready(&mut self) {
        // The sender lives as long as the workers, which do not end before they are told to.
        let _ = self.ready.wait_for(|ready| *ready).await;
    }

    /// Finishes the batches in hand, gives the lanes back and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
    }
}

/// What wakes a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wake {
    count: u64,
    /// Rows may become visible only a moment later.
    pub(crate) is_early: bool,
}

/// Wakes a relay of the same process.
#[derive(Clone, Debug)]
pub struct Nudge(watch::Sender<Wake>);

impl Nudge {
    /// As [`Relay::nudge`].
    pub fn nudge(&self) {
        self.wake(false);
    }

    /// Says that rows are being committed: others see them now or in a moment.
    #[cfg(feature = "follow")]
    pub(crate) fn nudge_early(&self) {
        self.wake(true);
    }

    fn wake(&self, is_early: bool) {
        self.0.send_modify(|wake| *wake = Wake { count: wake.count.wrapping_add(1), is_early });
    }
}
