//! Everything that proves the project, in one list of steps: `cargo xtask test`, and `ci` with nothing left out.
//!
//! The order is from cheap to dear. Each step can be run alone by its name.

use anyhow::{Result, bail};
use clap::Args;

use crate::command;
use crate::conform::{self, Dialect};
use crate::step::{self, Step};
use crate::workspace::Workspace;
use crate::{arrows, bus, crossing, programs, tidy};

/// Which steps of the suite are run.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these steps, by name, comma separated.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Print the steps and what each shows, and run none.
    #[arg(long)]
    list: bool,
}

impl Options {
    /// All steps.
    pub(crate) fn ci() -> Self {
        Self { only: Vec::new(), list: false }
    }
}

const STEPS: &[Step] = &[
    Step { name: "format", shows: "cargo fmt would change nothing", run: format },
    Step { name: "arrows", shows: "crates depend on each other as drawn", run: arrows::check },
    Step { name: "tidy", shows: "headers, words, links, lengths", run: tidy::check },
    Step { name: "lint", shows: "clippy has nothing to say", run: lint },
    Step { name: "unit", shows: "every crate's own tests", run: unit },
    Step { name: "build", shows: "the release binaries", run: programs::build },
    Step { name: "simulate", shows: "100 seeds of a whole node with faults", run: simulate },
    Step {
        name: "pika",
        shows: "Python's client observes what RabbitMQ answers",
        run: |workspace| conform::clients(workspace, Dialect::Amqp091, &["pika"]),
    },
    Step {
        name: "amqplib",
        shows: "Node's client observes the same",
        run: |workspace| conform::clients(workspace, Dialect::Amqp091, &["amqplib"]),
    },
    Step {
        name: "lapin",
        shows: "Rust's client observes the same",
        run: |workspace| conform::clients(workspace, Dialect::Amqp091, &["lapin"]),
    },
    Step {
        name: "celery",
        shows: "a Celery worker runs tasks, retries and delays",
        run: |workspace| conform::clients(workspace, Dialect::Amqp091, &["celery"]),
    },
    Step {
        name: "kafka",
        shows: "broken requests, librdkafka and KafkaJS observe what Kafka answers",
        run: |workspace| conform::clients(workspace, Dialect::Kafka, &["raw", "confluent", "kafkajs"]),
    },
    Step {
        name: "nats",
        shows: "Python's and Node's clients observe what nats-server answers",
        run: |workspace| conform::clients(workspace, Dialect::Nats, &["nats.py", "nats.js"]),
    },
    Step {
        name: "crossing",
        shows: "records go between clients of Kafka, AMQP and NATS, by each row of the table",
        run: |workspace| crossing::run(workspace, &crossing::Options::default()),
    },
    Step {
        name: "bus",
        shows: "peers in Python and JavaScript exchange the bus's messages",
        run: bus::on_ours,
    },
    Step {
        name: "kill-loop",
        shows: "20 times kill -9 under load: nothing confirmed is lost",
        run: kill_loop,
    },
    Step {
        name: "kafka-loop",
        shows: "4 times kill -9 under Kafka's load: nothing acknowledged is lost or doubled",
        run: kafka_loop,
    },
    Step {
        name: "nats-loop",
        shows: "4 times kill -9 under JetStream's load: the same, and keys are linearizable",
        run: nats_loop,
    },
    Step {
        name: "outbox-loop",
        shows: "an outbox whose parts are killed loses nothing, and wrong designs do",
        run: outbox_loop,
    },
    Step { name: "bad-input", shows: "broken and hostile clients harm nobody else", run: bad_input },
    Step { name: "demo", shows: "the small shop loses nothing", run: demo },
];

/// Run the chosen steps; an error if one failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if let Some(unknown) = options.only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        bail!("no step is called {unknown}: see --list");
    }
    let steps = STEPS
        .iter()
        .filter(|step| options.only.is_empty() || options.only.iter().any(|name| name == step.name));
    if options.list {
        steps.for_each(|step| println!("{:<16} {}", step.name, step.shows));
        return Ok(());
    }
    match step::run(workspace, steps) {
        0 => Ok(()),
        _ => std::process::exit(1), // the summary is the last line; an error's text would follow it
    }
}

fn cargo(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    command::run(workspace.command("cargo").args(arguments))
}

fn format(workspace: &Workspace) -> Result<()> {
    cargo(workspace, &["fmt", "--all", "--check"])?;
    // Apart from the workspace, since their C and C++ sources take long; built and linted where they are asked for.
    cargo(workspace, &["fmt", "--manifest-path", "conform/kafka/rdkafka/Cargo.toml", "--check"])?;
    cargo(workspace, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"])
}

fn lint(workspace: &Workspace) -> Result<()> {
    cargo(workspace, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
}

fn unit(workspace: &Workspace) -> Result<()> {
    cargo(workspace, &["test", "--workspace", "--no-fail-fast"])
}

fn simulate(workspace: &Workspace) -> Result<()> {
    programs::run(workspace, "stele-sim", &["--seeds", "100"])
}

fn kill_loop(workspace: &Workspace) -> Result<()> {
    programs::run(workspace, "kill-loop", &["--kills", "20"])
}

fn kafka_loop(workspace: &Workspace) -> Result<()> {
    programs::run(workspace, "kafka-loop", &["--kills", "4"])
}

fn nats_loop(workspace: &Workspace) -> Result<()> {
    programs::run(workspace, "nats-loop", &["--kills", "4"])
}

fn outbox_loop(workspace: &Workspace) -> Result<()> {
    programs::run(workspace, "outbox-loop", &["suite"])
}

fn bad_input(workspace: &Workspace) -> Result<()> {
    // By hand the healthy pair must keep 0.9 of its rate, and memory grow by a tenth at most. Here the machine and its disk may be
    // shared: one stall of a second is not the attack's doing. A leak would show far above half.
    let bounds = ["--rate-kept-min", "0.1", "--memory-grown-max", "1.5"];
    programs::run(workspace, "bad-input", &bounds)?;
    let bounds = [&bounds[..], &["--measure-ms", "500"]].concat();
    programs::run(workspace, "kafka-bad-input", &bounds)?;
    programs::run(workspace, "nats-bad-input", &bounds)
}

fn demo(workspace: &Workspace) -> Result<()> {
    programs::run(workspace, "stele", &["demo", "--for", "5s"])
}
