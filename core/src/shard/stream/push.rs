//! Subscriptions to a partition, for dialects that push.
//!
//! Attached state (S1): nothing here is logged. What must hold: a delivery waits for its batch and for nothing else (S2); what a queue can
//! do and a stream cannot (take one record, purge) is refused, not passed over. Records are told apart by `runner::dispatch`, which has the
//! bytes, and says what became of the credit that was taken for them.

use super::super::effect::{Turn, missing};
use super::Shard;
use crate::stream::readers::Granted;
use std::sync::Arc;
use stele_model::id::{Call, HubId, Lsn, QueueId, SessionId, SubscriptionId};
use stele_model::op::Credit;
use stele_model::refusal::Refusal;
use stele_model::settle::Settle;
use stele_model::shard::{Answer, ShardEffect, ShardSubscribe};
use stele_model::stream::Opened;

impl Shard {
    pub(in crate::shard) fn is_partition(&self, id: QueueId) -> bool {
        self.streams.partitions.contains_key(&id)
    }

    pub(in crate::shard) fn subscribe_stream(&mut self, of: &ShardSubscribe, turn: &mut Turn<'_>) {
        let session = of.subscription.session;
        let to = (session.hub, of.call);
        let Some(partition) = self.streams.partitions.get_mut(&of.queue) else {
            return turn.answer_present(to, Err(missing(None)));
        };
        let next = partition.start_of(of.start);
        if !partition.readers.add(of, next) {
            let name = partition.spec.stream.clone();
            let refusal = Refusal::ExclusiveConsumer { name, namespace: String::new() };
            return turn.answer_present(to, Err(refusal));
        }
        self.note_session(session, of.queue);
        turn.answer(Lsn(0), to, Ok(Answer::Subscribed { counts_deliveries: false }));
        self.serve_stream(of.queue, turn);
    }

    pub(in crate::shard) fn unsubscribe_stream(
        &mut self,
        call: Call,
        subscription: SubscriptionId,
        id: QueueId,
        turn: &mut Turn<'_>,
    ) {
        turn.answer(Lsn(0), (subscription.session.hub, call), Ok(Answer::Unsubscribed));
        if let Some(partition) = self.streams.partitions.get_mut(&id) {
            partition.readers.remove(subscription, &mut self.streams.room);
        }
        self.open_more();
    }

    pub(in crate::shard) fn credit_stream(
        &mut self,
        session: SessionId,
        id: QueueId,
        credit: Credit,
        turn: &mut Turn<'_>,
    ) {
        if let Some(partition) = self.streams.partitions.get_mut(&id) {
            let subscription = SubscriptionId { session, number: credit.subscription };
            partition.readers.give_bytes(subscription, credit.bytes, &mut self.streams.room);
            if let Some(messages_max) = credit.messages_max {
                partition.readers.limit(subscription, messages_max);
            }
        }
        self.serve_stream(id, turn);
        self.open_more();
    }

    /// Batches were opened for a reader, as far as that went.
    pub(in crate::shard) fn opened(&mut self, of: &Opened, turn: &mut Turn<'_>) {
        if let Some(partition) = self.streams.partitions.get_mut(&of.partition) {
            partition.readers.opened(of, &mut self.streams.room);
        }
        self.serve_stream(of.partition, turn);
        self.open_more();
    }

    /// Partitions whose readers waited for room come to their turn, as many as there is room for.
    pub(super) fn open_more(&mut self) {
        let streams = &mut self.streams;
        for _ in 0..streams.room.loans() {
            let Some(id) = streams.short.pop_front() else { return };
            if let Some(partition) = streams.partitions.get_mut(&id) {
                partition.readers.set_waits(false);
                streams.chores.again(id);
            }
        }
    }

    /// However it ends, a delivery of a stream gives credit back and does nothing else.
    pub(in crate::shard) fn settle_stream(
        &mut self,
        session: SessionId,
        settle: &Settle,
        turn: &mut Turn<'_>,
    ) {
        if let Some(partition) = self.streams.partitions.get_mut(&settle.queue) {
            let count = settle.runs.iter().map(|run| u64::from(run.count)).sum();
            partition.readers.settled(SubscriptionId { session, number: settle.subscription }, count);
        }
        self.serve_stream(settle.queue, turn);
    }

    pub(in crate::shard) fn stream_session_gone(&mut self, session: SessionId, id: QueueId) {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        let gone: Vec<SubscriptionId> = partition.readers.ids().filter(|id| id.session == session).collect();
        gone.into_iter().for_each(|id| {
            partition.readers.remove(id, &mut self.streams.room);
        });
        self.open_more();
    }

    /// The partition goes: its readers are told.
    pub(super) fn cancel_readers(&mut self, id: QueueId, after: Lsn, turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        for subscription in partition.readers.ids() {
            turn.say(after, ShardEffect::Cancelled { subscription });
            if let Some(queues) = self.attached.sessions.get_mut(&subscription.session) {
                queues.remove(&id);
            }
        }
    }

    /// Gives what is there to readers with credit.
    pub(in crate::shard) fn serve_stream(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        if partition.readers.count() == 0 {
            return;
        }
        let mut granted = Vec::new();
        let left = partition.serve(&mut self.streams.room, &mut granted);
        if left.more {
            self.streams.chores.again(id);
        }
        if left.waits && !partition.readers.set_waits(true) {
            self.streams.short.push_back(id);
        }
        for Granted { reader: subscription, after, batches, open } in granted {
            let partition = Arc::clone(&partition.spec);
            turn.say(after, ShardEffect::DeliverBatches { subscription, partition, batches, open });
        }
    }

    /// What is asked of queues only.
    pub(in crate::shard) fn refuse_for_stream(&self, to: (HubId, Call), what: &str, turn: &mut Turn<'_>) {
        let refusal = Refusal::NotImplemented { what: format!("{what} a stream") };
        turn.answer_present(to, Err(refusal));
    }

    pub(in crate::shard) fn stream_status(&self, to: (HubId, Call), id: QueueId, turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        let status = Answer::Status {
            ready: partition.end.0 - partition.start.0,
            unsettled: 0,
            consumers: partition.readers.count(),
        };
        turn.answer_present(to, Ok(status));
    }
}
