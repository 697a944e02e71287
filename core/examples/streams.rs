//! What a turn of a shard costs for streams: `cargo run --release -p stele-core --example streams`.
//!
//! Prints nanoseconds for an append of 16-KB batches to one and to twelve partitions in a request, for a read of a megabyte, and for a search;
//! then the worst turn while two million batches are indexed, snapshotted, trimmed and let go of, and while a million keys are written
//! again and compacted, while groups are made that begin with the last record of a million subjects, or of each of them, or count what waits
//! for them among these, while some of them are purged, and while such groups go, while these are read by subject, while publishes depend on
//! them, and while a million go by age or are purged at once; and the bytes that a batch, a key, a subject and an idle partition cost. Times
//! are this thread's on a processor, so that other load counts little. The journal writes nothing, but fills new memory: where the system gives that by 2 MB, cleared, this takes a turn 2 ms
//! longer.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use bytes::{Bytes, BytesMut};
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use stele_core::shard::Shard;
use stele_core::testing::MemoryLog;
use stele_model::id::{Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId};
use stele_model::machine::{Journal, Machine};
use stele_model::publish::{Publish, Publishes, RoutedRun, ShardPublish};
use stele_model::shard::{Answer, ShardEffect, ShardOp};
use stele_model::share::{Expect, ShardShare, ShareAnswer, ShareSettings, ShareStart, ShareVerb};
use stele_model::stream::records::{
    From as ScanFrom, LastOf, LastsOf, PurgeOf, RecordSettings, RecordsAsk, ScanOf, ShardRecords, StateOf,
    SubjectsOf, Terms, Wanted,
};
use stele_model::stream::{
    Batch, Format, KeyMark, PartitionSpec, SeekBy, ShardAppend, ShardRead, ShardReadPart, StreamSettings,
};
use stele_model::subject::Pattern;
use stele_record::{Draft, Origin};

const SESSION: SessionId = SessionId { hub: HubId(0), number: 1 };

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(
    unsafe_code,
    reason = "an allocator that counts can only be written so; nothing but the benchmark uses it"
)]
// SAFETY: every call is passed on unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

fn thread_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A shard with its journal.
struct Bench {
    shard: Shard,
    log: MemoryLog,
    effects: Vec<(Lsn, ShardEffect)>,
    turns: Vec<Duration>,
}

impl Bench {
    fn new(partitions: u64, settings: &StreamSettings) -> Self {
        let log = MemoryLog::new(4 << 20).forgetful();
        let mut bench = Self {
            shard: Shard::new(ShardId(0)),
            log,
            effects: Vec::new(),
            turns: Vec::with_capacity(1 << 22),
        };
        for id in 1..=partitions {
            let (namespace, stream) = (NamespaceId(1), "orders".to_owned());
            let settings = settings.clone();
            let partition = PartitionSpec { id: QueueId(id), namespace, stream, index: id as u32, settings };
            bench.take(ShardOp::PutPartition { revision: Revision(1), partition });
        }
        bench.tick_until_done();
        bench.turns.clear();
        bench
    }

    fn take(&mut self, op: ShardOp) {
        self.effects.clear();
        let start = thread_time();
        self.shard.take(op, &mut self.log, &mut self.effects);
        self.turns.push(thread_time() - start);
    }

    fn tick_until_done(&mut self) {
        while self.shard.deadline().is_some_and(|due| due <= self.log.now()) {
            let start = thread_time();
            self.shard.tick(&mut self.log, &mut self.effects);
            self.turns.push(thread_time() - start);
            self.effects.clear();
        }
    }

    fn append(&mut self, partitions: std::ops::RangeInclusive<u64>, batch: &Batch) {
        let parts = partitions.map(|id| (QueueId(id), batch.clone())).collect();
        let (hub, call, awaited, records) = (HubId(0), Call(1), true, Vec::new());
        self.take(ShardOp::Append(ShardAppend { hub, call, awaited, parts, records }));
    }

