//! Runs operations on a shard and judges its effects by the model.

use crate::judge::past::Past;
use crate::judge::{self, Check};
use crate::model::{Group, Taker, Unsettled};
use crate::ops::{How, Op, Settings};
use crate::rig::{PARTITION, RECORD_BYTES, Rig, SHARD, Said, answer, taker};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_core::shard::{LoggedShare, LoggedState, Mutant};
use stele_model::id::{Call, HubId, Lsn, Position, SubscriptionId};
use stele_model::machine::{Journal, Machine};
use stele_model::queue::DeadLetter;
use stele_model::settle::Run;
use stele_model::shard::{Move, MoveOut, ShardEffect, ShardOp};
use stele_model::share::{
    Expect, PullEnd, PullWant, PushSettings, SettlePolicy, ShardSettle, ShardSettles, ShardTake, ShareAnswer,
    ShareDeath, ShareEffect, ShareEvent, ShareHow, ShareNews, ShareRange, ShareRefusal, ShareSettings,
    ShareStart, ShareVerb, Take,
};

pub(crate) struct World {
    rig: Rig,
    mutant: Option<Mutant>,
    /// First position that can be read, and where the next record goes.
    start: u64,
    /// The block of each record.
    blocks: Vec<Lsn>,
    groups: BTreeMap<u8, Group>,
    takers: BTreeMap<u64, Taker>,
    next_taker: u64,
    past: Past,
    /// Settles that were answered: block that the answer waited for, number of the group, position.
    answered: Vec<(Lsn, u64, u64)>,
    /// Moves under way: their records.
    moves: BTreeMap<u64, Vec<Dead>>,
    /// Records that must move in this turn, and those that have.
    dying: BTreeSet<Dead>,
    left: BTreeSet<Dead>,
}

/// A record on its way to the dead letters: of which group, where, how often it was delivered, and whether it was terminated.
type Dead = (u8, u64, u32, bool);

fn name(group: u8) -> String {
    format!("g{group}")
}

fn number(name: &str) -> u8 {
    name[1..].parse().unwrap()
}

fn settings(of: &Settings) -> ShareSettings {
    ShareSettings {
        start: if of.from_new { ShareStart::New } else { ShareStart::All },
        settle: match of.settle {
            0 => SettlePolicy::None,
            1 => SettlePolicy::All,
            _ => SettlePolicy::Explicit,
        },
        lease_us: u64::from(of.lease_ms) * 1000,
        backoff_us: if of.backoff { vec![50_000, 200_000] } else { Vec::new() },
        deliveries_max: of.deliveries_max.map(u32::from),
        pending_max: of.pending_max.map(u32::from),
        push: of.push.then(PushSettings::default),
        dead_letter: of.dead_letter.then(|| DeadLetter { exchange: "x".to_owned(), key: None }),
        memory: of.memory,
        ..ShareSettings::default()
    }
}

impl judge::World for World {
    type Op = Op;

