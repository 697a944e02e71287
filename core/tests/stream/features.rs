//! What partitions do, one thing at a time.

use stele_core::shard::Shard;
use stele_core::testing::MemoryLog;
use stele_model::id::{Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId};
use stele_model::machine::Machine;
use stele_model::refusal::Refusal;
use stele_model::shard::{Answer, ShardEffect, ShardOp};
use stele_model::stream::{
    Appended, Batch, Format, PartResult, PartitionSpec, ShardAppend, ShardRead, ShardReadPart, StreamRefusal,
    StreamSettings,
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
