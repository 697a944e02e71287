//! For tests: a registry under a driver that does everything at once (entries are durable and shards answer as soon as asked), and
//! short ways to say what is defined.

use crate::{Registry, Setup};
use bytes::Bytes;
use std::collections::VecDeque;
use stele_model::id::{Call, HubId, Lsn, Now, Place, PrincipalId, SessionId};
use stele_model::machine::{Effects, Journal, Machine, Urgency};
use stele_model::op::{CreateStream, Define, DestinationName, Rule};
use stele_model::outcome::Done;
use stele_model::refusal::Refusal;
use stele_model::registry::{Change, RegistryEffect, RegistryOp, User};
use stele_model::session::Principal;
use stele_model::stream::{StreamRef, StreamSettings, StreamUuid};
use stele_model::value::{Arguments, Value};

/// A log in memory: each entry is a block of its own. With the newest that starts a commit.
#[derive(Default)]
pub(crate) struct Log(pub(crate) Vec<Vec<u8>>, pub(crate) Lsn);

impl Journal for Log {
    fn now(&self) -> Now {
        Now(0)
    }

    fn tail(&self) -> Lsn {
        Lsn(self.0.len() as u64)
    }

    fn append(&mut self, urgency: Urgency, parts: &[&[u8]]) -> Place {
        self.0.push(parts.concat());
        if urgency == Urgency::Urgent {
            self.1 = self.tail();
        }
        Place { lsn: self.tail(), at: 0 }
    }

    fn keep(&mut self, _: &[u8]) -> Place {
        unreachable!("a registry has nothing volatile")
    }

    fn entry_bytes_max(&self) -> usize {
        1 << 20
    }
}

pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) log: Log,
    /// What the shards have not been told yet; `None`: they are told at once.
    pub(crate) held: Option<VecDeque<RegistryEffect>>,
    pub(crate) told: Vec<String>,
    pub(crate) answers: Vec<(u64, Result<Done, Refusal>)>,
    pub(crate) calls: u64,
}

pub(crate) fn setup() -> Setup {
    let first_user = User {
        name: "guest".into(),
        password_hash: "hash".into(),
        tags: vec!["administrator".into()],
        scram: Vec::new(),
    };
    Setup { shards: 2, seed: [1, 2], first_user }
}

