//! What is compared, with its aims. Topics have fresh names and are deleted afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::batch::{Codec, Template};
use super::client::Client;
use super::consume::Reader;
use super::produce::{self, Lane, Outcome, Plan};
use super::{PeerSync, Target, mirror};
use crate::disk::{Ceiling, Disk};
use crate::report::{Aim, Bound, Column, Figures};
use crate::scenario::{at_least, at_most, value};
use crate::server::Sample;

const VALUE_BYTES: usize = 1024;
const WARM_UP: Duration = Duration::from_millis(700);
/// Time for a broker to come to rest before its memory is read.
const REST: Duration = Duration::from_secs(3);
/// Requests that an idempotent client has under way at most.
const WINDOW: usize = 5;

/// Sizes that the command line may change.
pub(crate) struct Settings {
    pub seconds: f64,
    pub backlog: u64,
    pub topics: u32,
    /// Where a Stele started here keeps its data.
    pub disk: Disk,
}

impl Settings {
    pub(crate) const BACKLOG: u64 = 600_000;
    pub(crate) const TOPICS: u32 = 1_000;
}

/// One scenario.
pub(crate) struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    pub main: Column,
    pub aims: &'static [Aim],
    pub(super) peer: PeerSync,
    /// Whether one round is enough: it is long, or later ones would find what the first left behind.
    pub once: bool,
    kind: Kind,
}

enum Kind {
    Produce(Shape),
    EndToEnd,
    CatchUp { partitions: u32, from: Place },
    Topics,
}

/// Where the records that are read stand.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Memory,
    Disk,
}

/// Who sends what.
#[derive(Clone, Copy)]
struct Shape {
    connections: u32,
    partitions: u32,
    /// Records of a batch.
    records: u32,
    window: usize,
    idempotent: bool,
    codec: Codec,
}

const PIPELINED: Shape = Shape {
    connections: 1,
    partitions: 1,
    records: 64,
    window: WINDOW,
    idempotent: true,
    codec: Codec::None,
};
const TWELVE: Shape = Shape { partitions: 12, ..PIPELINED };
const LONE: Shape = Shape { records: 1, window: 1, ..PIPELINED };
const SIXTY_FOUR: Shape = Shape { connections: 64, partitions: 12, idempotent: false, ..LONE };
/// About 1 MB before compression.
const LARGE: Shape = Shape { records: 1000, ..PIPELINED };

const UNSYNCED: &[Aim] = &[at_least(Column::Rate, 1.5), at_most(Column::ConfirmP99, 0.3334)];
const SYNCED: &[Aim] = &[at_least(Column::Rate, 2.0)];
const CATCH_UP: &[Aim] = &[catch_up_aim(Column::ClientShare)];
const CATCH_UP_DISK: &[Aim] = &[catch_up_aim(Column::ReadShare)];
const COMPRESSED: &[Aim] = &[at_least(Column::Megabytes, 1.5)];

const fn catch_up_aim(limit: Column) -> Aim {
    Aim { column: Column::Rate, bound: Bound::RatioAtLeastOrLimit(1.5, limit) }
}

const fn scenario(
    name: &'static str,
    about: &'static str,
    aims: &'static [Aim],
    peer: PeerSync,
    kind: Kind,
) -> Scenario {
    Scenario { name, about, main: Column::Rate, aims, peer, once: false, kind }
}

