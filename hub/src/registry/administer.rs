//! What an operator's change comes to: the facts to log, or why not. Reads the state, changes nothing.

use super::access::Permits;
use super::arguments::{Made, check_policy};
use super::bytes::is_shallow;
use super::define::{check_room, missing};
use super::entry::right::is_for;
use super::entry::{ExchangeFact, Fact, NamespaceFact};
use super::policy::CompiledPolicy;
use super::{
    Decision, KEY_GRANTS_MAX, NAME_BYTES_MAX, NAMESPACES_MAX, POLICIES_MAX, RIGHTS_MAX, Registry, USERS_MAX,
};
use crate::registry::snapshot::Namespace;
use crate::router::ExchangeKind;
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::id::{ExchangeId, NamespaceId, PrincipalId};
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::registry::{Change, Grant, KeyGrant, Policy, Right, ScramHash, ScramSecret, User};
use stele_model::value::Arguments;

/// The exchanges that every namespace has: name, kind, internal. As RabbitMQ's.
const PREDECLARED: &[(&str, ExchangeKind, bool)] = &[
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
    ("amq.topic", ExchangeKind::Topic, false),
];

/// Fewest rounds of PBKDF2 (RFC 7677, 4).
const SCRAM_ITERATIONS_MIN: u32 = 4096;
/// Most rounds: what a client is made to compute at each login.
const SCRAM_ITERATIONS_MAX: u32 = 16_384;
/// Longest salt, bytes.
const SALT_BYTES_MAX: usize = 255;

impl Registry {
    /// See the module.
    pub(super) fn decide_change(&self, change: Change) -> Result<Decision, Refusal> {
        let facts = match change {
            Change::PutNamespace { name, queues_max, connections_max } => {
                self.put_namespace(&name, queues_max, connections_max)?
            }
            Change::DeleteNamespace { name } => {
                let namespace = self.state.root.namespace(&name);
                namespace.map(|namespace| Fact::NamespaceGone(namespace.id)).into_iter().collect()
            }
            Change::PutUser(user) => self.put_user(user)?,
            Change::DeleteUser { name } => {
                self.state.root.user(&name).map(|_| Fact::UserGone(name)).into_iter().collect()
            }
            Change::PutScram { user, secret } => self.put_scram(user, secret)?,
            Change::DeleteScram { user, hash } => {
                let found = self.state.root.user(&user);
                let found = found.filter(|found| found.user.scram.iter().any(|secret| secret.hash == hash));
                let found = found.ok_or_else(|| missing(Object::Namespace, &user, ""))?;
                let mut user = found.user.clone();
                user.scram.retain(|secret| secret.hash != hash);
                self.put_user(user)?
            }
            Change::PutGrant(grant) => self.put_grant(grant)?,
            Change::DeleteGrant { user, namespace } => {
                let found = self.state.root.namespace(&namespace).and_then(|there| there.permits(&user));
                found.is_some().then_some(Fact::GrantGone { user, namespace }).into_iter().collect()
            }
            Change::PutKeyGrant(grant) => self.put_key_grant(grant)?,
            Change::DeleteKeyGrant { user, namespace, exchange } => {
                let permits = self.namespace(&namespace)?.permits(&user);
                let is_there = permits.is_some_and(|permits| permits.key_grant(&exchange).is_some());
                is_there.then_some(Fact::KeyGrantGone { user, namespace, exchange }).into_iter().collect()
            }
            Change::Admit { user, namespace } => {
                let is_in = self.namespace(&namespace)?.permits(&user).is_some();
                if is_in { Vec::new() } else { self.put_grant(Permits::nothing(user, namespace))? }
            }
            Change::PutRight(right) => self.put_right(right)?,
            Change::DeleteRight(right) => {
                let permits = self.namespace(&right.namespace)?.permits(&right.user);
                let is_there = permits.is_some_and(|permits| permits.rights.contains(&right));
                is_there.then_some(Fact::RightGone(right)).into_iter().collect()
            }
            Change::PutPolicy(policy) => self.put_policy(policy)?,
            Change::DeletePolicy { namespace, name, operator } => {
                let is_it = |policy: &Policy| policy.name == name && policy.operator == operator;
                let there = self.namespace(&namespace)?;
                let (found, due) = (there.policies().any(is_it), self.state.review_due(there.id));
                let gone = Fact::PolicyGone { namespace, name, operator };
                if found { due.into_iter().chain([gone]).collect() } else { Vec::new() }
            }
        };
        Ok(Decision::unit(facts))
    }

