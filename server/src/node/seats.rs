//! How many connections there may be, and are: over all IO threads of the node, and in each namespace.
//!
//! The acceptor takes a [`Seat`] for each connection and hands both to an IO thread, which claims a place in a namespace before the hub
//! opens it there. A seat is given back when it is dropped with its connection, whatever that died of.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use stele_model::id::NamespaceId;

/// The seats of a node.
pub(crate) struct Seats {
    seats_max: usize,
    taken: AtomicUsize,
    /// By namespace, whether it has a limit now or gets one later.
    namespaces: Mutex<BTreeMap<NamespaceId, u64>>,
}

/// One connection's right to be here.
pub(crate) struct Seat {
    seats: Arc<Seats>,
    namespace: Option<NamespaceId>,
}

impl Seats {
    pub(crate) fn new(seats_max: usize) -> Arc<Self> {
        Arc::new(Self { seats_max, taken: AtomicUsize::new(0), namespaces: Mutex::default() })
    }

    /// `None`: all are taken.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Seat> {
        let one_more = |taken| (taken < self.seats_max).then_some(taken + 1);
        self.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Seat { seats: Arc::clone(self), namespace: None })
    }

    /// Most connections at a time.
    pub(crate) fn max(&self) -> usize {
        self.seats_max
    }

    fn leave(&self, namespace: NamespaceId) {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let count = namespaces.get_mut(&namespace).expect("who leaves a namespace was counted in it");
        *count -= 1;
        if *count == 0 {
            namespaces.remove(&namespace);
        }
    }
}

impl Seat {
    /// Claims a place in a namespace, and leaves the one it was in.
    ///
    /// # Errors
    /// As many as `connections_max` are there; that number.
    pub(crate) fn enter(&mut self, namespace: NamespaceId, connections_max: Option<u64>) -> Result<(), u64> {
        if let Some(before) = self.namespace.take() {
            self.seats.leave(before);
        }
        let mut namespaces = self.seats.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let there = namespaces.get(&namespace).copied().unwrap_or(0);
        if let Some(max) = connections_max.filter(|max| there >= *max) {
            return Err(max);
        }
        namespaces.insert(namespace, there + 1);
        self.namespace = Some(namespace);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(namespace) = self.namespace {
            self.seats.leave(namespace);
        }
        self.seats.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: NamespaceId = NamespaceId(1);
    const THERE: NamespaceId = NamespaceId(2);

    #[test]
    fn a_seat_is_free_again_when_its_connection_is_gone() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(), seats.take());
        assert!(first.is_some() && second.is_some() && seats.take().is_none());
        drop(first);
        assert!(seats.take().is_some());
    }

    #[test]
    fn a_namespace_takes_as_many_as_it_may_and_others_are_not_counted_in_it() {
        let seats = Seats::new(10);
        let [mut a, mut b, mut c] = std::array::from_fn(|_| seats.take().unwrap());
        assert_eq!(a.enter(HERE, Some(1)), Ok(()));
        assert_eq!(b.enter(HERE, Some(1)), Err(1));
        assert_eq!(c.enter(THERE, Some(1)), Ok(()));
        drop(a);
        assert_eq!(b.enter(HERE, Some(1)), Ok(()));
        assert_eq!(c.enter(HERE, Some(0)), Err(0));
    }

    #[test]
    fn a_limit_that_comes_later_counts_who_is_there_already() {
        let seats = Seats::new(10);
        let [mut a, mut b] = std::array::from_fn(|_| seats.take().unwrap());
        assert_eq!(a.enter(HERE, None), Ok(()));
        assert_eq!(b.enter(HERE, Some(1)), Err(1));
    }

    #[test]
    fn a_seat_that_changes_its_namespace_is_counted_once() {
        let seats = Seats::new(10);
        let [mut a, mut b] = std::array::from_fn(|_| seats.take().unwrap());
        assert_eq!(a.enter(HERE, Some(1)), Ok(()));
        assert_eq!(a.enter(HERE, Some(1)), Ok(()));
        assert_eq!(a.enter(THERE, Some(1)), Ok(()));
        assert_eq!(b.enter(HERE, Some(1)), Ok(()));
    }
}
