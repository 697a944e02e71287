//! Reading a backlog that memory no longer holds: `cargo run --release -p stele-log --example cold -- DIR [MEGABYTES]`.
//!
//! Three queues share the log, record by record; one consumer drains one of them, ten records at a time, with and without the
//! cache, on an idle log and beside commits; then records at random places, which no cache can help.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use stele_log::disk::real::RealDisk;
use stele_log::{Embedded, Options, Reader};
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{Block, LogStore, ReadError, RecordReader};

const RECORD_BYTES: u32 = 1024;
const BLOCK_RECORDS: u32 = 100;
const QUEUES: usize = 3;
const FETCH_RECORDS: usize = 10;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let root = Path::new(&args.next().ok_or("which directory?")?).join("cold");
    let megabytes: u64 = args.next().map_or(Ok(256), |text| text.parse())?;
    let blocks = (megabytes << 20) / u64::from(BLOCK_RECORDS * RECORD_BYTES);
    let open = |cache_bytes| -> Result<Embedded, Error> {
        let disk = Arc::new(RealDisk::open(&root)?);
        let options = Options { pool_min: 1, cache_bytes, ..Options::default() };
        Ok(Embedded::threaded(disk, options, Box::new(|| {}))?.0)
    };
    let mut log = open(0)?;
    (1..=blocks).try_for_each(|lsn| append(&mut log, lsn, BLOCK_RECORDS))?;
    drop(log);
    let places = || {
        let block = |lsn| {
            (0..BLOCK_RECORDS).map(move |at| (Place { lsn: Lsn(lsn), at: at * RECORD_BYTES }, RECORD_BYTES))
        };
        (1..=blocks).flat_map(block)
    };
    let queue: Vec<_> = places().step_by(QUEUES).collect();
    let mut random: Vec<_> = places().step_by(BLOCK_RECORDS as usize + 1).collect();
    // One of each block, far from one another.
    random.sort_by_key(|(place, _)| place.lsn.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut next = blocks;
    for cache_bytes in [0, 8 << 20, 0, 8 << 20] {
        let mut log = open(cache_bytes)?;
        let reader = log.reader();
        let idle = drain(&reader, &queue, FETCH_RECORDS)?;
        let single = drain(&reader, &random, 1)?;
        let done = AtomicBool::new(false);
        let beside = std::thread::scope(|scope| {
            let drained = scope.spawn(|| {
                let rate = drain(&reader, &queue[..queue.len() / 4], FETCH_RECORDS);
                done.store(true, Ordering::Release);
                rate.map_err(|error| error.to_string())
            });
            while !done.load(Ordering::Acquire) {
                next += 1;
                append(&mut log, next, 1).map_err(|error| error.to_string())?;
            }
            drained.join().map_err(|_| "the reader panicked".to_owned())?
        })?;
        println!(
            "cache {:>2} MB: drain {:>7.0} records/s, beside commits {:>7.0}; at random {:>6.0}",
            cache_bytes >> 20,
            idle,
            beside,
            single
        );
    }
    Ok(std::fs::remove_dir_all(root)?)
}

fn append(log: &mut Embedded, lsn: u64, records: u32) -> Result<(), Error> {
    let body = bytes::Bytes::from(vec![lsn as u8; (records * RECORD_BYTES) as usize]);
    let block = Block { lsn: Lsn(lsn), time: Now(lsn), entries: records, body };
    log.append(block, records == 1).map_err(|error| format!("{error:?}"))?;
    while log.tail() != Ok(Lsn(lsn)) {
        std::thread::yield_now();
    }
    Ok(())
}

/// Records per second.
fn drain(reader: &Reader, records: &[(Place, u32)], at_once: usize) -> Result<f64, Error> {
    let begun = Instant::now();
    for fetch in records.chunks(at_once) {
        reader.records(fetch).map_err(|error: ReadError| format!("{error:?}"))?;
    }
    Ok(records.len() as f64 / begun.elapsed().as_secs_f64())
}
