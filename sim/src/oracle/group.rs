//! Judges what members of the run's group saw (W30–W35).

use super::stream::Wrong;
use crate::history::Step;
use crate::history::stream::GroupEvent;
use std::collections::{BTreeMap, BTreeSet};
use stele_model::id::Now;

/// Session and rebalance times of members, ms. Nobody who was well so short a time ago is forgotten.
pub const SESSION_MS: u32 = 10_000;

/// What has been seen of the group.
#[derive(Debug, Default)]
pub(super) struct Group {
    numbers: BTreeSet<String>,
    /// Whose a partition is in a generation.
    owners: BTreeMap<(i32, u32), String>,
    /// Generations of which parts were told, with the step of the first; both grow.
    told: Vec<(Step, i32)>,
    /// The last generation in which each member had a part, and when it was well in it last.
    members: BTreeMap<String, (i32, Now)>,
    /// Commits: asked when, in which generation, partition, position.
    asked: BTreeMap<u64, (Step, i32, u32, u64)>,
    /// Positions that were committed, with the step of the answer; both grow.
    committed: BTreeMap<u32, Vec<(Step, u64)>>,
}

impl Group {
    pub(super) fn observe(&mut self, step: Step, event: &GroupEvent) -> Result<(), Wrong> {
        match event {
            GroupEvent::Numbered { number } => {
                if self.numbers.insert(number.clone()) {
                    return Ok(());
                }
                Err(("W30", format!("number {number} was given to two members")))
            }
            GroupEvent::Joined { asked, number, generation } => {
                self.not_before(*asked, *generation, &format!("{number} joins"))
            }
            GroupEvent::Synced { asked, at, number, generation, owned } => {
                self.not_before(*asked, *generation, &format!("{number} gets a part"))?;
                self.synced((step, *at), number, *generation, owned)
            }
            GroupEvent::Beat { at, now, number, generation, well } => {
                self.beat(*at, *now, number, *generation, *well)
            }
            GroupEvent::CommitAsked { commit, generation, index, position } => {
                self.asked.insert(*commit, (step, *generation, *index, *position));
                Ok(())
            }
            GroupEvent::Committed { commit } => self.committed(step, *commit),
            GroupEvent::Positions { asked, known } => self.positions(*asked, known),
        }
    }

    /// The newest generation of which a part was told before a step.
    fn told_before(&self, step: Step) -> Option<i32> {
        self.told.iter().rev().find(|(told, _)| *told < step).map(|(_, generation)| *generation)
    }

    /// Who asks after a generation was told is told of that or a later one.
    fn not_before(&self, asked: Step, generation: i32, what: &str) -> Result<(), Wrong> {
        match self.told_before(asked) {
            Some(told) if generation < told => {
                Err(("W31", format!("{what} in generation {generation}, after {told}")))
            }
            _ => Ok(()),
        }
    }

    fn synced(
        &mut self,
        (step, at): (Step, Now),
        number: &str,
        generation: i32,
        owned: &[u32],
    ) -> Result<(), Wrong> {
        if self.told.last().is_none_or(|(_, last)| *last < generation) {
            self.told.push((step, generation));
        }
        self.members.insert(number.to_owned(), (generation, at));
        for index in owned {
            let owner = self.owners.entry((generation, *index)).or_insert_with(|| number.to_owned());
            if owner != number {
                let what =
                    format!("partition {index} is {owner}'s and {number}'s in generation {generation}");
                return Err(("W32", what));
            }
        }
        Ok(())
    }

    /// A member that was well is one still, if nothing but time can have ended it, and little has passed; also after a restart.
    fn beat(
        &mut self,
        at: Now,
        now: Now,
        number: &str,
        generation: i32,
        well: Option<bool>,
    ) -> Result<(), Wrong> {
        let Some((last, was_well)) = self.members.get_mut(number) else { return Ok(()) };
        match well {
            Some(true) if *last == generation => *was_well = at,
            Some(false) if *last == generation && now < was_well.plus_ms(u64::from(SESSION_MS)) => {
                return Err(("W33", format!("{number} was well a moment ago, and is not a member any more")));
            }
            _ => {}
        }
        Ok(())
    }

    fn committed(&mut self, step: Step, commit: u64) -> Result<(), Wrong> {
        let Some((asked, generation, index, position)) = self.asked.remove(&commit) else { return Ok(()) };
        if let Some(told) = self.told_before(asked).filter(|told| generation < *told) {
            let what = format!("a commit of generation {generation} was taken in {told}");
            return Err(("W34", what));
        }
        let known = self.committed.entry(index).or_default();
        let before = known.iter().rev().find(|(answered, _)| *answered < asked).map_or(0, |(_, at)| *at);
        if position < before {
            let what = format!("partition {index} goes back from {before} to {position} in {generation}");
            return Err(("W35", what));
        }
        if known.last().is_none_or(|(_, last)| *last < position) {
            known.push((step, position));
        }
        Ok(())
    }

    /// Nothing that was committed before somebody asked is unknown.
    fn positions(&self, asked: Step, known: &[(u32, u64)]) -> Result<(), Wrong> {
        for (index, committed) in &self.committed {
            let Some((_, should)) = committed.iter().rev().find(|(answered, _)| *answered < asked) else {
                continue;
            };
            let is = known.iter().find(|(of, _)| of == index).map(|(_, position)| *position);
            if is.is_none_or(|is| is < *should) {
                return Err((
                    "W35",
                    format!("partition {index} was committed at {should}, and is at {is:?}"),
                ));
            }
        }
        Ok(())
    }
}
