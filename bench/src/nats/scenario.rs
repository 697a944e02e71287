//! What is compared, with its aims. Streams have fresh names and are deleted afterwards.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use stele_testkit::random::Random;

use super::client::Client;
use super::flood::{self, Plan};
use super::stream::{self, Stream, acknowledged};
use super::wire::{self, Message, Op};
use super::{Target, ask, consume, crowd, mirror};
use crate::report::{Aim, Bound, Column, Figures};
use crate::scenario::{at_least, at_most, value};
use crate::server::Sample;

const WARM_UP: Duration = Duration::from_millis(500);
/// Time for a server to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(3);
const SMALL_BYTES: usize = 128;
/// How long a dead subscriber may stay after the load, before the round is invalid.
const CUT_MAX: Duration = Duration::from_secs(30);
/// Longer than nats-server keeps the blocks that it has read, which is 10 s.
const FORGET: Duration = Duration::from_secs(15);
/// Messages that fill whatever a server keeps of the last that was written, before its memory is read: 400 MB, few enough that they cost nothing
/// else.
const OTHERS: u64 = 24_000;
const OTHER_BYTES: usize = 16 << 10;
/// Subjects in the stream of which a filtered consumer reads one.
const SUBJECTS: u64 = 10_000;

/// Sizes that the command line may change.
pub(crate) struct Settings {
    pub seconds: f64,
    pub backlog: u64,
    pub filtered: u64,
    pub keys: u64,
    pub connections: u32,
    /// A directory on the disk that the servers write to.
    pub scratch: PathBuf,
    /// Files in it, made when first wanted.
    pub disks: OnceLock<mirror::Disks>,
}

impl Settings {
    pub(crate) const BACKLOG: u64 = 1_000_000;
    pub(crate) const FILTERED: u64 = 10_000_000;
    pub(crate) const KEYS: u64 = 1_000_000;
    pub(crate) const CONNECTIONS: u32 = 4_000;

    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn disks(&self) -> Result<mirror::Disks> {
        if let Some(disks) = self.disks.get() {
            return Ok(disks.clone());
        }
        let disks = mirror::open_disks(&self.scratch)?;
        Ok(self.disks.get_or_init(|| disks).clone())
    }
}

/// Which of the peer's configurations is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// As it comes: an acknowledged message is on disk within two minutes.
    Default,
    /// `sync_interval: always`.
    Synced,
}

/// One scenario.
pub(crate) struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub main: Column,
    pub aims: &'static [Aim],
    pub(super) peer: Peer,
    /// Whether one round is enough: filling takes long, or later ones would find what the first left behind.
    pub once: bool,
    kind: Kind,
}

enum Kind {
    Flood(Shape),
    Dead,
    Requests { connections: usize, floods: usize },
    Idle,
    Crowd,
    Publish { connections: usize, window: usize },
    Pull,
    Ordered,
    Filtered,
    Put,
    Get,
    Watch,
}

/// Who sends what to whom.
#[derive(Clone, Copy)]
struct Shape {
    publishers: usize,
    subscribers: usize,
    body_bytes: usize,
    unbatched: bool,
}

const fn flood(publishers: usize, subscribers: usize, body_bytes: usize) -> Kind {
    Kind::Flood(Shape { publishers, subscribers, body_bytes, unbatched: false })
}

const FOUR_TIMES: &[Aim] = &[at_least(Column::Rate, 4.0)];
const OWN_SYNC: &[Aim] = &[at_least(Column::Rate, 1.5)];
const GROUP_COMMIT: &[Aim] = &[at_least(Column::Rate, 20.0)];
/// The same aims where the client may be the limit.
const MANY: &[Aim] = &[at_least_or_client(1.5)];
const MANY_GROUP_COMMIT: &[Aim] = &[at_least_or_client(20.0)];
const MANY_PUTS: &[Aim] = &[at_least_or_client(10.0)];

const fn at_least_or_client(ratio: f64) -> Aim {
    Aim { column: Column::Rate, bound: Bound::RatioAtLeastOrLimit(ratio, Column::ClientShare) }
}

const fn scenario(name: &'static str, about: &'static str, aims: &'static [Aim], kind: Kind) -> Scenario {
    Scenario { name, about, main: Column::Rate, aims, peer: Peer::Default, once: false, kind }
}

