//! A small world for the tests of the engine: blocks that follow from their number, a machine that is too simple to be wrong,
//! and a driver that does to a log what a shard does.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_log::disk::fault::FaultDisk;
use stele_log::disk::fault::crash::{Choice, Crashes};
use stele_log::{Embedded, OpenError, Options, Recovery};
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{AppendError, Block, Completion, LogStore, RecordReader};

/// Segments of 64 KiB and a budget of four of them.
pub fn options() -> Options {
    Options {
        identity: 7,
        segment_bytes: 64 << 10,
        starter_bytes: 64 << 10,
        pool_min: 1,
        log_bytes_max: 256 << 10,
        margin_bytes: 64 << 10,
        ..Options::default()
    }
}

/// Splitmix64 of two numbers.
pub fn hash(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bytes(seed: u64, len: usize) -> Bytes {
    (0..len.div_ceil(8))
        .flat_map(|i| hash(seed, i as u64).to_le_bytes())
        .take(len)
        .collect::<Vec<u8>>()
        .into()
}

/// Block number `lsn`.
pub fn block(lsn: u64) -> Block {
    let len = match lsn % 11 {
        0 => 0,
        1 => 16_000,
        2..=4 => 60 + hash(lsn, 1) % 100,
        _ => hash(lsn, 1) % 6000,
    };
    Block { lsn: Lsn(lsn), time: Now(lsn * 1000), entries: lsn as u32 % 5, body: bytes(lsn, len as usize) }
}

/// The record that block `lsn` publishes, unless it is too short for one.
pub fn record(lsn: u64) -> Option<(Place, Bytes)> {
    let body = block(lsn).body;
    let at = (lsn % 50) as usize;
    (body.len() > at + 20).then(|| (Place { lsn: Lsn(lsn), at: at as u32 }, body.slice(at..)))
}

/// The block that settles the record of block `lsn`; one in seventeen is never settled.
fn settled_by(lsn: u64) -> u64 {
    if lsn.is_multiple_of(17) { u64::MAX } else { lsn + 1 + hash(lsn, 2) % 40 }
}

/// Records that are alive after block `tail`.
pub fn alive(tail: u64) -> impl Iterator<Item = u64> {
    (1..=tail).filter(move |lsn| settled_by(*lsn) > tail && record(*lsn).is_some())
}

/// What changes in liveness with block `lsn`.
pub fn changes(lsn: u64) -> Vec<(Lsn, i64)> {
    let len = |lsn| record(lsn).map_or(0, |(_, bytes)| bytes.len() as i64);
    let settled = (lsn.saturating_sub(41)..lsn).filter(|old| settled_by(*old) == lsn);
    settled
        .map(|old| (Lsn(old), -len(old)))
        .chain([(Lsn(lsn), len(lsn))])
        .filter(|(_, bytes)| *bytes != 0)
        .collect()
}

/// A chunk of the snapshot at `lsn`: the first change seldom, the last with every block.
fn chunk(i: u64, lsn: u64) -> (u64, usize) {
    (hash(i, lsn >> (6 - i)), [9000, 70_000, 300, 0, 5000][i as usize])
}

/// The snapshot at `lsn`.
pub fn chunks(lsn: u64) -> Vec<Bytes> {
    (0..5).map(|i| chunk(i, lsn)).map(|(seed, len)| bytes(seed, len)).collect()
}

/// What was promised at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// Acknowledged as durable.
    pub durable: u64,
    /// Handed to the log.
    pub appended: u64,
    /// The newest snapshot reported durable.
    pub snapshot: u64,
}

/// A shard, as far as a log can see.
pub struct Driver {
    pub log: Embedded,
    pub disk: FaultDisk,
    pub promise: Promise,
    pub promises: Vec<Promise>,
    pub failed: Option<AppendError>,
    /// How often survivors were told.
    pub promotions: usize,
    pub snapshots: usize,
    held: BTreeMap<(u64, usize), Bytes>,
    seed: u64,
}

impl Driver {
    pub fn open(disk: &FaultDisk, options: Options, seed: u64) -> Result<(Self, Recovery), OpenError> {
        let (log, report) = Embedded::polled(Arc::new(disk.clone()), options)?;
        let tail = report.tail.0;
        let promise =
            Promise { durable: tail, appended: tail, snapshot: report.snapshot.map_or(0, |lsn| lsn.0) };
        let disk = disk.clone();
        let (promises, held) = (Vec::new(), BTreeMap::new());
        let mut driver =
            Self { log, disk, promise, promises, failed: None, promotions: 0, snapshots: 0, held, seed };
        let live: Vec<_> =
            alive(tail).filter_map(record).map(|(p, bytes)| (p.lsn, bytes.len() as i64)).collect();
        driver.log.live(&live);
        driver.promise(|_| {});
        Ok((driver, report))
    }

    fn promise(&mut self, change: impl FnOnce(&mut Promise)) {
        change(&mut self.promise);
        self.promises.push(self.promise);
        self.disk.mark(self.promises.len() as u64 - 1);
    }

    fn dice(&mut self, sides: u64) -> u64 {
        self.seed = hash(self.seed, 3);
        self.seed % sides
    }

