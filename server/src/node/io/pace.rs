//! When a connection is read: as soon as something is there, or in paces (ADR 0011).
//!
//! A publisher that writes every message by itself would wake its IO thread for each, and pay for that wake-up in its own `write`. So one
//! that does nothing else, and often, is not listened to any more but read when a short time has passed: by then there are many messages,
//! which make one turn, one hand-over and one write to each subscriber. What must hold: only the connection itself waits, never its
//! thread; nobody who is answered or delivered to waits; who slows down is heard at once again. Not here: the timer, the socket.

use stele_model::id::Now;

/// Time between two reads of a connection that is read in paces, microseconds: what its messages may wait.
const PAUSE_US: u64 = 30;

/// The same for a client that publishes so much that it does little else. While we do not read, its kernel gathers what it writes, which
/// costs it a fifth of sending each message: measured on loopback, it publishes twice as much.
const PAUSE_LONG_US: u64 = 100;

/// Publishes in a millisecond from which on the pause is the long one.
const PER_MS_LONG: u64 = 300;

/// So many reads in a row have to be small before a connection is read in paces.
const STREAK: u32 = 16;

/// In at most this time, microseconds: so there are more than 100 000 a second.
const STREAK_US_MAX: u64 = 160;

/// Publishes in a small read. A client that has more of them at hand when it writes gathers them already.
const SMALL: u32 = 8;

/// Fewer publishes than this in a whole pause: the client has slowed down.
const PACED_MIN: u32 = 2;

/// Deliveries shorter than this, bytes, wait a moment for more while there is more to read: a write costs as much as fifty of them.
const GATHERED_BYTES_MIN: usize = 4 << 10;

/// How long they wait at most, microseconds.
const GATHER_US_MAX: u64 = 300;

/// Whether so many bytes for a connection, the first of them there since `since`, are to be written now, although there is more to read.
pub(super) fn is_gathered(now: Now, since: Now, bytes: usize) -> bool {
    bytes >= GATHERED_BYTES_MIN || now.0.saturating_sub(since.0) >= GATHER_US_MAX
}

/// What one read brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// Publishes for which nobody waits.
    pub(super) publishes: u32,
    /// Something else, which somebody may wait for; or the read was full, so that there is more.
    pub(super) urgent: bool,
}

/// How a connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// At once.
    Eager {
        /// Small reads in a row.
        streak: u32,
        /// When the first of them was.
        since: Now,
    },
    /// Not before `due`; it was read last at `since`.
    Paced {
        /// When.
        due: Now,
        /// Since when.
        since: Now,
    },
}

impl Default for Pace {
    fn default() -> Self {
        Self::Eager { streak: 0, since: Now(0) }
    }
}

impl Pace {
    /// It was read.
    pub(super) fn note(&mut self, now: Now, brought: Brought) {
        let Brought { publishes, urgent } = brought;
        *self = match *self {
            _ if urgent => Self::default(),
            Self::Paced { since, .. } if publishes >= PACED_MIN => {
                let elapsed_us = now.0.saturating_sub(since.0).max(1);
                let is_much = u64::from(publishes) * 1000 / elapsed_us >= PER_MS_LONG;
                Self::next(now, if is_much { PAUSE_LONG_US } else { PAUSE_US })
            }
            Self::Eager { streak, since } if (1..=SMALL).contains(&publishes) => match streak + 1 {
                1 => Self::Eager { streak: 1, since: now },
                STREAK if now.0.saturating_sub(since.0) <= STREAK_US_MAX => Self::next(now, PAUSE_US),
                STREAK => Self::default(),
                streak => Self::Eager { streak, since },
            },
            Self::Paced { .. } | Self::Eager { .. } => Self::default(),
        };
    }

    /// It is delivered to: whoever listens may be the one who answers.
    pub(super) fn deliver(&mut self) {
        *self = Self::default();
    }