/// In the order of the report; `idle` comes first, since memory that was used is not given back.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        main: Column::ConnectionBytes,
        once: true,
        ..scenario(
            "idle",
            "memory per idle connection",
            &[at_most(Column::ConnectionBytes, 0.25)],
            Kind::Idle,
        )
    },
    scenario("publish-16", "16 B, one publisher that batches, nobody listens", FOUR_TIMES, flood(1, 0, 16)),
    scenario("publish-128", "the same with 128 B", FOUR_TIMES, flood(1, 0, SMALL_BYTES)),
    scenario("publish-1k", "the same with 1 KB", &[at_least(Column::Rate, 1.8)], flood(1, 0, 1024)),
    scenario("one-one", "128 B, 1 publisher, 1 subscriber", FOUR_TIMES, flood(1, 1, SMALL_BYTES)),
    scenario(
        "one-four",
        "128 B, 1 publisher, 4 subscribers; deliveries",
        FOUR_TIMES,
        flood(1, 4, SMALL_BYTES),
    ),
    scenario(
        "four-four",
        "128 B, 4 publishers, 4 subscribers of all; deliveries",
        FOUR_TIMES,
        flood(4, 4, SMALL_BYTES),
    ),
    scenario(
        "naive",
        "128 B, 1 publisher that writes message by message, 1 subscriber",
        &[at_least(Column::Rate, 1.0)],
        Kind::Flood(Shape { publishers: 1, subscribers: 1, body_bytes: SMALL_BYTES, unbatched: true }),
    ),
    scenario(
        "one-four-16k",
        "16 KB, 1 publisher, 4 subscribers; deliveries",
        &[at_least(Column::Rate, 1.3)],
        flood(1, 4, 16 << 10),
    ),
    scenario(
        "request-1",
        "128 B, one requester, one responder",
        &[at_least(Column::Rate, 1.3)],
        Kind::Requests { connections: 1, floods: 0 },
    ),
    scenario(
        "request-64",
        "64 requesters with one request under way each, one responder",
        &[at_least(Column::Rate, 1.3)],
        Kind::Requests { connections: 64, floods: 0 },
    ),
    Scenario {
        main: Column::ReplyP99,
        ..scenario(
            "request-floods",
            "one requester beside two floods of 128 B, each with a subscriber",
            &[value(Column::ReplyP99, Bound::AtMost(500.0))],
            Kind::Requests { connections: 1, floods: 2 },
        )
    },
    Scenario {
        main: Column::HealthyShare,
        ..scenario(
            "dead",
            "128 B, 1 publisher, 1 subscriber, and one that never reads",
            &[value(Column::HealthyShare, Bound::AtLeast(0.9))],
            Kind::Dead,
        )
    },
    scenario(
        "crowd",
        "100 000 subscriptions over 1 000 connections, random subjects, 128 B",
        FOUR_TIMES,
        Kind::Crowd,
    ),
    Scenario {
        peer: Peer::Synced,
        ..scenario(
            "js-lone-synced",
            "JetStream publish, 128 B, one at a time; both synced",
            OWN_SYNC,
            Kind::Publish { connections: 1, window: 1 },
        )
    },
    Scenario {
        peer: Peer::Synced,
        ..scenario(
            "js-64-synced",
            "64 publishers with one under way each; both synced",
            MANY_GROUP_COMMIT,
            Kind::Publish { connections: 64, window: 1 },
        )
    },
    Scenario {
        peer: Peer::Synced,
        ..scenario(
            "js-async-synced",
            "one publisher with 4 000 under way; both synced",
            GROUP_COMMIT,
            Kind::Publish { connections: 1, window: 4000 },
        )
    },
    scenario(
        "js-64",
        "64 publishers with one under way each; stele synced, nats-server not",
        MANY,
        Kind::Publish { connections: 64, window: 1 },
    ),
    scenario(
        "js-async",
        "one publisher with 4 000 under way; stele synced, nats-server not",
        OWN_SYNC,
        Kind::Publish { connections: 1, window: 4000 },
    ),
    Scenario {
        once: true,
        ..scenario(
            "pull",
            "a backlog of 128 B read by pull, each message acknowledged",
            &[at_least(Column::Rate, 2.0)],
            Kind::Pull,
        )
    },
    Scenario {
        once: true,
        ..scenario("ordered", "the same by an ordered consumer", OWN_SYNC, Kind::Ordered)
    },
    Scenario {
        once: true,
        ..scenario(
            "filtered",
            "one subject of 10 000, by pull",
            &[at_least(Column::Rate, 20.0), value(Column::CreationTime, Bound::AtMost(10.0))],
            Kind::Filtered,
        )
    },
    Scenario {
        once: true,
        peer: Peer::Synced,
        ..scenario("kv-put-synced", "64 clients put 128 B to random keys; both synced", MANY_PUTS, Kind::Put)
    },
    Scenario {
        once: true,
        ..scenario(
            "kv-get",
            "64 clients get random keys; memory per key: the slope from a quarter of the keys to all, after the same load",
            &[at_least(Column::Rate, 1.5), value(Column::KeyBytes, Bound::AtMost(150.0))],
            Kind::Get,
        )
    },
    Scenario {
        once: true,
        ..scenario("kv-watch", "one watcher is given the last value of every key", OWN_SYNC, Kind::Watch)
    },
];

