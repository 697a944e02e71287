//! A client of the stream by subject and of its shared group: publishes with ids (again after every crash until they are answered) or for
//! one position only, later, or in bundles, pulls, accepts, releases, extends and terminates, and asks how far the group is.
//!
//! As `client` does, it writes what it does and sees into the history, and knows nothing of what should come of it. One more of them, the
//! closer, does nothing until the end; then it takes what is left, and looks at all the stream holds.

mod bundle;
mod hear;
mod publish;

use crate::client::Said;
use crate::desk::{Desk, Phase};
use crate::history::shared::{MessageId, SharedEvent};
use crate::history::{Event, Step};
use crate::link::{Line, Link};
use crate::rng::Rng;
use crate::topology::{buried, group, group_settings, jet, later, whole};
use bundle::Bundle;
use publish::Message;
use std::collections::BTreeMap;
use stele_model::id::{HubId, Position};
use stele_model::op::Op;
use stele_model::settle::Run;
use stele_model::share::{
    Expect, Pull, PullWant, ShareHow, ShareRequest, ShareSettle, ShareSettles, ShareVerb,
};
use stele_model::stream::records::{From, RecordsAsk, RecordsRequest, ScanOf};

/// Requests without an answer, at most.
const AWAITED_MAX: usize = 6;
/// Pulls under way, at most.
const PULLS_MAX: usize = 2;
/// Messages without an answer that are to be sent again, at most.
const OPEN_MAX: usize = 6;

/// See the file's head.
#[derive(Debug)]
pub struct Taker {
    line: Line<Asked>,
    rng: Rng,
    /// Actions left.
    left: u32,
    /// To be sent again until they are answered.
    open: BTreeMap<MessageId, Message>,
    /// As [`Self::open`], of those that wait for their time: how long, ms; `None`: they come again and again.
    later: BTreeMap<MessageId, Option<u64>>,
    /// To be sent until it is answered.
    bundle: Option<Bundle>,
    /// Pulls under way, and when they were asked.
    pulls: BTreeMap<u64, Step>,
    held: Vec<Position>,
    closer: Option<Look>,
}

/// How far the closer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Takes,
    Scans,
    Digs,
    Waits,
    Counts,
    Done,
}

/// What a ticket stands for.
#[derive(Clone, Debug)]
enum Asked {
    Open,
    /// The group is made, or is there.
    Put(Step),
    Publish(Vec<MessageId>),
    Settle(u64),
    Info(Step),
    Scan,
    Dig,
    Wait,
    Later(MessageId),
    /// Something of a bundle, in this attempt.
    Bundle(u32),
    Count,
}

impl Taker {
    /// A client of `hub` that acts `actions` times.
    #[must_use]
    pub fn new(hub: HubId, actions: u32, rng: Rng) -> Self {
        Self {
            line: Line::new(hub),
            rng,
            left: actions,
            open: BTreeMap::new(),
            later: BTreeMap::new(),
            bundle: None,
            pulls: BTreeMap::new(),
            held: Vec::new(),
            closer: None,
        }
    }

    /// One that takes and looks at the end.
    #[must_use]
    pub fn closer(hub: HubId, rng: Rng) -> Self {
        Self { closer: Some(Look::Takes), ..Self::new(hub, 0, rng) }
    }

