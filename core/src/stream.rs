//! One partition of a stream: its batches, who numbers what is appended, and who waits for more.
//!
//! Called by [`crate::shard`], which logs what is done here. Logged state: settings, both ends, the index, the producers, the keys of a
//! compacted stream. Attached state: watches, readers, tallies, the timer (S1). What must hold: positions are given densely and never again; the
//! end never goes down; what is below the start is gone for readers at once, and let go of in steps (S7). Not here: entries and effects.

pub(crate) mod by_subject;
mod chunk;
pub(crate) mod compact;
pub(crate) mod dedupe;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod opening;
pub(crate) mod producers;
pub(crate) mod readers;
pub(crate) mod records;
pub(crate) mod schedules;
pub(crate) mod single;
pub(crate) mod subjects;
pub(crate) mod tally;

pub(crate) use by_subject::Next;
pub(crate) use chunk::Stored;

use compact::{Compaction, Step};
use index::Index;
use producers::Producers;
use readers::Readers;
use records::Records;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::{Lsn, Now, Place, Position, SessionId};
use stele_model::machine::VOLATILE;
use stele_model::stream::{Ends, Format, Found, KeyMark, PartitionSpec, Producer, TimeKind};
use stele_model::subject::Pattern;
use tally::Tally;

/// How long a batch stays that was too old when it came, ms: Kafka looks for what is too old as often.
const STAY_MS: u64 = 5 * 60 * 1000;

/// A partition of a shard.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) spec: Arc<PartitionSpec>,
    /// First position that can be read.
    pub(crate) start: Position,
    /// Position behind the last record.
    pub(crate) end: Position,
    /// Position to be given next: above the end while a publish is on its way into an entry.
    pub(crate) next: Position,
    /// May still hold what ends at or below the start: that is let go of step by step.
    pub(crate) index: Index,
    /// Bytes of the batches in the index; where records are told apart, of those that can be read.
    pub(crate) bytes: u64,
    pub(crate) producers: Producers,
    /// Of a compacted stream.
    pub(crate) compaction: Option<Box<Compaction>>,
    /// Of a stream that tells its records apart.
    pub(crate) records: Option<Box<Records>>,
    /// The block of the last append or trim that somebody waited for: what a read waits for (S2).
    pub(crate) after: Lsn,
    /// Who is sent what comes.
    pub(crate) readers: Readers,
    /// Who wants to hear of the next append.
    pub(crate) watches: BTreeSet<(SessionId, u64)>,
    /// How many records groups want, by the groups' numbers.
    pub(crate) tallies: BTreeMap<u64, Tally>,
    /// The last record of each pattern that a publish depends on which is about to be stored: kept right by what comes and goes.
    pub(crate) known: BTreeMap<Pattern, Option<Position>>,
    /// When batches were last taken out of its middle.
    pub(crate) compacted: Now,
    /// When it has to be looked at.
    pub(crate) timer: Option<Now>,
}

/// A batch on its way into the index: what the entry says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) first: Position,
    pub(crate) count: u32,
    pub(crate) place: Place,
    pub(crate) len: u32,
    pub(crate) format: Format,
    /// `None`: the time of the append.
    pub(crate) newest_ms: Option<u64>,
    pub(crate) producer: Option<Producer>,
}

impl Partition {
    pub(crate) fn new(spec: Arc<PartitionSpec>) -> Self {
        let compaction = spec.settings.compact.then(|| Box::new(Compaction::new(Position(0))));
        let mut partition = Self {
            spec,
            start: Position(0),
            end: Position(0),
            next: Position(0),
            index: Index::default(),
            bytes: 0,
            producers: Producers::default(),
            compaction,
            records: None,
            compacted: Now(0),
            after: Lsn(0),
            readers: Readers::default(),
            watches: BTreeSet::new(),
            tallies: BTreeMap::new(),
            known: BTreeMap::new(),
            timer: None,
        };
        partition.begin_records();
        partition
    }

    /// Takes up other settings; the same in replay.
    pub(crate) fn set(&mut self, spec: Arc<PartitionSpec>) {
        match (&self.compaction, spec.settings.compact) {
            (None, true) => self.compaction = Some(Box::new(Compaction::new(self.end))),
            (Some(_), false) => self.compaction = None,
            _ => {}
        }
        self.spec = spec;
    }

