//! Producers: every connection keeps a window of requests under way, one thread drives them all with non-blocking sockets and `poll`.
//!
//! A request carries one batch for each of its connection's partitions, as clients send them. What is counted is what was acknowledged, each
//! batch at the offset where it had to land; the latency is from handing a request to the socket's buffer until its answer was read.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags};

use super::batch::{Producer, Template};
use super::client::Client;
use super::wire::{self, Fields, PRODUCE, Put};
use crate::latency::Histogram;
use crate::wait;

/// The load fails when no answer comes for so long although some are due.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Longest sleep of a load that nothing wakes.
const PATIENCE: Duration = Duration::from_millis(5);
const READ_BYTES: usize = 256 << 10;
/// A broker that creates thousands of partitions needs a moment before it takes records for the last of them.
const RETRIES_MAX: u32 = 200;

/// One connection's part.
pub(crate) struct Lane {
    /// Where its batches go, one batch to each in every request.
    pub places: Vec<(String, u32)>,
    /// Requests under way.
    pub window: usize,
    pub idempotent: bool,
    /// Whether no other lane writes to the same partitions, so that offsets can be foretold.
    pub alone: bool,
}

/// What all lanes together do, and until when.
pub(crate) struct Plan<'a> {
    pub address: SocketAddr,
    pub lanes: Vec<Lane>,
    pub template: &'a Template,
    pub warm_up: Duration,
    pub window: Duration,
    /// Time between two requests of a lane; none: as fast as answers come.
    pub pace: Option<Duration>,
    /// Stop after so many records, if that comes first.
    pub records_max: u64,
    /// What a stamp in a value counts from.
    pub origin: Instant,
}

/// What came of it.
pub(crate) struct Outcome<S> {
    pub before: S,
    pub after: S,
    pub elapsed: Duration,
    /// Acknowledged in the measured window.
    pub records: u64,
    /// Acknowledged altogether.
    pub total: u64,
    pub times: Histogram,
}

struct Running {
    lane: Lane,
    client: Client,
    producer: Option<Producer>,
    /// The next record's number, the same in each of its partitions.
    next: u64,
    correlation: i32,
    under_way: VecDeque<(i32, Instant, u64)>,
    out: Vec<u8>,
    out_at: usize,
    input: Vec<u8>,
    due: Instant,
}

/// Runs the load and calls `sample` at both ends of the measured window.
pub(crate) fn run<S>(plan: Plan<'_>, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    let start = Instant::now();
    let connect = |lane: Lane| -> Result<Running> {
        let mut client = Client::connect(plan.address)?;
        let producer = lane.idempotent.then(|| client.producer()).transpose()?;
        client.stream.set_nonblocking(true)?;
        let (out, input, under_way) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(Running {
            lane,
            client,
            producer,
            next: 0,
            correlation: 0,
            under_way,
            out,
            out_at: 0,
            input,
            due: start,
        })
    };
    let mut lanes = plan.lanes.into_iter().map(connect).collect::<Result<Vec<_>>>()?;
    let mut opened = None;
    let mut outcome = None;
    let mut times = Histogram::new();
    let (mut records, mut total, mut sent) = (0, 0, 0);
    let begin = Instant::now() + plan.warm_up;
    let end = begin + plan.window;
    let mut last_answer = Instant::now();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let now = Instant::now();
        let over = now >= end || sent >= plan.records_max;
        if opened.is_none() && outcome.is_none() && (now >= begin || over) {
            opened = Some((sample()?, now));
        }
        if over && let Some((before, from)) = opened.take() {
            outcome = Some((before, sample()?, from.elapsed()));
        }
        for lane in &mut lanes {
            lane.flush()?;
            // One after the other until the window is full: a client does not wait for an answer before that.
            while !over && lane.may_send(now) {
                sent += lane.send(plan.template, plan.pace, plan.origin)?;
                lane.flush()?;
            }
        }
        if over && lanes.iter().all(|lane| lane.under_way.is_empty()) {
            break;
        }
        ensure!(last_answer.elapsed() < STALL_MAX, "no answer for {STALL_MAX:?}");
        wait(&lanes, plan.pace.is_some())?;
        for lane in &mut lanes {
            let acknowledged = lane.receive(&mut buffer, plan.template, |elapsed_ns, count| {
                if opened.is_some() {
                    times.add(elapsed_ns);
                    records += count;
                }
            })?;
            total += acknowledged;
            if acknowledged > 0 {
                last_answer = Instant::now();
            }
        }
    }
    let (before, after, elapsed) = outcome.context("a window that never ended")?;
    Ok(Outcome { before, after, elapsed, records, total, times })
}

/// Until a socket can be read, or written where something is to be written, or a paced lane is due.
fn wait(lanes: &[Running], paced: bool) -> Result<()> {
    let patience = if paced { pause(lanes) } else { PATIENCE };
    let mut sockets: Vec<PollFd<'_>> = lanes
        .iter()
        .map(|lane| {
            let writes = lane.out_at < lane.out.len();
            let wants = if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&lane.client.stream, wants)
        })
        .collect();
    let alone = matches!(lanes, [lane] if lane.lane.window == 1);
    wait::poll(&mut sockets, patience, alone)
}

