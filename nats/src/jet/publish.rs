//! What a publish to a stream may ask for in its headers, and the answer to it.

use super::error::{ApiError, Code};
use super::schedule::{self, Schedule};
use super::time;
use super::versions;
use serde::{Deserialize, Serialize};

/// The value of a header in a block (`NATS/1.0\r\nName: value\r\n…`): the first of that name, which is compared octet by octet.
#[must_use]
pub fn header<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    let mut rest = block;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        rest = rest.get(at + 2..)?;
        let value = rest.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
        if let Some(value) = value {
            let end = value.windows(2).position(|pair| pair == b"\r\n").unwrap_or(value.len());
            return std::str::from_utf8(value.get(..end)?.trim_ascii()).ok();
        }
    }
    None
}

/// What a publish asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes<'a> {
    /// Store it once for this id.
    pub id: Option<&'a str>,
    /// Only in this stream.
    pub stream: Option<&'a str>,
    /// Only behind this sequence.
    pub last_seq: Option<u64>,
    /// Only if this is the last sequence of the subject, or of [`Self::last_subject`].
    pub last_subject_seq: Option<u64>,
    /// Which subject that is about; may be a pattern.
    pub last_subject: Option<&'a str>,
    /// Only behind this id.
    pub last_id: Option<&'a str>,
    /// Remove what was before.
    pub rollup: Option<Rollup>,
    /// How long it lives.
    pub ttl: Option<Ttl>,
    /// It is one of a batch.
    pub batch: Option<Batch<'a>>,
    /// Keep it until a time, and publish it then.
    pub schedule: Option<Schedule<'a>>,
    /// End the schedule at this subject.
    pub ends: Option<&'a str>,
}

/// A message's place in an atomic batch (ADR-50).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// Which batch.
    pub id: &'a str,
    /// Its number in it; `None`: it has none.
    pub sequence: Option<u64>,
    /// Whether the batch ends, as it was said.
    pub commit: Option<&'a str>,
    /// It needs a higher level of the API than is offered.
    pub is_beyond: bool,
}

/// What a publish replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollup {
    /// All messages.
    All,
    /// Those of its subject.
    Subject,
}

/// How long a message lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// For ever, whatever the stream's age limit is.
    Never,
    /// Seconds, at least 1.
    Seconds(u64),
}

impl<'a> Wishes<'a> {
    /// Reads a header block; empty: none.
    ///
    /// # Errors
    /// What cannot be, or is not supported, or needs the stream to allow it (`ttl`, `rollup`: the stream's own settings).
    pub fn parse(block: &'a [u8], allows: Allows) -> Result<Self, ApiError> {
        if block.is_empty() {
            return Ok(Self::default());
        }
        if block.len() > usize::from(u16::MAX) {
            return Err(Code::StreamHeaderExceedsMaximum.error());
        }
        unsupported(block)?;
        // What is empty was not said.
        let get = |name: &str| header(block, name).filter(|text| !text.is_empty());
        let number = |name: &str| get(name).map(sequence);
        let wishes = Self {
            id: get("Nats-Msg-Id"),
            stream: get("Nats-Expected-Stream"),
            last_seq: number("Nats-Expected-Last-Sequence"),
            last_subject_seq: number("Nats-Expected-Last-Subject-Sequence"),
            last_subject: get("Nats-Expected-Last-Subject-Sequence-Subject"),
            last_id: get("Nats-Expected-Last-Msg-Id"),
            rollup: get("Nats-Rollup").map(|text| rollup(text, allows)).transpose()?,
            ttl: get("Nats-TTL").map(|text| allowed_ttl(text, allows)).transpose()?,
            batch: batch(block),
            schedule: allowed_schedule(block, allows)?,
            ends: schedule::ends(block)?,
        };
        if !allows.schedules && wishes.ends.is_some() {
            return Err(Code::MessageSchedulesDisabled.error());
        }
        let wishes = wishes.scheduled()?;
        if wishes.last_subject.is_some() && wishes.last_subject_seq.is_none() {
            return Err(Code::StreamExpectedLastSeqPerSubjectInvalid.error());
        }
        Ok(wishes)
    }

    /// A schedule takes the place of the one before on its subject, whether that was said or not.
    fn scheduled(self) -> Result<Self, ApiError> {
        match (&self.schedule, self.rollup) {
            (None, _) => Ok(self),
            (_, Some(Rollup::All)) => Err(Code::MessageSchedulesRollupInvalid.error()),
            _ => Ok(Self { rollup: Some(Rollup::Subject), ..self }),
        }
    }
}

