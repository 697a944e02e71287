//! What the registry logs: facts, as they were decided, in a form of their own (`docs/format-registry.md`).
//!
//! An entry is one committed change: a version byte and the facts that make it up, in order. A snapshot is the same facts again,
//! as few as rebuild the state. Replay looks nothing up that a fact could say, so that it does not depend on the code that
//! decided.

mod account;
mod records;
pub(super) mod right;
mod stream;

pub use stream::{PartitionsFact, StreamFact};

use super::bytes::{Reader, Writer, Wrong};
use super::review::Looked;
use crate::router::{ExchangeKind, TargetId};
use bytes::Bytes;
use stele_model::id::{Boot, ExchangeId, HubId, NamespaceId, PrincipalId, QueueId, SessionId, ShardId};
use stele_model::queue::QueueKind;
use stele_model::registry::{AppliesTo, Grant, KeyGrant, Policy, Right, User};
use stele_model::stream::StreamUuid;
use stele_model::value::Arguments;

/// Version byte of an entry.
pub const VERSION: u8 = 1;

/// One change of the registry's state.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The process started: what does not outlive one is gone.
    Boot(Boot),
    /// A namespace is there, with these limits.
    Namespace(NamespaceFact),
    /// It is gone with all that is in it.
    NamespaceGone(NamespaceId),
    /// An exchange is there.
    Exchange(ExchangeFact),
    /// It is gone with its rules and those that led to it.
    ExchangeGone(NamespaceId, ExchangeId),
    /// A queue is there.
    Queue(QueueFact),
    /// It is gone with the rules that led to it.
    QueueGone(QueueId),
    /// A rule is there.
    Rule(RuleFact),
    /// It is gone; an exchange with `auto_delete` that lost its last one goes with it.
    RuleGone(RuleFact),
    /// A user is there, or changed.
    User(PrincipalId, User),
    /// It is gone with its grants.
    UserGone(String),
    /// A grant is there, in place of an earlier one.
    Grant(Grant),
    /// It is gone.
    GrantGone {
        /// Whose.
        user: String,
        /// Where.
        namespace: String,
    },
    /// The keys of a topic exchange are bounded, in place of an earlier bound.
    KeyGrant(KeyGrant),
    /// They are not any more.
    KeyGrantGone {
        /// Whose.
        user: String,
        /// Where.
        namespace: String,
        /// Of which exchange.
        exchange: String,
    },
    /// A right is there.
    Right(Right),
    /// It is gone.
    RightGone(Right),
    /// A policy is there, in place of an earlier one.
    Policy(Policy),
    /// It is gone.
    PolicyGone {
        /// Where.
        namespace: String,
        /// Its name.
        name: String,
        /// An operator's.
        operator: bool,
    },
    /// What the policies of a namespace say is worked out again, step by step, from here on; the policies change in the same entry.
    ReviewDue(NamespaceId, Looked),
    /// That is done so far.
    Reviewed(NamespaceId, Looked),
    /// A stream is there, or changed: without a word about its partitions.
    Stream(StreamFact),
    /// A stream has further partitions.
    Partitions(PartitionsFact),
    /// A stream is gone with its partitions and the rules that led to them.
    StreamGone(StreamUuid),
}

/// See [`Fact::Namespace`].
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceFact {
    /// Its number.
    pub id: NamespaceId,
    /// Its name.
    pub name: String,
    /// Most queues.
    pub queues_max: Option<u64>,
    /// Most connections.
    pub connections_max: Option<u64>,
}

/// See [`Fact::Exchange`].
#[derive(Clone, Debug, PartialEq)]
pub struct ExchangeFact {
    /// Its number.
    pub id: ExchangeId,
    /// Where.
    pub namespace: NamespaceId,
    /// Its name; empty for the default one.
    pub name: String,
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
}

/// See [`Fact::Queue`].
#[derive(Clone, Debug, PartialEq)]
pub struct QueueFact {
    /// Its number.
    pub id: QueueId,
    /// Where.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: String,
    /// The shard it lives on, for ever.
    pub shard: ShardId,
    /// Its type.
    pub kind: QueueKind,
    /// Outlives a restart.
    pub durable: bool,
    /// Gone after its last consumer.
    pub auto_delete: bool,
    /// The session that alone may use it; the queue goes with it.
    pub owner: Option<SessionId>,
    /// As given.
    pub arguments: Arguments,
}

/// See [`Fact::Rule`].
#[derive(Clone, Debug, PartialEq)]
pub struct RuleFact {
    /// Where both ends are.
    pub namespace: NamespaceId,
    /// The exchange it leads from.
    pub source: ExchangeId,
    /// Where it leads.
    pub target: TargetId,
    /// Routing key or pattern.
    pub key: Bytes,
    /// As given.
    pub arguments: Arguments,
}

/// Writes an entry.
#[must_use]
pub fn encode(facts: &[Fact]) -> Bytes {
    let mut out = Writer::default();
    out.u8(VERSION);
    out.count(facts.len());
    facts.iter().for_each(|fact| fact.write(&mut out));
    out.0.freeze()
}

