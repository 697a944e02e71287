//! All ready records of a queue in the order they are read: higher priorities first, then returned ones, then by position.
//!
//! Called by [`super::Queue`]. What must hold: within one priority a returned record has a lower position than any that was never
//! delivered, since those leave at the head only; so "returned first" is "by position". Returned ones may be as many as leases were, so a
//! snapshot takes them like those, page by page while they change (S7). Not here: who reads.

use super::Record;
use super::lease::{Leases, NOBODY};
use super::ready::Fifo;
use bytes::Bytes;
use smallvec::SmallVec;
use stele_model::id::{Lsn, Position};

/// The ready records of a queue.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Those of each priority in use, highest first.
    levels: SmallVec<[Level; 1]>,
    count: u64,
    body_bytes: u64,
}

/// The ready records of one priority.
#[derive(Debug)]
struct Level {
    priority: u8,
    /// Never delivered.
    fifo: Fifo,
    /// Back from a delivery: leases that nobody holds.
    returned: Leases,
}

impl Ready {
    /// How many.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of their bodies.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Appends a record that was never delivered.
    pub(crate) fn push(&mut self, record: &Record) {
        self.count += 1;
        self.body_bytes += record.body_len();
        match self.levels.first_mut() {
            Some(level) if level.priority == record.priority => level.fifo.push(record),
            _ => self.level(record.priority).fifo.push(record),
        }
    }

    /// Puts a delivered record back to its place.
    pub(crate) fn put_back(&mut self, record: Record) {
        self.count += 1;
        self.body_bytes += record.body_len();
        self.level(record.priority).returned.insert(record, NOBODY);
    }

    /// Whether a returned record stands there.
    pub(crate) fn is_returned(&self, position: Position) -> bool {
        self.levels.iter().any(|level| level.returned.find(position).is_some())
    }

    /// The record to be read next.
    pub(crate) fn head(&self) -> Option<Record> {
        self.heads().next()
    }

    /// Takes the record to be read next.
    pub(crate) fn pop(&mut self) -> Option<Record> {
        let record = self.levels.iter_mut().find_map(Level::pop)?;
        self.note_taken(&record);
        Some(record)
    }

    /// The record of each priority that would be read first: where expiry looks.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Record> + '_ {
        self.levels.iter().filter_map(Level::head)
    }

    /// Takes this very record, which is returned, or the oldest of its priority.
    pub(crate) fn take(&mut self, position: Position) -> Option<Record> {
        let record = self.levels.iter_mut().find_map(|level| level.take(position))?;
        self.note_taken(&record);
        Some(record)
    }

    /// All records, in no order that is promised.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.levels.iter().flat_map(Level::records)
    }

    /// Records in the blocks of `range`.
    pub(crate) fn in_blocks(&self, range: (Lsn, Lsn)) -> impl Iterator<Item = Record> + '_ {
        let is_within = move |record: &Record| (range.0..=range.1).contains(&record.place.lsn);
        self.levels.iter().flat_map(move |level| {
            level.fifo.in_blocks(range).chain(level.returned.records().filter(is_within))
        })
    }

    /// What was returned until now can be written from [`Self::frozen`], whatever changes meanwhile.
    pub(crate) fn freeze(&mut self) {
        self.levels.iter_mut().for_each(|level| level.returned.freeze());
    }

    /// Whether something is still to be written.
    pub(crate) fn is_frozen(&self) -> bool {
        self.levels.iter().any(|level| level.returned.is_frozen())
    }

    /// Nothing more will be written of what was returned.
    pub(crate) fn thaw(&mut self) {
        self.levels.iter_mut().for_each(|level| level.returned.thaw());
    }

    /// Returned records of which some are still to be written, of the highest priority.
    pub(crate) fn frozen(&mut self) -> Option<&mut Leases> {
        self.levels.iter_mut().map(|level| &mut level.returned).find(|returned| returned.is_frozen())
    }

    /// Chunks for a snapshot: priority, how many were read already, bytes.
    pub(crate) fn sealed(&self) -> impl Iterator<Item = (u8, u32, Bytes)> + '_ {
        self.levels
            .iter()
            .flat_map(|level| level.fifo.sealed().map(move |(read, bytes)| (level.priority, read, bytes)))
    }

    /// Takes up a chunk of a snapshot, without the volatile records in it.
    pub(crate) fn restore(&mut self, priority: u8, read: u32, bytes: Bytes) -> Result<(), String> {
        let mut fifo = Fifo::default();
        fifo.restore(read, bytes.clone())?;
        let (mut count, mut body_bytes, mut volatile) = (0, 0, false);
        for record in fifo.iter() {
            count += 1;
            body_bytes += record.body_len();
            volatile |= record.is_volatile();
        }
        if volatile {
            fifo.iter()
                .filter(|record| !record.is_volatile())
                .for_each(|record| self.push(&Record { priority, ..record }));
            return Ok(());
        }
        self.count += count;
        self.body_bytes += body_bytes;
        self.level(priority).fifo.restore(read, bytes)
    }

    fn note_taken(&mut self, record: &Record) {
        self.count -= 1;
        self.body_bytes -= record.body_len();
    }

    fn level(&mut self, priority: u8) -> &mut Level {
        let n = self.levels.partition_point(|level| level.priority > priority);
        if self.levels.get(n).is_none_or(|level| level.priority != priority) {
            let level = Level { priority, fifo: Fifo::default(), returned: Leases::default() };
            self.levels.insert(n, level);
        }
        &mut self.levels[n]
    }
}

