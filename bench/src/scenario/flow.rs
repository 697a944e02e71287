//! Records from publishers through queues to consumers: most scenarios, told apart by their [`Shape`].

use anyhow::Result;

use super::topology::Topology;
use super::{Settings, Target};
use crate::disk::Ceiling;
use crate::load::{self, Consuming, Order, Outcome, Plan, Publishing, Sequence};
use crate::loopback;
use crate::report::{Column, Figures};
use crate::server::Sample;

/// Publishers pause when so many messages are published and not yet received: what is compared is what a broker sustains from end
/// to end, and the check afterwards stays short. Large enough not to slow RabbitMQ 4.3 down, whose transient messages came through
/// no faster with a million (2026-11-21, busy machine).
pub(super) const BACKLOG_MAX: u64 = 200_000;

/// The frame of an acknowledgement.
const ACK_BYTES: usize = 21;
/// What stands around the body of a delivery, about.
const DELIVERY_HEAD_BYTES: usize = 100;

/// Who publishes what to how many queues.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub publishers: u32,
    /// Queues that each message reaches: 1 (each publisher has its queue), or more by a fanout exchange.
    pub copies: u32,
    pub body_bytes: usize,
    pub persistent: bool,
    /// Unconfirmed messages of a publisher; `None`: no confirms.
    pub window: Option<u64>,
    pub consuming: Consuming,
    pub order: Order,
}

/// Runs one round.
pub(super) fn run(shape: &Shape, target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let ceiling = if shape.persistent { Some(settings.disk.probe()?) } else { None };
    let mut topology = Topology::declare(target, shape.publishers * shape.copies)?;
    let outcome = put_load(shape, target, settings, &mut topology);
    let outcome = topology.finish(outcome)?;
    let mut figures = figures(&outcome, shape.body_bytes);
    if let Some(ceiling) = ceiling {
        compare_with_disk(&mut figures, ceiling, shape);
    }
    if shape.consuming.prefetch == 1 {
        let alone = loopback::round_trips(ACK_BYTES, DELIVERY_HEAD_BYTES + shape.body_bytes)?;
        figures.set(Column::ClientRate, alone);
        figures.set(Column::ClientShare, figures.get(Column::Rate).map(|rate| rate / alone));
    }
    Ok(figures)
}

fn put_load(
    shape: &Shape,
    target: &Target<'_>,
    settings: &Settings,
    topology: &mut Topology,
) -> Result<Outcome<Sample>> {
    if shape.copies > 1 {
        topology.declare_exchange("fanout")?;
        topology.bind((0..topology.queues.len()).map(|queue| (queue, String::new())).collect::<Vec<_>>())?;
    }
    let count_max = (shape.order == Order::DrainBacklog).then_some(settings.backlog);
    let publishing = |index: usize| Publishing {
        exchange: &topology.exchange,
        routing_keys: &topology.queues[index..=index],
        body_bytes: shape.body_bytes,
        persistent: shape.persistent,
        window: shape.window,
        count_max,
        seal: topology.seal(index),
    };
    let sequence = |index: usize| {
        let publisher = if shape.copies > 1 { 0 } else { index };
        Sequence { next: 0, step: 1, body_bytes: shape.body_bytes, seal: topology.seal(publisher) }
    };
    let plan = Plan {
        url: &target.server.url,
        publishers: (0..shape.publishers as usize).map(publishing).collect(),
        consumers: topology
            .queues
            .iter()
            .enumerate()
            .map(|(index, queue)| (queue.as_str(), sequence(index)))
            .collect(),
        consuming: shape.consuming,
        copies: u64::from(shape.copies),
        backlog_max: if shape.order == Order::Together { BACKLOG_MAX } else { u64::MAX },
        order: shape.order,
        seconds: settings.seconds,
    };
    load::run(&plan, || target.server.process.sample())
}

/// What every load tells, per record.
pub(super) fn figures(outcome: &Outcome<Sample>, body_bytes: usize) -> Figures {
    let (before, after) = (&outcome.before, &outcome.after);
    let (seconds, records) = (outcome.elapsed.as_secs_f64(), outcome.records as f64);
    let counted = |name: &str| after.metrics.since(&before.metrics, name);
    let share = |what: &str, of: &str| Some(counted(what)? / counted(of)?);
    let spent_us = |before: u64, after: u64| after.saturating_sub(before) as f64;
    let written = after.usage.written_bytes.saturating_sub(before.usage.written_bytes) as f64;

    let mut figures = Figures::default();
    figures.set(Column::Rate, records / seconds);
    figures.set(Column::ConfirmP50, outcome.confirm_times.percentile_us(0.5));
    figures.set(Column::ConfirmP99, outcome.confirm_times.percentile_us(0.99));
    figures.set(Column::Cpu, spent_us(before.usage.cpu_us, after.usage.cpu_us) / records);
    figures.set(
        Column::GeneratorCores,
        spent_us(before.generator.cpu_us, after.generator.cpu_us) / 1e6 / seconds,
    );
    figures.set(Column::Resident, after.usage.resident_bytes as f64 / 1e6);
    figures.set(Column::DiskBytes, written / records);
    figures.set(Column::DiskCopies, written / records / body_bytes as f64);
    figures.set(Column::PerRead, share("stele_io_messages_in_total", "stele_io_reads_total"));
    figures.set(Column::PerCommit, share("stele_io_messages_in_total", "stele_log_commits_total"));
    figures.set(
        Column::CommitBytes,
        share("stele_log_commit_bytes_total", "stele_log_commits_total").map(|b| b / 1e3),
    );
    figures.set(
        Column::CommitTime,
        share("stele_log_commit_seconds_total", "stele_log_commits_total").map(|s| s * 1e6),
    );
    figures
        .set(Column::PerConfirm, share("stele_publish_confirmed_total", "stele_amqp_confirm_frames_total"));
    figures
}

/// The ceiling in records is the disk's bandwidth over one copy of the payload.
fn compare_with_disk(figures: &mut Figures, ceiling: Ceiling, shape: &Shape) {
    figures.set(Column::Bandwidth, ceiling.bytes_per_s / 1e6);
    if shape.order != Order::Together {
        figures.set(Column::SyncP50, ceiling.sync_p50_us);
        figures.set(Column::SyncP99, ceiling.sync_p99_us);
    }
    if shape.window == Some(1) {
        figures.set(Column::SyncRatio, figures.get(Column::ConfirmP50).map(|p50| p50 / ceiling.sync_p50_us));
    } else if shape.order == Order::Together {
        let ceiling_rate = ceiling.bytes_per_s / shape.body_bytes as f64;
        figures.set(Column::DiskShare, figures.get(Column::Rate).map(|rate| rate / ceiling_rate));
    }
}
