//! The registry's logged state and the one door to it: facts, one after the other, live and in replay.
//!
//! The definitions are the next [`Snapshot`] itself, changed in place where no published snapshot shares them; beside it lies what
//! only the registry needs: who leads to what, who owns what, how full each shard is, the next numbers. What must hold: the state
//! is a function of the facts. What is worked out from definitions (settings, alternate exchanges, routers) is too.

mod streams;

use super::access::Permits;
use super::entry::{ExchangeFact, Fact, NamespaceFact, QueueFact, RuleFact};
use super::policy::{CompiledPolicy, Declared, for_exchange, for_queue, settings};
use super::review::Looked;
use super::snapshot::{Account, Exchange, Namespace, Queue, Snapshot};
use crate::map::Map;
use crate::registry::bytes::Writer;
use crate::router::captures::Captures;
use crate::router::headers::HeaderMatch;
use crate::router::{BoundRule, Router, Target, TargetId};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::{Boot, ExchangeId, NamespaceId, QueueId, SessionId, ShardId};
use stele_model::queue::{QueueSettings, QueueSpec};
use stele_model::registry::{Grant, KeyGrant, Policy, Right};

/// What a fact means for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// The queue's shard must be told what it is now.
    Put(QueueId),
    /// The partition's shard must be told what it is now.
    PutPartition(QueueId),
    /// The shard of the queue or partition must let go of it.
    Drop(ShardId, QueueId),
    /// The exchange went along.
    ExchangeGone(ExchangeId),
}

/// A rule, as the targets' side remembers it: source, key, encoded arguments.
type Lead = (ExchangeId, Bytes, Bytes);

/// The next number of each kind, from 1: 0 stands for nothing in many places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// For a namespace.
    pub(crate) namespace: u64,
    /// For an exchange.
    pub(crate) exchange: u64,
    /// For a queue.
    pub(crate) queue: u64,
    /// For a user.
    pub(crate) principal: u64,
}

/// See the module.
pub(crate) struct State {
    /// The definitions.
    pub(crate) root: Snapshot,
    /// See [`Next`].
    pub(crate) next: Next,
    /// Queues and partitions on each shard.
    pub(crate) shard_queues: Vec<u64>,
    /// Rules altogether.
    pub(crate) rules_len: u64,
    pub(super) names: BTreeMap<ExchangeId, (NamespaceId, Arc<str>)>,
    leads: BTreeMap<TargetId, BTreeSet<Lead>>,
    owned: BTreeMap<SessionId, BTreeSet<QueueId>>,
    /// All queues, in order.
    pub(super) queue_ids: BTreeSet<QueueId>,
    /// Reviews under way.
    pub(super) reviews: BTreeMap<NamespaceId, Looked>,
}

type Applied = Result<(), String>;

/// Numbers that are passed over at a start: a process that ended may have given them to queues with an owner, which nobody waited to be
/// logged (S9, S12). More than fit into a block that was lost.
const UNHEARD_QUEUES_MAX: u64 = 1 << 20;

impl State {
    /// Nothing yet, for so many shards.
    pub(crate) fn new(shards: u16) -> Self {
        Self {
            root: Snapshot { next_queue: QueueId(1), ..Snapshot::default() },
            next: Next { namespace: 1, exchange: 1, queue: 1, principal: 1 },
            shard_queues: vec![0; usize::from(shards)],
            rules_len: 0,
            names: BTreeMap::new(),
            leads: BTreeMap::new(),
            owned: BTreeMap::new(),
            queue_ids: BTreeSet::new(),
            reviews: BTreeMap::new(),
        }
    }

    /// Whether a fact concerns nothing but a queue that goes with its owner.
    pub(crate) fn concerns_owned(&self, fact: &Fact) -> bool {
        let is_owned = |id: &QueueId| self.root.queues.get(id).is_some_and(|queue| queue.owner().is_some());
        match fact {
            Fact::Queue(queue) => queue.owner.is_some(),
            Fact::QueueGone(id) => is_owned(id),
            Fact::Rule(rule) | Fact::RuleGone(rule) => {
                matches!(&rule.target, TargetId::Queue(id) if is_owned(id))
            }
            _ => false,
        }
    }

