//! Random operations on a stream that tells its records apart, crashes at any block, and a model too simple to be wrong: a list of records.
//!
//! The model sees operations and answers only. Each rule it judges (S1, S2, S21, S27, S28) has a mutant that it must catch.

mod batch;
mod due;
mod features;
mod held;
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
fn a_stream_of_records_does_what_the_model_does_also_after_crashes() {
    judge::holds::<World>(400, &ops());
}

#[test]
fn the_model_catches_each_mutant() {
    let mutants = [
        (Mutant::EarlyConfirm, "waits for"),
        (Mutant::SilentRetention, "replay: "),
        (Mutant::JumpedClock, "is "),
        (Mutant::ForgottenId, "is "),
        (Mutant::LooseCondition, "is "),
        (Mutant::UnloggedTerms, "replay: "),
        (Mutant::HalfBundle, "is "),
    ];
    judge::catches::<World>(&mutants, &ops());
}
