//! The node under test: hubs, the registry and the shards on their logs, and the channels between them. Everything of it but the
//! logs dies at a crash.
//!
//! The joints here are the server's: a hub loads the registry's snapshot before it routes, a turn's effects are joined to
//! their bytes before the next turn, a reader's record that memory does not hold is read from the log, later. Who waits for
//! whom is [`crate::channel::WAITS`].

mod commits;
mod equal;
mod hub_part;
mod shard_part;

use crate::channel::Channel;
use crate::client::{Heard, Said};
use crate::desk::Desk;
use crate::log::SimLog;
use crate::mutant::Mutant;
use crate::rng::Rng;
use hub_part::HubPart;
use shard_part::ShardPart;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_core::runner::{Runner, Settings};
use stele_hub::{Registry, Setup, Snapshot};
use stele_model::id::{HubId, Now, SessionId, ShardId};
use stele_model::registry::{RegistryEffect, RegistryOp, User};
use stele_model::shard::{ShardOp, ToHub};

/// What a node is made of; the same for all its starts.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Number of hubs.
    pub hubs: u16,
    /// Number of shards.
    pub shards: u16,
    /// Number of clients, the keeper included.
    pub clients: usize,
    /// Room of channels between clients and hubs.
    pub room_clients: usize,
    /// Room of the other channels.
    pub room_inside: usize,
    /// Bytes of blocks that a shard's memory may keep.
    pub memory_bytes_max: usize,
    /// Log bytes between two snapshots.
    pub snapshot_bytes: u64,
    /// Items of a shard's snapshot that one step writes.
    pub snapshot_items: u32,
    /// A mistake to make.
    pub mutant: Option<Mutant>,
    /// Chance within the node.
    pub rng: Rng,
}

impl Plan {
    fn settings(&self) -> Settings {
        Settings {
            memory_bytes_max: self.memory_bytes_max,
            snapshot_bytes: self.snapshot_bytes,
            snapshot_ms: 1 << 40,
            ..Settings::default()
        }
    }
}

/// Something the node can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// A hub hears a client.
    HubHearsClient(usize),
    /// A hub hears a shard.
    HubHearsShard(usize, usize),
    /// A hub hears the registry.
    HubHearsRegistry(usize),
    /// A hub hears another.
    HubHearsHub(usize, usize),
    /// A shard takes a request of a hub.
    ShardTakesFromHub(usize, usize),
    /// A shard takes a request of the registry.
    ShardTakesFromRegistry(usize),
    /// A shard ends its turn.
    ShardTurns(usize),
    /// A read from a shard's log ends.
    ShardReads(usize),
    /// The registry takes a request of a hub.
    RegistryTakesFromHub(usize),
    /// The registry takes a request of a shard.
    RegistryTakesFromShard(usize),
    /// The registry ends its turn.
    RegistryTurns,
    /// A log goes on.
    LogGoesOn(usize),
}

impl Ability {
    /// Number of kinds.
    pub const KINDS: usize = 12;

    /// Which kind it is, from 0.
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::HubHearsClient(_) => 0,
            Self::HubHearsShard(..) => 1,
            Self::HubHearsRegistry(_) => 2,
            Self::HubHearsHub(..) => 3,
            Self::ShardTakesFromHub(..) => 4,
            Self::ShardTakesFromRegistry(_) => 5,
            Self::ShardTurns(_) => 6,
            Self::ShardReads(_) => 7,
            Self::RegistryTakesFromHub(_) => 8,
            Self::RegistryTakesFromShard(_) => 9,
            Self::RegistryTurns => 10,
            Self::LogGoesOn(_) => 11,
        }
    }
}

/// See the file's head.
pub struct Node {
    plan: Plan,
    hubs: Vec<HubPart>,
    shards: Vec<ShardPart>,
    registry: Runner<Registry, SimLog>,
    registry_dirty: bool,
    snapshot: Arc<Snapshot>,
    /// The registry has published: sessions are let in.
    ready: bool,
    logs: Vec<SimLog>,
    joints: Joints,
    /// Which client a session is of.
    sessions: BTreeMap<SessionId, usize>,
}

/// All channels. The first index is the sender's.
struct Joints {
    client_hub: Vec<Channel<Said>>,
    hub_client: Vec<Channel<Heard>>,
    hub_shard: Vec<Vec<Channel<ShardOp>>>,
    shard_hub: Vec<Vec<Channel<ToHub>>>,
    hub_registry: Vec<Channel<RegistryOp>>,
    registry_hub: Vec<Channel<RegistryEffect>>,
    registry_shard: Vec<Channel<ShardOp>>,
    shard_registry: Vec<Channel<RegistryOp>>,
    hub_hub: Vec<Vec<Channel<hub_part::ToPeer>>>,
}

