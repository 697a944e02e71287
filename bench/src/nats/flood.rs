//! Publishers that write as fast as they may and subscribers that count: a thread each, with blocking sockets.
//!
//! A publisher stays a bounded number of bytes ahead of the slowest subscriber, or servers that cut slow readers would do so. What is
//! counted is what arrived in the window, or without subscribers what the server had taken when it answered the ping after it. At the end
//! everything must have arrived, once.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::client::Client;
use super::wire::{self, Op, Repeats};

const WARM_UP: Duration = Duration::from_millis(500);
/// The load fails when nothing arrives for so long although messages are due.
const STALL_MAX: Duration = Duration::from_secs(20);
/// How soon a publisher that is too far ahead looks again.
const PAUSE: Duration = Duration::from_micros(50);
const READ_BYTES: usize = 256 << 10;
/// What a publisher writes at once, unless it writes message by message.
const WRITE_BYTES: usize = 64 << 10;
/// How far a publisher may be ahead of the slowest subscriber.
const LEAD_BYTES: u64 = 8 << 20;

/// Who sends what to whom.
pub(crate) struct Plan {
    pub address: SocketAddr,
    /// Each publisher's subject.
    pub publishers: Vec<String>,
    /// Each subscriber's subject.
    pub subscribers: Vec<String>,
    pub body_bytes: usize,
    /// One message per write, as a naive client does.
    pub unbatched: bool,
    pub window: Duration,
}

/// What came of it.
pub(crate) struct Outcome<S> {
    pub before: S,
    pub after: S,
    pub elapsed: Duration,
    /// Arrived in the window, at all subscribers together; without subscribers taken by the server.
    pub records: u64,
}

/// Counters of all threads.
struct Control {
    stop: AtomicBool,
    failed: AtomicBool,
    /// By publisher.
    sent: Vec<AtomicU64>,
    /// By subscriber.
    received: Vec<AtomicU64>,
    /// By subscriber, how many publishers it hears.
    sources: Vec<Vec<usize>>,
}

impl Control {
    fn new(plan: &Plan) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        let hears = |subject: &String| {
            (0..plan.publishers.len()).filter(|index| plan.publishers[*index] == *subject).collect()
        };
        Self {
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            sent: zeros(plan.publishers.len()),
            received: zeros(plan.subscribers.len()),
            sources: plan.subscribers.iter().map(hears).collect(),
        }
    }

    /// What a subscriber must have got when nothing is under way.
    fn due(&self, subscriber: usize) -> u64 {
        self.sources[subscriber].iter().map(|publisher| self.sent[*publisher].load(Relaxed)).sum()
    }

    /// The most that a subscriber of this publisher still lacks.
    fn lead(&self, publisher: usize) -> u64 {
        let behind =
            |subscriber: usize| self.due(subscriber).saturating_sub(self.received[subscriber].load(Relaxed));
        let hear =
            (0..self.received.len()).filter(|subscriber| self.sources[*subscriber].contains(&publisher));
        hear.map(behind).max().unwrap_or(0)
    }

    fn arrived(&self) -> u64 {
        let counters = if self.received.is_empty() { &self.sent } else { &self.received };
        counters.iter().map(|counter| counter.load(Relaxed)).sum()
    }
}

/// Runs the load; `sample` is called at both ends of the window.
pub(crate) fn run<S: Send>(plan: &Plan, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    let control = Control::new(plan);
    thread::scope(|scope| {
        let mut subscribers = Vec::new();
        for (index, subject) in plan.subscribers.iter().enumerate() {
            let mut client = Client::connect(plan.address)?;
            client.subscribe(subject, 1)?;
            client.fence()?;
            client.stream.set_read_timeout(Some(Duration::from_millis(100)))?;
            let control = &control;
            subscribers.push(scope.spawn(move || guard(control, || receive(&client, control, index))));
        }
        let mut publishers = Vec::new();
        for index in 0..plan.publishers.len() {
            let client = Client::connect(plan.address)?;
            let control = &control;
            publishers.push(scope.spawn(move || guard(control, || publish(client, plan, control, index))));
        }
        let measured = measure(&control, plan.window, sample);
        control.stop.store(true, Relaxed);
        for thread in publishers {
            thread.join().expect("a publisher does not panic")?;
        }
        // What the last ping of a publisher waited for belongs to the time of a load without subscribers.
        let drained = drain(&control);
        control.failed.store(true, Relaxed);
        for thread in subscribers {
            thread.join().expect("a subscriber does not panic")?;
        }
        drained.and(measured)
    })
}

/// An error of one thread ends all.
fn guard(control: &Control, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let result = work();
    if result.is_err() {
        control.failed.store(true, Relaxed);
        control.stop.store(true, Relaxed);
    }
    result
}

