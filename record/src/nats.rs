//! Records that came in through NATS, and what NATS is shown of others: one side of `docs/dialects/crossing.md`.
//!
//! The properties of such a record ([`Origin::Nats`]) are the length of its reply subject (u16, little endian), that subject, and its header block
//! as it came: `NATS/1.0`, then `name: value` lines, then an empty line; or nothing.
//!
//! | NATS | AMQP 0-9-1 |
//! |---|---|
//! | subject | routing key, on the exchange of the subject space |
//! | reply subject | property `reply-to`; towards NATS a name that is no direct reply's becomes `amq.default.` and the name |
//! | headers of [`NAMED`] | the property of that name |
//! | other headers | headers of that name, text where it is UTF-8, else bytes; a name that comes again makes a list |
//!
//! Towards NATS numbers, truth values and times become their text, lists of them one line each; tables and decimals are left out, and so is
//! what has a name or value that would break a line.

use crate::batch::crossing::as_text;
use crate::properties::{Properties, Property};
use crate::table::{Value, put_table};
use crate::{Draft, Origin, View};
use bytes::{BufMut, Bytes, BytesMut};
use std::borrow::Cow;

/// What every header block begins with.
pub const BLOCK: &[u8] = b"NATS/1.0\r\n";
/// What a subject that stands for a queue's name begins with: what is published to it goes through the default exchange.
pub const DEFAULT_EXCHANGE: &[u8] = b"amq.default.";
/// What the address of a direct reply begins with.
pub const DIRECT_REPLY: &[u8] = b"amq.rabbitmq.reply-to.";

/// Headers that have a property of their own in AMQP; in any case of letters.
pub const NAMED: [(&str, Property); 6] = [
    ("Content-Type", Property::ContentType),
    ("Content-Encoding", Property::ContentEncoding),
    ("Correlation-Id", Property::CorrelationId),
    ("Nats-Msg-Id", Property::MessageId),
    ("Type", Property::Type),
    ("App-Id", Property::AppId),
];

/// Longest value of a property, and longest name of a header, bytes.
const SHORT_BYTES_MAX: usize = 255;

/// The properties of a record that came in through NATS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Where an answer is expected; empty: nowhere.
    pub reply: &'a [u8],
    /// The header block; empty: none.
    pub block: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Reads the properties of a record; nothing if they are another dialect's, or damaged.
    #[must_use]
    pub fn of(view: &View<'a>) -> Self {
        let bytes = view.properties_bytes();
        let parts = bytes.split_first_chunk::<2>().filter(|_| view.origin() == Origin::Nats);
        let Some((len, rest)) = parts else { return Self::default() };
        let split = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)));
        split.map_or_else(Self::default, |(reply, block)| Self { reply, block })
    }

    /// Appends the bytes of the properties.
    ///
    /// # Panics
    /// If the reply subject is longer than 65 535 bytes: the dialect bounds it.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u16_le(u16::try_from(self.reply.len()).expect("a reply subject is short"));
        out.put_slice(self.reply);
        out.put_slice(self.block);
    }

    /// Name and value of each header, in order; ends early at a line that is none.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut rest = self.block.strip_prefix(b"NATS/1.0").unwrap_or_default();
        // What follows the version on its line is a status, which stored records do not have.
        rest = line(rest).map_or(&[], |(_, rest)| rest);
        std::iter::from_fn(move || {
            let (text, after) = line(rest)?;
            rest = after;
            let colon = text.iter().position(|byte| *byte == b':')?;
            Some((&text[..colon], text[colon + 1..].trim_ascii()))
        })
    }
}

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&text[..end], &text[end + 2..]))
}

