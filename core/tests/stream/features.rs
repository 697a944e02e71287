//! What partitions do, one thing at a time.

use stele_core::shard::Shard;
use stele_core::testing::MemoryLog;
use stele_model::id::{
    Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId, SubscriptionId,
};
use stele_model::machine::{Journal, Machine};
use stele_model::refusal::Refusal;
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{Answer, ShardEffect, ShardOp, ShardSubscribe};
use stele_model::stream::{
    Appended, Batch, Format, Opened, PartResult, PartitionSpec, ShardAppend, ShardRead, ShardReadPart,
    StreamRefusal, StreamSettings, StreamStart,
};

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) log: MemoryLog,
}

pub(crate) type Said = Vec<(Lsn, ShardEffect)>;

pub(crate) const READER: SessionId = SessionId { hub: HubId(1), number: 7 };

pub(crate) fn batch(bytes: &'static [u8]) -> Batch {
    Batch {
        bytes: bytes.into(),
        format: Format::KafkaBatch,
        count: 2,
        time_max_ms: None,
        producer: None,
        keys: Vec::new(),
    }
}

impl Rig {
    /// A shard with partitions 1 and 2 of these settings.
    pub(crate) fn new(settings: &StreamSettings) -> Self {
        let mut rig = Self { shard: Shard::new(ShardId(3)), log: MemoryLog::new(1 << 20) };
        for id in 1..=2 {
            rig.put(id, settings.clone());
        }
        rig.log.seal();
        rig
    }

    pub(crate) fn ask(&mut self, op: ShardOp) -> Said {
        let mut effects = Vec::new();
        self.shard.take(op, &mut self.log, &mut effects);
        effects
    }

    pub(crate) fn put(&mut self, id: u64, settings: StreamSettings) {
        let (namespace, stream) = (NamespaceId(1), "s".to_owned());
        let partition = PartitionSpec { id: QueueId(id), namespace, stream, index: 0, settings };
        self.ask(ShardOp::PutPartition { revision: Revision(1), partition });
    }

    pub(crate) fn append(&mut self, parts: Vec<(u64, Batch)>) -> (Lsn, Vec<PartResult<Appended>>) {
        let parts = parts.into_iter().map(|(id, batch)| (QueueId(id), batch)).collect();
        let append = ShardAppend { hub: HubId(0), call: Call(1), awaited: true, parts, records: Vec::new() };
        let mut said = self.ask(ShardOp::Append(append));
        match said.remove(0) {
            (after, ShardEffect::Appended { parts, .. }) => (after, parts),
            other => panic!("{other:?}"),
        }
    }

    /// Time goes on, and the shard does what is due.
    fn pass(&mut self, ms: u64) {
        self.log.seal();
        self.log.advance_ms(ms);
        while self.shard.deadline().is_some_and(|at| at <= self.log.now()) {
            self.shard.tick(&mut self.log, &mut Vec::new());
        }
    }