    fn namespace(&self, name: &str) -> Result<&Arc<Namespace>, Refusal> {
        self.state.root.namespace(name).ok_or_else(|| missing(Object::Namespace, name, name))
    }

    fn put_namespace(
        &self,
        name: &str,
        queues_max: Option<u64>,
        connections_max: Option<u64>,
    ) -> Result<Vec<Fact>, Refusal> {
        if let Some(there) = self.state.root.namespace(name) {
            let is_same = there.queues_max == queues_max && there.connections_max == connections_max;
            let fact = NamespaceFact { id: there.id, name: name.to_owned(), queues_max, connections_max };
            return Ok((!is_same).then_some(Fact::Namespace(fact)).into_iter().collect());
        }
        let made = Made { object: Object::Namespace, name, namespace: name };
        check_name(made)?;
        check_room("namespaces", self.state.root.namespaces.len() as u64, NAMESPACES_MAX)?;
        let id = NamespaceId(self.state.next.namespace);
        Ok(self.namespace_facts(id, name, queues_max, connections_max))
    }

    /// A new namespace and the exchanges it comes with.
    pub(super) fn namespace_facts(
        &self,
        id: NamespaceId,
        name: &str,
        queues_max: Option<u64>,
        connections_max: Option<u64>,
    ) -> Vec<Fact> {
        let fact = NamespaceFact { id, name: name.to_owned(), queues_max, connections_max };
        let mut facts = vec![Fact::Namespace(fact)];
        for ((name, kind, internal), number) in PREDECLARED.iter().zip(self.state.next.exchange..) {
            facts.push(Fact::Exchange(ExchangeFact {
                id: ExchangeId(number),
                namespace: id,
                name: (*name).to_owned(),
                kind: *kind,
                durable: true,
                auto_delete: false,
                internal: *internal,
                arguments: Arguments::new(),
            }));
        }
        facts
    }

    fn put_user(&self, user: User) -> Result<Vec<Fact>, Refusal> {
        let found = self.state.root.user(&user.name);
        if found.is_some_and(|there| there.user == user) {
            return Ok(Vec::new());
        }
        check_name(Made { object: Object::Namespace, name: &user.name, namespace: "" })?;
        let id = match found {
            Some(there) => there.id,
            None => {
                check_room("users", self.state.root.users.len() as u64, USERS_MAX)?;
                PrincipalId(self.state.next.principal)
            }
        };
        Ok(vec![Fact::User(id, user)])
    }

    fn put_scram(&self, user: String, secret: ScramSecret) -> Result<Vec<Fact>, Refusal> {
        let made = Made { object: Object::Namespace, name: &user, namespace: "" };
        if !(SCRAM_ITERATIONS_MIN..=SCRAM_ITERATIONS_MAX).contains(&secret.iterations) {
            let why = format!("between {SCRAM_ITERATIONS_MIN} and {SCRAM_ITERATIONS_MAX} were expected");
            return Err(made.invalid("iterations", why));
        }
        let key_bytes = match secret.hash {
            ScramHash::Sha256 => 32,
            ScramHash::Sha512 => 64,
        };
        let is_key = |key: &[u8]| key.len() == key_bytes;
        if !is_key(&secret.stored_key) || !is_key(&secret.server_key) || secret.salt.len() > SALT_BYTES_MAX {
            return Err(made.invalid("secret", "of another length than its hash makes it"));
        }
        let mut changed = match self.state.root.user(&user) {
            Some(there) => there.user.clone(),
            None => stranger(user),
        };
        changed.scram.retain(|kept| kept.hash != secret.hash);
        changed.scram.push(secret);
        changed.scram.sort_by_key(|kept| kept.hash);
        self.put_user(changed)
    }

