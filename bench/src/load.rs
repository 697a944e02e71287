//! The measured part of a scenario: publishers and consumers on a few threads, counted by one shared [`Control`].
//!
//! Scenarios describe a [`Plan`]; [`run`] connects, lets the brokers warm up, reads all counters at both ends of the measured
//! window, stops the publishers, waits until everything was received and checks that it was received once. One thread drives all
//! publishers, one or two drive all consumers; sockets are non-blocking and waited for with `poll`. Not here: declaring and
//! deleting ([`crate::scenario`]), reading the broker's counters (the caller's `sample`).

mod consume;
mod publish;

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags};

use crate::client::{Connection, Url};
use crate::latency::Histogram;
use crate::wait;
pub(crate) use consume::{Consuming, Sequence};
pub(crate) use publish::Publishing;

/// Time under load before the measured window begins.
const WARM_UP: Duration = Duration::from_millis(700);
/// The load fails when nothing arrives for so long although messages are due.
const STALL_MAX: Duration = Duration::from_secs(20);
/// How soon a publisher looks again whether the backlog has room.
const PUBLISHER_PATIENCE: Duration = Duration::from_micros(200);
/// How long a consumer waits before it acknowledges an unfinished run.
const CONSUMER_PATIENCE: Duration = Duration::from_millis(5);
/// Consumers on one thread at most, before a second one is started: one thread cannot receive for ten.
const CONSUMERS_PER_THREAD: usize = 5;

/// A number by which one publisher's bodies are told from all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seal(pub u64);

impl Seal {
    /// Smallest body: the number and its check.
    const BODY_BYTES_MIN: usize = 16;

    /// Writes `number` to the front of a body and its check to the end.
    fn write(self, number: u64, body: &mut [u8]) {
        assert!(body.len() >= Self::BODY_BYTES_MIN, "a body holds a number and its check");
        let end = body.len() - 8;
        body[..8].copy_from_slice(&number.to_be_bytes());
        body[end..].copy_from_slice(&(number ^ self.0).to_be_bytes());
    }

    fn read(self, body: &[u8]) -> Result<u64> {
        let (Some(number), Some(check)) = (body.first_chunk::<8>(), body.last_chunk::<8>()) else {
            bail!("a body of {} bytes", body.len());
        };
        let number = u64::from_be_bytes(*number);
        ensure!(u64::from_be_bytes(*check) == number ^ self.0, "a mangled or foreign body");
        Ok(number)
    }
}

/// When consumers work, and so what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Publishers and consumers together, for a time: rate of records that came out.
    Together,
    /// Publishers alone, for a time: rate of confirmed records. Consumers drain and check afterwards.
    PublishThenDrain,
    /// Publishers first, each to its `count_max`; then consumers, from first to last: rate of draining.
    DrainBacklog,
}

/// One load: who publishes what, who reads which queue.
pub(crate) struct Plan<'a> {
    pub url: &'a Url,
    pub publishers: Vec<Publishing<'a>>,
    pub consumers: Vec<(&'a str, Sequence)>,
    pub consuming: Consuming,
    /// Queues that each message reaches.
    pub copies: u64,
    /// Publishers pause when so many records were published and not received. Keeps the load at what the broker sustains.
    pub backlog_max: u64,
    pub order: Order,
    pub seconds: f64,
}

/// What one load gave; `before` and `after` come from the caller's sampler.
pub(crate) struct Outcome<S> {
    pub elapsed: Duration,
    /// Records in the window, as the plan's order defines.
    pub records: u64,
    pub confirm_times: Histogram,
    pub before: S,
    pub after: S,
}

