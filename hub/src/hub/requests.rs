//! Reading: subscriptions, single reads, purges, settles, credit, and what shards say to them.

use super::session::Reader;
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::{Namespace, Queue};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::flow::Edge;
use stele_model::id::{Call, Now, QueueId, SessionId, ShardId, SubscriptionId, Ticket};
use stele_model::op::{Credit, Define, Get, Subscribe};
use stele_model::outcome::{Deliveries, Delivery, Done, Outcome, Wake};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::settle::Settle;
use stele_model::shard::{Answer, Grant, ShardOp, ShardSubscribe};

/// A request that a shard or the registry is asked about.
pub(super) enum Request {
    /// To attach a reader.
    Subscribe { subscription: u64, reader: Reader, queue: Arc<str> },
    /// To detach one.
    Unsubscribe,
    /// To read one record.
    Get { edge: u32, queue: Arc<str> },
    /// To remove ready records.
    Purge { queue: Arc<str> },
    /// To change definitions. A queue's declaration is kept, to be tried again if the queue turns out to be on its way out.
    Define { declare: Option<Define>, tries: u32 },
    /// To count what a declared queue holds.
    Declared { declare: Option<Define>, tries: u32, queue: Arc<str> },
    /// To remove a queue.
    Delete { queue: Arc<str> },
}

impl Request {
    pub(super) fn is_definition(&self) -> bool {
        matches!(self, Self::Define { .. } | Self::Declared { .. } | Self::Delete { .. })
    }

    /// The edge that its answer will count on.
    pub(super) fn edge(&self) -> Option<u32> {
        match self {
            Self::Subscribe { reader, .. } => Some(reader.edge),
            Self::Get { edge, .. } => Some(*edge),
            _ => None,
        }
    }

    fn queue(&self) -> Option<&Arc<str>> {
        match self {
            Self::Subscribe { queue, .. }
            | Self::Get { queue, .. }
            | Self::Purge { queue }
            | Self::Declared { queue, .. }
            | Self::Delete { queue } => Some(queue),
            Self::Unsubscribe | Self::Define { .. } => None,
        }
    }
}