    /// Puts a batch behind all others; the same in replay. `keys`: one for each record, or none.
    pub(crate) fn admit(&mut self, of: &Admitted, keys: impl ExactSizeIterator<Item = KeyMark>, time: Now) {
        assert!(of.first == self.end, "I32: positions are given densely");
        let appended_ms = time.ms().max(self.index.appended_ms());
        let batch = Stored {
            first: of.first,
            count: of.count,
            place: of.place,
            len: of.len,
            format: of.format,
            keyed: self.compaction.is_some() && keys.len() == of.count as usize,
            appended_ms,
            newest_ms: of.newest_ms.unwrap_or(appended_ms),
            single: None,
        };
        self.index.push(&batch);
        self.bytes += u64::from(of.len);
        self.end = batch.end();
        self.next = self.next.max(self.end);
        if let Some(compaction) = self.compaction.as_mut().filter(|_| batch.keyed) {
            compaction.appended(&batch, keys);
        }
        if let Some(producer) = &of.producer {
            self.producers.appended(producer, of.count, of.first, appended_ms);
        }
    }

    /// What is below is gone for readers; the same in replay.
    pub(crate) fn trim(&mut self, start: Position) {
        let before = self.start;
        self.start = self.start.max(start.min(self.end));
        if self.records.is_some() {
            self.start = self.first_from(self.start);
            self.bytes -= self.index.bytes_below(self.start) - self.index.bytes_below(before);
            self.tallies.retain(|_, tally| tally.is_above(self.start));
        }
    }

    /// Lets go of up to `batches_max` batches below the start, each told to `gone`. `true`: there are more.
    pub(crate) fn reclaim(&mut self, batches_max: u32, mut gone: impl FnMut(&Stored)) -> bool {
        if self.records.is_some() {
            let mut dropped = Vec::new();
            let more = self.index.drop_below(self.start, batches_max, |batch| dropped.push(*batch));
            for batch in &dropped {
                self.forget(batch);
                gone(batch);
            }
            return more;
        }
        let (bytes, compaction) = (&mut self.bytes, &mut self.compaction);
        self.index.drop_below(self.start, batches_max, |batch| {
            *bytes -= u64::from(batch.len);
            if let Some(compaction) = compaction.as_mut().filter(|_| batch.keyed) {
                compaction.gone(batch.first);
            }
            gone(batch);
        })
    }

    /// Takes out batches and keys that are superseded; the same in replay. Each batch is told to `gone`.
    pub(crate) fn compact(&mut self, step: Step, mut gone: impl FnMut(&Stored)) {
        let Some(compaction) = &mut self.compaction else { return };
        let bytes = &mut self.bytes;
        compaction.apply(step, &mut self.index, self.end, |batch| {
            *bytes -= u64::from(batch.len);
            gone(batch);
        });
    }

    pub(crate) fn ends(&self) -> Ends {
        Ends { start: self.start, stable: self.end, end: self.end, epoch: 0, bytes: self.bytes }
    }

    /// When a batch goes by age, ms, if `retention_ms` is what it may reach. One that was too old when it came stays for [`STAY_MS`], or
    /// for as long as any may if that is less: who listens must have been able to read it.
    pub(crate) fn expires_ms(&self, batch: &Stored, retention_ms: u64) -> u64 {
        let by_time = self.time_ms(batch).saturating_add(retention_ms);
        by_time.max(batch.appended_ms.saturating_add(retention_ms.min(STAY_MS)))
    }

    /// The time of a batch that retention and searches go by.
    pub(crate) fn time_ms(&self, batch: &Stored) -> u64 {
        match self.spec.settings.time {
            TimeKind::Producer => batch.newest_ms,
            TimeKind::Append => batch.appended_ms,
        }
    }
}

/// The block that what stands at a place waits for: none, in memory.
pub(crate) fn waited_for(place: Place) -> Lsn {
    if place.lsn.0 & VOLATILE == 0 { place.lsn } else { Lsn(0) }
}

impl Stored {
    /// The block that its readers wait for: none, if it is kept in memory.
    pub(crate) fn waited_for(&self) -> Lsn {
        waited_for(self.place)
    }

    /// As readers are told of it.
    pub(crate) fn found(&self) -> Found {
        Found {
            place: self.place,
            len: self.len,
            format: self.format,
            first: self.first,
            count: self.count,
            epoch: 0,
            appended: Now(self.appended_ms.saturating_mul(1000)),
        }
    }
}
