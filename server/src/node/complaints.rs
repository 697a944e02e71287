//! Log lines that clients can cause as often as they like: one a second, with how many were left out.
//!
//! Whoever may be made to complain has one: the acceptor of connections it did not take, each IO thread of logins it refused.

use std::time::{Duration, Instant};

/// Shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(1);

/// When the last line was written, and how often none was since.
#[derive(Default)]
pub(super) struct Complaints {
    last: Option<Instant>,
    untold: u64,
}

impl Complaints {
    /// Logs, unless it has just done so.
    pub(super) fn about(&mut self, what: impl FnOnce() -> String) {
        if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            self.untold += 1;
            return;
        }
        tracing::warn!(untold = self.untold, "{}", what());
        *self = Self { last: Some(Instant::now()), untold: 0 };
    }
}
