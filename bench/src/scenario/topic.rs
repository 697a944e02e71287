//! Does the number of bindings matter? The same publishes with 10 bindings and with many, over the same 1 000 queues.
//!
//! Ten queues are read in both cases and each publish matches one binding of one of them. With many bindings these ten queues have
//! a hundred each, used in turn, and the other queues have the rest; so what differs is the size of the router's table and the
//! number of distinct keys, not the number of queues that work.

use anyhow::Result;

use super::flow::{BACKLOG_MAX, figures};
use super::topology::Topology;
use super::{Settings, Target};
use crate::load::{self, Consuming, Order, Outcome, Plan, Publishing, Sequence};
use crate::report::{Column, Figures};
use crate::server::Sample;

const QUEUES: usize = 1_000;
/// Queues that messages go to, all of them read.
const QUEUES_READ: usize = 10;
const BODY_BYTES: usize = 16;

/// A key and the pattern that it alone matches; the pattern has a wildcard, so that a plain look-up does not do.
fn key(queue: usize, index: usize) -> String {
    format!("shop.q{queue:03}.eu.n{index:05}")
}

fn pattern(queue: usize, index: usize) -> String {
    format!("shop.q{queue:03}.*.n{index:05}")
}

/// Runs one round: both cases.
pub(super) fn run(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let few = case(target, settings, QUEUES_READ)?;
    let many = case(target, settings, settings.bindings as usize)?;
    let few_rate = figures(&few, BODY_BYTES).get(Column::Rate);
    let mut figures = figures(&many, BODY_BYTES);
    figures.set(Column::FewBindingsRate, few_rate);
    figures.set(Column::BindingShare, figures.get(Column::Rate).zip(few_rate).map(|(many, few)| many / few));
    Ok(figures)
}

fn case(target: &Target<'_>, settings: &Settings, bindings: usize) -> Result<Outcome<Sample>> {
    let mut topology = Topology::declare(target, QUEUES as u32)?;
    let outcome = put_load(target, settings, &mut topology, bindings);
    topology.finish(outcome)
}

fn put_load(
    target: &Target<'_>,
    settings: &Settings,
    topology: &mut Topology,
    bindings: usize,
) -> Result<Outcome<Sample>> {
    topology.declare_exchange("topic")?;
    let queues = QUEUES.min(bindings);
    topology.bind((0..bindings).map(|n| (n % queues, pattern(n % queues, n / queues))))?;
    // Message n goes to queue n mod 10, by each of that queue's bindings in turn.
    let per_queue = bindings / queues;
    let keys: Vec<_> = (0..per_queue * QUEUES_READ).map(|n| key(n % QUEUES_READ, n / QUEUES_READ)).collect();
    let seal = topology.seal(0);
    let publishing = Publishing {
        exchange: &topology.exchange,
        routing_keys: &keys,
        body_bytes: BODY_BYTES,
        persistent: false,
        window: None,
        count_max: None,
        seal,
    };
    let sequence = |index: usize| Sequence {
        next: index as u64,
        step: QUEUES_READ as u64,
        body_bytes: BODY_BYTES,
        seal,
    };
    let queues = topology.queues.iter().take(QUEUES_READ).enumerate();
    let plan = Plan {
        url: &target.server.url,
        publishers: vec![publishing],
        consumers: queues.map(|(index, queue)| (queue.as_str(), sequence(index))).collect(),
        consuming: Consuming { prefetch: 0, ack_run: None },
        copies: 1,
        backlog_max: BACKLOG_MAX,
        order: Order::Together,
        seconds: settings.seconds,
    };
    load::run(&plan, || target.server.process.sample())
}
