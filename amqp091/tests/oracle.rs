//! Every method, against the independent codec of the crate `amq-protocol`: it reads what we write, and what it makes of that
//! are our bytes again. Bits and field order of the table are proven by it.

use amq_protocol::frame::{AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::AMQPClass;
use bytes::BytesMut;
use stele_amqp091::codec::field::{LongStr, Secret, ShortStr};
use stele_amqp091::codec::frame::frame;
use stele_amqp091::codec::method::{Method, put_method};
use stele_record::table::{Table, Value, put_table};

fn s(text: &str) -> ShortStr<'_> {
    ShortStr(text.as_bytes())
}

fn l(text: &str) -> LongStr<'_> {
    LongStr(text.as_bytes())
}

/// Each method once, with values that tell the fields apart; `bit` is the value of every other bit.
fn methods(table: Table<'_>, bit: bool) -> Vec<Method<'_>> {
    use Method as M;
    let arguments = table;
    vec![
        M::ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: table,
            mechanisms: l("PLAIN"),
            locales: l("en_US"),
        },
        M::ConnectionStartOk {
            client_properties: table,
            mechanism: s("PLAIN"),
            response: Secret(b"\0u\0p"),
            locale: s("en"),
        },
        M::ConnectionSecure { challenge: l("who") },
        M::ConnectionSecureOk { response: Secret(b"me") },
        M::ConnectionTune { channel_max: 1, frame_max: 2, heartbeat: 3 },
        M::ConnectionTuneOk { channel_max: 1, frame_max: 2, heartbeat: 3 },
        M::ConnectionOpen { virtual_host: s("/"), reserved_1: s(""), reserved_2: false },
        M::ConnectionOpenOk { reserved_1: s("") },
        M::ConnectionClose { reply_code: 320, reply_text: s("why"), class_id: 10, method_id: 40 },
        M::ConnectionCloseOk {},
        M::ConnectionBlocked { reason: s("low on disk") },
        M::ConnectionUnblocked {},
        M::ConnectionUpdateSecret { new_secret: Secret(b"x"), reason: s("expired") },
        M::ConnectionUpdateSecretOk {},
        M::ChannelOpen { reserved_1: s("") },
        M::ChannelOpenOk { reserved_1: l("") },
        M::ChannelFlow { active: bit },
        M::ChannelFlowOk { active: bit },
        M::ChannelClose { reply_code: 404, reply_text: s("why"), class_id: 50, method_id: 10 },
        M::ChannelCloseOk {},
        M::AccessRequest {
            realm: s("/data"),
            exclusive: bit,
            passive: !bit,
            active: bit,
            write: !bit,
            read: bit,
        },
        M::AccessRequestOk { reserved_1: 1 },
        M::ExchangeDeclare {
            reserved_1: 0,
            exchange: s("ex"),
            kind: s("topic"),
            passive: bit,
            durable: !bit,
            auto_delete: bit,
            internal: !bit,
            no_wait: bit,
            arguments,
        },
        M::ExchangeDeclareOk {},
        M::ExchangeDelete { reserved_1: 0, exchange: s("ex"), if_unused: bit, no_wait: !bit },
        M::ExchangeDeleteOk {},
        M::ExchangeBind {
            reserved_1: 0,
            destination: s("d"),
            source: s("s"),
            routing_key: s("k"),
            no_wait: bit,
            arguments,
        },
        M::ExchangeBindOk {},
        M::ExchangeUnbind {
            reserved_1: 0,
            destination: s("d"),
            source: s("s"),
            routing_key: s("k"),
            no_wait: bit,
            arguments,
        },
        M::ExchangeUnbindOk {},
        M::QueueDeclare {
            reserved_1: 0,
            queue: s("q"),
            passive: bit,
            durable: !bit,
            exclusive: bit,
            auto_delete: !bit,
            no_wait: bit,
            arguments,
        },
        M::QueueDeclareOk { queue: s("q"), message_count: 7, consumer_count: 8 },
        M::QueueBind {
            reserved_1: 0,
            queue: s("q"),
            exchange: s("e"),
            routing_key: s("k"),
            no_wait: bit,
            arguments,
        },
        M::QueueBindOk {},
        M::QueuePurge { reserved_1: 0, queue: s("q"), no_wait: bit },
        M::QueuePurgeOk { message_count: 9 },
        M::QueueDelete { reserved_1: 0, queue: s("q"), if_unused: bit, if_empty: !bit, no_wait: bit },
        M::QueueDeleteOk { message_count: 9 },
        M::QueueUnbind { reserved_1: 0, queue: s("q"), exchange: s("e"), routing_key: s("k"), arguments },
        M::QueueUnbindOk {},
        M::BasicQos { prefetch_size: 0, prefetch_count: 10, global: bit },
        M::BasicQosOk {},
        M::BasicConsume {
            reserved_1: 0,
            queue: s("q"),
            consumer_tag: s("c"),
            no_local: bit,
            no_ack: !bit,
            exclusive: bit,
            no_wait: !bit,
            arguments,
        },
        M::BasicConsumeOk { consumer_tag: s("c") },
        M::BasicCancel { consumer_tag: s("c"), no_wait: bit },
        M::BasicCancelOk { consumer_tag: s("c") },
        M::BasicPublish {
            reserved_1: 0,
            exchange: s("e"),
            routing_key: s("k"),
            mandatory: bit,
            immediate: !bit,
        },
        M::BasicReturn { reply_code: 312, reply_text: s("NO_ROUTE"), exchange: s("e"), routing_key: s("k") },
        M::BasicDeliver {
            consumer_tag: s("c"),
            delivery_tag: 1 << 40,
            redelivered: bit,
            exchange: s("e"),
            routing_key: s("k"),
        },
        M::BasicGet { reserved_1: 0, queue: s("q"), no_ack: bit },
        M::BasicGetOk {
            delivery_tag: 5,
            redelivered: bit,
            exchange: s("e"),
            routing_key: s("k"),
            message_count: 6,
        },
        M::BasicGetEmpty { reserved_1: s("") },
        M::BasicAck { delivery_tag: 5, multiple: bit },
        M::BasicReject { delivery_tag: 5, requeue: bit },
        M::BasicRecoverAsync { requeue: bit },
        M::BasicRecover { requeue: bit },
        M::BasicRecoverOk {},
        M::BasicNack { delivery_tag: 5, multiple: bit, requeue: !bit },
        M::ConfirmSelect { no_wait: bit },
        M::ConfirmSelectOk {},
        M::TxSelect {},
        M::TxSelectOk {},
        M::TxCommit {},
        M::TxCommitOk {},
        M::TxRollback {},
        M::TxRollbackOk {},
    ]
}

