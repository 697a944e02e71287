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
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use stele_testkit::random::Random;
use stele_testkit::victim::{Victim, recovering};

use crate::run::{CLIENTS, READERS, Shared, WRITERS};

/// The shortest and the longest time between the start of the server and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_000;

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

fn run() -> Result<()> {
    let arguments = Arguments::parse();
    let (mut victim, address) = match (&arguments.address, &arguments.restart) {
        (Some(address), Some(restart)) => (Victim::Other(restart.clone()), *address),
        _ => {
            let victim = Victim::ours("nats-loop-data", arguments.program.clone(), arguments.port_offset)?;
            let address = victim.broker().context("our own broker")?.nats();
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
        let recovering = recovering(random);
        let start = Instant::now();
        victim.kill()?;
        victim.start(recovering)?;
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
