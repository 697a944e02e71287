//! Records that were delivered and not yet settled, by position.
//!
//! Called by [`super::Queue`]. The records are logged state, who holds them is attached state and unknown in replay (S1). What must
//! hold: one that is never settled does not keep memory of its neighbours. Not here: what a settle means.

use super::Record;
use std::collections::BTreeMap;
use std::ops::Range;
use stele_model::id::Position;

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
pub(crate) struct Leases {
    by_position: BTreeMap<Position, Lease>,
}

impl Leases {
    pub(crate) fn count(&self) -> u64 {
        self.by_position.len() as u64
    }

    pub(crate) fn insert(&mut self, record: Record, holder: HolderAt) {
        let before = self.by_position.insert(record.position, Lease { record, holder });
        assert!(before.is_none(), "I12: a record has one holder");
    }

    pub(crate) fn remove(&mut self, position: Position) -> Option<Lease> {
        self.by_position.remove(&position)
    }

    /// Leases at these positions, in order.
    pub(crate) fn range(&self, positions: Range<Position>) -> impl Iterator<Item = &Lease> {
        self.by_position.range(positions).map(|(_, lease)| lease)
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_position.values()
    }

    /// Takes the one with the lowest position.
    pub(crate) fn pop_first(&mut self) -> Option<Lease> {
        self.by_position.pop_first().map(|(_, lease)| lease)
    }
}
