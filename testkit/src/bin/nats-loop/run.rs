//! What all clients of a run share, what they need on the server, and the reading of everything at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use stele_testkit::nats::{self, Connection, Message};

use crate::batches::{Batch, STREAM as BATCHES};
use crate::history::{History, Position, Record};
use crate::register::Operation;

pub(crate) const STREAM: &str = "nats-loop";
pub(crate) const CONSUMER: &str = "readers";
pub(crate) const BUCKET: &str = "KV_nats-loop";
pub(crate) const WRITERS: u32 = 6;
pub(crate) const READERS: u32 = 2;
pub(crate) const CLIENTS: u64 = 6;
pub(crate) const KEYS: usize = 4;
pub(crate) const BATCHERS: u64 = 2;

/// How long a server that answers may need to be ready for streams again.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries of who lost the connection.
const PAUSE: Duration = Duration::from_millis(20);

/// Shared by all threads.
pub(crate) struct Shared {
    pub address: SocketAddr,
    history: Mutex<History>,
    /// What was done to each key.
    keys: Mutex<Vec<Vec<Operation>>>,
    /// Batches that were acknowledged.
    batches: Mutex<BTreeSet<Batch>>,
    stop: AtomicBool,
}

impl Shared {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let keys = Mutex::new(vec![Vec::new(); KEYS]);
        let (history, batches) = (Mutex::default(), Mutex::default());
        Self { address, history, keys, batches, stop: AtomicBool::new(false) }
    }

    /// Also after a thread that held it has panicked: the panic is reported by its own thread.
    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn keys(&self) -> MutexGuard<'_, Vec<Vec<Operation>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn batches(&self) -> MutexGuard<'_, BTreeSet<Batch>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Work over connections that end, until the work says that it is done. What is not the end of a connection is a violation.
    pub(crate) fn over_connections(&self, who: &str, mut work: impl FnMut(Connection) -> Result<bool>) {
        loop {
            match Connection::open(self.address).and_then(&mut work) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) if nats::is_gone(&error) => {}
                Err(error) => return self.history().violation(format!("{who}: {error:#}")),
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Make the streams, the consumer and the bucket.
pub(crate) fn create(address: SocketAddr) -> Result<()> {
    let mut connection = Connection::open(address)?;
    let hour = 3_600_000_000_000u64;
    let stream = format!(
        "{{\"name\":\"{STREAM}\",\"subjects\":[\"{STREAM}.>\"],\"storage\":\"file\",\"duplicate_window\":{hour}}}"
    );
    let bucket = format!(
        "{{\"name\":\"{BUCKET}\",\"subjects\":[\"$KV.nats-loop.>\"],\"storage\":\"file\",\"max_msgs_per_subject\":1,\"discard\":\"new\",\
         \"deny_delete\":true,\"allow_rollup_hdrs\":true,\"allow_direct\":true}}"
    );
    let consumer = format!(
        "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"durable_name\":\"{CONSUMER}\",\"ack_policy\":\"explicit\",\
         \"ack_wait\":2000000000,\"max_ack_pending\":500}}}}"
    );
    let batches = format!("{{\"name\":\"{BATCHES}\",\"subjects\":[\"{BATCHES}.>\"],\"allow_atomic\":true}}");
    let asked = [
        (format!("STREAM.CREATE.{BATCHES}"), batches),
        (format!("STREAM.CREATE.{STREAM}"), stream),
        (format!("STREAM.CREATE.{BUCKET}"), bucket),
        (format!("CONSUMER.CREATE.{STREAM}.{CONSUMER}"), consumer),
    ];
    for (subject, request) in asked {
        let answer = connection.request(&format!("$JS.API.{subject}"), &[], request.as_bytes())?;
        let text = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status().is_none() && !text.contains("\"error\""),
            "{subject} (give the server fresh data): {} {text}",
            answer.head
        );
    }
    Ok(())
}

/// Whether an answer says that the server is not ready for streams yet, which it may after a start.
pub(crate) fn not_ready(answer: &Message) -> bool {
    // 503 no responders; 10008 temporarily unavailable.
    answer.status() == Some(503) || answer.number("err_code") == Some(10_008)
}

/// The whole stream, position by position, when nothing is under way any more.
pub(crate) fn everything(shared: &Shared) -> Result<BTreeMap<Position, Record>> {
    let mut connection = Connection::open(shared.address)?;
    let info = connection.request(&format!("$JS.API.STREAM.INFO.{STREAM}"), &[], b"")?;
    let (count, last) =
        info.number("messages").zip(info.number("last_seq")).context("a stream without a state")?;
    connection.subscribe("nats-loop-everything", 1)?;
    let consumer = format!(
        "{{\"stream_name\":\"{STREAM}\",\"config\":{{\"deliver_subject\":\"nats-loop-everything\",\"ack_policy\":\"none\"}}}}"
    );
    connection.request(&format!("$JS.API.CONSUMER.CREATE.{STREAM}"), &[], consumer.as_bytes())?;
    let mut found = BTreeMap::new();
    let deadline = Instant::now() + PATIENCE;
    while (found.len() as u64) < count {
        let Some(message) = connection.message_within(Duration::from_secs(5))? else {
            ensure!(Instant::now() < deadline, "{} of {count} messages can be read", found.len());
            continue;
        };
        if message.sid == 1 && message.status().is_none() {
            let position = place(&message)?.0;
            ensure!(position <= last, "position {position} of {last}");
            found.insert(position, record(&message)?);
        }
    }
    Ok(found)
}

/// Position and number of deliveries, which stand in the reply subject.
pub(crate) fn place(message: &Message) -> Result<(Position, u64)> {
    let words: Vec<&str> = message.reply.split('.').collect();
    let first = match words.len() {
        9 => 4,
        11.. => 6,
        _ => bail!("a delivery with the reply {:?}", message.reply),
    };
    Ok((words[first + 1].parse()?, words[first].parse()?))
}

/// Who wrote this.
pub(crate) fn record(message: &Message) -> Result<Record> {
    let (writer, rest) = message.body.split_first_chunk::<4>().context("a message of somebody else's")?;
    let (number, padding) = rest.split_first_chunk::<8>().context("a message of somebody else's")?;
    let (writer, number) = (u32::from_be_bytes(*writer), u64::from_be_bytes(*number));
    ensure!(padding.iter().all(|byte| *byte == writer as u8), "a mangled message");
    let subject = format!("{STREAM}.{writer}");
    ensure!(message.subject == subject, "a message of {subject} under {}", message.subject);
    Ok(Record { writer, number })
}
