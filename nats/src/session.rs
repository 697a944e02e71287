//! One client's connection: commands in, messages out.
//!
//! The driver calls it as [`stele_model::session::Session`]. One read becomes one [`stele_model::live::Live`]: publishes as ranges into
//! the bytes that came, subscriptions between them. Phases: greeted (INFO was sent), logging in (input waits), ready, closed. What must hold: what
//! a client is answered for is done before the answer (a PING is held until what came before it has been taken); a number of a subscription is
//! not used again within the read in which it was freed; every buffer has a bound. Parts: [`connect`] (who is it),
//! [`permissions`], [`publish`], [`subscribe`], [`deliver`], [`answers`] (what the server itself says), [`pings`], [`partial`] (messages
//! longer than a read).

mod answers;
mod connect;
mod deliver;
mod partial;
mod permissions;
mod pings;
mod publish;
mod repeat;
mod subscribe;

use crate::codec::options::Options;
use crate::codec::{Command, Parsed, Violation, parse, plain_publish, write};
use crate::jet::serve::Jet;
use crate::profile::Profile;
use answers::{Answers, Questions};
use bytes::Bytes;
use partial::Partial;
use permissions::Permissions;
use pings::Pings;
use std::sync::Arc;
use stele_model::id::{Now, Ticket};
use stele_model::live::{LiveHit, LiveView, SubjectGrants};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Deliveries, Outcome, Wake};
use stele_model::roll::Clients;
use stele_model::session::{ClientView, Outbox, Principal, Rejected, Session, Traffic};
use subscribe::Subscriptions;

/// The dialect's word in the flow graph, and the form of its messages in live batches.
pub const DIALECT: &str = "nats";

/// What a driver knows of a new connection.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its number, unique within the server.
    pub client_id: u64,
    /// Where it comes from.
    pub ip: String,
    /// Random, to be signed by clients that log in by a key.
    pub nonce: String,
}

/// See the module.
pub struct Connection {
    profile: Arc<Profile>,
    arrival: Arrival,
    phase: Phase,
    options: Options,
    /// What the client calls itself, for listings.
    name: String,
    /// The user's name, once it is known.
    user: String,
    /// The namespace that it works in.
    namespace: String,
    permissions: Permissions,
    answers: Answers,
    questions: Questions,
    subscriptions: Subscriptions,
    partial: Partial,
    pings: Pings,
    came: Now,
    /// When it must have said who it is.
    login_due: Option<Now>,
    /// It was told which account it is in.
    told_account: bool,
    /// It was told that the server ends before long.
    told_leaving: bool,
    /// Its permissions have changed since it subscribed.
    rights_changed: bool,
    /// It has said CONNECT.
    connected: bool,
    /// What it asked of JetStream.
    jet: Jet,
    traffic: Traffic,
    /// Where it says that the client's bytes have left, when they have.
    receipts: Vec<Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// INFO was sent; nothing is known of the client.
    Greeted,
    /// The driver is asked who it is, or the hub to let it in. Input waits.
    Entering,
    /// Commands are taken.
    Ready,
    /// The last words are said.
    Closed,
}

/// Requests and batches of JetStream's that may be unanswered; above it no command is taken.
const JET_OPEN_MAX: usize = 4096;

/// The ticket of the one request that a login makes.
const OPEN: Ticket = Ticket(0);

impl Connection {
    /// A connection that was just accepted.
    #[must_use]
    pub fn new(profile: Arc<Profile>, arrival: Arrival, now: Now) -> Self {
        let login_due = profile.auth_required.then(|| now.plus_ms(profile.auth_timeout_ms));
        Self {
            user: String::new(),
            namespace: profile.namespace.clone(),
            permissions: Permissions::default(),
            answers: Answers::default(),
            questions: Questions::default(),
            subscriptions: Subscriptions::new(profile.subscriptions_max),
            pings: Pings::new(now, profile.ping_interval_ms, profile.pings_out_max),
            profile,
            jet: Jet::new(seed(&arrival.nonce)),
            traffic: Traffic::default(),
            arrival,
            phase: Phase::Greeted,
            came: now,
            options: Options::default(),
            name: String::new(),
            partial: Partial::default(),
            login_due,
            told_account: false,
            told_leaving: false,
            rights_changed: false,
            connected: false,
            receipts: Vec::new(),
        }
    }

