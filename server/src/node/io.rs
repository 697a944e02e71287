//! An IO thread: its connections, their sessions, and the hub they share.
//!
//! One loop, no futures: sessions and TLS are state machines that take bytes and time, so all that is left is to ask the kernel who
//! is ready (ADR 0003). A turn serves what came from shards first, then reads each ready connection once, then writes each touched
//! connection once. What must hold: nothing here waits; every buffer has a bound, and a connection over a bound is not read (S29).

mod alone;
mod budget;
mod connection;
mod door;
mod leave;
mod login;
mod message;
mod pace;
mod reading;
mod roll;
mod services;
mod size;
mod timer;
mod transport;
mod unfinished;
mod unread;

use crate::node::complaints::Complaints;
use crate::node::registry::RegistryMessage;
use crate::node::seats::Seat;
use crate::node::shard::{self, Time};
use alone::Alone;
use bytes::Buf as _;
use connection::{Connection, Flushed};
use leave::Leaving;
use mio::{Events, Poll, Token};
use reading::Reading;
use roll::Gone;
use slab::Slab;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use stele_hub::Snapshot;
use stele_hub::hub::{Hub, HubMessage, HubOut};
use stele_model::id::{NamespaceId, Now, SessionId};
use stele_model::live::{LiveBatch, LiveView};
use stele_model::op::Op;
use stele_model::outcome::{Outcome, Wake};
use stele_model::refusal::Refusal;
use stele_model::shard::ShardOp;

pub(crate) use budget::{Budget, Budgets};
pub(crate) use door::{Door, Round};
pub(crate) use leave::Farewell;
pub use leave::LameDuck;
pub(crate) use message::{
    Arrival, Dialect, Guests, IoCounters, IoMessage, IoReport, NatsUser, Patience, Rules, Sessions, Source,
    Wiring, mailbox,
};
pub(crate) use services::Inquiry;
pub(crate) use transport::{Security, Silence, TimedTls};

/// Bytes left to write below which a session may give credit back.
const DRAINED_BYTES: usize = 64 << 10;

/// Longest wait for a client to close its end after we closed ours, milliseconds.
const LINGER_MS: u64 = 1_000;

/// Longest wait for clients to take their last bytes at shutdown, milliseconds.
const GOODBYE_MS: u64 = 5_000;

/// Longest wait, at shutdown, for the answers of clients that have taken all their bytes, milliseconds. One that does nothing at the moment
/// does not answer at all.
const ANSWER_MS: u64 = 500;

/// Runs until told to stop; to be called on a thread of its own.
pub(crate) fn run(poll: Poll, wiring: Wiring) {
    let stop = wiring.stop.clone();
    let hub = wiring.hub;
    let door = wiring.hubs[usize::from(hub.0)].clone();
    if let Err(error) = door.run(poll, wiring) {
        stop.fail(format!("io thread {hub}: {error}"));
    }
}

struct Io {
    registry: mio::Registry,
    hub: Hub,
    snapshot: Arc<Snapshot>,
    out: HubOut,
    round: Round,
    /// When it wakes by itself, if it sleeps.
    wakes_at: Option<Now>,
    to_shards: Vec<(Vec<ShardOp>, usize)>,
    connections: Slab<Connection>,
    /// Slots of the server's own sessions, by their namespace.
    services: BTreeMap<NamespaceId, usize>,
    accepted: u64,
    /// Checks of passwords that were left to others, ever.
    checks: u64,
    reading: Reading,
    alone: Alone,
    /// Slots whose session may want something.
    touched: Vec<usize>,
    /// Slots with something to write.
    dirty: Vec<usize>,
    deadlines: BTreeSet<(Now, usize)>,
    /// Memory for what is taken from the inbox.
    messages: Vec<IoMessage>,
    alarms: BTreeMap<Source, String>,
    stopping: Option<Goodbye>,
    leaving: Option<Leaving>,
    gone: Gone,
    counters: IoCounters,
    /// About logins that were refused.
    complaints: Complaints,
    wiring: Wiring,
}