impl Joints {
    fn new(plan: &Plan) -> Self {
        fn row<T>(count: usize, room: usize) -> Vec<Channel<T>> {
            (0..count).map(|_| Channel::new(room)).collect()
        }
        let (hubs, shards, room) = (usize::from(plan.hubs), usize::from(plan.shards), plan.room_inside);
        Self {
            client_hub: row(plan.clients, plan.room_clients),
            hub_client: row(plan.clients, plan.room_clients),
            hub_shard: (0..hubs).map(|_| row(shards, room)).collect(),
            shard_hub: (0..shards).map(|_| row(hubs, room)).collect(),
            hub_registry: row(hubs, room),
            registry_hub: row(hubs, room),
            registry_shard: row(shards, room),
            shard_registry: row(shards, room),
            hub_hub: (0..hubs).map(|_| row(hubs, room)).collect(),
        }
    }

    /// A hub takes new work only while it need not wait for anybody (see `channel::WAITS`).
    fn hub_may_go_on(&self, hub: usize) -> bool {
        !self.hub_registry[hub].is_full() && self.hub_shard[hub].iter().all(|channel| !channel.is_full())
    }
}

/// Bytes that may wait for a shard's log before the shard takes nothing more.
const BACKLOG_BYTES_MAX: usize = 16 << 10;

impl Node {
    /// Brings a node up from its logs: the registry's first, then one for each shard.
    ///
    /// # Errors
    /// Why a machine does not start.
    pub fn start(plan: &Plan, logs: &[SimLog], start: u64, desk: &mut Desk) -> Result<Self, String> {
        for log in logs {
            log.open()?;
        }
        let rng = plan.rng.fork(start);
        let setup = setup(plan);
        let (first, rest) = logs.split_first().ok_or("a node has a registry's log")?;
        let registry = Runner::start(first.clone(), plan.settings(), desk.now, |chunks| match chunks {
            Some(chunks) => Registry::restore(setup, &chunks),
            None => Ok(Registry::new(setup)),
        });
        let registry = registry.map_err(|error| format!("registry: {error:?}"))?;
        let mut shards = Vec::new();
        for (n, log) in rest.iter().enumerate() {
            let id = ShardId(n as u16);
            let shard = ShardPart::start(plan, id, log.clone(), rng.fork(n as u64), desk.now);
            shards.push(shard.map_err(|error| format!("shard {n}: {error}"))?);
        }
        let snapshot = registry.machine().current();
        let hubs =
            (0..plan.hubs).map(|hub| HubPart::new(HubId(hub), plan, start, snapshot.clone())).collect();
        desk.note(|| format!("the node starts, for the {start}. time again"));
        Ok(Self {
            hubs,
            shards,
            registry,
            registry_dirty: true,
            snapshot,
            ready: false,
            logs: logs.to_vec(),
            joints: Joints::new(plan),
            sessions: BTreeMap::new(),
            plan: plan.clone(),
        })
    }

    /// There is room for what a client may say.
    #[must_use]
    pub fn client_may_speak(&self, client: usize) -> bool {
        !self.joints.client_hub[client].is_full()
    }

    /// There is something for a client to hear.
    #[must_use]
    pub fn client_may_hear(&self, client: usize) -> bool {
        !self.joints.hub_client[client].is_empty()
    }

    /// Takes what a client says.
    pub fn client_says(&mut self, client: usize, said: Vec<Said>) {
        said.into_iter().for_each(|said| self.joints.client_hub[client].send(said));
    }

    /// Gives a client the next thing it is told.
    pub fn client_hears(&mut self, client: usize) -> Option<Heard> {
        self.joints.hub_client[client].take()
    }

    /// All that could happen next.
    #[must_use]
    pub fn abilities(&self, now: Now) -> Vec<Ability> {
        let mut all = Vec::new();
        self.hub_abilities(&mut all);
        self.shard_abilities(now, &mut all);
        self.registry_abilities(now, &mut all);
        all.extend((0..self.logs.len()).filter(|n| self.logs[*n].busy()).map(Ability::LogGoesOn));
        all
    }

