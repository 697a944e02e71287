//! A blocking connection that asks and waits: streams and consumers made and deleted, subscriptions, fences. Load stands beside.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::wire::{self, Message, Op};

/// How long a server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 256 << 10;

/// A connection with what was read of it and not looked at yet.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
    at: usize,
    buffer: Box<[u8]>,
    asked: u64,
    inbox: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let inbox = format!("_INBOX.bench.{}", stream.local_addr()?.port());
        let buffer = vec![0; READ_BYTES].into_boxed_slice();
        let mut client = Self { stream, input: Vec::new(), at: 0, buffer, asked: 0, inbox };
        client.next(|op| ensure_info(&op))?;
        client.stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n")?;
        client.fence()?;
        Ok(client)
    }

    /// A connection that only sends or only is there: no buffer is kept for it.
    pub(crate) fn bare(address: SocketAddr) -> Result<TcpStream> {
        Ok(Self::connect(address)?.stream)
    }

    pub(crate) fn subscribe(&mut self, subject: &str, sid: u32) -> Result<()> {
        write!(self.stream, "SUB {subject} {sid}\r\n")?;
        Ok(())
    }

    /// Waits until the server has taken all that was sent before.
    pub(crate) fn fence(&mut self) -> Result<()> {
        self.finish(0)
    }

    /// The same, with so many pings under way before.
    pub(crate) fn finish(&mut self, pings: usize) -> Result<()> {
        self.stream.write_all(b"PING\r\n")?;
        (0..=pings).try_for_each(|_| self.pong())
    }

    /// Waits for the answer to a ping.
    pub(crate) fn pong(&mut self) -> Result<()> {
        while !self.next(|op| Ok(op == Op::Pong))? {}
        Ok(())
    }

    /// Hands the next operation to `look`.
    pub(crate) fn next<T>(&mut self, look: impl FnOnce(Op<'_>) -> Result<T>) -> Result<T> {
        loop {
            if let Some((op, used)) = wire::op(&self.input[self.at..])? {
                self.at += used;
                match op {
                    Op::Ping => {
                        self.stream.write_all(b"PONG\r\n")?;
                        continue;
                    }
                    Op::Error(text) => bail!("the server says {}", String::from_utf8_lossy(text)),
                    op => return look(op),
                }
            }
            self.input.drain(..self.at);
            self.at = 0;
            match self.stream.read(&mut self.buffer).context("wait for the server")? {
                0 => bail!("the server ended the connection"),
                bytes => self.input.extend(&self.buffer[..bytes]),
            }
        }
    }

    /// Whether a whole operation is there without reading.
    pub(crate) fn has_more(&self) -> Result<bool> {
        Ok(wire::op(&self.input[self.at..])?.is_some())
    }

    /// Hands the next message to `look`; other operations are passed over.
    pub(crate) fn message<T>(&mut self, look: impl FnOnce(&Message<'_>) -> Result<T>) -> Result<T> {
        let mut look = Some(look);
        loop {
            let found = self.next(|op| match op {
                Op::Message(message) => look.take().expect("looks once")(&message).map(Some),
                _ => Ok(None),
            })?;
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// The answer to a request, empty if that is null, as JSON; an error that it names is an error.
    pub(crate) fn ask(&mut self, subject: &str, request: &Value) -> Result<Value> {
        if self.asked == 0 {
            let everything = format!("{}.ask.*", self.inbox);
            self.subscribe(&everything, u32::MAX)?;
        }
        self.asked += 1;
        let reply = format!("{}.ask.{}", self.inbox, self.asked);
        let mut out = Vec::new();
        let body = if request.is_null() { String::new() } else { request.to_string() };
        wire::publish(&mut out, subject.as_bytes(), reply.as_bytes(), body.as_bytes());
        self.stream.write_all(&out)?;
        loop {
            let answer = self.message(|message| {
                if message.subject != reply.as_bytes() {
                    return Ok(None);
                }
                ensure!(message.status().is_none(), "{subject}: status {:?}", message.status());
                Ok(Some(serde_json::from_slice::<Value>(message.body)?))
            })?;
            let Some(answer) = answer else { continue };
            if let Some(error) = answer.get("error") {
                bail!("{subject}: {error}");
            }
            return Ok(answer);
        }
    }
}

fn ensure_info(op: &Op<'_>) -> Result<()> {
    ensure!(matches!(op, Op::Info(_)), "a server says INFO first");
    Ok(())
}
