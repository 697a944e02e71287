//! The flow graph as JSON: who publishes through what, by which rule into what, and who reads it. Pure: counts, names and rates go
//! in, the graph comes out.

use super::rates::Rate;
use crate::inspect::{Names, ObjectName};
use serde::Serialize;
use std::collections::BTreeMap;
use stele_model::flow::{Edge, Flow, FlowCounts, Party};
use stele_model::id::{ExchangeId, QueueId};
use stele_model::shard::QueueCounts;
use stele_model::stream::StreamUuid;

/// Most edges that are told, besides the sums of shared groups; the rest is left out and counted.
pub(super) const EDGES_MAX: usize = 10_000;

/// The answer to `GET /api/flow`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Graph {
    /// Parties, exchanges and queues that something went through, and all queues.
    pub nodes: Vec<NodeView>,
    /// What went from where to where.
    pub edges: Vec<EdgeView>,
    /// Edges beyond the most that an answer holds.
    pub edges_left_out: usize,
}

/// A node. `id` is what edges refer to; it stays the same as long as the object lives.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NodeView {
    /// Who publishes or reads.
    Party {
        /// What edges say.
        id: String,
        /// The user's name.
        principal: String,
        /// What the client calls itself.
        client: String,
        /// The dialect it speaks.
        dialect: &'static str,
    },
    /// An exchange.
    Exchange {
        /// What edges say.
        id: String,
        /// Its namespace; empty if the exchange is gone.
        namespace: String,
        /// Its name.
        name: String,
        /// It is gone.
        gone: bool,
        /// What no rule took.
        unrouted: Unrouted,
    },
    /// A queue.
    Queue {
        /// What edges say.
        id: String,
        /// Its namespace; empty if the queue is gone.
        namespace: String,
        /// Its name.
        name: String,
        /// It is gone.
        gone: bool,
        /// Ready records.
        ready: u64,
        /// Unsettled deliveries.
        unsettled: u64,
        /// Consumers.
        consumers: u32,
        /// Deliveries that ended as accepted, ever.
        accepted: u64,
    },
    /// A stream.
    Stream {
        /// What edges say.
        id: String,
        /// Its namespace; empty if the stream is gone.
        namespace: String,
        /// Its name.
        name: String,
        /// It is gone.
        gone: bool,
    },
    /// A group that reads streams, or takes a stream's records one by one.
    Group {
        /// What edges say.
        id: String,
        /// Its name.
        name: String,
    },
}

/// Records and bytes over one edge, ever and per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EdgeView {
    /// What kind: `published`, `routed`, `delivered`, `dead_lettered`, from a stream to a group whose positions were remembered `committed`,
    /// or, from an exchange to a party that listened live, `heard`.
    pub kind: &'static str,
    /// A node's id.
    pub from: String,
    /// A node's id.
    pub to: String,
    /// The key of the rule, for `routed`; the filter of the subscription, for `heard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The queue group that heard it as one, for `heard`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why, for `dead_lettered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Records since the process began.
    pub records: u64,
    /// Bytes since the process began.
    pub bytes: u64,
    /// Records per second of late.
    pub records_per_s: f64,
    /// Bytes per second of late.
    pub bytes_per_s: f64,
}

impl EdgeView {
    fn new(kind: &'static str, (from, to): (String, String), flow: Flow, rate: Rate) -> Self {
        Self {
            kind,
            from,
            to,
            rule: None,
            group: None,
            reason: None,
            records: flow.records,
            bytes: flow.bytes,
            records_per_s: rate.records,
            bytes_per_s: rate.bytes,
        }
    }
}

/// What no rule of an exchange took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Unrouted {
    /// Records since the process began.
    pub records: u64,
    /// Bytes since the process began.
    pub bytes: u64,
    /// Records per second of late.
    pub records_per_s: f64,
}

/// Draws the graph. `rate` is asked for each edge.
pub(super) fn graph(
    counts: &FlowCounts,
    names: &Names,
    queues: &[QueueCounts],
    rate: impl Fn(&Edge, Flow) -> Rate,
) -> Graph {
    let mut drawing = Drawing { names, nodes: BTreeMap::new(), taken: BTreeMap::new() };
    for counts in queues {
        drawing.counted_queue(counts);
    }
    let mut edges = Vec::new();
    for (edge, flow) in counts.edges.iter().take(EDGES_MAX) {
        let rate = rate(edge, *flow);
        edges.extend(drawing.edge(edge, *flow, rate));
    }
    edges.extend(drawing.group_sums());
    Graph {
        nodes: drawing.nodes.into_values().collect(),
        edges,
        edges_left_out: counts.edges.len().saturating_sub(EDGES_MAX),
    }
}

struct Drawing<'a> {
    names: &'a Names,
    nodes: BTreeMap<String, NodeView>,
    /// What all parties together took of each shared group.
    taken: BTreeMap<(StreamUuid, String), (Flow, Rate)>,
}

