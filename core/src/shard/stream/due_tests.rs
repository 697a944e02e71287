//! The bytes of records that are published again, and of partitions that have such, against golden ones.

use super::due::{AllCome, Come, bytes as due};
use super::entry::{StreamEntry, put_due, put_put_partition};
use super::marks;
use crate::shard::bytes::Input;
use crate::shard::entry::{Entry, Target, begin_publish, put_marks, put_publish_run};
use crate::stream::records::Marks;
use crate::stream::schedules::{Coming, Schedule};
use std::sync::Arc;
use stele_model::id::{NamespaceId, Position, QueueId, Revision};
use stele_model::repeat::{Clock, Moment, Repeat};
use stele_model::stream::due::How;
use stele_model::stream::records::{RecordSettings, Rollup, Ttl};
use stele_model::stream::{PartitionSpec, StreamSettings};

const GOLDEN: &str = include_str!("../../../../docs/golden/due-entries-v1.txt");
const MARKS: Marks<'_> =
    Marks { rollup: Some(Rollup::Subject), due: Some(Coming { at_ms: 1000, schedule: None }), ..Marks::NONE };

fn spec() -> PartitionSpec {
    let records = RecordSettings { due: true, ..RecordSettings::default() };
    let settings = StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() };
    PartitionSpec {
        id: QueueId(8),
        namespace: NamespaceId(9),
        stream: "orders".to_owned(),
        index: 0,
        settings,
    }
}

fn scheduled(schedule: Schedule) -> Coming {
    Coming { at_ms: 1000, schedule: Some(Arc::new(schedule)) }
}

fn by_clock() -> Schedule {
    let clock = Clock {
        seconds: 1,
        minutes: 1 << 59,
        hours: 1 << 23,
        days: 1 << 31,
        months: 1 << 12,
        weekdays: 127,
        either: true,
        zone: "Europe/Berlin".to_owned(),
    };
    Schedule { repeat: Some(Repeat::Clock(Box::new(clock))), how: How { rollup: true, ..How::default() } }
}

fn every() -> Schedule {
    let how = How { sample: Some("s".into()), ttl: Ttl::Ms(9), rollup: false };
    Schedule { repeat: Some(Repeat::Every(1500)), how }
}

#[test]
fn schedules_that_cannot_be_are_errors() {
    for (bytes, what) in
        [(&[128, 4][..], "unknown terms"), (&[192, 1, 0, 0, 0, 0, 0, 0, 0, 0], "two schedules")]
    {
        assert!(marks::read(&mut Input(bytes)).is_err_and(|error| error.contains(what)), "{what}");
    }
    let schedule = |flags: u8| due::read_schedule(&mut Input(&[flags; 80]));
    assert!(schedule(3).is_err() && schedule(4).is_err() && schedule(96).is_err());
}

#[test]
fn entries_are_the_golden_bytes_and_read_back() {
    let (mut marked, mut put) = (Vec::new(), Vec::new());
    begin_publish(&mut marked, None, 1);
    put_publish_run(&mut marked, 1, 3, &[Target { queue: QueueId(8), first: Position(40), diverted: false }]);
    put_marks(&mut marked, &MARKS);
    marked.extend_from_slice(b"abc");
    put_put_partition(&mut put, Revision(4), &spec());
    let schedules = [scheduled(by_clock()), scheduled(every())].map(|due| {
        let marks = Marks { ttl: Ttl::Ms(7), due: Some(due), ends: Some(b"a.b"), ..Marks::NONE };
        let mut out = Vec::new();
        marks::put(&mut out, &marks);
        assert!(out.len() <= marks::bytes_max(&marks));
        assert_eq!(marks::read(&mut Input(&out)), Ok(marks));
        out
    });
    let next = Some(Moment { ms: 90_000, offset_s: -3600 });
    let come = vec![
        Come { position: Position(40), next, sample: Some(Position(3)) },
        Come { position: Position(41), next: None, sample: None },
    ];
    let come = AllCome { partition: QueueId(8), moving: 5, records: come };
    let mut due = Vec::new();
    put_due(&mut due, &come, &come.records);
    assert_eq!(Entry::parse(&due), Ok(Entry::Stream(StreamEntry::Due(come))));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let all = [
        ("publish-due", &marked),
        ("put-partition-due", &put),
        ("terms-by-clock", &schedules[0]),
        ("terms-every", &schedules[1]),
        ("due", &due),
    ];
    let all: String = all.into_iter().map(|(name, bytes)| format!("{name} {}\n", hex(bytes))).collect();
    assert_eq!(all, GOLDEN);
    let Ok(Entry::Publish(publish)) = Entry::parse(&marked) else { panic!("a publish") };
    assert_eq!(publish.marks, Some(MARKS));
    let expected = StreamEntry::PutPartition { revision: Revision(4), spec: Box::new(spec()) };
    assert_eq!(Entry::parse(&put), Ok(Entry::Stream(expected)));
}