    fn begin(mutant: Option<Mutant>) -> Self {
        let mut rig = Rig::new(mutant);
        rig.listen();
        Self {
            rig,
            mutant,
            start: 0,
            blocks: Vec::new(),
            groups: BTreeMap::new(),
            takers: BTreeMap::new(),
            next_taker: 0,
            past: Past::new(SHARD),
            answered: Vec::new(),
            moves: BTreeMap::new(),
            dying: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }

    fn perform(&mut self, op: &Op) -> Check {
        match op {
            Op::Append(counts) => {
                for count in counts {
                    let said = self.rig.append(u32::from(*count));
                    let lsn = self.rig.log.tail();
                    self.blocks.extend((0..*count).map(|_| lsn));
                    self.judge(&said)?;
                }
            }
            Op::Put { group, settings: of } => self.put(*group, settings(of))?,
            Op::Delete(group) => {
                let said = self.rig.verb(&name(*group), ShareVerb::Delete).0;
                self.groups.remove(group);
                self.judge(&said)?;
            }
            Op::Pull { group, count, no_wait, expires_ms } => {
                let want = PullWant {
                    count: u32::from(*count),
                    no_wait: *no_wait,
                    expires_us: expires_ms.map(|ms| u64::from(ms) * 1000),
                    ..PullWant::default()
                };
                self.pull(*group, want)?;
            }
            Op::Push { group, bytes } => self.push(*group, u64::from(*bytes))?,
            Op::Credit { nth, bytes } => self.credit(*nth, *bytes)?,
            Op::Untake(nth) => {
                if let Some(id) = self.nth_taker(*nth) {
                    self.takers.remove(&id);
                    self.rig.ask(ShardOp::Untake { taker: taker(id) });
                }
            }
            Op::SessionGone(nth) => {
                if let Some(id) = self.nth_taker(*nth) {
                    let session = taker(id).session;
                    self.takers.retain(|id, _| taker(*id).session != session);
                    self.rig.ask(ShardOp::SessionGone { session });
                }
            }
            Op::Settle { group, how, picks, awaited, right_delivery } => {
                self.settle(*group, *how, picks, (*awaited, *right_delivery))?;
            }
            Op::Pause { group, ms } => {
                let until = ms.map(|ms| self.rig.log.now().plus_ms(u64::from(ms)));
                if let Some(of) = self.groups.get_mut(group) {
                    of.settings.pause_until = until;
                }
                let said = self.rig.verb(&name(*group), ShareVerb::Pause(until)).0;
                self.judge(&said)?;
            }
            Op::Reset { group, at } => self.reset(*group, at.map(u64::from))?,
            Op::Trim(at) => {
                let below = self.start + u64::from(*at) % (self.blocks.len() as u64 - self.start + 1);
                self.start = below;
                self.groups.values_mut().for_each(|of| of.unsettled.retain(|at, _| *at >= below));
                let said = self.rig.trim(below);
                self.judge(&said)?;
            }
            Op::Moved(nth) => {
                let count = self.moves.len().max(1);
                if let Some(number) = self.moves.keys().nth(usize::from(*nth) % count).copied() {
                    self.moves.remove(&number);
                    let said = self.rig.ask(ShardOp::Moved { number });
                    self.judge(&said)?;
                }
            }
            Op::Pass(ms) => {
                self.seal();
                self.rig.log.advance_ms(u64::from(*ms));
            }
            Op::Seal => self.seal(),
            Op::Snapshot => {
                self.come_to_rest()?;
                self.seal();
                self.past.begin_snapshot(&self.rig.log, &mut self.rig.shard);
            }
            Op::Crash { back, from_snapshot } => return self.crash(*back, *from_snapshot),
        }
        self.come_to_rest()?;
        self.at_rest()
    }

    fn end(mut self) -> Check {
        self.crash(0, false)
    }
}

impl World {
    fn now(&self) -> u64 {
        self.rig.log.now().0
    }

