//! Random operations, crashes at any block, and a model too simple to be wrong: a queue is a list of records with a state each.
//!
//! The model sees operations and effects only. Each rule it judges (S1–S6, S14, S18) has a mutant that it must catch.

mod features;
#[path = "../judge/item.rs"]
mod item;
#[path = "../judge/mod.rs"]
mod judge;
mod model;
mod ops;
mod rig;
mod world;

use ops::{crowded_ops, ops};
use stele_core::shard::Mutant;
use world::World;

#[test]
fn a_shard_does_what_the_model_does_also_after_crashes() {
    judge::holds::<World>(1000, &ops());
}

#[test]
fn a_shard_does_so_too_where_dead_letters_pile_up() {
    judge::holds::<World>(500, &crowded_ops());
}

#[test]
fn the_model_catches_each_mutant() {
    let mutants = [
        (Mutant::SilentDropHead, "replay: "),
        (Mutant::EarlyConfirm, "confirmed and lost"),
        (Mutant::UrgentSettle, "a settle started a commit"),
        (Mutant::ForgottenDelivery, "restart: "),
        (Mutant::UnkeptLeases, "snapshot: "),
        (Mutant::TakenTwice, "counts|where None was next"),
        (Mutant::LostMove, "moves sent again"),
        (Mutant::HastyVolatile, "waits for"),
        (Mutant::FreeBytes, "without credit"),
    ];
    judge::catches::<World>(&mutants, &ops());
}
