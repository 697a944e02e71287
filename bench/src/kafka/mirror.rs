//! A broker that holds one backlog in memory and does nothing but send it: how fast the generator reads at all, over loopback.
//!
//! Started by the `generator` command. It answers fetches of the generator's own version only, trusts it, and lives as long as the process.
//! No part of it is Stele's.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::Result;

use super::batch::{Codec, Template};
use super::wire::{Fields, Put};

const RECORDS: u32 = 64;
const VALUE_BYTES: usize = 1024;

/// One partition's batches, back to back and of one length. All partitions have the same.
struct Backlog {
    bytes: Vec<u8>,
    batch_bytes: usize,
}

/// Starts it with partitions of at least so many records each; where it listens, and where each partition ends.
pub(crate) fn start(partitions: u32, records: u64) -> Result<(SocketAddr, BTreeMap<u32, u64>)> {
    let template = Template::new(RECORDS, VALUE_BYTES, Codec::None)?;
    let end = records.next_multiple_of(u64::from(RECORDS));
    let mut backlog = Backlog { bytes: Vec::new(), batch_bytes: template.bytes() };
    for first in (0..end).step_by(RECORDS as usize) {
        let at = backlog.bytes.len();
        template.write(&mut backlog.bytes, None, first, 0);
        backlog.bytes[at..at + 8].copy_from_slice(&first.to_be_bytes());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let backlog = Arc::new(backlog);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let backlog = Arc::clone(&backlog);
            // The end of a connection is the generator's business, which sees it too.
            thread::spawn(move || backlog.serve(stream));
        }
    });
    Ok((address, (0..partitions).map(|partition| (partition, end)).collect()))
}

impl Backlog {
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
        let mut parts = Vec::new();
        for _ in 0..request.count()? {
            let (partition, _, from) = (request.i32()?, request.i32()?, request.i64()? as u64);
            let (_, bytes_max) = (request.i64()?, request.i32()? as usize);
            let at = ((from / u64::from(RECORDS)) as usize * self.batch_bytes).min(self.bytes.len());
            let whole = (bytes_max / self.batch_bytes).max(1) * self.batch_bytes;
            parts.push((partition, &self.bytes[at..self.bytes.len().min(at + whole)]));
        }
        let mut head = Vec::new();
        head.i32(0).i32(correlation).i32(0).i16(0).i32(0).count(1).text(topic).count(parts.len());
        let each: usize = parts.iter().map(|(_, batches)| PART_HEAD_BYTES + batches.len()).sum();
        let length = u32::try_from(head.len() - 4 + each)?;
        head[..4].copy_from_slice(&length.to_be_bytes());
        for (partition, batches) in parts {
            let start = head.len();
            head.i32(partition).i16(0).i64(0).i64(0).i64(0).count(0).i32(-1).count(batches.len());
            assert_eq!(head.len() - start, PART_HEAD_BYTES, "what stands before a partition's batches");
            stream.write_all(&head)?;
            stream.write_all(batches)?;
            head.clear();
        }
        Ok(())
    }
}

const PART_HEAD_BYTES: usize = 4 + 2 + 3 * 8 + 4 + 4 + 4;