impl Io {
    fn new(registry: mio::Registry, wiring: Wiring) -> io::Result<Self> {
        let reading = Reading::new(&registry, wiring.frame_bytes_max)?;
        let snapshot = wiring.snapshot.load_full();
        let (hubs, shards) = (wiring.hubs.len() as u16, wiring.shards.len() as u16);
        let mut io = Self {
            registry,
            hub: Hub::new(wiring.hub, hubs, shards, wiring.seed, Arc::clone(&snapshot)),
            snapshot,
            out: HubOut::default(),
            round: Round::default(),
            wakes_at: None,
            to_shards: wiring.shards.iter().map(|_| (Vec::new(), 0)).collect(),
            connections: Slab::new(),
            services: BTreeMap::new(),
            accepted: 0,
            checks: 0,
            reading,
            alone: Alone::default(),
            touched: Vec::new(),
            dirty: Vec::new(),
            deadlines: BTreeSet::new(),
            messages: Vec::new(),
            alarms: BTreeMap::new(),
            stopping: None,
            leaving: None,
            gone: Gone::default(),
            counters: IoCounters::default(),
            complaints: Complaints::default(),
            wiring,
        };
        io.keep_services();
        Ok(io)
    }

    /// One turn: what came by the inbox, then each socket that the poll has told of. How long to sleep then; `None`: all is over.
    fn turn(&mut self, events: &Events) -> io::Result<Option<Timeout>> {
        let now = self.wiring.clock.now();
        self.take_inbox(now);
        self.refresh();
        self.pump(now);
        self.send(true);
        self.flush(now);
        self.note_ready(now, events);
        self.read_ready(now);
        self.alone.note(self.counters.reads, self.counters.read_bytes);
        self.expire(now);
        self.leave(now);
        self.pump(now);
        self.send(true);
        self.flush(now);
        self.send(true);
        if self.stopping.as_ref().is_some_and(|goodbye| goodbye.is_over(now, &self.connections)) {
            return Ok(None);
        }
        self.timeout().map(Some)
    }

    /// A turn that another thread makes while this one sleeps: what came by the inbox. Whether this one has to wake all the same.
    fn lent_turn(&mut self) -> bool {
        let now = self.wiring.clock.now();
        self.take_inbox(now);
        self.refresh();
        self.pump(now);
        self.send(false);
        self.flush(now);
        self.send(false);
        let is_early = self.due(now).is_some_and(|due| self.wakes_at.is_none_or(|at| due < at));
        is_early || self.stopping.is_some() || self.leaving.is_some() || self.has_work()
    }

    /// When there is something to do even if nothing comes.
    fn due(&self, now: Now) -> Option<Now> {
        let goodbye = self.stopping.as_ref().map(|goodbye| goodbye.due(now));
        let leave = self.leaving.as_ref().and_then(Leaving::due);
        self.deadlines.first().map(|(due, _)| *due).into_iter().chain(goodbye).chain(leave).min()
    }

    /// Whether there is something to do at once.
    fn has_work(&self) -> bool {
        !self.touched.is_empty() || !self.dirty.is_empty() || self.can_read()
    }

    /// How long to sleep. Only with nothing left to do does the thread say that it sleeps.
    fn timeout(&mut self) -> io::Result<Timeout> {
        let now = self.wiring.clock.now();
        if self.has_work() || self.reading.set_timer(now)? || !self.wiring.inbox.may_sleep() {
            return Ok(Timeout(Some(Duration::ZERO)));
        }
        self.wakes_at = self.due(now);
        let due = self.wakes_at.map(|due| Duration::from_micros(due.0.saturating_sub(now.0)));
        // A connection that waits for a shard to catch up has no event of its own.
        let stalled = self.reading.is_stalled().then_some(Duration::from_millis(1));
        Ok(Timeout(due.into_iter().chain(stalled).min()))
    }

    /// The newest definitions, before anything is routed (S11).
    fn refresh(&mut self) {
        if !Arc::ptr_eq(&self.snapshot, &self.wiring.snapshot.load()) {
            self.snapshot = self.wiring.snapshot.load_full();
            self.hub.replace_snapshot(Arc::clone(&self.snapshot));
            self.keep_services();
        }
    }

