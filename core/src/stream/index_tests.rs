//! The index against a list of batches.

use super::*;
use crate::stream::single::{Expiry, Single};
use proptest::prelude::*;
use stele_model::id::Place;
use stele_model::stream::Format;

/// What changes from one batch to the next: gap, count, blocks, offset, length, ms, newest time, kind.
type Step = (u8, u32, u8, u32, u32, u16, u64, u8);

fn batches(steps: &[Step]) -> Vec<Stored> {
    let (mut position, mut lsn, mut appended_ms) = (7, 1 << 40, 1_700_000_000_000);
    let mut batches = Vec::new();
    for &(gap, count, blocks, at, len, ms, newest, kind) in steps {
        position += u64::from(gap);
        lsn += u64::from(blocks);
        appended_ms += u64::from(ms);
        let newest_ms = match kind % 4 {
            0 => appended_ms,
            1 => newest,
            _ => appended_ms - 50 + newest % 100,
        };
        batches.push(Stored {
            first: Position(position),
            count: count.max(1),
            place: Place { lsn: Lsn(lsn), at },
            len,
            format: if kind & 4 == 0 { Format::Records } else { Format::KafkaBatch },
            keyed: kind & 8 != 0,
            appended_ms,
            newest_ms,
            single: None,
        });
        position += u64::from(count.max(1));
    }
    batches
}

fn plain(count: u64) -> Vec<Stored> {
    let batch = |n: u64| Stored {
        first: Position(16 * n),
        count: 16,
        place: Place { lsn: Lsn(1 + n / 40), at: (n % 40) as u32 * 16_400 },
        len: 16_384 + (n % 100) as u32,
        format: Format::KafkaBatch,
        keyed: false,
        appended_ms: 1_700_000_000_000 + n / 40,
        newest_ms: 1_700_000_000_000 + n / 40 - 3,
        single: None,
    };
    (0..count).map(batch).collect()
}

fn index_of(batches: &[Stored]) -> Index {
    let mut index = Index::default();
    batches.iter().for_each(|batch| index.push(batch));
    index
}