    /// Takes a command; `false`: not now, it is to be offered again. `at` is where it begins in `input`.
    fn take(
        &mut self,
        now: Now,
        command: &Command<'_>,
        (input, at): (&[u8], usize),
        out: &mut Outbox,
    ) -> Result<bool, Violation> {
        if self.phase == Phase::Greeted && !matches!(command, Command::Connect(_)) {
            self.enter_unnamed(out);
            return Ok(false);
        }
        match command {
            Command::Publish(publish) => self.publish(now, (input, at), publish, out),
            Command::Subscribe { subject, queue, sid } => self.subscribe(subject, *queue, sid, out),
            Command::Unsubscribe { sid, max } => self.unsubscribe(sid, *max, out),
            Command::Connect(json) => {
                if !out.live.is_empty() {
                    return Ok(later(out));
                }
                self.connect(now, json, out)?;
            }
            Command::Ping => {
                // What the client learns by our answer is that all before it was taken: so that has to be.
                if !out.live.is_empty() {
                    return Ok(later(out));
                }
                self.answer_ping(out);
            }
            Command::Pong => self.pings.answered(now),
            Command::Idle => {}
            Command::Error => self.close(None, "the client has told of an error", out),
        }
        Ok(true)
    }

    fn answer_ping(&mut self, out: &mut Outbox) {
        out.write.buffer().extend_from_slice(write::PONG);
        if self.options.protocol >= 1 && !self.told_account {
            self.told_account = true;
            self.tell_account(out);
        }
    }

    fn ok(&self, out: &mut Outbox) {
        if self.options.verbose {
            out.write.buffer().extend_from_slice(write::OK);
        }
    }

    fn error(out: &mut Outbox, text: &str) {
        write::error(out.write.buffer(), text);
    }

    /// Says why, if there is something to say, and ends the connection.
    fn close(&mut self, text: Option<&str>, why: &str, out: &mut Outbox) {
        if self.phase == Phase::Closed {
            return;
        }
        self.phase = Phase::Closed;
        self.partial = Partial::default();
        if let Some(text) = text {
            Self::error(out, text);
        }
        out.close = Some(why.to_owned());
    }

    fn violate(&mut self, violation: Violation, out: &mut Outbox) {
        let text = match violation {
            Violation::UnknownOperation => Some("Unknown Protocol Operation"),
            Violation::ControlLine => Some("maximum control line exceeded"),
            Violation::Payload => Some("Maximum Payload Violation"),
            Violation::Arguments => None,
        };
        self.close(text, text.unwrap_or("arguments of a command make no sense"), out);
    }

    fn takes_input(&self) -> bool {
        matches!(self.phase, Phase::Greeted | Phase::Ready)
    }
}

/// A number of random text.
fn seed(nonce: &str) -> u64 {
    nonce
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, octet| (sum ^ u64::from(octet)).wrapping_mul(0x0100_0000_01b3))
}

/// To be done when the live work before it is.
fn later(out: &mut Outbox) -> bool {
    out.again = true;
    false
}

impl Session for Connection {
    fn greet(&mut self, _: Now, out: &mut Outbox) {
        let line = self.info().line();
        out.write.buffer().extend_from_slice(line.as_bytes());
    }

