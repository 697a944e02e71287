//! The release binaries: built all at once, then run from where they lie.
//!
//! Cargo gives a dependency the features that the packages it was asked for want together. So asking for one package after the other would
//! compile the same dependencies again and again.

use std::path::PathBuf;

use anyhow::Result;

use crate::command;
use crate::workspace::Workspace;

/// Build all, but for the bench: whoever measures builds it.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let all = ["build", "--release", "--workspace", "--bins", "--exclude", "stele-bench"];
    command::run(workspace.command("cargo").args(all))
}

/// Where one of them lies, built now if it is not as the sources are.
pub(crate) fn built(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    build(workspace)?;
    Ok(workspace.target("release").join(name))
}

/// Run one to its end; an error if it found something.
pub(crate) fn run(workspace: &Workspace, name: &str, arguments: &[&str]) -> Result<()> {
    let program = built(workspace, name)?;
    command::run(workspace.command(program).args(arguments))
}
