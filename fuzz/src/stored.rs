//! What a record is stored as, whoever published it: the layout of ours, batches, and what readers of other dialects are shown of both.

use crate::Target;
use bytes::{Bytes, BytesMut};
use std::ops::ControlFlow;
use stele_model::id::Now;
use stele_record::batch::{Batch, crossing};
use stele_record::{View, nats};

pub(crate) const TARGETS: &[Target] = &[
    ("records", stele_amqp091::fuzz::records),
    ("crossing-records", records),
    ("crossing-batches", batches),
];

/// Most octets that a batch unpacks to.
const CONTENTS_BYTES_MAX: usize = 1 << 20;

/// A record as AMQP, NATS and Kafka have it.
fn records(input: &[u8]) {
    if let Ok(view) = View::parse(input) {
        let _ = (nats::shown(&view), view.content_bytes());
        if let Some(octets) = nats::as_amqp091(&view) {
            let other = View::parse(&octets).expect("what is written can be read");
            assert_eq!(other.body(), view.body());
            assert_eq!(
                other.properties().headers().map(|table| table.check()),
                other.properties().headers().map(|_| Ok(()))
            );
        }
    }
    if let Ok(octets) = crossing::batch(input, 7, 0) {
        let (batch, rest) = Batch::first(&octets).expect("what is written can be read");
        assert!(rest.is_empty(), "records are one batch");
        assert_eq!(batch.verify(), Ok(()));
    }
}

/// A batch as AMQP and NATS have it.
fn batches(input: &[u8]) {
    let Some(publishes) = crossing::publishes(input, "topic", Now(1), CONTENTS_BYTES_MAX) else { return };
    let Ok(mut opened) = crossing::Opened::new(&Bytes::copy_from_slice(input), CONTENTS_BYTES_MAX) else {
        return;
    };
    let (mut joined, mut count, mut next) = (BytesMut::new(), 0, 0_i64);
    // In pieces of a few offsets, and some records fewer than asked for.
    while next < 4096 {
        let (from, mut left) = (next, 3);
        next = from.saturating_add(7);
        opened.records(("topic", 1), from..next, |delta, record| {
            let view = View::parse(&record).expect("what is written can be read");
            let _ = nats::shown(&view);
            joined.extend_from_slice(&record);
            (count, left) = (count + 1, left - 1);
            if left > 0 {
                return ControlFlow::Continue(());
            }
            next = delta + 1;
            ControlFlow::Break(())
        });
    }
    // Offsets that do not ascend are passed over here.
    if count == publishes.items.len() {
        assert_eq!(joined, publishes.bytes, "both ways write the same records");
    }
}
