//! All ready records of a queue in the order they are read: higher priorities first, then returned ones, then by position.
//!
//! Called by [`super::Queue`]. What must hold: within one priority a returned record has a lower position than any that was never
//! delivered, since those leave at the head only; so "returned first" is "by position". Not here: who reads.

use super::ready::Fifo;
use super::{LEVEL_TOP, Record};
use bytes::Bytes;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use stele_model::id::{Lsn, Position};

/// The ready records of a queue.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// One list for each priority in use, highest first.
    levels: SmallVec<[Level; 1]>,
    /// Back from a delivery: by descending priority, then position.
    returned: BTreeMap<(u8, Position), Record>,
    count: u64,
    body_bytes: u64,
}

#[derive(Debug)]
struct Level {
    priority: u8,
    fifo: Fifo,
}

/// Where a returned record is kept.
fn key(priority: u8, position: Position) -> (u8, Position) {
    (LEVEL_TOP - priority, position)
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
            _ => self.level(record.priority).push(record),
        }
    }

    /// Puts a delivered record back to its place.
    pub(crate) fn put_back(&mut self, record: Record) {
        self.count += 1;
        self.body_bytes += record.body_len();
        let before = self.returned.insert(key(record.priority, record.position), record);
        assert!(before.is_none(), "I11: a position is ready once");
    }

    /// The record to be read next.
    pub(crate) fn head(&self) -> Option<Record> {
        let level = self.top();
        let returned = self.returned.first_key_value().map(|(_, record)| *record);
        match (level, returned) {
            (Some(level), Some(returned)) if level.priority > returned.priority => level.head(),
            (_, Some(returned)) => Some(returned),
            (Some(level), None) => level.head(),
            (None, None) => None,
        }
    }

    /// Takes the record to be read next.
    pub(crate) fn pop(&mut self) -> Option<Record> {
        let returned = self.returned.first_key_value().map(|((level, _), _)| LEVEL_TOP - level);
        let level = self.levels.iter_mut().find(|level| level.fifo.len() > 0);
        let record = match (level, returned) {
            (Some(level), None) => level.pop(),
            (Some(level), Some(returned)) if level.priority > returned => level.pop(),
            _ => self.returned.pop_first().map(|(_, record)| record),
        }?;
        self.note_taken(&record);
        Some(record)
    }

    /// The record of each priority that would be read first: where expiry looks.
    pub(crate) fn heads(&self) -> impl Iterator<Item = Record> + '_ {
        let fifos = self.levels.iter().filter(|level| self.returned_of(level.priority).is_none());
        let mut from = Some((0, Position(0)));
        let returned = std::iter::from_fn(move || {
            let (key, record) = self.returned.range(from?..).next()?;
            from = key.0.checked_add(1).map(|next| (next, Position(0)));
            Some(*record)
        });
        fifos.filter_map(Level::head).chain(returned)
    }

    /// Takes this very record, which is returned, or the oldest of its priority.
    pub(crate) fn take(&mut self, position: Position) -> Option<Record> {
        let record = self.take_from(position)?;
        self.note_taken(&record);
        Some(record)
    }

    /// All records, in no order that is promised.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Record> + '_ {
        self.levels.iter().flat_map(Level::records).chain(self.returned.values().copied())
    }

    /// Records in the blocks of `range`.
    pub(crate) fn in_blocks(&self, range: (Lsn, Lsn)) -> impl Iterator<Item = Record> + '_ {
        let returned = self.returned.values().copied();
        let returned = returned.filter(move |record| (range.0..=range.1).contains(&record.place.lsn));
        self.levels.iter().flat_map(move |level| level.fifo.in_blocks(range)).chain(returned)
    }

    /// Records back from a delivery.
    pub(crate) fn returned(&self) -> impl Iterator<Item = &Record> {
        self.returned.values()
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
        self.level(priority).restore(read, bytes)
    }

    fn take_from(&mut self, position: Position) -> Option<Record> {
        for level in &mut self.levels {
            if level.fifo.head().is_some_and(|head| head.position == position) {
                return level.pop();
            }
            if let Some(record) = self.returned.remove(&key(level.priority, position)) {
                return Some(record);
            }
        }
        // After a restart a priority may have returned records only, and so no list.
        let key = self.returned.iter().find(|((_, at), _)| *at == position).map(|(key, _)| *key)?;
        self.returned.remove(&key)
    }

    fn returned_of(&self, priority: u8) -> Option<&Record> {
        let all = key(priority, Position(0))..=key(priority, Position(u64::MAX));
        self.returned.range(all).next().map(|(_, record)| record)
    }

    fn note_taken(&mut self, record: &Record) {
        self.count -= 1;
        self.body_bytes -= record.body_len();
    }

    fn top(&self) -> Option<&Level> {
        self.levels.iter().find(|level| level.fifo.len() > 0)
    }

    fn level(&mut self, priority: u8) -> &mut Fifo {
        let n = self.levels.partition_point(|level| level.priority > priority);
        if self.levels.get(n).is_none_or(|level| level.priority != priority) {
            self.levels.insert(n, Level { priority, fifo: Fifo::default() });
        }
        &mut self.levels[n].fifo
    }
}

impl Level {
    fn head(&self) -> Option<Record> {
        self.fifo.head().map(|record| Record { priority: self.priority, ..record })
    }

    fn pop(&mut self) -> Option<Record> {
        self.fifo.pop().map(|record| Record { priority: self.priority, ..record })
    }

    fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.fifo.iter().map(|record| Record { priority: self.priority, ..record })
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
