//! The model: what clients may expect of a partition, in the plainest form.

use std::collections::BTreeMap;
use stele_model::id::Lsn;
use stele_model::stream::{Producer, StreamSettings, TimeKind};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) appended_ms: u64,
    pub(crate) newest_ms: u64,
    /// The block it stands in.
    pub(crate) lsn: Lsn,
    /// Of each record, if they were told: key, and whether it ends it.
    pub(crate) keys: Vec<(u128, bool)>,
}

impl Batch {
    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}

/// Incarnation, last use, batches: sequence, count, position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) epoch: u16,
    pub(crate) used_ms: u64,
    pub(crate) batches: Vec<(u32, u32, u64)>,
}

/// What an append of a numbered batch should say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    Repeat(u64),
    OutOfSequence,
    Fenced,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) settings: StreamSettings,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) batches: Vec<Batch>,
    pub(crate) producers: BTreeMap<u64, Known>,
    /// The last record of each key: position, and whether it ends it.
    pub(crate) keys: BTreeMap<u128, (u64, bool)>,
}

impl Partition {
    pub(crate) fn new(settings: StreamSettings) -> Self {
        let (producers, keys) = (BTreeMap::new(), BTreeMap::new());
        Self { settings, start: 0, end: 0, batches: Vec::new(), producers, keys }
    }

    pub(crate) fn verdict(&self, of: &Producer, count: u32) -> Verdict {
        let Some(known) = self.producers.get(&of.id) else { return Verdict::Take };
        if of.epoch < known.epoch {
            return Verdict::Fenced;
        }
        if of.epoch > known.epoch {
            return if of.sequence == 0 { Verdict::Take } else { Verdict::OutOfSequence };
        }
        let recent = known.batches.iter().rev().take(5);
        if let Some((_, _, first)) = recent.into_iter().find(|(s, c, _)| (*s, *c) == (of.sequence, count)) {
            return Verdict::Repeat(*first);
        }
        let last = known
            .batches
            .last()
            .map(|(sequence, count, _)| (u64::from(*sequence) + u64::from(*count)) % (1 << 31));
        if last == Some(u64::from(of.sequence)) { Verdict::Take } else { Verdict::OutOfSequence }
    }

    pub(crate) fn append(&mut self, batch: Batch, producer: Option<Producer>) {
        if let Some(of) = producer {
            let fresh = Known { epoch: of.epoch, used_ms: 0, batches: Vec::new() };
            let known = self.producers.entry(of.id).or_insert(fresh);
            if known.epoch != of.epoch {
                known.batches.clear();
            }
            known.epoch = of.epoch;
            known.used_ms = batch.appended_ms;
            known.batches.push((of.sequence, batch.count, batch.first));
        }
        self.end = batch.end();
        if self.settings.compact {
            for (n, (key, tombstone)) in batch.keys.iter().enumerate() {
                self.keys.insert(*key, (batch.first + n as u64, *tombstone));
            }
        }
        self.batches.push(batch);
    }

    pub(crate) fn set(&mut self, settings: StreamSettings) {
        self.settings = settings;
        if !self.settings.compact {
            self.keys.clear();
            self.batches.iter_mut().for_each(|batch| batch.keys.clear());
        }
    }

    /// The batches that compaction may take out now.
    pub(crate) fn superseded(&self, now_ms: u64) -> Vec<u64> {
        let may = |batch: &&Batch| {
            let live = |(n, (key, _)): (usize, &(u128, bool))| {
                self.keys.get(key).is_some_and(|(last, _)| *last == batch.first + n as u64)
            };
            let old = batch.appended_ms + self.settings.compact_after_ms <= now_ms;
            self.settings.compact
                && old
                && batch.end() != self.end
                && !batch.keys.is_empty()
                && !batch.keys.iter().enumerate().any(live)
        };
        self.batches.iter().filter(may).map(|batch| batch.first).collect()
    }

    /// The keys whose tombstones have stayed long enough.
    pub(crate) fn over(&self, now_ms: u64) -> Vec<u128> {
        let wait = self.settings.compact_after_ms + self.settings.tombstone_ms;
        let old = |position: u64| {
            let batch = self.batches.iter().find(|batch| (batch.first..batch.end()).contains(&position));
            batch.is_some_and(|batch| batch.appended_ms + wait <= now_ms)
        };
        let over = self.keys.iter().filter(|(_, (position, tombstone))| *tombstone && old(*position));
        over.map(|(key, _)| *key).collect()
    }

    pub(crate) fn trim(&mut self, start: u64) {
        self.start = self.start.max(start);
        let start = self.start;
        self.batches.retain(|batch| batch.end() > start);
        let batches = &self.batches;
        let there = |at: u64| batches.iter().any(|batch| (batch.first..batch.end()).contains(&at));
        self.keys.retain(|_, (position, _)| there(*position));
    }

    /// What the settings say goes; `aging`: time may be believed.
    pub(crate) fn age(&mut self, now_ms: u64, aging: bool) {
        while let Some(head) = self.batches.first() {
            // What was old when it came stays a little, for those who listen.
            let stayed = |max: u64| head.appended_ms + max.min(5 * 60_000) <= now_ms;
            let old = |max: u64| self.time(head) + max <= now_ms && stayed(max);
            let old = self.settings.retention_ms.is_some_and(old) && aging;
            let bytes: u64 = self.batches.iter().map(|batch| batch.bytes.len() as u64).sum();
            let long = self.batches.len() > 1 && self.settings.retention_bytes.is_some_and(|max| bytes > max);
            if !old && !long {
                break;
            }
            self.trim(head.end());
        }
        if aging {
            self.producers.retain(|_, known| known.used_ms + DAY_MS > now_ms);
        }
    }

    pub(crate) fn time(&self, batch: &Batch) -> u64 {
        match self.settings.time {
            TimeKind::Producer => batch.newest_ms,
            TimeKind::Append => batch.appended_ms,
        }
    }
}
