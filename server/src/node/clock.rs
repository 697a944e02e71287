//! The one clock of a node (S28): it runs with the monotonic clock, so that it never goes backwards, and is slewed towards wall time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use stele_model::id::Now;

/// Largest correction per call of [`Clock::slew`], microseconds: half a millisecond a second when called each second.
const SLEW_US_MAX: i64 = 500;

/// A wall clock that jumped further than this from ours, microseconds, is reported.
const JUMP_US: i64 = 60_000_000;

/// Shared by all threads.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    start_us: i64,
    /// Correction so far. Only ever changed so slowly that time goes on.
    slewed_us: AtomicI64,
}

impl Clock {
    /// Starts at the present wall time. A log whose last block is later keeps its own time until this one has caught up.
    #[must_use]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), start_us: wall_us(), slewed_us: AtomicI64::new(0) }
    }

    /// The time.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        let us = self.start_us + elapsed_us(self.start) + self.slewed_us.load(Ordering::Relaxed);
        Now(u64::try_from(us).unwrap_or(0))
    }

    /// Moves a little towards wall time; to be called once a second. Returns how far the wall clock is away, in seconds, if that is more
    /// than a minute: somebody should know.
    pub(crate) fn slew(&self) -> Option<i64> {
        let ours = i64::try_from(self.now().0).unwrap_or(i64::MAX);
        let away = wall_us() - ours;
        if away.abs() > JUMP_US {
            return Some(away / 1_000_000);
        }
        self.slewed_us.fetch_add(away.clamp(-SLEW_US_MAX, SLEW_US_MAX), Ordering::Relaxed);
        None
    }
}

fn elapsed_us(start: Instant) -> i64 {
    i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)
}

fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slewing_never_turns_time_back_by_more_than_its_step() {
        let clock = Clock::start();
        let mut last = clock.now();
        for _ in 0..1000 {
            assert_eq!(clock.slew(), None);
            let now = clock.now();
            assert!(now.0 + SLEW_US_MAX as u64 >= last.0);
            last = now;
        }
    }
}
