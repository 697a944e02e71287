//! One entry point for each decoder that meets bytes from outside, for fuzzers and for the bounded random runs in the tests.
//! Each must return for any input; what it asserts are statements about the decoder, not about the input.

use crate::codec::field::ShortStr;
use crate::codec::frame::{Kind, frame};
use crate::codec::method::Method;
use crate::codec::{content, hot};
use bytes::BytesMut;
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
