//! What a session's work on definitions comes to: the facts to log, or why not. Reads the state, changes nothing.
//!
//! Equivalence, reserved names and which grant is needed for what follow RabbitMQ (`docs/dialects/amqp091.md` lists what its
//! clients see of it).

use super::arguments::{
    Checked, Made, Properties, StreamAsked, check_exchange, check_queue, check_rule,
    compared_queue_arguments, equal, equal_argument,
};
use super::entry::{ExchangeFact, Fact, QueueFact, RuleFact};
use super::names::{base64, secret};
use super::snapshot::{Exchange, Namespace, Queue, Sequence};
use super::streams::check_not_stream;
use super::{Decision, EXCHANGES_MAX, NAME_BYTES_MAX, QUEUES_MAX, RULES_MAX, Registry};
use crate::router::{ExchangeKind, TargetId};
use std::sync::Arc;
use stele_model::id::{ExchangeId, QueueId, SessionId, ShardId};
use stele_model::op::{Define, DestinationName, Rule};
use stele_model::outcome::Done;
use stele_model::queue::QueueKind;
use stele_model::refusal::{Access, Object, Refusal};
use stele_model::session::Principal;
use stele_model::value::{Arguments, Value};

type Decided = Result<Decision, Refusal>;

/// Types of exchange that RabbitMQ has in plug-ins and Stele does not have yet.
const PLUGIN_KINDS: &[&str] = &[
    "x-consistent-hash",
    "x-delayed-message",
    "x-jms-topic",
    "x-local-random",
    "x-modulus-hash",
    "x-random",
    "x-recent-history",
];

/// An exchange as a client asks for it.
struct AskedExchange {
    name: String,
    kind: String,
    passive: bool,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: Arguments,
}

/// A queue as a client asks for it.
struct AskedQueue {
    name: String,
    passive: bool,
    durable: bool,
    exclusive: bool,
    auto_delete: bool,
    arguments: Arguments,
}

impl Registry {
    /// See the module.
    pub(super) fn decide_define(
        &mut self,
        session: SessionId,
        principal: &Principal,
        namespace: &str,
        define: Define,
    ) -> Decided {
        let missing = || missing(Object::Namespace, namespace, namespace);
        let namespace = self.state.root.namespace(namespace).cloned().ok_or_else(missing)?;
        let who = Who { session, principal, namespace: &namespace };
        match define {
            Define::DeclareExchange { name, kind, passive, durable, auto_delete, internal, arguments } => {
                let asked = AskedExchange { name, kind, passive, durable, auto_delete, internal, arguments };
                self.declare_exchange(&who, asked)
            }
            Define::DeleteExchange { name, if_unused } => delete_exchange(&who, &name, if_unused),
            Define::DeclareQueue { name, passive, durable, exclusive, auto_delete, arguments } => {
                let asked = AskedQueue { name, passive, durable, exclusive, auto_delete, arguments };
                self.declare_queue(&who, asked)
            }
            Define::DeleteQueue { .. } => {
                unreachable!("hubs send the deletion of a queue to its shard (S10)")
            }
            Define::CreateStream(asked) => self.create_stream(&who, asked),
            Define::AlterStream { stream, settings, arguments, check_only } => {
                self.alter_stream(&who, &stream, (settings, arguments), check_only)
            }
            Define::AddPartitions { stream, partitions, check_only } => {
                self.add_partitions(&who, &stream, partitions, check_only)
            }
            Define::DeleteStream { stream } => self.delete_stream(&who, &stream),
            Define::Bind(rule) => self.bind(&who, rule),
            Define::Unbind(rule) => unbind(&who, rule),
        }
    }

    fn declare_exchange(&self, who: &Who<'_>, asked: AskedExchange) -> Decided {
        let found = who.namespace.exchange(&asked.name);
        let made = who.made(Object::Exchange, &asked.name);
        who.check_not_default(&asked.name)?;
        if asked.passive {
            return found.map(|_| Decision::unit(Vec::new())).ok_or_else(|| who.missing(made));
        }
        let kind = ExchangeKind::of(&asked.kind).ok_or_else(|| unknown_kind(&asked.kind))?;
        who.check(Access::Configure, Object::Exchange, &asked.name)?;
        if let Some(exchange) = found {
            return equivalent_exchange(made, exchange, kind, &asked).map(|()| Decision::unit(Vec::new()));
        }
        check_name(made)?;
        check_exchange(made, &asked.arguments)?;
        if let Some(alternate) = asked.arguments.get("alternate-exchange").and_then(Value::as_text) {
            who.check(Access::Read, Object::Exchange, &asked.name)?;
            who.check(Access::Write, Object::Exchange, alternate)?;
        }
        check_room("exchanges", self.state.exchanges_len(), EXCHANGES_MAX)?;
        Ok(Decision::unit(vec![Fact::Exchange(ExchangeFact {
            id: ExchangeId(self.state.next.exchange),
            namespace: who.namespace.id,
            name: asked.name,
            kind,
            durable: asked.durable,
            auto_delete: asked.auto_delete,
            internal: asked.internal,
            arguments: asked.arguments,
        })]))
    }

