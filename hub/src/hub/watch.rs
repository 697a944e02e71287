//! Watches: a session is told once of the next append to what it reads, whichever shard comes first.
//!
//! A session's number may be used again after its wake, while another shard's wake is still on its way; so shards are given numbers that
//! this hub never uses twice. At most as many watches as a session has numbers in use, up to [`WATCHES_MAX`].

use super::{Hub, HubOut};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use stele_model::id::{SessionId, ShardId};
use stele_model::outcome::Wake;
use stele_model::shard::ShardOp;

/// Most watches of one session; of a further one it hears nothing, as of one whose wake was late.
pub(super) const WATCHES_MAX: usize = 1024;

/// What a session watches.
#[derive(Default)]
pub(super) struct Watches {
    /// By the session's number: ours, and who was asked.
    by_session: BTreeMap<u64, (u64, SmallVec<[ShardId; 2]>)>,
    /// The session's number by ours.
    ours: BTreeMap<u64, u64>,
}

impl Watches {
    fn remove(&mut self, watch: u64) -> Option<(u64, SmallVec<[ShardId; 2]>)> {
        let (ours, shards) = self.by_session.remove(&watch)?;
        self.ours.remove(&ours);
        Some((ours, shards))
    }
}

impl Hub {
    /// A session watches what it reads from these shards: the number they are given.
    pub(super) fn watch(
        &mut self,
        session: SessionId,
        watch: u64,
        shards: SmallVec<[ShardId; 2]>,
        out: &mut HubOut,
    ) -> Option<u64> {
        self.unwatch(session, watch, out);
        let attached = self.sessions.get_mut(&session.number)?;
        if shards.is_empty() || attached.watches.by_session.len() >= WATCHES_MAX {
            return None;
        }
        self.watch_last += 1;
        attached.watches.by_session.insert(watch, (self.watch_last, shards));
        attached.watches.ours.insert(self.watch_last, watch);
        Some(self.watch_last)
    }

    /// A session wants to hear no more of a watch.
    pub(super) fn unwatch(&mut self, session: SessionId, watch: u64, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        let Some((ours, shards)) = attached.watches.remove(watch) else { return };
        out.shards.extend(shards.into_iter().map(|shard| (shard, ShardOp::Unwatch { session, watch: ours })));
    }

    /// A shard has something for a watch: the session hears of it, the other shards are told to forget it.
    pub(super) fn woken(&mut self, from: ShardId, session: SessionId, ours: u64, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        let Some(watch) = attached.watches.ours.get(&ours).copied() else { return };
        let Some((_, shards)) = attached.watches.remove(watch) else { return };
        let others = shards.into_iter().filter(|shard| *shard != from);
        out.shards.extend(others.map(|shard| (shard, ShardOp::Unwatch { session, watch: ours })));
        out.wakes.push((session, Wake::Appended { watch }));
    }
}
