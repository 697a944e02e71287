//! How a thread waits: it sleeps, but where what it waits for has lately come at once each time it looks for it a moment first (ADR 0013).
//!
//! Waking a thread whose core has gone idle costs 5 to 20 µs, as much as all the rest of a lone request. IO threads look at their sockets,
//! shards' threads at their bells. What must hold: a thread that is told nothing within the moment sleeps; few threads look at a time; whoever
//! else wants the core gets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a thread looks before it sleeps.
const LOOK: Duration = Duration::from_micros(50);

/// Waits in a row that have to be shorter than [`LOOK`] before a thread looks.
const STREAK: u32 = 16;

/// A look at the sockets that took longer than this gave the core to somebody who wanted it.
const SHARED: Duration = Duration::from_micros(15);

/// Threads that may look at the same time.
#[derive(Clone, Debug)]
pub(crate) struct Lookouts(Arc<AtomicUsize>);

impl Lookouts {
    /// So many.
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(max)))
    }

    fn take(&self) -> Option<Lookout<'_>> {
        let less = |free: usize| free.checked_sub(1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok().then_some(Lookout(self))
    }
}

/// The right to look, until it is dropped.
struct Lookout<'a>(&'a Lookouts);

impl Drop for Lookout<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A sleep that can be looked out of.
pub(crate) trait Doze {
    /// What can go wrong.
    type Error;

    /// Whether what is waited for has come.
    ///
    /// # Errors
    /// What the system says.
    fn look(&mut self) -> Result<bool, Self::Error>;

    /// Sleeps until it comes, or until the longest wait is over.
    ///
    /// # Errors
    /// What the system says.
    fn sleep(&mut self) -> Result<(), Self::Error>;
}

/// How one thread waits.
#[derive(Debug)]
pub(crate) struct Rest {
    lookouts: Lookouts,
    /// Waits in a row that were short.
    streak: u32,
}

impl Rest {
    pub(crate) fn new(lookouts: Lookouts) -> Self {
        Self { lookouts, streak: 0 }
    }

    /// Waits.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn wait<D: Doze>(&mut self, mut doze: D) -> Result<(), D::Error> {
        let began = Instant::now();
        if !self.look(&mut doze, began)? {
            doze.sleep()?;
        }
        self.note(began.elapsed());
        Ok(())
    }

    /// Looks for a moment, if that is worth it; whether what is waited for has come.
    fn look<D: Doze>(&mut self, doze: &mut D, began: Instant) -> Result<bool, D::Error> {
        if self.streak < STREAK {
            return Ok(false);
        }
        let Some(_lookout) = self.lookouts.take() else { return Ok(false) };
        let mut last = began;
        loop {
            if doze.look()? {
                return Ok(true);
            }
            thread::yield_now();
            let now = Instant::now();
            if now - began >= LOOK || now - last >= SHARED {
                self.streak = 0;
                return Ok(false);
            }
            last = now;
        }
    }

    /// It waited so long.
    fn note(&mut self, waited: Duration) {
        self.streak = if waited < LOOK { (self.streak + 1).min(STREAK) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// Whether it has come, whenever one looks.
    struct Doorway(bool);

    impl Doze for Doorway {
        type Error = Infallible;

        fn look(&mut self) -> Result<bool, Infallible> {
            Ok(self.0)
        }

        fn sleep(&mut self) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// A thread that has had so many short waits.
    fn thread(lookouts: &Lookouts, streak: u32) -> Rest {
        Rest { streak, ..Rest::new(lookouts.clone()) }
    }

    /// Whether it came while the thread looked; `None`: it did not look.
    fn look(thread: &mut Rest, is_there: bool) -> Option<bool> {
        let streak = thread.streak;
        let Ok(found) = thread.look(&mut Doorway(is_there), Instant::now());
        (found || thread.streak != streak).then_some(found)
    }

    #[test]
    fn a_thread_looks_after_short_waits_only_and_sleeps_when_nothing_comes() {
        let lookouts = Lookouts::new(1);
        for (streak, is_there, found) in
            [(STREAK - 1, true, None), (STREAK, true, Some(true)), (STREAK, false, Some(false))]
        {
            assert_eq!(look(&mut thread(&lookouts, streak), is_there), found, "{streak} {is_there}");
        }
    }

    #[test]
    fn only_so_many_threads_look_at_a_time() {
        let lookouts = Lookouts::new(1);
        let first = lookouts.take();
        let mut second = thread(&lookouts, STREAK);
        assert_eq!(look(&mut second, true), None);
        drop(first);
        assert_eq!(look(&mut second, true), Some(true));
    }

    #[test]
    fn a_long_wait_ends_the_streak() {
        let mut rest = Rest::new(Lookouts::new(1));
        (0..2 * STREAK).for_each(|_| rest.note(LOOK / 2));
        assert_eq!(rest.streak, STREAK);
        rest.note(LOOK);
        assert_eq!(rest.streak, 0);
    }
}
