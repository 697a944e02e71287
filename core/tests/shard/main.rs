//! Random operations, crashes at any block, and a model too simple to be wrong: a queue is a list of records with a state each.
//!
//! The model sees operations and effects only. Each rule it judges (S1–S6, S14, S18) has a mutant that it must catch.

mod features;
mod model;
mod ops;
mod rig;
mod world;

use ops::{Op, ops};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
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
fn a_shard_does_what_the_model_does_also_after_crashes() {
    // `PROPTEST_CASES` asks for more.
    let cases = Config::default().cases.max(1000);
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
        (Mutant::SilentDropHead, "replay: "),
        (Mutant::EarlyConfirm, "confirmed and lost"),
        (Mutant::UrgentSettle, "a settle started a commit"),
        (Mutant::ForgottenDelivery, "restart: "),
        (Mutant::TakenTwice, "counts"),
        (Mutant::LostMove, "moves sent again"),
        (Mutant::HastyVolatile, "waits for"),
        (Mutant::FreeBytes, "without credit"),
    ] {
        let config =
            Config { cases: 2000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let caught = TestRunner::deterministic_with(config)
            .run(&ops(), |ops| run(Some(mutant), &ops).map_err(TestCaseError::fail));
        let told = caught.expect_err("a mutant is noticed").to_string();
        assert!(told.contains(why), "{mutant:?} was noticed by something else: {told}");
    }
}

/// A runner with a fixed seed.
trait Deterministic {
    fn deterministic_with(config: Config) -> TestRunner;
}

impl Deterministic for TestRunner {
    fn deterministic_with(config: Config) -> TestRunner {
        let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
        TestRunner::new_with_rng(config, rng)
    }
}
