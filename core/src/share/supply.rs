//! What a partition has for a group: records from a position on, one record again, and how many there are.
//!
//! Called by [`super::serve`] and the shard. What must hold: pieces come in the order of positions, each within one batch, and none of
//! what cannot be read any more. Not here: who gets them.

use crate::stream::by_subject::Next;
use crate::stream::index::Cursor;
use crate::stream::{Partition, Stored};
use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use stele_model::id::Position;
use stele_model::stream::{Found, FoundRecords};
use stele_model::subject::Pattern;

/// Pieces fetched at first: who wants one record pays for few.
const FETCH_MIN: usize = 4;
/// Pieces fetched at once.
const FETCH_MAX: usize = 512;

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

    /// The record at a position, which the batch holds.
    fn one(batch: &Stored, position: Position) -> Self {
        Self { count: 1, ..Self::of(batch, position) }
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

/// What was never delivered, fetched some at a time.
#[derive(Debug)]
pub(crate) struct Fresh<'a> {
    partition: &'a Partition,
    /// Where the last records of subjects are looked up.
    cursor: Cursor<'a>,
    pieces: VecDeque<Piece>,
    /// Where to go on.
    from: Position,
    /// Pieces to be fetched next.
    count: usize,
    end: End,
}

/// What is behind the pieces that were fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// More, perhaps.
    Open,
    /// More, but not in this turn: the search has come so far.
    Later(Position),
    /// Nothing.
    Nothing,
}

impl<'a> Fresh<'a> {
    pub(crate) fn new(partition: &'a Partition, from: Position) -> Self {
        let cursor = partition.index.cursor();
        Self { partition, cursor, pieces: VecDeque::new(), from, count: FETCH_MIN, end: End::Open }
    }

    /// The next piece. First come those of `lasts`.
    pub(crate) fn next(&mut self, filters: &[Pattern], lasts: &mut BTreeSet<Position>) -> Result<Piece, End> {
        while let Some(position) = lasts.first().copied() {
            let there = self.cursor.get(position).filter(|_| position >= self.partition.start);
            if let Some(batch) = there {
                return Ok(Piece::one(&batch, position));
            }
            lasts.pop_first();
        }
        if self.pieces.is_empty() && self.end == End::Open {
            self.fetch(filters);
        }
        self.pieces.pop_front().ok_or(self.end)
    }

    fn fetch(&mut self, filters: &[Pattern]) {
        let (partition, from, count) = (self.partition, self.from, self.count);
        let pieces = &mut self.pieces;
        let next = partition.select(filters, from, |batch| {
            pieces.push_back(Piece::of(batch, from.max(partition.start)));
            if pieces.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if pieces.len() == count {
            self.count = (4 * count).min(FETCH_MAX);
            self.from = pieces.back().map_or(from, |last| Position(last.from.0 + u64::from(last.count)));
            return;
        }
        self.end = match next {
            Next::Later(position) => End::Later(position),
            Next::At(_) | Next::Nowhere => End::Nothing,
        };
    }
}

/// The record at a position, if it can be read.
pub(crate) fn at(partition: &Partition, position: Position) -> Option<Piece> {
    let there = partition.index.get(position).filter(|_| position >= partition.start);
    there.map(|batch| Piece::one(&batch, position))
}
