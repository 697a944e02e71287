//! The end of deliveries of shared groups, by takers, by leases that are over, by records that are gone.
//!
//! Each logs what ended and then ends it by the functions that replay calls. What must hold: only what is unsettled can be settled, and the
//! first settle counts (S16); a settle starts a commit only if somebody waits for it (S3); one turn ends a bounded number, in the order in
//! which they were asked for (S7).

use super::answer;
use super::entry::{self, Ended};
use crate::queue::{extend_runs, positions};
use crate::settle::{SETTLE_MAX, disjoint};
use crate::shard::effect::Turn;
use crate::shard::{Mutant, Shard};
use crate::share::pending::Slot;
use crate::share::{Share, ShareNumber};
use std::collections::BTreeSet;
use stele_model::id::{Call, HubId, Lsn, Now, Position};
use stele_model::machine::Urgency;
use stele_model::settle::Run;
use stele_model::share::{
    REASON_BYTES_MAX, SettlePolicy, ShardSettle, ShardSettles, ShareAnswer, ShareDeath, ShareEvent, ShareHow,
};

/// Settles that did not fit a turn, with what they have come to so far.
#[derive(Debug)]
pub(in crate::shard) struct Settling {
    answer: Option<(HubId, Call)>,
    rest: std::vec::IntoIter<ShardSettle>,
    /// Deliveries ended or extended.
    count: u64,
    /// What the answer waits for.
    after: Lsn,
}

/// What of a settle is unsettled.
#[derive(Debug, Default)]
struct Held {
    runs: Vec<Run>,
    count: usize,
    /// What did not fit the turn.
    rest: Vec<Run>,
}

impl Shard {
    pub(in crate::shard) fn settle_shares(&mut self, of: ShardSettles, turn: &mut Turn<'_>) {
        let rest = of.settles.into_iter();
        let settling = Settling { answer: of.answer, rest, count: 0, after: Lsn(0) };
        self.settling.push_back(settling);
        if self.settling.len() == 1 {
            self.go_on_settling(turn);
        }
    }

    /// Settles what waits for it, as much as fits a turn.
    pub(super) fn go_on_settling(&mut self, turn: &mut Turn<'_>) {
        let mut left = SETTLE_MAX;
        let mut touched = BTreeSet::new();
        while let Some(mut settling) = self.settling.pop_front() {
            let mut unfinished = None;
            while left > 0 {
                let Some(settle) = settling.rest.next() else { break };
                unfinished = self.settle_share(settle, &mut settling, &mut left, &mut touched, turn);
                if unfinished.is_some() {
                    break;
                }
            }
            if let Some(settle) = unfinished {
                let rest: Vec<ShardSettle> = std::iter::once(settle).chain(settling.rest).collect();
                self.settling.push_front(Settling { rest: rest.into_iter(), ..settling });
                break;
            }
            if settling.rest.len() > 0 {
                self.settling.push_front(settling);
                break;
            }
            if let Some(to) = settling.answer {
                let after = settling.after.max(turn.journal.tail());
                answer(turn, after, to, Ok(ShareAnswer::Settled { count: settling.count }));
            }
            if left == 0 {
                break;
            }
        }
        for number in touched {
            self.serve_share(number, turn);
        }
    }

    /// One settle; what of it does not fit the turn comes back.
    fn settle_share(
        &mut self,
        settle: ShardSettle,
        settling: &mut Settling,
        left: &mut usize,
        touched: &mut BTreeSet<ShareNumber>,
        turn: &mut Turn<'_>,
    ) -> Option<ShardSettle> {
        let ShardSettle { partition, group, how, runs, delivery } = settle;
        let now = turn.now();
        let share = self.shares.find(partition, &group)?;
        let number = share.number;
        let held = held(share, &how, disjoint(runs), delivery, *left);
        *left -= held.count.max(1).min(*left);
        if held.count > 0 {
            share.settled_at = Some(now);
            share.used = now;
            settling.count += held.count as u64;
            let awaited = settling.answer.is_some();
            match &how {
                ShareHow::Accept => {
                    let samples = self.samples(number, &held.runs, now);
                    self.end_share(number, Ended::Accepted, &held.runs, awaited, turn);
                    self.tell_samples(number, samples, turn);
                }
                ShareHow::Terminate { reason } => {
                    let slots = self.told_slots(number, &held.runs);
                    let why = ShareDeath::Terminated { reason: short(reason) };
                    self.end_dead(number, &why, &held.runs, awaited, turn);
                    let what = |position, Slot { sequence, deliveries, .. }: Slot| {
                        let reason = reason.clone();
                        ShareEvent::Terminated { position, sequence, deliveries, reason }
                    };
                    self.tell_of(number, slots, what, turn);
                }
                ShareHow::Release { delay_us } => self.release_share(number, &held.runs, *delay_us, turn),
                ShareHow::Extend => self.extend_share(number, &held.runs, now),
            }
            settling.after = settling.after.max(turn.journal.tail());
            touched.insert(number);
        }
        (!held.rest.is_empty()).then_some(ShardSettle { partition, group, how, runs: held.rest, delivery })
    }