    fn receive(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> usize {
        self.pings.heard(now);
        self.subscriptions.reclaim();
        out.live.frames = DIALECT;
        out.live.mute = !self.options.echo;
        out.live.ticket = self.jet.batch_ticket();
        if std::mem::take(&mut self.rights_changed) {
            self.end_what_is_not_allowed(out);
        }
        if !self.partial.is_empty() {
            let used = self.receive_partial(now, input, out);
            self.answers.leave(out);
            self.jet.flush(out);
            return used;
        }
        let mut used = 0;
        while self.takes_input() && self.jet.open() < JET_OPEN_MAX {
            if self.phase == Phase::Ready
                && let Some((publish, len)) = plain_publish(&input[used..], &self.profile.limits)
            {
                self.publish(now, (input, used), &publish, out);
                used += len + self.repeat((input, used), (&publish, len), out);
                continue;
            }
            match parse(&input[used..], &self.profile.limits) {
                Ok(Parsed::Command(command, len)) => match self.take(now, &command, (input, used), out) {
                    Ok(true) => used += len,
                    Ok(false) => break,
                    Err(violation) => self.violate(violation, out),
                },
                Ok(Parsed::Incomplete(len)) => {
                    if let Some(len) = len.filter(|len| *len > partial::LONG_BYTES) {
                        self.partial.begin(&input[used..], len);
                        used = input.len();
                    }
                    break;
                }
                Err(violation) => self.violate(violation, out),
            }
        }
        self.answers.leave(out);
        self.jet.flush(out);
        if self.phase == Phase::Closed { input.len() } else { used }
    }

    fn complete(&mut self, now: Now, ticket: Ticket, outcome: Outcome, out: &mut Outbox) {
        if Jet::is_mine(ticket) {
            self.jet.complete(now, ticket, outcome);
            self.jet.flush(out);
        } else if ticket == OPEN && self.phase == Phase::Entering {
            self.opened(now, &outcome, out);
        }
    }

    fn admitted(&mut self, namespace: &str, grants: Option<Arc<SubjectGrants>>) {
        namespace.clone_into(&mut self.namespace);
        self.permissions = Permissions::of(grants);
    }

    fn authenticated(&mut self, _: Now, result: Result<Principal, Rejected>, out: &mut Outbox) {
        match result {
            _ if self.phase == Phase::Ready => match result {
                Ok(_) => self.rights_changed = true,
                Err(Rejected) => self.refuse_login(out),
            },
            _ if self.phase != Phase::Entering => {}
            Ok(principal) => {
                self.user = principal.name;
                let op = Op::Open { namespace: self.namespace.clone() };
                out.submits.push(Submit { ticket: OPEN, lane: 0, op });
            }
            Err(Rejected) => self.refuse_login(out),
        }
    }

    fn rolled(&mut self, now: Now, clients: &Clients, out: &mut Outbox) {
        self.answer_question(now, clients, out);
    }

    fn deliver(&mut self, _: Now, _: &Deliveries, _: &mut Outbox) {
        unreachable!("a NATS session never subscribes to a queue");
    }

    fn live(&mut self, now: Now, view: LiveView<'_>, hits: &[LiveHit], out: &mut Outbox) {
        self.deliver_live(now, view, hits, out);
        self.owe_receipt(view);
    }

    fn unheard(&mut self, _: Now, view: LiveView<'_>, hits: &[LiveHit], out: &mut Outbox) {
        self.deliver_unheard(view, hits, out);
    }

    fn unfinished_bytes(&self) -> usize {
        self.partial.bytes_len()
    }

    fn wake(&mut self, _: Now, what: Wake, out: &mut Outbox) {
        match what {
            Wake::Leaving => self.tell_leaving(out),
            Wake::Close(why) => {
                self.end_pulls(out);
                self.tell_leaving(out);
                self.close(None, &why, out);
            }
            Wake::Drained => self.send_receipts(out),
            // Nothing that this dialect publishes waits for a disk before it is read.
            Wake::Blocked(_) | Wake::Unblocked => {}
            Wake::Cancelled { .. } | Wake::Appended { .. } => {}
            Wake::Shared(news) => {
                self.jet.shared(&news);
                self.jet.flush(out);
            }
            Wake::Interest { is_there, .. } => self.jet.listened(is_there),
            Wake::Echo(_) => {}
        }
    }

    fn deadline(&self) -> Option<Now> {
        match self.phase {
            Phase::Closed => None,
            Phase::Ready => Some(self.pings.due()),
            Phase::Greeted | Phase::Entering => self.login_due,
        }
    }

    fn expire(&mut self, now: Now, out: &mut Outbox) {
        match self.phase {
            Phase::Ready => match self.pings.expire(now) {
                pings::Due::Nothing => {}
                pings::Due::Ask => out.write.buffer().extend_from_slice(write::PING),
                pings::Due::Stale => self.close(Some("Stale Connection"), "the client does not answer", out),
            },
            Phase::Greeted | Phase::Entering if self.login_due.is_some_and(|due| due <= now) => {
                self.close(Some("Authentication Timeout"), "the login took too long", out);
            }
            Phase::Greeted | Phase::Entering | Phase::Closed => {}
        }
    }

    fn client(&self) -> &str {
        &self.name
    }

    fn view(&self, listens: bool) -> Option<ClientView> {
        let Options { name, lang, version, .. } = &self.options;
        Some(ClientView {
            number: self.arrival.client_id,
            name: name.clone(),
            language: lang.clone(),
            version: version.clone(),
            user: self.user.clone(),
            account: self.account().to_owned(),
            heard: self.pings.last_heard(),
            answered_in_us: self.pings.answered_in_us(),
            traffic: Traffic { subscribed: self.subscriptions.made(), ..self.traffic },
            listens_count: self.subscriptions.len(),
            listens: self.subscriptions.all().filter(|_| listens).map(subscribe::Named::view).collect(),
        })
    }
}
