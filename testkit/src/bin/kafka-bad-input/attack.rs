//! The attacks, as a table.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use stele_testkit::kafka::{
    self, Api, Body, CREATE_TOPICS, FETCH, FIND_COORDINATOR, INIT_PRODUCER_ID, JOIN_GROUP, OFFSET_COMMIT,
    OFFSET_FETCH, PRODUCE, Wire, batch,
};
use stele_testkit::random::Random;
use stele_testkit::siege::steady::{Attack, Said, connect, open_and_drop, to_the_end};

use crate::bomb;

const METADATA: Api = (3, 4);
const LIST_OFFSETS: Api = (2, 2);
/// Newer, with compact lengths and tags.
const PRODUCE_FLEXIBLE: Api = (0, 9);
/// Where broken requests go, and where large answers come from.
const TOPIC: &str = "bad-input";
const LARGE: &str = "bad-input.large";
const LARGE_BATCHES: usize = 150;
/// How many fetches a client asks for that reads no answer, and how long it stays.
const DEAF_FETCHES: usize = 20;
const DEAF_STAYS: Duration = Duration::from_secs(3);

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "garbage", count: 2_000, attempt: garbage },
    Attack { name: "broken-session", count: 2_000, attempt: broken_session },
    Attack { name: "oversized-claims", count: 300, attempt: claim },
    Attack { name: "half-requests", count: 300, attempt: half_request },
    Attack { name: "broken-requests", count: 500, attempt: broken_request },
    Attack { name: "broken-batches", count: 500, attempt: broken_batch },
    Attack { name: "open-and-drop", count: 5_000, attempt: open_and_drop },
    Attack { name: "bombs", count: 12, attempt: bomb::attempt },
    Attack { name: "deaf-readers", count: 32, attempt: deaf },
];

/// Make the topics that attacks need.
pub(crate) fn prepare(address: SocketAddr) -> Result<()> {
    let mut wire = Wire::connect(address)?;
    for name in [TOPIC, LARGE] {
        let code = kafka::create(&mut wire, name, 1, &[])?;
        ensure!(code == 0, "{name} cannot be made: error {code} (give the broker fresh data)");
    }
    let batch = batch::plain(batch::NOBODY, 0, &[vec![b'x'; 1_000_000]]);
    for _ in 0..LARGE_BATCHES {
        wire.send(PRODUCE, &kafka::produce(LARGE, 0, &batch))?;
    }
    for _ in 0..LARGE_BATCHES {
        let (code, _) = kafka::produced(wire.receive()?)?;
        ensure!(code == 0, "a large batch is refused: error {code}");
    }
    bomb::prepare(&mut wire)
}

/// Whatever is said to all of this, until the end, are answers.
fn answered(stream: TcpStream, bytes: &[u8]) -> Result<&'static str> {
    let Said { said, is_whole } = to_the_end(stream, bytes)?;
    if !is_whole {
        return Ok("ended");
    }
    let mut rest = &said[..];
    while let Some((length, answer)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        rest = answer.get(length..).with_context(|| format!("an answer that is cut, of {length} bytes"))?;
    }
    Ok(if said.is_empty() { "ended" } else { "answered" })
}

fn garbage(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let bytes: Vec<u8> = (0..1 + random.below(4_000)).map(|_| random.any() as u8).collect();
    answered(connect(address)?, &bytes)
}

/// Right ones, of which none changes more than once.
fn requests() -> Vec<(Api, Body)> {
    let places = BTreeMap::from([(0, 0)]);
    let record = batch::plain(batch::NOBODY, 0, &[b"value".to_vec()]);
    let join = Body::default().text(TOPIC).i32(6_000).i32(100).text("").null().text("mine").i32(1);
    let commit = Body::default().text(TOPIC).i32(-1).text("").null().i32(1).text(TOPIC).i32(1);
    vec![
        (METADATA, Body::default().i32(1).text(TOPIC).i8(0)),
        (PRODUCE, kafka::produce(TOPIC, 0, &record)),
        (FETCH, kafka::fetch(TOPIC, &places, 0, 1 << 20)),
        (LIST_OFFSETS, Body::default().i32(-1).i8(0).i32(1).text(TOPIC).i32(1).i32(0).i64(-1)),
        (FIND_COORDINATOR, Body::default().text(TOPIC).i8(0)),
        (JOIN_GROUP, join.text("split").bytes(b"")),
        (OFFSET_COMMIT, commit.i32(0).i64(0).i32(-1).text("")),
        (OFFSET_FETCH, Body::default().text(TOPIC).i32(1).text(TOPIC).i32(1).i32(0)),
        (CREATE_TOPICS, kafka::topic("bad-input.new", 3, &[("cleanup.policy", "compact")], true)),
        (INIT_PRODUCER_ID, Body::default().null().i32(60_000)),
    ]
}

