//! From a line of a transcript to the client's octets.

use super::Words;
use bytes::BytesMut;
use stele_amqp091::codec::content::{put_body, put_header};
use stele_amqp091::codec::field::{Secret, ShortStr};
use stele_amqp091::codec::frame::{Kind, put_frame};
use stele_amqp091::codec::method::{Method, put_method};
use stele_record::properties::{Properties, Property};
use stele_record::table::{Table, Value, put_table};

pub(crate) fn octets(line: &str) -> Vec<u8> {
    let words = Words::of(line);
    let (name, channel) = (words.0[0], words.0.get(1).map_or(0, |word| word.parse().unwrap_or(0)));
    let mut out = BytesMut::new();
    match name {
        "header" => return b"AMQP\x00\x00\x09\x01".to_vec(),
        "octets" => return words.0[1..].iter().map(|word| u8::from_str_radix(word, 16).unwrap()).collect(),
        "heartbeat" => put_frame(&mut out, Kind::Heartbeat, channel, |_| {}),
        "body" => put_body(&mut out, channel, words.text("body").as_bytes(), 4096),
        "content" => content(channel, &words, &mut out),
        _ => {
            let table = arguments(&words);
            put_method(&mut out, channel, &method(name, &words, Table::of(&table)));
            if name == "basic.publish" && !words.has("bare") {
                content(channel, &words, &mut out);
            }
        }
    }
    out.to_vec()
}

/// Entries `arg:name=value`: numbers, or text.
fn arguments(words: &Words<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    put_table(&mut out, |table| {
        if words.has("blocked") {
            table.table("capabilities", |capabilities| {
                for (word, name) in CAPABILITIES {
                    capabilities.entry(name.as_bytes(), Value::Bool(words.has(word)));
                }
            });
        }
        for (name, value) in words.0.iter().filter_map(|word| word.strip_prefix("arg:")?.split_once('=')) {
            match value.parse() {
                Ok(number) => table.entry(name.as_bytes(), Value::I64(number)),
                Err(_) => table.text(name, value),
            }
        }
    });
    out.split_off(4)
}

const CAPABILITIES: [(&str, &str); 3] = [
    ("blocked", "connection.blocked"),
    ("cancel_notify", "consumer_cancel_notify"),
    ("failure_close", "authentication_failure_close"),
];

/// Header and body: `body`, `size` (if the header shall lie), properties.
fn content(channel: u16, words: &Words<'_>, out: &mut BytesMut) {
    let body = words.text("body").as_bytes();
    let mut headers = BytesMut::new();
    put_table(&mut headers, |table| {
        for name in ["CC", "BCC"] {
            if let Some(keys) = words.get(name) {
                table.array(name, |array| {
                    keys.split(',').for_each(|key| array.value(Value::Str(key.as_bytes())))
                });
            }
        }
        if let Some(text) = words.get("cc-text") {
            table.text("CC", text);
        }
    });
    let mut properties = Properties::default();
    if headers.len() > 4 {
        properties.set(Property::Headers, Some(&headers[4..]));
    }
    if words.has("persistent") {
        properties.set(Property::DeliveryMode, Some(&[2]));
    }
    let texts = [
        ("expiration", Property::Expiration),
        ("user_id", Property::UserId),
        ("reply_to", Property::ReplyTo),
    ];
    for (name, property) in texts {
        properties.set(property, words.get(name).map(str::as_bytes));
    }
    let mut list = BytesMut::new();
    properties.write(&mut list);
    let size = words.get("size").map_or(body.len() as u64, |size| size.parse().unwrap());
    put_header(out, channel, &list, size);
    if !words.has("no-body") {
        put_body(out, channel, body, 4096);
    }
}

