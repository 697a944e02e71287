//! Kills a broker under load, again and again, and checks that it kept every promise.
//!
//! `cargo run --release -p stele-testkit --bin kill-loop -- --kills 20 [--seed N]` starts the release binary; with `--url` and `--restart` the
//! same judge sits over any other broker. Publishers wait for confirms, consumers acknowledge; both note in a ledger what they saw. After the
//! last kill the queues are drained and the ledger is judged (see [`stele_testkit::ledger`]). Ends with 1 if a promise was broken.
//!
//! The seed decides moments and sizes, not what the kernel schedules: a failing seed is a hint, not a proof.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod body;
mod load;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use stele_testkit::ledger::Ledger;
use stele_testkit::random::Random;
use stele_testkit::victim::{Victim, recovering};

/// The shortest and the longest time between the start of the load and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_800;

#[derive(Parser)]
#[command(about = "Kill a broker under load and check that it kept every promise")]
struct Arguments {
    /// How often it is killed.
    #[arg(long, default_value_t = 20)]
    kills: u32,
    /// Decides the moments of the kills and the sizes of the records.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<std::path::PathBuf>,
    /// Added to all ports of the binary.
    #[arg(long, default_value_t = 12_000)]
    port_offset: u16,
    /// Another broker, amqp://user:password@host:port/
    #[arg(long, requires = "restart")]
    url: Option<String>,
    /// The shell command that kills the other broker and starts it again.
    #[arg(long, requires = "url")]
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
    let (mut victim, url) = match (&arguments.url, &arguments.restart) {
        (Some(url), Some(restart)) => (Victim::Other(restart.clone()), url.clone()),
        _ => {
            let victim = Victim::ours("kill-loop-data", arguments.program.clone(), arguments.port_offset)?;
            let address = victim.broker().context("our own broker")?.amqp();
            (victim, format!("amqp://guest:guest@{address}/%2f"))
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut random = Random::new(arguments.seed);
    let ledger = Arc::new(Mutex::new(Ledger::new(&load::publishers())));
    runtime.block_on(load::declare(&url))?;
    for kill in 1..=arguments.kills {
        let load = runtime.block_on(load::start(&url, &ledger, random.any()))?;
        std::thread::sleep(Duration::from_millis(LOAD_MS.start + random.below(LOAD_MS.end - LOAD_MS.start)));
        let recovering = recovering(&mut random);
        let start = Instant::now();
        victim.kill()?;
        runtime.block_on(load.end());
        load::locked(&ledger).killed(start); // only now: what the dead broker had sent was still being read
        victim.start(recovering)?;
        let totals = load::locked(&ledger).totals();
        println!(
            "kill {kill}: back after {:.1} s; {} sent, {} confirmed, {} delivered",
            start.elapsed().as_secs_f64(),
            totals.sent,
            totals.confirmed,
            totals.delivered
        );
    }
    runtime.block_on(load::drain(&url, &ledger))?;
    judge(&load::locked(&ledger), arguments.seed)
}

fn judge(ledger: &Ledger, seed: u64) -> Result<()> {
    let totals = ledger.totals();
    println!("{totals:?}");
    let verdict = ledger.verdict();
    if !verdict.is_empty() {
        bail!("{} promises broken, seed {seed}:\n  {}", verdict.len(), verdict.join("\n  "));
    }
    if totals.confirmed == 0 || totals.settled == 0 {
        bail!("nothing was proven: {totals:?}");
    }
    println!("no confirmed record lost, none invented, order kept, nothing settled came back");
    Ok(())
}
