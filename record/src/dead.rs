//! A record that a shared group has no use for any more, as it goes on to the group's dead letters.
//!
//! Called by the hub when it moves one. It stays in the bytes of the dialect that wrote it, and headers say what happened to it: lines of the
//! header block where it came in through NATS, entries of the headers' table otherwise (`docs/dialects/crossing.md` says how each is
//! shown to others). Body, time and the other headers stay. What only directed the stream that it is in goes: a reply subject and headers
//! of [`DIRECTS`] where it came in through NATS; the time to live. Headers of an earlier such death are replaced. Not here: where it goes.

use crate::nats::{self, Parts};
use crate::properties::Property;
use crate::table::put_table;
use crate::{Draft, Origin, View};
use bytes::BytesMut;

/// Header: the stream's name.
pub const STREAM: &str = "Stele-Dead-Letter-Stream";
/// Header: where it stands or stood in the stream, counted from 1.
pub const SEQUENCE: &str = "Stele-Dead-Letter-Sequence";
/// Header: the subject it was published to.
pub const SUBJECT: &str = "Stele-Dead-Letter-Subject";
/// Header: the group's name.
pub const CONSUMER: &str = "Stele-Dead-Letter-Consumer";
/// Header: how often it was delivered.
pub const DELIVERIES: &str = "Stele-Dead-Letter-Deliveries";
/// Header: why, `max_deliveries` or `terminated`.
pub const REASON: &str = "Stele-Dead-Letter-Reason";
/// Header: what the reader said when it terminated it; left out if that was nothing.
pub const DETAIL: &str = "Stele-Dead-Letter-Detail";
/// What all of them begin with.
const OURS: &str = "Stele-Dead-Letter-";

/// What names of headers begin with that tell a stream what to do with a message, in any case of letters. They have been obeyed.
pub const DIRECTS: [&str; 5] = ["Nats-Expected-", "Nats-Rollup", "Nats-TTL", "Nats-Schedule", "Nats-Batch-"];

/// What happened to the record.
#[derive(Clone, Copy, Debug)]
pub struct Left<'a> {
    /// Name of the stream.
    pub stream: &'a str,
    /// See [`SEQUENCE`].
    pub sequence: u64,
    /// Name of the group.
    pub group: &'a str,
    /// How often it was delivered.
    pub deliveries: u32,
    /// See [`REASON`].
    pub reason: &'static str,
    /// See [`DETAIL`].
    pub detail: &'a str,
}

impl Left<'_> {
    fn headers(&self, subject: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut headers = vec![
            (STREAM, self.stream.into()),
            (SEQUENCE, self.sequence.to_string().into_bytes()),
            (SUBJECT, subject.to_vec()),
            (CONSUMER, self.group.into()),
            (DELIVERIES, self.deliveries.to_string().into_bytes()),
            (REASON, self.reason.into()),
        ];
        if !self.detail.is_empty() {
            let plain = |c: char| if c.is_control() { ' ' } else { c };
            headers.push((DETAIL, self.detail.chars().map(plain).collect::<String>().into_bytes()));
        }
        headers
    }
}

/// Appends to `out` the record that `view` becomes: published to `exchange` with `key`, or with its own where there is none. It survives a
/// restart, whatever it asked for before.
///
/// # Panics
/// If exchange or key is longer than 65 535 bytes: the group's settings bound them.
pub fn write(view: &View<'_>, left: &Left<'_>, exchange: &[u8], key: Option<&[u8]>, out: &mut BytesMut) {
    let headers = left.headers(view.key());
    let mut properties = BytesMut::new();
    match view.origin() {
        Origin::Nats => put_nats(&Parts::of(view), &headers, &mut properties),
        Origin::Amqp091 => put_amqp091(view, &headers, &mut properties),
    }
    let draft = Draft {
        persistent: true,
        ttl_ms: None,
        exchange,
        key: key.unwrap_or(view.key()),
        properties: &properties,
        ..Draft::of(view)
    };
    draft.write(view.body(), out);
}

fn put_nats(parts: &Parts<'_>, headers: &[(&str, Vec<u8>)], out: &mut BytesMut) {
    let mut block = nats::BLOCK.to_vec();
    for (name, value) in parts.headers() {
        if !DIRECTS.iter().chain([&OURS]).any(|start| begins(name, start)) {
            nats::put_line(&mut block, name, value);
        }
    }
    headers.iter().for_each(|(name, value)| nats::put_line(&mut block, name.as_bytes(), value));
    block.extend_from_slice(b"\r\n");
    Parts { reply: b"", block: &block }.write(out);
}