    /// Logs the end of deliveries and ends them.
    pub(super) fn end_share(
        &mut self,
        number: ShareNumber,
        how: Ended,
        runs: &[Run],
        awaited: bool,
        turn: &mut Turn<'_>,
    ) {
        let forgets = self.makes(Mutant::UnloggedSettle);
        let awaited = awaited || self.makes(Mutant::UrgentShareSettle);
        let Some(share) = self.shares.groups.get_mut(&number) else { return };
        if share.logs() && !forgets {
            let urgency = if awaited { Urgency::Urgent } else { Urgency::Rides };
            turn.log_runs_as(urgency, runs, |out, runs| entry::put_ended(out, number, how, runs));
        }
        for position in positions(runs) {
            share.end(position);
        }
        if matches!(how, Ended::Accepted | Ended::Terminated) {
            self.let_settled_go(number, runs, turn);
        }
    }

    /// Deliveries are to be made again: at once, or after a rest. Those that were made as often as may be are given up.
    fn release_share(&mut self, number: ShareNumber, runs: &[Run], delay_us: u64, turn: &mut Turn<'_>) {
        let now = turn.now();
        let until = (delay_us > 0).then(|| Now(now.0.saturating_add(delay_us)));
        let slots = self.told_slots(number, runs);
        let what = |position, Slot { sequence, deliveries, .. }: Slot| ShareEvent::Released {
            position,
            sequence,
            deliveries,
        };
        self.tell_of(number, slots, what, turn);
        let late = self.makes(Mutant::LateRelease);
        let Some(share) = self.shares.groups.get_mut(&number) else { return };
        let (mut exhausted, mut logged) = (Vec::new(), Vec::new());
        for position in positions(runs) {
            let Some(slot) = share.pending.find(position).copied() else { continue };
            if share.is_exhausted(&slot) {
                extend_runs(&mut exhausted, position);
                continue;
            }
            // Without a rest nothing is logged: that is how a restart would have it.
            if until.is_some() || slot.rest().is_some() {
                extend_runs(&mut logged, position);
            }
            if !late {
                share.pending.release(position, until);
            }
        }
        if share.logs() && self.mutant != Some(Mutant::UnloggedRest) {
            turn.log_runs(&logged, |out, runs| entry::put_rests(out, number, until, runs));
        }
        if !exhausted.is_empty() {
            self.give_up(number, &exhausted, turn);
        }
    }

    fn extend_share(&mut self, number: ShareNumber, runs: &[Run], now: Now) {
        let Some(share) = super::of_number(&mut self.shares, number) else { return };
        for position in positions(runs) {
            let Some(nth) = share.pending.find(position).map(|slot| slot.deliveries) else { continue };
            let until = Now(now.0.saturating_add(share.settings.lease_of(nth)));
            share.pending.extend(position, until);
        }
    }

    /// Records were delivered as often as may be: they are not delivered again.
    pub(super) fn give_up(&mut self, number: ShareNumber, runs: &[Run], turn: &mut Turn<'_>) {
        let slots = self.told_slots(number, runs);
        self.end_dead(number, &ShareDeath::Exhausted, runs, false, turn);
        let what = |position, slot: Slot| ShareEvent::Exhausted { position, deliveries: slot.deliveries };
        self.tell_of(number, slots, what, turn);
    }