impl Drawing<'_> {
    /// The edge, with its nodes drawn; unrouted records have no edge, the exchange carries them.
    fn edge(&mut self, edge: &Edge, flow: Flow, rate: Rate) -> Option<EdgeView> {
        let view = |kind, from, to| EdgeView::new(kind, (from, to), flow, rate);
        match edge {
            Edge::Published { party, exchange } => {
                Some(view("published", self.party(party), self.exchange(*exchange)))
            }
            Edge::Routed { exchange, rule, queue } => {
                let rule = Some(String::from_utf8_lossy(rule).into_owned());
                Some(EdgeView { rule, ..view("routed", self.exchange(*exchange), self.queue(*queue)) })
            }
            Edge::Delivered { queue, party } => {
                Some(view("delivered", self.queue(*queue), self.party(party)))
            }
            Edge::DeadLettered { queue, exchange, reason } => {
                let target = self.dead_letter_target(*queue, exchange);
                Some(EdgeView { reason: Some(reason), ..view("dead_lettered", self.queue(*queue), target) })
            }
            Edge::Appended { party, stream } => {
                Some(view("published", self.party(party), self.stream(*stream)))
            }
            Edge::Read { stream, party } => Some(view("delivered", self.stream(*stream), self.party(party))),
            Edge::Heard { exchange, party, filter, group } => {
                let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
                let (rule, group) = (Some(text(filter)), group.as_ref().map(text));
                Some(EdgeView { rule, group, ..view("heard", self.exchange(*exchange), self.party(party)) })
            }
            Edge::Taken { stream, group, party } => {
                let (sum, rates) = self.taken.entry((*stream, group.clone())).or_default();
                sum.merge(flow);
                *rates = Rate { records: rates.records + rate.records, bytes: rates.bytes + rate.bytes };
                Some(view("delivered", self.shared_group(*stream, group), self.party(party)))
            }
            Edge::Committed { stream, group, .. } => {
                Some(view("committed", self.stream(*stream), self.group(group)))
            }
            Edge::Unrouted { exchange } => {
                let id = self.exchange(*exchange);
                if let Some(NodeView::Exchange { unrouted, .. }) = self.nodes.get_mut(&id) {
                    *unrouted =
                        Unrouted { records: flow.records, bytes: flow.bytes, records_per_s: rate.records };
                }
                None
            }
        }
    }

    /// Edges from streams to the shared groups whose records were taken.
    fn group_sums(&mut self) -> Vec<EdgeView> {
        let taken = std::mem::take(&mut self.taken);
        let edges = taken.into_iter().map(|((stream, group), (flow, rate))| {
            let ends = (self.stream(stream), self.shared_group(stream, &group));
            EdgeView::new("delivered", ends, flow, rate)
        });
        edges.collect()
    }

    fn party(&mut self, party: &Party) -> String {
        let id = format!("party/{}/{}/{}", party.dialect, party.principal, party.client);
        self.nodes.entry(id.clone()).or_insert_with(|| NodeView::Party {
            id: id.clone(),
            principal: party.principal.clone(),
            client: party.client.clone(),
            dialect: party.dialect,
        });
        id
    }

    fn exchange(&mut self, exchange: ExchangeId) -> String {
        let id = format!("exchange/{exchange}");
        let name = self.names.exchanges.get(&exchange).cloned();
        let gone = name.is_none();
        let name = name.unwrap_or_else(|| unnamed(&id));
        self.put_exchange(id, name, gone)
    }

    /// The target is known by name only; it may not be there.
    fn dead_letter_target(&mut self, queue: QueueId, exchange: &str) -> String {
        let namespace = self.names.queues.get(&queue).map_or("", |queue| queue.namespace.as_str());
        let name = ObjectName { namespace: namespace.to_owned(), name: exchange.to_owned() };
        match self.names.exchanges.iter().find(|(_, known)| **known == name) {
            Some((id, _)) => self.exchange(*id),
            None => self.put_exchange(format!("exchange/{namespace}/{exchange}"), name, true),
        }
    }

    fn put_exchange(&mut self, id: String, name: ObjectName, gone: bool) -> String {
        self.nodes.entry(id.clone()).or_insert_with(|| NodeView::Exchange {
            id: id.clone(),
            namespace: name.namespace,
            name: name.name,
            gone,
            unrouted: Unrouted::default(),
        });
        id
    }

    fn stream(&mut self, stream: StreamUuid) -> String {
        let id = format!("stream/{:032x}", u128::from_be_bytes(stream.0));
        let name = self.names.streams.get(&stream).cloned();
        self.nodes.entry(id.clone()).or_insert_with(|| {
            let gone = name.is_none();
            let ObjectName { namespace, name } = name.unwrap_or_else(|| unnamed(&id));
            NodeView::Stream { id: id.clone(), namespace, name, gone }
        });
        id
    }

    fn group(&mut self, name: &str) -> String {
        self.put_group(format!("group/{name}"), name)
    }

    /// A group that belongs to a stream.
    fn shared_group(&mut self, stream: StreamUuid, name: &str) -> String {
        self.put_group(format!("group/{:032x}/{name}", u128::from_be_bytes(stream.0)), name)
    }

    fn put_group(&mut self, id: String, name: &str) -> String {
        let node = || NodeView::Group { id: id.clone(), name: name.to_owned() };
        self.nodes.entry(id.clone()).or_insert_with(node);
        id
    }

    /// A queue, or the stream that the number is a partition of.
    fn queue(&mut self, queue: QueueId) -> String {
        if let Some(stream) = self.names.partitions.get(&queue) {
            return self.stream(*stream);
        }
        self.counted_queue(&QueueCounts { queue, ..QueueCounts::default() })
    }

    fn counted_queue(&mut self, counts: &QueueCounts) -> String {
        let id = format!("queue/{}", counts.queue);
        let name = self.names.queues.get(&counts.queue).cloned();
        self.nodes.entry(id.clone()).or_insert_with(|| {
            let gone = name.is_none();
            let ObjectName { namespace, name } = name.unwrap_or_else(|| unnamed(&id));
            NodeView::Queue {
                id: id.clone(),
                namespace,
                name,
                gone,
                ready: counts.ready,
                unsettled: counts.unsettled,
                consumers: counts.consumers,
                accepted: counts.accepted,
            }
        });
        id
    }
}

/// What is shown of an object whose name is gone with it.
fn unnamed(id: &str) -> ObjectName {
    ObjectName { namespace: String::new(), name: id.to_owned() }
}
