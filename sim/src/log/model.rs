//! A log in memory with everything an engine may do to its machine: completions come late, several at once; an append ends as
//! `Unknown` and its block is there after the restart, or not; a crash takes any suffix of what was not synced; trimmed blocks
//! whose records nobody refers to are gone; surviving records are moved (promotion) and the rest of their block is gone.
//!
//! Blocks hold bytes here, not pages: tearing is shown by the embedded engine on its fault disk ([`super::engine`]).

use super::Image;
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use stele_model::id::{Lsn, Place};
use stele_model::log::{
    AppendError, Block, Completion, Durability, Limits, LogStore, ReadError, RecordReader,
};

/// Handle of a log; clones are the same log.
#[derive(Clone, Debug)]
pub struct ModelLog(Arc<Mutex<Disk>>);

/// What the log does besides its duty.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// Blocks in flight at most.
    pub in_flight_max: u32,
    /// One append in so many ends as unknown; 0: never.
    pub unknown_one_in: u64,
    /// One append in so many finds no space, for a while; 0: never.
    pub full_one_in: u64,
    /// One step in so many asks for survivors; 0: never.
    pub promote_one_in: u64,
    /// It says that blocks are synced which are not (a mutant).
    pub lies: bool,
}

#[derive(Debug)]
struct Disk {
    habits: Habits,
    rng: Rng,
    blocks: BTreeMap<Lsn, Kept>,
    synced: Lsn,
    appended: Lsn,
    completions: Vec<Completion>,
    broken: bool,
    full_for: u32,
    trimmed: Lsn,
    /// Sums of [`LogStore::live`]; `None` until the first call after a start.
    live: Option<BTreeMap<Lsn, i64>>,
    wanted: Option<(Lsn, Lsn)>,
    asked: Option<(Lsn, Lsn)>,
    snapshot: Option<(Lsn, Vec<Bytes>)>,
    writing: Option<(Lsn, Vec<Bytes>)>,
    told: Option<Lsn>,
}

/// What is left of a block.
#[derive(Debug)]
enum Kept {
    /// Everything.
    Whole(Block),
    /// Records that were referred to when it was promoted.
    Records(BTreeMap<Place, Bytes>),
    /// Nothing.
    Gone,
}

impl ModelLog {
    /// An empty log.
    #[must_use]
    pub fn new(habits: Habits, rng: Rng) -> Self {
        Self(Arc::new(Mutex::new(Disk {
            habits,
            rng,
            blocks: BTreeMap::new(),
            synced: Lsn(0),
            appended: Lsn(0),
            completions: Vec::new(),
            broken: false,
            full_for: 0,
            trimmed: Lsn(0),
            live: None,
            wanted: None,
            asked: None,
            snapshot: None,
            writing: None,
            told: None,
        })))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn busy(&self) -> bool {
        let disk = self.disk();
        disk.writing.is_some() || disk.full_for > 0 || (disk.synced < disk.appended && !disk.broken)
    }

    pub(super) fn step(&self) {
        self.disk().step();
    }

    pub(super) fn crash(&self) {
        self.disk().crash();
    }

    pub(super) fn behave(&self) {
        let mut disk = self.disk();
        disk.habits = Habits { unknown_one_in: 0, full_one_in: 0, promote_one_in: 0, ..disk.habits };
    }

    pub(super) fn image(&self) -> Image {
        let disk = self.disk();
        let blocks = disk.blocks.values().filter_map(|kept| match kept {
            Kept::Whole(block) => Some(block.clone()),
            _ => None,
        });
        Image { blocks: blocks.collect(), snapshot: disk.snapshot.clone(), tail: disk.appended }
    }
}

impl Disk {
    fn step(&mut self) {
        self.full_for = self.full_for.saturating_sub(1);
        if self.writing.is_some() && self.rng.chance(1, 2) {
            if let Some((lsn, chunks)) = self.writing.take() {
                self.told = Some(lsn);
                self.snapshot = Some((lsn, chunks));
            }
            return;
        }
        if self.synced < self.appended && !self.broken {
            if one_in(&mut self.rng, self.habits.unknown_one_in) {
                self.broken = true;
                self.completions.push(Completion::Failed(AppendError::Unknown("the model says so".into())));
                return;
            }
            self.synced.0 = self.rng.between(self.synced.0 + 1, self.appended.0);
            self.completions.push(Completion::Durable(self.synced));
        }
        if self.wanted.is_none()
            && self.asked.is_none()
            && self.trimmed.0 > 0
            && one_in(&mut self.rng, self.habits.promote_one_in)
        {
            let first = self.rng.between(1, self.trimmed.0);
            self.wanted = Some((Lsn(first), Lsn(self.rng.between(first, self.trimmed.0))));
        }
    }

