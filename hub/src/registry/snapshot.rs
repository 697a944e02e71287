//! Definitions as everybody but the registry sees them: immutable, numbered, swapped whole (S11).
//!
//! Called by hubs (routing, grants), by the server (passwords) and by listings. A snapshot shares all it can with the one
//! before it. What must hold: whatever it names exists in it (a rule's target, a grant's user).

use super::access::{Permits, SYSTEM};
use super::policy::CompiledPolicy;
use crate::map::Map;
use crate::router::captures::Captures;
use crate::router::resolve::SUBJECTS;
use crate::router::{BoundRule, ExchangeKind, Router, Rules};
use std::sync::Arc;
use stele_model::id::{Boot, ExchangeId, NamespaceId, PrincipalId, QueueId, Revision, SessionId, ShardId};
use stele_model::queue::{QueueKind, QueueSpec};
use stele_model::registry::{Policy, User};
use stele_model::stream::{PartitionSpec, StreamInfo, StreamUuid};
use stele_model::value::Arguments;

/// All definitions at one revision.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub(crate) revision: Revision,
    pub(crate) boot: Boot,
    /// The number that the next queue will get: a queue with a smaller one was there (or was gone) already.
    pub(crate) next_queue: QueueId,
    pub(crate) namespaces: Map<NamespaceId, Arc<Namespace>>,
    pub(crate) namespace_ids: Map<Arc<str>, NamespaceId>,
    pub(crate) queues: Map<QueueId, Arc<Queue>>,
    pub(crate) users: Map<Arc<str>, Arc<Account>>,
    pub(crate) streams: Map<StreamUuid, Arc<Stream>>,
    /// Stream and index of each partition.
    pub(crate) partitions: Map<QueueId, (StreamUuid, u32)>,
}

/// A user and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Given by the registry, never used again.
    pub id: PrincipalId,
    /// Name, hash and tags.
    pub user: User,
}

/// A namespace.
#[derive(Clone)]
pub struct Namespace {
    /// Its number.
    pub id: NamespaceId,
    /// Its name (AMQP: vhost).
    pub name: Arc<str>,
    /// Most queues.
    pub queues_max: Option<u64>,
    /// Most connections; counted by the driver, which knows all hubs.
    pub connections_max: Option<u64>,
    pub(crate) exchanges: Map<Arc<str>, Arc<Exchange>>,
    pub(crate) queues: Map<Arc<str>, Arc<Queue>>,
    pub(crate) streams: Map<Arc<str>, Arc<Stream>>,
    pub(crate) stream_names: Map<StreamUuid, Arc<str>>,
    pub(crate) captures: Captures,
    pub(crate) permits: Map<Arc<str>, Arc<Permits>>,
    /// By priority, highest first, then by name.
    pub(crate) policies: Arc<Vec<Arc<CompiledPolicy>>>,
}

/// An exchange.
#[derive(Clone)]
pub struct Exchange {
    /// Its number.
    pub id: ExchangeId,
    /// Its name; empty for the default exchange.
    pub name: Arc<str>,
    /// How it chooses.
    pub kind: ExchangeKind,
    /// Outlives a restart.
    pub durable: bool,
    /// Gone after its last rule.
    pub auto_delete: bool,
    /// Clients may not publish to it.
    pub internal: bool,
    /// As given.
    pub arguments: Arguments,
    /// Where records go that no rule takes: by argument, else by policy.
    pub alternate: Option<Arc<str>>,
    /// Name of the policy in force.
    pub policy: Option<Arc<str>>,
    /// The revision of its last change: routes found at the same one are still right.
    pub version: Revision,
    pub(crate) rules: Rules,
    /// Rules among them that lead to exchanges.
    pub(crate) leads_on: u32,
    pub(crate) router: Router,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct Queue {
    /// What its shard is told: number, namespace, name, settings.
    pub spec: Arc<QueueSpec>,
    /// Its name, shared.
    pub name: Arc<str>,
    /// Where it lives.
    pub shard: ShardId,
    /// As given.
    pub arguments: Arguments,
    /// Name of the policy in force.
    pub policy: Option<Arc<str>>,
    /// Name of the operator's policy in force.
    pub operator_policy: Option<Arc<str>>,
}

/// A stream.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Where.
    pub namespace: NamespaceId,
    /// Its name, shared.
    pub name: Arc<str>,
    /// All that sessions see of it.
    pub info: Arc<StreamInfo>,
}

