//! Requesters: every connection keeps a window of requests under way; a thread or two drive them with non-blocking sockets and `poll`.
//!
//! A publish that a stream acknowledges, a KV put and a direct get are requests too. Latency is from handing a request to the socket's
//! buffer until its answer was read.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags};

use super::client::Client;
use super::wire::{self, Message, Op};
use crate::latency::Histogram;
use crate::wait;

/// The load fails when no answer comes for so long although some are due.
const STALL_MAX: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 << 10;
/// A connection is not given more while so much is not written.
const OUT_BYTES_MAX: usize = 64 << 10;
/// Connections for which one thread is enough.
const CREW: usize = 16;
/// Threads at most: the server needs cores, too.
const CREWS_MAX: usize = 2;
/// Longest sleep of a thread that nothing wakes.
const PATIENCE: Duration = Duration::from_millis(20);
/// How soon it is noticed that all threads have ended.
const TICK: Duration = Duration::from_millis(2);

/// Writes a request with a number, to be answered at a reply subject.
pub(crate) type Request<'a> = dyn Fn(&mut Vec<u8>, u64, &[u8]) + Sync + 'a;
/// Whether an answer is a good one.
pub(crate) type Check<'a> = dyn Fn(&Message<'_>) -> Result<()> + Sync + 'a;

/// What all connections together ask, and until when.
pub(crate) struct Plan<'a> {
    pub address: SocketAddr,
    pub connections: usize,
    /// Requests under way per connection.
    pub window: usize,
    /// Threads do not sleep while they wait: for a single client with one request under way, if nobody else of the generator is to have a core.
    pub awake: bool,
    pub warm_up: Duration,
    pub time: Duration,
    /// Stop after so many requests, if that comes first.
    pub count_max: u64,
    pub request: &'a Request<'a>,
    pub check: &'a Check<'a>,
}

impl<'a> Plan<'a> {
    /// One request under way for each connection, as many as there is time for.
    pub(crate) fn one_by_one(
        address: SocketAddr,
        connections: usize,
        (warm_up, time): (Duration, Duration),
        request: &'a Request<'a>,
        check: &'a Check<'a>,
    ) -> Self {
        let (window, awake, count_max) = (1, false, u64::MAX);
        Self { address, connections, window, awake, warm_up, time, count_max, request, check }
    }
}

/// What came of it.
pub(crate) struct Outcome<S> {
    pub before: S,
    pub after: S,
    pub elapsed: Duration,
    /// Answered in the window.
    pub records: u64,
    /// Answered altogether.
    pub total: u64,
    pub times: Histogram,
}

struct Lane {
    stream: TcpStream,
    reply: Vec<u8>,
    under_way: VecDeque<Instant>,
    out: Vec<u8>,
    out_at: usize,
    input: Vec<u8>,
}

/// What the threads have in common.
#[derive(Default)]
struct Control {
    /// Number of the next request.
    next: AtomicU64,
    /// Answers count.
    measures: AtomicBool,
    /// No more requests.
    over: AtomicBool,
    /// Threads that have ended, well or not.
    ended: AtomicUsize,
}

/// What one thread has counted.
struct Tally {
    records: u64,
    total: u64,
    times: Histogram,
}

/// Runs the load and calls `sample` at both ends of the measured window.
pub(crate) fn run<S>(plan: &Plan<'_>, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    let crews = plan.connections.div_ceil(CREW).min(CREWS_MAX);
    let control = Control::default();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for crew in 0..crews {
            let lanes = (crew..plan.connections).step_by(crews).map(|_| Lane::open(plan.address));
            let lanes =
                lanes.collect::<Result<Vec<_>>>().inspect_err(|_| control.over.store(true, Relaxed))?;
            let control = &control;
            threads.push(scope.spawn(move || {
                let tally = drive(plan, lanes, control);
                control.ended.fetch_add(1, Relaxed);
                tally
            }));
        }
        let window = measure(plan, &control, crews, sample);
        control.over.store(true, Relaxed);
        let mut sum = Tally { records: 0, total: 0, times: Histogram::new() };
        for thread in threads {
            let tally = thread.join().expect("a requester does not panic")?;
            sum.records += tally.records;
            sum.total += tally.total;
            sum.times.merge(&tally.times);
        }
        let (before, after, elapsed) = window?;
        Ok(Outcome { before, after, elapsed, records: sum.records, total: sum.total, times: sum.times })
    })
}

