//! The same client load on Stele and on the real peer, alternating; prints figures side by side, ratios and the aims.
//!
//! Run by hand and before a figure is published: `cargo run --release -p stele-bench -- amqp --vs amqp://…`; the method is in
//! `docs/performance.md`. Exit code 1 when a round was invalid (a message lost, doubled, mangled or left over), 2 when nothing
//! could be measured. Not here: the project's own AMQP code; the judge shares none with the judged.
#![expect(clippy::print_stdout, reason = "a command whose purpose is the table it prints")]

mod bus;
mod client;
mod disk;
mod kafka;
mod latency;
mod load;
mod loopback;
mod mirror;
mod nats;
mod perftest;
mod report;
mod scenario;
mod server;
mod terms;
mod wait;
mod wire;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use client::Url;
use report::{Section, alternate};
use scenario::{SCENARIOS, Scenario, Settings, Target};
use server::{Server, Started};
use terms::Terms;

#[derive(Parser)]
#[command(about = "The same client load on Stele and on the real peer, side by side")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare with RabbitMQ over AMQP 0-9-1, by the generator built in here.
    Amqp(Amqp),
    /// A second opinion: RabbitMQ's own PerfTest as the load generator.
    Perftest(PerfTest),
    /// Compare with Apache Kafka over its own protocol, by the generator built in here.
    Kafka(kafka::Options),
    /// Compare with nats-server: messages, requests, streams, consumers, key-value buckets.
    Nats(nats::Options),
    /// A second opinion: Kafka's own producer and consumer perf tools.
    KafkaPerf(kafka::PerfOptions),
    /// The bus library: its cost per message over hand-written code, its outbox and inbox in Postgres, the build of a user's crate.
    Bus(bus::Options),
    /// How much load the generator itself can make, against a broker in this process that keeps nothing.
    Generator,
}

