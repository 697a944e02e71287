//! A named step of a suite, and the runner that prints name, duration and outcome of each.
//!
//! A step that failed does not stop the others: one run shows everything that is wrong. None is ever skipped. A step that hangs fails when
//! its time is over, and leaves time for the others.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::limit;
use crate::workspace::Workspace;

/// Longest time of one step: several times what the longest takes on two cores where nothing is compiled yet.
const STEP: Duration = Duration::from_secs(30 * 60);
/// Longest time of all; what is not done by then fails. Who waits for a run waits for 90 minutes at most.
const ALL: Duration = Duration::from_secs(75 * 60);

/// One thing that is proven.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// What it shows, in a few words, for `--list`.
    pub(crate) shows: &'static str,
    pub(crate) run: fn(&Workspace) -> Result<()>,
}

/// Run all, print a table and, as the last line, `N passed, N failed`. Returns the number that failed.
pub(crate) fn run<'a>(workspace: &Workspace, steps: impl Iterator<Item = &'a Step>) -> usize {
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    let begin = Instant::now();
    for step in steps {
        println!("\n=== {}: {}", step.name, step.shows);
        let start = Instant::now();
        let limit = STEP.min(ALL.saturating_sub(begin.elapsed()));
        let result = limit::within(limit, || (step.run)(workspace));
        let word = if result.is_ok() { "passed" } else { "FAILED" };
        let line = format!("{word} {:<16} {:>7.1} s", step.name, start.elapsed().as_secs_f64());
        if let Err(error) = result {
            failures.push(format!("{}: {error:#}", step.name));
        }
        println!("=== {line}");
        lines.push(line);
    }
    // Once more at the end, where a reader of a long log looks first.
    failures.iter().for_each(|failure| println!("\n{failure}"));
    println!("\n{}\n{} passed, {} failed", lines.join("\n"), lines.len() - failures.len(), failures.len());
    failures.len()
}
