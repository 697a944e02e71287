//! Clients that send all of a large message but its end, more of them than `limits.unfinished_bytes_max` has room for: the broker ends those
//! that have stalled longest, keeps its memory bounded, and who finishes its messages is served.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stele_testkit::memory::lowest_kib;
use tokio::io::AsyncWriteExt;

use super::{Stage, lives};
use crate::pair::Pair;
use crate::wire::{self, Connection, End, PATIENCE, kind, name};

const UNFINISHED_MIB: u64 = 64;
const STALLED: usize = 24;
/// Of each client that stalls: what it has announced, and what it sends of that.
const BODY_BYTES: usize = 12 << 20;
const SENT_BYTES: usize = 10 << 20;
const FRAME_BYTES: usize = 64 << 10;
/// What a client that goes on sends meanwhile.
const WHOLE: usize = 8;

pub(super) async fn run(stage: Stage) -> Result<String> {
    // What the log keeps in memory for readers is not looked at here.
    let settings = [&format!("limits.unfinished_bytes_max={UNFINISHED_MIB} MiB"), "log.memory_bytes=16 MiB"];
    let mut broker = stage.start(stage.program.clone(), &settings)?;
    let pair = Pair::start(broker.amqp())?;
    pair.goes_on().await?;
    let mut healthy = Connection::open(broker.amqp()).await?;
    healthy.stream.write_all(&wire::confirm_select()).await?;
    healthy.until((85, 11)).await?;
    let before = lowest_kib(broker.pid(), Duration::from_millis(500))?;
    let mut stalled = Vec::new();
    for n in 0..STALLED {
        let mut connection = Connection::open(broker.amqp()).await?;
        connection.stream.write_all(&begun()).await.with_context(|| format!("send most of message {n}"))?;
        stalled.push(connection);
        if n % (STALLED / WHOLE) == 0 {
            healthy.stream.write_all(&whole()).await?;
            let confirmed = tokio::time::timeout(PATIENCE, healthy.until(name::ACK)).await;
            confirmed.context("a whole message waits")?.context("publish a whole message")?;
        }
    }
    let after = lowest_kib(broker.pid(), Duration::from_millis(500))?;
    // A buffer that grows takes up to twice what is in it, and as much again while it is moved.
    let grown_max = UNFINISHED_MIB * (4 << 10);
    ensure!(after < before + grown_max, "memory grew from {before} to {after} KiB");
    // Each thread ends its own slowest, so it may be another's that is left: they are only counted.
    let mut ends = tokio::task::JoinSet::new();
    for mut connection in stalled {
        ends.spawn(async move { connection.refused().await });
    }
    let kept_max = (UNFINISHED_MIB as usize * (1 << 20)) / SENT_BYTES;
    let mut ended = 0;
    while ended < STALLED - kept_max {
        let end = ends.join_next().await.context("nobody stalls any more")?;
        let end = end?.with_context(|| format!("only {ended} of {STALLED} that stalled were ended"))?;
        ensure!(matches!(end, End::Error), "a client that stalled was not told why");
        ended += 1;
    }
    drop(ends);
    tokio::time::timeout(PATIENCE, pair.goes_on()).await.context("the pair is held up")??;
    pair.stop()?;
    lives(&mut broker)?;
    Ok(format!(
        "of {STALLED} clients that stalled at least {ended} were ended; {WHOLE} whole messages passed them"
    ))
}

fn begun() -> Vec<u8> {
    message(SENT_BYTES)
}

fn whole() -> Vec<u8> {
    message(BODY_BYTES)
}

/// A publish to nowhere, and so much of its body.
fn message(bytes: usize) -> Vec<u8> {
    let head = [&[0, 60, 0, 0][..], &(BODY_BYTES as u64).to_be_bytes(), &[0, 0]].concat();
    let mut frames =
        [wire::publish_method("bad-input.nowhere"), wire::frame(kind::HEADER, 1, &head)].concat();
    let piece = wire::frame(kind::BODY, 1, &[7; FRAME_BYTES]);
    (0..bytes / FRAME_BYTES).for_each(|_| frames.extend_from_slice(&piece));
    frames
}
