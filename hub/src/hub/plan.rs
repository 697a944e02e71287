//! One batch on its way to shards: which items go where, grouped into runs, and what is counted for it.
//!
//! The memory is kept from batch to batch. What must hold: the items of a run are neighbours; for any one queue the runs that
//! name it are in the order of the batch.

use super::flow::Flows;
use super::routes::Resolved;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;
use stele_model::id::{Call, HubId, ShardId};
use stele_model::publish::{LinkNumber, Publishes, Route, RoutedRun, ShardPublish};

/// A route that items of the batch take.
struct Chosen {
    resolved: Arc<Resolved>,
    persistent: bool,
    legs: SmallVec<[ChosenLeg; 2]>,
    records: u64,
    bytes: u64,
}

/// What one shard gets of it.
struct ChosenLeg {
    shard: ShardId,
    volatile: bool,
    route: u32,
    /// The last run of this leg, to be grown as long as neighbours come.
    run: Option<u32>,
}

#[derive(Default)]
struct ShardPart {
    runs: Vec<RoutedRun>,
    routes: Vec<Route>,
    awaited: bool,
}

/// See the module.
pub(super) struct Plan {
    chosen: Vec<Chosen>,
    shards: Vec<ShardPart>,
    /// Shards that get something, in the order in which they came up.
    used: Vec<ShardId>,
    /// Items that go to more than one shard.
    pub(super) spread: Vec<Range<u32>>,
}

/// A route chosen for the batch at hand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice(usize);

impl Plan {
    pub(super) fn new(shards: u16) -> Self {
        let shards = (0..shards).map(|_| ShardPart::default()).collect();
        Self { chosen: Vec::new(), shards, used: Vec::new(), spread: Vec::new() }
    }

    /// Takes up a route. `found` may have been taken up before in this batch.
    pub(super) fn choose(&mut self, resolved: &Arc<Resolved>, persistent: bool) -> Choice {
        let is_it =
            |chosen: &Chosen| chosen.persistent == persistent && Arc::ptr_eq(&chosen.resolved, resolved);
        // Newest first: batches mostly alternate between few routes, and a route taken up twice costs only a longer list.
        if let Some(back) = self.chosen.iter().rev().take(8).position(is_it) {
            return Choice(self.chosen.len() - 1 - back);
        }
        let mut legs = SmallVec::new();
        for leg in resolved.legs(persistent) {
            let part = &mut self.shards[usize::from(leg.shard.0)];
            if part.routes.is_empty() {
                self.used.push(leg.shard);
            }
            let route = u32::try_from(part.routes.len()).expect("a batch has fewer than 4 Gi routes");
            part.routes.push(leg.route.clone());
            legs.push(ChosenLeg { shard: leg.shard, volatile: leg.volatile, route, run: None });
        }
        self.chosen.push(Chosen { resolved: resolved.clone(), persistent, legs, records: 0, bytes: 0 });
        Choice(self.chosen.len() - 1)
    }

    /// Sends item `n` along a chosen route.
    pub(super) fn add(&mut self, choice: Choice, n: u32, bytes: u32, awaited: bool) {
        let Chosen { resolved, legs, records, bytes: sum, .. } = &mut self.chosen[choice.0];
        *records += 1;
        *sum += u64::from(bytes);
        for leg in legs {
            let part = &mut self.shards[usize::from(leg.shard.0)];
            part.awaited |= awaited;
            let run = leg.run.and_then(|run| part.runs.get_mut(run as usize));
            match run {
                Some(run) if run.items.end == n => run.items.end += 1,
                _ => {
                    leg.run = u32::try_from(part.runs.len()).ok();
                    part.runs.push(RoutedRun { items: n..n + 1, route: leg.route, volatile: leg.volatile });
                }
            }
        }
        if resolved.is_spread {
            match self.spread.last_mut() {
                Some(last) if last.end == n => last.end += 1,
                _ => self.spread.push(n..n + 1),
            }
        }
    }

    /// Whether no queue takes what goes along this route.
    pub(super) fn is_nowhere(&self, choice: Choice) -> bool {
        self.chosen[choice.0].resolved.is_empty()
    }

    /// Counts what was planned, by exchange: `published` is told of records and bytes, and each rule of its share.
    pub(super) fn count(
        &self,
        flows: &mut Flows,
        mut published: impl FnMut(&mut Flows, &Resolved, u64, u64),
    ) {
        for Chosen { resolved, records, bytes, .. } in self.chosen.iter().filter(|chosen| chosen.records > 0)
        {
            published(flows, resolved, *records, *bytes);
            resolved.edges.iter().for_each(|edge| flows.add(*edge, *records, *bytes));
        }
    }

    /// Turns the plan into what is sent, one part for each shard, and empties it.
    pub(super) fn send(
        &mut self,
        hub: HubId,
        batch: &Arc<Publishes>,
        link: Option<LinkNumber>,
        mut part: impl FnMut(ShardId) -> Call,
        out: &mut Vec<(ShardId, stele_model::shard::ShardOp)>,
    ) -> u32 {
        let mut sent = 0;
        for shard in self.used.drain(..) {
            let ShardPart { runs, routes, awaited } = std::mem::take(&mut self.shards[usize::from(shard.0)]);
            if runs.is_empty() {
                continue;
            }
            sent += 1;
            let call = part(shard);
            let publish = ShardPublish { hub, call, awaited, link, batch: batch.clone(), runs, routes };
            out.push((shard, stele_model::shard::ShardOp::Publish(publish)));
        }
        self.chosen.clear();
        sent
    }
}
