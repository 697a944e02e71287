//! What a turn of the shard costs: `cargo run --release -p stele-core --example turns`.
//!
//! Prints nanoseconds per record for publish, delivery and settle, for bodies of 16 bytes and 1 KB, in batches as one socket read brings
//! them; then the worst turn while a backlog of 5 million grows, is snapshotted, purged and reclaimed; and the bytes that a ready record and
//! an idle queue cost. Times are this thread's on a processor, so that other load counts little. The journal writes nothing.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use bytes::BytesMut;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use stele_core::shard::Shard;
use stele_core::testing::{MemoryLog, write_record};
use stele_model::id::{
    Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId, SubscriptionId,
};
use stele_model::machine::Machine;
use stele_model::op::Credit;
use stele_model::publish::{Publish, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::queue::{QueueSettings, QueueSpec};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{ShardEffect, ShardOp, ShardSubscribe};

const QUEUE: QueueId = QueueId(1);
const SESSION: SessionId = SessionId { hub: HubId(0), number: 1 };

/// A moment of this thread's time on a processor.
struct Clock(Duration);

impl Clock {
    fn read() -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    }

    fn now() -> Self {
        Self(Self::read())
    }

    fn elapsed(&self) -> Duration {
        Self::read() - self.0
    }
}

/// A shard with its journal.
struct Bench {
    shard: Shard,
    log: MemoryLog,
    effects: Vec<(Lsn, ShardEffect)>,
    /// Whether each turn is measured; reading the clock costs more than a small turn.
    timed: bool,
    turns: Vec<Duration>,
}

impl Bench {
    fn new() -> Self {
        let log = MemoryLog::new(4 << 20).forgetful();
        let mut bench = Self {
            shard: Shard::new(ShardId(0)),
            log,
            effects: Vec::new(),
            timed: false,
            turns: Vec::with_capacity(1 << 20),
        };
        bench.put(QUEUE);
        bench
    }

    fn put(&mut self, id: QueueId) {
        let settings = QueueSettings { durable: true, ..QueueSettings::default() };
        let queue =
            Arc::new(QueueSpec { id, namespace: NamespaceId(1), name: format!("queue-{id}"), settings });
        self.take(ShardOp::Put { revision: Revision(1), queue });
    }

    fn take(&mut self, op: ShardOp) {
        let start = self.timed.then(Clock::now);
        self.shard.take(op, &mut self.log, &mut self.effects);
        self.turns.extend(start.map(|start| start.elapsed()));
    }

    fn tick_until_done(&mut self) -> u32 {
        let mut steps = 0;
        while self.shard.deadline().is_some() {
            let start = Clock::now();
            self.shard.tick(&mut self.log, &mut self.effects);
            self.turns.push(start.elapsed());
            steps += 1;
        }
        steps
    }

    /// Writes a snapshot as the runner does, and says what its turns took.
    fn snapshot(&mut self) -> String {
        let before = std::mem::take(&mut self.turns);
        let mut chunks = None;
        while chunks.is_none() {
            let start = Clock::now();
            if self.turns.is_empty() {
                self.shard.begin_snapshot();
            }
            chunks = self.shard.step_snapshot();
            self.turns.push(start.elapsed());
        }
        let said = format!("{} chunks, {}", chunks.map_or(0, |chunks| chunks.len()), self.worst());
        self.turns = before;
        said
    }

