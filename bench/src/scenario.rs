//! What is compared: the scenarios with their aims, and what they share.
//!
//! `main` runs each [`Scenario`] once per round and broker. A scenario declares fresh names, puts its load on, asks what was left
//! in the queues, deletes what it declared and returns figures; an error from it means that the round is invalid.

mod flow;
mod idle;
mod topic;
mod topology;

use std::path::Path;

use anyhow::Result;

use crate::disk::Disk;
use crate::load::{Consuming, Order};
use crate::report::{Aim, Bound, Column, Contender, Figures};
use crate::server::Server;
use flow::Shape;

/// A broker in one of its configurations.
pub(crate) struct Target<'a> {
    pub name: String,
    pub is_stele: bool,
    pub server: &'a Server,
    /// `x-queue-type`; `None` leaves the broker its default.
    pub queue_kind: Option<&'static str>,
}

impl Contender for Target<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_stele(&self) -> bool {
        self.is_stele
    }
}

/// Sizes that the command line may change.
pub(crate) struct Settings {
    pub seconds: f64,
    pub backlog: u64,
    pub bindings: u32,
    pub connections: u32,
    pub queues: u32,
    pub disk: Disk,
}

impl Settings {
    pub(crate) const BACKLOG: u64 = 30_000;
    pub(crate) const BINDINGS: u32 = 100_000;
    pub(crate) const CONNECTIONS: u32 = 2_000;
    pub(crate) const QUEUES: u32 = 10_000;

    /// The default sizes, with a disk probe in the file system of `scratch`.
    pub(crate) fn new(seconds: f64, scratch: &Path) -> Result<Self> {
        let (backlog, bindings, connections, queues) =
            (Self::BACKLOG, Self::BINDINGS, Self::CONNECTIONS, Self::QUEUES);
        Ok(Self { seconds, backlog, bindings, connections, queues, disk: Disk::open(scratch)? })
    }
}

/// One scenario.
pub(crate) struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub main: Column,
    pub aims: &'static [Aim],
    /// Whether the peer's queue type matters; transient messages and idle things are compared with its classic queues.
    pub by_queue_kind: bool,
    pub repeat: Repeat,
    /// Whether the generator's own ceiling is worth knowing in it.
    pub suits_mirror: bool,
    kind: Kind,
}

/// Whether there is a second round.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Always,
    /// The peer's set-up takes minutes and no aim compares with it.
    SteleOnly,
    /// Later rounds would find memory that the first one left behind.
    Never,
}

enum Kind {
    Flow(Shape),
    Topic,
    Idle,
}

impl Scenario {
    /// How many rounds a broker runs when `rounds` are asked for.
    pub(crate) fn rounds(&self, target: &Target<'_>, rounds: u32) -> u32 {
        match self.repeat {
            Repeat::Always => rounds,
            Repeat::SteleOnly if target.is_stele => rounds,
            Repeat::SteleOnly | Repeat::Never => 1,
        }
    }

    /// Runs one round on one broker.
    pub(crate) fn run(&self, target: &Target<'_>, settings: &Settings) -> Result<Figures> {
        match &self.kind {
            Kind::Flow(shape) => flow::run(shape, target, settings),
            Kind::Topic => topic::run(target, settings),
            Kind::Idle => idle::run(target, settings),
        }
    }
}

pub(crate) const fn at_least(column: Column, ratio: f64) -> Aim {
    Aim { column, bound: Bound::RatioAtLeast(ratio) }
}

pub(crate) const fn at_most(column: Column, ratio: f64) -> Aim {
    Aim { column, bound: Bound::RatioAtMost(ratio) }
}

pub(crate) const fn value(column: Column, bound: Bound) -> Aim {
    Aim { column, bound }
}

const DURABLE_AIMS: &[Aim] = &[
    at_least(Column::Rate, 15.0),
    at_most(Column::ConfirmP99, 0.125),
    value(Column::DiskShare, Bound::AtLeast(0.5)),
    value(Column::Cpu, Bound::AtMost(2.5)),
];

const IN_RUNS: Consuming = Consuming { prefetch: 2_000, ack_run: Some(100) };
const AUTOMATIC: Consuming = Consuming { prefetch: 0, ack_run: None };
const ONE_BY_ONE: Consuming = Consuming { prefetch: 1, ack_run: Some(1) };

