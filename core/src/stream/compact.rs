//! Compaction: the last record of each key stays, a batch goes when all its records may.
//!
//! Called by [`super::Partition`]. Logged state is what is known of the keys; the rest follows from it and the index, so a snapshot has the
//! keys only. What must hold: a record is superseded by a later one of its key, or is a tombstone whose time is over; what goes is decided
//! here and done by [`Compaction::apply`], the same in replay; the newest batch stays, so that a reader finds the end. Not here: records
//! whose keys nobody told (they stay), and single records of a batch (they go with it).

use super::Stored;
use super::index::Index;
use super::keys::{Keys, Last};
use std::collections::{BTreeMap, VecDeque};
use stele_model::id::Position;
use stele_model::stream::{KeyMark, StreamSettings};

/// Batches that one step takes out.
const BATCHES_MAX: usize = 256;
/// Chunks of the index that one step writes anew, about 50 µs each.
const CHUNKS_MAX: usize = 12;
/// Tombstones that one step looks at.
const TOMBSTONES_MAX: usize = 512;

/// What is known of the keys of a partition.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub(crate) keys: Keys,
    /// Batches below were appended before keys were told.
    pub(crate) since: Position,
    /// Batches whose keys are known, by first position.
    batches: BTreeMap<Position, Counted>,
    /// Those of them with no live record.
    dead: BTreeMap<Position, u64>,
    /// Tombstones in the order of their positions, superseded ones included: hash, time of the append in ms.
    tombstones: VecDeque<(Position, u128, u64)>,
    /// Keys below this position were forgotten, up to this hash those below the present start.
    swept: (Position, Option<u128>),
}

#[derive(Clone, Copy, Debug)]
struct Counted {
    live: u32,
    count: u32,
    appended_ms: u64,
}

/// What a step does: tombstones and batches below these positions go, if they may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) tombstones_below: Position,
    pub(crate) batches_below: Position,
}

impl Compaction {
    /// Of a partition that has come to `since`.
    pub(crate) fn new(since: Position) -> Self {
        Self {
            keys: Keys::default(),
            since,
            batches: BTreeMap::new(),
            dead: BTreeMap::new(),
            tombstones: VecDeque::new(),
            swept: (Position(0), None),
        }
    }

    /// A batch came with these keys, one for each record.
    pub(crate) fn appended(&mut self, batch: &Stored, keys: impl Iterator<Item = KeyMark>) {
        let counted = Counted { live: batch.count, count: batch.count, appended_ms: batch.appended_ms };
        self.batches.insert(batch.first, counted);
        for (n, key) in keys.enumerate() {
            let position = Position(batch.first.0 + n as u64);
            let hash = key.hash & !1;
            if key.tombstone {
                self.tombstones.push_back((position, hash, batch.appended_ms));
            }
            if let Some(before) = self.keys.put(hash, Last { position, tombstone: key.tombstone }) {
                self.superseded(before.position);
            }
        }
    }

    /// A batch was let go of.
    pub(crate) fn gone(&mut self, first: Position) {
        self.batches.remove(&first);
        self.dead.remove(&first);
    }

    /// When something may go next, ms.
    pub(crate) fn due_ms(&self, settings: &StreamSettings, end: Position) -> Option<u64> {
        let after = |ms: u64, wait: u64| ms.saturating_add(settings.compact_after_ms).saturating_add(wait);
        let tombstone = self.tombstones.front().map(|(.., ms)| after(*ms, settings.tombstone_ms));
        let dead = self.dead.first_key_value().filter(|(first, _)| !self.is_newest(**first, end));
        [tombstone, dead.map(|(_, ms)| after(*ms, 0))].into_iter().flatten().min()
    }

