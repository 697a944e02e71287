//! Batches of few bytes that unpack to many, for topics whose broker has to open them.

use std::net::SocketAddr;
use std::sync::OnceLock;

use anyhow::{Result, ensure};
use stele_testkit::kafka::{self, Api, Body, PRODUCE, Wire, batch};
use stele_testkit::random::Random;

const LIST_OFFSETS: Api = (2, 2);
/// Each makes the broker look into batches: to pack them otherwise, to see that each record has a key, to find a record by its time.
const TOPICS: [(&str, &[(&str, &str)]); 3] = [
    ("bad-input.packed-otherwise", &[("compression.type", "lz4")]),
    ("bad-input.compacted", &[("cleanup.policy", "compact")]),
    ("bad-input.kept", &[]),
];
/// One record of so many zeros, and so many records of ten bytes: half a gigabyte each in half a megabyte.
const ZEROS: usize = 500 << 20;
const RECORDS: usize = 50_000_000;

/// What a topic takes by itself.
const BATCH_BYTES_MAX: usize = 1 << 20;

static BOMBS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();

/// Make the topics, and the bombs: once, since packing takes long.
pub(crate) fn prepare(wire: &mut Wire) -> Result<()> {
    for (name, configs) in TOPICS {
        let code = kafka::create(wire, name, 1, configs)?;
        ensure!(code == 0, "{name} cannot be made: error {code} (give the broker fresh data)");
    }
    let made = [batch::gzip(1, &vec![0; ZEROS])?, batch::gzip(RECORDS, b"abc")?];
    let largest = made.iter().map(Vec::len).max();
    ensure!(largest < Some(BATCH_BYTES_MAX), "a bomb of {largest:?} bytes would be refused for its size");
    BOMBS.get_or_init(|| made);
    Ok(())
}

/// Produce one, and look for a record in the topic by time: refused or taken, each is answered, in time.
pub(crate) fn attempt(address: SocketAddr, number: u64, _: Random) -> Result<&'static str> {
    let bombs = BOMBS.get().expect("made before the attacks");
    let number = number as usize;
    let ((topic, _), bomb) = (TOPICS[number % TOPICS.len()], &bombs[number / TOPICS.len() % bombs.len()]);
    let mut wire = Wire::connect(address)?;
    let (code, _) = kafka::produced(wire.ask(PRODUCE, &kafka::produce(topic, 0, bomb))?)?;
    let by_time = Body::default().i32(-1).i8(0).i32(1).text(topic).i32(1).i32(0).i64(1);
    wire.ask(LIST_OFFSETS, &by_time)?;
    Ok(if code == 0 { "taken" } else { "refused" })
}
