//! A shard's thread: takes what hubs and the registry send, turns the runner, and carries what has become durable to where it goes.

use crate::node::clock::Clock;
use crate::node::inbox::Inbox;
use crate::node::io::{IoMessage, Source};
use crate::node::readers::Readers;
use crate::node::registry::RegistryMessage;
use crate::node::stop::Stop;
use bytes::Bytes;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;
use stele_core::runner::dispatch::{Dispatch, Out};
use stele_core::runner::{Runner, Stats};
use stele_core::shard::Shard;
use stele_model::id::ShardId;
use stele_model::log::{LogStore, ReadError};
use stele_model::publish::ShardPublish;
use stele_model::refusal::Refusal;
use stele_model::shard::{QueueCounts, ShardOp, ToHub};

/// Bytes of blocks that may wait for the disk before the shard stops taking operations (durable-path §3, 12).
const RUN_AHEAD_BYTES_MAX: usize = 16 << 20;

/// Bytes of operations between two turns: about one block.
const TURN_BYTES: usize = 1 << 20;

/// What a shard's thread is sent.
pub(crate) enum ShardMessage {
    /// Operations, in order.
    Ops(Vec<ShardOp>),
    /// Records that were asked for.
    Fetched {
        /// The fetch.
        number: u64,
        /// Its records.
        records: Result<Vec<Bytes>, ReadError>,
    },
    /// Tell what you hold.
    Report(SyncSender<ShardReport>),
    /// Write everything and end.
    Stop,
}

/// What a shard holds and has done.
#[derive(Clone, Debug)]
pub(crate) struct ShardReport {
    /// Its queues.
    pub queues: Vec<QueueCounts>,
    /// What its runner did.
    pub stats: Stats,
}

/// Where a shard's messages go.
pub(crate) struct Wiring {
    /// Which shard.
    pub shard: ShardId,
    /// Its own inbox.
    pub inbox: Inbox<ShardMessage>,
    /// By hub.
    pub hubs: Vec<Inbox<IoMessage>>,
    /// The registry.
    pub registry: Inbox<RegistryMessage>,
    /// The reader pool.
    pub readers: Readers,
    /// The time.
    pub clock: Arc<Clock>,
    /// Told when the log breaks.
    pub stop: Stop,
}

/// Bytes an operation brings, for the bounds.
#[must_use]
pub(crate) fn weight(op: &ShardOp) -> usize {
    match op {
        ShardOp::Publish(ShardPublish { batch, .. }) => batch.bytes.len(),
        _ => 0,
    }
}

/// Runs until told to stop; to be called on a thread of its own.
pub(crate) fn run<L: LogStore>(mut runner: Runner<Shard, L>, wiring: &Wiring) {
    let mut thread = ShardThread {
        dispatch: Dispatch::new(wiring.shard, wiring.hubs.len() as u16),
        wiring,
        effects: Vec::new(),
        out: Vec::new(),
        to_hubs: wiring.hubs.iter().map(|_| Vec::new()).collect(),
        stopping: false,
        full: false,
    };
    let mut messages = Vec::new();
    while !(thread.stopping && runner.settled()) {
        wiring.inbox.take(&mut messages);
        let mut weight = 0;
        for message in messages.drain(..) {
            weight += thread.message(&mut runner, message);
            if weight >= TURN_BYTES {
                thread.turn(&mut runner, false);
                thread.hold_back(&mut runner);
                weight = 0;
            }
        }
        let idle = wiring.inbox.is_empty();
        thread.turn(&mut runner, idle);
        if let Some(why) = runner.broken() {
            return wiring.stop.fail(format!("shard {}: {why}", wiring.shard));
        }
        if idle && !(thread.stopping && runner.settled()) {
            thread.sleep(&runner);
        }
    }
}

struct ShardThread<'w> {
    wiring: &'w Wiring,
    dispatch: Dispatch,
    effects: Vec<stele_model::shard::ShardEffect>,
    out: Vec<Out>,
    to_hubs: Vec<Vec<ToHub>>,
    stopping: bool,
    /// The log has no space: publishers are refused and told to stop, readers drain.
    full: bool,
}

