//! A file system that runs full: publishers are told to stop, nothing confirmed is lost, not even by a power cut, readers drain, and
//! then publishing goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use stele_testkit::broker::Broker;
use tokio::io::AsyncWriteExt;

use super::{Stage, lives};
use crate::wire::{self, Arguments, Connection, Frame, PATIENCE, kind, name};

const DISK_BYTES: u64 = 96 << 20;
const SETTINGS: &[&str] = &["log.segment_bytes=4 MiB", "log.memory_bytes=16 MiB"];
const RECORD_BYTES: usize = 16 << 10;
const QUEUE: &str = "bad-input.disk";
/// Publishes that may be unconfirmed.
const WINDOW: usize = 64;
/// Published after the drain, to see that it goes on.
const AFTER: usize = 500;
/// Deliveries settled together.
const SETTLE_EVERY: u64 = 50;

pub(super) async fn run(stage: Stage) -> Result<String> {
    let mount = Mount::new(stage.folder.join("data"))?;
    let mut broker = stage.start(stage.program.clone(), SETTINGS)?;
    let mut publisher = Publisher::open(&broker).await?;
    let start = Instant::now();

    publisher.fill().await.context("fill the disk")?;
    let filled = publisher.confirmed.len();
    lives(&mut broker)?;
    let mut reader = Reader::open(&broker).await.context("read from a full disk")?;
    reader.drain(&publisher.confirmed).await.context("drain a full disk")?;
    publisher.go_on().await.context("publish after the drain")?;
    reader.drain(&publisher.confirmed).await.context("read what came after the drain")?;
    let first = start.elapsed().as_secs_f64();

    publisher.fill().await.context("fill the disk again")?;
    lives(&mut broker)?;
    broker.kill()?;
    let rest = mount.fill()?;
    broker.start_again().context("start on a disk that is full to the last byte")?;
    let confirmed = std::mem::take(&mut publisher.confirmed);
    let mut reader = Reader { seen: reader.seen, ..Reader::open(&broker).await? };
    reader.drain(&confirmed).await.context("drain after a power cut")?;
    let (sent, refused) = (publisher.sent, publisher.refused);
    let mut publisher = Publisher { sent, refused, ..Publisher::open(&broker).await? };
    publisher.go_on().await.context("publish after a power cut")?;
    reader.drain(&publisher.confirmed).await?;
    lives(&mut broker)?;
    drop((broker, mount));
    Ok(format!(
        "told to stop after {filled} records, drained and on after {first:.1} s; all of it again with a power cut and the last {rest} bytes taken, after {:.1} s; {} refused",
        start.elapsed().as_secs_f64(),
        publisher.refused,
    ))
}

/// A small file system in memory.
struct Mount(PathBuf);

impl Mount {
    fn new(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path)?;
        let size = format!("size={DISK_BYTES}");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status()?;
        ensure!(
            status.success(),
            "mount a small file system: be root, or run all of this under `unshare -rm`"
        );
        Ok(Self(path))
    }

    /// Somebody else takes what is left, to the last byte, and keeps it; how many bytes that was.
    fn fill(&self) -> Result<u64> {
        let mut file = File::create(self.0.join("somebody-else"))?;
        let piece = [b'x'; 4096];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("fill a small file system"),
            }
        }
        Ok(file.metadata()?.len())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn unmount(path: &Path) {
    // Lazily, for a broker that was just killed; if it fails the folder stays mounted, and the next run says so.
    let _ = Command::new("umount").arg("-l").arg(path).status();
}

/// One who counts what was confirmed.
struct Publisher {
    connection: Connection,
    /// Number of the next record, over all connections.
    sent: u64,
    /// Numbers in the order of this connection's publishes that have no answer yet, by delivery tag.
    open: BTreeMap<u64, u64>,
    tag: u64,
    confirmed: BTreeSet<u64>,
    refused: u64,
    blocked: bool,
}

impl Publisher {
    async fn open(broker: &Broker) -> Result<Self> {
        let mut connection = Connection::open(broker.amqp()).await?;
        let durable = Arguments::default().u16(0).short(QUEUE).raw(&[0b0000_0010]).u32(0);
        connection.stream.write_all(&wire::method(1, 50, 10, durable)).await?;
        connection.until((50, 11)).await?;
        connection.stream.write_all(&wire::confirm_select()).await?;
        connection.until((85, 11)).await?;
        Ok(Self {
            connection,
            sent: 0,
            open: BTreeMap::new(),
            tag: 0,
            confirmed: BTreeSet::new(),
            refused: 0,
            blocked: false,
        })
    }