impl Level {
    fn head(&self) -> Option<Record> {
        let returned = self.returned.first();
        returned.or_else(|| self.fifo.head().map(|record| Record { priority: self.priority, ..record }))
    }

    fn pop(&mut self) -> Option<Record> {
        let returned = self.returned.pop_first().map(|lease| lease.record);
        returned.or_else(|| self.pop_new())
    }

    fn pop_new(&mut self) -> Option<Record> {
        self.fifo.pop().map(|record| Record { priority: self.priority, ..record })
    }

    /// Takes this very record, which is returned, or the oldest of the others.
    fn take(&mut self, position: Position) -> Option<Record> {
        if self.fifo.head().is_some_and(|head| head.position == position) {
            return self.pop_new();
        }
        self.returned.remove(position).map(|lease| lease.record)
    }

    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let new = self.fifo.iter().map(|record| Record { priority: self.priority, ..record });
        new.chain(self.returned.records())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::record_for_tests as record;

    fn of(priority: u8, position: u64) -> Record {
        Record { priority, ..record(position) }
    }

    #[test]
    fn higher_priorities_come_first_and_returned_ones_before_their_equals() {
        let mut ready = Ready::default();
        [of(0, 0), of(5, 1), of(0, 2), of(5, 3)].iter().for_each(|record| ready.push(record));
        let first = ready.pop().unwrap();
        let second = ready.pop().unwrap();
        let third = ready.pop().unwrap();
        assert_eq!([first, second, third].map(|record| record.position.0), [1, 3, 0]);
        ready.put_back(third);
        ready.put_back(second);
        assert_eq!(ready.count(), 3);
        let order: Vec<u64> = std::iter::from_fn(|| ready.pop()).map(|record| record.position.0).collect();
        assert_eq!(order, [3, 0, 2]);
        assert_eq!((ready.count(), ready.body_bytes()), (0, 0));
    }

    #[test]
    fn a_record_is_taken_by_position_from_the_head_or_from_the_returned() {
        let mut ready = Ready::default();
        (0..3).for_each(|n| ready.push(&record(n)));
        assert!(ready.take(Position(1)).is_none(), "only the head can be taken");
        let zero = ready.take(Position(0)).unwrap();
        let one = ready.take(Position(1)).unwrap();
        ready.put_back(one);
        ready.put_back(zero);
        assert_eq!(ready.take(Position(1)), Some(one));
        assert_eq!(ready.head(), Some(zero));
    }
}
