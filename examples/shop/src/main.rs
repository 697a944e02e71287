//! A small shop on the bus: order, payment, inventory and recommendation services, and a customer who checks that nothing was lost.
//!
//! `BROKER_URL=amqp://… shop` (or `nats://…`) runs them all in one process, each with a bus and a connection of its own; RabbitMQ, NATS or
//! Stele, nothing else changes. With `DATABASE_URL` the order service keeps inbox, saga and outbox in Postgres, and a relay inside the
//! process sends what it publishes. Exits with 1 if an order did not end as it must.
//!
//! `shop serve` runs the services without the customer, for anybody else's: it prints `READY` and ends at SIGTERM.

mod contracts;
mod customer;
mod inventory;
mod order;
mod payment;
mod recommendation;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::{Parser, Subcommand};
use stele_bus::Bus;
use stele_bus::store::memory::MemoryStore;
use stele_bus::transport::Transport;
use stele_bus::transport::amqp::Amqp;
use stele_bus::transport::nats::Nats;
use stele_bus_relay::postgres::{Database, PgOutbox, Scheduled};
use stele_bus_relay::relay::{self, Relay, Settings};
use stele_bus_sql::postgres::PgStore;
use stele_bus_sql::relay::OverTransport;
use tokio::signal::unix::{SignalKind, signal};

use inventory::Shelves;

type Outcome<T> = anyhow::Result<T>;

#[derive(Parser)]
#[command(about = "Four services and a customer")]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Where the broker is: amqp://… or nats://…
    #[arg(long, env = "BROKER_URL", hide_env_values = true, required_unless_present = "amqp_url")]
    broker_url: Option<String>,
    /// The same by another name.
    #[arg(long, env = "AMQP_URL", hide_env_values = true, hide = true)]
    amqp_url: Option<String>,
    /// Keep the order service's state in this Postgres instead of memory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Orders of each of six kinds.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// On AMQP the customer takes answers from a queue of its own instead of by the broker's direct reply-to.
    #[arg(long)]
    temporary_replies: bool,
    /// How long the customer waits for the next news, in seconds.
    #[arg(long, default_value_t = 30)]
    patience_s: u64,
}

#[derive(Clone, Copy, Subcommand)]
enum Verb {
    /// Run the services for customers elsewhere.
    Serve,
}

/// A connection of its own for whoever asks.
fn connect(url: &str, temporary_replies: bool) -> Outcome<Arc<dyn Transport>> {
    if url.starts_with("nats://") || url.starts_with("tls://") {
        return Ok(Arc::new(Nats::new(url)?));
    }
    let amqp = Amqp::new(url)?;
    Ok(Arc::new(if temporary_replies { amqp.temporary_replies() } else { amqp }))
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a command whose purpose is the lines it prints")]
async fn main() -> Outcome<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments = Arguments::parse();
    let url =
        arguments.broker_url.as_deref().or(arguments.amqp_url.as_deref()).context("where is the broker?")?;
    let broker = || connect(url, false);
    let shelves = Shelves::with(&customer::SHELVES);
    let (order, relay) = match &arguments.database_url {
        Some(url) => with_database(url, broker()?).await?,
        None => (order::service(broker()?, MemoryStore::default())?, None),
    };
    let services = [
        order,
        inventory::service(broker()?, MemoryStore::default(), shelves.clone())?,
        payment::service(broker()?, MemoryStore::default())?,
        recommendation::service(broker()?, MemoryStore::default())?,
    ];
    for service in &services {
        service.start().await.context("start a service")?;
    }
    let outcome = match arguments.verb {
        Some(Verb::Serve) => {
            let mut terminated = signal(SignalKind::terminate())?;
            println!("READY");
            terminated.recv().await;
            Ok("closed".to_owned())
        }
        None => {
            let customers = connect(url, arguments.temporary_replies)?;
            let patience = Duration::from_secs(arguments.patience_s);
            customer::visit(customers, &shelves, arguments.rounds, patience).await
        }
    };
    for service in &services {
        service.stop().await;
    }
    if let Some(relay) = relay {
        relay.stop().await;
    }
    println!("{}", outcome?);
    Ok(())
}

/// The order service with Postgres, and the relay that empties its outbox; the store nudges the relay after each commit.
async fn with_database(url: &str, broker: Arc<dyn Transport>) -> Outcome<(Bus, Option<Relay>)> {
    let pool = sqlx::PgPool::connect(url).await.context("connect to the database")?;
    stele_bus_sql::postgres::migrate(&pool).await.context("make the tables")?;
    let name = "outbox".parse().map_err(|why: String| anyhow!(why))?;
    let outbox = PgOutbox::new(Database::new(url).map_err(|why| anyhow!(why))?, name, None);
    let outbox = outbox.scheduled(Scheduled::HandedOn); // the broker keeps the time of what is scheduled
    let relay = relay::start(outbox, OverTransport(Arc::clone(&broker)), Settings::default());
    let store = PgStore::new(pool).with_nudge(relay.nudger());
    Ok((order::service(broker, store)?, Some(relay)))
}

#[cfg(test)]
mod tests {
    use stele_bus::Message;
    use stele_bus::transport::memory::Memory;
    use stele_bus_test::Harness;

    use super::*;

    /// The whole shop over one broker in memory, in virtual time.
    #[test]
    fn every_order_ends_as_it_must_also_without_a_broker() {
        stele_bus_test::run(
            |bus| bus,
            async |_: Harness| {
                // Of its own, by the same clock as the services, which know of no harness.
                let broker = Memory::default();
                let shelves = Shelves::with(&customer::SHELVES);
                let services = [
                    order::service(broker.clone(), MemoryStore::default()).unwrap(),
                    inventory::service(broker.clone(), MemoryStore::default(), shelves.clone()).unwrap(),
                    payment::service(broker.clone(), MemoryStore::default()).unwrap(),
                    recommendation::service(broker.clone(), MemoryStore::default()).unwrap(),
                ];
                for service in &services {
                    service.start().await.unwrap();
                }
                let said =
                    customer::visit(broker.clone(), &shelves, 3, Duration::from_secs(60)).await.unwrap();
                assert_eq!(said, "18 orders placed, all ended as they must; 3 faults; 6 lamps sold");
                let errors = broker.queued("shop-recommendation_error");
                assert_eq!(errors.len(), 3);
                assert_eq!(errors[0].id.get_version_num(), 7);
                assert_eq!(contracts::OrderCompleted::name().urn(), "urn:message:Shop.Demo:OrderCompleted");
            },
        );
    }
}
