//! More connections than the process may have file handles, AMQP and HTTP together.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;

use super::{Crowd, Stage, crowd, lives, served_again};
use crate::pair::Pair;
use crate::wire::PATIENCE;

/// The whole process: logs, threads, and connections.
const HANDLES_MAX: u64 = 64;
const TOO_MANY: usize = 100;
/// Some of them wait for a handle until others are gone.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(stage: Stage) -> Result<String> {
    let mut broker = stage.start(tight(&stage)?, &[])?;
    let pair = Pair::start(broker.amqp())?;
    pair.goes_on().await?;
    let mut operators = Vec::new();
    for _ in 0..TOO_MANY {
        operators.push(TcpStream::connect(broker.http()).await?);
    }
    let Crowd { mut served, refused, waiting } = crowd(&broker, TOO_MANY, ANSWER_PATIENCE).await?;
    lives(&mut broker)?;
    ensure!(!served.is_empty(), "none was served");
    ensure!(served.len() < TOO_MANY, "all were served, so nothing was short");
    tokio::time::timeout(PATIENCE, pair.goes_on()).await.context("the pair is held up")??;
    for connection in &mut served {
        connection.works().await.context("use a connection that was served")?;
    }
    let count = served.len();
    drop((served, operators));
    let mut again = Vec::new();
    for n in 0..count {
        again.push(served_again(&mut broker).await.with_context(|| format!("number {n} of {count}"))?);
    }
    for connection in &mut again {
        connection.works().await.context("use a connection that came later")?;
    }
    pair.stop()?;
    lives(&mut broker)?;
    Ok(format!(
        "of {TOO_MANY} connections at {HANDLES_MAX} handles {count} were served, {refused} refused, {waiting} left waiting"
    ))
}

/// A program that starts the broker with few handles, which it cannot raise.
fn tight(stage: &Stage) -> Result<std::path::PathBuf> {
    let path = stage.folder.join("few-handles.sh");
    let broker = stage.program.canonicalize()?;
    std::fs::write(
        &path,
        format!("#!/bin/sh\nulimit -n {HANDLES_MAX}\nexec '{}' \"$@\"\n", broker.display()),
    )?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
