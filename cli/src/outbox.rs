//! `stele outbox`: takes committed rows out of an outbox table in Postgres and publishes them over AMQP, NATS or Kafka, in order per
//! aggregate. For programs in any language; the library of the bus runs the same relay inside a process.
//!
//! URLs hold passwords. They are read here and nowhere printed: what is shown is host, port and name.

mod metrics;
mod relay;

use crate::args::duration;
use crate::say;
use anyhow::{Context as _, anyhow};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use stele_bus_relay::postgres::table::{Layout, Name, Shape};
use stele_bus_relay::postgres::{Database, ddl, dead, follow, look};

/// What is done with an outbox.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Publish rows as they are committed, until SIGTERM; several may run at a time. Prints READY when it is connected to both sides.
    Relay(RelayArgs),
    /// Look whether a relay can work with a table, and say what it would add; exit with 1 if it cannot.
    Check(Table),
    /// How much waits, for how long, and who relays it.
    Stats {
        #[command(flatten)]
        table: Table,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Rows that the broker would never have taken.
    #[command(subcommand)]
    Dead(DeadVerb),
    /// Print the tables as SQL: ours, or what is added to one of Debezium's layout.
    Ddl {
        /// Name of the outbox, with or without schema.
        #[arg(long, value_name = "NAME", default_value = "outbox")]
        table: Name,
        /// Whose columns it has.
        #[arg(long, value_enum, default_value_t = Known::Bus)]
        layout: Known,
    },
}

/// Which table.
#[derive(Debug, clap::Args)]
pub(crate) struct Table {
    /// The database. The connection must not go through a pooler that shares sessions between transactions.
    #[arg(long, value_name = "postgres://…", env = "DATABASE_URL", hide_env_values = true)]
    postgres: String,
    /// Name of the outbox, with or without schema.
    #[arg(long, value_name = "NAME", default_value = "outbox")]
    table: Name,
    /// Whose columns it has.
    #[arg(long, value_enum, default_value_t = Wanted::Auto)]
    layout: Wanted,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    table: Table,
    /// The broker, by the scheme of its URL: amqp or amqps, nats or tls (JetStream), kafka.
    #[arg(long, value_name = "amqp://…", env = "AMQP_URL", hide_env_values = true)]
    to: String,
    /// Check the broker's certificate by those in this file (PEM): beside the machine's for amqps, instead of them for nats.
    #[arg(long, value_name = "FILE")]
    to_ca: Option<PathBuf>,
    /// Durable topic exchange for rows that name no destination; made when it is not there. To NATS: the stream that is made, with what is
    /// below this name as its subjects, where no stream takes the subject. To Kafka: not used.
    #[arg(long, value_name = "NAME", default_value = "outbox.event")]
    exchange: String,
    /// Their routing key, subject or topic, of text and {aggregatetype}, {aggregateid}, {type}.
    #[arg(long, value_name = "TEMPLATE", default_value = "outbox.event.{aggregatetype}")]
    route: stele_bus_relay::route::Template,
    /// Sessions that read and publish side by side.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    workers: u16,
    /// Rows of one batch.
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// Pause after a look that found nothing, while rows have come lately.
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = duration)]
    poll_min: Duration,
    /// Longest pause when nothing comes.
    #[arg(long, value_name = "TIME", default_value = "250ms", value_parser = duration)]
    poll_max: Duration,
    /// What wakes the relay: its own looks at the table, or also Postgres' write-ahead log, which needs wal_level=logical and a user with
    /// the attribute replication. While the log cannot be followed, the relay polls.
    #[arg(long, value_enum, default_value_t = Mode::Poll)]
    mode: Mode,
    /// With --mode wal: give the log up for a while when the database keeps more of it for the relay, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    wal_keep_max: u64,
    /// Let a row wait for the confirm of the row before it in its aggregate: keeps order even where a queue refuses some.
    #[arg(long)]
    strict: bool,
    /// Park a row that the broker will never take after so many tries; 0: it stays, and its aggregate waits.
    #[arg(long, value_name = "N", default_value_t = 3)]
    park_after: u32,
    /// Serve Prometheus metrics at this address.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<SocketAddr>,
}

/// What wakes a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    Poll,
    Wal,
}

/// What is done with dead rows.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum DeadVerb {
    /// Print the oldest, with their numbers and why they were parked.
    List {
        #[command(flatten)]
        table: Table,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// Put rows back at the end of the outbox, under the ids they had.
    Replay {
        #[command(flatten)]
        table: Table,
        /// Which, by the numbers that list prints.
        #[arg(value_name = "NUMBER", required_unless_present = "all", conflicts_with = "all")]
        numbers: Vec<i64>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

/// A layout, or whatever is found.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Wanted {
    Auto,
    Bus,
    Debezium,
}

/// A layout.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Known {
    Bus,
    Debezium,
}

