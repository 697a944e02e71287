//! The log's own time: it never goes back, and it never stands still (S28).
//!
//! The driver's clock may be behind the last block (it was set back while the node was down), and it may be set back while the node runs.
//! Blocks then go on from where they were, ahead of the clock by a lead that melts away while time passes at nine tenths of its speed. Were
//! time held until the clock has caught up, nothing that waits for a moment would be done meanwhile.

use stele_model::id::Now;

/// The lead melts by one microsecond in so many.
const MELTS_ONE_IN: u64 = 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    /// The driver's clock when it was last seen.
    seen: Now,
    /// How far the log's time is ahead of it, microseconds.
    lead_us: u64,
    /// Time that has passed and not melted a whole microsecond yet.
    passed_us: u64,
}

impl Pace {
    /// A log whose last block is of the time `last`, when the driver's clock says `now`.
    pub(super) fn new(now: Now, last: Now) -> Self {
        Self { seen: now, lead_us: last.0.saturating_sub(now.0), passed_us: 0 }
    }

    /// The log's time when the driver's clock says `now`.
    pub(super) fn at(&mut self, now: Now) -> Now {
        if now < self.seen {
            self.lead_us += self.seen.0 - now.0;
        } else if self.lead_us > 0 {
            self.passed_us += now.0 - self.seen.0;
            self.lead_us = self.lead_us.saturating_sub(self.passed_us / MELTS_ONE_IN);
            self.passed_us %= MELTS_ONE_IN;
        }
        self.seen = now;
        Now(now.0 + self.lead_us)
    }

    /// What the driver's clock says at a moment of the log's time, or a little earlier: the lead melts until then.
    pub(super) fn clock_at(&self, time: Now) -> Now {
        Now(time.0.saturating_sub(self.lead_us))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_is_caught_up_with_and_time_goes_on_meanwhile() {
        let mut pace = Pace::new(Now(1_000), Now(61_000));
        let mut last = pace.at(Now(1_000));
        assert_eq!(last, Now(61_000));
        // In steps that are no whole number of melted microseconds.
        for now in (1_003..700_000).step_by(3) {
            let time = pace.at(Now(now));
            assert!(time > last && time.0 >= now);
            last = time;
        }
        assert_eq!(last.0, 699_997, "60 ms of lead are gone after 600 ms");
        assert_eq!(pace.at(Now(400_000)), last, "set back while it runs");
        assert!(pace.at(Now(400_100)) > last);
        let time = pace.at(Now(400_200));
        assert_eq!(pace.clock_at(time), Now(400_200));
    }
}
