//! Tallies against counting anew, whatever comes and goes between their steps.

use super::*;
use crate::stream::records::{Incoming, Marks};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::id::{Lsn, NamespaceId, Now, Place, QueueId};
use stele_model::stream::records::RecordSettings;
use stele_model::stream::{PartitionSpec, StreamSettings};

const GROUP: u64 = 7;

#[derive(Clone, Debug)]
enum Op {
    Publish(u8),
    Remove(u8),
    Trim(u8),
    /// Records were given to the group, up to one that stands so far on.
    Give(u8),
    Step(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<u8>().prop_map(Op::Publish),
        3 => any::<u8>().prop_map(Op::Remove),
        1 => (0..6u8).prop_map(Op::Trim),
        2 => (0..6u8).prop_map(Op::Give),
        6 => (1..6u8).prop_map(Op::Step),
    ]
}

fn partition(per_subject_max: Option<u64>) -> Partition {
    let records = RecordSettings { per_subject_max, ..RecordSettings::default() };
    let settings = StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() };
    let (namespace, stream) = (NamespaceId(1), "s".to_owned());
    Partition::new(Arc::new(PartitionSpec { id: QueueId(1), namespace, stream, index: 0, settings }))
}

fn publish(partition: &mut Partition, n: u8) {
    let subject = format!("{}.{}", ["a", "ab", "b", "c"][usize::from(n % 4)], n / 32);
    let (lsn, at, len) = (Lsn(1), 0, 1);
    let incoming =
        Incoming { place: Place { lsn, at }, len, subject: subject.as_bytes(), marks: &Marks::NONE };
    partition.admit_single(&incoming, Now(1000), |_| {});
}

fn nth(partition: &Partition, n: u8) -> Option<Position> {
    let all: Vec<_> = partition.index.from(partition.start).map(|record| record.first).collect();
    (!all.is_empty()).then(|| all[usize::from(n) % all.len()])
}

/// How many records from `from` on match.
fn pending(partition: &Partition, filters: &[Pattern], from: Position) -> u64 {
    let behind = partition.index.from(from.max(partition.start));
    behind.filter(|record| partition.fits(filters, record)).count() as u64
}

/// A tally that has not counted anything.
fn begin(partition: &mut Partition, filters: &[Pattern], from: Position) {
    let (until, filters) = (partition.end, filters.to_vec());
    let tally = Tally { filters, from, until, walk: Some(Walk::default()), count: 0 };
    partition.tallies.insert(GROUP, tally);
}

proptest! {
    #[test]
    fn a_tally_is_what_counting_anew_gives(
        ops in prop::collection::vec(op(), 1..120),
        texts in prop::sample::subsequence(vec!["a.*", "*.1", "ab.>", "b.2", ">"], 1..4),
        per_subject_max in prop::option::of(1..4u64),
    ) {
        let filters: Vec<_> = texts.into_iter().map(|text| Pattern::new(text).unwrap()).collect();
        let mut partition = partition(per_subject_max);
        (0..40).for_each(|n| publish(&mut partition, n * 6));
        let mut from = Position(0);
        for op in ops {
            match op {
                Op::Publish(n) => publish(&mut partition, n),
                Op::Remove(n) => {
                    nth(&partition, n).iter().for_each(|at| _ = partition.let_go(*at, |_| {}));
                }
                Op::Trim(n) => {
                    let start = nth(&partition, n).unwrap_or(partition.end);
                    partition.trim(start);
                    partition.reclaim(2, |_| {});
                }
                Op::Give(n) => if partition.counted(GROUP, &filters, from).is_some() {
                    from = from.max(partition.start);
                    from = partition.index.from(from).nth(n.into()).map_or(partition.end, |record| record.first);
                    let left = pending(&partition, &filters, from);
                    partition.left_over(GROUP, from, left);
                },
                Op::Step(n) => {
                    if !partition.tallies.contains_key(&GROUP) {
                        let from = from.max(partition.start);
                        begin(&mut partition, &filters, from);
                    }
                    partition.count_on(GROUP, &filters, from, &mut usize::from(n));
                }
            }
            if let Some(counted) = partition.counted(GROUP, &filters, from) {
                prop_assert_eq!(counted, pending(&partition, &filters, from));
            }
        }
        let mut steps = 0;
        while !partition.count_on(GROUP, &filters, from, &mut 3) {
            steps += 1;
            prop_assert!(steps < 1000, "it ends");
        }
        prop_assert_eq!(partition.counted(GROUP, &filters, from), Some(pending(&partition, &filters, from)));
    }

    #[test]
    fn the_last_records_of_subjects_are_found_in_steps(
        published in prop::collection::vec(any::<u8>(), 0..80), later in prop::collection::vec(any::<u8>(), 0..20),
        looks in 1..7usize, from in 0..20u64,
    ) {
        let mut partition = partition(None);
        published.iter().for_each(|n| publish(&mut partition, *n));
        let (end, mut later) = (partition.end, later.into_iter());
        let filters = [Pattern::new("*.1").unwrap(), Pattern::new("a.>").unwrap()];
        let from = Position(from);
        let expected: BTreeSet<_> = partition.lasts(&filters, end, usize::MAX).into_iter().filter(|at| *at >= from).collect();
        let (mut walk, mut lasts) = (Walk::default(), BTreeSet::new());
        while !partition.lasts_on(&filters, from..end, &mut walk, &mut looks.clone(), |_, last| _ = lasts.insert(last)) {
            later.next().iter().for_each(|n| publish(&mut partition, *n));
        }
        prop_assert_eq!(lasts, expected);
    }
}
