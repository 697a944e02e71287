//! Readers come and go: subscribe, unsubscribe, credit, get, the end of a session.
//!
//! All of it is attached state (S1); what it leads to (records given out, released, a queue that closes) is logged elsewhere. What must
//! hold: an answer to subscribe leaves before the first delivery; what a session held returns in order, in bounded steps (S7).

use super::effect::{Turn, missing};
use super::entry::{self, Why};
use super::{Shard, readers};
use crate::queue::{Queue, extend_runs};
use crate::shelf::Shelf;
use stele_model::id::{Call, Lsn, QueueId, SessionId, SubscriptionId};
use stele_model::op::Credit;
use stele_model::queue::QueueKind;
use stele_model::refusal::Refusal;
use stele_model::shard::{Answer, ShardEffect, ShardSubscribe};

impl Shard {
    pub(super) fn subscribe(&mut self, of: &ShardSubscribe, turn: &mut Turn<'_>) {
        if self.is_partition(of.queue) {
            return self.subscribe_stream(of, turn);
        }
        let to = (of.subscription.session.hub, of.call);
        let queue = match usable(&mut self.queues, of.queue, Some(of.subscription.session)) {
            Ok(queue) => queue,
            Err(refusal) => return turn.answer_present(to, Err(refusal)),
        };
        let single_active = queue.spec.settings.single_active;
        if queue.readers.add(of, single_active).is_err() {
            let refusal =
                Refusal::ExclusiveConsumer { name: queue.spec.name.clone(), namespace: String::new() };
            return turn.answer_present(to, Err(refusal));
        }
        queue.was_read = true;
        let counts_deliveries = counts_deliveries(queue);
        self.note_session(of.subscription.session, of.queue);
        turn.answer(Lsn(0), to, Ok(Answer::Subscribed { counts_deliveries }));
        self.advance(of.queue, turn);
    }

    pub(super) fn unsubscribe(
        &mut self,
        call: Call,
        subscription: SubscriptionId,
        id: QueueId,
        turn: &mut Turn<'_>,
    ) {
        if self.is_partition(id) {
            return self.unsubscribe_stream(call, subscription, id, turn);
        }
        turn.answer(Lsn(0), (subscription.session.hub, call), Ok(Answer::Unsubscribed));
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let single_active = queue.spec.settings.single_active;
        if queue.readers.remove(subscription, single_active) {
            self.reader_left(id, turn);
            self.advance(id, turn);
        }
    }

    pub(super) fn credit(&mut self, session: SessionId, id: QueueId, credit: Credit, turn: &mut Turn<'_>) {
        if self.is_partition(id) {
            return self.credit_stream(session, id, credit, turn);
        }
        let Some(readers) = readers(&mut self.queues, id) else { return };
        let subscription = SubscriptionId { session, number: credit.subscription };
        readers.give_bytes(subscription, credit.bytes);
        if let Some(messages_max) = credit.messages_max {
            readers.limit(subscription, messages_max);
        }
        self.advance(id, turn);
    }

    pub(super) fn get(
        &mut self,
        call: Call,
        subscription: SubscriptionId,
        id: QueueId,
        no_ack: bool,
        turn: &mut Turn<'_>,
    ) {
        if self.is_partition(id) {
            return self.refuse_for_stream((subscription.session.hub, call), "take single records of", turn);
        }
        self.expire(id, false, turn);
        let (now, by_age) = (turn.now(), self.ages());
        let queue = match usable(&mut self.queues, id, Some(subscription.session)) {
            Ok(queue) => queue,
            Err(refusal) => {
                return turn.answer_present((subscription.session.hub, call), Err(refusal));
            }
        };
        queue.used = now;
        // Expired ones that had to stay for want of moves are not handed out.
        let over = by_age && queue.expired_head(now, false).is_some();
        let record = if over { None } else { queue.ready.pop() };
        let mut after = turn.journal.tail();
        if let Some(record) = &record {
            after = queue.delivery_after(record);
            queue.sums.delivered += 1;
            let mut runs = Vec::new();
            if queue.logs(record) {
                extend_runs(&mut runs, record.position);
            }
            if no_ack {
                turn.log_runs(&runs, |out, runs| entry::put_removed(out, id, Why::Delivered, runs));
                self.live.gone(record);
            } else {
                turn.log_runs(&runs, |out, runs| entry::put_assign(out, id, runs));
                let at = queue.readers.holder(subscription);
                queue.leases.insert(*record, at);
                queue.readers.began(at);
            }
        }
        let effect = ShardEffect::Got {
            subscription,
            call,
            queue: id,
            counts_deliveries: counts_deliveries(queue),
            record: record.as_ref().map(|record| record.grant()),
            ready: queue.ready.count(),
        };
        turn.say(after, effect);
        if record.is_some() && !no_ack {
            self.note_session(subscription.session, id);
        }
        self.set_timer(id);
    }

    pub(super) fn session_gone(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.watcher_gone(session);
        for id in self.attached.sessions.remove(&session).unwrap_or_default() {
            self.stream_session_gone(session, id);
            let Some(queue) = self.queues.get_mut(&id) else { continue };
            let before = queue.readers.count();
            let single_active = queue.spec.settings.single_active;
            for subscription in queue.readers.of_session(session) {
                queue.readers.mark_gone(subscription, single_active);
            }
            let left = queue.readers.count() < before;
            queue.release_from_start();
            self.release_gone(id, turn);
            if left {
                self.reader_left(id, turn);
            }
            self.advance(id, turn);
        }
    }

    /// A reader is gone: perhaps it was the last.
    fn reader_left(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        let now = turn.now();
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.used = now;
        if queue.readers.count() == 0 && queue.was_read && queue.spec.settings.auto_delete {
            self.begin_close(id, turn);
        }
    }
}

/// The queue, if it is there for this session.
#[expect(clippy::result_large_err, reason = "once per request, and the refusal is moved on as it is")]
pub(super) fn usable(
    queues: &mut Shelf<Queue>,
    id: QueueId,
    session: Option<SessionId>,
) -> Result<&mut Queue, Refusal> {
    let Some(queue) = queues.get_mut(&id) else { return Err(missing(None)) };
    if queue.closing {
        return Err(missing(Some(queue)));
    }
    let owner = queue.spec.settings.owner;
    if owner.is_some() && session.is_some() && owner != session {
        return Err(Refusal::Locked { name: queue.spec.name.clone(), namespace: String::new() });
    }
    Ok(queue)
}

/// Whether clients are shown how often a delivery failed.
fn counts_deliveries(queue: &Queue) -> bool {
    queue.spec.settings.kind == QueueKind::Quorum
}
