//! Reads in steps against looking at everything at once, whatever comes and goes between the steps.

use super::*;
use crate::stream::records::{Incoming, Marks};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::{Lsn, NamespaceId, Place};
use stele_model::stream::records::RecordSettings;
use stele_model::stream::{PartitionSpec, StreamSettings};
use stele_model::subject::Pattern;

const NUMBER: u64 = u64::MAX - 1;
/// So many that each read takes several turns.
const SUBJECTS: u32 = 9000;

fn partition() -> Partition {
    partition_of(Some(1))
}

fn partition_of(per_subject_max: Option<u64>) -> Partition {
    let records = RecordSettings { per_subject_max, ..RecordSettings::default() };
    let settings = StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() };
    let (namespace, stream) = (NamespaceId(1), "s".to_owned());
    let spec = PartitionSpec { id: QueueId(1), namespace, stream, index: 0, settings };
    let mut partition = Partition::new(Arc::new(spec));
    (0..SUBJECTS).for_each(|n| publish(&mut partition, n));
    partition
}

/// One of a thousand subjects ends with `x`.
fn publish(partition: &mut Partition, n: u32) {
    publish_at(partition, n, Now(1000));
}

fn publish_at(partition: &mut Partition, n: u32, at: Now) {
    let subject = format!("k.{n}.{}", if n % 1000 == 7 { "x" } else { "y" });
    let (place, len) = (Place { lsn: Lsn(1), at: 0 }, 1);
    let incoming = Incoming { place, len, subject: subject.as_bytes(), marks: &Marks::NONE };
    partition.admit_single(&incoming, at, |_| {});
}

/// Positions of the records that match.
fn matching(partition: &Partition, filter: &Pattern) -> BTreeSet<Position> {
    let all = partition.index.from(partition.start).filter(|of| partition.fits(from_ref(filter), of));
    all.map(|record| record.first).collect()
}

fn found(answer: Answered) -> (Vec<Position>, u64) {
    let Ok(ShardRecordsAnswer::Found { records, pending, .. }) = answer else { panic!("{answer:?}") };
    (records.into_iter().flatten().map(|record| record.position).collect(), pending)
}

/// What comes or goes between two steps: a publish to a subject, or the end of a record.
type Change = (bool, u32);

fn changes() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((any::<bool>(), 0..SUBJECTS / 4), 0..40)
}

/// Every other change hits a subject that ends with `x`, the others their neighbours.
fn change(partition: &mut Partition, (comes, n): Change) {
    let n = if n % 2 == 0 { n / 2 * 1000 % SUBJECTS + 7 } else { n / 100 * 100 % SUBJECTS + 7 };
    if comes {
        return publish(partition, n);
    }
    let subject = format!("k.{n}.{}", if n % 1000 == 7 { "x" } else { "y" });
    if let Some(last) = partition.last_of(subject.as_bytes()) {
        partition.let_go(last, |_| {});
    }
}

/// Steps of a read, with some changes after each.
fn run<T>(
    partition: &mut Partition,
    changes: &[Change],
    mut step: impl FnMut(&mut Partition, &mut usize) -> Option<T>,
) -> (T, usize) {
    let mut changes = changes.chunks(8);
    for turn in 1..1000 {
        if let Some(done) = step(partition, &mut { LOOKS }) {
            return (done, turn);
        }
        changes.next().unwrap_or_default().iter().for_each(|of| change(partition, *of));
    }
    panic!("it does not end");
}