    /// It has nothing more to do before the end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closer.is_some() || self.line.link == Link::Over
    }

    /// If it is the closer, it has looked.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.closer.is_none_or(|look| look == Look::Done)
    }

    /// What it waits for, for a report.
    #[must_use]
    pub fn awaits(&self) -> String {
        format!("{}, pulls {:?}, is to send {:?}", self.line.awaits(), self.pulls, self.open)
    }

    /// It can do something without hearing anything first.
    #[must_use]
    pub fn can_act(&self, phase: Phase) -> bool {
        let free = self.line.awaited.is_empty();
        match (self.line.link, phase) {
            (Link::Opening | Link::Over, _) | (_, Phase::SetUp) => false,
            (_, Phase::Close) => !self.has_looked() && free && self.pulls.is_empty(),
            _ if self.closer.is_some() => false,
            (Link::Down, Phase::Finish) => true,
            (Link::Down, Phase::Run) => self.left > 0 || self.owes(),
            (Link::Up, Phase::Finish) => free,
            (Link::Up, Phase::Run) => self.line.awaited.len() < AWAITED_MAX && self.left > 0,
        }
    }

    /// Does something by itself.
    pub fn act(&mut self, desk: &mut Desk) -> Vec<Said> {
        match (self.line.link, desk.phase) {
            (Link::Down, Phase::Finish) if !self.owes() => self.line.link = Link::Over,
            (Link::Down, _) => self.line.connect(desk, Asked::Open),
            (Link::Up, Phase::Finish) if self.bundle.is_some() => self.finish_bundle(),
            (Link::Up, Phase::Finish) => {
                assert!(!self.owes(), "what is to be sent again was sent when the session began");
                self.disconnect(desk);
                self.line.link = Link::Over;
            }
            (Link::Up, Phase::Close) => self.look(desk),
            (Link::Up, _) => self.do_something(desk),
            (Link::Opening | Link::Over, _) => {}
        }
        self.line.said()
    }

    /// Something is to be sent again until it is answered.
    fn owes(&self) -> bool {
        !self.open.is_empty() || !self.later.is_empty() || self.bundle.is_some()
    }

    fn do_something(&mut self, desk: &mut Desk) {
        self.left -= 1;
        match self.rng.weighted(&[6, 6, 8, 2, 1, 2, 3]) {
            0 => self.publish(desk),
            1 if self.pulls.len() < PULLS_MAX => {
                let count = self.rng.between(1, 4) as u32;
                let no_wait = self.rng.chance(1, 3);
                let expires_us = (!no_wait).then(|| self.rng.between(500, 20_000));
                self.pull(desk, PullWant { count, no_wait, expires_us, ..PullWant::default() });
            }
            2 => self.settle(desk),
            3 => self.ask(self.verb(ShareVerb::Info), Asked::Info(desk.step)),
            4 if self.rng.chance(1, 6) => self.disconnect(desk),
            5 => self.publish_later(desk),
            6 => self.publish_bundle(desk),
            _ => {}
        }
    }

    /// The closer takes what is left, then looks at the whole stream, then at the dead letters, at what has waited, and at bundles.
    fn look(&mut self, desk: &Desk) {
        let (of, asked) = match self.closer {
            Some(Look::Scans) => (jet(), Asked::Scan),
            Some(Look::Digs) => (buried(), Asked::Dig),
            Some(Look::Waits) => (later(), Asked::Wait),
            Some(Look::Counts) => (whole(), Asked::Count),
            _ => return self.pull(desk, PullWant { count: 3, no_wait: true, ..PullWant::default() }),
        };
        let subjects = stele_model::subject::Pattern::everything();
        let from = From::Position(Position(0));
        let scan = ScanOf { subjects, from, count_max: 1 << 20, bytes_max: 1 << 30 };
        self.ask(Op::Records(RecordsRequest { of, ask: RecordsAsk::Scan(scan) }), asked);
    }

    fn pull(&mut self, desk: &Desk, want: PullWant) {
        let taker = self.line.number();
        self.pulls.insert(taker, desk.step);
        let pull = Pull { share: group(), taker, want, heard_at: None };
        self.tell(Op::Pull(pull));
    }

    /// Ends one or some of the deliveries it holds, or says that it is still at work.
    fn settle(&mut self, desk: &mut Desk) {
        if self.held.is_empty() {
            return;
        }
        let count = self.rng.between(1, self.held.len() as u64) as usize;
        let positions: Vec<Position> = self.held.drain(..count).collect();
        let how = match self.rng.weighted(&[8, 2, 1, 1]) {
            0 => ShareHow::Accept,
            1 => ShareHow::Release { delay_us: *self.rng.pick(&[0, 700]) },
            2 => ShareHow::Terminate { reason: "enough".to_owned() },
            _ => {
                self.held.extend(&positions);
                ShareHow::Extend
            }
        };
        self.end(desk, positions, how);
    }

    fn end(&mut self, desk: &mut Desk, positions: Vec<Position>, how: ShareHow) {
        let awaited = self.rng.chance(1, 2) || self.closer.is_some();
        let number = desk.next_stream_number();
        let runs = positions.iter().map(|position| Run { first: *position, count: 1 }).collect();
        if matches!(how, ShareHow::Accept | ShareHow::Terminate { .. }) {
            let number = awaited.then_some(number);
            let terminates = matches!(how, ShareHow::Terminate { .. });
            desk.event(&Event::Shared(SharedEvent::EndAsked { number, positions, terminates }));
        }
        let settles = vec![ShareSettle { share: group(), how, runs, delivery: 0 }];
        let op = Op::SettleShares(ShareSettles { settles, awaited });
        if awaited { self.ask(op, Asked::Settle(number)) } else { self.tell(op) }
    }

    /// The node has stopped.
    pub fn cut_off(&mut self) {
        self.line.cut();
        self.forget();
    }

    /// Made by whoever comes first; just like this for all others.
    fn put_group(&mut self, desk: &Desk) {
        let settings = Box::new(group_settings());
        self.ask(self.verb(ShareVerb::Put { settings, expect: Expect::New }), Asked::Put(desk.step));
    }

    fn disconnect(&mut self, desk: &mut Desk) {
        self.line.disconnect(desk);
        self.forget();
    }

    fn forget(&mut self) {
        self.pulls.clear();
        self.held.clear();
    }

    fn verb(&self, verb: ShareVerb) -> Op {
        Op::Share(ShareRequest { share: group(), verb })
    }

    fn ask(&mut self, op: Op, asked: Asked) {
        self.line.ask(0, op, asked);
    }

    fn tell(&mut self, op: Op) {
        self.line.tell(0, op);
    }
}
