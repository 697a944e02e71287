//! What JetStream sends, as a batch for the live path.
//!
//! Called by [`super::serve`] and [`super::push`]. What must hold: messages stand in the batch as a client gets them, so that a listener's
//! session copies what follows the subject in one piece ([`stele_model::live::LiveView::frames`]).

use crate::codec::write::number;
use crate::session::DIALECT;
use bytes::{BufMut, Bytes, BytesMut};
use std::sync::Arc;
use stele_model::live::{LiveBatch, LiveItem};
use stele_model::op::Op;

/// Bytes of a message besides its parts, at most: blanks, ends of lines, and two lengths.
const FRAME_BYTES_MAX: usize = 32;

/// Messages that have come together.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    items: Vec<LiveItem>,
    bytes: BytesMut,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Adds a message. `reply` and `headers` may be empty; `headers` is a whole block.
    pub(super) fn put(&mut self, names: (&[u8], &[u8]), parts: (&[u8], &[u8])) {
        self.put_as(b"", names, parts);
    }

    /// Adds a message that is shown with another subject than the one where it is published; empty: the same.
    ///
    /// # Panics
    /// As [`LiveBatch::put`].
    pub(super) fn put_as(
        &mut self,
        shown: &[u8],
        (subject, reply): (&[u8], &[u8]),
        (headers, body): (&[u8], &[u8]),
    ) {
        let short = |len: usize| u16::try_from(len).expect("subjects are short");
        let long = |len: usize| u32::try_from(len).expect("a batch is shorter than 4 GiB");
        let payload_len = headers.len() + body.len();
        let out = &mut self.bytes;
        out.reserve(shown.len() + subject.len() + reply.len() + payload_len + FRAME_BYTES_MAX);
        out.put_slice(shown);
        let at = out.len();
        out.put_slice(subject);
        out.put_u8(b' ');
        let reply_at = short(out.len() - at);
        if !reply.is_empty() {
            out.put_slice(reply);
            out.put_u8(b' ');
        }
        if !headers.is_empty() {
            number(out, headers.len() as u64);
            out.put_u8(b' ');
        }
        number(out, payload_len as u64);
        out.put_slice(b"\r\n");
        let headers_at = short(out.len() - at);
        out.put_slice(headers);
        out.put_slice(body);
        out.put_slice(b"\r\n");
        self.items.push(LiveItem {
            at: long(at),
            subject_len: short(subject.len()),
            reply_at,
            reply_len: short(reply.len()),
            headers_at,
            headers_len: long(headers.len()),
            body_len: long(body.len()),
            tell_unheard: false,
            shown_len: short(shown.len()),
        });
    }

    /// All of them, to be published; see [`LiveBatch::receipt`].
    pub(super) fn take(&mut self, receipt: Option<Bytes>) -> Op {
        let (items, bytes) = (std::mem::take(&mut self.items), self.bytes.split().freeze());
        Op::Live(Arc::new(LiveBatch { bytes, items, frames: DIALECT, receipt, is_stored: false }))
    }

    /// All of them, to be published and to be stored where they are captured.
    pub(super) fn take_to_store(&mut self) -> Op {
        let (items, bytes) = (std::mem::take(&mut self.items), self.bytes.split().freeze());
        Op::Live(Arc::new(LiveBatch { bytes, items, frames: DIALECT, receipt: None, is_stored: true }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_stand_there_as_they_leave() {
        let mut outgoing = Outgoing::default();
        outgoing.put((b"in", b""), (b"", b"one"));
        outgoing.put_as(b"a.b", (b"in", b"re.ply"), (b"NATS/1.0\r\n\r\n", b"two"));
        let Op::Live(batch) = outgoing.take(None) else { panic!("a batch") };
        let view = batch.view();
        let seen = |n| {
            let item = view.item(n).unwrap();
            let tail = item.subject().end..item.body().end + 2;
            let parts = [item.shown(), item.reply(), item.headers(), item.body(), tail];
            parts.map(|range| std::str::from_utf8(view.slice(range)).unwrap())
        };
        assert_eq!(seen(0), ["in", "", "", "one", " 3\r\none\r\n"]);
        let tail = " re.ply 12 15\r\nNATS/1.0\r\n\r\ntwo\r\n";
        assert_eq!(seen(1), ["a.b", "re.ply", "NATS/1.0\r\n\r\n", "two", tail]);
        assert!(outgoing.is_empty());
    }
}
