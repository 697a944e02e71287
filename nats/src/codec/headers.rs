//! A message's header block: `NATS/1.0[ code[ text]]`, then `name: value` lines, then an empty line (ADR-4).

/// What every block begins with.
pub const VERSION: &[u8] = b"NATS/1.0";

/// A block that nobody answers a request by (nats-server 2.15: with the subject that was asked).
#[must_use]
pub fn no_responders(subject: &[u8]) -> Vec<u8> {
    [VERSION, b" 503\r\nNats-Subject: ", subject, b"\r\n\r\n"].concat()
}

/// The lines of a block: names as they were written, values without the blanks around them. Ends at the first line that is none.
pub fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block;
    let mut first = true;
    std::iter::from_fn(move || {
        loop {
            let end = memchr::memmem::find(rest, b"\r\n")?;
            let (line, after) = (&rest[..end], &rest[end + 2..]);
            rest = after;
            if std::mem::take(&mut first) {
                if !line.starts_with(VERSION) {
                    return None;
                }
                continue;
            }
            let colon = memchr::memchr(b':', line)?;
            return Some((&line[..colon], line[colon + 1..].trim_ascii()));
        }
    })
}

/// The first value of a name; names are told apart by their letters' case, as nats-server does.
#[must_use]
pub fn field<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields(block).find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_is_read_line_by_line() {
        let block = b"NATS/1.0 100 Idle\r\nA: 1\r\na:  two words \r\nEmpty:\r\n\r\n";
        let read: Vec<_> = fields(block).collect();
        assert_eq!(read, [(&b"A"[..], &b"1"[..]), (b"a", b"two words"), (b"Empty", b"")]);
        assert_eq!(field(block, "a"), Some(&b"two words"[..]));
        assert_eq!(field(block, "B"), None);
        assert_eq!(fields(b"HTTP/1.0\r\nA: 1\r\n\r\n").count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(block in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = fields(&block).count();
        }
    }
}
