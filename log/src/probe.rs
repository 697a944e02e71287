//! What the disk can do: the ceiling that the log is measured against. Called by `stele doctor` and by benchmarks.
//!
//! Writes a file of its own into the directory and removes it. The engine's way of writing is used, without the engine.

use crate::disk::real::RealDisk;
use crate::disk::{Disk, Purpose};
use crate::format::page::{PAGE_BYTES, Page, pages_for};
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

const NAME: &str = "probe.new";

/// How much a probe writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Length of the file, bytes; at least one block.
    pub file_bytes: u64,
    /// Syncs of 4 KiB.
    pub syncs: usize,
    /// Synced blocks.
    pub blocks: usize,
    /// Length of a block, bytes; rounded up to whole pages.
    pub block_bytes: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, syncs: 2000, blocks: 512, block_bytes: 1 << 20 }
    }
}

/// The disk's ceiling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// A synced write of 4 KiB on a zero-written file: half of them are faster.
    pub sync_p50: Duration,
    /// 99 of 100 are faster.
    pub sync_p99: Duration,
    /// Bytes per second, in blocks with one sync each.
    pub bytes_per_s: f64,
    /// Length of these blocks, bytes.
    pub block_bytes: usize,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        write!(f, "synced 4 KiB: p50 {:.0} us, p99 {:.0} us; ", us(self.sync_p50), us(self.sync_p99))?;
        write!(f, "synced blocks of {} KiB: {:.2} GB/s", self.block_bytes >> 10, self.bytes_per_s / 1e9)
    }
}

/// Measures the disk under the directory `dir`; takes about a second on a fast one.
///
/// # Errors
/// Those of the file system.
pub fn probe(dir: &Path, effort: Effort) -> io::Result<Probe> {
    let disk = RealDisk::open(dir)?;
    let measured = measure(&disk, effort);
    let removed = disk.remove(NAME);
    let measured = measured?;
    removed?;
    Ok(measured)
}

fn measure(disk: &RealDisk, effort: Effort) -> io::Result<Probe> {
    let piece_pages = pages_for(effort.block_bytes).max(1);
    let pieces = (effort.file_bytes / (piece_pages * PAGE_BYTES) as u64).max(1);
    // Not zeroes, which a thin disk may not write at all.
    let mut page = Page::ZERO;
    for (i, byte) in page.bytes_mut().iter_mut().enumerate() {
        *byte = (i * 131 % 251) as u8;
    }
    let piece = vec![page; piece_pages];
    let bulk = disk.open(NAME, Purpose::Bulk)?;
    for at in 0..pieces {
        bulk.write(at * piece_pages as u64, &piece)?;
    }
    bulk.sync()?;
    let file = disk.open(NAME, Purpose::Commit)?;
    let mut took = Vec::with_capacity(effort.syncs.max(1));
    for at in 0..effort.syncs.max(1) as u64 {
        let begin = Instant::now();
        file.write(at % (pieces * piece_pages as u64), &piece[..1])?;
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    let begin = Instant::now();
    for at in 0..effort.blocks.max(1) as u64 {
        file.write(at % pieces * piece_pages as u64, &piece)?;
    }
    let bytes = effort.blocks.max(1) * piece_pages * PAGE_BYTES;
    Ok(Probe {
        sync_p50: took[took.len() / 2],
        sync_p99: took[took.len() * 99 / 100],
        bytes_per_s: bytes as f64 / begin.elapsed().as_secs_f64(),
        block_bytes: piece_pages * PAGE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_measures_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let probe =
            probe(dir.path(), Effort { file_bytes: 1 << 20, syncs: 10, blocks: 2, block_bytes: 100_000 })
                .unwrap();
        assert!(probe.bytes_per_s > 0.0 && probe.sync_p50 <= probe.sync_p99);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
