//! Groups as their members see them: phases of a rebalance, static members, commits, restarts; and random runs with crashes at any block.
//!
//! Each rule that the random runs judge (S1, S2, generations, numbers) has a mutant that they must catch.

mod features;
#[path = "../judge/mod.rs"]
mod judge;
mod rig;
mod world;

use stele_core::shard::Mutant;
use world::{World, ops};

#[test]
fn groups_keep_their_word_also_after_crashes() {
    judge::holds::<World>(1000, &ops());
}

#[test]
fn the_judge_catches_each_mutant() {
    let mutants = [
        (Mutant::AnyGeneration, "a commit of generation"),
        (Mutant::EarlyParts, "were told"),
        (Mutant::LostMembers, "is lost after a restart"),
        (Mutant::RepeatedNumbers, "was given twice"),
        (Mutant::UnloggedPosition, "replay: "),
        (Mutant::UnloggedReading, "replay: "),
    ];
    judge::catches::<World>(&mutants, &ops());
}
