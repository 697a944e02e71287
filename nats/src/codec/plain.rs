//! PUB as clients write it: single blanks, CR LF, no headers. Nine of ten commands under load are this one, so it is read in one go.
//!
//! Whatever is not plain, not whole, or wrong is left to [`super::parse`], which says what it is: so there is one judge. What must hold: what is
//! found here is what `parse` finds.

use super::{Limits, Publish, number};
use std::ops::Range;

/// What a plain PUB begins with.
const VERB: &[u8] = b"PUB ";

/// The message at the start of the input and the bytes of its command, if it is plain and whole.
#[inline]
#[must_use]
pub fn plain_publish(input: &[u8], limits: &Limits) -> Option<(Publish, usize)> {
    let begin = VERB.len();
    if !input.starts_with(VERB) {
        return None;
    }
    // Not longer than a line may be, with what ends it.
    let line = input.get(..begin + limits.control_line_bytes_max + 2).unwrap_or(input);
    let (subject, b' ') = word(line, begin)? else { return None };
    let second = word(line, subject.end + 1)?;
    let (reply, size) = match second {
        (size, b'\r') => (None, size),
        (reply, b' ') => match word(line, reply.end + 1)? {
            (size, b'\r') => (Some(reply), size),
            _ => return None,
        },
        _ => return None,
    };
    let from = size.end + 2;
    if line.get(from - 1)? != &b'\n' {
        return None;
    }
    let bytes = number(&input[size]).filter(|bytes| *bytes <= limits.payload_bytes_max as u64)?;
    let payload = from..from + bytes as usize;
    let end = payload.end + 2;
    if input.get(payload.end..end)? != b"\r\n" {
        return None;
    }
    let reply = reply.unwrap_or(from..from);
    Some((Publish { subject, reply, payload, headers_len: 0, has_headers: false, is_plain: true }, end))
}

/// The word at `at`, and the blank or control character that ends it; `None`: it is empty, or its end is not there.
#[inline]
fn word(line: &[u8], at: usize) -> Option<(Range<usize>, u8)> {
    // Words are short: a search that is set up first would take longer.
    let rest = line.get(at..)?;
    let len = rest.iter().position(|byte| *byte <= b' ')?;
    (len > 0).then(|| (at..at + len, rest[len]))
}