impl Hub {
    /// A queue that the session may access so.
    pub(super) fn queue_for(
        &self,
        session: SessionId,
        access: Access,
        name: &str,
    ) -> Result<&Arc<Queue>, Refusal> {
        let (attached, namespace) = self.namespace_of(session)?;
        namespace.check(&attached.principal.name, access, Object::Queue, name)?;
        usable(namespace, session, name)
    }

    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        subscribe: Subscribe,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        if subscribe.direct_reply {
            self.namespace_of(session)?;
            self.subscribe_replies(session, ticket, subscribe.subscription, out);
            return Ok(());
        }
        let queue = self.queue_for(session, Access::Read, &subscribe.queue)?;
        let (id, shard, name) = (queue.id(), queue.shard, queue.name.clone());
        let reader = Reader { queue: id, shard, edge: self.delivered_edge(session, id) };
        let subscription = subscribe.subscription;
        let request = Request::Subscribe { subscription, reader, queue: name };
        let call = self.ask(session, ticket, request, shard);
        let op = ShardOp::Subscribe(ShardSubscribe {
            call,
            subscription: SubscriptionId { session, number: subscription },
            queue: id,
            no_ack: subscribe.no_ack,
            exclusive: subscribe.exclusive,
            messages_max: subscribe.messages_max,
            bytes_max: subscribe.bytes_max,
            priority: subscribe.priority,
            start: subscribe.start,
        });
        out.shards.push((shard, op));
        Ok(())
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        subscription: u64,
        out: &mut HubOut,
    ) {
        let Some(attached) = self.sessions.get_mut(&session.number) else { return };
        attached.replies.remove(&subscription);
        match attached.readers.remove(&subscription) {
            Some(Reader { queue, shard, .. }) => {
                let call = self.ask(session, ticket, Request::Unsubscribe, shard);
                let subscription = SubscriptionId { session, number: subscription };
                out.shards.push((shard, ShardOp::Unsubscribe { call, subscription, queue }));
            }
            None => self.complete(session, ticket, Outcome::Done(Done::Unsubscribed), out),
        }
    }

    pub(super) fn get(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        get: Get,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let queue = self.queue_for(session, Access::Read, &get.queue)?;
        let (id, shard, name) = (queue.id(), queue.shard, queue.name.clone());
        let edge = self.delivered_edge(session, id);
        let call = self.ask(session, ticket, Request::Get { edge, queue: name }, shard);
        let subscription = SubscriptionId { session, number: get.subscription };
        out.shards.push((shard, ShardOp::Get { call, subscription, queue: id, no_ack: get.no_ack }));
        Ok(())
    }

    pub(super) fn purge(
        &mut self,
        session: SessionId,
        ticket: Ticket,
        name: &str,
        out: &mut HubOut,
    ) -> Result<(), Refusal> {
        let queue = self.queue_for(session, Access::Read, name)?;
        let (id, shard, queue) = (queue.id(), queue.shard, queue.name.clone());
        let call = self.call(Open::Request { session, ticket, request: Request::Purge { queue } });
        out.shards.push((shard, ShardOp::Purge { hub: self.id, call, queue: id }));
        Ok(())
    }

    /// Settles of a queue that is gone have nothing to settle.
    pub(super) fn settle(&self, session: SessionId, settles: Vec<Settle>, out: &mut HubOut) {
        let mut by_shard: SmallVec<[(ShardId, Vec<Settle>); 2]> = SmallVec::new();
        for settle in settles {
            let Some(queue) = self.snapshot.queue(settle.queue) else { continue };
            match by_shard.iter_mut().find(|(shard, _)| *shard == queue.shard) {
                Some((_, settles)) => settles.push(settle),
                None => by_shard.push((queue.shard, vec![settle])),
            }
        }
        let ops = by_shard.into_iter().map(|(shard, settles)| (shard, ShardOp::Settle { session, settles }));
        out.shards.extend(ops);
    }

    pub(super) fn credit(&self, session: SessionId, credits: &[Credit], out: &mut HubOut) {
        let Some(attached) = self.sessions.get(&session.number) else { return };
        for credit in credits {
            if let Some(Reader { queue, shard, .. }) = attached.readers.get(&credit.subscription) {
                out.shards.push((*shard, ShardOp::Credit { session, queue: *queue, credit: *credit }));
            }
        }
    }

    /// Asks a shard something that leaves a trace of the session there.
    fn ask(&mut self, session: SessionId, ticket: Ticket, request: Request, shard: ShardId) -> Call {
        if let Some(attached) = self.sessions.get_mut(&session.number) {
            attached.touched.insert(shard);
        }
        self.call(Open::Request { session, ticket, request })
    }

    fn delivered_edge(&mut self, session: SessionId, queue: QueueId) -> u32 {
        let party = self.sessions.get(&session.number).map(|attached| attached.party.clone());
        party.map_or(0, |party| self.flows.edge(Edge::Delivered { queue, party }))
    }

    /// A shard's answer to a request.
    pub(super) fn answered(
        &mut self,
        now: Now,
        call: Call,
        answer: Result<Answer, Refusal>,
        out: &mut HubOut,
    ) {
        let Some(Open::Request { session, ticket, request }) = self.calls.remove(&call) else { return };
        if let (Request::Declared { declare: Some(_), .. }, Err(Refusal::Missing { .. })) =
            (&request, &answer)
        {
            return self.declare_again(now, session, ticket, request, out);
        }
        let done = match answer {
            Ok(Answer::Subscribed { counts_deliveries }) => {
                let Request::Subscribe { subscription, reader, .. } = request else { return };
                if let Some(attached) = self.sessions.get_mut(&session.number) {
                    attached.readers.insert(subscription, reader);
                }
                Ok(Done::Subscribed { queue: reader.queue, counts_deliveries })
            }
            Ok(Answer::Unsubscribed) => Ok(Done::Unsubscribed),
            Ok(Answer::Purged { count }) => Ok(Done::Purged { count }),
            Ok(Answer::Deleted { ready }) => {
                return self.conclude(now, session, ticket, Ok(Done::Deleted { ready }), out);
            }
            Ok(Answer::Status { ready, consumers, .. }) => {
                let name = request.queue().map(ToString::to_string).unwrap_or_default();
                return self.conclude(now, session, ticket, Ok(Done::Queue { name, ready, consumers }), out);
            }
            Ok(Answer::Trimmed(_) | Answer::Producer(_) | Answer::Group(_)) => {
                Err(Refusal::NotImplemented { what: "streams".to_owned() })
            }
            Err(refusal) => {
                let refusal = self.localized(session, request.queue(), refusal);
                if matches!(request, Request::Unsubscribe) {
                    // The queue went, and the subscription with it.
                    Ok(Done::Unsubscribed)
                } else if let (Request::Delete { .. }, Refusal::Missing { .. }) = (&request, &refusal) {
                    return self.conclude(now, session, ticket, Ok(Done::Deleted { ready: 0 }), out);
                } else if request.is_definition() {
                    return self.conclude(now, session, ticket, Err(refusal), out);
                } else {
                    Err(refusal)
                }
            }
        };
        self.complete(session, ticket, done.map_or_else(Outcome::Refused, Outcome::Done), out);
    }

    /// A shard knows numbers; the client wants names.
    fn localized(&self, session: SessionId, queue: Option<&Arc<str>>, mut refusal: Refusal) -> Refusal {
        let attached = self.sessions.get(&session.number);
        let opened = attached.and_then(|attached| attached.namespace.as_ref());
        let Some((_, opened)) = opened else { return refusal };
        match &mut refusal {
            Refusal::Missing { name, namespace, .. }
            | Refusal::Locked { name, namespace }
            | Refusal::ExclusiveConsumer { name, namespace }
            | Refusal::InUse { name, namespace, .. }
            | Refusal::NotEmpty { name, namespace } => {
                *namespace = opened.to_string();
                if let Some(queue) = queue {
                    *name = queue.to_string();
                }
            }
            _ => {}
        }
        refusal
    }

    pub(super) fn got(
        &mut self,
        call: Call,
        queue: QueueId,
        counts_deliveries: bool,
        record: Option<(Bytes, Grant)>,
        ready: u64,
        out: &mut HubOut,
    ) {
        let Some(Open::Request { session, ticket, request }) = self.calls.remove(&call) else { return };
        if let (Request::Get { edge, .. }, Some((record, _))) = (&request, &record) {
            self.flows.add(*edge, 1, record.len() as u64);
        }
        let delivery = record.map(|(record, grant)| {
            let Grant { len, position, redelivered, failures, .. } = grant;
            (record, Delivery { block: 0, at: 0, len, position, redelivered, failures })
        });
        let done = Done::Got { queue, counts_deliveries, delivery, ready };
        self.complete(session, ticket, Outcome::Done(done), out);
    }

    pub(super) fn deliver(&mut self, session: SessionId, deliveries: Deliveries, out: &mut HubOut) {
        let Some(attached) = self.sessions.get(&session.number) else { return };
        if let Some(reader) = attached.readers.get(&deliveries.subscription) {
            let bytes = deliveries.items.iter().map(|item| u64::from(item.len)).sum();
            self.flows.add(reader.edge, deliveries.items.len() as u64, bytes);
        }
        out.deliveries.push((session, deliveries));
    }

    pub(super) fn cancelled(&mut self, subscription: SubscriptionId, out: &mut HubOut) {
        let Some(attached) = self.sessions.get_mut(&subscription.session.number) else { return };
        if attached.readers.remove(&subscription.number).is_some() {
            let wake = Wake::Cancelled { subscription: subscription.number };
            out.wakes.push((subscription.session, wake));
        }
    }
}

/// A queue that is there, and not another session's own.
pub(super) fn usable<'a>(
    namespace: &'a Namespace,
    session: SessionId,
    name: &str,
) -> Result<&'a Arc<Queue>, Refusal> {
    let queue = namespace.queue(name).ok_or_else(|| Refusal::Missing {
        object: Object::Queue,
        name: name.to_owned(),
        namespace: namespace.name.to_string(),
    })?;
    if queue.is_locked_for(session) {
        return Err(Refusal::Locked { name: name.to_owned(), namespace: namespace.name.to_string() });
    }
    Ok(queue)
}
