//! A client of streams and groups with its session: appends batches (numbered ones again after every crash until they are answered), reads
//! with watches, trims, and is a member of the run's group that joins, divides, commits and leaves.
//!
//! As `client` does, it writes what it does and sees into the history, and knows nothing of what should come of it. One more of them, the
//! closer, does nothing until the end and then reads every partition once.

mod member;
mod produce;
mod read;

use crate::client::{Heard, Said};
use crate::desk::{Desk, Phase};
use crate::history::Step;
use crate::history::stream::{BatchId, Part};
use crate::link::{Line, Link, misfits};
use crate::rng::Rng;
use crate::topology::STREAMS;
use member::{GroupAsked, Member};
use produce::Producer;
use read::Reader;
use stele_model::id::{HubId, Ticket};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome, Wake};

/// Requests without an answer, at most.
const AWAITED_MAX: usize = 6;

/// See the file's head.
#[derive(Debug)]
pub struct Streamer {
    line: Line<Asked>,
    rng: Rng,
    /// Actions left.
    left: u32,
    producer: Option<Producer>,
    readers: Vec<Reader>,
    member: Option<Member>,
    /// It waits for the end.
    closer: bool,
}

/// What a ticket stands for.
#[derive(Clone, Debug)]
enum Asked {
    Open,
    NewProducer,
    Append(Vec<BatchId>),
    Read { reader: usize, asked: Step, watch: Option<u64> },
    Trim,
    Group(GroupAsked, Step),
}

impl Streamer {
    /// A client of `hub` that acts `actions` times.
    #[must_use]
    pub fn new(hub: HubId, actions: u32, mut rng: Rng) -> Self {
        let producer = rng.chance(3, 4).then(|| Producer::new(rng.chance(2, 3)));
        let count = if rng.chance(3, 4) { rng.between(1, 2) } else { 0 };
        let parts = parts();
        let readers = (0..count).map(|_| Reader::new(*rng.pick(&parts))).collect();
        let member = rng.chance(3, 4).then(Member::default);
        Self::with(hub, actions, rng, producer, readers, member, false)
    }

    /// One that reads everything at the end.
    #[must_use]
    pub fn closer(hub: HubId, rng: Rng) -> Self {
        let readers = parts().into_iter().map(Reader::new).collect();
        Self::with(hub, 0, rng, None, readers, None, true)
    }

    fn with(
        hub: HubId,
        left: u32,
        rng: Rng,
        producer: Option<Producer>,
        readers: Vec<Reader>,
        member: Option<Member>,
        closer: bool,
    ) -> Self {
        Self { line: Line::new(hub), rng, left, producer, readers, member, closer }
    }

