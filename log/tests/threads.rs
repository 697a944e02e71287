//! The threaded form under everything at once: appends, snapshots, trims, promotions and readers on threads of their own.

mod scene;

use scene::{Promise, alive, block, changes, chunks, judge, options, record};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel, sync_channel};
use std::time::Duration;
use stele_log::disk::Disk;
use stele_log::disk::fault::FaultDisk;
use stele_log::disk::real::RealDisk;
use stele_log::{Embedded, Options, Reader, verify_disk};
use stele_model::id::Lsn;
use stele_model::log::{Completion, LogStore, RecordReader};

const BLOCKS: u64 = 1000;

struct Shard {
    log: Embedded,
    wake: Receiver<()>,
    durable: u64,
    appended: u64,
    promotions: usize,
    snapshots: usize,
}

fn open(disk: Arc<dyn Disk>) -> (Shard, stele_log::Recovery) {
    let (sender, wake) = sync_channel(1);
    let waker = Box::new(move || {
        // Full: a wake-up is on its way.
        let _ = sender.try_send(());
    });
    let (log, report) = Embedded::threaded(disk, Options { margin_bytes: 0, ..options() }, waker).unwrap();
    (Shard { log, wake, durable: 0, appended: 0, promotions: 0, snapshots: 0 }, report)
}

impl Shard {
    fn append(&mut self) {
        while self.appended - self.durable >= u64::from(self.log.limits().in_flight_max) {
            if !self.collect() {
                self.wake.recv().unwrap();
            }
        }
        self.appended += 1;
        let lsn = self.appended;
        self.log.append(block(lsn), lsn.is_multiple_of(3)).unwrap();
        self.log.live(&changes(lsn));
        self.collect();
        if lsn.is_multiple_of(40) {
            self.log.snapshot(Lsn(self.durable), chunks(self.durable));
        }
    }

    /// Whether anything became durable.
    fn collect(&mut self) -> bool {
        let mut out = Vec::new();
        self.log.poll(&mut out);
        for completion in &out {
            match completion {
                Completion::Durable(lsn) => self.durable = lsn.0,
                Completion::Failed(error) => panic!("{error:?}"),
            }
        }
        if let Some(lsn) = self.log.snapshot_done() {
            self.snapshots += 1;
            self.log.trim(lsn);
        }
        if let Some(range) = self.log.wanted() {
            self.promotions += 1;
            let inside = alive(self.appended).filter(|lsn| (range.0.0..=range.1.0).contains(lsn));
            let records =
                inside.filter_map(record).map(|(place, bytes)| (place, bytes.len() as u32)).collect();
            self.log.survivors(range, records);
        }
        !out.is_empty()
    }
}

/// Reads records that are never settled, over and over, one by one and several at once.
fn read_on(reader: &Reader, durable: &AtomicU64, done: &AtomicBool) -> u64 {
    let mut count = 0;
    while !done.load(Ordering::Acquire) {
        let durable = durable.load(Ordering::Acquire);
        let kept: Vec<_> = (1..=durable / 17).filter_map(|i| record(i * 17)).collect();
        let wanted: Vec<_> = kept.iter().map(|(place, bytes)| (*place, bytes.len() as u32)).collect();
        let found = reader.records(&wanted).unwrap();
        assert!(found.iter().eq(kept.iter().map(|(_, bytes)| bytes)));
        count += found.len() as u64;
        // The disk in memory has one lock, and this loop would keep it.
        std::thread::yield_now();
    }
    count
}

/// Lets the readers end.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn stress(disk: &Arc<dyn Disk>) {
    let (mut shard, _) = open(Arc::clone(disk));
    let (durable, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let readers = [shard.log.reader(), shard.log.reader()];
    let read = std::thread::scope(|scope| {
        let threads = readers.map(|reader| {
            let (durable, done) = (&durable, &done);
            scope.spawn(move || read_on(&reader, durable, done))
        });
        // Also when something in here panics: the scope waits for the readers.
        let ended = Ended(&done);
        // At least so many; on a machine that is busy the background may need more to get its turn.
        while shard.appended < BLOCKS || (shard.promotions < 2 && shard.appended < 20 * BLOCKS) {
            shard.append();
            durable.store(shard.durable, Ordering::Release);
        }
        drop(ended);
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
    });
    assert!(
        read > 0 && shard.promotions > 0 && shard.snapshots > 0,
        "{read} {} {}",
        shard.promotions,
        shard.snapshots
    );
    assert_eq!(shard.log.damage(), None);
    let promise = Promise { durable: shard.durable, appended: shard.appended, snapshot: 0 };
    drop(shard);
    let (again, report) = open(Arc::clone(disk));
    assert_eq!(report.tail.0, promise.appended, "dropping writes what was handed over");
    judge(&again.log, &report, promise).unwrap();
    drop(again);
    let report = verify_disk(&**disk).unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn readers_see_every_live_record_while_segments_are_moved_and_recycled() {
    stress(&(Arc::new(FaultDisk::new()) as Arc<dyn Disk>));
}

#[test]
fn the_same_holds_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    stress(&(Arc::new(RealDisk::open(dir.path()).unwrap()) as Arc<dyn Disk>));
}

#[test]
fn a_shard_is_not_held_up_by_a_reader_of_a_footer() {
    let disk = FaultDisk::new();
    let (mut shard, _) = open(Arc::new(disk.clone()));
    while shard.appended < 60 {
        shard.append();
    }
    drop(shard);
    // The first start seals what was open, and has its footer in memory; the second has none.
    drop(open(Arc::new(disk.clone())));
    let (shard, _) = open(Arc::new(disk.clone()));
    let mut log = shard.log;
    let reader = log.reader();
    let (place, bytes) = (1..60).find_map(record).unwrap();
    disk.stall_reads();
    let (told, heard) = channel();
    std::thread::scope(|scope| {
        let read = scope.spawn(move || reader.record(place, bytes.len() as u32).map(|read| read == bytes));
        disk.until_stalled(1);
        let counted = scope.spawn(move || {
            log.live(&[(place.lsn, 1)]);
            // The test ends by itself when nobody listens any more.
            let _ = told.send(());
            log
        });
        let counted_meanwhile = heard.recv_timeout(Duration::from_secs(120));
        disk.release();
        assert_eq!(read.join().unwrap(), Ok(true));
        drop(counted.join().unwrap());
        assert_eq!(counted_meanwhile, Ok(()), "what is alive is counted while the reader waits for the disk");
    });
}
