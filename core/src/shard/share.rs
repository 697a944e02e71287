//! Shared groups: what a shard can be asked of them, and what holds for all verbs.
//!
//! Each verb has a file; here is how groups are served and what they tell. What must hold: as everywhere, decide, log, apply by the
//! functions that replay calls (S1); what deliveries, leases and rests lead to is logged as its result and rides along (S3), for groups
//! that are logged at all; a delivery waits for its record and for nothing else (S2); no turn is long (S7). Not here: the state of one
//! group (`crate::share`), and the word for it in any dialect.

mod chores;
mod count;
mod dead_letter;
mod define;
mod describe;
mod entry;
mod gone;
mod replay;
mod retain;
mod settle;
mod snapshot;
mod spec;
mod take;

pub(super) use describe::logged;
pub use describe::{LoggedPending, LoggedShare};
pub(super) use entry::{FIRST_KIND, LAST_KIND, ShareEntry, read};
pub(super) use settle::Settling;
pub(super) use snapshot::{SHARE, SHARE_MOVE, logged_move, put_share_move, read_share, read_share_move};

use super::effect::Turn;
use super::{Mutant, Shard};
use crate::share::serve::{Served, Step};
use crate::share::{Share, ShareNumber, Shares};
use std::sync::Arc;
use stele_model::id::{Call, HubId, Lsn, Now, QueueId, SubscriptionId};
use stele_model::settle::Run;
use stele_model::shard::{Answer, ShardEffect};
use stele_model::share::{ShareAnswer, ShareEffect, ShareEvent, ShareHappened, ShareNews, ShareRefusal};

/// Hungry groups that are served in the turn that brings records; the others follow in steps.
const SERVED_AT_ONCE_MAX: usize = 32;

impl Shard {
    /// Gives out what the group's takers want and may have.
    fn serve_share(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        let now = turn.now();
        if !self.shares.groups.get(&number).is_some_and(Share::is_asked) {
            return self.shares.set_timer(number, now);
        }
        let Some(waiting) = self.count_share(number, turn) else { return };
        if self.shares.stalled.contains(&number) {
            return;
        }
        let Some(share) = self.shares.groups.get_mut(&number) else { return };
        let Some(partition) = self.streams.partitions.get_mut(&share.partition) else { return };
        let Served { runs, steps, gone, more, at_end, fresh } = share.serve(partition, waiting, now);
        partition.left_over(number.0, share.from(partition.start), fresh);
        if !runs.is_empty() {
            share.delivered_at = Some(now);
            if let Some(of) = self.shares.of.get_mut(&share.partition).filter(|_| share.leases()) {
                of.holding.insert(number);
            }
        }
        if !share.takers.is_empty() {
            share.used = now;
        }
        if share.logs() && self.mutant != Some(Mutant::UnloggedDelivery) {
            log_delivered(share, &runs, turn);
        }
        if share.logs() {
            turn.log_runs(&gone, |out, runs| entry::put_ended(out, number, entry::Ended::Lost, runs));
        }
        let settles_nothing = !share.leases();
        let (name, spec) = (Arc::clone(&share.name), Arc::clone(&partition.spec));
        let headers_only = share.settings.headers_only;
        let hungry = at_end && !share.takers.is_empty();
        if let Some(of) = self.shares.of.get_mut(&share.partition) {
            if hungry {
                of.hungry.insert(number)
            } else {
                of.hungry.remove(&number)
            };
        }
        if more {
            self.shares.again.insert(number);
        }
        let early = self.makes(Mutant::EarlyRecords);
        for step in steps {
            match step {
                Step::Deliver { to, after, ranges } => {
                    let after = if early { Lsn(0) } else { after };
                    let (partition, group) = (Arc::clone(&spec), Arc::clone(&name));
                    let what = ShareEffect::Deliver { partition, group, headers_only, ranges };
                    turn.say(after, ShardEffect::Shared { to, what });
                }
                Step::End { to, after, why } => {
                    self.shares.takers.remove(&to);
                    say(turn, after, to, ShareNews::Ended { taker: to.number, why });
                }
            }
        }
        self.shares.set_timer(number, now);
        if settles_nothing {
            self.let_settled_go(number, &runs, turn);
        }
    }

    /// Something came to the partition: who waits for it is served.
    pub(super) fn feed_shares(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        self.end_pushed_out(id, turn);
        self.sweep_new(id);
        let Some(of) = self.shares.of.get_mut(&id) else { return };
        let mut hungry = std::mem::take(&mut of.hungry);
        let pop = |_| hungry.pop_first();
        let first: Vec<ShareNumber> = (0..SERVED_AT_ONCE_MAX).map_while(pop).collect();
        self.shares.again.append(&mut hungry);
        for number in first {
            self.serve_share(number, turn);
        }
    }

    /// Tells who listens that something happened, after block `after`.
    fn tell(
        &self,
        share: &Share,
        after: Lsn,
        at: Now,
        what: impl FnOnce() -> ShareEvent,
        turn: &mut Turn<'_>,
    ) {
        if self.shares.listeners.is_empty() {
            return;
        }
        let Some(partition) = self.streams.partitions.get(&share.partition) else { return };
        let (partition, group) = (Arc::clone(&partition.spec), Arc::clone(&share.name));
        let happened = ShareHappened { partition, group, at, what: what() };
        self.tell_listeners(after, &ShareNews::Event(happened), turn);
    }

    pub(super) fn tell_listeners(&self, after: Lsn, news: &ShareNews, turn: &mut Turn<'_>) {
        for session in &self.shares.listeners {
            let to = SubscriptionId { session: *session, number: 0 };
            turn.say(after, ShardEffect::Shared { to, what: ShareEffect::Say(news.clone()) });
        }
    }

    pub(super) fn share_listen(&mut self, session: stele_model::id::SessionId, on: bool) {
        if on {
            self.shares.listeners.insert(session);
        } else {
            self.shares.listeners.remove(&session);
        }
    }
}

/// Logs deliveries: each that is to be settled, or is the last record of a subject; of others only how far they have come.
fn log_delivered(share: &Share, runs: &[Run], turn: &mut Turn<'_>) {
    let number = share.number;
    let is_last = |run: &Run| share.lasts.as_ref().is_some_and(|lasts| run.first < lasts.below);
    if share.leases() || runs.iter().any(is_last) {
        turn.log_runs(runs, |out, runs| entry::put_delivered(out, number, runs));
    } else if !runs.is_empty() {
        let reached = share.delivered();
        turn.log(stele_model::machine::Urgency::Rides, |out| entry::put_passed(out, number, reached));
    }
}

/// Something for a taker, once block `after` is durable: not before the records on their way to it.
fn say(turn: &mut Turn<'_>, after: Lsn, to: SubscriptionId, news: ShareNews) {
    turn.say(after, ShardEffect::Shared { to, what: ShareEffect::Say(news) });
}

fn answer(turn: &mut Turn<'_>, after: Lsn, to: (HubId, Call), said: Result<ShareAnswer, ShareRefusal>) {
    turn.answer(after, to, Ok(Answer::Share(said)));
}

/// Answers with the present state.
fn answer_present(turn: &mut Turn<'_>, to: (HubId, Call), said: Result<ShareAnswer, ShareRefusal>) {
    let tail = turn.journal.tail();
    answer(turn, tail, to, said);
}

/// The group, wherever it may be.
fn of_number(shares: &mut Shares, number: ShareNumber) -> Option<&mut Share> {
    shares.groups.get_mut(&number)
}
