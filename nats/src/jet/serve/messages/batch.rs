//! Direct gets of several messages: some in a row, or the last of each subject. The messages come first, then a status that says that these
//! were all, and what is left.
//!
//! What must hold: one answer holds a bounded number of messages and bytes ([`BYTES_MAX`], [`COUNT_MAX`]), whatever was asked for: the status
//! says how many are left.

use super::{Call, Step, direct_block, records};
use crate::jet::pull::Status;
use crate::jet::request::{self, GetRequest, Which};
use bytes::Bytes;
use stele_model::id::{Now, Position};
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::stream::records::{FoundAnswer, From, LastsOf, RecordsAnswer, RecordsAsk, ScanOf};
use stele_model::subject::Pattern;
use stele_record::View;

/// Most bytes of one answer.
const BYTES_MAX: u64 = 16 << 20;
/// Most messages of one answer.
const COUNT_MAX: u32 = 16 << 10;
/// Most subjects whose last messages are read at once, as in nats-server.
const SUBJECTS_MAX: u32 = 1024;

fn missing() -> Step {
    Step::Status(Status::new(404, "Message Not Found"))
}

/// Bytes that the answer may have.
fn bytes_max(request: &GetRequest) -> u64 {
    u64::try_from(request.max_bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .map_or(BYTES_MAX, |bytes| bytes.min(BYTES_MAX))
}

/// Messages that the answer may have.
fn count_max(request: &GetRequest) -> u32 {
    u32::try_from(request.batch)
        .map_or(COUNT_MAX, |count| if count == 0 { COUNT_MAX } else { count.min(COUNT_MAX) })
}

/// Messages from a place on.
pub(super) fn in_a_row(call: &Call<'_>, stream: &str, request: &GetRequest, which: &Which<'_>) -> Step {
    let (subjects, from) = match *which {
        Which::Seq(seq) => (Some(Pattern::everything()), request::From::Seq(seq)),
        Which::First(from) => (Some(Pattern::everything()), from),
        Which::Next { subject, from } => (Pattern::new(subject.to_owned()), from),
        Which::Last(_) => unreachable!("the last message of a subject is asked for alone"),
    };
    let Some(subjects) = subjects else { return missing() };
    let Some(got) = call.stage(1).first() else {
        let from = match from {
            request::From::Seq(seq) => From::Position(Position(seq.saturating_sub(1))),
            request::From::Time(time) => {
                From::Time(Now(u64::try_from(time.unix_nanos() / 1000).unwrap_or(0)))
            }
        };
        let scan = ScanOf { subjects, from, count_max: count_max(request), bytes_max: bytes_max(request) };
        return Step::Ask(vec![records(stream, RecordsAsk::Scan(scan))]);
    };
    let Some(found) = found(got) else { return missing() };
    // Where one message is named, that one comes first or nothing does.
    let first = found.records.iter().flatten().next().map(|record| record.position.0 + 1);
    let named = if let Which::Seq(seq) = *which { Some(seq) } else { None };
    match first {
        Some(first) if named.is_none_or(|seq| seq == first) => told(stream, request, found, None),
        _ => missing(),
    }
}

/// The last messages of some subjects.
pub(super) fn lasts(call: &Call<'_>, stream: &str, request: &GetRequest) -> Step {
    let Some(got) = call.stage(1).first() else {
        // What is no pattern has no messages.
        let subjects = request.multi_last.iter().filter_map(|text| Pattern::new(text.clone()));
        let subjects: Vec<Pattern> = subjects.collect();
        if subjects.is_empty() {
            return Step::Status(Status::new(404, "No Results"));
        }
        let until = |at: u64| From::Time(Now((at / 1000).saturating_sub(1000)));
        let as_of = match (request.up_to_seq, request.up_to_time) {
            (0, None) => None,
            (0, Some(time)) => Some(until(u64::try_from(time.unix_nanos()).unwrap_or(0))),
            (seq, _) => Some(From::Position(Position(seq - 1))),
        };
        let lasts = LastsOf {
            subjects,
            as_of,
            subjects_max: SUBJECTS_MAX,
            from: Position(request.seq.saturating_sub(1)),
            count_max: count_max(request),
            bytes_max: bytes_max(request),
        };
        return Step::Ask(vec![records(stream, RecordsAsk::Lasts(lasts))]);
    };
    if let Outcome::Refused(Refusal::Limit { .. }) = got {
        return Step::Status(Status::new(413, "Too Many Results"));
    }
    let Some(found) = found(got).filter(|found| !found.records.is_empty()) else {
        return Step::Status(Status::new(404, "No Results"));
    };
    let last = found.records.iter().flatten().last().map_or(0, |record| record.position.0 + 1);
    let up_to = match (request.up_to_seq, request.up_to_time) {
        (0, None) => found.ends.end.0,
        (0, Some(_)) => last,
        (seq, _) => seq,
    };
    told(stream, request, found, Some(up_to))
}

fn found(got: &Outcome) -> Option<&FoundAnswer> {
    match super::done(got) {
        Ok(Done::Records(RecordsAnswer::Found(found))) => Some(found),
        _ => None,
    }
}

/// What was found, each with how many follow it, and the end.
fn told(stream: &str, request: &GetRequest, found: &FoundAnswer, up_to: Option<u64>) -> Step {
    let count = found.records.len() as u64;
    let (mut messages, mut before) = (Vec::with_capacity(found.records.len()), 0);
    for (place, record) in found.records.iter().flatten().enumerate() {
        let bytes = found.record(record);
        let Ok(view) = View::parse(&bytes) else { continue };
        let left = count - 1 - place as u64 + found.pending;
        let more = format!("Nats-Num-Pending: {left}\r\nNats-Last-Sequence: {before}\r\n");
        let block = if request.no_hdr { Vec::new() } else { direct_block(stream, &view, record, &more) };
        before = record.position.0 + 1;
        messages.push((block, Bytes::copy_from_slice(view.body())));
    }
    let mut end = Status::new(204, "EOB");
    end.headers.push(("Nats-Num-Pending", found.pending.to_string()));
    end.headers.push(("Nats-Last-Sequence", before.to_string()));
    end.headers.extend(up_to.map(|up_to| ("Nats-UpTo-Sequence", up_to.to_string())));
    Step::Messages(messages, end)
}
