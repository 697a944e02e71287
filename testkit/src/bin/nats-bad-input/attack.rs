//! The attacks, as a table.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stele_testkit::nats::{Connection, is_gone};
use stele_testkit::random::Random;
use stele_testkit::siege::steady::{Attack, Said, connect, open_and_drop, to_the_end};

/// What is sent to one who does not read, and how long the server may take to cut it.
const DEAF_BYTES: usize = 256 << 20;
const CUT_PATIENCE: Duration = Duration::from_secs(120);
const SUBSCRIPTIONS: u64 = 10_000;
const SUBJECTS: u64 = 100_000;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack { name: "garbage", count: 2_000, attempt: garbage },
    Attack { name: "broken-session", count: 2_000, attempt: broken_session },
    Attack { name: "oversized-claims", count: 300, attempt: claim },
    Attack { name: "half-lines", count: 300, attempt: half_line },
    Attack { name: "broken-requests", count: 1_000, attempt: broken_request },
    Attack { name: "open-and-drop", count: 5_000, attempt: open_and_drop },
    Attack { name: "many-subscriptions", count: 4, attempt: many_subscriptions },
    Attack { name: "many-subjects", count: 2, attempt: many_subjects },
    Attack { name: "deaf-subscriber", count: 2, attempt: deaf },
];

/// Sends all; whatever is said to it begins as the server does.
fn verdict(stream: TcpStream, bytes: &[u8]) -> Result<&'static str> {
    let Said { said, .. } = to_the_end(stream, bytes)?;
    let said = String::from_utf8_lossy(&said);
    ensure!(said.is_empty() || said.starts_with("INFO {"), "the server said {:?}", said.get(..60));
    Ok(if said.contains("-ERR") { "told" } else { "ended" })
}

fn garbage(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let bytes: Vec<u8> = (0..1 + random.below(4_000)).map(|_| random.any() as u8).collect();
    verdict(connect(address)?, &bytes)
}

const SESSION: &[u8] = b"CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB bad.* q 1\r\nSUB bad.> 2\r\nPUB bad.a 5\r\nhello\r\n\
    HPUB bad.b reply 12 17\r\nNATS/1.0\r\n\r\nhello\r\nUNSUB 1 5\r\nPING\r\nPUB $JS.API.INFO bad.c 0\r\n\r\nUNSUB 2\r\n";

/// A session that is right but for a few bytes.
fn broken_session(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let mut bytes = SESSION.repeat(3);
    for _ in 0..1 + random.below(4) {
        let at = random.index(bytes.len());
        match random.below(3) {
            0 => bytes[at] = random.any() as u8,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, random.any() as u8),
        }
    }
    verdict(connect(address)?, &bytes)
}

/// More is announced than anybody may send: refused at once, not waited for.
fn claim(address: SocketAddr, number: u64, _: Random) -> Result<&'static str> {
    let claims = [
        "PUB a 4294967295\r\n",
        "PUB a 1048577\r\n",
        "HPUB a 4000000000 4000000001\r\n",
        "HPUB a 12 2097152\r\n",
        "PUB a 99999999999999999999999999\r\n",
    ];
    let mut stream = connect(address)?;
    let line = match usize::try_from(number % 6).ok().and_then(|index| claims.get(index)) {
        Some(claim) => format!("CONNECT {{}}\r\n{claim}"),
        None => format!("CONNECT {{}}\r\nSUB {} 1", "a".repeat(1 << 20)),
    };
    let _ = stream.write_all(line.as_bytes()); // an error: cut before its end
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(_) => Ok("refused"),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok("refused"),
        Err(error) => Err(error).context("a claim is waited for"),
    }
}

/// A part of a session, then gone without a word.
fn half_line(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    let mut stream = connect(address)?;
    stream.write_all(&SESSION[..random.index(SESSION.len())])?;
    thread::sleep(Duration::from_millis(random.below(20)));
    Ok("gone")
}

