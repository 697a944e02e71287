//! Requests about single messages.

use super::streams::{found, look_up, records};
use super::{Call, Step, Stepped, done};
use crate::jet::error::{ApiError, Code};
use crate::jet::json;
use crate::jet::pull::Status;
use crate::jet::reply::{self, Got, StoredMessage};
use crate::jet::request::{self, DeleteRequest, Direct, GetRequest, Which};
use crate::jet::settings;
use crate::jet::stored::{FIRST_LINE, put_block};
use crate::jet::time::Time;
use bytes::Bytes;
use stele_model::id::{Now, Position};
use stele_model::outcome::{Done, Outcome};
use stele_model::stream::records::{
    FoundAnswer, FoundRecord, From, RecordsAnswer, RecordsAsk, ScanOf, Wanted,
};
use stele_model::subject::Pattern;
use stele_record::View;

mod batch;

pub(super) fn delete(call: &Call<'_>, name: &str) -> Stepped {
    // What is nothing but white space is a request without a sequence, which is not there.
    if json::is_empty_request(call.body) {
        return Err(Code::BadRequest.error());
    }
    let request: DeleteRequest = json::read(call.body)?;
    let Some(there) = call.answer(0) else { return Ok(look_up(name)) };
    let (_, config) = found(there)?;
    if config.sealed {
        return Err(Code::StreamSealed.error());
    }
    let missing = || Code::SequenceNotFound.with(request.seq);
    let position = request.seq.checked_sub(1).ok_or_else(missing)?;
    let Some(deleted) = call.answer(1) else {
        return Ok(Step::Ask(vec![records(name, RecordsAsk::Delete(Position(position)))]));
    };
    deleted.map_err(|error| if error == Code::NoMessageFound.error() { missing() } else { error })?;
    call.done(reply::SUCCESS)
}

/// What to ask for a message.
fn ask(which: &Which<'_>) -> Option<RecordsAsk> {
    let pattern = |text: &str| Pattern::new(text.to_owned());
    let scan = |subjects: Pattern, time: Time| {
        let from = From::Time(Now(u64::try_from(time.unix_nanos() / 1000).unwrap_or(0)));
        RecordsAsk::Scan(ScanOf { subjects, from, count_max: 1, bytes_max: 1 })
    };
    let next = |subjects: Pattern, seq: u64| {
        RecordsAsk::Get(vec![Wanted::Next { subjects, from: Position(seq.saturating_sub(1)) }])
    };
    Some(match *which {
        Which::Seq(seq) => RecordsAsk::Get(vec![Wanted::At(Position(seq.checked_sub(1)?))]),
        Which::Last(subject) => RecordsAsk::Get(vec![Wanted::Last(pattern(subject)?)]),
        Which::Next { subject, from: request::From::Seq(seq) } => next(pattern(subject)?, seq),
        Which::Next { subject, from: request::From::Time(time) } => scan(pattern(subject)?, time),
        Which::First(request::From::Seq(seq)) => next(Pattern::everything(), seq),
        Which::First(request::From::Time(time)) => scan(Pattern::everything(), time),
    })
}

/// The record that was found; `None`: there is none.
fn first(answer: Result<&Done, ApiError>) -> Result<Option<(&FoundAnswer, FoundRecord)>, ApiError> {
    match answer? {
        Done::Records(RecordsAnswer::Found(found)) => {
            Ok(found.records.first().copied().flatten().map(|record| (found, record)))
        }
        other => unreachable!("a shard answers for a record with {other:?}"),
    }
}

pub(super) fn get(call: &Call<'_>, name: &str) -> Stepped {
    if json::is_empty_request(call.body) {
        return Err(Code::BadRequest.error());
    }
    let request: GetRequest = json::read(call.body)?;
    let which = request.one()?;
    let Some(there) = call.answer(0) else { return Ok(look_up(name)) };
    found(there)?;
    let missing = || Code::NoMessageFound.error();
    let Some(got) = call.answer(1) else {
        return ask(&which).map(|ask| Step::Ask(vec![records(name, ask)])).ok_or_else(missing);
    };
    let (answer, record) = first(got)?.ok_or_else(missing)?;
    let bytes = answer.record(&record);
    let view = View::parse(&bytes).map_err(|_| missing())?;
    let mut hdrs = Vec::new();
    if !request.no_hdr {
        put_block(&view, &mut hdrs);
        if !hdrs.is_empty() {
            hdrs.extend_from_slice(b"\r\n");
        }
    }
    let message = StoredMessage {
        subject: String::from_utf8_lossy(view.key()).into_owned(),
        seq: record.position.0 + 1,
        hdrs,
        data: view.body().to_vec(),
        time: Time::from(record.appended),
    };
    call.done(Got { message })
}

/// A message as it is, or a status.
pub(super) fn direct(call: &Call<'_>, stream: &str, subject: Option<&str>) -> Step {
    if subject.is_none() && call.body.is_empty() {
        return Step::Status(Status::new(408, "Empty Request"));
    }
    let Ok(request) = json::read_lenient::<GetRequest>(call.body) else {
        return Step::Status(Status::new(408, "Malformed Request"));
    };
    let wanted = match request.direct(subject) {
        Ok(wanted) => wanted,
        Err(status) => return Step::Status(status),
    };
    let Some(there) = call.stage(0).first() else { return look_up(stream) };
    if !allows(there) {
        return Step::Status(Status::no_responders());
    }
    let missing = || Step::Status(Status::new(404, "Message Not Found"));
    let which = match wanted {
        Direct::One(which) => which,
        Direct::Batch(which) => return batch::in_a_row(call, stream, &request, &which),
        Direct::Lasts => return batch::lasts(call, stream, &request),
    };
    let Some(got) = call.answer(1) else {
        return ask(&which).map_or_else(missing, |ask| Step::Ask(vec![records(stream, ask)]));
    };
    let Ok(Some((answer, record))) = first(got) else { return missing() };
    let bytes = answer.record(&record);
    let Ok(view) = View::parse(&bytes) else { return missing() };
    let block = if request.no_hdr { Vec::new() } else { direct_block(stream, &view, &record, "") };
    Step::Message(block, Bytes::copy_from_slice(view.body()))
}

/// The header block of a message that was read directly: its own lines, where it stands, and `more`.
fn direct_block(stream: &str, view: &View<'_>, record: &FoundRecord, more: &str) -> Vec<u8> {
    let mut block = Vec::new();
    put_block(view, &mut block);
    if block.is_empty() {
        block.extend_from_slice(FIRST_LINE);
    }
    let (subject, seq) = (String::from_utf8_lossy(view.key()), record.position.0 + 1);
    let time = Time::from(record.appended);
    let lines = format!(
        "Nats-Stream: {stream}\r\nNats-Subject: {subject}\r\nNats-Sequence: {seq}\r\nNats-Time-Stamp: {time}\r\n{more}\r\n"
    );
    block.extend_from_slice(lines.as_bytes());
    block
}

fn allows(there: &Outcome) -> bool {
    match done(there) {
        Ok(Done::Streams(streams)) => {
            streams.iter().flatten().next().is_some_and(|info| settings::allows_direct(info))
        }
        _ => false,
    }
}
