//! Circuit breaker: while most attempts fail, do not bother whoever the handler depends on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Window;

/// When the share of failed attempts reaches `trip_at`, attempts fail at once (and go the way of all failures: retry, redelivery,
/// error queue) until `reset_after`; then one is let through, and its outcome decides.
#[derive(Clone, Copy, Debug)]
pub struct CircuitBreaker {
    /// Share of failures, 0 to 1.
    pub trip_at: f64,
    /// Not before so many attempts were counted.
    pub attempts_min: usize,
    /// Attempts older than this do not count.
    pub window: Duration,
    /// How long it stays open.
    pub reset_after: Duration,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        let (window, reset_after) = (Duration::from_secs(60), Duration::from_secs(30));
        Self { trip_at: 0.5, attempts_min: 10, window, reset_after }
    }
}

/// An attempt that was not made because the breaker is open.
#[derive(Debug, thiserror::Error)]
#[error("the circuit breaker is open")]
pub struct CircuitOpen;

#[derive(Debug)]
pub(crate) struct Breaker {
    policy: CircuitBreaker,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    open_until: Option<Instant>,
    probing: bool,
}

impl Breaker {
    pub(crate) fn new(policy: CircuitBreaker) -> Self {
        let state = State { window: Window::new(policy.window), open_until: None, probing: false };
        Self { policy, state: Mutex::new(state) }
    }

    /// May an attempt be made now?
    pub(crate) fn enter(&self) -> Result<(), CircuitOpen> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until {
            None => Ok(()),
            Some(until) if Instant::now() >= until && !state.probing => {
                state.probing = true;
                Ok(())
            }
            Some(_) => Err(CircuitOpen),
        }
    }

    /// How an attempt that was let through went. Returns true if the breaker opened by it.
    pub(crate) fn leave(&self, succeeded: bool) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if state.probing {
            state.probing = false;
            state.window.clear();
            state.open_until = (!succeeded).then(|| now + self.policy.reset_after);
            return !succeeded;
        }
        let trips = state.window.trips(now, succeeded, self.policy.attempts_min, self.policy.trip_at);
        if trips && state.open_until.is_none() {
            state.open_until = Some(now + self.policy.reset_after);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_lets_one_through_and_closes_when_that_one_succeeds() {
        let breaker = Breaker::new(CircuitBreaker { attempts_min: 4, ..CircuitBreaker::default() });
        for failed in [false, true, false] {
            assert!(breaker.enter().is_ok());
            assert!(!breaker.leave(!failed));
        }
        assert!(breaker.enter().is_ok());
        assert!(breaker.leave(false), "two of four failed");
        assert!(breaker.enter().is_err());
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(breaker.enter().is_ok(), "the probe");
        assert!(breaker.enter().is_err(), "one probe at a time");
        assert!(breaker.leave(false), "it failed: open again");
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(breaker.enter().is_ok());
        assert!(!breaker.leave(true));
        assert!(breaker.enter().is_ok() && breaker.enter().is_ok());
    }
}