    fn publish(&mut self, subjects: Vec<String>) {
        self.publish_if(subjects, None);
    }

    /// Publishes to these subjects, the first record with these terms.
    fn publish_if(&mut self, subjects: Vec<String>, terms: impl Into<Option<Terms>>) {
        let (mut bytes, mut items) = (BytesMut::new(), Vec::new());
        for subject in &subjects {
            let start = bytes.len() as u32;
            let (origin, key) = (Origin::Nats, subject.as_bytes());
            let draft = Draft {
                origin,
                persistent: true,
                priority: 0,
                ttl_ms: None,
                time: 0,
                exchange: b"",
                key,
                properties: &[],
                history: &[],
            };
            draft.write(b"body", &mut bytes);
            let record = start..bytes.len() as u32;
            let (exchange, key, extra_keys) = (0..0, 0..0, 0..0);
            let (lane, mandatory, awaited, persistent) = (1, false, true, true);
            items.push(Publish { record, exchange, key, extra_keys, lane, mandatory, awaited, persistent });
        }
        let runs = vec![RoutedRun { items: 0..items.len() as u32, route: 0, volatile: false }];
        let (bytes, extra_keys) = (bytes.freeze(), Vec::new());
        let terms = terms.into().map(|terms| (0, terms)).into_iter().collect();
        let batch = Arc::new(Publishes { bytes, items, extra_keys, terms });
        let (hub, call, link, awaited) = (HubId(0), Call(5), None, true);
        let routes = vec![std::iter::once(QueueId(1)).collect()];
        self.take(ShardOp::Publish(ShardPublish { hub, call, awaited, link, batch, runs, routes }));
    }

    fn ask_share(&mut self, group: &str, verb: ShareVerb) {
        let (session, call, partition) = (SESSION, Call(6), QueueId(1));
        self.take(ShardOp::Share(ShardShare { session, call, partition, group: group.to_owned(), verb }));
    }

    /// How many records wait for the group that was asked about last, when it is known.
    fn pending(&mut self) -> u64 {
        loop {
            let said = std::mem::take(&mut self.effects);
            let answer = said.into_iter().find_map(|(_, effect)| match effect {
                ShardEffect::Answer { answer: Ok(Answer::Share(Ok(answer))), .. } => Some(answer),
                _ => None,
            });
            if let Some(ShareAnswer::Put { info, .. } | ShareAnswer::Info(info)) = answer {
                return info.pending;
            }
            let start = thread_time();
            self.shard.tick(&mut self.log, &mut self.effects);
            self.turns.push(thread_time() - start);
        }
    }

    /// The worst turns since the last call, in words. The very worst may be the machine's doing.
    fn worst(&mut self) -> String {
        self.turns.sort_unstable();
        let count = self.turns.len();
        let at = |from_top: usize| self.turns[count.saturating_sub(1 + from_top)];
        let said = format!(
            "{count} turns, half above {:.1?}, 1 % above {:.1?}, 0.01 % above {:.1?}, worst {:.1?}",
            at(count / 2),
            at(count / 100),
            at(count / 10_000),
            at(0)
        );
        self.turns.clear();
        said
    }
}

impl Bench {
    /// Writes a snapshot as the runner does: how many chunks it has, and its worst turn.
    fn snapshot(&mut self) -> (usize, Duration) {
        let (mut chunks, mut worst) = (None, Duration::ZERO);
        let mut start = thread_time();
        self.shard.begin_snapshot();
        while chunks.is_none() {
            chunks = self.shard.step_snapshot();
            let took = thread_time() - start;
            self.turns.push(took);
            worst = worst.max(took);
            start = thread_time();
        }
        (chunks.map_or(0, |chunks| chunks.len()), worst)
    }
}

fn batch(bytes: usize, count: u32) -> Batch {
    let bytes = Bytes::from(vec![7; bytes]);
    Batch { bytes, format: Format::KafkaBatch, count, time_max_ms: None, producer: None, keys: Vec::new() }
}

