//! Opening batches for a taker of a shared group: from ranges of positions to records.
//!
//! What must hold: what a taker gets is what it was granted, in order; a position that turns out to hold no record is settled, since
//! nobody else can. Bounds and forms of batches are those of [`super::open`].

use super::Out;
use super::open::Joined;
use bytes::Bytes;
use std::sync::Arc;
use stele_model::id::{Position, SubscriptionId};
use stele_model::settle::Run;
use stele_model::shard::{ShardOp, ToHub};
use stele_model::share::{
    DeadRecord, ShardSettle, ShardSettles, ShareDelivery, ShareHow, ShareMove, ShareNews, ShareRange,
    ShareRecords,
};
use stele_model::stream::{FoundRecords, PartitionSpec};

/// Addresses the records of these ranges, whose batches have these bytes, to a taker that wants bodies or headers only.
pub(super) fn deliver(
    (taker, headers_only): (SubscriptionId, bool),
    partition: &PartitionSpec,
    group: &Arc<str>,
    ranges: &[ShareRange],
    bytes: Vec<Bytes>,
    out: &mut Vec<Out>,
) {
    let mut opened = Joined::default();
    let mut items = Vec::with_capacity(ranges.iter().map(|range| range.records.count as usize).sum());
    let mut lacking: Vec<Run> = Vec::new();
    for (range, bytes) in ranges.iter().zip(bytes) {
        let before = opened.items.len();
        opened.range(&range.records, &bytes, &partition.stream);
        let found = &opened.items[before..];
        if found.len() < range.records.count as usize {
            lacks(range, found.iter().map(|item| item.position), &mut lacking);
        }
        for item in found {
            let nth = item.position.0 - range.records.from.0;
            items.push(ShareDelivery {
                block: item.block,
                at: item.at,
                len: item.len,
                delivery: range.delivery,
                position: item.position,
                sequence: range.sequence + nth,
                appended: range.records.batch.appended,
                pending: if range.delivery == 1 { range.pending.saturating_sub(nth) } else { range.pending },
            });
        }
    }
    let session = taker.session;
    if !items.is_empty() {
        let records = ShareRecords { taker: taker.number, headers_only, blocks: opened.blocks, items };
        let news = Box::new(ShareNews::Records(records));
        out.push(Out::Hub(session.hub, ToHub::Shared { session, news }));
    }
    if !lacking.is_empty() {
        let (partition, group) = (partition.id, Arc::clone(group));
        let settle = ShardSettle { partition, group, how: ShareHow::Accept, runs: lacking, delivery: 0 };
        out.push(Out::Shard(ShardOp::SettleShares(ShardSettles { answer: None, settles: vec![settle] })));
    }
}

/// The records of a move out of a group, whose batches have these bytes. What cannot be opened is empty.
pub(super) fn dead(of: &ShareMove, bytes: Vec<Bytes>) -> Vec<Bytes> {
    let record = |(dead, bytes): (&DeadRecord, Bytes)| {
        let mut opened = Joined::default();
        let range = FoundRecords { batch: dead.batch, from: dead.position, count: 1, charged: 0 };
        opened.range(&range, &bytes, &of.stream);
        let item = opened.items.first()?;
        let end = (item.at as usize).checked_add(item.len as usize)?;
        let block = opened.blocks.get(item.block as usize)?;
        (end <= block.len()).then(|| block.slice(item.at as usize..end))
    };
    of.records.iter().zip(bytes).map(|of| record(of).unwrap_or_default()).collect()
}

/// Positions of a range that are not among those found, which are in order.
fn lacks(range: &ShareRange, found: impl Iterator<Item = Position>, lacking: &mut Vec<Run>) {
    let end = range.records.from.0 + u64::from(range.records.count);
    let mut from = range.records.from.0;
    for at in found.map(|position| position.0).chain([end]) {
        if at > from {
            lacking.push(Run { first: Position(from), count: (at - from) as u32 });
        }
        from = at + 1;
    }
}
