//! Hostile, broken and greedy NATS clients beside a healthy pair, which must not notice.
//!
//! `cargo run --release -p stele-testkit --bin nats-bad-input [-- --seed N]` starts the release binary; with `--address` (and `--pid`, to watch
//! its memory) the same attacks are made on any other server. What must hold: every attack ends as its table says, in time; the server
//! lives; the pair keeps its rate; the server's memory is afterwards what it was. All attacks are made twice, and the memory after the second
//! pass is compared with that after the first, so that what is made once is not taken for a leak.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod attack;
mod pair;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use stele_testkit::broker::Broker;
use stele_testkit::kills;
use stele_testkit::nats::Connection;
use stele_testkit::siege::Siege;

use crate::attack::{ATTACKS, Attack};
use crate::pair::Pair;

/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 12_900;

#[derive(Parser)]
#[command(about = "Attack a NATS server with bad input and check that nobody else is harmed")]
struct Arguments {
    #[command(flatten)]
    siege: Siege,
    /// How long the pair is measured before the attacks, and at least beside each, milliseconds.
    #[arg(long, default_value_t = 2_000)]
    measure_ms: u64,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { siege, measure_ms }: &Arguments) -> Result<()> {
    let attacks: Vec<_> = ATTACKS.iter().map(|attack| (attack.name, attack)).collect();
    let attacks: Vec<_> = attacks.into_iter().filter(|(name, _)| siege.wants(name)).collect();
    ensure!(!attacks.is_empty(), "no attack is called {:?}", siege.only);
    let start = Instant::now();
    let mut besieged = siege.begin("nats-bad-input-data", PORT_OFFSET, Broker::nats)?;
    let address = besieged.address;
    let pair = Pair::start(address)?;
    let time = Duration::from_millis(*measure_ms);
    let calm = pair.measure(time, 0.0, || Ok(String::new()))?;
    println!("the pair alone: {calm}");
    let rate_min = calm.rate * siege.rate_kept_min;
    let make = |attack: &&Attack, seed| match pair.measure(time, rate_min, || attack.run(address, seed)) {
        Err(error) => Some(format!("{}: {error:#}", attack.name)),
        Ok(measured) => {
            println!("{}: {}\n  the pair: {measured}", attack.name, measured.outcome);
            siege.slowed(attack.name, measured.rate, calm.rate)
        }
    };
    let faults = besieged.attack(&attacks, make, || Connection::open(address).map(drop))?;
    pair.stop()?;
    siege.judge(&faults)?;
    println!(
        "{} attacks in {:.0} s: all ended well, the server lives, the healthy were served",
        attacks.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}
