//! A shard's thread: takes what hubs and the registry send, turns the runner, and carries what has become durable to where it goes.
//!
//! While the thread sleeps, an IO thread that brings something light takes the turn in its place ([`Lend`]): a settle that frees the next
//! delivery is answered without waking anybody. Whoever turns the machine holds its lock; what may start a commit is left to the thread, unless
//! the disk is quick and nobody else waits for the IO thread. The same the other way round: with nothing else to do, the thread itself brings
//! one answer to its socket (ADR 0011).

use crate::node::bell::{Bell, Nap};
use crate::node::clock::Clock;
use crate::node::inbox::Inbox;
use crate::node::io::{self, IoMessage, Source};
use crate::node::memory::Memory;
use crate::node::readers::Readers;
use crate::node::registry::RegistryMessage;
use crate::node::rest::{Lookouts, Rest};
use crate::node::stop::Stop;
use bytes::Bytes;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use stele_core::runner::dispatch::{Dispatch, Out};
use stele_core::runner::{Runner, Stats};
use stele_core::shard::Shard;
use stele_model::id::{HubId, Now, ShardId};
use stele_model::log::{LogStore, ReadError};
use stele_model::publish::ShardPublish;
use stele_model::refusal::Refusal;
use stele_model::shard::{QueueCounts, ShardOp, ToHub};
use stele_model::stream::ShardAppend;

/// Bytes of blocks that may wait for the disk before the shard stops taking operations (durable-path §3, 12).
const RUN_AHEAD_BYTES_MAX: usize = 16 << 20;

/// Bytes of operations between two turns: about one block.
const TURN_BYTES: usize = 1 << 20;

/// Longest sleep of a shard's thread, milliseconds.
const SLEEP_MS_MAX: u64 = 1_000;

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
    /// Rung when something is in it, or the journal has something to say.
    pub bell: Arc<Bell>,
    /// Who may look before it sleeps.
    pub lookouts: Lookouts,
    /// By hub.
    pub hubs: Vec<io::Door>,
    /// The registry.
    pub registry: Inbox<RegistryMessage>,
    /// The reader pool.
    pub readers: Readers,
    /// What all shards may keep in memory.
    pub memory: Arc<Memory>,
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
        ShardOp::Append(append) => {
            let parts = append.parts.iter().map(|(_, batch)| batch.bytes.len());
            // What listeners get of them may be a thousand times as much, since it is unpacked.
            let records = append.records.iter().map(|(_, publish)| publish.batch.bytes.len());
            parts.chain(records).sum()
        }
        _ => 0,
    }
}

/// Operations that an IO thread may take through a sleeping shard by itself.
const LENT_OPS_MAX: usize = 64;

/// Turns that an IO thread makes for a sleeping shard before it wakes it after all.
const LENT_TURNS_MAX: u32 = 4;

/// Bytes of what an IO thread commits in a sleeping shard's stead.
const LENT_COMMIT_BYTES_MAX: usize = 8 << 10;

/// Microseconds that commits may have taken lately for an IO thread to wait for one.
const LENT_COMMIT_US_MAX: u64 = 250;

/// Answers of one turn that the shard's thread carries to the end for IO threads that sleep.
const LENT_ANSWERS_MAX: usize = 2;

/// Records in such an answer.
const LENT_RECORDS_MAX: usize = 2;

/// And their bytes.
const LENT_RECORD_BYTES_MAX: usize = 8 << 10;

/// Partitions that such an answer may speak of; a reader of many mostly finds something in one.
const LENT_PARTS_MAX: usize = 64;

/// A shard to send operations to.
#[derive(Clone)]
pub(crate) struct Door {
    inbox: Inbox<ShardMessage>,
    shard: Arc<dyn Lend>,
}

impl Door {
    /// Bytes that wait.
    pub(crate) fn weight(&self) -> usize {
        self.inbox.weight()
    }