const DURABLE: Shape = Shape {
    publishers: 1,
    copies: 1,
    body_bytes: 1024,
    persistent: true,
    window: Some(2_000),
    consuming: IN_RUNS,
    order: Order::Together,
};
const TRANSIENT: Shape = Shape { persistent: false, window: None, consuming: AUTOMATIC, ..DURABLE };

/// Smallest first in what they leave behind: idle sizes are read from a broker that has not worked yet.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "idle",
        about: "idle durable queues, then idle connections with one channel each",
        main: Column::ConnectionBytes,
        aims: &[
            value(Column::ConnectionBytes, Bound::AtMost(20.0)),
            value(Column::QueueBytes, Bound::AtMost(2.0)),
        ],
        by_queue_kind: false,
        repeat: Repeat::Never,
        suits_mirror: false,
        kind: Kind::Idle,
    },
    Scenario {
        name: "lone",
        about: "one publisher awaits each confirm, 1 KB persistent",
        main: Column::ConfirmP50,
        aims: &[
            at_most(Column::ConfirmP50, 0.6),
            at_most(Column::ConfirmP99, 0.6),
            value(Column::SyncRatio, Bound::AtMost(2.5)),
        ],
        by_queue_kind: true,
        repeat: Repeat::Always,
        suits_mirror: false,
        kind: Kind::Flow(Shape { window: Some(1), order: Order::PublishThenDrain, ..DURABLE }),
    },
    Scenario {
        name: "durable-1",
        about: "1 publisher, 1 queue, 1 consumer; 1 KB persistent, confirmed; window and prefetch 2 000, acks in runs of 100",
        main: Column::Rate,
        aims: DURABLE_AIMS,
        by_queue_kind: true,
        repeat: Repeat::Always,
        suits_mirror: true,
        kind: Kind::Flow(DURABLE),
    },
    Scenario {
        name: "durable-10",
        about: "10 publishers, 10 queues, 10 consumers; 1 KB persistent, confirmed; window and prefetch 500, acks in runs of 100",
        main: Column::Rate,
        aims: DURABLE_AIMS,
        by_queue_kind: true,
        repeat: Repeat::Always,
        suits_mirror: true,
        kind: Kind::Flow(Shape {
            publishers: 10,
            window: Some(500),
            consuming: Consuming { prefetch: 500, ack_run: Some(100) },
            ..DURABLE
        }),
    },
    Scenario {
        name: "transient-16",
        about: "1 publisher, 1 queue, 1 consumer; 16 B transient, automatic acks",
        main: Column::Rate,
        aims: &[at_least(Column::Rate, 15.0)],
        by_queue_kind: false,
        repeat: Repeat::Always,
        suits_mirror: true,
        kind: Kind::Flow(Shape { body_bytes: 16, ..TRANSIENT }),
    },
    Scenario {
        name: "transient-1k",
        about: "1 publisher, 1 queue, 1 consumer; 1 KB transient, automatic acks",
        main: Column::Rate,
        aims: &[at_least(Column::Rate, 10.0)],
        by_queue_kind: false,
        repeat: Repeat::Always,
        suits_mirror: true,
        kind: Kind::Flow(TRANSIENT),
    },
    Scenario {
        name: "prefetch-1",
        about: "a consumer with prefetch 1 drains a backlog of 1 KB persistent messages, acking each",
        main: Column::Rate,
        aims: &[Aim { column: Column::Rate, bound: Bound::RatioAtLeastOrLimit(10.0, Column::ClientShare) }],
        by_queue_kind: true,
        repeat: Repeat::Always,
        suits_mirror: false,
        kind: Kind::Flow(Shape { consuming: ONE_BY_ONE, order: Order::DrainBacklog, ..DURABLE }),
    },
    Scenario {
        name: "fanout",
        about: "1 publisher, fanout exchange, 10 durable queues, 10 consumers; 1 KB persistent, confirmed; records/s are published",
        main: Column::Rate,
        aims: &[at_least(Column::Rate, 25.0), value(Column::DiskCopies, Bound::AtMost(1.2))],
        by_queue_kind: true,
        repeat: Repeat::Always,
        suits_mirror: false,
        kind: Kind::Flow(Shape { copies: 10, ..DURABLE }),
    },
    Scenario {
        name: "topic",
        about: "topic exchange, 10 bindings and then many over 1 000 queues, one match per publish; 16 B transient, automatic acks",
        main: Column::Rate,
        aims: &[value(Column::BindingShare, Bound::AtLeast(0.8))],
        by_queue_kind: false,
        repeat: Repeat::SteleOnly,
        suits_mirror: false,
        kind: Kind::Topic,
    },
];
