//! Reading a record: lengths are checked once, in [`View::parse`]; every accessor after that is a slice.
//!
//! Called by everybody who looks at a record. What must hold: nothing here panics or reads past the slice, whatever the bytes.

use crate::history::History;
use crate::nats::Parts;
use crate::properties::Properties;
use crate::table::{Entries, Table};
use crate::{Damage, FLAG_PERSISTENT, HEAD_BYTES, TTL_NONE, VERSION};

/// The dialect whose bytes a record's properties are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Origin {
    /// AMQP 0-9-1: property flags and property list of a content header.
    Amqp091 = 1,
    /// NATS: reply subject and header block; see [`crate::nats`].
    Nats = 2,
}

impl Origin {
    fn of(byte: u8) -> Result<Self, Damage> {
        match byte {
            1 => Ok(Self::Amqp091),
            2 => Ok(Self::Nats),
            other => Err(Damage::Origin(other)),
        }
    }
}

/// One record, borrowed from wherever it lies. Copying it copies two words and the parsed head.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    bytes: &'a [u8],
    origin: Origin,
    flags: u8,
    priority: u8,
    ttl_ms: u32,
    time: u64,
    exchange: &'a [u8],
    key: &'a [u8],
    properties: &'a [u8],
    history: &'a [u8],
    body: &'a [u8],
}

impl<'a> View<'a> {
    /// Reads the record that `bytes` are, exactly.
    ///
    /// # Errors
    /// [`Damage`] if the lengths do not add up to the slice, or version, origin or flags are unknown. What the variable parts
    /// contain is not looked at: properties and history are checked by who reads them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        let (view, rest) = Self::first(bytes)?;
        if rest.is_empty() { Ok(view) } else { Err(Damage::Long) }
    }

    /// Reads the record at the start of `bytes` and returns it with what follows it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Damage> {
        let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Damage::Short("head"))?;
        let [l0, l1, l2, l3, version, origin, flags, priority, t0, t1, t2, t3, head @ ..] = *head;
        let [e0, e1, k0, k1, p0, p1, p2, p3, h0, h1, h2, h3, time @ ..] = head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if version != VERSION {
            return Err(Damage::Version(version));
        }
        if flags & !FLAG_PERSISTENT != 0 {
            return Err(Damage::Value("flags"));
        }
        let origin = Origin::of(origin)?;
        let (bytes, rest) = bytes.split_at_checked(len).ok_or(Damage::Short("record"))?;
        let variable = bytes.get(HEAD_BYTES..).ok_or(Damage::Short("record"))?;
        let (exchange, variable) = split(variable, usize::from(u16::from_le_bytes([e0, e1])), "exchange")?;
        let (key, variable) = split(variable, usize::from(u16::from_le_bytes([k0, k1])), "key")?;
        let (properties, variable) =
            split(variable, u32::from_le_bytes([p0, p1, p2, p3]) as usize, "properties")?;
        let (history, body) = split(variable, u32::from_le_bytes([h0, h1, h2, h3]) as usize, "history")?;
        let ttl_ms = u32::from_le_bytes([t0, t1, t2, t3]);
        let time = u64::from_le_bytes(time);
        let view =
            Self { bytes, origin, flags, priority, ttl_ms, time, exchange, key, properties, history, body };
        Ok((view, rest))
    }

    /// The whole record, as stored.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of what the publisher wrote into the record: body and headers, as its dialect counts them, without addresses and history.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        let headers = match self.origin {
            Origin::Nats => Parts::of(self).block,
            Origin::Amqp091 => self.properties,
        };
        headers.len() + self.body.len()
    }

    /// Whose bytes the properties are.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether the publisher asked for the record to survive a restart.
    #[must_use]
    pub fn persistent(&self) -> bool {
        self.flags & FLAG_PERSISTENT != 0
    }

    /// 0 to 255, 0 if the publisher gave none.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
    }

    /// The record's own time to live in ms, from the moment it enters a queue.
    #[must_use]
    pub fn ttl_ms(&self) -> Option<u32> {
        (self.ttl_ms != TTL_NONE).then_some(self.ttl_ms)
    }

    /// When the record was first accepted, µs since the Unix epoch. A dead-letter move keeps it.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    /// Name of the exchange the record was last published to.
    #[must_use]
    pub fn exchange(&self) -> &'a [u8] {
        self.exchange
    }

    /// The key (AMQP: routing key) the record was last published with.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The origin's bytes of the properties.
    #[must_use]
    pub fn properties_bytes(&self) -> &'a [u8] {
        self.properties
    }

    /// The properties, read lazily; none if the record is not AMQP's (see [`crate::nats::as_amqp091`]).
    #[must_use]
    pub fn properties(&self) -> Properties<'a> {
        match self.origin {
            Origin::Amqp091 => Properties::of(self.properties),
            Origin::Nats => Properties::default(),
        }
    }

    /// The headers as a table; empty if there are none.
    #[must_use]
    pub fn headers_table(&self) -> Table<'a> {
        self.properties().headers().unwrap_or_default()
    }

    /// The headers in hub form, in the order the publisher wrote them. Ends early at damage, which a record that came in
    /// through a dialect does not have: the dialect checks with [`Table::check`].
    #[must_use]
    pub fn headers(&self) -> Entries<'a> {
        self.headers_table().entries()
    }

    /// The bytes of the history; empty for most records.
    #[must_use]
    pub fn history_bytes(&self) -> &'a [u8] {
        self.history
    }

    /// Where the record has died before, and its hidden keys.
    ///
    /// # Errors
    /// [`Damage`] if the bytes are not a history.
    pub fn history(&self) -> Result<History<'a>, Damage> {
        History::parse(self.history)
    }

    /// What the publisher sent.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }
}