    /// It has nothing more to do before the end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.closer || self.line.link == Link::Over
    }

    /// It waits for the end.
    #[must_use]
    pub fn is_closer(&self) -> bool {
        self.closer
    }

    /// The closer has read everything.
    #[must_use]
    pub fn has_looked(&self) -> bool {
        self.readers.iter().all(|reader| reader.done)
    }

    /// What it waits for, for a report.
    #[must_use]
    pub fn awaits(&self) -> String {
        format!("{}, {:?} {:?}", self.line.awaits(), self.readers, self.member)
    }

    /// It can do something without hearing anything first.
    #[must_use]
    pub fn can_act(&self, desk: &Desk) -> bool {
        let full = self.line.awaited.len() >= AWAITED_MAX;
        match (self.line.link, desk.phase) {
            (Link::Opening | Link::Over, _) | (_, Phase::SetUp) => false,
            (_, Phase::Close) => self.closer && !self.has_looked() && self.line.awaited.is_empty(),
            _ if self.closer => false,
            (Link::Down, Phase::Finish) => true,
            (Link::Down, Phase::Run) => self.left > 0 || self.owes(),
            (Link::Up, Phase::Finish) => !full && self.can_finish(desk),
            (Link::Up, Phase::Run) => !full && self.left > 0,
        }
    }

    /// Does something by itself.
    pub fn act(&mut self, desk: &mut Desk) -> Vec<Said> {
        match (self.line.link, desk.phase) {
            (Link::Down, Phase::Finish) if self.is_done(desk) => self.line.link = Link::Over,
            (Link::Down, _) => self.line.connect(desk, Asked::Open),
            (Link::Up, Phase::Finish) => self.finish(desk),
            (Link::Up, Phase::Close) => self.look(desk),
            (Link::Up, _) => self.do_something(desk),
            (Link::Opening | Link::Over, _) => {}
        }
        self.line.said()
    }

    fn do_something(&mut self, desk: &mut Desk) {
        self.left -= 1;
        match self.rng.weighted(&[6, 6, 8, 1, 1]) {
            0 => self.produce(desk),
            1 => self.read(desk),
            2 => self.take_part(desk),
            3 => self.trim(desk),
            _ => {
                if self.rng.chance(1, 6) {
                    self.disconnect(desk);
                }
            }
        }
    }

    /// Nothing is left to be answered, and nothing to be read.
    fn is_done(&self, desk: &Desk) -> bool {
        !self.owes() && self.readers.iter().all(|reader| reader.has_all(desk))
    }

    /// Batches are to be sent again.
    fn owes(&self) -> bool {
        self.producer.as_ref().is_some_and(|producer| !producer.is_done())
    }

    fn can_finish(&self, desk: &Desk) -> bool {
        let reads = self.readers.iter().any(|reader| reader.may_read() && !reader.has_all(desk));
        reads || (self.line.awaited.is_empty() && self.is_done(desk))
    }

    fn finish(&mut self, desk: &mut Desk) {
        let behind = |reader: &Reader| reader.may_read() && !reader.has_all(desk);
        if let Some(reader) = self.readers.iter().position(behind) {
            return self.read_on(desk, reader);
        }
        if self.line.awaited.is_empty() && self.is_done(desk) {
            self.disconnect(desk);
            self.line.link = Link::Over;
        }
    }

    /// The node has stopped.
    pub fn cut_off(&mut self) {
        self.line.cut();
        self.forget();
    }

    fn disconnect(&mut self, desk: &mut Desk) {
        self.line.disconnect(desk);
        self.forget();
    }

    fn forget(&mut self) {
        self.readers.iter_mut().for_each(Reader::cut_off);
        if let Some(member) = &mut self.member {
            member.cut_off();
        }
    }

    fn ask(&mut self, op: Op, asked: Asked) {
        self.line.ask(0, op, asked);
    }

    /// Takes in what the hub says; what is meant for an earlier session is passed over.
    pub fn hear(&mut self, desk: &mut Desk, heard: Heard) -> Vec<Said> {
        if !self.line.hears(&heard) {
            return Vec::new();
        }
        match heard {
            Heard::Outcome(_, ticket, outcome) => self.answered(desk, ticket, outcome),
            Heard::Wake(_, Wake::Appended { watch }) => {
                self.readers.iter_mut().for_each(|reader| reader.woken(watch));
            }
            Heard::Wake(_, Wake::Close(_)) => self.disconnect(desk),
            Heard::Wake(..) | Heard::Deliver(..) => {}
        }
        self.line.said()
    }

    fn answered(&mut self, desk: &mut Desk, ticket: Ticket, outcome: Outcome) {
        let Some(asked) = self.line.answered(desk, ticket, &outcome) else { return };
        match (asked, outcome) {
            (Asked::Open, Outcome::Done(Done::Opened)) => {
                self.line.link = Link::Up;
                self.append_again();
            }
            (Asked::NewProducer, Outcome::Done(Done::Producer(number))) => self.numbered(number),
            (Asked::Append(batches), Outcome::Done(Done::Appended(parts))) => {
                self.appended(desk, &batches, parts);
            }
            (Asked::Read { reader, asked, watch }, Outcome::Done(Done::Read(parts))) => {
                self.was_read(desk, reader, asked, watch, parts);
            }
            (Asked::Trim, Outcome::Done(Done::Trimmed(_))) => {}
            (Asked::Group(what, asked), outcome) => self.group_said(desk, what, asked, outcome),
            (asked, outcome) => misfits(desk, &asked, &outcome),
        }
    }
}

/// All partitions of the standing streams.
fn parts() -> Vec<Part> {
    let each = STREAMS.iter().enumerate();
    each.flat_map(|(stream, of)| (0..of.partitions).map(move |index| Part { stream, index })).collect()
}
