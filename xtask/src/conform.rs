//! Conformance: the official, unmodified clients of a dialect run scripts, and what they observe must be what the real broker answers.
//!
//! A script prints one line of JSON per case, `{"case": name, "answer": …}`, and may add `"why": text` that is shown only if the answer is not
//! the wanted one. The answers of the real broker are recorded in a file of the
//! repository, so that a check needs no peer; accepted differences are listed with their reasons. A case is a fact about the broker, so
//! every client that can express a case must observe the same answer. This crate compares answers and understands none of them.

mod answers;
mod client;
mod script;

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::broker::{Peer, Subject};
use crate::conform::answers::Answers;
use crate::conform::client::Client;
use crate::conform::script::Observation;
use crate::provision;
use crate::workspace::Workspace;

/// What is run against whom.
#[derive(Args)]
pub(crate) struct Options {
    dialect: Dialect,
    /// Only these clients, comma separated; all of them if not given.
    #[arg(long, value_delimiter = ',')]
    clients: Vec<String>,
    /// Only these cases, comma separated; not with --record.
    #[arg(long, value_delimiter = ',', conflicts_with = "record")]
    only: Vec<String>,
    /// Our own binary as it stands here, instead of a release binary that is built now.
    #[arg(long, conflicts_with = "peer")]
    program: Option<PathBuf>,
    /// A running broker instead of our own binary: amqp://user:password@host:port/, host:port for Kafka, nats://host:port.
    #[arg(long)]
    peer: Option<String>,
    /// Where the peer speaks TLS: amqps://…, host:port for Kafka.
    #[arg(long, requires_all = ["peer", "peer_ca"])]
    peer_tls: Option<String>,
    /// Where a Kafka peer speaks TLS and wants a login, host:port.
    #[arg(long, requires_all = ["peer_tls", "peer_sasl"])]
    peer_sasl_tls: Option<String>,
    /// The authority that signed the peer's certificate, as PEM.
    #[arg(long, requires = "peer")]
    peer_ca: Option<PathBuf>,
    /// Where a Kafka peer wants a login, host:port.
    #[arg(long, requires = "peer")]
    peer_sasl: Option<String>,
    /// How another NATS server of the peer's kind is started, for cases with a configuration of their own.
    #[arg(long, requires = "peer")]
    peer_server: Option<String>,
    /// A shell command that restarts the peer and returns when it is ready.
    #[arg(long, requires = "peer")]
    peer_restart: Option<String>,
    /// Write the peer's answers down as the ones to compare with.
    #[arg(long, requires = "peer")]
    record: bool,
}

/// Whose protocol the clients speak.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    Amqp091,
    Kafka,
    Nats,
}

impl Dialect {
    /// Where its scripts stand.
    fn folder(self) -> &'static str {
        match self {
            Self::Amqp091 => provision::AMQP091,
            Self::Kafka => provision::KAFKA,
            Self::Nats => provision::NATS,
        }
    }

    /// The file of what the real broker answered.
    fn recorded(self) -> &'static str {
        match self {
            Self::Amqp091 => "answers-rabbitmq-4.3.json",
            Self::Kafka => "answers-kafka-4.3.json",
            Self::Nats => "answers-nats-2.15.json",
        }
    }

    fn clients(self) -> &'static [Client] {
        match self {
            Self::Amqp091 => client::AMQP091,
            Self::Kafka => client::KAFKA,
            Self::Nats => client::NATS,
        }
    }
}

/// As the command line says.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let dialect = options.dialect;
    let known = dialect.clients();
    if let Some(unknown) =
        options.clients.iter().find(|name| known.iter().all(|client| client.name != **name))
    {
        let names: Vec<&str> = known.iter().map(|client| client.name).collect();
        bail!("no client is called {unknown}: there are {}", names.join(", "));
    }
    let chosen = |client: &&Client| {
        options.clients.is_empty() || options.clients.iter().any(|name| name == client.name)
    };
    let clients: Vec<&Client> = known.iter().filter(chosen).collect();
    let subject = match &options.peer {
        None => Subject::ours(workspace, dialect, options.program.as_deref())?,
        Some(address) => Subject::Peer(Peer {
            dialect,
            address: address.clone(),
            tls: options.peer_tls.clone(),
            sasl_tls: options.peer_sasl_tls.clone(),
            authority: options.peer_ca.clone(),
            sasl: options.peer_sasl.clone(),
            server: options.peer_server.clone(),
            certificates: provision::certificates(workspace)?,
            restart: options.peer_restart.clone(),
        }),
    };
    if options.record {
        record(workspace, dialect, subject, &clients)
    } else {
        compare(workspace, dialect, subject, &clients, &options.only)
    }
}

/// Some clients of a dialect against our own binary.
pub(crate) fn clients(workspace: &Workspace, dialect: Dialect, names: &[&str]) -> Result<()> {
    let clients: Vec<&Client> =
        dialect.clients().iter().filter(|known| names.contains(&known.name)).collect();
    assert_eq!(clients.len(), names.len(), "the suite names clients that are in the table");
    compare(workspace, dialect, Subject::ours(workspace, dialect, None)?, &clients, &[])
}

fn record(workspace: &Workspace, dialect: Dialect, mut subject: Subject, clients: &[&Client]) -> Result<()> {
    let mut answers = Answers::read(workspace, dialect)?;
    for client in clients {
        answers.forget(client.name);
        for Observation { case, answer, .. } in script::run(client.command(workspace)?, &mut subject, &[])? {
            answers.record(client.name, &case, answer)?;
        }
    }
    answers.write(workspace)
}

fn compare(
    workspace: &Workspace,
    dialect: Dialect,
    mut subject: Subject,
    clients: &[&Client],
    only: &[String],
) -> Result<()> {
    let answers = Answers::read(workspace, dialect)?;
    let ours = matches!(subject, Subject::Ours { .. });
    let mut faults = 0;
    for client in clients {
        let observed = script::run(client.command(workspace)?, &mut subject, only)?;
        let found = answers.faults(client.name, &observed, only, ours);
        println!("{}: {} cases, {} not as recorded", client.name, observed.len(), found.len());
        found.iter().for_each(|fault| println!("  {fault}"));
        faults += found.len();
        ensure!(!observed.is_empty(), "{} observed nothing", client.name);
    }
    ensure!(faults == 0, "{faults} answers are not as recorded");
    Ok(())
}