impl Scenario {
    /// Runs one round on one server.
    pub(super) fn run(&self, target: &Target<'_>, settings: &Settings) -> Result<Figures> {
        match &self.kind {
            Kind::Flood(shape) => {
                let plan = shape.plan(target.server.address, settings.window());
                flood_figures(&flood::run(&plan, || target.server.process.sample())?, shape.body_bytes)
            }
            Kind::Dead => dead(target, settings),
            Kind::Requests { connections, floods } => requests(target, settings, *connections, *floods),
            Kind::Idle => idle(target, settings),
            Kind::Crowd => crowded(target, settings),
            Kind::Publish { connections, window } => publish(target, settings, *connections, *window),
            Kind::Pull | Kind::Ordered => backlog(target, settings, &self.kind),
            Kind::Filtered => filtered(target, settings),
            Kind::Put | Kind::Watch => keys(target, settings, &self.kind),
            Kind::Get => gets(target, settings),
        }
    }
}

impl Shape {
    fn plan(&self, address: SocketAddr, window: Duration) -> Plan {
        Plan {
            address,
            publishers: vec!["bench.flood".into(); self.publishers],
            subscribers: vec!["bench.flood".into(); self.subscribers],
            body_bytes: self.body_bytes,
            unbatched: self.unbatched,
            window,
        }
    }
}

/// CPU and memory.
fn used(before: &Sample, after: &Sample, seconds: f64, records: f64) -> Figures {
    let spent_us = |before: u64, after: u64| after.saturating_sub(before) as f64;
    let mut figures = Figures::default();
    figures.set(Column::Cpu, spent_us(before.usage.cpu_us, after.usage.cpu_us) / records);
    figures.set(
        Column::GeneratorCores,
        spent_us(before.generator.cpu_us, after.generator.cpu_us) / 1e6 / seconds,
    );
    figures.set(Column::Resident, after.usage.resident_bytes as f64 / 1e6);
    figures
}

fn flood_figures(outcome: &flood::Outcome<Sample>, body_bytes: usize) -> Result<Figures> {
    let (seconds, records) = (outcome.elapsed.as_secs_f64(), outcome.records as f64);
    ensure!(records > 0.0, "nothing arrived");
    let mut figures = used(&outcome.before, &outcome.after, seconds, records);
    figures.set(Column::Rate, records / seconds);
    figures.set(Column::Megabytes, records * body_bytes as f64 / seconds / 1e6);
    Ok(figures)
}

/// What every load of requests tells.
fn asked_figures(outcome: &ask::Outcome<Sample>, percentiles: (Column, Column)) -> Figures {
    let (before, after) = (&outcome.before, &outcome.after);
    let (seconds, records) = (outcome.elapsed.as_secs_f64(), outcome.records as f64);
    let mut figures = used(before, after, seconds, records);
    figures.set(Column::Rate, records / seconds);
    figures.set(percentiles.0, outcome.times.percentile_us(0.5));
    figures.set(percentiles.1, outcome.times.percentile_us(0.99));
    figures
}

/// What no server passes: many clients that publish one by one to who only answers. And, by nothing but its disk, one that syncs before it answers.
fn note_client(figures: &mut Figures, connections: usize, settings: &Settings) -> Result<()> {
    let alone = mirror::ceiling(connections, SMALL_BYTES, None)?;
    figures.set(Column::ClientRate, alone);
    figures.set(Column::ClientShare, figures.get(Column::Rate).map(|rate| rate / alone));
    let synced = mirror::ceiling(connections, SMALL_BYTES, Some(settings.disks()?))?;
    figures.set(Column::SyncedClientRate, synced);
    Ok(())
}

