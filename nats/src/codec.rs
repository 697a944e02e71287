//! Commands of a client, read in place: ranges into the bytes that came, nothing copied.
//!
//! Called by the session with whatever has come so far. What must hold: nothing here panics or reads past the slice, whatever the bytes; a
//! length is checked before it is waited for; fed byte by byte the same commands come out. What is written stands in [`write`]; the
//! JSON of CONNECT and INFO in [`options`] and [`info`]. Oddities are nats-server's (`parser.go`): verbs in any case, runs of blanks and tabs between
//! arguments, a bare line feed in place of CR LF after a control line, but not after a payload.

pub mod headers;
pub mod info;
pub mod options;
mod plain;
pub mod write;

pub use plain::plain_publish;

use std::ops::Range;

/// What a client may send, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest arguments of a control line.
    pub control_line_bytes_max: usize,
    /// Longest headers and payload of a message, together.
    pub payload_bytes_max: usize,
}

/// A command. Byte ranges are relative to the slice that was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// PUB or HPUB.
    Publish(Publish),
    /// SUB.
    Subscribe {
        /// What to hear.
        subject: &'a [u8],
        /// The queue group.
        queue: Option<&'a [u8]>,
        /// The client's name for the subscription.
        sid: &'a [u8],
    },
    /// UNSUB.
    Unsubscribe {
        /// Which.
        sid: &'a [u8],
        /// After how many messages; `None`: at once.
        max: Option<u64>,
    },
    /// CONNECT, with its JSON.
    Connect(&'a [u8]),
    /// PING.
    Ping,
    /// PONG.
    Pong,
    /// What clients may say and nobody acts upon: `+OK`, `INFO`.
    Idle,
    /// `-ERR`: the client gives up.
    Error,
}

/// Where the parts of a message are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The subject.
    pub subject: Range<usize>,
    /// The reply subject; empty: none.
    pub reply: Range<usize>,
    /// Headers and payload.
    pub payload: Range<usize>,
    /// Bytes of headers at the start of it.
    pub headers_len: usize,
    /// HPUB.
    pub has_headers: bool,
    /// What stands between subject and payload is as a server writes it: single blanks, CR LF.
    pub is_plain: bool,
}

/// The client does not speak the protocol: its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// No such command, or a message does not end where it should.
    UnknownOperation,
    /// A control line is too long.
    ControlLine,
    /// A message is too long.
    Payload,
    /// A command's arguments make no sense. nats-server says nothing and closes.
    Arguments,
}

/// What stands at the start of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// A command, and its bytes.
    Command(Command<'a>, usize),
    /// Not all of it is there. `Some`: a message of so many bytes has begun.
    Incomplete(Option<usize>),
}

/// Reads the first command of `input`.
///
/// # Errors
/// [`Violation`], as soon as it is certain.
pub fn parse<'a>(input: &'a [u8], limits: &Limits) -> Result<Parsed<'a>, Violation> {
    if let [b'P', b'U', b'B', b' ', ..] = input {
        return message(input, 4, false, limits);
    }
    let verb_len = input.iter().position(|byte| byte.is_ascii_whitespace());
    let verb = verb_len.map_or(input, |len| &input[..len]);
    let Some(verb) = Verb::of(verb, verb_len.is_some())? else { return Ok(Parsed::Incomplete(None)) };
    let at = verb_len.expect("a verb is known by what follows it");
    if verb.has_arguments() && !is_blank(input[at]) {
        return Err(Violation::UnknownOperation);
    }
    match verb {
        Verb::Pub => message(input, at, false, limits),
        Verb::Hpub => message(input, at, true, limits),
        other => line(input, at, other, limits),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Pub,
    Hpub,
    Sub,
    Unsub,
    Connect,
    Ping,
    Pong,
    Info,
    Ok,
    Err,
}

const VERBS: [(&[u8], Verb); 10] = [
    (b"PUB", Verb::Pub),
    (b"HPUB", Verb::Hpub),
    (b"SUB", Verb::Sub),
    (b"UNSUB", Verb::Unsub),
    (b"CONNECT", Verb::Connect),
    (b"PING", Verb::Ping),
    (b"PONG", Verb::Pong),
    (b"INFO", Verb::Info),
    (b"+OK", Verb::Ok),
    (b"-ERR", Verb::Err),
];

impl Verb {
    /// It cannot stand alone.
    fn has_arguments(self) -> bool {
        matches!(self, Self::Pub | Self::Hpub | Self::Sub | Self::Unsub | Self::Connect)
    }

    /// The verb that `text` is, or may become if it is not whole.
    fn of(text: &[u8], is_whole: bool) -> Result<Option<Self>, Violation> {
        let is_it = |known: &[u8]| known.eq_ignore_ascii_case(text);
        let found = VERBS.iter().find(|(known, _)| is_it(known));
        match found {
            Some((_, verb)) if is_whole => Ok(Some(*verb)),
            _ if is_whole => Err(Violation::UnknownOperation),
            _ => {
                let begins = |known: &[u8]| known.get(..text.len()).is_some_and(is_it);
                let may_become = VERBS.iter().any(|(known, _)| begins(known));
                if may_become { Ok(None) } else { Err(Violation::UnknownOperation) }
            }
        }
    }
}

/// The arguments of a control line and where the next thing begins; `None`: its end is not there yet.
struct Line {
    /// Without what ends the line.
    arguments: Range<usize>,
    /// Behind the line feed.
    end: usize,
    /// It ends with CR LF.
    has_cr: bool,
}

