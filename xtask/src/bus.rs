//! The bus's wire: peers that know only a client library and the envelope exchange every kind of message with `examples/interop` and
//! `examples/shop`; and what every transport promises, on each broker; and the shop by itself, over AMQP and NATS, with its state in memory
//! and in Postgres.
//!
//! Called by `cargo xtask conform-bus` and by the suite. The peers judge by themselves and exit non-zero; nothing here knows a message.

use anyhow::{Result, bail};
use clap::Args;
use stele_testkit::postgres::Cluster;

use crate::broker::Subject;
use crate::command;
use crate::conform::Dialect;
use crate::programs;
use crate::provision;
use crate::workspace::Workspace;

/// On which broker.
#[derive(Args)]
pub(crate) struct Options {
    /// A running broker, amqp://user:password@host:port/, instead of our own binary.
    #[arg(long)]
    peer: Option<String>,
    /// A running NATS server with JetStream, nats://host:port, instead of our own binary; with --peer alone NATS is left out.
    #[arg(long)]
    nats: Option<String>,
}

/// As the command line says.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let nats = options.nats.as_deref();
    match &options.peer {
        Some(url) => exchange(workspace, url, nats),
        None => with_ours(workspace, nats),
    }
}

/// On our own binary.
pub(crate) fn on_ours(workspace: &Workspace) -> Result<()> {
    with_ours(workspace, None)
}

fn with_ours(workspace: &Workspace, nats: Option<&str>) -> Result<()> {
    // As for NATS: without TLS, which its clients would take where it is offered.
    let subject = Subject::ours(workspace, Dialect::Nats, None)?;
    let Subject::Ours { broker, .. } = &subject else { bail!("our own broker is one that was started here") };
    let ours = format!("nats://{}", broker.nats());
    exchange(workspace, &format!("amqp://guest:guest@{}/", broker.amqp()), Some(nats.unwrap_or(&ours)))
}

fn exchange(workspace: &Workspace, amqp: &str, nats: Option<&str>) -> Result<()> {
    let mut transports = workspace.command("cargo");
    // Of all packages, as the unit tests are built: for one alone its dependencies would be compiled again, with other features.
    transports.args(["test", "--quiet", "--workspace", "--test", "transports"]);
    command::run(transports.env("STELE_BUS_BROKERS", format!("{amqp} {}", nats.unwrap_or_default())))?;
    let (interop, shop) = (programs::built(workspace, "interop")?, programs::built(workspace, "shop")?);
    let cluster = Cluster::start(&["fsync=off"])?;
    for url in [Some(amqp), nats].into_iter().flatten() {
        command::run(workspace.command(&shop).env("BROKER_URL", url))?;
        cluster.sql("drop schema public cascade; create schema public")?; // what another broker's shop left
        command::run(workspace.command(&shop).env("BROKER_URL", url).env("DATABASE_URL", cluster.url()))?;
    }
    drop(cluster);
    let (scripts, python) =
        (workspace.path("conform/bus"), provision::python(workspace, provision::AMQP091)?);
    let modules = provision::node(workspace, provision::AMQP091)?;
    for (name, program) in [("interop", &interop), ("shop", &shop)] {
        let script = |ending: &str| scripts.join(name).with_extension(ending);
        command::run(workspace.command(&python).arg(script("py")).arg(program).arg(amqp))?;
        let mut node = workspace.command("node");
        command::run(node.env("NODE_PATH", &modules).arg(script("mjs")).arg(program).arg(amqp))?;
    }
    Ok(())
}
