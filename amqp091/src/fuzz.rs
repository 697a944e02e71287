//! One entry point for each decoder that meets bytes from outside, for fuzzers and for the bounded random runs in the tests.
//! Each must return for any input; what it asserts are statements about the decoder, not about the input.

use crate::codec::field::{Secret, ShortStr};
use crate::codec::frame::{Kind, frame};
use crate::codec::method::{Method, put_method};
use crate::codec::{content, hot};
use crate::{Connection, Profile};
use bytes::BytesMut;
use std::sync::Arc;
use stele_model::id::{Now, PrincipalId, QueueId};
use stele_model::op::{Define, Op};
use stele_model::outcome::{Done, Outcome, Published};
use stele_model::session::{Outbox, Principal, Session};
use stele_record::View;
use stele_record::properties::Properties;
use stele_record::table::Table;

/// Frames, and what is in them.
pub fn frames(mut input: &[u8]) {
    const PAYLOAD_BYTES_MAX: u32 = 4096;
    while let Ok(Some((frame, used))) = frame(input, PAYLOAD_BYTES_MAX) {
        assert!(used <= input.len() && used > frame.payload.len(), "a frame is part of the input");
        match frame.kind {
            Kind::Method => methods(frame.payload),
            Kind::Header => contents(frame.payload),
            Kind::Body | Kind::Heartbeat => {}
        }
        input = &input[used..];
    }
}

/// Methods: what decodes can be written and read again, and the hand-written readers agree with the table.
pub fn methods(payload: &[u8]) {
    let Ok(method) = Method::decode(payload) else { return };
    let mut again = BytesMut::new();
    method.encode(&mut again);
    assert_eq!(Method::decode(&again), Ok(method), "what was read can be written and read");
    if let Method::BasicPublish { exchange, routing_key, mandatory, immediate, .. } = method {
        let hand = hot::publish(payload).expect("the table has read it").expect("it is a publish");
        assert_eq!((exchange, routing_key), (ShortStr(hand.exchange), ShortStr(hand.routing_key)));
        assert_eq!((mandatory, immediate), (hand.mandatory, hand.immediate));
    }
    if let Method::BasicAck { delivery_tag, multiple } = method {
        let hand = hot::settle(payload).expect("the table has read it");
        assert_eq!((hand.delivery_tag, hand.multiple), (delivery_tag, multiple));
    }
}

/// Content headers, property lists and the tables in them.
pub fn contents(payload: &[u8]) {
    let Ok(header) = content::header(payload) else { return };
    let Ok(properties) = Properties::parse(header.properties) else { return };
    let mut again = BytesMut::new();
    properties.write(&mut again);
    assert_eq!(again[..], *header.properties, "what was read is written byte for byte");
    if let Some(headers) = properties.headers() {
        tables(headers.bytes());
    }
}

/// Field tables.
pub fn tables(bytes: &[u8]) {
    let table = Table::of(bytes);
    let read: usize = table.entries().map(|(name, _)| name.len() + 2).sum();
    assert!(read <= bytes.len(), "names are part of the input");
    let _ = table.check();
}

/// Stored records.
pub fn records(bytes: &[u8]) {
    let Ok((view, rest)) = View::first(bytes) else { return };
    assert_eq!(view.bytes().len() + rest.len(), bytes.len());
    let _ = view.headers().count();
    let _ = view.history().map(|history| history.deaths().map(|death| death.keys().count()).sum::<usize>());
}

/// A whole connection: after a good handshake the input comes in two pieces, and a hub agrees to everything asked.
pub fn sessions(input: &[u8]) {
    let now = Now(1);
    let mut session = Connection::new(Arc::new(Profile::default()), 1, now);
    let mut out = Outbox::default();
    let mut hello = BytesMut::from(&b"AMQP\x00\x00\x09\x01"[..]);
    for method in [
        Method::ConnectionStartOk {
            client_properties: Table::default(),
            mechanism: ShortStr(b"PLAIN"),
            response: Secret(b"\0u\0p"),
            locale: ShortStr(b""),
        },
        Method::ConnectionTuneOk { channel_max: 9, frame_max: 8192, heartbeat: 0 },
        Method::ConnectionOpen { virtual_host: ShortStr(b"/"), reserved_1: ShortStr(b""), reserved_2: false },
    ] {
        put_method(&mut hello, 0, &method);
    }
    put_method(&mut hello, 1, &Method::ChannelOpen { reserved_1: ShortStr(b"") });
    let (first, second) = input.split_at(input.len() / 2);
    let mut pending = Vec::new();
    for piece in [&hello[..], first, second] {
        pending.extend_from_slice(piece);
        let mut turns = 0;
        loop {
            let used = session.receive(now, &pending, &mut out);
            assert!(used <= pending.len(), "only what was offered is used");
            pending.drain(..used);
            turns += 1;
            assert!(turns < 100_000, "a session ends every turn by using input or by asking");
            if !agree(&mut session, now, &mut out) {
                break;
            }
        }
    }
    let mut written = Vec::new();
    out.write.take(|piece| written.extend_from_slice(&piece));
    let mut rest = &written[..];
    while let Some((_, used)) = frame(rest, 1 << 20).expect("a session writes frames") {
        rest = &rest[used..];
    }
    assert!(rest.is_empty(), "a session writes whole frames");
}

/// Answers everything that was asked; whether anything was.
fn agree(session: &mut Connection, now: Now, out: &mut Outbox) -> bool {
    let mut asked = false;
    if out.authenticate.take().is_some() {
        asked = true;
        session.authenticated(now, Ok(Principal { id: PrincipalId(1), name: "u".to_owned() }), out);
    }
    for submit in std::mem::take(&mut out.submits) {
        let done = match submit.op {
            Op::Open { .. } => Done::Opened,
            Op::Publish(batch) => {
                let (unroutable, refused, dropped) = (Vec::new(), Vec::new(), Vec::new());
                let published = Published { batch, unroutable, refused, dropped, stored: Vec::new() };
                session.complete(now, submit.ticket, Outcome::Published(published), out);
                asked = true;
                continue;
            }
            Op::Subscribe(subscribe) if subscribe.direct_reply => {
                Done::Replies { address: "address".to_owned() }
            }
            Op::Subscribe(_) => {
                Done::Subscribed { queue: QueueId(1), counts_deliveries: false, is_stream: false }
            }
            Op::Unsubscribe { .. } => Done::Unsubscribed,
            Op::Get(_) => Done::Got { queue: QueueId(1), counts_deliveries: false, delivery: None, ready: 0 },
            Op::Purge { .. } => Done::Purged { count: 0 },
            Op::Define(Define::DeclareQueue { name, .. }) => Done::Queue { name, ready: 0, consumers: 0 },
            Op::Define(Define::DeleteQueue { .. }) => Done::Deleted { ready: 0 },
            Op::Define(_) => Done::Unit,
            Op::CloseLane | Op::Settle(_) | Op::Credit(_) => continue,
            other => unreachable!("AMQP 0-9-1 has no word for {other:?}"),
        };
        asked = true;
        session.complete(now, submit.ticket, Outcome::Done(done), out);
    }
    asked
}