    fn declare_queue(&mut self, who: &Who<'_>, mut asked: AskedQueue) -> Decided {
        if asked.passive {
            who.sequence(&asked.name)?;
            return Ok(Decision { facts: Vec::new(), done: declared(asked.name) });
        }
        if asked.name.is_empty() {
            asked.name = self.make_up_name(who.namespace);
        } else {
            check_name(who.made(Object::Queue, &asked.name))?;
        }
        let made = who.made(Object::Queue, &asked.name);
        who.check(Access::Configure, Object::Queue, &asked.name)?;
        let properties =
            Properties { durable: asked.durable, exclusive: asked.exclusive, auto_delete: asked.auto_delete };
        let kind = match check_queue(made, properties, &asked.arguments)? {
            Checked::Queue(kind) => kind,
            Checked::Stream(settings) => {
                if let Some(queue) = who.namespace.queue(&asked.name) {
                    return equal(made, "x-queue-type", "stream", kind_word(queue.kind()))
                        .and_then(|()| Err(made.invalid("x-queue-type", "a queue")));
                }
                let stream = StreamAsked { settings, arguments: asked.arguments };
                return self.declare_stream(who, &asked.name, stream);
            }
        };
        check_not_stream(made, &asked.arguments, who.namespace)?;
        if let Some(queue) = who.namespace.queue(&asked.name) {
            equivalent_queue(who, made, queue, kind, &asked)?;
            return Ok(Decision { facts: Vec::new(), done: declared(asked.name) });
        }
        if let Some(exchange) = asked.arguments.get("x-dead-letter-exchange").and_then(Value::as_text) {
            who.check(Access::Read, Object::Queue, &asked.name)?;
            who.check(Access::Write, Object::Exchange, exchange)?;
        }
        let there = self.state.root.queues.len() + self.state.root.partitions.len();
        check_room("queues", there as u64, QUEUES_MAX)?;
        if let Some(max) = who.namespace.queues_max {
            let what = format!("queues in namespace '{}'", who.namespace.name);
            check_room(&what, who.namespace.queues.len() as u64, max)?;
        }
        let fact = QueueFact {
            id: QueueId(self.state.next.queue),
            namespace: who.namespace.id,
            name: asked.name.clone(),
            shard: self.home(who.session),
            kind,
            durable: asked.durable,
            auto_delete: asked.auto_delete,
            owner: asked.exclusive.then_some(who.session),
            arguments: asked.arguments,
        };
        Ok(Decision { facts: vec![Fact::Queue(fact)], done: declared(asked.name) })
    }

    /// The shard of a session's queues: the emptiest one when it declares its first, and then always the same.
    fn home(&mut self, session: SessionId) -> ShardId {
        let emptiest = self.emptiest_shard();
        *self.homes.entry(session).or_insert(emptiest)
    }

    fn emptiest_shard(&self) -> ShardId {
        let counts = (0..).map(ShardId).zip(&self.state.shard_queues);
        counts.min_by_key(|(_, count)| **count).map_or(ShardId(0), |(shard, _)| shard)
    }

    /// A name that is not taken; in the form that RabbitMQ's clients know.
    fn make_up_name(&mut self, namespace: &Namespace) -> String {
        loop {
            self.names_made += 1;
            let half = |n| secret(self.setup.seed, &[self.names_made, n]).to_be_bytes();
            let name = format!("amq.gen-{}", base64(&[half(0), half(1)].concat()));
            if namespace.queue(&name).is_none() {
                return name;
            }
        }
    }

    fn bind(&self, who: &Who<'_>, rule: Rule) -> Decided {
        let (source, target) = who.ends(&rule)?;
        let source = source.ok_or_else(|| who.missing(who.made(Object::Exchange, &rule.source)))?;
        let target = target.ok_or_else(|| who.missing(who.made_of(&rule.destination)))?;
        let made = who.made(Object::Exchange, &rule.source);
        if rule.key.len() > NAME_BYTES_MAX {
            return Err(made.invalid("routing_key", format!("longer than {NAME_BYTES_MAX} bytes")));
        }
        check_rule(made, source.kind, &rule.arguments)?;
        who.check_key(source, &rule.key)?;
        let fact = who.rule_fact(source, target, rule);
        if fact.is_in(source) {
            return Ok(Decision::unit(Vec::new()));
        }
        check_room("rules", self.state.rules_len, RULES_MAX)?;
        Ok(Decision::unit(vec![Fact::Rule(fact)]))
    }
}