/// In the order of the report; `topics` comes first, since memory that was used is not given back.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        main: Column::TopicShare,
        once: true,
        ..scenario(
            "topics",
            "a batch of 10 records of 100 B to each partition in turn: of 1 topic of 10 partitions, then of many; memory per idle partition",
            &[
                value(Column::TopicShare, Bound::AtLeast(0.5)),
                at_least(Column::TopicShare, 1.0),
                value(Column::PartitionBytes, Bound::AtMost(5.0)),
            ],
            PeerSync::Default,
            Kind::Topics,
        )
    },
    scenario(
        "produce-1",
        "1 KB idempotent, 1 partition, batches of 64, 5 requests under way; stele synced, kafka not",
        UNSYNCED,
        PeerSync::Default,
        Kind::Produce(PIPELINED),
    ),
    scenario(
        "produce-12",
        "the same to 12 partitions, a batch for each in every request; stele synced, kafka not",
        UNSYNCED,
        PeerSync::Default,
        Kind::Produce(TWELVE),
    ),
    scenario(
        "produce-1-synced",
        "1 KB idempotent, 1 partition, batches of 64, 5 requests under way; both synced",
        SYNCED,
        PeerSync::Always,
        Kind::Produce(PIPELINED),
    ),
    scenario(
        "produce-12-synced",
        "the same to 12 partitions; both synced",
        SYNCED,
        PeerSync::Always,
        Kind::Produce(TWELVE),
    ),
    scenario(
        "single-64",
        "64 producers with one record of 1 KB under way each, 12 partitions; both synced",
        &[at_least(Column::Rate, 5.0)],
        PeerSync::Always,
        Kind::Produce(SIXTY_FOUR),
    ),
    Scenario {
        main: Column::ConfirmP50,
        ..scenario(
            "lone-synced",
            "one producer, one record of 1 KB under way; both synced",
            &[at_most(Column::ConfirmP50, 0.3334)],
            PeerSync::Always,
            Kind::Produce(LONE),
        )
    },
    Scenario {
        main: Column::ConfirmP50,
        ..scenario(
            "lone",
            "one producer, one record of 1 KB under way; stele synced, kafka not",
            &[at_most(Column::ConfirmP50, 1.0)],
            PeerSync::Default,
            Kind::Produce(LONE),
        )
    },
    Scenario {
        main: Column::EndToEndP50,
        ..scenario(
            "end-to-end",
            "1 000 records/s of 1 KB, one by one, a reader that waits; stele synced, kafka not",
            &[at_most(Column::EndToEndP50, 0.5), at_most(Column::EndToEndP99, 0.25)],
            PeerSync::Default,
            Kind::EndToEnd,
        )
    },
    scenario(
        "catch-up-1",
        "a backlog of 1 KB records read from the start, 1 partition, still in memory",
        CATCH_UP,
        PeerSync::Default,
        Kind::CatchUp { partitions: 1, from: Place::Memory },
    ),
    scenario(
        "catch-up-12",
        "the same from 12 partitions",
        CATCH_UP,
        PeerSync::Default,
        Kind::CatchUp { partitions: 12, from: Place::Memory },
    ),
    scenario(
        "catch-up-1-disk",
        "1 partition, after the kernel's page cache was dropped (needs root)",
        CATCH_UP_DISK,
        PeerSync::Default,
        Kind::CatchUp { partitions: 1, from: Place::Disk },
    ),
    scenario(
        "catch-up-12-disk",
        "the same from 12 partitions",
        CATCH_UP_DISK,
        PeerSync::Default,
        Kind::CatchUp { partitions: 12, from: Place::Disk },
    ),
    Scenario {
        main: Column::Megabytes,
        ..scenario(
            "large-lz4",
            "batches of 1 MB compressed with lz4, 1 partition; stele synced, kafka not",
            COMPRESSED,
            PeerSync::Default,
            Kind::Produce(Shape { codec: Codec::Lz4, ..LARGE }),
        )
    },
    Scenario {
        main: Column::Megabytes,
        ..scenario(
            "large-zstd",
            "batches of 1 MB compressed with zstd, 1 partition; stele synced, kafka not",
            COMPRESSED,
            PeerSync::Default,
            Kind::Produce(Shape { codec: Codec::Zstd, ..LARGE }),
        )
    },
];

impl Scenario {
    /// Runs one round on one broker.
    pub(super) fn run(&self, target: &Target<'_>, settings: &Settings) -> Result<Figures> {
        settings.disk.settle()?;
        match &self.kind {
            Kind::Produce(shape) => produce(shape, target, settings),
            Kind::EndToEnd => end_to_end(target, settings),
            Kind::CatchUp { partitions, from } => catch_up(*partitions, *from, target, settings),
            Kind::Topics => topics(target, settings),
        }
    }
}

/// Topics of one run, deleted when it is over.
struct Topics {
    names: Vec<String>,
    client: Client,
}

impl Topics {
    fn create(target: &Target<'_>, count: u32, partitions: u32) -> Result<Self> {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = format!("stele-bench-{}-{}", std::process::id(), RUNS.fetch_add(1, Relaxed));
        let names: Vec<_> = (0..count).map(|index| format!("{run}-{index:04}")).collect();
        let mut client = Client::connect(target.server.address)?;
        client.create(&names, partitions, target.configs)?;
        produce::settle(&mut client, &names[..1], partitions)?;
        produce::settle(&mut client, &names[names.len() - 1..], partitions)?;
        Ok(Self { names, client })
    }

    /// Deletes them and keeps the result of the run, or the first error.
    fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        let deleted = self.client.delete(&self.names).context("delete topics");
        result.and_then(|value| deleted.map(|()| value))
    }
}

