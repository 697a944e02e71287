//! The engine's verbs, one after the other, on the disk in memory.

use bytes::Bytes;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use stele_log::conformance::conformance;
use stele_log::disk::fault::FaultDisk;
use stele_log::disk::real::RealDisk;
use stele_log::{Embedded, Options};
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{AppendError, Block, Completion, LogStore, ReadError, RecordReader};

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

#[test]
fn both_forms_conform_on_both_disks() {
    let (mut log, _) = Embedded::polled(Arc::new(FaultDisk::new()), options()).unwrap();
    conformance(&mut log);
    let (mut log, _) = Embedded::threaded(Arc::new(FaultDisk::new()), options(), Box::new(|| {})).unwrap();
    conformance(&mut log);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { margin_bytes: 0, segment_bytes: 16 << 20, ..options() };
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (mut log, _) =
        Embedded::threaded(disk, Options { starter_bytes: 8 << 20, ..options }, Box::new(|| {})).unwrap();
    assert!(log.limits().block_bytes_max > 2 << 20, "a record of 2 MiB fits (S31)");
    conformance(&mut log);
}

#[test]
fn a_log_with_threads_wakes_its_shard_and_loses_nothing_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (sender, wake) = sync_channel(1);
        let waker = Box::new(move || {
            // Full: a wake-up is on its way.
            let _ = sender.try_send(());
        });
        let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
        let (log, report) =
            Embedded::threaded(disk, Options { margin_bytes: 0, ..options() }, waker).unwrap();
        (log, report, wake)
    };
    let (mut log, _, wake) = open();
    let blocks: Vec<Block> = (1..=200).map(|lsn| block(lsn, (lsn as usize * 613) % 16_000)).collect();
    let mut durable = Lsn(0);
    for block in &blocks {
        while block.lsn.0 - durable.0 > 2 {
            let mut out = Vec::new();
            log.poll(&mut out);
            match out.pop() {
                Some(Completion::Durable(lsn)) => durable = lsn,
                Some(Completion::Failed(error)) => panic!("{error:?}"),
                None => wake.recv().unwrap(),
            }
        }
        log.append(block.clone(), block.lsn.0 % 3 == 0).unwrap();
    }
    // Dropping writes what was handed over.
    drop(log);
    let (log, report, _) = open();
    assert_eq!((report.tail, report.epoch), (Lsn(200), 2));
    assert_eq!(all(&log, 1).unwrap(), blocks);
    match Embedded::polled(Arc::new(RealDisk::open(dir.path()).unwrap()), options()) {
        Err(error) => {
            assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}")
        }
        Ok(_) => panic!("opened twice"),
    }
}

#[test]
fn a_block_is_not_durable_before_its_write_has_returned() {
    let disk = FaultDisk::new();
    let (sender, wake) = sync_channel(16);
    let (mut log, _) = Embedded::threaded(
        Arc::new(disk.clone()),
        options(),
        Box::new(move || {
            let _ = sender.try_send(());
        }),
    )
    .unwrap();
    disk.stall();
    log.append(block(1, 100), false).unwrap();
    log.append(block(2, 100), false).unwrap();
    let mut out = Vec::new();
    log.poll(&mut out);
    assert_eq!((out.as_slice(), log.tail()), (&[][..], Ok(Lsn(0))));
    let reader = log.reader();
    assert!(matches!(reader.record(Place { lsn: Lsn(1), at: 0 }, 1), Err(ReadError::Unavailable(_))));
    disk.release();
    while log.tail() != Ok(Lsn(2)) {
        wake.recv().unwrap();
    }
    log.poll(&mut out);
    assert_eq!(out.last(), Some(&Completion::Durable(Lsn(2))));
    assert_eq!(reader.record(Place { lsn: Lsn(2), at: 3 }, 5).unwrap(), block(2, 100).body.slice(3..8));
}

