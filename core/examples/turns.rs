//! What a turn of the shard costs: `cargo run --release -p stele-core --example turns`.
//!
//! Prints nanoseconds per record for publish, delivery and settle, for bodies of 16 bytes and 1 KB, in batches as one socket read brings
//! them; then the worst turn while a backlog of 5 million grows, is snapshotted, purged and reclaimed; and the bytes that a ready record and
//! an idle queue cost. The journal counts and copies, but writes nothing.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and prints"
)]

use bytes::BytesMut;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use stele_core::shard::Shard;
use stele_core::testing::{MemoryLog, write_record};
use stele_model::id::{Call, HubId, Lsn, NamespaceId, QueueId, Revision, SessionId, ShardId, SubscriptionId};
use stele_model::machine::Machine;
use stele_model::op::Credit;
use stele_model::publish::{Publish, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::queue::{QueueSettings, QueueSpec};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{ShardEffect, ShardOp, ShardSubscribe};

const QUEUE: QueueId = QueueId(1);
const SESSION: SessionId = SessionId { hub: HubId(0), number: 1 };

/// A shard with its journal.
struct Bench {
    shard: Shard,
    log: MemoryLog,
    effects: Vec<(Lsn, ShardEffect)>,
    worst: Duration,
}

impl Bench {
    fn new() -> Self {
        let log = MemoryLog::new(4 << 20).forgetful();
        let mut bench =
            Self { shard: Shard::new(ShardId(0)), log, effects: Vec::new(), worst: Duration::ZERO };
        bench.put(QUEUE);
        bench
    }

    fn put(&mut self, id: QueueId) {
        let settings = QueueSettings { durable: true, ..QueueSettings::default() };
        let queue = QueueSpec { id, namespace: NamespaceId(1), name: format!("queue-{id}"), settings };
        self.take(ShardOp::Put { revision: Revision(1), queue });
    }

    fn take(&mut self, op: ShardOp) -> Duration {
        let start = Instant::now();
        self.shard.take(op, &mut self.log, &mut self.effects);
        let took = start.elapsed();
        self.worst = self.worst.max(took);
        took
    }

    fn tick_until_done(&mut self) -> u32 {
        let mut steps = 0;
        while self.shard.deadline().is_some() {
            let start = Instant::now();
            self.shard.tick(&mut self.log, &mut self.effects);
            self.worst = self.worst.max(start.elapsed());
            steps += 1;
        }
        steps
    }

    fn subscribe(&mut self, number: u64, no_ack: bool) {
        self.take(ShardOp::Subscribe(ShardSubscribe {
            call: Call(1),
            subscription: SubscriptionId { session: SESSION, number },
            queue: QUEUE,
            no_ack,
            exclusive: false,
            messages_max: None,
            bytes_max: 1 << 30,
            priority: 0,
        }));
    }

    fn publish(&mut self, batch: &Arc<Publishes>, volatile: bool) -> Duration {
        let items = 0..batch.items.len() as u32;
        self.take(ShardOp::Publish(ShardPublish {
            hub: HubId(0),
            call: Call(2),
            awaited: true,
            link: None,
            batch: Arc::clone(batch),
            runs: vec![RoutedRun { items, route: 0, volatile }],
            routes: vec![Route::from_slice(&[QUEUE])],
        }))
    }

    /// Settles what was delivered and gives the bytes back, as a session would.
    fn settle(&mut self, number: u64, no_ack: bool) -> Duration {
        let (mut bytes, mut runs) = (0u64, Vec::new());
        for (_, effect) in self.effects.drain(..) {
            let ShardEffect::Deliver { records, .. } = effect else { continue };
            bytes += records.iter().map(|grant| u64::from(grant.len)).sum::<u64>();
            if let Some(first) = records.first() {
                runs.push(Run { first: first.position, count: records.len() as u32 });
            }
        }
        let mut took = Duration::ZERO;
        if !no_ack {
            let settle = Settle { subscription: number, queue: QUEUE, how: How::Accept, runs };
            took += self.take(ShardOp::Settle { session: SESSION, settles: vec![settle] });
        }
        let credit = Credit { subscription: number, bytes };
        took + self.take(ShardOp::Credit { session: SESSION, queue: QUEUE, credit })
    }
}

fn batch(count: usize, body: usize, persistent: bool) -> Arc<Publishes> {
    let mut bytes = BytesMut::new();
    let mut items = Vec::new();
    for _ in 0..count {
        let start = bytes.len() as u32;
        write_record(&mut bytes, 0, None, persistent, &vec![7; body]);
        items.push(Publish {
            record: start..bytes.len() as u32,
            exchange: 0..0,
            key: 0..0,
            extra_keys: 0..0,
            lane: 1,
            mandatory: false,
            awaited: true,
            persistent,
        });
    }
    Arc::new(Publishes { bytes: bytes.freeze(), items, extra_keys: Vec::new() })
}

/// Publish, deliver and settle, batch by batch.
fn through(name: &str, body: usize, count: usize, no_ack: bool, persistent: bool) {
    let mut bench = Bench::new();
    bench.subscribe(1, no_ack);
    let batch = batch(count, body, persistent);
    let rounds = (4_000_000 / count).min((2 << 30) / (count * (body + 40)));
    let (mut publish, mut settle) = (Duration::ZERO, Duration::ZERO);
    let mut changes = Vec::new();
    for _ in 0..rounds {
        publish += bench.publish(&batch, !persistent);
        settle += bench.settle(1, no_ack);
        changes.clear();
        bench.shard.live_changes(&mut changes);
    }
    let records = (rounds * count) as f64;
    let (publish, settle) = (publish.as_nanos() as f64 / records, settle.as_nanos() as f64 / records);
    println!(
        "{name:34} batch {count:4}: publish+deliver {publish:6.1} ns, settle {settle:6.1} ns, {:5.1} M records/s",
        1000.0 / (publish + settle)
    );
}

fn backlog(records: usize) {
    let mut bench = Bench::new();
    let batch = batch(100, 16, true);
    let before = ALLOCATED.load(Relaxed);
    let start = Instant::now();
    for _ in 0..records / 100 {
        bench.publish(&batch, false);
        bench.effects.clear();
        bench.shard.live_changes(&mut Vec::new());
    }
    let took = start.elapsed();
    let bytes = ALLOCATED.load(Relaxed) - before;
    println!(
        "{records} ready: {:.1} ns each, {:.1} bytes each, worst turn {:?}",
        took.as_nanos() as f64 / records as f64,
        bytes as f64 / records as f64,
        bench.worst
    );
    let start = Instant::now();
    let chunks = bench.shard.snapshot();
    println!("snapshot of them: {:?}, {} chunks", start.elapsed(), chunks.len());
    drop(chunks);
    bench.worst = Duration::ZERO;
    bench.subscribe(1, false);
    bench.tick_until_done();
    println!("all given to one reader: worst turn {:?}", bench.worst);
    bench.worst = Duration::ZERO;
    bench.effects.clear();
    bench.take(ShardOp::SessionGone { session: SESSION });
    let steps = bench.tick_until_done();
    println!("its session gone: worst turn {:?} of {steps}", bench.worst);
    bench.worst = Duration::ZERO;
    let half = Run { first: stele_model::id::Position(0), count: u32::MAX };
    bench.subscribe(2, false);
    bench.tick_until_done();
    bench.effects.clear();
    bench.worst = Duration::ZERO;
    let settle = Settle { subscription: 2, queue: QUEUE, how: How::Accept, runs: vec![half] };
    bench.take(ShardOp::Settle { session: SESSION, settles: vec![settle] });
    let steps = bench.tick_until_done();
    println!("all accepted by one settle: worst turn {:?} of {steps}", bench.worst);
    for _ in 0..records / 100 {
        bench.publish(&batch, false);
        bench.effects.clear();
    }
    bench.worst = Duration::ZERO;
    let took = bench.take(ShardOp::Purge { hub: HubId(0), call: Call(3), queue: QUEUE });
    let steps = bench.tick_until_done();
    println!("purge: {took:?}, then worst turn {:?} of {steps}", bench.worst);
}

fn idle(queues: usize) {
    let mut bench = Bench::new();
    let batch = batch(1, 16, true);
    let before = ALLOCATED.load(Relaxed);
    for n in 0..queues {
        bench.put(QueueId(2 + n as u64));
    }
    bench.effects = Vec::new();
    let empty = ALLOCATED.load(Relaxed) - before;
    drop(batch);
    println!("{queues} idle queues: {} bytes each", empty / queues);
}

fn main() {
    for (name, body) in [("16 B", 16), ("1 KB", 1024)] {
        for count in [1, 100] {
            through(&format!("{name} persistent, acknowledged"), body, count, false, true);
            through(&format!("{name} transient, no ack"), body, count, true, false);
        }
    }
    backlog(5_000_000);
    idle(10_000);
}

/// Counts what is allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator's contract is unsafe; this one counts and hands through")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}
