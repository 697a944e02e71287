//! What the shards keep in memory of their logs, for readers: one budget for all of them, so that one busy shard may use what idle ones
//! do not need.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget, and how much of it each shard uses.
#[derive(Debug)]
pub(crate) struct Memory {
    bytes_max: usize,
    held: Vec<AtomicUsize>,
}

impl Memory {
    /// So many bytes for so many shards.
    pub(crate) fn new(bytes_max: usize, shards: usize) -> Self {
        Self { bytes_max, held: (0..shards).map(|_| AtomicUsize::new(0)).collect() }
    }

    /// What this shard may hold, which now holds so many bytes: its equal part, and what the others leave. One that holds more of theirs gives
    /// it back with its next turn; until then all may be over the budget by their equal parts.
    pub(crate) fn granted(&self, shard: usize, held: usize) -> usize {
        self.held[shard].store(held, Ordering::Relaxed);
        let others = (0..).zip(&self.held).filter(|(n, _)| *n != shard);
        let others: usize = others.map(|(_, held)| held.load(Ordering::Relaxed)).sum();
        self.bytes_max.saturating_sub(others).max(self.bytes_max / self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_shard_uses_what_idle_ones_leave_and_gives_it_back() {
        let memory = Memory::new(100, 2);
        assert_eq!(memory.granted(0, 0), 100);
        assert_eq!(memory.granted(0, 100), 100);
        assert_eq!(memory.granted(1, 0), 50, "its part is its own");
        assert_eq!(memory.granted(1, 50), 50);
        assert_eq!(memory.granted(0, 100), 50);
        assert_eq!(memory.granted(1, 10), 50);
        assert_eq!(memory.granted(0, 50), 90);
    }
}
