//! The `nats` command: Stele's NATS dialect beside the real nats-server, by the generator in the files below.
//!
//! Servers are addresses; what they use is read from the process behind the port ([`crate::server::proc`]). The peer appears twice: as it comes,
//! where an acknowledged message may be in the page cache for two minutes (`--vs`), and with `sync_interval: always`, where it is on disk as
//! with Stele (`--vs-synced`). `nats bench` is the second opinion.

mod ask;
mod client;
mod consume;
mod crowd;
mod flood;
mod mirror;
mod scenario;
mod stream;
mod wire;

use std::net::SocketAddr;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::report::{Contender, Section, alternate};
use crate::server::{Process, Started};
use crate::terms::Terms;
use client::Client;
use scenario::{Peer, SCENARIOS, Scenario, Settings};

/// Where Stele speaks NATS, without offset.
const PORT: u16 = 4222;

/// Which servers take part, and in what.
#[derive(Args)]
pub(crate) struct Options {
    /// The real nats-server to compare with, nats://host:port or host:port; without it only Stele is measured.
    #[arg(long, value_parser = address)]
    vs: Option<SocketAddr>,
    /// Another one, with `sync_interval: always`.
    #[arg(long, value_parser = address)]
    vs_synced: Option<SocketAddr>,
    /// A running Stele, host:port; without it one is started, with its data in a scratch directory.
    #[arg(long, value_parser = address)]
    stele: Option<SocketAddr>,
    /// Measure the peer alone.
    #[arg(long)]
    peer_only: bool,
    #[command(flatten)]
    pub(crate) terms: Terms,
    /// Scenarios to run, in the order of the report; all by default.
    #[arg(long, num_args = 1.., value_parser = clap::builder::PossibleValuesParser::new(SCENARIOS.iter().map(|s| s.name)))]
    scenario: Vec<String>,
    /// Messages of 128 B that the consumers read.
    #[arg(long, default_value_t = Settings::BACKLOG)]
    backlog: u64,
    /// Messages in the stream of which a filtered consumer reads one subject in 10 000.
    #[arg(long, default_value_t = Settings::FILTERED, value_parser = clap::value_parser!(u64).range(10_000..))]
    filtered: u64,
    /// Keys of the key-value bucket.
    #[arg(long, default_value_t = Settings::KEYS, value_parser = clap::value_parser!(u64).range(1_000..))]
    keys: u64,
    /// Idle connections opened by `idle`.
    #[arg(long, default_value_t = Settings::CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
}

fn address(text: &str) -> Result<SocketAddr, std::net::AddrParseError> {
    text.trim_start_matches("nats://").parse()
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

/// A server under one of its names.
struct Target<'a> {
    name: &'static str,
    is_stele: bool,
    server: &'a Server,
}

impl Contender for Target<'_> {
    fn name(&self) -> &str {
        self.name
    }

    fn is_stele(&self) -> bool {
        self.is_stele
    }
}

struct Servers {
    stele: Option<Server>,
    peer: Option<Server>,
    synced: Option<Server>,
}

impl Servers {
    fn targets(&self, peer: Peer) -> Vec<Target<'_>> {
        let stele = self.stele.iter().map(|server| Target { name: "stele", is_stele: true, server });
        let (name, peer) = match peer {
            Peer::Default => ("nats-server", &self.peer),
            Peer::Synced => ("nats-server synced", &self.synced),
        };
        stele.chain(peer.iter().map(|server| Target { name, is_stele: false, server })).collect()
    }
}

impl Options {
    fn start(&self) -> Result<(Option<Started>, Servers)> {
        ensure!(
            !self.peer_only || self.vs.or(self.vs_synced).is_some(),
            "--peer-only needs --vs or --vs-synced"
        );
        let peer =
            |address: Option<SocketAddr>| address.map(|address| Server::at(address, false)).transpose();
        let (peer, synced) = (peer(self.vs)?, peer(self.vs_synced)?);
        let (started, stele) = match self.stele {
            _ if self.peer_only => (None, None),
            Some(address) => (None, Some(Server::at(address, true)?)),
            None => {
                let (started, _) = self.terms.start_stele()?;
                let address = SocketAddr::from(([127, 0, 0, 1], PORT + self.terms.port_offset));
                (Some(started), Some(Server::at(address, true).context("does this build speak NATS?")?))
            }
        };
        Ok((started, Servers { stele, peer, synced }))
    }
}

/// All chosen scenarios on all servers.
pub(crate) fn compare(options: &Options) -> Result<Vec<Section>> {
    crate::raise_file_limit()?;
    let settings = Settings {
        seconds: options.terms.seconds,
        backlog: options.backlog,
        filtered: options.filtered,
        keys: options.keys,
        connections: options.connections,
        scratch: options.terms.scratch(),
        disks: OnceLock::new(),
    };
    if options.terms.forms.text() {
        println!("{}", options.terms.announcement()?);
    }
    let wanted = |name: &str| options.scenario.is_empty() || options.scenario.iter().any(|one| one == name);
    let (_started, servers) = options.start()?;
    let mut sections = Vec::new();
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let rounds = if scenario.once { 1 } else { options.terms.rounds };
        let targets = servers.targets(scenario.peer);
        let lines = alternate(&targets, |_| rounds, |target| scenario.run(target, &settings));
        let Scenario { name, about, main, aims, .. } = *scenario;
        let section = Section { name, about, main, aims, lines };
        if options.terms.forms.text() {
            print!("{}", section.table());
        }
        sections.push(section);
    }
    Ok(sections)
}
