//! A connection that asks and waits: topics made and deleted, producer ids, offsets. The load itself is in `produce` and `consume`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::batch::Producer;
use super::wire::{
    self, Api, CREATE_TOPICS, DELETE_TOPICS, Fields, INIT_PRODUCER_ID, LIST_OFFSETS, METADATA, Put,
};

/// How long a broker may take for one answer, and until a topic has leaders.
const PATIENCE: Duration = Duration::from_secs(60);
/// Topics per request.
const TOPICS_MAX: usize = 50;

/// A blocking connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation: i32,
    input: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, correlation: 0, input: Vec::new() })
    }

    /// Sends a request and hands its answer to `read`.
    pub(crate) fn ask<T>(
        &mut self,
        api: Api,
        body: impl FnOnce(&mut Vec<u8>),
        read: impl FnOnce(&mut Fields<'_>) -> Result<T>,
    ) -> Result<T> {
        self.correlation += 1;
        let mut out = Vec::new();
        wire::request(&mut out, api, self.correlation, body);
        self.stream.write_all(&out)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("wait for an answer")?;
        self.input.clear();
        self.input.extend(length);
        let rest = u64::from(u32::from_be_bytes(length));
        (&self.stream).take(rest).read_to_end(&mut self.input)?;
        let (correlation, mut fields, _) =
            wire::answer(&self.input)?.context("the connection ended inside an answer")?;
        ensure!(correlation == self.correlation, "an answer to another request");
        read(&mut fields)
    }

    /// Creates topics and waits until each partition has a leader.
    pub(crate) fn create(
        &mut self,
        topics: &[String],
        partitions: u32,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        for some in topics.chunks(TOPICS_MAX) {
            let body = |out: &mut Vec<u8>| {
                out.count(some.len());
                for topic in some {
                    out.text(Some(topic)).i32(partitions as i32).i16(1).count(0).count(configs.len());
                    for (name, value) in configs {
                        out.text(Some(name)).text(Some(value));
                    }
                }
                out.i32(PATIENCE.as_millis() as i32).i8(0);
            };
            self.ask(CREATE_TOPICS, body, |answer| {
                answer.i32()?;
                for _ in 0..answer.count()? {
                    let (name, code, text) = (answer.text()?, answer.i16()?, answer.text()?);
                    ensure!(code == 0, "create {}: error {code}, {}", name.unwrap_or(""), text.unwrap_or(""));
                }
                Ok(())
            })?;
        }
        let deadline = Instant::now() + PATIENCE;
        while self.leaders(topics)? < topics.len() * partitions as usize {
            ensure!(Instant::now() < deadline, "topics without leaders");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How many partitions of these topics have a leader.
    fn leaders(&mut self, topics: &[String]) -> Result<usize> {
        let body = |out: &mut Vec<u8>| {
            out.count(topics.len());
            topics.iter().for_each(|topic| _ = out.text(Some(topic)));
            out.i8(0).i8(0).i8(0);
        };
        self.ask(METADATA, body, |answer| {
            answer.i32()?;
            for _ in 0..answer.count()? {
                answer.i32()?;
                answer.text()?;
                answer.i32()?;
                answer.text()?;
            }
            answer.text()?;
            answer.i32()?;
            let mut leaders = 0;
            for _ in 0..answer.count()? {
                answer.i16()?;
                answer.text()?;
                answer.i8()?;
                for _ in 0..answer.count()? {
                    let (code, _, leader, _) = (answer.i16()?, answer.i32()?, answer.i32()?, answer.i32()?);
                    leaders += usize::from(code == 0 && leader >= 0);
                    for _ in 0..3 {
                        let nodes = answer.count()?;
                        answer.take(4 * nodes)?;
                    }
                }
                answer.i32()?;
            }
            Ok(leaders)
        })
    }

    pub(crate) fn delete(&mut self, topics: &[String]) -> Result<()> {
        for some in topics.chunks(TOPICS_MAX) {
            let body = |out: &mut Vec<u8>| {
                out.count(some.len());
                some.iter().for_each(|topic| _ = out.text(Some(topic)));
                out.i32(PATIENCE.as_millis() as i32);
            };
            self.ask(DELETE_TOPICS, body, |answer| {
                answer.i32()?;
                for _ in 0..answer.count()? {
                    let (name, code) = (answer.text()?, answer.i16()?);
                    ensure!(code == 0, "delete {}: error {code}", name.unwrap_or(""));
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// A new identity for an idempotent producer. The first may be refused while a broker that just started prepares for it.
    pub(crate) fn producer(&mut self) -> Result<Producer> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let body = |out: &mut Vec<u8>| _ = out.text(None).i32(60_000);
            let (code, producer) = self.ask(INIT_PRODUCER_ID, body, |answer| {
                answer.i32()?;
                Ok((answer.i16()?, Producer { id: answer.i64()?, epoch: answer.i16()? }))
            })?;
            match code {
                0 => return Ok(producer),
                14 | 15 if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                code => bail!("a producer id is refused: error {code}"),
            }
        }
    }

    /// The offset after the last record.
    pub(crate) fn end(&mut self, topic: &str, partition: u32) -> Result<u64> {
        let body = |out: &mut Vec<u8>| {
            out.i32(-1).i8(0).count(1).text(Some(topic)).count(1).i32(partition as i32).i32(-1).i64(-1);
        };
        self.ask(LIST_OFFSETS, body, |answer| {
            answer.i32()?;
            answer.count()?;
            answer.text()?;
            answer.count()?;
            let (_, code, _, offset) = (answer.i32()?, answer.i16()?, answer.i64()?, answer.i64()?);
            ensure!(code == 0, "the end of {topic}: error {code}");
            u64::try_from(offset).context("a negative offset")
        })
    }
}