fn delete_exchange(who: &Who<'_>, name: &str, if_unused: bool) -> Decided {
    who.check_not_default(name)?;
    who.check(Access::Configure, Object::Exchange, name)?;
    if name.starts_with("amq.") {
        let why =
            format!("deletion of system exchange '{name}' in vhost '{}' not allowed", who.namespace.name);
        return Err(Refusal::Reserved { object: Object::Exchange, name: name.to_owned(), why });
    }
    let Some(exchange) = who.namespace.exchange(name) else { return Ok(Decision::unit(Vec::new())) };
    if if_unused && exchange.rules_len() > 0 {
        let namespace = who.namespace.name.to_string();
        return Err(Refusal::InUse { object: Object::Exchange, name: name.to_owned(), namespace });
    }
    Ok(Decision::unit(vec![Fact::ExchangeGone(who.namespace.id, exchange.id)]))
}

fn unbind(who: &Who<'_>, rule: Rule) -> Decided {
    let (Some(source), Some(target)) = who.ends(&rule)? else { return Ok(Decision::unit(Vec::new())) };
    who.check_key(source, &rule.key)?;
    let fact = who.rule_fact(source, target, rule);
    Ok(Decision::unit(fact.is_in(source).then_some(Fact::RuleGone(fact)).into_iter().collect()))
}

/// On whose behalf, and where.
pub(super) struct Who<'a> {
    session: SessionId,
    principal: &'a Principal,
    pub(super) namespace: &'a Arc<Namespace>,
}

impl<'a> Who<'a> {
    pub(super) fn made<'n>(&'n self, object: Object, name: &'n str) -> Made<'n> {
        Made { object, name, namespace: &self.namespace.name }
    }

    fn made_of<'n>(&'n self, destination: &'n DestinationName) -> Made<'n> {
        match destination {
            DestinationName::Queue(name) => self.made(Object::Queue, name),
            DestinationName::Exchange(name) => self.made(Object::Exchange, name),
        }
    }

    fn missing(&self, what: Made<'_>) -> Refusal {
        missing(what.object, what.name, what.namespace)
    }

    pub(super) fn check(&self, access: Access, object: Object, name: &str) -> Result<(), Refusal> {
        self.namespace.check(&self.principal.name, access, object, name)
    }

    /// Whether the user may bind with this key.
    fn check_key(&self, source: &Exchange, key: &[u8]) -> Result<(), Refusal> {
        self.namespace.check_key(&self.principal.name, Access::Read, source, key)
    }

    fn check_not_default(&self, name: &str) -> Result<(), Refusal> {
        if !name.is_empty() {
            return Ok(());
        }
        let why = "operation not permitted on the default exchange".to_owned();
        Err(Refusal::Reserved { object: Object::Exchange, name: String::new(), why })
    }

    /// A queue or partition that is there, and not another session's own.
    fn sequence(&self, name: &str) -> Result<QueueId, Refusal> {
        let found = self.namespace.sequence(name);
        let found = found.ok_or_else(|| self.missing(self.made(Object::Queue, name)))?;
        if let Sequence::Queue(queue) = found
            && queue.is_locked_for(self.session)
        {
            return Err(locked(self.made(Object::Queue, name)));
        }
        Ok(found.id())
    }

    /// Both ends of a rule, checked for grants; `None` for what is not there.
    fn ends(&self, rule: &Rule) -> Result<(Option<&'a Arc<Exchange>>, Option<TargetId>), Refusal> {
        self.check_not_default(&rule.source)?;
        let target = match &rule.destination {
            DestinationName::Queue(name) => {
                self.check(Access::Write, Object::Queue, name)?;
                self.check(Access::Read, Object::Exchange, &rule.source)?;
                match self.sequence(name) {
                    Ok(id) => Some(TargetId::Queue(id)),
                    Err(Refusal::Missing { .. }) => None,
                    Err(refusal) => return Err(refusal),
                }
            }
            DestinationName::Exchange(name) => {
                self.check_not_default(name)?;
                self.check(Access::Write, Object::Exchange, name)?;
                self.check(Access::Read, Object::Exchange, &rule.source)?;
                self.namespace.exchange(name).map(|exchange| TargetId::Exchange(exchange.id))
            }
        };
        Ok((self.namespace.exchange(&rule.source), target))
    }

