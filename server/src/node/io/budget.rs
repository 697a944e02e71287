//! Sums over all connections of a node, each with a bound, and who of them has stalled longest: he gives way to who goes on.
//!
//! What must hold: a connection's [`Share`] is what stands in the sum, until the connection is ended or removed.

use super::{Io, IoMessage};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use stele_model::id::{HubId, Now};

/// Less than this of one connection is not counted: what a connection may cost anyway, bytes.
const FREE_BYTES: usize = 256 << 10;

/// Half of a bound is for who wants much: the other half lets many who find no room there get on with little.
const ROOMY_SHARE: usize = 2;
/// Of what is left there one connection gets the so-manieth part at once, so that others find something too.
const ROOM_SHARE: usize = 4;

/// The bounds that all connections of a node share.
pub(crate) struct Budgets {
    /// What they may have begun to send and not finished.
    pub(crate) unfinished: Budget,
    /// What they may have asked for and not taken.
    pub(crate) unread: Budget,
}

/// The sum of all connections of a node, and its bound.
pub(crate) struct Budget {
    bytes: AtomicUsize,
    pub(super) bytes_max: usize,
    /// Who has something in the sum, by when his share last became less. It changes with large shares only, not with each of their bytes.
    holders: Mutex<BTreeSet<(Now, Holder)>>,
}

/// A connection: its thread, and its slot there.
pub(super) type Holder = (HubId, usize);

/// A connection's part of a sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) bytes: usize,
    /// Since when it has not become less.
    since: Now,
}

impl Budget {
    /// No connection has anything yet.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max, holders: Mutex::default() }
    }

    /// A connection's share is `bytes` now; whether all have too many together.
    pub(super) fn note(&self, now: Now, holder: Holder, of: &mut Share, bytes: usize) -> bool {
        let bytes = if bytes < FREE_BYTES { 0 } else { bytes };
        if bytes == of.bytes {
            return false;
        }
        let before = of.holds_since();
        if of.bytes == 0 || bytes < of.bytes {
            of.since = now;
        }
        // Only sums are compared, and nothing else is told by them: no order is needed.
        let sum = self.bytes.fetch_add(bytes.wrapping_sub(of.bytes), Ordering::Relaxed);
        let sum = sum.wrapping_add(bytes).wrapping_sub(of.bytes);
        let grows = bytes > of.bytes;
        of.bytes = bytes;
        if before != of.holds_since() {
            let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
            before.map(|since| holders.remove(&(since, holder)));
            holders.extend(of.holds_since().map(|since| (since, holder)));
        }
        grows && sum > self.bytes_max
    }

    /// Whether all have too many together.
    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    /// What one connection may add at once, bytes: less where little is left, but never less than what is not counted.
    pub(super) fn room(&self) -> usize {
        let left = (self.bytes_max / ROOMY_SHARE).saturating_sub(self.bytes.load(Ordering::Relaxed));
        (left / ROOM_SHARE).max(FREE_BYTES)
    }

    /// Whose share has not become less for longest.
    fn slowest(&self) -> Option<Holder> {
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.first().map(|(_, holder)| *holder)
    }
}

impl Io {
    /// If all have too many together, the slowest of them: its slot, if it is this thread's; another's is told to look for itself.
    pub(super) fn slowest_here(&self, budget: &Budget) -> Option<usize> {
        let (hub, slot) = budget.slowest().filter(|_| budget.is_over())?;
        if hub == self.wiring.hub {
            return Some(slot);
        }
        self.wiring.hubs[usize::from(hub.0)].send(IoMessage::MakeWay, 0);
        None
    }
}

impl Share {
    fn holds_since(self) -> Option<Now> {
        (self.bytes > 0).then_some(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn all_connections_share_one_bound() {
        let budget = Budget::new(4 * MIB);
        let (mut a, mut b) = (Share::default(), Share::default());
        let (of_a, of_b) = ((HubId(0), 1), (HubId(1), 1));
        assert!(!budget.note(Now(1), of_a, &mut a, 3 * MIB));
        assert!(!budget.note(Now(2), of_b, &mut b, FREE_BYTES - 1), "little is free");
        assert!(!budget.note(Now(2), of_b, &mut b, MIB));
        assert!(budget.note(Now(3), of_b, &mut b, MIB + 1));
        assert!(!budget.note(Now(4), of_b, &mut b, MIB), "who shrinks is not to blame");
        assert!(!budget.note(Now(4), of_a, &mut a, 0));
        assert!(!budget.note(Now(5), of_b, &mut b, 4 * MIB));
    }

    #[test]
    fn time_counts_from_when_a_share_last_became_less() {
        let budget = Budget::new(usize::MAX);
        let mut of = Share::default();
        for (now, bytes, since) in
            [(1, 2 * MIB, 1), (2, 3 * MIB, 1), (3, MIB, 3), (4, MIB, 3), (5, 0, 5), (9, MIB, 9)]
        {
            budget.note(Now(now), (HubId(0), 0), &mut of, bytes);
            assert_eq!(of.since, Now(since), "at {now}");
        }
    }

    #[test]
    fn the_slowest_is_whose_share_has_not_become_less_for_longest_on_whichever_thread() {
        let budget = Budget::new(4 * MIB);
        let mut of = [Share::default(); 3];
        let holders = [(HubId(1), 7), (HubId(0), 7), (HubId(0), 3)];
        for (now, n, bytes, slowest) in [
            (1, 0, MIB, Some(0)),
            (2, 1, MIB, Some(0)),
            (3, 2, MIB, Some(0)),
            (4, 0, 2 * MIB, Some(0)),
            (5, 0, MIB, Some(1)),
            (6, 1, 0, Some(2)),
            (7, 2, 0, Some(0)),
            (8, 0, 0, None),
        ] {
            budget.note(Now(now), holders[n], &mut of[n], bytes);
            assert_eq!(budget.slowest(), slowest.map(|n: usize| holders[n]), "at {now}");
        }
        assert!(!budget.is_over());
    }

    #[test]
    fn who_comes_late_finds_less_room_but_some() {
        let budget = Budget::new(64 * MIB);
        assert_eq!(budget.room(), 8 * MIB);
        let (mut a, mut b) = (Share::default(), Share::default());
        budget.note(Now(1), (HubId(0), 1), &mut a, 16 * MIB);
        assert_eq!(budget.room(), 4 * MIB);
        budget.note(Now(1), (HubId(0), 2), &mut b, 100 * MIB);
        assert_eq!(budget.room(), FREE_BYTES);
        budget.note(Now(2), (HubId(0), 2), &mut b, 0);
        assert_eq!(budget.room(), 4 * MIB);
    }
}
