//! Attacks beside a healthy pair at a steady pace: for `kafka-bad-input` and `nats-bad-input`.
//!
//! The pace is well below what a server can do, so that less than the pace means that somebody was kept waiting, not that cores are busy.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;

use super::{Besieged, Siege};
use crate::random::Random;

/// Attempts that are under way at the same time.
const TOGETHER: u64 = 16;
const TICK: Duration = Duration::from_millis(10);
/// 2 000 messages a second.
const MESSAGES_PER_TICK: u64 = 20;
/// How long something goes on beside a pair that is too slow: a machine may stand still for seconds, an attack that harms goes on harming.
const SLOW: Duration = Duration::from_secs(60);

/// Who is attacked, and how long the pair is looked at.
#[derive(Args)]
pub struct Steady {
    /// Who is attacked.
    #[command(flatten)]
    pub siege: Siege,
    /// How long the pair is measured before the attacks, and at least beside each, milliseconds.
    #[arg(long, default_value_t = 2_000)]
    measure_ms: u64,
}

impl Steady {
    /// Makes all attacks that are wanted beside the pair and judges what was seen. `connects` tries whether the server takes connections.
    ///
    /// # Errors
    /// One attack did not end well, kept the pair from its work, or left something behind; none was wanted.
    pub fn judge(
        &self,
        mut besieged: Besieged<'_>,
        pair: Pair,
        attacks: &[Attack],
        connects: fn(SocketAddr) -> Result<()>,
    ) -> Result<()> {
        let Self { siege, measure_ms } = self;
        let attacks: Vec<_> = attacks.iter().map(|attack| (attack.name, attack)).collect();
        let attacks: Vec<_> = attacks.into_iter().filter(|(name, _)| siege.wants(name)).collect();
        ensure!(!attacks.is_empty(), "no attack is called {:?}", siege.only);
        let (start, address) = (Instant::now(), besieged.address);
        let time = Duration::from_millis(*measure_ms);
        let calm = pair.measure(time, 0.0, || Ok(String::new()))?;
        println!("the pair alone: {calm}");
        let rate_min = calm.rate * siege.rate_kept_min;
        let make = |attack: &&Attack, seed| match pair.measure(time, rate_min, || attack.run(address, seed)) {
            Err(error) => Some(format!("{}: {error:#}", attack.name)),
            Ok(measured) => {
                println!("{}: {}\n  the pair: {measured}", attack.name, measured.outcome);
                siege.slowed(attack.name, measured.rate, calm.rate)
            }
        };
        let faults = besieged.attack(&attacks, make, || connects(address))?;
        pair.stop()?;
        siege.judge(&faults)?;
        let (count, seconds) = (attacks.len(), start.elapsed().as_secs_f64());
        println!(
            "{count} attacks in {seconds:.0} s: all ended well, the server lives, the healthy were served"
        );
        Ok(())
    }
}

/// One way to be a bad client. An attempt is given its number and a random source of its own, and tells how it ended; one that did not end well is an error.
pub struct Attack {
    /// How it is called.
    pub name: &'static str,
    /// How many attempts are made, some at a time.
    pub count: u64,
    /// One of them.
    pub attempt: fn(SocketAddr, u64, Random) -> Result<&'static str>,
}

