//! Requesters: every connection keeps a window of requests under way, one thread drives them all with non-blocking sockets and `poll`.
//!
//! A publish that a stream acknowledges, a KV put and a direct get are requests too. Latency is from handing a request to the socket's
//! buffer until its answer was read.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::client::Client;
use super::wire::{self, Message, Op};
use crate::latency::Histogram;

/// The load fails when no answer comes for so long although some are due.
const STALL_MAX: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 << 10;
/// A connection is not given more while so much is not written.
const OUT_BYTES_MAX: usize = 64 << 10;

/// Writes a request with a number, to be answered at a reply subject.
pub(crate) type Request<'a> = dyn Fn(&mut Vec<u8>, u64, &[u8]) + 'a;
/// Whether an answer is a good one.
pub(crate) type Check<'a> = dyn Fn(&Message<'_>) -> Result<()> + 'a;

/// What all connections together ask, and until when.
pub(crate) struct Plan<'a> {
    pub address: SocketAddr,
    pub connections: usize,
    /// Requests under way per connection.
    pub window: usize,
    pub warm_up: Duration,
    pub time: Duration,
    /// Stop after so many requests, if that comes first.
    pub count_max: u64,
    pub request: &'a Request<'a>,
    pub check: &'a Check<'a>,
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

/// Runs the load and calls `sample` at both ends of the measured window.
pub(crate) fn run<S>(plan: &Plan<'_>, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    let mut lanes = (0..plan.connections).map(|_| Lane::open(plan.address)).collect::<Result<Vec<_>>>()?;
    let (begin, mut opened, mut outcome) = (Instant::now() + plan.warm_up, None, None);
    let end = begin + plan.time;
    let mut times = Histogram::new();
    let (mut records, mut total, mut sent) = (0, 0, 0);
    let mut last_answer = Instant::now();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let now = Instant::now();
        let over = now >= end || sent >= plan.count_max;
        if opened.is_none() && outcome.is_none() && (now >= begin || over) {
            opened = Some((sample()?, now));
        }
        if now >= end
            && let Some((before, from)) = opened.take()
        {
            outcome = Some((before, sample()?, from.elapsed()));
        }
        for lane in &mut lanes {
            while !over && sent < plan.count_max && lane.has_room(plan.window) {
                lane.under_way.push_back(now);
                (plan.request)(&mut lane.out, sent, &lane.reply);
                sent += 1;
            }
            lane.flush()?;
        }
        if over && lanes.iter().all(|lane| lane.under_way.is_empty()) {
            if let Some((before, from)) = opened.take() {
                outcome = Some((before, sample()?, from.elapsed()));
            }
            break;
        }
        ensure!(last_answer.elapsed() < STALL_MAX, "no answer for {STALL_MAX:?}");
        wait(&lanes)?;
        for lane in &mut lanes {
            let answered = lane.receive(&mut buffer, plan.check, |elapsed_ns| {
                if opened.is_some() {
                    times.add(elapsed_ns);
                    records += 1;
                }
            })?;
            total += answered;
            if answered > 0 {
                last_answer = Instant::now();
            }
        }
    }
    let (before, after, elapsed) = outcome.context("a window that never ended")?;
    Ok(Outcome { before, after, elapsed, records, total, times })
}

/// Until a socket can be read, or written where something is to be written.
fn wait(lanes: &[Lane]) -> Result<()> {
    let mut sockets: Vec<PollFd<'_>> = lanes
        .iter()
        .map(|lane| {
            let writes = lane.out_at < lane.out.len();
            PollFd::new(&lane.stream, if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN })
        })
        .collect();
    match rustix::event::poll(&mut sockets, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error).context("poll"),
    }
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
