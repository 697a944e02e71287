//! What the disk alone can do, found by the command that measures the brokers: write bandwidth with a sync per megabyte, the time of one
//! small sync, and read bandwidth.
//!
//! Written the way the fastest log would: `O_DIRECT|O_DSYNC` into a file that holds zeroes already; where the file system refuses
//! `O_DIRECT`, write and `fdatasync`. The figures change by the hour on shared machines, so each round probes again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::fs::OFlags;

use crate::latency::Histogram;

/// One write of the bandwidth probe.
const WRITE_BYTES: usize = 1 << 20;
/// Writes that fill the probe's file once.
const FILE_WRITES: u64 = 64;
/// One write of the sync probe.
const SYNC_BYTES: usize = 4 << 10;
const ALIGNMENT: usize = 4 << 10;
const BANDWIDTH_TIME: Duration = Duration::from_millis(400);
const SYNCS: u64 = 1_000;
/// A sync that takes longer waited for something else.
const CALM: Duration = Duration::from_millis(3);
/// So many in a row have to be calm, a millisecond apart.
const CALM_SYNCS: u32 = 400;
/// How long a disk is waited for.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// Reads under way at once.
const READERS: usize = 4;

/// What the disk reached in one probe.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ceiling {
    pub bytes_per_s: f64,
    pub sync_p50_us: f64,
    pub sync_p99_us: f64,
}

/// A zero-written file to probe with; it has no name and ends with this value.
pub(crate) struct Disk {
    file: File,
    direct: bool,
    buffer: Vec<u8>,
}

impl Disk {
    /// Prepares a probe in the file system of `directory`.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        let buffer = vec![0; WRITE_BYTES + ALIGNMENT];
        let path = directory.join(format!("stele-bench-disk-{}", std::process::id()));
        let open = |flags: OFlags| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(flags.bits() as i32)
                .open(&path)
        };
        let direct = open(OFlags::DIRECT | OFlags::DSYNC);
        let disk = match direct {
            Ok(file) => Ok(Self { file, direct: true, buffer }),
            Err(_) => open(OFlags::empty()).map(|file| Self { file, direct: false, buffer }),
        };
        let disk = disk.with_context(|| format!("create {}", path.display()))?;
        std::fs::remove_file(&path)?;
        for index in 0..FILE_WRITES {
            disk.write(index, WRITE_BYTES)?;
        }
        Ok(disk)
    }

    /// Writes and syncs the piece of the file with this index.
    fn write(&self, index: u64, bytes: usize) -> Result<()> {
        let skip = self.buffer.as_ptr().align_offset(ALIGNMENT);
        self.file.write_all_at(&self.buffer[skip..skip + bytes], index * bytes as u64)?;
        if !self.direct {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Writes and syncs 4 KB, the `index`-th time.
    pub(crate) fn sync(&self, index: u64) -> Result<()> {
        self.write(index % SYNCS, SYNC_BYTES)
    }

    /// Measures once; takes about half a second.
    pub(crate) fn probe(&self) -> Result<Ceiling> {
        let start = Instant::now();
        let mut writes = 0;
        while start.elapsed() < BANDWIDTH_TIME {
            self.write(writes % FILE_WRITES, WRITE_BYTES)?;
            writes += 1;
        }
        let bytes_per_s = (writes * WRITE_BYTES as u64) as f64 / start.elapsed().as_secs_f64();
        let mut syncs = Histogram::new();
        for index in 0..SYNCS {
            let start = Instant::now();
            self.sync(index)?;
            syncs.add(start.elapsed().as_nanos() as u64);
        }
        let percentile = |share| syncs.percentile_us(share).expect("syncs were counted");
        Ok(Ceiling { bytes_per_s, sync_p50_us: percentile(0.5), sync_p99_us: percentile(0.99) })
    }

    /// Waits until the disk has nothing left to do for the load before: pages to write back, space of removed files to give up. After ten
    /// seconds it is no longer waited for.
    pub(crate) fn settle(&self) -> Result<()> {
        rustix::fs::sync();
        let (start, mut calm) = (Instant::now(), 0);
        while calm < CALM_SYNCS && start.elapsed() < SETTLE_MAX {
            let sync = Instant::now();
            self.sync(u64::from(calm))?;
            calm = if sync.elapsed() < CALM { calm + 1 } else { 0 };
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Reads as fast as the disk gives, past the page cache, with several reads under way; bytes per second.
    pub(crate) fn read_probe(&self) -> Result<f64> {
        let (start, next) = (Instant::now(), AtomicU64::new(0));
        let reader = || -> Result<u64> {
            let mut buffer = vec![0; WRITE_BYTES + ALIGNMENT];
            let skip = buffer.as_ptr().align_offset(ALIGNMENT);
            let mut bytes = 0;
            while start.elapsed() < BANDWIDTH_TIME {
                let index = next.fetch_add(1, Relaxed) % FILE_WRITES;
                let at = index * WRITE_BYTES as u64;
                self.file.read_exact_at(&mut buffer[skip..skip + WRITE_BYTES], at)?;
                bytes += WRITE_BYTES as u64;
            }
            Ok(bytes)
        };
        let bytes = thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
            readers
                .into_iter()
                .map(|reader| reader.join().expect("a reader does not panic"))
                .sum::<Result<u64>>()
        })?;
        Ok(bytes as f64 / start.elapsed().as_secs_f64())
    }

    /// How the probe writes, for the report.
    pub(crate) fn method(&self) -> &'static str {
        if self.direct { "O_DIRECT|O_DSYNC" } else { "write + fdatasync" }
    }
}
const _: () = assert!(
    SYNCS * SYNC_BYTES as u64 <= FILE_WRITES * WRITE_BYTES as u64,
    "small syncs stay in the zero-written file"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_behind_and_gives_positive_figures() {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::open(directory.path()).unwrap();
        let ceiling = disk.probe().unwrap();
        assert!(disk.read_probe().unwrap() > 0.0);
        drop(disk);
        assert!(
            ceiling.bytes_per_s > 0.0
                && ceiling.sync_p50_us > 0.0
                && ceiling.sync_p99_us >= ceiling.sync_p50_us
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
