//! What partitions have to do when nobody asks: let go of what is gone, keep what their settings say.
//!
//! What must hold: each step is bounded, whatever there is to do (S7); partitions with work left take turns. All of it is attached state:
//! after a restart every partition is looked at once, some in each step.

use super::super::effect::Turn;
use super::Shard;
use crate::stream::Partition;
use crate::stream::index::Index;
use std::collections::{BTreeSet, VecDeque};
use stele_model::id::{Now, Position, QueueId};

/// Partitions looked at in one step.
const PARTITIONS_MAX: usize = 32;
/// Batches let go of in one step.
const RECLAIM_MAX: u32 = 8_192;

#[derive(Debug, Default)]
pub(super) struct Chores {
    /// One timer per partition at most; [`Partition::timer`] says when.
    timers: BTreeSet<(Now, QueueId)>,
    /// Partitions with work left.
    again: BTreeSet<QueueId>,
    /// The partition that had its turn last.
    last: QueueId,
    /// All partitions from here on are to be looked at.
    sweep: Option<QueueId>,
    /// Batches that nothing refers to any more, but whose bytes are still counted as live.
    dead: VecDeque<Index>,
}

impl Chores {
    pub(super) fn deadline(&self) -> Option<Now> {
        if !self.again.is_empty() || self.sweep.is_some() || !self.dead.is_empty() {
            return Some(Now(0));
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// The partition is looked at in the next step.
    pub(super) fn again(&mut self, partition: QueueId) {
        self.again.insert(partition);
    }

    /// Every partition is looked at, some in each step.
    pub(super) fn look_at_all(&mut self) {
        self.sweep = Some(QueueId(0));
    }

    /// The partition is no more.
    pub(super) fn forget(&mut self, partition: &Partition) {
        self.again.remove(&partition.spec.id);
        if let Some(at) = partition.timer {
            self.timers.remove(&(at, partition.spec.id));
        }
    }

    /// Batches whose partition has let go of them; their bytes are given back step by step.
    pub(super) fn bury(&mut self, index: Index) {
        if index.first().is_some() {
            self.dead.push_back(index);
        }
    }

    /// Sets the partition's timer.
    pub(super) fn set_timer(&mut self, partition: &mut Partition, due: Option<Now>) {
        let id = partition.spec.id;
        if due == partition.timer {
            return;
        }
        if let Some(at) = std::mem::replace(&mut partition.timer, due) {
            self.timers.remove(&(at, id));
        }
        if let Some(at) = due {
            self.timers.insert((at, id));
        }
    }

    fn next(&mut self) -> Option<QueueId> {
        let next = self.again.range(QueueId(self.last.0.saturating_add(1))..).next();
        let next = next.or_else(|| self.again.first()).copied()?;
        self.again.remove(&next);
        self.last = next;
        Some(next)
    }
}

impl Shard {
    pub(in crate::shard) fn streams_deadline(&self) -> Option<Now> {
        let streams = &self.streams;
        if !(streams.purges.is_empty() && streams.looks.is_empty() && streams.held.is_empty()) {
            return Some(Now(0));
        }
        let due = [self.streams.chores.deadline(), self.streams.bundles.deadline()];
        due.into_iter().flatten().min()
    }

    /// After a start, or when the clock is trusted again: everything may have become due meanwhile.
    pub(in crate::shard) fn start_streams(&mut self) {
        if !self.streams.partitions.is_empty() {
            self.streams.chores.look_at_all();
        }
    }

    /// One step of whatever there is to do.
    pub(in crate::shard) fn step_streams(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        self.sweep();
        self.streams.bundles.expire(now);
        self.tell_abandoned(turn);
        for _ in 0..PARTITIONS_MAX {
            let Some(&(at, id)) = self.streams.chores.timers.first().filter(|(at, _)| *at <= now) else {
                break;
            };
            self.streams.chores.timers.remove(&(at, id));
            if let Some(partition) = self.streams.partitions.get_mut(&id) {
                partition.timer = None;
            }
            self.streams.chores.again(id);
        }
        let mut left = RECLAIM_MAX;
        for _ in 0..PARTITIONS_MAX.min(self.streams.chores.again.len()) {
            if left == 0 {
                break;
            }
            let Some(id) = self.streams.chores.next() else { break };
            self.look_after(id, &mut left, turn);
        }
        self.step_purges(turn);
        turn.replenish();
        self.step_held(turn);
        turn.replenish();
        self.step_looks(turn);
        self.reclaim_dead(left);
    }

    fn sweep(&mut self) {
        let streams = &mut self.streams;
        let Some(from) = streams.chores.sweep else { return };
        let mut rest = streams.partitions.range(from..).map(|(id, _)| *id);
        streams.chores.again.extend(rest.by_ref().take(PARTITIONS_MAX));
        streams.chores.sweep = rest.next();
    }

    /// Lets go of batches of dropped partitions.
    fn reclaim_dead(&mut self, mut left: u32) {
        while left > 0 {
            let Some(dead) = self.streams.chores.dead.front_mut() else { return };
            let live = &mut self.live;
            let more = dead.drop_below(Position(u64::MAX), left, |batch| {
                live.let_go(batch.place.lsn, batch.len);
                left -= 1;
            });
            if !more {
                self.streams.chores.dead.pop_front();
            }
        }
    }
}
