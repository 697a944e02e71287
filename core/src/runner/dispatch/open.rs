//! Opening batches for a subscription: from a range of positions to records.
//!
//! What must hold: what a reader gets is what it was granted, in order; the shard is told what became of the credit, so that none is lost.
//! Opening is bounded: it ends with the record that reaches the reader's credit, and after one large batch; a batch that would unpack to
//! more than [`OPEN_BYTES_MAX`], or that cannot be opened, counts as one without records. Nothing here copies records of our own layout.

use super::Out;
use super::halves::Halves;
use crate::stream::opening::OPEN_BYTES_MAX;
use bytes::Bytes;
use std::ops::ControlFlow;
use stele_model::id::{Position, QueueId, SubscriptionId};
use stele_model::op::Credit;
use stele_model::outcome::{Deliveries, Delivery};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{ShardOp, ToHub};
use stele_model::stream::{Format, FoundRecords, OpenMax, Opened, PartitionSpec};
use stele_record::batch::{Damage, crossing};

/// Bytes that may be unpacked for one effect before others have their turn; the last batch may take more.
const WORK_BYTES_MAX: u64 = 8 << 20;

/// Addresses the records of these ranges, none of which has to be opened, and whose batches have these bytes.
pub(super) fn deliver(
    subscription: SubscriptionId,
    partition: &PartitionSpec,
    ranges: &[FoundRecords],
    bytes: Vec<Bytes>,
    out: &mut Vec<Out>,
) {
    let mut joined = Joined::default();
    let mut lacking: Vec<Run> = Vec::new();
    let mut charged = 0;
    for (range, bytes) in ranges.iter().zip(bytes) {
        let before = joined.items.len();
        joined.range(range, &bytes, &partition.stream);
        charged += range.charged;
        let lacks = range.count as usize - (joined.items.len() - before);
        if lacks > 0 {
            // Which of them does not matter: what is settled here is only counted.
            lacking.push(Run { first: range.from, count: lacks as u32 });
        }
    }
    let sent = joined.sent;
    joined.address(subscription, partition.id, granted(ranges), out);
    give_back(subscription, partition.id, lacking, charged.saturating_sub(sent), out);
}

/// The same for ranges of which some have to be opened: what `max` allows.
pub(super) fn open(
    (subscription, max): (SubscriptionId, OpenMax),
    partition: &PartitionSpec,
    ranges: &[FoundRecords],
    bytes: Vec<Bytes>,
    halves: &mut Halves,
    out: &mut Vec<Out>,
) {
    let mut joined = Joined::default();
    let mut next = ranges.first().map_or(Position(0), |range| range.from);
    let mut is_large = false;
    for (range, bytes) in ranges.iter().zip(bytes) {
        let (come_to, goes_on) = joined.open(range, &bytes, &partition.stream, max, halves);
        next = come_to.unwrap_or(range.from);
        is_large = come_to.is_none();
        if !goes_on {
            break;
        }
    }
    let granted = granted(ranges);
    let (sent, unused) = (joined.sent, granted.saturating_sub(joined.items.len() as u64));
    joined.address(subscription, partition.id, granted, out);
    let opened = Opened { subscription, partition: partition.id, sent, unused, next, is_large };
    out.push(Out::Shard(ShardOp::Opened(opened)));
}

fn granted(ranges: &[FoundRecords]) -> u64 {
    ranges.iter().map(|range| u64::from(range.count)).sum()
}

/// Credit that was taken for nothing.
fn give_back(of: SubscriptionId, queue: QueueId, runs: Vec<Run>, bytes: u64, out: &mut Vec<Out>) {
    let (session, subscription) = (of.session, of.number);
    if bytes > 0 {
        let credit = Credit { subscription, bytes, messages_max: None };
        out.push(Out::Shard(ShardOp::Credit { session, queue, credit }));
    }
    if !runs.is_empty() {
        let settle = Settle { subscription, queue, how: How::Accept, runs };
        out.push(Out::Shard(ShardOp::Settle { session, settles: vec![settle] }));
    }
}

/// Records so far.
#[derive(Default)]
pub(super) struct Joined {
    pub(super) blocks: Vec<Bytes>,
    pub(super) items: Vec<Delivery>,
    /// Bytes of the records.
    sent: u64,
    /// Bytes that were unpacked for them.
    unpacked: u64,
}