proptest! {
    #[test]
    fn every_search_answers_as_a_list_would(
        steps in prop::collection::vec(any::<Step>(), 1..1500), dropped in 0..600u32, holes in 0..7usize,
        probes in prop::collection::vec((any::<u64>(), any::<u64>()), 1..20),
    ) {
        let mut list = batches(&steps);
        let mut index = index_of(&list);
        let start = list.get(dropped as usize).map_or(list[list.len() - 1].end(), |batch| batch.first);
        while index.drop_below(start, 100, |_| ()) {}
        list.retain(|batch| batch.end() > start);
        if holes > 0 {
            let firsts: Vec<Position> = list.iter().step_by(holes).map(|batch| batch.first).collect();
            let mut gone = Vec::new();
            index.remove(&firsts, |batch| gone.push(batch.first));
            prop_assert_eq!(&gone, &firsts);
            list.retain(|batch| !firsts.contains(&batch.first));
        }
        prop_assert!(index.iter().eq(list.iter().copied()));
        prop_assert_eq!(index.last(), list.last().copied());
        for (a, b) in probes {
            let from = Position(start.0 + a % 100_000);
            let above = || list.iter().filter(|batch| batch.end() > from).copied();
            prop_assert!(index.from(from).eq(above()));
            let ms = 1_700_000_000_000 + b % 100_000_000;
            prop_assert_eq!(index.appended_at(from, ms), above().find(|batch| batch.appended_ms >= ms));
            prop_assert_eq!(index.newest_at(from, ms), above().find(|batch| batch.newest_ms >= ms));
            let newest = above().map(|batch| batch.newest_ms).max();
            prop_assert_eq!(index.newest(from), above().find(|batch| Some(batch.newest_ms) == newest));
            let range = (Lsn((1 << 40) + a % 1000), Lsn((1 << 40) + a % 1000 + b % 300));
            let within = list.iter().filter(|batch| (range.0..=range.1).contains(&batch.place.lsn)).copied();
            prop_assert!(index.in_blocks(range).eq(within));
        }
        let mut back = Index::default();
        for (chunk, holes) in index.chunks() {
            back.restore(chunk, holes.to_vec()).unwrap();
        }
        while back.drop_below(start, 1000, |_| ()) {}
        prop_assert!(back.iter().eq(list.iter().copied()));
    }

    #[test]
    fn single_records_are_taken_out_and_counted_as_from_a_list(
        steps in prop::collection::vec((0..3u64, 0..9u32, any::<bool>(), 0..4u64), 1..3000),
        takes in prop::collection::vec(0..3000usize, 0..3000), probes in prop::collection::vec(0..9000u64, 1..20),
    ) {
        let (mut index, mut list, mut position) = (Index::default(), Vec::new(), 5);
        for (n, (gap, subject, marker, expiry)) in (0..).zip(&steps) {
            position += 1 + gap;
            let appended_ms = 1000 + n / 3;
            let expiry = match expiry {
                0 => Expiry::At(appended_ms + 70),
                1 => Expiry::Never,
                2 => Expiry::Due(appended_ms + 9),
                _ => Expiry::Stream,
            };
            let single = Some(Single { subject: *subject << 20, expiry, marker: *marker });
            let place = Place { lsn: Lsn(1 + n / 9), at: n as u32 };
            let (first, format, newest_ms) = (Position(position), Format::Records, appended_ms);
            let batch =
                Stored { first, count: 1, place, len: 9, format, keyed: false, appended_ms, newest_ms, single };
            index.push(&batch);
            list.push(batch);
        }
        for n in takes.iter().filter(|n| **n < steps.len()) {
            let first = list.get(n % list.len().max(1)).map_or(Position(1), |batch| batch.first);
            let expected = list.iter().position(|batch| batch.first == first).map(|at| list.remove(at));
            prop_assert_eq!(index.take(first), expected);
            prop_assert_eq!(index.take(first), None, "once");
        }
        let check = |index: &Index| {
            prop_assert!(index.iter().eq(list.iter().copied()));
            prop_assert_eq!((index.first(), index.last()), (list.first().copied(), list.last().copied()));
            prop_assert_eq!(index.count(), list.len() as u64);
            for from in probes.iter().copied().map(Position) {
                let above = || list.iter().filter(|batch| batch.first >= from).copied();
                prop_assert!(index.from(from).eq(above()));
                prop_assert_eq!(index.count_from(from), above().count() as u64);
                let below = list.iter().filter(|batch| batch.first < from).map(|batch| u64::from(batch.len)).sum::<u64>();
                prop_assert_eq!(index.bytes_below(from), below);
                prop_assert_eq!(index.get(from), above().next().filter(|batch| batch.first == from));
                prop_assert_eq!(index.appended_at(from, 1300), above().find(|batch| batch.appended_ms >= 1300));
                prop_assert_eq!(index.newest(from).map(|batch| batch.newest_ms), above().next_back().map(|batch| batch.newest_ms));
            }
            let mut rising: Vec<u64> = probes.iter().flat_map(|probe| [*probe, probe + 1, probe + 9]).collect();
            rising.sort_unstable();
            let mut cursor = index.cursor();
            for position in rising.into_iter().map(Position) {
                prop_assert_eq!(cursor.get(position), index.get(position));
            }
            Ok(())
        };
        check(&index)?;
        let mut back = Index::default();
        for (chunk, holes) in index.chunks() {
            back.restore(chunk, holes.to_vec()).unwrap();
        }
        let start = list.first().map_or(Position(u64::MAX), |batch| batch.first);
        while back.drop_below(start, 1000, |_| ()) {}
        check(&back)?;
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Index::default().restore(bytes.into(), Vec::new());
    }
}

#[test]
fn a_batch_costs_at_most_sixteen_bytes() {
    let index = index_of(&plain(1_000_000));
    let bytes: usize = index.chunks.iter().map(|held| held.chunk.memory() + size_of::<Held>()).sum();
    assert!(bytes <= 16_000_000, "{bytes}");
}

#[test]
fn a_full_chunk_is_the_same_allocation_in_each_snapshot() {
    let index = index_of(&plain(10_000));
    let (first, second): (Vec<_>, Vec<_>) = (index.chunks().collect(), index.chunks().collect());
    let shared = first.iter().zip(&second).filter(|(a, b)| a.0.as_ptr() == b.0.as_ptr()).count();
    assert_eq!(shared, first.len() - 1, "all but the growing one");
}

#[test]
fn a_damaged_chunk_is_an_error_or_another_chunk_but_never_a_panic() {
    let index = index_of(&plain(100));
    let (bytes, _) = index.chunks().next().unwrap();
    for at in 24..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0xff;
        let mut back = Index::default();
        if back.restore(damaged.into(), Vec::new()).is_ok() {
            back.iter().for_each(drop);
            back.newest(Position(0));
        }
    }
    assert!(Index::default().restore(bytes.slice(..20), Vec::new()).is_err());
}
