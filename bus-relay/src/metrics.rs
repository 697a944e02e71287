//! What a relay counts, and the same in Prometheus' text form. Written by the workers, read by whoever runs the relay.

use crate::source::Backlog;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters and gauges of one relay, all workers together.
#[derive(Debug, Default)]
pub struct Metrics {
    relayed: AtomicU64,
    refused: AtomicU64,
    parked: AtomicU64,
    faults: AtomicU64,
    publish_micros: AtomicU64,
    batches: AtomicU64,
    held: AtomicU64,
    following: AtomicBool,
    log_kept_bytes: AtomicU64,
    lanes: Mutex<Vec<u16>>,
    backlog: Mutex<Backlog>,
}

impl Metrics {
    pub(crate) fn new(workers: usize) -> Self {
        Self { lanes: Mutex::new(vec![0; workers]), ..Self::default() }
    }

    pub(crate) fn add_relayed(&self, rows: usize, took: Duration) {
        self.relayed.fetch_add(rows as u64, Relaxed);
        self.batches.fetch_add(1, Relaxed);
        self.publish_micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    pub(crate) fn add_refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_parked(&self) {
        self.parked.fetch_add(1, Relaxed);
    }

    pub(crate) fn add_fault(&self) {
        self.faults.fetch_add(1, Relaxed);
    }

    pub(crate) fn set_held(&self, count: usize) {
        self.held.store(count as u64, Relaxed);
    }

    /// Whether commits wake the relay, and what the database keeps of its log for that.
    #[cfg(feature = "follow")]
    pub(crate) fn set_following(&self, following: bool, kept_bytes: u64) {
        self.following.store(following, Relaxed);
        self.log_kept_bytes.store(kept_bytes, Relaxed);
    }

    pub(crate) fn set_lanes(&self, worker: usize, owned: u16) {
        lock(&self.lanes)[worker] = owned;
    }

    pub(crate) fn set_backlog(&self, backlog: Backlog) {
        *lock(&self.backlog) = backlog;
    }

    /// Rows confirmed by the broker since the start, copies included.
    #[must_use]
    pub fn relayed(&self) -> u64 {
        self.relayed.load(Relaxed)
    }

    /// Rows moved to the dead ones since the start.
    #[must_use]
    pub fn parked(&self) -> u64 {
        self.parked.load(Relaxed)
    }

    /// Whether the database's log is followed at the moment.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.following.load(Relaxed)
    }

    /// What waited when somebody looked last.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        *lock(&self.backlog)
    }

    /// Lanes owned by all workers together.
    #[must_use]
    pub fn lanes_owned(&self) -> u16 {
        lock(&self.lanes).iter().sum()
    }

    /// Everything in Prometheus' text form.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let backlog = self.backlog();
        let age = backlog.oldest_age.unwrap_or_default().as_secs_f64();
        let micros = self.publish_micros.load(Relaxed) as f64;
        let following = f64::from(u8::from(self.is_following()));
        let lines: [(&str, &str, &str, f64); 13] = [
            ("outbox_pending", "gauge", "rows that wait", backlog.pending as f64),
            ("outbox_oldest_age_seconds", "gauge", "age of the oldest row that waits", age),
            ("outbox_dead", "gauge", "rows that were parked", backlog.dead as f64),
            ("outbox_scheduled", "gauge", "rows whose time has not come", backlog.scheduled as f64),
            ("outbox_lanes_owned", "gauge", "lanes of this relay, of 64", f64::from(self.lanes_owned())),
            ("outbox_held_aggregates", "gauge", "aggregates whose oldest row was refused", count(&self.held)),
            ("outbox_relayed_total", "counter", "rows confirmed by the broker", count(&self.relayed)),
            ("outbox_refused_total", "counter", "refusals by the broker", count(&self.refused)),
            ("outbox_parked_total", "counter", "rows parked", count(&self.parked)),
            (
                "outbox_faults_total",
                "counter",
                "sessions with database or broker that failed",
                count(&self.faults),
            ),
            ("outbox_publish_batches_total", "counter", "batches published", count(&self.batches)),
            ("outbox_log_followed", "gauge", "1 while commits wake the relay, 0 while it polls", following),
            (
                "outbox_log_kept_bytes",
                "gauge",
                "log that the database keeps for the relay's slot",
                count(&self.log_kept_bytes),
            ),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in lines {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        let name = "outbox_publish_seconds_total";
        let help = "time from a batch's first publish to its last confirm";
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {}", micros / 1e6);
        text
    }
}

fn count(counter: &AtomicU64) -> f64 {
    counter.load(Relaxed) as f64
}

/// Nothing panics while these are held.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_form_has_every_gauge_with_its_value() {
        let metrics = Metrics::new(2);
        metrics.set_lanes(0, 40);
        metrics.set_lanes(1, 24);
        metrics.add_relayed(3, Duration::from_millis(500));
        metrics.set_backlog(Backlog {
            pending: 7,
            oldest_age: Some(Duration::from_millis(1500)),
            dead: 1,
            scheduled: 2,
        });
        let text = metrics.prometheus();
        for line in [
            "outbox_pending 7",
            "outbox_oldest_age_seconds 1.5",
            "outbox_dead 1",
            "outbox_scheduled 2",
            "outbox_lanes_owned 64",
            "outbox_relayed_total 3",
            "outbox_publish_seconds_total 0.5",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
    }
}
