//! The `kafka` commands: Stele's Kafka dialect beside the real Kafka, by the generator in the files below, and by Kafka's own tools.
//!
//! Brokers are addresses; what they use is read from the process behind the port ([`crate::server::proc`]). The peer appears twice: as it comes,
//! where an acknowledged record may be in the page cache only, and with topics of `flush.messages=1`, where it is on disk as with Stele.

mod batch;
mod client;
mod consume;
mod incoming;
mod mirror;
mod perf;
mod produce;
mod scenario;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::disk::Disk;
use crate::report::{Contender, Forms, Section, alternate};
use crate::server::metrics::Metrics;
use crate::server::proc::{self, Usage};
use crate::server::{self, METRICS_PORT, Sample, Started};
use client::Client;
use scenario::{SCENARIOS, Settings};

/// Where Stele speaks Kafka's protocol, without offset.
const PORT: u16 = 9092;

/// Which brokers take part.
#[derive(Args)]
pub(crate) struct Brokers {
    /// The real Kafka to compare with, host:port; without it only Stele is measured.
    #[arg(long)]
    vs: Option<SocketAddr>,
    /// A running Stele, host:port; without it one is started, with its data in a scratch directory.
    #[arg(long)]
    stele: Option<SocketAddr>,
    /// The binary to start; by default the one beside this command or in target/release.
    #[arg(long)]
    stele_bin: Option<PathBuf>,
    /// Added to every port of a Stele started here.
    #[arg(long, default_value_t = 300)]
    port_offset: u16,
    /// Measure the peer alone.
    #[arg(long, requires = "vs")]
    peer_only: bool,
    /// Where a Stele started here keeps its data.
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Seconds measured per round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds per scenario, alternating between the brokers; medians are shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    #[command(flatten)]
    pub(crate) forms: Forms,
}

/// The generator's scenarios.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) brokers: Brokers,
    /// Scenarios to run, in the order of the report; all by default.
    #[arg(long, num_args = 1.., value_parser = clap::builder::PossibleValuesParser::new(SCENARIOS.iter().map(|s| s.name)))]
    scenario: Vec<String>,
    /// Records of 1 KB that the catch-up scenarios read.
    #[arg(long, default_value_t = Settings::BACKLOG)]
    backlog: u64,
    /// Topics of 10 partitions in the large case of `topics`.
    #[arg(long, default_value_t = Settings::TOPICS, value_parser = clap::value_parser!(u32).range(10..=10_000))]
    topics: u32,
}

/// Kafka's own tools.
#[derive(Args)]
pub(crate) struct PerfOptions {
    #[command(flatten)]
    pub(crate) brokers: Brokers,
    /// What `peers/kafka.sh classpath` prints.
    #[arg(long)]
    classpath: String,
}

/// A broker that answers on a port.
struct Server {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Server {
    fn new(address: SocketAddr, is_stele: bool) -> Result<Self> {
        Client::connect(address)?;
        let offset = address.port().checked_sub(PORT).filter(|_| is_stele);
        let metrics = offset.map(|offset| SocketAddr::from(([127, 0, 0, 1], METRICS_PORT + offset)));
        Ok(Self { address, metrics })
    }

    fn sample(&self) -> Result<Sample> {
        let metrics = self.metrics.map(Metrics::scrape).unwrap_or_default();
        Ok(Sample { usage: self.usage()?, generator: Usage::of(&[std::process::id()])?, metrics })
    }

    fn usage(&self) -> Result<Usage> {
        let port = self.address.port();
        let listeners = proc::listeners(port)?;
        ensure!(!listeners.is_empty(), "no process of this machine listens on port {port}");
        Usage::of(&proc::with_children(&listeners)?)
    }
}

/// A broker in one of its configurations.
struct Target<'a> {
    name: &'static str,
    is_stele: bool,
    server: &'a Server,
    /// Configurations of every topic made on it.
    configs: &'static [(&'static str, &'static str)],
}

