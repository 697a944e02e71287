//! Acknowledgements: the subject that a delivery is answered to, and what an answer says.
//!
//! The subject carries all that is known of the delivery, so nothing is kept to read an answer by. The short form is written; the long
//! one, with domain and account, is read as well.

use super::json;
use super::pull::{Pull, parse_pull};
use super::time;
use crate::codec::write::number;
use serde::Deserialize;
use std::fmt;

/// What all of these subjects begin with.
pub const PREFIX: &str = "$JS.ACK.";

/// A delivery, as the subject of its answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckSubject<'a> {
    /// The stream.
    pub stream: &'a str,
    /// The consumer.
    pub consumer: &'a str,
    /// How often the message was delivered, this time included.
    pub delivered: u64,
    /// Its sequence in the stream.
    pub stream_seq: u64,
    /// The delivery's number.
    pub consumer_seq: u64,
    /// When it was stored, nanoseconds since the Unix epoch.
    pub stored_nanos: i64,
    /// How many messages there were behind it.
    pub pending: u64,
}

impl fmt::Display for AckSubject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.put(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl<'a> AckSubject<'a> {
    /// Appends it, in the short form.
    pub fn put(&self, out: &mut Vec<u8>) {
        for part in [PREFIX, self.stream, ".", self.consumer] {
            out.extend_from_slice(part.as_bytes());
        }
        let stored_nanos = u64::try_from(self.stored_nanos).unwrap_or(0);
        for n in [self.delivered, self.stream_seq, self.consumer_seq, stored_nanos, self.pending] {
            out.push(b'.');
            number(out, n);
        }
    }

    /// Reads either form; `None` if it is neither.
    #[must_use]
    pub fn parse(subject: &'a str) -> Option<Self> {
        let tail = subject.strip_prefix(PREFIX)?;
        let count = tail.split('.').count();
        let mut tokens = tail.split('.');
        if count >= 9 {
            // Domain (`_`: none) and a hash of the account.
            tokens.nth(1)?;
        } else if count != 7 {
            return None;
        }
        let (stream, consumer) = (tokens.next()?, tokens.next()?);
        let mut number = || tokens.next()?.parse::<u64>().ok();
        Some(Self {
            stream,
            consumer,
            delivered: number()?,
            stream_seq: number()?,
            consumer_seq: number()?,
            stored_nanos: i64::try_from(number()?).ok()?,
            pending: number()?,
        })
    }
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub enum Ack<'a> {
    /// Done.
    Ack,
    /// Again, after so many nanoseconds or as the consumer has it.
    Nak(Option<u64>),
    /// Still at work: wait as long again.
    Progress,
    /// Never again; why.
    Term(&'a str),
    /// Done, and more, please.
    Next(Pull),
    /// Something else, which means nothing.
    Unknown,
}

/// A delay for a `-NAK`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct NakOptions {
    delay: i64,
}

impl<'a> Ack<'a> {
    /// Reads the body of an answer. A delay or request that cannot be read is as if it had not been given: the message must not be
    /// lost for it.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> Self {
        if body.is_empty() || body == b"+ACK" || body == b"+OK" {
            return Self::Ack;
        }
        if body == b"+WPI" {
            return Self::Progress;
        }
        if let Some(rest) = body.strip_prefix(b"+NXT") {
            return Self::Next(parse_pull(rest).unwrap_or_default());
        }
        if let Some(rest) = body.strip_prefix(b"-NAK") {
            return Self::Nak(delay(rest.trim_ascii()));
        }
        match body.strip_prefix(b"+TERM") {
            Some(reason) => Self::Term(std::str::from_utf8(reason).unwrap_or_default().trim()),
            None => Self::Unknown,
        }
    }
}

/// `{"delay": nanoseconds}` or "1.5s".
fn delay(text: &[u8]) -> Option<u64> {
    let nanos = if text.first() == Some(&b'{') {
        json::read_value::<NakOptions>(text).ok()?.delay
    } else {
        time::parse_short(std::str::from_utf8(text).ok()?).ok()?
    };
    Some(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_forms_of_the_subject_are_read() {
        let short = AckSubject::parse("$JS.ACK.S.C.1.2.3.4.5").unwrap();
        assert_eq!((short.stream, short.consumer, short.stream_seq, short.pending), ("S", "C", 2, 5));
        assert_eq!(AckSubject::parse("$JS.ACK._.hash.S.C.1.2.3.4.5"), Some(short));
        assert_eq!(AckSubject::parse("$JS.ACK._.hash.S.C.1.2.3.4.5.random"), Some(short));
        for wrong in
            ["$JS.ACK.S.C.1.2.3.4", "$JS.ACK.S.C.1.2.3.4.5.6", "$JS.ACK.S.C.a.2.3.4.5", "$JS.API.INFO"]
        {
            assert_eq!(AckSubject::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let cases: [(&str, Ack<'_>); 12] = [
            ("", Ack::Ack),
            ("+ACK", Ack::Ack),
            ("+OK", Ack::Ack),
            ("-NAK", Ack::Nak(None)),
            (r#"-NAK {"delay": 5000000}"#, Ack::Nak(Some(5_000_000))),
            ("-NAK 1.5s", Ack::Nak(Some(1_500_000_000))),
            ("-NAK soon", Ack::Nak(None)),
            ("+WPI", Ack::Progress),
            ("+TERM", Ack::Term("")),
            ("+TERM it is broken", Ack::Term("it is broken")),
            ("+NXT 5", Ack::Next(Pull { batch: 5, ..Pull::default() })),
            ("hello", Ack::Unknown),
        ];
        for (text, ack) in cases {
            assert_eq!(Ack::parse(text.as_bytes()), ack, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_subject_that_was_written_is_read_as_itself(numbers in any::<[u32; 5]>(), stream in "[a-z]{1,9}", consumer in "[a-z]{1,9}") {
            let [delivered, stream_seq, consumer_seq, stored, pending] = numbers.map(u64::from);
            let stored_nanos = i64::try_from(stored).unwrap();
            let subject = AckSubject { stream: &stream, consumer: &consumer, delivered, stream_seq, consumer_seq, stored_nanos, pending };
            let text = subject.to_string();
            prop_assert_eq!(AckSubject::parse(&text), Some(subject));
        }

        #[test]
        fn no_answer_makes_it_panic(body in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Ack::parse(&body);
        }
    }
}