/// Requests of JetStream that are no JSON, or are not what was asked for: each is answered.
fn broken_request(address: SocketAddr, _: u64, mut random: Random) -> Result<&'static str> {
    const REQUESTS: [(&str, &str); 6] = [
        (
            "STREAM.CREATE.bad",
            "{\"name\":\"bad\",\"subjects\":[\"bad.x\"],\"max_msgs\":5,\"storage\":\"memory\",\"num_replicas\":7}",
        ),
        (
            "STREAM.UPDATE.none",
            "{\"name\":\"none\",\"max_age\":-1,\"duplicate_window\":99999999999999999999}",
        ),
        ("STREAM.MSG.GET.none", "{\"seq\":18446744073709551615}"),
        ("STREAM.PURGE.none", "{\"filter\":\"\",\"keep\":1,\"seq\":2}"),
        (
            "CONSUMER.CREATE.none.c",
            "{\"stream_name\":\"none\",\"config\":{\"durable_name\":\"c\",\"backoff\":[1,-2,3]}}",
        ),
        ("CONSUMER.NAMES.none", "{\"offset\":-5}"),
    ];
    let mut connection = Connection::open(address)?;
    for _ in 0..10 {
        let (subject, request) = REQUESTS[random.index(REQUESTS.len())];
        let mut request = request.as_bytes().to_vec();
        for _ in 0..random.below(3) {
            let at = random.index(request.len());
            request[at] = random.any() as u8;
        }
        connection
            .request(&format!("$JS.API.{subject}"), &[], &request)
            .with_context(|| format!("{subject} {:?} is not answered", String::from_utf8_lossy(&request)))?;
    }
    let _ = connection.request("$JS.API.STREAM.DELETE.bad", &[], b"")?; // there if a broken byte made it right
    Ok("answered")
}

/// As many as nobody needs, each of which works.
fn many_subscriptions(address: SocketAddr, number: u64, mut random: Random) -> Result<&'static str> {
    let mut connection = Connection::open(address)?;
    let mut lines = String::new();
    for sid in 1..=SUBSCRIPTIONS {
        lines += &format!("SUB many.{number}.{sid} {sid}\r\n");
    }
    connection.send(&lines)?;
    connection.fence()?;
    let mut other = Connection::open(address)?;
    for _ in 0..500 {
        let sid = 1 + random.below(SUBSCRIPTIONS);
        other.publish(&format!("many.{number}.{sid}"), "", &[], &sid.to_be_bytes())?;
        let message = connection.message()?;
        ensure!(message.sid == sid && message.body == sid.to_be_bytes(), "{} came for {sid}", message.sid);
    }
    let unsubscribe: String = (1..=SUBSCRIPTIONS).map(|sid| format!("UNSUB {sid}\r\n")).collect();
    connection.send(&unsubscribe)?;
    connection.fence()?;
    Ok("served")
}

/// Every message has a subject that nobody used before.
fn many_subjects(address: SocketAddr, number: u64, _: Random) -> Result<&'static str> {
    let mut reader = Connection::open(address)?;
    reader.subscribe(&format!("wide.{number}.>"), 1)?;
    reader.fence()?;
    let mut writer = Connection::open(address)?;
    let mut seen = BTreeSet::new();
    for first in (0..SUBJECTS).step_by(1_000) {
        let lines: String =
            (first..first + 1_000).map(|index| format!("PUB wide.{number}.{index}.x 1\r\ny\r\n")).collect();
        writer.send(&lines)?;
        for _ in 0..1_000 {
            seen.insert(reader.message()?.subject);
        }
    }
    ensure!(seen.len() as u64 == SUBJECTS, "{} of {SUBJECTS} subjects came", seen.len());
    Ok("served")
}

/// A subscriber that never reads: it is cut, and who publishes to it goes on.
fn deaf(address: SocketAddr, number: u64, _: Random) -> Result<&'static str> {
    let mut deaf = Connection::open(address)?;
    let subject = format!("deaf.{number}");
    deaf.subscribe(&subject, 1)?;
    deaf.fence()?;
    let mut writer = Connection::open(address)?;
    let (start, body, mut sent) = (Instant::now(), vec![b'x'; 64 << 10], 0);
    loop {
        if sent < DEAF_BYTES {
            writer.publish(&subject, "", &[], &body)?;
            sent += body.len();
        } else {
            thread::sleep(Duration::from_millis(50));
        }
        // The end of the connection stands behind what is not read, so only a write tells.
        if sent.is_multiple_of(4 << 20) && deaf.send("PING\r\n").is_err_and(|error| is_gone(&error)) {
            break;
        }
        if start.elapsed() > CUT_PATIENCE {
            bail!("one that never reads is still connected after {sent} bytes and {CUT_PATIENCE:?}");
        }
    }
    writer.fence()?;
    Ok("cut")
}