    /// The worst turns since the last call, in words. The very worst may be the machine's doing.
    fn worst(&mut self) -> String {
        self.turns.sort_unstable();
        let at = |from_top: usize| self.turns[self.turns.len().saturating_sub(1 + from_top)];
        let count = self.turns.len();
        let (half, percent, worst) = (at(count / 2), at(count / 100), at(0));
        let said =
            format!("{count} turns, half above {half:.0?}, 1 % above {percent:.0?}, worst {worst:.0?}");
        self.turns.clear();
        said
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
            start: None,
        }));
    }

    fn publish(&mut self, batch: &Arc<Publishes>, volatile: bool) {
        let items = 0..batch.items.len() as u32;
        self.take(ShardOp::Publish(ShardPublish {
            hub: HubId(0),
            call: Call(2),
            awaited: true,
            link: None,
            batch: Arc::clone(batch),
            runs: vec![RoutedRun { items, route: 0, volatile }],
            routes: vec![Route::from_slice(&[QUEUE])],
        }));
    }

    /// Settles what was delivered and gives the bytes back, as a session would.
    fn settle(&mut self, number: u64, no_ack: bool) {
        let (mut bytes, mut runs) = (0u64, Vec::new());
        for (_, effect) in self.effects.drain(..) {
            let ShardEffect::Deliver { records, .. } = effect else { continue };
            bytes += records.iter().map(|grant| u64::from(grant.len)).sum::<u64>();
            if let Some(first) = records.first() {
                runs.push(Run { first: first.position, count: records.len() as u32 });
            }
        }
        if !no_ack {
            let settle = Settle { subscription: number, queue: QUEUE, how: How::Accept, runs };
            self.take(ShardOp::Settle { session: SESSION, settles: vec![settle] });
        }
        let credit = Credit { subscription: number, bytes, messages_max: None };
        self.take(ShardOp::Credit { session: SESSION, queue: QUEUE, credit });
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
    Arc::new(Publishes { bytes: bytes.freeze(), items, ..Publishes::default() })
}

/// Publish, deliver and settle, batch by batch.
fn through(name: &str, body: usize, count: usize, no_ack: bool, persistent: bool) {
    let mut bench = Bench::new();
    bench.subscribe(1, no_ack);
    let batch = batch(count, body, persistent);
    let rounds = (4_000_000 / count).min((2 << 30) / (count * (body + 40)));
    let mut changes = Vec::new();
    let start = Clock::now();
    for _ in 0..rounds {
        bench.publish(&batch, !persistent);
        bench.settle(1, no_ack);
        changes.clear();
        bench.shard.live_changes(&mut changes);
    }
    let each = start.elapsed().as_nanos() as f64 / (rounds * count) as f64;
    println!("{name:34} batch {count:4}: {each:6.1} ns, {:5.1} M records/s", 1000.0 / each);
}

fn backlog(records: usize) {
    let mut bench = Bench::new();
    bench.timed = true;
    let batch = batch(100, 16, true);
    let before = ALLOCATED.load(Relaxed);
    let start = Clock::now();
    for _ in 0..records / 100 {
        bench.publish(&batch, false);
        bench.effects.clear();
        bench.shard.live_changes(&mut Vec::new());
    }
    let took = start.elapsed();
    let bytes = ALLOCATED.load(Relaxed) - before;
    println!(
        "{records} ready: {:.1} ns each, {:.1} bytes each; {}",
        took.as_nanos() as f64 / records as f64,
        bytes as f64 / records as f64,
        bench.worst()
    );
    println!("snapshot of them: {}", bench.snapshot());
    bench.subscribe(1, false);
    bench.tick_until_done();
    bench.effects = Vec::new();
    let leased = ALLOCATED.load(Relaxed) - before;
    println!("given to one reader: {} bytes each; {}", leased / records, bench.worst());
    println!("snapshot of them: {}", bench.snapshot());
    bench.take(ShardOp::SessionGone { session: SESSION });
    bench.tick_until_done();
    println!("its session gone: {}", bench.worst());
    println!("snapshot of them: {}", bench.snapshot());
    bench.subscribe(2, false);
    bench.tick_until_done();
    bench.effects.clear();
    bench.turns.clear();
    let all = Run { first: Position(0), count: u32::MAX };
    let settle = Settle { subscription: 2, queue: QUEUE, how: How::Accept, runs: vec![all] };
    bench.take(ShardOp::Settle { session: SESSION, settles: vec![settle] });
    bench.tick_until_done();
    println!("accepted by one settle: {}", bench.worst());
    bench.take(ShardOp::SessionGone { session: SESSION });
    for _ in 0..records / 100 {
        bench.publish(&batch, false);
        bench.effects.clear();
    }
    bench.turns.clear();
    bench.take(ShardOp::Purge { hub: HubId(0), call: Call(3), queue: QUEUE });
    bench.tick_until_done();
    println!("purged: {}", bench.worst());
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

/// Counts what is allocated from the allocator that the server uses.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator's contract is unsafe; this one counts and hands through")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Relaxed);
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        unsafe { MiMalloc.dealloc(memory, layout) }
    }
}