/// A healthy pair alone, then beside one that never reads and must be cut.
fn dead(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let shape = Shape { publishers: 1, subscribers: 1, body_bytes: SMALL_BYTES, unbatched: false };
    let plan = shape.plan(target.server.address, settings.window());
    let alone = flood_figures(&flood::run(&plan, || target.server.process.sample())?, SMALL_BYTES)?;
    let mut deaf = Client::connect(target.server.address)?;
    deaf.subscribe("bench.flood", 1)?;
    deaf.fence()?;
    let start = Instant::now();
    let (outcome, cut) = thread::scope(|scope| {
        let cut = scope.spawn(|| cut_after(&deaf.stream, start, settings.window() + CUT_MAX));
        let outcome = flood::run(&plan, || target.server.process.sample());
        (outcome, cut.join().expect("a watch does not panic"))
    });
    let mut figures = flood_figures(&outcome?, SMALL_BYTES)?;
    let rate = |figures: &Figures| figures.get(Column::Rate).unwrap_or(f64::NAN);
    figures.set(Column::AloneRate, rate(&alone));
    figures.set(Column::HealthyShare, rate(&figures) / rate(&alone));
    figures.set(Column::CutTime, cut?.as_secs_f64());
    Ok(figures)
}

/// Waits until a connection that does not read is ended by the other side. The end itself stands behind what is not read, so that only
/// a write tells: it is answered by a reset.
fn cut_after(mut stream: &TcpStream, start: Instant, patience: Duration) -> Result<Duration> {
    while start.elapsed() < patience {
        if stream.write_all(b"PING\r\n").is_err() {
            return Ok(start.elapsed());
        }
        thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("a subscriber that never reads is still connected after {patience:?}")
}

fn requests(target: &Target<'_>, settings: &Settings, connections: usize, floods: usize) -> Result<Figures> {
    let address = target.server.address;
    let body = vec![b'x'; SMALL_BYTES];
    let mut responder = Client::connect(address)?;
    responder.subscribe("bench.service", 1)?;
    responder.fence()?;
    responder.stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let over = AtomicBool::new(false);
    let request =
        |out: &mut Vec<u8>, _: u64, reply: &[u8]| wire::publish(out, b"bench.service", reply, &body);
    let check = |message: &Message<'_>| {
        ensure!(message.body.len() == SMALL_BYTES, "answered {}", stream::text(message));
        Ok(())
    };
    let time = (WARM_UP, settings.window());
    let plan = ask::Plan::one_by_one(address, connections, time, &request, &check);
    let noise = Plan {
        address,
        publishers: (0..floods).map(|index| format!("bench.flood.{index}")).collect(),
        subscribers: (0..floods).map(|index| format!("bench.flood.{index}")).collect(),
        body_bytes: SMALL_BYTES,
        unbatched: false,
        window: settings.window() + WARM_UP,
    };
    let (outcome, noise) = thread::scope(|scope| {
        let answers = scope.spawn(|| respond(&responder, &over));
        let noise = (floods > 0).then(|| scope.spawn(|| flood::run(&noise, || Ok(()))));
        let outcome = ask::run(&plan, || target.server.process.sample());
        over.store(true, Relaxed);
        let noise = noise.map(|thread| thread.join().expect("a flood does not panic"));
        answers.join().expect("a responder does not panic")?;
        anyhow::Ok((outcome?, noise.transpose()?))
    })?;
    let mut figures = asked_figures(&outcome, (Column::ReplyP50, Column::ReplyP99));
    if let Some(noise) = noise {
        let rate = noise.records as f64 / noise.elapsed.as_secs_f64();
        figures.set(Column::Megabytes, rate * SMALL_BYTES as f64 / 1e6);
    }
    Ok(figures)
}

