//! Decay of every page in use: flipped bits, zeroed pages, files cut short. All of it is detected, and never is a log silently
//! shorter or a record silently another.

mod scene;

use scene::{Driver, alive, block, chunks, options, record};
use std::sync::Arc;
use stele_log::disk::Disk;
use stele_log::disk::fault::FaultDisk;
use stele_log::format::manifest::Manifest;
use stele_log::format::page::PAGE_BYTES;
use stele_log::{Embedded, OpenError, Report, verify_disk};
use stele_model::id::Lsn;
use stele_model::log::{LogStore, ReadError, RecordReader};

/// A disk with every kind of file on it, and what was acknowledged.
fn finished() -> (FaultDisk, u64) {
    let disk = FaultDisk::new();
    let (mut driver, _) = Driver::open(&disk, options(), 4).unwrap();
    for _ in 0..260 {
        driver.step().unwrap();
    }
    for _ in 0..100 {
        driver.poll();
    }
    driver.log.idle();
    assert!(driver.promotions > 0 && driver.snapshots > 0);
    (disk.copy(), driver.promise.durable)
}

/// Opens and reads everything; whether anything was found to be damaged. Panics at what is wrong in silence.
fn meets_damage(disk: &FaultDisk, durable: u64, what: &str) -> bool {
    let (log, report) = match Embedded::polled(Arc::new(disk.clone()), options()) {
        Ok(opened) => opened,
        Err(OpenError::Damaged(_) | OpenError::Format(_)) => return true,
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(report.tail.0, durable, "{what}: the log is silently shorter");
    let mut met = false;
    match log.load_snapshot() {
        Ok(Some((lsn, loaded))) => assert_eq!(loaded, chunks(lsn.0), "{what}"),
        Err(ReadError::Corrupt { .. }) => met = true,
        other => panic!("{what}: {other:?}"),
    }
    let mut next = report.snapshot.map_or(1, |lsn| lsn.0 + 1);
    let read = log.read(Lsn(next), usize::MAX, &mut |found| {
        assert_eq!(found, block(next), "{what}");
        next += 1;
    });
    match read {
        Ok(()) => assert_eq!(next, durable + 1, "{what}: replay ends early"),
        Err(ReadError::Corrupt { at, .. }) => {
            assert_eq!(at.0, next, "{what}");
            met = true;
        }
        Err(error) => panic!("{what}: {error:?}"),
    }
    let reader = log.reader();
    for (place, bytes) in alive(durable).filter_map(record) {
        match reader.record(place, bytes.len() as u32) {
            Ok(found) => assert_eq!(found, bytes, "{what}"),
            Err(ReadError::Corrupt { .. }) => met = true,
            Err(error) => panic!("{what}: {error:?}"),
        }
    }
    met
}

/// The pages of a file that hold something, as far as a check from outside can tell.
fn pages_in_use(report: &Report, file: &str, bytes: u64) -> u64 {
    if let Some(segment) = report.segments.iter().find(|segment| segment.file == file) {
        let used = segment.used_bytes / PAGE_BYTES as u64;
        // The last thing in the log is a marker, whose loss takes nothing away.
        return if segment.sealed { used + 1 } else { used - 1 };
    }
    let newest = report.snapshot.map(|lsn| format!("snap-{:020}", lsn.0));
    let whole = ["MANIFEST", "FORMAT"].contains(&file) || newest.as_deref() == Some(file);
    if whole { bytes / PAGE_BYTES as u64 } else { 0 }
}

fn each_page(damage: impl Fn(&FaultDisk, &str, usize)) -> (u32, u32) {
    let (disk, durable) = finished();
    let report = verify_disk(&disk).unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(!meets_damage(&disk.copy(), durable, "as it was written"));
    let (mut pages, mut met) = (0, 0);
    for found in disk.list().unwrap() {
        for page in 0..pages_in_use(&report, &found.name, found.bytes) as usize {
            let what = format!("{} page {page}", found.name);
            let copy = disk.copy();
            damage(&copy, &found.name, page);
            let verified = verify_disk(&copy);
            assert!(!matches!(verified, Ok(report) if report.is_clean()), "{what}: verify finds nothing");
            met += u32::from(meets_damage(&copy, durable, &what));
            pages += 1;
        }
    }
    (pages, met)
}

#[test]
fn a_flipped_bit_in_any_page_is_detected_and_changes_nothing_in_silence() {
    let (pages, met) =
        each_page(|disk, file, page| disk.flip(file, page * PAGE_BYTES * 8 + (page * 7919) % 32_768));
    assert!(pages > 50 && met > pages / 3, "{met} of {pages}");
}

#[test]
fn a_zeroed_page_is_detected_and_changes_nothing_in_silence() {
    each_page(|disk, file, page| disk.zero(file, page..page + 1));
}

#[test]
fn a_file_cut_short_at_any_page_is_detected_and_changes_nothing_in_silence() {
    // What a growing file loses at its end looks as if it had never been written (docs/durability.md): there a bit is flipped.
    each_page(|disk, file, page| {
        if grows(disk, file) { disk.flip(file, page * PAGE_BYTES * 8) } else { disk.truncate(file, page) }
    });
}

/// Whether it is a segment that is open and had no length when it went into use.
fn grows(disk: &FaultDisk, file: &str) -> bool {
    let manifest = disk.page("MANIFEST", 0).unwrap();
    let manifest = Manifest::decode(manifest.bytes()).unwrap();
    let entry = manifest.segments.iter().find(|entry| format!("seg-{:010}", entry.number) == file);
    entry.is_some_and(|entry| entry.sealed.is_none() && entry.file_pages == 0)
}

#[test]
fn a_missing_file_is_detected() {
    let (disk, durable) = finished();
    let report = verify_disk(&disk).unwrap();
    for found in disk.list().unwrap() {
        if pages_in_use(&report, &found.name, found.bytes) > 0
            && found.name != "FORMAT"
            && !found.name.starts_with("snap-")
        {
            let copy = disk.copy();
            copy.remove(&found.name).unwrap();
            assert!(meets_damage(&copy, durable, &found.name), "{}", found.name);
        }
    }
}

#[test]
fn a_rotten_last_block_is_told_from_a_torn_one_by_the_marker_behind_it() {
    let disk = FaultDisk::new();
    let (mut driver, _) = Driver::open(&disk, options(), 4).unwrap();
    for _ in 0..3 {
        driver.step().unwrap();
    }
    for _ in 0..10 {
        driver.poll();
    }
    let (torn, rotten) = (disk.copy(), disk.copy());
    driver.log.idle();
    let marked = disk.copy();
    drop(driver);
    let last = |disk: &FaultDisk| verify_disk(disk).unwrap().segments.last().unwrap().clone();
    let segment = last(&torn);
    rotten.flip(&segment.file, (segment.used_bytes as usize - 100) * 8);
    let (_, report) = Embedded::polled(Arc::new(rotten), options()).unwrap();
    assert_eq!(report.tail, Lsn(2), "as good as torn");
    marked.flip(&segment.file, (segment.used_bytes as usize - 100) * 8);
    match Embedded::polled(Arc::new(marked), options()) {
        Err(OpenError::Damaged(damage)) => {
            assert_eq!((damage[0].lsn, &damage[0].file), (Lsn(3), &segment.file));
        }
        other => panic!("{:?}", other.map(|(_, report)| report)),
    }
}
