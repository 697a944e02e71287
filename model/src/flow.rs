//! Counts on the edges of the flow graph: who → through what → by which rule → into what → to whom.
//!
//! Kept per IO thread as plain numbers, merged when somebody asks.

use crate::id::{ExchangeId, QueueId};
use crate::stream::StreamUuid;
use std::collections::BTreeMap;

/// A party outside: who publishes or reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Party {
    /// The user's name.
    pub principal: String,
    /// What the client calls itself: connection name, else product.
    pub client: String,
    /// The dialect it speaks, for example `amqp091`.
    pub dialect: &'static str,
}

/// One edge of the graph.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// A party published through an exchange.
    Published {
        /// Who.
        party: Party,
        /// Through what.
        exchange: ExchangeId,
    },
    /// A party appended to a stream.
    Appended {
        /// Who.
        party: Party,
        /// Into what.
        stream: StreamUuid,
    },
    /// A party listened live: so it was with records published through an exchange. Filters that are too many to be counted apart stand
    /// under wider ones.
    Heard {
        /// The exchange of the subject space.
        exchange: ExchangeId,
        /// Who.
        party: Party,
        /// The filter it listens by.
        filter: Vec<u8>,
        /// The group whose member it is; `None`: it hears all.
        group: Option<Vec<u8>>,
    },
    /// A party read a stream.
    Read {
        /// From what.
        stream: StreamUuid,
        /// Who.
        party: Party,
    },
    /// A party took records of a stream as one of a shared group.
    Taken {
        /// From what.
        stream: StreamUuid,
        /// Of which group.
        group: String,
        /// Who.
        party: Party,
    },
    /// A party committed positions of a stream for a group: records count the commits.
    Committed {
        /// Which stream.
        stream: StreamUuid,
        /// For which group.
        group: String,
        /// Who.
        party: Party,
    },
    /// A rule of an exchange took records into a queue. The key is the rule's, not the record's.
    Routed {
        /// The exchange that was published to.
        exchange: ExchangeId,
        /// The key of the rule that led to the queue last (several may have matched; then the first).
        rule: Vec<u8>,
        /// The queue.
        queue: QueueId,
    },
    /// Nothing took it.
    Unrouted {
        /// The exchange.
        exchange: ExchangeId,
    },
    /// A party was sent records of a queue.
    Delivered {
        /// The queue.
        queue: QueueId,
        /// Whom.
        party: Party,
    },
    /// Dead letters left a queue for an exchange, by reason.
    DeadLettered {
        /// The queue.
        queue: QueueId,
        /// The exchange's name.
        exchange: String,
        /// The reason's word.
        reason: &'static str,
    },
}

/// Records and bytes that went over an edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Records.
    pub records: u64,
    /// Bytes of records.
    pub bytes: u64,
}

impl Flow {
    /// All of another one.
    pub fn merge(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }

    /// One more record.
    pub fn add(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }
}

/// All counts of one hub, or of several merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// By edge.
    pub edges: BTreeMap<Edge, Flow>,
}

impl FlowCounts {
    /// Adds `other` to this.
    pub fn merge(&mut self, other: &Self) {
        for (edge, flow) in &other.edges {
            self.edges.entry(edge.clone()).or_default().merge(*flow);
        }
    }
}