fn table() -> BytesMut {
    let mut out = BytesMut::new();
    put_table(&mut out, |table| table.entry(b"key", Value::Str(b"value")));
    out.split_off(4)
}

#[test]
fn the_oracle_reads_every_method_and_writes_the_same_bytes() {
    let bytes = table();
    for bit in [false, true] {
        for method in methods(Table::of(&bytes), bit) {
            let mut ours = BytesMut::new();
            put_method(&mut ours, 3, &method);
            let (rest, read) =
                parse_frame(&ours[..]).unwrap_or_else(|error| panic!("{}: {error:?}", method.name()));
            assert!(rest.is_empty(), "{}", method.name());
            let AMQPFrame::Method(3, class) = read else { panic!("{} is read as {read:?}", method.name()) };
            let again = AMQPFrame::Method(3, class);
            let theirs = gen_frame(&again)(WriteContext::from(Vec::new())).unwrap().into_inner().0;
            assert_eq!(ours[..], theirs[..], "{} is read as {again:?}", method.name());
            let (frame, _) = frame(&ours, 4096).unwrap().unwrap();
            assert_eq!(Method::decode(frame.payload), Ok(method));
        }
    }
}

#[test]
fn names_are_the_oracles() {
    let bytes = table();
    for method in methods(Table::of(&bytes), true) {
        let mut ours = BytesMut::new();
        put_method(&mut ours, 1, &method);
        let Ok((_, AMQPFrame::Method(_, class))) = parse_frame(&ours[..]) else { panic!() };
        let class: AMQPClass = class;
        // "Basic(Publish(…": class and method of the oracle's own description.
        let debug = format!("{class:?}").to_lowercase();
        let words: String = method.name().split(['.', '-']).collect::<Vec<_>>().join("");
        let theirs: String =
            debug.chars().filter(|c| c.is_alphabetic() || *c == '(').take(60).filter(|c| *c != '(').collect();
        assert!(theirs.starts_with(&words), "{} is {debug}", method.name());
    }
}
