//! The embedded engine on a fault disk: driven one write at a time, crashed between any two writes and in the middle of one, with
//! any subset of the unsynced pages kept, torn at a sector.
//!
//! The engine is the one that ships; only its clock-free, polled form is used, so that a run follows from its seed.

use super::Image;
use crate::rng::Rng;
use bytes::Bytes;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stele_log::disk::fault::crash::Choice;
use stele_log::disk::fault::{Fault, FaultDisk};
use stele_log::{Embedded, Options};
use stele_model::id::{Lsn, Place};
use stele_model::log::{
    AppendError, Block, Completion, Durability, Limits, LogStore, ReadError, RecordReader,
};

/// Handle of a log; clones are the same log.
#[derive(Clone)]
pub struct EngineLog(Arc<Mutex<Inner>>);

struct Inner {
    disk: FaultDisk,
    options: Options,
    rng: Rng,
    /// One step in so many meets a disk that fails; 0: none does.
    fail_one_in: u64,
    log: Option<Embedded>,
    appended: Lsn,
    told: Lsn,
    /// The background may have something to do.
    stirred: bool,
    completions: Vec<Completion>,
    failed: bool,
}

/// Bytes of a segment, the fewest the engine allows: many segments come and go in a short run.
const SEGMENT_BYTES: u64 = 64 << 10;

