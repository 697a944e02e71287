//! What the server says: messages, and the few fixed lines.

use bytes::{BufMut, BytesMut};

/// Every command was understood.
pub const OK: &[u8] = b"+OK\r\n";
/// Are you there?
pub const PING: &[u8] = b"PING\r\n";
/// Here.
pub const PONG: &[u8] = b"PONG\r\n";

/// Appends `-ERR 'text'`.
pub fn error(out: &mut BytesMut, text: &str) {
    out.reserve(text.len() + 9);
    out.put_slice(b"-ERR '");
    out.put_slice(text.as_bytes());
    out.put_slice(b"'\r\n");
}

/// Appends the head of MSG or HMSG up to the payload: what comes before headers and body of these lengths.
pub fn head(
    out: &mut BytesMut,
    (subject, sid, reply): (&[u8], &[u8], &[u8]),
    headers_len: usize,
    body_len: usize,
) {
    out.reserve(subject.len() + sid.len() + reply.len() + 2 * NUMBER_BYTES_MAX + 12);
    out.put_slice(if headers_len > 0 { b"HMSG " } else { &b"MSG "[..] });
    out.put_slice(subject);
    out.put_u8(b' ');
    out.put_slice(sid);
    out.put_u8(b' ');
    if !reply.is_empty() {
        out.put_slice(reply);
        out.put_u8(b' ');
    }
    if headers_len > 0 {
        number(out, headers_len as u64);
        out.put_u8(b' ');
    }
    number(out, (headers_len + body_len) as u64);
    out.put_slice(b"\r\n");
}

const NUMBER_BYTES_MAX: usize = 20;

/// Appends a number in decimal digits.
pub(crate) fn number(out: &mut impl BufMut, mut n: u64) {
    let mut digits = [0; NUMBER_BYTES_MAX];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_of_messages_are_as_nats_server_writes_them() {
        let mut out = BytesMut::new();
        head(&mut out, (b"a.b", b"7", b""), 0, 0);
        head(&mut out, (b"a", b"x", b"_INBOX.1"), 12, 1005);
        error(&mut out, "Invalid Subject");
        assert_eq!(&out[..], b"MSG a.b 7 0\r\nHMSG a x _INBOX.1 12 1017\r\n-ERR 'Invalid Subject'\r\n");
    }
}