/// Counters and flags that all threads of one load share.
#[derive(Default)]
struct Control {
    copies: u64,
    backlog_max: u64,
    published: AtomicU64,
    confirmed: AtomicU64,
    received: AtomicU64,
    measuring: AtomicBool,
    stop_publishers: AtomicBool,
    stop_consumers: AtomicBool,
    failed: AtomicBool,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Control {
    fn publishers_stop(&self) -> bool {
        self.stop_publishers.load(Relaxed)
    }

    fn consumers_stop(&self) -> bool {
        self.stop_consumers.load(Relaxed)
    }

    fn is_measuring(&self) -> bool {
        self.measuring.load(Relaxed)
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    fn count_published(&self, count: u64) {
        self.published.fetch_add(count, Relaxed);
    }

    fn count_confirmed(&self, count: u64) {
        self.confirmed.fetch_add(count, Relaxed);
    }

    fn count_received(&self, count: u64) {
        self.received.fetch_add(count, Relaxed);
    }

    fn backlog_room(&self) -> u64 {
        // What was received is read first: a backlog may look larger than it is, never smaller.
        let received = self.received.load(Relaxed) / self.copies;
        let backlog = self.published.load(Relaxed).saturating_sub(received);
        self.backlog_max.saturating_sub(backlog)
    }

    /// Records counted so far, by what `order` measures.
    fn records(&self, order: Order) -> u64 {
        match order {
            Order::PublishThenDrain => self.confirmed.load(Relaxed),
            Order::Together | Order::DrainBacklog => self.received.load(Relaxed) / self.copies,
        }
    }

    /// Keeps the first failure and lets every thread stop.
    fn note<T>(&self, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| {
                self.failure.lock().expect("nobody panics with the lock").get_or_insert(error);
                self.failed.store(true, Relaxed);
            })
            .ok()
    }
}

/// Puts the load on the broker. `sample` is called at both ends of the measured window. An error means that the line is invalid:
/// a message was lost, doubled, refused or mangled, or the broker closed a connection.
pub(crate) fn run<S>(plan: &Plan<'_>, sample: impl Fn() -> Result<S>) -> Result<Outcome<S>> {
    let control = Control { copies: plan.copies, backlog_max: plan.backlog_max, ..Control::default() };
    let outcome = thread::scope(|scope| {
        let outcome = stages(plan, &control, scope, &sample);
        // Whatever went wrong, no thread may be left waiting when the scope ends.
        control.note(outcome)
    });
    match control.failure.into_inner().expect("nobody panics with the lock") {
        Some(failure) => Err(failure),
        None => Ok(outcome.expect("a load without failure has an outcome")),
    }
}

fn stages<'scope, S>(
    plan: &'scope Plan<'_>,
    control: &'scope Control,
    scope: &'scope Scope<'scope, '_>,
    sample: &impl Fn() -> Result<S>,
) -> Result<Outcome<S>> {
    let (window, confirm_times) = match plan.order {
        Order::Together => {
            start_consumers(plan, control, scope)?;
            let publishers = start_publishers(plan, control, scope)?;
            let window = measure(plan, control, sample, || pause(control, plan.seconds))?;
            let times = stop_publishers(control, publishers)?;
            drain(control)?;
            (window, times)
        }
        Order::PublishThenDrain => {
            let publishers = start_publishers(plan, control, scope)?;
            let window = measure(plan, control, sample, || pause(control, plan.seconds))?;
            let times = stop_publishers(control, publishers)?;
            start_consumers(plan, control, scope)?;
            drain(control)?;
            (window, times)
        }
        Order::DrainBacklog => {
            let times = join(control, start_publishers(plan, control, scope)?)?;
            let window = measure(plan, control, sample, || {
                start_consumers(plan, control, scope)?;
                drain(control)
            })?;
            (window, times)
        }
    };
    control.stop_consumers.store(true, Relaxed);
    let (elapsed, records, before, after) = window;
    Ok(Outcome { elapsed, records, confirm_times, before, after })
}

type Publishers<'scope> = ScopedJoinHandle<'scope, Option<Histogram>>;

fn start_publishers<'scope>(
    plan: &Plan<'_>,
    control: &'scope Control,
    scope: &'scope Scope<'scope, '_>,
) -> Result<Publishers<'scope>> {
    let publishers = plan.publishers.iter();
    let publishers = publishers.map(|what| publish::Publisher::new(Connection::open(plan.url)?, what));
    let publishers = publishers.collect::<Result<Vec<_>>>()?;
    let publish = move || control.note(publish::run(publishers, control));
    Ok(thread::Builder::new().name("publish".into()).spawn_scoped(scope, publish)?)
}

fn start_consumers<'scope>(
    plan: &Plan<'_>,
    control: &'scope Control,
    scope: &'scope Scope<'scope, '_>,
) -> Result<()> {
    let threads = plan.consumers.len().div_ceil(CONSUMERS_PER_THREAD).clamp(1, 2);
    for share in plan.consumers.chunks(plan.consumers.len().div_ceil(threads)) {
        let consumers = share.iter();
        let consumers = consumers.map(|&(queue, sequence)| {
            consume::Consumer::new(Connection::open(plan.url)?, queue, plan.consuming, sequence)
        });
        let consumers = consumers.collect::<Result<Vec<_>>>()?;
        let consume = move || control.note(consume::run(consumers, control));
        thread::Builder::new().name("consume".into()).spawn_scoped(scope, consume)?;
    }
    Ok(())
}

/// Samples, lets `work` happen, samples again: (time, records, before, after).
fn measure<S>(
    plan: &Plan<'_>,
    control: &Control,
    sample: &impl Fn() -> Result<S>,
    work: impl FnOnce() -> Result<()>,
) -> Result<(Duration, u64, S, S)> {
    if plan.order != Order::DrainBacklog {
        pause(control, WARM_UP.as_secs_f64())?;
    }
    let before = sample()?;
    control.measuring.store(true, Relaxed);
    let (start, first) = (Instant::now(), control.records(plan.order));
    work()?;
    let (elapsed, last) = (start.elapsed(), control.records(plan.order));
    control.measuring.store(false, Relaxed);
    Ok((elapsed, last - first, before, sample()?))
}

