//! The registry: the machine that holds all definitions, with a log of its own.
//!
//! Driven by `core::runner` like a shard; asked by hubs ([`RegistryOp::Define`]), operators ([`RegistryOp::Administer`]) and
//! shards. What must hold: a definition is decided against the present state, logged as facts, applied by the one door
//! ([`state::State::apply`]), told to the shards it concerns once it is durable, published once they have it, and answered after
//! that, all in the order of revisions ([`order`]: S10, S11). Not here: passwords (the server hashes), routing (hubs), what queues
//! hold (shards).

pub mod access;
mod administer;
mod arguments;
mod bytes;
mod define;
pub mod entry;
mod frozen;
pub(crate) mod names;
mod order;
mod policy;
pub mod review;
pub mod snapshot;
mod state;
mod streams;

use ::bytes::Bytes;
use entry::Fact;
use frozen::{Frozen, Head};
use order::{Order, Pending};
use snapshot::Snapshot;
use state::{Consequence, State};
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{Boot, Call, HubId, Lsn, NamespaceId, Now, Place, QueueId, SessionId, ShardId};
use stele_model::machine::{Effects, Journal, Machine, Urgency};
use stele_model::outcome::Done;
use stele_model::refusal::Refusal;
use stele_model::registry::{RegistryEffect, RegistryOp, User};

/// Most queues and partitions altogether.
pub const QUEUES_MAX: u64 = 1 << 20;
/// Most partitions of one stream: all of them are told of a change in one turn (S7).
pub const PARTITIONS_MAX: u32 = 1 << 12;
/// Most exchanges altogether.
pub const EXCHANGES_MAX: u64 = 1 << 18;
/// Most rules altogether.
pub const RULES_MAX: u64 = 1 << 22;
/// Most namespaces.
pub const NAMESPACES_MAX: u64 = 1 << 12;
/// Most users.
pub const USERS_MAX: u64 = 1 << 16;
/// Most rights of one user in a namespace: they are looked through one by one.
pub const RIGHTS_MAX: u64 = 1_000;
/// Most exchanges of a namespace for which the keys of one user are bounded: they are told in one step of a snapshot.
pub const KEY_GRANTS_MAX: u64 = 1_000;
/// Most policies in a namespace: each is tried on each queue that is declared there.
pub const POLICIES_MAX: u64 = 1 << 10;
/// Longest name of anything, bytes; AMQP cannot say more.
pub const NAME_BYTES_MAX: usize = 255;
/// Changes that may wait to be published; beyond it definitions are refused.
pub const PENDING_MAX: usize = 1 << 16;
/// Facts in one entry of a mass removal, so that an entry stays small.
const FACTS_MAX: usize = 1024;

/// What the registry must be told at each start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Shards there are; never fewer than at an earlier start.
    pub shards: u16,
    /// Random, for names that the server makes up.
    pub seed: [u64; 2],
    /// The first user, an administrator with all grants in namespace `/`; made if there is no namespace at all.
    pub first_user: User,
}

/// See the module.
pub struct Registry {
    setup: Setup,
    state: State,
    order: Order,
    /// Attached: who is answered when the review of a namespace is over.
    reviewing: Vec<(NamespaceId, Answer)>,
    /// Attached: names made up since the start.
    names_made: u64,
    /// Attached: where the queues that a session declares go. Those that are declared together are often bound together, and a
    /// record that goes to several queues of one shard is stored once.
    homes: BTreeMap<SessionId, ShardId>,
    /// A snapshot that is being written.
    frozen: Option<Frozen>,
    /// Attached: the newest entry that anybody waits for.
    awaited: Lsn,
}

