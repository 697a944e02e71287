//! The interop application: a small shop with a fixed outside, built on `stele-bus` by its public API only.
//!
//! Run by anybody's peer: a MassTransit service, a script, a driver that kills things. `AMQP_URL` says where the broker is. The outside
//! (endpoints, messages, lines on standard output) is a contract with those peers; the inside is free.

mod contracts;
mod database;
mod serve;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "A small service to exchange messages with")]
struct Arguments {
    /// Where the broker is.
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    amqp_url: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Take orders and answer questions until SIGTERM.
    Serve,
    /// Make the tables.
    Migrate(Database),
    /// Place orders, one transaction each, with an event through the outbox.
    Produce {
        #[command(flatten)]
        database: Database,
        #[command(flatten)]
        orders: database::Orders,
    },
    /// Deliver the outbox until SIGTERM; several may run at once.
    Relay(Database),
    /// Bill placed orders until SIGTERM, each exactly once.
    Consume(Database),
}

#[derive(Args)]
struct Database {
    /// Where the database is.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let Arguments { amqp_url, verb } = Arguments::parse();
    match verb {
        Verb::Serve => serve::run(&amqp_url).await,
        Verb::Migrate(Database { database_url }) => database::migrate(&database_url).await,
        Verb::Produce { database: Database { database_url }, orders } => {
            database::produce(&database_url, &amqp_url, &orders).await
        }
        Verb::Relay(Database { database_url }) => database::relay(&database_url, &amqp_url).await,
        Verb::Consume(Database { database_url }) => database::consume(&database_url, &amqp_url).await,
    }
}

/// One line for the driver, at once.
#[expect(clippy::print_stdout, reason = "lines on standard output are part of the contract")]
fn say(line: &str) {
    use std::io::Write;
    println!("{line}");
    let _ = std::io::stdout().flush(); // a driver that is gone reads nothing
}

/// Resolves with SIGTERM or SIGINT.
async fn asked_to_stop() -> Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}
