//! Where the repository is and what it holds: the root folder, the files under version control, cargo's view of the crates.
//!
//! Used by every chore. Reads through `git` and `cargo` only, so that what is ignored there is ignored here.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command;

/// The repository this binary was built in.
pub(crate) struct Workspace {
    root: PathBuf,
}

/// What `cargo metadata` tells, as far as a chore asks for it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

/// One crate of the workspace.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a crate's dependencies.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    /// Set when the dependency is a folder of this repository.
    pub(crate) path: Option<PathBuf>,
}

impl Workspace {
    /// The workspace whose `xtask` folder this binary was compiled from.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("find the folder above xtask")?;
        Ok(Self { root: root.to_path_buf() })
    }

    /// A path inside the repository.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path among the build products: `CARGO_TARGET_DIR` if that is set.
    pub(crate) fn target(&self, relative: impl AsRef<Path>) -> PathBuf {
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from);
        self.root.join(target).join(relative)
    }

    /// Every file that is under version control or would be after `git add .`, relative to the root, in order.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let list = command::output(self.command("git").args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))?;
        let mut files: Vec<PathBuf> =
            list.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect();
        files.retain(|name| self.path(name).is_file()); // a file deleted but not yet committed is still listed
        files.sort();
        files.dedup();
        Ok(files)
    }

    /// The crates of the workspace and what they depend on.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        let text =
            command::output(self.command("cargo").args(["metadata", "--format-version", "1", "--no-deps"]))?;
        serde_json::from_str(&text).context("read what cargo metadata printed")
    }

    /// A command that runs at the root, with an empty standard input.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
        let mut command = std::process::Command::new(program);
        command.current_dir(&self.root).stdin(std::process::Stdio::null());
        command
    }
}
