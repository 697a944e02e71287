//! Definitions as everybody but the registry sees them: immutable, numbered, swapped whole (S11).
//!
//! Called by hubs (routing, grants), by the server (passwords) and by listings. A snapshot shares all it can with the one
//! before it. What must hold: whatever it names exists in it (a rule's target, a grant's user).

use super::access::Permits;
use super::policy::CompiledPolicy;
use crate::map::Map;
use crate::router::{BoundRule, ExchangeKind, Router, Rules};
use std::sync::Arc;
use stele_model::id::{Boot, ExchangeId, NamespaceId, PrincipalId, QueueId, Revision, SessionId, ShardId};
use stele_model::queue::{QueueKind, QueueSpec};
use stele_model::registry::{Policy, User};
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

    /// What a user may do here; `None`: nothing.
    #[must_use]
    pub fn permits(&self, user: &str) -> Option<&Arc<Permits>> {
        self.permits.get(user)
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
