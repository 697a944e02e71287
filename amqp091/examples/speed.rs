//! How fast one core takes publishes in and sends deliveries out, without sockets: the dialect's share of a message.
//!
//! `cargo run --release -p stele-amqp091 --example speed`. Reads of 128 KiB, as a driver makes them; batches of 100 deliveries.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for people, outside the pure crate"
)]

use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::time::Instant;
use stele_amqp091::codec::content::{put_body, put_header};
use stele_amqp091::codec::field::{Secret, ShortStr};
use stele_amqp091::codec::method::{Method, put_method};
use stele_amqp091::{Connection, Profile};
use stele_model::id::{Now, Position, PrincipalId, QueueId};
use stele_model::op::{Op, Submit};
use stele_model::outcome::{Deliveries, Delivery, Done, Outcome, Published, Wake};
use stele_model::session::{Outbox, Principal, Session};
use stele_record::properties::{Properties, Property};
use stele_record::table::Table;
use stele_record::{Draft, Origin};

const READ_BYTES: usize = 128 << 10;
const MESSAGES: usize = 2_000_000;
const BATCH: usize = 100;

fn main() {
    for body_bytes in [16, 1024, 16 << 10] {
        let messages = if body_bytes > 2048 { MESSAGES / 10 } else { MESSAGES };
        let rate = publishes(body_bytes, messages);
        println!("publish  {body_bytes:>6} B: {rate:.2} M/s");
        let (rate, settled) = deliveries(body_bytes, messages);
        println!("deliver  {body_bytes:>6} B: {rate:.2} M/s, acked one by one {settled:.2} M/s");
    }
}

fn properties() -> BytesMut {
    let mut properties = Properties::default();
    properties.set(Property::DeliveryMode, Some(&[2]));
    let mut list = BytesMut::new();
    properties.write(&mut list);
    list
}

/// Messages in, batches answered at once.
fn publishes(body_bytes: usize, messages: usize) -> f64 {
    let (mut session, mut out) = connected();
    let mut one = BytesMut::new();
    let publish = Method::BasicPublish {
        reserved_1: 0,
        exchange: ShortStr(b"amq.topic"),
        routing_key: ShortStr(b"orders.created"),
        mandatory: false,
        immediate: false,
    };
    put_method(&mut one, 1, &publish);
    put_header(&mut one, 1, &properties(), body_bytes as u64);
    put_body(&mut one, 1, &vec![7; body_bytes], 131_072);
    let per_read = READ_BYTES / one.len();
    let read = one.repeat(per_read);
    let started = Instant::now();
    let mut done = 0;
    while done < messages {
        let used = session.receive(Now(2), &read, &mut out);
        assert_eq!(used, read.len());
        answer(&mut session, &mut out);
        out.write.take(drop);
        done += per_read;
    }
    done as f64 / started.elapsed().as_secs_f64() / 1e6
}

/// Messages out, then their acknowledgements in.
fn deliveries(body_bytes: usize, messages: usize) -> (f64, f64) {
    let (mut session, mut out) = connected();
    let mut record = BytesMut::new();
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time: 0,
        exchange: b"amq.topic",
        key: b"orders.created",
        properties: &properties(),
        history: b"",
    };
    draft.write(&vec![7; body_bytes], &mut record);
    let len = record.len();
    let block = Bytes::from(record.repeat(BATCH));
    let (mut delivering, mut settling) = (0.0, 0.0);
    let mut tag = 0;
    for round in 0..messages / BATCH {
        let items = (0..BATCH).map(|n| Delivery {
            block: 0,
            at: u32::try_from(n * len).expect("small"),
            len: u32::try_from(len).expect("small"),
            position: Position((round * BATCH + n) as u64),
            redelivered: false,
            failures: 0,
        });
        let batch = Deliveries {
            subscription: 1,
            queue: QueueId(1),
            blocks: vec![block.clone()],
            items: items.collect(),
        };
        let started = Instant::now();
        session.deliver(Now(2), &batch, &mut out);
        out.write.take(drop);
        session.wake(Now(2), Wake::Drained, &mut out);
        delivering += started.elapsed().as_secs_f64();
        out.submits.clear();
        let mut acks = BytesMut::new();
        for _ in 0..BATCH {
            tag += 1;
            put_method(&mut acks, 1, &Method::BasicAck { delivery_tag: tag, multiple: false });
        }
        let started = Instant::now();
        session.receive(Now(2), &acks, &mut out);
        settling += started.elapsed().as_secs_f64();
        out.submits.clear();
    }
    (messages as f64 / delivering / 1e6, messages as f64 / settling / 1e6)
}

/// A connection with channel 1 in confirm mode and a consumer on it.
fn connected() -> (Connection, Outbox) {
    let mut session = Connection::new(Arc::new(Profile::default()), 1, Now(1));
    let mut out = Outbox::default();
    let empty = ShortStr(b"");
    let start_ok = Method::ConnectionStartOk {
        client_properties: Table::default(),
        mechanism: ShortStr(b"PLAIN"),
        response: Secret(b"\0u\0p"),
        locale: empty,
    };
    let mut hello = BytesMut::from(&b"AMQP\x00\x00\x09\x01"[..]);
    put_method(&mut hello, 0, &start_ok);
    put_method(&mut hello, 0, &Method::ConnectionTuneOk { channel_max: 9, frame_max: 131_072, heartbeat: 0 });
    put_method(
        &mut hello,
        0,
        &Method::ConnectionOpen { virtual_host: ShortStr(b"/"), reserved_1: empty, reserved_2: false },
    );
    put_method(&mut hello, 1, &Method::ChannelOpen { reserved_1: empty });
    put_method(&mut hello, 1, &Method::ConfirmSelect { no_wait: true });
    let consume = Method::BasicConsume {
        reserved_1: 0,
        queue: ShortStr(b"q"),
        consumer_tag: ShortStr(b"consumer"),
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: true,
        arguments: Table::default(),
    };
    put_method(&mut hello, 1, &consume);
    let mut rest = &hello[..];
    while !rest.is_empty() {
        rest = &rest[session.receive(Now(1), rest, &mut out)..];
        if out.authenticate.take().is_some() {
            session.authenticated(
                Now(1),
                Ok(Principal { id: PrincipalId(1), name: "u".to_owned() }),
                &mut out,
            );
        }
        answer(&mut session, &mut out);
    }
    out.write.take(drop);
    (session, out)
}

fn answer(session: &mut Connection, out: &mut Outbox) {
    for Submit { ticket, op, .. } in std::mem::take(&mut out.submits) {
        let outcome = match op {
            Op::Publish(batch) => {
                let (unroutable, refused, dropped) = (Vec::new(), Vec::new(), Vec::new());
                Outcome::Published(Published { batch, unroutable, refused, dropped, stored: Vec::new() })
            }
            Op::Open { .. } => Outcome::Done(Done::Opened),
            _ => Outcome::Done(Done::Subscribed {
                queue: QueueId(1),
                counts_deliveries: false,
                is_stream: false,
            }),
        };
        session.complete(Now(2), ticket, outcome, out);
    }
}
