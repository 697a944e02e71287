//! A mailbox with one reader, who takes everything at once, and a wake-up only when he sleeps.
//!
//! One item is one batch (all of a socket read for one shard): single items would cost ten times as much (STORAGE §1).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The sending and the receiving end; cloned to every sender.
pub(crate) struct Inbox<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    items: Mutex<Vec<T>>,
    /// The reader sleeps, or is about to.
    asleep: AtomicBool,
    /// What the items weigh, in bytes, as their senders said.
    weight: AtomicUsize,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl<T> Clone for Inbox<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Inbox<T> {
    /// `wake` ends the reader's sleep; it may be called when he is awake.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                items: Mutex::new(Vec::new()),
                asleep: AtomicBool::new(false),
                weight: AtomicUsize::new(0),
                wake: Box::new(wake),
            }),
        }
    }

    /// Leaves an item of `bytes` bytes, and wakes the reader if he sleeps.
    pub(crate) fn send(&self, item: T, bytes: usize) {
        if self.leave(item, bytes) {
            self.rouse();
        }
    }

    /// Leaves an item of `bytes` bytes. `true`: the reader sleeps, and it is now the caller's to see to the item: to do the reader's work
    /// for him, or to [`Self::rouse`] him.
    #[must_use]
    pub(crate) fn leave(&self, item: T, bytes: usize) -> bool {
        self.shared.weight.fetch_add(bytes, Ordering::Relaxed);
        self.shared.items.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        self.shared.asleep.swap(false, Ordering::SeqCst)
    }

    /// Ends the reader's sleep, whatever is known of it.
    pub(crate) fn rouse(&self) {
        (self.shared.wake)();
    }

    /// Ends the reader's sleep, if he sleeps.
    pub(crate) fn prod(&self) {
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.rouse();
        }
    }

    /// Bytes that wait, as their senders said.
    pub(crate) fn weight(&self) -> usize {
        self.shared.weight.load(Ordering::SeqCst)
    }

    /// Takes what is there, in exchange for an empty `into`.
    ///
    /// # Panics
    /// If `into` is not empty.
    pub(crate) fn take(&self, into: &mut Vec<T>) {
        assert!(into.is_empty(), "what was taken before has been dealt with");
        std::mem::swap(into, &mut *self.shared.items.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.weight.store(0, Ordering::SeqCst);
    }

    /// Says that the reader is about to sleep. `false`: there is something, he should not.
    pub(crate) fn may_sleep(&self) -> bool {
        self.shared.asleep.store(true, Ordering::SeqCst);
        if self.shared.items.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            return true;
        }
        self.shared.asleep.store(false, Ordering::SeqCst);
        false
    }

    /// Says that the reader is awake.
    pub(crate) fn awake(&self) {
        self.shared.asleep.store(false, Ordering::SeqCst);
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.items.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_reader_is_woken_once_and_a_waking_one_is_not() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let inbox = Inbox::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        inbox.send(1, 10);
        assert_eq!((woken.load(Ordering::SeqCst), inbox.weight()), (0, 10));
        assert!(!inbox.may_sleep(), "there is something to do");
        let mut items = Vec::new();
        inbox.take(&mut items);
        assert_eq!((items, inbox.weight()), (vec![1], 0));
        assert!(inbox.may_sleep());
        inbox.send(2, 0);
        inbox.send(3, 0);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn who_leaves_an_item_with_a_sleeping_reader_has_to_see_to_it() {
        let inbox = Inbox::new(|| panic!("nobody is to be woken"));
        assert!(!inbox.leave(1, 0), "the reader is awake and will find it");
        let mut items = Vec::new();
        inbox.take(&mut items);
        assert!(inbox.may_sleep());
        assert!(inbox.leave(2, 0));
        assert!(!inbox.leave(3, 0), "the first sees to both");
    }
}
