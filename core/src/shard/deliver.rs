//! Giving ready records to readers that have credit, and looking after a queue at the end of a turn.
//!
//! What must hold: a delivery waits for its record and for nothing else (S2, S15); who reads is attached state, that records were
//! given out is logged (S1), and starts no commit (S3); one turn gives out a bounded number (S7).

use super::effect::Turn;
use super::entry::{self, Why};
use super::{Mutant, Shard};
use crate::queue::lease::HolderAt;
use crate::queue::{Queue, extend_runs};
use smallvec::SmallVec;
use stele_model::id::{Lsn, QueueId};
use stele_model::settle::Run;
use stele_model::shard::ShardEffect;

/// Records given out by one queue in one turn.
const DELIVER_MAX: u64 = 2048;
/// How often deliveries and expiries may alternate in one turn.
const ROUNDS_MAX: u32 = 16;
/// Bytes of records in one effect, about.
const EFFECT_BYTES_MAX: u64 = 256 << 10;

/// What was given out in this turn and is not yet logged. Kinds are logged in the order in which records left the head.
#[derive(Default)]
struct Given {
    runs: Vec<Run>,
    /// Of a reader that settles nothing.
    no_ack: bool,
}

impl Given {
    fn log(&mut self, queue: QueueId, turn: &mut Turn<'_>) {
        if self.no_ack {
            turn.log_runs(&self.runs, |out, runs| entry::put_removed(out, queue, Why::Delivered, runs));
        } else {
            turn.log_runs(&self.runs, |out, runs| entry::put_assign(out, queue, runs));
        }
        self.runs.clear();
    }
}

impl Shard {
    /// Does for a queue whatever its state asks for: what is over goes, readers are served, what is too much goes.
    pub(super) fn advance(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        for round in 0..=ROUNDS_MAX {
            let all_gone = self.expire(id, true, turn);
            let at_expired = self.deliver(id, turn);
            if !all_gone || !at_expired {
                break;
            }
            if round == ROUNDS_MAX {
                self.work.again(id);
            }
        }
        self.expire(id, false, turn);
        self.make_room(id, turn);
        self.set_timer(id);
    }

    /// Gives out what credit allows. `true`: a record whose time is over stands in the way.
    fn deliver(&mut self, id: QueueId, turn: &mut Turn<'_>) -> bool {
        let by_age = self.ages();
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        if queue.closing || queue.ready.count() == 0 || !queue.readers.any_open() {
            return false;
        }
        let hasty = self.mutant == Some(Mutant::HastyVolatile);
        let free = self.mutant == Some(Mutant::FreeBytes);
        let now = turn.now();
        let (mut left, mut at_expired) = (DELIVER_MAX, false);
        let mut given = Given::default();
        let mut served: SmallVec<[HolderAt; 8]> = SmallVec::new();
        'turns: while left > 0 && queue.ready.count() > 0 {
            let Some((at, share)) = queue.readers.next(queue.ready.count()) else { break };
            let Some(no_ack) = queue.readers.no_ack(at) else { break };
            if given.no_ack != no_ack {
                given.log(id, turn);
                given.no_ack = no_ack;
            }
            if !served.contains(&at) {
                served.push(at);
            }
            let share = share.min(left);
            queue.readers.expect(at, share);
            for _ in 0..share {
                if by_age && queue.may_expire && queue.ready.head().is_some_and(|head| head.expires < now) {
                    at_expired = true;
                    break 'turns;
                }
                let Some(record) = queue.ready.pop() else { break };
                left -= 1;
                let after =
                    if hasty && record.is_volatile() { Lsn(0) } else { queue.delivery_after(&record) };
                if queue.logs(&record) {
                    extend_runs(&mut given.runs, record.position);
                }
                if no_ack {
                    self.live.gone(&record);
                } else {
                    queue.leases.insert(record, at);
                }
                let charged = if free { 0 } else { record.len };
                let full = queue.readers.grant(at, &record, charged, after);
                queue.sums.delivered += 1;
                if full.bytes >= EFFECT_BYTES_MAX {
                    send(queue, at, turn);
                }
                if !full.open {
                    break;
                }
            }
            queue.readers.served(at);
        }
        given.log(id, turn);
        for at in served {
            send(queue, at, turn);
        }
        if left == 0 {
            self.work.again(id);
        }
        at_expired
    }
}

/// Sends what a reader was granted so far.
fn send(queue: &mut Queue, at: HolderAt, turn: &mut Turn<'_>) {
    let queue_id = queue.spec.id;
    let Some(holder) = queue.readers.holder_at_mut(at) else { return };
    let grants = std::mem::take(&mut holder.grants);
    if grants.records.is_empty() {
        return;
    }
    let subscription = holder.id;
    turn.say(grants.after, ShardEffect::Deliver { subscription, queue: queue_id, records: grants.records });
}
