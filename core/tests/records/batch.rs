//! Batches of records as a hub brings them. Called by [`crate::world`].

use crate::item::item;
use bytes::BytesMut;
use std::sync::Arc;
use stele_model::id::{Call, HubId, QueueId};
use stele_model::publish::{Publish, Publishes, RoutedRun, ShardPublish};
use stele_record::{Draft, Origin};

/// The one stream.
pub(crate) const PARTITION: QueueId = QueueId(7);
/// Who brings them, unless a test says otherwise.
pub(crate) const HUB: HubId = HubId(2);

/// A record with so many octets, at the end of others; its length.
pub(crate) fn record(subject: &str, body: usize, out: &mut BytesMut) -> u32 {
    let before = out.len();
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time: 0,
        exchange: b"x",
        key: subject.as_bytes(),
        properties: &[],
        history: &[],
    };
    draft.write(&vec![7; body], out);
    (out.len() - before) as u32
}

/// One record of a batch, awaited.
pub(crate) fn published(record: std::ops::Range<u32>, subject: &str) -> Publish {
    let key = record.start + 33;
    let (exchange, key) = (record.start + 32..key, key..key + subject.len() as u32);
    Publish { exchange, key, lane: 0, ..item(record) }
}

/// A batch on its way to the one stream.
pub(crate) fn routed(batch: Publishes, awaited: bool) -> ShardPublish {
    let runs = vec![RoutedRun { items: 0..batch.items.len() as u32, route: 0, volatile: false }];
    let (batch, routes) = (Arc::new(batch), vec![smallvec::smallvec![PARTITION]]);
    ShardPublish { hub: HUB, call: Call(1), awaited, link: None, batch, runs, routes }
}
