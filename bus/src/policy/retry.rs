//! Retry in place: how often, how long apart, for which errors.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;

/// Retries of one policy at most; more is a loop.
const RETRIES_MAX: usize = 1000;

type Filter = Arc<dyn Fn(&Failure) -> bool + Send + Sync>;

/// When a failed attempt is made again at once, without giving the message back to the broker.
///
/// ```
/// use std::time::Duration;
/// use stele_bus::policy::Retry;
///
/// let ms = Duration::from_millis;
/// let retry = Retry::immediate(3)
///     .then(Retry::exponential(ms(200)..ms(10_000), 5).jitter())
///     .unless::<std::num::ParseIntError>(|_| true);
/// assert_eq!(retry.count(), 8);
/// ```
#[derive(Clone, Default)]
pub struct Retry {
    waits: Vec<Wait>,
    refuse: Vec<Filter>,
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    span: Duration,
    jitter: bool,
}

impl Retry {
    /// Never.
    pub fn none() -> Self {
        Self::default()
    }

    /// `count` times at once.
    pub fn immediate(count: u32) -> Self {
        Self::interval(count, Duration::ZERO)
    }

    /// `count` times, `wait` apart.
    pub fn interval(count: u32, wait: Duration) -> Self {
        Self::intervals((0..count).map(|_| wait))
    }

    /// After each of these waits.
    pub fn intervals(waits: impl IntoIterator<Item = Duration>) -> Self {
        let waits = waits.into_iter().take(RETRIES_MAX).map(|span| Wait { span, jitter: false }).collect();
        Self { waits, refuse: Vec::new() }
    }

    /// `count` times, the waits doubling from the start of the range up to its end.
    pub fn exponential(range: Range<Duration>, count: u32) -> Self {
        let wait = |at: u32| range.start.saturating_mul(2u32.saturating_pow(at)).min(range.end);
        Self::intervals((0..count).map(wait))
    }

    /// Each wait is shortened by chance, down to half: so that what failed together does not come back together.
    #[must_use]
    pub fn jitter(mut self) -> Self {
        self.waits.iter_mut().for_each(|wait| wait.jitter = true);
        self
    }

    /// Afterwards, as the other says. Filters of both hold for all.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.waits.extend(other.waits);
        self.waits.truncate(RETRIES_MAX);
        self.refuse.extend(other.refuse);
        self
    }

    /// Not for errors of type `E` that `is_final` says yes to.
    #[must_use]
    pub fn unless<E: Error + 'static>(
        mut self,
        is_final: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.refuse.push(Arc::new(move |failure| failure.downcast_ref::<E>().is_some_and(&is_final)));
        self
    }

    /// Only for errors of type `E` that `may_pass` says yes to.
    #[must_use]
    pub fn only<E: Error + 'static>(mut self, may_pass: impl Fn(&E) -> bool + Send + Sync + 'static) -> Self {
        self.refuse.push(Arc::new(move |failure| !failure.downcast_ref::<E>().is_some_and(&may_pass)));
        self
    }

    /// How many retries there are at most.
    pub fn count(&self) -> usize {
        self.waits.len()
    }

    /// How long to wait before the next attempt, or `None` to give up. `done` retries were made; `chance` is any number.
    pub fn wait(&self, done: u32, failure: &Failure, chance: u64) -> Option<Duration> {
        if !self.allows(failure) {
            return None;
        }
        let wait = self.waits.get(usize::try_from(done).ok()?)?;
        if !wait.jitter {
            return Some(wait.span);
        }
        let share = 0.5 + 0.5 * (chance >> 11) as f64 / (1u64 << 53) as f64;
        Some(wait.span.mul_f64(share))
    }

    /// Whether another attempt could help at all.
    pub fn allows(&self, failure: &Failure) -> bool {
        !failure.is_last() && !self.refuse.iter().any(|refuse| refuse(failure))
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("waits", &self.waits).field("filters", &self.refuse.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn failure() -> Failure {
        "x".parse::<u8>().unwrap_err().into()
    }

    fn waits(retry: &Retry, chance: u64) -> Vec<Duration> {
        (0..).map_while(|done| retry.wait(done, &failure(), chance)).collect()
    }

    #[test]
    fn waits_follow_one_another_as_they_were_said() {
        let retry = Retry::immediate(2).then(Retry::exponential(MS(100)..MS(500), 4));
        assert_eq!(waits(&retry, 0), [MS(0), MS(0), MS(100), MS(200), MS(400), MS(500)]);
    }

    #[test]
    fn jitter_shortens_a_wait_to_no_less_than_half() {
        let retry = Retry::interval(1, MS(100)).jitter();
        assert_eq!(waits(&retry, 0), [MS(50)]);
        assert!(waits(&retry, u64::MAX)[0] <= MS(100));
    }

    #[test]
    fn filters_look_at_the_error_itself() {
        let is_parse = |_: &std::num::ParseIntError| true;
        assert!(waits(&Retry::immediate(3).unless(is_parse), 0).is_empty());
        assert_eq!(waits(&Retry::immediate(3).only(is_parse), 0).len(), 3);
        assert!(waits(&Retry::immediate(3).only(|_: &std::fmt::Error| true), 0).is_empty());
        assert_eq!(waits(&Retry::immediate(3).unless(|_: &std::fmt::Error| true), 0).len(), 3);
        assert_eq!(Retry::immediate(3).wait(0, &Failure::last("k", "t"), 0), None);
    }
}
