//! Records on the move: they have left their queue and have not yet arrived where dead letters go (S6).
//!
//! Called by the shard. What must hold: a number is logged before it leaves the shard, and never used twice; an unfinished move is sent
//! again after a restart, in the order of the numbers; moving records count in no limit of a queue. Not here: where they go (a hub
//! decides, at that time).

use super::Record;
use crate::shelf::Shelf;
use std::sync::Arc;
use stele_model::id::ShardId;
use stele_model::queue::QueueSpec;
use stele_model::shard::{DeathReason, Move};

/// Records of one move, at most.
pub(crate) const MOVE_RECORDS_MAX: usize = 256;
/// Bytes of one move, at most (one record may have more).
pub(crate) const MOVE_BYTES_MAX: u64 = 256 << 10;
/// Moves under way; above it, expired and superfluous records wait in their queue. Rejected ones do not: readers' credit bounds them.
pub(crate) const MOVES_MAX: usize = 64;

/// Moves that are not finished.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    pub(crate) open: Shelf<Moving>,
    /// The last number given.
    last: u64,
}

/// One move.
#[derive(Clone, Debug)]
pub(crate) struct Moving {
    pub(crate) queue: Arc<QueueSpec>,
    pub(crate) reason: DeathReason,
    pub(crate) records: Vec<Record>,
}

impl Moves {
    pub(crate) fn next(&self) -> u64 {
        self.last + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// For a snapshot.
    pub(crate) fn set_last(&mut self, last: u64) {
        self.last = last;
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.len() >= MOVES_MAX
    }

    pub(crate) fn begin(&mut self, number: u64, moving: Moving) {
        assert!(number > self.last, "I14: a move's number is new");
        self.last = number;
        self.open.insert(number, Box::new(moving));
    }

    /// As [`Self::begin`], from the log.
    pub(crate) fn replay(&mut self, number: u64, moving: Moving) -> Result<(), String> {
        if number <= self.last {
            return Err(format!("begins move {number} after {}", self.last));
        }
        self.begin(number, moving);
        Ok(())
    }

    /// For a snapshot.
    pub(crate) fn restore(&mut self, number: u64, moving: Moving) {
        self.open.insert(number, Box::new(moving));
    }

    pub(crate) fn end(&mut self, number: u64) -> Option<Moving> {
        self.open.remove(&number).map(|moving| *moving)
    }

    /// Those that have no records.
    pub(crate) fn empty(&self) -> Vec<u64> {
        self.iter().filter(|(_, moving)| moving.records.is_empty()).map(|(number, _)| number).collect()
    }

    /// All, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Moving)> {
        self.open.iter().map(|(number, moving)| (*number, moving))
    }
}

impl Moving {
    /// As a hub is told of it.
    pub(crate) fn effect(&self, from: ShardId, number: u64) -> Move {
        let records = self.records.iter().map(Record::grant).collect();
        Move { from, number, queue: Arc::clone(&self.queue), reason: self.reason, records }
    }
}

/// Where to cut records into moves: how many of `records` go first.
pub(crate) fn cut(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fits = records.iter().take(MOVE_RECORDS_MAX).take_while(|record| {
        bytes += u64::from(record.len);
        bytes <= MOVE_BYTES_MAX
    });
    fits.count().max(1)
}
