//! A broker that holds one backlog in memory and does nothing but send it: how fast the generator reads at all, over loopback.
//!
//! It runs beside a catch-up scenario and in the `generator` command. It answers fetches of the generator's own version only, trusts it, and hands its
//! memory to the kernel by `sendfile`, so that it copies nothing itself. No part of it is Stele's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rustix::fs::MemfdFlags;

use super::batch::{Codec, Template};
use super::consume::Reader;
use super::wire::{Fields, Put};

const RECORDS: u32 = 64;
const VALUE_BYTES: usize = 1024;
/// How many records stand there, in all partitions together, and how often they are read; the best pass counts.
const BACKLOG: u64 = 200_000;
const PASSES: usize = 5;

/// Records of 1 KB per second that the generator reads at most, from so many partitions and with one fetch under way.
pub(crate) fn ceiling(partitions: u32) -> Result<f64> {
    let backlog = Backlog::new(partitions)?;
    let ends: BTreeMap<u32, u64> = (0..partitions).map(|partition| (partition, backlog.end)).collect();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    // It ends with the last pass. The end of a connection is the generator's business, which sees it too.
    let mirror = thread::spawn(move || {
        listener.incoming().take(PASSES).flatten().for_each(|stream| _ = backlog.serve(stream));
    });
    let mut best: f64 = 0.0;
    for _ in 0..PASSES {
        let start = Instant::now();
        let (records, _) = Reader::new(address, "backlog", partitions)?.catch_up(&ends)?;
        best = best.max(records as f64 / start.elapsed().as_secs_f64());
    }
    mirror.join().ok().context("the mirror panicked")?;
    Ok(best)
}

/// Partitions one behind the other, each with the same number of batches of one length.
struct Backlog {
    file: File,
    batch_bytes: u64,
    /// The offset after the last record, in every partition.
    end: u64,
}

impl Backlog {
    fn new(partitions: u32) -> Result<Self> {
        let template = Template::new(RECORDS, VALUE_BYTES, Codec::None)?;
        let end = (BACKLOG / u64::from(partitions)).next_multiple_of(u64::from(RECORDS));
        let mut partition = Vec::new();
        for first in (0..end).step_by(RECORDS as usize) {
            let at = partition.len();
            template.write(&mut partition, None, first, 0);
            partition[at..at + 8].copy_from_slice(&first.to_be_bytes());
        }
        let mut file = File::from(rustix::fs::memfd_create("backlog", MemfdFlags::CLOEXEC)?);
        for _ in 0..partitions {
            file.write_all(&partition)?;
        }
        Ok(Self { file, batch_bytes: template.bytes() as u64, end })
    }

    fn serve(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut request = Vec::new();
        loop {
            let mut length = [0; 4];
            stream.read_exact(&mut length)?;
            request.resize(u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut request)?;
            self.fetch(Fields(&request), &mut stream)?;
        }
    }

    /// Answers one fetch.
    fn fetch(&self, mut request: Fields<'_>, stream: &mut TcpStream) -> Result<()> {
        let (_, correlation) = (request.i32()?, request.i32()?);
        request.text()?;
        request.take(25)?; // from the replica's id to the session's epoch
        request.count()?;
        let topic = request.text()?;
        let batches = self.end / u64::from(RECORDS);
        let mut parts = Vec::new();
        for _ in 0..request.count()? {
            let (partition, _, from) = (request.i32()?, request.i32()?, request.i64()? as u64);
            let (_, bytes_max) = (request.i64()?, request.i32()? as u64);
            let first = (from / u64::from(RECORDS)).min(batches);
            let count = (bytes_max / self.batch_bytes).max(1).min(batches - first);
            let at = (partition as u64 * batches + first) * self.batch_bytes;
            parts.push((partition, at, count * self.batch_bytes));
        }
        let mut head = Vec::new();
        head.i32(0).i32(correlation).i32(0).i16(0).i32(0).count(1).text(topic).count(parts.len());
        let each: u64 = parts.iter().map(|(_, _, bytes)| PART_HEAD_BYTES as u64 + bytes).sum();
        let length = u32::try_from(head.len() as u64 - 4 + each)?;
        head[..4].copy_from_slice(&length.to_be_bytes());
        for (partition, at, bytes) in parts {
            let start = head.len();
            head.i32(partition).i16(0).i64(0).i64(0).i64(0).count(0).i32(-1).count(bytes as usize);
            assert_eq!(head.len() - start, PART_HEAD_BYTES, "what stands before a partition's batches");
            stream.write_all(&head)?;
            self.send(stream, at, bytes)?;
            head.clear();
        }
        Ok(())
    }

    fn send(&self, stream: &TcpStream, mut at: u64, bytes: u64) -> Result<()> {
        let end = at + bytes;
        while at < end {
            let left = (end - at) as usize;
            let sent = rustix::fs::sendfile(stream, &self.file, Some(&mut at), left)?;
            ensure!(sent > 0, "the backlog is shorter than its length");
        }
        Ok(())
    }
}

const PART_HEAD_BYTES: usize = 4 + 2 + 3 * 8 + 4 + 4 + 4;
