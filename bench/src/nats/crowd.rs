//! Very many subscriptions over many connections: who is there, and a few who publish to random subjects among them.
//!
//! A thousand receivers are read by two threads with epoll. Publishers stay a bounded number of messages ahead, as in [`super::flood`].

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::epoll;
use stele_testkit::random::Random;

use super::client::Client;
use super::wire::{self, Op};

const WARM_UP: Duration = Duration::from_millis(500);
const STALL_MAX: Duration = Duration::from_secs(20);
const READERS: usize = 2;
const PUBLISHERS: usize = 2;
/// Messages that may be under way.
const LEAD: u64 = 64 << 10;
const WRITE_BYTES: usize = 64 << 10;

/// Who is there.
pub(crate) struct Plan {
    pub address: SocketAddr,
    pub connections: usize,
    pub subscriptions: usize,
    pub body_bytes: usize,
    pub window: Duration,
}

/// What came of it.
pub(crate) struct Outcome<S> {
    pub before: S,
    pub after: S,
    pub elapsed: Duration,
    pub records: u64,
}

/// Runs the load; `sample` is called at both ends of the window.
pub(crate) fn run<S: Send>(plan: &Plan, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    let per_connection = plan.subscriptions / plan.connections;
    let mut streams = Vec::new();
    for connection in 0..plan.connections {
        let mut client = Client::connect(plan.address)?;
        let mut lines = Vec::new();
        for number in 0..per_connection {
            writeln!(lines, "SUB {} {number}\r", subject(connection * per_connection + number))?;
        }
        client.stream.write_all(&lines)?;
        client.fence()?;
        client.stream.set_nonblocking(true)?;
        streams.push(client.stream);
    }
    let subjects = plan.connections * per_connection;
    let (stop, sent, received) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut readers = Vec::new();
        for part in streams.chunks(plan.connections.div_ceil(READERS)) {
            let (received, over) = (&received, &over);
            readers.push(scope.spawn(move || read(part, received, over)));
        }
        let mut publishers = Vec::new();
        for index in 0..PUBLISHERS {
            let client = Client::connect(plan.address)?;
            let (stop, sent, received, over) = (&stop, &sent, &received, &over);
            let mut random = Random::new(index as u64);
            publishers.push(scope.spawn(move || -> Result<()> {
                let batches: Vec<_> =
                    (0..64).map(|_| batch(&mut random, subjects, plan.body_bytes)).collect();
                publish(client, &batches, stop, over, sent, received)
            }));
        }
        thread::sleep(WARM_UP);
        let (before, start, first) = (sample(), Instant::now(), received.load(Relaxed));
        thread::sleep(plan.window); // time is what is measured
        let (last, elapsed) = (received.load(Relaxed), start.elapsed());
        let after = sample();
        stop.store(true, Relaxed);
        let published: Result<Vec<()>> =
            publishers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let drained = published.and_then(|_| drain(&sent, &received));
        over.store(true, Relaxed);
        let read: Result<Vec<()>> =
            readers.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        read?;
        drained?;
        Ok(Outcome { before: before?, after: after?, elapsed, records: last - first })
    })
}

fn subject(number: usize) -> String {
    format!("crowd.{}.{number}", number % 100)
}

/// About as many messages as fit one write, to subjects picked by chance; how many they are.
fn batch(random: &mut Random, subjects: usize, body_bytes: usize) -> (Vec<u8>, u64) {
    let (mut out, mut count, body) = (Vec::new(), 0, vec![b'x'; body_bytes]);
    while out.len() < WRITE_BYTES {
        wire::publish(&mut out, subject(random.index(subjects)).as_bytes(), b"", &body);
        count += 1;
    }
    (out, count)
}

fn publish(
    mut client: Client,
    batches: &[(Vec<u8>, u64)],
    stop: &AtomicBool,
    over: &AtomicBool,
    sent: &AtomicU64,
    received: &AtomicU64,
) -> Result<()> {
    for (batch, count) in batches.iter().cycle() {
        while sent.load(Relaxed).saturating_sub(received.load(Relaxed)) > LEAD {
            if stop.load(Relaxed) || over.load(Relaxed) {
                break;
            }
            thread::sleep(Duration::from_micros(50));
        }
        if stop.load(Relaxed) || over.load(Relaxed) {
            break;
        }
        sent.fetch_add(*count, Relaxed);
        client.stream.write_all(batch).context("publish")?;
    }
    client.fence()
}

fn drain(sent: &AtomicU64, received: &AtomicU64) -> Result<()> {
    let due = sent.load(Relaxed);
    let (mut seen, mut since) = (received.load(Relaxed), Instant::now());
    while received.load(Relaxed) < due {
        ensure!(since.elapsed() < STALL_MAX, "{} of {due} messages arrived", received.load(Relaxed));
        if received.load(Relaxed) != seen {
            (seen, since) = (received.load(Relaxed), Instant::now());
        }
        thread::sleep(Duration::from_millis(1));
    }
    ensure!(received.load(Relaxed) == due, "{} messages arrived of {due}", received.load(Relaxed));
    Ok(())
}

/// Counts what comes to these connections until all is over.
fn read(streams: &[TcpStream], received: &AtomicU64, over: &AtomicBool) -> Result<()> {
    let result = read_all(streams, received, over);
    if result.is_err() {
        over.store(true, Relaxed);
    }
    result
}

fn read_all(streams: &[TcpStream], received: &AtomicU64, over: &AtomicBool) -> Result<()> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        epoll::add(&poll, stream, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    let mut tails: Vec<Vec<u8>> = vec![Vec::new(); streams.len()];
    let mut buffer = vec![0; 256 << 10];
    let mut events = Vec::with_capacity(streams.len());
    let patience = rustix::event::Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    while !over.load(Relaxed) {
        events.clear();
        match epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&patience)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for messages"),
        }
        for event in &events {
            let index = event.data.u64() as usize;
            let (mut stream, tail) = (&streams[index], &mut tails[index]);
            let bytes = match stream.read(&mut buffer) {
                Ok(0) => bail!("the server cut connection {index}"),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).context("read as a subscriber"),
            };
            // Mostly all of a read is whole; only the rest of a message that is not is copied.
            let (count, left) = if tail.is_empty() {
                count(&buffer[..bytes], &mut stream)?
            } else {
                tail.extend(&buffer[..bytes]);
                count(tail, &mut stream)?
            };
            if tail.is_empty() {
                tail.extend(&buffer[left..bytes]);
            } else {
                tail.drain(..left);
            }
            received.fetch_add(count, Relaxed);
        }
    }
    Ok(())
}

/// How many whole messages there are, and where the rest begins.
fn count(input: &[u8], stream: &mut &TcpStream) -> Result<(u64, usize)> {
    let (mut count, mut start) = (0, 0);
    while let Some((op, used)) = wire::op(&input[start..])? {
        match op {
            Op::Message(_) => count += 1,
            Op::Ping => stream.write_all(b"PONG\r\n")?,
            Op::Error(text) => bail!("a subscriber is told {}", String::from_utf8_lossy(text)),
            Op::Pong | Op::Info(_) | Op::Ok => {}
        }
        start += used;
    }
    Ok((count, start))
}
