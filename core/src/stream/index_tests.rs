//! The index against a list of batches.

use super::*;
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
        for chunk in index.chunks() {
            back.restore(chunk).unwrap();
        }
        while back.drop_below(start, 1000, |_| ()) {}
        prop_assert!(back.iter().eq(list.iter().copied()));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Index::default().restore(bytes.into());
    }
}

#[test]
fn a_batch_costs_at_most_sixteen_bytes() {
    let index = index_of(&plain(1_000_000));
    let bytes: usize = index.chunks.iter().map(|chunk| chunk.memory() + 8).sum();
    assert!(bytes <= 16_000_000, "{bytes}");
}

#[test]
fn a_full_chunk_is_the_same_allocation_in_each_snapshot() {
    let index = index_of(&plain(10_000));
    let (first, second): (Vec<_>, Vec<_>) = (index.chunks().collect(), index.chunks().collect());
    let shared = first.iter().zip(&second).filter(|(a, b)| a.as_ptr() == b.as_ptr()).count();
    assert_eq!(shared, first.len() - 1, "all but the growing one");
}

#[test]
fn a_damaged_chunk_is_an_error_or_another_chunk_but_never_a_panic() {
    let index = index_of(&plain(100));
    let bytes = index.chunks().next().unwrap();
    for at in 24..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[at] ^= 0xff;
        let mut back = Index::default();
        if back.restore(damaged.into()).is_ok() {
            back.iter().for_each(drop);
            back.newest(Position(0));
        }
    }
    assert!(Index::default().restore(bytes.slice(..20)).is_err());
}
