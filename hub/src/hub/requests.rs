//! Reading: subscriptions, single reads, purges, settles, credit, and what shards say to them.

use super::groups::GroupAsked;
use super::joint::Share;
use super::session::Reader;
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::{Namespace, Sequence};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::flow::Edge;
use stele_model::group::{GroupRequest, ShardGroupAnswer};
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
    Define { declare: Option<Define>, tries: u32, is_deletion: bool },
    /// To count what a declared queue holds.
    Declared { declare: Option<Define>, tries: u32, queue: Arc<str> },
    /// To remove a queue.
    Delete { queue: Arc<str> },
    /// To remove a stream in the words for queues.
    DeleteStream,
    /// To count what a stream holds that was declared in the words for queues.
    DeclaredStream { queue: Arc<str> },
    /// To give a producer's number.
    Producer,
    /// To work on the records of a stream.
    Records,
    /// To ask a group.
    Group(GroupAsked),
    /// To tell what is known of the groups of a home.
    GroupChanges,
    /// To make the homes of groups; then the group is asked.
    GroupStream { group: Box<GroupRequest> },
    /// An administrator's change.
    Administer,
    /// To ask a shared group, or to list them.
    SharedGroup,
    /// To attach a push to one.
    Push { taker: u64 },
}

impl Request {
    pub(super) fn is_definition(&self) -> bool {
        matches!(
            self,
            Self::Define { .. }
                | Self::Declared { .. }
                | Self::Delete { .. }
                | Self::DeleteStream
                | Self::DeclaredStream { .. }
        )
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
            | Self::Delete { queue }
            | Self::DeclaredStream { queue } => Some(queue),
            Self::DeleteStream
            | Self::Unsubscribe
            | Self::Define { .. }
            | Self::Producer
            | Self::Records
            | Self::Group(_)
            | Self::GroupChanges
            | Self::GroupStream { .. }
            | Self::SharedGroup
            | Self::Push { .. }
            | Self::Administer => None,
        }
    }
}

impl Hub {
    /// A queue or partition that the session may access so.
    pub(super) fn queue_for(
        &self,
        session: SessionId,
        access: Access,
        name: &str,
    ) -> Result<Source, Refusal> {
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
        let Source { id, shard, name, is_stream } =
            self.queue_for(session, Access::Read, &subscribe.queue)?;
        if is_stream {
            self.check_stream_reader(session, &subscribe)?;
        }
        let reader = Reader { queue: id, shard, is_stream, edge: self.delivered_edge(session, id) };
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

    /// A stream is read with a bound on what is under way, and what was read is told (RabbitMQ's rules).
    fn check_stream_reader(&self, session: SessionId, subscribe: &Subscribe) -> Result<(), Refusal> {
        if subscribe.no_ack {
            return Err(self.not_of_streams(session, "no_ack", &subscribe.queue));
        }
        if subscribe.messages_max.is_none() {
            return Err(self.not_of_streams(session, "messages_max", &subscribe.queue));
        }
        Ok(())
    }

    /// Something that queues do and streams do not, by the word of the request.
    fn not_of_streams(&self, session: SessionId, what: &str, name: &str) -> Refusal {
        let namespace = self.namespace_of(session).map(|(_, namespace)| namespace.name.to_string());
        Refusal::InvalidArgument {
            object: Object::Stream,
            name: name.to_owned(),
            namespace: namespace.unwrap_or_default(),
            argument: what.to_owned(),
            why: "not for streams".to_owned(),
        }
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
        let Source { id, shard, name, is_stream } = self.queue_for(session, Access::Read, &get.queue)?;
        if is_stream {
            return Err(self.not_of_streams(session, "get", &get.queue));
        }
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
        let Source { id, shard, name: queue, is_stream } = self.queue_for(session, Access::Read, name)?;
        if is_stream {
            return Err(self.not_of_streams(session, "purge", name));
        }
        let call = self.call(Open::Request { session, ticket, request: Request::Purge { queue } });
        out.shards.push((shard, ShardOp::Purge { hub: self.id, call, queue: id }));
        Ok(())
    }

    /// Settles of a queue that is gone have nothing to settle.
    pub(super) fn settle(&self, session: SessionId, settles: Vec<Settle>, out: &mut HubOut) {
        let mut by_shard: SmallVec<[(ShardId, Vec<Settle>); 2]> = SmallVec::new();
        for settle in settles {
            let Some(home) = self.snapshot.shard_of(settle.queue) else { continue };
            match by_shard.iter_mut().find(|(shard, _)| *shard == home) {
                Some((_, settles)) => settles.push(settle),
                None => by_shard.push((home, vec![settle])),
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
        if self.is_share(call) {
            return match answer {
                Ok(Answer::Trimmed(parts)) => self.shared(call, Share::Trimmed(parts), out),
                Ok(Answer::Group(Ok(ShardGroupAnswer::Listed(listed)))) => self.listed(call, listed, out),
                Ok(Answer::Share(Ok(settled))) => self.shared_settled(call, &settled, out),
                Ok(_) => unreachable!("a shard answers what it was asked"),
                Err(refusal) => self.share_refused(call, &refusal, out),
            };
        }
        let Some(Open::Request { session, ticket, request }) = self.ended(call) else { return };
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
                let Reader { queue, is_stream, .. } = reader;
                Ok(Done::Subscribed { queue, counts_deliveries, is_stream })
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
            Ok(Answer::Producer(number)) => Ok(Done::Producer(number)),
            Ok(Answer::Group(Ok(ShardGroupAnswer::Changes(end, changes)))) => {
                return self.group_changed(session, ticket, end, changes, out);
            }
            Ok(Answer::Group(answer)) => {
                let Request::Group(asked) = request else { return };
                return self.group_answered(session, ticket, asked, answer, out);
            }
            Ok(answer @ Answer::Share(_)) => {
                return self.shared_group_answered(session, ticket, &request, answer, out);
            }
            Ok(Answer::Trimmed(_)) => unreachable!("a trim is a joint request"),
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
        let Some(Open::Request { session, ticket, request }) = self.ended(call) else { return };
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

/// What a reader, a purge or a deletion is about.
pub(super) struct Source {
    /// Its number.
    pub(super) id: QueueId,
    /// Where it lives.
    pub(super) shard: ShardId,
    /// Its name.
    pub(super) name: Arc<str>,
    /// A partition of a stream.
    pub(super) is_stream: bool,
}

/// A queue or partition that is there, and not another session's own.
pub(super) fn usable(namespace: &Namespace, session: SessionId, name: &str) -> Result<Source, Refusal> {
    let found = namespace.sequence(name).ok_or_else(|| Refusal::Missing {
        object: Object::Queue,
        name: name.to_owned(),
        namespace: namespace.name.to_string(),
    })?;
    let (id, shard) = (found.id(), found.shard());
    match found {
        Sequence::Queue(queue) if queue.is_locked_for(session) => {
            Err(Refusal::Locked { name: name.to_owned(), namespace: namespace.name.to_string() })
        }
        Sequence::Queue(queue) => Ok(Source { id, shard, name: queue.name.clone(), is_stream: false }),
        Sequence::Partition(..) => Ok(Source { id, shard, name: name.into(), is_stream: true }),
    }
}
