//! A shard on its log, with what its thread does around it: turns, joining effects to their bytes, reads from the log.

use super::{Node, Plan, commits::Commits, equal, short};
use crate::desk::Desk;
use crate::log::SimLog;
use crate::mutant::{Bent, Mutant};
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::VecDeque;
use stele_core::runner::Runner;
use stele_core::runner::dispatch::{Dispatch, Fetch, Out};
use stele_core::shard::Shard;
use stele_model::id::{Now, ShardId};
use stele_model::log::{ReadError, RecordReader};
use stele_model::shard::{ShardOp, ToHub};

/// See the file's head.
pub(super) struct ShardPart {
    id: ShardId,
    runner: Runner<Bent<Shard>, SimLog>,
    dispatch: Dispatch,
    fetches: VecDeque<Fetch>,
    /// What its own dispatch asks of it.
    back: Vec<ShardOp>,
    commits: Commits,
    dirty: bool,
    unreadable: Option<String>,
    mutant: Option<Mutant>,
}

impl ShardPart {
    pub(super) fn start(plan: &Plan, id: ShardId, log: SimLog, rng: Rng, now: Now) -> Result<Self, String> {
        let inside = plan.mutant.and_then(Mutant::inside);
        let runner = Runner::start(log, plan.settings(), now, |chunks| {
            let shard = match chunks {
                Some(chunks) => Shard::restore(&chunks)?,
                None => Shard::new(id),
            };
            let shard = shard.with_mutant(inside).with_snapshot_steps(plan.snapshot_items);
            Ok(Bent::new(shard, plan.mutant, rng))
        });
        Ok(Self {
            id,
            runner: runner.map_err(|error| format!("{error:?}"))?,
            dispatch: Dispatch::new(id, plan.hubs),
            fetches: VecDeque::new(),
            back: Vec::new(),
            commits: Commits::new(now),
            dirty: true,
            unreadable: None,
            mutant: plan.mutant,
        })
    }

    pub(super) fn take(&mut self, desk: &mut Desk, op: ShardOp) {
        desk.note(|| format!("shard {} takes {}", self.id, short(&op)));
        self.commits.asked(&op);
        self.runner.take(desk.now, op);
        self.dirty = true;
    }

    pub(super) fn backlog_bytes(&self) -> usize {
        self.runner.backlog_bytes()
    }

    pub(super) fn wants_turn(&self, now: Now) -> bool {
        self.dirty || self.runner.deadline().is_some_and(|due| due <= now)
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.fetches.is_empty()
    }

    pub(super) fn wake(&mut self) {
        self.dirty = true;
    }

    pub(super) fn deadline(&self) -> Option<Now> {
        self.runner.deadline()
    }

    pub(super) fn broken(&self) -> Option<&str> {
        self.runner.broken().or(self.unreadable.as_deref())
    }

    pub(super) fn flush(&mut self) {
        self.runner.flush();
        self.commits.ticked();
        self.dirty |= !self.runner.settled();
    }

    pub(super) fn settled(&self) -> bool {
        self.runner.settled() && self.fetches.is_empty()
    }

    /// A turn; what is to be carried goes to `out`.
    fn turn(&mut self, desk: &mut Desk, out: &mut Vec<Out>) {
        for op in std::mem::take(&mut self.back) {
            self.take(desk, op);
        }
        if self.runner.deadline().is_some_and(|due| due <= desk.now) {
            self.commits.ticked();
        }
        self.runner.set_fetches(self.dispatch.fetches());
        let mut effects = Vec::new();
        self.runner.turn(desk.now, true, &mut effects);
        // Completions within the turn, or a snapshot, may want another look.
        self.dirty = !effects.is_empty();
        for effect in effects {
            desk.note(|| format!("shard {} says {}", self.id, short(&effect)));
            self.dispatch.effect(effect, |lsn| self.runner.block(lsn), out);
        }
        if let Some(what) = self.commits.turned(desk.now, self.runner.stats(), self.runner.backlog_bytes()) {
            desk.oracle.violate("W15", desk.step, format!("shard {}: {what}", self.id));
        }
        equal::shard(&self.runner, self.id, desk);
    }

    /// The oldest read ends.
    fn read(&mut self, desk: &mut Desk, out: &mut Vec<Out>) {
        let Some(fetch) = self.fetches.pop_front() else { return };
        let log = self.runner.log();
        let records: Result<Vec<Bytes>, ReadError> =
            fetch.records.iter().map(|(place, len)| log.record(*place, *len)).collect();
        match self.dispatch.fetched(fetch.number, records, out) {
            Ok(()) => {}
            // The disk failed: the process ends, as the server's does.
            Err(ReadError::Unavailable(why)) => self.unreadable = Some(why),
            Err(error) => {
                let what =
                    format!("shard {}: a record that is still handed out cannot be read: {error:?}", self.id);
                desk.oracle.violate("W4", desk.step, what);
            }
        }
        self.dirty = true;
    }
}

impl Node {
    pub(super) fn shard_turns(&mut self, shard: usize, desk: &mut Desk) {
        let mut out = Vec::new();
        self.shards[shard].turn(desk, &mut out);
        self.carry(shard, out);
    }

    pub(super) fn shard_reads(&mut self, shard: usize, desk: &mut Desk) {
        let mut out = Vec::new();
        self.shards[shard].read(desk, &mut out);
        self.carry(shard, out);
    }

    fn carry(&mut self, shard: usize, out: Vec<Out>) {
        for out in out {
            match out {
                Out::Hub(hub, mut told) => {
                    match self.shards[shard].mutant {
                        Some(Mutant::BitFlipped) => flip_a_bit(&mut told),
                        Some(Mutant::ReadFlipped) => flip_a_read(&mut told),
                        _ => {}
                    }
                    self.joints.shard_hub[shard][usize::from(hub.0)].send(told);
                }
                Out::Registry(op) => self.joints.shard_registry[shard].send(op),
                Out::Shard(op) => {
                    self.shards[shard].back.push(op);
                    self.shards[shard].dirty = true;
                }
                Out::Fetch(fetch) => self.shards[shard].fetches.push_back(fetch),
            }
        }
    }
}

/// The last bit of the last record.
fn flip_a_bit(told: &mut ToHub) {
    let ToHub::Deliver { deliveries, .. } = told else { return };
    let Some(last) = deliveries.items.last().copied() else { return };
    let Some(block) = deliveries.blocks.get_mut(last.block as usize) else { return };
    let mut bytes = block.to_vec();
    if let Some(byte) = bytes.get_mut((last.at + last.len) as usize - 1) {
        *byte ^= 1;
    }
    *block = Bytes::from(bytes);
}

/// The first bit of the first batch of each part, where its name begins.
fn flip_a_read(told: &mut ToHub) {
    let ToHub::Read { parts, .. } = told else { return };
    for part in parts.iter_mut().flatten() {
        let Some(first) = part.batches.first().copied() else { continue };
        let Some(block) = part.blocks.get_mut(first.block as usize) else { continue };
        let mut bytes = block.to_vec();
        if let Some(byte) = bytes.get_mut(first.at as usize) {
            *byte ^= 1;
        }
        *block = Bytes::from(bytes);
    }
}