    /// What may go now, as far as one step does it.
    pub(crate) fn decide(
        &self,
        settings: &StreamSettings,
        index: &Index,
        end: Position,
        now_ms: u64,
    ) -> Option<Step> {
        let old =
            |ms: u64, wait: u64| ms.saturating_add(settings.compact_after_ms).saturating_add(wait) <= now_ms;
        let tombstones = self.tombstones.iter().take(TOMBSTONES_MAX);
        let tombstones = tombstones.take_while(|(.., ms)| old(*ms, settings.tombstone_ms)).last();
        let dead = self.dead.iter().take_while(|(_, ms)| old(**ms, 0)).map(|(first, _)| *first);
        let dead: Vec<Position> =
            dead.filter(|first| !self.is_newest(*first, end)).take(BATCHES_MAX).collect();
        let behind = |position: &Position| Position(position.0 + 1);
        if let Some((position, ..)) = tombstones {
            // Batches that die with them go in a step of their own, so that each step is short.
            return Some(Step { tombstones_below: behind(position), batches_below: Position(0) });
        }
        let few = index.within_chunks(&dead, CHUNKS_MAX);
        let batches_below = behind(dead.get(few.checked_sub(1)?)?);
        Some(Step { tombstones_below: Position(0), batches_below })
    }

    /// Does a step; the same in replay. Each batch that goes is told to `gone`.
    pub(crate) fn apply(
        &mut self,
        step: Step,
        index: &mut Index,
        end: Position,
        mut gone: impl FnMut(&Stored),
    ) {
        while let Some((position, hash, _)) = self.tombstones.front().copied()
            && position < step.tombstones_below
        {
            self.tombstones.pop_front();
            if self.keys.get(hash).is_some_and(|last| last.position == position) {
                self.keys.remove(hash);
                self.superseded(position);
            }
        }
        let below = self.dead.range(..step.batches_below).map(|(first, _)| *first);
        let firsts: Vec<Position> = below.filter(|first| !self.is_newest(*first, end)).collect();
        for first in &firsts {
            self.gone(*first);
        }
        index.remove(&firsts, |batch| gone(batch));
    }

    /// Forgets keys whose records were trimmed away, one page of them. `true`: there is more to do.
    pub(crate) fn sweep(&mut self, start: Position) -> bool {
        if self.swept.1.is_none() && self.swept.0 == start {
            return false;
        }
        if self.swept.1.is_none() {
            self.swept = (start, Some(0));
        }
        // Positions of the batch that the start stands in still count for it.
        let kept =
            self.batches.first_key_value().map_or(self.swept.0, |(first, _)| *first.min(&self.swept.0));
        self.swept.1 = self.swept.1.and_then(|from| self.keys.sweep(from, kept));
        self.swept.1.is_some() || self.swept.0 != start
    }

    /// Whether the batch of this position is there and ends above `start`.
    pub(crate) fn holds(&self, position: Position, start: Position) -> bool {
        let first = self.batch_of(position).unwrap_or(Position(u64::MAX));
        self.batches.get(&first).is_some_and(|of| first.0 + u64::from(of.count) > start.0)
    }

    /// Works out from keys and index what else is known, after a restore.
    pub(crate) fn rebuild(&mut self, index: &Index) {
        let keyed = |batch: &Stored| batch.keyed && batch.first >= self.since;
        let counted = |batch: Stored| {
            (batch.first, Counted { live: 0, count: batch.count, appended_ms: batch.appended_ms })
        };
        self.batches = index.iter().filter(keyed).map(counted).collect();
        let mut tombstones = Vec::new();
        for (hash, last) in self.keys.iter() {
            let of = self.batches.range_mut(..=last.position).next_back();
            let Some((_, of)) = of.filter(|(first, of)| first.0 + u64::from(of.count) > last.position.0)
            else {
                continue;
            };
            of.live += 1;
            if last.tombstone {
                tombstones.push((last.position, hash, of.appended_ms));
            }
        }
        tombstones.sort_unstable();
        self.tombstones = tombstones.into();
        let dead = self.batches.iter().filter(|(_, of)| of.live == 0);
        self.dead = dead.map(|(first, of)| (*first, of.appended_ms)).collect();
    }

    fn batch_of(&self, position: Position) -> Option<Position> {
        let (first, of) = self.batches.range(..=position).next_back()?;
        (position.0 < first.0 + u64::from(of.count)).then_some(*first)
    }

    /// A record counts no more.
    fn superseded(&mut self, position: Position) {
        let Some(first) = self.batch_of(position) else { return };
        let Some(of) = self.batches.get_mut(&first) else { return };
        of.live -= 1;
        if of.live == 0 {
            self.dead.insert(first, of.appended_ms);
        }
    }

    fn is_newest(&self, first: Position, end: Position) -> bool {
        self.batches.get(&first).is_some_and(|of| first.0 + u64::from(of.count) == end.0)
    }
}