    fn hub_abilities(&self, all: &mut Vec<Ability>) {
        let joints = &self.joints;
        let circle = self.plan.mutant == Some(Mutant::WaitInCircle);
        for hub in 0..self.hubs.len() {
            let free = self.ready && joints.hub_may_go_on(hub);
            let clients = (0..joints.client_hub.len()).filter(|client| self.hub_of(*client) == hub);
            let speaking = clients.filter(|client| free && !joints.client_hub[*client].is_empty());
            all.extend(speaking.map(Ability::HubHearsClient));
            if circle && !joints.hub_may_go_on(hub) {
                continue;
            }
            let shards = (0..self.shards.len()).filter(|shard| !joints.shard_hub[*shard][hub].is_empty());
            all.extend(shards.map(|shard| Ability::HubHearsShard(hub, shard)));
            if !joints.registry_hub[hub].is_empty() {
                all.push(Ability::HubHearsRegistry(hub));
            }
            let peers = (0..self.hubs.len()).filter(|peer| !joints.hub_hub[*peer][hub].is_empty());
            all.extend(peers.map(|peer| Ability::HubHearsHub(hub, peer)));
        }
    }

    fn shard_abilities(&self, now: Now, all: &mut Vec<Ability>) {
        let joints = &self.joints;
        let circle = self.plan.mutant == Some(Mutant::WaitInCircle);
        for (n, shard) in self.shards.iter().enumerate() {
            let waits = circle && joints.shard_hub[n].iter().any(Channel::is_full);
            if shard.backlog_bytes() < BACKLOG_BYTES_MAX && !waits {
                let hubs = (0..self.hubs.len()).filter(|hub| !joints.hub_shard[*hub][n].is_empty());
                all.extend(hubs.map(|hub| Ability::ShardTakesFromHub(n, hub)));
                if !joints.registry_shard[n].is_empty() {
                    all.push(Ability::ShardTakesFromRegistry(n));
                }
            }
            if shard.wants_turn(now) {
                all.push(Ability::ShardTurns(n));
            }
            if shard.is_reading() {
                all.push(Ability::ShardReads(n));
            }
        }
    }

    fn registry_abilities(&self, now: Now, all: &mut Vec<Ability>) {
        let joints = &self.joints;
        let free = joints.registry_shard.iter().all(|channel| !channel.is_full());
        if free && self.registry.backlog_bytes() < BACKLOG_BYTES_MAX {
            let hubs = (0..self.hubs.len()).filter(|hub| !joints.hub_registry[*hub].is_empty());
            all.extend(hubs.map(Ability::RegistryTakesFromHub));
        }
        let shards = (0..self.shards.len()).filter(|shard| !joints.shard_registry[*shard].is_empty());
        all.extend(shards.map(Ability::RegistryTakesFromShard));
        if self.registry_dirty || self.registry.deadline().is_some_and(|due| due <= now) {
            all.push(Ability::RegistryTurns);
        }
    }

    /// Does one thing.
    pub fn step(&mut self, ability: Ability, desk: &mut Desk) {
        let joints = &mut self.joints;
        match ability {
            Ability::HubHearsClient(client) => {
                if let Some(said) = joints.client_hub[client].take() {
                    self.hub_hears_client(client, said, desk);
                }
            }
            Ability::HubHearsShard(hub, shard) => {
                if let Some(told) = joints.shard_hub[shard][hub].take() {
                    self.hub_hears_shard(hub, shard, told, desk);
                }
            }
            Ability::HubHearsRegistry(hub) => {
                if let Some(told) = joints.registry_hub[hub].take() {
                    self.hub_hears_registry(hub, told, desk);
                }
            }
            Ability::HubHearsHub(hub, peer) => {
                if let Some(told) = joints.hub_hub[peer][hub].take() {
                    self.hub_hears_hub(hub, told, desk);
                }
            }
            Ability::ShardTakesFromHub(shard, hub) => {
                if let Some(op) = joints.hub_shard[hub][shard].take() {
                    self.shards[shard].take(desk, op);
                }
            }
            Ability::ShardTakesFromRegistry(shard) => {
                if let Some(op) = joints.registry_shard[shard].take() {
                    self.shards[shard].take(desk, op);
                }
            }
            Ability::ShardTurns(shard) => self.shard_turns(shard, desk),
            Ability::ShardReads(shard) => self.shard_reads(shard, desk),
            Ability::RegistryTakesFromHub(hub) => {
                if let Some(op) = joints.hub_registry[hub].take() {
                    self.registry_takes(op, desk);
                }
            }
            Ability::RegistryTakesFromShard(shard) => {
                if let Some(op) = joints.shard_registry[shard].take() {
                    self.registry_takes(op, desk);
                }
            }
            Ability::RegistryTurns => self.registry_turns(desk),
            Ability::LogGoesOn(log) => {
                self.logs[log].step();
                match log.checked_sub(1) {
                    Some(shard) => self.shards[shard].wake(),
                    None => self.registry_dirty = true,
                }
            }
        }
    }

