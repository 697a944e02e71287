//! How random runs are judged: they hold without a mistake, and each mistake made on purpose is noticed by the rule it breaks.
//!
//! Used by the test programs beside this folder, each with operations and a world of its own.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use std::fmt::Debug;
use stele_core::shard::Mutant;

/// Runs at least so many cases; `PROPTEST_CASES` asks for more.
pub(crate) fn holds<S>(cases_min: u32, ops: &S, run: impl Fn(Option<Mutant>, &S::Value) -> Result<(), String>)
where
    S: Strategy<Value: Debug>,
{
    let cases = Config::default().cases.max(cases_min);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config)
        .run(ops, |ops| run(None, &ops).map_err(|why| TestCaseError::fail(format!("{why}\n{ops:#?}"))));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Each mutant is noticed, with words that contain those beside it, or others of them behind a `|`.
pub(crate) fn catches<S>(
    mutants: &[(Mutant, &str)],
    ops: &S,
    run: impl Fn(Option<Mutant>, &S::Value) -> Result<(), String>,
) where
    S: Strategy<Value: Debug>,
{
    for (mutant, why) in mutants {
        let config =
            Config { cases: 2000, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
        let rng = TestRng::deterministic_rng(config.rng_algorithm);
        let caught = TestRunner::new_with_rng(config, rng)
            .run(ops, |ops| run(Some(*mutant), &ops).map_err(TestCaseError::fail));
        let told = caught.expect_err("a mutant is noticed").to_string();
        assert!(
            why.split('|').any(|why| told.contains(why)),
            "{mutant:?} was noticed by something else: {told}"
        );
    }
}
