//! Opening batches for a subscription: from a range of positions to records.
//!
//! What must hold: what a reader gets is what it was granted, in order; where a batch holds fewer records than positions, or other lengths
//! than were charged, the shard is told, so that no credit is lost. Opening is bounded: a batch that would unpack to more than
//! [`OPEN_BYTES_MAX`], or that cannot be opened, counts as one without records. Nothing here copies records of our own layout.

use super::Out;
use bytes::Bytes;
use stele_model::id::{Position, QueueId, SubscriptionId};
use stele_model::op::Credit;
use stele_model::outcome::{Deliveries, Delivery};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{ShardOp, ToHub};
use stele_model::stream::{Format, FoundRecords, PartitionSpec};
use stele_record::batch::crossing;

/// Bytes that a batch may unpack to.
const OPEN_BYTES_MAX: usize = 64 << 20;

/// Addresses the records of these ranges, whose batches have these bytes.
pub(super) fn deliver(
    subscription: SubscriptionId,
    partition: &PartitionSpec,
    ranges: &[FoundRecords],
    bytes: Vec<Bytes>,
    out: &mut Vec<Out>,
) {
    let mut opened = Opened::default();
    let mut lacking: Vec<Run> = Vec::new();
    let (mut charged, mut granted) = (0, 0);
    for (range, bytes) in ranges.iter().zip(bytes) {
        let before = opened.items.len();
        opened.range(range, &bytes, &partition.stream);
        charged += range.charged;
        granted += range.count as usize;
        let lacks = range.count as usize - (opened.items.len() - before);
        if lacks > 0 {
            // Which of them does not matter: what is settled here is only counted.
            lacking.push(Run { first: range.from, count: lacks as u32 });
        }
    }
    assert!(opened.items.len() <= granted, "I36: a reader gets no more than it was granted");
    let (session, queue) = (subscription.session, partition.id);
    let (sent, items) = (opened.sent, opened.items);
    if !items.is_empty() {
        let deliveries =
            Deliveries { subscription: subscription.number, queue, blocks: opened.blocks, items };
        out.push(Out::Hub(session.hub, ToHub::Deliver { session, deliveries }));
    }
    give_back(subscription, queue, lacking, charged.saturating_sub(sent), out);
}

/// Credit that was taken for nothing.
fn give_back(of: SubscriptionId, queue: QueueId, runs: Vec<Run>, bytes: u64, out: &mut Vec<Out>) {
    let (session, subscription) = (of.session, of.number);
    if bytes > 0 {
        let credit = Credit { subscription, bytes };
        out.push(Out::Shard(ShardOp::Credit { session, queue, credit }));
    }
    if !runs.is_empty() {
        let settle = Settle { subscription, queue, how: How::Accept, runs };
        out.push(Out::Shard(ShardOp::Settle { session, settles: vec![settle] }));
    }
}

/// Records so far.
#[derive(Default)]
pub(super) struct Opened {
    pub(super) blocks: Vec<Bytes>,
    pub(super) items: Vec<Delivery>,
    /// Bytes of the records.
    sent: u64,
}

impl Opened {
    pub(super) fn range(&mut self, of: &FoundRecords, bytes: &Bytes, stream: &str) {
        match of.batch.format {
            Format::Records => self.records(of, bytes),
            Format::KafkaBatch => {
                let appended_us = of.batch.appended.0;
                crossing::records(bytes, (stream, appended_us), OPEN_BYTES_MAX, |delta, record| {
                    let Ok(delta) = u64::try_from(delta) else { return };
                    let position = Position(of.batch.first.0 + delta);
                    let len = record.len() as u32;
                    if within(of, position) {
                        self.blocks.push(record);
                        self.item(position, 0, len);
                    }
                });
            }
        }
    }

    /// Records of our own layout stand back to back, each after its length.
    fn records(&mut self, of: &FoundRecords, bytes: &Bytes) {
        self.blocks.push(bytes.clone());
        let (mut at, mut position) = (0usize, of.batch.first);
        while let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            let len = u32::from_le_bytes(*head);
            if len < 4 || position.0 >= of.from.0 + u64::from(of.count) {
                break;
            }
            if within(of, position) {
                self.item(position, at as u32, len);
            }
            at += len as usize;
            position.0 += 1;
        }
    }

    fn item(&mut self, position: Position, at: u32, len: u32) {
        let block = self.blocks.len() as u32 - 1;
        self.items.push(Delivery { block, at, len, position, redelivered: false, failures: 0 });
        self.sent += u64::from(len);
    }
}

fn within(of: &FoundRecords, position: Position) -> bool {
    (of.from.0..of.from.0 + u64::from(of.count)).contains(&position.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use stele_model::id::{HubId, Lsn, NamespaceId, Now, Place, SessionId};
    use stele_model::stream::{Found, StreamSettings};

    const READER: SubscriptionId =
        SubscriptionId { session: SessionId { hub: HubId(0), number: 1 }, number: 7 };

    fn spec() -> PartitionSpec {
        let (namespace, stream) = (NamespaceId(1), "s".to_owned());
        PartitionSpec { id: QueueId(3), namespace, stream, index: 0, settings: StreamSettings::default() }
    }

    /// Five records with bodies of 1 to 5 bytes, and which of them are granted.
    fn five(from: u64, count: u32, charged: u64) -> (FoundRecords, Bytes) {
        let mut bytes = BytesMut::new();
        (1..=5)
            .for_each(|n| crate::testing::write_record(&mut bytes, 0, None, true, &vec![n; usize::from(n)]));
        let batch = Found {
            place: Place { lsn: Lsn(1), at: 0 },
            len: bytes.len() as u32,
            format: Format::Records,
            first: Position(10),
            count: 5,
            epoch: 0,
            appended: Now(1),
        };
        (FoundRecords { batch, from: Position(from), count, charged }, bytes.freeze())
    }

    fn delivered(range: FoundRecords, bytes: Bytes) -> (Vec<(u64, u32)>, Vec<Out>) {
        let mut out = Vec::new();
        let at = bytes.as_ptr();
        deliver(READER, &spec(), &[range], vec![bytes], &mut out);
        let Out::Hub(HubId(0), ToHub::Deliver { deliveries, .. }) = out.remove(0) else {
            panic!("deliveries")
        };
        assert_eq!(deliveries.blocks[0].as_ptr(), at, "nothing is copied");
        (deliveries.items.iter().map(|item| (item.position.0, item.len)).collect(), out)
    }

    #[test]
    fn a_reader_gets_the_records_that_it_was_granted_and_bytes_charged_too_much_go_back() {
        let (range, bytes) = five(11, 3, 200);
        let (items, out) = delivered(range, bytes);
        assert_eq!(items, [(11, 35), (12, 36), (13, 37)]);
        let [Out::Shard(ShardOp::Credit { queue: QueueId(3), credit, .. })] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(*credit, Credit { subscription: 7, bytes: 200 - 108 });
    }

    #[test]
    fn positions_without_a_record_are_given_back_as_settled() {
        let (range, bytes) = five(13, 2, 0);
        let short = bytes.slice(..34 + 35 + 36 + 37);
        let (items, out) = delivered(range, short);
        assert_eq!(items, [(13, 37)]);
        let [Out::Shard(ShardOp::Settle { settles, .. })] = &out[..] else { panic!("{out:?}") };
        assert_eq!(settles[0].runs.iter().map(|run| run.count).sum::<u32>(), 1);
    }
}
