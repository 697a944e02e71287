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
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use stele_testkit::broker::{Broker, Settings};
use stele_testkit::memory::{Memory, lowest_kib};
use stele_testkit::random::Random;
use tokio::runtime::Runtime;

use crate::attack::{ATTACKS, Attack};
use crate::pair::Pair;
use crate::tight::{SCENES, Stage};

/// How long the memory after the first pass is watched for its lowest.
const MEMORY_CALM: Duration = Duration::from_secs(5);
/// How long the pair is measured before the attacks.
const CALM: Duration = Duration::from_secs(3);
/// How long an attack goes on beside a pair that is too slow: a machine may stand still for seconds, an attack that harms goes on harming.
const SLOW: Duration = Duration::from_secs(60);
/// How often all attacks are made.
const PASSES: u32 = 2;

#[derive(Parser)]
#[command(about = "Attack a broker with bad input and check that nobody else is harmed")]
struct Arguments {
    /// Decides what is broken and where.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this attack or scene.
    #[arg(long)]
    only: Option<String>,
    /// The binary; by default the `stele` beside this one.
    #[arg(long)]
    program: Option<PathBuf>,
    /// What the pair must keep of its rate. On a machine whose disk others use too, less can be asked for.
    #[arg(long, default_value_t = 0.9)]
    rate_kept_min: f64,
    /// What the broker's memory may be after the second pass, as a multiple of that after the first. On a busy machine pages come back late.
    #[arg(long, default_value_t = 1.1)]
    memory_grown_max: f64,
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
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|only| only == name);
    let attacks: Vec<&Attack> = ATTACKS.iter().filter(|attack| wanted(attack.name)).collect();
    let scenes: Vec<_> =
        SCENES.iter().filter(|scene| wanted(scene.name) && arguments.address.is_none()).collect();
    ensure!(!attacks.is_empty() || !scenes.is_empty(), "nothing to do is called {:?}", arguments.only);
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut faults = Vec::new();
    if !attacks.is_empty() {
        faults.extend(make_attacks(&runtime, arguments, &attacks)?);
    }
    for scene in &scenes {
        let stage = stage(arguments, scene.name)?;
        match runtime.block_on((scene.run)(stage)) {
            Ok(seen) => println!("{}: {seen}", scene.name),
            Err(error) => faults.push(format!("{}: {error:#}", scene.name)),
        }
    }
    if !faults.is_empty() {
        bail!("seed {}:\n  {}", arguments.seed, faults.join("\n  "));
    }
    println!(
        "{} attacks and {} scenes in {:.0} s: all were answered, the broker lives, the healthy were served",
        attacks.len(),
        scenes.len(),
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// All attacks on one broker, as many passes as there are; what was wrong.
fn make_attacks(runtime: &Runtime, arguments: &Arguments, attacks: &[&Attack]) -> Result<Vec<String>> {
    let mut broker = if arguments.address.is_none() { Some(start_broker(arguments)?) } else { None };
    let address =
        arguments.address.or_else(|| broker.as_ref().map(Broker::amqp)).context("find an address")?;
    ensure!(address.ip().is_loopback(), "attacks are made on loopback only");
    let pid = arguments.pid.or_else(|| broker.as_ref().map(Broker::pid));
    let pair = Pair::start(address)?;
    let calm = pair.measure(|_| {
        std::thread::sleep(CALM); // time is what is measured
        Ok(())
    })?;
    println!("the pair alone: {calm}");
    let mut random = Random::new(arguments.seed);
    let mut faults = Vec::new();
    let mut before = None;
    for pass in 1..=PASSES {
        for attack in attacks {
            faults.extend(one(
                runtime,
                attack,
                address,
                &pair,
                (calm.rate, arguments.rate_kept_min),
                random.any(),
            ));
            if let Some(broker) = &mut broker {
                ensure!(broker.alive()?, "{}: the broker ended\n{}", attack.name, broker.last_words());
            }
            runtime
                .block_on(wire::Connection::open(address))
                .with_context(|| format!("connect after {}", attack.name))?;
        }
        if pass == 1 {
            before = pid.map(|pid| lowest_kib(pid, MEMORY_CALM)).transpose()?;
        }
    }
    if let (Some(pid), Some(before)) = (pid, before) {
        let memory = Memory::settled(pid, before, arguments.memory_grown_max)?;
        match memory.fault() {
            None => println!("{memory}"),
            Some(fault) => faults.push(fault),
        }
    }
    pair.stop()?;
    Ok(faults)
}

/// One attack beside the pair; what was wrong.
fn one(
    runtime: &Runtime,
    attack: &Attack,
    address: SocketAddr,
    pair: &Pair,
    (calm, kept_min): (f64, f64),
    seed: u64,
) -> Vec<String> {
    let start = Instant::now();
    let measured = pair.measure(|rate| {
        let mut passes = 0;
        let last = loop {
            passes += 1;
            let outcome = runtime.block_on((attack.run)(address, attack.count, seed.wrapping_add(passes)))?;
            // A rate over less than a few seconds says little.
            let (is_kept, so_far) = (rate() >= calm * kept_min, start.elapsed());
            if so_far >= SLOW || (so_far >= CALM && is_kept) {
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
            (kept < kept_min)
                .then(|| format!("{}: the pair kept {kept:.2} of its rate", attack.name))
                .into_iter()
                .collect()
        }
    }
}

fn start_broker(arguments: &Arguments) -> Result<Broker> {
    let Stage { program, folder, port_offset } = stage(arguments, "attacks")?;
    Broker::start(Settings { program, data_dir: folder.join("data"), port_offset, arguments: Vec::new() })
}

/// An empty folder, and what is started in it.
fn stage(arguments: &Arguments, name: &str) -> Result<Stage> {
    let ours = std::env::current_exe()?.parent().context("find the folder of this program")?.to_path_buf();
    let folder = ours.join("bad-input-data").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;
    let program = arguments.program.clone().unwrap_or_else(|| ours.join("stele"));
    Ok(Stage { program, folder, port_offset: arguments.port_offset })
}