/// Which brokers take part.
#[derive(Args)]
struct Brokers {
    /// The real RabbitMQ to compare with; without it only Stele is measured.
    #[arg(long)]
    vs: Option<Url>,
    /// A running Stele; without it one is started, with its data in a scratch directory.
    #[arg(long)]
    stele: Option<Url>,
    /// Measure the peer alone.
    #[arg(long, requires = "vs")]
    peer_only: bool,
    /// The peer's queue type; with both, ratios are to the better one.
    #[arg(long, value_enum, default_value_t = PeerQueue::Both)]
    peer_queue: PeerQueue,
    #[command(flatten)]
    terms: Terms,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PeerQueue {
    Classic,
    Quorum,
    Both,
}

#[derive(Args)]
struct Amqp {
    #[command(flatten)]
    brokers: Brokers,
    /// Scenarios to run, in the order of the report; all by default.
    #[arg(long, num_args = 1.., value_parser = clap::builder::PossibleValuesParser::new(SCENARIOS.iter().map(|s| s.name)))]
    scenario: Vec<String>,
    /// Messages that the consumer with prefetch 1 drains.
    #[arg(long, default_value_t = Settings::BACKLOG)]
    backlog: u64,
    /// Bindings in the large case of `topic`; at least 10 000.
    #[arg(long, default_value_t = Settings::BINDINGS, value_parser = clap::value_parser!(u32).range(10_000..=1_000_000))]
    bindings: u32,
    /// Idle connections opened by `idle`.
    #[arg(long, default_value_t = Settings::CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: u32,
    /// Idle queues declared by `idle`; a fifth of it on the peer.
    #[arg(long, default_value_t = Settings::QUEUES, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    queues: u32,
}

#[derive(Args)]
struct PerfTest {
    #[command(flatten)]
    brokers: Brokers,
    /// A directory with PerfTest's jars; without it they are fetched with Maven into the scratch directory.
    #[arg(long)]
    jars: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (sections, forms) = match &cli.command {
        Command::Amqp(options) => (amqp(options), Some(&options.brokers.terms.forms)),
        Command::Perftest(options) => (second_opinion(options), Some(&options.brokers.terms.forms)),
        Command::Kafka(options) => (kafka::compare(options), Some(&options.brokers.terms.forms)),
        Command::Nats(options) => (nats::compare(options), Some(&options.terms.forms)),
        Command::KafkaPerf(options) => (kafka::second_opinion(options), Some(&options.brokers.terms.forms)),
        Command::Bus(options) => (bus::run(options).map(|()| Vec::new()), None),
        Command::Generator => (generator(), None),
    };
    match sections {
        Ok(sections) => {
            if let Some(end) = forms.and_then(|forms| forms.at_the_end(&sections)) {
                print!("{end}");
            }
            ExitCode::from(u8::from(!sections.iter().all(Section::is_valid)))
        }
        Err(error) => {
            eprintln!("stele-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn amqp(options: &Amqp) -> Result<Vec<Section>> {
    let brokers = &options.brokers;
    raise_file_limit()?;
    let settings = Settings {
        backlog: options.backlog,
        bindings: options.bindings,
        connections: options.connections,
        queues: options.queues,
        ..Settings::new(brokers.terms.seconds, &brokers.terms.scratch())?
    };
    if brokers.terms.forms.text() {
        let (method, load) = (settings.disk.method(), server::proc::load_average()?);
        let cores = std::thread::available_parallelism()?;
        println!("{} rounds of {} s; disk probed with {method}", brokers.terms.rounds, brokers.terms.seconds);
        println!("load average at the start: {load} on {cores} cores");
    }
    let wanted =
        |s: &&Scenario| options.scenario.is_empty() || options.scenario.iter().any(|name| name == s.name);
    let (_started, servers) = brokers.start()?;
    let mut sections = Vec::new();
    for scenario in SCENARIOS.iter().filter(wanted) {
        let targets =
            servers.targets(if scenario.by_queue_kind { brokers.peer_queue } else { PeerQueue::Classic });
        let lines = alternate(
            &targets,
            |target| scenario.rounds(target, brokers.terms.rounds),
            |target| scenario.run(target, &settings),
        );
        let Scenario { name, about, main, aims, .. } = *scenario;
        let section = Section { name, about, main, aims, lines };
        if brokers.terms.forms.text() {
            print!("{}", section.table());
        }
        sections.push(section);
    }
    Ok(sections)
}

fn second_opinion(options: &PerfTest) -> Result<Vec<Section>> {
    let brokers = &options.brokers;
    let scratch = brokers.terms.scratch();
    let fetched = tempfile::Builder::new().prefix("stele-bench-perftest-").tempdir_in(&scratch)?;
    let jars = match &options.jars {
        Some(jars) => jars.clone(),
        None => perftest::fetch(fetched.path())?,
    };
    let (_started, servers) = brokers.start()?;
    let mut sections = Vec::new();
    for scenario in perftest::SCENARIOS {
        let targets = servers.targets(brokers.peer_queue);
        let lines = alternate(
            &targets,
            |_| brokers.terms.rounds,
            |target| scenario.run(target, &jars, brokers.terms.seconds),
        );
        let section = scenario.section(lines);
        if brokers.terms.forms.text() {
            print!("{}", section.table());
        }
        sections.push(section);
    }
    Ok(sections)
}

fn generator() -> Result<Vec<Section>> {
    kafka::generator()?;
    let settings = Settings::new(3.0, &std::env::temp_dir())?;
    let server = Server::mirror()?;
    let targets = [Target { name: "generator".into(), is_stele: false, server: &server, queue_kind: None }];
    let sections = SCENARIOS.iter().filter(|scenario| scenario.suits_mirror).map(|scenario| {
        let lines = alternate(&targets, |_| 3, |target| scenario.run(target, &settings));
        let section =
            Section { name: scenario.name, about: scenario.about, main: scenario.main, aims: &[], lines };
        print!("{}", section.table());
        section
    });
    Ok(sections.collect())
}

/// The brokers of one command.
struct Servers {
    stele: Option<Server>,
    peer: Option<Server>,
}

impl Servers {
    fn targets(&self, peer_queue: PeerQueue) -> Vec<Target<'_>> {
        let stele = self.stele.iter().map(|server| Target {
            name: "stele".into(),
            is_stele: true,
            server,
            queue_kind: None,
        });
        let kinds: &[&str] = match peer_queue {
            PeerQueue::Classic => &["classic"],
            PeerQueue::Quorum => &["quorum"],
            PeerQueue::Both => &["classic", "quorum"],
        };
        let peers = self.peer.iter().flat_map(|server| {
            kinds.iter().map(move |&kind| Target {
                name: format!("rabbitmq {kind}"),
                is_stele: false,
                server,
                queue_kind: Some(kind),
            })
        });
        stele.chain(peers).collect()
    }
}

impl Brokers {
    fn start(&self) -> Result<(Option<Started>, Servers)> {
        let peer = self.vs.clone().map(Server::peer).transpose()?;
        let (started, stele) = match &self.stele {
            _ if self.peer_only => (None, None),
            Some(url) => (None, Some(Server::stele(url.clone())?)),
            None => {
                let (started, server) = self.terms.start_stele()?;
                (Some(started), Some(server))
            }
        };
        Ok((started, Servers { stele, peer }))
    }
}

/// Thousands of idle connections need as many file handles, here and in a Stele started from here.
pub(crate) fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("raise the limit of open files")
}
