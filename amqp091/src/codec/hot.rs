//! The methods that come once for each message, by hand: `basic.publish`, `basic.deliver`, `basic.ack`, `basic.nack`,
//! `basic.reject`. Each does what its twin made from the table does (tested), without a pass over an enum.

use super::Violation;
use super::frame::{END, Kind, put_head};
use bytes::{BufMut, BytesMut};

/// Class and method of `basic.publish`.
pub const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const ACK: [u8; 4] = [0, 60, 0, 80];
const REJECT: [u8; 4] = [0, 60, 0, 90];
const NACK: [u8; 4] = [0, 60, 0, 120];

/// Octets of a frame with `basic.ack` or `basic.nack`.
pub const ACK_FRAME_BYTES: usize = 21;

/// Arguments of `basic.publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Name of the exchange.
    pub exchange: &'a [u8],
    /// Routing key.
    pub routing_key: &'a [u8],
    /// Return it if no queue takes it.
    pub mandatory: bool,
    /// Return it if no consumer takes it at once: refused by RabbitMQ and by us.
    pub immediate: bool,
}

/// Reads the payload of a method frame if it is a `basic.publish`; `None` if it is another method.
///
/// # Errors
/// [`Violation::Syntax`] if fields are short or left over.
#[inline]
pub fn publish(payload: &[u8]) -> Result<Option<Publish<'_>>, Violation> {
    let Some(fields) = payload.strip_prefix(&PUBLISH) else { return Ok(None) };
    let short = Violation::Syntax("basic.publish");
    let (_, rest) = fields.split_first_chunk::<2>().ok_or(short)?;
    let (exchange, rest) = short_string(rest).ok_or(short)?;
    let (routing_key, rest) = short_string(rest).ok_or(short)?;
    match rest {
        [bits] => {
            Ok(Some(Publish { exchange, routing_key, mandatory: bits & 1 != 0, immediate: bits & 2 != 0 }))
        }
        _ => Err(short),
    }
}

fn short_string(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = input.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// How a client settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `basic.ack`.
    Ack,
    /// `basic.nack`.
    Nack {
        /// Back to the queue.
        requeue: bool,
    },
    /// `basic.reject`.
    Reject {
        /// Back to the queue.
        requeue: bool,
    },
}

/// A settle of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settle {
    /// How.
    pub verb: Verb,
    /// Which delivery; with `multiple` all up to it, and all there are if it is 0.
    pub delivery_tag: u64,
    /// Earlier ones as well.
    pub multiple: bool,
}

/// Reads the payload of a method frame if it settles; `None` if it is another method, or has a wrong length (which the reader
/// made from the table then reports).
#[inline]
#[must_use]
pub fn settle(payload: &[u8]) -> Option<Settle> {
    let (id, rest) = payload.split_first_chunk::<4>()?;
    let (tag, rest) = rest.split_first_chunk::<8>()?;
    let [bits] = *rest else { return None };
    let (first, second) = (bits & 1 != 0, bits & 2 != 0);
    let (verb, multiple) = match *id {
        ACK => (Verb::Ack, first),
        NACK => (Verb::Nack { requeue: second }, first),
        REJECT => (Verb::Reject { requeue: first }, false),
        _ => return None,
    };
    Some(Settle { verb, delivery_tag: u64::from_be_bytes(*tag), multiple })
}

/// Appends a confirm: `basic.ack`, or `basic.nack` for a refused publish.
#[inline]
pub fn put_confirm(out: &mut BytesMut, channel: u16, delivery_tag: u64, multiple: bool, accepted: bool) {
    put_head(out, Kind::Method, channel, 13);
    out.put_slice(if accepted { &ACK } else { &NACK });
    out.put_u64(delivery_tag);
    out.put_slice(&[u8::from(multiple), END]);
}

/// Arguments of `basic.deliver`. Names have at most 255 octets.
#[derive(Clone, Copy, Debug)]
pub struct Deliver<'a> {
    /// The consumer's tag.
    pub consumer_tag: &'a [u8],
    /// Number of the delivery on its channel.
    pub delivery_tag: u64,
    /// It was delivered before.
    pub redelivered: bool,
    /// Exchange it was published to.
    pub exchange: &'a [u8],
    /// Routing key it was published with.
    pub routing_key: &'a [u8],
}

