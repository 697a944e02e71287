//! A member of the consumer: pulls, settles most of what it is given and is told so, rejects some; and an observer of the floor.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use stele_testkit::nats::Connection;
use stele_testkit::random::Random;

use crate::run::{self, CONSUMER, STREAM, Shared, not_ready};

const BATCH: usize = 20;
const EXPIRES_NS: u64 = 500_000_000;
/// One in so many is rejected, and comes again.
const REJECTED_ONE_IN: u64 = 20;
/// How long the consumer may need for the rest, after the writers have ended.
const DRAIN_MAX: Duration = Duration::from_secs(90);

/// Read until told to stop and nothing is left.
pub(crate) fn read(shared: &Shared, seed: u64) {
    let mut random = Random::new(seed);
    let mut stopped_at = None;
    shared.over_connections("reader", |mut connection| {
        loop {
            if shared.stopped() {
                let since = *stopped_at.get_or_insert_with(Instant::now);
                if drained(&mut connection)? {
                    return Ok(true);
                }
                ensure!(since.elapsed() < DRAIN_MAX, "the consumer is not drained after {DRAIN_MAX:?}");
            }
            if !batch(shared, &mut connection, &mut random)? {
                return Ok(false);
            }
        }
    });
}

/// One pull and its messages; whether the server is ready for more.
fn batch(shared: &Shared, connection: &mut Connection, random: &mut Random) -> Result<bool> {
    let (asked, reply) = (Instant::now(), connection.reply());
    let request = format!("{{\"batch\":{BATCH},\"expires\":{EXPIRES_NS}}}");
    connection.publish(
        &format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{CONSUMER}"),
        &reply,
        &[],
        request.as_bytes(),
    )?;
    let mut settlements = Vec::new();
    for _ in 0..BATCH {
        let message = connection.message()?;
        if let Some(status) = message.status() {
            ensure!(matches!(status, 404 | 408 | 409 | 503), "a pull is answered {}", message.head);
            if status == 503 {
                return Ok(false);
            }
            break;
        }
        let (position, _) = run::place(&message)?;
        shared.history().given(position, run::record(&message)?, asked);
        settlements.push((position, message.reply, random.below(REJECTED_ONE_IN) > 0));
    }
    // All settlements are sent before the first answer is waited for; an answer has its own subject.
    let mut waiting = Vec::new();
    for (position, subject, accepted) in settlements {
        if accepted {
            let reply = connection.reply();
            connection.publish(&subject, &reply, &[], b"+ACK")?;
            waiting.push((reply, position));
        } else {
            connection.publish(&subject, "", &[], b"-NAK")?;
        }
    }
    while !waiting.is_empty() {
        let answer = connection.message()?;
        if not_ready(&answer) {
            return Ok(false);
        }
        if let Some(index) = waiting.iter().position(|(reply, _)| *reply == answer.subject) {
            let (_, position) = waiting.swap_remove(index);
            shared.history().settled(position, Instant::now());
        }
    }
    Ok(true)
}

fn drained(connection: &mut Connection) -> Result<bool> {
    let info = connection.request(&format!("$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}"), &[], b"")?;
    Ok(info.number("num_pending") == Some(0) && info.number("num_ack_pending") == Some(0))
}

/// Ask for the floor again and again until told to stop.
pub(crate) fn observe(shared: &Shared) {
    shared.over_connections("observer", |mut connection| {
        while !shared.stopped() {
            let info = connection.request(&format!("$JS.API.CONSUMER.INFO.{STREAM}.{CONSUMER}"), &[], b"")?;
            if not_ready(&info) {
                return Ok(false);
            }
            let text = String::from_utf8_lossy(&info.body).into_owned();
            let (_, floor) =
                text.split_once("\"ack_floor\"").with_context(|| format!("no floor in {text}"))?;
            let floor =
                stele_testkit::nats::number(floor, "stream_seq").context("a floor without a place")?;
            shared.history().floor(floor);
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    });
}
