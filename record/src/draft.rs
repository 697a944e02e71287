//! Writing a record. Called by the dialects, once for each publish, on the hot path: no allocation, one copy of each part; and by whoever
//! writes one anew with something of it changed ([`Draft::of`]).

use crate::{FLAG_PERSISTENT, HEAD_BYTES, Origin, TTL_NONE, VERSION, View};
use bytes::{BufMut, BytesMut};

/// Everything of a record but its body.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// Whose bytes `properties` are.
    pub origin: Origin,
    /// Whether it asks to survive a restart.
    pub persistent: bool,
    /// 0 if none was given.
    pub priority: u8,
    /// Own time to live in ms; at most `u32::MAX - 1`.
    pub ttl_ms: Option<u32>,
    /// Now, µs since the Unix epoch.
    pub time: u64,
    /// Exchange it is published to; at most 65 535 bytes (AMQP allows 255).
    pub exchange: &'a [u8],
    /// Key it is published with; at most 65 535 bytes (AMQP allows 255).
    pub key: &'a [u8],
    /// The origin's bytes of the properties.
    pub properties: &'a [u8],
    /// Bytes of a history ([`crate::history`]), empty for a new record without hidden keys.
    pub history: &'a [u8],
}

impl<'a> Draft<'a> {
    /// A record as it is, to be written anew with some of it changed.
    #[must_use]
    pub fn of(view: &View<'a>) -> Self {
        Self {
            origin: view.origin(),
            persistent: view.persistent(),
            priority: view.priority(),
            ttl_ms: view.ttl_ms(),
            time: view.time(),
            exchange: view.exchange(),
            key: view.key(),
            properties: view.properties_bytes(),
            history: view.history_bytes(),
        }
    }

    /// Bytes of the record before its body.
    #[must_use]
    pub fn head_len(&self) -> usize {
        HEAD_BYTES + self.exchange.len() + self.key.len() + self.properties.len() + self.history.len()
    }

    /// Appends the record to `out` up to its body, of which the caller appends exactly `body_len` bytes next. Room is made only for
    /// what is written: `body_len` is a client's word.
    ///
    /// # Panics
    /// If a part is longer than its length field can say: dialects check sizes where they come in.
    pub fn open(&self, body_len: usize, out: &mut BytesMut) {
        let field = "a record is shorter than 4 GiB";
        let len = u32::try_from(self.head_len() + body_len).expect(field);
        assert_ne!(self.ttl_ms, Some(TTL_NONE), "this number means that there is no time to live");
        out.reserve(self.head_len());
        let mut head = [0; HEAD_BYTES];
        head[0..4].copy_from_slice(&len.to_le_bytes());
        head[4..8].copy_from_slice(&[
            VERSION,
            self.origin as u8,
            u8::from(self.persistent) * FLAG_PERSISTENT,
            self.priority,
        ]);
        head[8..12].copy_from_slice(&self.ttl_ms.unwrap_or(TTL_NONE).to_le_bytes());
        head[12..14].copy_from_slice(
            &u16::try_from(self.exchange.len()).expect("an exchange's name fits").to_le_bytes(),
        );
        head[14..16].copy_from_slice(&u16::try_from(self.key.len()).expect("a key fits").to_le_bytes());
        head[16..20].copy_from_slice(&u32::try_from(self.properties.len()).expect(field).to_le_bytes());
        head[20..24].copy_from_slice(&u32::try_from(self.history.len()).expect(field).to_le_bytes());
        head[24..32].copy_from_slice(&self.time.to_le_bytes());
        out.put_slice(&head);
        out.put_slice(self.exchange);
        out.put_slice(self.key);
        out.put_slice(self.properties);
        out.put_slice(self.history);
    }

    /// Appends the whole record to `out`.
    ///
    /// # Panics
    /// As [`Self::open`].
    pub fn write(&self, body: &[u8], out: &mut BytesMut) {
        out.reserve(self.head_len() + body.len());
        self.open(body.len(), out);
        out.put_slice(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_written_anew_as_it_is_has_the_same_bytes(
            origin in prop_oneof![Just(Origin::Amqp091), Just(Origin::Nats)], persistent: bool, priority: u8,
            ttl_ms in prop::option::of(..TTL_NONE), time: u64, parts: [Vec<u8>; 5],
        ) {
            let [exchange, key, properties, history, body] = &parts;
            let draft = Draft { origin, persistent, priority, ttl_ms, time, exchange, key, properties, history };
            let (mut record, mut again) = (BytesMut::new(), BytesMut::new());
            draft.write(body, &mut record);
            let view = View::parse(&record).unwrap();
            Draft::of(&view).write(view.body(), &mut again);
            prop_assert_eq!(again, record);
        }
    }
}
