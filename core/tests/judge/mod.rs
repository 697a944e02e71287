//! How random runs are judged: they hold without a mistake, and each mistake made on purpose is noticed by the rule it breaks.
//!
//! Used by the test programs beside this folder, each with operations and a world of its own.

pub(crate) mod past;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::fmt::Debug;
use stele_core::shard::Mutant;

/// Whether what was seen is right, or what is wrong with it.
pub(crate) type Check = Result<(), String>;

/// A shard, and what judges it.
pub(crate) trait World: Sized {
    /// What a run consists of.
    type Op: Debug;

    /// Before the first operation; the shard makes this mistake.
    fn begin(mutant: Option<Mutant>) -> Self;

    /// Does it, and judges what comes of it.
    fn perform(&mut self, op: &Self::Op) -> Check;

    /// Judges what only the end of a run shows.
    fn end(self) -> Check;
}

fn run<W: World>(mutant: Option<Mutant>, ops: &[W::Op]) -> Check {
    let mut world = W::begin(mutant);
    ops.iter().try_for_each(|op| world.perform(op))?;
    world.end()
}

/// Runs at least so many cases; `PROPTEST_CASES` asks for more.
pub(crate) fn holds<W: World>(cases_min: u32, ops: &impl Strategy<Value = Vec<W::Op>>) {
    let cases = Config::default().cases.max(cases_min);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config)
        .run(ops, |ops| run::<W>(None, &ops).map_err(|why| TestCaseError::fail(format!("{why}\n{ops:#?}"))));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Each mutant is noticed, with words that contain those beside it, or others of them behind a `|`.
pub(crate) fn catches<W: World>(mutants: &[(Mutant, &str)], ops: &impl Strategy<Value = Vec<W::Op>>) {
    for (mutant, why) in mutants {
        let config =
            Config { cases: 2000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let rng = TestRng::deterministic_rng(config.rng_algorithm);
        let caught = TestRunner::new_with_rng(config, rng)
            .run(ops, |ops| run::<W>(Some(*mutant), &ops).map_err(TestCaseError::fail));
        let told = caught.expect_err("a mutant is noticed").to_string();
        assert!(
            why.split('|').any(|why| told.contains(why)),
            "{mutant:?} was noticed by something else: {told}"
        );
    }
}
