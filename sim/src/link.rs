//! A client's connection to its hub, as far as all kinds of simulated clients ([`crate::client`], [`crate::streamer`], [`crate::taker`])
//! have it alike. What they do on it is theirs.

use crate::client::{Heard, Said};
use crate::desk::Desk;
use crate::history::{Event, Session};
use std::collections::BTreeMap;
use std::fmt::Debug;
use stele_model::id::{HubId, SessionId, Ticket};
use stele_model::op::{Op, Submit};
use stele_model::outcome::Outcome;

/// Whether a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Down,
    Opening,
    Up,
    /// It will not come back.
    Over,
}

/// A client's sessions, one after the other; `A` is what a ticket stands for.
#[derive(Debug)]
pub(crate) struct Line<A> {
    pub(crate) hub: HubId,
    pub(crate) link: Link,
    /// The last one.
    pub(crate) session: SessionId,
    /// Requests without an answer.
    pub(crate) awaited: BTreeMap<Ticket, A>,
    tickets: u64,
    out: Vec<Said>,
}

impl<A: Debug> Line<A> {
    pub(crate) fn new(hub: HubId) -> Self {
        let (link, session) = (Link::Down, SessionId::default());
        Self { hub, link, session, awaited: BTreeMap::new(), tickets: 0, out: Vec::new() }
    }

    pub(crate) fn connect(&mut self, desk: &mut Desk, opening: A) {
        self.session = desk.next_session(self.hub);
        self.link = Link::Opening;
        self.out.push(Said::Connect(self.session));
        self.ask(0, Op::Open { namespace: "/".to_owned() }, opening);
    }

    pub(crate) fn disconnect(&mut self, desk: &mut Desk) {
        self.out.push(Said::Disconnect(self.session));
        desk.event(&Event::SessionEnded(self.session));
        self.link = Link::Down;
        self.awaited.clear();
    }

    /// The node has stopped.
    pub(crate) fn cut(&mut self) {
        if self.link != Link::Over {
            self.link = Link::Down;
        }
        self.awaited.clear();
    }

    pub(crate) fn ask(&mut self, lane: u16, op: Op, asked: A) {
        self.tell(lane, op);
        self.awaited.insert(Ticket(self.tickets), asked);
    }

    /// A request without an answer.
    pub(crate) fn tell(&mut self, lane: u16, op: Op) {
        let ticket = Ticket(self.number());
        self.out.push(Said::Submit(self.session, Submit { ticket, lane, op }));
    }

    /// One that no request has.
    pub(crate) fn number(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Whether it arrives: what is meant for an earlier session is passed over.
    pub(crate) fn hears(&self, heard: &Heard) -> bool {
        heard.to() == self.session && matches!(self.link, Link::Opening | Link::Up)
    }

    /// What was answered.
    pub(crate) fn answered(&mut self, desk: &mut Desk, ticket: Ticket, outcome: &Outcome) -> Option<A> {
        let asked = self.awaited.remove(&ticket);
        if asked.is_none() {
            let what = format!("an answer to nothing: ticket {ticket}, {outcome:?}");
            desk.oracle.violate("W11", desk.step, what);
        }
        asked
    }

    /// All that is to be said by now.
    pub(crate) fn said(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.out)
    }

    /// What it waits for, for a report.
    pub(crate) fn awaits(&self) -> String {
        format!("{} awaits {:?}", Session(self.session), self.awaited)
    }
}

/// An answer of another kind than was asked for.
pub(crate) fn misfits(desk: &mut Desk, asked: &impl Debug, outcome: &Outcome) {
    desk.oracle.violate("W11", desk.step, format!("{asked:?} was answered by {outcome:?}"));
}