    /// Leaves operations of `bytes` bytes, and takes the shard's turn if it sleeps and they are light; or, if the caller has time for one `Commit`,
    /// short.
    pub(crate) fn send(&self, ops: Vec<ShardOp>, bytes: usize, time: Time) {
        let is_light = ops.len() <= LENT_OPS_MAX && ops.iter().all(is_light);
        let commits = !is_light
            && time == Time::ForCommit
            && bytes <= LENT_COMMIT_BYTES_MAX
            && ops.iter().all(is_short);
        if !is_light && !commits {
            self.inbox.send(ShardMessage::Ops(ops), bytes);
        } else if self.inbox.leave(ShardMessage::Ops(ops), bytes) {
            self.shard.lend(commits);
        }
    }
}

/// How long who brings operations to a shard that sleeps may stay with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// For a turn that starts no commit.
    ForTurn,
    /// For one that waits for the disk.
    ForCommit,
}

/// Costs little but for its commit.
fn is_short(op: &ShardOp) -> bool {
    is_light(op) || matches!(op, ShardOp::Publish(_) | ShardOp::Append(_))
}

/// Costs little and starts no commit.
fn is_light(op: &ShardOp) -> bool {
    matches!(
        op,
        ShardOp::Settle { .. }
            | ShardOp::Credit { .. }
            | ShardOp::Get { .. }
            | ShardOp::Status { .. }
            | ShardOp::Read(_)
            | ShardOp::Unwatch { .. }
            | ShardOp::Seek { .. }
    )
}

/// Costs a hub and its session little, and one socket a short write.
fn is_little(message: &ToHub) -> bool {
    match message {
        ToHub::Published { refused, gone, stored, .. } => {
            gone.is_empty() && refused.len() + stored.len() <= LENT_RECORDS_MAX
        }
        ToHub::Appended { parts, .. } => parts.len() <= LENT_RECORDS_MAX,
        ToHub::Deliver { deliveries, .. } => {
            let bytes = deliveries.items.iter().map(|item| item.len as usize).sum::<usize>();
            deliveries.items.len() <= LENT_RECORDS_MAX && bytes <= LENT_RECORD_BYTES_MAX
        }
        ToHub::Read { parts, .. } => {
            let batches = || parts.iter().flatten().flat_map(|part| &part.batches);
            let bytes: usize = batches().map(|batch| batch.len as usize).sum();
            parts.len() <= LENT_PARTS_MAX
                && batches().count() <= LENT_RECORDS_MAX
                && bytes <= LENT_RECORD_BYTES_MAX
        }
        ToHub::Answer { .. } | ToHub::Woken { .. } | ToHub::Cancelled { .. } => true,
        ToHub::Records { .. }
        | ToHub::Got { .. }
        | ToHub::Shared { .. }
        | ToHub::Echo { .. }
        | ToHub::Move(_)
        | ToHub::Sought { .. } => false,
    }
}

/// A shard whose turn another thread can take.
trait Lend: Send + Sync {
    /// The shard's thread sleeps and something is there: do it, or wake the thread. `commits`: it is to be written, and the caller waits for that
    /// if the disk is quick.
    fn lend(&self, commits: bool);
}

/// A shard, to be turned by one thread at a time.
pub(crate) struct Driver<L: LogStore> {
    wiring: Arc<Wiring>,
    machine: Mutex<Machine<L>>,
}

/// What turning needs.
struct Machine<L: LogStore> {
    runner: Runner<Shard, L>,
    thread: ShardThread,
    /// When the thread will wake by itself.
    wakes_at: Now,
    messages: Vec<ShardMessage>,
    commits: Commits,
}

