//! Who numbers what it appends, so that a repeat is recognised: for each producer of a partition its incarnation and its last five batches.
//!
//! Called by [`super::Partition`]. Logged state: it follows from the appends and from the entries that say who is forgotten, so it is the
//! same in a replay. What must hold: a table has at most [`PRODUCERS_MAX`] producers (S27); who has not appended for longest goes first.
//! Forgetting is not wrong, only less: the first number of a producer that is not known is taken as it is, as Kafka does after its expiry.

use std::collections::{BTreeMap, VecDeque};
use stele_model::id::Position;
use stele_model::stream::{Producer, StreamRefusal};

/// Producers that a partition remembers.
pub(crate) const PRODUCERS_MAX: usize = 4096;
/// How long a producer is remembered without an append, ms.
pub(crate) const IDLE_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Batches of a producer that a repeat may be of.
pub(crate) const RECENT: usize = 5;
/// Sequence numbers end here and begin at 0 again.
const SEQUENCE_MASK: u32 = (1 << 31) - 1;

/// The producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: BTreeMap<u64, Box<Known>>,
    /// Each producer once, with the time when it was put here: the one that is at the head was put here longest ago, but may have appended
    /// since; then it goes to the end before somebody is forgotten.
    line: VecDeque<(u64, u64)>,
}

/// What is known of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) epoch: u16,
    /// When it appended last, ms.
    pub(crate) used_ms: u64,
    /// Its last batches, the newest first; those with count 0 are not there.
    pub(crate) recent: [Numbered; RECENT],
}

/// A batch of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbered {
    pub(crate) sequence: u32,
    pub(crate) count: u32,
    pub(crate) first: Position,
}

/// What a numbered batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// The next, or the first.
    Next,
    /// One that was stored at this position.
    Repeat(Position),
}

impl Producers {
    /// What this batch of `count` records is.
    pub(crate) fn check(&self, of: &Producer, count: u32) -> Result<Numbering, StreamRefusal> {
        let Some(known) = self.by_id.get(&of.id) else { return Ok(Numbering::Next) };
        if of.epoch < known.epoch {
            return Err(StreamRefusal::ProducerFenced);
        }
        if of.epoch > known.epoch {
            return if of.sequence == 0 { Ok(Numbering::Next) } else { Err(StreamRefusal::OutOfSequence) };
        }
        let same =
            |before: &&Numbered| before.count == count && before.count > 0 && before.sequence == of.sequence;
        if let Some(before) = known.recent.iter().find(same) {
            return Ok(Numbering::Repeat(before.first));
        }
        if known.recent[0].after() == of.sequence {
            Ok(Numbering::Next)
        } else {
            Err(StreamRefusal::OutOfSequence)
        }
    }

    /// A batch was appended; the same in replay.
    pub(crate) fn appended(&mut self, of: &Producer, count: u32, first: Position, now_ms: u64) {
        let batch = Numbered { sequence: of.sequence, count, first };
        if let Some(known) = self.by_id.get_mut(&of.id) {
            if of.epoch != known.epoch {
                known.recent = Default::default();
            }
            known.recent.rotate_right(1);
            known.recent[0] = batch;
            (known.epoch, known.used_ms) = (of.epoch, now_ms);
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX {
            self.forget_one();
        }
        let mut recent = [Numbered::default(); RECENT];
        recent[0] = batch;
        self.by_id.insert(of.id, Box::new(Known { epoch: of.epoch, used_ms: now_ms, recent }));
        self.line.push_back((of.id, now_ms));
    }

    /// When somebody may have to be forgotten, ms.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.line.front().map(|(_, since)| since.saturating_add(IDLE_MS_MAX))
    }

    /// Forgets who has not appended since `since_ms`; the same in replay.
    pub(crate) fn forget_idle(&mut self, since_ms: u64) {
        for _ in 0..self.line.len() {
            let Some(&(id, put_at)) = self.line.front() else { return };
            if put_at > since_ms {
                return;
            }
            self.line.pop_front();
            match self.by_id.get(&id) {
                Some(known) if known.used_ms > since_ms => self.line.push_back((id, known.used_ms)),
                _ => {
                    self.by_id.remove(&id);
                }
            }
        }
    }

