//! What it costs to be there: resident memory per idle durable queue, and per idle connection with a channel.
//!
//! Queues first, and the connections while the queues are still there: memory that was given back inside the broker would hide
//! what comes after. For the same reason the broker should be freshly started; a figure that comes out negative is left out.

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
    let queues = if target.is_stele { settings.queues } else { settings.queues / PEER_SHARE };
    let empty = resident_bytes(target)?;
    let topology = Topology::declare(target, queues)?;
    let sizes = with_queues(target, settings);
    let (declared, connected) = topology.finish(sizes)?;

    let each_kb = |before: f64, after: f64, count: u32| {
        Some((after - before) / f64::from(count) / 1e3).filter(|kb| *kb > 0.0)
    };
    let mut figures = Figures::default();
    figures.set(Column::QueueBytes, each_kb(empty, declared, queues));
    figures.set(Column::ConnectionBytes, each_kb(declared, connected, settings.connections));
    figures.set(Column::Resident, connected / 1e6);
    Ok(figures)
}

/// Resident bytes with the queues alone, and with the connections too.
fn with_queues(target: &Target<'_>, settings: &Settings) -> Result<(f64, f64)> {
    let declared = resident_bytes(target)?;
    let connections = (0..settings.connections).map(|_| Connection::open(&target.server.url));
    let connections = connections.collect::<Result<Vec<_>>>()?;
    let connected = resident_bytes(target)?;
    drop(connections);
    Ok((declared, connected))
}

fn resident_bytes(target: &Target<'_>) -> Result<f64> {
    thread::sleep(REST);
    Ok(target.server.process.usage()?.resident_bytes as f64)
}