    fn message(&mut self, now: Now, message: IoMessage) {
        match message {
            IoMessage::Shard(shard, messages) => {
                for message in messages {
                    self.hub.from_shard(now, shard, message, &mut self.out);
                    // One by one, so that what a session hears keeps the order in which the shard said it.
                    self.tell_sessions(now);
                }
            }
            IoMessage::Registry(call, answer) => self.hub.from_registry(now, call, answer, &mut self.out),
            IoMessage::Hub(message) => {
                self.hub.from_hub(now, message, &mut self.out);
                self.tell_sessions(now);
            }
            IoMessage::Connection(arrival) => self.accept(now, arrival),
            IoMessage::Alarm(source, why) => self.alarm(now, source, why),
            IoMessage::Checked(session, number, fit) => self.checked(now, session, number, fit),
            IoMessage::MakeWay => {
                self.finish_others(now);
                self.take_from_others();
            }
            IoMessage::Leave(farewell) => self.begin_to_leave(now, farewell),
            IoMessage::Rules(rules) => self.read_users_again(now, *rules),
            IoMessage::Clients { listens, to } => {
                // Who asked may have given up waiting.
                let _ = to.try_send(self.roll(now, listens));
            }
            IoMessage::Roll(calling) => self.answer_roll(now, calling),
            IoMessage::Rolled(calling) => self.tell_rolled(now, &calling),
            IoMessage::Inquire(inquiry) => self.inquire(inquiry),
            IoMessage::Report(to) => {
                let inner = self.connections.iter().filter(|(_, connection)| connection.is_inner()).count();
                let connections = (self.connections.len() - inner) as u64;
                let report = IoReport { flow: self.hub.flow().clone(), counters: self.counters, connections };
                // Who asked may have given up waiting.
                let _ = to.try_send(report);
            }
            IoMessage::Stop => {
                self.stopping = Some(Goodbye::at(now));
                self.end_services();
                self.wake_all(now, &Wake::Close("the server is being stopped".to_owned()));
            }
        }
    }

    /// Publishers are blocked by the first alarm, and go on after the last.
    fn alarm(&mut self, now: Now, source: Source, why: Option<String>) {
        let before = self.alarms.is_empty();
        match why.clone() {
            Some(why) => self.alarms.insert(source, why),
            None => self.alarms.remove(&source),
        };
        if before != self.alarms.is_empty() {
            self.wake_all(now, &why.map_or(Wake::Unblocked, Wake::Blocked));
        }
    }

    fn wake_all(&mut self, now: Now, wake: &Wake) {
        for (slot, connection) in &mut self.connections {
            connection.session.wake(now, wake.clone(), &mut connection.outbox);
            self.touched.push(slot);
        }
    }

    fn accept(&mut self, now: Now, arrival: Arrival) {
        let entry = self.connections.vacant_entry();
        self.accepted += 1;
        let id = SessionId { hub: self.wiring.hub, number: (self.accepted << 24) | entry.key() as u64 };
        let session = (self.wiring.rules.sessions)(&arrival, now);
        match Connection::open(id, arrival, session, &self.registry, (Token(entry.key()), now)) {
            Ok(mut connection) => {
                connection.session.greet(now, &mut connection.outbox);
                if let Some(why) = self.alarms.values().next() {
                    connection.session.wake(now, Wake::Blocked(why.clone()), &mut connection.outbox);
                }
                self.counters.accepted += 1;
                self.touched.push(entry.key());
                entry.insert(connection);
            }
            Err(error) => tracing::warn!(%error, "could not take a connection"),
        }
    }

