//! Streams and buckets of one run: made with a fresh name, filled, deleted when it is over.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::ask;
use super::client::Client;
use super::wire::{self, Message};

/// Publishes under way while a stream is filled.
const FILL_WINDOW: usize = 4096;
/// A fill that would take longer is given up: a server that syncs each message by itself can need hours.
const FILL_MAX: Duration = Duration::from_secs(300);
/// One of so many parts shows how long all of them would take.
const FILL_PARTS: u32 = 20;

/// One stream, of files.
pub(crate) struct Stream {
    pub name: String,
    /// What its subjects begin with, up to the dot.
    pub stem: String,
    client: Client,
    address: SocketAddr,
}

impl Stream {
    /// A stream that captures everything below its stem.
    pub(crate) fn create(address: SocketAddr) -> Result<Self> {
        let name = fresh();
        Self::with(address, name.clone(), name.clone(), json!({"subjects": [format!("{name}.>")]}))
    }

    /// A key-value bucket as ADR-8 lays it out.
    pub(crate) fn bucket(address: SocketAddr) -> Result<Self> {
        let bucket = fresh();
        let config = json!({
            "subjects": [format!("$KV.{bucket}.>")], "max_msgs_per_subject": 1, "discard": "new", "deny_delete": true,
            "allow_rollup_hdrs": true, "allow_direct": true, "max_msgs": -1, "max_bytes": -1,
        });
        Self::with(address, format!("KV_{bucket}"), format!("$KV.{bucket}"), config)
    }

    fn with(address: SocketAddr, name: String, stem: String, mut config: Value) -> Result<Self> {
        config["name"] = json!(name);
        config["storage"] = json!("file");
        config["num_replicas"] = json!(1);
        let mut client = Client::connect(address)?;
        client.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &config)?;
        Ok(Self { name, stem, client, address })
    }

    /// Publishes `count` messages, number n to the subject that `tail` gives. An error, after a small part of the time, if that would take longer
    /// than [`FILL_MAX`].
    pub(crate) fn fill(
        &mut self,
        count: u64,
        body_bytes: usize,
        tail: &(dyn Fn(u64) -> String + Sync),
    ) -> Result<()> {
        let body = vec![b'x'; body_bytes];
        let part = count.div_ceil(FILL_PARTS.into());
        for (numbers, time_max) in [(0..part, FILL_MAX / FILL_PARTS), (part..count, FILL_MAX)] {
            let request = |out: &mut Vec<u8>, number: u64, reply: &[u8]| {
                let tail = tail(numbers.start + number);
                wire::publish(out, format!("{}.{tail}", self.stem).as_bytes(), reply, &body);
            };
            let time = (Duration::ZERO, time_max);
            let lone = ask::Plan::one_by_one(self.address, 1, time, &request, &acknowledged);
            let count_max = numbers.end - numbers.start;
            let plan = ask::Plan { window: FILL_WINDOW, count_max, ..lone };
            let there = ask::run(&plan, || Ok(())).context("fill a stream")?.total;
            ensure!(
                there == count_max,
                "not measured: {} of {count} messages were there after {} s, and all of them may take {} s (--keys, --backlog and --filtered ask for fewer)",
                numbers.start + there,
                time_max.as_secs(),
                FILL_MAX.as_secs()
            );
        }
        Ok(())
    }

    /// How many messages the server says there are.
    pub(crate) fn messages(&mut self) -> Result<u64> {
        let info = self.client.ask(&format!("$JS.API.STREAM.INFO.{}", self.name), &json!(null))?;
        info["state"]["messages"].as_u64().context("a stream without a count")
    }

    /// Deletes it and keeps the result of the run, or the first error.
    pub(crate) fn finish<T>(mut self, result: Result<T>) -> Result<T> {
        let deleted = self.client.ask(&format!("$JS.API.STREAM.DELETE.{}", self.name), &json!(null));
        result.and_then(|value| deleted.context("delete a stream").map(|_| value))
    }
}

fn fresh() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    format!("bench-{}-{}", std::process::id(), RUNS.fetch_add(1, Relaxed))
}

/// An acknowledgement of a stream: no error, and it has a place.
pub(crate) fn acknowledged(message: &Message<'_>) -> Result<()> {
    let has = |part: &[u8]| message.body.windows(part.len()).any(|window| window == part);
    ensure!(has(b"\"seq\"") && !has(b"\"error\""), "a publish is answered {}", text(message));
    Ok(())
}

/// What came, for a message about it.
pub(crate) fn text(message: &Message<'_>) -> String {
    format!("{:?} {:?}", String::from_utf8_lossy(message.head), String::from_utf8_lossy(message.body))
}