    fn registry_takes(&mut self, op: RegistryOp, desk: &mut Desk) {
        desk.note(|| format!("registry takes {}", short(&op)));
        self.registry.take(desk.now, op);
        self.registry_dirty = true;
    }

    fn registry_turns(&mut self, desk: &mut Desk) {
        self.registry_dirty = false;
        let mut effects = Vec::new();
        self.registry.turn(desk.now, true, &mut effects);
        // A second look is due when completions came within the turn.
        self.registry_dirty = !effects.is_empty();
        for effect in effects {
            desk.note(|| format!("registry says {}", short(&effect)));
            self.registry_says(effect);
        }
        equal::registry(&self.registry, &setup(&self.plan), desk);
    }

    fn registry_says(&mut self, effect: RegistryEffect) {
        let joints = &mut self.joints;
        match effect {
            RegistryEffect::Publish { .. } => {
                self.snapshot = self.registry.machine().current();
                self.ready = true;
            }
            RegistryEffect::Answer { hub, .. } => joints.registry_hub[usize::from(hub.0)].send(effect),
            RegistryEffect::Put { shard, revision, queue } => {
                joints.registry_shard[usize::from(shard.0)].send(ShardOp::Put { revision, queue });
            }
            RegistryEffect::Drop { shard, revision, queue } => {
                joints.registry_shard[usize::from(shard.0)].send(ShardOp::Drop { revision, queue });
            }
            RegistryEffect::PutPartition { shard, revision, partition } => {
                joints.registry_shard[usize::from(shard.0)]
                    .send(ShardOp::PutPartition { revision, partition });
            }
            RegistryEffect::Sync { shard, revision, boot, queues, partitions } => {
                joints.registry_shard[usize::from(shard.0)].send(ShardOp::Sync {
                    revision,
                    boot,
                    queues,
                    partitions,
                });
            }
            RegistryEffect::Close { shard, queue } => {
                let close = ShardOp::Close { answer: None, queue, if_unused: false, if_empty: false };
                joints.registry_shard[usize::from(shard.0)].send(close);
            }
            RegistryEffect::ExchangeGone { .. } => {}
        }
    }

    /// When something is due although nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        self.shards.iter().filter_map(ShardPart::deadline).chain(self.registry.deadline()).min()
    }

    /// A log cannot be written any more.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let shards = self.shards.iter().find_map(ShardPart::broken);
        shards.or(self.registry.broken()).map(str::to_owned)
    }

    /// Everything is to be written.
    pub fn flush(&mut self) {
        self.registry.flush();
        self.registry_dirty |= !self.registry.settled();
        self.shards.iter_mut().for_each(ShardPart::flush);
    }

    /// Everything is written.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.registry.settled() && self.shards.iter().all(ShardPart::settled)
    }

    fn hub_of(&self, client: usize) -> usize {
        // The keeper is the last client; all of its sessions are of hub 0.
        if client + 1 == self.plan.clients { 0 } else { client % self.hubs.len() }
    }

    /// What is under way, for a report.
    #[must_use]
    pub fn describe(&self) -> String {
        let joints = &self.joints;
        let lens = |row: &[Channel<ShardOp>]| row.iter().map(Channel::len).collect::<Vec<_>>();
        format!(
            "under way: clients→hubs {:?}, hubs→shards {:?}, registry→shards {:?}, hubs→registry {:?}; logs busy {:?}",
            joints.client_hub.iter().map(Channel::len).collect::<Vec<_>>(),
            joints.hub_shard.iter().map(|row| lens(row)).collect::<Vec<_>>(),
            lens(&joints.registry_shard),
            joints.hub_registry.iter().map(Channel::len).collect::<Vec<_>>(),
            self.logs.iter().map(SimLog::busy).collect::<Vec<_>>(),
        )
    }
}

/// What the registry of every run starts with.
fn setup(plan: &Plan) -> Setup {
    let first_user = User {
        name: "guest".to_owned(),
        password_hash: String::new(),
        tags: vec!["administrator".to_owned()],
        scram: Vec::new(),
    };
    Setup { shards: plan.shards, seed: [1, 2], first_user }
}

/// A message in one bounded line.
fn short(message: &impl std::fmt::Debug) -> String {
    const CHARS_MAX: usize = 220;
    let mut line = format!("{message:?}");
    if let Some((at, _)) = line.char_indices().nth(CHARS_MAX) {
        line.truncate(at);
        line.push('…');
    }
    line
}