fn method<'a>(name: &str, words: &Words<'a>, arguments: Table<'a>) -> Method<'a> {
    // `↵` stands for the end of a line.
    let s = |field: &str| ShortStr(Vec::leak(words.text(field).replace('↵', "\r\n").into_bytes()));
    let (b, n) = (|field: &str| words.has(field), |field: &str| words.number(field));
    let n16 = |field: &str| u16::try_from(n(field)).unwrap();
    let (no_wait, routing_key) = (b("no_wait"), s("routing_key"));
    match name {
        "connection.start-ok" => {
            // `|` stands for the NUL of PLAIN.
            let response: Vec<u8> =
                words.text("response").bytes().map(|octet| if octet == b'|' { 0 } else { octet }).collect();
            let response = Secret(Vec::leak(response));
            Method::ConnectionStartOk {
                client_properties: arguments,
                mechanism: s("mechanism"),
                response,
                locale: s("locale"),
            }
        }
        "connection.tune-ok" => Method::ConnectionTuneOk {
            channel_max: n16("channel_max"),
            frame_max: u32::try_from(n("frame_max")).unwrap(),
            heartbeat: n16("heartbeat"),
        },
        "connection.open" => Method::ConnectionOpen {
            virtual_host: s("virtual_host"),
            reserved_1: ShortStr(b""),
            reserved_2: false,
        },
        "connection.close" => Method::ConnectionClose {
            reply_code: 200,
            reply_text: ShortStr(b"bye"),
            class_id: 0,
            method_id: 0,
        },
        "connection.close-ok" => Method::ConnectionCloseOk {},
        "connection.update-secret" => Method::ConnectionUpdateSecret {
            new_secret: Secret(words.text("secret").as_bytes()),
            reason: s("reason"),
        },
        "channel.open" => Method::ChannelOpen { reserved_1: ShortStr(b"") },
        "channel.close" => {
            Method::ChannelClose { reply_code: 200, reply_text: ShortStr(b"bye"), class_id: 0, method_id: 0 }
        }
        "channel.close-ok" => Method::ChannelCloseOk {},
        "channel.flow" => Method::ChannelFlow { active: b("active") },
        "exchange.declare" => Method::ExchangeDeclare {
            reserved_1: 0,
            exchange: s("exchange"),
            kind: s("kind"),
            passive: b("passive"),
            durable: b("durable"),
            auto_delete: b("auto_delete"),
            internal: b("internal"),
            no_wait,
            arguments,
        },
        "exchange.delete" => Method::ExchangeDelete {
            reserved_1: 0,
            exchange: s("exchange"),
            if_unused: b("if_unused"),
            no_wait,
        },
        "exchange.bind" => Method::ExchangeBind {
            reserved_1: 0,
            destination: s("destination"),
            source: s("source"),
            routing_key,
            no_wait,
            arguments,
        },
        "queue.declare" => Method::QueueDeclare {
            reserved_1: 0,
            queue: s("queue"),
            passive: b("passive"),
            durable: b("durable"),
            exclusive: b("exclusive"),
            auto_delete: b("auto_delete"),
            no_wait,
            arguments,
        },
        "queue.bind" => Method::QueueBind {
            reserved_1: 0,
            queue: s("queue"),
            exchange: s("exchange"),
            routing_key,
            no_wait,
            arguments,
        },
        "queue.unbind" => Method::QueueUnbind {
            reserved_1: 0,
            queue: s("queue"),
            exchange: s("exchange"),
            routing_key,
            arguments,
        },
        "queue.purge" => Method::QueuePurge { reserved_1: 0, queue: s("queue"), no_wait },
        "queue.delete" => Method::QueueDelete {
            reserved_1: 0,
            queue: s("queue"),
            if_unused: b("if_unused"),
            if_empty: b("if_empty"),
            no_wait,
        },
        "basic.qos" => {
            Method::BasicQos { prefetch_size: 0, prefetch_count: n16("count"), global: b("global") }
        }
        "basic.consume" => Method::BasicConsume {
            reserved_1: 0,
            queue: s("queue"),
            consumer_tag: s("consumer_tag"),
            no_local: false,
            no_ack: b("no_ack"),
            exclusive: b("exclusive"),
            no_wait,
            arguments,
        },
        "basic.cancel" => Method::BasicCancel { consumer_tag: s("consumer_tag"), no_wait },
        "basic.publish" => Method::BasicPublish {
            reserved_1: 0,
            exchange: s("exchange"),
            routing_key,
            mandatory: b("mandatory"),
            immediate: b("immediate"),
        },
        "basic.get" => Method::BasicGet { reserved_1: 0, queue: s("queue"), no_ack: b("no_ack") },
        "basic.ack" => Method::BasicAck { delivery_tag: n("tag"), multiple: b("multiple") },
        "basic.nack" => {
            Method::BasicNack { delivery_tag: n("tag"), multiple: b("multiple"), requeue: b("requeue") }
        }
        "basic.reject" => Method::BasicReject { delivery_tag: n("tag"), requeue: b("requeue") },
        "basic.recover" => Method::BasicRecover { requeue: b("requeue") },
        "confirm.select" => Method::ConfirmSelect { no_wait },
        "tx.select" => Method::TxSelect {},
        "tx.commit" => Method::TxCommit {},
        "tx.rollback" => Method::TxRollback {},
        other => panic!("transcripts do not know {other}"),
    }
}
