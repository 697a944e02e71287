//! A partition that tells its records apart: what comes in, what makes room for it, what goes.
//!
//! Called by the shard's verbs and by replay, which both change it by [`Partition::admit_single`] and [`Partition::let_go`] only. Logged
//! state: subjects (their names; their positions follow from the index), the ids of records, schedules, the last id and time. What must hold:
//! every batch of the index is a single record; each is in its subject's positions, and in the order of expiry if it has one; what a record
//! pushes out follows from the settings and the state, so a replay pushes out the same (S1), at most [`PUSHED_OUT_MAX`] by one record (S7),
//! but for a subject that is rolled up. Not here: conditions (they change nothing), time.

use super::dedupe::Dedupe;
use super::schedules::{Coming, Schedules};
use super::single::{Expiry, Single};
use super::subjects::Subjects;
use super::{Partition, Stored};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::id::{Now, Place, Position};
use stele_model::stream::Format;
use stele_model::stream::records::{Discard, RecordSettings, Rollup, Storage, Ttl};

/// Records that one record pushes out by count or bytes; if more have to go the shard's chores see to them.
const PUSHED_OUT_MAX: u32 = 1024;

/// What a partition knows besides its batches if it tells its records apart.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) subjects: Subjects,
    pub(crate) dedupe: Dedupe,
    /// Records with a time of their own, soonest first.
    expiries: BTreeSet<(u64, Position)>,
    pub(crate) schedules: Schedules,
    /// The id of the last record that came.
    pub(crate) last_id: Option<Bytes>,
    /// When it came, ms; 0: none ever did.
    pub(crate) last_ms: u64,
    /// Nothing goes by its own time until a move has ended: too many are under way. Attached state.
    pub(crate) stalled: bool,
    /// All records below that are older than the stream's age stay for ever. Not logged: it follows from looking again.
    pub(crate) aged: Position,
}

/// A record on its way into the index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Incoming<'a> {
    pub(crate) place: Place,
    pub(crate) len: u32,
    pub(crate) subject: &'a [u8],
    pub(crate) marks: &'a Marks<'a>,
}

/// What is logged of a record's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marks<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) rollup: Option<Rollup>,
    pub(crate) ttl: Ttl,
    pub(crate) due: Option<Coming>,
    /// The subject where nothing waits for its time any more.
    pub(crate) ends: Option<&'a [u8]>,
    pub(crate) marker: bool,
}

impl Marks<'_> {
    /// Nothing was asked for.
    pub(crate) const NONE: Self =
        Self { id: None, rollup: None, ttl: Ttl::Stream, due: None, ends: None, marker: false };
}

impl Records {
    /// The soonest time that a record has of its own, ms, and its position. None while the partition waits for a move to end.
    pub(crate) fn expires_first(&self) -> Option<(u64, Position)> {
        let first = [self.expiries.first().copied(), self.schedules.first()];
        first.into_iter().flatten().min().filter(|_| !self.stalled)
    }

    /// Those whose own time is over, at most so many.
    pub(crate) fn expired(&self, now_ms: u64, count_max: usize) -> Vec<Position> {
        let due = self.expiries.iter().take_while(|(at, _)| *at <= now_ms);
        due.take(count_max).map(|(_, position)| *position).collect()
    }
}

impl Partition {
    /// Settings for its records, if it tells them apart.
    pub(crate) fn by_record(&self) -> Option<&RecordSettings> {
        self.spec.settings.records.as_deref()
    }

    /// Its records do not outlive the process: nothing of them is logged.
    pub(crate) fn is_volatile(&self) -> bool {
        self.by_record().is_some_and(|of| of.storage == Storage::Memory)
    }

    /// Records that can be read.
    pub(crate) fn count(&self) -> u64 {
        if self.is_unreclaimed() { self.index.count_from(self.start) } else { self.index.count() }
    }

    /// Records below the start are still in the index.
    pub(crate) fn is_unreclaimed(&self) -> bool {
        self.index.first().is_some_and(|first| first.first < self.start)
    }

    /// Puts a record behind all others, and lets go of what has to make room for it; the same in replay. What goes is told to `gone`.
    pub(crate) fn admit_single(&mut self, of: &Incoming<'_>, time: Now, mut gone: impl FnMut(&Stored)) {
        let spec = Arc::clone(&self.spec);
        let Some((settings, records)) = spec.settings.records.as_deref().zip(self.records.as_mut()) else {
            return;
        };
        let Marks { id, rollup, ttl, due, ends, marker } = of.marks;
        let (first, place, len) = (self.end, of.place, of.len);
        let appended_ms = time.ms().max(records.last_ms);
        let due = due.as_ref().map(|due| (due.at_ms.max(appended_ms), &due.schedule));
        let expiry = match (due, ttl) {
            (Some((at, None)), _) => Expiry::Due(at),
            (_, Ttl::Stream) => Expiry::Stream,
            (_, Ttl::Ms(ms)) => Expiry::At(appended_ms.saturating_add(*ms)),
            (_, Ttl::Never) => Expiry::Never,
        };
        if let Some((at, Some(schedule))) = due {
            records.schedules.put(first, at, Arc::clone(schedule));
        }
        let subject = records.subjects.number(of.subject);
        records.subjects.came(subject, first);
        if let Some(at) = expiry.own_ms() {
            records.expiries.insert((at, first));
        }
        if let Some(id) = id.filter(|_| settings.dedupe_ms > 0) {
            records.dedupe.put(id, first, appended_ms, settings.dedupe_ms);
        }
        records.last_id = id.map(Bytes::copy_from_slice);
        records.last_ms = appended_ms;
        let single = Some(Single { subject, expiry, marker: *marker });
        let (format, newest_ms) = (Format::Records, appended_ms);
        let batch =
            Stored { first, count: 1, place, len, format, keyed: false, appended_ms, newest_ms, single };
        self.index.push(&batch);
        for (pattern, last) in &mut self.known {
            *last = if pattern.matches(of.subject) { Some(first) } else { *last };
        }
        self.bytes += u64::from(len);
        self.end = batch.end();
        self.next = self.next.max(self.end);
        match rollup {
            Some(Rollup::All) => self.trim(first),
            Some(Rollup::Subject) => self.keep_newest(subject, 1, u32::MAX, &mut gone),
            None => {}
        }
        if let Some(waiting) = ends.and_then(|ends| self.last_of(ends)).filter(|last| self.is_due(*last)) {
            self.let_go(waiting, &mut gone);
        }
        if let Some(max) = settings.per_subject_max {
            self.keep_newest(subject, max.max(1), PUSHED_OUT_MAX, &mut gone);
        }
        if settings.discard == Discard::Old {
            self.push_out(settings, &mut gone);
        }
    }