    /// When to read it; `None`: as soon as something is there.
    pub(super) fn due(self) -> Option<Now> {
        match self {
            Self::Eager { .. } => None,
            Self::Paced { due, .. } => Some(due),
        }
    }

    fn next(now: Now, pause_us: u64) -> Self {
        Self::Paced { due: Now(now.0.saturating_add(pause_us)), since: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publishes(publishes: u32) -> Brought {
        Brought { publishes, urgent: false }
    }

    /// Reads of so many publishes each, so many microseconds apart.
    fn read(pace: &mut Pace, from: u64, gap_us: u64, reads: &[Brought]) -> u64 {
        let times = (1..).map(|n| from + n * gap_us);
        for (brought, time) in reads.iter().zip(times) {
            pace.note(Now(time), *brought);
        }
        from + reads.len() as u64 * gap_us
    }

    fn paced() -> (Pace, u64) {
        let mut pace = Pace::default();
        let end = read(&mut pace, 0, 2, &[publishes(1); STREAK as usize]);
        assert_eq!(pace.due(), Some(Now(end + PAUSE_US)));
        (pace, end)
    }

    #[test]
    fn who_publishes_one_by_one_and_often_is_read_in_paces() {
        let (mut pace, end) = paced();
        pace.note(Now(end + 40), publishes(5));
        assert_eq!(pace.due(), Some(Now(end + 40 + PAUSE_US)), "and stays so");
    }

    #[test]
    fn who_publishes_very_much_one_by_one_is_read_in_long_paces_and_only_then() {
        let (mut pace, end) = paced();
        let much = u32::try_from(PAUSE_US * PER_MS_LONG / 1000).unwrap();
        for (at, brought, pause_us) in [
            (30, much, PAUSE_LONG_US),
            (130, 4 * much, PAUSE_LONG_US),
            (230, much, PAUSE_US),
            (260, much - 1, PAUSE_US),
        ] {
            pace.note(Now(end + at), publishes(brought));
            assert_eq!(pace.due(), Some(Now(end + at + pause_us)), "{brought} at {at}");
        }
    }

    #[test]
    fn who_publishes_seldom_or_gathers_or_asks_is_read_at_once() {
        let streak = STREAK as usize;
        let mut asks = vec![publishes(1); streak - 1];
        asks.push(Brought { publishes: 1, urgent: true });
        for (gap_us, reads) in
            [(20, vec![publishes(1); 100]), (2, vec![publishes(SMALL + 1); 100]), (2, asks.repeat(3))]
        {
            let mut pace = Pace::default();
            for (time, brought) in (0..).step_by(gap_us).zip(&reads) {
                pace.note(Now(time), *brought);
                assert_eq!(pace.due(), None);
            }
        }
    }

    #[test]
    fn who_slows_down_or_asks_or_is_delivered_to_is_read_at_once_again() {
        for brought in [publishes(0), publishes(1), Brought { publishes: 50, urgent: true }] {
            let (mut pace, end) = paced();
            pace.note(Now(end + PAUSE_US), brought);
            assert_eq!(pace.due(), None, "{brought:?}");
        }
        let (mut pace, _) = paced();
        pace.deliver();
        assert_eq!(pace.due(), None);
    }

    #[test]
    fn a_write_waits_until_it_is_worth_it_but_not_for_long() {
        let since = Now(1000);
        assert!(!is_gathered(since, since, 100));
        assert!(is_gathered(since, since, GATHERED_BYTES_MIN));
        assert!(is_gathered(Now(1000 + GATHER_US_MAX), since, 100));
    }

    #[test]
    fn a_burst_that_a_pause_divides_does_not_count() {
        let mut pace = Pace::default();
        let half = [publishes(1); STREAK as usize / 2];
        let end = read(&mut pace, 0, 1, &half);
        read(&mut pace, end + 1000, 1, &half);
        assert_eq!(pace.due(), None);
    }
}