fn measure(what: &str, count: u32, mut run: impl FnMut()) {
    let start = thread_time();
    (0..count).for_each(|_| run());
    println!("{what}: {:.0} ns", (thread_time() - start).as_nanos() as f64 / f64::from(count));
}

fn hot_paths() {
    let mut bench = Bench::new(12, &StreamSettings::default());
    let of_16 = batch(16 << 10, 16);
    measure("append one batch of 16 KB to one partition, a turn", 100_000, || bench.append(1..=1, &of_16));
    measure("append to twelve partitions in one request, a batch", 20_000, || bench.append(1..=12, &of_16));
    let end = 20_000 * 16;
    let read = |from: u64| {
        let part = |id| ShardReadPart {
            partition: QueueId(id),
            from: Position(from),
            bytes_max: 1 << 20,
            stable: true,
        };
        let (call, bytes_max, watch) = (Call(2), 1 << 20, Some(1));
        ShardOp::Read(ShardRead {
            session: SESSION,
            call,
            parts: (2..=12).map(part).collect(),
            bytes_max,
            watch,
        })
    };
    measure("read 1 MB of eleven partitions, a turn", 20_000, || bench.take(read(end / 3)));
    measure("read nothing at the end of eleven, with a watch, a turn", 20_000, || bench.take(read(end)));
    let parts = vec![(QueueId(2), SeekBy::Time(999_999_999))];
    let (hub, call) = (HubId(0), Call(3));
    measure("search by time", 20_000, || bench.take(ShardOp::Seek { hub, call, parts: parts.clone() }));
}

fn many_batches() {
    let mut bench = Bench::new(1, &StreamSettings::default());
    let small = batch(1 << 10, 1);
    let before = ALLOCATED.load(Relaxed);
    for n in 0..2_000_000u32 {
        bench.append(1..=1, &small);
        if n % 64 == 0 {
            bench.log.advance_ms(1);
        }
        if n % 100_000 == 99_999 {
            let (chunks, took) = bench.snapshot();
            if n == 1_999_999 {
                println!("snapshot of two million batches: {chunks} chunks, worst turn {took:.1?}");
            }
            let mut changes = Vec::new();
            bench.shard.live_changes(&mut changes);
        }
    }
    let each = (ALLOCATED.load(Relaxed) - before) as f64 / 2e6;
    println!("a batch costs {each:.1} bytes; {}", bench.worst());
    let parts = vec![(QueueId(1), Position(1_900_000))];
    bench.take(ShardOp::Trim { hub: HubId(0), call: Call(4), parts });
    bench.tick_until_done();
    println!("trim and let go of 1.9 million: {}", bench.worst());
}

