//! The bus's wire: peers that know only a client library and the envelope exchange every kind of message with `examples/interop`; and what
//! every transport promises, on each broker; and `examples/shop`, with its state in memory and in Postgres.
//!
//! Called by `cargo xtask conform-bus` and by the suite. The peers judge by themselves and exit non-zero; nothing here knows a message.

use anyhow::{Result, bail};
use clap::Args;
use stele_testkit::postgres::Cluster;

use crate::broker::Subject;
use crate::command;
use crate::conform::Dialect;
use crate::provision;
use crate::workspace::Workspace;

/// On which broker.
#[derive(Args)]
pub(crate) struct Options {
    /// A running broker, amqp://user:password@host:port/, instead of our own binary.
    #[arg(long)]
    peer: Option<String>,
    /// A running NATS server with JetStream, nats://host:port, for the transports' tests.
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
    let subject = Subject::ours(workspace, Dialect::Amqp091, None)?;
    let Subject::Ours { broker, .. } = &subject else { bail!("our own broker is one that was started here") };
    exchange(workspace, &format!("amqp://guest:guest@127.0.0.1:{}/", broker.amqp().port()), nats)
}

fn exchange(workspace: &Workspace, url: &str, nats: Option<&str>) -> Result<()> {
    let mut transports = workspace.command("cargo");
    transports.args(["test", "--quiet", "-p", "stele-bus-test", "--test", "transports"]);
    command::run(transports.env("STELE_BUS_BROKERS", format!("{url} {}", nats.unwrap_or_default())))?;
    let examples = ["build", "--release", "--quiet", "-p", "interop", "-p", "shop"];
    command::run(workspace.command("cargo").args(examples))?;
    let shop = || {
        let mut shop = workspace.command(workspace.target("release/shop"));
        shop.env("AMQP_URL", url);
        shop
    };
    command::run(&mut shop())?;
    let cluster = Cluster::start(&["fsync=off"])?;
    command::run(shop().env("DATABASE_URL", cluster.url()))?;
    drop(cluster);
    let interop = workspace.target("release/interop");
    let scripts = workspace.path("conform/bus");
    let mut python = workspace.command(provision::python(workspace, provision::AMQP091)?);
    command::run(python.arg(scripts.join("peer.py")).arg(&interop).arg(url))?;
    let mut node = workspace.command("node");
    node.env("NODE_PATH", provision::node(workspace, provision::AMQP091)?);
    command::run(node.arg(scripts.join("peer.mjs")).arg(&interop).arg(url))
}
