//! Writes placed blocks in order, one write in flight, and tells how far the log is durable.
//!
//! Driven by a thread of its own ([`Journal::run`]), by [`Journal::step`] in the polled form, and by the appending thread
//! itself when nothing is under way ([`Journal::claim`]). A write that fails is never tried again: the journal is then
//! poisoned, and whoever appends has to recover by reading.

use crate::disk::{Disk, DiskFile, is_out_of_handles};
use crate::embedded::append::{Tail, Write};
use crate::embedded::catalog::Catalog;
use crate::embedded::cushion::Needs;
use crate::embedded::supply::{Source, Supply, install};
use crate::embedded::table::{Segment, Table};
use crate::embedded::volume::Volume;
use crate::embedded::{HANDLES_AGAIN, HANDLES_PATIENCE, lock};
use crate::format::page::{PAGE_BYTES, Page};
use crate::mutant::{self, Mutant};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use stele_model::id::Lsn;
use stele_model::log::AppendError;

/// Buffers kept for the next blocks.
const SPARE_MAX: usize = 4;

/// Told when something has completed; called from another thread.
pub type Waker = Box<dyn Fn() + Send + Sync>;

/// The journal of one log.
pub(crate) struct Journal {
    disk: Arc<dyn Disk>,
    catalog: Arc<Catalog>,
    supply: Arc<Mutex<Supply>>,
    table: Arc<Table>,
    volume: Arc<Volume>,
    queue: Mutex<Queue>,
    work: Condvar,
    durable: AtomicU64,
    /// From append to durable, over all blocks.
    commit_us: AtomicU64,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Queue {
    writes: VecDeque<Write>,
    /// A write is under way, on whichever thread.
    busy: bool,
    failed: Option<AppendError>,
    spare: Vec<Vec<Page>>,
    /// When the last write ended; nobody asks in the polled form.
    written: Option<Instant>,
    stop: bool,
}

impl Journal {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        catalog: Arc<Catalog>,
        supply: Arc<Mutex<Supply>>,
        table: Arc<Table>,
        volume: Arc<Volume>,
        durable: Lsn,
        waker: Option<Waker>,
    ) -> Self {
        let durable = AtomicU64::new(durable.0);
        let (queue, work, commit_us) = (Mutex::default(), Condvar::new(), AtomicU64::new(0));
        Self { disk, catalog, supply, table, volume, queue, work, durable, commit_us, waker }
    }

    /// The last durable block.
    pub(crate) fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// Microseconds from append to durable, added up.
    pub(crate) fn commit_us(&self) -> u64 {
        self.commit_us.load(Ordering::Relaxed)
    }

    /// Why nothing may be appended any more, if so.
    pub(crate) fn failed(&self) -> Option<AppendError> {
        lock(&self.queue).failed.clone()
    }

