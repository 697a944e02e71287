//! What surrounds the handling of a message, as values: retry, rate limit, circuit breaker, kill switch.
//!
//! Given to the endpoint's builder; asked by pipeline and runner. Times are arguments or tokio's clock; chance is an argument.
//!
//! The order is fixed, because it is semantics. From the outside in:
//!
//! 1. kill switch (stops receiving), 2. concurrency or partitions, 3. rate limit, 4. retry, 5. circuit breaker, 6. layers, 7. unit of work, 8. the
//!    handler. When retries are used up: delayed redelivery, then `Fault<T>` and the error queue.

pub mod breaker;
pub mod kill_switch;
pub mod rate;
pub mod retry;

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

pub use breaker::CircuitBreaker;
pub use kill_switch::KillSwitch;
pub use rate::RateLimit;
pub use retry::Retry;

/// Outcomes that a window remembers at most; older ones are forgotten first.
const OUTCOMES_MAX: usize = 4096;

/// Successes and failures of the last while.
#[derive(Debug)]
struct Window {
    span: Duration,
    outcomes: VecDeque<(Instant, bool)>,
    failed: usize,
}

impl Window {
    fn new(span: Duration) -> Self {
        Self { span, outcomes: VecDeque::new(), failed: 0 }
    }

    fn clear(&mut self) {
        self.outcomes.clear();
        self.failed = 0;
    }

    /// Count one outcome; true if there were at least `least` and the share of failures is at least `share`.
    fn trips(&mut self, now: Instant, succeeded: bool, least: usize, share: f64) -> bool {
        self.outcomes.push_back((now, succeeded));
        self.failed += usize::from(!succeeded);
        while let Some(&(at, succeeded)) = self.outcomes.front() {
            if self.outcomes.len() <= OUTCOMES_MAX && now.duration_since(at) <= self.span {
                break;
            }
            self.outcomes.pop_front();
            self.failed -= usize::from(!succeeded);
        }
        let count = self.outcomes.len();
        // Both are at most OUTCOMES_MAX, so the conversions are exact.
        !succeeded && count >= least && self.failed as f64 >= share * count as f64
    }
}
