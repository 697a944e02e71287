//! What shared groups have to do when nobody asks: leases end, rests are over, pulls expire, unused groups go.
//!
//! What must hold: each step is bounded, whatever there is to do (S7); groups with work left take turns; one timer for each group.

use super::say;
use crate::queue::extend_runs;
use crate::shard::Shard;
use crate::shard::effect::Turn;
use crate::share::ShareNumber;
use crate::share::takers::Alarm;
use stele_model::id::{Now, Position, QueueId};
use stele_model::settle::Run;
use stele_model::share::{PullEnd, ShareNews};

/// Groups looked at in one step.
const SHARES_MAX: usize = 64;
/// Leases and rests of one group that are looked at in one step, about.
const WOKEN_MAX: usize = 2048;
/// Takers of one group whose time has come, looked at in one step.
const ALARMS_MAX: usize = 256;

impl Shard {
    pub(in crate::shard) fn shares_deadline(&self) -> Option<Now> {
        let settling = (!self.settling.is_empty()).then_some(Now(0));
        [settling, self.shares.deadline()].into_iter().flatten().min()
    }

    /// Replay is over: nobody takes anything, and what was leased is ready again (S4).
    pub(in crate::shard) fn start_shares(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        let numbers: Vec<ShareNumber> = self.shares.groups.keys().copied().collect();
        for number in numbers {
            let Some(share) = super::of_number(&mut self.shares, number) else { continue };
            let Some(partition) = self.streams.partitions.get(&share.partition) else { continue };
            share.start(now, partition);
            self.shares.again.insert(number);
            self.holds(number);
        }
        let partitions: Vec<QueueId> = self.streams.partitions.keys().copied().collect();
        for id in partitions {
            self.sweep_interest(id, Position(0));
        }
    }

    /// One step of whatever there is to do.
    pub(in crate::shard) fn step_shares(&mut self, turn: &mut Turn<'_>) {
        self.go_on_settling(turn);
        self.step_sweeps(turn);
        self.shares.step_doubting(SHARES_MAX);
        self.step_counting(turn);
        let now = turn.now();
        for _ in 0..SHARES_MAX {
            let Some(&(at, number)) = self.shares.timers.first().filter(|(at, _)| *at <= now) else { break };
            self.shares.timers.remove(&(at, number));
            if let Some(share) = super::of_number(&mut self.shares, number) {
                share.timer = None;
            }
            self.advance_share(number, turn);
        }
        for _ in 0..SHARES_MAX.min(self.shares.again.len()) {
            let Some(number) = self.shares.next() else { break };
            self.advance_share(number, turn);
        }
    }

    /// Looks at a group: what is due is done, and what can be given out is.
    pub(super) fn advance_share(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        let now = turn.now();
        self.put_right(number, turn);
        self.wake_share(number, now, turn);
        self.recheck_share(number, turn);
        self.ring(number, now, turn);
        let Some(share) = self.shares.groups.get(&number) else { return };
        let unused = share.settings.inactive_us.map(|us| Now(share.used.0.saturating_add(us)));
        if share.takers.is_empty() && unused.is_some_and(|at| at <= now) {
            self.delete_share(number, PullEnd::Gone, turn);
            return;
        }
        self.serve_share(number, turn);
    }

    /// Leases that are over, and rests.
    fn wake_share(&mut self, number: ShareNumber, now: Now, turn: &mut Turn<'_>) {
        if self.stalls(number) {
            return;
        }
        let Some(share) = super::of_number(&mut self.shares, number) else { return };
        let mut exhausted: Vec<Run> = Vec::new();
        let max = share.settings.deliveries_max.unwrap_or(u32::MAX);
        let more = share.pending.wake(now, WOKEN_MAX, |position, slot| {
            if slot.deliveries >= max {
                extend_runs(&mut exhausted, position);
            }
        });
        if more {
            self.shares.again.insert(number);
        }
        if !exhausted.is_empty() {
            self.give_up(number, &exhausted, turn);
        }
    }

    /// What is ready to be delivered again, and was delivered as often as may be.
    fn recheck_share(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        if self.stalls(number) {
            return;
        }
        let Some(share) = super::of_number(&mut self.shares, number) else { return };
        let Some(from) = share.recheck.take() else { return };
        let mut exhausted: Vec<Run> = Vec::new();
        let mut rest = None;
        for (n, (position, slot)) in share.pending.all_ready(from).enumerate() {
            if n == WOKEN_MAX {
                rest = Some(position);
                break;
            }
            if share.is_exhausted(&slot) {
                extend_runs(&mut exhausted, position);
            }
        }
        share.recheck = rest;
        if rest.is_some() {
            self.shares.again.insert(number);
        }
        if !exhausted.is_empty() {
            self.give_up(number, &exhausted, turn);
        }
    }

    /// Takers whose time has come.
    fn ring(&mut self, number: ShareNumber, now: Now, turn: &mut Turn<'_>) {
        for _ in 0..ALARMS_MAX {
            let Some(share) = super::of_number(&mut self.shares, number) else { return };
            let Some((to, alarm)) = share.takers.ring(now) else { return };
            let (delivered, after) = (share.delivered(), share.takers.after(to));
            let news = match alarm {
                Alarm::Expired(left) => {
                    share.takers.remove(to);
                    share.used = now;
                    self.shares.takers.remove(&to);
                    ShareNews::Ended { taker: to.number, why: PullEnd::Expired { left } }
                }
                Alarm::Quiet => ShareNews::Idle { taker: to.number, delivered },
            };
            say(turn, after, to, news);
        }
        self.shares.again.insert(number);
    }
}
