//! Hostile, broken and greedy NATS clients beside a healthy pair, which must not notice.
//!
//! `cargo run --release -p stele-testkit --bin nats-bad-input [-- --seed N]` starts the release binary; with `--address` (and `--pid`, to watch
//! its memory) the same attacks are made on any other server. What must hold: every attack ends as its table says, in time; the server
//! lives; the pair keeps its rate; the server's memory is afterwards what it was. All attacks are made twice, and the memory after the second
//! pass is compared with that after the first, so that what is made once is not taken for a leak.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod attack;
mod pair;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use stele_testkit::broker::{Broker, Settings};
use stele_testkit::memory::{Memory, lowest_kib};
use stele_testkit::nats::Connection;
use stele_testkit::random::Random;

use crate::attack::{ATTACKS, Attack};
use crate::pair::Pair;

/// How long the memory after the first pass is watched for its lowest.
const MEMORY_CALM: Duration = Duration::from_secs(3);
const PASSES: u32 = 2;

#[derive(Parser)]
#[command(about = "Attack a NATS server with bad input and check that nobody else is harmed")]
struct Arguments {
    /// Decides what is broken and where.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this attack.
    #[arg(long)]
    only: Option<String>,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// What the pair must keep of its rate. On a machine that others use too, less can be asked for.
    #[arg(long, default_value_t = 0.9)]
    rate_kept_min: f64,
    /// What the server's memory may be after the second pass, as a multiple of that after the first.
    #[arg(long, default_value_t = 1.1)]
    memory_grown_max: f64,
    /// How long the pair is measured before the attacks, and at least beside each, milliseconds.
    #[arg(long, default_value_t = 2_000)]
    measure_ms: u64,
    /// Added to all ports of the binary.
    #[arg(long, default_value_t = 12_900)]
    port_offset: u16,
    /// Another server: its address on loopback.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// The other server's process, to watch its memory.
    #[arg(long, requires = "address")]
    pid: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}"); // a finding, not a bug of ours: no backtrace
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |attack: &&Attack| arguments.only.as_ref().is_none_or(|only| only == attack.name);
    let attacks: Vec<&Attack> = ATTACKS.iter().filter(wanted).collect();
    ensure!(!attacks.is_empty(), "no attack is called {:?}", arguments.only);
    let start = Instant::now();
    let mut broker = if arguments.address.is_none() { Some(start_broker(arguments)?) } else { None };
    let address =
        arguments.address.or_else(|| broker.as_ref().map(Broker::nats)).context("find an address")?;
    ensure!(address.ip().is_loopback(), "attacks are made on loopback only");
    let pid = arguments.pid.or_else(|| broker.as_ref().map(Broker::pid));
    let pair = Pair::start(address)?;
    let time = Duration::from_millis(arguments.measure_ms);
    let calm = pair.measure(time, 0.0, || Ok(String::new()))?;
    println!("the pair alone: {calm}");
    let rate_min = calm.rate * arguments.rate_kept_min;
    let mut random = Random::new(arguments.seed);
    let (mut faults, mut before) = (Vec::new(), None);
    for pass in 1..=PASSES {
        for attack in &attacks {
            let seed = random.any();
            match pair.measure(time, rate_min, || attack.run(address, seed)) {
                Err(error) => faults.push(format!("{}: {error:#}", attack.name)),
                Ok(measured) => {
                    println!("{}: {}\n  the pair: {measured}", attack.name, measured.outcome);
                    let kept = measured.rate / calm.rate;
                    if kept < arguments.rate_kept_min {
                        faults.push(format!("{}: the pair kept {kept:.2} of its rate", attack.name));
                    }
                }
            }
            if let Some(broker) = &mut broker {
                ensure!(broker.alive()?, "{}: the server ended\n{}", attack.name, broker.last_words());
            }
            Connection::open(address).with_context(|| format!("connect after {}", attack.name))?;
        }
        if pass == 1 {
            before = pid.map(|pid| lowest_kib(pid, MEMORY_CALM)).transpose()?;
        }
    }
    if let Some((pid, before)) = pid.zip(before) {
        let memory = Memory::settled(pid, before, arguments.memory_grown_max)?;
        match memory.fault() {
            None => println!("{memory}"),
            Some(fault) => faults.push(fault),
        }
    }
    pair.stop()?;
    if !faults.is_empty() {
        bail!("seed {}:\n  {}", arguments.seed, faults.join("\n  "));
    }
    println!(
        "{} attacks in {:.0} s: all ended well, the server lives, the healthy were served",
        attacks.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

fn start_broker(arguments: &Arguments) -> Result<Broker> {
    let ours = std::env::current_exe()?.parent().context("find the folder of this program")?.to_path_buf();
    let folder = ours.join("nats-bad-input-data");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;
    let program = arguments.program.clone().unwrap_or_else(|| ours.join("stele"));
    let (data_dir, port_offset) = (folder.join("data"), arguments.port_offset);
    Broker::start(Settings { program, data_dir, port_offset, arguments: Vec::new() })
}
