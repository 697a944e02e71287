//! The answers of several shards become one answer to a batch (S19).

use super::joint::Share;
use super::plan::Spread;
use super::{Hub, HubOut, Open};
use std::collections::BTreeMap;
use stele_model::id::{Call, NamespaceId, Now, QueueId, SessionId, Ticket};
use stele_model::outcome::{Outcome, Published};
use stele_model::refusal::Refusal;
use stele_model::stream::records::ShardStored;

/// A batch of which some shards have not answered yet.
pub(super) struct OpenBatch {
    pub(super) session: SessionId,
    pub(super) ticket: Ticket,
    /// Where it was routed; the session may be gone by now.
    pub(super) namespace: Option<NamespaceId>,
    /// The answer as far as it is known.
    pub(super) published: Published,
    /// Parts without an answer.
    pub(super) waiting: u32,
    /// Items that went more than one way.
    pub(super) spread: Spread,
    /// How many of its ways an item of those found closed.
    pub(super) closed: BTreeMap<u32, usize>,
    /// Queues from here on were not there when the batch was routed.
    pub(super) horizon: QueueId,
}

impl OpenBatch {
    /// A way of item `n` is closed: its queues there are gone. Whether that was the last one, so that nobody has the item.
    pub(super) fn is_lost(&mut self, n: u32) -> bool {
        let ways = self.spread.ways(n);
        if ways == 1 {
            return true;
        }
        let closed = self.closed.entry(n).or_default();
        *closed += 1;
        *closed == ways
    }
}

impl Hub {
    /// A shard has what it was sent, but for what it lists.
    pub(super) fn published(
        &mut self,
        _: Now,
        call: Call,
        (refused, gone, stored): (Vec<(u32, Refusal)>, &[u32], &[ShardStored]),
        out: &mut HubOut,
    ) {
        if self.is_share(call) {
            return self.shared(call, Share::Stored, out);
        }
        match self.ended(call) {
            Some(Open::Move { of }) => self.moved(of, out),
            Some(Open::Publish { batch: number, again }) => {
                let Some(mut open) = self.batches.remove(&number) else { return };
                open.waiting -= 1;
                open.published.refused.extend(refused);
                self.name_stored(&mut open.published, stored);
                if !gone.is_empty() && again {
                    open.give_up(gone);
                } else if !gone.is_empty() {
                    self.route_again(number, &mut open, gone, out);
                }
                if open.waiting > 0 {
                    self.batches.insert(number, open);
                } else {
                    let OpenBatch { session, ticket, published, .. } = open.finish();
                    self.complete(session, ticket, Outcome::Published(published), out);
                }
            }
            Some(Open::Request { .. } | Open::Share { .. }) | None => {}
        }
    }
}

impl OpenBatch {
    /// These were routed twice, and their queues are gone again.
    fn give_up(&mut self, gone: &[u32]) {
        let Published { batch, unroutable, .. } = &mut self.published;
        let is_mandatory = |n: &&u32| batch.items.get(**n as usize).is_some_and(|item| item.mandatory);
        unroutable.extend(gone.iter().filter(is_mandatory));
    }

    /// Puts what the shards listed in order; of several refusals of one item the first stands.
    fn finish(mut self) -> Self {
        let Published { unroutable, refused, stored, .. } = &mut self.published;
        unroutable.sort_unstable();
        unroutable.dedup();
        refused.sort_by_key(|(n, _)| *n);
        refused.dedup_by_key(|(n, _)| *n);
        stored.sort_by_key(|stored| stored.item);
        self
    }
}
