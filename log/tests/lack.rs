//! Disks that are full to the last byte, and processes without file handles: what still works, and that it all comes back.

mod scene;

use scene::{Driver, Promise, block, images, judge, options, record};
use std::sync::Arc;
use stele_log::disk::fault::FaultDisk;
use stele_log::{Embedded, OpenError, Options};
use stele_model::id::Lsn;
use stele_model::log::{AppendError, Completion, LogStore, RecordReader};

fn small() -> Options {
    Options { pool_min: 4, segment_bytes: 512 << 10, starter_bytes: 256 << 10, ..options() }
}

fn settle(log: &mut Embedded) {
    let mut out = Vec::new();
    for _ in 0..200 {
        log.poll(&mut out);
    }
    assert!(out.iter().all(|completion| matches!(completion, Completion::Durable(_))), "{out:?}");
}

/// A disk on which a log has taken publishes until it had no more space, and then somebody else took the rest.
fn full() -> (FaultDisk, u64) {
    let disk = FaultDisk::new();
    disk.limit(6 << 20);
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    let mut lsn = 1;
    while log.append(block(lsn), false) != Err(AppendError::Full) {
        settle(&mut log);
        lsn += 1;
        assert!(lsn < 5000, "the disk never gets full");
    }
    drop(log);
    disk.limit(disk.used_bytes());
    (disk, lsn - 1)
}

/// Appends a block that may use the reserve.
fn settle_one(log: &mut Embedded, lsn: u64) {
    log.use_reserve(true);
    assert_eq!(log.append(block(lsn), false), Ok(()));
    log.use_reserve(false);
    settle(log);
}

#[test]
fn a_log_starts_on_a_full_disk_lets_consumers_drain_and_takes_publishes_again() {
    let (disk, mut lsn) = full();
    // Again and again: what a start takes is little, and the unused end of what it took before comes back.
    for start in 1..=20 {
        let opened = Embedded::polled(Arc::new(disk.clone()), small());
        let (mut log, report) = opened.unwrap_or_else(|error| panic!("start {start}: {error}"));
        assert_eq!(report.tail, Lsn(lsn));
        lsn += 1;
        assert_eq!(log.append(block(lsn), false), Err(AppendError::Full), "start {start}");
        settle_one(&mut log, lsn);
        settle(&mut log);
    }
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    lsn += 1;
    settle_one(&mut log, lsn);
    // Everything is settled; the snapshot that says so finds its space in a file of the pool.
    log.snapshot(Lsn(lsn), vec![vec![1; 5000].into()]);
    settle(&mut log);
    let done = log.snapshot_done().expect("a snapshot is written on a full disk");
    log.trim(done);
    settle(&mut log);
    for _ in 0..20 {
        lsn += 1;
        assert_eq!(log.append(block(lsn), false), Ok(()), "space was made");
        settle(&mut log);
    }
}

/// A log of so many blocks, whose process was killed in the midst of what it does beside them.
fn killed_after(blocks: u64) -> FaultDisk {
    let disk = FaultDisk::new();
    disk.limit(12 << 20);
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    let mut out = Vec::new();
    for lsn in 1..=blocks {
        assert_eq!(log.append(block(lsn), false), Ok(()));
        (0..lsn % 7 + 2).for_each(|_| log.poll(&mut out));
    }
    while log.tail() != Ok(Lsn(blocks)) {
        log.poll(&mut out);
    }
    disk.copy()
}

