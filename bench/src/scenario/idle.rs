//! What it costs to be there: resident memory per idle connection with a channel, and per idle durable queue.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::topology::Topology;
use super::{Settings, Target};
use crate::client::Connection;
use crate::report::{Column, Figures};

/// Time for a broker to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(3);
/// The peer gets so many times fewer queues: RabbitMQ 4.3 took four minutes to declare and delete 10 000 (2026-11-21).
const PEER_SHARE: u32 = 5;

/// Runs the one round.
pub(super) fn run(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let resident = || {
        thread::sleep(REST);
        target.server.usage().map(|usage| usage.resident_bytes as f64)
    };
    let empty = resident()?;
    let connections = (0..settings.connections).map(|_| Connection::open(&target.server.url));
    let connections = connections.collect::<Result<Vec<_>>>()?;
    let connected = resident()?;
    drop(connections);
    let before_queues = resident()?;
    let queues = if target.is_stele { settings.queues } else { settings.queues / PEER_SHARE };
    let topology = Topology::declare(target, queues)?;
    let declared = resident();
    let declared = topology.finish(declared)?;

    let mut figures = Figures::default();
    figures.set(Column::ConnectionBytes, (connected - empty) / f64::from(settings.connections) / 1e3);
    figures.set(Column::QueueBytes, (declared - before_queues) / f64::from(queues) / 1e3);
    figures.set(Column::Resident, declared / 1e6);
    Ok(figures)
}
