//! How a thread that has no poll is called: a shard's or the registry's, by inboxes and by its journal.
//!
//! Like a parked thread's token, but it can be looked at without parking (ADR 0013), and ringing for a thread that is awake costs a store.
//! What must hold: no call is missed, however it meets the moment at which the thread goes to sleep.

use crate::node::rest::Doze;
use std::convert::Infallible;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// One thread's bell.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    /// Known only once the thread runs; it does not sleep before.
    thread: OnceLock<Thread>,
    rung: AtomicBool,
    /// The thread is parked, or about to be.
    parked: AtomicBool,
}

impl Bell {
    /// Whose it is. To be said by the thread itself, before it first sleeps; what is said later is passed over.
    pub(crate) fn belongs_to(&self, thread: Thread) {
        let _ = self.thread.set(thread);
    }

    /// Ends the thread's sleep; if it is awake, its next one.
    pub(crate) fn ring(&self) {
        self.rung.store(true, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until it rings, at most so long. To be called by its thread only.
    pub(crate) fn wait(&self, longest: Duration) {
        let began = Instant::now();
        self.parked.store(true, Ordering::SeqCst);
        // A park may end for a ring that ended the sleep before, or for none.
        while !self.rung.swap(false, Ordering::SeqCst) {
            let Some(left) = longest.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
                break;
            };
            thread::park_timeout(left);
        }
        self.parked.store(false, Ordering::SeqCst);
    }
}

/// A sleep of the bell's thread that ends by itself after so long.
pub(crate) struct Nap<'a>(pub &'a Bell, pub Duration);

impl Doze for Nap<'_> {
    type Error = Infallible;

    fn look(&mut self) -> Result<bool, Infallible> {
        // A load first: the line stays with this core until somebody rings.
        Ok(self.0.rung.load(Ordering::SeqCst) && self.0.rung.swap(false, Ordering::SeqCst))
    }

    fn sleep(&mut self) -> Result<(), Infallible> {
        self.0.wait(self.1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn all_rings_before_a_sleep_end_that_sleep_and_no_other() {
        let bell = Bell::default();
        bell.belongs_to(thread::current());
        bell.ring();
        bell.ring();
        let began = Instant::now();
        bell.wait(LONG);
        assert!(began.elapsed() < LONG);
        assert_eq!(Nap(&bell, LONG).look(), Ok(false));
    }

    #[test]
    fn who_looks_hears_a_ring_once() {
        let bell = Bell::default();
        let mut nap = Nap(&bell, LONG);
        assert_eq!(nap.look(), Ok(false));
        bell.ring();
        assert_eq!((nap.look(), nap.look()), (Ok(true), Ok(false)));
    }

    #[test]
    fn no_ring_is_missed_by_a_thread_that_goes_to_sleep_meanwhile() {
        const ROUNDS: u32 = 20_000;
        let [there, back] = [(); 2].map(|()| Arc::new(Bell::default()));
        let (hears, answers) = (Arc::clone(&there), Arc::clone(&back));
        back.belongs_to(thread::current());
        let echo = thread::spawn(move || {
            hears.belongs_to(thread::current());
            for _ in 0..ROUNDS {
                hears.wait(LONG);
                answers.ring();
            }
        });
        let began = Instant::now();
        for _ in 0..ROUNDS {
            there.ring();
            back.wait(LONG);
        }
        echo.join().unwrap();
        assert!(began.elapsed() < LONG, "a ring was missed");
    }
}