/// What a name that dialects with one sequence only know (AMQP: a queue's name) stands for.
#[derive(Clone, Copy, Debug)]
pub enum Sequence<'a> {
    /// A queue.
    Queue(&'a Arc<Queue>),
    /// A partition of a stream, by its index.
    Partition(&'a Arc<Stream>, u32),
}

impl Snapshot {
    /// Its number.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Which start of the process it belongs to.
    #[must_use]
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// A namespace by name.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&Arc<Namespace>> {
        self.namespaces.get(self.namespace_ids.get(name)?)
    }

    /// A namespace by number.
    #[must_use]
    pub fn namespace_by_id(&self, id: NamespaceId) -> Option<&Arc<Namespace>> {
        self.namespaces.get(&id)
    }

    /// All namespaces, by name.
    #[must_use]
    pub fn namespaces(&self) -> Vec<&Arc<Namespace>> {
        sorted(self.namespaces.values(), |namespace| &namespace.name)
    }

    /// A user by name: what a driver needs to check a password.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Account> {
        self.users.get(name).map(|account| &**account)
    }

    /// All users, by name.
    #[must_use]
    pub fn users(&self) -> Vec<&Arc<Account>> {
        sorted(self.users.values(), |account| account.user.name.as_str())
    }

    /// A queue by number.
    #[must_use]
    pub fn queue(&self, id: QueueId) -> Option<&Arc<Queue>> {
        self.queues.get(&id)
    }

    /// A stream by its stable number.
    #[must_use]
    pub fn stream(&self, uuid: StreamUuid) -> Option<&Arc<Stream>> {
        self.streams.get(&uuid)
    }

    /// The stream that a partition belongs to, and which of its partitions it is.
    #[must_use]
    pub fn partition(&self, id: QueueId) -> Option<(&Arc<Stream>, u32)> {
        let (uuid, index) = self.partitions.get(&id)?;
        Some((self.streams.get(uuid)?, *index))
    }

    /// Where a queue or partition lives.
    #[must_use]
    pub fn shard_of(&self, id: QueueId) -> Option<ShardId> {
        if let Some(queue) = self.queue(id) {
            return Some(queue.shard);
        }
        let (stream, index) = self.partition(id)?;
        stream.partition(index).map(|(_, shard)| shard)
    }
}

impl Namespace {
    /// An exchange by name; the default one has the empty name.
    #[must_use]
    pub fn exchange(&self, name: &str) -> Option<&Arc<Exchange>> {
        self.exchanges.get(name)
    }

    /// All exchanges, by name.
    #[must_use]
    pub fn exchanges(&self) -> Vec<&Arc<Exchange>> {
        sorted(self.exchanges.values(), |exchange| &exchange.name)
    }

    /// A queue by name.
    #[must_use]
    pub fn queue(&self, name: &str) -> Option<&Arc<Queue>> {
        self.queues.get(name)
    }

    /// All queues, by name.
    #[must_use]
    pub fn queues(&self) -> Vec<&Arc<Queue>> {
        sorted(self.queues.values(), |queue| &queue.name)
    }

    /// A stream by name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Arc<Stream>> {
        self.streams.get(name)
    }

    /// Which streams capture which subjects.
    #[must_use]
    pub fn captures(&self) -> &Captures {
        &self.captures
    }

    /// A stream by its stable number.
    #[must_use]
    pub fn stream_by_uuid(&self, uuid: StreamUuid) -> Option<&Arc<Stream>> {
        self.streams.get(&**self.stream_names.get(&uuid)?)
    }

    /// All streams, by name.
    #[must_use]
    pub fn streams(&self) -> Vec<&Arc<Stream>> {
        sorted(self.streams.values(), |stream| &stream.name)
    }

    /// What a name stands for where only one sequence can be meant: a queue, a stream of one partition, or `name-0`, `name-1`, … of a
    /// stream of several (S25).
    #[must_use]
    pub fn sequence(&self, name: &str) -> Option<Sequence<'_>> {
        if let Some(queue) = self.queue(name) {
            return Some(Sequence::Queue(queue));
        }
        if let Some(stream) = self.stream(name).filter(|stream| stream.len() == 1) {
            return Some(Sequence::Partition(stream, 0));
        }
        let (stream, index) = name.rsplit_once('-')?;
        let canonical = !index.is_empty() && (index == "0" || !index.starts_with('0'));
        let is_digits = index.bytes().all(|digit| digit.is_ascii_digit());
        let index = index.parse().ok().filter(|_| canonical && is_digits)?;
        let stream = self.stream(stream).filter(|stream| stream.len() > 1 && index < stream.len())?;
        Some(Sequence::Partition(stream, index))
    }

    /// Whether anything that is published to a subject may be stored: somebody is bound to the subject space, or there are streams.
    #[must_use]
    pub fn stores_subjects(&self) -> bool {
        let leads_somewhere =
            |exchange: &Arc<Exchange>| !exchange.router.is_empty() || exchange.alternate.is_some();
        !self.streams.is_empty() || self.exchange(SUBJECTS).is_some_and(leads_somewhere)
    }

    /// What a user may do here; `None`: nothing.
    #[must_use]
    pub fn permits(&self, user: &str) -> Option<&Arc<Permits>> {
        if user == SYSTEM { Some(Permits::everything()) } else { self.permits.get(user) }
    }

    /// All grants, by user.
    #[must_use]
    pub fn all_permits(&self) -> Vec<&Arc<Permits>> {
        sorted(self.permits.values(), |permits| permits.grant.user.as_str())
    }

    /// All policies, users' and operators', in the order in which they are tried.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(|policy| &policy.policy)
    }
}