fn pause(control: &Control, seconds: f64) -> Result<()> {
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end && !control.has_failed() {
        thread::sleep(end.saturating_duration_since(Instant::now()).min(Duration::from_millis(100)));
    }
    ensure!(!control.has_failed(), "the load broke off");
    Ok(())
}

fn stop_publishers(control: &Control, publishers: Publishers<'_>) -> Result<Histogram> {
    control.stop_publishers.store(true, Relaxed);
    join(control, publishers)
}

fn join(control: &Control, publishers: Publishers<'_>) -> Result<Histogram> {
    wait(control, || publishers.is_finished(), "messages are not confirmed")?;
    publishers.join().expect("publishers do not panic").context("the load broke off")
}

/// Waits until every copy of every message was received.
fn drain(control: &Control) -> Result<()> {
    let due = control.published.load(Relaxed) * control.copies;
    wait(control, || control.received.load(Relaxed) == due, "messages are missing")
}

/// Waits until `done`; fails with `complaint` when nothing moves any more.
fn wait(control: &Control, done: impl Fn() -> bool, complaint: &str) -> Result<()> {
    let counts =
        || [&control.published, &control.confirmed, &control.received].map(|count| count.load(Relaxed));
    let mut last = (counts(), Instant::now());
    while !done() {
        ensure!(!control.has_failed(), "the load broke off");
        let now = counts();
        if now != last.0 {
            last = (now, Instant::now());
        }
        let [published, confirmed, received] = now;
        let stalled = last.1.elapsed() > STALL_MAX;
        ensure!(!stalled, "{complaint}: {published} published, {confirmed} confirmed, {received} received");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Waits until a socket is ready for what it wants, or `patience` is over. One answer per socket, in order.
fn poll<'a>(
    wants: impl IntoIterator<Item = (&'a TcpStream, PollFlags)>,
    patience: Duration,
    awake: bool,
) -> Result<Vec<PollFlags>> {
    let mut sockets: Vec<_> = wants.into_iter().map(|(stream, flags)| PollFd::new(stream, flags)).collect();
    wait::poll(&mut sockets, patience, awake)?;
    Ok(sockets.iter().map(PollFd::revents).collect())
}

/// Writes what the kernel takes now; 0 when its buffer is full.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    match stream.write(bytes) {
        Ok(count) => Ok(count),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        Err(e) => Err(e).context("write to broker"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::{self, Fault};

    /// Loads a mirror for a moment through one queue.
    fn load(fault: Fault, window: Option<u64>, ack_run: Option<u32>) -> Result<Outcome<()>> {
        let url = mirror::start(fault)?;
        let names = ["queue".to_owned()];
        Connection::open(&url)?.declare_queues(&names, None)?;
        let (seal, body_bytes) = (Seal(17), 64);
        let publishing = Publishing {
            exchange: "",
            routing_keys: &names,
            body_bytes,
            persistent: true,
            window,
            count_max: None,
            seal,
        };
        let plan = Plan {
            url: &url,
            publishers: vec![publishing],
            consumers: vec![("queue", Sequence { next: 0, step: 1, body_bytes, seal })],
            consuming: Consuming { prefetch: 100, ack_run },
            copies: 1,
            backlog_max: 10_000,
            order: Order::Together,
            seconds: 0.05,
        };
        run(&plan, || Ok(()))
    }

    fn complaint(fault: Fault) -> String {
        format!("{:#}", load(fault, Some(100), Some(10)).err().expect("the fault is noticed"))
    }

    #[test]
    fn a_faultless_broker_passes_with_and_without_confirms() {
        let confirmed = load(Fault::None, Some(100), Some(10)).unwrap();
        assert!(confirmed.records > 0 && confirmed.confirm_times.percentile_us(0.5).is_some());
        let transient = load(Fault::None, None, None).unwrap();
        assert!(transient.records > 0 && transient.confirm_times.percentile_us(0.5).is_none());
    }

    #[test]
    fn every_fault_of_a_broker_is_noticed() {
        assert!(complaint(Fault::Lose).contains("message 1000 instead of 999"));
        assert!(complaint(Fault::Double).contains("message 999 instead of 1000"));
        assert!(complaint(Fault::Mangle).contains("mangled"));
        assert!(complaint(Fault::Refuse).contains("refused"));
        assert!(complaint(Fault::HangUp).contains("closed the connection"));
    }
}