    /// Applies one entry.
    ///
    /// # Errors
    /// A fact that does not fit what is there.
    pub(crate) fn apply(&mut self, facts: &[Fact], out: &mut Vec<Consequence>) -> Applied {
        self.root.revision.0 += 1;
        facts.iter().try_for_each(|fact| self.apply_fact(fact, out))
    }

    /// Applies one fact.
    ///
    /// # Errors
    /// It does not fit what is there.
    pub(crate) fn apply_fact(&mut self, fact: &Fact, out: &mut Vec<Consequence>) -> Applied {
        match fact {
            Fact::Boot(boot) => {
                if self.root.boot != Boot(0) {
                    self.next.queue += UNHEARD_QUEUES_MAX;
                    self.root.next_queue = QueueId(self.next.queue);
                }
                self.root.boot = *boot;
                self.forget_the_volatile(out)
            }
            Fact::Namespace(namespace) => self.put_namespace(namespace),
            Fact::NamespaceGone(id) => self.remove_namespace(*id, out),
            Fact::Exchange(exchange) => self.put_exchange(exchange),
            Fact::ExchangeGone(_, id) => self.remove_exchange(*id, out),
            Fact::Queue(queue) => self.put_queue(queue, out),
            Fact::QueueGone(id) => self.remove_queue(*id, out),
            Fact::Rule(rule) => self.put_rule(rule),
            Fact::RuleGone(rule) => {
                let probe = BoundRule::probe(rule.target, rule.key.clone(), rule.encoded());
                self.remove_rule(rule.source, &probe, out)
            }
            Fact::User(id, user) => {
                self.next.principal = self.next.principal.max(id.0 + 1);
                let account = Account { id: *id, user: user.clone() };
                self.root.users.insert(user.name.as_str().into(), Arc::new(account));
                Ok(())
            }
            Fact::UserGone(name) => self.remove_user(name),
            Fact::Grant(grant) => self.put_grant(grant.clone()),
            Fact::KeyGrant(grant) => self.put_key_grant(grant.clone()),
            Fact::KeyGrantGone { user, namespace, exchange } => {
                if let Some(permits) = self.namespace_named(namespace)?.permits.get_mut(user.as_str()) {
                    Arc::make_mut(permits).remove_keys(exchange);
                }
                Ok(())
            }
            Fact::Right(right) => self.change_rights(right, |rights| rights.insert(right.clone())),
            Fact::RightGone(right) => self.change_rights(right, |rights| rights.remove(right)),
            Fact::GrantGone { user, namespace } => {
                self.namespace_named(namespace)?.permits.remove(user.as_str());
                Ok(())
            }
            Fact::ReviewDue(id, looked) => {
                self.reviews.insert(*id, *looked);
                Ok(())
            }
            Fact::Reviewed(id, through) => self.review(*id, *through, out),
            Fact::Policy(policy) => self.put_policy(policy, out),
            Fact::PolicyGone { namespace, name, operator } => {
                let namespace = self.namespace_named(namespace)?;
                let keep = |other: &Arc<CompiledPolicy>| {
                    other.policy.name != *name || other.policy.operator != *operator
                };
                Arc::make_mut(&mut namespace.policies).retain(keep);
                let id = namespace.id;
                self.policies_changed(id, out)
            }
            Fact::Stream(stream) => self.put_stream(stream, out),
            Fact::Partitions(partitions) => self.put_partitions(partitions, out),
            Fact::StreamGone(uuid) => self.remove_stream(*uuid, out),
        }
    }

