//! What a partition has for a group: records from a position on, one record again, and how many there are.
//!
//! Called by [`super::serve`] and the shard. What must hold: pieces come in the order of positions, each within one batch, and none of
//! what cannot be read any more. Not here: who gets them.

use crate::stream::{Partition, Stored};
use stele_model::id::Position;
use stele_model::stream::{Found, FoundRecords};

/// Neighbouring records of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) batch: Found,
    pub(crate) from: Position,
    /// At least 1.
    pub(crate) count: u32,
}

impl Piece {
    fn of(batch: &Stored, from: Position) -> Self {
        let from = from.max(batch.first);
        Self { batch: batch.found(), from, count: (batch.end().0 - from.0) as u32 }
    }

    /// Bytes of one record; of a batch of several their mean, since nobody has opened it.
    pub(crate) fn record_len(&self) -> u64 {
        u64::from(self.batch.len) / u64::from(self.batch.count)
    }

    /// Splits off the first so many.
    pub(crate) fn split(&mut self, count: u32) -> FoundRecords {
        let charged = self.record_len() * u64::from(count);
        let taken = FoundRecords { batch: self.batch, from: self.from, count, charged };
        self.from.0 += u64::from(count);
        self.count -= count;
        taken
    }
}

/// What there is from a position on.
pub(crate) fn after(partition: &Partition, from: Position) -> impl Iterator<Item = Piece> + '_ {
    let from = from.max(partition.start);
    partition.index.from(from).map(move |batch| Piece::of(&batch, from))
}

/// The record at a position, if it can be read.
pub(crate) fn at(partition: &Partition, position: Position) -> Option<Piece> {
    let piece = after(partition, position).next().filter(|piece| piece.from == position)?;
    Some(Piece { count: 1, ..piece })
}

/// How many records there are from a position on.
pub(crate) fn count(partition: &Partition, from: Position) -> u64 {
    partition.end.0.saturating_sub(from.max(partition.start).0)
}
