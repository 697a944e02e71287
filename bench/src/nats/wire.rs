//! What a NATS server sends, operation by operation, read from the front of a buffer.
//!
//! A subscriber under a flood gets the same line before each message; [`Repeats`] skips it by one comparison, so that the generator is
//! not what is measured.

use anyhow::{Context, Result, bail};

/// Longest line that a server may send; INFO is the long one.
const LINE_BYTES_MAX: usize = 32 << 10;

/// One operation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Op<'a> {
    Message(Message<'a>),
    Ping,
    Pong,
    Info(&'a [u8]),
    Error(&'a [u8]),
    Ok,
}

/// A delivered message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub subject: &'a [u8],
    pub reply: &'a [u8],
    /// The block of headers, empty without.
    pub head: &'a [u8],
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The code in the first line of the headers, if the server speaks and not a publisher.
    pub(crate) fn status(&self) -> Option<u32> {
        let code = self.head.strip_prefix(b"NATS/1.0 ")?.get(..3)?;
        std::str::from_utf8(code).ok()?.parse().ok()
    }
}

/// The first operation and its length; none: wait for more bytes.
pub(crate) fn op(input: &[u8]) -> Result<Option<(Op<'_>, usize)>> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        if input.len() > LINE_BYTES_MAX {
            bail!("a line without end");
        }
        return Ok(None);
    };
    let (line, used) =
        (input[..end].strip_suffix(b"\r").context("a line without a carriage return")?, end + 1);
    let (verb, rest) = match line.iter().position(|byte| *byte == b' ') {
        Some(blank) => (&line[..blank], &line[blank + 1..]),
        None => (line, &b""[..]),
    };
    let found = match verb {
        b"MSG" | b"HMSG" => {
            let Some((message, length)) = message(verb == b"HMSG", rest, &input[used..])? else {
                return Ok(None);
            };
            return Ok(Some((Op::Message(message), used + length)));
        }
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        b"INFO" => Op::Info(rest),
        b"-ERR" => Op::Error(rest),
        b"+OK" => Op::Ok,
        _ => bail!("an unknown operation: {}", String::from_utf8_lossy(line)),
    };
    Ok(Some((found, used)))
}

/// The message after a line with these words; its length with the end of line.
fn message<'a>(headed: bool, words: &'a [u8], input: &'a [u8]) -> Result<Option<(Message<'a>, usize)>> {
    let words: Vec<&[u8]> = words.split(|byte| *byte == b' ').collect();
    let (subject, reply, sizes) = match (headed, words.as_slice()) {
        (false, [subject, _, size]) => (*subject, &b""[..], [&b"0"[..], size]),
        (false, [subject, _, reply, size]) => (*subject, *reply, [&b"0"[..], size]),
        (true, [subject, _, head, size]) => (*subject, &b""[..], [*head, size]),
        (true, [subject, _, reply, head, size]) => (*subject, *reply, [*head, size]),
        _ => bail!("a delivery of {} words", words.len()),
    };
    let (head_bytes, bytes) = (number(sizes[0])?, number(sizes[1])?);
    let Some(whole) = input.get(..bytes + 2) else { return Ok(None) };
    let payload = whole.strip_suffix(b"\r\n").context("a payload without its end")?;
    let (head, body) = payload.split_at_checked(head_bytes).context("headers longer than the payload")?;
    Ok(Some((Message { subject, reply, head, body }, bytes + 2)))
}

fn number(word: &[u8]) -> Result<usize> {
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).context("a size that is no number")
}

/// Skips messages whose line is the one before, as all of a flood are.
#[derive(Default)]
pub(crate) struct Repeats {
    line: Vec<u8>,
    /// Line, payload and the end of it.
    bytes: usize,
}

impl Repeats {
    /// How many whole messages of the kind seen last stand at the front, and how many bytes they are.
    pub(crate) fn skip(&self, input: &[u8]) -> (u64, usize) {
        let (mut count, mut used) = (0, 0);
        if !self.line.is_empty() {
            while let Some(next) = input.get(used..used + self.bytes)
                && next.starts_with(&self.line)
                && next.ends_with(b"\r\n")
            {
                count += 1;
                used += self.bytes;
            }
        }
        (count, used)
    }

    /// Remembers the line of a message that stands at the front of `input` and is so long with its payload.
    pub(crate) fn note(&mut self, input: &[u8], bytes: usize) {
        let line = input.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.line.clear();
        self.line.extend(&input[..line]);
        self.bytes = bytes;
    }
}

/// Writes a publish.
pub(crate) fn publish(out: &mut Vec<u8>, subject: &[u8], reply: &[u8], body: &[u8]) {
    out.extend(b"PUB ");
    out.extend(subject);
    if !reply.is_empty() {
        out.push(b' ');
        out.extend(reply);
    }
    out.push(b' ');
    out.extend(body.len().to_string().as_bytes());
    out.extend(b"\r\n");
    out.extend(body);
    out.extend(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: &[u8] = b"INFO {}\r\nMSG a 1 2\r\nhi\r\nHMSG a 1 back 12 13\r\nNATS/1.0\r\n\r\nx\r\nPING\r\n+OK\r\n-ERR 'no'\r\n";

    fn all(mut input: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        while let Some((op, used)) = op(input).unwrap() {
            found.push(format!("{op:?}"));
            input = &input[used..];
        }
        found
    }

    #[test]
    fn operations_are_read_one_after_the_other_and_never_before_they_are_whole() {
        assert_eq!(all(SOME).len(), 6);
        for end in 0..SOME.len() {
            let some = all(&SOME[..end]);
            assert_eq!(some[..], all(SOME)[..some.len()]);
        }
    }

    #[test]
    fn words_and_headers_are_told_apart() {
        let (Op::Message(message), _) =
            op(b"HMSG s 9 r 16 17\r\nNATS/1.0 503\r\n\r\nx\r\n").unwrap().unwrap()
        else {
            panic!("a message")
        };
        assert_eq!((message.subject, message.reply, message.body), (&b"s"[..], &b"r"[..], &b"x"[..]));
        assert_eq!(message.status(), Some(503));
    }

    #[test]
    fn repeated_messages_are_skipped_and_others_are_not() {
        let flood = b"MSG a 1 2\r\nhi\r\nMSG a 1 2\r\nho\r\nMSG b 1 2\r\nhi\r\n";
        let mut repeats = Repeats::default();
        assert_eq!(repeats.skip(flood), (0, 0));
        repeats.note(flood, 15);
        assert_eq!(repeats.skip(flood), (2, 30));
        assert_eq!(repeats.skip(&flood[..29]), (1, 15));
    }

    #[test]
    fn what_is_not_the_protocol_is_an_error() {
        for wrong in [&b"HELLO\r\n"[..], b"MSG a 1\r\n", b"MSG a 1 x\r\n", b"MSG a 1 2\r\nhi..", b"PING\n"] {
            assert!(op(wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }
}
