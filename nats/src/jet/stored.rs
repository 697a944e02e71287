//! Messages as clients send and get them, and stored records as such messages.

use stele_record::View;
use stele_record::nats::shown;

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

/// Appends the header block of a record to `out`, without the empty line that ends it; nothing if there are no headers.
pub fn put_block(view: &View<'_>, out: &mut Vec<u8>) {
    let (_, block) = shown(view);
    out.extend_from_slice(block.strip_suffix(b"\r\n").unwrap_or(&block));
}