impl Attack {
    /// Make all attempts, each with a random source of its own; how they ended, counted, or the first that went wrong.
    fn run(&self, address: SocketAddr, seed: u64) -> Result<String> {
        let ends: Mutex<BTreeMap<&'static str, u64>> = Mutex::default();
        let failed: Mutex<Option<anyhow::Error>> = Mutex::default();
        let start = Instant::now();
        thread::scope(|scope| {
            for first in 0..TOGETHER.min(self.count) {
                let (ends, failed) = (&ends, &failed);
                scope.spawn(move || {
                    for number in (first..self.count).step_by(TOGETHER as usize) {
                        let random = Random::new(seed.wrapping_add(number));
                        let end = (self.attempt)(address, number, random)
                            .with_context(|| format!("attempt {number}"));
                        match end {
                            Ok(end) => {
                                *ends.lock().expect("nobody panics with it").entry(end).or_default() += 1
                            }
                            Err(error) => {
                                failed.lock().expect("nobody panics with it").get_or_insert(error);
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = failed.into_inner().expect("nobody panics with it") {
            return Err(error);
        }
        let ends = ends.into_inner().expect("nobody panics with it");
        let ends: Vec<String> = ends.iter().map(|(end, count)| format!("{end} {count}")).collect();
        Ok(format!("{} in {:.1} s", ends.join(", "), start.elapsed().as_secs_f64()))
    }
}

/// How long a server may take for whatever an attack waits for.
const PATIENCE: Duration = Duration::from_secs(120);

/// Connects; reading waits for long, not for ever.
///
/// # Errors
/// Nobody listens.
pub fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// An attempt of any protocol's: a connection that is dropped at once, every second one with a reset.
///
/// # Errors
/// Nobody listens.
pub fn open_and_drop(address: SocketAddr, number: u64, _: Random) -> Result<&'static str> {
    let stream = connect(address)?;
    if number.is_multiple_of(2) {
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    }
    Ok("dropped")
}

/// What a server said until it ended a connection.
pub struct Said {
    /// All that came.
    pub said: Vec<u8>,
    /// It was not broken off by a reset.
    pub is_whole: bool,
}

/// Sends all, says that nothing more comes, and reads to the end; the server must end it too.
///
/// # Errors
/// It does not.
pub fn to_the_end(mut stream: TcpStream, bytes: &[u8]) -> Result<Said> {
    // An error is a server that had heard enough.
    let sent = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => Ok(Said { said, is_whole: true }),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Said { said, is_whole: false }),
        Err(error) => Err(error).with_context(|| format!("the server did not end it ({sent:?})")),
    }
}

/// A publisher and a subscriber who do nothing wrong, on threads of their own.
pub struct Pair {
    shared: Arc<Shared>,
    publisher: JoinHandle<Result<()>>,
    subscriber: JoinHandle<Result<()>>,
}

/// What the two have in common.
pub struct Shared {
    origin: Instant,
    received: AtomicU64,
    stop: AtomicBool,
    /// Nanoseconds; of the slowest message since the last look.
    slowest: AtomicU64,
}

impl Shared {
    /// Publish at the pace, so many bodies at a time, until told to stop.
    ///
    /// # Errors
    /// Those of `publish`.
    pub fn paced(&self, mut publish: impl FnMut(Vec<Vec<u8>>) -> Result<()>) -> Result<()> {
        let (mut due, mut number) = (Instant::now(), 0u64);
        while !self.stopped() {
            let now = self.origin.elapsed().as_nanos() as u64;
            let numbers = number..number + MESSAGES_PER_TICK;
            number = numbers.end;
            publish(numbers.map(|number| [number.to_be_bytes(), now.to_be_bytes()].concat()).collect())?;
            due += TICK;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// A body was read; `next` counts them.
    ///
    /// # Errors
    /// It is another than the next, or somebody else's.
    pub fn came(&self, body: &[u8], next: &mut u64) -> Result<()> {
        let (number, sent) = body.split_first_chunk::<8>().context("a message of somebody else's")?;
        let sent = sent.first_chunk::<8>().context("a message of somebody else's")?;
        let number = u64::from_be_bytes(*number);
        ensure!(number == *next, "message {number} instead of {next}");
        *next += 1;
        let took = (self.origin.elapsed().as_nanos() as u64).saturating_sub(u64::from_be_bytes(*sent));
        self.slowest.fetch_max(took, Relaxed);
        self.received.fetch_add(1, Relaxed);
        Ok(())
    }

    /// Whether the two are done.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }
}

/// What the pair did in a while, and what else happened then.
struct Measured {
    /// Messages received per second.
    rate: f64,
    slowest: Duration,
    outcome: String,
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
    /// Start both: `write` hands bodies of [`Shared::paced`] in, `read` hands what comes to [`Shared::came`].
    ///
    /// # Errors
    /// No threads.
    pub fn start(
        write: impl FnOnce(&Shared) -> Result<()> + Send + 'static,
        read: impl FnOnce(&Shared) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            origin: Instant::now(),
            received: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            slowest: AtomicU64::new(0),
        });
        let (ours, theirs) = (Arc::clone(&shared), Arc::clone(&shared));
        let subscriber = thread::Builder::new().name("subscriber".into()).spawn(move || read(&ours))?;
        let publisher = thread::Builder::new().name("publisher".into()).spawn(move || write(&theirs))?;
        Ok(Self { shared, publisher, subscriber })
    }

    /// What the pair does while something else happens, for at least `least`; as long as it is slower than `rate_min`, that happens again.
    fn measure(
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
    fn stop(self) -> Result<()> {
        self.shared.stop.store(true, Relaxed);
        for thread in [self.publisher, self.subscriber] {
            thread.join().map_err(|_| anyhow!("a thread of the pair panicked"))?.context("the pair")?;
        }
        Ok(())
    }
}
