//! How much of the disk's ceiling the engine reaches: `cargo run --release -p stele-log --example ceiling -- DIR [SECONDS]`.
//!
//! Appends blocks of 1-KB records through the threaded engine, for several block sizes, segments recycled all the time; the
//! bare disk is measured with writes as large before and after each, because disks drift.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use stele_log::disk::real::RealDisk;
use stele_log::probe::{Effort, Probe, probe};
use stele_log::{Embedded, Options};
use stele_model::id::{Lsn, Now};
use stele_model::log::{Block, Completion, LogStore};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("which directory?")?;
    let seconds: u64 = args.next().map_or(Ok(2), |text| text.parse())?;
    let root = Path::new(&dir).join("ceiling");
    println!("{}", probe(&root, Effort::default())?);
    for block_bytes in [1_000, 60_000, 256 << 10, 512 << 10, 1 << 20] {
        run(&root, block_bytes, Duration::from_secs(seconds))?;
    }
    std::fs::remove_dir_all(root)?;
    Ok(())
}

struct Load {
    log: Embedded,
    wake: Receiver<()>,
    next: u64,
    durable: u64,
    body: bytes::Bytes,
    completions: Vec<Completion>,
}

impl Load {
    /// Appends until the log takes no more.
    fn fill(&mut self, inline: bool) {
        while self.next - 1 - self.durable < u64::from(self.log.limits().in_flight_max) {
            let records = (self.body.len() / 1000) as u32;
            let block = Block {
                lsn: Lsn(self.next),
                time: Now(self.next),
                entries: records,
                body: self.body.clone(),
            };
            self.log.append(block, inline).expect("the disk has room");
            self.next += 1;
            self.collect();
            if inline {
                return;
            }
        }
    }

    fn collect(&mut self) {
        self.log.poll(&mut self.completions);
        for completion in self.completions.drain(..) {
            match completion {
                Completion::Durable(lsn) => self.durable = lsn.0,
                Completion::Failed(error) => panic!("the log failed: {error:?}"),
            }
        }
        if let Some(lsn) = self.log.snapshot_done() {
            self.log.trim(lsn);
        }
    }
}

fn run(root: &Path, block_bytes: usize, time: Duration) -> Result<(), Box<dyn std::error::Error>> {
    let dir = root.join(block_bytes.to_string());
    let disk = Arc::new(RealDisk::open(&dir)?);
    let (sender, wake) = sync_channel(1);
    let waker = Box::new(move || {
        // Full: the load is awake, or about to be.
        let _ = sender.try_send(());
    });
    let options =
        Options { log_bytes_max: 1 << 30, segment_bytes: 64 << 20, pool_min: 2, ..Options::default() };
    let (log, _) = Embedded::threaded(disk, options, waker)?;
    let body = bytes::Bytes::from(vec![0x5a; block_bytes]);
    let mut load = Load { log, wake, next: 1, durable: 0, body, completions: Vec::new() };
    // As many pages as the block takes with its header.
    let (blocks, block_pages) = ((512 << 20) / block_bytes.max(1 << 18), (block_bytes + 4096).div_ceil(4096));
    let block_len =
        if block_bytes > 65_536 { block_pages } else { (block_bytes + 200).div_ceil(4096) } * 4096;
    let effort = Effort { syncs: 1000, blocks, block_bytes: block_len, ..Effort::default() };
    let before = probe(root, effort)?;
    let inline = block_bytes < 16_000;
    // Once round the ring first, so that all segments have been written before.
    let warm = if inline { 40_000_000 } else { 2 << 30 };
    let (mut counted, mut begin) = (0, Instant::now());
    let mut took = Vec::new();
    let mut snapshot = 0;
    loop {
        let one = Instant::now();
        load.fill(inline);
        if !inline {
            // Woken or not, it looks.
            let _ = load.wake.recv_timeout(Duration::from_millis(100));
        }
        load.collect();
        took.push(one.elapsed());
        let bytes = load.durable * block_bytes as u64;
        if bytes - snapshot > 256 << 20 {
            load.log.snapshot(Lsn(load.durable), vec![]);
            snapshot = bytes;
        }
        if counted == 0 && bytes > warm {
            (counted, begin) = (load.durable, Instant::now());
            took.clear();
        }
        if counted > 0 && begin.elapsed() > time {
            break;
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let blocks = load.durable - counted;
    drop(load);
    let after = probe(root, effort)?;
    report(block_bytes, blocks, seconds, &mut took, before, after);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn report(block_bytes: usize, blocks: u64, seconds: f64, took: &mut [Duration], before: Probe, after: Probe) {
    took.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let rate = blocks as f64 * block_bytes as f64 / seconds;
    let ceiling = (before.bytes_per_s + after.bytes_per_s) / 2.0;
    println!(
        "{:>8} B blocks: {:.3} GB/s, {:.2} of {:.2}; {:.0} k records/s; {:.0} us per block; turn p50 {:.0} us p99 {:.0} us; bare sync p50 {:.0}/{:.0} us",
        block_bytes,
        rate / 1e9,
        rate / ceiling,
        ceiling / 1e9,
        rate / 1e6,
        seconds * 1e6 / blocks as f64,
        us(took[took.len() / 2]),
        us(took[took.len() * 99 / 100]),
        us(before.sync_p50),
        us(after.sync_p50),
    );
}