fn plan<'a>(address: SocketAddr, lanes: Vec<Lane>, template: &'a Template, settings: &Settings) -> Plan<'a> {
    Plan {
        address,
        lanes,
        template,
        warm_up: WARM_UP,
        window: Duration::from_secs_f64(settings.seconds),
        pace: None,
        records_max: u64::MAX,
        origin: Instant::now(),
    }
}

fn lanes(shape: &Shape, topic: &str) -> Vec<Lane> {
    let all = || (0..shape.partitions).map(|partition| (topic.to_owned(), partition));
    let lane = |places| Lane {
        places,
        window: shape.window,
        idempotent: shape.idempotent,
        alone: shape.connections == 1,
    };
    if shape.connections == 1 {
        return vec![lane(all().collect())];
    }
    (0..shape.connections).map(|index| lane(vec![(topic.to_owned(), index % shape.partitions)])).collect()
}

fn produce(shape: &Shape, target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let template = Template::new(shape.records, VALUE_BYTES, shape.codec)?;
    let mut topics = Topics::create(target, 1, shape.partitions)?;
    let plan = plan(target.server.address, lanes(shape, &topics.names[0]), &template, settings);
    // What no broker with one synced record under way goes below.
    let sync = (shape.window == 1).then(|| settings.disk.probe()).transpose()?;
    let outcome = produce::run(plan, || target.server.process.sample())
        .and_then(|outcome| all_there(&mut topics, shape.partitions, outcome));
    let outcome = topics.finish(outcome)?;
    let mut figures = figures(&outcome);
    if let Some(sync) = sync {
        note_sync(&mut figures, sync);
    }
    Ok(figures)
}

fn note_sync(figures: &mut Figures, disk: Ceiling) {
    figures.set(Column::SyncP50, disk.sync_p50_us);
    figures.set(Column::SyncP99, disk.sync_p99_us);
}

/// As many records are there as were acknowledged.
fn all_there<S>(topics: &mut Topics, partitions: u32, outcome: Outcome<S>) -> Result<Outcome<S>> {
    let mut there = 0;
    for topic in &topics.names {
        for partition in 0..partitions {
            there += topics.client.end(topic, partition)?;
        }
    }
    ensure!(there == outcome.total, "{there} records are there, {} were acknowledged", outcome.total);
    Ok(outcome)
}

