//! Bounded random runs of the entry points for fuzzers: random bytes, and real frames with some octets changed.

use bytes::BytesMut;
use proptest::prelude::*;
use stele_amqp091::codec::content::put_header;
use stele_amqp091::codec::field::ShortStr;
use stele_amqp091::codec::frame::{Kind, put_frame};
use stele_amqp091::codec::method::{Method, put_method};
use stele_amqp091::fuzz;
use stele_record::properties::{Properties, Property};
use stele_record::table::{Table, Value, put_table};

/// Frames of a usual conversation, to be damaged.
fn conversation() -> Vec<u8> {
    let mut table = BytesMut::new();
    put_table(&mut table, |table| {
        table.entry(b"x-message-ttl", Value::I64(60_000));
        table.table("inner", |inner| inner.entry(b"flag", Value::Bool(true)));
        table.array("CC", |array| array.value(Value::Str(b"copy")));
    });
    let table = table.split_off(4);
    let mut properties = Properties::default();
    properties.set(Property::Headers, Some(&table));
    properties.set(Property::Expiration, Some(b"1000"));
    let mut list = BytesMut::new();
    properties.write(&mut list);
    let (empty, q) = (ShortStr(b""), ShortStr(b"queue"));
    let mut out = BytesMut::new();
    let arguments = Table::of(&table);
    let declare = Method::QueueDeclare {
        reserved_1: 0,
        queue: q,
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: false,
        no_wait: false,
        arguments,
    };
    put_method(&mut out, 1, &declare);
    let publish = Method::BasicPublish {
        reserved_1: 0,
        exchange: empty,
        routing_key: q,
        mandatory: true,
        immediate: false,
    };
    put_method(&mut out, 1, &publish);
    put_header(&mut out, 1, &list, 4);
    put_frame(&mut out, Kind::Body, 1, |out| out.extend_from_slice(b"body"));
    put_method(&mut out, 1, &Method::BasicNack { delivery_tag: 5, multiple: true, requeue: false });
    out.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_make_no_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::frames(&bytes);
        fuzz::methods(&bytes);
        fuzz::contents(&bytes);
        fuzz::tables(&bytes);
        fuzz::records(&bytes);
        fuzz::sessions(&bytes);
    }

    #[test]
    fn damaged_frames_make_no_decoder_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = conversation();
        for (at, octet) in changes {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        fuzz::frames(&bytes);
        fuzz::sessions(&bytes);
    }

    #[test]
    fn damaged_methods_are_read_the_same_by_both_readers(
        fields in prop::collection::vec(0_u8..4, 0..40), method in prop::sample::select(vec![(60_u16, 40_u16), (60, 80), (50, 10), (10, 11)]),
    ) {
        let payload = [&method.0.to_be_bytes()[..], &method.1.to_be_bytes(), &fields].concat();
        fuzz::methods(&payload);
    }
}