impl EngineLog {
    /// An empty disk. `number` is the log's among those of its node.
    #[must_use]
    pub fn new(number: u16, fail_one_in: u64, rng: Rng) -> Self {
        let options = Options {
            shard: number,
            identity: u64::from(number) + 1,
            segment_bytes: SEGMENT_BYTES,
            starter_bytes: SEGMENT_BYTES,
            pool_min: 2,
            log_bytes_max: 2 * SEGMENT_BYTES,
            margin_bytes: SEGMENT_BYTES,
            ..Options::default()
        };
        Self(Arc::new(Mutex::new(Inner {
            disk: FaultDisk::new(),
            options,
            rng,
            fail_one_in,
            log: None,
            appended: Lsn(0),
            told: Lsn(0),
            stirred: true,
            completions: Vec::new(),
            failed: false,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self) -> Result<(), String> {
        let mut inner = self.inner();
        let opened = Embedded::polled(Arc::new(inner.disk.clone()), inner.options.clone());
        let (mut log, report) = opened.map_err(|error| format!("{error:?}"))?;
        log.hold(true);
        inner.log = Some(log);
        inner.appended = report.tail;
        inner.told = report.tail;
        inner.stirred = true;
        inner.completions.clear();
        inner.failed = false;
        Ok(())
    }

    pub(super) fn busy(&self) -> bool {
        let inner = self.inner();
        !inner.failed && (inner.told < inner.appended || inner.stirred)
    }

    pub(super) fn step(&self) {
        let mut inner = self.inner();
        let n = inner.fail_one_in;
        if n > 0 && inner.rng.chance(1, n) {
            let fault = *inner.rng.pick(&[Fault::Error, Fault::Torn]);
            inner.disk.fail(inner.disk.calls(), fault);
        }
        inner.step();
    }

    pub(super) fn crash(&self) {
        let mut inner = self.inner();
        let before = inner.trace_len();
        if inner.rng.chance(2, 3) {
            // In the middle of the next writes: nobody is told that they have ended.
            for _ in 0..inner.rng.between(1, 3) {
                inner.step();
            }
        }
        // The engine writes what it holds when it is dropped in order; a crash is not in order.
        let after = inner.trace_len();
        let at = inner.rng.between(before, after);
        let mut crashes = inner.disk.crashes();
        for _ in 0..at {
            crashes.advance();
        }
        let choice = match inner.rng.below(4) {
            0 => Choice::Nothing,
            1 => Choice::Everything,
            _ => Choice::Some(inner.rng.number()),
        };
        inner.disk = crashes.image(choice);
        inner.log = None;
    }

    pub(super) fn behave(&self) {
        self.inner().fail_one_in = 0;
    }

    pub(super) fn image(&self) -> Image {
        let inner = self.inner();
        let mut image = Image { blocks: Vec::new(), snapshot: None, tail: inner.appended };
        let Some(log) = &inner.log else { return image };
        if log.read(log.first(), usize::MAX, &mut |block| image.blocks.push(block)).is_ok() {
            image.snapshot = log.load_snapshot().ok().flatten();
        }
        image
    }
}

impl Inner {
    /// One write of the journal, else one piece of background work.
    fn step(&mut self) {
        let Some(log) = &mut self.log else { return };
        if self.told < self.appended && !self.failed {
            log.hold(false);
            log.poll(&mut self.completions);
            log.hold(true);
        } else {
            self.stirred = log.work();
        }
        self.note();
    }

    fn note(&mut self) {
        for completion in &self.completions {
            match completion {
                Completion::Durable(through) => self.told = *through,
                Completion::Failed(_) => self.failed = true,
            }
        }
    }

    /// Calls that the disk's trace has.
    fn trace_len(&self) -> u64 {
        let mut crashes = self.disk.crashes();
        // The last step along the trace says that it was the last.
        let mut len = 1;
        while crashes.advance() {
            len += 1;
        }
        len
    }

    fn open_log(&mut self) -> &mut Embedded {
        self.log.as_mut().expect("a runner stands on an open log")
    }
}

impl LogStore for EngineLog {
    fn limits(&self) -> Limits {
        self.inner().open_log().limits()
    }

    fn durability(&self) -> Durability {
        Durability::Synced
    }

    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError> {
        let mut inner = self.inner();
        let lsn = block.lsn;
        inner.open_log().append(block, inline)?;
        inner.appended = lsn;
        inner.stirred = true;
        Ok(())
    }

    fn use_reserve(&mut self, allowed: bool) {
        self.inner().open_log().use_reserve(allowed);
    }

    fn poll(&mut self, out: &mut Vec<Completion>) {
        let mut inner = self.inner();
        let mut completions = std::mem::take(&mut inner.completions);
        // Held: it writes nothing, and only tells what has ended.
        inner.open_log().poll(&mut completions);
        inner.completions = completions;
        inner.note();
        out.append(&mut inner.completions);
    }

    fn read(&self, from: Lsn, bytes_max: usize, sink: &mut dyn FnMut(Block)) -> Result<(), ReadError> {
        self.inner().open_log().read(from, bytes_max, sink)
    }

    fn tail(&self) -> Result<Lsn, ReadError> {
        self.inner().open_log().tail()
    }

    fn trim(&mut self, below: Lsn) {
        let mut inner = self.inner();
        inner.stirred = true;
        inner.open_log().trim(below);
    }

    fn live(&mut self, changes: &[(Lsn, i64)]) {
        let mut inner = self.inner();
        inner.stirred = true;
        inner.open_log().live(changes);
    }

    fn wanted(&mut self) -> Option<(Lsn, Lsn)> {
        self.inner().open_log().wanted()
    }

    fn survivors(&mut self, range: (Lsn, Lsn), records: Vec<(Place, u32)>) {
        let mut inner = self.inner();
        inner.stirred = true;
        inner.open_log().survivors(range, records);
    }

    fn snapshot(&mut self, lsn: Lsn, chunks: Vec<Bytes>) {
        let mut inner = self.inner();
        inner.stirred = true;
        inner.open_log().snapshot(lsn, chunks);
    }

    fn snapshot_done(&mut self) -> Option<Lsn> {
        self.inner().open_log().snapshot_done()
    }

    fn load_snapshot(&self) -> Result<Option<(Lsn, Vec<Bytes>)>, ReadError> {
        self.inner().open_log().load_snapshot()
    }
}

impl RecordReader for EngineLog {
    fn record(&self, place: Place, len: u32) -> Result<Bytes, ReadError> {
        self.inner().open_log().reader().record(place, len)
    }
}
