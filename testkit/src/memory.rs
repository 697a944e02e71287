//! Whether a server's memory comes back after attacks: for the drivers that attack.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process;

/// How long freed memory may take to be given back.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// Resident memory before and after, KiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    before: u64,
    after: u64,
    grown_max: f64,
}

impl Memory {
    /// Waits until the memory of `pid` is `before`, times `grown_max` at most, or until it had time enough for that.
    ///
    /// # Errors
    /// The process is gone.
    pub fn settled(pid: u32, before: u64, grown_max: f64) -> Result<Self> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let memory = Self { before, after: process::resident_kib(pid)?, grown_max };
            if memory.grown() <= grown_max || Instant::now() > deadline {
                return Ok(memory);
            }
            std::thread::sleep(POLL);
        }
    }

    fn grown(&self) -> f64 {
        self.after as f64 / self.before as f64
    }

    /// What to say if it stayed larger.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        (self.grown() > self.grown_max).then(|| format!("{self}, {:.2} times as much", self.grown()))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after, .. } = self;
        write!(f, "memory: {before} KiB after the first pass, {after} KiB after the last")
    }
}

/// The least memory in a while, KiB: what is given back late is not counted.
///
/// # Errors
/// The process is gone.
pub fn lowest_kib(pid: u32, calm: Duration) -> Result<u64> {
    let (start, mut lowest) = (Instant::now(), u64::MAX);
    while start.elapsed() < calm {
        lowest = lowest.min(process::resident_kib(pid)?);
        std::thread::sleep(POLL);
    }
    Ok(lowest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_stayed_larger_is_a_fault_and_says_by_how_much() {
        let memory = Memory { before: 1000, after: 1100, grown_max: 1.1 };
        assert_eq!(memory.fault(), None);
        let fault = Memory { after: 1200, ..memory }.fault();
        let text = "memory: 1000 KiB after the first pass, 1200 KiB after the last, 1.20 times as much";
        assert_eq!(fault.as_deref(), Some(text));
    }
}
