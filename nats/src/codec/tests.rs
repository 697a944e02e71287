//! The parser: what is read from what, and that it does not matter how the bytes come.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { control_line_bytes_max: 40, payload_bytes_max: 20 };

/// All commands of an input, as text, and what ended it.
fn read(mut input: &[u8]) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        check_plain(input);
        match parse(input, &LIMITS) {
            Ok(Parsed::Command(command, used)) => {
                told.push(text(&command, input));
                input = &input[used..];
            }
            Ok(Parsed::Incomplete(_)) if input.is_empty() => return told,
            Ok(Parsed::Incomplete(_)) => {
                told.push("...".to_owned());
                return told;
            }
            Err(violation) => {
                told.push(format!("{violation:?}"));
                return told;
            }
        }
    }
}

/// What the short way finds is what the long one does, and it finds all that is plain.
fn check_plain(input: &[u8]) {
    let long = match parse(input, &LIMITS) {
        Ok(Parsed::Command(Command::Publish(publish), used)) => Some((publish, used)),
        _ => None,
    };
    let is_plain = |(publish, _): &(Publish, usize)| publish.is_plain && !publish.has_headers;
    match plain_publish(input, &LIMITS) {
        Some(found) => assert_eq!(Some(found), long, "{:?}", String::from_utf8_lossy(input)),
        None => assert!(
            !input.starts_with(b"PUB ") || !long.as_ref().is_some_and(is_plain) || has_odd_words(input),
            "{:?}",
            String::from_utf8_lossy(input)
        ),
    }
}

/// Whether the first line has control characters in a word, which ends there for the short way, or more than one blank before the first.
fn has_odd_words(input: &[u8]) -> bool {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = &line["PUB ".len()..line.len() - 1];
    line.starts_with(b" ") || line.iter().any(|byte| *byte < b' ')
}

/// The same, but the bytes come one by one.
fn read_slowly(input: &[u8]) -> Vec<String> {
    let (mut told, mut from) = (Vec::new(), 0);
    for end in 0..=input.len() {
        loop {
            match parse(&input[from..end], &LIMITS) {
                Ok(Parsed::Command(command, used)) => {
                    told.push(text(&command, &input[from..end]));
                    from += used;
                }
                Ok(Parsed::Incomplete(_)) => break,
                Err(violation) => {
                    told.push(format!("{violation:?}"));
                    return told;
                }
            }
        }
    }
    if from < input.len() {
        told.push("...".to_owned());
    }
    told
}