fn control_line(input: &[u8], at: usize, limits: &Limits) -> Result<Option<Line>, Violation> {
    let rest = input.get(at..).unwrap_or_default();
    // Blanks before the arguments do not count, but they have a bound too.
    let longest = limits.control_line_bytes_max.saturating_mul(2);
    let Some(feed) = memchr::memchr(b'\n', rest.get(..longest + 2).unwrap_or(rest)) else {
        let too_long =
            rest.trim_ascii_start().len() > limits.control_line_bytes_max + 1 || rest.len() > longest;
        return if too_long { Err(Violation::ControlLine) } else { Ok(None) };
    };
    let has_cr = feed > 0 && rest[feed - 1] == b'\r';
    let line = &rest[..if has_cr { feed - 1 } else { feed }];
    let blanks = line.iter().take_while(|byte| is_blank(**byte)).count();
    if line.len() - blanks > limits.control_line_bytes_max {
        return Err(Violation::ControlLine);
    }
    Ok(Some(Line { arguments: at + blanks..at + line.len(), end: at + feed + 1, has_cr }))
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Most arguments that a command has; one more is kept, to see that there are too many.
const ARGUMENTS_MAX: usize = 4;

/// Splits a line; `true`: by single blanks only, with none at its end.
fn arguments(input: &[u8], line: Range<usize>) -> (smallvec::SmallVec<[Range<usize>; 5]>, bool) {
    let mut found = smallvec::SmallVec::new();
    let mut is_plain = true;
    let mut at = line.start;
    while at < line.end && found.len() <= ARGUMENTS_MAX {
        let rest = &input[at..line.end];
        let len = rest.iter().position(|byte| is_blank(*byte)).unwrap_or(rest.len());
        if len > 0 {
            found.push(at..at + len);
        }
        is_plain &= len > 0 && rest.get(len).is_none_or(|blank| *blank == b' ');
        is_plain &= len + 1 != rest.len();
        at += len + 1;
    }
    (found, is_plain)
}

/// PUB and HPUB: `at` is behind the verb.
fn message<'a>(
    input: &'a [u8],
    at: usize,
    has_headers: bool,
    limits: &Limits,
) -> Result<Parsed<'a>, Violation> {
    let Some(line) = control_line(input, at, limits)? else { return Ok(Parsed::Incomplete(None)) };
    let (arguments, is_plain) = arguments(input, line.arguments.clone());
    let none = line.end..line.end;
    let (subject, reply, headers, size) = match (&arguments[..], has_headers) {
        ([subject, size], false) => (subject, none, None, size),
        ([subject, reply, size], false) => (subject, reply.clone(), None, size),
        ([subject, headers, size], true) => (subject, none, Some(headers), size),
        ([subject, reply, headers, size], true) => (subject, reply.clone(), Some(headers), size),
        _ => return Err(Violation::Arguments),
    };
    let number = |range: &Range<usize>| number(&input[range.clone()]).ok_or(Violation::Arguments);
    let size = number(size)?;
    let headers_len = headers.map_or(Ok(0), number)?;
    if headers_len > size {
        return Err(Violation::Arguments);
    }
    if size > limits.payload_bytes_max as u64 {
        return Err(Violation::Payload);
    }
    // Both are below `payload_bytes_max`, hence fit.
    let (size, headers_len) = (size as usize, headers_len as usize);
    let payload = line.end..line.end + size;
    let end = payload.end + 2;
    match input.get(payload.end..) {
        Some([b'\r', b'\n', ..]) => {}
        Some([] | [b'\r']) | None => return Ok(Parsed::Incomplete(Some(end))),
        Some(_) => return Err(Violation::UnknownOperation),
    }
    let is_plain = is_plain && line.has_cr;
    let publish = Publish { subject: subject.clone(), reply, payload, headers_len, has_headers, is_plain };
    Ok(Parsed::Command(Command::Publish(publish), end))
}

/// All other commands.
fn line<'a>(input: &'a [u8], at: usize, verb: Verb, limits: &Limits) -> Result<Parsed<'a>, Violation> {
    let Some(line) = control_line(input, at, limits)? else { return Ok(Parsed::Incomplete(None)) };
    let text = &input[line.arguments.clone()];
    let (arguments, _) = arguments(input, line.arguments);
    let argument = |n: usize| &input[arguments[n].clone()];
    let command = match (verb, arguments.len()) {
        (Verb::Sub, 2) => Command::Subscribe { subject: argument(0), queue: None, sid: argument(1) },
        (Verb::Sub, 3) => {
            Command::Subscribe { subject: argument(0), queue: Some(argument(1)), sid: argument(2) }
        }
        (Verb::Unsub, 1) => Command::Unsubscribe { sid: argument(0), max: None },
        // A number that is none, or 0, means "at once" to nats-server.
        (Verb::Unsub, 2) => {
            let max = number(argument(1)).filter(|max| *max > 0);
            Command::Unsubscribe { sid: argument(0), max }
        }
        (Verb::Connect, _) => Command::Connect(text),
        (Verb::Ping, _) => Command::Ping,
        (Verb::Pong, _) => Command::Pong,
        (Verb::Info | Verb::Ok, _) => Command::Idle,
        (Verb::Err, _) => Command::Error,
        (Verb::Sub | Verb::Unsub, _) => return Err(Violation::Arguments),
        (Verb::Pub | Verb::Hpub, _) => unreachable!("messages are read elsewhere"),
    };
    Ok(Parsed::Command(command, line.end))
}

/// A number in decimal, of at most nine digits as nats-server has it.
#[inline]
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