/// What a stream allows publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allows {
    /// `allow_rollup_hdrs`, and not `deny_purge`.
    pub rollup: bool,
    /// `allow_msg_ttl`.
    pub ttl: bool,
    /// `allow_msg_schedules`.
    pub schedules: bool,
}

/// The batch that a message is in, as far as it says.
#[must_use]
pub fn batch(block: &[u8]) -> Option<Batch<'_>> {
    let id = header(block, "Nats-Batch-Id").filter(|id| !id.is_empty())?;
    let number = header(block, "Nats-Batch-Sequence").map(sequence);
    let sequence = number.filter(|number| *number != u64::MAX);
    let is_beyond = versions::is_beyond(header(block, "Nats-Required-Api-Level"));
    Some(Batch { id, sequence, commit: header(block, "Nats-Batch-Commit"), is_beyond })
}

/// What is no number is a sequence that no message has: the condition does not hold.
fn sequence(text: &str) -> u64 {
    let digits = text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|_| digits).unwrap_or(u64::MAX)
}

fn rollup(text: &str, allows: Allows) -> Result<Rollup, ApiError> {
    match text {
        _ if !allows.rollup => Err(Code::StreamRollupFailed.with("rollup not permitted")),
        "all" => Ok(Rollup::All),
        "sub" => Ok(Rollup::Subject),
        other => Err(Code::StreamRollupFailed.with(format_args!("rollup value invalid: {other:?}"))),
    }
}

/// That the stream allows none comes before what is wrong with one.
fn allowed_schedule(block: &[u8], allows: Allows) -> Result<Option<Schedule<'_>>, ApiError> {
    match schedule::schedule(block) {
        Ok(None) => Ok(None),
        _ if !allows.schedules => Err(Code::MessageSchedulesDisabled.error()),
        schedule => schedule,
    }
}

fn allowed_ttl(text: &str, allows: Allows) -> Result<Ttl, ApiError> {
    let ttl = ttl(text)?;
    if allows.ttl { Ok(ttl) } else { Err(Code::MessageTtlDisabled.error()) }
}

/// Seconds, at least one, as a number or a duration; or "never".
///
/// # Errors
/// If it is anything else.
pub fn ttl(text: &str) -> Result<Ttl, ApiError> {
    let ttl = if text.eq_ignore_ascii_case("never") {
        Some(Ttl::Never)
    } else {
        let nanos = time::parse_short(text).or_else(|_| whole_seconds(text)).ok();
        let seconds = nanos.and_then(|nanos| u64::try_from(nanos / time::SECOND).ok());
        seconds.filter(|seconds| *seconds > 0).map(Ttl::Seconds)
    };
    ttl.ok_or_else(|| Code::MessageTtlInvalid.error())
}

fn whole_seconds(text: &str) -> Result<i64, time::NotATime> {
    let seconds: u32 = text.parse().map_err(|_| time::NotATime)?;
    Ok(i64::from(seconds) * time::SECOND)
}

/// Headers that ask for what this server does not do: a publish that was stored without it would be a lie.
fn unsupported(block: &[u8]) -> Result<(), ApiError> {
    let asked = [("Nats-Incr", Code::MessageIncrDisabled)];
    match asked.into_iter().find(|(name, _)| header(block, name).is_some()) {
        Some((_, code)) => Err(code.error()),
        None => Ok(()),
    }
}