/// Reads an entry, all of it.
///
/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Vec<Fact>, Wrong> {
    let mut input = Reader(bytes);
    let version = input.u8()?;
    if version != VERSION {
        return Err(format!("registry entry version {version} is unknown"));
    }
    let count = input.count()?;
    let facts = (0..count).map(|_| Fact::read(&mut input)).collect::<Result<_, _>>()?;
    if input.0.is_empty() { Ok(facts) } else { Err(format!("{} bytes are left over", input.0.len())) }
}

impl Fact {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::Boot(boot) => {
                out.u8(1);
                out.u64(boot.0);
            }
            Self::Namespace(namespace) => {
                out.u8(2);
                out.u64(namespace.id.0);
                out.text(&namespace.name);
                out.maybe(namespace.queues_max, Writer::u64);
                out.maybe(namespace.connections_max, Writer::u64);
            }
            Self::NamespaceGone(id) => {
                out.u8(3);
                out.u64(id.0);
            }
            Self::Exchange(exchange) => {
                out.u8(4);
                exchange.write(out);
            }
            Self::ExchangeGone(namespace, id) => {
                out.u8(5);
                out.u64(namespace.0);
                out.u64(id.0);
            }
            Self::Queue(queue) => {
                out.u8(6);
                queue.write(out);
            }
            Self::QueueGone(id) => {
                out.u8(7);
                out.u64(id.0);
            }
            Self::Rule(rule) => {
                out.u8(8);
                rule.write(out);
            }
            Self::RuleGone(rule) => {
                out.u8(9);
                rule.write(out);
            }
            Self::User(id, user) => account::write(*id, user, out),
            Self::UserGone(name) => {
                out.u8(11);
                out.text(name);
            }
            Self::Grant(grant) => {
                out.u8(12);
                [&grant.user, &grant.namespace, &grant.configure, &grant.write, &grant.read]
                    .into_iter()
                    .for_each(|text| out.text(text));
            }
            Self::GrantGone { user, namespace } => {
                out.u8(13);
                out.text(user);
                out.text(namespace);
            }
            Self::Right(right) => {
                out.u8(20);
                right::write(right, out);
            }
            Self::RightGone(right) => {
                out.u8(21);
                right::write(right, out);
            }
            Self::KeyGrant(grant) => {
                out.u8(22);
                [&grant.user, &grant.namespace, &grant.exchange, &grant.write, &grant.read]
                    .into_iter()
                    .for_each(|text| out.text(text));
            }
            Self::KeyGrantGone { user, namespace, exchange } => {
                out.u8(23);
                [user, namespace, exchange].into_iter().for_each(|text| out.text(text));
            }
            Self::Policy(policy) => {
                out.u8(14);
                write_policy(policy, out);
            }
            Self::PolicyGone { namespace, name, operator } => {
                out.u8(15);
                out.text(namespace);
                out.text(name);
                out.bool(*operator);
            }
            Self::ReviewDue(id, looked) => write_review(24, *id, *looked, out),
            Self::Reviewed(id, looked) => write_review(25, *id, *looked, out),
            Self::Stream(stream) => {
                out.u8(16);
                stream.write(out);
            }
            Self::Partitions(partitions) => {
                out.u8(17);
                partitions.write(out);
            }
            Self::StreamGone(uuid) => {
                out.u8(18);
                out.array(uuid.0);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(match input.u8()? {
            1 => Self::Boot(Boot(input.u64()?)),
            2 => Self::Namespace(NamespaceFact {
                id: NamespaceId(input.u64()?),
                name: input.text()?,
                queues_max: input.maybe(Reader::u64)?,
                connections_max: input.maybe(Reader::u64)?,
            }),
            3 => Self::NamespaceGone(NamespaceId(input.u64()?)),
            4 => Self::Exchange(ExchangeFact::read(input)?),
            5 => Self::ExchangeGone(NamespaceId(input.u64()?), ExchangeId(input.u64()?)),
            6 => Self::Queue(QueueFact::read(input)?),
            7 => Self::QueueGone(QueueId(input.u64()?)),
            8 => Self::Rule(RuleFact::read(input)?),
            9 => Self::RuleGone(RuleFact::read(input)?),
            kind @ (account::PLAIN | account::WITH_SCRAM) => {
                let (id, user) = account::read(kind, input)?;
                Self::User(id, user)
            }
            11 => Self::UserGone(input.text()?),
            12 => Self::Grant(Grant {
                user: input.text()?,
                namespace: input.text()?,
                configure: input.text()?,
                write: input.text()?,
                read: input.text()?,
            }),
            13 => Self::GrantGone { user: input.text()?, namespace: input.text()? },
            14 => Self::Policy(read_policy(input)?),
            15 => Self::PolicyGone { namespace: input.text()?, name: input.text()?, operator: input.bool()? },
            16 => Self::Stream(StreamFact::read(input)?),
            17 => Self::Partitions(PartitionsFact::read(input)?),
            18 => Self::StreamGone(StreamUuid(input.array()?)),
            20 => Self::Right(right::read(input)?),
            21 => Self::RightGone(right::read(input)?),
            22 => Self::KeyGrant(KeyGrant {
                user: input.text()?,
                namespace: input.text()?,
                exchange: input.text()?,
                write: input.text()?,
                read: input.text()?,
            }),
            23 => {
                Self::KeyGrantGone { user: input.text()?, namespace: input.text()?, exchange: input.text()? }
            }
            kind @ (24 | 25) => {
                let id = NamespaceId(input.u64()?);
                let looked = Looked { exchange: ExchangeId(input.u64()?), queue: QueueId(input.u64()?) };
                if kind == 24 { Self::ReviewDue(id, looked) } else { Self::Reviewed(id, looked) }
            }
            other => return Err(format!("fact of unknown kind {other}")),
        })
    }
}

