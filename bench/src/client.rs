//! A blocking AMQP 0-9-1 connection with one channel: enough to set a scenario up, ask questions and take it down again.
//!
//! Scenarios call the named methods; the measured loops ([`crate::load`]) take the connection over, switch the socket to
//! non-blocking and use [`Inbox`] alone. Everything runs on channel 1; one connection has at most one consumer. Not here: TLS,
//! reconnection, heartbeats (asked off in `tune-ok`).

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::wire::{self, Frame, Method, Reader, Writer, method};

/// Bytes asked from the kernel per read, in a measured loop and before; thousands of idle connections stay small.
const READ_BYTES: usize = 256 << 10;
const READ_BYTES_SET_UP: usize = 4 << 10;
/// How long a broker may take to answer a set-up request. Deleting a queue with many bindings is the slowest one.
const ANSWER_MAX: Duration = Duration::from_secs(120);
/// Requests under way at once in [`Connection::pipeline`].
const PIPELINE: usize = 256;

/// `amqp://user:password@host:port/`; the vhost is always `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: u16,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("amqp://").ok_or("an address begins with amqp://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
        let (user, password) = login.split_once(':').ok_or("the login is user:password")?;
        let (host, port) = place.rsplit_once(':').unwrap_or((place, "5672"));
        let port = port.parse().map_err(|_| format!("no port: {port}"))?;
        Ok(Self { user: user.into(), password: password.into(), host: host.into(), port })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "amqp://{}:{}@{}:{}/", self.user, self.password, self.host, self.port)
    }
}

/// Received bytes and how far they are understood.
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    read_bytes: usize,
}

impl Inbox {
    /// Holds one whole frame and what of the next came with it.
    const BYTES: usize = wire::FRAME_BYTES_MAX + READ_BYTES;

    fn new() -> Self {
        Self { bytes: Vec::new(), start: 0, end: 0, read_bytes: READ_BYTES_SET_UP }
    }

    /// Reads once. `Ok(false)`: nothing there (non-blocking socket), or nothing in time (blocking).
    pub(crate) fn fill(&mut self, stream: &mut TcpStream) -> Result<bool> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let asked = self.end + self.read_bytes;
        assert!(asked <= Self::BYTES, "an unfinished frame is smaller than the largest one");
        if self.bytes.len() < asked {
            self.bytes.resize(asked, 0);
        }
        match stream.read(&mut self.bytes[self.end..asked]) {
            Ok(0) => bail!("the broker closed the connection"),
            Ok(bytes) => {
                self.end += bytes;
                Ok(true)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(e) => Err(e).context("read from broker"),
        }
    }

    /// The next whole frame; `None`: fill first. A close from the broker is an error with the broker's words.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>> {
        match wire::frame(&self.bytes[self.start..self.end]) {
            Ok(None) => Ok(None),
            Ok(Some((Frame::Method(id @ (method::CONNECTION_CLOSE | method::CHANNEL_CLOSE), args), _))) => {
                let mut args = Reader(args);
                let code = args.u16().unwrap_or(0);
                let text = args.short_string().map(String::from_utf8_lossy).unwrap_or_default();
                let what = if id == method::CHANNEL_CLOSE { "channel" } else { "connection" };
                bail!("the broker closed the {what}: {code} {text}")
            }
            Ok(Some((frame, used))) => {
                self.start += used;
                Ok(Some(frame))
            }
            Err(violation) => bail!("not AMQP: {violation:?}"),
        }
    }
}

/// A connection with channel 1 open.
pub(crate) struct Connection {
    pub stream: TcpStream,
    pub inbox: Inbox,
    out: Vec<u8>,
}