#[test]
fn a_log_of_any_age_starts_after_somebody_else_has_taken_the_whole_disk() {
    for blocks in (0..40).chain((40..1200).step_by(29)) {
        let disk = killed_after(blocks);
        let mut lsn = blocks;
        // Each time he takes what the start before has left free, too.
        for start in 1..=4 {
            disk.limit(disk.used_bytes());
            let opened = Embedded::polled(Arc::new(disk.clone()), small());
            let (mut log, report) =
                opened.unwrap_or_else(|error| panic!("{blocks} blocks, start {start}: {error}"));
            assert_eq!(report.tail, Lsn(lsn));
            disk.limit(disk.used_bytes());
            lsn += 1;
            settle_one(&mut log, lsn);
        }
        // All of it is settled: its space comes back, though nothing comes from the disk.
        let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
        disk.limit(disk.used_bytes());
        lsn += 1;
        settle_one(&mut log, lsn);
        log.snapshot(Lsn(lsn), vec![vec![1; 5000].into()]);
        settle(&mut log);
        let done = log.snapshot_done().unwrap_or_else(|| panic!("{blocks} blocks: no snapshot"));
        log.trim(done);
        (0..5).for_each(|_| settle(&mut log));
        // The reserve is whole again, and more, if the log ever was so large.
        assert!(blocks < 250 || log.has_room(), "{blocks} blocks, {} bytes", log.disk_bytes());
    }
}

#[test]
fn the_last_file_of_a_full_disk_is_not_filled_to_its_end() {
    let (disk, mut lsn) = full();
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    disk.limit(disk.used_bytes());
    log.use_reserve(true);
    while log.append(block(lsn + 1), false) == Ok(()) {
        lsn += 1;
        settle(&mut log);
    }
    drop(log);
    disk.limit(disk.used_bytes());
    let (mut log, report) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    assert_eq!(report.tail, Lsn(lsn));
    settle_one(&mut log, lsn + 1);
}

