//! Hostile, broken and greedy Kafka clients beside a healthy pair, which must not notice.
//!
//! `cargo run --release -p stele-testkit --bin kafka-bad-input [-- --seed N]` starts the release binary; with `--address` (and `--pid`, to
//! watch its memory) the same attacks are made on any other broker. What must hold: every attack ends as its table says, in time; the broker
//! lives; the pair keeps its rate; the broker's memory is bounded meanwhile, and afterwards what it was.

mod attack;
mod bomb;
mod pair;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use stele_testkit::broker::Broker;
use stele_testkit::kafka::{Body, FIND_COORDINATOR, Wire};
use stele_testkit::kills;
use stele_testkit::siege::steady::Steady;

use crate::attack::ATTACKS;

/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 12_700;
/// So little memory that readers of what is on disk soon come to the end of it.
const SETTINGS: [&str; 2] = ["log.memory_bytes=16 MiB", "limits.unread_bytes_max=64 MiB"];

#[derive(Parser)]
#[command(about = "Attack a Kafka broker with bad input and check that nobody else is harmed")]
struct Arguments {
    #[command(flatten)]
    steady: Steady,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { steady }: &Arguments) -> Result<()> {
    let besieged = steady.siege.begin("kafka-bad-input-data", PORT_OFFSET, &SETTINGS, Broker::kafka)?;
    attack::prepare(besieged.address)?;
    let pair = pair::start(besieged.address)?;
    steady.judge(besieged, pair, ATTACKS, answers)
}

fn answers(address: SocketAddr) -> Result<()> {
    let mut wire = Wire::connect(address)?;
    wire.ask(FIND_COORDINATOR, &Body::default().text("bad-input").i8(0)).map(drop)
}
