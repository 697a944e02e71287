//! What a queue is set to: the sum of its arguments and the policies that match it, as the registry worked it out.
//!
//! A shard is told this and nothing else of a queue's definition.

use crate::id::{NamespaceId, QueueId, SessionId};

/// What a queue does, by its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum QueueKind {
    /// RabbitMQ's classic queue.
    #[default]
    Classic,
    /// RabbitMQ's quorum queue: durable, with a delivery limit. There is one copy on one node here.
    Quorum,
}

/// What happens to a publish when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Overflow {
    /// The oldest ready record makes room.
    #[default]
    DropHead,
    /// The publish is refused.
    RejectPublish,
    /// The publish is refused and dead-lettered.
    RejectPublishDlx,
}

/// Where dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Name of the exchange, in the queue's namespace.
    pub exchange: String,
    /// Routing key in place of the record's own (and its CC keys).
    pub key: Option<String>,
}

/// A queue's settings. `None` stands for "no limit".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// Its type.
    pub kind: QueueKind,
    /// Records outlive a restart if they are persistent. `false`: all its records are volatile.
    pub durable: bool,
    /// Gone after its last consumer.
    pub auto_delete: bool,
    /// Longest stay of a record, milliseconds.
    pub ttl_ms: Option<u64>,
    /// Gone when unused for so long, milliseconds.
    pub expires_ms: Option<u64>,
    /// Most ready records (S17).
    pub length_max: Option<u64>,
    /// Most bytes of bodies of ready records.
    pub bytes_max: Option<u64>,
    /// What happens at those two.
    pub overflow: Overflow,
    /// Where dead letters go; `None`: nowhere.
    pub dead_letter: Option<DeadLetter>,
    /// Highest priority in use; `None`: one order for all.
    pub priority_max: Option<u8>,
    /// Deliveries that count and fail before a record is a dead letter.
    pub delivery_max: Option<u32>,
    /// One consumer at a time, the next in line takes over.
    pub single_active: bool,
    /// The only session that may use it; the queue goes with it (S12).
    pub owner: Option<SessionId>,
}

/// A queue as its shard is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    /// Its number.
    pub id: QueueId,
    /// Where it lives.
    pub namespace: NamespaceId,
    /// Its name; a shard needs it only for the history of dead letters.
    pub name: String,
    /// What it does.
    pub settings: QueueSettings,
}
