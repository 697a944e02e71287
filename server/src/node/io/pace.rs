//! When a connection is read: as soon as something is there, or in paces (ADR 0011).
//!
//! A publisher that writes every message by itself would wake its IO thread for each, and pay for that wake-up in its own `write`. So one
//! that does nothing else, and often, is not listened to any more but read when a short time has passed: by then there are many messages,
//! which make one turn, one hand-over and one write to each subscriber. What must hold: only the connection itself waits, never its
//! thread; nobody who is answered or delivered to waits; who slows down is heard at once again. Not here: the timer, the socket.

use stele_model::id::Now;

/// Time between two reads of a connection that is read in paces, microseconds: what its messages may wait.
const PAUSE_US: u64 = 30;

/// The longest such time, for a client that publishes so much that it does little else. Between two reads the connection is to bring as much
/// as one read takes ([`Brought::full`]): while its window is full, its kernel gathers what it writes, which costs it a third of sending
/// each message by itself. Measured on loopback, see ADR 0011.
const PAUSE_US_MAX: u64 = 500;

/// Publishes in a millisecond from which on the pause may be longer.
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
    /// Something else, which somebody may wait for.
    pub(super) urgent: bool,
    /// As many bytes as were asked for, so that there is more.
    pub(super) full: bool,
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
    /// Not before `due`, after a pause.
    Paced {
        /// When.
        due: Now,
        /// Since when.
        since: Now,
        /// How long, microseconds.
        pause_us: u64,
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
        let Brought { publishes, urgent, full } = brought;
        *self = match *self {
            _ if urgent => Self::default(),
            Self::Paced { since, pause_us, .. } if publishes >= PACED_MIN => {
                let elapsed_us = now.0.saturating_sub(since.0).max(1);
                let is_much = u64::from(publishes) * 1000 / elapsed_us >= PER_MS_LONG;
                Self::pause(now, if is_much { fitting(pause_us, full) } else { PAUSE_US })
            }
            Self::Eager { streak, since } if !full && (1..=SMALL).contains(&publishes) => match streak + 1 {
                1 => Self::Eager { streak: 1, since: now },
                STREAK if now.0.saturating_sub(since.0) <= STREAK_US_MAX => Self::pause(now, PAUSE_US),
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

    fn pause(now: Now, pause_us: u64) -> Self {
        Self::Paced { due: Now(now.0.saturating_add(pause_us)), since: now, pause_us }
    }
}

/// The pause after one after which a read was full or not: about as long as it takes to fill one.
fn fitting(pause_us: u64, full: bool) -> u64 {
    let next = if full { pause_us - pause_us / 16 } else { pause_us + pause_us / 4 };
    next.clamp(PAUSE_US, PAUSE_US_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publishes(publishes: u32) -> Brought {
        Brought { publishes, ..Brought::default() }
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

    /// A client that publishes `per_ms` in a millisecond, of which a read takes `per_read`: the pauses it is given, microseconds.
    fn pauses(per_ms: u64, per_read: u64, count: usize) -> Vec<u64> {
        let (mut pace, mut now) = paced();
        let (mut there, mut pauses) = (0, Vec::new());
        for _ in 0..count {
            let due = pace.due().expect("it goes on so").0;
            pauses.push(due - now);
            there += per_ms * (due - now);
            now = due;
            let taken = (there / 1000).min(per_read);
            there -= 1000 * taken;
            let brought = Brought { full: taken == per_read, ..publishes(u32::try_from(taken).unwrap()) };
            pace.note(Now(now), brought);
        }
        pauses
    }

    #[test]
    fn who_publishes_very_much_one_by_one_is_read_when_a_read_is_full() {
        assert_eq!(pauses(PER_MS_LONG / 2, 400, 50), [PAUSE_US; 50], "not so much");
        assert_eq!(pauses(PER_MS_LONG + 10, 400, 50)[49], PAUSE_US_MAX, "never full");
        let pauses = pauses(2000, 400, 100);
        assert!(pauses[20..].iter().all(|pause_us| (150..260).contains(pause_us)), "{pauses:?}");
    }

    #[test]
    fn who_has_more_than_a_pause_can_bring_is_not_paused_longer_than_others() {
        assert_eq!(pauses(100_000, 400, 100)[99], PAUSE_US);
    }

    #[test]
    fn who_publishes_seldom_or_gathers_or_asks_is_read_at_once() {
        let streak = STREAK as usize;
        let mut asks = vec![publishes(1); streak - 1];
        asks.push(Brought { urgent: true, ..publishes(1) });
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
        for brought in [publishes(0), publishes(1), Brought { urgent: true, ..publishes(50) }] {
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
