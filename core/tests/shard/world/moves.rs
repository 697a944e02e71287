//! The moves of a run: those under way, and queues that keep what should leave them while there are too many.
//!
//! Which queues' records take the last places the model does not foresee; there it believes the shard, and judges whether they may.

use super::{Check, World};
use crate::model::State;
use stele_model::id::{Lsn, QueueId};
use stele_model::shard::{DeathReason, Move, MoveOut, ShardEffect, ShardOp};

/// With so many moves under way nothing leaves its queue by age or length.
const MOVES_MAX: usize = 64;
/// What one operation and the rest after it begin, at most, besides what its own effects tell of: the shard looks at one queue after the other.
const MORE_MAX: usize = 16;

/// A move as a hub is told of it.
pub(super) struct Moved {
    pub(super) number: u64,
    pub(super) queue: QueueId,
    reason: DeathReason,
    pub(super) ids: Vec<u32>,
}

impl World {
    /// A hub has found places for what one of them moves.
    pub(super) fn moved(&mut self, nth: u8) {
        let numbers: Vec<u64> = self.moves.keys().copied().collect();
        let Some(number) = numbers.get(usize::from(nth) % numbers.len().max(1)) else { return };
        if let Some((id, ids)) = self.moves.remove(number)
            && let Some(queue) = self.queues.get_mut(&id)
        {
            queue.items.retain(|item| !(ids.contains(&item.id) && item.state == State::Moving));
        }
        self.take(ShardOp::Moved { number: *number });
    }

    /// The moves that some effects tell of.
    pub(super) fn moved_by(&self, effects: &[(Lsn, ShardEffect)]) -> Vec<Moved> {
        let moves = effects.iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Move(Move { number, out_of: MoveOut::Queue { queue, reason, records }, .. }) => {
                let ids = records.iter().filter_map(|grant| self.id_of(grant)).collect();
                Some(Moved { number: *number, queue: queue.id, reason: *reason, ids })
            }
            _ => None,
        });
        moves.collect()
    }

    /// If with so many moves more there could be too many, queues keep what the shard does not tell of, until it has come to rest with room left.
    pub(super) fn grow_patient(&mut self, more: usize) {
        if self.moves.len() + more + MORE_MAX >= MOVES_MAX {
            self.queues.values_mut().for_each(|of| of.is_patient = of.spec.settings.dead_letter.is_some());
        }
    }

    /// The shard has come to rest: with room for moves, all that should leave has left.
    pub(super) fn shed_patience(&mut self) {
        let is_crowded = self.moves.len() >= MOVES_MAX;
        self.queues.values_mut().for_each(|of| of.is_patient &= is_crowded);
    }

    /// What has left patient queues for this reason. What leaves the others the model knows by itself.
    pub(super) fn have_left(&mut self, moved: &[Moved], reason: DeathReason) -> Check {
        let now = self.now();
        for of in moved.iter().filter(|of| of.reason == reason) {
            if let Some(queue) = self.queues.get_mut(&of.queue).filter(|queue| queue.is_patient) {
                queue.leave(&of.ids, reason == DeathReason::Expired, now)?;
            }
        }
        Ok(())
    }
}
