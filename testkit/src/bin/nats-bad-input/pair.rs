//! A publisher and a subscriber who do nothing wrong, at a steady pace, on threads of their own.
//!
//! The pace is well below what a server can do, so that less than the pace means that somebody was kept waiting, not that cores are busy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use stele_testkit::nats::Connection;

const SUBJECT: &str = "bad-input.pair";
const TICK: Duration = Duration::from_millis(10);
/// How long something goes on beside a pair that is too slow: a machine may stand still for seconds, an attack that harms goes on harming.
const SLOW: Duration = Duration::from_secs(60);
/// 2 000 messages a second.
const MESSAGES_PER_TICK: u64 = 20;

/// The two.
pub(crate) struct Pair {
    shared: Arc<Shared>,
    publisher: JoinHandle<Result<()>>,
    subscriber: JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Shared {
    received: AtomicU64,
    stop: AtomicBool,
    /// Nanoseconds; of the slowest message since the last look.
    slowest: AtomicU64,
}

/// What the pair did in a while, and what else happened then.
pub(crate) struct Measured {
    /// Messages received per second.
    pub(crate) rate: f64,
    slowest: Duration,
    pub(crate) outcome: String,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{:.0} messages/s, the slowest took {:.1} ms",
            self.rate,
            self.slowest.as_secs_f64() * 1e3
        )
    }
}

impl Pair {
    /// Start both.
    pub(crate) fn start(address: SocketAddr) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let origin = Instant::now();
        let mut reader = Connection::open(address)?;
        reader.subscribe(SUBJECT, 1)?;
        reader.fence()?;
        let writer = Connection::open(address)?;
        let (ours, theirs) = (Arc::clone(&shared), Arc::clone(&shared));
        let subscriber =
            thread::Builder::new().name("subscriber".into()).spawn(move || read(reader, &ours, origin))?;
        let publisher =
            thread::Builder::new().name("publisher".into()).spawn(move || write(writer, &theirs, origin))?;
        Ok(Self { shared, publisher, subscriber })
    }

    /// What the pair does while something else happens, for at least `least`; as long as it is slower than `rate_min`, that happens again.
    pub(crate) fn measure(
        &self,
        least: Duration,
        rate_min: f64,
        mut other: impl FnMut() -> Result<String>,
    ) -> Result<Measured> {
        let (start, before) = (Instant::now(), self.shared.received.load(Relaxed));
        let rate = || (self.shared.received.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
        self.shared.slowest.store(0, Relaxed);
        let mut outcome = other()?;
        thread::sleep(least.saturating_sub(start.elapsed())); // a rate over less says little
        while rate() < rate_min && start.elapsed() < SLOW {
            outcome = other()?;
        }
        ensure!(
            !self.publisher.is_finished() && !self.subscriber.is_finished(),
            "the pair was ended: {}",
            self.shared.received.load(Relaxed)
        );
        let slowest = Duration::from_nanos(self.shared.slowest.load(Relaxed));
        Ok(Measured { rate: rate(), slowest, outcome })
    }

    /// Stop both; an error if one of them met with one.
    pub(crate) fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Relaxed);
        for thread in [self.publisher, self.subscriber] {
            thread.join().map_err(|_| anyhow!("a thread of the pair panicked"))?.context("the pair")?;
        }
        Ok(())
    }
}

fn write(mut connection: Connection, shared: &Shared, origin: Instant) -> Result<()> {
    let (mut due, mut number) = (Instant::now(), 0u64);
    while !shared.stop.load(Relaxed) {
        let now = origin.elapsed().as_nanos() as u64;
        for _ in 0..MESSAGES_PER_TICK {
            let body = [number.to_be_bytes(), now.to_be_bytes()].concat();
            connection.publish(SUBJECT, "", &[], &body)?;
            number += 1;
        }
        due += TICK;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    connection.fence()
}

/// Each message once, in order.
fn read(mut connection: Connection, shared: &Shared, origin: Instant) -> Result<()> {
    let mut next = 0;
    while !shared.stop.load(Relaxed) {
        let Some(message) = connection.message_within(Duration::from_millis(200))? else { continue };
        let (number, sent) = message.body.split_first_chunk::<8>().context("a message of somebody else's")?;
        let sent = sent.first_chunk::<8>().context("a message of somebody else's")?;
        let number = u64::from_be_bytes(*number);
        ensure!(number == next, "message {number} instead of {next}");
        next += 1;
        let took = (origin.elapsed().as_nanos() as u64).saturating_sub(u64::from_be_bytes(*sent));
        shared.slowest.fetch_max(took, Relaxed);
        shared.received.fetch_add(1, Relaxed);
    }
    Ok(())
}