    fn end(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn nth_taker(&self, nth: u8) -> Option<u64> {
        let count = self.takers.len().max(1);
        self.takers.keys().nth(usize::from(nth) % count).copied()
    }

    fn put(&mut self, group: u8, settings: ShareSettings) -> Check {
        let (said, answer) = self.rig.put(&name(group), settings.clone(), Expect::Any);
        let end = self.end();
        match (self.groups.get_mut(&group), answer) {
            (None, Ok(ShareAnswer::Put { created: true, .. })) => {
                let next = if settings.start == ShareStart::New { end } else { self.start };
                self.groups.insert(group, Group::new(settings, next));
            }
            (Some(of), Ok(ShareAnswer::Put { created: false, .. })) => of.settings = settings,
            (Some(_), Err(_)) => {}
            (_, other) => return Err(format!("a group is put: {other:?}")),
        }
        self.judge(&said)
    }

    fn reset(&mut self, group: u8, at: Option<u64>) -> Check {
        let number = self.number(group);
        let (said, answer) = self.rig.verb(&name(group), ShareVerb::Reset(at.map(Position)));
        match (self.groups.get_mut(&group), answer) {
            (Some(of), Ok(ShareAnswer::Reset { at: is, info })) => {
                let floor = of.floor..=of.settled_below();
                let should = at.unwrap_or(is.0);
                if at.is_none() && !floor.contains(&should) {
                    return Err(format!("a group begins again at {is}, should at its floor in {floor:?}"));
                }
                of.reset(should);
                self.answered.retain(|(_, of, _)| Some(*of) != number);
                let pending = self.end().saturating_sub(should.max(self.start));
                if (is.0, info.unsettled, info.pending) != (should, 0, pending) {
                    return Err(format!("a group begins again at {is} as {info:?}, should {should}"));
                }
            }
            (Some(of), Err(ShareRefusal::NoPlace))
                if at.is_some() && of.settings.start == ShareStart::New => {}
            (None, Err(ShareRefusal::Unknown)) => {}
            (_, other) => return Err(format!("a group begins again: {other:?}")),
        }
        self.judge(&said)
    }

    fn pull(&mut self, group: u8, want: PullWant) -> Check {
        self.next_taker += 1;
        let id = self.next_taker;
        let expires = want.expires_us.map(|us| self.now() + us);
        let pull = Taker::Pull { group, count: want.count, no_wait: want.no_wait, took: false, expires };
        self.takers.insert(id, pull);
        let how = Take::Pull(want);
        let said = self.rig.ask(ShardOp::Take(ShardTake {
            taker: taker(id),
            partition: PARTITION,
            group: name(group),
            how,
        }));
        self.judge(&said)
    }

    fn push(&mut self, group: u8, bytes_max: u64) -> Check {
        self.next_taker += 1;
        let id = self.next_taker;
        let how = Take::Push { call: Call(3), bytes_max };
        let said = self.rig.ask(ShardOp::Take(ShardTake {
            taker: taker(id),
            partition: PARTITION,
            group: name(group),
            how,
        }));
        let is_push = self.groups.get(&group).is_some_and(|of| of.settings.push.is_some());
        match answer(&said).1 {
            Ok(ShareAnswer::Attached) if is_push => {
                let bytes_max = bytes_max as i64;
                self.takers.insert(id, Taker::Push { group, bytes: bytes_max, bytes_max });
            }
            Err(_) if !is_push => {}
            other => return Err(format!("a push is attached: {other:?}")),
        }
        self.judge(&said)
    }

    fn credit(&mut self, nth: u8, given: u16) -> Check {
        let Some(id) = self.nth_taker(nth) else { return Ok(()) };
        if let Some(Taker::Push { bytes, bytes_max, .. }) = self.takers.get_mut(&id) {
            *bytes = (*bytes + i64::from(given)).min(*bytes_max);
        }
        let said = self.rig.ask(ShardOp::TakerCredit { taker: taker(id), bytes: u64::from(given) });
        self.judge(&said)
    }

    fn settle(
        &mut self,
        group: u8,
        how: How,
        picks: &[(bool, u8)],
        (awaited, right_delivery): (bool, bool),
    ) -> Check {
        let (now, end) = (self.now(), self.end());
        let held: Vec<u64> =
            self.groups.get(&group).map(|of| of.unsettled.keys().copied().collect()).unwrap_or_default();
        let pick = |(of_held, nth): &(bool, u8)| match held.len() {
            count if *of_held && count > 0 => held[usize::from(*nth) % count],
            _ => u64::from(*nth) % (end + 2),
        };
        let picked: BTreeSet<u64> = picks.iter().map(pick).collect();
        let delivery = match self.groups.get(&group).zip(picked.first()) {
            Some((of, first)) if right_delivery => of.unsettled.get(first).map_or(1, |of| of.deliveries),
            _ => 0,
        };
        let mut count = 0;
        let mut ended = Vec::new();
        if let Some(of) = self.groups.get_mut(&group) {
            let mut these = picked.clone();
            if of.settings.settle == SettlePolicy::All && matches!(how, How::Accept | How::Terminate) {
                let last = picked.iter().copied().filter(|at| *at < of.next).max();
                these =
                    of.unsettled.keys().copied().filter(|at| last.is_some_and(|last| *at <= last)).collect();
            }
            for at in these {
                let lease_of = of.settings.clone();
                let Some(unsettled) = of.unsettled.get_mut(&at) else { continue };
                if delivery != 0 && unsettled.deliveries != delivery {
                    continue;
                }
                count += 1;
                match how {
                    How::Accept | How::Terminate => {
                        if matches!(how, How::Terminate) && of.settings.dead_letter.is_some() {
                            self.dying.insert((group, at, unsettled.deliveries, true));
                        }
                        of.unsettled.remove(&at);
                        ended.push(at);
                    }
                    How::Release(ms) => {
                        unsettled.until = now + u64::from(ms) * 1000;
                        unsettled.released = true;
                        if of.settings.deliveries_max.is_some_and(|max| unsettled.deliveries >= max) {
                            unsettled.until = now;
                        }
                    }
                    // What has come to the end of its lease waits to be given out, and has none to extend.
                    How::Extend if !unsettled.released && unsettled.until > now => {
                        unsettled.until = now + lease_of.lease_of(unsettled.deliveries);
                    }
                    How::Extend => {}
                }
            }
        }
        let how = match how {
            How::Accept => ShareHow::Accept,
            How::Release(ms) => ShareHow::Release { delay_us: u64::from(ms) * 1000 },
            How::Extend => ShareHow::Extend,
            How::Terminate => ShareHow::Terminate { reason: "no".to_owned() },
        };
        let runs = picked.iter().map(|at| Run { first: Position(*at), count: 1 }).collect();
        let group_name: Arc<str> = name(group).into();
        let settle = ShardSettle { partition: PARTITION, group: group_name, how, runs, delivery };
        let answer_to = awaited.then_some((HubId(0), Call(4)));
        let urgent = self.rig.log.urgent();
        let op = ShardOp::SettleShares(ShardSettles { answer: answer_to, settles: vec![settle] });
        let said = self.rig.ask(op);
        if !awaited && self.rig.log.urgent() > urgent {
            return Err("a settle that nobody waits for started a commit".to_owned());
        }
        if awaited {
            let (after, is) = answer(&said);
            if is != Ok(ShareAnswer::Settled { count }) {
                return Err(format!("a settle is answered {is:?}, should {count}"));
            }
            if let Some(number) = self.number(group) {
                self.answered.extend(ended.into_iter().map(|at| (after, number, at)));
            }
        }
        self.judge(&said)
    }

    /// The shard's number for the group, if it is logged.
    fn number(&self, group: u8) -> Option<u64> {
        let name = name(group);
        self.rig.shard.logged().shares.iter().find(|of| of.name == name).map(|of| of.number)
    }

    /// Lets the shard do all that is due.
    fn come_to_rest(&mut self) -> Check {
        let said = self.rig.tick();
        self.judge(&said)
    }

    /// Judges what was said, in order.
    fn judge(&mut self, said: &Said) -> Check {
        for (after, effect) in said {
            if let ShardEffect::Move(of) = effect {
                self.leaves(*after, of)?;
            }
            let ShardEffect::Shared { to, what } = effect else { continue };
            match what {
                ShareEffect::Deliver { group, ranges, .. } => {
                    for range in ranges {
                        self.given(*after, to, number(group), range)?;
                    }
                }
                ShareEffect::Say(ShareNews::Ended { taker, why }) => self.ended(*taker, why)?,
                ShareEffect::Say(ShareNews::Event(event)) => {
                    self.happened(number(&event.group), &event.what)?
                }
                ShareEffect::Say(other) => return Err(format!("nobody asked for {other:?}")),
            }
        }
        let (dying, left) = (std::mem::take(&mut self.dying), std::mem::take(&mut self.left));
        if dying == left { Ok(()) } else { Err(format!("{left:?} leave, should {dying:?}")) }
    }

    /// Records are on the move.
    fn leaves(&mut self, after: Lsn, of: &Move) -> Check {
        let MoveOut::Share(of_share) = &of.out_of else { return Err(format!("what moves: {of:?}")) };
        let group = number(&of_share.group);
        let terminated = matches!(of_share.why, ShareDeath::Terminated { .. });
        let dead = of_share.records.iter().map(|of| (group, of.position.0, of.deliveries, terminated));
        let dead: Vec<Dead> = dead.collect();
        for (dead, (_, at, ..)) in of_share.records.iter().zip(&dead) {
            if self.blocks.get(*at as usize) != Some(&dead.batch.place.lsn) {
                return Err(format!("{at} moves with the bytes of {:?}", dead.batch));
            }
        }
        if after < self.rig.log.tail() {
            return Err(format!("a move waits for {after}, before it is logged"));
        }
        self.left.extend(&dead);
        match self.moves.insert(of.number, dead) {
            None => Ok(()),
            Some(_) => Err(format!("move {} begins twice", of.number)),
        }
    }

    fn given(&mut self, after: Lsn, to: &SubscriptionId, group: u8, range: &ShareRange) -> Check {
        let (now, start, end) = (self.now(), self.start, self.end());
        for n in 0..u64::from(range.records.count) {
            let at = range.records.from.0 + n;
            let of = self.groups.get_mut(&group).ok_or("a group that is not there gives out")?;
            of.give((start, end), now, (at, range.delivery, range.sequence + n))?;
            let behind = end - of.next.max(start);
            let told = if range.delivery == 1 { range.pending - n } else { range.pending };
            if told != behind {
                return Err(format!("{at} tells of {told} records behind it, should {behind}"));
            }
            if self.blocks.get(at as usize).is_some_and(|block| after < *block) {
                return Err(format!("{at} waits for {after}, stands in {:?}", self.blocks[at as usize]));
            }
            match self.takers.get_mut(&to.number) {
                Some(Taker::Pull { group: of, count, took, .. }) if *of == group && *count > 0 => {
                    *count -= 1;
                    *took = true;
                }
                Some(Taker::Push { group: of, bytes, .. }) if *of == group && *bytes > 0 => {
                    *bytes -= RECORD_BYTES as i64;
                }
                other => return Err(format!("{at} is given to {other:?}")),
            }
        }
        Ok(())
    }

    fn ended(&mut self, id: u64, why: &PullEnd) -> Check {
        let now = self.now();
        let Some(taker) = self.takers.remove(&id) else {
            return Err(format!("taker {id} ends by {why:?}, and is not there"));
        };
        let there = self.groups.get(&taker.group());
        let right = match (&taker, why) {
            (_, PullEnd::Gone | PullEnd::Unknown) => there.is_none(),
            (Taker::Pull { count, .. }, PullEnd::Complete { .. }) => *count == 0,
            (Taker::Pull { expires, .. }, PullEnd::Expired { left }) => {
                let right = matches!(taker, Taker::Pull { count, .. } if count == left.count);
                right && expires.is_some_and(|at| at <= now)
            }
            (Taker::Pull { no_wait, took, expires, .. }, PullEnd::NoRecords) => {
                let empty = there.is_none_or(|of| of.is_paused(now) || self.deliverable(of).is_none());
                *no_wait && (*took || expires.is_none()) && empty
            }
            (Taker::Pull { no_wait, .. }, PullEnd::OthersWait) => *no_wait,
            (Taker::Pull { .. }, PullEnd::IsPush) => there.is_some_and(|of| of.settings.push.is_some()),
            _ => false,
        };
        if right { Ok(()) } else { Err(format!("taker {id}, {taker:?}, ends by {why:?}")) }
    }

    /// What the group could give out now, room or not.
    fn deliverable(&self, of: &Group) -> Option<u64> {
        let new = of.next.max(self.start);
        of.again(self.now()).next().or((new < self.end()).then_some(new))
    }

    fn happened(&mut self, group: u8, what: &ShareEvent) -> Check {
        let now = self.now();
        let ShareEvent::Exhausted { position, deliveries } = what else { return Ok(()) };
        let of = self.groups.get_mut(&group).ok_or("a group that is not there gives up")?;
        if of.settings.dead_letter.is_some() {
            self.dying.insert((group, position.0, *deliveries, false));
        }
        match of.unsettled.remove(&position.0) {
            Some(was) if was.until <= now && was.deliveries == *deliveries && of.is_exhausted(&was) => Ok(()),
            other => Err(format!("{position} is given up: {other:?}")),
        }
    }

    /// Nothing is left to be done, and what is told of the groups is right.
    fn at_rest(&mut self) -> Check {
        let now = self.now();
        for (id, taker) in &self.takers {
            if let Taker::Pull { expires: Some(at), .. } = taker
                && *at <= now
            {
                return Err(format!("taker {id} waits beyond its time"));
            }
            let Some(of) = self.groups.get(&taker.group()) else {
                return Err(format!("taker {id} waits for a group that is not there"));
            };
            if !taker.is_open() || of.is_paused(now) {
                continue;
            }
            let again = of.again(now).next();
            let new = (of.has_room() && of.next.max(self.start) < self.end()).then_some(of.next);
            if let Some(at) = again.or(new) {
                return Err(format!("{at} is not given to {taker:?}"));
            }
            let impatient = matches!(taker, Taker::Pull { no_wait: true, expires, took, .. } if *took || expires.is_none());
            if impatient && self.deliverable(of).is_none() {
                return Err(format!("taker {id} waits for nothing"));
            }
        }
        let groups: Vec<u8> = self.groups.keys().copied().collect();
        groups.into_iter().try_for_each(|group| self.told(group))
    }

    /// What a group tells of itself.
    fn told(&mut self, group: u8) -> Check {
        let now = self.now();
        let info = match self.rig.verb(&name(group), ShareVerb::Info).1 {
            Ok(ShareAnswer::Info(info)) => *info,
            other => return Err(format!("a group is asked about: {other:?}")),
        };
        let (start, end) = (self.start, self.end());
        let Some(of) = self.groups.get_mut(&group) else { return Ok(()) };
        if let Some((at, left)) =
            of.unsettled.iter().find(|(_, left)| left.until <= now && of.is_exhausted(left))
        {
            return Err(format!("{at} should be given up: {left:?}"));
        }
        let redelivered = of.unsettled.values().filter(|of| of.deliveries > 1).count() as u64;
        let is = (info.unsettled, info.redelivered, info.delivered.sequence, info.delivered.next.0);
        let should = (of.unsettled.len() as u64, redelivered, of.sequence, of.next);
        if is != should || info.pending != end.saturating_sub(of.next.max(start)) {
            return Err(format!("group {group} tells {info:?}, should {of:?}"));
        }
        let (floor, highest) = (info.floor.next.0, of.settled_below());
        let is_high = floor == highest || !of.unsettled.is_empty();
        if !is_high || !(of.floor..=highest).contains(&floor) {
            return Err(format!("the floor is {:?} after {}, may be {highest}", info.floor, of.floor));
        }
        of.floor = floor;
        Ok(())
    }

    fn seal(&mut self) {
        self.past.seal(&mut self.rig.log, &self.rig.shard, ());
    }

    /// The process dies; what was durable comes back, and nothing else.
    pub(crate) fn crash(&mut self, back: u8, from_snapshot: bool) -> Check {
        self.past.write_on(&mut self.rig.shard, usize::MAX);
        self.come_to_rest()?;
        self.seal();
        let (shard, ()) = self.past.crash(&mut self.rig.log, usize::from(back) % 4, from_snapshot)?;
        let (through, is) = (self.rig.log.tail(), shard.logged());
        self.kept(through, &is.shares)?;
        self.reborn(through, &is);
        self.rig.shard = shard.with_mutant(self.mutant);
        let mut effects = Vec::new();
        self.rig.shard.started(&mut self.rig.log, &mut effects);
        self.rig.listen();
        let again = effects.iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Move(of) => Some(of.number),
            _ => None,
        });
        let again: Vec<u64> = again.collect();
        let open: Vec<u64> = is.share_moves.iter().map(|(number, _)| *number).collect();
        if again != open {
            return Err(format!("moves sent again {again:?}, should {open:?}"));
        }
        let begun = effects.iter().filter(|(_, effect)| !matches!(effect, ShardEffect::Move(_)));
        self.judge(&begun.cloned().collect())?;
        self.come_to_rest()?;
        self.at_rest()
    }