impl Registry {
    /// A registry without definitions, before its first replay or start.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let state = State::new(setup.shards);
        Self {
            setup,
            state,
            order: Order::default(),
            reviewing: Vec::new(),
            names_made: 0,
            homes: BTreeMap::new(),
            frozen: None,
            awaited: Lsn(0),
        }
    }

    /// The registry that `chunks`, made by [`Machine::snapshot`], are of.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn restore(setup: Setup, chunks: &[Bytes]) -> Result<Self, String> {
        let mut registry = Self::new(setup);
        let (head, facts) = chunks.split_first().ok_or("registry snapshot without chunks")?;
        let head = Head::read(head)?;
        registry.state.root.revision = head.revision;
        registry.state.root.boot = head.boot;
        for chunk in facts {
            for fact in entry::decode(chunk)? {
                registry.state.apply_fact(&fact, &mut Vec::new())?;
            }
        }
        registry.state.next = head.next;
        registry.state.root.next_queue = QueueId(head.next.queue);
        Ok(registry)
    }

    /// The logged state in a form to compare, which [`Self::restore`] takes too. Costs time and memory for each definition.
    #[must_use]
    pub fn logged(&self) -> Vec<Bytes> {
        let mut frozen = Frozen::new(&self.state);
        loop {
            if let Some(chunks) = frozen.step() {
                return chunks;
            }
        }
    }

    /// The newest snapshot that may be seen: everything in it has been told to the shards it concerns. Taken by the driver at
    /// each [`RegistryEffect::Publish`], and once at the start.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.order.published().cloned().unwrap_or_else(|| Arc::new(self.state.root.clone()))
    }

    /// Logs and applies facts that were decided, and lines their consequences up. What concerns nothing but queues with an owner is not
    /// awaited (S12): no restart brings them back, so all that must be durable is what came before.
    fn commit(
        &mut self,
        facts: &[Fact],
        answer: Option<Answer>,
        journal: &mut dyn Journal,
        effects: &mut Effects<RegistryEffect>,
    ) {
        let entry = entry::encode(facts);
        let is_owned = facts.iter().all(|fact| self.state.concerns_owned(fact));
        let urgency = if is_owned { Urgency::Rides } else { Urgency::Urgent };
        let place = journal.append(urgency, &[&entry]);
        if !is_owned {
            self.awaited = place.lsn;
        }
        let lsn = self.awaited;
        let mut consequences = Vec::new();
        let applied = self.state.apply(facts, &mut consequences);
        applied.expect("what was decided against this state fits it");
        let mut pending = Pending::new(lsn, Arc::new(self.state.root.clone()));
        let revision = self.state.root.revision;
        for consequence in consequences {
            match consequence {
                Consequence::Put(id) => {
                    if let Some(queue) = self.state.root.queues.get(&id) {
                        let (shard, queue) = (queue.shard, Arc::clone(&queue.spec));
                        pending.wait_for(shard, Some(id));
                        effects.push((lsn, RegistryEffect::Put { shard, revision, queue }));
                    }
                }
                Consequence::PutPartition(id) => {
                    let found = self.state.root.partition(id);
                    let found =
                        found.and_then(|(stream, index)| stream.partition(index).zip(stream.spec(index)));
                    if let Some(((_, shard), partition)) = found
                        && pending.wait_for(shard, Some(id))
                    {
                        effects.push((lsn, RegistryEffect::PutPartition { shard, revision, partition }));
                    }
                }
                Consequence::Drop(shard, queue) => {
                    pending.afterwards(RegistryEffect::Drop { shard, revision, queue });
                }
                Consequence::ExchangeGone(exchange) => {
                    pending.afterwards(RegistryEffect::ExchangeGone { exchange });
                }
            }
        }
        if let Some(answer) = answer {
            pending.afterwards(answer.into());
        }
        self.order.push(pending, effects);
    }

    /// Answers without a change: what it tells must have been published, and be as durable as what was looked at (S2).
    fn answer(&mut self, answer: Answer, effects: &mut Effects<RegistryEffect>) {
        self.order.after_all(answer.into(), self.awaited, effects);
    }

    fn conclude(
        &mut self,
        who: (HubId, Call),
        decided: Result<Decision, Refusal>,
        journal: &mut dyn Journal,
        effects: &mut Effects<RegistryEffect>,
    ) {
        let (facts, answer) = match decided {
            Ok(decision) => (decision.facts, Ok(decision.done)),
            Err(refusal) => (Vec::new(), Err(refusal)),
        };
        let answer = Answer { hub: who.0, call: who.1, answer };
        if facts.is_empty() {
            return self.answer(answer, effects);
        }
        if let [Fact::ReviewDue(id, _), ..] = facts[..] {
            self.reviewing.push((id, answer));
            return self.commit(&facts, None, journal, effects);
        }
        self.commit(&facts, Some(answer), journal, effects);
    }

    fn session_gone(
        &mut self,
        session: SessionId,
        journal: &mut dyn Journal,
        effects: &mut Effects<RegistryEffect>,
    ) {
        let facts: Vec<_> = self.state.owned_by(session).map(Fact::QueueGone).collect();
        for facts in facts.chunks(FACTS_MAX) {
            self.commit(facts, None, journal, effects);
        }
    }

    /// What a new data directory starts with.
    fn first_facts(&self) -> Vec<Fact> {
        let mut facts = self.namespace_facts(NamespaceId(1), "/", None, None);
        let user = self.setup.first_user.clone();
        let all = || ".*".to_owned();
        let grant = stele_model::registry::Grant {
            user: user.name.clone(),
            namespace: "/".into(),
            configure: all(),
            write: all(),
            read: all(),
        };
        facts.push(Fact::User(stele_model::id::PrincipalId(self.state.next.principal), user));
        facts.push(Fact::Grant(grant));
        facts
    }
}

