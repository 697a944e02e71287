//! The oracles see: each mistake that the engine can be told to make is noticed by the test that is there for it.

mod scene;

use scene::{Driver, Promise, alive, check, images, options, record, run};
use std::sync::Arc;
use stele_log::disk::fault::{Fault, FaultDisk};
use stele_log::mutant::{Mutant, set};
use stele_log::{Embedded, verify_disk};
use stele_model::log::RecordReader;

/// Whether some power cut in a run with this mistake loses something.
fn some_cut_loses(mutant: Mutant) -> bool {
    set(Some(mutant));
    let driver = run(1, 300);
    set(None);
    let mut lost = 0;
    images(driver.disk.crashes(), &driver.promises, Promise::default(), 2, &mut |image, promise, _| {
        lost += u32::from(lost == 0 && check(image, promise).is_err());
    });
    lost > 0
}

#[test]
fn power_cuts_find_every_sync_that_is_left_out() {
    for mutant in [
        Mutant::CommitUnsynced,
        Mutant::PromoteUnsynced,
        Mutant::SnapshotUnsynced,
        Mutant::ManifestUnsynced,
        Mutant::RetireEarly,
    ] {
        assert!(some_cut_loses(mutant), "{mutant:?} goes unnoticed");
    }
}

#[test]
fn decay_in_the_middle_is_noticed_only_by_looking_behind_it() {
    // Few enough that no snapshot stands above: a log that ends before it would be noticed by that.
    let driver = run(1, 22);
    let disk = driver.disk.copy();
    let report = verify_disk(&disk).unwrap();
    let open =
        report.segments.iter().find(|segment| segment.last == report.tail && segment.blocks > 2).unwrap();
    assert!(!open.sealed);
    disk.flip(&open.file, 4096 * 8 + 300);
    assert!(check(&disk, driver.promise).is_err_and(|error| error.contains("does not open")));
    set(Some(Mutant::TrustTheTear));
    assert!(check(&disk, driver.promise).is_err_and(|error| error.contains("recovered up to")));
    set(None);
}

#[test]
fn a_decayed_record_is_noticed_by_its_frame() {
    let driver = run(1, 100);
    let disk = driver.disk.copy();
    let report = verify_disk(&disk).unwrap();
    let (log, _) = Embedded::polled(Arc::new(disk.clone()), options()).unwrap();
    let sealed = report.segments.iter().find(|segment| segment.sealed).unwrap();
    let live = alive(100)
        .filter_map(record)
        .find(|(place, _)| place.lsn >= sealed.first && place.lsn <= sealed.last);
    let (place, bytes) = live.expect("something in it is alive");
    for page in 1..sealed.used_bytes as usize / 4096 {
        disk.flip(&sealed.file, page * 4096 * 8 + 2000 * 8);
    }
    let read = || log.reader().record(place, bytes.len() as u32);
    assert!(read().is_err());
    set(Some(Mutant::SkipFrameCrc));
    assert!(read().is_ok_and(|found| found != bytes));
    set(None);
}

#[test]
fn a_write_that_is_tried_again_after_an_error_is_noticed() {
    let fails = |mutant, call| {
        set(mutant);
        let disk = FaultDisk::new();
        let (mut driver, _) = Driver::open(&disk, options(), 6).unwrap();
        disk.fail(disk.calls() + call, Fault::Torn);
        while driver.failed.is_none() && driver.promise.appended < 60 {
            if driver.step().is_err() {
                break;
            }
        }
        set(None);
        driver.failed.is_some()
    };
    // Some of these calls are the writes of commits.
    let noticed =
        (0..60).filter(|call| fails(None, *call) && !fails(Some(Mutant::RetryWrite), *call)).count();
    assert!(noticed > 5, "{noticed}");
}
