//! Counts on the edges of the flow graph. An edge is looked up when a route or a subscription is made, and counted by its number
//! once for each batch.

use std::collections::BTreeMap;
use stele_model::flow::{Edge, Flow, FlowCounts, Party};
use stele_model::id::ExchangeId;

/// Most edges that one hub counts. Beyond it new edges are not counted apart until some are gone.
const EDGES_MAX: usize = 1 << 16;

/// Fewest edges worth looking through for those that are gone.
const EDGES_PRUNED_MIN: usize = 1 << 10;

/// Number of the edge that stands for all that found no room; it is not shown.
const REST: u32 = 0;

/// Most filters of one live listener that are counted apart. Beyond it filters are counted by their first word, and when there are as many
/// again of these, all as one.
const FILTERS_MAX: usize = 32;

/// See the module.
pub(super) struct Flows {
    numbers: BTreeMap<Edge, u32>,
    flows: Vec<Flow>,
    free: Vec<u32>,
    /// Edges at which the next look is due: twice as many as the last one left, so that a look costs little for each new edge and what
    /// is gone never outweighs what is there.
    prune_at: usize,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            numbers: BTreeMap::new(),
            flows: vec![Flow::default()],
            free: Vec::new(),
            prune_at: EDGES_PRUNED_MIN,
        }
    }
}

impl Flows {
    /// Edges may have gone since the last [`Self::prune`]: enough were added.
    pub(super) fn wants_pruning(&self) -> bool {
        self.numbers.len() >= self.prune_at
    }

