//! Aggregates whose oldest row was refused: they wait, with everything behind that row, while others go on. Used by the worker.

use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// At most so many aggregates are held at a time; when there are more the worker reads nothing until some may be tried again.
pub(crate) const HELD_MAX: usize = 1_000;

const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The aggregates that wait.
#[derive(Debug, Default)]
pub(crate) struct Held(HashMap<String, Wait>);

#[derive(Debug)]
struct Wait {
    until: Instant,
    attempts: u32,
}

impl Held {
    /// Its oldest row was refused once more; how often by now.
    pub(crate) fn refuse(&mut self, aggregate: &str, now: Instant) -> u32 {
        let wait = self.0.entry(aggregate.to_owned()).or_insert(Wait { until: now, attempts: 0 });
        wait.attempts = wait.attempts.saturating_add(1);
        wait.until = now + WAIT_MAX.min(WAIT_MIN * 2_u32.saturating_pow(wait.attempts - 1));
        wait.attempts
    }

    /// Its oldest row was taken, or parked.
    pub(crate) fn release(&mut self, aggregate: &str) {
        self.0.remove(aggregate);
    }

    /// Those that are not to be read now.
    pub(crate) fn waiting(&self, now: Instant) -> Vec<String> {
        self.0.iter().filter(|(_, wait)| wait.until > now).map(|(aggregate, _)| aggregate.clone()).collect()
    }

    /// How many have been refused and not been taken since.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// When the next of them may be tried again.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.values().map(|wait| wait.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_aggregate_waits_twice_as_long_each_time_and_not_for_ever() {
        let mut held = Held::default();
        let start = Instant::now();
        assert_eq!(held.refuse("a", start), 1);
        assert_eq!(held.waiting(start), ["a"]);
        assert_eq!(held.next(), Some(start + WAIT_MIN));
        assert_eq!(held.refuse("a", start), 2);
        assert_eq!(held.next(), Some(start + WAIT_MIN * 2));
        (0..100).for_each(|_| {
            held.refuse("a", start);
        });
        assert_eq!(held.next(), Some(start + WAIT_MAX));
        assert!(held.waiting(start + WAIT_MAX).is_empty());
        assert_eq!(held.count(), 1);
        held.release("a");
        assert_eq!(held.count(), 0);
    }
}
