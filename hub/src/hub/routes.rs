//! Routes that were found, kept as long as they are right: by exchange and key.
//!
//! What must hold: a route is used only if all that it depends on is as it was ([`Because`]); that is looked at once per revision of
//! the snapshot, so that a declaration somewhere costs each used route a few look-ups and no matching. Routes that depend on headers
//! are found again for each record.

use super::flow::Flows;
use super::plan::Choice;
use crate::registry::snapshot::{Exchange, Namespace};
use crate::router::resolve::{Because, Found};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::sync::Arc;
use stele_model::flow::Edge;
use stele_model::id::{ExchangeId, QueueId, Revision, ShardId};
use stele_model::publish::Route;
use stele_record::table::Table;

/// Most routes that are kept. When they are too many, all are forgotten: each costs one match to be found again.
const ROUTES_MAX: usize = 1 << 16;

/// Most queues that kept routes lead to, together: some 40 bytes each.
const QUEUES_MAX: usize = 1 << 20;

/// What one shard gets of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leg {
    pub(super) shard: ShardId,
    pub(super) volatile: bool,
    pub(super) route: Route,
}

/// Where records of one exchange and key go.
#[derive(Debug, PartialEq)]
pub(super) struct Resolved {
    /// The exchange that was published to.
    pub(super) exchange: ExchangeId,
    /// For a persistent record: by shard, queues that keep it apart from those that do not.
    pub(super) persistent: SmallVec<[Leg; 1]>,
    /// For another: by shard.
    pub(super) volatile: SmallVec<[Leg; 1]>,
    /// Edges of the flow graph that it goes over.
    pub(super) edges: SmallVec<[u32; 2]>,
    /// Another record of the same key may go elsewhere.
    pub(super) by_headers: bool,
}

impl Resolved {
    /// Arranges what was found.
    pub(super) fn of(exchange: ExchangeId, found: Found, flows: &mut Flows) -> Self {
        let mut resolved = Self {
            exchange,
            persistent: SmallVec::new(),
            volatile: SmallVec::new(),
            edges: SmallVec::new(),
            by_headers: found.by_headers,
        };
        for hit in &found.hits {
            add(&mut resolved.persistent, hit.shard, !hit.durable, hit.queue);
            add(&mut resolved.volatile, hit.shard, true, hit.queue);
        }
        for hit in found.hits {
            let edge = Edge::Routed { exchange, rule: hit.rule.to_vec(), queue: hit.queue };
            resolved.edges.push(flows.edge(edge));
        }
        if resolved.edges.is_empty() {
            resolved.edges.push(flows.edge(Edge::Unrouted { exchange }));
        }
        resolved
    }

    pub(super) fn legs(&self, persistent: bool) -> &[Leg] {
        if persistent { &self.persistent } else { &self.volatile }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.volatile.is_empty()
    }
}

fn add(legs: &mut SmallVec<[Leg; 1]>, shard: ShardId, volatile: bool, queue: QueueId) {
    match legs.iter_mut().find(|leg| leg.shard == shard && leg.volatile == volatile) {
        Some(leg) => leg.route.push(queue),
        None => legs.push(Leg { shard, volatile, route: smallvec::smallvec![queue] }),
    }
}

/// A route and what it is for. Kept small: with many keys, what a route costs is the memory it is read from.
pub(super) struct Kept {
    exchange: ExchangeId,
    key: SmallVec<[u8; 24]>,
    /// The revision at which it was last known to be right.
    checked: Revision,
    because: SmallVec<[Because; 1]>,
    pub(super) resolved: Arc<Resolved>,
    /// Where the plan at hand has it: for records that are not persistent, and for those that are.
    pub(super) choices: [Choice; 2],
}

/// See the module.
pub(super) struct Routes {
    hasher: FixedState,
    kept: HashTable<Kept>,
    /// Queues that were found since the last time that all was forgotten.
    queues: usize,
    /// What was found last: many keys of one stream go the same way, and share it.
    last: Option<Arc<Resolved>>,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) revision: Revision,
    pub(super) exchange: &'a Exchange,
    pub(super) key: &'a [u8],
}

impl Routes {
    pub(super) fn new(seed: u64) -> Self {
        Self { hasher: FixedState::with_seed(seed), kept: HashTable::new(), queues: 0, last: None }
    }

    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.queues = 0;
        self.last = None;
    }

    /// The route for a record of this key, without looking at its headers; see [`Resolved::by_headers`].
    pub(super) fn find(&mut self, wanted: Wanted<'_>, flows: &mut Flows) -> &mut Kept {
        let Wanted { namespace, revision, exchange, .. } = wanted;
        let key = if exchange.ignores_key() { &[] } else { wanted.key };
        let hash = self.hasher.hash_one((exchange.id, key));
        let is_it = |kept: &Kept| kept.exchange == exchange.id && kept.key[..] == *key;
        if self.kept.len() >= ROUTES_MAX || self.queues >= QUEUES_MAX {
            self.clear();
        }
        let hasher = &self.hasher;
        let hash_of = |kept: &Kept| hasher.hash_one((kept.exchange, &kept.key[..]));
        match self.kept.entry(hash, is_it, hash_of) {
            Entry::Occupied(there) => {
                let kept = there.into_mut();
                if kept.checked != revision {
                    if !kept.because.iter().all(|because| because.holds(namespace)) {
                        *kept = Kept::find(Wanted { key, ..wanted }, flows, &mut self.last);
                        self.queues += kept.resolved.edges.len();
                    }
                    kept.checked = revision;
                }
                kept
            }
            Entry::Vacant(room) => {
                let kept = Kept::find(Wanted { key, ..wanted }, flows, &mut self.last);
                self.queues += kept.resolved.edges.len();
                room.insert(kept).into_mut()
            }
        }
    }
}

impl Kept {
    fn find(wanted: Wanted<'_>, flows: &mut Flows, last: &mut Option<Arc<Resolved>>) -> Self {
        let Wanted { namespace, revision, exchange, key } = wanted;
        let mut found = Found::default();
        found.resolve(namespace, exchange, &[key], Table::default());
        let because = std::mem::take(&mut found.because).into_iter().collect();
        let resolved = Resolved::of(exchange.id, found, flows);
        let resolved = match last {
            Some(last) if **last == resolved => Arc::clone(last),
            _ => Arc::clone(last.insert(Arc::new(resolved))),
        };
        Self {
            exchange: exchange.id,
            key: key.into(),
            checked: revision,
            because,
            resolved,
            choices: [Choice::default(); 2],
        }
    }
}