fn many_keys() {
    let settings = StreamSettings { compact: true, ..StreamSettings::default() };
    let mut bench = Bench::new(1, &settings);
    let before = ALLOCATED.load(Relaxed);
    for round in 0..3u64 {
        for n in 0..100_000u64 {
            let key = |i: u64| {
                let hash = u128::from(n * 10 + i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                KeyMark { hash, tombstone: round == 2 && n % 4 == 0 }
            };
            bench.append(1..=1, &Batch { keys: (0..10).map(key).collect(), ..batch(1 << 10, 10) });
            if n % 64 == 0 {
                bench.log.seal();
                bench.log.advance_ms(10);
                bench.tick_until_done();
            }
        }
        if round == 0 {
            let each = (ALLOCATED.load(Relaxed) - before) as f64 / 1e6;
            println!("a key and its tenth of a batch cost {each:.1} bytes");
        }
        bench.snapshot();
    }
    println!("a million keys, written three times: {}", bench.worst());
    bench.log.seal();
    bench.log.advance_ms(48 * 60 * 60 * 1000);
    bench.tick_until_done();
    println!("their compaction and the end of a quarter of them: {}", bench.worst());
}

/// A million subjects, two records each, and groups that want half of them.
fn many_subjects() {
    let by_record = StreamSettings { records: Some(Box::default()), ..StreamSettings::default() };
    let mut bench = Bench::new(1, &by_record);
    let before = ALLOCATED.load(Relaxed);
    for n in 0..2_000u32 {
        if n == 1_000 {
            let each = (ALLOCATED.load(Relaxed) - before) as f64 / 1e6;
            println!("a subject with one record costs {each:.1} bytes");
        }
        let subjects = (0..1000).map(|i| (n * 1000 + i) % 1_000_000);
        bench.publish(subjects.map(|n| format!("k.{n}.{}", n % 2)).collect());
    }
    bench.tick_until_done();
    println!("two million records of a million subjects, a thousand at a time: {}", bench.worst());
    reads(&mut bench);
    conditions(&mut bench);
    for round in 0..50 {
        bench.publish(
            (0..1000).map(|n| format!("k.{}.{round}", (n * 997 + round * 31) % 1_000_000)).collect(),
        );
    }
    println!("a thousand new subjects, scattered over all, fifty times: {}", bench.worst());
    let half = [Pattern::new("k.*.1").expect("a pattern")];
    let (last, all) = (ShareStart::LastPerSubject, ShareStart::All);
    let none = [Pattern::new("k.*.2").expect("a pattern")];
    let groups = [
        ("last", last, &half[..]),
        ("last of all", last, &[]),
        ("half", all, &half[..]),
        ("the last one", ShareStart::Last, &half[..]),
        ("the last one of none", ShareStart::Last, &none[..]),
    ];
    for (name, start, filters) in groups {
        let settings = ShareSettings { start, filters: filters.to_vec(), ..ShareSettings::default() };
        bench.ask_share(name, ShareVerb::Put { settings: Box::new(settings), expect: Expect::New });
        let waiting = bench.pending();
        println!("group '{name}' is made, {waiting} wait: {}", bench.worst());
    }
    bench.publish((0..1000).map(|n| format!("k.{n}.1")).collect());
    bench.tick_until_done();
    println!("a thousand records more for all: {}", bench.worst());
    for (name, ..) in groups {
        bench.ask_share(name, ShareVerb::Info);
        let waiting = bench.pending();
        println!("group '{name}' is asked, {waiting} wait: {}", bench.worst());
    }
    let of = PurgeOf { subjects: half.first().cloned(), below: None, keep: Some(490_000) };
    let (hub, call, partition) = (HubId(0), Call(7), QueueId(1));
    bench.take(ShardOp::Records(ShardRecords { hub, call, partition, ask: RecordsAsk::Purge(of) }));
    bench.tick_until_done();
    println!("half a million records are purged by subject: {}", bench.worst());
    for (name, ..) in groups {
        bench.ask_share(name, ShareVerb::Delete);
        bench.tick_until_done();
        println!("group '{name}' goes: {}", bench.worst());
    }
}

/// A million records of as many subjects, scattered, that go by age, each leaving a marker or nothing.
fn ageing(marker_ttl_ms: Option<u64>) {
    let records = RecordSettings { marker_ttl_ms, ..RecordSettings::default() };
    let records = Some(Box::new(records));
    let mut bench =
        Bench::new(1, &StreamSettings { records, retention_ms: Some(1000), ..StreamSettings::default() });
    for n in 0..1_000u64 {
        bench.publish((0..1000).map(|i| format!("k.{}", (n * 1000 + i) * 7919 % 1_000_000)).collect());
    }
    bench.turns.clear();
    bench.log.seal();
    bench.log.advance_ms(10_000);
    bench.tick_until_done();
    let leaving = if marker_ttl_ms.is_some() { "a marker each" } else { "nothing" };
    println!("a million records go by age, leaving {leaving}: {}", bench.worst());
}

/// A million records of as many subjects, scattered, that are purged at once.
fn purge_of_all() {
    let records = Some(Box::default());
    let mut bench = Bench::new(1, &StreamSettings { records, ..StreamSettings::default() });
    for n in 0..1_000u64 {
        bench.publish((0..1000).map(|i| format!("k.{}", (n * 1000 + i) * 7919 % 1_000_000)).collect());
    }
    bench.turns.clear();
    let (hub, call, partition, ask) = (HubId(0), Call(9), QueueId(1), RecordsAsk::Purge(PurgeOf::default()));
    bench.take(ShardOp::Records(ShardRecords { hub, call, partition, ask }));
    bench.tick_until_done();
    println!("a million records are purged at once: {}", bench.worst());
}

/// Publishes that depend on the last one of a million subjects of which none is among the newest.
fn conditions(bench: &mut Bench) {
    let none = Pattern::new("k.*.2");
    for n in 0..20 {
        let last = Some(LastOf { subjects: none.clone(), position: None });
        bench.publish_if(vec![format!("k.{n}.1")], Terms { last, ..Terms::default() });
        bench.tick_until_done();
    }
    println!("twenty publishes on the condition that nothing matches: {}", bench.worst());
}

/// Reads of a million subjects that match few or none of them, or list many.
fn reads(bench: &mut Bench) {
    let none = || Pattern::new("k.*.2").expect("a pattern");
    let half = || Pattern::new("k.*.1").expect("a pattern");
    let (from, bytes_max) = (ScanFrom::Position(Position(0)), u64::MAX);
    let lasts = |subjects| LastsOf {
        subjects: vec![subjects],
        as_of: None,
        subjects_max: 16_384,
        from: Position(0),
        count_max: 4096,
        bytes_max,
    };
    let page = |pattern| SubjectsOf { pattern, offset: 400_000, count_max: 100_000 };
    let of = |subjects| StateOf { subjects: Some(page(subjects)), holes_max: Some(100_000) };
    let asks = [
        ("the last one of none", RecordsAsk::Get(vec![Wanted::Last(none())])),
        (
            "the first one of none",
            RecordsAsk::Get(vec![Wanted::Next { subjects: none(), from: Position(0) }]),
        ),
        ("all of none", RecordsAsk::Scan(ScanOf { subjects: none(), from, count_max: 4096, bytes_max })),
        ("4096 of half", RecordsAsk::Scan(ScanOf { subjects: half(), from, count_max: 4096, bytes_max })),
        ("the last of each of none", RecordsAsk::Lasts(lasts(none()))),
        ("the last of each of half, which are too many", RecordsAsk::Lasts(lasts(half()))),
        ("a page of half of the subjects, and the holes", RecordsAsk::State(of(half()))),
        ("a page of all subjects, and the holes", RecordsAsk::State(of(Pattern::everything()))),
    ];
    for (what, ask) in asks {
        let (hub, call, partition) = (HubId(0), Call(8), QueueId(1));
        bench.take(ShardOp::Records(ShardRecords { hub, call, partition, ask }));
        bench.tick_until_done();
        println!("read {what}: {}", bench.worst());
    }
}

fn idle_partitions() {
    let before = ALLOCATED.load(Relaxed);
    let mut bench = Bench::new(10_000, &StreamSettings::default());
    let turns = bench.turns.capacity() * size_of::<Duration>();
    let each = (ALLOCATED.load(Relaxed) - before - turns) / 10_000;
    println!("an idle partition costs {each} bytes");
    let small = batch(1 << 10, 1);
    for id in 1..=10_000 {
        bench.append(id..=id, &small);
    }
    let each = (ALLOCATED.load(Relaxed) - before - turns) / 10_000;
    bench.turns.clear();
    let (_, took) = bench.snapshot();
    println!(
        "one with a batch in it {each} bytes; the worst turn of a snapshot of ten thousand takes {took:.1?}"
    );
}

fn main() {
    hot_paths();
    many_batches();
    many_keys();
    many_subjects();
    ageing(None);
    ageing(Some(1000));
    purge_of_all();
    idle_partitions();
}
