//! The order in which changes become visible: durable here, applied at the shards, published, answered (S10, S11).
//!
//! A change that concerns a shard holds up all later ones until the shard has it, which costs them at most one commit there: a
//! snapshot contains everything up to its revision, so it cannot show the second of two changes without the first.

use super::PENDING_MAX;
use super::snapshot::Snapshot;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use stele_model::id::{Lsn, QueueId, Revision, ShardId};
use stele_model::machine::Effects;
use stele_model::refusal::Refusal;
use stele_model::registry::RegistryEffect;

/// A change on its way.
pub(crate) struct Pending {
    lsn: Lsn,
    snapshot: Arc<Snapshot>,
    waits: BTreeSet<(ShardId, Option<QueueId>)>,
    afterwards: Vec<RegistryEffect>,
}

impl Pending {
    /// The change that leads to `snapshot`, logged in block `lsn`.
    pub(crate) fn new(lsn: Lsn, snapshot: Arc<Snapshot>) -> Self {
        Self { lsn, snapshot, waits: BTreeSet::new(), afterwards: Vec::new() }
    }

    /// Not before this shard has answered. `false`: it was waited for already.
    pub(crate) fn wait_for(&mut self, shard: ShardId, queue: Option<QueueId>) -> bool {
        self.waits.insert((shard, queue))
    }

    /// Not before the snapshot is published.
    pub(crate) fn afterwards(&mut self, effect: RegistryEffect) {
        self.afterwards.push(effect);
    }
}

/// The changes on their way, by revision, without gaps.
#[derive(Default)]
pub(crate) struct Order {
    pending: VecDeque<Pending>,
    published: Option<Arc<Snapshot>>,
}

impl Order {
    /// The newest snapshot whose turn has come.
    pub(crate) fn published(&self) -> Option<&Arc<Snapshot>> {
        self.published.as_ref()
    }

    /// Whether another change may join.
    pub(crate) fn has_room(&self) -> Result<(), Refusal> {
        if self.pending.len() < PENDING_MAX {
            return Ok(());
        }
        Err(Refusal::Unavailable { why: "definitions wait for a shard that does not answer".into() })
    }

    /// Lines a change up.
    pub(crate) fn push(&mut self, pending: Pending, effects: &mut Effects<RegistryEffect>) {
        self.pending.push_back(pending);
        self.release(effects);
    }

    /// A shard has what it was told at this revision.
    pub(crate) fn applied(
        &mut self,
        shard: ShardId,
        revision: Revision,
        queue: Option<QueueId>,
        effects: &mut Effects<RegistryEffect>,
    ) {
        let Some(first) = self.pending.front().map(|pending| pending.snapshot.revision()) else { return };
        let Some(at) = revision.0.checked_sub(first.0) else { return };
        if let Some(pending) = usize::try_from(at).ok().and_then(|at| self.pending.get_mut(at)) {
            pending.waits.remove(&(shard, queue));
            self.release(effects);
        }
    }

    /// Tells something once all that is on its way now is published.
    pub(crate) fn after_all(
        &mut self,
        effect: RegistryEffect,
        tail: Lsn,
        effects: &mut Effects<RegistryEffect>,
    ) {
        match self.pending.back_mut() {
            Some(last) => last.afterwards(effect),
            None => effects.push((tail, effect)),
        }
    }

    fn release(&mut self, effects: &mut Effects<RegistryEffect>) {
        while let Some(first) = self.pending.pop_front_if(|first| first.waits.is_empty()) {
            let revision = first.snapshot.revision();
            self.published = Some(first.snapshot);
            effects.push((first.lsn, RegistryEffect::Publish { revision }));
            effects.extend(first.afterwards.into_iter().map(|effect| (first.lsn, effect)));
        }
    }
}
