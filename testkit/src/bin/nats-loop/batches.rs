//! Publishers of batches that are stored whole or not at all, and the judge over what they left: also where a kill came in the middle of one.
//!
//! Every message says of which batch it is, where in it, and how long that is; so the stream at the end tells by itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stele_testkit::nats::Connection;
use stele_testkit::random::Random;

use crate::run::{Shared, not_ready};

pub(crate) const STREAM: &str = "nats-loop-batches";
/// Most messages of a batch.
const MESSAGES_MAX: u64 = 30;
/// One in so many batches is never ended.
const LEFT_ONE_IN: u64 = 5;
/// How long reading everything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A batch: whose, and its number.
pub(crate) type Batch = (u64, u64);

/// A message as it was stored: of which batch, at which place from 1, and how many that has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) batch: Batch,
    pub(crate) place: u64,
    pub(crate) count: u64,
}

/// Publish batches until told to stop. One that got no answer is not sent again: it is there, whole, or it is not.
pub(crate) fn publish(shared: &Shared, client: u64, seed: u64) {
    let (mut random, mut number) = (Random::new(seed), 0);
    shared.over_connections(&format!("batches {client}"), |mut connection| {
        while !shared.stopped() {
            number += 1;
            let count = random.below(MESSAGES_MAX) + 1;
            let is_left = random.below(LEFT_ONE_IN) == 0;
            if !one(shared, &mut connection, (client, number), count, is_left)? {
                return Ok(false);
            }
        }
        Ok(true)
    });
}

/// One batch; whether the server is ready for more.
fn one(
    shared: &Shared,
    connection: &mut Connection,
    batch: Batch,
    count: u64,
    is_left: bool,
) -> Result<bool> {
    let (client, number) = batch;
    for place in 1..=count {
        let mut headers =
            vec![format!("Nats-Batch-Id: {client}-{number}"), format!("Nats-Batch-Sequence: {place}")];
        let is_end = place == count && !is_left;
        if is_end {
            headers.push("Nats-Batch-Commit: 1".to_owned());
        }
        let (subject, body) = (format!("{STREAM}.{client}"), format!("{client} {number} {place} {count}"));
        if !is_end && place > 1 {
            connection.publish(&subject, "", &headers, body.as_bytes())?;
            continue;
        }
        let answer = connection.request(&subject, &headers, body.as_bytes())?;
        if not_ready(&answer) {
            return Ok(false);
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if text.contains("10210") {
            // Too many were left by connections that are gone.
            return Ok(true);
        }
        if is_end {
            ensure!(answer.number("count") == Some(count), "batch {batch:?} of {count} is answered {text}");
            shared.batches().insert(batch);
        } else if !text.is_empty() {
            bail!("the first message of batch {batch:?} is answered {text}");
        }
    }
    Ok(true)
}

/// All that is stored, in order.
pub(crate) fn everything(shared: &Shared) -> Result<Vec<Part>> {
    let mut connection = Connection::open(shared.address)?;
    let info = connection.request(&format!("$JS.API.STREAM.INFO.{STREAM}"), &[], b"")?;
    let count = info.number("messages").context("a stream without a state")?;
    let to = "nats-loop-all-batches";
    connection.subscribe(to, 1)?;
    let consumer = format!(
        "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"deliver_subject\":\"{to}\",\"ack_policy\":\"none\"}}}}"
    );
    connection.request(&format!("$JS.API.CONSUMER.CREATE.{STREAM}"), &[], consumer.as_bytes())?;
    let (mut found, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while (found.len() as u64) < count {
        let Some(message) = connection.message_within(Duration::from_secs(5))? else {
            ensure!(Instant::now() < deadline, "{} of {count} messages can be read", found.len());
            continue;
        };
        if message.sid == 1 && message.status().is_none() {
            found.push(part(std::str::from_utf8(&message.body)?)?);
        }
    }
    Ok(found)
}

fn part(text: &str) -> Result<Part> {
    let numbers: Vec<u64> = text.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[client, number, place, count] = &numbers[..] else { bail!("a message {text:?}") };
    Ok(Part { batch: (client, number), place, count })
}

/// What is wrong: a batch that is there in part, not in one piece, or twice; one that was acknowledged and is not there.
pub(crate) fn verdict(stored: &[Part], acknowledged: &BTreeSet<Batch>) -> Vec<String> {
    let (mut found, mut whole, mut rest) = (Vec::new(), BTreeSet::new(), stored);
    while let Some((first, _)) = rest.split_first() {
        let len = rest.iter().take_while(|part| part.batch == first.batch).count();
        let (these, others) = rest.split_at(len);
        rest = others;
        let places: Vec<u64> = these.iter().map(|part| part.place).collect();
        if places != (1..=first.count).collect::<Vec<_>>() {
            found.push(format!("of batch {:?} of {} there are {places:?}", first.batch, first.count));
        }
        if !whole.insert(first.batch) {
            found.push(format!("batch {:?} is there twice", first.batch));
        }
    }
    let lost = acknowledged.difference(&whole);
    found.extend(lost.map(|batch| format!("batch {batch:?} was acknowledged and is not there")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(of: &[(u64, u64, u64)]) -> Vec<Part> {
        of.iter()
            .map(|(number, place, count)| Part { batch: (1, *number), place: *place, count: *count })
            .collect()
    }

    fn fires(stored: &[Part], acknowledged: &[u64], word: &str) {
        let acknowledged = acknowledged.iter().map(|number| (1, *number)).collect();
        let verdict = verdict(stored, &acknowledged);
        assert!(verdict.iter().any(|text| text.contains(word)), "{verdict:?}");
    }

    #[test]
    fn batches_that_are_whole_pass_whether_acknowledged_or_not() {
        let stored = parts(&[(1, 1, 2), (1, 2, 2), (3, 1, 1)]);
        assert_eq!(verdict(&stored, &BTreeSet::from([(1, 1)])), Vec::<String>::new());
        assert!(part("1 2 3").is_err() && part("1 2 3 4").is_ok());
    }

    #[test]
    fn a_batch_that_is_torn_doubled_or_lost_fires() {
        fires(&parts(&[(1, 1, 2)]), &[], "there are [1]");
        fires(&parts(&[(1, 2, 2)]), &[], "there are [2]");
        fires(&parts(&[(1, 1, 2), (2, 1, 1), (1, 2, 2)]), &[], "there are [1]");
        fires(&parts(&[(1, 1, 1), (2, 1, 1), (1, 1, 1)]), &[], "is there twice");
        fires(&parts(&[(1, 1, 1)]), &[1, 2], "(1, 2) was acknowledged");
    }
}
