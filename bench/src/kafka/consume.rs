//! Consumers: one connection that fetches, one request under way, as clients do it. Batches are checked: none lost, doubled or mangled.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::batch::Batch;
use super::client::Client;
use super::wire::{FETCH, Put};
use crate::latency::Histogram;

/// What is asked for at most, in one answer and of one partition: as Java's client does.
const FETCH_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
const WAIT_MS: i32 = 500;
const STALL_MAX: Duration = Duration::from_secs(30);

/// A reader of some partitions of one topic.
pub(crate) struct Reader<'a> {
    client: Client,
    topic: &'a str,
    /// The offset wanted next, by partition.
    next: BTreeMap<u32, u64>,
}

/// Which batches of each partition's part are checked to the byte; all are for their place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    First,
    All,
}

/// What one fetch brought.
struct Fetched {
    records: u64,
    bytes: u64,
}

impl<'a> Reader<'a> {
    /// From the beginning.
    pub(crate) fn new(address: SocketAddr, topic: &'a str, partitions: u32) -> Result<Self> {
        let next = (0..partitions).map(|partition| (partition, 0)).collect();
        Ok(Self { client: Client::connect(address)?, topic, next })
    }

    /// Reads until each partition's `ends` are reached; records and bytes.
    pub(crate) fn catch_up(&mut self, ends: &BTreeMap<u32, u64>) -> Result<(u64, u64)> {
        let (mut records, mut bytes) = (0, 0);
        let mut last = Instant::now();
        while ends.iter().any(|(partition, end)| self.next[partition] < *end) {
            let fetched = self.fetch(ends, Check::First, |_| ())?;
            records += fetched.records;
            bytes += fetched.bytes;
            if fetched.records > 0 {
                last = Instant::now();
            }
            ensure!(last.elapsed() < STALL_MAX, "nothing is fetched for {STALL_MAX:?}");
        }
        Ok((records, bytes))
    }

    /// Reads until `over`, and notes how long after its stamp each record came.
    pub(crate) fn follow(&mut self, origin: Instant, over: &AtomicBool) -> Result<Histogram> {
        let mut times = Histogram::new();
        while !over.load(Relaxed) {
            self.fetch(&BTreeMap::new(), Check::All, |stamp| {
                times.add((origin.elapsed().as_nanos() as u64).saturating_sub(stamp));
            })?;
        }
        Ok(times)
    }

    /// One request and its answer; `note` gets the stamps of what was checked. Partitions at their `ends` are not asked for.
    fn fetch(
        &mut self,
        ends: &BTreeMap<u32, u64>,
        check: Check,
        mut note: impl FnMut(u64),
    ) -> Result<Fetched> {
        let Self { client, topic, next } = self;
        let wanted: Vec<_> = next
            .iter()
            .filter(|(partition, next)| ends.get(partition).is_none_or(|end| *next < end))
            .map(|(&partition, &next)| (partition, next))
            .collect();
        let body = |out: &mut Vec<u8>| {
            out.i32(-1).i32(WAIT_MS).i32(1).i32(FETCH_BYTES_MAX).i8(0).i32(0).i32(-1);
            out.count(1).text(Some(topic)).count(wanted.len());
            for &(partition, next) in &wanted {
                out.i32(partition as i32).i32(-1).i64(next as i64).i64(-1).i32(PARTITION_BYTES_MAX);
            }
            out.count(0).text(Some(""));
        };
        let mut fetched = Fetched { records: 0, bytes: 0 };
        client.ask(FETCH, body, |answer| {
            let (_, code, _) = (answer.i32()?, answer.i16()?, answer.i32()?);
            ensure!(code == 0, "a fetch is refused: error {code}");
            for _ in 0..answer.count()? {
                answer.text()?;
                for _ in 0..answer.count()? {
                    let (partition, code) = (answer.i32()? as u32, answer.i16()?);
                    ensure!(code == 0, "a fetch of partition {partition} is refused: error {code}");
                    answer.take(24)?; // high watermark, last stable offset, start
                    let aborted = answer.count()?;
                    answer.take(16 * aborted)?;
                    answer.i32()?;
                    let mut batches = answer.bytes()?;
                    fetched.bytes += batches.len() as u64;
                    let place = next.get_mut(&partition).context("a partition that nobody asked for")?;
                    let mut checks = true;
                    while let Some(batch) = Batch::next(&mut batches)? {
                        ensure!(batch.base == *place, "offset {} instead of {place}", batch.base);
                        if checks {
                            note(batch.check()?);
                            checks = check == Check::All;
                        }
                        *place += u64::from(batch.records);
                        fetched.records += u64::from(batch.records);
                    }
                }
            }
            Ok(())
        })?;
        Ok(fetched)
    }
}