impl ExchangeFact {
    fn write(&self, out: &mut Writer) {
        out.u64(self.id.0);
        out.u64(self.namespace.0);
        out.text(&self.name);
        out.u8(match self.kind {
            ExchangeKind::Direct => 1,
            ExchangeKind::Topic => 2,
            ExchangeKind::Fanout => 3,
            ExchangeKind::Headers => 4,
        });
        out.bool(self.durable);
        out.bool(self.auto_delete);
        out.bool(self.internal);
        out.arguments(&self.arguments);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            id: ExchangeId(input.u64()?),
            namespace: NamespaceId(input.u64()?),
            name: input.text()?,
            kind: match input.u8()? {
                1 => ExchangeKind::Direct,
                2 => ExchangeKind::Topic,
                3 => ExchangeKind::Fanout,
                4 => ExchangeKind::Headers,
                other => return Err(format!("exchange of unknown kind {other}")),
            },
            durable: input.bool()?,
            auto_delete: input.bool()?,
            internal: input.bool()?,
            arguments: input.arguments()?,
        })
    }
}

impl QueueFact {
    fn write(&self, out: &mut Writer) {
        out.u64(self.id.0);
        out.u64(self.namespace.0);
        out.text(&self.name);
        out.u16(self.shard.0);
        out.u8(match self.kind {
            QueueKind::Classic => 1,
            QueueKind::Quorum => 2,
        });
        out.bool(self.durable);
        out.bool(self.auto_delete);
        out.maybe(self.owner, |out, owner| {
            out.u16(owner.hub.0);
            out.u64(owner.number);
        });
        out.arguments(&self.arguments);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            id: QueueId(input.u64()?),
            namespace: NamespaceId(input.u64()?),
            name: input.text()?,
            shard: ShardId(input.u16()?),
            kind: match input.u8()? {
                1 => QueueKind::Classic,
                2 => QueueKind::Quorum,
                other => return Err(format!("queue of unknown kind {other}")),
            },
            durable: input.bool()?,
            auto_delete: input.bool()?,
            owner: input.maybe(|input| Ok(SessionId { hub: HubId(input.u16()?), number: input.u64()? }))?,
            arguments: input.arguments()?,
        })
    }
}

impl RuleFact {
    fn write(&self, out: &mut Writer) {
        out.u64(self.namespace.0);
        out.u64(self.source.0);
        match self.target {
            TargetId::Queue(id) => {
                out.u8(1);
                out.u64(id.0);
            }
            TargetId::Exchange(id) => {
                out.u8(2);
                out.u64(id.0);
            }
        }
        out.bytes(&self.key);
        out.arguments(&self.arguments);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            namespace: NamespaceId(input.u64()?),
            source: ExchangeId(input.u64()?),
            target: match input.u8()? {
                1 => TargetId::Queue(QueueId(input.u64()?)),
                2 => TargetId::Exchange(ExchangeId(input.u64()?)),
                other => return Err(format!("target of unknown kind {other}")),
            },
            key: input.bytes()?,
            arguments: input.arguments()?,
        })
    }
}

fn write_review(kind: u8, id: NamespaceId, looked: Looked, out: &mut Writer) {
    out.u8(kind);
    [id.0, looked.exchange.0, looked.queue.0].into_iter().for_each(|number| out.u64(number));
}

fn write_policy(policy: &Policy, out: &mut Writer) {
    out.text(&policy.namespace);
    out.text(&policy.name);
    out.text(&policy.pattern);
    out.u8(match policy.applies_to {
        AppliesTo::All => 1,
        AppliesTo::Queues => 2,
        AppliesTo::ClassicQueues => 3,
        AppliesTo::QuorumQueues => 4,
        AppliesTo::Exchanges => 5,
    });
    out.i64(policy.priority);
    out.bool(policy.operator);
    out.arguments(&policy.definition);
}

fn read_policy(input: &mut Reader<'_>) -> Result<Policy, Wrong> {
    Ok(Policy {
        namespace: input.text()?,
        name: input.text()?,
        pattern: input.text()?,
        applies_to: match input.u8()? {
            1 => AppliesTo::All,
            2 => AppliesTo::Queues,
            3 => AppliesTo::ClassicQueues,
            4 => AppliesTo::QuorumQueues,
            5 => AppliesTo::Exchanges,
            other => return Err(format!("policy for unknown things {other}")),
        },
        priority: input.i64()?,
        operator: input.bool()?,
        definition: input.arguments()?,
    })
}