#[test]
fn who_walks_through_a_backlog_reads_the_disk_in_large_pieces_and_gets_every_record_right() {
    let disk = FaultDisk::new();
    let options = |cache_bytes| Options {
        segment_bytes: 4 << 20,
        starter_bytes: 2 << 20,
        log_bytes_max: 1 << 30,
        cache_bytes,
        ..options()
    };
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), options(0)).unwrap();
    for lsn in 1..=300 {
        log.append(block(lsn, 30_000), false).unwrap();
        settle(&mut log);
    }
    drop(log);
    let wanted: Vec<_> = (1..=300)
        .flat_map(|lsn| (0..10).map(move |i| (Place { lsn: Lsn(lsn), at: i * 3000 }, 1000)))
        .collect();
    let walk = |disk: &FaultDisk, cache_bytes| {
        let (log, _) = Embedded::polled(Arc::new(disk.clone()), options(cache_bytes)).unwrap();
        let reader = log.reader();
        let before = disk.calls();
        for fetch in wanted.chunks(4) {
            for ((place, len), bytes) in fetch.iter().zip(reader.records(fetch)?) {
                let at = place.at as usize;
                assert_eq!(bytes, block(place.lsn.0, 30_000).body.slice(at..at + *len as usize));
            }
        }
        Ok::<_, ReadError>(disk.calls() - before)
    };
    let (without, with) = (walk(&disk, 0).unwrap(), walk(&disk, 1 << 20).unwrap());
    assert!(with * 5 < without, "{with} calls of the disk with the cache, {without} without");
    // What comes from a large piece is checked like any other.
    let decayed = disk.copy();
    decayed.flip("seg-0000000001", 60 * 4096 * 8 + 99);
    assert!(matches!(walk(&decayed, 1 << 20), Err(ReadError::Corrupt { .. })));
}

#[test]
fn a_young_log_zeroes_no_more_than_it_has_use_for() {
    let disk = FaultDisk::new();
    let options = Options { pool_min: 4, ..options() };
    let segments = |disk: &FaultDisk| disk.used_bytes() / (64 << 10);
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), options.clone()).unwrap();
    settle(&mut log);
    assert_eq!(segments(&disk), 1, "the starter");
    log.append(block(1, 10), false).unwrap();
    settle(&mut log);
    assert_eq!(segments(&disk), 2, "one in use and one to go on in");
    for lsn in 2..=40 {
        log.append(block(lsn, 15_000), false).unwrap();
        settle(&mut log);
    }
    let (used, in_use) = (segments(&disk), 40_u64.div_ceil(3));
    assert!((in_use + 3..=in_use + 5).contains(&used), "the pool is whole: {used} with {in_use} in use");
}

#[test]
fn the_time_of_a_commit_counts_also_where_the_appending_thread_writes_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (mut log, _) =
        Embedded::threaded(disk, Options { margin_bytes: 0, ..options() }, Box::new(|| {})).unwrap();
    assert_eq!(log.commit_us(), 0);
    for lsn in 1..=20 {
        // The first block of a segment goes to the journal's thread, the others are written at once unless it marks the end just now.
        log.append(block(lsn, 100), true).unwrap();
        while log.tail() != Ok(Lsn(lsn)) {
            std::thread::yield_now();
        }
    }
    // No file system takes less than a microsecond to write and sync.
    assert!(log.commit_us() >= 20, "{} us for 20 commits", log.commit_us());
}

#[test]
fn a_full_disk_refuses_publishes_but_takes_settles_until_space_is_made() {
    let disk = FaultDisk::new();
    disk.limit(1 << 20);
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), options()).unwrap();
    let mut lsn = 1;
    let publish = |log: &mut Embedded, lsn: &mut u64| {
        let first = *lsn;
        while log.append(block(*lsn, 10_000), false) != Err(AppendError::Full) {
            *lsn += 1;
            settle(log);
            assert!(*lsn < 200, "the disk never gets full");
        }
        *lsn - first
    };
    publish(&mut log, &mut lsn);
    assert_eq!(log.tail(), Ok(Lsn(lsn - 1)), "a refusal leaves the log as it was");
    let mut let_in = 0;
    for _ in 0..6 {
        log.use_reserve(true);
        assert_eq!(log.append(block(lsn, 10_000), false), Ok(()));
        log.use_reserve(false);
        lsn += 1;
        settle(&mut log);
        let_in += publish(&mut log, &mut lsn);
    }
    // The end of a segment that was promised space and did not need it comes free when it is sealed, so a few more go in.
    assert!(let_in < 6, "the reserve is not for publishes: {let_in}");
    log.snapshot(Lsn(lsn - 1), vec![]);
    settle(&mut log);
    let done = log.snapshot_done().unwrap();
    log.trim(done);
    settle(&mut log);
    assert_eq!(log.append(block(lsn, 10_000), false), Ok(()), "space was made");
    settle(&mut log);
    drop(log);
    let (log, report) = Embedded::polled(Arc::new(disk.copy()), options()).unwrap();
    assert_eq!(report.tail, Lsn(lsn));
    assert_eq!(all(&log, lsn).unwrap(), [block(lsn, 10_000)]);
}

