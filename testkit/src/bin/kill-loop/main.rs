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
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use stele_testkit::kills::{self, Kills};
use stele_testkit::ledger::Ledger;
use stele_testkit::random::Random;
use stele_testkit::victim::recovering;

/// The shortest and the longest time between the start of the load and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_800;
/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 12_000;

#[derive(Parser)]
#[command(about = "Kill a broker under load and check that it kept every promise")]
struct Arguments {
    #[command(flatten)]
    kills: Kills,
    /// Another broker, amqp://user:password@host:port/; with --restart.
    #[arg(long)]
    url: Option<String>,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { kills, url }: &Arguments) -> Result<()> {
    let mut victim = kills.victim(url.is_some(), "kill-loop-data", PORT_OFFSET)?;
    let ours = || Some(format!("amqp://guest:guest@{}/%2f", victim.broker()?.amqp()));
    let url = url.clone().or_else(ours).context("find an address")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut random = Random::new(kills.seed);
    let ledger = Arc::new(Mutex::new(Ledger::new(&load::publishers())));
    runtime.block_on(load::declare(&url))?;
    for kill in 1..=kills.kills {
        let load = runtime.block_on(load::start(&url, &ledger, random.any()))?;
        kills::wait(&LOAD_MS, &mut random);
        let recovering = recovering(&mut random);
        let start = Instant::now();
        victim.kill()?;
        runtime.block_on(load.end());
        load::locked(&ledger).killed(); // only now: what the dead broker had sent was still being read
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
    judge(kills, &load::locked(&ledger))
}

fn judge(kills: &Kills, ledger: &Ledger) -> Result<()> {
    let totals = ledger.totals();
    println!("{totals:?}");
    kills.judge(&ledger.verdict())?;
    ensure!(totals.confirmed > 0 && totals.settled > 0, "nothing was proven: {totals:?}");
    println!("no confirmed record lost, none invented, order kept, nothing settled came back");
    Ok(())
}
