//! Hostile, broken and greedy NATS clients beside a healthy pair, which must not notice.
//!
//! `cargo run --release -p stele-testkit --bin nats-bad-input [-- --seed N]` starts the release binary; with `--address` (and `--pid`, to watch
//! its memory) the same attacks are made on any other server. What must hold: every attack ends as its table says, in time; the server
//! lives; the pair keeps its rate; the server's memory is afterwards what it was. All attacks are made twice, and the memory after the second
//! pass is compared with that after the first, so that what is made once is not taken for a leak.

mod attack;
mod pair;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use stele_testkit::broker::Broker;
use stele_testkit::kills;
use stele_testkit::nats::Connection;
use stele_testkit::siege::steady::Steady;

use crate::attack::ATTACKS;

/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 12_900;

#[derive(Parser)]
#[command(about = "Attack a NATS server with bad input and check that nobody else is harmed")]
struct Arguments {
    #[command(flatten)]
    steady: Steady,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { steady }: &Arguments) -> Result<()> {
    let besieged = steady.siege.begin("nats-bad-input-data", PORT_OFFSET, &[], Broker::nats)?;
    let pair = pair::start(besieged.address)?;
    steady.judge(besieged, pair, ATTACKS, |address| Connection::open(address).map(drop))
}
