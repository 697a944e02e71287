//! Golden bytes of what streams log that tell their records apart, and that what was cut is refused.

use super::entry::{StreamEntry, put_put_partition, put_records_gone};
use crate::shard::entry::{Entry, Target, begin_publish, put_bundle, put_marks, put_publish_run};
use crate::stream::records::Marks;
use bytes::Bytes;
use stele_model::id::{NamespaceId, Position, QueueId, Revision};
use stele_model::settle::Run;
use stele_model::stream::echo::Echo;
use stele_model::stream::records::{Discard, RecordSettings, Retention, Rollup, Storage, Ttl};
use stele_model::stream::{PartitionSpec, StreamSettings};
use stele_model::subject::Pattern;
use stele_model::subject::renaming::{Measure, Piece, Renaming};

const GOLDEN: &str = include_str!("../../../../docs/golden/record-entries-v1.txt");
const PARTITION: QueueId = QueueId(0x0102);
const MARKS: Marks<'_> = Marks {
    id: Some(b"id"),
    rollup: Some(Rollup::Subject),
    ttl: Ttl::Ms(1000),
    due: None,
    ends: None,
    marker: true,
};

fn spec() -> PartitionSpec {
    let records = RecordSettings {
        subjects: ["a.*", "b.>"].into_iter().filter_map(Pattern::new).collect(),
        records_max: Some(1),
        per_subject_max: Some(2),
        discard: Discard::New { per_subject: true },
        dedupe_ms: 3,
        storage: Storage::Memory,
        retention: Retention::Work,
        first: Position(4),
        groups_max: Some(5),
        rollup: true,
        record_ttl: true,
        due: false,
        marker_ttl_ms: Some(6),
        deny_delete: true,
        deny_purge: true,
        sealed: true,
        no_ack: true,
        bundles: false,
        rename: None,
        echo: None,
    };
    let settings = StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() };
    let (namespace, stream) = (NamespaceId(9), "orders".to_owned());
    PartitionSpec { id: PARTITION, namespace, stream, index: 7, settings }
}

/// With what came later.
fn telling() -> PartitionSpec {
    let mut spec = spec();
    let pieces = vec![
        Piece::Text(Bytes::from_static(b"x")),
        Piece::Word(1),
        Piece::Hash { words: vec![1, 2], of: 9 },
        Piece::Split { word: 1, by: Bytes::from_static(b"-") },
        Piece::Cut(Measure { word: 2, bytes: 3, from_end: true }),
        Piece::Rest,
    ];
    let to = Renaming { from: Pattern::new("a.*.*.>").expect("it is well formed"), to: pieces };
    let records = spec.settings.records.as_mut().expect("it tells its records apart");
    records.bundles = true;
    records.rename = Some(to.clone());
    records.echo = Some(Echo { to, head_only: true });
    spec
}

fn entries() -> [(&'static str, Vec<u8>); 5] {
    let mut all: [Vec<u8>; 5] = Default::default();
    let [gone, marked, put, put_telling, bundle] = &mut all;
    let run = |first, count| Run { first: Position(first), count };
    put_records_gone(gone, PARTITION, &[run(5, 3), run(9, 1)]);
    begin_publish(marked, None, 1);
    put_publish_run(marked, 1, 3, &[Target { queue: PARTITION, first: Position(40), diverted: false }]);
    put_marks(marked, &MARKS);
    marked.extend_from_slice(b"abc");
    put_put_partition(put, Revision(4), &spec());
    put_put_partition(put_telling, Revision(4), &telling());
    begin_publish(bundle, None, 1);
    put_publish_run(bundle, 2, 6, &[Target { queue: PARTITION, first: Position(40), diverted: false }]);
    put_bundle(bundle, &[MARKS, Marks::NONE]);
    bundle.extend_from_slice(b"abcdef");
    let [gone, marked, put, put_telling, bundle] = all;
    [
        ("records-gone", gone),
        ("publish-marked", marked),
        ("put-partition-records", put),
        ("put-partition-telling", put_telling),
        ("publish-bundle", bundle),
    ]
}

#[test]
fn entries_are_the_golden_bytes() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: Vec<String> =
        entries().iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    assert_eq!(lines.concat(), GOLDEN);
}

#[test]
fn terms_and_settings_read_back() {
    let [_, (_, marked), (_, put), (_, put_telling), (_, bundle)] = entries();
    let Ok(Entry::Publish(publish)) = Entry::parse(&bundle) else { panic!("a publish") };
    assert_eq!((publish.bundle, publish.marks), (Some(vec![MARKS, Marks::NONE]), None));
    assert_eq!(&bundle[publish.records_at as usize..], b"abcdef");
    let Ok(Entry::Publish(publish)) = Entry::parse(&marked) else { panic!("a publish") };
    assert_eq!(publish.marks, Some(MARKS));
    assert_eq!(&marked[publish.records_at as usize..], b"abc");
    let expected = StreamEntry::PutPartition { revision: Revision(4), spec: Box::new(spec()) };
    assert_eq!(Entry::parse(&put), Ok(Entry::Stream(expected)));
    let expected = StreamEntry::PutPartition { revision: Revision(4), spec: Box::new(telling()) };
    assert_eq!(Entry::parse(&put_telling), Ok(Entry::Stream(expected)));
}

#[test]
fn an_entry_that_was_cut_is_refused() {
    for (name, whole) in entries() {
        // Runs fill the rest of their entry, so one that was cut between two of them is another entry.
        let is_whole = |len: usize| name == "records-gone" && len >= 12 && (len - 12).is_multiple_of(12);
        for len in (0..whole.len()).filter(|len| !is_whole(*len)) {
            assert!(Entry::parse(&whole[..len]).is_err(), "{len} bytes of {name}");
        }
    }
}