    /// A settle that was answered stays settled.
    fn kept(&self, through: Lsn, shares: &[LoggedShare]) -> Check {
        for (_, number, at) in self.answered.iter().filter(|(after, ..)| *after <= through) {
            let Some(of) = shares.iter().find(|of| of.number == *number) else { continue };
            let unsettled = of.pending.iter().any(|of| of.position.0 == *at);
            if unsettled || *at >= of.next.0 {
                return Err(format!("{at} was settled for group {number}, and comes back"));
            }
        }
        Ok(())
    }

    /// The model of what is left.
    fn reborn(&mut self, through: Lsn, is: &LoggedState) {
        let (start, end) = is.partitions.first().map_or((0, 0), |of| (of.start.0, of.end.0));
        self.start = start;
        self.blocks.truncate(end as usize);
        self.takers.clear();
        self.answered.retain(|(after, ..)| *after <= through);
        self.moves.clear();
        for (number, of) in &is.share_moves {
            let terminated = matches!(of.why, ShareDeath::Terminated { .. });
            let group = self::number(&of.group);
            let dead = of.records.iter().map(|of| (group, of.position.0, of.deliveries, terminated));
            self.moves.insert(*number, dead.collect());
        }
        self.groups.clear();
        for of in &is.shares {
            let mut group = Group::new(of.settings.clone(), of.next.0);
            group.sequence = of.sequence;
            for left in of.pending.iter().filter(|left| left.position.0 >= start) {
                let until = left.rest.map_or(0, |until| until.0);
                let (deliveries, sequence) = (left.deliveries, left.sequence);
                let unsettled = Unsettled { deliveries, sequence, until, released: true };
                group.unsettled.insert(left.position.0, unsettled);
            }
            self.groups.insert(number(&of.name), group);
        }
    }
}
