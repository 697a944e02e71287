//! The frame around everything: type, channel, size, payload, 0xCE (section 4.2.3).

use super::Violation;
use bytes::{BufMut, BytesMut};

/// Octets of a frame that are not payload.
pub const OVERHEAD_BYTES: u32 = 8;
/// Octets before the payload.
pub const HEAD_BYTES: usize = 7;
/// The octet after the payload.
pub const END: u8 = 0xCE;
/// A whole heartbeat frame.
pub const HEARTBEAT: [u8; 8] = [Kind::Heartbeat as u8, 0, 0, 0, 0, 0, 0, END];

/// What a frame carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A method.
    Method = 1,
    /// The header of a content.
    Header = 2,
    /// A piece of a content's body.
    Body = 3,
    /// Nothing; the peer is alive.
    Heartbeat = 8,
}

/// One frame, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The channel; 0 is the connection's own.
    pub channel: u16,
    /// What is in it.
    pub payload: &'a [u8],
}

/// Takes one frame from the start of `input`. `Ok(None)`: wait for more bytes. `Ok(Some((frame, used)))`: drop `used` bytes and
/// go on.
///
/// # Errors
/// See [`Violation`]; raised as soon as the bytes that show it are there.
#[inline]
pub fn frame(input: &[u8], payload_bytes_max: u32) -> Result<Option<(Frame<'_>, usize)>, Violation> {
    let Some((head, rest)) = input.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [kind, c0, c1, size @ ..] = *head;
    let kind = match kind {
        1 => Kind::Method,
        2 => Kind::Header,
        3 => Kind::Body,
        8 => Kind::Heartbeat,
        other => return Err(Violation::FrameKind(other)),
    };
    let payload_bytes = u32::from_be_bytes(size);
    if payload_bytes > payload_bytes_max {
        return Err(Violation::FrameTooLarge { payload_bytes, payload_bytes_max });
    }
    let Some((payload, rest)) = rest.split_at_checked(payload_bytes as usize) else { return Ok(None) };
    match rest.first() {
        None => Ok(None),
        Some(&END) => {
            let channel = u16::from_be_bytes([c0, c1]);
            Ok(Some((Frame { kind, channel, payload }, HEAD_BYTES + payload.len() + 1)))
        }
        Some(octet) => Err(Violation::FrameEnd(*octet)),
    }
}

/// Appends a frame whose payload `fill` appends.
pub fn put_frame(out: &mut BytesMut, kind: Kind, channel: u16, fill: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    put_head(out, kind, channel, 0);
    fill(out);
    let size = u32::try_from(out.len() - at - HEAD_BYTES).expect("what we send is shorter than frame_max");
    out[at + 3..at + HEAD_BYTES].copy_from_slice(&size.to_be_bytes());
    out.put_u8(END);
}

/// Appends the seven octets before a payload of known size.
#[inline]
pub fn put_head(out: &mut BytesMut, kind: Kind, channel: u16, payload_bytes: u32) {
    let [c0, c1] = channel.to_be_bytes();
    let [s0, s1, s2, s3] = payload_bytes.to_be_bytes();
    out.put_slice(&[kind as u8, c0, c1, s0, s1, s2, s3]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_not_there_until_its_last_octet_is() {
        let mut bytes = BytesMut::new();
        put_frame(&mut bytes, Kind::Body, 513, |out| out.put_slice(b"abc"));
        assert_eq!(bytes[..], [3, 2, 1, 0, 0, 0, 3, b'a', b'b', b'c', 0xCE]);
        for short in 0..bytes.len() {
            assert_eq!(frame(&bytes[..short], 100), Ok(None), "{short} octets");
        }
        let whole = Frame { kind: Kind::Body, channel: 513, payload: b"abc" };
        bytes.put_slice(b"rest");
        assert_eq!(frame(&bytes, 3), Ok(Some((whole, 11))));
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_has_come() {
        let head = [1, 0, 0, 0, 0, 1, 0];
        let expected = Violation::FrameTooLarge { payload_bytes: 256, payload_bytes_max: 255 };
        assert_eq!(frame(&head, 255), Err(expected));
        assert_eq!(frame(&head, 256), Ok(None));
    }

    #[test]
    fn a_wrong_end_or_kind_is_a_violation() {
        assert_eq!(frame(&[1, 0, 0, 0, 0, 0, 0, 1], 100), Err(Violation::FrameEnd(1)));
        assert_eq!(frame(&[4, 0, 0, 0, 0, 0, 0], 100), Err(Violation::FrameKind(4)));
    }
}