pub(crate) fn session(number: u64) -> SessionId {
    SessionId { hub: HubId(0), number }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self::of(Registry::new(setup()), Log::default());
        world.start();
        world
    }

    pub(crate) fn of(registry: Registry, log: Log) -> Self {
        Self { registry, log, held: None, told: Vec::new(), answers: Vec::new(), calls: 0 }
    }

    pub(crate) fn start(&mut self) {
        let mut effects = Vec::new();
        self.registry.started(&mut self.log, &mut effects);
        self.carry_out(effects);
    }

    pub(crate) fn take(&mut self, op: RegistryOp) {
        let mut effects = Vec::new();
        self.registry.take(op, &mut self.log, &mut effects);
        self.carry_out(effects);
    }

    pub(crate) fn tick(&mut self) {
        let mut effects = Vec::new();
        self.registry.tick(&mut self.log, &mut effects);
        self.carry_out(effects);
    }

    pub(crate) fn carry_out(&mut self, effects: Effects<RegistryEffect>) {
        for (lsn, effect) in effects {
            assert!(lsn <= self.log.1, "an effect waits for what starts a commit");
            match &mut self.held {
                Some(held) => held.push_back(effect),
                None => self.deliver(effect),
            }
        }
    }

    pub(crate) fn let_go(&mut self) {
        for effect in self.held.take().unwrap_or_default() {
            self.deliver(effect);
        }
    }

    pub(crate) fn deliver(&mut self, effect: RegistryEffect) {
        let applied = |shard, revision, queue| RegistryOp::Applied { shard, revision, queue };
        match effect {
            RegistryEffect::Publish { revision } => {
                assert!(self.registry.current().revision() >= revision);
                self.told.push(format!("publish {revision}"));
            }
            RegistryEffect::Answer { call, answer, .. } => {
                self.told.push(format!("answer {call}"));
                self.answers.push((call.0, answer));
            }
            RegistryEffect::Put { shard, revision, queue } => {
                self.told.push(format!("put {} to {shard}", queue.name));
                self.take(applied(shard, revision, Some(queue.id)));
            }
            RegistryEffect::PutPartition { shard, revision, partition } => {
                self.told.push(format!("put {}-{} to {shard}", partition.stream, partition.index));
                self.take(applied(shard, revision, Some(partition.id)));
            }
            RegistryEffect::Drop { shard, revision, queue } => {
                self.told.push(format!("drop from {shard}"));
                self.take(applied(shard, revision, Some(queue)));
            }
            RegistryEffect::Sync { shard, revision, queues, partitions, .. } => {
                let mut names: Vec<_> = queues.iter().map(|queue| queue.name.clone()).collect();
                names.extend(partitions.iter().map(|of| format!("{}-{}", of.stream, of.index)));
                self.told.push(format!("sync {shard} {names:?}"));
                self.take(applied(shard, revision, None));
            }
            RegistryEffect::Close { .. } | RegistryEffect::ExchangeGone { .. } => {}
        }
    }

    pub(crate) fn define_as(
        &mut self,
        session: SessionId,
        user: &str,
        define: Define,
    ) -> Result<Done, Refusal> {
        self.calls += 1;
        let principal = Principal { id: PrincipalId(1), name: user.into() };
        let (hub, call, namespace) = (HubId(0), Call(self.calls), "/".to_owned());
        self.take(RegistryOp::Define { hub, call, session, principal, namespace, define });
        match self.answers.last() {
            Some((number, answer)) if *number == self.calls => answer.clone(),
            _ => Ok(Done::Unit),
        }
    }

    pub(crate) fn define(&mut self, define: Define) -> Result<Done, Refusal> {
        // Another session each time, so that queues are spread over the shards.
        self.define_as(session(1000 + self.calls), "guest", define)
    }

    pub(crate) fn change(&mut self, change: Change) -> Result<Done, Refusal> {
        self.calls += 1;
        self.take(RegistryOp::Administer { hub: HubId(9), call: Call(self.calls), change });
        self.answers.last().expect("an operator is answered").1.clone()
    }

    pub(crate) fn queue(&mut self, name: &str, arguments: &[(&str, Value)]) -> Result<Done, Refusal> {
        self.define(queue(name, arguments))
    }

    /// Another registry, from the log alone.
    pub(crate) fn replayed(&self) -> Registry {
        let mut registry = Registry::new(setup());
        for entry in &self.log.0 {
            registry.apply(Place::default(), Now(0), entry).unwrap();
        }
        registry
    }

    pub(crate) fn settings(&self, name: &str) -> stele_model::queue::QueueSettings {
        let snapshot = self.registry.current();
        snapshot.namespace("/").unwrap().queue(name).unwrap().spec.settings.clone()
    }
}

pub(crate) fn arguments(pairs: &[(&str, Value)]) -> Arguments {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(crate) fn queue(name: &str, pairs: &[(&str, Value)]) -> Define {
    Define::DeclareQueue {
        name: name.into(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: arguments(pairs),
    }
}

pub(crate) fn exclusive(name: &str) -> Define {
    Define::DeclareQueue {
        name: name.into(),
        passive: false,
        durable: false,
        exclusive: true,
        auto_delete: true,
        arguments: Arguments::new(),
    }
}

pub(crate) fn exchange(name: &str, kind: &str, pairs: &[(&str, Value)]) -> Define {
    Define::DeclareExchange {
        name: name.into(),
        kind: kind.into(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: arguments(pairs),
    }
}

pub(crate) fn rule(source: &str, queue: &str, key: &str) -> Rule {
    Rule {
        source: source.into(),
        destination: DestinationName::Queue(queue.into()),
        key: Bytes::copy_from_slice(key.as_bytes()),
        arguments: Arguments::new(),
    }
}

pub(crate) fn stream(name: &str, partitions: u32) -> Define {
    Define::CreateStream(CreateStream {
        name: name.into(),
        uuid: StreamUuid::default(),
        partitions,
        settings: StreamSettings::default(),
        arguments: Arguments::new(),
        check_only: false,
    })
}

pub(crate) fn named(name: &str) -> StreamRef {
    StreamRef::Name(name.into())
}