/// The same record as AMQP 0-9-1 has it; `None`: it is one already.
#[must_use]
pub fn as_amqp091(view: &View<'_>) -> Option<Bytes> {
    if view.origin() != Origin::Nats {
        return None;
    }
    let parts = Parts::of(view);
    let mut properties = Properties::default();
    properties.set(Property::DeliveryMode, Some(if view.persistent() { &[2] } else { &[1] }));
    let reply = Some(parts.reply).filter(|reply| !reply.is_empty() && reply.len() <= SHORT_BYTES_MAX);
    // An answer to a queue by its name goes the way it came.
    let reply = reply.map(|reply| reply.strip_prefix(DEFAULT_EXCHANGE).unwrap_or(reply));
    properties.set(Property::ReplyTo, reply);
    let mut table = BytesMut::new();
    let headers: Vec<_> = parts.headers().collect();
    put_table(&mut table, |table| {
        for (n, (name, value)) in headers.iter().enumerate() {
            let property = NAMED.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name));
            let is_first = headers[..n].iter().all(|(before, _)| before != name);
            match property {
                Some((_, property)) if is_first && value.len() <= SHORT_BYTES_MAX => {
                    properties.set(*property, Some(value));
                }
                _ if !is_first || name.is_empty() || name.len() > SHORT_BYTES_MAX => {}
                _ => {
                    let values: Vec<_> = headers[n..]
                        .iter()
                        .filter(|(same, _)| same == name)
                        .map(|(_, value)| *value)
                        .collect();
                    match (&values[..], std::str::from_utf8(name)) {
                        ([value], _) => table.entry(name, text_or_bytes(value)),
                        (values, Ok(name)) => table.array(name, |array| {
                            values.iter().for_each(|value| array.value(text_or_bytes(value)));
                        }),
                        // A list's name is text.
                        (_, Err(_)) => {}
                    }
                }
            }
        }
    });
    let headers = table.get(4..).unwrap_or_default();
    properties.set(Property::Headers, (!headers.is_empty()).then_some(headers));
    let mut list = BytesMut::new();
    properties.write(&mut list);
    let draft = Draft { origin: Origin::Amqp091, properties: &list, ..Draft::of(view) };
    let mut out = BytesMut::new();
    draft.write(view.body(), &mut out);
    Some(out.freeze())
}

fn text_or_bytes(octets: &[u8]) -> Value<'_> {
    if std::str::from_utf8(octets).is_ok() { Value::Str(octets) } else { Value::Bytes(octets) }
}

/// Appends a message that came in through NATS as a record; `time` in µs since the Unix epoch. The exchange is that of the subject space,
/// unless a queue is meant by its name.
pub fn write(out: &mut BytesMut, (exchange, key, body): (&[u8], &[u8], &[u8]), parts: Parts<'_>, time: u64) {
    let mut properties = BytesMut::with_capacity(2 + parts.reply.len() + parts.block.len());
    parts.write(&mut properties);
    let draft = Draft {
        origin: Origin::Nats,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time,
        exchange,
        key,
        properties: &properties,
        history: b"",
    };
    draft.write(body, out);
}

/// Reply subject and header block as NATS is shown a record, whatever it came in through; both empty where there is nothing.
#[must_use]
pub fn shown<'a>(view: &View<'a>) -> (Cow<'a, [u8]>, Cow<'a, [u8]>) {
    if view.origin() == Origin::Nats {
        let Parts { reply, block } = Parts::of(view);
        return (Cow::Borrowed(reply), Cow::Borrowed(block));
    }
    let properties = view.properties();
    let reply = properties.reply_to().map(shown_reply).unwrap_or_default();
    let mut block = BLOCK.to_vec();
    for (name, property) in NAMED {
        if let Some(value) = properties.field(property) {
            put_line(&mut block, name.as_bytes(), value);
        }
    }
    for (name, value) in view.headers() {
        if let Value::Array(values) = value {
            for value in values.values() {
                put_value(&mut block, name, &value);
            }
        } else {
            put_value(&mut block, name, &value);
        }
    }
    match block.len() {
        len if len == BLOCK.len() => block.clear(),
        _ => block.extend_from_slice(b"\r\n"),
    }
    (Cow::Owned(reply), Cow::Owned(block))
}

fn put_value(block: &mut Vec<u8>, name: &[u8], value: &Value<'_>) {
    if let Some(text) = as_text(value) {
        put_line(block, name, &text.unwrap_or_default());
    }
}

/// A header line, if its name and value can stand in one.
pub(crate) fn put_line(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let breaks = |byte: &u8| matches!(byte, b'\r' | b'\n');
    let is_name = !name.is_empty() && !name.iter().any(|byte| *byte <= b' ' || *byte == b':');
    if is_name && !value.iter().any(breaks) {
        for part in [name, b": ", value, b"\r\n"] {
            block.extend_from_slice(part);
        }
    }
}

