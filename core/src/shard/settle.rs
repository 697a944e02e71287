//! Ending deliveries: by their holder, because its session is gone, because the process was gone.
//!
//! Each logs what ended and then lets [`crate::settle`] end it, as replay does.

use super::effect::Turn;
use super::entry;
use super::{Mutant, Shard};
use crate::queue::Record;
use crate::queue::lease::{HolderAt, NOBODY};
use crate::settle::{Ending, disjoint};
use stele_model::id::{QueueId, SessionId, SubscriptionId};
use stele_model::machine::Urgency;
use stele_model::settle::{How, Settle};
use stele_model::shard::{DeathReason, ShardEffect};

impl Shard {
    pub(super) fn settle(&mut self, session: SessionId, settles: Vec<Settle>, turn: &mut Turn<'_>) {
        let mut touched: Vec<QueueId> = Vec::new();
        for settle in settles {
            let id = settle.queue;
            if self.is_partition(id) {
                self.settle_stream(session, &settle, turn);
                continue;
            }
            self.settle_one(session, settle, turn);
            if touched.last() != Some(&id) {
                touched.push(id);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for id in touched {
            self.advance(id, turn);
        }
    }

    fn settle_one(&mut self, session: SessionId, settle: Settle, turn: &mut Turn<'_>) {
        let Settle { subscription, queue: id, how, runs } = settle;
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let Some(at) = queue.readers.find(SubscriptionId { session, number: subscription }) else { return };
        let (ending, rest) = queue.held_by(at, &disjoint(runs));
        if ending.count == 0 {
            return;
        }
        if how == How::Accept {
            queue.sums.accepted += ending.count as u64;
        }
        if how == How::Reject && queue.spec.settings.dead_letter.is_some() {
            let records: Vec<Record> =
                ending.positions().filter_map(|position| queue.take_anywhere(position)).collect();
            self.begin_moves(id, &records, DeathReason::Rejected, turn);
        } else {
            self.end_all(id, how, &ending, turn);
        }
        if !rest.is_empty() {
            self.work.settles.push_back((session, Settle { subscription, queue: id, how, runs: rest }));
        }
    }

    /// Logs the end of deliveries and ends them.
    fn end_all(&mut self, id: QueueId, how: How, ending: &Ending, turn: &mut Turn<'_>) {
        let urgent = self.makes(Mutant::UrgentSettle);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        turn.log_settle(id, how, &ending.logged);
        if urgent {
            turn.log(Urgency::Urgent, |out| entry::put_settle(out, id, how, &[]));
        }
        let mut failed = Vec::new();
        let (mut holder, mut count) = (NOBODY, 0);
        for position in ending.positions() {
            let Some((at, failed_at)) = queue.end(position, how, &mut self.live) else { continue };
            failed.extend(failed_at);
            if at != holder {
                ended(queue, holder, count);
                (holder, count) = (at, 0);
            }
            count += 1;
        }
        ended(queue, holder, count);
        let failed: Vec<Record> =
            failed.into_iter().filter_map(|position| queue.ready.take(position)).collect();
        self.dispose(id, failed, DeathReason::DeliveryLimit, turn);
    }

    /// Releases the next of what gone sessions held; the rest in later steps.
    pub(super) fn release_gone(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let ending = queue.gone_leases();
        if queue.releasing.is_some() {
            self.work.again(id);
        }
        if ending.count > 0 {
            self.end_all(id, How::Release { seen: true, counted: true }, &ending, turn);
        }
    }

    /// After a restart nobody holds anything: leases are ready again at their places (S4).
    pub(super) fn return_leases(&mut self, turn: &mut Turn<'_>) {
        if self.queues.values().all(|queue| queue.leases.count() == 0) {
            return;
        }
        turn.log(Urgency::Rides, entry::put_started);
        self.lease_nothing();
    }

    /// Ends all leases, the same in replay.
    pub(super) fn lease_nothing(&mut self) {
        let seen = !self.makes(Mutant::ForgottenDelivery);
        for queue in self.queues.values_mut() {
            while let Some(lease) = queue.leases.pop_first() {
                let redelivered = lease.record.redelivered || seen;
                queue.put_back(Record { redelivered, ..lease.record });
            }
        }
    }

    /// Moves that a restart interrupted are sent again (S6), and so are wishes to close (S10). A move whose records were all volatile has
    /// nothing left to send.
    pub(super) fn send_again(&mut self, turn: &mut Turn<'_>) {
        for number in self.moves.empty() {
            self.moved(number, turn);
        }
        if !self.makes(Mutant::LostMove) {
            for (number, moving) in self.moves.iter() {
                turn.say_present(ShardEffect::Move(moving.effect(self.id, number)));
            }
        }
        for queue in self.queues.values().filter(|queue| queue.closing) {
            turn.say_present(ShardEffect::Closing { queue: queue.spec.id });
        }
    }
}

fn ended(queue: &mut crate::queue::Queue, at: HolderAt, count: u64) {
    if at != NOBODY && count > 0 {
        queue.readers.ended(at, count);
    }
}