    /// The queues that a session owns.
    pub(crate) fn owned_by(&self, session: SessionId) -> impl Iterator<Item = QueueId> + '_ {
        self.owned.get(&session).into_iter().flatten().copied()
    }

    fn namespace_mut(&mut self, id: NamespaceId) -> Result<&mut Namespace, String> {
        let namespace = self.root.namespaces.get_mut(&id).ok_or_else(|| format!("no namespace {id}"))?;
        Ok(Arc::make_mut(namespace))
    }

    fn namespace_named(&mut self, name: &str) -> Result<&mut Namespace, String> {
        let id = *self.root.namespace_ids.get(name).ok_or_else(|| format!("no namespace '{name}'"))?;
        self.namespace_mut(id)
    }

    /// The exchange, about to change: its version says so.
    fn exchange_mut(&mut self, id: ExchangeId) -> Result<&mut Exchange, String> {
        let version = self.root.revision;
        let missing = || format!("no exchange {id}");
        let (namespace, name) = self.names.get(&id).cloned().ok_or_else(missing)?;
        let exchange = self.namespace_mut(namespace)?.exchanges.get_mut(&*name).ok_or_else(missing)?;
        let exchange = Arc::make_mut(exchange);
        exchange.version = version;
        Ok(exchange)
    }

    fn put_namespace(&mut self, fact: &NamespaceFact) -> Applied {
        self.next.namespace = self.next.namespace.max(fact.id.0 + 1);
        if let Ok(there) = self.namespace_mut(fact.id) {
            there.queues_max = fact.queues_max;
            there.connections_max = fact.connections_max;
            return Ok(());
        }
        let name: Arc<str> = fact.name.as_str().into();
        let namespace = Namespace {
            id: fact.id,
            name: name.clone(),
            queues_max: fact.queues_max,
            connections_max: fact.connections_max,
            exchanges: Map::default(),
            queues: Map::default(),
            streams: Map::default(),
            stream_names: Map::default(),
            captures: Captures::default(),
            permits: Map::default(),
            policies: Arc::default(),
        };
        self.root.namespace_ids.insert(name, fact.id);
        self.root.namespaces.insert(fact.id, Arc::new(namespace));
        Ok(())
    }

    fn remove_namespace(&mut self, id: NamespaceId, out: &mut Vec<Consequence>) -> Applied {
        let namespace = self.root.namespaces.get(&id).cloned().ok_or_else(|| format!("no namespace {id}"))?;
        for queue in namespace.queues() {
            self.remove_queue(queue.id(), out)?;
        }
        for stream in namespace.streams() {
            self.remove_stream(stream.info.uuid, out)?;
        }
        for exchange in namespace.exchanges() {
            if self.names.contains_key(&exchange.id) {
                self.remove_exchange(exchange.id, out)?;
            }
        }
        self.reviews.remove(&id);
        self.root.namespaces.remove(&id);
        self.root.namespace_ids.remove(&*namespace.name);
        Ok(())
    }

    fn put_exchange(&mut self, fact: &ExchangeFact) -> Applied {
        self.next.exchange = self.next.exchange.max(fact.id.0 + 1);
        let version = self.root.revision;
        let name: Arc<str> = fact.name.as_str().into();
        let namespace = self.namespace_mut(fact.namespace)?;
        let mut exchange = Exchange {
            id: fact.id,
            name: name.clone(),
            kind: fact.kind,
            durable: fact.durable,
            auto_delete: fact.auto_delete,
            internal: fact.internal,
            arguments: fact.arguments.clone(),
            alternate: None,
            policy: None,
            version,
            rules: Map::default(),
            leads_on: 0,
            router: Router::new(fact.kind),
        };
        exchange.follow(for_exchange(&namespace.policies, &fact.name));
        namespace.exchanges.insert(name.clone(), Arc::new(exchange));
        self.names.insert(fact.id, (fact.namespace, name));
        Ok(())
    }

    fn remove_exchange(&mut self, id: ExchangeId, out: &mut Vec<Consequence>) -> Applied {
        self.remove_leads(TargetId::Exchange(id), out)?;
        // It may have led to itself and be gone with its last rule by now.
        let Some((namespace, name)) = self.names.remove(&id) else { return Ok(()) };
        let removed = self.namespace_mut(namespace)?.exchanges.remove(&*name);
        for rule in removed.iter().flat_map(|exchange| exchange.rules()) {
            self.forget_lead(id, rule);
        }
        out.push(Consequence::ExchangeGone(id));
        Ok(())
    }

    fn put_queue(&mut self, fact: &QueueFact, out: &mut Vec<Consequence>) -> Applied {
        self.take_number(fact.id, fact.shard)?;
        let name: Arc<str> = fact.name.as_str().into();
        let namespace = self.namespace_mut(fact.namespace)?;
        let declared = Declared {
            kind: fact.kind,
            durable: fact.durable,
            auto_delete: fact.auto_delete,
            owner: fact.owner,
            arguments: &fact.arguments,
        };
        let (settings, policy, operator_policy) = worked_out(&namespace.policies, &fact.name, declared);
        let spec = QueueSpec { id: fact.id, namespace: fact.namespace, name: fact.name.clone(), settings };
        let queue = Arc::new(Queue {
            spec: Arc::new(spec),
            name: name.clone(),
            shard: fact.shard,
            arguments: fact.arguments.clone(),
            policy,
            operator_policy,
        });
        namespace.queues.insert(name, queue.clone());
        self.root.queues.insert(fact.id, queue);
        self.queue_ids.insert(fact.id);
        if let Some(owner) = fact.owner {
            self.owned.entry(owner).or_default().insert(fact.id);
        }
        out.push(Consequence::Put(fact.id));
        Ok(())
    }

    /// A queue or partition has this number and lives on this shard.
    fn take_number(&mut self, id: QueueId, shard: ShardId) -> Applied {
        self.next.queue = self.next.queue.max(id.0 + 1);
        self.root.next_queue = QueueId(self.next.queue);
        let count = self.shard_queues.get_mut(usize::from(shard.0));
        *count.ok_or_else(|| format!("queue {id} on shard {shard}, which there is not"))? += 1;
        Ok(())
    }

    fn remove_queue(&mut self, id: QueueId, out: &mut Vec<Consequence>) -> Applied {
        let queue = self.root.queues.remove(&id).ok_or_else(|| format!("no queue {id}"))?;
        self.namespace_mut(queue.spec.namespace)?.queues.remove(&*queue.name);
        self.queue_ids.remove(&id);
        if let Some(count) = self.shard_queues.get_mut(usize::from(queue.shard.0)) {
            *count -= 1;
        }
        if let Some(owner) = queue.owner()
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            owned.remove(&id);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
        out.push(Consequence::Drop(queue.shard, id));
        self.remove_leads(TargetId::Queue(id), out)
    }

    fn put_rule(&mut self, fact: &RuleFact) -> Applied {
        let target = match fact.target {
            TargetId::Queue(id) => {
                let shard = self.root.shard_of(id).ok_or_else(|| format!("no queue {id}"))?;
                let queue = self.root.queues.get(&id);
                Target::Queue { id, shard, durable: queue.is_none_or(|queue| queue.spec.settings.durable) }
            }
            TargetId::Exchange(id) => {
                let (_, name) = self.names.get(&id).ok_or_else(|| format!("no exchange {id}"))?;
                Target::Exchange { id, name: name.clone() }
            }
        };
        let rule = Arc::new(BoundRule {
            target,
            key: fact.key.clone(),
            encoded: fact.encoded(),
            headers: HeaderMatch::of(&fact.arguments).unwrap_or_default(),
            arguments: fact.arguments.clone(),
        });
        let lead = (fact.source, rule.key.clone(), rule.encoded.clone());
        let exchange = self.exchange_mut(fact.source)?;
        if exchange.rules.insert(rule.clone(), ()).is_none() {
            exchange.leads_on += u32::from(matches!(fact.target, TargetId::Exchange(_)));
            exchange.router.add(rule);
            self.rules_len += 1;
            self.leads.entry(fact.target).or_default().insert(lead);
        }
        Ok(())
    }

    fn remove_rule(&mut self, source: ExchangeId, rule: &BoundRule, out: &mut Vec<Consequence>) -> Applied {
        let exchange = self.exchange_mut(source)?;
        if exchange.rules.remove(rule).is_none() {
            return Ok(());
        }
        exchange.leads_on -= u32::from(matches!(rule.target, Target::Exchange { .. }));
        exchange.router.remove(rule);
        let is_over = exchange.auto_delete && exchange.rules.is_empty();
        self.forget_lead(source, rule);
        if is_over { self.remove_exchange(source, out) } else { Ok(()) }
    }

    fn forget_lead(&mut self, source: ExchangeId, rule: &BoundRule) {
        self.rules_len -= 1;
        let target = rule.target.id();
        let Some(leads) = self.leads.get_mut(&target) else { return };
        leads.remove(&(source, rule.key.clone(), rule.encoded.clone()));
        if leads.is_empty() {
            self.leads.remove(&target);
        }
    }

    /// Removes all rules that lead to `target`.
    fn remove_leads(&mut self, target: TargetId, out: &mut Vec<Consequence>) -> Applied {
        while let Some((source, key, encoded)) = self.leads.get(&target).and_then(BTreeSet::first).cloned() {
            self.remove_rule(source, &BoundRule::probe(target, key, encoded), out)?;
        }
        Ok(())
    }

    fn remove_user(&mut self, name: &str) -> Applied {
        self.root.users.remove(name);
        let granting = self.root.namespaces.values().filter(|namespace| namespace.permits.contains(name));
        let namespaces: Vec<_> = granting.map(|namespace| namespace.id).collect();
        for id in namespaces {
            self.namespace_mut(id)?.permits.remove(name);
        }
        Ok(())
    }

    fn put_policy(&mut self, policy: &Policy, out: &mut Vec<Consequence>) -> Applied {
        let compiled = Arc::new(CompiledPolicy::of(policy.clone())?);
        let namespace = self.namespace_named(&policy.namespace)?;
        let policies = Arc::make_mut(&mut namespace.policies);
        policies.retain(|other| other.policy.name != policy.name || other.policy.operator != policy.operator);
        policies.push(compiled);
        policies
            .sort_by(|a, b| (b.policy.priority, &a.policy.name).cmp(&(a.policy.priority, &b.policy.name)));
        let id = namespace.id;
        self.policies_changed(id, out)
    }

    /// Works out again what the policies of a namespace say, unless a review is about to do that in steps.
    fn policies_changed(&mut self, id: NamespaceId, out: &mut Vec<Consequence>) -> Applied {
        if self.reviews.contains_key(&id) {
            return Ok(());
        }
        let namespace = self.namespace_mut(id)?.clone();
        for exchange in namespace.exchanges() {
            self.review_exchange(id, &exchange.name)?;
        }
        namespace.queues().into_iter().try_for_each(|queue| self.review_queue(id, queue.id(), out))
    }

    /// Works out again what the policies say of an exchange.
    pub(super) fn review_exchange(&mut self, id: NamespaceId, name: &str) -> Applied {
        let version = self.root.revision;
        let namespace = self.namespace_mut(id)?;
        let Some(exchange) = namespace.exchanges.get(name) else { return Ok(()) };
        let mut changed = (**exchange).clone();
        changed.follow(for_exchange(&namespace.policies, name));
        if changed.alternate != exchange.alternate || changed.policy != exchange.policy {
            changed.version = version;
            namespace.exchanges.insert(changed.name.clone(), Arc::new(changed));
        }
        Ok(())
    }

    /// Works out again what the policies of a namespace say of a queue, if it is there; tells of it if that makes a difference.
    pub(super) fn review_queue(
        &mut self,
        id: NamespaceId,
        queue: QueueId,
        out: &mut Vec<Consequence>,
    ) -> Applied {
        let found = self.root.queues.get(&queue).filter(|queue| queue.spec.namespace == id).cloned();
        let Some(queue) = found else { return Ok(()) };
        let namespace = self.namespace_mut(id)?;
        let declared = Declared::of(&queue.spec.settings, &queue.arguments);
        let (settings, policy, operator_policy) = worked_out(&namespace.policies, &queue.name, declared);
        let is_new = settings != queue.spec.settings;
        if !is_new && policy == queue.policy && operator_policy == queue.operator_policy {
            return Ok(());
        }
        let spec = Arc::new(QueueSpec { settings, ..(*queue.spec).clone() });
        let changed = Arc::new(Queue { spec, policy, operator_policy, ..(*queue).clone() });
        namespace.queues.insert(queue.name.clone(), changed.clone());
        self.root.queues.insert(queue.id(), changed);
        if is_new {
            out.push(Consequence::Put(queue.id()));
        }
        Ok(())
    }

    /// What does not outlive a process goes: queues that are not durable or have an owner, exchanges that are not durable.
    fn forget_the_volatile(&mut self, out: &mut Vec<Consequence>) -> Applied {
        let is_over = |queue: &&Arc<Queue>| !queue.spec.settings.durable || queue.owner().is_some();
        let mut queues: Vec<_> = self.root.queues.values().filter(is_over).map(|queue| queue.id()).collect();
        queues.sort_unstable();
        for id in queues {
            self.remove_queue(id, out)?;
        }
        let all = self.root.namespaces.values().flat_map(|namespace| namespace.exchanges.values());
        let mut exchanges: Vec<_> =
            all.filter(|exchange| !exchange.durable).map(|exchange| exchange.id).collect();
        exchanges.sort_unstable();
        for id in exchanges {
            if self.names.contains_key(&id) {
                self.remove_exchange(id, out)?;
            }
        }
        Ok(())
    }
}

