//! A publisher with a window of messages under way; what was not acknowledged before a kill is sent again under its old ids, in order.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result, bail, ensure};
use stele_testkit::nats::{Connection, Message};
use stele_testkit::random::Random;

use crate::history::{Record, Writer};
use crate::run::{STREAM, Shared, not_ready};

const WINDOW: usize = 16;
const BYTES_MAX: u64 = 600;

/// A message that is not acknowledged yet.
struct Open {
    number: u64,
    body: Vec<u8>,
}

/// Write until told to stop, and then until all is acknowledged.
pub(crate) fn write(shared: &Shared, writer: Writer, seed: u64) {
    let mut random = Random::new(seed);
    let (mut open, mut next) = (VecDeque::new(), 0);
    shared.over_connections(&format!("writer {writer}"), |connection| {
        session(shared, connection, writer, &mut random, &mut open, &mut next)
    });
}

/// Until the connection ends; whether all is done.
fn session(
    shared: &Shared,
    mut connection: Connection,
    writer: Writer,
    random: &mut Random,
    open: &mut VecDeque<Open>,
    next: &mut u64,
) -> Result<bool> {
    let mut replies: BTreeMap<String, u64> = BTreeMap::new();
    // What comes first goes alone: were it refused because the server is not ready and the next were not, the order would be lost.
    let (mut sent, mut window) = (0, 1);
    loop {
        while open.len() < window && !shared.stopped() {
            open.push_back(Open { number: *next, body: body(writer, *next, random) });
            *next += 1;
        }
        while sent < open.len().min(window) {
            let reply = connection.reply();
            let id = format!("Nats-Msg-Id: {writer}-{}", open[sent].number);
            connection.publish(&format!("{STREAM}.{writer}"), &reply, &[id], &open[sent].body)?;
            replies.insert(reply, open[sent].number);
            sent += 1;
        }
        if open.is_empty() {
            return Ok(true);
        }
        let answer = connection.message()?;
        if not_ready(&answer) {
            return Ok(false); // all that is open is sent again
        }
        let number = replies.remove(&answer.subject).context("an answer to nothing")?;
        let first = open.pop_front().context("an answer to nothing")?;
        ensure!(first.number == number, "{number} is acknowledged before {}", first.number);
        (sent, window) = (sent - 1, WINDOW);
        acknowledged(shared, Record { writer, number }, &answer)?;
    }
}

fn acknowledged(shared: &Shared, record: Record, answer: &Message) -> Result<()> {
    let text = String::from_utf8_lossy(&answer.body);
    if text.contains("\"error\"") {
        bail!("{record:?} is refused: {text}");
    }
    let position = answer.number("seq").with_context(|| format!("acknowledged without a place: {text}"))?;
    shared.history().acknowledged(position, record, text.contains("\"duplicate\""));
    Ok(())
}

fn body(writer: Writer, number: u64, random: &mut Random) -> Vec<u8> {
    let mut body = [&writer.to_be_bytes()[..], &number.to_be_bytes()].concat();
    body.resize(body.len() + usize::try_from(random.below(BYTES_MAX)).expect("small"), writer as u8);
    body
}