/// How long a paced load may sleep. The last moment before it is due is waited for awake: a timer's lateness would count as the broker's.
fn pause(lanes: &[Running]) -> Duration {
    const LATENESS: Duration = Duration::from_micros(100);
    let due = lanes.iter().filter(|lane| lane.under_way.len() < lane.lane.window).map(|lane| lane.due).min();
    due.map_or(PATIENCE, |due| {
        due.saturating_duration_since(Instant::now()).saturating_sub(LATENESS).min(PATIENCE)
    })
}

impl Running {
    fn may_send(&self, now: Instant) -> bool {
        self.under_way.len() < self.lane.window && self.out_at == self.out.len() && self.due <= now
    }

    /// Puts one request into the buffer; how many records it carries.
    fn send(&mut self, template: &Template, pace: Option<Duration>, origin: Instant) -> Result<u64> {
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        self.out.clear();
        self.out_at = 0;
        // A paced record is as old as the moment at which it was due: a generator that comes too late must not hide it.
        let handed = if pace.is_some() { self.due } else { Instant::now() };
        let stamp = handed.saturating_duration_since(origin).as_nanos() as u64;
        let Self { lane, producer, next, .. } = self;
        wire::request(&mut self.out, PRODUCE, self.correlation, |out| {
            out.text(None).i16(-1).i32(30_000);
            let topics = lane.places.chunk_by(|a, b| a.0 == b.0);
            out.count(topics.clone().count());
            for places in topics {
                out.text(Some(&places[0].0)).count(places.len());
                for (_, partition) in places {
                    out.i32(*partition as i32).count(template.bytes());
                    template.write(out, *producer, *next, stamp);
                }
            }
        });
        self.under_way.push_back((self.correlation, handed, self.next));
        self.next += u64::from(template.records);
        if let Some(pace) = pace {
            self.due += pace;
        }
        Ok(u64::from(template.records) * self.lane.places.len() as u64)
    }

    fn flush(&mut self) -> Result<()> {
        while self.out_at < self.out.len() {
            match self.client.stream.write(&self.out[self.out_at..]) {
                Ok(0) => bail!("the broker ended the connection"),
                Ok(bytes) => self.out_at += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("write to the broker"),
            }
        }
        Ok(())
    }

    /// Reads what is there; `note` is told the time and the records of every answered request.
    fn receive(
        &mut self,
        buffer: &mut [u8],
        template: &Template,
        mut note: impl FnMut(u64, u64),
    ) -> Result<u64> {
        match self.client.stream.read(buffer) {
            Ok(0) => bail!("the broker ended the connection"),
            Ok(bytes) => self.input.extend(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("read from the broker"),
        }
        let (mut used, mut acknowledged) = (0, 0);
        while let Some((correlation, mut fields, bytes)) = wire::answer(&self.input[used..])? {
            let (expected, handed, first) = self.under_way.pop_front().context("an answer to nothing")?;
            ensure!(correlation == expected, "answer {correlation} instead of {expected}");
            let places = placed(&mut fields, self.lane.alone.then_some(first))?;
            ensure!(places == self.lane.places.len(), "{places} partitions are answered");
            let count = u64::from(template.records) * places as u64;
            note(handed.elapsed().as_nanos() as u64, count);
            acknowledged += count;
            used += bytes;
        }
        self.input.drain(..used);
        Ok(acknowledged)
    }
}

/// How many partitions an answer names, all without an error and, if it is known, at this offset.
fn placed(answer: &mut Fields<'_>, expected: Option<u64>) -> Result<usize> {
    let mut places = 0;
    for _ in 0..answer.count()? {
        let topic = answer.text()?;
        for _ in 0..answer.count()? {
            let (partition, code, offset) = (answer.i32()?, answer.i16()?, answer.i64()?);
            ensure!(code == 0, "{}/{partition}: error {code}", topic.unwrap_or(""));
            if let Some(expected) = expected {
                ensure!(offset as u64 == expected, "a batch is at offset {offset} instead of {expected}");
            }
            answer.i64()?;
            answer.i64()?;
            for _ in 0..answer.count()? {
                answer.i32()?;
                answer.text()?;
            }
            answer.text()?;
            places += 1;
        }
    }
    Ok(places)
}

/// One batch to each of these partitions, until it is taken: a partition that was only just made may not be ready.
pub(crate) fn settle(client: &mut Client, topics: &[String], partitions: u32) -> Result<()> {
    for _ in 0..RETRIES_MAX {
        let mut ready = true;
        for topic in topics {
            ready &= (0..partitions).all(|partition| client.end(topic, partition).is_ok());
        }
        if ready {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("partitions that do not become ready")
}
