//! Random operations on partitions, crashes at any block, and a model too simple to be wrong: a partition is a list of batches.
//!
//! The model sees operations and effects only. Each rule it judges (S1, S2, S7, S21, S28, repeats) has a mutant that it must catch.

mod features;
#[path = "../judge/item.rs"]
mod item;
#[path = "../judge/mod.rs"]
mod judge;
mod model;
mod ops;
mod world;

use ops::ops;
use stele_core::shard::Mutant;
use world::World;

#[test]
fn partitions_do_what_the_model_does_also_after_crashes() {
    judge::holds::<World>(600, &ops());
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
    judge::catches::<World>(&mutants, &ops());
}
