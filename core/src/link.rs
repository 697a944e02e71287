//! Numbered links: what crosses from one log to another is taken once (S5).
//!
//! Called by the shard for publishes that are the end of a move. The sender's numbers grow; the receiver keeps the last one per sender
//! in its logged state and drops what is not above it. Not here: sending again (the sender's, after a restart).

use std::collections::BTreeMap;
use stele_model::id::ShardId;
use stele_model::publish::LinkNumber;

/// The last number taken from each sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Links(BTreeMap<ShardId, u64>);

impl Links {
    /// Whether this submit was taken before.
    pub(crate) fn is_repeat(&self, link: LinkNumber) -> bool {
        self.0.get(&link.from).is_some_and(|last| link.number <= *last)
    }

    /// The submit was taken.
    pub(crate) fn taken(&mut self, link: LinkNumber) {
        let last = self.0.entry(link.from).or_default();
        *last = link.number.max(*last);
    }

    /// All, in the order of the senders.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LinkNumber> + '_ {
        self.0.iter().map(|(from, number)| LinkNumber { from: *from, number: *number })
    }
}
