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

use anyhow::{Context, Result};
use clap::Args;

use crate::disk::Disk;
use crate::report::{Contender, Section, alternate};
use crate::server::{Process, Started};
use crate::terms::Terms;
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
    /// Measure the peer alone.
    #[arg(long, requires = "vs")]
    peer_only: bool,
    #[command(flatten)]
    pub(crate) terms: Terms,
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

/// Where one is asked, and what runs there.
struct Server {
    address: SocketAddr,
    process: Process,
}

impl Server {
    /// One that answers.
    fn at(address: SocketAddr, is_stele: bool) -> Result<Self> {
        Client::connect(address)?;
        Ok(Self { address, process: Process::at(address.port(), is_stele.then_some(PORT)) })
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
    fn start(&self) -> Result<(Option<Started>, Servers)> {
        let peer = self.vs.map(|address| Server::at(address, false)).transpose()?;
        let (started, stele) = match self.stele {
            _ if self.peer_only => (None, None),
            Some(address) => (None, Some(Server::at(address, true)?)),
            None => {
                let (started, _) = self.terms.start_stele()?;
                let address = SocketAddr::from(([127, 0, 0, 1], PORT + self.terms.port_offset));
                (Some(started), Some(Server::at(address, true).context("does this build speak Kafka?")?))
            }
        };
        Ok((started, Servers { stele, peer }))
    }
}

/// All chosen scenarios on all brokers.
pub(crate) fn compare(options: &Options) -> Result<Vec<Section>> {
    let brokers = &options.brokers;
    let disk = Disk::open(&brokers.terms.scratch())?;
    let settings =
        Settings { seconds: brokers.terms.seconds, backlog: options.backlog, topics: options.topics, disk };
    if brokers.terms.forms.text() {
        println!("{}", brokers.terms.announcement()?);
    }
    let wanted = |name: &str| options.scenario.is_empty() || options.scenario.iter().any(|one| one == name);
    let (_started, servers) = brokers.start()?;
    let mut sections = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let rounds = if scenario.once { 1 } else { brokers.terms.rounds };
        let targets = servers.targets(scenario.peer);
        let lines = alternate(&targets, |_| rounds, |target| scenario.run(target, &settings));
        let scenario::Scenario { name, about, main, aims, .. } = *scenario;
        let section = Section { name, about, main, aims, lines };
        if brokers.terms.forms.text() {
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
        |_| options.brokers.terms.rounds,
        |target| perf::run(target, &options.classpath, options.brokers.terms.seconds),
    );
    let section = perf::section(lines);
    if options.brokers.terms.forms.text() {
        print!("{}", section.table());
    }
    Ok(vec![section])
}
