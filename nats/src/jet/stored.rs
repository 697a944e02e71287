//! Messages as clients send and get them, and stored records as such messages.

use super::time::{MILLISECOND, short};
use stele_record::nats::shown;
use stele_record::table::Value;
use stele_record::{Origin, View};

/// The first line of every header block.
pub const FIRST_LINE: &[u8] = b"NATS/1.0\r\n";

/// A message as a client sends or gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its subject.
    pub subject: &'a [u8],
    /// Where an answer is expected; empty: none is.
    pub reply: &'a [u8],
    /// Its header block; empty: none.
    pub headers: &'a [u8],
    /// Its payload.
    pub body: &'a [u8],
}

/// The header by which a stream says why it stored a record by itself, and what it says of one whose subject ended by time.
const REASON: (&[u8], &[u8]) = (b"stele.reason", b"expired");

/// Appends the header block of a record to `out`, without the empty line that ends it; nothing if there are no headers.
pub fn put_block(view: &View<'_>, out: &mut Vec<u8>) {
    if let Some(ttl_ms) = marker_ttl_ms(view) {
        let ttl = short(i64::from(ttl_ms) * MILLISECOND);
        out.extend_from_slice(FIRST_LINE);
        out.extend_from_slice(b"Nats-Marker-Reason: MaxAge\r\n");
        out.extend_from_slice(format!("Nats-TTL: {ttl}\r\nNats-Rollup: sub\r\n").as_bytes());
        return;
    }
    let (_, block) = shown(view);
    out.extend_from_slice(block.strip_suffix(b"\r\n").unwrap_or(&block));
}

/// How long a marker stays, if the record is one: a stream stored it where a subject's last record went by time.
fn marker_ttl_ms(view: &View<'_>) -> Option<u32> {
    let ours = view.origin() == Origin::Amqp091 && view.body().is_empty();
    let (name, why) = REASON;
    let says = ours && view.headers_table().find(name) == Some(Value::Str(why));
    view.ttl_ms().filter(|_| says)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use stele_record::Draft;
    use stele_record::properties::{Properties, Property};
    use stele_record::table::put_table;

    fn block(reason: &str, body: &[u8]) -> String {
        let (mut headers, mut list, mut record) = (BytesMut::new(), BytesMut::new(), BytesMut::new());
        put_table(&mut headers, |table| table.text("stele.reason", reason));
        let mut properties = Properties::default();
        properties.set(Property::Headers, headers.get(4..));
        properties.write(&mut list);
        let draft = Draft {
            origin: Origin::Amqp091,
            persistent: true,
            priority: 0,
            ttl_ms: Some(60_000),
            time: 0,
            exchange: b"amq.topic",
            key: b"a",
            properties: &list,
            history: b"",
        };
        draft.write(body, &mut record);
        let mut block = Vec::new();
        put_block(&View::parse(&record).unwrap(), &mut block);
        String::from_utf8(block).unwrap()
    }

    #[test]
    fn a_marker_says_what_nats_says_of_one() {
        let lines = "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: 1m0s\r\nNats-Rollup: sub\r\n";
        assert_eq!(block("expired", b""), lines);
        assert_eq!(block("other", b""), "NATS/1.0\r\nstele.reason: other\r\n");
        assert_eq!(block("expired", b"x"), "NATS/1.0\r\nstele.reason: expired\r\n");
    }
}
