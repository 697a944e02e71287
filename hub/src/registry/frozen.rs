//! The definitions of one moment, as facts that are written step by step while the registry goes on (S7).
//!
//! Called by the registry's [`stele_model::machine::Machine`]. What must hold: everything here is shared with the maps of the state, which copy
//! what they change; so beginning costs as much for a million rules as for one. The facts are as few as rebuild the state, in an order in
//! which each fits; within that order they come as the maps have them, which is the same for equal states. The layout stands in
//! `docs/format-registry.md`.

use super::bytes::{Reader, Writer};
use super::entry::{self, ExchangeFact, Fact, NamespaceFact, QueueFact, RuleFact};
use super::snapshot::{Account, Exchange, Namespace, Queue, Stream};
use super::state::{Next, State};
use bytes::Bytes;
use std::iter::once;
use std::sync::Arc;
use stele_model::id::{Boot, NamespaceId, Revision};

/// Most that one step writes, in facts: about 0.2 ms.
pub(super) const WEIGHT_MAX: usize = 512;
/// So many partitions of a stream weigh as much as a fact.
const PARTITIONS_OF_WEIGHT: usize = 16;

/// A snapshot on its way.
pub(super) struct Frozen {
    facts: Box<dyn Iterator<Item = Fact> + Send>,
    chunks: Vec<Bytes>,
}

impl Frozen {
    pub(super) fn new(state: &State) -> Self {
        let head = Head { revision: state.root.revision, boot: state.root.boot, next: state.next };
        Self { facts: Box::new(state.facts()), chunks: vec![head.write()] }
    }

    /// Writes the next chunk. `Some`: that was the last; these are all.
    pub(super) fn step(&mut self) -> Option<Vec<Bytes>> {
        let (mut facts, mut weight) = (Vec::new(), 0);
        while weight < WEIGHT_MAX
            && let Some(fact) = self.facts.next()
        {
            weight += fact.weight();
            facts.push(fact);
        }
        if !facts.is_empty() {
            self.chunks.push(entry::encode(&facts));
        }
        (weight < WEIGHT_MAX).then(|| std::mem::take(&mut self.chunks))
    }
}

impl Fact {
    fn weight(&self) -> usize {
        match self {
            Self::Partitions(of) => 1 + of.partitions.len() / PARTITIONS_OF_WEIGHT,
            _ => 1,
        }
    }
}

impl State {
    /// As few facts as rebuild the state as it is now, in an order in which each fits.
    pub(super) fn facts(&self) -> impl Iterator<Item = Fact> + Send + use<> {
        let definitions = self.root.namespaces.cursor().flat_map(|(_, namespace)| namespace.facts());
        let users = self.root.users.cursor().map(|(_, account)| {
            let Account { id, user } = &*account;
            Fact::User(*id, user.clone())
        });
        let permits = self.root.namespaces.cursor().flat_map(|(_, namespace)| namespace.permits.cursor());
        let grants = permits.flat_map(|(_, permits)| {
            let rights = permits.rights.clone().into_iter().map(Fact::Right);
            let keys: Vec<Fact> = permits.key_grants().cloned().map(Fact::KeyGrant).collect();
            once(Fact::Grant(permits.grant.clone())).chain(keys).chain(rights)
        });
        let reviews = self.reviews.clone().into_iter().map(|(id, looked)| Fact::ReviewDue(id, looked));
        definitions.chain(users).chain(grants).chain(reviews)
    }
}

impl Namespace {
    /// What is defined in it; rules come last, since they name the others.
    fn facts(&self) -> impl Iterator<Item = Fact> + Send + use<> {
        let Self { id, queues_max, connections_max, .. } = *self;
        let name = self.name.to_string();
        let itself = once(Fact::Namespace(NamespaceFact { id, name, queues_max, connections_max }));
        let policies = Arc::clone(&self.policies);
        let policies = (0..policies.len()).map(move |n| Fact::Policy(policies[n].policy.clone()));
        let exchanges = self.exchanges.cursor().map(move |(_, exchange)| exchange.fact(id));
        let queues = self.queues.cursor().map(move |(_, queue)| queue.fact(id));
        let streams = self.streams.cursor().flat_map(|(_, stream)| stream.facts());
        let rules = self.exchanges.cursor().flat_map(move |(_, exchange)| exchange.rule_facts(id));
        itself.chain(policies).chain(exchanges).chain(queues).chain(streams).chain(rules)
    }
}

impl Exchange {
    fn fact(&self, namespace: NamespaceId) -> Fact {
        Fact::Exchange(ExchangeFact {
            id: self.id,
            namespace,
            name: self.name.to_string(),
            kind: self.kind,
            durable: self.durable,
            auto_delete: self.auto_delete,
            internal: self.internal,
            arguments: self.arguments.clone(),
        })
    }

    fn rule_facts(&self, namespace: NamespaceId) -> impl Iterator<Item = Fact> + Send + use<> {
        let source = self.id;
        self.rules.cursor().map(move |(rule, ())| {
            Fact::Rule(RuleFact {
                namespace,
                source,
                target: rule.target.id(),
                key: rule.key.clone(),
                arguments: rule.arguments.clone(),
            })
        })
    }
}

impl Queue {
    fn fact(&self, namespace: NamespaceId) -> Fact {
        let settings = &self.spec.settings;
        Fact::Queue(QueueFact {
            id: self.id(),
            namespace,
            name: self.name.to_string(),
            shard: self.shard,
            kind: self.kind(),
            durable: settings.durable,
            auto_delete: settings.auto_delete,
            owner: self.owner(),
            arguments: self.arguments.clone(),
        })
    }
}

impl Stream {
    fn facts(&self) -> impl Iterator<Item = Fact> + Send + use<> {
        let partitions = (!self.is_empty()).then(|| self.partitions_fact());
        once(self.fact()).chain(partitions)
    }
}

/// First chunk of a snapshot: what the facts after it do not say.
pub(super) struct Head {
    pub(super) revision: Revision,
    pub(super) boot: Boot,
    pub(super) next: Next,
}

impl Head {
    fn write(&self) -> Bytes {
        let Next { namespace, exchange, queue, principal } = self.next;
        let mut out = Writer::default();
        out.u8(entry::VERSION);
        [self.revision.0, self.boot.0, namespace, exchange, queue, principal]
            .into_iter()
            .for_each(|number| out.u64(number));
        out.0.freeze()
    }

    pub(super) fn read(chunk: &[u8]) -> Result<Self, String> {
        let mut input = Reader(chunk);
        let version = input.u8()?;
        if version != entry::VERSION {
            return Err(format!("registry snapshot version {version} is unknown"));
        }
        Ok(Self {
            revision: Revision(input.u64()?),
            boot: Boot(input.u64()?),
            next: Next {
                namespace: input.u64()?,
                exchange: input.u64()?,
                queue: input.u64()?,
                principal: input.u64()?,
            },
        })
    }
}