impl Connection {
    /// Connects, logs in with PLAIN and opens channel 1.
    pub(crate) fn open(url: &Url) -> Result<Self> {
        let stream =
            TcpStream::connect((url.host.as_str(), url.port)).with_context(|| format!("connect to {url}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let mut link = Self { stream, inbox: Inbox::new(), out: Vec::new() };
        link.out.extend_from_slice(&wire::PROTOCOL_HEADER);
        link.flush()?;
        link.answer(method::CONNECTION_START)?;
        let login = format!("\0{}\0{}", url.user, url.password);
        link.send(0, method::CONNECTION_START_OK, |w| {
            w.table(&[("product", "stele-bench")])
                .short_string("PLAIN")
                .long_string(login.as_bytes())
                .short_string("en_US");
        })?;
        let tune = link.answer(method::CONNECTION_TUNE)?;
        let mut tune = Reader(&tune);
        let (channel_max, frame_max) = (tune.u16().unwrap_or(0), tune.u32().unwrap_or(0));
        let frame_max = if frame_max == 0 { 128 << 10 } else { frame_max.min(wire::FRAME_BYTES_MAX as u32) };
        link.send(0, method::CONNECTION_TUNE_OK, |w| {
            w.u16(channel_max).u32(frame_max).u16(0);
        })?;
        link.send(0, method::CONNECTION_OPEN, |w| {
            w.short_string("/").u8(0).u8(0);
        })?;
        link.answer(method::CONNECTION_OPEN_OK)?;
        link.call(method::CHANNEL_OPEN, method::CHANNEL_OPEN_OK, |w| {
            w.u8(0);
        })?;
        Ok(link)
    }

    /// Makes the connection ready for a measured loop: non-blocking, large reads.
    pub(crate) fn hurry(&mut self) -> Result<()> {
        self.inbox.read_bytes = READ_BYTES;
        self.stream.set_nonblocking(true).context("switch the socket to non-blocking")
    }

    /// Closes the channel and waits until the broker agrees: it has then handled all that was sent before. For a connection
    /// to which nothing else is on its way.
    pub(crate) fn close(mut self) -> Result<()> {
        self.stream.set_nonblocking(false)?;
        self.call(method::CHANNEL_CLOSE, method::CHANNEL_CLOSE_OK, put_close).map(drop)
    }

    fn send(&mut self, channel: u16, id: Method, args: impl FnOnce(&mut Writer<'_>)) -> Result<()> {
        wire::put_method(&mut self.out, channel, id, args);
        self.flush()
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.out).context("write to broker")?;
        self.out.clear();
        Ok(())
    }

    /// Waits for `reply` and returns its arguments; any other frame is an error.
    fn answer(&mut self, reply: Method) -> Result<Vec<u8>> {
        loop {
            match self.inbox.next()? {
                Some(Frame::Method(id, args)) if id == reply => return Ok(args.to_vec()),
                Some(Frame::Heartbeat) => {}
                Some(other) => bail!("expected {reply:?}, the broker sent {other:?}"),
                None => {
                    ensure!(self.inbox.fill(&mut self.stream)?, "no answer within {ANSWER_MAX:?}: {reply:?}")
                }
            }
        }
    }

    fn call(&mut self, id: Method, reply: Method, args: impl FnOnce(&mut Writer<'_>)) -> Result<Vec<u8>> {
        self.send(1, id, args)?;
        self.answer(reply)
    }

    /// Sends one request per item, a few hundred at a time, and waits for all replies.
    fn pipeline<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        id: Method,
        reply: Method,
        args: impl Fn(&mut Writer<'_>, &T),
    ) -> Result<()> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let mut sent = 0;
            for item in items.by_ref().take(PIPELINE) {
                wire::put_method(&mut self.out, 1, id, |w| args(w, &item));
                sent += 1;
            }
            self.flush()?;
            for _ in 0..sent {
                self.answer(reply)?;
            }
        }
        Ok(())
    }

    /// Declares durable queues; `kind` is the `x-queue-type`, `None` leaves the broker its default.
    pub(crate) fn declare_queues(&mut self, names: &[String], kind: Option<&str>) -> Result<()> {
        const DURABLE: u8 = 1 << 1;
        let fields: Vec<_> = kind.map(|kind| ("x-queue-type", kind)).into_iter().collect();
        self.pipeline(names, method::QUEUE_DECLARE, method::QUEUE_DECLARE_OK, |w, name| {
            w.u16(0).short_string(name).u8(DURABLE).table(&fields);
        })
    }

    /// Messages ready in a queue.
    pub(crate) fn queue_depth(&mut self, name: &str) -> Result<u64> {
        const PASSIVE: u8 = 1;
        let answer = self.call(method::QUEUE_DECLARE, method::QUEUE_DECLARE_OK, |w| {
            w.u16(0).short_string(name).u8(PASSIVE).table(&[]);
        })?;
        let mut answer = Reader(&answer);
        answer
            .short_string()
            .and_then(|_| answer.u32())
            .map(u64::from)
            .map_err(|v| anyhow::anyhow!("declare-ok: {v:?}"))
    }

    /// Declares a durable exchange of type `kind`.
    pub(crate) fn declare_exchange(&mut self, name: &str, kind: &str) -> Result<()> {
        const DURABLE: u8 = 1 << 1;
        self.call(method::EXCHANGE_DECLARE, method::EXCHANGE_DECLARE_OK, |w| {
            w.u16(0).short_string(name).short_string(kind).u8(DURABLE).table(&[]);
        })?;
        Ok(())
    }

    /// Binds queues to an exchange, one binding per (queue, key).
    pub(crate) fn bind<'a>(
        &mut self,
        exchange: &str,
        bindings: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<()> {
        self.pipeline(bindings, method::QUEUE_BIND, method::QUEUE_BIND_OK, |w, (queue, key)| {
            w.u16(0).short_string(queue).short_string(exchange).short_string(key).u8(0).table(&[]);
        })
    }

    /// Deletes queues with whatever is in them.
    pub(crate) fn delete_queues(&mut self, names: &[String]) -> Result<()> {
        self.pipeline(names, method::QUEUE_DELETE, method::QUEUE_DELETE_OK, |w, name| {
            w.u16(0).short_string(name).u8(0);
        })
    }

    /// Deletes an exchange.
    pub(crate) fn delete_exchange(&mut self, name: &str) -> Result<()> {
        self.call(method::EXCHANGE_DELETE, method::EXCHANGE_DELETE_OK, |w| {
            w.u16(0).short_string(name).u8(0);
        })?;
        Ok(())
    }

    /// Asks for publisher confirms on the channel.
    pub(crate) fn select_confirms(&mut self) -> Result<()> {
        self.call(method::CONFIRM_SELECT, method::CONFIRM_SELECT_OK, |w| {
            w.u8(0);
        })?;
        Ok(())
    }

    /// Starts the connection's one consumer; `prefetch` of 0 means no limit.
    pub(crate) fn consume(&mut self, queue: &str, prefetch: u16, auto_ack: bool) -> Result<()> {
        self.call(method::BASIC_QOS, method::BASIC_QOS_OK, |w| {
            w.u32(0).u16(prefetch).u8(0);
        })?;
        self.call(method::BASIC_CONSUME, method::BASIC_CONSUME_OK, |w| {
            w.u16(0).short_string(queue).short_string("c").u8(u8::from(auto_ack) << 1).table(&[]);
        })?;
        Ok(())
    }
}

/// Arguments of a `channel.close` without complaint.
pub(crate) fn put_close(w: &mut Writer<'_>) {
    w.u16(200).short_string("done").u16(0).u16(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_put_together() {
        let url: Url = "amqp://me:secret@127.0.0.1:5772/".parse().unwrap();
        assert_eq!((url.user.as_str(), url.password.as_str(), url.port), ("me", "secret", 5772));
        assert_eq!(url.to_string(), "amqp://me:secret@127.0.0.1:5772/");
        let short: Url = "amqp://localhost".parse().unwrap();
        assert_eq!((short.user.as_str(), short.host.as_str(), short.port), ("guest", "localhost", 5672));
        assert!("http://localhost".parse::<Url>().is_err());
        assert!("amqp://localhost:port".parse::<Url>().is_err());
    }
}