    /// First position of partition 1 that can be read.
    fn start(&mut self) -> u64 {
        let said = self.read(1, u64::from(u32::MAX), None);
        match &said[..] {
            [(_, ShardEffect::Read { parts, .. })] => match &parts[..] {
                [Err(Refusal::Stream(StreamRefusal::OutOfRange { ends }))] => ends.start.0,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn read(&mut self, id: u64, from: u64, watch: Option<u64>) -> Said {
        let (partition, from) = (QueueId(id), Position(from));
        let parts = vec![ShardReadPart { partition, from, bytes_max: 1 << 20, stable: false }];
        self.ask(ShardOp::Read(ShardRead {
            session: READER,
            call: Call(2),
            parts,
            bytes_max: 1 << 20,
            watch,
        }))
    }
}

#[test]
fn all_parts_of_an_append_that_fit_are_one_entry_and_each_batch_stands_in_it_once() {
    let mut rig = Rig::new(&StreamSettings::default());
    let before = rig.log.entries().len();
    let (after, parts) = rig.append(vec![(1, batch(b"aaaa")), (2, batch(b"bbbbbb"))]);
    assert_eq!(rig.log.entries().len(), before + 1);
    let at = |first| Ok(Appended::At { first: Position(first), start: Position(0) });
    assert_eq!(parts, [at(0), at(0)]);
    let entry = rig.log.entries().last().unwrap();
    assert_eq!(entry.place.lsn, after);
    assert!(entry.bytes.ends_with(b"aaaabbbbbb"));
    assert_eq!(entry.bytes.len(), 8 + 2 * 26 + 10);
    assert_eq!(rig.append(vec![(1, batch(b"c"))]).1, [at(2)]);
}

#[test]
fn a_batch_that_is_too_large_is_refused_and_the_others_stand() {
    let mut rig = Rig::new(&StreamSettings { batch_bytes_max: 3, ..StreamSettings::default() });
    let (_, parts) = rig.append(vec![(1, batch(b"aaaa")), (9, batch(b"b")), (2, batch(b"bbb"))]);
    let refused = |refusal| Err(Refusal::Stream(refusal));
    assert_eq!(parts[0], refused(StreamRefusal::TooLarge { max: 3 }));
    assert_eq!(parts[1], refused(StreamRefusal::UnknownPartition));
    assert_eq!(parts[2], Ok(Appended::At { first: Position(0), start: Position(0) }));
}

#[test]
fn a_reader_at_the_end_is_woken_once_and_after_the_block_of_what_came() {
    let mut rig = Rig::new(&StreamSettings::default());
    assert_eq!(rig.read(1, 0, Some(5)).len(), 1);
    let parts = vec![(QueueId(1), batch(b"aa"))];
    let append = || ShardAppend {
        hub: HubId(0),
        call: Call(1),
        awaited: true,
        parts: parts.clone(),
        records: Vec::new(),
    };
    let said = rig.ask(ShardOp::Append(append()));
    let woken = |said: &Said| {
        let woken = said.iter().filter(|(_, effect)| matches!(effect, ShardEffect::Woken { .. }));
        woken.map(|(after, _)| *after).collect::<Vec<_>>()
    };
    assert_eq!(woken(&said), [rig.log.entries().last().unwrap().place.lsn]);
    assert!(woken(&rig.ask(ShardOp::Append(append()))).is_empty());
}

#[test]
fn each_producer_gets_a_number_of_its_own_also_after_a_restart() {
    let mut rig = Rig::new(&StreamSettings::default());
    let number =
        |rig: &mut Rig| match rig.ask(ShardOp::NewProducer { hub: HubId(0), call: Call(3) }).remove(0) {
            (after, ShardEffect::Answer { answer: Ok(Answer::Producer(number)), .. }) => {
                assert_eq!(after, rig.log.entries().last().unwrap().place.lsn);
                number
            }
            other => panic!("{other:?}"),
        };
    let first = number(&mut rig);
    assert_eq!(first, 3 << 40 | 1);
    let mut shard = Shard::new(ShardId(3));
    rig.log.replay(Lsn(0), &mut shard).unwrap();
    rig.shard = Shard::restore(&shard.snapshot()).unwrap();
    assert_eq!(number(&mut rig), first + 1);
}

const SUBSCRIPTION: SubscriptionId = SubscriptionId { session: READER, number: 3 };

fn subscribe(start: StreamStart, messages_max: u32) -> ShardOp {
    ShardOp::Subscribe(ShardSubscribe {
        call: Call(4),
        subscription: SUBSCRIPTION,
        queue: QueueId(1),
        no_ack: false,
        exclusive: false,
        messages_max: Some(messages_max),
        bytes_max: 1 << 20,
        priority: 0,
        start: Some(start),
    })
}

/// What is delivered: after which block, first position, how many.
fn delivered(said: &Said) -> Vec<(Lsn, u64, u32)> {
    let each = said.iter().filter_map(|(after, effect)| match effect {
        ShardEffect::DeliverBatches { subscription: SUBSCRIPTION, batches, .. } => {
            Some(batches.iter().map(|of| (*after, of.from.0, of.count)))
        }
        _ => None,
    });
    each.flatten().collect()
}

fn settle(first: u64, count: u32, how: How) -> ShardOp {
    let runs = vec![Run { first: Position(first), count }];
    ShardOp::Settle {
        session: READER,
        settles: vec![Settle { subscription: 3, queue: QueueId(1), how, runs }],
    }
}

/// An opening has ended before a position.
fn opened(sent: u64, unused: u64, next: u64) -> ShardOp {
    let (subscription, partition, next) = (SUBSCRIPTION, QueueId(1), Position(next));
    ShardOp::Opened(Opened { subscription, partition, sent, unused, next, is_large: false })
}

#[test]
fn a_subscription_gets_what_was_there_and_what_comes_and_a_settle_only_gives_credit() {
    let mut rig = Rig::new(&StreamSettings::default());
    rig.append(vec![(1, batch(b"aa")), (1, batch(b"bb"))]);
    let block = rig.log.entries().last().unwrap().place.lsn;
    let said = rig.ask(subscribe(StreamStart::Position(Position(1)), 3));
    assert!(matches!(said[0], (Lsn(0), ShardEffect::Answer { answer: Ok(Answer::Subscribed { .. }), .. })));
    assert_eq!(delivered(&said), [(block, 1, 1), (block, 2, 2)]);
    assert!(rig.ask(opened(12, 0, 4)).is_empty());
    rig.log.seal();
    let append = |bytes| {
        let parts = vec![(QueueId(1), batch(bytes))];
        ShardOp::Append(ShardAppend {
            hub: HubId(0),
            call: Call(1),
            awaited: true,
            parts,
            records: Vec::new(),
        })
    };
    assert!(delivered(&rig.ask(append(b"cc"))).is_empty(), "there is no credit");
    let entries = rig.log.entries().len();
    let next = rig.log.entries().last().unwrap().place.lsn;
    assert_eq!(delivered(&rig.ask(settle(1, 1, How::Reject))), [(next, 4, 1)]);
    assert!(delivered(&rig.ask(settle(2, 1, How::Accept))).is_empty(), "one is being opened");
    assert_eq!(delivered(&rig.ask(opened(9, 1, 4))), [(next, 4, 2)], "nothing was opened");
    assert_eq!(delivered(&rig.ask(opened(9, 1, 5))), [(next, 5, 1)], "a part was");
    assert!(rig.ask(opened(9, 0, 6)).is_empty());
    assert!(delivered(&rig.ask(settle(2, 2, How::Accept))).is_empty(), "that is all");
    assert_eq!(rig.log.entries().len(), entries, "credit is not logged");
    assert_eq!(rig.read(1, 0, None).len(), 1, "all is still there");
    assert_eq!(delivered(&rig.ask(append(b"dd"))).len(), 1);
}

#[test]
fn readers_of_a_partition_that_goes_are_told_and_those_of_a_session_that_goes_are_forgotten() {
    let mut rig = Rig::new(&StreamSettings::default());
    rig.ask(subscribe(StreamStart::Next, 10));
    rig.ask(ShardOp::SessionGone { session: READER });
    rig.append(vec![(1, batch(b"aa"))]);
    let said = rig.ask(subscribe(StreamStart::First, 10));
    assert_eq!(delivered(&said).len(), 1);
    let said = rig.ask(ShardOp::Drop { revision: Revision(2), queue: QueueId(1) });
    let cancelled =
        |effect: &ShardEffect| matches!(effect, ShardEffect::Cancelled { subscription: SUBSCRIPTION });
    assert!(said.iter().any(|(_, effect)| cancelled(effect)));
}

#[test]
fn what_only_queues_do_is_refused() {
    let mut rig = Rig::new(&StreamSettings::default());
    let (queue, call, hub) = (QueueId(1), Call(9), HubId(0));
    for op in [
        ShardOp::Get { call, subscription: SUBSCRIPTION, queue, no_ack: true },
        ShardOp::Purge { hub, call, queue },
        ShardOp::Close { answer: Some((hub, call)), queue, if_unused: false, if_empty: false },
    ] {
        let said = rig.ask(op);
        let [(_, ShardEffect::Answer { answer: Err(Refusal::NotImplemented { .. }), .. })] = &said[..] else {
            panic!("{said:?}")
        };
    }
}

#[test]
fn what_was_too_old_when_it_came_stays_for_five_minutes_or_as_long_as_anything_may() {
    const DAY_MS: u64 = 86_400_000;
    for (retention_ms, stays_ms) in [(DAY_MS, 300_000), (60_000, 60_000)] {
        let mut rig =
            Rig::new(&StreamSettings { retention_ms: Some(retention_ms), ..StreamSettings::default() });
        rig.pass(10 * DAY_MS);
        rig.append(vec![(1, Batch { time_max_ms: Some(1234), ..batch(b"old") })]);
        rig.pass(stays_ms - 1);
        assert_eq!(rig.start(), 0, "whoever listens can read it");
        rig.pass(1);
        assert_eq!(rig.start(), 2);
        // What was new when it came goes by its time alone.
        rig.append(vec![(1, batch(b"new"))]);
        rig.pass(retention_ms - 1);
        assert_eq!(rig.start(), 2);
        rig.pass(1);
        assert_eq!(rig.start(), 4);
    }
}

#[test]
fn a_snapshot_of_ten_thousand_partitions_takes_many_short_turns_and_is_of_the_moment_it_began() {
    let mut rig = Rig::new(&StreamSettings::default());
    (3..=10_000).for_each(|id| rig.put(id, StreamSettings::default()));
    let before = rig.shard.logged();
    rig.shard.begin_snapshot();
    let (mut chunks, mut turns) = (None, 0u64);
    while chunks.is_none() {
        // Meanwhile what is written, what is not, and what was not there goes on.
        for id in [1 + turns * 97 % 10_000, 10_000 - turns % 10_000, 10_001 + turns] {
            rig.put(id, StreamSettings { retention_ms: Some(turns), ..StreamSettings::default() });
        }
        chunks = rig.shard.step_snapshot();
        turns += 1;
    }
    let chunks = chunks.unwrap_or_default();
    let bytes: usize = chunks.iter().map(|chunk| chunk.len()).sum();
    assert!(turns >= (bytes >> 16) as u64, "S7: {bytes} bytes in {turns} turns");
    assert!(turns >= 10_000 / 1024, "S7: ten thousand in {turns} turns");
    assert_eq!(Shard::restore(&chunks).map(|shard| shard.logged()), Ok(before));
}
