//! Many records in one request: whatever the order in which they are asked for, each comes back as it was appended, and damage in one of
//! them is named.

use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use stele_log::disk::real::RealDisk;
use stele_log::{Embedded, Options, Reader};
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{Block, LogStore, ReadError, RecordReader};

const BLOCKS: u64 = 80;

type Record = (Place, Bytes);

fn hash(a: u64, b: u64) -> u64 {
    (a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd134_2543_de82_ef95)).rotate_left(23)
}

/// The records of a block: one that is longer than a stretch now and then, else a few to many, of up to 40 KB.
fn records(lsn: u64) -> Vec<Record> {
    let count = if lsn.is_multiple_of(9) { 1 } else { 1 + hash(lsn, 0) % 25 };
    let mut at = 0;
    let one = |n| {
        let len = if count == 1 { 1_300_000 } else { 1 + hash(lsn, n) % 40_000 };
        let bytes: Bytes = (0..len).map(|i| (hash(lsn, n) >> ((i % 7) * 8)) as u8).collect();
        let place = Place { lsn: Lsn(lsn), at };
        at += len as u32;
        (place, bytes)
    };
    (1..=count).map(one).collect()
}

fn open(dir: &Path) -> Embedded {
    let disk = Arc::new(RealDisk::open(dir).unwrap());
    let options = Options { pool_min: 1, segment_bytes: 8 << 20, ..Options::default() };
    Embedded::threaded(disk, options, Box::new(|| {})).unwrap().0
}

fn written(dir: &Path) -> Vec<Record> {
    let mut log = open(dir);
    let mut all = Vec::new();
    for lsn in 1..=BLOCKS {
        let records = records(lsn);
        let body: Vec<u8> = records.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let entries = records.len() as u32;
        log.append(Block { lsn: Lsn(lsn), time: Now(lsn), entries, body: body.into() }, true).unwrap();
        while log.tail() != Ok(Lsn(lsn)) {
            std::thread::yield_now();
        }
        all.extend(records);
    }
    all
}

fn ask(log: &Embedded, wanted: &[&Record]) -> Result<(), ReadError> {
    ask_reader(&log.reader(), wanted)
}

fn places(wanted: &[&Record]) -> Vec<(Place, u32)> {
    wanted.iter().map(|(place, bytes)| (*place, bytes.len() as u32)).collect()
}

fn ask_reader(reader: &Reader, wanted: &[&Record]) -> Result<(), ReadError> {
    let found = reader.records(&places(wanted))?;
    assert_eq!(found.len(), wanted.len());
    for (found, (place, bytes)) in found.iter().zip(wanted) {
        assert!(found == bytes, "at {place:?}");
    }
    Ok(())
}

#[test]
fn records_come_as_they_were_appended_in_the_order_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let all = written(dir.path());
    let log = open(dir.path());
    let forward: Vec<_> = all.iter().collect();
    ask(&log, &forward).unwrap();
    ask(&log, &forward.iter().rev().copied().collect::<Vec<_>>()).unwrap();
    for step in [2, 5, 12, 40] {
        // As partitions that were written together and are read one after the other.
        let parts = (0..step).flat_map(|part| forward.iter().skip(part).step_by(step));
        ask(&log, &parts.copied().collect::<Vec<_>>()).unwrap();
        ask(&log, &forward.iter().step_by(step).copied().collect::<Vec<_>>()).unwrap();
    }
    for (n, some) in forward.chunks(17).enumerate() {
        ask(&log, some).unwrap_or_else(|error| panic!("chunk {n}: {error:?}"));
    }
}

/// Asks, and lets the log read on until it has read enough; how many pieces that were.
fn walk(reader: &Reader, wanted: &[&Record]) -> Result<usize, ReadError> {
    ask_reader(reader, wanted)?;
    let places = places(wanted);
    Ok((0..100).take_while(|_| reader.read_on(&places)).count())
}

