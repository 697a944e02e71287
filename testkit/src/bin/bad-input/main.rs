//! Hostile, broken and slow clients beside a healthy pair, which must not notice.
//!
//! `cargo run --release -p stele-testkit --bin bad-input [-- --seed N]` starts the release binary; with `--url` (and `--pid`, to watch its memory)
//! the same attacks are made on any other broker. What must hold: every attack ends with an error of the protocol or a closed connection,
//! in time; what the broker says is well-formed; the broker lives; the pair keeps its rate; the broker's memory is afterwards what it was.
//! The memory is compared with that after a first pass at a tenth of the size, so that what is made once is not taken for a leak.
#![expect(clippy::print_stdout, reason = "a command line tool speaks on standard output")]

mod attack;
mod pair;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use stele_testkit::broker::{Broker, Settings};
use stele_testkit::process;
use stele_testkit::random::Random;

use crate::attack::{ATTACKS, Attack};
use crate::pair::Pair;

/// What the pair must keep of its rate.
const RATE_KEPT_MIN: f64 = 0.9;
/// What the broker's memory may grow by.
const MEMORY_GROWN_MAX: f64 = 1.1;
/// How long freed memory may take to be given back.
const MEMORY_PATIENCE: Duration = Duration::from_secs(30);
/// How long the pair is measured before the attacks.
const CALM: Duration = Duration::from_secs(3);
/// The first pass is smaller by this much.
const WARM_UP_DIVISOR: u32 = 10;

#[derive(Parser)]
#[command(about = "Attack a broker with bad input and check that nobody else is harmed")]
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
    /// Added to all ports of the binary.
    #[arg(long, default_value_t = 13_000)]
    port_offset: u16,
    /// Another broker: the address of its AMQP port on loopback.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// The other broker's process, to watch its memory.
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
    let mut broker = if arguments.address.is_none() { Some(start(arguments)?) } else { None };
    let address =
        arguments.address.or_else(|| broker.as_ref().map(Broker::amqp)).context("find an address")?;
    ensure!(address.ip().is_loopback(), "attacks are made on loopback only");
    let pid = arguments.pid.or_else(|| broker.as_ref().map(Broker::pid));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let chosen =
        || ATTACKS.iter().filter(|attack| arguments.only.as_ref().is_none_or(|name| name == attack.name));
    ensure!(chosen().next().is_some(), "no attack is called {:?}", arguments.only);
    let mut random = Random::new(arguments.seed);
    for attack in chosen() {
        let small = (attack.run)(address, attack.count.div_ceil(WARM_UP_DIVISOR), random.any());
        runtime.block_on(small).with_context(|| format!("{}, first pass", attack.name))?;
    }

    let pair = Pair::start(address)?;
    let calm = pair.measure(|| {
        std::thread::sleep(CALM); // time is what is measured
        Ok(())
    })?;
    println!("the pair alone: {calm}");
    let memory = pid.map(process::resident_kib).transpose()?;
    let mut faults = Vec::new();
    for attack in chosen() {
        faults.extend(one(&runtime, attack, address, &pair, calm.rate, random.any()));
        if let Some(broker) = &mut broker {
            ensure!(broker.alive()?, "{}: the broker ended\n{}", attack.name, broker.last_words());
        }
        runtime
            .block_on(wire::Connection::open(address))
            .with_context(|| format!("connect after {}", attack.name))?;
    }
    pair.stop()?;
    if let (Some(pid), Some(before)) = (pid, memory) {
        faults.extend(memory_fault(pid, before)?);
    }
    if !faults.is_empty() {
        bail!("seed {}:\n  {}", arguments.seed, faults.join("\n  "));
    }
    println!("every attack was answered, the broker lives, the pair kept its rate");
    Ok(())
}

/// One attack beside the pair; what was wrong.
fn one(
    runtime: &tokio::runtime::Runtime,
    attack: &Attack,
    address: SocketAddr,
    pair: &Pair,
    calm: f64,
    seed: u64,
) -> Vec<String> {
    let start = Instant::now();
    let measured = pair.measure(|| {
        let mut passes = 0;
        // A rate over less than a few seconds says little.
        let last = loop {
            passes += 1;
            let outcome = runtime.block_on((attack.run)(address, attack.count, seed.wrapping_add(passes)))?;
            if start.elapsed() >= CALM {
                break outcome;
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("{}: {passes} x {} in {seconds:.1} s; of the last: {last}", attack.name, attack.count);
        Ok(())
    });
    match measured {
        Err(error) => vec![format!("{}: {error:#}", attack.name)],
        Ok(measured) => {
            println!("  the pair: {measured}");
            let kept = measured.rate / calm;
            (kept < RATE_KEPT_MIN)
                .then(|| format!("{}: the pair kept {kept:.2} of its rate", attack.name))
                .into_iter()
                .collect()
        }
    }
}

/// Wait until the memory is what it was; what to say if it stays larger.
fn memory_fault(pid: u32, before: u64) -> Result<Option<String>> {
    let deadline = Instant::now() + MEMORY_PATIENCE;
    loop {
        let after = process::resident_kib(pid)?;
        let grown = after as f64 / before as f64;
        if grown <= MEMORY_GROWN_MAX {
            println!("memory: {before} KiB before, {after} KiB after");
            return Ok(None);
        }
        if Instant::now() > deadline {
            return Ok(Some(format!(
                "memory: {before} KiB before, {after} KiB after, {grown:.2} times as much"
            )));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn start(arguments: &Arguments) -> Result<Broker> {
    let folder = std::env::current_exe()?.parent().context("find the folder of this program")?.to_path_buf();
    let data_dir = folder.join("bad-input-data");
    if data_dir.exists() {
        std::fs::remove_dir_all(&data_dir).with_context(|| format!("remove {}", data_dir.display()))?;
    }
    let program = arguments.program.clone().unwrap_or_else(|| folder.join("stele"));
    Broker::start(Settings { program, data_dir, port_offset: arguments.port_offset, arguments: Vec::new() })
}
