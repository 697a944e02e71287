//! What an operator can do about a damaged log: give up its end, and make a lost manifest again.

mod scene;

use scene::{Driver, Promise, block, check, images, judge, options, run};
use std::sync::Arc;
use stele_log::disk::Disk;
use stele_log::disk::fault::FaultDisk;
use stele_log::format::page::PAGE_BYTES;
use stele_log::{CutError, Embedded, OpenError, RebuildError, cut_disk, plan_cut_disk, verify_disk};
use stele_log::{rebuild_manifest, rebuild_manifest_disk};
use stele_model::id::Lsn;
use stele_model::log::LogStore;

/// A disk with every kind of file on it, and the last block that was acknowledged.
fn finished(seed: u64) -> (FaultDisk, Promise) {
    let disk = FaultDisk::new();
    let (mut driver, _) = Driver::open(&disk, options(), seed).unwrap();
    // The last blocks have no snapshot above them.
    for _ in 0..274 {
        driver.step().unwrap();
    }
    for _ in 0..100 {
        driver.poll();
    }
    driver.log.idle();
    (disk.copy(), driver.promise)
}

/// Whether a start and a replay read everything.
fn replays(disk: &FaultDisk) -> bool {
    match Embedded::polled(Arc::new(disk.copy()), options()) {
        Ok((log, report)) => {
            let from = report.snapshot.map_or(1, |lsn| lsn.0 + 1);
            log.read(Lsn(from), usize::MAX, &mut |_| {}).is_ok()
        }
        Err(OpenError::Damaged(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Cuts, and checks that all before the cut is there, that nothing behind it is, and that the log goes on.
fn cut_and_go_on(disk: &FaultDisk, from: Lsn, promise: Promise, what: &str) {
    let other = Lsn(from.0 + 1);
    match cut_disk(disk, other) {
        Err(CutError::Elsewhere { named, found }) => assert_eq!((named, found), (other, from), "{what}"),
        other => panic!("{what}: {other:?}"),
    }
    let cut = cut_disk(disk, from).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(cut.from, from, "{what}");
    assert_eq!(plan_cut_disk(disk).unwrap(), None, "{what}: it is mended");
    for extra in 0..2 {
        let opened = Embedded::polled(Arc::new(disk.clone()), options());
        let (mut log, report) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        let tail = from.0 - 1 + extra;
        assert_eq!(report.tail, Lsn(tail), "{what}");
        let mut next = report.snapshot.map_or(1, |lsn| lsn.0 + 1);
        let read = log.read(Lsn(next), usize::MAX, &mut |found| {
            assert_eq!(found, block(next), "{what}");
            next += 1;
        });
        assert_eq!((read, next), (Ok(()), tail + 1), "{what}");
        assert!(next > promise.snapshot, "{what}");
        log.append(block(next), false).unwrap();
        let mut out = Vec::new();
        for _ in 0..50 {
            log.poll(&mut out);
        }
    }
    let report = verify_disk(disk).unwrap();
    assert!(report.is_clean(), "{what}: {report}");
}

#[test]
fn a_log_that_is_damaged_anywhere_is_cut_there_and_goes_on() {
    let (disk, promise) = finished(4);
    let report = verify_disk(&disk).unwrap();
    assert!(report.is_clean() && plan_cut_disk(&disk).unwrap().is_none());
    let (mut cuts, mut unhelped) = (0, 0);
    for segment in &report.segments {
        for page in 0..segment.used_bytes / PAGE_BYTES as u64 {
            for zeroed in [true, false] {
                let image = disk.copy();
                let page = page as usize;
                if zeroed {
                    image.zero(&segment.file, page..page + 1);
                } else {
                    image.flip(&segment.file, page * PAGE_BYTES * 8 + 1000);
                }
                let what = format!("{} page {page}, zeroed: {zeroed}", segment.file);
                match plan_cut_disk(&image) {
                    Ok(Some(plan)) => {
                        let kept = Lsn(plan.from.0 - 1);
                        assert!(kept.0 >= promise.snapshot && kept >= segment.first.min(kept), "{what}");
                        cuts += 1;
                        let rest = plan.readable.iter().map(|readable| readable.count).sum::<u64>();
                        assert!(rest <= promise.appended - kept.0, "{what}: {plan}");
                        cut_and_go_on(&image, plan.from, promise, &what);
                    }
                    Ok(None) => assert!(replays(&image), "{what}: a damage that nobody can cut"),
                    Err(CutError::NoHelp(_)) => unhelped += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
            }
        }
    }
    assert!(cuts > 20 && unhelped > 0, "{cuts} {unhelped}");
}

#[test]
fn a_log_that_has_lost_a_file_is_cut_before_it() {
    let (disk, promise) = finished(4);
    let segments = verify_disk(&disk).unwrap().segments;
    let lost = segments.iter().find(|segment| segment.last.0 > promise.snapshot).unwrap();
    Disk::remove(&disk, &lost.file).unwrap();
    match plan_cut_disk(&disk) {
        Ok(Some(plan)) => {
            assert_eq!(plan.from.0, lost.first.0.max(promise.snapshot + 1));
            assert!(plan.to_string().contains("blocks that can still be read") || plan.readable.is_empty());
            cut_and_go_on(&disk, plan.from, promise, "a lost file");
        }
        // The snapshot stands on a block that was in it.
        other => assert!(lost.first.0 <= promise.snapshot, "{other:?}"),
    }
}

#[test]
fn a_manifest_that_is_lost_or_damaged_is_made_again_from_the_segments() {
    let (disk, promise) = finished(4);
    assert!(matches!(rebuild_manifest_disk(&disk), Err(RebuildError::InOrder)));
    for damaged in [true, false] {
        let image = disk.copy();
        if damaged {
            image.flip("MANIFEST", 600);
        } else {
            Disk::remove(&image, "MANIFEST").unwrap();
        }
        match Embedded::polled(Arc::new(image.clone()), options()) {
            Err(OpenError::Damaged(damage)) => assert_eq!(damage[0].file, "MANIFEST"),
            other => panic!("{:?}", other.map(|_| ())),
        }
        let rebuilt = rebuild_manifest_disk(&image).unwrap();
        assert!(rebuilt.to_string().contains("promoted"), "{rebuilt}");
        let report = verify_disk(&image).unwrap();
        assert!(report.is_clean(), "{report}");
        let (log, report) = Embedded::polled(Arc::new(image), options()).unwrap();
        judge(&log, &report, promise).unwrap();
    }
}

#[test]
fn a_manifest_can_be_made_again_wherever_the_power_was_cut() {
    let driver = run(2, 300);
    let (mut seen, mut judged, mut unclear) = (0, 0, 0);
    let crashes = driver.disk.crashes();
    images(crashes, &driver.promises, Promise::default(), 1, &mut |image, promise, cut| {
        seen += 1;
        // Before the first block there is nothing to make it from.
        if seen % 7 != 0 || promise.durable == 0 {
            return;
        }
        let image = image.copy();
        Disk::remove(&image, "MANIFEST").unwrap();
        match rebuild_manifest_disk(&image) {
            Ok(rebuilt) => {
                judged += 1;
                check(&image, promise)
                    .unwrap_or_else(|wrong| panic!("power cut at call {cut}: {wrong}\n{rebuilt}"));
            }
            Err(RebuildError::Unclear(_)) => unclear += 1,
            Err(error) => panic!("power cut at call {cut}: {error}"),
        }
    });
    assert!(judged > 200 && unclear * 20 < judged, "{judged} {unclear}");
}

#[test]
fn a_directory_without_a_log_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(rebuild_manifest(dir.path()), Err(RebuildError::Unclear(_))));
    assert!(matches!(stele_log::plan_cut(dir.path()), Err(CutError::Open(OpenError::Format(_)))));
}
