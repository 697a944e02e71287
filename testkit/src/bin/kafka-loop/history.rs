//! What writers and members saw of a broker that was killed again and again, and whether that may be. Knows numbers, no protocol.
//!
//! - An acknowledged record stands where it was acknowledged, for ever.
//! - A writer's numbers stand in its partition each once, in order, without a hole before the last acknowledged one: nothing sent again
//!   after a kill is stored twice.
//! - An offset has one record: who reads it twice reads the same.
//! - In one generation a partition belongs to one member, and who belongs to an older generation cannot commit any more.
//! - A commit that was acknowledged is never forgotten.

use std::collections::BTreeMap;

pub(crate) type Writer = u32;
pub(crate) type Partition = u32;
pub(crate) type Offset = u64;

/// At most so many violations are kept; one is enough.
const VIOLATIONS_MAX: usize = 20;

/// A record: who wrote it, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub writer: Writer,
    pub number: u64,
}

/// Everything that was seen.
#[derive(Debug, Default)]
pub(crate) struct History {
    acknowledged: BTreeMap<(Partition, Offset), Record>,
    read: BTreeMap<(Partition, Offset), Record>,
    owners: BTreeMap<(i32, Partition), String>,
    generation: i32,
    committed: BTreeMap<Partition, Offset>,
    violations: Vec<String>,
    pub reads: u64,
    pub commits: u64,
}

impl History {
    pub(crate) fn acknowledged(&mut self, partition: Partition, offset: Offset, record: Record) {
        if let Some(other) = self.acknowledged.insert((partition, offset), record)
            && other != record
        {
            self.violation(format!(
                "two records are acknowledged at {partition}/{offset}: {other:?}, {record:?}"
            ));
        }
    }

    pub(crate) fn read(&mut self, partition: Partition, offset: Offset, record: Record) {
        self.reads += 1;
        let known = self.read.insert((partition, offset), record);
        if let Some(other) = known.filter(|other| *other != record) {
            self.violation(format!("{partition}/{offset} was {other:?} and is {record:?}"));
        }
    }

    /// A member was given a partition in this generation.
    pub(crate) fn given(&mut self, generation: i32, partition: Partition, member: &str) {
        self.generation = self.generation.max(generation);
        let owner = self.owners.entry((generation, partition)).or_insert_with(|| member.to_owned());
        if owner != member {
            let text = format!("generation {generation}: {partition} belongs to {owner} and to {member}");
            self.violation(text);
        }
    }

    /// The newest generation that a member has seen.
    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    /// A commit of this generation was acknowledged; `newest` was known before it was sent.
    pub(crate) fn committed(&mut self, partition: Partition, offset: Offset, generation: i32, newest: i32) {
        self.commits += 1;
        if generation < newest {
            self.violation(format!("generation {generation} could commit although {newest} had begun"));
        }
        let known = self.committed.entry(partition).or_default();
        *known = offset.max(*known);
    }

    /// The last acknowledged commit, 0 without one.
    pub(crate) fn commit(&self, partition: Partition) -> Offset {
        self.committed.get(&partition).copied().unwrap_or(0)
    }

    pub(crate) fn violation(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    /// All that is wrong, given what each partition holds in the end, from offset 0 on.
    pub(crate) fn verdict(&self, partitions: &BTreeMap<Partition, Vec<Record>>) -> Vec<String> {
        let mut found = self.violations.clone();
        let at = |partition: &Partition, offset: &Offset| {
            partitions.get(partition)?.get(usize::try_from(*offset).ok()?).copied()
        };
        for (what, seen) in [("acknowledged", &self.acknowledged), ("read", &self.read)] {
            let wrong =
                seen.iter().find(|((partition, offset), record)| at(partition, offset) != Some(**record));
            if let Some(((partition, offset), record)) = wrong {
                let there = at(partition, offset);
                found.push(format!("{record:?} was {what} at {partition}/{offset}, where now is {there:?}"));
            }
        }
        for (partition, records) in partitions {
            let mut next: BTreeMap<Writer, u64> = BTreeMap::new();
            for (offset, record) in records.iter().enumerate() {
                let wanted = next.entry(record.writer).or_default();
                if record.number != *wanted {
                    found.push(format!("{partition}/{offset}: {record:?} instead of number {wanted}"));
                    break;
                }
                *wanted += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64) -> Record {
        Record { writer: 0, number }
    }

    fn history() -> History {
        let mut history = History::default();
        (0..3).for_each(|number| history.acknowledged(0, number, record(number)));
        history
    }

    fn check(history: &History, numbers: &[u64], wanted: usize) {
        let partitions = BTreeMap::from([(0, numbers.iter().copied().map(record).collect())]);
        let verdict = history.verdict(&partitions);
        assert_eq!(verdict.len(), wanted, "{verdict:?}");
    }

    #[test]
    fn all_in_order_is_right_also_with_more_at_the_end() {
        check(&history(), &[0, 1, 2], 0);
        check(&history(), &[0, 1, 2, 3], 0);
    }

    #[test]
    fn a_lost_a_doubled_and_a_moved_record_are_found() {
        check(&history(), &[0, 1], 1);
        check(&history(), &[0, 1, 2, 2], 1);
        check(&history(), &[0, 2, 1], 2);
    }

    #[test]
    fn an_offset_that_changes_is_found() {
        let mut history = history();
        history.read(0, 5, record(5));
        history.read(0, 5, record(6));
        check(&history, &[0, 1, 2, 3, 4, 6], 2);
    }

    #[test]
    fn a_partition_with_two_owners_and_a_late_commit_are_found() {
        let mut history = history();
        history.given(1, 0, "a");
        history.given(2, 0, "b");
        history.committed(0, 3, 2, 2);
        check(&history, &[0, 1, 2], 0);
        history.given(2, 0, "c");
        history.committed(0, 3, 1, 2);
        check(&history, &[0, 1, 2], 2);
        assert_eq!((history.commit(0), history.generation()), (3, 2));
    }
}