impl Joined {
    fn address(self, to: SubscriptionId, queue: QueueId, granted: u64, out: &mut Vec<Out>) {
        assert!(self.items.len() as u64 <= granted, "I36: a reader gets no more than it was granted");
        if !self.items.is_empty() {
            let Self { blocks, items, .. } = self;
            let deliveries = Deliveries { subscription: to.number, queue, blocks, items };
            out.push(Out::Hub(to.session.hub, ToHub::Deliver { session: to.session, deliveries }));
        }
    }

    /// All records of a range.
    pub(super) fn range(&mut self, of: &FoundRecords, bytes: &Bytes, stream: &str) {
        match of.batch.format {
            Format::Records => self.records(of, bytes),
            Format::KafkaBatch => {
                if let Ok(mut batch) = crossing::Opened::new(bytes, OPEN_BYTES_MAX as usize) {
                    self.batch(of, &mut batch, stream, u64::MAX);
                }
            }
        }
    }

    /// As much of a range as may be sent: up to which position, and whether another range may follow. `None`: the batch is too large now.
    fn open(
        &mut self,
        of: &FoundRecords,
        bytes: &Bytes,
        stream: &str,
        max: OpenMax,
        halves: &mut Halves,
    ) -> (Option<Position>, bool) {
        let mut end = Position(of.from.0 + u64::from(of.count));
        match of.batch.format {
            Format::Records => self.records(of, bytes),
            Format::KafkaBatch => match halves.take(of.batch.place, bytes, max.batch_bytes) {
                Ok((mut batch, unpacked)) => {
                    self.unpacked += unpacked;
                    end = self.batch(of, &mut batch, stream, max.bytes).unwrap_or(end);
                    if end.0 < of.batch.first.0 + u64::from(of.batch.count) {
                        halves.keep(of.batch.place, batch);
                    }
                }
                Err(Damage::TooLarge(_)) if max.batch_bytes < OPEN_BYTES_MAX => return (None, false),
                Err(Damage::TooLarge(_)) => self.unpacked += OPEN_BYTES_MAX,
                Err(_) => {}
            },
        }
        (Some(end), self.sent < max.bytes && self.unpacked < WORK_BYTES_MAX)
    }