    /// Lets sessions hear what was published live; `view` is the read at hand, and `publisher` whose it is.
    fn tell_heard(&mut self, now: Now, publisher: SessionId, view: LiveView<'_>) {
        let mut lagging = Vec::new();
        for heard in self.out.heard.drain(..) {
            let view = heard.batch.as_ref().map_or(view, |batch| batch.view());
            for (session, hits) in heard.runs {
                let Some((slot, connection)) = find(&mut self.connections, session) else { continue };
                self.counters.messages_out += hits.len() as u64;
                connection.session.live(now, view, &heard.hits[hits], &mut connection.outbox);
                connection.undrained |= view.receipt.is_some();
                connection.pace.deliver();
                connection.heard = true;
                self.touched.push(slot);
                if connection.is_lagging(now, self.wiring.patience) {
                    lagging.push(slot);
                }
            }
            if let Some((slot, connection)) = find(&mut self.connections, publisher)
                && !heard.unheard.is_empty()
            {
                connection.session.unheard(now, view, &heard.unheard, &mut connection.outbox);
                self.touched.push(slot);
            }
        }
        lagging.into_iter().for_each(|slot| self.cut_if_lagging(now, slot));
    }

    /// What has come meanwhile.
    fn take_inbox(&mut self, now: Now) {
        if self.wiring.inbox.is_empty() {
            return;
        }
        let mut messages = std::mem::take(&mut self.messages);
        self.wiring.inbox.take(&mut messages);
        self.wiring.hubs[usize::from(self.wiring.hub.0)].let_go_on(&self.wiring.hubs);
        // After the inbox: whoever is answered by it that something was declared finds it in the snapshot (S11).
        self.refresh();
        for message in messages.drain(..) {
            self.message(now, message);
        }
        self.messages = messages;
    }

    /// Carries what sessions want to the hub and what the hub has to sessions, until both are quiet.
    fn pump(&mut self, now: Now) {
        loop {
            self.tell_sessions(now);
            let Some(slot) = self.touched.pop() else { break };
            self.serve(now, slot);
        }
    }

