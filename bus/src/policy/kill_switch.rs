//! Kill switch: when most messages end in failure, stop receiving for a while instead of filling the error queue.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Window;

/// When the share of messages that failed for good reaches `trip_at`, the endpoint stops receiving and starts again after
/// `restart_after`. What waits stays in the queue.
#[derive(Clone, Copy, Debug)]
pub struct KillSwitch {
    /// Share of failures, 0 to 1.
    pub trip_at: f64,
    /// Not before so many messages were counted.
    pub messages_min: usize,
    /// Messages older than this do not count.
    pub window: Duration,
    /// How long receiving is stopped.
    pub restart_after: Duration,
}

impl KillSwitch {
    /// Trips at this share of failures among at least 10 messages of the last minute, for one minute.
    pub fn trip_at(share: f64) -> Self {
        let minute = Duration::from_secs(60);
        Self { trip_at: share, messages_min: 10, window: minute, restart_after: minute }
    }

    /// The same with another pause.
    #[must_use]
    pub fn restart_after(mut self, pause: Duration) -> Self {
        self.restart_after = pause;
        self
    }
}

#[derive(Debug)]
pub(crate) struct Switch {
    policy: KillSwitch,
    state: Mutex<(Window, bool)>,
}

impl Switch {
    pub(crate) fn new(policy: KillSwitch) -> Self {
        Self { policy, state: Mutex::new((Window::new(policy.window), false)) }
    }

    /// How a message ended.
    pub(crate) fn record(&self, succeeded: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let trips = state.0.trips(Instant::now(), succeeded, self.policy.messages_min, self.policy.trip_at);
        state.1 |= trips;
    }

    /// If it tripped: forget why, and say how long to pause.
    pub(crate) fn tripped(&self) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.1).then(|| {
            state.0.clear();
            self.policy.restart_after
        })
    }
}