/// Sends every request's body back, all of one read in one write.
fn respond(client: &Client, over: &AtomicBool) -> Result<()> {
    let mut stream = &client.stream;
    let (mut buffer, mut end, mut out) = (vec![0; 64 << 10], 0, Vec::new());
    while !over.load(Relaxed) {
        match stream.read(&mut buffer[end..]) {
            Ok(0) => anyhow::bail!("the server cut the responder"),
            Ok(bytes) => end += bytes,
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) =>
            {
                continue;
            }
            Err(error) => return Err(error).context("read as a responder"),
        }
        let mut start = 0;
        while let Some((op, used)) = wire::op(&buffer[start..end])? {
            match op {
                Op::Message(message) => wire::publish(&mut out, message.reply, b"", message.body),
                Op::Ping => out.extend(b"PONG\r\n"),
                Op::Error(text) => anyhow::bail!("the responder is told {}", String::from_utf8_lossy(text)),
                Op::Pong | Op::Info(_) | Op::Ok => {}
            }
            start += used;
        }
        buffer.copy_within(start..end, 0);
        end -= start;
        stream.write_all(&out)?;
        out.clear();
    }
    Ok(())
}

fn resident_bytes(target: &Target<'_>) -> Result<f64> {
    thread::sleep(REST);
    Ok(target.server.process.usage()?.resident_bytes as f64)
}

fn idle(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let before = resident_bytes(target)?;
    let connections =
        (0..settings.connections).map(|_| Client::bare(target.server.address)).collect::<Result<Vec<_>>>()?;
    let after = resident_bytes(target)?;
    let mut figures = Figures::default();
    let each_kb = (after - before) / f64::from(settings.connections) / 1e3;
    figures.set(Column::ConnectionBytes, Some(each_kb).filter(|kb| *kb > 0.0));
    figures.set(Column::Resident, after / 1e6);
    drop(connections);
    Ok(figures)
}

fn crowded(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let plan = crowd::Plan {
        address: target.server.address,
        connections: 1_000,
        subscriptions: 100_000,
        body_bytes: SMALL_BYTES,
        window: settings.window(),
    };
    let outcome = crowd::run(&plan, || target.server.process.sample())?;
    let (seconds, records) = (outcome.elapsed.as_secs_f64(), outcome.records as f64);
    let mut figures = used(&outcome.before, &outcome.after, seconds, records);
    figures.set(Column::Rate, records / seconds);
    Ok(figures)
}

fn publish(target: &Target<'_>, settings: &Settings, connections: usize, window: usize) -> Result<Figures> {
    let address = target.server.address;
    let mut stream = Stream::create(address)?;
    let (body, subject) = (vec![b'x'; SMALL_BYTES], format!("{}.a", stream.stem));
    let request =
        |out: &mut Vec<u8>, _: u64, reply: &[u8]| wire::publish(out, subject.as_bytes(), reply, &body);
    let time = (WARM_UP, settings.window());
    let one_by_one = ask::Plan::one_by_one(address, connections, time, &request, &acknowledged);
    let plan = ask::Plan { window, awake: connections * window == 1, ..one_by_one };
    let outcome = ask::run(&plan, || target.server.process.sample()).and_then(|outcome| {
        let there = stream.messages()?;
        ensure!(there == outcome.total, "{there} messages are there, {} were acknowledged", outcome.total);
        Ok(outcome)
    });
    let outcome = stream.finish(outcome)?;
    let mut figures = asked_figures(&outcome, (Column::ConfirmP50, Column::ConfirmP99));
    if connections > 1 {
        note_client(&mut figures, connections, settings)?;
    }
    let written = outcome.after.usage.written_bytes.saturating_sub(outcome.before.usage.written_bytes);
    figures.set(Column::DiskBytes, written as f64 / outcome.records as f64);
    Ok(figures)
}

/// What reading tells.
fn read_figures(
    target: &Target<'_>,
    count: u64,
    read: impl FnOnce() -> Result<consume::Read>,
) -> Result<Figures> {
    let before = target.server.process.sample()?;
    let read = read()?;
    let after = target.server.process.sample()?;
    let (seconds, records) = (read.elapsed.as_secs_f64(), count as f64);
    let mut figures = used(&before, &after, seconds, records);
    figures.set(Column::Rate, records / seconds);
    figures.set(Column::CreationTime, read.creation.as_secs_f64() * 1e3);
    Ok(figures)
}

fn backlog(target: &Target<'_>, settings: &Settings, kind: &Kind) -> Result<Figures> {
    let address = target.server.address;
    let mut stream = Stream::create(address)?;
    let filled = stream.fill(settings.backlog, SMALL_BYTES, &|_| "a".into());
    let (name, filter) = (stream.name.clone(), format!("{}.a", stream.stem));
    let figures = filled.and_then(|()| {
        read_figures(target, settings.backlog, || match kind {
            Kind::Pull => consume::pull(address, &name, &filter, settings.backlog),
            _ => consume::ordered(address, &name, "all", &filter, settings.backlog),
        })
    });
    stream.finish(figures)
}