/// The subject by which what is published reaches the address of an answer.
fn shown_reply(address: &[u8]) -> Vec<u8> {
    let is_subject = address.split(|byte| *byte == b'.').all(|word| !word.is_empty())
        && !address.iter().any(|byte| *byte <= b' ' || matches!(byte, b'*' | b'>'));
    match is_subject {
        false => Vec::new(),
        true if address.starts_with(DIRECT_REPLY) => address.to_vec(),
        true => [DEFAULT_EXCHANGE, address].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(subject: &str, reply: &str, block: &str, body: &str) -> BytesMut {
        let mut out = BytesMut::new();
        let parts = Parts { reply: reply.as_bytes(), block: block.as_bytes() };
        write(&mut out, (b"amq.topic", subject.as_bytes(), body.as_bytes()), parts, 7);
        out
    }

    #[test]
    fn a_message_is_kept_as_it_came() {
        let block = "NATS/1.0\r\nA: 1\r\na: 2\r\n\r\n";
        let stored = record("orders.new", "_INBOX.1", block, "body");
        let view = View::parse(&stored).unwrap();
        assert_eq!(
            (view.origin(), view.key(), view.body()),
            (Origin::Nats, &b"orders.new"[..], &b"body"[..])
        );
        assert_eq!(Parts::of(&view), Parts { reply: b"_INBOX.1", block: block.as_bytes() });
        let (reply, headers) = shown(&view);
        assert_eq!((&reply[..], &headers[..]), (&b"_INBOX.1"[..], block.as_bytes()));
        assert_eq!(view.content_bytes(), block.len() + "body".len(), "neither subject nor reply counts");
    }

    #[test]
    fn amqp_sees_headers_as_properties_and_headers() {
        let block = "NATS/1.0\r\ncontent-type: text/plain\r\nNats-Msg-Id: 7\r\nTag: a\r\ntraceparent: t\r\nTag: b\r\n\r\n";
        let stored = record("orders.new", "_INBOX.1", block, "body");
        let amqp = as_amqp091(&View::parse(&stored).unwrap()).unwrap();
        let view = View::parse(&amqp).unwrap();
        let properties = view.properties();
        assert_eq!(
            (view.exchange(), view.key(), view.body()),
            (&b"amq.topic"[..], &b"orders.new"[..], &b"body"[..])
        );
        assert_eq!(properties.content_type(), Some(&b"text/plain"[..]));
        assert_eq!(properties.message_id(), Some(&b"7"[..]));
        assert_eq!(properties.reply_to(), Some(&b"_INBOX.1"[..]));
        assert_eq!(properties.delivery_mode(), Some(2));
        let headers: Vec<_> = view.headers().map(|(name, _)| name).collect();
        assert_eq!(headers, [&b"Tag"[..], b"traceparent"]);
        let Some(Value::Array(tags)) = view.headers_table().find(b"Tag") else { panic!("a list") };
        assert_eq!(tags.values().collect::<Vec<_>>(), [Value::Str(b"a"), Value::Str(b"b")]);
        assert!(as_amqp091(&view).is_none(), "it is AMQP's already");
    }

    #[test]
    fn what_crossed_to_amqp_and_back_is_what_it_was() {
        let block = "NATS/1.0\r\nContent-Type: text/plain\r\nTag: a\r\nTag: b\r\n\r\n";
        let stored = record("s", "amq.default.q", block, "");
        let amqp = as_amqp091(&View::parse(&stored).unwrap()).unwrap();
        let (reply, again) = shown(&View::parse(&amqp).unwrap());
        assert_eq!((&reply[..], &again[..]), (&b"amq.default.q"[..], block.as_bytes()));
    }

    #[test]
    fn what_would_break_a_line_does_not_reach_nats() {
        let mut block = Vec::new();
        put_line(&mut block, b"a b", b"1");
        put_line(&mut block, b"a:b", b"1");
        put_line(&mut block, b"", b"1");
        put_line(&mut block, b"ab", b"1\r\nc: 2");
        assert!(block.is_empty());
        for address in ["", "a b", "a..b", "a.>"] {
            assert!(shown_reply(address.as_bytes()).is_empty(), "{address}");
        }
        assert_eq!(shown_reply(b"amq.rabbitmq.reply-to.x+/="), b"amq.rabbitmq.reply-to.x+/=");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_crossing_panic(properties in prop::collection::vec(any::<u8>(), 0..80)) {
            let mut out = BytesMut::new();
            let draft = Draft {
                origin: Origin::Nats, persistent: true, priority: 0, ttl_ms: None, time: 0, exchange: b"", key: b"k",
                properties: &properties, history: b"",
            };
            draft.write(b"", &mut out);
            let view = View::parse(&out).unwrap();
            let amqp = as_amqp091(&view).unwrap();
            let _ = shown(&View::parse(&amqp).unwrap());
        }
    }
}
