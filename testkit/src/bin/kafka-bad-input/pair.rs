//! An idempotent producer and a consumer who do nothing wrong, in a topic of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use stele_testkit::kafka::{self, Body, FETCH, INIT_PRODUCER_ID, PRODUCE, Wire, batch};
use stele_testkit::siege::steady::{Pair, Shared};

const TOPIC: &str = "bad-input.pair";
const WAIT_MS: i32 = 200;
const PARTITION_BYTES_MAX: i32 = 1 << 20;
/// What Kafka lets an idempotent producer have under way.
const WINDOW: usize = 5;

/// Start both.
pub(crate) fn start(address: SocketAddr) -> Result<Pair> {
    let mut writer = Wire::connect(address)?;
    let code = kafka::create(&mut writer, TOPIC, 1, &[])?;
    ensure!(code == 0, "the pair's topic cannot be made: error {code} (give the broker fresh data)");
    let reader = Wire::connect(address)?;
    Pair::start(move |shared| write(writer, shared), move |shared| read(reader, shared))
}

fn write(mut wire: Wire, shared: &Shared) -> Result<()> {
    let mut answer = wire.ask(INIT_PRODUCER_ID, &Body::default().null().i32(60_000))?;
    let (_, code) = (answer.i32()?, answer.i16()?);
    ensure!(code == 0, "no producer id: error {code}");
    let producer = (answer.i64()?, answer.i16()?);
    let (mut sent, mut under_way) = (0, 0);
    shared.paced(|bodies| {
        let batch = batch::plain(producer, sent, &bodies);
        wire.send(PRODUCE, &kafka::produce(TOPIC, 0, &batch))?;
        (sent, under_way) = (sent + bodies.len() as u64, under_way + 1);
        if under_way == WINDOW {
            let (code, _) = kafka::produced(wire.receive()?)?;
            ensure!(code == 0, "a batch is refused: error {code}");
            under_way -= 1;
        }
        Ok(())
    })
}

/// Each record once, in order.
fn read(mut wire: Wire, shared: &Shared) -> Result<()> {
    let mut next = 0;
    while !shared.stopped() {
        let places = BTreeMap::from([(0, next as i64)]);
        let answer = wire.ask(FETCH, &kafka::fetch(TOPIC, &places, WAIT_MS, PARTITION_BYTES_MAX))?;
        let (_, code, batches) = kafka::fetched(answer)?.pop().context("an answer without a partition")?;
        ensure!(code == 0, "a fetch is refused: error {code}");
        let wanted = next;
        // A batch comes whole, also when only its end was asked for.
        for (_, value) in batch::records(&batches)?.into_iter().filter(|(offset, _)| *offset >= wanted) {
            shared.came(&value, &mut next)?;
        }
    }
    Ok(())
}
