//! The client that makes the standing definitions before a run, looks after every restart whether they are still there, and empties
//! all queues at the end. Asks one thing at a time.

use crate::client::{Heard, Said, record_id};
use crate::desk::{Desk, Phase};
use crate::history::{Delivery, Event, Held};
use crate::topology::{RACING, RACING_EMPTY, STANDING, definitions, look_for};
use std::collections::{BTreeSet, VecDeque};
use stele_model::id::{HubId, SessionId, Ticket};
use stele_model::op::{Define, Get, Op, Submit};
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;

/// Number under which its single reads are held; they are settled by sending.
const GETS: u64 = 1;

/// See the file's head.
#[derive(Debug, Default)]
pub struct Keeper {
    session: SessionId,
    connected: bool,
    tickets: u64,
    awaits: Option<Op>,
    script: VecDeque<Op>,
    /// Queues whose declaration was answered.
    declared: BTreeSet<String>,
    /// The definitions were asked for.
    defined: bool,
    /// All of them were answered, once.
    done: bool,
    /// Queues that were found empty since something was last found in any of them.
    empty: BTreeSet<String>,
    /// Queues that were looked at and are not there.
    missing: BTreeSet<String>,
}

impl Keeper {
    /// The standing definitions are there.
    #[must_use]
    pub fn has_defined(&self) -> bool {
        self.done && self.is_idle()
    }

    /// It waits for nothing and has nothing to do.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.awaits.is_none() && self.script.is_empty()
    }

    /// It can do something without hearing anything first.
    #[must_use]
    pub fn can_act(&self, phase: Phase) -> bool {
        let wants = match phase {
            Phase::SetUp => !self.defined,
            Phase::Run | Phase::Finish => false,
            Phase::Close => self.next_to_empty().is_some(),
        };
        self.awaits.is_none() && (!self.script.is_empty() || wants)
    }

    /// Every queue was found empty, one after the other, and nothing has come since.
    #[must_use]
    pub fn has_emptied(&self) -> bool {
        self.is_idle() && self.next_to_empty().is_none()
    }

    /// Looks at every queue once more.
    pub fn look_again(&mut self) {
        self.empty.clear();
        self.missing.clear();
    }

    /// What it waits for, for a report.
    #[must_use]
    pub fn awaits(&self) -> String {
        format!("the keeper awaits {:?}, then {} requests", self.awaits, self.script.len())
    }

    /// The node has stopped. What was declared must be there after the start.
    pub fn cut_off(&mut self) {
        self.connected = false;
        self.awaits = None;
        self.defined = self.done;
        self.script = self.declared.iter().map(|queue| Op::Define(look_for(queue))).collect();
    }

    /// Says the next thing.
    pub fn act(&mut self, desk: &mut Desk) -> Vec<Said> {
        let mut out = Vec::new();
        if !self.connected {
            self.connected = true;
            self.session = desk.next_session(HubId(0));
            out.push(Said::Connect(self.session));
            self.ask(Op::Open { namespace: "/".to_owned() }, &mut out);
            return out;
        }
        if self.script.is_empty() {
            self.plan(desk.phase);
        }
        if let Some(op) = self.script.pop_front() {
            self.ask(op, &mut out);
        }
        out
    }

    fn plan(&mut self, phase: Phase) {
        match phase {
            Phase::SetUp => {
                self.defined = true;
                self.script = definitions().into_iter().map(Op::Define).collect();
            }
            Phase::Run | Phase::Finish => {}
            Phase::Close => {
                if let Some(queue) = self.next_to_empty() {
                    let get = Get { queue: queue.clone(), subscription: GETS, no_ack: true };
                    let known = self.declared.contains(&queue);
                    self.script = if known { [].into() } else { [Op::Define(look_for(&queue))].into() };
                    self.script.push_back(Op::Get(get));
                }
            }
        }
    }

    fn next_to_empty(&self) -> Option<String> {
        let standing = STANDING.iter().map(|queue| queue.name);
        let mut names = standing.chain(RACING.iter().copied()).chain(RACING_EMPTY.iter().copied());
        names.find(|name| !self.empty.contains(*name) && !self.missing.contains(*name)).map(str::to_owned)
    }

    fn ask(&mut self, op: Op, out: &mut Vec<Said>) {
        self.tickets += 1;
        self.awaits = Some(op.clone());
        out.push(Said::Submit(self.session, Submit { ticket: Ticket(self.tickets), lane: 0, op }));
    }

    /// Takes in an answer.
    pub fn hear(&mut self, desk: &mut Desk, heard: Heard) {
        let Heard::Outcome(session, ticket, outcome) = heard else { return };
        if session != self.session || ticket != Ticket(self.tickets) {
            return;
        }
        let Some(op) = self.awaits.take() else { return };
        match (op, outcome) {
            (Op::Define(Define::DeclareQueue { name, passive: true, .. }), outcome) => {
                self.looked_for(desk, name, matches!(outcome, Outcome::Done(_)));
            }
            (Op::Get(Get { queue, .. }), Outcome::Done(done)) => self.got(desk, queue, done),
            (Op::Define(Define::DeclareQueue { name, .. }), Outcome::Done(_)) => {
                self.declared.insert(name);
            }
            (_, Outcome::Done(_)) => {}
            // The answer was lost with the node.
            (Op::Define(Define::CreateStream(_)), Outcome::Refused(Refusal::Exists { .. })) => {}
            (op, outcome) => {
                desk.oracle.violate("W16", desk.step, format!("{op:?} was answered by {outcome:?}"));
            }
        }
        self.done |= self.defined && self.script.is_empty();
    }

    fn looked_for(&mut self, desk: &mut Desk, queue: String, found: bool) {
        if !found {
            self.script.retain(|op| !matches!(op, Op::Get(get) if get.queue == queue));
            self.missing.insert(queue.clone());
        }
        desk.event(&Event::LookedFor { queue, found });
    }

    fn got(&mut self, desk: &mut Desk, queue: String, done: Done) {
        let Done::Got { queue: id, delivery, .. } = done else {
            return desk.oracle.violate(
                "W11",
                desk.step,
                format!("a read of '{queue}' was answered by {done:?}"),
            );
        };
        let Some((block, item)) = delivery else {
            self.empty.insert(queue.clone());
            return desk.event(&Event::Emptied { queue });
        };
        // Something came: what was empty may not be so any more. This queue first, to its end.
        self.empty.clear();
        self.script.push_back(Op::Get(Get { queue: queue.clone(), subscription: GETS, no_ack: true }));
        let (at, end) = (item.at as usize, item.at as usize + item.len as usize);
        let bytes = if end <= block.len() { block.slice(at..end) } else { bytes::Bytes::new() };
        let held = Held { subscription: GETS, queue: id, position: item.position, record: record_id(&bytes) };
        let redelivered = item.redelivered;
        let session = self.session;
        desk.event(&Event::Delivered(Delivery { session, queue, held, no_ack: true, redelivered, bytes }));
    }
}
