//! One batch on its way to shards: which items go where, grouped into runs, and what is counted for it.
//!
//! The memory is kept from batch to batch. What must hold: the items of a run are neighbours; for any one queue the runs that
//! name it are in the order of the batch.

use super::flow::Flows;
use super::routes::{Leg, Resolved};
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;
use stele_model::id::{Call, HubId, ShardId};
use stele_model::publish::{LinkNumber, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::shard::ShardOp;

/// A route that items of the batch take.
struct Chosen {
    resolved: Arc<Resolved>,
    legs: SmallVec<[ChosenLeg; 2]>,
    records: u64,
    bytes: u64,
}

/// What one shard gets of it.
struct ChosenLeg {
    shard: ShardId,
    /// Index into the shard's routes.
    route: u32,
}

/// One shard's share of the batch.
#[derive(Default)]
struct ShardPart {
    runs: Vec<RoutedRun>,
    routes: Vec<Route>,
    /// For each route: whether it is volatile, and its last run, to be grown as long as neighbours come.
    last: Vec<(bool, Option<u32>)>,
    awaited: bool,
}

/// Newest routes of a shard that are compared with one that is taken up. Records of many keys often go to the same queues, and should
/// be one run; a route that is there twice costs only a longer list.
const ROUTES_COMPARED: usize = 16;

impl ShardPart {
    /// The index of a route.
    fn route(&mut self, leg: &Leg) -> u32 {
        let newest = self.routes.iter().zip(&self.last).rev().take(ROUTES_COMPARED);
        let back = newest
            .into_iter()
            .position(|(route, (volatile, _))| *volatile == leg.volatile && *route == leg.route);
        let at = match back {
            Some(back) => self.routes.len() - 1 - back,
            None => {
                self.routes.push(leg.route.clone());
                self.last.push((leg.volatile, None));
                self.routes.len() - 1
            }
        };
        u32::try_from(at).expect("a batch has fewer than 4 Gi routes")
    }

    fn add(&mut self, n: u32, route: u32) {
        let (volatile, last) = &mut self.last[route as usize];
        if let Some(run) = last.and_then(|run| self.runs.get_mut(run as usize))
            && run.items.end == n
        {
            run.items.end += 1;
            return;
        }
        *last = u32::try_from(self.runs.len()).ok();
        self.runs.push(RoutedRun { items: n..n + 1, route, volatile: *volatile });
    }
}

/// See the module.
pub(super) struct Plan {
    /// Counts plans from 1, so that a kept route knows whether it was taken up in this one.
    number: u64,
    chosen: Vec<Chosen>,
    shards: Vec<ShardPart>,
    /// Shards that get something, in the order in which they came up.
    used: Vec<ShardId>,
    /// Items that go more than one way, and how many.
    pub(super) spread: Spread,
}

/// A route taken up for the batch at hand. By default: for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    plan: u64,
    index: u32,
}

impl Plan {
    pub(super) fn new(shards: u16) -> Self {
        let shards = (0..shards).map(|_| ShardPart::default()).collect();
        Self { number: 1, chosen: Vec::new(), shards, used: Vec::new(), spread: Spread::default() }
    }

    /// Whether a route was taken up in this plan.
    pub(super) fn knows(&self, choice: Choice) -> bool {
        choice.plan == self.number
    }

    /// Takes up a route.
    pub(super) fn choose(&mut self, resolved: &Arc<Resolved>, persistent: bool) -> Choice {
        let mut legs = SmallVec::new();
        for leg in resolved.legs(persistent) {
            let part = &mut self.shards[usize::from(leg.shard.0)];
            if part.routes.is_empty() {
                self.used.push(leg.shard);
            }
            legs.push(ChosenLeg { shard: leg.shard, route: part.route(leg) });
        }
        self.chosen.push(Chosen { resolved: resolved.clone(), legs, records: 0, bytes: 0 });
        let index = u32::try_from(self.chosen.len() - 1).expect("a batch has fewer than 4 Gi routes");
        Choice { plan: self.number, index }
    }

    /// Sends item `n` along a route that was taken up.
    pub(super) fn add(&mut self, choice: Choice, n: u32, bytes: u32, awaited: bool) {
        let Chosen { legs, records, bytes: sum, .. } = &mut self.chosen[choice.index as usize];
        *records += 1;
        *sum += u64::from(bytes);
        for leg in legs.iter() {
            let part = &mut self.shards[usize::from(leg.shard.0)];
            part.awaited |= awaited;
            part.add(n, leg.route);
        }
        if legs.len() > 1 {
            self.spread.add(n, legs.len());
        }
    }

    /// Whether no queue takes what goes along this route.
    pub(super) fn is_nowhere(&self, choice: Choice) -> bool {
        self.chosen[choice.index as usize].resolved.is_empty()
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
        out: &mut Vec<(ShardId, ShardOp)>,
    ) -> u32 {
        let mut sent = 0;
        for shard in self.used.drain(..) {
            let part_of = &mut self.shards[usize::from(shard.0)];
            part_of.last.clear();
            let (runs, routes) = (std::mem::take(&mut part_of.runs), std::mem::take(&mut part_of.routes));
            let awaited = std::mem::take(&mut part_of.awaited);
            if runs.is_empty() {
                continue;
            }
            sent += 1;
            let call = part(shard);
            let publish = ShardPublish { hub, call, awaited, link, batch: batch.clone(), runs, routes };
            out.push((shard, ShardOp::Publish(publish)));
        }
        self.chosen.clear();
        self.number += 1;
        sent
    }
}

/// Items that go more than one way: to more than one shard, or to queues of one that keep them and to some that do not.
#[derive(Default)]
pub(super) struct Spread(Vec<(Range<u32>, usize)>);

impl Spread {
    fn add(&mut self, n: u32, ways: usize) {
        match self.0.last_mut() {
            Some((items, same)) if items.end == n && *same == ways => items.end += 1,
            _ => self.0.push((n..n + 1, ways)),
        }
    }

    /// How many ways item `n` goes.
    pub(super) fn ways(&self, n: u32) -> usize {
        let at = self.0.partition_point(|(items, _)| items.end <= n);
        self.0.get(at).filter(|(items, _)| items.contains(&n)).map_or(1, |(_, ways)| *ways)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
