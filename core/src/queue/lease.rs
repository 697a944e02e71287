//! Records that were delivered and not yet settled, by position.
//!
//! Called by [`super::Queue`], and by [`super::priority`] for those that have come back. The records are logged state, who holds them is attached state and unknown in replay (S1). How they lie in
//! memory is [`crate::paged`]'s business. Not here: what a settle means.

use super::Record;
use crate::paged::Paged;
use std::ops::Range;
use stele_model::id::{Lsn, Now, Place, Position};

/// Index of a holder in [`super::serve::Readers`]; [`NOBODY`] in replay.
pub(crate) type HolderAt = u32;

/// The holder of what was replayed.
pub(crate) const NOBODY: HolderAt = u32::MAX;

/// A delivery that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) record: Record,
    pub(crate) holder: HolderAt,
}

/// The unsettled deliveries of a queue.
#[derive(Debug, Default)]
pub(crate) struct Leases(Paged<Slot>);

/// A lease without its position: 40 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    lsn: u64,
    expires: u64,
    at: u32,
    len: u32,
    overhead: u32,
    failures: u32,
    holder: HolderAt,
    priority: u8,
    redelivered: bool,
}

const _: () = assert!(size_of::<Slot>() == 40, "a leased record is about 40 bytes (STORAGE §3)");

impl Slot {
    fn of(record: &Record, holder: HolderAt) -> Self {
        Self {
            lsn: record.place.lsn.0,
            expires: record.expires.0,
            at: record.place.at,
            len: record.len,
            overhead: record.overhead,
            failures: record.failures,
            holder,
            priority: record.priority,
            redelivered: record.redelivered,
        }
    }

    fn lease(&self, position: Position) -> Lease {
        let record = Record {
            position,
            place: Place { lsn: Lsn(self.lsn), at: self.at },
            len: self.len,
            overhead: self.overhead,
            expires: Now(self.expires),
            priority: self.priority,
            redelivered: self.redelivered,
            failures: self.failures,
        };
        Lease { record, holder: self.holder }
    }
}

impl Leases {
    pub(crate) fn count(&self) -> u64 {
        self.0.count()
    }

    pub(crate) fn insert(&mut self, record: Record, holder: HolderAt) {
        self.0.insert(record.position, Slot::of(&record, holder));
    }

    pub(crate) fn remove(&mut self, position: Position) -> Option<Lease> {
        self.0.remove(position).map(|slot| slot.lease(position))
    }

    /// The lease at this position.
    pub(crate) fn find(&self, position: Position) -> Option<Lease> {
        self.0.find(position).map(|slot| slot.lease(position))
    }

    /// Leases at these positions, in order.
    pub(crate) fn range(&self, positions: Range<Position>) -> impl Iterator<Item = Lease> + '_ {
        self.0.range(positions).map(|(position, slot)| slot.lease(position))
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lease> + '_ {
        self.0.iter().map(|(position, slot)| slot.lease(position))
    }

    /// What is held now can be written by [`Self::next_frozen`], whatever changes meanwhile.
    pub(crate) fn freeze(&mut self) {
        self.0.freeze();
    }

    /// Whether something is still to be written.
    pub(crate) fn is_frozen(&self) -> bool {
        self.0.is_frozen()
    }

    /// Nothing more will be written of what was held.
    pub(crate) fn thaw(&mut self) {
        self.0.thaw();
    }

    /// The next records of what was held, some of them, in order. `None`: that was all.
    pub(crate) fn next_frozen(&mut self) -> Option<impl Iterator<Item = Record>> {
        let slots = self.0.next_frozen()?;
        Some(slots.into_iter().map(|(position, slot)| slot.lease(position).record))
    }

    /// See [`Paged::forget_kept`].
    pub(crate) fn forget_kept(&mut self) {
        self.0.forget_kept();
    }

    /// The records, in order.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.iter().map(|lease| lease.record)
    }

    /// The record with the lowest position.
    pub(crate) fn first(&self) -> Option<Record> {
        self.0.first().map(|(position, slot)| slot.lease(position).record)
    }

    /// Takes the one with the lowest position.
    pub(crate) fn pop_first(&mut self) -> Option<Lease> {
        let (first, _) = self.0.first()?;
        self.remove(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::record_for_tests as record;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_record_that_is_never_settled_keeps_no_page() {
        let mut leases = Leases::default();
        for n in 0..100_000 {
            leases.insert(record(n), 1);
            if n % 1000 != 0 {
                leases.remove(Position(n));
            }
        }
        assert_eq!((leases.count(), leases.0.pages()), (100, 0));
        assert!(leases.iter().map(|lease| lease.record).eq((0..100).map(|n| record(n * 1000))));
    }

    proptest! {
        #[test]
        fn leases_are_a_map_by_position(
            ops in prop::collection::vec((any::<bool>(), 0..400u64, 1..80u64), 1..60),
            cut in 0..400u64,
        ) {
            let (mut leases, mut model) = (Leases::default(), BTreeMap::new());
            for (insert, from, count) in ops {
                for n in from..from + count {
                    if insert && !model.contains_key(&n) {
                        leases.insert(record(n), n as u32);
                        model.insert(n, n as u32);
                    } else if !insert {
                        let is = leases.remove(Position(n)).map(|lease| (lease.record, lease.holder));
                        prop_assert_eq!(is, model.remove(&n).map(|holder| (record(n), holder)));
                    }
                }
                prop_assert_eq!(leases.count(), model.len() as u64);
            }
            let is: Vec<u64> = leases.range(Position(cut)..Position(cut + 99)).map(|of| of.record.position.0).collect();
            prop_assert_eq!(leases.find(Position(cut)).map(|of| of.holder), model.get(&cut).copied());
            let should: Vec<u64> = model.range(cut..cut + 99).map(|(n, _)| *n).collect();
            prop_assert_eq!(is, should);
            while let Some(lease) = leases.pop_first() {
                prop_assert_eq!(Some(lease.record.position.0), model.pop_first().map(|(n, _)| n));
            }
            prop_assert!(model.is_empty());
        }

        #[test]
        fn what_was_held_when_a_snapshot_began_is_written_whatever_changes_meanwhile(
            ops in prop::collection::vec((0..3u8, 0..900u64, 1..200u64), 1..60),
            begins in 0..40usize,
        ) {
            let (mut leases, mut held) = (Leases::default(), BTreeMap::new());
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            for (n, (what, from, count)) in ops.into_iter().enumerate() {
                if n == begins {
                    leases.freeze();
                    expected = held.keys().map(|n| record(*n)).collect();
                }
                if what == 2 {
                    written.extend(leases.next_frozen().into_iter().flatten());
                    continue;
                }
                for n in from..from + count {
                    if what == 0 && held.insert(n, ()).is_none() {
                        leases.insert(record(n), 1);
                    } else if what == 1 {
                        prop_assert_eq!(leases.remove(Position(n)).is_some(), held.remove(&n).is_some());
                    }
                }
            }
            while let Some(next) = leases.next_frozen() {
                written.extend(next);
            }
            prop_assert_eq!(written, expected);
            prop_assert!(!leases.is_frozen());
        }
    }
}
