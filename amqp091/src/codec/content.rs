//! What follows a method that carries a message: one header frame, then body frames until its size is reached (section 4.2.6).

use super::Violation;
use super::frame::{END, Kind, OVERHEAD_BYTES, put_head};
use bytes::{BufMut, Bytes, BytesMut};

/// Class of every content there is: `basic`.
pub const CLASS_BASIC: u16 = 60;
/// Octets of a header before the property flags.
const HEAD_BYTES: usize = 12;

/// A content header, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The class it belongs to.
    pub class: u16,
    /// Octets of the body.
    pub body_bytes: u64,
    /// Property flags and property list.
    pub properties: &'a [u8],
}

/// Reads the payload of a header frame.
///
/// # Errors
/// [`Violation::Syntax`] if it is too short or its weight is not 0.
#[inline]
pub fn header(payload: &[u8]) -> Result<Header<'_>, Violation> {
    let ([c0, c1, w0, w1, body @ ..], properties) =
        payload.split_first_chunk::<HEAD_BYTES>().ok_or(Violation::Syntax("content header"))?;
    if (*w0, *w1) != (0, 0) {
        return Err(Violation::Syntax("content header: its weight is not 0"));
    }
    Ok(Header { class: u16::from_be_bytes([*c0, *c1]), body_bytes: u64::from_be_bytes(*body), properties })
}

/// Appends a header frame.
///
/// # Panics
/// If the properties have 4 GiB: they came in one frame, which is bounded.
#[inline]
pub fn put_header(out: &mut BytesMut, channel: u16, properties: &[u8], body_bytes: u64) {
    let size = HEAD_BYTES + properties.len();
    put_head(out, Kind::Header, channel, u32::try_from(size).expect("properties came in one frame"));
    out.put_u16(CLASS_BASIC);
    out.put_u16(0);
    out.put_u64(body_bytes);
    out.put_slice(properties);
    out.put_u8(END);
}

/// Body frames of `body`, each with as much as `frame_max` allows; none for an empty body. Copies.
#[inline]
pub fn put_body(out: &mut BytesMut, channel: u16, body: &[u8], frame_max: u32) {
    for piece in body.chunks((frame_max - OVERHEAD_BYTES) as usize) {
        put_head(out, Kind::Body, channel, u32::try_from(piece.len()).expect("shorter than frame_max"));
        out.put_slice(piece);
        out.put_u8(END);
    }
}

/// As [`put_body`], but hands the pieces on without copying them: `small` takes the octets around, `large` the pieces.
pub fn share_body(
    mut small: impl FnMut(&[u8]),
    mut large: impl FnMut(Bytes),
    channel: u16,
    body: &Bytes,
    frame_max: u32,
) {
    let piece_bytes = (frame_max - OVERHEAD_BYTES) as usize;
    let mut head = BytesMut::with_capacity(8);
    let mut at = 0;
    while at < body.len() {
        let end = body.len().min(at + piece_bytes);
        head.clear();
        put_head(&mut head, Kind::Body, channel, u32::try_from(end - at).expect("shorter than frame_max"));
        small(&head);
        large(body.slice(at..end));
        small(&[END]);
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::frame;
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let mut out = BytesMut::new();
        put_header(&mut out, 7, &[0x10, 0, 2], 5);
        let (frame, used) = frame(&out, 100).unwrap().unwrap();
        assert_eq!((frame.channel, frame.kind, used), (7, Kind::Header, out.len()));
        assert_eq!(header(frame.payload), Ok(Header { class: 60, body_bytes: 5, properties: &[0x10, 0, 2] }));
    }

    #[test]
    fn a_body_is_cut_at_frame_max_and_shared_pieces_make_the_same_bytes() {
        for len in [0_usize, 1, 91, 92, 93, 184, 185, 1000] {
            let body: Bytes = (0..len).map(|n| n as u8).collect();
            let mut copied = BytesMut::new();
            put_body(&mut copied, 1, &body, 100);
            let shared = std::cell::RefCell::new(Vec::new());
            share_body(
                |bytes| shared.borrow_mut().extend_from_slice(bytes),
                |bytes| shared.borrow_mut().extend_from_slice(&bytes),
                1,
                &body,
                100,
            );
            assert_eq!(copied[..], shared.into_inner()[..], "{len}");
            let (mut rest, mut joined) = (&copied[..], Vec::new());
            while let Some((frame, used)) = frame(rest, 92).unwrap() {
                joined.extend_from_slice(frame.payload);
                rest = &rest[used..];
            }
            assert_eq!(joined, body, "{len}");
            assert_eq!(copied.len(), len + len.div_ceil(92) * 8);
        }
    }
}
