//! Records that leave a queue without being read: their time is over, there is no room, or their deliveries failed.
//!
//! Where the queue has a target for dead letters they become a move (S6), else they are gone; either way it is logged (S1). What must
//! hold: one turn removes a bounded number (S7), and when too many moves are under way the rest waits in the queue.

use super::effect::Turn;
use super::entry::{self, Why};
use super::{Mutant, Shard};
use crate::queue::dead_letter::{Moving, cut};
use crate::queue::{Record, extend_runs};
use std::sync::Arc;
use stele_model::id::QueueId;
use stele_model::machine::Urgency;
use stele_model::shard::{DeathReason, ShardEffect};

/// Records that one queue removes in one turn.
const REMOVE_MAX: usize = 4096;

impl Shard {
    /// Removes heads whose time is over; see [`crate::queue::Queue::expired_head`]. `false`: there are more, for a later step.
    pub(super) fn expire(&mut self, id: QueueId, strictly: bool, turn: &mut Turn<'_>) -> bool {
        if !self.ages() {
            return true;
        }
        let now = turn.now();
        let most = self.removable(id);
        let Some(queue) = self.queues.get_mut(&id) else { return true };
        let (mut over, mut all) = (Vec::new(), true);
        while let Some(head) = queue.expired_head(now, strictly) {
            if over.len() == most {
                self.work.later(id, most == 0);
                all = false;
                break;
            }
            over.extend(queue.ready.take(head.position));
        }
        queue.may_expire &= queue.ready.count() > 0;
        self.dispose(id, over, DeathReason::Expired, turn);
        all
    }

    /// Drops heads until the queue is within its limits.
    pub(super) fn make_room(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        if !self.queues.get(&id).is_some_and(|queue| queue.drops_head()) {
            return;
        }
        let most = self.removable(id);
        let Some(queue) = self.queues.get_mut(&id) else { return };
        let mut dropped = Vec::new();
        while queue.drops_head() {
            if dropped.len() == most {
                self.work.later(id, most == 0);
                break;
            }
            dropped.extend(queue.ready.pop());
        }
        self.dispose(id, dropped, DeathReason::MaxLength, turn);
    }

    /// How many records may leave the queue now: none if they would have to move and too many already do.
    fn removable(&mut self, id: QueueId) -> usize {
        let moves = self.queues.get(&id).is_some_and(|queue| queue.spec.settings.dead_letter.is_some());
        match (moves, self.moves.is_full()) {
            (false, _) => REMOVE_MAX,
            (true, false) => crate::queue::dead_letter::MOVE_RECORDS_MAX,
            (true, true) => 0,
        }
    }

    /// Records that were taken out of a queue go to its dead letters, or nowhere.
    pub(super) fn dispose(
        &mut self,
        id: QueueId,
        records: Vec<Record>,
        reason: DeathReason,
        turn: &mut Turn<'_>,
    ) {
        let silent = self.makes(Mutant::SilentDropHead) && reason == DeathReason::MaxLength;
        let Some(queue) = self.queues.get(&id) else { return };
        if records.is_empty() {
            return;
        }
        if queue.spec.settings.dead_letter.is_some() {
            self.begin_moves(id, &records, reason, turn);
            return;
        }
        let why = match reason {
            DeathReason::Expired => Why::Expired,
            DeathReason::MaxLength => Why::DropHead,
            DeathReason::DeliveryLimit | DeathReason::Rejected => Why::DeliveryLimit,
        };
        let mut runs = Vec::new();
        for record in &records {
            if queue.logs(record) && !silent {
                extend_runs(&mut runs, record.position);
            }
            self.live.gone(record);
        }
        turn.log_runs(&runs, |out, runs| entry::put_removed(out, id, why, runs));
    }

    /// Logs that records of a queue are on the move, tells a hub, and holds them until it answers (S6).
    pub(super) fn begin_moves(
        &mut self,
        id: QueueId,
        records: &[Record],
        reason: DeathReason,
        turn: &mut Turn<'_>,
    ) {
        let Some(queue) = self.queues.get_mut(&id) else { return };
        queue.sums.dead_lettered += records.len() as u64;
        let mut rest = records;
        while !rest.is_empty() {
            let (records, others) = rest.split_at(cut(rest.iter().map(|record| record.len)));
            rest = others;
            let mut runs = Vec::new();
            for record in records.iter().filter(|record| queue.logs(record)) {
                extend_runs(&mut runs, record.position);
            }
            let number = self.moves.next();
            let place = turn.log(Urgency::Rides, |out| entry::put_moving(out, number, id, reason, &runs));
            let moving = Moving::Queue { queue: Arc::clone(&queue.spec), reason, records: records.to_vec() };
            turn.say(place.lsn, ShardEffect::Move(moving.effect(self.id, number)));
            self.moves.begin(number, moving);
        }
    }

    /// A hub has found places for the records of a move, or none is to be found: they are let go of.
    pub(super) fn moved(&mut self, number: u64, turn: &mut Turn<'_>) {
        let Some(moving) = self.moves.end(number) else { return };
        turn.log(Urgency::Rides, |out| entry::put_moved(out, number));
        moving.let_go(&mut self.live);
        if !self.moves.is_full() {
            self.work.moves_go_on();
            self.shares.moves_go_on();
            self.streams.moves_go_on();
        }
    }
}
