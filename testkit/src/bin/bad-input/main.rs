//! Hostile, broken and slow clients beside a healthy pair, which must not notice; then brokers that are short of something.
//!
//! `cargo run --release -p stele-testkit --bin bad-input [-- --seed N]` starts the release binary; with `--url` (and `--pid`, to watch its memory)
//! the same attacks are made on any other broker. What must hold: every attack ends with an error of the protocol or a closed connection,
//! in time; what the broker says is well-formed; the broker lives; the pair keeps its rate; the broker's memory is afterwards what it was.
//! All attacks are made twice, and the memory after the second pass is compared with that after the first, so that what is made once is
//! not taken for a leak. The scenes of `tight` start brokers of their own, and are left out with `--address`; the one of the full disk mounts
//! a small file system, so it needs root, or all of it `unshare -rm`.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod attack;
mod pair;
mod tight;
mod wire;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use stele_testkit::broker::Broker;
use stele_testkit::kills;
use stele_testkit::siege::Siege;
use tokio::runtime::Runtime;

use crate::attack::{ATTACKS, Attack};
use crate::pair::Pair;
use crate::tight::SCENES;

/// How long the pair is measured before the attacks.
const CALM: Duration = Duration::from_secs(3);
/// How long an attack goes on beside a pair that is too slow: a machine may stand still for seconds, an attack that harms goes on harming.
const SLOW: Duration = Duration::from_secs(60);
/// Our own binary's ports, if nothing is said.
const PORT_OFFSET: u16 = 13_000;

#[derive(Parser)]
#[command(about = "Attack a broker with bad input and check that nobody else is harmed")]
struct Arguments {
    #[command(flatten)]
    siege: Siege,
}

fn main() -> ExitCode {
    kills::ended(run(&Arguments::parse()))
}

fn run(Arguments { siege }: &Arguments) -> Result<()> {
    let attacks: Vec<_> = ATTACKS.iter().filter(|attack| siege.wants(attack.name)).collect();
    let scenes: Vec<_> =
        SCENES.iter().filter(|scene| siege.wants(scene.name) && siege.address.is_none()).collect();
    ensure!(!attacks.is_empty() || !scenes.is_empty(), "nothing to do is called {:?}", siege.only);
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut faults = Vec::new();
    if !attacks.is_empty() {
        faults.extend(make_attacks(&runtime, siege, &attacks)?);
    }
    for scene in &scenes {
        let stage = siege.stage(&folder(scene.name), PORT_OFFSET)?;
        match runtime.block_on((scene.run)(stage)) {
            Ok(seen) => println!("{}: {seen}", scene.name),
            Err(error) => faults.push(format!("{}: {error:#}", scene.name)),
        }
    }
    siege.judge(&faults)?;
    println!(
        "{} attacks and {} scenes in {:.0} s: all were answered, the broker lives, the healthy were served",
        attacks.len(),
        scenes.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn folder(name: &str) -> String {
    format!("bad-input-data/{name}")
}

/// All attacks on one broker; what was wrong.
fn make_attacks(runtime: &Runtime, siege: &Siege, attacks: &[&Attack]) -> Result<Vec<String>> {
    let mut besieged = siege.begin(&folder("attacks"), PORT_OFFSET, &[], Broker::amqp)?;
    let address = besieged.address;
    let pair = Pair::start(address)?;
    let calm = pair.measure(|_| {
        std::thread::sleep(CALM); // time is what is measured
        Ok(())
    })?;
    println!("the pair alone: {calm}");
    let attacks: Vec<_> = attacks.iter().map(|attack| (attack.name, *attack)).collect();
    let faults = besieged.attack(
        &attacks,
        |attack, seed| one(runtime, siege, attack, address, (&pair, calm.rate), seed),
        || runtime.block_on(wire::Connection::open(address)).map(drop),
    )?;
    pair.stop()?;
    Ok(faults)
}

/// One attack beside the pair; what was wrong.
fn one(
    runtime: &Runtime,
    siege: &Siege,
    attack: &Attack,
    address: SocketAddr,
    (pair, calm): (&Pair, f64),
    seed: u64,
) -> Option<String> {
    let start = Instant::now();
    let measured = pair.measure(|rate| {
        let mut passes = 0;
        let last = loop {
            passes += 1;
            let outcome = runtime.block_on((attack.run)(address, attack.count, seed.wrapping_add(passes)))?;
            // A rate over less than a few seconds says little.
            let (is_kept, so_far) = (rate() >= calm * siege.rate_kept_min, start.elapsed());
            if so_far >= SLOW || (so_far >= CALM && is_kept) {
                break outcome;
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("{}: {passes} x {} in {seconds:.1} s; of the last: {last}", attack.name, attack.count);
        Ok(())
    });
    match measured {
        Err(error) => Some(format!("{}: {error:#}", attack.name)),
        Ok(measured) => {
            println!("  the pair: {measured}");
            siege.slowed(attack.name, measured.rate, calm)
        }
    }
}