fn split<'a>(bytes: &'a [u8], at: usize, part: &'static str) -> Result<(&'a [u8], &'a [u8]), Damage> {
    bytes.split_at_checked(at).ok_or(Damage::Short(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draft;
    use bytes::BytesMut;
    use proptest::prelude::*;

    fn draft<'a>(exchange: &'a [u8], key: &'a [u8], properties: &'a [u8]) -> Draft<'a> {
        let origin = Origin::Amqp091;
        Draft {
            origin,
            persistent: true,
            priority: 7,
            ttl_ms: Some(60_000),
            time: 11,
            exchange,
            key,
            properties,
            history: b"",
        }
    }

    #[test]
    fn version_1_has_these_bytes() {
        let mut out = BytesMut::new();
        draft(b"ex", b"k", &[0, 0]).write(b"body", &mut out);
        let golden = [
            41, 0, 0, 0, 1, 1, 1, 7, 0x60, 0xea, 0, 0, 2, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 0, 0,
            0, 0, b'e', b'x', b'k', 0, 0, b'b', b'o', b'd', b'y',
        ];
        assert_eq!(out[..], golden);
    }

    #[test]
    fn every_shorter_slice_is_damage_and_a_longer_one_leaves_a_rest() {
        let mut out = BytesMut::new();
        draft(b"ex", b"k", &[0, 0]).write(b"body", &mut out);
        for short in 0..out.len() {
            assert!(View::first(&out[..short]).is_err(), "{short} bytes are no record");
        }
        let whole = out.len();
        out.extend_from_slice(b"rest");
        assert!(matches!(View::parse(&out), Err(Damage::Long)));
        let (view, rest) = View::first(&out).unwrap();
        assert_eq!((view.bytes().len(), rest), (whole, &b"rest"[..]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            exchange in prop::collection::vec(any::<u8>(), 0..300), key in prop::collection::vec(any::<u8>(), 0..300),
            properties in prop::collection::vec(any::<u8>(), 0..300), body in prop::collection::vec(any::<u8>(), 0..300),
            ttl_ms in prop::option::of(0..TTL_NONE), persistent: bool, priority: u8, time: u64,
        ) {
            let mut out = BytesMut::new();
            let draft = Draft {
                origin: Origin::Amqp091, persistent, priority, ttl_ms, time, exchange: &exchange, key: &key,
                properties: &properties, history: b"",
            };
            draft.write(&body, &mut out);
            let view = View::parse(&out).unwrap();
            prop_assert_eq!(view.exchange(), &exchange[..]);
            prop_assert_eq!(view.key(), &key[..]);
            prop_assert_eq!(view.properties_bytes(), &properties[..]);
            prop_assert_eq!(view.body(), &body[..]);
            prop_assert_eq!(
                (view.ttl_ms(), view.persistent(), view.priority(), view.time()), (ttl_ms, persistent, priority, time));
        }

        #[test]
        fn no_bytes_make_the_view_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), fix: bool) {
            if fix && bytes.len() >= HEAD_BYTES {
                let len = u32::try_from(bytes.len()).unwrap();
                bytes[..4].copy_from_slice(&len.to_le_bytes());
                bytes[4..7].copy_from_slice(&[VERSION, 1, 0]);
                bytes[12..24].copy_from_slice(&[3, 0, 2, 0, 20, 0, 0, 0, 30, 0, 0, 0]);
            }
            if let Ok((view, _)) = View::first(&bytes) {
                let _ = view.headers().count();
                let _ = view.history().map(|history| history.deaths().count());
                let _ = view.properties().expiration();
            }
        }
    }
}
