//! What shared groups are like: for clients who ask, and for comparing a replay with what it should lead to.

use crate::shard::Shard;
use crate::share::pending::Slot;
use crate::share::{Share, Shares};
use stele_model::id::{Now, Position, QueueId};
use stele_model::share::{ShareInfo, ShareSettings};

/// What a replay must bring back of a shared group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedShare {
    /// Its number.
    pub number: u64,
    /// Its partition.
    pub partition: QueueId,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Now,
    /// What it is set to.
    pub settings: ShareSettings,
    /// Behind the last record that was delivered for the first time.
    pub next: Position,
    /// Of a group that begins with the last records of subjects: behind the last of them that was delivered, and where they end.
    pub lasts: Option<(Position, Position)>,
    /// How many deliveries there were.
    pub sequence: u64,
    /// What is not settled.
    pub pending: Vec<LoggedPending>,
}

/// One delivery of a [`LoggedShare`] that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedPending {
    /// Where.
    pub position: Position,
    /// Number of the first delivery.
    pub sequence: u64,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Until when it rests, or did.
    pub rest: Option<Now>,
}

pub(in crate::shard) fn logged(shares: &Shares) -> Vec<LoggedShare> {
    let pending = |(position, slot): (Position, Slot)| LoggedPending {
        position,
        sequence: slot.sequence,
        deliveries: slot.deliveries,
        rest: slot.rest(),
    };
    let share = |share: &Share| LoggedShare {
        number: share.number.0,
        partition: share.partition,
        name: share.name.to_string(),
        created: share.created,
        settings: (*share.settings).clone(),
        next: share.next,
        lasts: share.lasts.as_ref().map(|lasts| (lasts.from, lasts.below)),
        sequence: share.sequence,
        pending: share.pending.iter().map(pending).collect(),
    };
    shares.groups.values().filter(|of| of.logs()).map(share).collect()
}

impl Shard {
    /// What the group is like; how many records wait for it must be known.
    pub(super) fn info_of(&self, share: &Share) -> ShareInfo {
        let partition = self.streams.partitions.get(&share.partition);
        ShareInfo {
            group: share.name.to_string(),
            created: share.created,
            settings: (*share.settings).clone(),
            delivered: share.delivered(),
            floor: share.floor(),
            delivered_at: share.delivered_at,
            settled_at: share.settled_at,
            unsettled: share.pending.count(),
            redelivered: share.pending.redelivered(),
            pending: partition.and_then(|of| share.waiting(of)).unwrap_or(0),
            waiting: share.takers.pulls(),
            attached: share.takers.pushes(),
        }
    }
}