/// The window, and the samples at its ends. It ends early when all threads have.
fn measure<S>(
    plan: &Plan<'_>,
    control: &Control,
    crews: usize,
    sample: impl Fn() -> Result<S>,
) -> Result<(S, S, Duration)> {
    let wait = |time: Duration| {
        let end = Instant::now() + time;
        while Instant::now() < end && control.ended.load(Relaxed) < crews {
            thread::sleep(TICK.min(end.saturating_duration_since(Instant::now())));
        }
    };
    wait(plan.warm_up);
    let (before, begin) = (sample()?, Instant::now());
    control.measures.store(true, Relaxed);
    wait(plan.time);
    control.measures.store(false, Relaxed);
    let elapsed = begin.elapsed();
    Ok((before, sample()?, elapsed))
}

/// Drives some of the connections until it is over and all is answered.
fn drive(plan: &Plan<'_>, mut lanes: Vec<Lane>, control: &Control) -> Result<Tally> {
    let mut tally = Tally { records: 0, total: 0, times: Histogram::new() };
    let mut last_answer = Instant::now();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let now = Instant::now();
        for lane in &mut lanes {
            while lane.has_room(plan.window) && !control.over.load(Relaxed) {
                let number = control.next.fetch_add(1, Relaxed);
                if number >= plan.count_max {
                    control.over.store(true, Relaxed);
                    break;
                }
                lane.under_way.push_back(now);
                (plan.request)(&mut lane.out, number, &lane.reply);
            }
            lane.flush()?;
        }
        if control.over.load(Relaxed) && lanes.iter().all(|lane| lane.under_way.is_empty()) {
            return Ok(tally);
        }
        ensure!(last_answer.elapsed() < STALL_MAX, "no answer for {STALL_MAX:?}");
        for n in ready(&lanes, plan.awake)? {
            let measures = control.measures.load(Relaxed);
            let answered = lanes[n].receive(&mut buffer, plan.check, |elapsed_ns| {
                if measures {
                    tally.times.add(elapsed_ns);
                    tally.records += 1;
                }
            })?;
            tally.total += answered;
            if answered > 0 {
                last_answer = Instant::now();
            }
        }
    }
}

/// Waits until a socket can be read, or written where something is to be written; those that can be read.
fn ready(lanes: &[Lane], awake: bool) -> Result<Vec<usize>> {
    let mut sockets: Vec<PollFd<'_>> = lanes
        .iter()
        .map(|lane| {
            let writes = lane.out_at < lane.out.len();
            PollFd::new(&lane.stream, if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN })
        })
        .collect();
    wait::poll(&mut sockets, PATIENCE, awake)?;
    // Whatever else is told of a socket, its read tells more of.
    let is_ready = |socket: &PollFd<'_>| socket.revents().intersects(!PollFlags::OUT);
    Ok(sockets.iter().enumerate().filter(|(_, socket)| is_ready(socket)).map(|(n, _)| n).collect())
}

impl Lane {
    fn open(address: SocketAddr) -> Result<Self> {
        let mut client = Client::connect(address)?;
        let inbox = format!("_INBOX.lane.{}", client.stream.local_addr()?.port());
        client.subscribe(&inbox, 1)?;
        client.fence()?;
        client.stream.set_nonblocking(true)?;
        let (out, input, under_way) = (Vec::new(), Vec::new(), VecDeque::new());
        Ok(Self { stream: client.stream, reply: inbox.into_bytes(), under_way, out, out_at: 0, input })
    }

    fn has_room(&self, window: usize) -> bool {
        self.under_way.len() < window && self.out.len() - self.out_at < OUT_BYTES_MAX
    }

    fn flush(&mut self) -> Result<()> {
        while self.out_at < self.out.len() {
            match self.stream.write(&self.out[self.out_at..]) {
                Ok(0) => bail!("the server ended the connection"),
                Ok(bytes) => self.out_at += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("write to the server"),
            }
        }
        self.out.drain(..self.out_at);
        self.out_at = 0;
        Ok(())
    }

    /// Reads what is there; `note` is told the time of every answered request.
    fn receive(&mut self, buffer: &mut [u8], check: &Check<'_>, mut note: impl FnMut(u64)) -> Result<u64> {
        match self.stream.read(buffer) {
            Ok(0) => bail!("the server ended the connection"),
            Ok(bytes) => self.input.extend(&buffer[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("read from the server"),
        }
        let (mut used, mut answered) = (0, 0);
        while let Some((op, bytes)) = wire::op(&self.input[used..])? {
            match op {
                Op::Message(message) => {
                    check(&message)?;
                    let asked = self.under_way.pop_front().context("an answer to nothing")?;
                    note(asked.elapsed().as_nanos() as u64);
                    answered += 1;
                }
                Op::Ping => self.out.extend(b"PONG\r\n"),
                Op::Error(text) => bail!("the server says {}", String::from_utf8_lossy(text)),
                Op::Pong | Op::Info(_) | Op::Ok => {}
            }
            used += bytes;
        }
        self.input.drain(..used);
        Ok(answered)
    }
}