    fn crash(&mut self) {
        // What was appended after the last sync survives up to any block: blocks are written in order.
        let first =
            if self.habits.lies { self.snapshot.as_ref().map_or(0, |(lsn, _)| lsn.0) } else { self.synced.0 };
        let last = self.rng.between(first, self.appended.0);
        self.blocks.retain(|lsn, _| lsn.0 <= last);
        self.synced = Lsn(last);
        self.appended = Lsn(last);
        self.completions.clear();
        self.broken = false;
        self.full_for = 0;
        self.live = None;
        self.wanted = None;
        self.asked = None;
        self.told = None;
        // A snapshot counts from the moment it is whole on disk, which may be before anybody was told.
        let written = self.writing.take().filter(|(lsn, _)| *lsn <= self.synced);
        if written.is_some() && self.rng.chance(1, 2) {
            self.snapshot = written;
        }
        // A trim is a hint, carried out after the snapshot is durable; nothing to undo.
    }

    /// Lets go of trimmed blocks that nobody refers to.
    fn reclaim(&mut self) {
        let Some(live) = &self.live else { return };
        for (lsn, kept) in self.blocks.range_mut(..=self.trimmed) {
            if live.get(lsn).is_none_or(|bytes| *bytes == 0) {
                *kept = Kept::Gone;
            }
        }
    }
}

impl LogStore for ModelLog {
    fn limits(&self) -> Limits {
        let in_flight_max = self.disk().habits.in_flight_max;
        Limits { block_bytes_max: 1 << 20, block_bytes_best: 4 << 10, in_flight_max }
    }

    fn durability(&self) -> Durability {
        Durability::Synced
    }

    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError> {
        let mut disk = self.disk();
        assert!(!disk.broken, "a log that may have lost a block is not appended to");
        assert_eq!(block.lsn.0, disk.appended.0 + 1, "blocks come in order");
        let habits = disk.habits;
        if disk.full_for == 0 && one_in(&mut disk.rng, habits.full_one_in) {
            disk.full_for = 20;
        }
        if disk.full_for > 0 {
            return Err(AppendError::Full);
        }
        disk.appended = block.lsn;
        let lsn = block.lsn;
        disk.blocks.insert(lsn, Kept::Whole(block));
        if one_in(&mut disk.rng, habits.unknown_one_in) {
            disk.broken = true;
            return Err(AppendError::Unknown("the model says so".into()));
        }
        if inline && disk.rng.chance(1, 2) {
            disk.synced = lsn;
            disk.completions.push(Completion::Durable(lsn));
        }
        Ok(())
    }

    fn poll(&mut self, out: &mut Vec<Completion>) {
        out.append(&mut self.disk().completions);
    }

    fn read(&self, from: Lsn, bytes_max: usize, sink: &mut dyn FnMut(Block)) -> Result<(), ReadError> {
        let disk = self.disk();
        let mut bytes = 0;
        for (lsn, kept) in disk.blocks.range(from..) {
            let Kept::Whole(block) = kept else { return Err(ReadError::Trimmed { first: Lsn(lsn.0 + 1) }) };
            if bytes > 0 && bytes + block.body.len() > bytes_max {
                break;
            }
            bytes += block.body.len();
            sink(block.clone());
        }
        Ok(())
    }

    fn tail(&self) -> Result<Lsn, ReadError> {
        Ok(self.disk().synced)
    }

    fn trim(&mut self, below: Lsn) {
        let mut disk = self.disk();
        let snapshot = disk.snapshot.as_ref().map_or(Lsn(0), |(lsn, _)| *lsn);
        assert!(below <= snapshot, "only what a durable snapshot stands above is trimmed");
        disk.trimmed = disk.trimmed.max(below);
        disk.reclaim();
    }

    fn live(&mut self, changes: &[(Lsn, i64)]) {
        let mut disk = self.disk();
        let live = disk.live.get_or_insert_default();
        for (lsn, change) in changes {
            let sum = live.entry(*lsn).or_default();
            *sum += change;
            assert!(*sum >= 0, "block {lsn} is let go of more often than it was held");
        }
        disk.reclaim();
    }

    fn wanted(&mut self) -> Option<(Lsn, Lsn)> {
        let mut disk = self.disk();
        let wanted = disk.wanted.take();
        disk.asked = disk.asked.or(wanted);
        wanted
    }

