//! Groups as their members see them: phases of a rebalance, static members, commits, restarts; and random runs with crashes at any block.
//!
//! Each rule that the random runs judge (S1, S2, generations, numbers) has a mutant that they must catch.

mod features;
mod rig;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use stele_core::shard::Mutant;
use world::{Op, World, ops};

fn run(mutant: Option<Mutant>, ops: &[Op]) -> Result<(), String> {
    let mut world = World::new(mutant);
    for op in ops {
        world.perform(op)?;
    }
    world.crash(0, false)?;
    world.end()
}

#[test]
fn groups_keep_their_word_also_after_crashes() {
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
fn the_judge_catches_each_mutant() {
    for (mutant, why) in [
        (Mutant::AnyGeneration, "a commit of generation"),
        (Mutant::EarlyParts, "were told"),
        (Mutant::LostMembers, "is lost after a restart"),
        (Mutant::RepeatedNumbers, "was given twice"),
        (Mutant::UnloggedPosition, "replay: "),
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
