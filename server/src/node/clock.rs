//! The one clock of a node (S28): it runs with the monotonic clock and is slewed towards wall time.
//!
//! A wall clock that jumps by more than a minute is not followed until somebody has confirmed it, or it has come back. At a start the same
//! is found out by a note that the last process left: how long the machine had been up at which wall time. Sessions see [`Clock::now`], which
//! no jump reaches: nobody's heartbeat is missed because an operator has set a clock. Logs see [`Clock::log_now`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fs, io};
use stele_model::id::Now;

/// Largest correction per call of [`Clock::slew`], microseconds: half a millisecond a second when called each second.
const SLEW_US_MAX: i64 = 500;

/// A wall clock that is further than this from ours, microseconds, has jumped.
const JUMP_US: i64 = 60_000_000;

/// The file of the note.
const NOTE: &str = "clock";
const NOTE_NEW: &str = "clock.new";

/// Where time comes from.
pub(crate) trait Source: Send + Sync {
    /// Wall time, microseconds since the Unix epoch.
    fn wall_us(&self) -> i64;
    /// How long the machine has been up, sleep included, microseconds.
    fn uptime_us(&self) -> i64;
    /// Another one each time the machine starts; empty if nobody knows.
    fn boot(&self) -> String;
}

/// The machine's clocks.
#[derive(Debug)]
pub(crate) struct Machine;

impl Source for Machine {
    fn wall_us(&self) -> i64 {
        micros(rustix::time::clock_gettime(rustix::time::ClockId::Realtime))
    }

    fn uptime_us(&self) -> i64 {
        micros(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
    }

    fn boot(&self) -> String {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    }
}

fn micros(time: rustix::time::Timespec) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

/// Shared by all threads.
pub(crate) struct Clock {
    source: Box<dyn Source>,
    note: Option<PathBuf>,
    /// From the machine's uptime to our time. Changed slowly.
    ahead_us: AtomicI64,
    /// From our time to the logs'. Changed when a jump is confirmed.
    stepped_us: AtomicI64,
    /// How far the wall clock was away when it was last looked at; 0 while it is trusted.
    away_us: AtomicI64,
    /// Held by who changes the numbers above.
    changing: Mutex<()>,
}

impl Clock {
    /// Starts at the present wall time, or at what it should be by the note that the last process left in `dir`.
    pub(crate) fn start(dir: &Path) -> Self {
        let clock = Self::of(Box::new(Machine), Some(dir.join(NOTE)));
        clock.write_note();
        clock
    }

    /// A clock of another source; without `note` nothing is known of the past.
    pub(crate) fn of(source: Box<dyn Source>, note: Option<PathBuf>) -> Self {
        let wall = source.wall_us();
        let text = note.as_ref().and_then(|path| fs::read_to_string(path).ok());
        let expected = text.and_then(|text| expected(&text, &*source)).unwrap_or(wall);
        let away = wall - expected;
        let (time, away) = if away.abs() > JUMP_US { (expected, away) } else { (wall, 0) };
        Self {
            ahead_us: AtomicI64::new(time - source.uptime_us()),
            stepped_us: AtomicI64::new(0),
            away_us: AtomicI64::new(away),
            changing: Mutex::default(),
            source,
            note,
        }
    }

    /// The time for sessions.
    #[must_use]
    pub(crate) fn now(&self) -> Now {
        let us = self.source.uptime_us() + self.ahead_us.load(Ordering::Relaxed);
        Now(u64::try_from(us).unwrap_or(0))
    }

    /// The time for logs. It goes back when somebody confirms that the wall clock was rightly set back.
    #[must_use]
    pub(crate) fn log_now(&self) -> Now {
        let us = self.now().0.cast_signed() + self.stepped_us.load(Ordering::Relaxed);
        Now(u64::try_from(us).unwrap_or(0))
    }

    /// Moves a little towards wall time; to be called once a second. Returns [`Self::away_s`].
    pub(crate) fn slew(&self) -> Option<i64> {
        let _changing = self.change();
        let away = self.source.wall_us() - self.log_now().0.cast_signed();
        if away.abs() > JUMP_US {
            self.away_us.store(away, Ordering::Relaxed);
        } else {
            self.away_us.store(0, Ordering::Relaxed);
            self.ahead_us.fetch_add(away.clamp(-SLEW_US_MAX, SLEW_US_MAX), Ordering::Relaxed);
        }
        self.away_s()
    }

    /// How far the wall clock is away, in seconds, if it has jumped and nobody has confirmed that.
    #[must_use]
    pub(crate) fn away_s(&self) -> Option<i64> {
        let away = self.away_us.load(Ordering::Relaxed);
        (away != 0).then_some(away / 1_000_000)
    }

    /// Somebody says that the wall clock is right. Returns what [`Self::away_s`] was.
    pub(crate) fn confirm(&self) -> Option<i64> {
        let changing = self.change();
        let away = self.away_s()?;
        let step = self.source.wall_us() - self.log_now().0.cast_signed();
        self.stepped_us.fetch_add(step, Ordering::Relaxed);
        self.away_us.store(0, Ordering::Relaxed);
        drop(changing);
        self.write_note();
        Some(away)
    }

