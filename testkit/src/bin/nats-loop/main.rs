//! Kills a server under the load of JetStream, again and again, and checks that it kept every promise.
//!
//! `cargo run --release -p stele-testkit --bin nats-loop -- --kills 20 [--seed N]` starts the release binary; with `--address` and `--restart`
//! the same judge sits over any other server. Writers send again under its id what was not acknowledged, readers settle what they are
//! given, clients put, update and get keys; all note in a history what they saw (`history.rs` says what must hold of a stream, `register.rs`
//! of a key). Ends with 1 if a promise was broken.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod history;
mod keys;
mod reader;
mod register;
mod run;
mod writer;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use stele_testkit::broker::{Broker, Settings};
use stele_testkit::random::Random;

use crate::run::{CLIENTS, READERS, Shared, WRITERS};

/// The shortest and the longest time between the start of the server and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_000;
/// One kill in so many hits a server that is still recovering.
const RECOVERING_ONE_IN: u64 = 4;
const RECOVERING_MS_MAX: u64 = 150;

#[derive(Parser)]
#[command(about = "Kill a server under JetStream's load and check that it kept every promise")]
struct Arguments {
    /// How often it is killed.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Decides the moments of the kills and what clients do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Added to all ports of the binary.
    #[arg(long, default_value_t = 12_700)]
    port_offset: u16,
    /// Another server, host:port, with fresh data.
    #[arg(long, requires = "restart")]
    address: Option<SocketAddr>,
    /// The shell command that kills the other server and starts it again.
    #[arg(long, requires = "address")]
    restart: Option<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}"); // a finding, not a bug of ours: no backtrace
            ExitCode::FAILURE
        }
    }
}

/// What is killed.
enum Victim {
    Ours(Box<Broker>),
    Other(String),
}

impl Victim {
    fn ours(arguments: &Arguments) -> Result<Self> {
        let folder =
            std::env::current_exe()?.parent().context("find the folder of this program")?.to_path_buf();
        let data_dir = folder.join("nats-loop-data");
        if data_dir.exists() {
            std::fs::remove_dir_all(&data_dir).with_context(|| format!("remove {}", data_dir.display()))?;
        }
        let program = arguments.program.clone().unwrap_or_else(|| folder.join("stele"));
        let port_offset = arguments.port_offset;
        let broker = Broker::start(Settings { program, data_dir, port_offset, arguments: Vec::new() })?;
        Ok(Self::Ours(Box::new(broker)))
    }

    /// Kill it without a word of warning and start it again, once more if it is to die while it recovers.
    fn kill(&mut self, recovering: Option<Duration>) -> Result<()> {
        match self {
            Self::Ours(broker) => {
                broker.kill()?;
                if let Some(after) = recovering {
                    broker.start_and_kill(after)?;
                }
                broker.start_again()
            }
            Self::Other(restart) => {
                let mut command = Command::new("sh");
                let status = command.args(["-c", restart]).stdin(Stdio::null()).status()?;
                ensure!(status.success(), "{restart} ended with {status}");
                Ok(())
            }
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let (mut victim, address) = match (&arguments.address, &arguments.restart) {
        (Some(address), Some(restart)) => (Victim::Other(restart.clone()), *address),
        _ => {
            let victim = Victim::ours(&arguments)?;
            let Victim::Ours(broker) = &victim else { bail!("our own broker") };
            let address = broker.nats();
            (victim, address)
        }
    };
    run::create(address)?;
    let shared = Shared::new(address);
    let mut random = Random::new(arguments.seed);
    let killed = thread::scope(|scope| {
        let shared = &shared;
        for writer in 0..WRITERS {
            let seed = random.any();
            scope.spawn(move || writer::write(shared, writer, seed));
        }
        for _ in 0..READERS {
            let seed = random.any();
            scope.spawn(move || reader::read(shared, seed));
        }
        for client in 0..CLIENTS {
            let seed = random.any();
            scope.spawn(move || keys::work(shared, client, seed));
        }
        scope.spawn(move || reader::observe(shared));
        let killed = kill(&arguments, &mut victim, &mut random, shared);
        shared.stop(); // writers end when all is acknowledged, readers when all is settled
        killed
    });
    killed?;
    judge(&shared, arguments.seed)
}

fn kill(arguments: &Arguments, victim: &mut Victim, random: &mut Random, shared: &Shared) -> Result<()> {
    for kill in 1..=arguments.kills {
        thread::sleep(Duration::from_millis(LOAD_MS.start + random.below(LOAD_MS.end - LOAD_MS.start)));
        let recovering = (random.below(RECOVERING_ONE_IN) == 0)
            .then(|| Duration::from_millis(random.below(RECOVERING_MS_MAX)));
        let start = Instant::now();
        victim.kill(recovering)?;
        let history = shared.history();
        println!(
            "kill {kill}: back after {:.1} s; {} acknowledged, {} duplicates, {} given, {} settled, floor {}",
            start.elapsed().as_secs_f64(),
            history.acknowledgements(),
            history.duplicates,
            history.reads,
            history.settlements(),
            history.last_floor(),
        );
    }
    thread::sleep(Duration::from_millis(LOAD_MS.end)); // what was open is sent again, and read
    Ok(())
}

fn judge(shared: &Shared, seed: u64) -> Result<()> {
    let stored = run::everything(shared);
    let history = shared.history();
    let stored = stored.with_context(|| format!("before that: {:?}", history.seen_wrong()))?;
    let (acknowledged, settled) = (history.acknowledgements(), history.settlements());
    let keys = shared.keys();
    let operations: usize = keys.iter().map(Vec::len).sum();
    println!(
        "{acknowledged} acknowledged, {} stored, {} given, {settled} settled, {operations} operations on {} keys",
        stored.len(),
        history.reads,
        keys.len()
    );
    let mut verdict = history.verdict(&stored);
    for (key, operations) in keys.iter().enumerate() {
        verdict.extend(
            register::violation(operations).map(|text| format!("key {key} is not linearizable: {text}")),
        );
    }
    ensure!(
        verdict.is_empty(),
        "{} promises broken, seed {seed}:\n  {}",
        verdict.len(),
        verdict.join("\n  ")
    );
    ensure!(acknowledged > 0 && settled > 0 && operations > 0, "nothing was proven");
    println!(
        "no acknowledged message lost or doubled, no settled one given again, the floor never back, keys linearizable"
    );
    Ok(())
}
