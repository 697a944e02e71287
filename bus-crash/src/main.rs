//! Kills the producers, relays and consumers of an outbox with SIGKILL, cuts their connections to database and broker, and judges what
//! was stored and what arrived.
//!
//! `cargo run --release -p stele-bus-crash -- suite` is the bounded run of CI: every scene for some seconds, and every wrong design, which
//! must be caught. `… -- run --scene postgres --seed 1 --seeds 10 --seconds 60` is the long one, by hand. The processes that die are this same
//! binary in a role; in the scenes `debezium` and `nats` the relay is `stele outbox relay`, and in the scene `interop` all are the interop
//! application by its contract. The seed decides what is hit and when, not what the
//! kernel schedules: a failing seed is a hint, not a proof.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod database;
mod event;
mod judge;
mod nats;
mod proxy;
mod role;
mod saga;
mod scene;
mod tap;
mod wrong;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use stele_testkit::broker::{Broker, Settings};

use crate::scene::Scene;

#[derive(Parser)]
#[command(about = "Kill the parts of an outbox and check that every promise was kept")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// All scenes, and all wrong designs, in less than a minute.
    Suite {
        #[command(flatten)]
        broker: Which,
        /// Decides what is hit and when.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// One scene, for as long and as often as wanted.
    Run {
        #[command(flatten)]
        broker: Which,
        #[arg(long, value_enum, default_value_t = Store::Postgres)]
        scene: Store,
        /// A wrong design in the place of the right one; it must be caught.
        #[arg(long, value_enum)]
        mutant: Option<Mutant>,
        /// The first seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many.
        #[arg(long, default_value_t = 3)]
        seeds: u64,
        /// How long each breaks things.
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// What the killed processes run.
    #[command(hide = true)]
    Role(role::Role),
}

/// Which broker.
#[derive(clap::Args)]
struct Which {
    /// A running broker, amqp://user:password@host:port/; by default a stele is started.
    #[arg(long)]
    broker: Option<String>,
    /// A running NATS server with JetStream, nats://host:port, for the scene `nats`; by default the same stele.
    #[arg(long)]
    nats: Option<String>,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Added to all ports of a stele started here.
    #[arg(long, default_value_t = 10_700)]
    port_offset: u16,
}

/// Where the outbox is, and who relays it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    /// The bus's tables in Postgres, relayed by the library.
    Postgres,
    /// Debezium's layout in Postgres, relayed by `stele outbox relay`.
    Debezium,
    /// The bus's tables in SQLite, relayed by the library.
    Sqlite,
    /// The interop application over Postgres, as its contract says.
    Interop,
    /// As `debezium`, with a stream of NATS JetStream as the broker.
    Nats,
}

impl Store {
    /// Whether the outbox is a table of Debezium's layout, which `stele outbox relay` empties.
    pub(crate) fn is_debezium(self) -> bool {
        matches!(self, Self::Debezium | Self::Nats)
    }
}

/// What a scene's names are.
pub(crate) struct Names {
    /// Exchange and routing key (or stream, with its dots as underscores, and subject) of the event that an order was placed.
    pub(crate) placed: (&'static str, &'static str),
    /// The other events.
    pub(crate) others: &'static [(&'static str, &'static str)],
    /// The consumer's queue.
    pub(crate) queue: &'static str,
    /// The outbox that the relay empties.
    pub(crate) outbox: &'static str,
    /// Whether a saga takes part.
    pub(crate) has_saga: bool,
}

impl Store {
    pub(crate) fn names(self) -> Names {
        match self {
            Self::Postgres | Self::Sqlite => Names {
                placed: ("Crash:OrderPlaced", ""),
                others: &[("Crash:OrderBilled", ""), ("Crash:OrderClosed", "")],
                queue: "crash.bill-order",
                outbox: "outbox",
                has_saga: true,
            },
            Self::Debezium | Self::Nats => Names {
                placed: ("outbox.event", "outbox.event.order"),
                others: &[("outbox.event", "outbox.event.bill")],
                queue: "crash.bill-order",
                outbox: "events",
                has_saga: false,
            },
            Self::Interop => Names {
                placed: ("Shop.Contracts:OrderPlaced", ""),
                others: &[("Shop.Contracts:OrderBilled", "")],
                queue: "bill-order",
                outbox: "outbox",
                has_saga: false,
            },
        }
    }
}

