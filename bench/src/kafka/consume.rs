//! Consumers: one connection that fetches, one request under way, as clients do it. Batches are checked: none lost, doubled or mangled.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags};

use super::batch::{self, Head};
use super::client::Client;
use super::incoming::Incoming;
use super::wire::{self, FETCH, Put};
use crate::latency::Histogram;
use crate::wait;

/// What is asked for at most, in one answer and of one partition: as Java's client does.
const FETCH_BYTES_MAX: i32 = 50 << 20;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
const WAIT_MS: i32 = 500;
/// How long it stays awake for an answer, beyond the time between two paced records.
const LOOK: Duration = Duration::from_millis(2);
const STALL_MAX: Duration = Duration::from_secs(30);

/// A reader of some partitions of one topic.
pub(crate) struct Reader<'a> {
    incoming: Incoming<TcpStream>,
    correlation: i32,
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
        let incoming = Incoming::new(Client::connect(address)?.stream);
        Ok(Self { incoming, correlation: 0, topic, next })
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
        self.ask(ends)?;
        if check == Check::All {
            // Who follows looks out for each record.
            wait::poll(&mut [PollFd::new(&self.incoming.stream, PollFlags::IN)], LOOK, true)?;
        }
        let Self { incoming, correlation, next, .. } = self;
        ensure!(incoming.answer()? == *correlation, "an answer to another request");
        let mut head = incoming.fields(4 + 2 + 4)?;
        let (_, code) = (head.i32()?, head.i16()?);
        ensure!(code == 0, "a fetch is refused: error {code}");
        let mut fetched = Fetched { records: 0, bytes: 0 };
        for _ in 0..incoming.fields(4)?.count()? {
            let name = usize::try_from(incoming.fields(2)?.i16()?).context("a topic without a name")?;
            incoming.skip(name)?;
            for _ in 0..incoming.fields(4)?.count()? {
                let partition = part_head(incoming)?;
                let place = next.get_mut(&partition).context("a partition that nobody asked for")?;
                let some = part(incoming, place, check, &mut note)?;
                fetched.records += some.records;
                fetched.bytes += some.bytes;
            }
        }
        Ok(fetched)
    }

    /// Sends a request for what comes next of all partitions that are not at their end.
    fn ask(&mut self, ends: &BTreeMap<u32, u64>) -> Result<()> {
        let Self { incoming, correlation, topic, next } = self;
        let wanted: Vec<_> = next
            .iter()
            .filter(|(partition, next)| ends.get(partition).is_none_or(|end| *next < end))
            .map(|(&partition, &next)| (partition, next))
            .collect();
        *correlation += 1;
        let mut request = Vec::new();
        wire::request(&mut request, FETCH, *correlation, |out| {
            out.i32(-1).i32(WAIT_MS).i32(1).i32(FETCH_BYTES_MAX).i8(0).i32(0).i32(-1);
            out.count(1).text(Some(topic)).count(wanted.len());
            for &(partition, next) in &wanted {
                out.i32(partition as i32).i32(-1).i64(next as i64).i64(-1).i32(PARTITION_BYTES_MAX);
            }
            out.count(0).text(Some(""));
        });
        incoming.stream.write_all(&request).context("send a fetch")
    }
}

/// What stands before a partition's records; which partition.
fn part_head(incoming: &mut Incoming<TcpStream>) -> Result<u32> {
    let mut fields = incoming.fields(4 + 2 + 24 + 4)?;
    let (partition, code) = (fields.i32()? as u32, fields.i16()?);
    ensure!(code == 0, "a fetch of partition {partition} is refused: error {code}");
    fields.take(24)?; // high watermark, last stable offset, start
    let aborted = fields.count()?;
    incoming.skip(16 * aborted)?;
    incoming.skip(4)?; // preferred replica
    Ok(partition)
}

/// A partition's records, from `place` on.
fn part(
    incoming: &mut Incoming<TcpStream>,
    place: &mut u64,
    check: Check,
    note: &mut impl FnMut(u64),
) -> Result<Fetched> {
    let mut left = incoming.fields(4)?.count()?;
    let mut fetched = Fetched { records: 0, bytes: left as u64 };
    let mut checks = true;
    while left >= Head::BYTES {
        let head = Head::read(incoming.peek(Head::BYTES)?)?;
        ensure!(head.base == *place, "offset {} instead of {place}", head.base);
        if head.bytes > left {
            break;
        }
        if checks {
            note(batch::check(incoming.take(head.bytes)?)?);
            checks = check == Check::All;
        } else {
            incoming.skip(head.bytes)?;
        }
        left -= head.bytes;
        *place += u64::from(head.records);
        fetched.records += u64::from(head.records);
    }
    incoming.skip(left)?; // a batch that was cut
    Ok(fetched)
}