impl<L: LogStore + Send + 'static> Driver<L> {
    /// A shard that nobody turns yet.
    pub(crate) fn new(runner: Runner<Shard, L>, wiring: Wiring) -> Arc<Self> {
        let wiring = Arc::new(wiring);
        let thread = ShardThread {
            dispatch: Dispatch::new(wiring.shard, wiring.hubs.len() as u16),
            wiring: Arc::clone(&wiring),
            effects: Vec::new(),
            out: Vec::new(),
            to_hubs: wiring.hubs.iter().map(|_| Vec::new()).collect(),
            round: io::Round::default(),
            stopping: false,
            full: false,
        };
        let machine =
            Machine { runner, thread, wakes_at: Now(0), messages: Vec::new(), commits: Commits::default() };
        Arc::new(Self { wiring, machine: Mutex::new(machine) })
    }

    /// Where operations for it go in.
    pub(crate) fn door(self: &Arc<Self>) -> Door {
        Door { inbox: self.wiring.inbox.clone(), shard: Arc::<Self>::clone(self) }
    }

    /// Runs until told to stop; to be called on a thread of its own.
    pub(crate) fn run(&self) {
        self.wiring.bell.belongs_to(thread::current());
        let mut rest = Rest::new(self.wiring.lookouts.clone());
        loop {
            let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
            if machine.is_done() {
                return;
            }
            let idle = machine.work();
            if let Some(why) = machine.runner.broken() {
                return self.wiring.stop.fail(format!("shard {}: {why}", self.wiring.shard));
            }
            if !idle || machine.is_done() {
                continue;
            }
            let wait = machine.rest();
            drop(machine);
            if !wait.is_zero() && self.wiring.inbox.may_sleep() {
                // Completions of the journal and new messages ring.
                let Ok(()) = rest.wait(Nap(&self.wiring.bell, wait));
                self.wiring.inbox.awake();
            }
        }
    }
}

impl<L: LogStore + Send + 'static> Lend for Driver<L> {
    fn lend(&self, commits: bool) {
        for _ in 0..LENT_TURNS_MAX {
            // Not ours if the thread has just woken for another reason, or another IO thread is at it.
            let Ok(mut machine) = self.machine.try_lock() else { break };
            if commits && !machine.commits.are_quick() {
                break;
            }
            if machine.take_turn(commits) {
                break;
            }
            drop(machine);
            if self.wiring.inbox.may_sleep() {
                return;
            }
        }
        self.wiring.inbox.rouse();
    }
}

impl<L: LogStore> Machine<L> {
    fn is_done(&self) -> bool {
        self.thread.stopping && self.runner.settled()
    }

    /// The thread's own turn: all that waits. Whether nothing came meanwhile.
    fn work(&mut self) -> bool {
        let Self { runner, thread, messages, commits, .. } = self;
        thread.wiring.inbox.take(messages);
        let mut weight = 0;
        for message in messages.drain(..) {
            weight += thread.message(runner, message);
            if weight >= TURN_BYTES {
                thread.turn(runner, false);
                thread.hold_back(runner);
                weight = 0;
            }
        }
        let idle = thread.wiring.inbox.is_empty();
        thread.turn(runner, idle);
        commits.note(runner.stats());
        idle
    }

    /// A turn in place of the sleeping thread; whether the thread has to wake nevertheless. `commits`: what it begins it also waits for.
    fn take_turn(&mut self, waits: bool) -> bool {
        let Self { runner, thread, messages, commits, .. } = self;
        thread.wiring.inbox.take(messages);
        for message in messages.drain(..) {
            thread.message(runner, message);
        }
        thread.turn(runner, waits);
        commits.note(runner.stats());
        let due = runner.deadline().is_some_and(|due| due < self.wakes_at);
        due || thread.stopping || runner.broken().is_some()
    }

    /// How long the thread may sleep.
    fn rest(&mut self) -> Duration {
        let now = self.thread.wiring.clock.log_now();
        // The bound only guards against a clock that jumped.
        let latest = now.plus_ms(SLEEP_MS_MAX);
        self.wakes_at = self.runner.deadline().map_or(latest, |due| due.min(latest));
        Duration::from_micros(self.wakes_at.0.saturating_sub(now.0))
    }
}