    /// Poisons the log from elsewhere: the background could not keep its promises.
    pub(crate) fn poison(&self, why: String) {
        lock(&self.queue).failed.get_or_insert(AppendError::Unknown(why));
        self.wake();
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker();
        }
    }

    /// A used buffer, or a new one.
    pub(crate) fn buffer(&self) -> Vec<Page> {
        lock(&self.queue).spare.pop().unwrap_or_default()
    }

    /// Hands a write over.
    pub(crate) fn push(&self, write: Write) {
        lock(&self.queue).writes.push_back(write);
        self.work.notify_one();
    }

    /// Takes the place of the writer if nothing is under way or waiting; [`Self::write_claimed`] is then due. The caller holds
    /// the tail, so that no marker slips in between.
    pub(crate) fn claim(&self) -> bool {
        let mut queue = lock(&self.queue);
        let free = !queue.busy && queue.writes.is_empty() && queue.failed.is_none();
        queue.busy |= free;
        free
    }

    /// Writes at once, on this thread.
    pub(crate) fn write_claimed(&self, write: Write) {
        self.perform(write);
    }

    /// Performs the next write. `false`: there is none.
    pub(crate) fn step(&self) -> bool {
        let mut queue = lock(&self.queue);
        if queue.failed.is_some() {
            queue.writes.clear();
        }
        if queue.busy {
            return false;
        }
        let Some(write) = queue.writes.pop_front() else { return false };
        queue.busy = true;
        drop(queue);
        self.perform(write);
        self.wake();
        true
    }

    /// Writes a marker behind the last block if nothing else is going on.
    pub(crate) fn mark(&self, tail: &Mutex<Tail>) {
        let mut tail = lock(tail);
        let mut queue = lock(&self.queue);
        if queue.busy || !queue.writes.is_empty() || queue.failed.is_some() {
            return;
        }
        let Some(write) = tail.marker(queue.spare.pop().unwrap_or_default()) else { return };
        queue.busy = true;
        drop((queue, tail));
        self.perform(write);
    }

    /// The journal's thread: until [`Self::stop`], and until everything handed over is written.
    pub(crate) fn run(&self, tail: &Mutex<Tail>, idle: Duration) {
        loop {
            if self.step() {
                continue;
            }
            let queue = lock(&self.queue);
            if !queue.writes.is_empty() && !queue.busy && queue.failed.is_none() {
                continue;
            }
            if queue.stop && !queue.busy {
                drop(queue);
                // An orderly end leaves no doubt about the last block.
                return self.mark(tail);
            }
            let (queue, waited) = self.work.wait_timeout(queue, idle).expect(super::PANICKED);
            // Commits on the appending thread do not wake this one.
            let recent = queue.written.is_some_and(|at| at.elapsed() < idle);
            drop(queue);
            if waited.timed_out() && !recent {
                self.mark(tail);
            }
        }
    }

    /// Lets the thread end.
    pub(crate) fn stop(&self) {
        lock(&self.queue).stop = true;
        self.work.notify_one();
    }

    /// Writes, with `busy` set by the caller, and tells the outcome.
    fn perform(&self, write: Write) {
        let block = write.block;
        let bytes = (write.len() * PAGE_BYTES) as u64;
        let (pages, outcome) = self.write(write);
        self.volume.budget.committed(bytes);
        let mut queue = lock(&self.queue);
        assert!(queue.busy, "one write is in flight");
        queue.busy = false;
        queue.written = Some(Instant::now());
        match (outcome, block) {
            (Ok(()), Some((lsn, since))) => {
                let before = self.durable.swap(lsn.0, Ordering::AcqRel);
                assert_eq!(before + 1, lsn.0, "blocks become durable in order");
                let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.commit_us.fetch_add(us, Ordering::Relaxed);
            }
            (Ok(()), None) => {}
            // A failed sync tells nothing of what the disk holds: the range is never written again.
            (Err(error), _) => {
                queue.failed.get_or_insert(AppendError::Unknown(format!("write the log: {error}")));
            }
        }
        if queue.spare.len() < SPARE_MAX {
            queue.spare.push(pages);
        }
        let more = !queue.writes.is_empty() || queue.stop;
        drop(queue);
        if more {
            self.work.notify_one();
        }
    }

    /// Makes the file of a segment. Nothing of its block is written yet, so what lacks may be waited for.
    fn install(&self, segment: &Segment, mut source: Source) -> io::Result<Arc<dyn DiskFile>> {
        let begun = Instant::now();
        loop {
            let error = match install(&*self.disk, &self.catalog, segment.number, &mut source) {
                Ok(file) => {
                    lock(&segment.state).promise = source.promise();
                    return Ok(file);
                }
                Err(error) => error,
            };
            if error.kind() == io::ErrorKind::StorageFull {
                if !lock(&self.supply).relieve(&*self.disk, Needs::Manifest)? {
                    return Err(error);
                }
            } else if is_out_of_handles(&error) && self.waker.is_some() && begun.elapsed() < HANDLES_PATIENCE
            {
                self.table.close_idle();
                std::thread::sleep(HANDLES_AGAIN);
            } else {
                return Err(error);
            }
        }
    }

    /// Writes; gives back the buffer as well.
    fn write(&self, mut write: Write) -> (Vec<Page>, io::Result<()>) {
        let segment = Arc::clone(&write.segment);
        let file = match write.install.take() {
            Some(source) => self.install(&segment, source),
            None => Ok(lock(&segment.state).file.clone().expect("its first write made the file")),
        };
        let outcome = file.and_then(|file| {
            lock(&segment.state).file.get_or_insert_with(|| Arc::clone(&file));
            let (page, parts) = (u64::from(write.page), write.parts());
            let outcome = file.write_parts(page, &parts);
            if let Some(promise) = &mut lock(&segment.state).promise {
                promise.written((page + write.len() as u64) * PAGE_BYTES as u64);
            }
            if mutant::on(Mutant::RetryWrite) {
                outcome.or_else(|_| file.write_parts(page, &parts))
            } else {
                outcome
            }
        });
        (write.pages, outcome)
    }
}
