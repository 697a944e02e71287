//! Golden bytes of entries about groups, and that nothing can make the reader panic.

use super::*;
use crate::shard::entry::Entry;
use proptest::prelude::*;

const GOLDEN: &str = include_str!("../../../../docs/golden/group-entries-v1.txt");
const HOME: QueueId = QueueId(0x0102);

fn profile(instance: Option<&str>, reads: Option<&[&str]>) -> Profile {
    Profile {
        number: "m-1".to_owned(),
        instance: instance.map(str::to_owned),
        client: "c".to_owned(),
        host: "/h".to_owned(),
        session_ms: 10_000,
        rebalance_ms: 60_000,
        protocols: vec![
            ("range".to_owned(), Bytes::from_static(b"abc")),
            ("sticky".to_owned(), Bytes::new()),
        ],
        reads: reads.map(|reads| reads.iter().map(|name| (*name).to_owned()).collect()),
    }
}

fn generation() -> Generation {
    let member = |instance, reads| Arc::new(profile(instance, reads));
    Generation {
        number: 7,
        kind: "reader".to_owned(),
        protocol: "range".to_owned(),
        leader: "m-1".to_owned(),
        members: vec![
            (member(None, Some(&["orders", "x"])), Bytes::from_static(b"part")),
            (member(Some("i"), None), Bytes::new()),
        ],
    }
}

fn positions() -> Vec<PositionEntry> {
    let of = |partition, position, epoch, metadata: &str| PositionEntry {
        partition: QueueId(partition),
        position: Position(position),
        epoch,
        metadata: metadata.into(),
    };
    vec![of(1, 42, 0, ""), of(2, u64::MAX, -1, "note")]
}

fn reading() -> Reading {
    let mut reading = Reading::default();
    reading.joined("orders", &[QueueId(7), QueueId(8)]);
    reading.joined("x", &[]);
    reading
}

type Writer = fn(&mut Vec<u8>);

const ENTRIES: [(&str, Writer); 11] = [
    ("generation", |out| put_generation(out, HOME, "g", &generation())),
    ("generation-empty", |out| put_generation(out, HOME, "g", &Generation::default())),
    ("member", |out| put_member(out, HOME, "g", "m-0", &profile(Some("i"), Some(&[])))),
    ("positions", |out| put_positions(out, HOME, "g", &positions())),
    ("positions-none", |out| put_positions(out, HOME, "g", &[])),
    ("forgotten", |out| put_forgotten(out, HOME, "g", &[QueueId(1), QueueId(2)])),
    ("group-gone", |out| put_group_gone(out, HOME, "g")),
    ("numbers", |out| put_numbers(out, 9)),
    ("home-gone", |out| put_home_gone(out, HOME)),
    ("reading", |out| put_reading(out, HOME, "g", &reading())),
    ("reading-nothing", |out| put_reading(out, HOME, "g", &Reading::default())),
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
fn entries_read_back() {
    let read = |write: Writer| match Entry::parse(&written(write)) {
        Ok(Entry::Group(entry)) => entry,
        other => panic!("an entry about groups, not {other:?}"),
    };
    let of = |what| GroupEntry::Of { home: HOME, group: "g".to_owned(), what };
    let member = What::Member { old: "m-0".to_owned(), profile: profile(Some("i"), Some(&[])) };
    let expected = [
        of(What::Generation(generation())),
        of(What::Generation(Generation::default())),
        of(member),
        of(What::Positions(positions())),
        of(What::Positions(Vec::new())),
        of(What::Forgotten(vec![QueueId(1), QueueId(2)])),
        of(What::Gone),
        GroupEntry::Numbers { epoch: 9 },
        GroupEntry::HomeGone { home: HOME },
        of(What::Reading(reading())),
        of(What::Reading(Reading::default())),
    ];
    for ((name, write), expected) in ENTRIES.into_iter().zip(expected) {
        assert_eq!(read(write), expected, "{name}");
    }
}

#[test]
fn an_entry_that_was_cut_or_has_more_is_refused() {
    for (name, write) in ENTRIES {
        let mut bytes = written(write);
        for len in 0..bytes.len() {
            assert!(Entry::parse(&bytes[..len]).is_err(), "{len} bytes of {name}");
        }
        bytes.push(0);
        assert!(Entry::parse(&bytes).is_err(), "{name} and a byte");
    }
}

proptest! {
    #[test]
    fn a_changed_byte_makes_no_reader_panic(which in 0..ENTRIES.len(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = written(ENTRIES[which].1);
        let at = at % bytes.len();
        bytes[at] = byte;
        drop(Entry::parse(&bytes));
    }
}