/// How long commits have taken lately.
#[derive(Debug, Default)]
struct Commits {
    /// All of them so far, and their microseconds.
    seen: (u64, u64),
    /// Mean of the last ones, microseconds; the older the less it counts.
    mean_us: u64,
}

impl Commits {
    fn note(&mut self, stats: Stats) {
        let (commits, us) = (stats.commits - self.seen.0, stats.commit_us - self.seen.1);
        let Some(each) = us.checked_div(commits) else { return };
        self.seen = (stats.commits, stats.commit_us);
        // One that took very long says little of the next.
        self.mean_us = (self.mean_us * 15 + each.min(2 * LENT_COMMIT_US_MAX)) / 16;
    }

    fn are_quick(&self) -> bool {
        self.mean_us <= LENT_COMMIT_US_MAX
    }
}

struct ShardThread {
    wiring: Arc<Wiring>,
    dispatch: Dispatch,
    effects: Vec<stele_model::shard::ShardEffect>,
    out: Vec<Out>,
    to_hubs: Vec<Vec<ToHub>>,
    round: io::Round,
    stopping: bool,
    /// The log has no space: publishers are refused and told to stop, readers drain.
    full: bool,
}

impl ShardThread {
    /// Takes one message; returns its weight.
    fn message<L: LogStore>(&mut self, runner: &mut Runner<Shard, L>, message: ShardMessage) -> usize {
        match message {
            ShardMessage::Ops(ops) => {
                let now = self.wiring.clock.log_now();
                let mut bytes = 0;
                for op in ops {
                    bytes += weight(&op);
                    match op {
                        // A dead letter is already stored; it moves even now.
                        ShardOp::Publish(publish) if self.full && publish.link.is_none() => {
                            self.refuse(&publish)
                        }
                        ShardOp::Append(append) if self.full => self.refuse_append(&append),
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
        runner.turn(self.wiring.clock.log_now(), idle, &mut self.effects);
        for effect in self.effects.drain(..) {
            self.dispatch.effect(effect, |lsn| runner.block(lsn), &mut self.out);
        }
        self.carry(idle);
        runner.set_fetches(self.dispatch.fetches());
        let Wiring { shard, memory, .. } = &*self.wiring;
        runner.set_memory_max(memory.granted(usize::from(shard.0), runner.memory_bytes()));
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

    fn refuse_append(&mut self, append: &ShardAppend) {
        let parts = append.parts.iter().map(|_| Err(no_space())).collect();
        self.out.push(Out::Hub(append.hub, ToHub::Appended { call: append.call, parts }));
    }

    fn refuse(&mut self, publish: &ShardPublish) {
        let refusal = no_space();
        let items = publish.runs.iter().flat_map(|run| run.items.clone());
        let refused = items.map(|item| (item, refusal.clone())).collect();
        let answer = ToHub::Published { call: publish.call, refused, gone: Vec::new(), stored: Vec::new() };
        self.out.push(Out::Hub(publish.hub, answer));
    }

    /// `lends`: nothing waits for this thread, so that it has time to carry a little to the end for an IO thread that sleeps.
    fn carry(&mut self, lends: bool) {
        for out in self.out.drain(..) {
            match out {
                Out::Hub(hub, message) => self.to_hubs[usize::from(hub.0)].push(message),
                Out::Registry(op) => self.wiring.registry.send(RegistryMessage::Op(op), 0),
                Out::Shard(op) => self.wiring.inbox.send(ShardMessage::Ops(vec![op]), 0),
                Out::Fetch(fetch) => self.wiring.readers.fetch(self.wiring.shard, fetch),
            }
        }
        let mut messages = self.to_hubs.iter().flatten();
        let lends =
            lends && messages.by_ref().take(LENT_ANSWERS_MAX).all(is_little) && messages.next().is_none();
        for (hub, messages) in (0..).map(HubId).zip(&mut self.to_hubs) {
            if !messages.is_empty() {
                let message = IoMessage::Shard(self.wiring.shard, std::mem::take(messages));
                self.round.leave(&self.wiring.hubs, hub, message, 0);
            }
        }
        self.round.finish(&self.wiring.hubs, lends);
    }

    /// The disk is behind: wait for it before taking more. Deliveries of what has become durable go on.
    fn hold_back<L: LogStore>(&mut self, runner: &mut Runner<Shard, L>) {
        while runner.backlog_bytes() >= RUN_AHEAD_BYTES_MAX && runner.broken().is_none() && !runner.full() {
            self.wiring.bell.wait(Duration::from_millis(5));
            self.turn(runner, false);
        }
    }
}

fn no_space() -> Refusal {
    Refusal::Unavailable { why: "no space for the log".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::{Call, Position};
    use stele_model::stream::{Format, ReadBatch, ReadPart};

    /// What a read of `parts` partitions found, if one of them has batches of these lengths.
    fn read(parts: usize, lengths: &[u32]) -> ToHub {
        let batch = |len: &u32| ReadBatch {
            block: 0,
            at: 0,
            len: *len,
            format: Format::KafkaBatch,
            first: Position(0),
            count: 1,
            epoch: 0,
            appended_ms: 0,
        };
        let mut found = vec![Ok(ReadPart::default()); parts];
        found[0] = Ok(ReadPart { batches: lengths.iter().map(batch).collect(), ..ReadPart::default() });
        ToHub::Read { call: Call(1), parts: found }
    }

    /// Commits that took so long each, one after the other.
    fn commits(times_us: impl IntoIterator<Item = u64>) -> Commits {
        let (mut commits, mut stats) = (Commits::default(), Stats::default());
        for us in times_us {
            (stats.commits, stats.commit_us) = (stats.commits + 1, stats.commit_us + us);
            commits.note(stats);
        }
        commits
    }

    #[test]
    fn an_append_weighs_what_it_brings_for_listeners_too() {
        let bytes = |len: usize| Bytes::from(vec![0; len]);
        let batch = stele_model::stream::Batch {
            bytes: bytes(5),
            format: Format::KafkaBatch,
            count: 1,
            time_max_ms: None,
            producer: None,
            keys: Vec::new(),
        };
        let (hub, call) = (HubId(0), Call(1));
        let published = stele_model::publish::Publishes { bytes: bytes(700), ..Default::default() };
        let publish = ShardPublish {
            hub,
            call,
            batch: Arc::new(published),
            runs: Vec::new(),
            routes: Vec::new(),
            link: None,
            awaited: true,
        };
        let parts = vec![(stele_model::id::QueueId(1), batch)];
        let append = ShardAppend { hub, call, awaited: true, parts, records: vec![(0, publish)] };
        assert_eq!(weight(&ShardOp::Append(append)), 705);
    }

    #[test]
    fn one_slow_commit_says_little_and_several_say_that_the_disk_is_slow() {
        let slow = 40 * LENT_COMMIT_US_MAX;
        assert!(commits([40; 8]).are_quick() && commits([40, 40, slow]).are_quick());
        assert!(!commits([slow; 16]).are_quick());
        assert!(commits([slow; 100].into_iter().chain([40; 40])).are_quick(), "it is quick again");
    }

    #[test]
    fn what_a_waiting_reader_gets_is_carried_to_its_socket_if_it_is_little() {
        let most = LENT_RECORD_BYTES_MAX as u32;
        assert!(is_little(&read(1, &[])) && is_little(&read(LENT_PARTS_MAX, &[most / 2, most / 2])));
        assert!(!is_little(&read(1, &[most, 1])));
        assert!(!is_little(&read(1, &[1; LENT_RECORDS_MAX + 1])));
        assert!(!is_little(&read(LENT_PARTS_MAX + 1, &[])));
    }
}