/// A design that people build and that loses something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mutant {
    /// The relay goes on behind the last number that it has seen.
    CursorById,
    /// Relays share all rows by `for update skip locked`.
    SkipLocked,
    /// The relay deletes rows when it has read them.
    DeleteBeforeConfirm,
    /// The consumer settles a message before its work is committed.
    AckBeforeCommit,
}

/// Attempts to catch a wrong design: each has a seed of its own.
const MUTANT_TRIES: u64 = 4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}"); // a finding, not a bug of ours: no backtrace
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Arguments::parse().verb {
        Verb::Role(role) => runtime.block_on(role.run()),
        Verb::Run { broker, scene, mutant: None, seed, seeds, seconds } => {
            let started = Started::of(&broker)?;
            for seed in seed..seed + seeds {
                runtime.block_on(holds(&started, scene, seed, Duration::from_secs(seconds)))?;
            }
            Ok(())
        }
        Verb::Run { broker, mutant: Some(mutant), seed, seconds, .. } => {
            let started = Started::of(&broker)?;
            runtime.block_on(caught(&started, mutant, seed, Duration::from_secs(seconds)))
        }
        Verb::Suite { broker, seed } => {
            let (start, started) = (Instant::now(), Started::of(&broker)?);
            let scenes = [
                (Store::Postgres, 5),
                (Store::Debezium, 5),
                (Store::Nats, 4),
                (Store::Sqlite, 3),
                (Store::Interop, 5),
            ];
            for (scene, seconds) in scenes {
                runtime.block_on(holds(&started, scene, seed, Duration::from_secs(seconds)))?;
            }
            for mutant in Mutant::value_variants() {
                runtime.block_on(caught(&started, *mutant, seed, Duration::from_secs(2)))?;
            }
            println!(
                "outbox-loop: every promise kept, every wrong design caught, in {:.0?}",
                start.elapsed()
            );
            Ok(())
        }
    }
}

/// A broker that all scenes use one after the other.
struct Started {
    amqp: String,
    nats: String,
    program: PathBuf,
    _broker: Option<(Broker, tempfile::TempDir)>,
}

impl Started {
    fn of(which: &Which) -> Result<Self> {
        let program = match &which.program {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("stele"),
        };
        let given = |url: &Option<String>| url.clone().unwrap_or_default();
        if which.broker.is_some() || which.nats.is_some() {
            return Ok(Self { amqp: given(&which.broker), nats: given(&which.nats), program, _broker: None });
        }
        let folder = tempfile::tempdir()?;
        let settings = Settings {
            program: program.clone(),
            data_dir: folder.path().join("data"),
            port_offset: which.port_offset,
            arguments: Vec::new(),
        };
        let broker = Broker::start(settings)?;
        let (amqp, nats) =
            (format!("amqp://guest:guest@{}", broker.amqp()), format!("nats://{}", broker.nats()));
        Ok(Self { amqp, nats, program, _broker: Some((broker, folder)) })
    }

    /// Where a scene's broker is.
    fn url(&self, store: Store) -> Result<&str> {
        let (url, option) = match store {
            Store::Nats => (&self.nats, "--nats"),
            _ => (&self.amqp, "--broker"),
        };
        ensure!(!url.is_empty(), "the scene needs {option}");
        Ok(url)
    }
}

/// Runs the right design; any violation is an error.
async fn holds(started: &Started, store: Store, seed: u64, time: Duration) -> Result<()> {
    let broker = started.url(store)?;
    let scene = Scene { store, mutant: None, seed, time, broker, program: &started.program };
    let verdict = scene.play().await?;
    println!("{store:?}, seed {seed}: {verdict}");
    if !verdict.violations.is_empty() {
        bail!("{store:?}, seed {seed}: {} promises broken", verdict.violations.len());
    }
    if verdict.orders == 0 || verdict.kills == 0 {
        bail!("{store:?}, seed {seed}: nothing was done, so nothing is shown");
    }
    Ok(())
}

/// Runs a wrong design until it is caught.
async fn caught(started: &Started, mutant: Mutant, seed: u64, time: Duration) -> Result<()> {
    for seed in seed..seed + MUTANT_TRIES {
        let (store, mutant_too) = (Store::Postgres, Some(mutant));
        let (broker, program) = (started.url(store)?, &started.program);
        let verdict = Scene { store, mutant: mutant_too, seed, time, broker, program }.play().await?;
        if let Some(violation) = verdict.violations.first() {
            println!("{mutant:?}, seed {seed}: caught: {violation}");
            return Ok(());
        }
    }
    bail!("{mutant:?} was not caught with {MUTANT_TRIES} seeds from {seed}")
}
