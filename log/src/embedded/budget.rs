//! How fast background work may use the disk beside commits, in bytes: one budget for snapshots, promotion, zeroing and cold
//! reads, shared by all logs on the disk.
//!
//! 100 MB/s beside small commits cost a lone publisher nothing measurable, unlimited 1-MB writes made it five times slower.
//! Under bulk load a quarter of the disk may go to the background; with no commit in flight there is no limit. Reads and
//! writes have a half each while both are under way, so that a client who waits for a record does not queue behind zeroes.

use crate::embedded::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Beside small commits.
const BYTES_PER_S: u64 = 100_000_000;
/// With no commit for so long the disk is ours.
const QUIET: Duration = Duration::from_millis(50);
/// How long commits are counted to learn their rate.
const WINDOW: Duration = Duration::from_millis(100);
/// Longest wait. Who waits has one piece under way, so a share runs ahead of the clock by a few pieces only, and
/// everybody gets a turn.
const WAIT_MAX: Duration = Duration::from_millis(200);
/// Who has used the disk so recently will use it again: his half is his.
const RECENT: Duration = Duration::from_millis(10);

/// Who uses the disk beside commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// Somebody waits for records.
    Reads,
    /// Nobody waits: snapshots, promotion, zeroing.
    Writes,
}

/// What background work and cold reads may use of a disk, in bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes_per_s: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the last commit ended.
    committed: Option<Instant>,
    /// When this window began, the bytes committed in it, and the rate of the one before.
    window: (Instant, u64, u64),
    /// By share: until when what was taken has been paid for.
    paid: [Instant; 2],
}

impl Budget {
    /// A budget of so many bytes per second beside small commits; at least 1.
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        let now = Instant::now();
        let state = State { committed: None, window: (now, 0, 0), paid: [now; 2] };
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
    pub(crate) fn take(&self, share: Share, bytes: u64) -> Duration {
        self.take_at(share, bytes, Instant::now())
    }

    /// Whether nothing was committed for a while: then the disk is the reader's.
    pub(crate) fn is_quiet(&self) -> bool {
        is_quiet(&lock(&self.state), Instant::now())
    }

    /// Whether commits write more than the background may write beside small ones.
    pub(crate) fn is_bulk(&self) -> bool {
        self.is_bulk_at(Instant::now())
    }

    fn is_bulk_at(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        !is_quiet(&state, now) && state.window.2 > self.bytes_per_s
    }

    fn take_at(&self, share: Share, bytes: u64, now: Instant) -> Duration {
        if bytes == 0 {
            return Duration::ZERO;
        }
        let mut state = lock(&self.state);
        let (own, other) = (share as usize, 1 - share as usize);
        if is_quiet(&state, now) {
            state.paid[own] = now;
            return Duration::ZERO;
        }
        // A third of what commits use is a quarter of the whole.
        let rate = self.bytes_per_s.max(state.window.2 / 3);
        let rate = if state.paid[other] + RECENT > now { (rate / 2).max(1) } else { rate };
        let cost = Duration::from_micros(bytes.saturating_mul(1_000_000) / rate);
        state.paid[own] = (state.paid[own].max(now) + cost).min(now + WAIT_MAX);
        state.paid[own].saturating_duration_since(now)
    }
}

fn is_quiet(state: &State, now: Instant) -> bool {
    state.committed.is_none_or(|at| now.saturating_duration_since(at) > QUIET)
}

impl Default for Budget {
    /// 100 MB/s: a lone publisher does not notice them.
    fn default() -> Self {
        Self::new(BYTES_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second in which somebody commits all the time and each of `users` uses the disk as fast as the budget lets him, in
    /// pieces of so many bytes; the bytes that each of them got.
    fn second<const N: usize>(users: [(Share, u64); N]) -> [u64; N] {
        let budget = Budget::new(100_000_000);
        let start = Instant::now();
        let (mut next, mut taken) = ([start; N], [0; N]);
        for us in (0..1_000_000).step_by(50) {
            let now = start + Duration::from_micros(us);
            budget.committed_at(4096, now);
            for (user, (share, piece)) in users.into_iter().enumerate() {
                if next[user] <= now {
                    taken[user] += piece;
                    next[user] = now + budget.take_at(share, piece, now);
                }
            }
        }
        taken
    }

    #[test]
    fn beside_small_commits_the_background_gets_its_rate_and_without_them_everything() {
        let budget = Budget::new(100_000_000);
        assert_eq!(
            budget.take_at(Share::Writes, 1 << 30, Instant::now()),
            Duration::ZERO,
            "nothing is committed yet"
        );
        for share in [Share::Writes, Share::Reads] {
            let [taken] = second([(share, 131_072)]);
            assert!((80_000_000..120_000_000).contains(&taken), "{taken} bytes in a second");
        }
        let now = Instant::now();
        budget.committed_at(4096, now);
        assert_ne!(budget.take_at(Share::Writes, 1 << 20, now), Duration::ZERO);
        assert_eq!(budget.take_at(Share::Writes, 1 << 30, now + QUIET * 2), Duration::ZERO);
    }

    #[test]
    fn a_reader_of_small_pieces_has_its_half_beside_zeroing_in_large_ones() {
        for piece in [4_096, 20_480, 131_072] {
            let users = [(Share::Reads, piece), (Share::Writes, 131_072), (Share::Writes, 131_072)];
            let [read, one, other] = second(users);
            assert!((40_000_000..60_000_000).contains(&read), "{read} bytes read in pieces of {piece}");
            let wrote = one + other;
            assert!((40_000_000..60_000_000).contains(&wrote), "{wrote} bytes written");
            assert!(one.abs_diff(other) <= 2 * 131_072, "writers take turns: {one} and {other}");
        }
    }

    #[test]
    fn commits_are_bulk_while_they_write_more_than_the_background_may_beside_small_ones() {
        let commits_of = |bytes: u64| {
            let budget = Budget::new(100_000_000);
            let start = Instant::now();
            (1..=300).for_each(|ms| budget.committed_at(bytes, start + Duration::from_millis(ms)));
            [301, 400].map(|ms| budget.is_bulk_at(start + Duration::from_millis(ms)))
        };
        assert_eq!(commits_of(4_096), [false, false]);
        assert_eq!(commits_of(200_000), [true, false], "and not after they have ended");
    }

    #[test]
    fn beside_bulk_commits_the_background_gets_a_quarter_of_the_disk() {
        let budget = Budget::new(100_000_000);
        let start = Instant::now();
        let mut taken = 0;
        for ms in 0..1000 {
            let now = start + Duration::from_millis(ms);
            budget.committed_at(1_500_000, now);
            let paid = lock(&budget.state).paid[Share::Writes as usize];
            if paid <= now {
                taken += 131_072;
                budget.take_at(Share::Writes, 131_072, now);
            }
        }
        assert!(taken > 100_000_000 && taken < 550_000_000, "{taken} bytes in a second");
    }
}
