//! Client libraries for the conformance scripts, installed into the target folder by each language's ordinary package client.
//!
//! Nothing is installed globally. An installation is kept until the file that lists what it needs changes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command;
use crate::workspace::Workspace;

/// Where the conformance scripts of AMQP 0-9-1 stand; what they need goes to the same path below the target folder.
pub(crate) const AMQP091: &str = "conform/amqp091";
/// And those of Kafka.
pub(crate) const KAFKA: &str = "conform/kafka";
/// And those of NATS.
pub(crate) const NATS: &str = "conform/nats";

/// A Python environment with what `requirements.txt` names; returns its interpreter.
pub(crate) fn python(workspace: &Workspace, dialect: &str) -> Result<PathBuf> {
    let home = workspace.target(dialect).join("python");
    let interpreter = home.join("bin/python");
    unless_current(&workspace.path(dialect).join("requirements.txt"), &home, |list| {
        command::run(workspace.command("python3").args(["-m", "venv", "--clear"]).arg(&home))?;
        command::run(
            workspace
                .command(&interpreter)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(list),
        )
    })?;
    Ok(interpreter)
}

/// The Node modules that `node/package.json` names; returns the folder that `NODE_PATH` must name.
pub(crate) fn node(workspace: &Workspace, dialect: &str) -> Result<PathBuf> {
    let home = workspace.target(dialect).join("node");
    unless_current(&workspace.path(dialect).join("node/package.json"), &home, |list| {
        std::fs::create_dir_all(&home)?;
        std::fs::copy(list, home.join("package.json"))?;
        command::run(
            workspace
                .command("npm")
                .args(["install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", "--prefix"])
                .arg(&home),
        )
    })?;
    Ok(home.join("node_modules"))
}

/// The compiled Go script; Go's own caches decide what is built anew.
pub(crate) fn go(workspace: &Workspace, dialect: &str) -> Result<PathBuf> {
    let program = workspace.target(dialect).join("go/conform");
    let source = workspace.path(dialect).join("go");
    command::run(workspace.command("go").arg("build").arg("-o").arg(&program).arg(".").current_dir(source))?;
    Ok(program)
}

/// The compiled Rust script for librdkafka's C sources, a workspace of its own; it is linted here, where it is built.
pub(crate) fn rdkafka(workspace: &Workspace) -> Result<PathBuf> {
    let home = workspace.target(KAFKA).join("rdkafka");
    let source = workspace.path(KAFKA).join("rdkafka");
    let cargo = |words: &[&str]| {
        let mut command = workspace.command("cargo");
        command::run(command.args(words).current_dir(&source).env("CARGO_TARGET_DIR", &home))
    };
    cargo(&["clippy", "--quiet", "--locked", "--", "--deny", "warnings"])?;
    cargo(&["build", "--quiet", "--locked"])?;
    Ok(home.join("debug/conform-rdkafka"))
}

/// The `nats` command, built from the sources that the Go module proxy has.
pub(crate) fn nats_cli(workspace: &Workspace) -> Result<PathBuf> {
    let home = workspace.target(NATS).join("cli");
    unless_current(&workspace.path(NATS).join("cli/go.mod"), &home, |list| {
        std::fs::create_dir_all(&home)?;
        std::fs::copy(list, home.join("go.mod"))?;
        let build = ["build", "-mod=mod", "-o", "nats", "github.com/nats-io/natscli/nats"];
        command::run(workspace.command("go").args(build).current_dir(&home))
    })?;
    Ok(home.join("nats"))
}

/// The libraries that `folder/pom.xml` names; returns the class path.
pub(crate) fn java(workspace: &Workspace, dialect: &str, folder: &str) -> Result<PathBuf> {
    let home = workspace.target(dialect).join(folder);
    unless_current(&workspace.path(dialect).join(folder).join("pom.xml"), &home, |list| {
        let folder = format!("-DoutputDirectory={}", home.display());
        command::run(
            workspace
                .command("mvn")
                .args(["--quiet", "--batch-mode", "--file"])
                .arg(list)
                .args(["dependency:copy-dependencies", &folder]),
        )
    })?;
    Ok(home.join("*"))
}

/// An authority and certificates of its own, for the scripts that speak TLS; returns the folder with `client.pem` (the authority),
/// `server.pem` and `server.key` (localhost), and the same of the clients `conform-client` and `conform-stranger`.
pub(crate) fn certificates(workspace: &Workspace) -> Result<PathBuf> {
    let home = workspace.target("conform/tls");
    if !home.join("conform-stranger.key").exists() {
        let interpreter = python(workspace, AMQP091)?;
        std::fs::create_dir_all(&home)?;
        command::run(workspace.command(interpreter).arg("conform/amqp091/certificates.py").arg(&home))?;
    }
    Ok(home)
}

/// Run `install` unless the copy of `list` kept beside the installation is the same as `list`.
fn unless_current(list: &Path, home: &Path, install: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let wanted = std::fs::read(list).with_context(|| format!("read {}", list.display()))?;
    let stamp = home.join("installed");
    if std::fs::read(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    println!("installing what {} names", list.display());
    install(list)?;
    std::fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))
}
