//! Publishes on the condition of the last record of many subjects (S7): they wait until that is known.
//!
//! Called by the shard's table of verbs for every publish. To find the last record that matches a pattern may take a look at every subject, in
//! many turns. What must hold: publishes of a hub are stored in their order, so what comes from the same hub waits behind one that
//! waits; each is decided on the state of the turn that stores it: what is found is kept right by what comes and goes until then. Attached
//! state: nobody was answered for what waits, and a restart forgets it. Bounds: a hub has so many publishes without an answer; a step stores
//! one. Not here: conditions of a bundle's records before its last one, which are looked up when it ends.

use super::super::effect::Turn;
use super::Shard;
use crate::stream::tally::LastSearch;
use std::collections::BTreeSet;
use std::slice::from_ref;
use stele_model::id::QueueId;
use stele_model::publish::ShardPublish;
use stele_model::subject::Pattern;

/// A publish that waits.
#[derive(Debug)]
pub(super) struct Held {
    publish: ShardPublish,
    /// What it depends on.
    conditions: Vec<(QueueId, Pattern)>,
    /// So many of them are known.
    known: usize,
    /// For the next one.
    search: LastSearch,
}

impl Shard {
    /// Stores records, or holds them back until it is known what they depend on, and what came before them from their hub is stored.
    pub(in crate::shard) fn take_publish(&mut self, publish: ShardPublish, turn: &mut Turn<'_>) {
        let conditions = self.conditions(&publish);
        let waits = self.streams.held.iter().any(|held| held.publish.hub == publish.hub);
        if conditions.is_empty() && !waits {
            return self.publish(publish, turn);
        }
        let is_next = self.streams.held.is_empty();
        self.streams.held.push_back(Held { publish, conditions, known: 0, search: LastSearch::default() });
        if is_next {
            self.step_held(turn);
        }
    }

    /// Goes on with the publish that has waited longest.
    pub(super) fn step_held(&mut self, turn: &mut Turn<'_>) {
        let Some(mut held) = self.streams.held.pop_front() else { return };
        if !self.find_out(&mut held, turn) {
            return self.streams.held.push_front(held);
        }
        self.publish(held.publish, turn);
        for (id, _) in held.conditions {
            if let Some(partition) = self.streams.partitions.get_mut(&id) {
                partition.known.clear();
            }
        }
    }

    /// `true`: all that it depends on is known.
    fn find_out(&mut self, of: &mut Held, turn: &mut Turn<'_>) -> bool {
        while let Some((id, pattern)) = of.conditions.get(of.known) {
            if let Some(partition) = self.streams.partitions.get_mut(id) {
                let found = partition.search_last(from_ref(pattern), &mut of.search, &mut turn.looks);
                let Some(last) = found else { return false };
                partition.known.insert(pattern.clone(), last);
            }
            (of.known, of.search) = (of.known + 1, LastSearch::default());
        }
        true
    }

    /// The last records of which subjects decide whether a publish is stored, each once.
    fn conditions(&self, publish: &ShardPublish) -> Vec<(QueueId, Pattern)> {
        let mut conditions = BTreeSet::new();
        for (item, terms) in &publish.batch.terms {
            let of_many = terms.last.as_ref().and_then(|last| last.subjects.as_ref());
            let Some(pattern) = of_many.filter(|pattern| pattern.literal().is_none()) else { continue };
            let runs = publish.runs.iter().filter(|run| run.items.contains(item));
            let routes = runs.filter_map(|run| publish.routes.get(run.route as usize));
            let by_record = |id: &&QueueId| {
                self.streams.partitions.get(id).is_some_and(|partition| partition.records.is_some())
            };
            conditions.extend(routes.flatten().filter(by_record).map(|id| (*id, pattern.clone())));
        }
        conditions.into_iter().collect()
    }
}