impl BoundRule {
    /// Something to look a rule up by.
    fn probe(target: TargetId, key: Bytes, encoded: Bytes) -> Self {
        let target = match target {
            TargetId::Queue(id) => Target::Queue { id, shard: ShardId(0), durable: false },
            TargetId::Exchange(id) => Target::Exchange { id, name: "".into() },
        };
        Self { target, key, encoded, arguments: Default::default(), headers: HeaderMatch::default() }
    }
}

impl Exchange {
    /// Takes over what a policy says: where records go that no rule takes, unless an argument says it.
    fn follow(&mut self, policy: Option<&Policy>) {
        let argument = self.arguments.get("alternate-exchange");
        let said = argument.or_else(|| policy?.definition.get("alternate-exchange"));
        self.alternate = said.and_then(|name| name.as_text()).map(Arc::from);
        self.policy = policy.map(|policy| policy.name.as_str().into());
    }
}

impl<'a> Declared<'a> {
    fn of(settings: &QueueSettings, arguments: &'a stele_model::value::Arguments) -> Self {
        let QueueSettings { kind, durable, auto_delete, owner, .. } = *settings;
        Self { kind, durable, auto_delete, owner, arguments }
    }
}

type WorkedOut = (QueueSettings, Option<Arc<str>>, Option<Arc<str>>);