    /// Tells who listens of these deliveries, after all that was logged so far.
    pub(super) fn tell_of(
        &self,
        number: ShareNumber,
        slots: Vec<(Position, Slot)>,
        what: impl Fn(Position, Slot) -> ShareEvent,
        turn: &mut Turn<'_>,
    ) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let (after, now) = (turn.journal.tail(), turn.now());
        for (position, slot) in slots {
            self.tell(share, after, now, || what(position, slot), turn);
        }
    }

    /// What listeners are told of accepted deliveries: mostly nothing.
    fn samples(&self, number: ShareNumber, runs: &[Run], now: Now) -> Vec<ShareEvent> {
        let Some(share) = self.shares.groups.get(&number) else { return Vec::new() };
        let settings = &share.settings;
        if settings.sampled_percent == 0 || settings.settle != SettlePolicy::Explicit {
            return Vec::new();
        }
        let slots = self.told_slots(number, runs).into_iter();
        let drawn = slots.filter(|(_, slot)| drawn(slot.sequence) < settings.sampled_percent);
        let sample = |(position, slot): (Position, Slot)| {
            let Slot { sequence, deliveries, .. } = slot;
            let took_us = now.0.saturating_sub(slot.leased_at(settings.lease_of(deliveries)).0);
            ShareEvent::Accepted { position, sequence, deliveries, took_us }
        };
        drawn.map(sample).collect()
    }

    fn tell_samples(&self, number: ShareNumber, samples: Vec<ShareEvent>, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let (after, now) = (turn.journal.tail(), turn.now());
        samples.into_iter().for_each(|sample| self.tell(share, after, now, || sample, turn));
    }

    /// What listeners are told of; nothing if there are none.
    pub(super) fn told_slots(&self, number: ShareNumber, runs: &[Run]) -> Vec<(Position, Slot)> {
        match self.shares.groups.get(&number) {
            Some(share) if !self.shares.listeners.is_empty() => slots(share, runs),
            _ => Vec::new(),
        }
    }
}

/// A number below a hundred that looks as if it was drawn, and is the same in every run.
fn drawn(sequence: u64) -> u8 {
    let mixed = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32) as u8 % 100
}

/// As much of a reason as is kept.
fn short(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned()
}

fn slots(share: &Share, runs: &[Run]) -> Vec<(Position, Slot)> {
    positions(runs).filter_map(|position| Some((position, *share.pending.find(position)?))).collect()
}

/// What of disjoint runs is unsettled, as far as fits a turn.
fn held(share: &Share, how: &ShareHow, mut runs: Vec<Run>, delivery: u32, most: usize) -> Held {
    let mut held = Held::default();
    let all = share.settings.settle == SettlePolicy::All
        && matches!(how, ShareHow::Accept | ShareHow::Terminate { .. });
    if all {
        runs = below(share, &runs);
    }
    for (n, run) in runs.iter().enumerate() {
        let end = Position(run.first.0.saturating_add(u64::from(run.count)));
        if run.count == 1 && held.count < most {
            let slot = share.pending.find(run.first);
            if slot.is_some_and(|slot| delivery == 0 || slot.deliveries == delivery) {
                extend_runs(&mut held.runs, run.first);
                held.count += 1;
            }
            continue;
        }
        for (position, slot) in share.pending.range(run.first..end) {
            if held.count == most {
                let left = Run { first: position, count: (end.0 - position.0) as u32 };
                held.rest = std::iter::once(left).chain(runs[n + 1..].iter().copied()).collect();
                return held;
            }
            if delivery == 0 || slot.deliveries == delivery {
                extend_runs(&mut held.runs, position);
                held.count += 1;
            }
        }
    }
    held
}

/// Everything unsettled up to the last of `runs` that was delivered, as runs.
fn below(share: &Share, runs: &[Run]) -> Vec<Run> {
    let ends = runs.iter().map(|run| run.first.0.saturating_add(u64::from(run.count)));
    let end = ends.filter(|end| *end <= share.next.0).max();
    let Some((end, (first, _))) = end.zip(share.pending.first()) else { return Vec::new() };
    let mut runs = Vec::new();
    let mut from = first.0;
    while from < end {
        let count = (end - from).min(u64::from(u32::MAX)) as u32;
        runs.push(Run { first: Position(from), count });
        from += u64::from(count);
    }
    runs
}
