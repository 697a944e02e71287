//! A bound for work that waits for other programs: when its time is over they are ended, so that it ends as well.
//!
//! Called by the suite for each of its steps. A program that hangs costs one step and is named; it does not cost the run. What must hold:
//! while the work goes on beyond its time, whatever it has started, and starts from then on, is ended. Not here: [`crate::guard`], which
//! ends what is left when the whole chore is stopped.

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, getpid, kill_process};

/// How often it is looked whether there is more to end.
const AGAIN: Duration = Duration::from_millis(200);

/// Does the work; an error that names the programs which were ended if it took longer than `limit`.
pub(crate) fn within(limit: Duration, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let (done, is_done) = channel::<()>();
    let watch = move || {
        let (mut wait, mut ended) = (limit, BTreeMap::new());
        while is_done.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            wait = AGAIN;
            // From the leaves up: nobody starts again what was ended, and no child loses its parent before it is found.
            for (pid, command) in descendants(getpid()).into_iter().rev() {
                let _ = kill_process(pid, Signal::KILL); // it may have ended by itself
                ended.insert(pid.as_raw_nonzero(), command);
            }
        }
        (wait == AGAIN).then_some(ended)
    };
    let (outcome, overran) = std::thread::scope(|scope| {
        let watch = scope.spawn(watch);
        let outcome = work();
        drop(done);
        (outcome, watch.join().expect("the watch has no bugs"))
    });
    let Some(ended) = overran else { return outcome };
    let ended: Vec<String> = ended.into_values().collect();
    let why = outcome.err().map(|error| format!("\n{error:#}")).unwrap_or_default();
    bail!("it took longer than {limit:?}; ended: {}{why}", ended.join("; "))
}

/// What a process has started and what those have, each after the one that started it, with its command line.
fn descendants(of: Pid) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    // One that is gone meanwhile has none any more.
    for child in children(of).unwrap_or_default() {
        found.push((child, command_line(child)));
        found.extend(descendants(child));
    }
    found
}

/// The children of a process, whichever of its threads they are said to be of.
///
/// # Errors
/// The process is gone.
pub(crate) fn children(of: Pid) -> Result<Vec<Pid>> {
    let (mut all, threads) = (Vec::new(), format!("/proc/{}/task", of.as_raw_nonzero()));
    for thread in std::fs::read_dir(&threads).with_context(|| format!("list {threads}"))? {
        let path = thread?.path().join("children");
        let list = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        all.extend(list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
    }
    Ok(all)
}

fn command_line(of: Pid) -> String {
    let words = std::fs::read(format!("/proc/{}/cmdline", of.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::command;

    #[test]
    fn work_in_time_says_how_it_went() {
        let long = Duration::from_secs(60);
        within(long, || Ok(())).unwrap();
        assert_eq!(within(long, || bail!("no")).unwrap_err().to_string(), "no");
    }

    // The only test of this program that starts others: it would end theirs as well.
    #[test]
    fn a_program_that_hangs_is_ended_with_its_children_and_named() {
        let hang = || {
            let first = command::run(Command::new("sh").args(["-c", "sleep 1000 & wait"]));
            command::run(Command::new("sleep").arg("1001"))?;
            first
        };
        let error = within(Duration::from_millis(300), hang).unwrap_err().to_string();
        for part in
            ["longer than 300ms", "sh -c sleep 1000", "; sleep 1000", "sleep 1001 ended with signal: 9"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
