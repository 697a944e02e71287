//! The engine's verbs, one after the other, on the disk in memory.

use bytes::Bytes;
use std::sync::Arc;
use stele_log::disk::fault::FaultDisk;
use stele_log::{Embedded, Options};
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{Block, Completion, LogStore, ReadError, RecordReader};

fn options() -> Options {
    Options {
        identity: 7,
        segment_bytes: 64 << 10,
        starter_bytes: 64 << 10,
        pool_min: 2,
        log_bytes_max: 1 << 20,
        margin_bytes: 64 << 10,
        ..Options::default()
    }
}

fn block(lsn: u64, len: usize) -> Block {
    let body: Vec<u8> = (0..len).map(|i| (i as u64 * 31 + lsn * 7) as u8).collect();
    Block { lsn: Lsn(lsn), time: Now(lsn * 1000), entries: 1, body: body.into() }
}

fn settle(log: &mut Embedded) -> Vec<Completion> {
    let mut out = Vec::new();
    for _ in 0..100 {
        log.poll(&mut out);
    }
    out
}

fn all(log: &Embedded, from: u64) -> Result<Vec<Block>, ReadError> {
    let mut blocks = Vec::new();
    log.read(Lsn(from), usize::MAX, &mut |block| blocks.push(block))?;
    Ok(blocks)
}

#[test]
fn what_was_appended_is_durable_read_and_there_after_a_restart() {
    let disk = FaultDisk::new();
    let (mut log, report) = Embedded::polled(Arc::new(disk.clone()), options()).unwrap();
    assert_eq!(report.tail, Lsn(0));
    let blocks: Vec<Block> = (1..=40).map(|lsn| block(lsn, (lsn as usize * 997) % 16_000)).collect();
    for block in &blocks {
        log.append(block.clone(), block.lsn.0 % 2 == 0).unwrap();
        settle(&mut log);
    }
    assert_eq!(log.tail(), Ok(Lsn(40)));
    assert_eq!(all(&log, 1).unwrap(), blocks);
    drop(log);
    let (mut log, report) = Embedded::polled(Arc::new(disk.copy()), options()).unwrap();
    assert_eq!((report.tail, report.epoch, report.torn), (Lsn(40), 2, None));
    assert_eq!(all(&log, 1).unwrap(), blocks);
    log.append(block(41, 10), true).unwrap();
    assert_eq!(settle(&mut log), [Completion::Durable(Lsn(41))]);
    assert_eq!(all(&log, 40).unwrap(), [blocks[39].clone(), block(41, 10)]);
}

#[test]
fn trimmed_segments_return_to_the_pool_once_a_snapshot_stands_above_them() {
    let disk = FaultDisk::new();
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), options()).unwrap();
    for lsn in 1..=100 {
        log.append(block(lsn, 10_000), false).unwrap();
        settle(&mut log);
    }
    let full = disk.used_bytes();
    log.trim(Lsn(100));
    settle(&mut log);
    assert_eq!(all(&log, 1).unwrap().len(), 100, "no snapshot, no trim");
    let chunks = vec![Bytes::from(vec![1; 5000]), Bytes::from(vec![2; 100])];
    log.snapshot(Lsn(100), chunks.clone());
    settle(&mut log);
    assert_eq!(log.snapshot_done(), Some(Lsn(100)));
    assert_eq!(log.snapshot_done(), None);
    log.trim(Lsn(100));
    log.append(block(101, 10), false).unwrap();
    settle(&mut log);
    assert!(matches!(all(&log, 1), Err(ReadError::Trimmed { first }) if first > Lsn(90)));
    assert_eq!(log.load_snapshot().unwrap(), Some((Lsn(100), chunks)));
    for lsn in 102..=200 {
        log.append(block(lsn, 10_000), false).unwrap();
        settle(&mut log);
    }
    assert!(disk.used_bytes() < full * 3 / 2, "{} of {full}", disk.used_bytes());
}

#[test]
fn live_records_stay_readable_where_they_are_and_after_they_were_moved() {
    let disk = FaultDisk::new();
    let (mut log, _) =
        Embedded::polled(Arc::new(disk.clone()), Options { log_bytes_max: 0, ..options() }).unwrap();
    let mut kept = Vec::new();
    for lsn in 1..=60 {
        let block = block(lsn, 12_000);
        log.append(block.clone(), false).unwrap();
        settle(&mut log);
        if lsn % 7 == 0 {
            let place = Place { lsn: Lsn(lsn), at: 100 };
            kept.push((place, block.body.slice(100..1300)));
            log.live(&[(Lsn(lsn), 1200)]);
        }
    }
    log.snapshot(Lsn(60), vec![]);
    settle(&mut log);
    log.trim(Lsn(60));
    let reader = log.reader();
    let mut asked = 0;
    for lsn in 61..100 {
        settle(&mut log);
        if let Some(range) = log.wanted() {
            asked += 1;
            let inside = kept.iter().filter(|(place, _)| (range.0..=range.1).contains(&place.lsn));
            log.survivors(range, inside.map(|(place, bytes)| (*place, bytes.len() as u32)).collect());
        }
        log.append(block(lsn, 10), true).unwrap();
        for (place, bytes) in &kept {
            assert_eq!(reader.record(*place, bytes.len() as u32).as_ref(), Ok(bytes));
        }
    }
    assert!(asked > 0);
    assert_eq!(log.damage(), None);
    assert!(matches!(reader.record(Place { lsn: Lsn(7), at: 0 }, 10), Err(ReadError::Trimmed { .. })));
    drop((log, reader));
    let (log, _) = Embedded::polled(Arc::new(disk.copy()), options()).unwrap();
    for (place, bytes) in &kept {
        assert_eq!(log.reader().record(*place, bytes.len() as u32).as_ref(), Ok(bytes));
    }
}
