//! Watches: telling a session, once, that something came to one of the partitions that it has read to the end.
//!
//! Attached state (S1). What must hold: a watch wakes at most once; the wake waits for the block of what came; a watch that has woken, or
//! whose session is gone, stands nowhere any more.

use super::super::Mutant;
use super::super::effect::Turn;
use super::Shard;
use stele_model::id::{Lsn, QueueId, SessionId};
use stele_model::shard::ShardEffect;

impl Shard {
    /// Begins a watch on these partitions; an earlier one of the same number ends.
    pub(super) fn watch(&mut self, session: SessionId, watch: u64, partitions: Vec<QueueId>) {
        self.unwatch(session, watch);
        for id in &partitions {
            if let Some(partition) = self.streams.partitions.get_mut(id) {
                partition.watches.insert((session, watch));
            }
        }
        if !partitions.is_empty() {
            self.streams.watches.insert((session, watch), partitions);
        }
    }

    pub(in crate::shard) fn unwatch(&mut self, session: SessionId, watch: u64) {
        for id in self.streams.watches.remove(&(session, watch)).unwrap_or_default() {
            if let Some(partition) = self.streams.partitions.get_mut(&id) {
                partition.watches.remove(&(session, watch));
            }
        }
    }

    /// Something came to the partition, or it is gone: who watches it is told after block `after`.
    pub(super) fn wake_all(&mut self, id: QueueId, after: Lsn, turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        for (session, watch) in std::mem::take(&mut partition.watches) {
            if !self.makes(Mutant::StaleWatch) {
                self.unwatch(session, watch);
            }
            turn.say(after, ShardEffect::Woken { session, watch });
        }
    }

    pub(in crate::shard) fn watcher_gone(&mut self, session: SessionId) {
        let of_session = (session, 0)..=(session, u64::MAX);
        let watches: Vec<u64> =
            self.streams.watches.range(of_session).map(|((_, watch), _)| *watch).collect();
        for watch in watches {
            self.unwatch(session, watch);
        }
    }
}