fn put_amqp091(view: &View<'_>, headers: &[(&str, Vec<u8>)], out: &mut BytesMut) {
    let mut table = BytesMut::new();
    put_table(&mut table, |table| {
        table.copy(view.headers_table(), |name| !begins(name, OURS));
        headers.iter().for_each(|(name, value)| table.text(name, value));
    });
    let mut properties = view.properties();
    properties.set(Property::Expiration, None);
    properties.set(Property::DeliveryMode, Some(&[2]));
    properties.set(Property::Headers, table.get(4..));
    properties.write(out);
}

fn begins(name: &[u8], start: &str) -> bool {
    name.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Properties;
    use proptest::prelude::*;

    const LEFT: Left<'static> = Left {
        stream: "ORDERS",
        sequence: 7,
        group: "workers",
        deliveries: 3,
        reason: "terminated",
        detail: "no\r\nmore",
    };

    fn dead(record: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        write(&View::parse(record).unwrap(), &LEFT, b"amq.topic", Some(b"dead.orders"), &mut out);
        out
    }

    fn stored(block: &str) -> BytesMut {
        let mut out = BytesMut::new();
        let parts = Parts { reply: b"_INBOX.1", block: block.as_bytes() };
        nats::write(&mut out, (b"amq.topic", b"orders.1", b"body"), parts, 5);
        out
    }

    #[test]
    fn a_message_of_nats_keeps_its_headers_but_for_those_that_were_obeyed() {
        let block = "NATS/1.0\r\nNats-Msg-Id: 1\r\nnats-expected-stream: x\r\nNats-TTL: 5s\r\nA: b\r\n\r\n";
        let record = dead(&stored(block));
        let view = View::parse(&record).unwrap();
        let should = "NATS/1.0\r\nNats-Msg-Id: 1\r\nA: b\r\nStele-Dead-Letter-Stream: ORDERS\r\n\
            Stele-Dead-Letter-Sequence: 7\r\nStele-Dead-Letter-Subject: orders.1\r\n\
            Stele-Dead-Letter-Consumer: workers\r\nStele-Dead-Letter-Deliveries: 3\r\n\
            Stele-Dead-Letter-Reason: terminated\r\nStele-Dead-Letter-Detail: no  more\r\n\r\n";
        let parts = Parts::of(&view);
        assert_eq!((parts.reply, std::str::from_utf8(parts.block)), (&b""[..], Ok(should)));
        assert_eq!((view.key(), view.body(), view.time()), (&b"dead.orders"[..], &b"body"[..], 5));
    }

    #[test]
    fn a_dead_letter_that_dies_again_tells_of_its_last_death() {
        let twice = dead(&dead(&stored("")));
        let view = View::parse(&twice).unwrap();
        let names: Vec<_> =
            Parts::of(&view).headers().filter(|(name, _)| *name == SUBJECT.as_bytes()).collect();
        assert_eq!(names, [(SUBJECT.as_bytes(), &b"dead.orders"[..])]);
    }

    #[test]
    fn a_message_of_amqp_keeps_its_properties_and_does_not_expire() {
        let mut table = BytesMut::new();
        put_table(&mut table, |table| table.text("a", "b"));
        let mut properties = Properties::default();
        properties.set(Property::MessageId, Some(b"id"));
        properties.set(Property::Expiration, Some(b"1000"));
        properties.set(Property::Headers, table.get(4..));
        let mut list = BytesMut::new();
        properties.write(&mut list);
        let draft = Draft {
            origin: Origin::Amqp091,
            persistent: false,
            priority: 3,
            ttl_ms: Some(1000),
            time: 5,
            exchange: b"",
            key: b"k",
            properties: &list,
            history: b"",
        };
        let mut record = BytesMut::new();
        draft.write(b"body", &mut record);
        let record = dead(&record);
        let view = View::parse(&record).unwrap();
        assert!(view.persistent() && view.ttl_ms().is_none() && view.properties().expiration().is_none());
        assert_eq!((view.properties().message_id(), view.priority()), (Some(&b"id"[..]), 3));
        let headers: Vec<_> =
            view.headers().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
        assert_eq!(headers.len(), 8);
        assert_eq!((&headers[0][..], &headers[1][..]), ("a", STREAM));
    }

    proptest! {
        #[test]
        fn no_properties_make_a_death_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), nats in any::<bool>()) {
            let origin = if nats { Origin::Nats } else { Origin::Amqp091 };
            let draft = Draft {
                origin, persistent: true, priority: 0, ttl_ms: None, time: 0, exchange: b"", key: b"k",
                properties: &bytes, history: b"",
            };
            let mut record = BytesMut::new();
            draft.write(b"", &mut record);
            let record = dead(&record);
            prop_assert!(View::parse(&record).is_ok());
        }
    }
}
