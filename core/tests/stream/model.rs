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
}

impl Partition {
    pub(crate) fn new(settings: StreamSettings) -> Self {
        Self { settings, start: 0, end: 0, batches: Vec::new(), producers: BTreeMap::new() }
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
        self.batches.push(batch);
    }

    pub(crate) fn trim(&mut self, start: u64) {
        self.start = self.start.max(start);
        let start = self.start;
        self.batches.retain(|batch| batch.end() > start);
    }

    /// What the settings say goes; `aging`: time may be believed.
    pub(crate) fn age(&mut self, now_ms: u64, aging: bool) {
        while let Some(head) = self.batches.first() {
            let old = self.settings.retention_ms.is_some_and(|max| self.time(head) + max <= now_ms) && aging;
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
