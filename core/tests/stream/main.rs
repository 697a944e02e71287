//! Random operations on partitions, crashes at any block, and a model too simple to be wrong: a partition is a list of batches.
//!
//! The model sees operations and effects only. Each rule it judges (S1, S2, S7, S21, S28, repeats) has a mutant that it must catch.

mod features;
mod model;
mod ops;
mod world;

use ops::{Op, ops};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
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
    // `PROPTEST_CASES` asks for more.
    let cases = Config::default().cases.max(600);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config)
        .run(&ops(), |ops| run(None, &ops).map_err(|why| TestCaseError::fail(format!("{why}\n{ops:#?}"))));
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn the_model_catches_each_mutant() {
    for (mutant, why) in [
        (Mutant::EarlyAppend, "waits for"),
        (Mutant::EarlyRead, "waits for"),
        (Mutant::SilentRetention, "replay: "),
        (Mutant::RepeatTaken, "is answered with"),
        (Mutant::JumpedClock, "is "),
        (Mutant::StaleWatch, "wakes"),
    ] {
        let config =
            Config { cases: 2000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let rng = TestRng::deterministic_rng(config.rng_algorithm);
        let caught = TestRunner::new_with_rng(config, rng)
            .run(&ops(), |ops| run(Some(mutant), &ops).map_err(TestCaseError::fail));
        let told = caught.expect_err("a mutant is noticed").to_string();
        assert!(told.contains(why), "{mutant:?} was noticed by something else: {told}");
    }
}