    /// Appends the next block and does what else a shard does meanwhile.
    pub fn step(&mut self) -> Result<(), AppendError> {
        let lsn = self.promise.appended + 1;
        self.promise(|promise| promise.appended = lsn);
        let inline = self.dice(3) == 0;
        if let Err(error) = self.log.append(block(lsn), inline) {
            self.promise.appended -= 1;
            return Err(error);
        }
        // Told as early as can be: the engine has to wait with what follows from it.
        self.log.live(&changes(lsn));
        if lsn.is_multiple_of(25) && self.promise.durable > 0 {
            let at = self.promise.durable;
            let chunks = (0..5).map(|i| self.chunk(chunk(i, at))).collect();
            self.log.snapshot(Lsn(at), chunks);
        }
        // Background work while writes are waiting, which `poll` does not do.
        for _ in 0..self.dice(4) {
            self.log.work();
        }
        for _ in 0..=self.dice(4) {
            self.poll();
        }
        if self.promise.durable < lsn.saturating_sub(1) {
            self.poll();
        }
        if self.dice(10) == 0 {
            self.log.idle();
        }
        Ok(())
    }

    fn chunk(&mut self, (seed, len): (u64, usize)) -> Bytes {
        self.held.entry((seed, len)).or_insert_with(|| bytes(seed, len)).clone()
    }

    pub fn poll(&mut self) {
        let mut out = Vec::new();
        self.log.poll(&mut out);
        for completion in out {
            match completion {
                Completion::Durable(lsn) => self.promise(|promise| promise.durable = lsn.0),
                Completion::Failed(error) => self.failed = Some(error),
            }
        }
        if let Some(lsn) = self.log.snapshot_done() {
            self.snapshots += 1;
            self.promise(|promise| promise.snapshot = lsn.0);
            self.log.trim(lsn);
        }
        if let Some(range) = self.log.wanted() {
            self.promotions += 1;
            let inside = alive(self.promise.appended).filter(|lsn| (range.0.0..=range.1.0).contains(lsn));
            let records =
                inside.filter_map(record).map(|(place, bytes)| (place, bytes.len() as u32)).collect();
            self.log.survivors(range, records);
        }
    }
}

/// Judges a log that was recovered, knowing only what had been promised.
pub fn judge(log: &Embedded, report: &Recovery, promise: Promise) -> Result<(), String> {
    let tail = report.tail.0;
    if tail < promise.durable || tail > promise.appended {
        return Err(format!("recovered up to {tail}, promised {promise:?}"));
    }
    let snapshot = report.snapshot.map_or(0, |lsn| lsn.0);
    if snapshot < promise.snapshot || snapshot > tail {
        return Err(format!("snapshot {snapshot}, promised {promise:?}"));
    }
    match log.load_snapshot() {
        Ok(None) if snapshot == 0 => {}
        Ok(Some((lsn, loaded))) if lsn.0 == snapshot && loaded == chunks(snapshot) => {}
        other => {
            return Err(format!(
                "snapshot {snapshot} loads as {:?}",
                other.map(|some| some.map(|(lsn, _)| lsn))
            ));
        }
    }
    let mut next = snapshot + 1;
    let mut wrong = None;
    let read = log.read(Lsn(next), usize::MAX, &mut |found| {
        if found != block(next) {
            wrong.get_or_insert(next);
        }
        next += 1;
    });
    if read.is_err() || wrong.is_some() || next != tail + 1 {
        return Err(format!(
            "replay from {snapshot} to {tail} ended before {next}: {read:?}, wrong {wrong:?}"
        ));
    }
    let reader = log.reader();
    for (place, bytes) in alive(tail).filter_map(record) {
        let found = reader.record(place, bytes.len() as u32);
        if found.as_ref() != Ok(&bytes) {
            return Err(format!(
                "the live record at {place:?} reads as {:?}",
                found.map(|bytes| bytes.len())
            ));
        }
    }
    Ok(())
}

/// Recovers from one image and judges it.
pub fn check(image: &FaultDisk, promise: Promise) -> Result<(), String> {
    let (log, report) = Embedded::polled(Arc::new(image.clone()), options())
        .map_err(|error| format!("does not open: {error}"))?;
    judge(&log, &report, promise)
}

/// A run of so many blocks that nothing disturbs.
pub fn run(seed: u64, blocks: u64) -> Driver {
    let disk = FaultDisk::new();
    let (mut driver, _) = Driver::open(&disk, options(), seed).unwrap();
    for _ in 0..blocks {
        driver.step().unwrap();
    }
    for _ in 0..200 {
        driver.poll();
    }
    assert_eq!((driver.failed.clone(), driver.log.damage()), (None, None));
    driver
}

/// Walks along a trace and calls `visit` with each image worth looking at, `each` random ones where anything is undecided.
pub fn images(
    mut crashes: Crashes,
    promises: &[Promise],
    before: Promise,
    each: u64,
    visit: &mut dyn FnMut(&FaultDisk, Promise, usize),
) -> u64 {
    let mut count = 0;
    let mut cut = 0;
    loop {
        let promise = crashes.mark().map_or(before, |mark| promises[mark as usize]);
        let choices = [Choice::Nothing, Choice::Everything]
            .into_iter()
            .chain((0..each).map(|i| Choice::Some(i * 7919 + cut)));
        for choice in choices.take(if crashes.undecided() == 0 { 1 } else { usize::MAX }) {
            visit(&crashes.image(choice), promise, cut as usize);
            count += 1;
        }
        cut += 1;
        if !crashes.advance() {
            return count;
        }
    }
}
