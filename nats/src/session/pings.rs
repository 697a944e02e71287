//! Whether the client is still there: a PING when it was silent, a bound on those without an answer (nats-server's `processPingTimer`).

use stele_model::id::Now;

/// The first look is early, so that clients which are gone at once are noticed, milliseconds.
const FIRST_MS_MAX: u64 = 2_000;

pub(super) struct Pings {
    interval_ms: u64,
    out_max: u32,
    out: u32,
    heard: Now,
    due: Now,
    asked: Now,
    answered_in_us: Option<u64>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing; it was heard of.
    Nothing,
    /// Ask.
    Ask,
    /// It is gone.
    Stale,
}

impl Pings {
    pub(super) fn new(now: Now, interval_ms: u64, out_max: u32) -> Self {
        let due = now.plus_ms(interval_ms.min(FIRST_MS_MAX));
        Self { interval_ms, out_max, out: 0, heard: now, due, asked: now, answered_in_us: None }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Now) {
        self.heard = now;
    }

    /// A PONG came.
    pub(super) fn answered(&mut self, now: Now) {
        if self.out > 0 {
            self.answered_in_us = Some(now.0.saturating_sub(self.asked.0));
        }
        self.out = 0;
    }

    /// When something last came.
    pub(super) fn last_heard(&self) -> Now {
        self.heard
    }

    /// How long the last answer took, microseconds.
    pub(super) fn answered_in_us(&self) -> Option<u64> {
        self.answered_in_us
    }

    pub(super) fn due(&self) -> Now {
        self.due
    }

    pub(super) fn expire(&mut self, now: Now) -> Due {
        if now < self.due {
            return Due::Nothing;
        }
        self.due = now.plus_ms(self.interval_ms);
        if now < self.heard.plus_ms(self.interval_ms) && self.out == 0 {
            return Due::Nothing;
        }
        if self.out >= self.out_max {
            return Due::Stale;
        }
        self.out += 1;
        self.asked = now;
        Due::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_client_is_asked_and_then_given_up() {
        let mut pings = Pings::new(Now(0), 10_000, 2);
        let mut told = Vec::new();
        while told.last() != Some(&Due::Stale) {
            let now = pings.due();
            told.push(pings.expire(now));
        }
        assert_eq!(told, [Due::Nothing, Due::Ask, Due::Ask, Due::Stale]);
    }

    #[test]
    fn a_client_that_speaks_is_not_asked() {
        let mut pings = Pings::new(Now(0), 1_000, 2);
        for _ in 0..5 {
            let now = pings.due();
            pings.heard(now);
            assert_eq!(pings.expire(now), Due::Nothing);
        }
    }

    #[test]
    fn an_answer_begins_the_count_anew() {
        let mut pings = Pings::new(Now(0), 1_000, 2);
        for _ in 0..5 {
            let now = pings.due();
            assert_eq!(pings.expire(now), Due::Ask);
            pings.answered(now);
        }
    }
}
