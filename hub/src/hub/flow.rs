//! Counts on the edges of the flow graph. An edge is looked up when a route or a subscription is made, and counted by its number
//! once for each batch.

use std::collections::BTreeMap;
use stele_model::flow::{Edge, Flow, FlowCounts};

/// Most edges that one hub counts. Beyond it new edges are not counted apart until some are gone.
const EDGES_MAX: usize = 1 << 16;

/// Number of the edge that stands for all that found no room; it is not shown.
const REST: u32 = 0;

/// See the module.
pub(super) struct Flows {
    numbers: BTreeMap<Edge, u32>,
    flows: Vec<Flow>,
    free: Vec<u32>,
}

impl Default for Flows {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), flows: vec![Flow::default()], free: Vec::new() }
    }
}

impl Flows {
    pub(super) fn is_full(&self) -> bool {
        self.numbers.len() >= EDGES_MAX
    }

    /// The number of an edge.
    pub(super) fn edge(&mut self, edge: Edge) -> u32 {
        if let Some(number) = self.numbers.get(&edge) {
            return *number;
        }
        if self.is_full() {
            return REST;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.flows.push(Flow::default());
            u32::try_from(self.flows.len() - 1).expect("edges are bounded")
        });
        self.numbers.insert(edge, number);
        number
    }

    /// Counts.
    pub(super) fn add(&mut self, edge: u32, records: u64, bytes: u64) {
        let flow = &mut self.flows[edge as usize];
        flow.records += records;
        flow.bytes += bytes;
    }

    /// Forgets edges that are not live. Nobody may hold their numbers any more.
    pub(super) fn prune(&mut self, is_live: impl Fn(&Edge) -> bool) {
        let Self { numbers, flows, free } = self;
        numbers.retain(|edge, number| {
            let keep = is_live(edge);
            if !keep {
                flows[*number as usize] = Flow::default();
                free.push(*number);
            }
            keep
        });
    }

    pub(super) fn counts(&self) -> FlowCounts {
        let counted = self.numbers.iter().map(|(edge, number)| (edge.clone(), self.flows[*number as usize]));
        FlowCounts { edges: counted.filter(|(_, flow)| flow.records > 0).collect() }
    }
}