fn session() -> Vec<u8> {
    let numbered = (1..).zip(requests());
    numbered.flat_map(|(number, (api, body))| kafka::request(api, number, &body)).collect()
}

fn break_some(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        let at = random.index(bytes.len());
        match random.below(3) {
            0 => bytes[at] = random.any() as u8,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.any() as u8),
        }
    }
}

/// Requests that are right but for a few bytes.
fn broken_session(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let mut bytes = session();
    break_some(&mut bytes, &mut random);
    answered(connect(address)?, &bytes)
}

/// More is announced than anybody may send, or than is there: refused at once, not waited for.
fn claim(address: SocketAddr, number: u64, _: Random) -> Result<&'static str> {
    let frames: [Vec<u8>; 8] = [
        i32::MAX.to_be_bytes().into(),
        ((100 << 20) + 1i32).to_be_bytes().into(),
        (-1i32).to_be_bytes().into(),
        kafka::request(METADATA, 1, &Body::default().i32(i32::MAX)),
        kafka::request(FIND_COORDINATOR, 1, &Body::default().i16(i16::MAX)),
        kafka::request(PRODUCE, 1, &Body::default().null().i16(-1).i32(0).i32(1).text(TOPIC).i32(i32::MAX)),
        // An empty block of tags, no transaction, and then more topics than a number of five bytes can say.
        kafka::request(PRODUCE_FLEXIBLE, 1, &Body(vec![0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255, 15])),
        kafka::request(
            FETCH,
            1,
            &Body::default().i32(-1).i32(0).i32(1).i32(1).i8(0).i32(0).i32(-1).i32(1 << 30),
        ),
    ];
    let mut stream = connect(address)?;
    let _ = stream.write_all(&frames[number as usize % frames.len()]); // an error: cut before its end
    reaction(&mut stream).context("a claim is waited for")
}

/// Whether anything is said, or the connection ends.
fn reaction(stream: &mut TcpStream) -> Result<&'static str> {
    match stream.read(&mut [0; 4]) {
        Ok(0) => Ok("ended"),
        Ok(_) => Ok("answered"),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok("ended"),
        Err(error) => Err(error.into()),
    }
}

/// A part of a session, then gone without a word.
fn half_request(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let (mut stream, bytes) = (connect(address)?, session());
    stream.write_all(&bytes[..random.index(bytes.len())])?;
    thread::sleep(Duration::from_millis(random.below(20)));
    Ok("gone")
}

/// One whose body is wrong, and one that is right behind it: either is answered, or the connection ends.
fn broken_request(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let mut wire = Wire::connect(address)?;
    let mut requests = requests();
    requests.retain(|(api, _)| ![FETCH, JOIN_GROUP].contains(api)); // they can be made to wait for long
    let (api, mut body) = requests.swap_remove(random.index(requests.len()));
    break_some(&mut body.0, &mut random);
    // A broker that had heard enough may be gone before the second.
    let _ =
        wire.send(api, &body).and_then(|()| wire.send(FIND_COORDINATOR, &Body::default().text(TOPIC).i8(0)));
    reaction(&mut wire.stream).with_context(|| format!("{api:?} is neither answered nor ended"))
}

/// A batch that is wrong in some of its bytes: refused by name, and the connection goes on.
fn broken_batch(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let mut wire = Wire::connect(address)?;
    let values: Vec<_> = (0..3).map(|index| vec![index; 100]).collect();
    for _ in 0..10 {
        let mut bytes = batch::plain(batch::NOBODY, 0, &values);
        // Not in the epoch, which nobody looks at: an offset has to be 0, a length that of the batch, and a sum covers the rest.
        let at = [random.index(12), 16 + random.index(bytes.len() - 16)][random.index(2)];
        bytes[at] ^= 1 << random.below(8);
        let (code, _) = kafka::produced(wire.ask(PRODUCE, &kafka::produce(TOPIC, 0, &bytes))?)?;
        ensure!(code != 0, "a batch with a broken byte at {at} is taken");
    }
    wire.ask(FIND_COORDINATOR, &Body::default().text(TOPIC).i8(0))?;
    Ok("refused")
}

/// Asks for much, again and again, and reads nothing of it.
fn deaf(address: SocketAddr, _: u64, _: Random) -> Result<&'static str> {
    let mut wire = Wire::connect(address)?;
    let fetch = kafka::fetch(LARGE, &BTreeMap::from([(0, 0)]), 0, 50 << 20);
    for _ in 0..DEAF_FETCHES {
        wire.send(FETCH, &fetch)?;
    }
    thread::sleep(DEAF_STAYS);
    Ok("gone")
}
