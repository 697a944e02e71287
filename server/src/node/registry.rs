//! The registry's thread: definitions change here, and every hub sees each change before its author is answered (S11).

use crate::node::bell::Bell;
use crate::node::clock::Clock;
use crate::node::inbox::Inbox;
use crate::node::io::IoMessage;
use crate::node::shard::ShardMessage;
use crate::node::stop::Stop;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;
use stele_core::runner::Runner;
use stele_hub::{Registry, Snapshot};
use stele_model::id::{Call, HubId};
use stele_model::log::LogStore;
use stele_model::outcome::Done;
use stele_model::queue::QueueKind;
use stele_model::refusal::Refusal;
use stele_model::registry::{Change, RegistryEffect, RegistryOp};
use stele_model::shard::ShardOp;

/// Longest sleep of the registry's thread.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// The hub number by which the node itself asks; no IO thread has it.
pub(crate) const OPERATOR: HubId = HubId(u16::MAX);

/// What the registry's thread is sent.
pub(crate) enum RegistryMessage {
    /// An operation.
    Op(RegistryOp),
    /// An operator's change; the answer goes back over the channel.
    Administer(Change, SyncSender<Result<Done, Refusal>>),
    /// Write everything and end.
    Stop,
}

/// Where the registry's messages go.
pub(crate) struct Wiring {
    /// Its own inbox.
    pub inbox: Inbox<RegistryMessage>,
    /// Rung when something is in it, or the journal has something to say.
    pub bell: Arc<Bell>,
    /// By hub.
    pub hubs: Vec<Inbox<IoMessage>>,
    /// By shard.
    pub shards: Vec<Inbox<ShardMessage>>,
    /// What every hub reads.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// The time.
    pub clock: Arc<Clock>,
    /// Told when the log breaks.
    pub stop: Stop,
    /// Told once, when every shard has taken the registry's word at the start.
    pub agreed: SyncSender<()>,
}

/// Runs until told to stop; to be called on a thread of its own.
pub(crate) fn run<L: LogStore>(mut runner: Runner<Registry, L>, wiring: &Wiring) {
    let mut messages = Vec::new();
    let mut effects = Vec::new();
    let mut operators = Operators::default();
    wiring.bell.belongs_to(thread::current());
    let mut stopping = false;
    let mut to_agree = wiring.shards.len();
    while !(stopping && runner.settled()) {
        wiring.inbox.take(&mut messages);
        for message in messages.drain(..) {
            let now = wiring.clock.log_now();
            match message {
                RegistryMessage::Op(op) => {
                    if to_agree > 0 && matches!(op, RegistryOp::Applied { queue: None, .. }) {
                        to_agree -= 1;
                        if to_agree == 0 {
                            // Who started the node may have given up waiting.
                            let _ = wiring.agreed.try_send(());
                        }
                    }
                    runner.take(now, op);
                }
                RegistryMessage::Administer(change, answer) => {
                    let call = operators.expect(answer);
                    runner.take(now, RegistryOp::Administer { hub: OPERATOR, call, change });
                }
                RegistryMessage::Stop => stopping = true,
            }
        }
        if stopping {
            runner.flush();
        }
        let idle = wiring.inbox.is_empty();
        runner.turn(wiring.clock.log_now(), idle, &mut effects);
        for effect in effects.drain(..) {
            carry(effect, &runner, wiring, &mut operators);
        }
        if let Some(why) = runner.broken() {
            return wiring.stop.fail(format!("registry: {why}"));
        }
        let wait = runner
            .deadline()
            .map(|due| Duration::from_micros(due.0.saturating_sub(wiring.clock.log_now().0)));
        let done = stopping && runner.settled();
        if idle && !done && wait != Some(Duration::ZERO) && wiring.inbox.may_sleep() {
            wiring.bell.wait(wait.map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX)));
            wiring.inbox.awake();
        }
    }
}

/// Operators who wait for an answer.
#[derive(Default)]
struct Operators {
    next: u64,
    waiting: BTreeMap<Call, SyncSender<Result<Done, Refusal>>>,
}

impl Operators {
    fn expect(&mut self, answer: SyncSender<Result<Done, Refusal>>) -> Call {
        self.next += 1;
        self.waiting.insert(Call(self.next), answer);
        Call(self.next)
    }
}

fn carry<L: LogStore>(
    effect: RegistryEffect,
    runner: &Runner<Registry, L>,
    wiring: &Wiring,
    operators: &mut Operators,
) {
    let to_shard = |shard: stele_model::id::ShardId, op: ShardOp| {
        wiring.shards[usize::from(shard.0)].send(ShardMessage::Ops(vec![op]), 0);
    };
    match effect {
        RegistryEffect::Publish { .. } => wiring.snapshot.store(runner.machine().current()),
        RegistryEffect::Answer { hub: OPERATOR, call, answer } => {
            if let Some(operator) = operators.waiting.remove(&call) {
                // He may have given up waiting.
                let _ = operator.try_send(answer);
            }
        }
        RegistryEffect::Answer { hub, call, answer } => {
            wiring.hubs[usize::from(hub.0)].send(IoMessage::Registry(call, answer), 0);
        }
        RegistryEffect::Put { shard, revision, queue } => {
            if queue.settings.kind == QueueKind::Quorum {
                tracing::info!(queue = queue.name, "a quorum queue has one copy here, on this node");
            }
            to_shard(shard, ShardOp::Put { revision, queue });
        }
        RegistryEffect::Drop { shard, revision, queue } => to_shard(shard, ShardOp::Drop { revision, queue }),
        RegistryEffect::PutPartition { shard, revision, partition } => {
            to_shard(shard, ShardOp::PutPartition { revision, partition });
        }
        RegistryEffect::Sync { shard, revision, boot, queues, partitions } => {
            to_shard(shard, ShardOp::Sync { revision, boot, queues, partitions });
        }
        RegistryEffect::Close { shard, queue } => {
            to_shard(shard, ShardOp::Close { answer: None, queue, if_unused: false, if_empty: false });
        }
        RegistryEffect::ExchangeGone { exchange } => {
            tracing::debug!(%exchange, "auto-delete exchange is gone")
        }
    }
}
