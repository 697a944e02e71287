//! Golden bytes of the entries about streams, and that what was cut is refused.

use super::*;
use crate::shard::entry::Entry;
use stele_model::id::NamespaceId;
use stele_model::stream::{StreamSettings, TimeKind};

const GOLDEN: &str = include_str!("../../../../docs/golden/stream-entries-v1.txt");
const PARTITION: QueueId = QueueId(0x0102);

fn full_spec() -> PartitionSpec {
    let settings = StreamSettings {
        retention_ms: Some(1),
        retention_bytes: Some(2),
        delete: true,
        compact: true,
        compact_after_ms: 3,
        tombstone_ms: 4,
        batch_bytes_max: 5,
        capture: true,
        time: TimeKind::Append,
        records: None,
    };
    PartitionSpec {
        id: PARTITION,
        namespace: NamespaceId(9),
        stream: "orders".to_owned(),
        index: 7,
        settings,
    }
}

fn plain_spec() -> PartitionSpec {
    PartitionSpec { settings: StreamSettings::default(), ..full_spec() }
}

fn batch(bytes: &'static [u8], numbered: bool) -> Batch {
    Batch {
        bytes: bytes.into(),
        format: if numbered { Format::KafkaBatch } else { Format::Records },
        count: 3,
        time_max_ms: numbered.then_some(1_700_000_000_000),
        producer: numbered.then_some(Producer { id: 1, epoch: 2, sequence: 3 }),
        keys: Vec::new(),
    }
}

fn append(out: &mut Vec<u8>) {
    begin_append(out, 2);
    put_part(out, PARTITION, Position(10), &batch(b"aabbb", true), false);
    put_part(out, QueueId(3), Position(0), &batch(b"cc", false), false);
    out.extend_from_slice(b"aabbbcc");
}

fn keyed(out: &mut Vec<u8>) {
    begin_append(out, 1);
    let keys = [(0x1234, false), (0xffff, true), (2, true)];
    let keys = keys.map(|(hash, tombstone)| KeyMark { hash, tombstone }).to_vec();
    put_part(out, PARTITION, Position(10), &Batch { keys, ..batch(b"aabbb", false) }, true);
    out.extend_from_slice(b"aabbb");
}

type Writer = fn(&mut Vec<u8>);

const ENTRIES: [(&str, Writer); 8] = [
    ("append", append),
    ("put-partition", |out| put_put_partition(out, Revision(4), &full_spec())),
    ("put-partition-plain", |out| put_put_partition(out, Revision(4), &plain_spec())),
    ("trimmed", |out| put_trimmed(out, PARTITION, Position(77))),
    ("producer", |out| put_producer(out, 1 << 40 | 5)),
    ("producers-gone", |out| put_producers_gone(out, PARTITION, 1_700_000_000_000)),
    ("append-keyed", keyed),
    ("compacted", |out| {
        put_compacted(out, PARTITION, Step { tombstones_below: Position(5), batches_below: Position(6) });
    }),
];

fn written(write: Writer) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn entries_are_the_golden_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<String> =
        ENTRIES.iter().map(|(name, write)| format!("{name} {}\n", hex(&written(*write)))).collect();
    assert_eq!(lines.concat(), GOLDEN);
}

#[test]
fn an_append_reads_back() {
    let bytes = written(append);
    let Ok(Entry::Stream(StreamEntry::Append(append))) = Entry::parse(&bytes) else { panic!("an append") };
    let part = |partition, first, numbered, bytes| {
        let batch = batch(bytes, numbered);
        let Batch { format, count, time_max_ms: newest_ms, producer, .. } = batch;
        Part { partition, first, format, count, newest_ms, producer, keys: &[], bytes }
    };
    let parts = [part(PARTITION, Position(10), true, b"aabbb"), part(QueueId(3), Position(0), false, b"cc")];
    assert_eq!(append.parts[..], parts);
    assert_eq!(&bytes[append.batches_at as usize..], b"aabbbcc");
}

#[test]
fn keys_read_back_without_their_lowest_bit() {
    let bytes = written(keyed);
    let Ok(Entry::Stream(StreamEntry::Append(append))) = Entry::parse(&bytes) else { panic!("an append") };
    let keys: Vec<(u128, bool)> = append.parts[0].keys().map(|key| (key.hash, key.tombstone)).collect();
    assert_eq!(keys, [(0x1234, false), (0xfffe, true), (2, true)]);
}

#[test]
fn settings_read_back() {
    for spec in [full_spec(), plain_spec()] {
        let mut bytes = Vec::new();
        put_put_partition(&mut bytes, Revision(4), &spec);
        let put = StreamEntry::PutPartition { revision: Revision(4), spec: Box::new(spec) };
        assert_eq!(Entry::parse(&bytes), Ok(Entry::Stream(put)));
    }
}

#[test]
fn an_entry_that_was_cut_is_refused() {
    for (name, write) in ENTRIES {
        let whole = written(write);
        for len in 0..whole.len() {
            assert!(Entry::parse(&whole[..len]).is_err(), "{len} bytes of {name}");
        }
    }
}
