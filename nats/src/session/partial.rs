//! Messages that are longer than what a driver keeps for a session between reads: they are put together here.
//!
//! The announced length was checked against the limit before; memory is taken as the bytes come.

use super::Connection;
use crate::codec::{Command, Parsed, parse};
use bytes::BytesMut;
use stele_model::id::Now;
use stele_model::session::Outbox;

/// Messages up to this length wait at the driver, bytes.
pub(super) const LONG_BYTES: usize = 64 << 10;

/// A message of which the first part has come.
#[derive(Default)]
pub(super) struct Partial {
    bytes: BytesMut,
    len: usize,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that are there.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// A message of `len` bytes has begun.
    pub(super) fn begin(&mut self, input: &[u8], len: usize) {
        debug_assert!(input.len() < len, "a whole message is not partial");
        self.len = len;
        self.bytes.extend_from_slice(input);
    }

    /// Takes what belongs to the message; how much that was.
    fn take(&mut self, input: &[u8]) -> usize {
        let wanted = input.len().min(self.len - self.bytes.len());
        self.bytes.extend_from_slice(&input[..wanted]);
        wanted
    }

    /// The message, if it is whole.
    fn finish(&mut self) -> Option<BytesMut> {
        (self.bytes.len() == self.len).then(|| {
            self.len = 0;
            std::mem::take(&mut self.bytes)
        })
    }
}

impl Connection {
    /// More of a long message.
    pub(super) fn receive_partial(&mut self, now: Now, input: &[u8], out: &mut Outbox) -> usize {
        let used = self.partial.take(input);
        let Some(bytes) = self.partial.finish() else { return used };
        let bytes = bytes.freeze();
        match parse(&bytes, &self.profile.limits) {
            Ok(Parsed::Command(Command::Publish(publish), _)) => {
                self.publish(now, (&bytes, 0), &publish, out);
                out.live.own = Some(bytes);
                out.again = true;
                self.answers.leave(out);
                used
            }
            Ok(_) => unreachable!("it began as a message, and all of it is there"),
            Err(violation) => {
                self.violate(violation, out);
                input.len()
            }
        }
    }
}
