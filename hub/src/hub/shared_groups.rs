//! Shared groups: requests, takers and settles find the shard of their partition; what a shard has for a taker finds its session.
//!
//! What must hold: names are resolved and grants checked here and nowhere later; a taker's shard is remembered until it ends or the session
//! goes; who listens hears of its own namespace only. Not here: what a group is.

use super::flow::Flows;
use super::joint::{Parts, Share};
use super::requests::Request;
use super::session::{Attached, TAKEN_EDGES_MAX, TakenEdge};
use super::streams::Shares;
use super::{Hub, HubOut, Open};
use stele_model::flow::Edge;
use stele_model::id::{Call, SessionId, ShardId, SubscriptionId, Ticket};
use stele_model::outcome::{Done, Outcome, Wake};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::shard::{Answer, ShardOp};
use stele_model::share::{
    Pull, PullEnd, Push, ShardSettle, ShardSettles, ShardShare, ShardShares, ShardTake, ShareAnswer,
    ShareHappened, ShareNews, ShareRef, ShareRequest, ShareSettles, ShareVerb, Take, TakerCredit,
};
use stele_model::stream::echo::Echoes;
use stele_model::stream::records::BundleAbandoned;
use stele_model::stream::{PartitionRef, StreamUuid};

/// Where a taker takes.
#[derive(Clone, Copy)]
pub(super) struct Taker {
    shard: ShardId,
    /// Number of the flow graph's edge from the group to the session's party.
    pub(super) edge: u32,
}

