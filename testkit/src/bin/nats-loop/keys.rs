//! A client of the bucket: puts, updates by revision and gets of a few keys, each noted with the time of its call and of its answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use stele_testkit::nats::{Connection, Message};
use stele_testkit::random::Random;

use crate::register::{Act, Operation, Revision, Value};
use crate::run::{BUCKET, KEYS, Shared};

/// Between two operations: the histories need not be long, but must overlap with every kill.
const PACE: Duration = Duration::from_millis(2);

/// Work until told to stop. Every value is a client's number and a count, so no two are the same.
pub(crate) fn work(shared: &Shared, client: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut count = 0;
    let mut known = [0; KEYS];
    shared.over_connections(&format!("client {client}"), |mut connection| {
        while !shared.stopped() {
            let key = random.index(KEYS);
            count += 1;
            one(shared, &mut connection, key, client << 32 | count, &mut known[key], random.below(3))?;
            std::thread::sleep(PACE);
        }
        Ok(true)
    });
}

/// One operation, noted also when no answer comes.
fn one(
    shared: &Shared,
    connection: &mut Connection,
    key: usize,
    value: Value,
    known: &mut Revision,
    kind: u64,
) -> Result<()> {
    let (start, subject) = (Instant::now(), format!("$KV.nats-loop.key{key}"));
    let body = value.to_string();
    let (unanswered, answer) = match kind {
        0 => (Some(Act::Put(value, None)), connection.request(&subject, &[], body.as_bytes())),
        1 => {
            let expected = format!("Nats-Expected-Last-Subject-Sequence: {known}");
            (
                Some(Act::Update(*known, value, None)),
                connection.request(&subject, &[expected], body.as_bytes()),
            )
        }
        _ => (None, connection.request(&format!("$JS.API.DIRECT.GET.{BUCKET}.{subject}"), &[], b"")),
    };
    let note = |end: Option<Instant>, act: Act| shared.keys()[key].push(Operation { start, end, act });
    let answer = match answer {
        Ok(answer) if answer.status() == Some(503) || answer.number("err_code") == Some(10_008) => {
            return Ok(());
        }
        Ok(answer) => answer,
        Err(error) => {
            if let Some(act) = unanswered {
                note(None, act);
            }
            return Err(error);
        }
    };
    let act = match unanswered {
        Some(act) => written(act, &answer)?,
        None => found(&answer)?,
    };
    match act {
        Act::Put(_, revision) | Act::Update(_, _, revision) => *known = revision.unwrap_or(*known),
        Act::Refused(_, revision) | Act::Got(_, revision) => *known = revision,
        Act::Nothing => *known = 0,
    }
    note(Some(Instant::now()), act);
    Ok(())
}

/// What the answer to a write says.
fn written(act: Act, answer: &Message) -> Result<Act> {
    let text = String::from_utf8_lossy(&answer.body);
    if answer.number("err_code") == Some(10_071) {
        let (_, last) =
            text.split_once("sequence: ").with_context(|| format!("a refusal without a place: {text}"))?;
        let end = last.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(last.len());
        let last = last[..end].parse()?;
        return match act {
            Act::Update(expected, _, _) => Ok(Act::Refused(expected, last)),
            _ => bail!("a write without a condition is refused: {text}"),
        };
    }
    let revision = answer.number("seq").filter(|_| !text.contains("\"error\""));
    let revision = Some(revision.with_context(|| format!("a write is answered {text}"))?);
    Ok(match act {
        Act::Update(expected, value, _) => Act::Update(expected, value, revision),
        Act::Put(value, _) => Act::Put(value, revision),
        other => other,
    })
}

/// What the answer to a get says.
fn found(answer: &Message) -> Result<Act> {
    if answer.status() == Some(404) {
        return Ok(Act::Nothing);
    }
    let revision =
        answer.header("Nats-Sequence").with_context(|| format!("a get is answered {}", answer.head))?;
    Ok(Act::Got(std::str::from_utf8(&answer.body)?.parse()?, revision.parse()?))
}