#[test]
fn a_start_goes_on_in_what_the_last_one_had_zeroed_so_far() {
    let disk = FaultDisk::new();
    let (mut log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    log.append(block(1), false).unwrap();
    let files = |disk: &FaultDisk, prefix: &str| -> Vec<u64> {
        let found = stele_log::disk::Disk::list(disk).unwrap();
        found.iter().filter(|file| file.name.starts_with(prefix)).map(|file| file.bytes).collect()
    };
    while files(&disk, "zero.new") < vec![384 << 10] {
        log.poll(&mut Vec::new());
    }
    assert_eq!(files(&disk, "pool-"), []);
    drop(log);
    for _ in 0..2 {
        // Also when it was not used: then it is a short file of the pool.
        let (log, _) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
        assert_eq!((files(&disk, "pool-"), files(&disk, "zero.new")), (vec![256 << 10], vec![]));
        drop(log);
    }
}

#[test]
fn a_log_gives_files_back_that_another_log_of_the_disk_needs_more() {
    let volume = Arc::new(stele_log::Volume::default());
    let options = Options { volume: Arc::clone(&volume), log_bytes_max: 64 << 20, ..small() };
    let disk = FaultDisk::new();
    let (mut rich, _) = Embedded::polled(Arc::new(disk.clone()), options.clone()).unwrap();
    for lsn in 1..=600 {
        rich.append(block(lsn), false).unwrap();
        settle(&mut rich);
    }
    rich.snapshot(Lsn(600), vec![vec![1; 50].into()]);
    settle(&mut rich);
    rich.trim(Lsn(600));
    (0..10).for_each(|_| settle(&mut rich));
    let before = volume.ready_bytes();
    assert!(before > 6 * (512 << 10), "{before} bytes are ready");
    let full = FaultDisk::new();
    full.limit(600 << 10);
    let (poor, _) = Embedded::polled(Arc::new(full), options).unwrap();
    assert!(!poor.has_room());
    settle(&mut rich);
    assert!(volume.ready_bytes() < before, "{} bytes are ready, as before", volume.ready_bytes());
    assert!(rich.has_room());
    // Nobody lacks anything any more.
    drop(poor);
    let after = volume.ready_bytes();
    settle(&mut rich);
    assert_eq!(volume.ready_bytes(), after);
}

#[test]
fn a_disk_without_a_place_to_go_on_is_named_with_the_bytes_that_are_missing() {
    let (disk, lsn) = full();
    let error = loop {
        // The last reserve goes, too.
        match Embedded::polled(Arc::new(disk.clone()), small()) {
            Ok((log, _)) => drop(log),
            Err(error) => break error,
        }
        let spare = stele_log::verify_disk(&disk).unwrap().spare;
        let Some(file) = spare.first() else { panic!("a start needs no space") };
        stele_log::disk::Disk::remove(&disk, &file.name).unwrap();
        disk.limit(disk.used_bytes());
    };
    let OpenError::NoSpace { free_bytes, needed_bytes } = error else { panic!("{error}") };
    assert!(free_bytes < needed_bytes, "{free_bytes} {needed_bytes}");
    disk.limit(disk.used_bytes() + needed_bytes - free_bytes);
    let (mut log, report) = Embedded::polled(Arc::new(disk.clone()), small()).unwrap();
    assert_eq!(report.tail, Lsn(lsn), "nothing was harmed, and what was asked for is enough");
    settle_one(&mut log, lsn + 1);
}

#[test]
fn a_power_cut_while_a_log_starts_on_a_full_disk_loses_nothing() {
    let (disk, lsn) = full();
    let mut count = 0;
    for seed in 0..3 {
        let again = disk.copy();
        again.limit(again.used_bytes());
        let promise = Promise { durable: lsn, appended: lsn, snapshot: 0 };
        let (mut log, _) = Embedded::polled(Arc::new(again.clone()), small()).unwrap();
        settle(&mut log);
        drop(log);
        count += images(again.crashes(), &[], promise, 4 + seed, &mut |image, promise, cut| {
            let opened = Embedded::polled(Arc::new(image.clone()), small());
            let (log, report) = opened.unwrap_or_else(|error| panic!("cut {cut}: {error}"));
            judge(&log, &report, promise).unwrap_or_else(|wrong| panic!("cut {cut}: {wrong}"));
        });
    }
    assert!(count > 100, "{count} images");
}

#[test]
fn background_work_that_finds_no_handle_is_done_later() {
    let disk = FaultDisk::new();
    let (mut driver, _) = Driver::open(&disk, options(), 3).unwrap();
    for _ in 0..600 {
        disk.set_no_handles(true);
        for _ in 0..8 {
            driver.log.work();
        }
        disk.set_no_handles(false);
        driver.step().unwrap();
    }
    for _ in 0..200 {
        driver.poll();
    }
    assert_eq!((driver.failed.clone(), driver.log.damage()), (None, None));
    assert!(driver.promotions > 1 && driver.snapshots > 10, "{} {}", driver.promotions, driver.snapshots);
    let promise = driver.promise;
    drop(driver);
    let (log, report) = Embedded::polled(Arc::new(disk.copy()), options()).unwrap();
    judge(&log, &report, promise).unwrap();
}

#[test]
fn a_read_or_a_commit_that_finds_no_handle_waits_for_one() {
    let disk = FaultDisk::new();
    let open = || {
        Embedded::threaded(Arc::new(disk.clone()), Options { margin_bytes: 0, ..options() }, Box::new(|| {}))
    };
    let (mut log, _) = open().unwrap();
    let append = |log: &mut Embedded, lsn: u64| {
        log.append(block(lsn), false).unwrap();
        while log.tail() != Ok(Lsn(lsn)) {
            std::thread::yield_now();
        }
    };
    (1..=60).for_each(|lsn| append(&mut log, lsn));
    drop(log);
    drop(open().unwrap());
    let (mut log, _) = open().unwrap();
    let reader = log.reader();
    let (place, bytes) = (1..60).find_map(record).unwrap();
    disk.set_no_handles(true);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| reader.record(place, bytes.len() as u32));
        // A file of the pool becomes a segment, and has to be opened for that.
        let appended = scope.spawn(|| append(&mut log, 61));
        let refused = disk.refused();
        while disk.refused() < refused + 6 {
            std::thread::yield_now();
        }
        disk.set_no_handles(false);
        assert_eq!(read.join().unwrap().as_ref(), Ok(&bytes));
        appended.join().unwrap();
    });
}
