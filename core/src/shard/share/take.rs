//! Takers of shared groups come and go: pulls, pushes, credit, the end of a session.
//!
//! All of it is attached state (S1). What must hold: a pull is answered by one end, whatever happens; the answer to a push leaves before
//! its first record.

use super::{answer, say};
use crate::shard::Shard;
use crate::shard::effect::Turn;
use crate::share::{Share, ShareNumber};
use crate::stream::Partition;
use stele_model::id::{Lsn, Now, SessionId, SubscriptionId};
use stele_model::share::{PullEnd, PullWant, ShardTake, ShareAnswer, ShareNews, ShareRefusal, Take};

/// Takers of one session, over all groups.
const TAKERS_MAX: usize = 1 << 16;

impl Shard {
    pub(in crate::shard) fn take_share(&mut self, of: ShardTake, turn: &mut Turn<'_>) {
        let ShardTake { taker, partition, group, how } = of;
        let number = self.shares.number(partition, &group);
        match how {
            Take::Pull(want) => {
                let ended = match number {
                    Some(number) => self.pull(number, taker, &want, turn.now()),
                    None => Some(PullEnd::Unknown),
                };
                if let Some(why) = ended {
                    return say(turn, Lsn(0), taker, ShareNews::Ended { taker: taker.number, why });
                }
            }
            Take::Push { call, bytes_max } => {
                let attached = match number {
                    Some(number) => self.push(number, taker, bytes_max, turn.now()),
                    None => Err(ShareRefusal::Unknown),
                };
                let refused = attached.is_err();
                answer(turn, Lsn(0), (taker.session.hub, call), attached.map(|()| ShareAnswer::Attached));
                if refused {
                    return;
                }
            }
        }
        if let Some(number) = number {
            self.serve_share(number, turn);
        }
    }

    /// Adds a pull; `Some`: it has ended before it began.
    fn pull(
        &mut self,
        number: ShareNumber,
        taker: SubscriptionId,
        want: &PullWant,
        now: Now,
    ) -> Option<PullEnd> {
        let full = self.has_many_takers(taker.session);
        let Some(share) = self.shares.groups.get_mut(&number) else { return Some(PullEnd::Unknown) };
        let Some(partition) = self.streams.partitions.get(&share.partition) else {
            return Some(PullEnd::Unknown);
        };
        share.used = now;
        if let Some(ended) = over(share, want).or_else(|| impatient(share, partition, want)) {
            return Some(ended);
        }
        if full || share.takers.pulls() >= share.settings.waiting_max {
            return Some(PullEnd::WaitingOver);
        }
        share.takers.pull(taker, want, now);
        self.shares.takers.insert(taker, number);
        None
    }

    fn push(
        &mut self,
        number: ShareNumber,
        taker: SubscriptionId,
        bytes_max: u64,
        now: Now,
    ) -> Result<(), ShareRefusal> {
        let full = self.has_many_takers(taker.session);
        let share = self.shares.groups.get_mut(&number).ok_or(ShareRefusal::Unknown)?;
        let push = share.settings.push.ok_or(ShareRefusal::IsPull)?;
        if full {
            return Err(ShareRefusal::Full { max: TAKERS_MAX as u64 });
        }
        share.takers.push(taker, bytes_max, push.heartbeat_us, now);
        share.used = now;
        self.shares.takers.insert(taker, number);
        Ok(())
    }

    fn has_many_takers(&self, session: SessionId) -> bool {
        let from = SubscriptionId { session, number: 0 };
        let to = SubscriptionId { session, number: u64::MAX };
        self.shares.takers.len() >= TAKERS_MAX && self.shares.takers.range(from..=to).count() >= TAKERS_MAX
    }

    pub(in crate::shard) fn untake_share(&mut self, taker: SubscriptionId, turn: &mut Turn<'_>) {
        let Some(number) = self.shares.takers.remove(&taker) else { return };
        let now = turn.now();
        if let Some(share) = super::of_number(&mut self.shares, number) {
            share.takers.remove(taker);
            share.used = now;
        }
        self.shares.set_timer(number, now);
    }

    pub(in crate::shard) fn taker_credit(&mut self, taker: SubscriptionId, bytes: u64, turn: &mut Turn<'_>) {
        let Some(number) = self.shares.takers.get(&taker).copied() else { return };
        if let Some(share) = super::of_number(&mut self.shares, number) {
            share.takers.give_bytes(taker, bytes);
        }
        self.serve_share(number, turn);
    }

    pub(in crate::shard) fn share_session_gone(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.shares.listeners.remove(&session);
        self.echo_listen(session, None);
        let from = SubscriptionId { session, number: 0 };
        let to = SubscriptionId { session, number: u64::MAX };
        let takers: Vec<SubscriptionId> = self.shares.takers.range(from..=to).map(|(id, _)| *id).collect();
        for taker in takers {
            self.untake_share(taker, turn);
        }
    }
}

/// What of a pull is more than the group allows.
fn over(share: &Share, want: &PullWant) -> Option<PullEnd> {
    let settings = &share.settings;
    if settings.push.is_some() {
        return Some(PullEnd::IsPush);
    }
    if let Some(max) = settings.pull_count_max.filter(|max| want.count > *max) {
        return Some(PullEnd::CountOver { max });
    }
    if let Some(max_us) =
        settings.pull_expires_us_max.filter(|max| want.expires_us.is_some_and(|us| us > *max))
    {
        return Some(PullEnd::ExpiresOver { max_us });
    }
    let bytes = settings.pull_bytes_max.filter(|max| want.bytes_max.is_some_and(|bytes| bytes > *max));
    bytes.map(|max| PullEnd::BytesOver { max })
}

/// Why a pull that does not wait ends at once.
fn impatient(share: &Share, partition: &Partition, want: &PullWant) -> Option<PullEnd> {
    if !want.no_wait {
        return None;
    }
    // What is not known yet ends it when it is.
    let there = share.waiting(partition)? + share.pending.ready();
    match there {
        0 if want.expires_us.is_none() => Some(PullEnd::NoRecords),
        0 => None,
        _ if there < share.takers.wanted() => Some(PullEnd::OthersWait),
        _ => None,
    }
}