    fn rule_fact(&self, source: &Exchange, target: TargetId, rule: Rule) -> RuleFact {
        let Rule { key, arguments, .. } = rule;
        RuleFact { namespace: self.namespace.id, source: source.id, target, key, arguments }
    }
}

impl Namespace {
    /// Whether a user may do this here.
    pub(crate) fn check(
        &self,
        user: &str,
        access: Access,
        object: Object,
        name: &str,
    ) -> Result<(), Refusal> {
        if self.permits(user).is_some_and(|permits| permits.allows(access, object, name)) {
            return Ok(());
        }
        Err(Refusal::Denied {
            access,
            object,
            name: name.to_owned(),
            namespace: self.name.to_string(),
            user: user.to_owned(),
        })
    }
}

impl Namespace {
    /// Whether a user may use this key with an exchange; any, if that goes by other things than patterns of keys.
    pub(crate) fn check_key(
        &self,
        user: &str,
        access: Access,
        exchange: &Exchange,
        key: &[u8],
    ) -> Result<(), Refusal> {
        let is_bounded = exchange.kind == ExchangeKind::Topic;
        let permits = self.permits(user).filter(|permits| is_bounded && permits.bounds_keys());
        if permits.is_none_or(|permits| permits.allows_key(access, &exchange.name, key)) {
            return Ok(());
        }
        Err(Refusal::KeyDenied {
            access,
            key: String::from_utf8_lossy(key).into_owned(),
            exchange: exchange.name.to_string(),
            namespace: self.name.to_string(),
            user: user.to_owned(),
        })
    }
}

fn declared(name: String) -> Done {
    Done::Queue { name, ready: 0, consumers: 0 }
}

pub(crate) fn missing(object: Object, name: &str, namespace: &str) -> Refusal {
    Refusal::Missing { object, name: name.to_owned(), namespace: namespace.to_owned() }
}

fn locked(made: Made<'_>) -> Refusal {
    Refusal::Locked { name: made.name.to_owned(), namespace: made.namespace.to_owned() }
}

fn unknown_kind(kind: &str) -> Refusal {
    if PLUGIN_KINDS.contains(&kind) {
        Refusal::NotImplemented { what: format!("exchange type '{kind}'") }
    } else {
        Refusal::UnknownExchangeKind { kind: kind.to_owned() }
    }
}

pub(super) fn check_room(what: &str, len: u64, max: u64) -> Result<(), Refusal> {
    if len < max { Ok(()) } else { Err(Refusal::Limit { what: what.to_owned(), max }) }
}

/// A name that a client may give to something new.
pub(super) fn check_name(made: Made<'_>) -> Result<(), Refusal> {
    let Made { object, name, .. } = made;
    if name.len() > NAME_BYTES_MAX {
        return Err(made.invalid("name", format!("longer than {NAME_BYTES_MAX} bytes")));
    }
    if name.starts_with("amq.") {
        let why = format!("{object} name '{name}' contains reserved prefix 'amq.*'");
        return Err(Refusal::Reserved { object, name: name.to_owned(), why });
    }
    Ok(())
}

fn equivalent_exchange(
    made: Made<'_>,
    exchange: &Exchange,
    kind: ExchangeKind,
    asked: &AskedExchange,
) -> Result<(), Refusal> {
    equal(made, "type", kind.word(), exchange.kind.word())?;
    equal(made, "durable", asked.durable, exchange.durable)?;
    equal(made, "auto_delete", asked.auto_delete, exchange.auto_delete)?;
    equal(made, "internal", asked.internal, exchange.internal)?;
    equal_argument(made, "alternate-exchange", &asked.arguments, &exchange.arguments)
}

fn equivalent_queue(
    who: &Who<'_>,
    made: Made<'_>,
    queue: &Queue,
    kind: QueueKind,
    asked: &AskedQueue,
) -> Result<(), Refusal> {
    // Also a session's own exclusive queue, asked for as a shared one, is locked: RabbitMQ's rule.
    if queue.owner() != asked.exclusive.then_some(who.session) {
        return Err(locked(made));
    }
    equal(made, "durable", asked.durable, queue.spec.settings.durable)?;
    equal(made, "auto_delete", asked.auto_delete, queue.spec.settings.auto_delete)?;
    equal(made, "x-queue-type", kind_word(kind), kind_word(queue.kind()))?;
    compared_queue_arguments()
        .try_for_each(|name| equal_argument(made, name, &asked.arguments, &queue.arguments))
}

fn kind_word(kind: QueueKind) -> &'static str {
    match kind {
        QueueKind::Classic => "classic",
        QueueKind::Quorum => "quorum",
    }
}