impl Contender for Target<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn is_stele(&self) -> bool {
        self.is_stele
    }
}

/// Whether the peer's acknowledged records are on disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PeerSync {
    /// As it comes: the page cache.
    Default,
    /// Every append is flushed.
    Always,
}

struct Servers {
    stele: Option<Server>,
    peer: Option<Server>,
}

impl Servers {
    fn targets(&self, sync: PeerSync) -> Vec<Target<'_>> {
        let stele =
            self.stele.iter().map(|server| Target { name: "stele", is_stele: true, server, configs: &[] });
        let (name, configs): (_, &[_]) = match sync {
            PeerSync::Default => ("kafka", &[]),
            PeerSync::Always => ("kafka synced", &[("flush.messages", "1")]),
        };
        let peer = self.peer.iter().map(|server| Target { name, is_stele: false, server, configs });
        stele.chain(peer).collect()
    }
}

impl Brokers {
    fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn start(&self) -> Result<(Option<Started>, Servers)> {
        ensure!(self.seconds > 0.0 && self.seconds <= 3600.0, "--seconds is between 0 and 3600");
        let peer = self.vs.map(|address| Server::new(address, false)).transpose()?;
        let (started, stele) = match self.stele {
            _ if self.peer_only => (None, None),
            Some(address) => (None, Some(Server::new(address, true)?)),
            None => {
                let binary = server::binary(self.stele_bin.clone())?;
                let (started, _) = Started::stele(&binary, &self.scratch(), self.port_offset)?;
                let address = SocketAddr::from(([127, 0, 0, 1], PORT + self.port_offset));
                (Some(started), Some(Server::new(address, true).context("does this build speak Kafka?")?))
            }
        };
        Ok((started, Servers { stele, peer }))
    }
}

/// All chosen scenarios on all brokers.
pub(crate) fn compare(options: &Options) -> Result<Vec<Section>> {
    let brokers = &options.brokers;
    let disk = Disk::open(&brokers.scratch())?;
    let settings =
        Settings { seconds: brokers.seconds, backlog: options.backlog, topics: options.topics, disk };
    if brokers.forms.text() {
        let (load, cores) = (proc::load_average()?, std::thread::available_parallelism()?);
        println!(
            "{} rounds of {} s; load average at the start: {load} on {cores} cores",
            brokers.rounds, brokers.seconds
        );
    }
    let wanted = |name: &str| options.scenario.is_empty() || options.scenario.iter().any(|one| one == name);
    let (_started, servers) = brokers.start()?;
    let mut sections = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let rounds = if scenario.once { 1 } else { brokers.rounds };
        let targets = servers.targets(scenario.peer);
        let lines = alternate(&targets, |_| rounds, |target| scenario.run(target, &settings));
        let scenario::Scenario { name, about, main, aims, .. } = *scenario;
        let section = Section { name, about, main, aims, lines };
        if brokers.forms.text() {
            print!("{}", section.table());
        }
        sections.push(section);
    }
    Ok(sections)
}

/// How fast the generator reads a backlog that costs the broker nothing but to send it.
pub(crate) fn generator() -> Result<()> {
    for partitions in [1, 12] {
        let rate = mirror::ceiling(partitions)? / 1e6;
        println!(
            "kafka catch-up-{partitions}: {rate:.2} M records/s of 1 KB are read at most, one fetch under way"
        );
    }
    Ok(())
}

/// Kafka's own perf tools on all brokers.
pub(crate) fn second_opinion(options: &PerfOptions) -> Result<Vec<Section>> {
    let (_started, servers) = options.brokers.start()?;
    let targets = servers.targets(PeerSync::Default);
    let lines = alternate(
        &targets,
        |_| options.brokers.rounds,
        |target| perf::run(target, &options.classpath, options.brokers.seconds),
    );
    let section = perf::section(lines);
    if options.brokers.forms.text() {
        print!("{}", section.table());
    }
    Ok(vec![section])
}