/// What was decided: the facts, none if all is as asked already, and the answer.
struct Decision {
    facts: Vec<Fact>,
    done: Done,
}

impl Decision {
    fn unit(facts: Vec<Fact>) -> Self {
        Self { facts, done: Done::Unit }
    }
}

struct Answer {
    hub: HubId,
    call: Call,
    answer: Result<Done, Refusal>,
}

impl From<Answer> for RegistryEffect {
    fn from(Answer { hub, call, answer }: Answer) -> Self {
        Self::Answer { hub, call, answer }
    }
}

impl Machine for Registry {
    type Op = RegistryOp;
    type Effect = RegistryEffect;

    fn take(&mut self, op: RegistryOp, journal: &mut dyn Journal, effects: &mut Effects<RegistryEffect>) {
        match op {
            RegistryOp::Define { hub, call, session, principal, namespace, define } => {
                let decided = self
                    .order
                    .has_room()
                    .and_then(|()| self.decide_define(session, &principal, &namespace, define));
                self.conclude((hub, call), decided, journal, effects);
            }
            RegistryOp::GroupStream { hub, call, namespace } => {
                let decided = self.order.has_room().and_then(|()| self.decide_group_stream(namespace));
                self.conclude((hub, call), decided, journal, effects);
            }
            RegistryOp::Administer { hub, call, change } => {
                let decided = self.order.has_room().and_then(|()| self.decide_change(change));
                self.conclude((hub, call), decided, journal, effects);
            }
            RegistryOp::Closing { queue } => {
                // A queue that is not there any more went with its owner or namespace: its shard is told of that.
                if self.state.root.queues.contains(&queue) {
                    self.commit(&[Fact::QueueGone(queue)], None, journal, effects);
                }
            }
            RegistryOp::Applied { shard, revision, queue } => {
                self.order.applied(shard, revision, queue, effects);
            }
            RegistryOp::SessionGone { session } => {
                self.homes.remove(&session);
                self.session_gone(session, journal, effects);
            }
        }
    }

    fn tick(&mut self, journal: &mut dyn Journal, effects: &mut Effects<RegistryEffect>) {
        self.review(journal, effects);
    }

    fn deadline(&self) -> Option<Now> {
        self.reviews().then_some(Now(0))
    }

    fn apply(&mut self, _: Place, _: Now, entry: &[u8]) -> Result<(), String> {
        self.state.apply(&entry::decode(entry)?, &mut Vec::new())
    }

    /// Logs the new boot, and tells every shard what there is. Nothing is published before all have answered.
    fn started(&mut self, journal: &mut dyn Journal, effects: &mut Effects<RegistryEffect>) {
        let boot = Boot(self.state.root.boot.0 + 1);
        let mut facts = vec![Fact::Boot(boot)];
        if self.state.root.namespaces.is_empty() {
            facts.extend(self.first_facts());
        }
        let lsn = journal.append(Urgency::Urgent, &[&entry::encode(&facts)]).lsn;
        self.awaited = lsn;
        let applied = self.state.apply(&facts, &mut Vec::new());
        applied.expect("a boot fits every state");
        let revision = self.state.root.revision;
        let mut pending = Pending::new(lsn, Arc::new(self.state.root.clone()));
        let mut by_shard = vec![Vec::new(); usize::from(self.setup.shards)];
        let mut queues: Vec<_> = self.state.root.queues.values().collect();
        queues.sort_by_key(|queue| queue.id());
        for queue in queues {
            by_shard[usize::from(queue.shard.0)].push(Arc::clone(&queue.spec));
        }
        let mut partitions_of = self.state.partitions_by_shard();
        for (shard, queues) in (0..).map(ShardId).zip(by_shard) {
            pending.wait_for(shard, None);
            let partitions = std::mem::take(&mut partitions_of[usize::from(shard.0)]);
            effects.push((lsn, RegistryEffect::Sync { shard, revision, boot, queues, partitions }));
        }
        self.order.push(pending, effects);
    }

    fn begin_snapshot(&mut self) {
        self.frozen = Some(Frozen::new(&self.state));
    }

    fn step_snapshot(&mut self) -> Option<Vec<Bytes>> {
        let chunks = self.frozen.as_mut().map(Frozen::step)?;
        if chunks.is_some() {
            self.frozen = None;
        }
        chunks
    }

    fn live_changes(&mut self, _: &mut Vec<(Lsn, i64)>) {}

    fn live_in(&self, _: (Lsn, Lsn), _: &mut Vec<(Place, u32)>) {}
}

#[cfg(test)]
mod capture_tests;
#[cfg(test)]
mod stream_tests;
#[cfg(test)]
mod tests;
