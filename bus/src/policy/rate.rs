//! Rate limit: at most so many messages in any span, in the order in which they ask.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// At most `count` attempts per `span`, spread evenly; a pause is not saved up beyond one span.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit {
    /// So many.
    pub count: u32,
    /// In so long.
    pub span: Duration,
}

/// The limit while it runs.
#[derive(Debug)]
pub(crate) struct Rate {
    limit: RateLimit,
    /// When the next may go if nothing was saved up. The lock is held while waiting: it is the queue.
    next: Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { limit, next: Mutex::new(None) }
    }

    /// Wait for a turn.
    pub(crate) async fn turn(&self) {
        let mut next = self.next.lock().await;
        let step = self.limit.span / self.limit.count.max(1);
        let now = Instant::now();
        let saved = now.checked_sub(self.limit.span.saturating_sub(step)).unwrap_or(now);
        let at = next.unwrap_or(saved).max(saved);
        *next = Some(at + step);
        if at > now {
            sleep_until(at).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_one_span_passes_and_the_rest_is_spread() {
        let rate = Rate::new(RateLimit { count: 10, span: Duration::from_secs(1) });
        let start = Instant::now();
        let mut at = Vec::new();
        for _ in 0..30 {
            rate.turn().await;
            at.push(start.elapsed().as_millis());
        }
        assert_eq!(at[9], 0);
        assert!((1990..2020).contains(&at[29]), "{at:?}");
    }
}
