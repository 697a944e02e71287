//! Octets of official clients and of RabbitMQ (`tests/golden`): every frame is read, and comes out the same when written.

use bytes::BytesMut;
use std::collections::BTreeSet;
use stele_amqp091::codec::content::{header, put_header};
use stele_amqp091::codec::frame::{Kind, frame, put_frame};
use stele_amqp091::codec::hot;
use stele_amqp091::codec::method::{Method, put_method};
use stele_record::properties::Properties;
use stele_record::table::{Table, put_table};

const RECORDED: [(&str, &[u8], &[u8]); 4] = [
    ("pika", include_bytes!("golden/pika.client"), include_bytes!("golden/pika.server")),
    ("amqplib", include_bytes!("golden/amqplib.client"), include_bytes!("golden/amqplib.server")),
    ("amqpstorm", include_bytes!("golden/amqpstorm.client"), include_bytes!("golden/amqpstorm.server")),
    ("pyamqp", include_bytes!("golden/pyamqp.client"), include_bytes!("golden/pyamqp.server")),
];

/// Reads and writes every frame; returns the names of the methods.
fn again(name: &str, recorded: &[u8]) -> BTreeSet<&'static str> {
    let (mut rest, mut written, mut names) = (recorded, BytesMut::new(), BTreeSet::new());
    while let Some((frame, used)) = frame(rest, 131_072).unwrap_or_else(|error| panic!("{name}: {error}")) {
        match frame.kind {
            Kind::Method => {
                let method = Method::decode(frame.payload).unwrap_or_else(|error| panic!("{name}: {error}"));
                names.insert(method.name());
                put_method(&mut written, frame.channel, &method);
                if let Method::BasicPublish { exchange, .. } = method {
                    assert_eq!(hot::publish(frame.payload).unwrap().unwrap().exchange, exchange.0);
                }
            }
            Kind::Header => {
                let header = header(frame.payload).unwrap();
                let properties = Properties::parse(header.properties).unwrap();
                properties.headers().into_iter().for_each(copied);
                let mut list = BytesMut::new();
                properties.write(&mut list);
                put_header(&mut written, frame.channel, &list, header.body_bytes);
            }
            Kind::Body | Kind::Heartbeat => {
                put_frame(&mut written, frame.kind, frame.channel, |out| {
                    out.extend_from_slice(frame.payload)
                });
            }
        }
        rest = &rest[used..];
    }
    assert!(rest.is_empty(), "{name} ends with a whole frame");
    assert_eq!(written[..], *recorded, "{name}");
    names
}

/// A table passes the check, and a copy of all its entries is the table.
fn copied(table: Table<'_>) {
    table.check().unwrap();
    let mut copy = BytesMut::new();
    put_table(&mut copy, |writer| writer.copy(table, |_| true));
    assert_eq!(copy[4..], *table.bytes());
}

#[test]
fn what_official_clients_say_is_read_and_written_again() {
    let mut names = BTreeSet::new();
    for (name, client, _) in RECORDED {
        let client = client.strip_prefix(b"AMQP\x00\x00\x09\x01").expect("the protocol header");
        names.extend(again(name, client));
    }
    for expected in
        ["basic.publish", "basic.nack", "basic.recover", "queue.unbind", "exchange.delete", "confirm.select"]
    {
        assert!(names.contains(expected), "{expected} was recorded");
    }
}

#[test]
fn what_rabbitmq_says_is_read_and_written_again() {
    let mut names = BTreeSet::new();
    for (name, _, server) in RECORDED {
        names.extend(again(name, server));
    }
    for expected in ["connection.start", "basic.deliver", "basic.return", "basic.get-ok", "queue.declare-ok"]
    {
        assert!(names.contains(expected), "{expected} was recorded");
    }
}