/// Records of 100 bytes, 40 to a block; one in `holes` is never settled. The largest use of the disk, beside what is owed.
fn excess_with_holes(holes: u64, promotes: bool) -> (i64, usize) {
    const RECORDS: u64 = 40;
    let disk = FaultDisk::new();
    let options = Options { pool_min: 1, log_bytes_max: 256 << 10, ..options() };
    let segment = options.segment_bytes as i64;
    let budget = options.log_bytes_max as i64;
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), options).unwrap();
    let kept_in = |lsn: u64| ((lsn - 1) * RECORDS..lsn * RECORDS).filter(|record| record % holes == 0);
    let place = |record: u64| Place { lsn: Lsn(record / RECORDS + 1), at: (record % RECORDS * 100) as u32 };
    let (mut live, mut excess, mut asked) = (0, i64::MIN, 0);
    for lsn in 1..=4000 {
        log.append(block(lsn, 4000), false).unwrap();
        live += 4000;
        log.live(&[(Lsn(lsn), 4000)]);
        if let Some(old) = lsn.checked_sub(20).filter(|old| *old > 0) {
            let settled = 4000 - kept_in(old).count() as i64 * 100;
            live -= settled;
            log.live(&[(Lsn(old), -settled)]);
        }
        let mut out = Vec::new();
        for _ in 0..8 {
            log.poll(&mut out);
        }
        if lsn % 50 == 0 {
            log.snapshot(Lsn(lsn - 2), vec![]);
        }
        if let Some(done) = log.snapshot_done() {
            log.trim(done);
        }
        if let Some(range) = log.wanted().filter(|_| promotes) {
            asked += 1;
            let blocks = (range.0.0..=range.1.0).flat_map(|lsn| {
                let all = lsn + 20 > log.tail().unwrap().0;
                ((lsn - 1) * RECORDS..lsn * RECORDS).filter(move |record| all || record % holes == 0)
            });
            log.survivors(range, blocks.map(|record| (place(record), 100)).collect());
        }
        // The pool, the segment being written, the one being promoted to, and 50 blocks that no snapshot stands above yet.
        let owed = 2 * live + budget + (1 + 2 + 1 + 1) * segment + 70 * 8192;
        excess = excess.max(disk.used_bytes() as i64 - owed);
    }
    assert_eq!(log.damage(), None);
    let reader = log.reader();
    for record in (0..3900 * RECORDS).filter(|record| record % holes == 0) {
        let place = place(record);
        let expected = block(place.lsn.0, 4000).body.slice(place.at as usize..place.at as usize + 100);
        let within = Place { at: place.at + 30, ..place };
        assert_eq!(reader.record(within, 40), Ok(expected.slice(30..70)));
        assert_eq!(reader.record(place, 100), Ok(expected));
    }
    (excess, asked)
}

#[test]
fn records_that_are_never_settled_do_not_hold_the_disk() {
    for holes in [10_000, 200] {
        let (excess, asked) = excess_with_holes(holes, true);
        assert!(excess <= 0 && asked > 0, "one in {holes}: {excess} bytes too many, {asked} promotions");
    }
    let (excess, _) = excess_with_holes(200, false);
    assert!(excess > 0, "without promotion the bound is broken, so it measures something");
}

#[test]
fn a_log_of_many_short_lives_asks_for_a_snapshot_at_the_start() {
    let disk = FaultDisk::new();
    let open = || Embedded::polled(Arc::new(disk.clone()), options()).unwrap().0;
    let poll = |log: &mut Embedded| (0..100).for_each(|_| log.poll(&mut Vec::new()));
    for lsn in 1..=8 {
        let mut log = open();
        assert!(!log.is_scattered(), "after {} lives", lsn - 1);
        log.append(block(lsn, 100), false).unwrap();
        poll(&mut log);
    }
    let mut log = open();
    assert!(log.is_scattered());
    log.snapshot(Lsn(8), vec![vec![1; 50].into()]);
    poll(&mut log);
    assert!(log.snapshot_done().is_some() && !log.is_scattered());
}