/// The answer to a publish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PubAck {
    /// Why it was not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
    /// Which stream.
    pub stream: String,
    /// Its sequence there; 0 if it was refused.
    pub seq: u64,
    /// It was stored before.
    #[serde(default, skip_serializing_if = "super::stream::is_false")]
    pub duplicate: bool,
    /// The batch that it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<String>,
    /// How many messages the batch had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Allows = Allows { rollup: true, ttl: true, schedules: true };

    fn block(lines: &[(&str, &str)]) -> Vec<u8> {
        let mut text = "NATS/1.0\r\n".to_owned();
        for (name, value) in lines {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        (text + "\r\n").into_bytes()
    }

    #[test]
    fn headers_are_found_by_their_exact_names() {
        let block = block(&[("Nats-Msg-Id-Other", "x"), ("Nats-Msg-Id", " a b "), ("Nats-Msg-Id", "c")]);
        assert_eq!(header(&block, "Nats-Msg-Id"), Some("a b"));
        assert_eq!(header(&block, "nats-msg-id"), None);
        assert_eq!(header(b"NATS/1.0\r\nA:1", "A"), Some("1"));
    }

    #[test]
    fn wishes_are_read_from_headers() {
        let block = block(&[
            ("Nats-Expected-Last-Subject-Sequence", "3"),
            ("Nats-Expected-Last-Subject-Sequence-Subject", "a.>"),
            ("Nats-Rollup", "sub"),
            ("Nats-TTL", "90s"),
        ]);
        let wishes = Wishes::parse(&block, ALL).unwrap();
        assert_eq!((wishes.last_subject_seq, wishes.last_subject), (Some(3), Some("a.>")));
        assert_eq!((wishes.rollup, wishes.ttl), (Some(Rollup::Subject), Some(Ttl::Seconds(90))));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error =
            |name, value, allows| Wishes::parse(&block(&[(name, value)]), allows).unwrap_err().err_code;
        let none = Allows { rollup: false, ttl: false, schedules: false };
        assert_eq!(error("Nats-Rollup", "sub", none), 10111);
        assert_eq!(error("Nats-Rollup", "some", ALL), 10111);
        assert_eq!(error("Nats-TTL", "5", none), 10166);
        assert_eq!(error("Nats-TTL", "10ms", ALL), 10165);
        assert_eq!(error("Nats-TTL", "soon", ALL), 10165);
        assert_eq!(error("Nats-Incr", "1", ALL), 10168);
        assert_eq!(error("Nats-Schedule", "@every 1ms", ALL), 10189);
        assert_eq!(error("Nats-Expected-Last-Subject-Sequence-Subject", "a", ALL), 10193);
        assert_eq!(error("Nats-TTL", "0", none), 10165);
        assert_eq!(error("Nats-TTL", "-1", ALL), 10165);
        assert_eq!(Wishes::parse(&block(&[("Nats-TTL", "Never")]), ALL).unwrap().ttl, Some(Ttl::Never));
    }

    #[test]
    fn a_schedule_takes_the_place_of_the_one_before() {
        let wishes = |lines: &[(&str, &str)], allows| {
            Wishes::parse(&block(lines), allows).map(|of| (of.rollup, of.ttl)).map_err(|error| error.err_code)
        };
        let (at, to) = (("Nats-Schedule", "@every 1h"), ("Nats-Schedule-Target", "now"));
        assert_eq!(wishes(&[at, to], ALL), Ok((Some(Rollup::Subject), None)));
        let lives = wishes(&[at, to, ("Nats-TTL", "5"), ("Nats-Rollup", "sub")], ALL);
        assert_eq!(lives, Ok((Some(Rollup::Subject), Some(Ttl::Seconds(5)))));
        assert_eq!(wishes(&[at, to, ("Nats-Rollup", "all")], ALL), Err(10192));
        assert_eq!(wishes(&[at, to], Allows { schedules: false, ..ALL }), Err(10188));
    }

    #[test]
    fn what_is_empty_was_not_said() {
        for name in ["Nats-Msg-Id", "Nats-Expected-Last-Sequence", "Nats-Expected-Last-Msg-Id", "Nats-TTL"] {
            let block = block(&[(name, "")]);
            assert_eq!(Wishes::parse(&block, ALL), Ok(Wishes::default()), "{name}");
        }
    }

    #[test]
    fn a_condition_that_is_no_number_is_one_that_never_holds() {
        for text in ["some", "-1", "+1", "1.5", "18446744073709551616"] {
            let block = block(&[
                ("Nats-Expected-Last-Sequence", text),
                ("Nats-Expected-Last-Subject-Sequence", text),
            ]);
            let wishes = Wishes::parse(&block, ALL).unwrap();
            assert_eq!(
                (wishes.last_seq, wishes.last_subject_seq),
                (Some(u64::MAX), Some(u64::MAX)),
                "{text}"
            );
        }
    }

    #[test]
    fn an_answer_leaves_out_what_is_unset() {
        let ack = PubAck { stream: "s".to_owned(), seq: 3, ..PubAck::default() };
        assert_eq!(serde_json::to_string(&ack).unwrap(), r#"{"stream":"s","seq":3}"#);
    }

    proptest! {
        #[test]
        fn no_header_block_makes_it_panic(block in proptest::collection::vec(any::<u8>(), 0..80), text in "(Nats-[A-Za-z-]{2,12}: ?[0-9a-z]{0,5}\r\n){0,4}") {
            let _ = Wishes::parse(&block, ALL);
            let _ = Wishes::parse(format!("NATS/1.0\r\n{text}\r\n").as_bytes(), ALL);
        }
    }
}
