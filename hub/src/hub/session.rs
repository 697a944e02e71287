//! What a hub knows of one of its sessions.

use super::shared_groups::Taker;
use super::watch::Watches;
use crate::live::Slot;
use crate::registry::access::Permits;
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use stele_model::flow::Party;
use stele_model::id::{ExchangeId, NamespaceId, QueueId, ShardId};
use stele_model::op::{Op, Submit};
use stele_model::refusal::{Access, Object};
use stele_model::session::Principal;
use stele_model::stream::StreamUuid;

/// Exchanges of which a session keeps whether it may write to them.
const WRITES_MAX: usize = 64;

/// Shared groups of which a session keeps the edge.
pub(super) const TAKEN_EDGES_MAX: usize = 16;

/// Streams of which a session keeps the edge.
const STREAM_EDGES_MAX: usize = 64;

/// A live attachment to a queue.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    /// The queue.
    pub(super) queue: QueueId,
    /// Where it lives.
    pub(super) shard: ShardId,
    /// It is a partition of a stream.
    pub(super) is_stream: bool,
    /// Number of the flow graph's edge from the queue to the session's party.
    pub(super) edge: u32,
}

/// See the module.
pub(super) struct Attached {
    pub(super) principal: Principal,
    pub(super) party: Party,
    pub(super) namespace: Option<(NamespaceId, Arc<str>)>,
    /// Lanes that have failed: what they submit is dropped until they are closed. At most as many as there are lanes.
    pub(super) failed: BTreeSet<u16>,
    /// Submits without an answer.
    pub(super) open: usize,
    /// Definitions among them.
    pub(super) defining: usize,
    /// Submits that wait for those definitions.
    pub(super) held: VecDeque<Submit>,
    /// The session is gone, but for what is held.
    pub(super) leaving: bool,
    pub(super) readers: BTreeMap<u64, Reader>,
    /// Subscriptions for direct replies.
    pub(super) replies: BTreeSet<u64>,
    /// Shards to be told when it goes.
    pub(super) touched: BTreeSet<ShardId>,
    /// It asked the registry for something, and may own objects.
    pub(super) defined: bool,
    writes: Writes,
    /// Edges of the flow graph from its party to the exchanges it publishes to.
    pub(super) published: SmallVec<[(ExchangeId, u32); 4]>,
    /// The same for what it publishes live, once it did.
    pub(super) live: Option<LiveEdges>,
    /// Those to the streams it appends to.
    pub(super) appended: StreamEdges,
    /// Those from the streams it reads.
    pub(super) read: StreamEdges,
    /// Those from the shared groups it takes from, the newest last.
    pub(super) taken: SmallVec<[TakenEdge; 1]>,
    /// What it watches.
    pub(super) watches: Watches,
    /// Where its pulls and pushes take.
    pub(super) takers: BTreeMap<u64, Taker>,
    /// Its place among those who listen live, once it did.
    pub(super) listens: Option<Slot>,
}

/// Numbers of a session's edges for what it publishes live.
#[derive(Clone, Copy)]
pub(super) struct LiveEdges {
    /// From its party to the exchange.
    pub(super) published: u32,
    /// What nobody heard.
    pub(super) unrouted: u32,
}

/// Number of the edge from a shared group to a session's party.
pub(super) struct TakenEdge {
    pub(super) stream: StreamUuid,
    pub(super) group: Box<str>,
    pub(super) edge: u32,
}

/// Numbers of a session's edges to streams; the newest is found first.
#[derive(Default)]
pub(super) struct StreamEdges(SmallVec<[(StreamUuid, u32); 1]>);

impl StreamEdges {
    /// The number of the edge to a stream; looked up where it is not known yet.
    pub(super) fn edge(&mut self, stream: StreamUuid, find: impl FnOnce() -> u32) -> u32 {
        if let Some((_, edge)) = self.0.iter().rev().find(|(of, _)| *of == stream) {
            return *edge;
        }
        if self.0.len() == STREAM_EDGES_MAX {
            self.0.clear();
        }
        let edge = find();
        self.0.push((stream, edge));
        edge
    }
}