impl ShardThread<'_> {
    /// Takes one message; returns its weight.
    fn message<L: LogStore>(&mut self, runner: &mut Runner<Shard, L>, message: ShardMessage) -> usize {
        match message {
            ShardMessage::Ops(ops) => {
                let now = self.wiring.clock.now();
                let mut bytes = 0;
                for op in ops {
                    bytes += weight(&op);
                    match op {
                        // A dead letter is already stored; it moves even now.
                        ShardOp::Publish(publish) if self.full && publish.link.is_none() => {
                            self.refuse(&publish)
                        }
                        op => runner.take(now, op),
                    }
                }
                return bytes;
            }
            ShardMessage::Fetched { number, records } => {
                if let Err(error) = self.dispatch.fetched(number, records, &mut self.out) {
                    self.wiring.stop.fail(format!("shard {}: read a record: {error:?}", self.wiring.shard));
                }
            }
            ShardMessage::Report(to) => {
                let queues = runner.machine().counts().collect();
                let report = ShardReport { queues, stats: runner.stats() };
                // Who asked may have given up waiting.
                let _ = to.try_send(report);
            }
            ShardMessage::Stop => {
                self.stopping = true;
                runner.flush();
            }
        }
        0
    }

    fn turn<L: LogStore>(&mut self, runner: &mut Runner<Shard, L>, idle: bool) {
        if self.stopping {
            runner.flush();
        }
        runner.turn(self.wiring.clock.now(), idle, &mut self.effects);
        for effect in self.effects.drain(..) {
            self.dispatch.effect(effect, |lsn| runner.block(lsn), &mut self.out);
        }
        self.carry();
        runner.set_fetches(self.dispatch.fetches());
        self.note_full(runner.full());
    }

    fn note_full(&mut self, full: bool) {
        if self.full == full {
            return;
        }
        self.full = full;
        tracing::warn!(shard = %self.wiring.shard, full, "space for the log");
        let why = full.then(|| "no space for the log".to_owned());
        for hub in &self.wiring.hubs {
            hub.send(IoMessage::Alarm(Source::Log(self.wiring.shard), why.clone()), 0);
        }
    }

    fn refuse(&mut self, publish: &ShardPublish) {
        let refusal = Refusal::Unavailable { why: "no space for the log".to_owned() };
        let items = publish.runs.iter().flat_map(|run| run.items.clone());
        let refused = items.map(|item| (item, refusal.clone())).collect();
        let answer = ToHub::Published { call: publish.call, refused, gone: Vec::new() };
        self.out.push(Out::Hub(publish.hub, answer));
    }

    fn carry(&mut self) {
        for out in self.out.drain(..) {
            match out {
                Out::Hub(hub, message) => self.to_hubs[usize::from(hub.0)].push(message),
                Out::Registry(op) => self.wiring.registry.send(RegistryMessage::Op(op), 0),
                Out::Fetch(fetch) => self.wiring.readers.fetch(self.wiring.shard, fetch),
            }
        }
        for (messages, inbox) in self.to_hubs.iter_mut().zip(&self.wiring.hubs) {
            if !messages.is_empty() {
                inbox.send(IoMessage::Shard(self.wiring.shard, std::mem::take(messages)), 0);
            }
        }
    }

    /// The disk is behind: wait for it before taking more. Deliveries of what has become durable go on.
    fn hold_back<L: LogStore>(&mut self, runner: &mut Runner<Shard, L>) {
        while runner.backlog_bytes() >= RUN_AHEAD_BYTES_MAX && runner.broken().is_none() && !runner.full() {
            thread::park_timeout(Duration::from_millis(5));
            self.turn(runner, false);
        }
    }

    fn sleep<L: LogStore>(&self, runner: &Runner<Shard, L>) {
        let now = self.wiring.clock.now();
        let wait = runner.deadline().map(|due| Duration::from_micros(due.0.saturating_sub(now.0)));
        if wait == Some(Duration::ZERO) || !self.wiring.inbox.may_sleep() {
            return;
        }
        // Completions of the journal and new messages unpark; the bound only guards against a clock that jumped.
        thread::park_timeout(wait.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(1)));
        self.wiring.inbox.awake();
    }
}
