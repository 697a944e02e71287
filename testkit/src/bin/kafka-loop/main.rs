//! Kills a broker under the load of Kafka's protocol, again and again, and checks that it kept every promise.
//!
//! `cargo run --release -p stele-testkit --bin kafka-loop -- --kills 20 [--seed N]` starts the release binary; with `--address` and `--restart`
//! the same judge sits over any other broker. Idempotent writers send again what was not answered, members of a group read and commit; all
//! note in a history what they saw (see `history.rs` for what must hold). Ends with 1 if a promise was broken.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod history;
mod member;
mod run;
mod writer;

use std::process::ExitCode;
use std::thread;

use anyhow::{Result, ensure};
use clap::Parser;
use stele_testkit::broker::Broker;
use stele_testkit::kills::{self, Kills, KillsAt};
use stele_testkit::random::Random;

use crate::run::{MEMBERS, Shared, WRITERS};

/// The shortest and the longest time between the start of the broker and the kill.
const LOAD_MS: std::ops::Range<u64> = 200..2_800;
/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 12_500;

#[derive(Parser)]
#[command(about = "Kill a broker under Kafka's load and check that it kept every promise")]
struct Arguments {
    #[command(flatten)]
    at: KillsAt,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { at }: &Arguments) -> Result<()> {
    let kills = &at.kills;
    let (mut victim, address) = at.victim("kafka-loop-data", PORT_OFFSET, Broker::kafka)?;
    run::create(address)?;
    let shared = Shared::new(address);
    let mut random = Random::new(kills.seed);
    let killed = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (shared, seed) = (&shared, random.any());
            scope.spawn(move || writer::write(shared, writer, seed));
        }
        for _ in 0..MEMBERS {
            let (shared, seed) = (&shared, random.any());
            scope.spawn(move || member::take_part(shared, seed));
        }
        let killed = kills.all(&mut victim, LOAD_MS, &mut random, || progress(&shared));
        shared.stop(); // writers end when all that they sent is acknowledged
        killed
    });
    killed?;
    judge(kills, &shared)
}

fn progress(shared: &Shared) -> String {
    let history = shared.history();
    format!(
        "{} acknowledged, {} read, {} commits, generation {}",
        history.acknowledgements(),
        history.reads,
        history.commits,
        history.generation()
    )
}

fn judge(kills: &Kills, shared: &Shared) -> Result<()> {
    let partitions = run::everything(shared)?;
    let history = shared.history();
    let stored: usize = partitions.values().map(Vec::len).sum();
    let (acknowledged, reads, commits) = (history.acknowledgements(), history.reads, history.commits);
    println!("{acknowledged} acknowledged, {stored} stored, {reads} read, {commits} commits");
    kills.judge(&history.verdict(&partitions))?;
    ensure!(acknowledged > 0 && reads > 0 && commits > 0, "nothing was proven");
    println!(
        "no acknowledged record lost or doubled, offsets kept, no partition with two members, no commit forgotten"
    );
    Ok(())
}
