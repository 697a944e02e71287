//! Records on the move: they have left their queue or shared group and have not yet arrived where dead letters go (S6).
//!
//! Called by the shard. What must hold: a number is logged before it leaves the shard, and never used twice; an unfinished move is sent
//! again after a restart, in the order of the numbers; moving records count in no limit of a queue. Not here: where they go (a hub
//! decides, at that time).

use super::Record;
use crate::shard::LiveBytes;
use crate::shelf::Shelf;
use std::sync::Arc;
use stele_model::id::{Place, ShardId};
use stele_model::queue::QueueSpec;
use stele_model::shard::{DeathReason, Move, MoveOut};
use stele_model::share::ShareMove;
use stele_model::stream::due::DueMove;

/// Records of one move, at most.
pub(crate) const MOVE_RECORDS_MAX: usize = 256;
/// Bytes of one move, at most (one record may have more).
pub(crate) const MOVE_BYTES_MAX: u64 = 256 << 10;
/// Moves under way; above it, expired and superfluous records wait in their queue, and exhausted ones in their group. Rejected and
/// terminated ones do not: readers' credit bounds them.
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
pub(crate) enum Moving {
    /// Out of a queue.
    Queue { queue: Arc<QueueSpec>, reason: DeathReason, records: Vec<Record> },
    /// Out of a shared group. The stream may let go of the records meanwhile: their bytes are held by the move too.
    Share(Arc<ShareMove>),
    /// Out of a stream, or published again while it stays there; held as those are.
    Due(Arc<DueMove>),
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
        self.iter().filter(|(_, moving)| moving.is_empty()).map(|(number, _)| number).collect()
    }

    /// All, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Moving)> {
        self.open.iter().map(|(number, moving)| (*number, moving))
    }
}

impl Moving {
    /// As a hub is told of it.
    pub(crate) fn effect(&self, from: ShardId, number: u64) -> Move {
        let out_of = match self {
            Self::Queue { queue, reason, records } => MoveOut::Queue {
                queue: Arc::clone(queue),
                reason: *reason,
                records: records.iter().map(Record::grant).collect(),
            },
            Self::Share(of) => MoveOut::Share(Arc::clone(of)),
            Self::Due(of) => MoveOut::Due(Arc::clone(of)),
        };
        Move { from, number, out_of }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Queue { records, .. } => records.is_empty(),
            Self::Share(of) => of.records.is_empty(),
            Self::Due(of) => of.records.is_empty(),
        }
    }

    /// Where the bytes are that it holds, and how many at each place.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, u32)> + '_ {
        let (records, dead, due) = match self {
            Self::Queue { records, .. } => (&records[..], &[][..], None),
            Self::Share(of) => (&[][..], &of.records[..], None),
            Self::Due(of) => (&[][..], &[][..], Some(of)),
        };
        let records = records.iter().map(|record| (record.place, record.len));
        let dead = dead.iter().map(|record| (record.batch.place, record.batch.len));
        let due = due.into_iter().flat_map(|of| of.places()).map(|of| (of.place, of.len));
        records.chain(dead).chain(due)
    }

    /// Counts its bytes as held: of one that a snapshot has, or that begins out of a shared group. A queue's records bring theirs along.
    pub(crate) fn hold(&self, live: &mut LiveBytes) {
        self.places().for_each(|(place, len)| live.held(place.lsn, u64::from(len)));
    }

    /// Lets go of all its bytes.
    pub(crate) fn let_go(&self, live: &mut LiveBytes) {
        self.places().for_each(|(place, len)| live.let_go(place.lsn, len));
    }
}

/// Where to cut records of these lengths into moves: how many go first.
pub(crate) fn cut(lens: impl Iterator<Item = u32>) -> usize {
    let mut bytes = 0;
    let fits = lens.take(MOVE_RECORDS_MAX).take_while(|len| {
        bytes += u64::from(*len);
        bytes <= MOVE_BYTES_MAX
    });
    fits.count().max(1)
}