/// Appends the method frame of a delivery.
///
/// # Panics
/// If a name has more than 255 octets.
#[inline]
pub fn put_deliver(out: &mut BytesMut, channel: u16, deliver: &Deliver<'_>) {
    let names = deliver.consumer_tag.len() + deliver.exchange.len() + deliver.routing_key.len();
    let size = 4 + 3 + 8 + 1 + names;
    put_head(out, Kind::Method, channel, u32::try_from(size).expect("names have at most 255 octets"));
    out.put_slice(&DELIVER);
    put_short_string(out, deliver.consumer_tag);
    out.put_u64(deliver.delivery_tag);
    out.put_u8(u8::from(deliver.redelivered));
    put_short_string(out, deliver.exchange);
    put_short_string(out, deliver.routing_key);
    out.put_u8(END);
}

#[inline]
fn put_short_string(out: &mut BytesMut, string: &[u8]) {
    out.put_u8(u8::try_from(string.len()).expect("a short string has at most 255 octets"));
    out.put_slice(string);
}

#[cfg(test)]
mod tests {
    use super::super::field::ShortStr;
    use super::super::frame::frame;
    use super::super::method::{Method, put_method};
    use super::*;

    #[test]
    fn a_publish_is_read_as_the_table_writes_it() {
        for (mandatory, immediate) in [(false, false), (true, false), (false, true), (true, true)] {
            let method = Method::BasicPublish {
                reserved_1: 9,
                exchange: ShortStr(b"ex"),
                routing_key: ShortStr(b"key"),
                mandatory,
                immediate,
            };
            let mut payload = BytesMut::new();
            method.encode(&mut payload);
            let expected = Publish { exchange: b"ex", routing_key: b"key", mandatory, immediate };
            assert_eq!(publish(&payload), Ok(Some(expected)));
            for short in 4..payload.len() {
                assert!(publish(&payload[..short]).is_err());
            }
            payload.put_u8(0);
            assert!(publish(&payload).is_err());
        }
    }

    #[test]
    fn settles_are_read_as_the_table_writes_them() {
        let cases = [
            (Method::BasicAck { delivery_tag: 3, multiple: true }, Verb::Ack, true),
            (Method::BasicAck { delivery_tag: 3, multiple: false }, Verb::Ack, false),
            (
                Method::BasicNack { delivery_tag: 3, multiple: true, requeue: false },
                Verb::Nack { requeue: false },
                true,
            ),
            (
                Method::BasicNack { delivery_tag: 3, multiple: false, requeue: true },
                Verb::Nack { requeue: true },
                false,
            ),
            (Method::BasicReject { delivery_tag: 3, requeue: true }, Verb::Reject { requeue: true }, false),
            (Method::BasicReject { delivery_tag: 3, requeue: false }, Verb::Reject { requeue: false }, false),
        ];
        for (method, verb, multiple) in cases {
            let mut payload = BytesMut::new();
            method.encode(&mut payload);
            assert_eq!(settle(&payload), Some(Settle { verb, delivery_tag: 3, multiple }), "{method:?}");
        }
    }

    #[test]
    fn what_is_written_by_hand_is_what_the_table_writes() {
        let (mut hand, mut table) = (BytesMut::new(), BytesMut::new());
        let deliver = Deliver {
            consumer_tag: b"tag",
            delivery_tag: 7,
            redelivered: true,
            exchange: b"ex",
            routing_key: b"",
        };
        put_deliver(&mut hand, 5, &deliver);
        let method = Method::BasicDeliver {
            consumer_tag: ShortStr(b"tag"),
            delivery_tag: 7,
            redelivered: true,
            exchange: ShortStr(b"ex"),
            routing_key: ShortStr(b""),
        };
        put_method(&mut table, 5, &method);
        put_confirm(&mut hand, 6, 8, true, true);
        put_method(&mut table, 6, &Method::BasicAck { delivery_tag: 8, multiple: true });
        put_confirm(&mut hand, 6, 9, false, false);
        put_method(&mut table, 6, &Method::BasicNack { delivery_tag: 9, multiple: false, requeue: false });
        assert_eq!(hand, table);
        let mut rest = &hand[..];
        while let Some((_, used)) = frame(rest, 1000).unwrap() {
            rest = &rest[used..];
        }
        assert!(rest.is_empty());
    }
}
