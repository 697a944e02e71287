//! How an IO thread waits: it sleeps in its poll, but where the next event has lately come at once each time it looks for it a moment first
//! (ADR 0013).
//!
//! Waking a thread whose core has gone idle costs 5 to 20 µs, as much as all the rest of a lone request. What must hold: a thread that is
//! told nothing within the moment sleeps; few threads look at a time; whoever else wants the core gets it.

use mio::{Events, Poll};
use std::io;
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

/// How one thread waits.
#[derive(Debug)]
pub(super) struct Rest {
    lookouts: Lookouts,
    /// Waits in a row that were short.
    streak: u32,
}

impl Rest {
    pub(super) fn new(lookouts: Lookouts) -> Self {
        Self { lookouts, streak: 0 }
    }

    /// Waits for events, at most so long.
    ///
    /// # Errors
    /// The poll's, but for a signal.
    pub(super) fn wait(
        &mut self,
        poll: &mut Poll,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return ask(poll, events, timeout);
        }
        let began = Instant::now();
        if !self.look(poll, events, began)? {
            ask(poll, events, timeout)?;
        }
        self.note(began.elapsed());
        Ok(())
    }

    /// Looks for events for a moment, if that is worth it; whether any came.
    fn look(&mut self, poll: &mut Poll, events: &mut Events, began: Instant) -> io::Result<bool> {
        if self.streak < STREAK {
            return Ok(false);
        }
        let Some(_lookout) = self.lookouts.take() else { return Ok(false) };
        let mut last = began;
        loop {
            ask(poll, events, Some(Duration::ZERO))?;
            if !events.is_empty() {
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

fn ask(poll: &mut Poll, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, timeout) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Token, Waker};

    struct Thread {
        poll: Poll,
        events: Events,
        waker: Waker,
        rest: Rest,
    }

    /// A thread that has had so many short waits.
    fn thread(lookouts: &Lookouts, streak: u32) -> Thread {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), Token(7)).unwrap();
        let rest = Rest { streak, ..Rest::new(lookouts.clone()) };
        Thread { poll, events: Events::with_capacity(4), waker, rest }
    }

    impl Thread {
        /// Whether an event came while it looked; `None`: it did not look.
        fn look(&mut self) -> Option<bool> {
            let streak = self.rest.streak;
            let found = self.rest.look(&mut self.poll, &mut self.events, Instant::now()).unwrap();
            (found || self.rest.streak != streak).then_some(found)
        }
    }

    #[test]
    fn a_thread_looks_after_short_waits_only_and_sleeps_when_nothing_comes() {
        let lookouts = Lookouts::new(1);
        for (streak, is_woken, found) in
            [(STREAK - 1, true, None), (STREAK, true, Some(true)), (STREAK, false, Some(false))]
        {
            let mut thread = thread(&lookouts, streak);
            if is_woken {
                thread.waker.wake().unwrap();
            }
            assert_eq!(thread.look(), found, "{streak} {is_woken}");
        }
    }

    #[test]
    fn only_so_many_threads_look_at_a_time() {
        let lookouts = Lookouts::new(1);
        let first = lookouts.take();
        let mut second = thread(&lookouts, STREAK);
        second.waker.wake().unwrap();
        assert_eq!(second.look(), None);
        drop(first);
        assert_eq!(second.look(), Some(true));
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