impl Hub {
    /// The partition of a group that the session may access so.
    fn shared_group(
        &self,
        session: SessionId,
        access: Access,
        share: &ShareRef,
    ) -> Result<super::streams::Partition, Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        namespace.check(&attached.principal.name, access, Object::Group, &share.group)?;
        self.partition(session, Access::Read, &share.of)
    }

    pub(super) fn ask_shared_group(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        request: ShareRequest,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let ShareRequest { share, verb } = request;
        let access = match verb {
            ShareVerb::Info => Access::Read,
            ShareVerb::Put { .. } | ShareVerb::Delete | ShareVerb::Pause(_) | ShareVerb::Reset(_) => {
                Access::Configure
            }
        };
        let found = self.shared_group(session, access, &share)?;
        let call = self.call(Open::Request { session, ticket, request: Request::SharedGroup });
        let ask = ShardShare { session, call, partition: found.id, group: share.group, verb };
        out.shards.push((found.shard, ShardOp::Share(ask)));
        Ok(())
    }

    pub(super) fn list_shared_groups(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        of: &PartitionRef,
        (offset, count_max): (u64, u32),
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let found = self.partition(session, Access::Read, of)?;
        let call = self.call(Open::Request { session, ticket, request: Request::SharedGroup });
        let of = ShardShares { hub: self.id, call, partition: found.id, offset, count_max };
        out.shards.push((found.shard, ShardOp::Shares(of)));
        Ok(())
    }

    pub(super) fn pull(&mut self, session: SessionId, pull: Pull, out: &mut HubOut) -> Result<(), Refusal> {
        let Pull { share, taker, want, heard_at } = pull;
        if heard_at.is_none_or(|subject| self.is_heard_from(session, &subject)) {
            self.take_from(session, (share, taker), Take::Pull(want), out)?;
        } else {
            // Nothing is leased to nobody: it would be missing to all others until the lease ends.
            let news = Box::new(ShareNews::Ended { taker, why: PullEnd::Unheard });
            out.wakes.push((session, Wake::Shared(news)));
        }
        // What comes to the taker is all the answer there is.
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.open -= 1;
        }
        Ok(())
    }

    pub(super) fn push(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        push: Push,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let Push { share, taker, bytes_max } = push;
        let call = self.call(Open::Request { session, ticket, request: Request::Push { taker } });
        let taken = self.take_from(session, (share, taker), Take::Push { call, bytes_max }, out);
        if taken.is_err() {
            self.calls.remove(&call);
        }
        taken
    }

    fn take_from(
        &mut self,
        session: SessionId,
        (share, taker): (ShareRef, u64),
        how: Take,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let found = self.shared_group(session, Access::Read, &share)?;
        let Some(attached) = self.sessions.get_mut(&session.number) else { return Ok(()) };
        attached.touched.insert(found.shard);
        let edge = taken_edge(attached, &mut self.flows, found.stream.info.uuid, &share.group);
        attached.takers.insert(taker, Taker { shard: found.shard, edge });
        let taker = SubscriptionId { session, number: taker };
        let take = ShardTake { taker, partition: found.id, group: share.group, how };
        out.shards.push((found.shard, ShardOp::Take(take)));
        Ok(())
    }

    pub(super) fn untake(&mut self, session: SessionId, taker: u64, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        let Some(Taker { shard, .. }) = attached.takers.remove(&taker) else { return };
        out.shards.push((shard, ShardOp::Untake { taker: SubscriptionId { session, number: taker } }));
    }

    pub(super) fn taker_credit(&self, session: SessionId, credits: &[TakerCredit], out: &mut HubOut) {
        let Some(attached) = self.sessions.get(&session.number) else { return };
        for TakerCredit { taker, bytes } in credits {
            if let Some(Taker { shard, .. }) = attached.takers.get(taker) {
                let taker = SubscriptionId { session, number: *taker };
                out.shards.push((*shard, ShardOp::TakerCredit { taker, bytes: *bytes }));
            }
        }
    }

    /// Settles of what is not there, or not for this user, have nothing to settle.
    pub(super) fn settle_shared(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        of: ShareSettles,
        out: &mut HubOut,
    ) {
        let ShareSettles { settles, awaited } = of;
        let mut shares = Shares::new();
        for (place, settle) in settles.into_iter().enumerate() {
            let Ok(found) = self.shared_group(session, Access::Read, &settle.share) else { continue };
            let settle = ShardSettle {
                partition: found.id,
                group: settle.share.group.into(),
                how: settle.how,
                runs: settle.runs,
                delivery: settle.delivery,
            };
            shares.add(found.shard, place, settle);
        }
        let joint = awaited.then(|| self.joint(session, ticket, Parts::Settled(0)));
        for (shard, _, settles) in shares.into_iter() {
            let answer = joint.map(|joint| (self.id, self.share(joint, Vec::new())));
            out.shards.push((shard, ShardOp::SettleShares(ShardSettles { answer, settles })));
        }
        if let Some(joint) = joint {
            self.asked(joint, out);
        }
    }

    /// Every shard has groups, and streams that tell of their records, of which the session may want to hear.
    pub(super) fn listen_to_shared(&mut self, session: SessionId, on: bool, out: &mut HubOut) {
        let attached = self.sessions.get(&session.number);
        let namespace = attached.and_then(|of| of.namespace.as_ref()).map(|(id, _)| *id).filter(|_| on);
        for shard in (0..self.shards).map(ShardId) {
            self.touch(session, shard);
            out.shards.push((shard, ShardOp::ShareListen { session, on }));
            out.shards.push((shard, ShardOp::EchoListen { session, namespace }));
        }
    }

    /// A shard has stored records and tells of them. They have left its way to the session, which is told at once.
    pub(super) fn echoed(
        &mut self,
        shard: ShardId,
        session: SessionId,
        echoes: Box<Echoes>,
        out: &mut HubOut,
    ) {
        let bytes = echoes.records.iter().map(|record| record.len() as u64).sum();
        out.shards.push((shard, ShardOp::EchoTaken { session, bytes }));
        if self.sessions.contains_key(&session.number) {
            out.wakes.push((session, Wake::Echo(echoes)));
        }
    }

    /// A shard has answered for its share of settles.
    pub(super) fn shared_settled(&mut self, call: Call, answer: &ShareAnswer, out: &mut HubOut) {
        let ShareAnswer::Settled { count } = answer else {
            unreachable!("a shard answers what it was asked")
        };
        self.shared(call, Share::Settled(*count), out);
    }

    /// What a group says to a request of its own.
    pub(super) fn shared_group_answered(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        request: &Request,
        answer: Answer,
        out: &mut HubOut,
    ) {
        let Answer::Share(said) = answer else { return };
        if let (Request::Push { taker }, Err(_), Some(attached)) =
            (request, &said, self.sessions.get_mut(&session.number))
        {
            attached.takers.remove(taker);
        }
        self.complete(session, ticket, Outcome::Done(Done::Share(said)), out);
    }

    /// A shard has something for a taker or a listener.
    pub(super) fn shared_news(&mut self, session: SessionId, news: Box<ShareNews>, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        match &*news {
            ShareNews::Records(records) => {
                let Some(Taker { edge, .. }) = attached.takers.get(&records.taker).copied() else { return };
                let bytes = records.items.iter().map(|item| u64::from(item.len)).sum();
                self.flows.add(edge, records.items.len() as u64, bytes);
            }
            ShareNews::Ended { taker, .. } => {
                if attached.takers.remove(taker).is_none() {
                    return;
                }
            }
            ShareNews::Idle { taker, .. } => {
                if !attached.takers.contains_key(taker) {
                    return;
                }
            }
            ShareNews::Event(ShareHappened { partition, .. })
            | ShareNews::Abandoned(BundleAbandoned { partition, .. }) => {
                let own = attached.namespace.as_ref().map(|(id, _)| *id);
                if own != Some(partition.namespace) {
                    return;
                }
            }
        }
        out.wakes.push((session, Wake::Shared(news)));
    }
}

/// The edge from a group to a session's party: a session mostly takes from the group that it took from before.
fn taken_edge(attached: &mut Attached, flows: &mut Flows, stream: StreamUuid, group: &str) -> u32 {
    let is_it = |known: &&TakenEdge| known.stream == stream && *known.group == *group;
    if let Some(known) = attached.taken.iter().rev().find(is_it) {
        return known.edge;
    }
    if attached.taken.len() == TAKEN_EDGES_MAX {
        attached.taken.remove(0);
    }
    let edge = flows.edge(Edge::Taken { stream, group: group.to_owned(), party: attached.party.clone() });
    attached.taken.push(TakenEdge { stream, group: group.into(), edge });
    edge
}