impl From<Wanted> for Option<Layout> {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::Auto => None,
            Wanted::Bus => Some(Layout::Bus),
            Wanted::Debezium => Some(Layout::Debezium),
        }
    }
}

impl Table {
    fn database(&self) -> anyhow::Result<Database> {
        Database::new(&self.postgres).map_err(|error| anyhow!("--postgres: {error}"))
    }
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Relay(args) => relay::run(&args),
        Verb::Check(table) => now(check(&table)),
        Verb::Stats { table, json } => now(stats(&table, json)),
        Verb::Dead(DeadVerb::List { table, limit }) => now(list(&table, limit)),
        Verb::Dead(DeadVerb::Replay { table, numbers, all }) => {
            now(replay(&table, (!all).then_some(&numbers)))
        }
        Verb::Ddl { table, layout } => {
            say(&match layout {
                Known::Bus => ddl::bus(&table),
                Known::Debezium => ddl::debezium(&table),
            })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn now(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

async fn check(table: &Table) -> anyhow::Result<ExitCode> {
    let database = table.database()?;
    let mut connection = database.connect().await?;
    let shape = Shape::look(&mut connection, &table.table, table.layout.into()).await?;
    let rights = look::rights_missing(&mut connection, &shape).await?;
    let mut text = format!("{} in {}: layout {}\n", shape.name, database.place(), shape.layout);
    for missing in shape.missing() {
        let _ = writeln!(text, "  the relay will add {missing}");
    }
    for right in &rights {
        let _ = writeln!(text, "  MISSING: the right to {right}");
    }
    if rights.is_empty() {
        text += "  a relay can work with it\n";
    }
    match follow::missing(&mut connection).await?.as_slice() {
        [] => text += "  its log can be followed (--mode wal)\n",
        missing => {
            let _ = writeln!(text, "  its log cannot be followed: {}", missing.join("; "));
        }
    }
    say(&text)?;
    Ok(ExitCode::from(u8::from(!rights.is_empty())))
}

async fn stats(table: &Table, json: bool) -> anyhow::Result<ExitCode> {
    let mut connection = table.database()?.connect().await?;
    let shape = Shape::look(&mut connection, &table.table, table.layout.into()).await?;
    let backlog = look::backlog(&mut connection, &shape).await?;
    let owners = look::owners(&mut connection, &shape).await?;
    let age = backlog.oldest_age.map(|age| age.as_secs_f64());
    if json {
        let owners = owners
            .iter()
            .map(|owner| serde_json::json!({ "pid": owner.pid, "from": owner.from, "lanes": owner.lanes }));
        let stats = serde_json::json!({
            "layout": shape.layout.to_string(),
            "pending": backlog.pending,
            "oldest_age_seconds": age,
            "dead": backlog.dead,
            "scheduled": backlog.scheduled,
            "relays": owners.collect::<Vec<_>>(),
        });
        say(&format!("{stats:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let age = age.map_or("unknown".into(), |age| format!("{age:.3} s"));
    let mut text =
        format!("pending     {}\noldest      {age}\ndead        {}\n", backlog.pending, backlog.dead);
    let _ = writeln!(text, "scheduled   {}", backlog.scheduled);
    for owner in &owners {
        let _ =
            writeln!(text, "relay       {} lanes, session {} from {}", owner.lanes, owner.pid, owner.from);
    }
    if owners.is_empty() {
        text += "relay       none\n";
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn list(table: &Table, limit: u32) -> anyhow::Result<ExitCode> {
    let mut connection = table.database()?.connect().await?;
    let shape = prepared(table, &mut connection).await?;
    let mut text = String::new();
    for row in dead::list(&mut connection, &shape, limit).await? {
        let dead::Dead { dead, id, aggregate_id, reason, parked_at } = row;
        let _ = writeln!(text, "{dead}\t{id}\t{aggregate_id}\t{parked_at}\t{reason}");
    }
    say(&text)?;
    Ok(ExitCode::SUCCESS)
}

async fn replay(table: &Table, numbers: Option<&Vec<i64>>) -> anyhow::Result<ExitCode> {
    let mut connection = table.database()?.connect().await?;
    let shape = prepared(table, &mut connection).await?;
    let count = dead::replay(&mut connection, &shape, numbers.map(Vec::as_slice)).await?;
    say(&format!("{count} rows put back\n"))?;
    let all_found = numbers.is_none_or(|numbers| numbers.len() as u64 == count);
    Ok(ExitCode::from(u8::from(!all_found)))
}

async fn prepared(
    table: &Table,
    connection: &mut stele_bus_relay::postgres::Connection,
) -> anyhow::Result<Shape> {
    let shape = Shape::look(connection, &table.table, table.layout.into()).await?;
    let missing = shape.missing().into_iter().next();
    missing
        .map_or(Ok(shape), |missing| Err(anyhow!("{missing} is not there")))
        .context("no relay has worked here yet")
}