fn pattern(text: &'static str) -> Pattern {
    Pattern::new(text).expect("a pattern")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_last_one_is_the_last_one_of_the_turn_that_answers(changes in changes()) {
        let (mut partition, filter) = (partition(), pattern("k.*.x"));
        // None of them is among the newest records, so that all subjects are looked at.
        (0..5000).for_each(|n| publish(&mut partition, n / 2 * 2 + 20_000));
        let mut getting = Getting::new(vec![Wanted::Last(filter.clone())]);
        let (answer, turns) =
            run(&mut partition, &changes, |partition, looks| getting.go_on(partition, looks));
        let last = matching(&partition, &filter).last().copied();
        prop_assert_eq!(found(answer), (last.into_iter().collect(), 0));
        prop_assert!(turns > 2, "it took {} turns", turns);
    }

    #[test]
    fn the_last_of_each_subject_are_those_of_the_turn_that_answers(changes in changes(), of_all in any::<bool>()) {
        let (mut partition, filter) = (partition(), pattern(if of_all { "k.>" } else { "k.*.x" }));
        let of = LastsOf {
            subjects: vec![filter.clone()],
            as_of: None,
            subjects_max: 20_000,
            from: Position(100),
            count_max: 2000,
            bytes_max: u64::MAX,
        };
        let mut gathering = Gathering::new(of);
        let (answer, turns) =
            run(&mut partition, &changes, |partition, looks| gathering.go_on(partition, looks));
        let (found, pending) = found(answer);
        let should: Vec<Position> = matching(&partition, &filter).range(Position(100)..).copied().collect();
        let (now, later) = should.split_at(found.len());
        prop_assert_eq!(&found[..], now);
        prop_assert!(later.is_empty() || of_all && turns > 4);
        // What goes after it was counted is counted still.
        prop_assert!((later.len() as u64..=later.len() as u64 + 40).contains(&pending), "{} of {}", pending, later.len());
    }

    #[test]
    fn where_the_last_of_a_subject_goes_the_one_before_it_is_found(changes in changes(), is_now in any::<bool>()) {
        let (mut partition, filter) = (partition_of(None), pattern("k.*.x"));
        for n in (0..3).flat_map(|_| (0..SUBJECTS).filter(|n| n % 1000 == 7)) {
            publish(&mut partition, n);
        }
        let end = partition.end;
        let of = LastsOf {
            subjects: vec![filter.clone()],
            as_of: (!is_now).then_some(From::Position(Position(end.0 - 1))),
            subjects_max: 1024,
            from: Position(0),
            count_max: 100,
            bytes_max: u64::MAX,
        };
        let mut gathering = Gathering::new(of);
        let (answer, turns) =
            run(&mut partition, &changes, |partition, looks| gathering.go_on(partition, looks));
        let mut should = BTreeMap::new();
        for at in matching(&partition, &filter).into_iter().filter(|at| is_now || *at < end) {
            should.insert(partition.subject_of(at).map(<[u8]>::to_vec), at);
        }
        let should: BTreeSet<Position> = should.into_values().collect();
        prop_assert_eq!(found(answer), (should.into_iter().collect(), 0));
        prop_assert!(turns > 2, "it took {} turns", turns);
    }

    #[test]
    fn a_scan_finds_what_stays_and_nothing_that_is_gone(changes in changes(), bytes_max in 1..9_u64) {
        let (mut partition, filter) = (partition(), pattern("k.*.x"));
        let stayed = matching(&partition, &filter);
        let (subjects, from) = (filter.clone(), From::Position(Position(0)));
        let mut scanning = Scanning::new(ScanOf { subjects, from, count_max: 6, bytes_max });
        let (answer, turns) =
            run(&mut partition, &changes, |partition, looks| scanning.go_on(partition, NUMBER, looks));
        let (found, pending) = found(answer);
        let there = matching(&partition, &filter);
        prop_assert!(found.is_sorted() && found.iter().all(|position| there.contains(position)));
        let end = found.last().map_or(Position(0), |last| Position(last.0 + 1));
        let missed = stayed.intersection(&there).filter(|of| **of < end && !found.contains(of));
        prop_assert_eq!(missed.count(), 0);
        prop_assert_eq!(pending, there.range(end..).count() as u64);
        prop_assert!(found.len() <= 6.min(bytes_max as usize), "each has one byte");
        prop_assert!(turns > 1, "it took {} turns", turns);
    }

    #[test]
    fn a_page_of_subjects_and_the_holes_are_those_of_one_long_look(offset in 0..9000u64, count in 1..6000u32, gone in changes(), of_all in any::<bool>()) {
        let (mut partition, filter) = (partition(), pattern(if of_all { "k.>" } else { "k.*.y" }));
        // So many holes between the first record and the others that they are looked for in several steps.
        (0..2).for_each(|_| (1..SUBJECTS).for_each(|n| publish(&mut partition, n)));
        gone.iter().for_each(|(_, n)| change(&mut partition, (false, *n)));
        let of = SubjectsOf { pattern: filter.clone(), offset, count_max: count };
        let mut telling = Telling::new(StateOf { subjects: Some(of), holes_max: Some(count * 8) });
        let (answer, _) = run(&mut partition, &[], |partition, looks| telling.go_on(partition, 0, looks));
        let Ok(ShardRecordsAnswer::State(state)) = answer else { panic!("{answer:?}") };
        let names = matching(&partition, &filter).into_iter();
        let names: BTreeMap<Vec<u8>, u64> =
            names.filter_map(|at| Some((partition.subject_of(at)?.to_vec(), 1))).collect();
        prop_assert_eq!(state.counted_all, names.len() as u64);
        let page = names.into_iter().skip(offset as usize).take(count as usize);
        prop_assert!(state.counted.iter().map(|(name, count)| (name.to_vec(), *count)).eq(page));
        let holes = (partition.start.0..partition.end.0).map(Position);
        let holes = holes.filter(|at| partition.index.get(*at).is_none()).take(count as usize * 8);
        prop_assert_eq!(state.hole_list, holes.collect::<Vec<_>>());
    }
}

/// Positions of the last records of the subjects that end with `x`, as of a time.
fn lasts_as_of(partition: &mut Partition, at: Now, subjects_max: u32) -> Answered {
    let as_of = Some(From::Time(at));
    let (subjects, from) = (vec![pattern("k.*.x")], Position(0));
    let of = LastsOf { subjects, as_of, subjects_max, from, count_max: 100, bytes_max: u64::MAX };
    let mut gathering = Gathering::new(of);
    run(partition, &[], |partition, looks| gathering.go_on(partition, looks)).0
}

#[test]
fn what_is_told_as_of_a_time_was_there_in_its_millisecond() {
    let mut partition = partition_of(None);
    let end = partition.end;
    publish_at(&mut partition, 7, Now(5_000));
    publish_at(&mut partition, 1007, Now(6_000));
    let last = |partition: &mut Partition, at| found(lasts_as_of(partition, Now(at), 100)).0.last().copied();
    for (at, expected) in [(4_999, 8007), (5_000, end.0), (5_999, end.0), (6_000, end.0 + 1)] {
        assert_eq!(last(&mut partition, at), Some(Position(expected)), "as of {at}");
    }
}

#[test]
fn more_subjects_than_wanted_are_refused() {
    let mut partition = partition();
    assert!(lasts_as_of(&mut partition, Now(9_000), 9).is_ok());
    let refused = lasts_as_of(&mut partition, Now(9_000), 8);
    assert!(matches!(refused, Err(Refusal::Limit { max: 8, .. })), "{refused:?}");
}
