//! The clients of each dialect, and how each one's script is made ready and started.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::command;
use crate::programs;
use crate::provision;
use crate::workspace::Workspace;

/// An official client library with a script of ours on top.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    start: fn(&Workspace) -> Result<Command>,
}

pub(super) const AMQP091: &[Client] = &[
    Client { name: "pika", start: |workspace| python(workspace, provision::AMQP091, "pika") },
    Client { name: "amqplib", start: |workspace| node(workspace, provision::AMQP091) },
    Client { name: "lapin", start: lapin },
    Client {
        name: "go",
        start: |workspace| Ok(workspace.command(provision::go(workspace, provision::AMQP091)?)),
    },
    Client { name: "java", start: |workspace| java(workspace, provision::AMQP091, "java") },
    Client { name: "celery", start: |workspace| python(workspace, provision::AMQP091, "celery") },
];

pub(super) const KAFKA: &[Client] = &[
    Client { name: "confluent", start: |workspace| kafka_python(workspace, "confluent") },
    Client { name: "aiokafka", start: |workspace| kafka_python(workspace, "aiokafka") },
    Client { name: "kafka-python", start: |workspace| kafka_python(workspace, "kafka-python") },
    Client { name: "raw", start: |workspace| python(workspace, provision::KAFKA, "raw") },
    Client { name: "kafkajs", start: |workspace| node(workspace, provision::KAFKA) },
    Client { name: "rdkafka", start: |workspace| Ok(workspace.command(provision::rdkafka(workspace)?)) },
    Client { name: "franz-go", start: |workspace| kafka_go(workspace, "franz-go") },
    Client { name: "sarama", start: |workspace| kafka_go(workspace, "sarama") },
    Client { name: "segmentio", start: |workspace| kafka_go(workspace, "segmentio") },
    Client { name: "java", start: |workspace| java(workspace, provision::KAFKA, "java") },
    Client { name: "java-3", start: |workspace| java(workspace, provision::KAFKA, "java-3") },
    Client { name: "tools", start: |workspace| kafka_tools(workspace, "tools", "java") },
    Client { name: "tools-3", start: |workspace| kafka_tools(workspace, "tools-3", "java-3") },
    Client { name: "kcat", start: kcat },
    Client { name: "streams", start: |workspace| kafka_tools(workspace, "streams", "java") },
    Client { name: "connect", start: |workspace| kafka_tools(workspace, "connect", "java") },
];

pub(super) const NATS: &[Client] = &[
    Client { name: "raw", start: |workspace| python(workspace, provision::NATS, "raw") },
    Client { name: "nats.py", start: |workspace| python(workspace, provision::NATS, "python") },
    Client {
        name: "nats.go",
        start: |workspace| Ok(workspace.command(provision::go(workspace, provision::NATS)?)),
    },
    Client { name: "nats.js", start: |workspace| node(workspace, provision::NATS) },
    Client { name: "async-nats", start: async_nats },
    Client { name: "jnats", start: |workspace| java(workspace, provision::NATS, "java") },
    Client { name: "cli", start: nats_cli },
];

impl Client {
    /// Install or build what the script needs; the command lacks only what is said of the broker.
    pub(super) fn command(&self, workspace: &Workspace) -> Result<Command> {
        (self.start)(workspace)
    }
}

/// A folder that is run as a program.
fn python(workspace: &Workspace, dialect: &str, folder: &str) -> Result<Command> {
    let mut command = workspace.command(provision::python(workspace, dialect)?);
    command.arg("-B").arg(workspace.path(dialect).join(folder));
    Ok(command)
}

/// The same cases on one of three libraries.
fn kafka_python(workspace: &Workspace, library: &str) -> Result<Command> {
    let mut command = python(workspace, provision::KAFKA, "python")?;
    command.arg(library);
    Ok(command)
}

/// The program is told which library to use.
fn kafka_go(workspace: &Workspace, library: &str) -> Result<Command> {
    let mut command = workspace.command(provision::go(workspace, provision::KAFKA)?);
    command.arg(library);
    Ok(command)
}

/// Programs that come with Kafka, called by a script, with the jars of a version in reach.
fn kafka_tools(workspace: &Workspace, what: &str, libraries: &str) -> Result<Command> {
    let mut command = python(workspace, provision::KAFKA, "tools")?;
    command.arg(what).arg("--classpath").arg(provision::java(workspace, provision::KAFKA, libraries)?);
    Ok(command)
}

/// A program of the machine's, called by the same script.
fn kcat(workspace: &Workspace) -> Result<Command> {
    command::run(workspace.command("kcat").arg("-V").stdout(Stdio::null()))
        .context("kcat has to be in the path; Debian's package is called kcat")?;
    kafka_tools(workspace, "kcat", "java")
}

fn node(workspace: &Workspace, dialect: &str) -> Result<Command> {
    let mut command = workspace.command("node");
    command.env("NODE_PATH", provision::node(workspace, dialect)?);
    command.arg(workspace.path(dialect).join("node/main.js"));
    Ok(command)
}

fn lapin(workspace: &Workspace) -> Result<Command> {
    Ok(workspace.command(programs::built(workspace, "conform-lapin")?))
}

fn async_nats(workspace: &Workspace) -> Result<Command> {
    Ok(workspace.command(programs::built(workspace, "conform-async-nats")?))
}

/// The program `nats`, called by a script.
fn nats_cli(workspace: &Workspace) -> Result<Command> {
    let mut command = python(workspace, provision::NATS, "cli")?;
    command.arg("--nats").arg(provision::nats_cli(workspace)?);
    Ok(command)
}

/// One source file that java runs as it is, with the libraries that `libraries/pom.xml` names.
fn java(workspace: &Workspace, dialect: &str, libraries: &str) -> Result<Command> {
    let mut command = workspace.command("java");
    command.args(["-Xmx256m", "-cp"]).arg(provision::java(workspace, dialect, libraries)?);
    command.arg(workspace.path(dialect).join("java/Conform.java"));
    Ok(command)
}
