//! Ends whatever a chore has started when the chore itself is stopped.
//!
//! Called by `main`: the program runs itself again, and that one does the work. The first one does nothing but wait for it, and for SIGINT and
//! SIGTERM. It is the reaper of all that the work starts (`prctl(2)`, PR_SET_CHILD_SUBREAPER): whoever has lost its parent becomes a child of
//! its own, also out of a session or process group of another, so that none is overlooked. What must hold: when it has been stopped, nothing
//! of the chore runs. Not here: programs that a chore left running when it ended by itself, such as build daemons.

use std::collections::HashSet;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, set_child_subreaper, wait,
};
use tokio::signal::unix::{self, SignalKind};

use crate::limit;

/// Tells the program that it is the one that works: the number of the process that waits for it.
const GUARD: &str = "STELE_XTASK_GUARD";
/// How long programs are given to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// The parent of this process waits for it and what it starts.
pub(crate) fn is_guarded() -> bool {
    let guard = std::env::var(GUARD).ok().and_then(|guard| Pid::from_raw(guard.parse().ok()?));
    guard.is_some() && guard == getppid()
}

/// Does this program's work in another process, to its end or until it is stopped.
pub(crate) fn run() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let code = runtime.block_on(guard())?;
    Ok(ExitCode::from(code))
}

async fn guard() -> Result<u8> {
    let mut ended = unix::signal(SignalKind::child())?;
    let mut interrupt = unix::signal(SignalKind::interrupt())?;
    let mut terminate = unix::signal(SignalKind::terminate())?;
    set_child_subreaper(Some(getpid())).context("become the reaper of what is started")?;
    let program = std::env::current_exe().context("find this program")?;
    let mut worker = Command::new(program);
    worker.args(std::env::args_os().skip(1)).env(GUARD, std::process::id().to_string());
    let worker = Pid::from_child(&worker.spawn().context("start this program again")?);
    let stopped_by = loop {
        tokio::select! {
            _ = ended.recv() => {
                if let Some(status) = reap().into_iter().find_map(|(of, status)| (of == worker).then_some(status)) {
                    return Ok(code(status));
                }
            }
            _ = interrupt.recv() => break Signal::INT,
            _ = terminate.recv() => break Signal::TERM,
        }
    };
    if tokio::time::timeout(PATIENCE, end_all(Signal::TERM, &mut ended)).await.is_err() {
        end_all(Signal::KILL, &mut ended).await?;
    }
    Ok(code_of(stopped_by))
}

/// Ends all that was started: those that are children now, and those that become so when their parents end.
async fn end_all(signal: Signal, ended: &mut unix::Signal) -> Result<()> {
    let mut told = HashSet::new();
    loop {
        reap();
        let children = limit::children(getpid())?;
        if children.is_empty() {
            return Ok(());
        }
        for child in children.into_iter().filter(|child| told.insert(*child)) {
            let _ = kill_process(child, signal); // it may have ended by itself
        }
        ended.recv().await;
    }
}

/// Takes leave of children that have ended.
fn reap() -> Vec<(Pid, WaitStatus)> {
    std::iter::from_fn(|| wait(WaitOptions::NOHANG).ok().flatten()).collect()
}

/// As a shell would tell it.
fn code(status: WaitStatus) -> u8 {
    let signalled = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(signalled).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn code_of(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}