fn worked_out(policies: &[Arc<CompiledPolicy>], name: &str, declared: Declared<'_>) -> WorkedOut {
    let in_force = for_queue(policies, name, declared.kind);
    let name = |policy: Option<&Policy>| policy.map(|policy| policy.name.as_str().into());
    (settings(declared, in_force), name(in_force.policy), name(in_force.operator))
}

impl RuleFact {
    /// The arguments in our own encoding.
    fn encoded(&self) -> Bytes {
        let mut out = Writer::default();
        out.arguments(&self.arguments);
        out.0.freeze()
    }

    /// Whether its exchange has it.
    pub(crate) fn is_in(&self, source: &Exchange) -> bool {
        source.rules.contains(&BoundRule::probe(self.target, self.key.clone(), self.encoded()))
    }
}

impl State {
    /// The user's rights, and the bounds on its keys, stay as they are.
    fn put_grant(&mut self, grant: Grant) -> Applied {
        let namespace = self.namespace_named(&grant.namespace)?;
        let before = namespace.permits(&grant.user).map(|permits| &**permits);
        let rights = before.map(|permits| permits.rights.clone()).unwrap_or_default();
        let user = grant.user.as_str().into();
        let permits = Permits::of(grant, rights).map_err(|(_, why)| why)?.with_keys_of(before);
        namespace.permits.insert(user, Arc::new(permits));
        Ok(())
    }

    fn put_key_grant(&mut self, grant: KeyGrant) -> Applied {
        let namespace = self.namespace_named(&grant.namespace)?;
        let missing = || format!("bounds keys of '{}', who has no grant", grant.user);
        let permits = namespace.permits.get_mut(grant.user.as_str()).ok_or_else(missing)?;
        Arc::make_mut(permits).put_keys(grant).map_err(|(_, why)| why)
    }

    /// Who has no grant yet is let in with an empty one.
    fn change_rights(&mut self, right: &Right, change: impl FnOnce(&mut BTreeSet<Right>) -> bool) -> Applied {
        let namespace = self.namespace_named(&right.namespace)?;
        let mut permits = match namespace.permits(&right.user) {
            Some(permits) => Permits::clone(permits),
            None => {
                let grant = Permits::nothing(right.user.clone(), right.namespace.clone());
                Permits::of(grant, BTreeSet::new()).map_err(|(_, why)| why)?
            }
        };
        change(&mut permits.rights);
        namespace.permits.insert(right.user.as_str().into(), Arc::new(permits));
        Ok(())
    }

    /// Exchanges altogether.
    pub(crate) fn exchanges_len(&self) -> u64 {
        self.names.len() as u64
    }
}