    /// The number of an edge.
    pub(super) fn edge(&mut self, edge: Edge) -> u32 {
        if let Some(number) = self.numbers.get(&edge) {
            return *number;
        }
        if self.numbers.len() >= EDGES_MAX {
            return REST;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.flows.push(Flow::default());
            u32::try_from(self.flows.len() - 1).expect("edges are bounded")
        });
        self.numbers.insert(edge, number);
        number
    }

    /// The number of the edge to a live listener. A first word that begins with an underscore is an address that a client made up for the
    /// answers to its requests: these are counted by it alone.
    pub(super) fn heard(
        &mut self,
        exchange: ExchangeId,
        party: &Party,
        filter: &[u8],
        group: Option<&[u8]>,
    ) -> u32 {
        let edge = |filter: &[u8], group: Option<&[u8]>| Edge::Heard {
            exchange,
            party: party.clone(),
            filter: filter.to_vec(),
            group: group.map(<[u8]>::to_vec),
        };
        let first = filter.split(|byte| *byte == b'.').next().unwrap_or_default();
        let by_first = [first, b".>"].concat();
        let steps = [(filter, group, FILTERS_MAX), (&by_first[..], None, 2 * FILTERS_MAX)];
        for (filter, group, count_max) in steps.into_iter().skip(usize::from(first.starts_with(b"_"))) {
            let edge = edge(filter, group);
            if let Some(number) = self.numbers.get(&edge) {
                return *number;
            }
            if self.count_heard(exchange, party, count_max) < count_max {
                return self.edge(edge);
            }
        }
        self.edge(edge(b">", None))
    }

    /// How many edges lead to a live listener; no more than `count_max` are counted.
    fn count_heard(&self, exchange: ExchangeId, party: &Party, count_max: usize) -> usize {
        let first = Edge::Heard { exchange, party: party.clone(), filter: Vec::new(), group: None };
        let is_its = |edge: &Edge| matches!(edge, Edge::Heard { exchange: of, party: whose, .. } if *of == exchange && whose == party);
        self.numbers.range(first..).take(count_max).take_while(|(edge, _)| is_its(edge)).count()
    }

    /// Takes back what was counted in the same batch.
    pub(super) fn take_back(&mut self, edge: u32, part: Flow) {
        let flow = &mut self.flows[edge as usize];
        assert!(flow.records >= part.records && flow.bytes >= part.bytes, "it was counted before");
        flow.records -= part.records;
        flow.bytes -= part.bytes;
    }

    /// Counts.
    pub(super) fn add(&mut self, edge: u32, records: u64, bytes: u64) {
        let flow = &mut self.flows[edge as usize];
        flow.records += records;
        flow.bytes += bytes;
    }

    /// Forgets edges that are not live. Nobody may hold their numbers any more.
    pub(super) fn prune(&mut self, is_live: impl Fn(&Edge, u32) -> bool) {
        let Self { numbers, flows, free, prune_at } = self;
        numbers.retain(|edge, number| {
            let keep = is_live(edge, *number);
            if !keep {
                flows[*number as usize] = Flow::default();
                free.push(*number);
            }
            keep
        });
        *prune_at = (2 * numbers.len()).clamp(EDGES_PRUNED_MIN, EDGES_MAX);
    }

    pub(super) fn counts(&self) -> FlowCounts {
        let counted = self.numbers.iter().map(|(edge, number)| (edge.clone(), self.flows[*number as usize]));
        FlowCounts { edges: counted.filter(|(_, flow)| flow.records > 0).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::QueueId;

    fn edge(queue: u64) -> Edge {
        let party = Party { principal: "u".to_owned(), client: "c".to_owned(), dialect: "amqp091" };
        Edge::Delivered { queue: QueueId(queue), party }
    }

    #[test]
    fn edges_of_queues_that_come_and_go_do_not_pile_up() {
        let mut flows = Flows::default();
        for queue in 0..100_000 {
            if flows.wants_pruning() {
                flows.prune(|edge, _| matches!(edge, Edge::Delivered { queue: of, .. } if of.0 + 10 > queue));
            }
            let number = flows.edge(edge(queue));
            assert_ne!(number, REST);
            flows.add(number, 1, 1);
        }
        assert!(flows.flows.len() <= EDGES_PRUNED_MIN + 1, "{} edges have memory", flows.flows.len());
    }

    #[test]
    fn filters_of_a_listener_that_are_too_many_are_counted_under_wider_ones() {
        let mut flows = Flows::default();
        let listener =
            |client: &str| Party { principal: "u".to_owned(), client: client.to_owned(), dialect: "nats" };
        let (one, other) = (listener("one"), listener("other"));
        for n in 0..1000 {
            for filter in [format!("orders.{n}"), format!("_INBOX.{n}.*"), format!("word{n}.*.a")] {
                let edge = flows.heard(ExchangeId(1), &one, filter.as_bytes(), None);
                flows.add(edge, 1, 10);
            }
            let edge = flows.heard(ExchangeId(1), &other, b"orders.*", Some(b"q"));
            flows.add(edge, 1, 10);
        }
        let mut counted = BTreeMap::new();
        for (edge, flow) in flows.counts().edges {
            let Edge::Heard { party, filter, group, .. } = edge else { panic!("nothing else was counted") };
            counted.insert((party.client, String::from_utf8(filter).unwrap(), group.is_some()), flow.records);
        }
        let records = |client: &str, filter: &str, in_group| {
            counted.get(&(client.to_owned(), filter.to_owned(), in_group)).copied().unwrap_or(0)
        };
        assert_eq!(records("other", "orders.*", true), 1000);
        assert_eq!(records("one", "orders.3", false), 1);
        assert_eq!(records("one", "_INBOX.>", false), 1000);
        assert!(records("one", "orders.>", false) > 900 && records("one", ">", false) > 900, "{counted:?}");
        assert_eq!(counted.values().sum::<u64>(), 4000);
        assert!(counted.len() <= 2 * FILTERS_MAX + 3, "{} edges", counted.len());
    }

    #[test]
    fn an_edge_that_is_kept_keeps_its_count() {
        let mut flows = Flows::default();
        let (kept, gone) = (flows.edge(edge(1)), flows.edge(edge(2)));
        flows.add(kept, 3, 30);
        flows.add(gone, 4, 40);
        flows.prune(|_, number| number == kept);
        let again = flows.edge(edge(3));
        flows.add(again, 5, 50);
        let counts: Vec<_> = flows.counts().edges.into_values().map(|flow| flow.records).collect();
        assert_eq!(counts, [3, 5]);
    }
}
