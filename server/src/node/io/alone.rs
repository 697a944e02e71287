//! Whether an IO thread serves one client at a time, each with a little: then it may wait for the disk in a shard's stead (ADR 0008).
//!
//! Asked before operations are sent to shards. What must hold: a thread whose other connections bring something, or bring much, waits for nothing.

/// Reads in a row that have to be the only one of their turn, and small.
const STREAK: u32 = 16;

/// Bytes of a small read.
const SMALL_BYTES: u64 = 16 << 10;

/// What the last turns read.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// Reads in a row that were alone.
    streak: u32,
    /// All reads before the last turn, and their bytes.
    seen: (u64, u64),
}

impl Alone {
    /// So many reads were ever made, of so many bytes. To be told once in a turn.
    pub(super) fn note(&mut self, reads: u64, bytes: u64) {
        let new = (reads - self.seen.0, bytes - self.seen.1);
        self.seen = (reads, bytes);
        match new {
            (0, _) => {}
            (1, ..=SMALL_BYTES) => self.streak = self.streak.saturating_add(1),
            _ => self.streak = 0,
        }
    }

    /// Whether nobody else has come for a while.
    pub(super) fn is(&self) -> bool {
        self.streak >= STREAK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a thread is alone after turns that made so many reads of so many bytes each.
    fn is_alone(turns: impl IntoIterator<Item = (u64, u64)>) -> bool {
        let (mut alone, mut reads, mut bytes) = (Alone::default(), 0, 0);
        for (n, each) in turns {
            (reads, bytes) = (reads + n, bytes + n * each);
            alone.note(reads, bytes);
        }
        alone.is()
    }

    #[test]
    fn a_thread_is_alone_after_some_turns_with_one_small_read_each() {
        let small = [(1, SMALL_BYTES); STREAK as usize];
        assert!(is_alone(small) && !is_alone(small.into_iter().skip(1)));
        assert!(is_alone(small.into_iter().chain([(0, 0)])), "turns without a read tell nothing");
    }

    #[test]
    fn one_turn_with_two_reads_or_with_a_large_one_ends_it() {
        for other in [(2, 1), (1, SMALL_BYTES + 1)] {
            assert!(!is_alone([(1, 1); STREAK as usize].into_iter().chain([other])));
        }
    }
}