    /// Leaves a note for the next process, unless the wall clock is in doubt. To be called now and then: the two clocks drift.
    pub(crate) fn write_note(&self) {
        let Some(path) = self.note.as_ref().filter(|_| self.away_s().is_none()) else { return };
        let text = format!("{} {} {}\n", self.source.boot(), self.source.uptime_us(), self.source.wall_us());
        let new = path.with_file_name(NOTE_NEW);
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
        // On a full disk the last one stays, which does as well.
        if let Err(error) = written
            && error.kind() != io::ErrorKind::StorageFull
        {
            tracing::warn!(%error, "could not note the time");
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the wall clock should say by a note. Of a machine that was down since nobody knows for how long: not earlier than the note.
fn expected(note: &str, source: &dyn Source) -> Option<i64> {
    let mut words = note.trim_end().splitn(3, ' ');
    let boot = words.next()?;
    let (uptime, wall): (i64, i64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    if boot.is_empty() || boot != source.boot() {
        return Some(wall.max(source.wall_us()));
    }
    wall.checked_add(source.uptime_us() - uptime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const HOUR: i64 = 3_600_000_000;

    /// Clocks that a test sets: wall, uptime, boot.
    #[derive(Clone)]
    struct Hands(Arc<Mutex<(i64, i64, String)>>);

    impl Hands {
        fn new() -> Self {
            Self(Arc::new(Mutex::new((1_000 * HOUR, HOUR, "a".to_owned()))))
        }

        /// Time passes, on both clocks.
        fn pass(&self, us: i64) {
            let mut hands = self.0.lock().unwrap();
            hands.0 += us;
            hands.1 += us;
        }

        /// Somebody sets the wall clock.
        fn set(&self, by: i64) {
            self.0.lock().unwrap().0 += by;
        }

        fn boot(&self, id: &str) {
            let mut hands = self.0.lock().unwrap();
            (hands.1, hands.2) = (0, id.to_owned());
        }

        fn clock(&self, dir: &Path) -> Clock {
            let clock = Clock::of(Box::new(self.clone()), Some(dir.join(NOTE)));
            clock.write_note();
            clock
        }
    }

    impl Source for Hands {
        fn wall_us(&self) -> i64 {
            self.0.lock().unwrap().0
        }

        fn uptime_us(&self) -> i64 {
            self.0.lock().unwrap().1
        }

        fn boot(&self) -> String {
            self.0.lock().unwrap().2.clone()
        }
    }

    #[test]
    fn a_small_difference_is_slewed_and_time_never_turns_back_by_more_than_a_step() {
        let (hands, dir) = (Hands::new(), tempfile::tempdir().unwrap());
        let clock = hands.clock(dir.path());
        hands.set(-1_000_000);
        let mut last = clock.now();
        for _ in 0..3000 {
            hands.pass(1_000);
            assert_eq!(clock.slew(), None);
            assert!(clock.now().0 + SLEW_US_MAX as u64 >= last.0);
            last = clock.now();
        }
        assert_eq!(last.0.cast_signed(), hands.wall_us());
    }

    #[test]
    fn a_jump_is_told_until_it_is_undone() {
        let (hands, dir) = (Hands::new(), tempfile::tempdir().unwrap());
        let clock = hands.clock(dir.path());
        for by in [HOUR, -HOUR] {
            let before = clock.now();
            hands.set(by);
            assert_eq!(clock.slew(), Some(by / 1_000_000));
            assert_eq!((clock.now(), clock.log_now()), (before, before));
            hands.set(-by);
            assert_eq!((clock.slew(), clock.confirm()), (None, None));
        }
    }

    #[test]
    fn a_jump_that_is_confirmed_is_followed_by_logs_and_by_no_session() {
        let (hands, dir) = (Hands::new(), tempfile::tempdir().unwrap());
        let clock = hands.clock(dir.path());
        let before = clock.now();
        for by in [HOUR, -3 * HOUR] {
            hands.set(by);
            clock.slew();
            assert_eq!(clock.confirm(), Some(by / 1_000_000));
            assert_eq!(clock.log_now().0.cast_signed(), hands.wall_us());
            assert_eq!((clock.now(), clock.slew(), clock.away_s()), (before, None, None));
        }
        assert_eq!(hands.clock(dir.path()).away_s(), None, "the next process knows it, too");
    }

    #[test]
    fn a_jump_between_two_processes_is_found_by_the_note() {
        let (hands, dir) = (Hands::new(), tempfile::tempdir().unwrap());
        drop(hands.clock(dir.path()));
        hands.pass(48 * HOUR);
        assert_eq!(
            hands.clock(dir.path()).away_s(),
            None,
            "the node was down for two days, which is no jump"
        );
        let expected = hands.wall_us();
        hands.set(HOUR);
        for _ in 0..2 {
            let clock = hands.clock(dir.path());
            assert_eq!(clock.away_s(), Some(3600), "also a second time: what is in doubt is not noted");
            assert_eq!(clock.log_now().0.cast_signed(), expected);
        }
        hands.set(-HOUR);
        assert_eq!(hands.clock(dir.path()).away_s(), None);
    }

    #[test]
    fn after_a_start_of_the_machine_only_a_clock_that_went_back_is_in_doubt() {
        let (hands, dir) = (Hands::new(), tempfile::tempdir().unwrap());
        drop(hands.clock(dir.path()));
        hands.set(5 * HOUR);
        hands.boot("b");
        assert_eq!(hands.clock(dir.path()).away_s(), None);
        hands.set(-HOUR);
        hands.boot("c");
        let clock = hands.clock(dir.path());
        assert_eq!(clock.away_s(), Some(-3600));
        fs::write(dir.path().join(NOTE), "what is this").unwrap();
        assert_eq!(hands.clock(dir.path()).away_s(), None, "a note that says nothing is none");
    }
}
