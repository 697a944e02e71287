//! What writers and readers of a stream saw of a server that was killed again and again, and whether that may be. Knows numbers, no protocol.
//!
//! - An acknowledged message stands where it was acknowledged, for ever.
//! - A writer's numbers stand in the stream each once, in order, without a hole before the last acknowledged one: what was sent again under
//!   its id after a kill is not stored twice.
//! - A position has one message: who reads it twice reads the same.
//! - What a reader settled, and was told that it is settled, is not given to a request made after that.
//! - The settled floor of the consumer never moves back, and everything at or below it was given to somebody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

pub(crate) type Writer = u32;
pub(crate) type Position = u64;

/// At most so many violations are kept; one is enough.
const VIOLATIONS_MAX: usize = 20;

/// A message: who wrote it, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub writer: Writer,
    pub number: u64,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    acknowledged: BTreeMap<Position, Record>,
    read: BTreeMap<Position, Record>,
    /// When the answer to the settlement was there.
    settled: BTreeMap<Position, Instant>,
    floor: Position,
    violations: Vec<String>,
    pub reads: u64,
    pub duplicates: u64,
}

impl History {
    pub(crate) fn acknowledged(&mut self, position: Position, record: Record, duplicate: bool) {
        self.duplicates += u64::from(duplicate);
        if let Some(other) = self.acknowledged.insert(position, record)
            && other != record
        {
            self.violation(format!("two messages are acknowledged at {position}: {other:?}, {record:?}"));
        }
    }

    /// A reader was given this, for a request that it made at `asked`.
    pub(crate) fn given(&mut self, position: Position, record: Record, asked: Instant) {
        self.reads += 1;
        let known = self.read.insert(position, record);
        if let Some(other) = known.filter(|other| *other != record) {
            self.violation(format!("{position} was {other:?} and is {record:?}"));
        }
        if self.settled.get(&position).is_some_and(|settled| *settled < asked) {
            self.violation(format!("undead: {position}, {record:?}, was settled before it was asked for"));
        }
    }

    /// The answer to its settlement came at this moment.
    pub(crate) fn settled(&mut self, position: Position, at: Instant) {
        self.settled.entry(position).or_insert(at);
    }

    /// An observer was told the consumer's floor.
    pub(crate) fn floor(&mut self, floor: Position) {
        if floor < self.floor {
            self.violation(format!("the floor moved back from {} to {floor}", self.floor));
        }
        self.floor = self.floor.max(floor);
    }

    pub(crate) fn violation(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    /// What was found wrong while the run went on.
    pub(crate) fn seen_wrong(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn settlements(&self) -> usize {
        self.settled.len()
    }

    /// The last position that the floor reached.
    pub(crate) fn last_floor(&self) -> Position {
        self.floor
    }

    /// All that is wrong, empty if nothing is, given the whole stream as it is at the end.
    pub(crate) fn verdict(&self, stored: &BTreeMap<Position, Record>) -> Vec<String> {
        let mut found = self.violations.clone();
        for (position, record) in &self.acknowledged {
            match stored.get(position) {
                Some(there) if there == record => {}
                there => found.push(format!("{record:?} was acknowledged at {position}, where {there:?} is")),
            }
        }
        for (position, record) in &self.read {
            if stored.get(position).is_some_and(|there| there != record) {
                found.push(format!("{record:?} was read at {position}, where {:?} is", stored[position]));
            }
        }
        found.extend(order(stored));
        let given: BTreeSet<_> = self.read.keys().collect();
        let skipped = (1..=self.floor).filter(|position| !given.contains(position)).take(3);
        found.extend(
            skipped.map(|position| {
                format!("{position} is below the floor {} and was given to nobody", self.floor)
            }),
        );
        found.truncate(VIOLATIONS_MAX);
        found
    }
}

/// Whether each writer's numbers stand there once, from 0, in order.
fn order(stored: &BTreeMap<Position, Record>) -> Vec<String> {
    let mut next: BTreeMap<Writer, u64> = BTreeMap::new();
    let mut found = Vec::new();
    for (position, record) in stored {
        let next = next.entry(record.writer).or_default();
        if record.number != *next {
            found
                .push(format!("writer {}: {} at {position} instead of {next}", record.writer, record.number));
        }
        *next = record.number + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn record(number: u64) -> Record {
        Record { writer: 1, number }
    }

    /// Two messages acknowledged, given and settled, and the stream that belongs to them.
    fn good() -> (History, BTreeMap<Position, Record>, Instant) {
        let (mut history, start) = (History::default(), Instant::now());
        for number in 0..2 {
            history.acknowledged(number + 1, record(number), false);
            history.given(number + 1, record(number), start);
            history.settled(number + 1, start + Duration::from_secs(1));
        }
        history.floor(2);
        (history, BTreeMap::from([(1, record(0)), (2, record(1))]), start)
    }

    fn fires(history: &History, stored: &BTreeMap<Position, Record>, word: &str) {
        let verdict = history.verdict(stored);
        assert!(verdict.iter().any(|text| text.contains(word)), "{verdict:?}");
    }

    #[test]
    fn a_run_that_kept_all_promises_passes() {
        let (history, stored, _) = good();
        assert_eq!(history.verdict(&stored), Vec::<String>::new());
    }

    #[test]
    fn a_lost_message_fires() {
        let (history, mut stored, _) = good();
        stored.remove(&2);
        fires(&history, &stored, "was acknowledged at 2");
    }

    #[test]
    fn a_message_stored_twice_fires() {
        let (history, mut stored, _) = good();
        stored.insert(3, record(1));
        fires(&history, &stored, "1 at 3 instead of 2");
    }

    #[test]
    fn a_duplicate_that_names_another_place_fires() {
        let (mut history, stored, _) = good();
        history.acknowledged(2, record(0), true);
        fires(&history, &stored, "two messages");
    }

    #[test]
    fn a_settled_message_that_comes_back_fires_and_one_under_way_does_not() {
        let (mut history, stored, start) = good();
        history.given(1, record(0), start);
        assert!(history.verdict(&stored).is_empty());
        history.given(1, record(0), start + Duration::from_secs(2));
        fires(&history, &stored, "undead");
    }

    #[test]
    fn a_floor_that_moves_back_or_over_what_nobody_got_fires() {
        let (mut history, stored, _) = good();
        history.floor(1);
        fires(&history, &stored, "moved back");
        let (mut history, stored, _) = good();
        history.floor(3);
        fires(&history, &stored, "given to nobody");
    }
}