fn text(command: &Command<'_>, input: &[u8]) -> String {
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match command {
        Command::Publish(publish) => {
            let part = |range: &Range<usize>| show(&input[range.clone()]);
            let headers =
                if publish.has_headers { format!("h{}", publish.headers_len) } else { String::new() };
            let plain = if publish.is_plain { "" } else { "~" };
            let (subject, reply) = (part(&publish.subject), part(&publish.reply));
            format!("pub{plain} {subject} [{reply}] {headers}<{}>", part(&publish.payload))
        }
        Command::Subscribe { subject, queue, sid } => {
            format!("sub {} {:?} {}", show(subject), queue.map(show), show(sid))
        }
        Command::Unsubscribe { sid, max } => format!("unsub {} {max:?}", show(sid)),
        Command::Connect(json) => format!("connect {}", show(json)),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn check(input: &str, expected: &[&str]) {
    assert_eq!(read(input.as_bytes()), expected, "{input:?}");
    assert_eq!(read_slowly(input.as_bytes()), expected, "{input:?}, byte by byte");
}

#[test]
fn messages_are_read_with_and_without_reply_and_headers() {
    check("PUB a 2\r\nhi\r\n", &["pub a [] <hi>"]);
    check("PUB a.b re.ply 0\r\n\r\n", &["pub a.b [re.ply] <>"]);
    check("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", &["pub a [] h12<NATS/1.0\r\n\r\nhi>"]);
    check("HPUB a r 12 12\r\nNATS/1.0\r\n\r\n\r\n", &["pub a [r] h12<NATS/1.0\r\n\r\n>"]);
}

#[test]
fn a_payload_is_not_looked_into() {
    check("PUB a 6\r\nPUB\r\n\n\r\nPING\r\n", &["pub a [] <PUB\r\n\n>", "ping"]);
}

#[test]
fn odd_blanks_and_line_ends_are_taken_and_told() {
    check("pub  a\t2 \nhi\r\n", &["pub~ a [] <hi>"]);
    check("PUB a 2\nhi\r\n", &["pub~ a [] <hi>"]);
    check("PUB\ta 2\r\nhi\r\n", &["pub a [] <hi>"]);
    check("PUB a 2 \r\nhi\r\n", &["pub~ a [] <hi>"]);
    check("sub \t a  q 1\n", &["sub a Some(\"q\") 1"]);
}

#[test]
fn verbs_have_no_case() {
    check("ping\r\nPoNg\r\nunSub 3 5\r\nUNSUB 3\r\n", &["ping", "pong", "unsub 3 Some(5)", "unsub 3 None"]);
    check("CONNECT {\"a\": 1}\r\n+OK\r\n-ERR 'x'\r\n", &["connect {\"a\": 1}", "idle", "error"]);
}

#[test]
fn a_maximum_that_is_nothing_or_no_number_ends_a_subscription_at_once() {
    check("UNSUB 1 0\r\nUNSUB 1 x\r\n", &["unsub 1 None", "unsub 1 None"]);
}

#[test]
fn what_is_no_command_is_a_violation_as_soon_as_it_is_certain() {
    check("PUX", &["UnknownOperation"]);
    check("PING\r\nFOO a\r\n", &["ping", "UnknownOperation"]);
    check("\r\n", &["UnknownOperation"]);
    check("PUB a 2\r\nhix\r\n", &["UnknownOperation"]);
    check("PUB a\r\n", &["Arguments"]);
    check("PUB a b c d\r\n", &["Arguments"]);
    check("PUB a -1\r\n", &["Arguments"]);
    check("PUB a 1234567890\r\n", &["Arguments"]);
    check("HPUB a 3 2\r\n", &["Arguments"]);
    check("SUB a\r\n", &["Arguments"]);
    check("SUB \r\n", &["Arguments"]);
    check("UNSUB\r\n", &["UnknownOperation"]);
    check("PUB\r\n", &["UnknownOperation"]);
}

#[test]
fn lengths_have_bounds() {
    check("PUB a 21\r\n", &["Payload"]);
    check("PUB a 20\r\n01234567890123456789\r\n", &["pub a [] <01234567890123456789>"]);
    let longest = "x".repeat(38);
    check(&format!("SUB {longest} 1\r\n"), &[&format!("sub {longest} None 1")]);
    check(&format!("SUB {longest}x 1\r\n"), &["ControlLine"]);
    check(&format!("SUB {longest}xx1"), &["..."]);
    check(&"SUB ".repeat(30), &["ControlLine"]);
}

#[test]
fn a_message_that_has_begun_tells_its_length() {
    assert_eq!(parse(b"PUB a 5\r\n01", &LIMITS), Ok(Parsed::Incomplete(Some(16))));
    assert_eq!(parse(b"PUB a 5\r\n01234\r", &LIMITS), Ok(Parsed::Incomplete(Some(16))));
    assert_eq!(parse(b"PUB a 5", &LIMITS), Ok(Parsed::Incomplete(None)));
}

proptest! {
    #[test]
    fn bytes_mean_the_same_however_they_come(input in "(PUB|HPUB|SUB|PING|[a-z0-9 \t\r\n]|a 2\r\nhi\r\n|\r\n){0,20}") {
        let (fast, slow) = (read(input.as_bytes()), read_slowly(input.as_bytes()));
        // A violation may be certain one byte later, when less is there; what comes before it is the same.
        prop_assert_eq!(fast, slow);
    }

    #[test]
    fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&input);
    }
}
