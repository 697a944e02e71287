//! Shared groups: what they do one thing at a time, and random operations with crashes against a model too simple to be wrong.
//!
//! The model sees operations and effects only. Each rule it judges (S1, S2, S3, S4, S16) has a mutant that it must catch.

mod counts;
mod dead;
mod features;
mod gone;
#[path = "../judge/item.rs"]
mod item;
#[path = "../judge/mod.rs"]
mod judge;
mod model;
mod ops;
mod rig;
mod subjects;
mod world;

use ops::ops;
use stele_core::shard::Mutant;
use world::World;

#[test]
fn shared_groups_do_what_the_model_does_also_after_crashes() {
    judge::holds::<World>(3000, &ops());
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
    judge::catches::<World>(&mutants, &ops());
}
