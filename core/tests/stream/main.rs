//! Random operations on partitions, crashes at any block, and a model too simple to be wrong: a partition is a list of batches.
//!
//! The model sees operations and effects only. Each rule it judges (S1, S2, S7, S21, S28, repeats) has a mutant that it must catch.

mod features;
#[path = "../judge/mod.rs"]
mod judge;
mod model;
mod ops;
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
fn partitions_do_what_the_model_does_also_after_crashes() {
    judge::holds(600, &ops(), |mutant, ops| run(mutant, ops));
}

#[test]
fn the_model_catches_each_mutant() {
    let mutants = [
        (Mutant::EarlyAppend, "waits for"),
        (Mutant::EarlyRead, "waits for"),
        (Mutant::SilentRetention, "replay: "),
        (Mutant::RepeatTaken, "is answered with"),
        (Mutant::JumpedClock, "is "),
        (Mutant::StaleWatch, "wakes"),
    ];
    judge::catches(&mutants, &ops(), |mutant, ops| run(mutant, ops));
}