    /// Publish until told to stop.
    async fn fill(&mut self) -> Result<()> {
        while !self.blocked {
            self.step().await?;
        }
        Ok(())
    }

    /// Wait until told to go on, if told to stop; publish more, and see enough of it confirmed.
    async fn go_on(&mut self) -> Result<()> {
        while self.blocked {
            self.hear().await.context("wait for connection.unblocked")?;
        }
        while !self.open.is_empty() {
            self.hear().await.context("wait for the confirms of before")?;
        }
        // Space comes back piece by piece, so the publisher may be stopped or refused again; but not for long.
        let wanted = self.confirmed.len() + AFTER;
        let publish = async {
            while self.confirmed.len() < wanted {
                if self.blocked { self.hear().await? } else { self.step().await? }
            }
            while !self.open.is_empty() {
                self.hear().await?;
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, publish).await.context("see enough publishes confirmed")?
    }

    async fn step(&mut self) -> Result<()> {
        if self.open.len() >= WINDOW {
            return self.hear().await;
        }
        let mut body = self.sent.to_be_bytes().to_vec();
        body.resize(RECORD_BYTES, b'x');
        self.connection.stream.write_all(&wire::publish_persistent(QUEUE, &body).concat()).await?;
        self.tag += 1;
        self.open.insert(self.tag, self.sent);
        self.sent += 1;
        Ok(())
    }

    /// One frame of the broker.
    async fn hear(&mut self) -> Result<()> {
        let frame = self.connection.frame().await?.context("the broker closed the connection")?;
        match frame.method() {
            Some(name::ACK) => {
                let done = self.answered(&frame)?;
                self.confirmed.extend(done);
            }
            Some(name::NACK) => self.refused += self.answered(&frame)?.len() as u64,
            Some(name::BLOCKED) => self.blocked = true,
            Some(name::UNBLOCKED) => self.blocked = false,
            None if frame.kind == kind::HEARTBEAT => {}
            other => bail!("a publisher was sent {other:?}"),
        }
        Ok(())
    }

    fn answered(&mut self, frame: &Frame) -> Result<Vec<u64>> {
        let tag = frame.u64_at(4)?;
        let multiple = frame.payload.get(12).is_some_and(|bits| bits & 1 == 1);
        if !multiple {
            return Ok(vec![self.open.remove(&tag).context("an answer to nothing")?]);
        }
        let later = self.open.split_off(&(tag + 1));
        Ok(std::mem::replace(&mut self.open, later).into_values().collect())
    }
}

/// One who reads everything and settles it.
struct Reader {
    connection: Connection,
    seen: BTreeSet<u64>,
    unsettled: u64,
    tag: u64,
}

impl Reader {
    async fn open(broker: &Broker) -> Result<Self> {
        let mut connection = Connection::open(broker.amqp()).await?;
        let prefetch = Arguments::default().u32(0).u16(200).raw(&[0]);
        connection.stream.write_all(&wire::method(1, 60, 10, prefetch)).await?;
        connection.until((60, 11)).await?;
        connection.stream.write_all(&wire::consume(QUEUE, false)).await?;
        connection.until((60, 21)).await?;
        Ok(Self { connection, seen: BTreeSet::new(), unsettled: 0, tag: 0 })
    }

    /// Read until all of these were seen.
    async fn drain(&mut self, wanted: &BTreeSet<u64>) -> Result<()> {
        let mut missing = wanted.difference(&self.seen).count();
        while missing > 0 {
            let frame = self
                .connection
                .frame()
                .await
                .with_context(|| format!("{missing} confirmed records did not come"))?
                .context("the broker closed the connection")?;
            if frame.method() == Some(name::DELIVER) {
                let tag_at = 5 + usize::from(*frame.payload.get(4).context("read a consumer tag")?);
                self.tag = frame.u64_at(tag_at)?;
                self.unsettled += 1;
            } else if frame.kind == kind::BODY {
                let number = frame.u64_at(0)?;
                missing -= usize::from(self.seen.insert(number) && wanted.contains(&number));
            }
            if frame.kind == kind::BODY && (self.unsettled == SETTLE_EVERY || missing == 0) {
                self.settle().await?;
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        let tag = self.tag.to_be_bytes();
        self.connection
            .stream
            .write_all(&wire::method(1, 60, 80, Arguments::default().raw(&tag).raw(&[1])))
            .await?;
        self.unsettled = 0;
        Ok(())
    }
}
