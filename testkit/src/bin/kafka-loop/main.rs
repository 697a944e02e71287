//! Kills a broker under the load of Kafka's protocol, again and again, and checks that it kept every promise.
//!
//! `cargo run --release -p stele-testkit --bin kafka-loop -- --kills 20 [--seed N]` starts the release binary; with `--address` and `--restart`
//! the same judge sits over any other broker. Idempotent writers send again what was not answered, members of a group read and commit; all
//! note in a history what they saw (see `history.rs` for what must hold). Ends with 1 if a promise was broken.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod history;
mod member;
mod run;
mod wire;
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

use crate::run::{MEMBERS, Shared, WRITERS};

/// The shortest and the longest time between the start of the broker and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_800;

#[derive(Parser)]
#[command(about = "Kill a broker under Kafka's load and check that it kept every promise")]
struct Arguments {
    /// How often it is killed.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Decides the moments of the kills and the sizes of the records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Added to all ports of the binary.
    #[arg(long, default_value_t = 12_500)]
    port_offset: u16,
    /// Another broker, host:port, with fresh data.
    #[arg(long, requires = "restart")]
    address: Option<SocketAddr>,
    /// The shell command that kills the other broker and starts it again.
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
            let victim = Victim::ours("kafka-loop-data", arguments.program.clone(), arguments.port_offset)?;
            let address = victim.broker().context("our own broker")?.kafka();
            (victim, address)
        }
    };
    run::create(address)?;
    let shared = Shared::new(address);
    let mut random = Random::new(arguments.seed);
    let killed = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (shared, seed) = (&shared, random.any());
            scope.spawn(move || writer::write(shared, writer, seed));
        }
        for _ in 0..MEMBERS {
            let (shared, seed) = (&shared, random.any());
            scope.spawn(move || member::take_part(shared, seed));
        }
        let killed = kill(&arguments, &mut victim, &mut random, &shared);
        shared.stop(); // writers end when all that they sent is acknowledged
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
            "kill {kill}: back after {:.1} s; {} acknowledged, {} read, {} commits, generation {}",
            start.elapsed().as_secs_f64(),
            history.acknowledgements(),
            history.reads,
            history.commits,
            history.generation(),
        );
    }
    thread::sleep(Duration::from_millis(LOAD_MS.end)); // what was open is sent again, and read
    Ok(())
}

fn judge(shared: &Shared, seed: u64) -> Result<()> {
    let partitions = run::everything(shared)?;
    let history = shared.history();
    let stored: usize = partitions.values().map(Vec::len).sum();
    let (acknowledged, reads, commits) = (history.acknowledgements(), history.reads, history.commits);
    println!("{acknowledged} acknowledged, {stored} stored, {reads} read, {commits} commits");
    let verdict = history.verdict(&partitions);
    ensure!(
        verdict.is_empty(),
        "{} promises broken, seed {seed}:\n  {}",
        verdict.len(),
        verdict.join("\n  ")
    );
    ensure!(acknowledged > 0 && reads > 0 && commits > 0, "nothing was proven");
    println!(
        "no acknowledged record lost or doubled, offsets kept, no partition with two members, no commit forgotten"
    );
    Ok(())
}