    /// The records of a range of an opened batch; the position behind the one that reached `bytes_max`, if one did.
    fn batch(
        &mut self,
        of: &FoundRecords,
        batch: &mut crossing::Opened,
        stream: &str,
        bytes_max: u64,
    ) -> Option<Position> {
        let first = of.batch.first.0;
        let delta = |position: u64| i64::try_from(position - first).unwrap_or(i64::MAX);
        let range = delta(of.from.0)..delta(of.from.0 + u64::from(of.count));
        let mut reached = None;
        batch.records((stream, of.batch.appended.0), range, |delta, record| {
            let position = Position(first + delta.unsigned_abs());
            let len = record.len() as u32;
            self.blocks.push(record);
            self.item(position, 0, len);
            if self.sent < bytes_max {
                return ControlFlow::Continue(());
            }
            reached = Some(Position(position.0 + 1));
            ControlFlow::Break(())
        });
        reached
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
    use stele_record::batch::builder::Builder;
    use stele_record::batch::compression::Codec;

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
        assert_eq!(*credit, Credit { subscription: 7, bytes: 200 - 108, messages_max: None });
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

    /// A batch of records with values of so many zeros, packed, and all of it granted.
    fn packed(place: u64, lens: &[usize]) -> (FoundRecords, Bytes) {
        let mut builder = Builder::default();
        for (len, n) in lens.iter().zip(0..) {
            builder.put(n, 1_000, (None, Some(&vec![0; *len])), std::iter::empty());
        }
        let bytes = builder.finish(0, 0, Codec::Zstd);
        let count = lens.len() as u32;
        let batch = Found {
            place: Place { lsn: Lsn(place), at: 0 },
            len: bytes.len() as u32,
            format: Format::KafkaBatch,
            first: Position(place * 100),
            count,
            epoch: 0,
            appended: Now(1),
        };
        (FoundRecords { batch, from: batch.first, count, charged: bytes.len().try_into().unwrap() }, bytes)
    }

    /// Positions that were sent, and what the shard is told.
    fn opened(
        (bytes, batch_bytes): (u64, u64),
        ranges: Vec<(FoundRecords, Bytes)>,
        halves: &mut Halves,
    ) -> (Vec<u64>, Opened) {
        let mut out = Vec::new();
        let (ranges, octets): (Vec<FoundRecords>, Vec<Bytes>) = ranges.into_iter().unzip();
        open((READER, OpenMax { bytes, batch_bytes }), &spec(), &ranges, octets, halves, &mut out);
        let Some(Out::Shard(ShardOp::Opened(opened))) = out.pop() else { panic!("{out:?}") };
        let mut sent = Vec::new();
        for out in out {
            let Out::Hub(_, ToHub::Deliver { deliveries, .. }) = out else { panic!("{out:?}") };
            let bytes: u64 = deliveries.items.iter().map(|item| u64::from(item.len)).sum();
            assert_eq!(bytes, opened.sent);
            sent.extend(deliveries.items.iter().map(|item| item.position.0));
        }
        (sent, opened)
    }

    #[test]
    fn opening_ends_with_the_record_that_reaches_the_credit_whatever_the_batches_hold() {
        let bomb = |place| packed(place, &[16 << 20, 16 << 20]);
        let mut halves = Halves::default();
        let (sent, told) = opened((1, OPEN_BYTES_MAX), (1..=64).map(bomb).collect(), &mut halves);
        assert_eq!(sent, [100], "one record, although the batches have a few KB");
        assert!(told.sent < 17 << 20);
        assert_eq!((told.next, told.unused, told.is_large), (Position(101), 127, false));
        let (mut rest, bytes) = bomb(1);
        (rest.from, rest.count) = (Position(101), 1);
        // What it was packed from is kept: these bytes are not looked at.
        let (sent, told) = opened((1, OPEN_BYTES_MAX), vec![(rest, bytes.slice(..70))], &mut halves);
        assert_eq!((sent, told.next, told.unused), (vec![101], Position(102), 0));
    }

    #[test]
    fn small_batches_are_opened_together_and_one_large_one_ends_the_turn() {
        let mut halves = Halves::default();
        let small = |place| packed(place, &[10, 10]);
        let (sent, told) = opened((1 << 20, OPEN_BYTES_MAX), (1..=3).map(small).collect(), &mut halves);
        assert_eq!((sent, told.next), (vec![100, 101, 200, 201, 300, 301], Position(302)));
        let large = packed(2, &[9 << 20, 1]);
        let ranges = || vec![small(1), large.clone(), small(3)];
        let (sent, told) = opened((1 << 30, OPEN_BYTES_MAX), ranges(), &mut halves);
        assert_eq!((sent.len(), told.next, told.unused), (4, Position(202), 2));
        let (sent, told) = opened((1 << 30, 1 << 20), ranges(), &mut halves);
        assert_eq!((sent.len(), told.next, told.is_large), (2, Position(200), true), "not now");
    }

    #[test]
    fn a_batch_that_nobody_can_open_has_no_records() {
        let mut halves = Halves::default();
        let (range, bytes) = packed(1, &[10, 10]);
        let broken = bytes.slice(..bytes.len() - 5);
        let over = packed(2, &[OPEN_BYTES_MAX as usize, 1]);
        let ranges = vec![(range, broken), over, packed(3, &[10])];
        let (sent, told) = opened((1000, OPEN_BYTES_MAX), ranges, &mut halves);
        assert_eq!(
            (sent.len(), told.next, told.unused),
            (0, Position(202), 5),
            "and one large one is enough"
        );
    }

    #[test]
    fn a_batch_that_counts_one_offset_often_gives_each_reader_what_it_was_granted() {
        let (mut range, bytes) = packed(1, &[1, 1, 1, 1]);
        // All four records have offset 0; the last octets of each are offset, key, value and headers.
        let batch = stele_record::batch::Batch::first(&bytes).unwrap().0;
        let mut plain = batch.contents(1000).unwrap().octets().to_vec();
        let len = plain.len() / 4;
        (0..4).for_each(|n| plain[n * len + 3] = 0);
        let mut octets = bytes[..stele_record::batch::HEAD_BYTES].to_vec();
        octets.extend_from_slice(&Codec::Zstd.pack(&plain));
        let length = octets.len() as i32 - 12;
        octets[8..12].copy_from_slice(&length.to_be_bytes());
        range.count = 2;
        let (sent, told) =
            opened((1000, OPEN_BYTES_MAX), vec![(range, octets.into())], &mut Halves::default());
        assert_eq!((sent, told.next, told.unused), (vec![100], Position(102), 1));
    }
}