fn filtered(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let address = target.server.address;
    let mut stream = Stream::create(address)?;
    let filled = stream.fill(settings.filtered, SMALL_BYTES, &|number| format!("s{}", number % SUBJECTS));
    let (name, filter) = (stream.name.clone(), format!("{}.s7", stream.stem));
    let count = settings.filtered.saturating_sub(7).div_ceil(SUBJECTS);
    let figures =
        filled.and_then(|()| read_figures(target, count, || consume::pull(address, &name, &filter, count)));
    stream.finish(figures)
}

const KEY_CLIENTS: usize = 64;

/// Requests about random keys.
fn ask_keys(
    target: &Target<'_>,
    settings: &Settings,
    request: &ask::Request<'_>,
    check: &ask::Check<'_>,
) -> Result<Figures> {
    let (address, time) = (target.server.address, (WARM_UP, settings.window()));
    let plan = ask::Plan::one_by_one(address, KEY_CLIENTS, time, request, check);
    let outcome = ask::run(&plan, || target.server.process.sample())?;
    Ok(asked_figures(&outcome, (Column::ReplyP50, Column::ReplyP99)))
}

fn keys(target: &Target<'_>, settings: &Settings, kind: &Kind) -> Result<Figures> {
    let mut bucket = Stream::bucket(target.server.address)?;
    let filled = bucket.fill(settings.keys, SMALL_BYTES, &|number| format!("key.{number}"));
    let (name, stem) = (bucket.name.clone(), bucket.stem.clone());
    let body = vec![b'y'; SMALL_BYTES];
    let put = |out: &mut Vec<u8>, number: u64, reply: &[u8]| {
        let key = Random::new(number).below(settings.keys);
        wire::publish(out, format!("{stem}.key.{key}").as_bytes(), reply, &body);
    };
    let figures = filled.and_then(|()| match kind {
        Kind::Put => ask_keys(target, settings, &put, &acknowledged).and_then(|mut figures| {
            note_client(&mut figures, KEY_CLIENTS, settings)?;
            Ok(figures)
        }),
        _ => {
            let everything = format!("{stem}.>");
            read_figures(target, settings.keys, || {
                consume::ordered(target.server.address, &name, "last_per_subject", &everything, settings.keys)
            })
        }
    });
    bucket.finish(figures)
}

/// Gets, and how much larger the server is for each key more: the slope from a quarter of the keys to all of them.
fn gets(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let mut bucket = Stream::bucket(target.server.address)?;
    let few = settings.keys / 4;
    let mut among = |keys| gets_among(target, settings, &mut bucket, keys);
    let figures = among(few).and_then(|(_, less)| {
        let (mut figures, more) = among(settings.keys)?;
        let grown = (more - less) / (settings.keys - few) as f64;
        figures.set(Column::KeyBytes, Some(grown).filter(|bytes| *bytes > 0.0));
        Ok(figures)
    });
    bucket.finish(figures)
}

/// As many puts whatever the number of keys, then gets; and resident memory after that, when what a server keeps of the last that was read or
/// written is nothing of the keys.
fn gets_among(
    target: &Target<'_>,
    settings: &Settings,
    bucket: &mut Stream,
    keys: u64,
) -> Result<(Figures, f64)> {
    bucket.fill(settings.keys, SMALL_BYTES, &|number| format!("key.{}", number % keys))?;
    let get = |out: &mut Vec<u8>, number: u64, reply: &[u8]| {
        let key = Random::new(number).below(keys);
        let subject = format!("$JS.API.DIRECT.GET.{}.{}.key.{key}", bucket.name, bucket.stem);
        wire::publish(out, subject.as_bytes(), reply, b"");
    };
    let got = |message: &Message<'_>| {
        ensure!(message.body.len() == SMALL_BYTES, "a get is answered {}", stream::text(message));
        Ok(())
    };
    let figures = ask_keys(target, settings, &get, &got)?;
    thread::sleep(FORGET);
    let mut other = Stream::create(target.server.address)?;
    let resident = other.fill(OTHERS, OTHER_BYTES, &|_| "a".into()).and_then(|()| resident_bytes(target));
    Ok((figures, other.finish(resident)?))
}
