//! An idempotent producer: up to five batches under way, and what was not answered before a kill is sent again under its old numbers.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stele_testkit::kafka::{self, Body, INIT_PRODUCER_ID, PRODUCE, Wire, batch};
use stele_testkit::random::Random;

use crate::history::{Record, Writer};
use crate::run::{self, PARTITIONS, Shared, TOPIC};

/// What Kafka lets an idempotent producer have under way.
const WINDOW: usize = 5;
const RECORDS_MAX: u64 = 12;
const BYTES_MAX: u64 = 900;

/// A batch that is not acknowledged yet.
struct Open {
    first: u64,
    records: u64,
    bytes: Vec<u8>,
}

/// Write until told to stop, and then until all is acknowledged.
pub(crate) fn write(shared: &Shared, writer: Writer, seed: u64) {
    let mut random = Random::new(seed);
    let mut open = VecDeque::new();
    let mut producer = None;
    let mut next = 0;
    while !(shared.stopped() && open.is_empty()) {
        // An error is the end of a connection: the broker was killed, or is not there again yet.
        if let Err(error) = session(shared, writer, &mut random, &mut producer, &mut next, &mut open)
            && !run::is_gone(&error)
        {
            shared.violation(format!("writer {writer}: {error:#}"));
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn session(
    shared: &Shared,
    writer: Writer,
    random: &mut Random,
    producer: &mut Option<(i64, i16)>,
    next: &mut u64,
    open: &mut VecDeque<Open>,
) -> Result<()> {
    let mut wire = Wire::connect(shared.address)?;
    let identity = match *producer {
        Some(identity) => identity,
        None => {
            let mut answer = wire.ask(INIT_PRODUCER_ID, &Body::default().null().i32(60_000))?;
            let (_, code) = (answer.i32()?, answer.i16()?);
            if run::not_ready(code) {
                return Ok(());
            }
            ensure!(code == 0, "no producer id: error {code}");
            *producer.insert((answer.i64()?, answer.i16()?))
        }
    };
    let partition = writer % PARTITIONS;
    // What comes first goes alone: were it refused because the broker is not ready and the next were not, the order would be lost.
    let (mut sent, mut window) = (0, 1);
    loop {
        while sent < open.len().min(window) {
            send(&mut wire, partition, &open[sent].bytes)?;
            sent += 1;
        }
        while open.len() < window && !shared.stopped() {
            let records = 1 + random.below(RECORDS_MAX);
            let values = (0..records).map(|index| value(writer, *next + index, random));
            let bytes = batch::plain(identity, *next, &values.collect::<Vec<_>>());
            open.push_back(Open { first: *next, records, bytes });
            *next += records;
            send(&mut wire, partition, &open[sent].bytes)?;
            sent += 1;
        }
        if open.is_empty() {
            return Ok(());
        }
        let (code, base) = kafka::produced(wire.receive()?)?;
        if run::not_ready(code) {
            return Ok(()); // all that is open is sent again
        }
        ensure!(code == 0, "a batch is refused: error {code}");
        let batch = open.pop_front().context("an answer to nothing")?;
        (sent, window) = (sent - 1, WINDOW);
        let base = u64::try_from(base).context("acknowledged without an offset")?;
        let mut history = shared.history();
        for index in 0..batch.records {
            history.acknowledged(partition, base + index, Record { writer, number: batch.first + index });
        }
    }
}

fn send(wire: &mut Wire, partition: u32, batch: &[u8]) -> Result<()> {
    wire.send(PRODUCE, &kafka::produce(TOPIC, partition as i32, batch))
}

fn value(writer: Writer, number: u64, random: &mut Random) -> Vec<u8> {
    let mut value = Body::default().i32(writer as i32).i64(number as i64).0;
    value.resize(value.len() + usize::try_from(random.below(BYTES_MAX)).expect("small"), writer as u8);
    value
}

/// Who wrote this.
pub(crate) fn record(value: &[u8]) -> Result<Record> {
    let (writer, rest) = value.split_first_chunk::<4>().context("a value of somebody else's")?;
    let (number, padding) = rest.split_first_chunk::<8>().context("a value of somebody else's")?;
    let (writer, number) = (u32::from_be_bytes(*writer), u64::from_be_bytes(*number));
    ensure!(padding.iter().all(|byte| *byte == writer as u8), "a mangled value");
    Ok(Record { writer, number })
}
