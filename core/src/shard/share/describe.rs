//! What shared groups are like: for clients who ask, and for comparing a replay with what it should lead to.

use super::answer_present;
use crate::shard::Shard;
use crate::shard::effect::Turn;
use crate::share::pending::Slot;
use crate::share::{Share, ShareNumber, Shares};
use stele_model::id::{Call, HubId, Now, Position, QueueId};
use stele_model::share::{ShardShares, ShareAnswer, ShareInfo, ShareSettings};

/// Groups told in one answer.
const PAGE_MAX: u32 = 1024;

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
    pub(super) fn answer_info(&self, to: (HubId, Call), number: ShareNumber, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let info = Box::new(self.info_of(share));
        answer_present(turn, to, Ok(ShareAnswer::Info(info)));
    }

    pub(in crate::shard) fn list_shares(&self, of: ShardShares, turn: &mut Turn<'_>) {
        let names = self.shares.of.get(&of.partition).map(|of| &of.names);
        let offset = usize::try_from(of.offset).unwrap_or(usize::MAX);
        let page = names.into_iter().flatten().skip(offset).take(of.count_max.min(PAGE_MAX) as usize);
        let groups = page.filter_map(|(_, number)| self.shares.groups.get(number));
        let groups = groups.map(|share| self.info_of(share)).collect();
        let total = names.map_or(0, |names| names.len() as u64);
        answer_present(turn, (of.hub, of.call), Ok(ShareAnswer::Listed { groups, total }));
    }

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
            pending: partition.map_or(0, |of| share.waiting(of)),
            waiting: share.takers.pulls(),
            attached: share.takers.pushes(),
        }
    }
}
