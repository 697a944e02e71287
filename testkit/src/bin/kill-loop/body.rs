//! The body of a record: who sent it, its number, and filler that depends on both, so that damage shows.

/// `publisher number filler`, of about `size` bytes.
pub(crate) fn write(publisher: usize, number: u64, size: usize) -> Vec<u8> {
    let mut body = format!("{publisher} {number} ").into_bytes();
    body.extend((0..size).map(|at| filler(number, at)));
    body
}

/// Publisher and number, or `None` if this is not what was written.
pub(crate) fn read(body: &[u8]) -> Option<(usize, u64)> {
    let mut parts = body.splitn(3, |byte| *byte == b' ');
    let mut word = || std::str::from_utf8(parts.next()?).ok();
    let publisher = word()?.parse().ok()?;
    let number = word()?.parse().ok()?;
    let rest = parts.next()?;
    rest.iter().enumerate().all(|(at, byte)| *byte == filler(number, at)).then_some((publisher, number))
}

fn filler(number: u64, at: usize) -> u8 {
    number.wrapping_mul(31).wrapping_add(at as u64).to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_who_wrote_it() {
        assert_eq!(read(&write(3, 1234, 100)), Some((3, 1234)));
        assert_eq!(read(&write(0, 0, 0)), Some((0, 0)));
    }

    #[test]
    fn a_damaged_body_is_noticed() {
        let mut body = write(3, 1234, 100);
        body[50] ^= 1;
        assert_eq!(read(&body), None);
        assert_eq!(read(b"garbage"), None);
    }
}
