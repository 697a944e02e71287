//! One run of a script: its lines are read, its wish for a restart is granted.
//!
//! A script may print `{"ask": "restart"}` and wait for a line: `done` when the broker is back, `cannot` when nobody knows how to restart
//! it. Everything else it prints on standard output is an answer; its standard error is shown.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::broker::Subject;
use crate::command;

/// What a client observed in one case.
#[derive(Debug, Deserialize)]
pub(super) struct Observation {
    pub(super) case: String,
    pub(super) answer: Value,
    /// What somebody should read whom the answer surprises: where the case broke.
    pub(super) why: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Answer(Observation),
    Ask { ask: String },
}

/// Run the script to its end.
pub(super) fn run(mut script: Command, subject: &mut Subject, only: &[String]) -> Result<Vec<Observation>> {
    subject.arguments(&mut script);
    if !only.is_empty() {
        script.args(["--only", &only.join(",")]);
    }
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", command::shown(&script)))?;
    let mut input = child.stdin.take().context("write to the script")?;
    let output = child.stdout.take().context("read from the script")?;
    let mut observed = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("read a line of the script")?;
        match serde_json::from_str(&line).with_context(|| format!("understand the script's line {line:?}"))? {
            Line::Answer(observation) => observed.push(observation),
            Line::Ask { ask } => {
                ensure!(ask == "restart", "a script may ask for a restart, not for {ask:?}");
                writeln!(input, "{}", if subject.restart()? { "done" } else { "cannot" })
                    .context("answer the script")?;
            }
        }
    }
    let status = child.wait().context("wait for the script")?;
    if !status.success() {
        bail!("{} ended with {status} after {} cases", command::shown(&script), observed.len());
    }
    Ok(observed)
}