    /// What one session wants.
    fn serve(&mut self, now: Now, slot: usize) {
        if self.connections.get(slot).is_some_and(|connection| !connection.outbox.submits.is_empty()) {
            // Whoever has seen a subscription of another hub's session reaches it, also from a dialect that stores what it publishes.
            self.take_inbox(now);
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if connection.outbox.authenticate.is_some() {
            while let Some(ask) = self.connections[slot].outbox.authenticate.take() {
                self.authenticate(now, slot, ask);
            }
        }
        self.call_roll(slot);
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let mut submits = std::mem::take(&mut connection.outbox.submits);
        for mut submit in submits.drain(..) {
            self.counters.asked(&submit.op);
            if let Op::Open { namespace } = &submit.op
                && let Some(seat) = &mut connection.seat
                && let Err(refusal) = enter(&self.snapshot, seat, namespace)
            {
                let outcome = Outcome::Refused(refusal);
                connection.session.complete(now, submit.ticket, outcome, &mut connection.outbox);
                connection.resume = true;
                continue;
            }
            if let Op::Read(reads) = &mut submit.op {
                connection.asked.begin(submit.ticket, reads, self.wiring.budgets.unread.room());
            }
            self.hub.submit(now, connection.id, submit, &mut self.out);
        }
        connection.outbox.submits = submits;
        if connection.is_inner() {
            // It has nothing to read, but is asked each time what it wants of the live path.
            self.feed(now, slot, &[]);
            if self.connections.get(slot).is_some_and(|connection| !connection.outbox.submits.is_empty()) {
                self.touched.push(slot);
            }
        } else if connection.resume && connection.unwritten() >= reading::WRITE_BYTES_MAX {
            connection.undrained = true; // Who does not take answers gets no further ones; it goes on when they have left.
        } else if connection.resume {
            connection.resume = false;
            let mut tail = std::mem::take(&mut connection.tail);
            if !tail.is_empty() {
                let used = self.feed(now, slot, &tail);
                tail.advance(used);
                let Some(connection) = self.connections.get_mut(slot) else { return };
                if !tail.is_empty() {
                    connection.tail = tail;
                }
                if used > 0 {
                    self.touched.push(slot);
                }
            }
        }
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(pause) = connection.outbox.pause.take() {
            connection.paused = pause;
        }
        if connection.wants_write() && connection.dirty.is_none() {
            connection.dirty = Some(now);
            self.dirty.push(slot);
        }
        self.listen(slot);
        self.arm(slot);
        self.note_unread(now, slot);
    }

    fn arm(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if let Some(due) = connection.due(self.wiring.patience)
            && connection.armed.is_none_or(|armed| due < armed)
        {
            connection.armed = Some(due);
            self.deadlines.insert((due, slot));
        }
    }

    /// Cuts a connection that does not take what it listens to.
    fn cut_if_lagging(&mut self, now: Now, slot: usize) {
        let is_lagging = |connection: &Connection| connection.is_lagging(now, self.wiring.patience);
        if let Some(connection) = self.connections.get(slot).filter(|connection| is_lagging(connection)) {
            let (session, bytes) = (connection.id.number, connection.unwritten());
            tracing::info!(session, bytes, "cut a slow consumer");
            self.counters.cut += 1;
            self.remove(slot, "slow consumer");
        }
    }

    fn tell_sessions(&mut self, now: Now) {
        self.tell_heard(now, SessionId::default(), LiveBatch::default().view());
        for (session, ticket, outcome) in self.out.completions.drain(..) {
            let Some((slot, connection)) = find(&mut self.connections, session) else { continue };
            self.counters.answered(&outcome);
            connection.asked.end(ticket);
            connection.session.complete(now, ticket, outcome, &mut connection.outbox);
            connection.resume = true;
            self.touched.push(slot);
        }
        for (session, deliveries) in self.out.deliveries.drain(..) {
            let Some((slot, connection)) = find(&mut self.connections, session) else { continue };
            self.counters.messages_out += deliveries.items.len() as u64;
            connection.session.deliver(now, &deliveries, &mut connection.outbox);
            connection.undrained = true;
            self.touched.push(slot);
        }
        for (session, wake) in self.out.wakes.drain(..) {
            let Some((slot, connection)) = find(&mut self.connections, session) else { continue };
            connection.session.wake(now, wake, &mut connection.outbox);
            self.touched.push(slot);
        }
    }

    /// Carries what the hub has for others; `lends`: to the end, where that is little and who should do it sleeps.
    fn send(&mut self, lends: bool) {
        let time = if lends && self.alone.is() { Time::ForCommit } else { Time::ForTurn };
        // Before the shards: who answers what a shard tells of this finds the listeners for the answer.
        for (hub, message) in self.out.hubs.drain(..) {
            let bytes = message.weight();
            self.round.leave(&self.wiring.hubs, hub, IoMessage::Hub(message), bytes);
        }
        for (hub, number) in self.out.passed.drain(..) {
            self.round.leave(&self.wiring.hubs, hub, IoMessage::Hub(HubMessage::Passed { number }), 0);
        }
        for (shard, op) in self.out.shards.drain(..) {
            let (ops, bytes) = &mut self.to_shards[usize::from(shard.0)];
            *bytes += shard::weight(&op);
            ops.push(op);
        }
        for ((ops, bytes), shard) in self.to_shards.iter_mut().zip(&self.wiring.shards) {
            if !ops.is_empty() {
                shard.send(std::mem::take(ops), std::mem::take(bytes), time);
            }
        }
        for op in self.out.registry.drain(..) {
            self.wiring.registry.send(RegistryMessage::Op(op), 0);
        }
        self.round.finish(&self.wiring.hubs, lends);
    }

    /// Writes what is to be written, each connection once.
    fn flush(&mut self, now: Now) {
        let may_gather = self.may_gather(now);
        for slot in std::mem::take(&mut self.dirty) {
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            let since = connection.dirty.unwrap_or(now);
            if may_gather && connection.may_gather() && !pace::is_gathered(now, since, connection.unwritten())
            {
                self.dirty.push(slot);
                continue;
            }
            connection.dirty = None;
            match connection.flush(now) {
                Ok(Flushed { bytes, more }) => {
                    self.counters.writes += u64::from(bytes > 0);
                    self.counters.written_bytes += bytes as u64;
                    if more {
                        connection.dirty = Some(now);
                        self.dirty.push(slot);
                    }
                }
                Err(error) => {
                    self.remove(slot, &error.to_string());
                    continue;
                }
            }
            if connection.undrained && connection.unwritten() < DRAINED_BYTES {
                connection.undrained = false;
                connection.session.wake(now, Wake::Drained, &mut connection.outbox);
                self.touched.push(slot);
            }
            if connection.outbox.close.is_some() && connection.unwritten() == 0 && !connection.lingering {
                self.linger(now, slot);
            } else if connection.stuck.is_some() {
                self.arm(slot);
                self.cut_if_lagging(now, slot);
            }
            self.note_unread(now, slot);
        }
        self.pump_quietly(now);
    }

    /// After a flush: sessions may have given credit back, or written a little more; that goes out with the next turn.
    fn pump_quietly(&mut self, now: Now) {
        if !self.touched.is_empty() {
            self.pump(now);
        }
    }

    /// All is said: close our end, and wait a moment for the client to close its own, so that it can read our last words.
    fn linger(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        tracing::debug!(session = connection.id.number, why = connection.outbox.close, "closing");
        if connection.close_write().is_err() {
            return self.remove(slot, "closed");
        }
        connection.lingering = true;
        let due = now.plus_ms(LINGER_MS);
        connection.armed = Some(due);
        self.deadlines.insert((due, slot));
        self.hub.detach(self.connections[slot].id, &mut self.out);
    }

    fn expire(&mut self, now: Now) {
        while let Some(&(due, slot)) = self.deadlines.first()
            && due <= now
        {
            self.deadlines.pop_first();
            let Some(connection) = self.connections.get_mut(slot) else { continue };
            if connection.armed != Some(due) {
                continue;
            }
            connection.armed = None;
            if connection.lingering {
                self.remove(slot, "closed");
                continue;
            }
            if connection.is_late(now) {
                self.remove(slot, "TLS was not agreed on in time");
                continue;
            }
            if connection.session.deadline().is_some_and(|due| due <= now) {
                connection.session.expire(now, &mut connection.outbox);
                connection.resume = true;
            }
            self.touched.push(slot);
            self.cut_if_lagging(now, slot);
        }
    }

    fn remove(&mut self, slot: usize, why: &str) {
        let Some(mut connection) = self.connections.try_remove(slot) else { return };
        self.forget_unfinished(slot, &mut connection);
        self.forget_unread(slot, &mut connection);
        tracing::debug!(session = connection.id.number, why, "connection is gone");
        self.gone.note(self.wiring.clock.now(), &connection, why);
        connection.shut(&self.registry);
        if !connection.lingering {
            self.hub.detach(connection.id, &mut self.out);
        }
    }
}

/// How long a poll may sleep at most.
struct Timeout(Option<Duration>);

/// How long a thread that is to end waits for its clients.
struct Goodbye {
    /// For their answers.
    answers: Now,
    /// For whatever they have not read.
    all: Now,
}

impl Goodbye {
    fn at(now: Now) -> Self {
        Self { answers: now.plus_ms(ANSWER_MS), all: now.plus_ms(GOODBYE_MS) }
    }

    /// When to look next, at the latest.
    fn due(&self, now: Now) -> Now {
        if now < self.answers { self.answers } else { self.all }
    }

    fn is_over(&self, now: Now, connections: &Slab<Connection>) -> bool {
        let all_told = || connections.iter().all(|(_, connection)| connection.unwritten() == 0);
        connections.is_empty() || self.all <= now || (self.answers <= now && all_told())
    }
}

fn find(connections: &mut Slab<Connection>, session: SessionId) -> Option<(usize, &mut Connection)> {
    let slot = (session.number & 0xff_ffff) as usize;
    let connection = connections.get_mut(slot)?;
    (connection.id == session && !connection.lingering).then_some((slot, connection))
}

/// A place in the namespace that a session wants to work in. One that does not exist is the hub's to refuse.
fn enter(snapshot: &Snapshot, seat: &mut Seat, name: &str) -> Result<(), Refusal> {
    let Some(namespace) = snapshot.namespace(name) else { return Ok(()) };
    let full = |max| Refusal::Limit { what: format!("connections in vhost '{name}'"), max };
    seat.enter(namespace.id, namespace.connections_max).map_err(full)
}