    fn put_grant(&self, grant: Grant) -> Result<Vec<Fact>, Refusal> {
        let namespace = self.namespace(&grant.namespace)?;
        let made = Made { object: Object::Namespace, name: &grant.namespace, namespace: &grant.namespace };
        if self.state.root.user(&grant.user).is_none() {
            return Err(no_user(&grant.user));
        }
        if namespace.permits(&grant.user).is_some_and(|there| there.grant == grant) {
            return Ok(Vec::new());
        }
        let wrong = |(access, why)| made.invalid(argument(access), why);
        Permits::of(grant.clone(), BTreeSet::new()).map_err(wrong)?;
        Ok(vec![Fact::Grant(grant)])
    }

    fn put_key_grant(&self, grant: KeyGrant) -> Result<Vec<Fact>, Refusal> {
        let namespace = self.namespace(&grant.namespace)?;
        let made = Made { object: Object::Exchange, name: &grant.exchange, namespace: &grant.namespace };
        let Some(permits) = namespace.permits.get(grant.user.as_str()) else {
            return Err(made.invalid("user", format!("'{}' has no grant in the namespace", grant.user)));
        };
        check_name(made)?;
        match permits.key_grant(&grant.exchange) {
            Some(there) if *there == grant => return Ok(Vec::new()),
            Some(_) => {}
            None => {
                let count = permits.key_grants().count() as u64;
                check_room("exchanges with bounded keys of a user in a namespace", count, KEY_GRANTS_MAX)?;
            }
        }
        let wrong = |(access, why)| made.invalid(argument(access), why);
        Permits::clone(permits).put_keys(grant.clone()).map_err(wrong)?;
        Ok(vec![Fact::KeyGrant(grant)])
    }

    fn put_right(&self, right: Right) -> Result<Vec<Fact>, Refusal> {
        let permits = self.namespace(&right.namespace)?.permits(&right.user);
        if permits.is_some_and(|permits| permits.rights.contains(&right)) {
            return Ok(Vec::new());
        }
        let made = Made { object: right.object, name: &right.name, namespace: &right.namespace };
        check_name(made)?;
        if !is_for(right.object) {
            return Err(made.invalid("object", "rights are given to streams and groups only"));
        }
        let count = permits.map_or(0, |permits| permits.rights.len() as u64);
        check_room("rights of a user in a namespace", count, RIGHTS_MAX)?;
        let mut facts = match self.state.root.user(&right.user) {
            Some(_) => Vec::new(),
            None => self.put_user(stranger(right.user.clone()))?,
        };
        facts.push(Fact::Right(right));
        Ok(facts)
    }

    fn put_policy(&self, policy: Policy) -> Result<Vec<Fact>, Refusal> {
        let namespace = self.namespace(&policy.namespace)?;
        let made = Made { object: Object::Namespace, name: &policy.namespace, namespace: &policy.namespace };
        check_name(Made { name: &policy.name, ..made })?;
        if !is_shallow(&policy.definition) {
            return Err(made.invalid("definition", "nested too deeply"));
        }
        check_policy(policy.operator, &policy.definition).map_err(|(key, why)| made.invalid(&key, why))?;
        CompiledPolicy::of(policy.clone()).map_err(|why| made.invalid("pattern", why))?;
        if namespace.policies().any(|there| *there == policy) {
            return Ok(Vec::new());
        }
        check_room("policies in a namespace", namespace.policies.len() as u64, POLICIES_MAX)?;
        let due = self.state.review_due(namespace.id);
        Ok(due.into_iter().chain([Fact::Policy(policy)]).collect())
    }
}

fn check_name(made: Made<'_>) -> Result<(), Refusal> {
    if made.name.is_empty() || made.name.len() > NAME_BYTES_MAX {
        return Err(made.invalid("name", format!("between 1 and {NAME_BYTES_MAX} bytes were expected")));
    }
    Ok(())
}

/// A user whom no password lets in yet.
fn stranger(name: String) -> User {
    User { name, password_hash: String::new(), tags: Vec::new(), scram: Vec::new() }
}

fn no_user(user: &str) -> Refusal {
    let made = Made { object: Object::Namespace, name: user, namespace: "" };
    made.invalid("user", format!("there is no user '{user}'"))
}

/// The setting of a grant that cannot be read.
fn argument(access: Access) -> &'static str {
    match access {
        Access::Configure => "configure",
        Access::Write => "write",
        Access::Read => "read",
    }
}