    fn survivors(&mut self, range: (Lsn, Lsn), records: Vec<(Place, u32)>) {
        let mut disk = self.disk();
        assert_eq!(disk.asked.take(), Some(range), "survivors are told when they are asked for");
        assert!(records.is_sorted_by_key(|(place, _)| *place), "survivors are sorted by place");
        let mut kept: BTreeMap<Lsn, BTreeMap<Place, Bytes>> = BTreeMap::new();
        let mut lost = BTreeSet::new();
        for (place, len) in records {
            assert!((range.0..=range.1).contains(&place.lsn), "survivors are of the range");
            match disk.blocks.get(&place.lsn).and_then(|block| block.record(place, len)) {
                Some(bytes) => drop(kept.entry(place.lsn).or_default().insert(place, bytes)),
                None => drop(lost.insert(place)),
            }
        }
        assert!(lost.is_empty(), "records are referred to in blocks that were let go of: {lost:?}");
        for (lsn, block) in disk.blocks.range_mut(range.0..=range.1) {
            *block = kept.remove(lsn).map_or(Kept::Gone, Kept::Records);
        }
    }

    fn snapshot(&mut self, lsn: Lsn, chunks: Vec<Bytes>) {
        let mut disk = self.disk();
        assert!(lsn <= disk.synced, "a snapshot is of durable blocks");
        assert!(disk.writing.is_none(), "one snapshot at a time");
        disk.writing = Some((lsn, chunks));
    }

    fn snapshot_done(&mut self) -> Option<Lsn> {
        self.disk().told.take()
    }

    fn load_snapshot(&self) -> Result<Option<(Lsn, Vec<Bytes>)>, ReadError> {
        Ok(self.disk().snapshot.clone())
    }
}

impl Kept {
    fn record(&self, place: Place, len: u32) -> Option<Bytes> {
        match self {
            Self::Whole(block) => {
                let end = place.at as usize + len as usize;
                (end <= block.body.len()).then(|| block.body.slice(place.at as usize..end))
            }
            Self::Records(records) => {
                records.get(&place).filter(|bytes| bytes.len() == len as usize).cloned()
            }
            Self::Gone => None,
        }
    }
}

impl RecordReader for ModelLog {
    fn record(&self, place: Place, len: u32) -> Result<Bytes, ReadError> {
        let disk = self.disk();
        let record = disk.blocks.get(&place.lsn).and_then(|block| block.record(place, len));
        record.ok_or_else(|| ReadError::Corrupt { at: place.lsn, what: "the machine let go of it".into() })
    }
}

fn one_in(rng: &mut Rng, n: u64) -> bool {
    n > 0 && rng.chance(1, n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::Now;

    fn log() -> ModelLog {
        let habits =
            Habits { in_flight_max: 8, unknown_one_in: 0, full_one_in: 0, promote_one_in: 0, lies: false };
        ModelLog::new(habits, Rng::new(1))
    }

    fn block(lsn: u64) -> Block {
        Block { lsn: Lsn(lsn), time: Now(lsn), entries: 1, body: Bytes::from(vec![lsn as u8; 10]) }
    }

    fn append(log: &mut ModelLog, lsns: std::ops::RangeInclusive<u64>) {
        lsns.for_each(|lsn| log.append(block(lsn), false).expect("there is room"));
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_any_prefix_of_the_rest() {
        let mut tails = BTreeSet::new();
        for seed in 0..100 {
            let mut log = log();
            append(&mut log, 1..=6);
            {
                let mut disk = log.disk();
                disk.synced = Lsn(2);
                disk.rng = Rng::new(seed);
            }
            log.crash();
            let mut read = Vec::new();
            log.read(Lsn(1), 1000, &mut |block| read.push(block.lsn.0)).expect("nothing was trimmed");
            let tail = log.tail().expect("the model can always tell").0;
            assert_eq!(read, (1..=tail).collect::<Vec<_>>());
            tails.insert(tail);
        }
        assert_eq!(tails, BTreeSet::from([2, 3, 4, 5, 6]));
    }

    #[test]
    fn a_trimmed_block_goes_with_its_last_reference() {
        let mut log = log();
        append(&mut log, 1..=2);
        while log.busy() {
            log.step();
        }
        let place = Place { lsn: Lsn(1), at: 2 };
        log.live(&[(Lsn(1), 4), (Lsn(2), 4)]);
        log.snapshot(Lsn(2), vec![]);
        while log.busy() {
            log.step();
        }
        log.trim(Lsn(2));
        assert_eq!(log.record(place, 4).expect("it is referred to"), [1u8; 4][..]);
        log.live(&[(Lsn(1), -4)]);
        assert!(log.record(place, 4).is_err());
        assert!(log.read(Lsn(1), 1000, &mut |_| ()).is_err());
    }

    #[test]
    fn promotion_keeps_the_records_it_was_told_of_and_no_others() {
        let mut log = log();
        append(&mut log, 1..=1);
        log.disk().asked = Some((Lsn(1), Lsn(1)));
        log.survivors((Lsn(1), Lsn(1)), vec![(Place { lsn: Lsn(1), at: 3 }, 2)]);
        assert!(log.record(Place { lsn: Lsn(1), at: 3 }, 2).is_ok());
        assert!(log.record(Place { lsn: Lsn(1), at: 4 }, 2).is_err());
    }
}