/// Exchanges that a session may write to, as long as its grant is this one.
#[derive(Default)]
struct Writes {
    permits: Option<Arc<Permits>>,
    exchanges: SmallVec<[Box<str>; 4]>,
}

impl Attached {
    pub(super) fn new(principal: Principal, party: Party) -> Self {
        Self {
            principal,
            party,
            namespace: None,
            failed: BTreeSet::new(),
            open: 0,
            defining: 0,
            held: VecDeque::new(),
            leaving: false,
            readers: BTreeMap::new(),
            replies: BTreeSet::new(),
            touched: BTreeSet::new(),
            defined: false,
            writes: Writes::default(),
            published: SmallVec::new(),
            live: None,
            appended: StreamEdges::default(),
            read: StreamEdges::default(),
            taken: SmallVec::new(),
            watches: Watches::default(),
            takers: BTreeMap::new(),
            listens: None,
        }
    }

    pub(super) fn become_other(&mut self, principal: Principal, party: Party) {
        self.principal = principal;
        self.party = party;
        self.writes = Writes::default();
        self.published.clear();
        self.live = None;
        self.taken.clear();
        self.appended = StreamEdges::default();
        self.read = StreamEdges::default();
    }

    /// Definitions go to the registry in order; everything else but settles and credit waits for them.
    pub(super) fn must_wait(&self, op: &Op) -> bool {
        match op {
            Op::Live(_) | Op::Settle(_) | Op::Credit(_) | Op::Unwatch { .. } => false,
            Op::SettleShares(_) | Op::TakerCredit(_) | Op::Untake { .. } => false,
            Op::Define(_) => !self.held.is_empty(),
            _ => self.defining > 0 || !self.held.is_empty(),
        }
    }

    /// Whether it may read from the exchange, by this grant.
    pub(super) fn may_read(&self, permits: Option<&Arc<Permits>>, exchange: &str) -> bool {
        permits.is_some_and(|permits| permits.allows(Access::Read, Object::Exchange, exchange))
    }

    /// Whether there are topic exchanges with which it may use some keys only, by the grant that it wrote with last.
    pub(super) fn bounds_keys(&self) -> bool {
        self.writes.permits.as_ref().is_some_and(|permits| permits.bounds_keys())
    }

    /// Whether it may write to the exchange, by this grant.
    pub(super) fn may_write(&mut self, permits: Option<&Arc<Permits>>, exchange: &str) -> bool {
        let Some(permits) = permits else { return false };
        let is_same = self.writes.permits.as_ref().is_some_and(|known| Arc::ptr_eq(known, permits));
        if !is_same {
            self.writes = Writes { permits: Some(permits.clone()), exchanges: SmallVec::new() };
        }
        if self.writes.exchanges.iter().any(|known| **known == *exchange) {
            return true;
        }
        let allowed = permits.allows(Access::Write, Object::Exchange, exchange);
        if allowed {
            if self.writes.exchanges.len() == WRITES_MAX {
                self.writes.exchanges.clear();
            }
            self.writes.exchanges.push(exchange.into());
        }
        allowed
    }
}

/// Whether a request has an answer in any case. A pull may have one.
pub(super) fn is_answered(op: &Op) -> bool {
    match op {
        Op::CloseLane | Op::Live(_) | Op::Settle(_) | Op::Credit(_) | Op::Unwatch { .. } => false,
        Op::Untake { .. } | Op::TakerCredit(_) | Op::ShareListen { .. } => false,
        Op::SettleShares(settles) => settles.awaited,
        _ => true,
    }
}

pub(super) fn is_definition(submit: &Submit) -> bool {
    matches!(submit.op, Op::Define(_))
}
