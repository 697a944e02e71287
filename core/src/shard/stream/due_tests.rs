//! The bytes of records that are published again, and of partitions that have such, against golden ones.

use super::entry::{StreamEntry, put_put_partition};
use crate::shard::entry::{Entry, Target, begin_publish, put_marks, put_publish_run};
use crate::stream::records::Marks;
use stele_model::id::{NamespaceId, Position, QueueId, Revision};
use stele_model::stream::records::{RecordSettings, Rollup};
use stele_model::stream::{PartitionSpec, StreamSettings};

const GOLDEN: &str = include_str!("../../../../docs/golden/due-entries-v1.txt");
const MARKS: Marks<'_> = Marks { rollup: Some(Rollup::Subject), due: Some(1000), ..Marks::NONE };

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

#[test]
fn entries_are_the_golden_bytes_and_read_back() {
    let (mut marked, mut put) = (Vec::new(), Vec::new());
    begin_publish(&mut marked, None, 1);
    put_publish_run(&mut marked, 1, 3, &[Target { queue: QueueId(8), first: Position(40), diverted: false }]);
    put_marks(&mut marked, &MARKS);
    marked.extend_from_slice(b"abc");
    put_put_partition(&mut put, Revision(4), &spec());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(format!("publish-due {}\nput-partition-due {}\n", hex(&marked), hex(&put)), GOLDEN);
    let Ok(Entry::Publish(publish)) = Entry::parse(&marked) else { panic!("a publish") };
    assert_eq!(publish.marks, Some(MARKS));
    let expected = StreamEntry::PutPartition { revision: Revision(4), spec: Box::new(spec()) };
    assert_eq!(Entry::parse(&put), Ok(Entry::Stream(expected)));
}