    /// All in the order of the line, with when they were put there.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (u64, u64, &Known)> + '_ {
        self.line.iter().map(|(id, put_at)| (*id, *put_at, &*self.by_id[id]))
    }

    /// Takes up a producer of a snapshot, behind the others.
    pub(crate) fn restore(&mut self, id: u64, put_at: u64, known: Known) -> Result<(), String> {
        if self.by_id.insert(id, Box::new(known)).is_some() {
            return Err(format!("names producer {id} twice"));
        }
        self.line.push_back((id, put_at));
        Ok(())
    }

    /// Makes room. Every round moves one that has appended since it was put in line, so it ends.
    fn forget_one(&mut self) {
        while let Some((id, put_at)) = self.line.pop_front() {
            match self.by_id.get(&id) {
                Some(known) if known.used_ms > put_at => self.line.push_back((id, known.used_ms)),
                _ => {
                    self.by_id.remove(&id);
                    return;
                }
            }
        }
    }
}

impl Numbered {
    /// The number of the record behind its last one.
    fn after(&self) -> u32 {
        self.sequence.wrapping_add(self.count) & SEQUENCE_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(id: u64, epoch: u16, sequence: u32) -> Producer {
        Producer { id, epoch, sequence }
    }

    /// Appends ten records if they are the next.
    fn append(table: &mut Producers, of: Producer, first: u64) -> Result<Numbering, StreamRefusal> {
        let what = table.check(&of, 10)?;
        if what == Numbering::Next {
            table.appended(&of, 10, Position(first), 1);
        }
        Ok(what)
    }

    #[test]
    fn a_repeat_of_any_of_the_last_five_is_recognised_and_older_ones_are_not() {
        let mut table = Producers::default();
        for n in 0..7 {
            assert_eq!(append(&mut table, producer(1, 0, n * 10), u64::from(n) * 100), Ok(Numbering::Next));
        }
        for n in 2..7 {
            let repeat = Ok(Numbering::Repeat(Position(u64::from(n) * 100)));
            assert_eq!(append(&mut table, producer(1, 0, n * 10), 9999), repeat);
        }
        assert_eq!(append(&mut table, producer(1, 0, 10), 9999), Err(StreamRefusal::OutOfSequence));
        assert_eq!(append(&mut table, producer(1, 0, 80), 9999), Err(StreamRefusal::OutOfSequence));
        assert_eq!(table.check(&producer(1, 0, 60), 9), Err(StreamRefusal::OutOfSequence), "another length");
        assert_eq!(append(&mut table, producer(1, 0, 70), 700), Ok(Numbering::Next));
    }

    #[test]
    fn numbers_begin_again_after_the_last() {
        let mut table = Producers::default();
        let last = producer(1, 0, (1 << 31) - 4);
        assert_eq!(append(&mut table, last, 0), Ok(Numbering::Next), "nothing is known yet");
        assert_eq!(append(&mut table, producer(1, 0, 6), 10), Ok(Numbering::Next));
        assert_eq!(append(&mut table, last, 0), Ok(Numbering::Repeat(Position(0))));
    }

    #[test]
    fn a_new_incarnation_begins_at_zero_and_shuts_out_the_old_one() {
        let mut table = Producers::default();
        assert_eq!(append(&mut table, producer(1, 3, 50), 0), Ok(Numbering::Next));
        assert_eq!(append(&mut table, producer(1, 4, 60), 0), Err(StreamRefusal::OutOfSequence));
        assert_eq!(append(&mut table, producer(1, 4, 0), 10), Ok(Numbering::Next));
        assert_eq!(append(&mut table, producer(1, 3, 60), 0), Err(StreamRefusal::ProducerFenced));
        assert_eq!(append(&mut table, producer(1, 4, 0), 0), Ok(Numbering::Repeat(Position(10))));
    }

    #[test]
    fn a_full_table_forgets_who_has_not_appended_for_longest() {
        let mut table = Producers::default();
        for id in 0..PRODUCERS_MAX as u64 {
            table.appended(&producer(id, 0, 0), 1, Position(id), id);
        }
        table.appended(&producer(0, 0, 1), 1, Position(5000), 5000);
        table.appended(&producer(9999, 0, 0), 1, Position(5001), 5001);
        assert_eq!(table.by_id.len(), PRODUCERS_MAX);
        assert!(table.by_id.contains_key(&0) && !table.by_id.contains_key(&1));
    }

    #[test]
    fn who_is_idle_is_forgotten_and_who_is_not_stays() {
        let mut table = Producers::default();
        (1..=3).for_each(|id| table.appended(&producer(id, 0, 0), 1, Position(id), id));
        table.appended(&producer(1, 0, 1), 1, Position(9), 9);
        assert_eq!(table.due_ms(), Some(1 + IDLE_MS_MAX));
        table.forget_idle(2);
        assert_eq!(table.iter().map(|(id, ..)| id).collect::<Vec<_>>(), [3, 1]);
        assert_eq!(append(&mut table, producer(2, 0, 77), 10), Ok(Numbering::Next));
    }
}
