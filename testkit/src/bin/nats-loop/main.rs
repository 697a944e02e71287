//! Kills a server under the load of JetStream, again and again, and checks that it kept every promise.
//!
//! `cargo run --release -p stele-testkit --bin nats-loop -- --kills 20 [--seed N]` starts the release binary; with `--address` and `--restart`
//! the same judge sits over any other server. Writers send again under its id what was not acknowledged, readers settle what they are
//! given, clients put, update and get keys, others publish batches; all note in a history what they saw (`history.rs` says what must hold of a stream, `register.rs`
//! of a key). Ends with 1 if a promise was broken.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod batches;
mod history;
mod keys;
mod reader;
mod register;
mod run;
mod writer;

use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use stele_testkit::broker::Broker;
use stele_testkit::kills::{self, Kills, KillsAt};
use stele_testkit::random::Random;

use crate::run::{BATCHERS, CLIENTS, READERS, Shared, WRITERS};

/// The shortest and the longest time between the start of the server and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_000;
/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 12_700;

#[derive(Parser)]
#[command(about = "Kill a server under JetStream's load and check that it kept every promise")]
struct Arguments {
    #[command(flatten)]
    at: KillsAt,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { at }: &Arguments) -> Result<()> {
    let kills = &at.kills;
    let (mut victim, address) = at.victim("nats-loop-data", PORT_OFFSET, Broker::nats)?;
    run::create(address)?;
    let shared = Shared::new(address);
    let mut random = Random::new(kills.seed);
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
        for client in 0..BATCHERS {
            let seed = random.any();
            scope.spawn(move || batches::publish(shared, client, seed));
        }
        scope.spawn(move || reader::observe(shared));
        let killed = kills.all(&mut victim, LOAD_MS, &mut random, || progress(shared));
        shared.stop(); // writers end when all is acknowledged, readers when all is settled
        killed
    });
    killed?;
    judge(kills, &shared)
}

fn progress(shared: &Shared) -> String {
    let history = shared.history();
    format!(
        "{} acknowledged, {} duplicates, {} given, {} settled, floor {}",
        history.acknowledgements(),
        history.duplicates,
        history.reads,
        history.settlements(),
        history.last_floor()
    )
}

fn judge(kills: &Kills, shared: &Shared) -> Result<()> {
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
    let (batched, batches) = (batches::everything(shared)?, shared.batches());
    println!("{} batches acknowledged, {} messages of batches stored", batches.len(), batched.len());
    let mut verdict = history.verdict(&stored);
    verdict.extend(batches::verdict(&batched, &batches));
    for (key, operations) in keys.iter().enumerate() {
        verdict.extend(
            register::violation(operations).map(|text| format!("key {key} is not linearizable: {text}")),
        );
    }
    kills.judge(&verdict)?;
    let proven = acknowledged > 0 && settled > 0 && operations > 0 && !batches.is_empty();
    ensure!(proven, "nothing was proven");
    println!(
        "no acknowledged message lost or doubled, no batch torn, no settled one given again, the floor never back, keys linearizable"
    );
    Ok(())
}
