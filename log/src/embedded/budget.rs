//! How fast background work may use the disk beside commits, in bytes: one bucket for snapshots, promotion, zeroing and cold
//! reads.
//!
//! 100 MB/s beside small commits cost a lone publisher nothing measurable, unlimited 1-MB writes made it five times slower.
//! Under bulk load a quarter of the disk may go to the background; with no commit in flight there is no limit.

use crate::embedded::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// With no commit for so long the disk is ours.
const QUIET: Duration = Duration::from_millis(50);
/// How long commits are counted to learn their rate.
const WINDOW: Duration = Duration::from_millis(100);
/// Longest wait. Who waits has one piece under way, so the bucket runs ahead of the clock by a few pieces only, and
/// everybody gets a turn.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// The bucket.
pub(crate) struct Budget {
    bytes_per_s: u64,
    state: Mutex<State>,
}

struct State {
    /// When the last commit ended.
    committed: Option<Instant>,
    /// When this window began, the bytes committed in it, and the rate of the one before.
    window: (Instant, u64, u64),
    /// Until when what was taken has been paid for.
    paid: Instant,
}

impl Budget {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let now = Instant::now();
        let state = State { committed: None, window: (now, 0, 0), paid: now };
        Self { bytes_per_s: bytes_per_s.max(1), state: Mutex::new(state) }
    }

    /// A commit of so many bytes has ended.
    pub(crate) fn committed(&self, bytes: u64) {
        self.committed_at(bytes, Instant::now());
    }

    fn committed_at(&self, bytes: u64, now: Instant) {
        let mut state = lock(&self.state);
        state.committed = Some(now);
        let age = now.saturating_duration_since(state.window.0);
        state.window.1 += bytes;
        if age >= WINDOW {
            let rate = u128::from(state.window.1) * 1_000_000 / age.as_micros().max(1);
            state.window = (now, 0, u64::try_from(rate).unwrap_or(u64::MAX));
        }
    }

    /// Takes so many bytes of the disk's time; says how long to wait before using the disk again.
    pub(crate) fn take(&self, bytes: u64) -> Duration {
        self.take_at(bytes, Instant::now())
    }

    fn take_at(&self, bytes: u64, now: Instant) -> Duration {
        if bytes == 0 {
            return Duration::ZERO;
        }
        let mut state = lock(&self.state);
        let quiet = state.committed.is_none_or(|at| now.saturating_duration_since(at) > QUIET);
        if quiet {
            state.paid = now;
            return Duration::ZERO;
        }
        // A third of what commits use is a quarter of the whole.
        let rate = self.bytes_per_s.max(state.window.2 / 3);
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        state.paid = (state.paid.max(now) + cost).min(now + WAIT_MAX);
        state.paid.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_small_commits_the_background_gets_its_rate_and_without_them_everything() {
        let budget = Budget::new(100_000_000);
        let start = Instant::now();
        assert_eq!(budget.take_at(1 << 30, start), Duration::ZERO, "nothing is committed yet");
        let mut now = start;
        let mut taken = 0;
        while now < start + Duration::from_secs(1) {
            budget.committed_at(4096, now);
            taken += 131_072;
            now += budget.take_at(131_072, now).max(Duration::from_micros(50));
        }
        assert!((80_000_000..120_000_000).contains(&taken), "{taken} bytes in a second");
        assert_eq!(budget.take_at(1 << 30, now + QUIET * 2), Duration::ZERO);
    }

    #[test]
    fn beside_bulk_commits_the_background_gets_a_quarter_of_the_disk() {
        let budget = Budget::new(100_000_000);
        let start = Instant::now();
        let mut taken = 0;
        for ms in 0..1000 {
            let now = start + Duration::from_millis(ms);
            budget.committed_at(1_500_000, now);
            let paid = lock(&budget.state).paid;
            if paid <= now {
                taken += 131_072;
                budget.take_at(131_072, now);
            }
        }
        assert!(taken > 100_000_000 && taken < 550_000_000, "{taken} bytes in a second");
    }
}
