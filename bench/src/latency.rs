//! Counts of durations in logarithmic buckets, and percentiles of them.
//!
//! Filled by the publishers of [`crate::load`] once per confirmed message, so adding is a few instructions. A bucket is at most
//! 1/32 of its value wide: percentiles are exact to 3 %. Not here: means, which nobody should quote of a latency.

/// Buckets per power of two.
const STEPS: u64 = 32;
const STEPS_LOG2: u32 = STEPS.ilog2();
/// Enough for every `u64` number of nanoseconds.
const BUCKETS: usize = ((64 - STEPS_LOG2 + 1) as usize) << STEPS_LOG2;

/// A histogram of nanoseconds.
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0 }
    }

    pub(crate) fn add(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
    }

    /// Adds what another one has counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.total += other.total;
    }

    /// The value, in microseconds, that `share` (0 to 1) of all are not above; `None` when nothing was counted.
    pub(crate) fn percentile_us(&self, share: f64) -> Option<f64> {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let index = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(middle_ns(index) / 1e3)
    }
}

/// Values below `STEPS` have a bucket each; above, the leading bits after the first select one of `STEPS` per power of two.
fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let shift = ns.ilog2() - STEPS_LOG2;
    let step = (ns >> shift) - STEPS;
    ((u64::from(shift) + 1) * STEPS + step) as usize
}

/// The middle of a bucket.
fn middle_ns(index: usize) -> f64 {
    let index = index as u64;
    if index < STEPS {
        return index as f64;
    }
    let (shift, step) = (index / STEPS - 1, index % STEPS);
    let width = (1u64 << shift) as f64;
    ((STEPS + step) as f64 + 0.5) * width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_at_most_3_percent_off_its_values() {
        for ns in (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) + (1 << bit) / 3, (1 << bit) - 1]) {
            let middle = middle_ns(bucket(ns));
            assert!((middle - ns as f64).abs() <= ns as f64 / 32.0 + 1.0, "{ns} ns is counted as {middle}");
        }
    }

    #[test]
    fn percentiles_of_known_numbers_are_found() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.percentile_us(0.5), None);
        (1..=990).for_each(|us| histogram.add(us * 1_000));
        (1..=10).for_each(|_| histogram.add(5_000_000));
        let near = |share: f64, us: f64| (histogram.percentile_us(share).unwrap() / us - 1.0).abs() < 0.03;
        assert!(near(0.5, 500.0) && near(0.99, 990.0) && near(0.995, 5_000.0));
    }
}
