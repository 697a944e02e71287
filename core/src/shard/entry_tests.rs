//! Golden bytes of every kind of entry, and that nothing can make the reader panic.

use super::*;
use proptest::prelude::*;
use stele_model::id::{HubId, NamespaceId, SessionId};
use stele_model::queue::{DeadLetter, Overflow, QueueKind, QueueSettings};

const GOLDEN: &str = include_str!("../../../docs/golden/shard-entries-v1.txt");
const RUNS: [Run; 2] = [Run { first: Position(5), count: 3 }, Run { first: Position(9), count: 1 }];
const QUEUE: QueueId = QueueId(0x0102);

fn full_spec() -> QueueSpec {
    let settings = QueueSettings {
        kind: QueueKind::Quorum,
        durable: true,
        auto_delete: true,
        ttl_ms: Some(1),
        expires_ms: Some(2),
        length_max: Some(3),
        bytes_max: Some(4),
        overflow: Overflow::RejectPublishDlx,
        dead_letter: Some(DeadLetter { exchange: "dlx".to_owned(), key: Some("k".to_owned()) }),
        priority_max: Some(5),
        delivery_max: Some(6),
        single_active: true,
        owner: Some(SessionId { hub: HubId(7), number: 8 }),
    };
    QueueSpec { id: QUEUE, namespace: NamespaceId(9), name: "orders".to_owned(), settings }
}

fn plain_spec() -> QueueSpec {
    let settings = QueueSettings::default();
    QueueSpec { id: QUEUE, namespace: NamespaceId(9), name: "q".to_owned(), settings }
}

fn publish(out: &mut Vec<u8>) {
    let target = |queue, first, diverted| Target { queue: QueueId(queue), first: Position(first), diverted };
    begin_publish(out, Some(LinkNumber { from: ShardId(2), number: 77 }), 2);
    put_publish_run(out, 2, 5, &[target(1, 10, false), target(2, 20, false)]);
    put_publish_run(out, 1, 2, &[target(1, 12, true)]);
    out.extend_from_slice(b"aabbbcc");
}

type Writer = fn(&mut Vec<u8>);

const ENTRIES: [(&str, Writer); 17] = [
    ("publish", publish),
    ("publish-of-nothing", |out| begin_publish(out, None, 0)),
    ("accept", |out| put_settle(out, QUEUE, How::Accept, &RUNS)),
    ("reject", |out| put_settle(out, QUEUE, How::Reject, &RUNS)),
    ("release", |out| put_settle(out, QUEUE, How::Release { seen: true, counted: true }, &RUNS)),
    ("release-unseen", |out| put_settle(out, QUEUE, How::Release { seen: false, counted: false }, &RUNS)),
    ("assign", |out| put_assign(out, QUEUE, &RUNS)),
    ("removed-expired", |out| put_removed(out, QUEUE, Why::Expired, &RUNS)),
    ("purged", |out| put_purged(out, QUEUE)),
    ("moving", |out| put_moving(out, 33, QUEUE, DeathReason::Rejected, &RUNS)),
    ("moved", |out| put_moved(out, 33)),
    ("put", |out| put_put(out, Revision(4), &full_spec())),
    ("put-plain", |out| put_put(out, Revision(4), &plain_spec())),
    ("dropped", |out| put_dropped(out, Revision(4), QUEUE)),
    ("closing", |out| put_closing(out, QUEUE)),
    ("owners-gone", |out| put_owners_gone(out, Boot(3))),
    ("synced", |out| put_synced(out, Revision(4), Boot(3))),
];

fn written(write: Writer) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn entries_are_the_golden_bytes() {
    let lines: Vec<String> =
        ENTRIES.iter().map(|(name, write)| format!("{name} {}\n", hex(&written(*write)))).collect();
    let started = format!("started {}\n", hex(&written(put_started)));
    assert_eq!(lines.concat() + &started, GOLDEN);
}

#[test]
fn a_publish_reads_back() {
    let bytes = written(publish);
    let Ok(Entry::Publish(publish)) = Entry::parse(&bytes) else { panic!("a publish") };
    assert_eq!(publish.link, Some(LinkNumber { from: ShardId(2), number: 77 }));
    let runs: Vec<(u32, &[u8], Vec<Target>)> =
        publish.runs().map(|run| (run.count, run.records, run.targets().collect())).collect();
    let target = |queue, first, diverted| Target { queue: QueueId(queue), first: Position(first), diverted };
    assert_eq!(runs[0], (2, &b"aabbb"[..], vec![target(1, 10, false), target(2, 20, false)]));
    assert_eq!(runs[1], (1, &b"cc"[..], vec![target(1, 12, true)]));
    assert_eq!(&bytes[publish.records_at as usize..], b"aabbbcc");
}

#[test]
fn settings_read_back() {
    for spec in [full_spec(), plain_spec()] {
        let mut bytes = Vec::new();
        put_put(&mut bytes, Revision(4), &spec);
        assert_eq!(Entry::parse(&bytes), Ok(Entry::Put { revision: Revision(4), spec: Box::new(spec) }));
    }
}

#[test]
fn settles_read_back() {
    for how in [How::Accept, How::Reject, How::Release { seen: false, counted: true }] {
        let mut bytes = Vec::new();
        put_settle(&mut bytes, QUEUE, how, &RUNS);
        let Ok(Entry::Settle { queue, how: read, runs }) = Entry::parse(&bytes) else { panic!("a settle") };
        assert_eq!((queue, read), (QUEUE, how));
        assert!(runs.iter().eq(RUNS));
    }
}

#[test]
fn an_entry_that_was_cut_is_refused_unless_a_run_ends_there() {
    for (name, write) in ENTRIES {
        let whole = written(write);
        for len in 0..whole.len() {
            let of_runs = matches!(whole[0], 2..=4 | 6);
            let head = if whole[0] == 6 { 20 } else { 12 };
            let at_a_run = of_runs && len >= head && (len - head) % 12 == 0;
            assert_eq!(Entry::parse(&whole[..len]).is_ok(), at_a_run, "{len} bytes of {name}");
        }
    }
}

#[test]
fn another_version_is_refused_by_name() {
    let mut bytes = written(put_started);
    bytes[1] = 2;
    assert_eq!(Entry::parse(&bytes), Err("is of version 2, kind 13".to_owned()));
}

proptest! {
    #[test]
    fn nothing_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        drop(Entry::parse(&bytes));
    }

    #[test]
    fn a_changed_byte_makes_no_reader_panic(which in 0..ENTRIES.len(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = written(ENTRIES[which].1);
        let at = at % bytes.len();
        bytes[at] = byte;
        drop(Entry::parse(&bytes));
    }
}