#[test]
fn walks_beside_and_behind_each_other_find_what_was_read_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let all = written(dir.path());
    let log = open(dir.path());
    let forward: Vec<_> = all.iter().collect();
    let chunks: Vec<_> = forward.chunks(60).collect();
    let mut pieces = 0;
    for (n, chunk) in chunks.iter().enumerate() {
        let read = walk(&log.reader(), chunk).unwrap();
        assert!(read <= 8, "{read} pieces");
        pieces += read;
        // One that walks backwards, one far behind, and one who wants only some of it.
        walk(&log.reader(), chunks[chunks.len() - 1 - n]).unwrap();
        walk(&log.reader(), chunks[n / 2]).unwrap();
        let some: Vec<_> = chunk.iter().step_by(9).copied().collect();
        walk(&log.reader(), &some).unwrap();
    }
    assert!(pieces * 2 > chunks.len(), "{pieces} pieces for {} chunks", chunks.len());
    assert_eq!(walk(&log.reader(), &forward[forward.len() - 60..]).unwrap(), 0, "nothing follows the end");
}

#[test]
fn walkers_on_several_threads_wait_for_each_others_pieces_and_end() {
    let dir = tempfile::tempdir().unwrap();
    let all = written(dir.path());
    let log = open(dir.path());
    let forward: Vec<_> = all.iter().collect();
    std::thread::scope(|scope| {
        for walker in 0..4 {
            let (reader, forward) = (log.reader(), &forward);
            scope.spawn(move || {
                for chunk in forward.chunks(30 + walker * 20) {
                    walk(&reader, chunk).unwrap();
                }
            });
        }
    });
}

#[test]
fn damage_in_what_was_read_ahead_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let all = written(dir.path());
    let victim = all.iter().position(|(place, bytes)| place.lsn >= Lsn(30) && bytes.len() > 30_000).unwrap();
    damage(dir.path(), &all[victim].1);
    let log = open(dir.path());
    let before: Vec<_> = all[victim - 90..victim - 20].iter().collect();
    assert!(walk(&log.reader(), &before).unwrap() > 0);
    let found = ask(&log, &all[victim - 20..victim + 40].iter().collect::<Vec<_>>());
    assert!(matches!(&found, Err(ReadError::Corrupt { at, .. }) if *at == all[victim].0.lsn), "{found:?}");
}

/// Flips a bit in the middle of these bytes, wherever they stand.
fn damage(dir: &Path, bytes: &[u8]) {
    let harmed = std::fs::read_dir(dir).unwrap().any(|file| {
        let path = file.unwrap().path();
        let mut content = std::fs::read(&path).unwrap();
        let Some(at) = content.windows(bytes.len()).position(|window| window == bytes) else { return false };
        content[at + bytes.len() / 2] ^= 4;
        std::fs::write(&path, content).unwrap();
        true
    });
    assert!(harmed, "the record stands in a file");
}

#[test]
fn a_record_that_is_damaged_is_named_and_others_are_not_harmed() {
    let dir = tempfile::tempdir().unwrap();
    let all = written(dir.path());
    let victim = all.iter().position(|(place, bytes)| place.lsn >= Lsn(30) && bytes.len() > 30_000).unwrap();
    let (place, bytes) = &all[victim];
    damage(dir.path(), bytes);
    let log = open(dir.path());
    let found = ask(&log, &all.iter().collect::<Vec<_>>());
    assert!(matches!(&found, Err(ReadError::Corrupt { at, .. }) if *at == place.lsn), "{found:?}");
    ask(&log, &all[..victim - 40].iter().collect::<Vec<_>>()).unwrap();
    ask(&log, &all[victim + 40..].iter().collect::<Vec<_>>()).unwrap();
}

#[test]
fn what_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let all = written(dir.path());
    let log = open(dir.path());
    let beyond = (Place { lsn: Lsn(BLOCKS + 1), at: 0 }, Bytes::from(vec![0; 200_000]));
    let wanted: Vec<_> = all.iter().chain([&beyond]).collect();
    assert!(matches!(ask(&log, &wanted), Err(ReadError::Unavailable(_))));
    let (place, bytes) = &all[0];
    let long = (*place, Bytes::from(vec![0; bytes.len() + (2 << 20)]));
    assert!(matches!(ask(&log, &[&long]), Err(ReadError::Corrupt { .. })));
}