/// What every load tells.
fn figures(outcome: &Outcome<Sample>) -> Figures {
    let (before, after) = (&outcome.before, &outcome.after);
    let (seconds, records) = (outcome.elapsed.as_secs_f64(), outcome.records as f64);
    let written = after.usage.written_bytes.saturating_sub(before.usage.written_bytes) as f64;
    let mut figures = used(before, after, seconds, records);
    figures.set(Column::Rate, records / seconds);
    figures.set(Column::Megabytes, records * VALUE_BYTES as f64 / seconds / 1e6);
    figures.set(Column::ConfirmP50, outcome.times.percentile_us(0.5));
    figures.set(Column::ConfirmP99, outcome.times.percentile_us(0.99));
    figures.set(Column::DiskBytes, written / records);
    figures
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

fn end_to_end(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let template = Template::new(1, VALUE_BYTES, Codec::None)?;
    let sync = settings.disk.probe()?;
    let topics = Topics::create(target, 1, 1)?;
    let shape = Shape { window: WINDOW, ..LONE };
    let mut plan = plan(target.server.address, lanes(&shape, &topics.names[0]), &template, settings);
    plan.pace = Some(Duration::from_millis(1));
    let (origin, over) = (plan.origin, AtomicBool::new(false));
    let mut reader = Reader::new(target.server.address, &topics.names[0], 1)?;
    let result = thread::scope(|scope| {
        let times = scope.spawn(|| reader.follow(origin, &over));
        let outcome = produce::run(plan, || target.server.process.sample());
        over.store(true, Relaxed); // the reader notices when its fetch has waited long enough
        let times = times.join().expect("a reader does not panic");
        Ok((outcome?, times?))
    });
    let (outcome, times) = topics.finish(result)?;
    let mut figures = figures(&outcome);
    figures.set(Column::EndToEndP50, times.percentile_us(0.5));
    figures.set(Column::EndToEndP99, times.percentile_us(0.99));
    note_sync(&mut figures, sync);
    Ok(figures)
}

/// How often a backlog in memory is read.
const MEMORY_PASSES: u64 = 3;

fn catch_up(partitions: u32, from: Place, target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    let template = Template::new(64, VALUE_BYTES, Codec::None)?;
    // What is read from memory must fit into the memory that either broker gives it; from the disk once, since then it is in memory.
    let passes = if from == Place::Memory { MEMORY_PASSES } else { 1 };
    let mut topics = Topics::create(target, 1, partitions)?;
    let shape = Shape { partitions, ..PIPELINED };
    let fill = Plan {
        warm_up: Duration::ZERO,
        window: Duration::from_secs(120),
        records_max: settings.backlog / passes,
        ..plan(target.server.address, lanes(&shape, &topics.names[0]), &template, settings)
    };
    let result = produce::run(fill, || Ok(())).and_then(|_| {
        let mut ends = BTreeMap::new();
        for partition in 0..partitions {
            ends.insert(partition, topics.client.end(&topics.names[0], partition)?);
        }
        let mut limits = Figures::default();
        match from {
            Place::Memory => limits.set(Column::ClientRate, mirror::ceiling(partitions)?),
            Place::Disk => {
                limits.set(Column::ReadBandwidth, settings.disk.read_probe()? / 1e6);
                drop_caches()?;
            }
        }
        let before = target.server.process.sample()?;
        let start = Instant::now();
        let (mut records, mut bytes) = (0, 0);
        for _ in 0..passes {
            let mut reader = Reader::new(target.server.address, &topics.names[0], partitions)?;
            let read = reader.catch_up(&ends)?;
            (records, bytes) = (records + read.0, bytes + read.1);
        }
        let seconds = start.elapsed().as_secs_f64();
        let after = target.server.process.sample()?;
        let mut figures = used(&before, &after, seconds, records as f64);
        let (rate, megabytes) = (records as f64 / seconds, bytes as f64 / seconds / 1e6);
        figures.set(Column::Rate, rate);
        figures.set(Column::Megabytes, megabytes);
        for (limit, share, value) in [
            (Column::ClientRate, Column::ClientShare, rate),
            (Column::ReadBandwidth, Column::ReadShare, megabytes),
        ] {
            figures.set(limit, limits.get(limit));
            figures.set(share, limits.get(limit).map(|limit| value / limit));
        }
        Ok(figures)
    });
    topics.finish(result)
}

/// What was written must be read from the disk again.
fn drop_caches() -> Result<()> {
    rustix::fs::sync();
    fs::write("/proc/sys/vm/drop_caches", "1").context("drop the page cache (only root may)")
}

fn topics(target: &Target<'_>, settings: &Settings) -> Result<Figures> {
    const PARTITIONS: u32 = 10;
    const RECORDS: u32 = 10;
    const SMALL_BYTES: usize = 100;
    /// Partitions in one request: a client puts what it has into it.
    const PER_REQUEST: usize = 100;
    let template = Template::new(RECORDS, SMALL_BYTES, Codec::None)?;
    let rate = |topics: &Topics| {
        let places: Vec<_> = topics
            .names
            .iter()
            .flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic.clone(), partition)))
            .collect();
        // A connection per hundred partitions; the one topic of ten gets as many requests under way as many topics' first connections.
        let lanes: Vec<_> = places
            .chunks(PER_REQUEST)
            .map(|places| Lane { places: places.to_vec(), window: 1, idempotent: false, alone: true })
            .collect();
        let lanes = if lanes.len() == 1 {
            (0..10)
                .map(|_| Lane { places: places.clone(), window: 1, idempotent: false, alone: false })
                .collect()
        } else {
            lanes
        };
        produce::run(plan(target.server.address, lanes, &template, settings), || {
            target.server.process.sample()
        })
    };
    // Before any load: memory that was used is not given back, and idle partitions would find room in it.
    let few = Topics::create(target, 1, PARTITIONS)?;
    thread::sleep(REST);
    let empty = target.server.process.usage()?.resident_bytes as f64;
    let many = Topics::create(target, settings.topics, PARTITIONS)?;
    thread::sleep(REST);
    let full = target.server.process.usage()?.resident_bytes as f64;
    let outcome = rate(&few);
    let few = few.finish(outcome)?;
    let outcome = rate(&many);
    let many = many.finish(outcome)?;

    let per_s = |outcome: &Outcome<Sample>| outcome.records as f64 / outcome.elapsed.as_secs_f64();
    let mut figures = figures(&many);
    figures.set(Column::Megabytes, per_s(&many) * SMALL_BYTES as f64 / 1e6);
    figures.set(Column::FewTopicsRate, per_s(&few));
    figures.set(Column::TopicShare, per_s(&many) / per_s(&few));
    let each_kb = (full - empty) / f64::from(settings.topics * PARTITIONS) / 1e3;
    figures.set(Column::PartitionBytes, Some(each_kb).filter(|kb| *kb > 0.0));
    Ok(figures)
}
