//! A disk that fails once, at every call of a run, in every way that disks fail.

mod scene;

use scene::{Driver, Promise, alive, block, chunks, judge, options, record};
use std::sync::Arc;
use stele_log::disk::fault::crash::Choice;
use stele_log::disk::fault::{Fault, FaultDisk};
use stele_log::{Embedded, OpenError};
use stele_model::id::Lsn;
use stele_model::log::{AppendError, LogStore, ReadError, RecordReader};

const BLOCKS: u64 = 110;

/// Runs until the end or until the log fails; what had been promised.
fn run(disk: &FaultDisk, seed: u64) -> Promise {
    let Ok((mut driver, _)) = Driver::open(disk, options(), seed) else { return Promise::default() };
    for _ in 0..BLOCKS {
        match driver.step() {
            Ok(()) => {}
            Err(AppendError::Full | AppendError::Unknown(_)) => break,
            Err(error) => panic!("{error:?}"),
        }
        if driver.failed.is_some() {
            break;
        }
    }
    if driver.failed.is_some() {
        assert!(matches!(driver.step(), Err(AppendError::Unknown(_))), "a failed log takes nothing more");
    }
    driver.log.idle();
    driver.promise
}

fn calls() -> u64 {
    let disk = FaultDisk::new();
    run(&disk, 6);
    disk.calls()
}

/// What is on the disk after a power cut at the end, if nothing survives that was not synced.
fn synced(disk: &FaultDisk) -> FaultDisk {
    let mut crashes = disk.crashes();
    while crashes.advance() {}
    crashes.image(Choice::Nothing)
}

#[test]
fn after_an_error_at_any_call_nothing_acknowledged_is_lost() {
    for (i, fault) in [Fault::Error, Fault::NoSpace, Fault::NoHandle, Fault::Torn].into_iter().enumerate() {
        for call in (i as u64..calls()).step_by(2) {
            let disk = FaultDisk::new();
            disk.fail(call, fault);
            let promise = run(&disk, 6);
            for image in [synced(&disk), disk.copy()] {
                let what = format!("{fault:?} at call {call}");
                let opened = Embedded::polled(Arc::new(image), options());
                let (log, report) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
                if let Err(wrong) = judge(&log, &report, promise) {
                    panic!("{what}: {wrong}");
                }
            }
        }
    }
}

#[test]
fn a_write_that_was_lost_or_went_astray_is_never_passed_over_in_silence() {
    let (mut met, mut runs) = (0, 0);
    for (i, fault) in [Fault::Lost, Fault::Misdirected, Fault::StaleRead].into_iter().enumerate() {
        for call in (i as u64..calls()).step_by(3) {
            let disk = FaultDisk::new();
            disk.fail(call, fault);
            let promise = run(&disk, 6);
            runs += 1;
            met += u32::from(meets(&disk.copy(), promise, &format!("{fault:?} at call {call}")));
        }
    }
    assert!(met > runs / 50, "{met} of {runs}");
}

/// Whether damage is reported; panics where something acknowledged is missing without a word.
fn meets(disk: &FaultDisk, promise: Promise, what: &str) -> bool {
    let (log, report) = match Embedded::polled(Arc::new(disk.clone()), options()) {
        Ok(opened) => opened,
        Err(OpenError::Damaged(_) | OpenError::Format(_)) => return true,
        Err(error) => panic!("{what}: {error}"),
    };
    let tail = report.tail.0;
    assert!(tail >= promise.durable, "{what}: silently shorter: {tail}, {promise:?}");
    let mut met = false;
    match log.load_snapshot() {
        Ok(None) => assert_eq!(promise.snapshot, 0, "{what}"),
        Ok(Some((lsn, loaded))) => assert_eq!(loaded, chunks(lsn.0), "{what}"),
        Err(ReadError::Corrupt { .. }) => met = true,
        Err(error) => panic!("{what}: {error:?}"),
    }
    let mut next = report.snapshot.map_or(1, |lsn| lsn.0 + 1);
    let read = log.read(Lsn(next), usize::MAX, &mut |found| {
        assert_eq!(found, block(next), "{what}");
        next += 1;
    });
    match read {
        Ok(()) => assert_eq!(next, tail + 1, "{what}"),
        Err(ReadError::Corrupt { .. }) => met = true,
        Err(error) => panic!("{what}: {error:?}"),
    }
    let reader = log.reader();
    for (place, bytes) in alive(tail).filter_map(record) {
        match reader.record(place, bytes.len() as u32) {
            Ok(found) => assert_eq!(found, bytes, "{what}"),
            Err(ReadError::Corrupt { .. }) => met = true,
            Err(error) => panic!("{what}: {place:?} {error:?}"),
        }
    }
    met
}

#[test]
fn a_failed_sync_is_told_as_unknown_and_nothing_after_it_is_written() {
    let disk = FaultDisk::new();
    let (mut driver, _) = Driver::open(&disk, options(), 6).unwrap();
    for _ in 0..5 {
        driver.step().unwrap();
    }
    for _ in 0..10 {
        driver.poll();
    }
    let durable = driver.promise.durable;
    disk.fail(disk.calls(), Fault::Torn);
    driver.log.append(block(durable + 1), false).unwrap();
    driver.poll();
    assert!(matches!(driver.failed, Some(AppendError::Unknown(_))), "{:?}", driver.failed);
    let calls = disk.calls();
    assert!(driver.log.append(block(durable + 2), true).is_err());
    driver.poll();
    driver.log.idle();
    assert_eq!(disk.calls(), calls, "the disk is left alone");
    assert_eq!(driver.log.tail(), Ok(Lsn(durable)));
}
