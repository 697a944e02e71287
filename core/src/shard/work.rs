//! What a turn left over, and what time brings: the steps of [`stele_model::machine::Machine::tick`].
//!
//! What must hold: each step is bounded, whatever the backlog (S7); queues with work left take turns. What is kept here is attached
//! state: after a restart it follows from the logged state.

use super::effect::Turn;
use super::{Mutant, Shard};
use crate::queue::Queue;
use crate::queue::lease::Leases;
use crate::queue::priority::Ready;
use std::collections::{BTreeSet, VecDeque};
use stele_model::id::{Now, QueueId, SessionId};
use stele_model::settle::Settle;

/// Timers and queues looked at in one step.
const QUEUES_MAX: usize = 16;
/// Queues whose timer is set again in one step after the clock had jumped.
const REARMED_MAX: usize = 256;
/// Records of purged and dropped queues let go of in one step.
const RECLAIM_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct Work {
    /// One timer per queue at most; [`Queue::timer`] says when.
    timers: BTreeSet<(Now, QueueId)>,
    /// Queues with work left.
    again: BTreeSet<QueueId>,
    /// Queues with work left that have to wait until a move ends.
    stalled: BTreeSet<QueueId>,
    /// The queue that had its turn last.
    last: QueueId,
    /// The timers of all queues from here on are to be set again.
    rearm: Option<QueueId>,
    /// Settles of more records than fit a turn.
    pub(super) settles: VecDeque<(SessionId, Settle)>,
    /// Records that nothing refers to any more, but whose bytes are still counted as live.
    dead: Vec<Dead>,
}

/// What is left of a queue that was purged or dropped. It stays until all is let go of and nothing is left for a snapshot to write.
#[derive(Debug)]
struct Dead {
    queue: QueueId,
    ready: Ready,
    leases: Leases,
}

impl Dead {
    fn is_empty(&self) -> bool {
        self.ready.count() + self.leases.count() == 0
    }

    fn is_frozen(&self) -> bool {
        self.ready.is_frozen() || self.leases.is_frozen()
    }

    fn is_over(&self) -> bool {
        self.is_empty() && !self.is_frozen()
    }
}

impl Work {
    pub(super) fn deadline(&self) -> Option<Now> {
        let rearms = self.rearm.is_some();
        let reclaims = self.dead.iter().any(|dead| !dead.is_empty());
        if rearms || reclaims || !self.again.is_empty() || !self.settles.is_empty() {
            return Some(Now(0));
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// The queue is looked at again in the next step.
    pub(super) fn again(&mut self, queue: QueueId) {
        self.again.insert(queue);
    }

    /// As [`Self::again`], or when a move has ended.
    pub(super) fn later(&mut self, queue: QueueId, stalled: bool) {
        if stalled {
            self.stalled.insert(queue)
        } else {
            self.again.insert(queue)
        };
    }

    /// A move has ended: there is room for others.
    pub(super) fn moves_go_on(&mut self) {
        self.again.append(&mut self.stalled);
    }

    /// Records whose queue has let go of them; their bytes are given back step by step.
    pub(super) fn bury(&mut self, queue: QueueId, ready: Ready, leases: Leases) {
        let dead = Dead { queue, ready, leases };
        if !dead.is_over() {
            self.dead.push(dead);
        }
    }

    /// What is left of a queue of which a snapshot has yet to write something.
    pub(super) fn frozen(&mut self) -> Option<(QueueId, &mut Ready, &mut Leases)> {
        let next = self.dead.iter_mut().find(|dead| dead.is_frozen())?;
        Some((next.queue, &mut next.ready, &mut next.leases))
    }

    /// The snapshot that was to write something of this is dropped.
    pub(super) fn thaw(&mut self) {
        for dead in &mut self.dead {
            dead.ready.thaw();
            dead.leases.thaw();
        }
    }

    /// The queue is no more.
    pub(super) fn forget(&mut self, queue: &Queue) {
        let id = queue.spec.id;
        self.again.remove(&id);
        self.stalled.remove(&id);
        if let Some(at) = queue.timer {
            self.timers.remove(&(at, id));
        }
    }

    fn next_queue(&mut self) -> Option<QueueId> {
        let next = self.again.range(QueueId(self.last.0.saturating_add(1))..).next();
        let next = next.or_else(|| self.again.first()).copied()?;
        self.again.remove(&next);
        self.last = next;
        Some(next)
    }
}

impl Shard {
    /// One step of whatever there is to do.
    pub(super) fn step(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        self.rearm();
        for _ in 0..QUEUES_MAX {
            let Some(&(at, id)) = self.work.timers.first().filter(|(at, _)| *at <= now) else { break };
            self.work.timers.remove(&(at, id));
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.timer = None;
            }
            self.advance(id, turn);
            self.close_unused(id, turn);
        }
        if let Some((session, settle)) = self.work.settles.pop_front() {
            self.settle(session, vec![settle], turn);
        }
        for _ in 0..QUEUES_MAX.min(self.work.again.len()) {
            let Some(id) = self.work.next_queue() else { break };
            self.release_gone(id, turn);
            self.advance(id, turn);
        }
        self.reclaim();
        self.step_groups(turn);
    }

    /// Sets the queue's timer to when it has to be looked at next.
    pub(super) fn set_timer(&mut self, id: QueueId) {
        let (stalled, by_age) = (self.work.stalled.contains(&id), self.ages());
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let due = if stalled { queue.unused_at() } else { queue.due() };
        let due = due.filter(|_| by_age);
        if due == queue.timer {
            return;
        }
        if let Some(at) = std::mem::replace(&mut queue.timer, due) {
            self.work.timers.remove(&(at, id));
        }
        if let Some(at) = due {
            self.work.timers.insert((at, id));
        }
    }

    /// Whether time is believed.
    pub(super) fn ages(&self) -> bool {
        !self.clock_jumped || self.makes(Mutant::JumpedClock)
    }

    /// The wall clock has jumped, or is trusted again: then everything may have become due.
    pub(super) fn clock(&mut self, jumped: bool) {
        self.groups.around.clock_jumped = jumped && !self.makes(Mutant::JumpedClock);
        if std::mem::replace(&mut self.clock_jumped, jumped) && !jumped {
            self.start_streams();
            self.work.rearm = Some(QueueId(0));
        }
    }

    /// Sets timers that the jump of the clock has stopped, some of them.
    fn rearm(&mut self) {
        let Some(from) = self.work.rearm else { return };
        let ids: Vec<QueueId> = self.queues.range(from..).take(REARMED_MAX + 1).map(|(id, _)| *id).collect();
        self.work.rearm = ids.get(REARMED_MAX).copied();
        ids.into_iter().take(REARMED_MAX).for_each(|id| self.set_timer(id));
    }

    /// Replay is over (see [`stele_model::machine::Machine::started`]).
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) {
        self.return_leases(turn);
        self.send_again(turn);
        let now = turn.now();
        let ids: Vec<QueueId> = self.queues.keys().copied().collect();
        for id in ids {
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.used = now;
                if queue.drops_head() {
                    self.work.again(id);
                }
            }
            self.set_timer(id);
        }
        self.start_groups(turn);
    }

    fn reclaim(&mut self) {
        let mut left = RECLAIM_MAX;
        self.work.dead.retain_mut(|dead| {
            while left > 0 {
                let record = dead.ready.pop().or_else(|| dead.leases.pop_first().map(|lease| lease.record));
                let Some(record) = record else { break };
                self.live.gone(&record);
                left -= 1;
            }
            !dead.is_over()
        });
    }
}