fn measure<S>(control: &Control, window: Duration, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    pause(control, WARM_UP);
    let (before, start, first) = (sample()?, Instant::now(), control.arrived());
    pause(control, window);
    let (last, elapsed) = (control.arrived(), start.elapsed());
    Ok(Outcome { before, after: sample()?, elapsed, records: last - first })
}

/// The window itself: time is what is measured.
fn pause(control: &Control, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end && !control.stop.load(Relaxed) {
        thread::sleep(Duration::from_millis(5).min(end.saturating_duration_since(Instant::now())));
    }
}

/// Until everything has arrived.
fn drain(control: &Control) -> Result<()> {
    let (mut seen, mut since) = (control.arrived(), Instant::now());
    loop {
        let lacks = (0..control.received.len())
            .find(|index| control.received[*index].load(Relaxed) != control.due(*index));
        let Some(index) = lacks else { return Ok(()) };
        if control.failed.load(Relaxed) {
            return Ok(()); // the thread that failed says why
        }
        let (received, due) = (control.received[index].load(Relaxed), control.due(index));
        ensure!(received <= due, "subscriber {index} got {received} of {due}");
        ensure!(since.elapsed() < STALL_MAX, "subscriber {index} got {received} of {due}");
        if control.arrived() != seen {
            (seen, since) = (control.arrived(), Instant::now());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn publish(mut client: Client, plan: &Plan, control: &Control, index: usize) -> Result<()> {
    let mut message = Vec::new();
    wire::publish(&mut message, plan.publishers[index].as_bytes(), b"", &vec![b'x'; plan.body_bytes]);
    let per_write = if plan.unbatched { 1 } else { WRITE_BYTES.div_ceil(message.len()) };
    let batch = message.repeat(per_write);
    let lead_max = (LEAD_BYTES / message.len() as u64).max(2 * per_write as u64);
    let mut taken = Taken { every: LEAD_BYTES / message.len() as u64, pinged: 0, under_way: VecDeque::new() };
    let mut sent = 0;
    while !control.stop.load(Relaxed) {
        if control.lead(index) > lead_max {
            thread::sleep(PAUSE);
            continue;
        }
        client.stream.write_all(&batch).context("publish")?;
        sent += per_write as u64;
        if !control.received.is_empty() {
            control.sent[index].store(sent, Relaxed);
        } else if let Some(taken) = taken.up_to(&mut client, sent)? {
            control.sent[index].store(taken, Relaxed);
        }
    }
    client.finish(taken.under_way.len())?;
    control.sent[index].store(sent, Relaxed);
    Ok(())
}

/// Where nobody receives: pings now and then, so that what is counted is what the server has come to.
struct Taken {
    every: u64,
    pinged: u64,
    /// How much was sent before each ping that is not answered.
    under_way: VecDeque<u64>,
}

impl Taken {
    /// How much the server is known to have taken, if that is news.
    fn up_to(&mut self, client: &mut Client, sent: u64) -> Result<Option<u64>> {
        if sent - self.pinged < self.every {
            return Ok(None);
        }
        client.stream.write_all(b"PING\r\n")?;
        self.pinged = sent;
        self.under_way.push_back(sent);
        if self.under_way.len() < 3 {
            return Ok(None);
        }
        client.pong()?;
        Ok(self.under_way.pop_front())
    }
}

fn receive(client: &Client, control: &Control, index: usize) -> Result<()> {
    let mut stream = &client.stream;
    let (mut buffer, mut end) = (vec![0; READ_BYTES], 0);
    let (mut repeats, mut count) = (Repeats::default(), 0);
    loop {
        match stream.read(&mut buffer[end..]) {
            Ok(0) => bail!("the server cut subscriber {index}"),
            Ok(bytes) => end += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if control.failed.load(Relaxed) {
                    return Ok(()); // over
                }
                continue;
            }
            Err(error) => return Err(error).context("read as a subscriber"),
        }
        let mut start = 0;
        loop {
            let (skipped, bytes) = repeats.skip(&buffer[start..end]);
            count += skipped;
            start += bytes;
            let Some((op, used)) = wire::op(&buffer[start..end])? else { break };
            match op {
                Op::Message(_) => {
                    repeats.note(&buffer[start..end], used);
                    count += 1;
                }
                Op::Ping => stream.write_all(b"PONG\r\n")?,
                Op::Error(text) => bail!("subscriber {index}: {}", String::from_utf8_lossy(text)),
                Op::Pong | Op::Info(_) | Op::Ok => {}
            }
            start += used;
        }
        buffer.copy_within(start..end, 0);
        end -= start;
        control.received[index].store(count, Relaxed);
    }
}