    /// The record at this position waits for a time to be published again.
    pub(crate) fn is_due(&self, position: Position) -> bool {
        let single = self.index.get(position).and_then(|batch| batch.single);
        let is_delay = single.is_some_and(|single| matches!(single.expiry, Expiry::Due(_)));
        is_delay || self.records.as_ref().is_some_and(|of| of.schedules.get(position).is_some())
    }

    /// Where the last record of a subject is.
    pub(crate) fn last_of(&self, subject: &[u8]) -> Option<Position> {
        let subjects = &self.records.as_ref()?.subjects;
        let last = subjects.find(subject).and_then(|number| subjects.positions(number).last());
        last.filter(|last| *last >= self.start)
    }

    /// Takes out one record; the same in replay. `false`: there is none at this position.
    pub(crate) fn let_go(&mut self, position: Position, mut gone: impl FnMut(&Stored)) -> bool {
        if position < self.start {
            return false;
        }
        let Some(batch) = self.index.take(position) else { return false };
        self.forget(&batch);
        gone(&batch);
        if position == self.start {
            self.start = self.first_from(position);
        }
        true
    }

    /// What is known of a record besides the index is forgotten: it has left that.
    pub(super) fn forget(&mut self, batch: &Stored) {
        // What is below the start was taken off when that moved.
        if batch.first >= self.start {
            self.bytes -= u64::from(batch.len);
        }
        let Some((single, records)) = batch.single.zip(self.records.as_mut()) else { return };
        let name = records.subjects.name(single.subject);
        self.tallies.values_mut().for_each(|tally| tally.goes(batch.first, name));
        records.subjects.gone(single.subject, batch.first);
        records.schedules.gone(batch.first);
        self.known.retain(|_, last| *last != Some(batch.first));
        if let Some(at) = single.expiry.own_ms() {
            records.expiries.remove(&(at, batch.first));
        }
    }

    /// Where the first record at `from` or behind it is; the end, if there is none.
    pub(crate) fn first_from(&self, from: Position) -> Position {
        self.index.from(from).next().map_or(self.end, |batch| batch.first)
    }

    /// The first position of a stream that is new, or that has lost all it had.
    pub(super) fn begin_records(&mut self) {
        if let Some(settings) = self.by_record() {
            let first = settings.first;
            (self.start, self.end, self.next) = (first, first, first);
            self.records = Some(Box::default());
        }
    }

    /// Takes up what a snapshot has; the index is there already.
    pub(crate) fn restore_records(&mut self, names: Vec<Bytes>, dedupe: Dedupe) -> Result<(), String> {
        let singles = || self.index.iter().filter_map(|batch| Some((batch.single?, batch.first)));
        let of_subject = singles().map(|(single, position)| (single.subject, position));
        let subjects = Subjects::restore(names, of_subject)?;
        let expiries = singles().filter_map(|(single, position)| Some((single.expiry.own_ms()?, position)));
        let expiries = expiries.collect();
        let Some(records) = &mut self.records else { return Ok(()) };
        (records.subjects, records.expiries, records.dedupe) = (subjects, expiries, dedupe);
        Ok(())
    }

    /// Of a subject only the newest so many stay.
    fn keep_newest(&mut self, subject: u32, keep: u64, gone_max: u32, gone: &mut impl FnMut(&Stored)) {
        for _ in 0..gone_max {
            let Some(records) = &self.records else { return };
            let positions = records.subjects.positions(subject);
            if positions.count() <= keep {
                return;
            }
            let Some(oldest) = positions.next(self.start).filter(|_| positions.count_from(self.start) > keep)
            else {
                return;
            };
            self.let_go(oldest, &mut *gone);
        }
    }

    /// The oldest go until count and bytes are within the settings. The newest stays.
    fn push_out(&mut self, settings: &RecordSettings, gone: &mut impl FnMut(&Stored)) {
        if settings.records_max.is_none() && self.spec.settings.retention_bytes.is_none() {
            return;
        }
        for _ in 0..PUSHED_OUT_MAX {
            let many = settings.records_max.is_some_and(|max| self.count() > max.max(1));
            let long = self.spec.settings.retention_bytes.is_some_and(|max| self.bytes > max);
            let oldest = self.first_from(self.start);
            if !(many || long) || Position(oldest.0 + 1) >= self.end {
                return;
            }
            self.let_go(oldest, &mut *gone);
        }
    }
}