impl Exchange {
    /// The rules that lead from it, by target, key and arguments.
    #[must_use]
    pub fn rules(&self) -> Vec<&Arc<BoundRule>> {
        let mut rules: Vec<_> = self.rules.iter().map(|(rule, ())| rule).collect();
        rules.sort_by(|a, b| (a.target.id(), &a.key, &a.encoded).cmp(&(b.target.id(), &b.key, &b.encoded)));
        rules
    }

    /// How many there are.
    #[must_use]
    pub fn rules_len(&self) -> usize {
        self.rules.len()
    }

    /// Whether records go the same way whatever their key.
    #[must_use]
    pub(crate) fn ignores_key(&self) -> bool {
        let falls_through = self.rules.is_empty() && self.alternate.is_some();
        self.kind == ExchangeKind::Fanout && self.leads_on == 0 && !falls_through
    }

    /// The default exchange of a namespace: every queue is bound to it by its name.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.name.is_empty()
    }
}

impl Stream {
    /// How many partitions it has.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.info.partitions.len()).expect("partitions are bounded")
    }

    /// Whether it has none, which is so only while it is being made.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.info.partitions.is_empty()
    }

    /// Number and home of a partition.
    #[must_use]
    pub fn partition(&self, index: u32) -> Option<(QueueId, ShardId)> {
        self.info.partitions.get(index as usize).copied()
    }

    /// The name of a partition where only one sequence can be meant; see [`Namespace::sequence`].
    #[must_use]
    pub fn sequence_name(&self, index: u32) -> String {
        if self.len() == 1 { self.name.to_string() } else { format!("{}-{index}", self.name) }
    }

    /// A partition as its shard is told of it.
    #[must_use]
    pub(crate) fn spec(&self, index: u32) -> Option<PartitionSpec> {
        let (id, _) = self.partition(index)?;
        let settings = self.info.settings.clone();
        Some(PartitionSpec { id, namespace: self.namespace, stream: self.name.to_string(), index, settings })
    }
}

impl Sequence<'_> {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> QueueId {
        match self {
            Self::Queue(queue) => queue.id(),
            Self::Partition(stream, index) => stream.partition(*index).map(|(id, _)| id).unwrap_or_default(),
        }
    }

    /// Where it lives.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        match self {
            Self::Queue(queue) => queue.shard,
            Self::Partition(stream, index) => {
                stream.partition(*index).map(|(_, shard)| shard).unwrap_or_default()
            }
        }
    }

    /// Persistent records in it outlive a restart.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.spec.settings.durable,
            Self::Partition(..) => true,
        }
    }
}

impl Queue {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> QueueId {
        self.spec.id
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> QueueKind {
        self.spec.settings.kind
    }

    /// The session that alone may use it.
    #[must_use]
    pub fn owner(&self) -> Option<SessionId> {
        self.spec.settings.owner
    }

    /// Whether it is another session's own.
    #[must_use]
    pub fn is_locked_for(&self, session: SessionId) -> bool {
        self.owner().is_some_and(|owner| owner != session)
    }
}

fn sorted<'a, T, K: Ord + ?Sized + 'a>(
    all: impl Iterator<Item = &'a Arc<T>>,
    key: impl Fn(&'a T) -> &'a K,
) -> Vec<&'a Arc<T>> {
    let mut all: Vec<_> = all.collect();
    all.sort_by(|a, b| key(a).cmp(key(b)));
    all
}
