//! Shared groups: what they do one thing at a time, and random operations with crashes against a model too simple to be wrong.
//!
//! The model sees operations and effects only. Each rule it judges (S1, S2, S3, S4, S16) has a mutant that it must catch.

mod counts;
mod dead;
mod features;
mod gone;
#[path = "../judge/mod.rs"]
mod judge;
mod model;
mod ops;
mod rig;
mod subjects;
mod world;

use ops::{Op, ops};
use stele_core::shard::Mutant;
use world::World;

fn run(mutant: Option<Mutant>, ops: &[Op]) -> Result<(), String> {
    let mut world = World::new(mutant);
    for op in ops {
        world.perform(op)?;
    }
    world.crash(0, false)
}

#[test]
fn shared_groups_do_what_the_model_does_also_after_crashes() {
    judge::holds(3000, &ops(), |mutant, ops| run(mutant, ops));
}

#[test]
fn the_model_catches_each_mutant() {
    let mutants = [
        (Mutant::UnloggedDelivery, "replay: "),
        (Mutant::UnloggedSettle, "replay: "),
        (Mutant::UnloggedRest, "replay: "),
        (Mutant::UnloggedReset, "replay: "),
        (Mutant::EarlyRecords, "waits for"),
        (Mutant::LateRelease, "is new as 1, should Some"),
        (Mutant::UrgentShareSettle, "started a commit"),
        (Mutant::LostMove, "moves sent again"),
    ];
    judge::catches(&mutants, &ops(), |mutant, ops| run(mutant, ops));
}
