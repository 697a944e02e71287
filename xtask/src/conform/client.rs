//! The clients, and how each one's script is made ready and started.

use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::provision;
use crate::workspace::Workspace;

/// An official client library with a script of ours on top.
pub(super) struct Client {
    pub(super) name: &'static str,
    start: fn(&Workspace) -> Result<Command>,
}

pub(super) const CLIENTS: &[Client] = &[
    Client { name: "pika", start: |workspace| python(workspace, "pika") },
    Client { name: "amqplib", start: amqplib },
    Client { name: "lapin", start: lapin },
    Client { name: "go", start: |workspace| Ok(workspace.command(provision::go(workspace)?)) },
    Client { name: "java", start: java },
    Client { name: "celery", start: |workspace| python(workspace, "celery") },
];

impl Client {
    /// Install or build what the script needs; the command lacks only what is said of the broker.
    pub(super) fn command(&self, workspace: &Workspace) -> Result<Command> {
        (self.start)(workspace)
    }
}

/// A folder that is run as a program.
fn python(workspace: &Workspace, folder: &str) -> Result<Command> {
    let mut command = workspace.command(provision::python(workspace)?);
    command.arg("-B").arg(workspace.path(provision::AMQP091).join(folder));
    Ok(command)
}

fn amqplib(workspace: &Workspace) -> Result<Command> {
    let mut command = workspace.command("node");
    command.env("NODE_PATH", provision::node(workspace)?);
    command.arg(workspace.path(provision::AMQP091).join("node/main.js"));
    Ok(command)
}

fn lapin(workspace: &Workspace) -> Result<Command> {
    command::run(workspace.command("cargo").args(["build", "--release", "--quiet", "-p", "conform-lapin"]))?;
    Ok(workspace.command(workspace.target("release/conform-lapin")))
}

fn java(workspace: &Workspace) -> Result<Command> {
    let mut command = workspace.command("java");
    command.arg("-cp").arg(provision::java(workspace)?);
    command.arg(workspace.path(provision::AMQP091).join("java/Conform.java"));
    Ok(command)
}
