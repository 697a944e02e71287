//! Bounded random runs of the entry points for fuzzers: random bytes, and real frames with some octets changed.

use bytes::BytesMut;
use proptest::prelude::*;
use stele_amqp091::codec::content::put_header;
use stele_amqp091::codec::field::{Secret, ShortStr};
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

/// A method, by two numbers; `channel` 0 is the connection's own.
fn method(kind: u8, bits: u8) -> Method<'static> {
    let (a, b, c) = (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0);
    let name = ShortStr([&b""[..], b"q", b"amq.rabbitmq.reply-to", b"c"][usize::from(bits >> 6)]);
    let (tag, arguments) = (u64::from(bits >> 3), Table::default());
    match kind {
        0 => Method::ChannelOpen { reserved_1: name },
        1 => Method::ChannelClose { reply_code: 200, reply_text: name, class_id: 0, method_id: 0 },
        2 => Method::ChannelCloseOk {},
        3 => Method::ConfirmSelect { no_wait: a },
        4 => Method::TxSelect {},
        5 => Method::TxCommit {},
        6 => Method::TxRollback {},
        7 => Method::BasicQos { prefetch_size: 0, prefetch_count: u16::from(bits >> 3), global: a },
        8 => Method::BasicConsume {
            reserved_1: 0,
            queue: name,
            consumer_tag: ShortStr(b""),
            no_local: a,
            no_ack: b,
            exclusive: c,
            no_wait: a,
            arguments,
        },
        9 => Method::BasicCancel { consumer_tag: name, no_wait: a },
        10 => Method::BasicGet { reserved_1: 0, queue: name, no_ack: a },
        11 => Method::BasicAck { delivery_tag: tag, multiple: a },
        12 => Method::BasicNack { delivery_tag: tag, multiple: a, requeue: b },
        13 => Method::BasicRecover { requeue: a },
        14 => Method::QueueDelete { reserved_1: 0, queue: name, if_unused: a, if_empty: b, no_wait: c },
        15 => Method::QueueDeclare {
            reserved_1: 0,
            queue: name,
            passive: a,
            durable: b,
            exclusive: c,
            auto_delete: a,
            no_wait: b,
            arguments,
        },
        16 => {
            Method::QueueUnbind { reserved_1: 0, queue: name, exchange: name, routing_key: name, arguments }
        }
        17 => Method::ConnectionUpdateSecret { new_secret: Secret(b"s"), reason: name },
        18 => Method::BasicReject { delivery_tag: tag, requeue: a },
        _ => Method::BasicPublish {
            reserved_1: 0,
            exchange: name,
            routing_key: name,
            mandatory: a,
            immediate: kind == 19 && b && c,
        },
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_order_of_methods_makes_a_session_panic(
        steps in prop::collection::vec((0..26_u8, 1..4_u16, any::<u8>(), 0..20_u8), 0..80)
    ) {
        let mut out = BytesMut::new();
        let open = Method::ChannelOpen { reserved_1: ShortStr(b"") };
        (2..4).for_each(|channel| put_method(&mut out, channel, &open));
        for (kind, channel, bits, content) in steps {
            let channel = if kind == 17 { 0 } else { channel };
            // These end the connection at once, or nearly: seldom.
            let kind = if matches!(kind, 0 | 2) && bits < 250 { 20 } else { kind };
            put_method(&mut out, channel, &method(kind, bits));
            if kind == 1 {
                put_method(&mut out, channel, &open);
            }
            // Mostly a publish is followed by its content, in one piece, in two, or interrupted.
            if kind > 18 && content > 0 {
                put_header(&mut out, channel, &[0, 0], u64::from(content % 3) * 2);
                for _ in 0..content % 3 {
                    put_frame(&mut out, Kind::Body, channel, |out| out.extend_from_slice(b"ab"));
                }
            }
        }
        fuzz::sessions(&out);
    }
}
