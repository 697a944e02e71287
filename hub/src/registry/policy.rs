//! What applies to a queue in the end: its arguments, the policy that matches it, and the operator's.
//!
//! RabbitMQ's rules: of several policies the one with the highest priority, and no other; an operator's is merged with a
//! user's; of two limits the stricter holds; for everything else an argument wins over a policy.

use super::access::pattern;
use super::arguments::overflow;
use regex::Regex;
use std::sync::Arc;
use stele_model::id::SessionId;
use stele_model::queue::{DeadLetter, QueueKind, QueueSettings};
use stele_model::registry::{AppliesTo, Policy};
use stele_model::value::{Arguments, Value};

/// Deliveries that may fail in a quorum queue if nothing else is said; RabbitMQ's since 4.0.
pub(crate) const DELIVERY_LIMIT: u32 = 20;

/// A policy and its pattern.
#[derive(Clone, Debug)]
pub(crate) struct CompiledPolicy {
    /// As given.
    pub(crate) policy: Policy,
    pattern: Regex,
}

impl CompiledPolicy {
    /// Compiles a policy.
    ///
    /// # Errors
    /// Why its pattern cannot be read.
    pub(crate) fn of(policy: Policy) -> Result<Self, String> {
        Ok(Self { pattern: pattern(&policy.pattern)?, policy })
    }

    fn applies_to_queue(&self, name: &str, kind: QueueKind) -> bool {
        let kind_fits = match self.policy.applies_to {
            AppliesTo::All | AppliesTo::Queues => true,
            AppliesTo::ClassicQueues => kind == QueueKind::Classic,
            AppliesTo::QuorumQueues => kind == QueueKind::Quorum,
            AppliesTo::Exchanges => false,
        };
        kind_fits && self.pattern.is_match(name)
    }

    fn applies_to_exchange(&self, name: &str) -> bool {
        matches!(self.policy.applies_to, AppliesTo::All | AppliesTo::Exchanges) && self.pattern.is_match(name)
    }
}

/// The policies in force for one queue.
#[derive(Clone, Copy, Default)]
pub(crate) struct InForce<'a> {
    /// A user's.
    pub(crate) policy: Option<&'a Policy>,
    /// An operator's.
    pub(crate) operator: Option<&'a Policy>,
}

/// Finds what is in force for a queue. `policies` are sorted, highest priority first.
pub(crate) fn for_queue<'a>(policies: &'a [Arc<CompiledPolicy>], name: &str, kind: QueueKind) -> InForce<'a> {
    let find = |operator| {
        let found = policies.iter().find(|candidate| {
            candidate.policy.operator == operator && candidate.applies_to_queue(name, kind)
        });
        found.map(|found| &found.policy)
    };
    InForce { policy: find(false), operator: find(true) }
}

/// Finds the policy in force for an exchange.
pub(crate) fn for_exchange<'a>(policies: &'a [Arc<CompiledPolicy>], name: &str) -> Option<&'a Policy> {
    let found =
        policies.iter().find(|candidate| !candidate.policy.operator && candidate.applies_to_exchange(name));
    found.map(|found| &found.policy)
}

/// What a queue is declared as.
#[derive(Clone, Copy)]
pub(crate) struct Declared<'a> {
    /// Its type.
    pub(crate) kind: QueueKind,
    /// Outlives a restart.
    pub(crate) durable: bool,
    /// Gone after its last consumer.
    pub(crate) auto_delete: bool,
    /// The session that alone may use it.
    pub(crate) owner: Option<SessionId>,
    /// As given; checked by [`super::arguments::check_queue`].
    pub(crate) arguments: &'a Arguments,
}

/// The sum of it all.
#[must_use]
pub(crate) fn settings(declared: Declared<'_>, in_force: InForce<'_>) -> QueueSettings {
    let sources = Sources { declared, in_force };
    // A negative number asks for no limit; it gives way to any that does not.
    let delivery_max = match sources.numbers("delivery-limit").is_empty() {
        true => Some(DELIVERY_LIMIT),
        false => sources.strictest("delivery-limit").map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
    };
    QueueSettings {
        kind: declared.kind,
        durable: declared.durable,
        auto_delete: declared.auto_delete,
        ttl_ms: sources.strictest("message-ttl"),
        expires_ms: sources.strictest("expires"),
        length_max: sources.strictest("max-length"),
        bytes_max: sources.strictest("max-length-bytes"),
        overflow: sources.text("overflow").and_then(overflow).unwrap_or_default(),
        dead_letter: sources.text("dead-letter-exchange").map(|exchange| DeadLetter {
            exchange: exchange.to_owned(),
            key: sources.text("dead-letter-routing-key").map(str::to_owned),
        }),
        priority_max: sources.argument("max-priority").and_then(Value::as_int).and_then(priority_max),
        delivery_max: delivery_max.filter(|_| declared.kind == QueueKind::Quorum),
        single_active: sources.argument("single-active-consumer") == Some(&Value::Bool(true)),
        owner: declared.owner,
    }
}

/// 0 means what no argument means: one order for all.
fn priority_max(asked: i64) -> Option<u8> {
    u8::try_from(asked).ok().filter(|max| *max > 0)
}

struct Sources<'a> {
    declared: Declared<'a>,
    in_force: InForce<'a>,
}

impl<'a> Sources<'a> {
    fn argument(&self, key: &str) -> Option<&'a Value> {
        self.declared.arguments.get(&format!("x-{key}"))
    }

    fn policy(&self, key: &str) -> Option<&'a Value> {
        let of = |policy: Option<&'a Policy>| policy.and_then(|policy| policy.definition.get(key));
        of(self.in_force.operator).or_else(|| of(self.in_force.policy))
    }

    fn numbers(&self, key: &str) -> smallvec::SmallVec<[i64; 3]> {
        let of = |policy: Option<&'a Policy>| policy.and_then(|policy| policy.definition.get(key));
        let all = [self.argument(key), of(self.in_force.policy), of(self.in_force.operator)];
        all.into_iter().flatten().filter_map(Value::as_int).collect()
    }

    fn strictest(&self, key: &str) -> Option<u64> {
        self.numbers(key).into_iter().filter_map(|number| u64::try_from(number).ok()).min()
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.argument(key).or_else(|| self.policy(key))?.as_text()
    }
}
