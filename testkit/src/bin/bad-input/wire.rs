//! AMQP 0-9-1 by hand: the bytes of a good session, to be broken, and a reader that checks what the broker answers.
//!
//! Deliberately not the broker's own codec, which is what is being judged.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the broker may take to answer or to close. Longer than its own patience with a handshake.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// What a client says first.
pub(crate) const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// The octet at the end of every frame.
pub(crate) const END: u8 = 0xce;
/// Bytes of a frame around its payload.
const FRAME_HEAD: usize = 7;
/// The largest frame that we negotiate.
const FRAME_MAX: u32 = 131_072;

/// Frame types.
pub(crate) mod kind {
    pub(crate) const METHOD: u8 = 1;
    pub(crate) const HEADER: u8 = 2;
    pub(crate) const BODY: u8 = 3;
    pub(crate) const HEARTBEAT: u8 = 8;
}

/// Class and method of what we look for in answers.
pub(crate) mod name {
    pub(crate) const TUNE: (u16, u16) = (10, 30);
    pub(crate) const OPEN_OK: (u16, u16) = (10, 41);
    pub(crate) const CONNECTION_CLOSE: (u16, u16) = (10, 50);
    pub(crate) const CHANNEL_CLOSE: (u16, u16) = (20, 40);
    pub(crate) const BLOCKED: (u16, u16) = (10, 60);
    pub(crate) const UNBLOCKED: (u16, u16) = (10, 61);
    pub(crate) const DELIVER: (u16, u16) = (60, 60);
    pub(crate) const ACK: (u16, u16) = (60, 80);
    pub(crate) const NACK: (u16, u16) = (60, 120);
}

/// One frame of the broker.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Class and method, if it carries one.
    pub(crate) fn method(&self) -> Option<(u16, u16)> {
        let [a, b, c, d, ..] = *self.payload.as_slice() else { return None };
        (self.kind == kind::METHOD).then_some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    }

    /// The eight bytes at this place of the payload, as a number.
    pub(crate) fn u64_at(&self, at: usize) -> Result<u64> {
        let bytes =
            self.payload.get(at..).and_then(|rest| rest.first_chunk()).context("a frame ends early")?;
        Ok(u64::from_be_bytes(*bytes))
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With `connection.close` or `channel.close`.
    Error,
    /// Without a word.
    Dropped,
    /// We stopped, and the broker had nothing to say against us.
    Quiet,
}

/// Arguments of a method, as they are written.
#[derive(Default)]
pub(crate) struct Arguments(Vec<u8>);

impl Arguments {
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// At most 255 bytes.
    pub(crate) fn short(self, text: &str) -> Self {
        let length = u8::try_from(text.len()).expect("a short text");
        self.raw(&[length]).raw(text.as_bytes())
    }

    pub(crate) fn long(self, bytes: &[u8]) -> Self {
        self.u32(u32::try_from(bytes.len()).expect("a text of less than 4 GiB")).raw(bytes)
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a payload of less than 4 GiB");
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    bytes.push(END);
    bytes
}

/// A method frame's bytes.
pub(crate) fn method(channel: u16, class: u16, method: u16, arguments: Arguments) -> Vec<u8> {
    frame(kind::METHOD, channel, &Arguments::default().u16(class).u16(method).raw(&arguments.0).0)
}

/// A login with this password; the capabilities ask for a close with a reason, and for word when publishers must stop.
pub(crate) fn start_ok(password: &str) -> Vec<u8> {
    let flags = Arguments::default()
        .short("authentication_failure_close")
        .raw(b"t\x01")
        .short("connection.blocked")
        .raw(b"t\x01");
    let capabilities = Arguments::default().short("capabilities").raw(b"F").long(&flags.0);
    let response = format!("\0guest\0{password}");
    method(
        0,
        10,
        11,
        Arguments::default().long(&capabilities.0).short("PLAIN").long(response.as_bytes()).short("en_US"),
    )
}

/// What turns a login into an open connection.
pub(crate) fn tune_and_open() -> [Vec<u8>; 2] {
    let tune_ok = method(0, 10, 31, Arguments::default().u16(2047).u32(FRAME_MAX).u16(0));
    [tune_ok, method(0, 10, 40, Arguments::default().short("/").short("").raw(&[0]))]
}

/// Opening channel 1.
pub(crate) fn channel_open() -> Vec<u8> {
    method(1, 20, 10, Arguments::default().short(""))
}

/// A queue of this connection only, named by the broker.
pub(crate) fn own_queue() -> Vec<u8> {
    method(1, 50, 10, Arguments::default().u16(0).short("").raw(&[0b0000_0100]).u32(0))
}

/// Consuming from the last queue declared.
pub(crate) fn consume(queue: &str, no_ack: bool) -> Vec<u8> {
    method(1, 60, 20, Arguments::default().u16(0).short(queue).short("").raw(&[u8::from(no_ack) << 1]).u32(0))
}

/// Asking for confirms on channel 1.
pub(crate) fn confirm_select() -> Vec<u8> {
    method(1, 85, 10, Arguments::default().raw(&[0]))
}

/// A publish to a queue by its name, as its three frames.
pub(crate) fn publish(queue: &str, body: &[u8]) -> [Vec<u8>; 3] {
    let properties = Arguments::default().u16(0);
    publish_with(queue, &properties, body)
}

/// As [`publish`], of a record that survives a restart.
pub(crate) fn publish_persistent(queue: &str, body: &[u8]) -> [Vec<u8>; 3] {
    let properties = Arguments::default().u16(1 << 12).raw(&[2]);
    publish_with(queue, &properties, body)
}

fn publish_with(queue: &str, properties: &Arguments, body: &[u8]) -> [Vec<u8>; 3] {
    let length = (body.len() as u64).to_be_bytes();
    let head = Arguments::default().u16(60).u16(0).raw(&length).raw(&properties.0);
    [publish_method(queue), frame(kind::HEADER, 1, &head.0), frame(kind::BODY, 1, body)]
}

/// The first of the three.
pub(crate) fn publish_method(queue: &str) -> Vec<u8> {
    method(1, 60, 40, Arguments::default().u16(0).short("").short(queue).raw(&[0]))
}

/// A session that does a little of everything and is right in every byte, without the protocol header.
pub(crate) fn good_session() -> Vec<Vec<u8>> {
    let mut frames = vec![start_ok("guest")];
    frames.extend(tune_and_open());
    frames.push(channel_open());
    frames.push(confirm_select());
    frames.push(method(
        1,
        40,
        10,
        Arguments::default().u16(0).short("amq.topic").short("topic").raw(&[0b0000_0011]).u32(0),
    ));
    frames.push(own_queue());
    frames.push(method(
        1,
        50,
        20,
        Arguments::default().u16(0).short("").short("amq.topic").short("a.#").raw(&[0]).u32(0),
    ));
    frames.push(method(1, 60, 10, Arguments::default().u32(0).u16(10).raw(&[0]))); // basic.qos
    frames.push(consume("", false));
    frames.extend(publish("bad-input.nowhere", b"a body of some bytes"));
    frames.push(method(1, 60, 70, Arguments::default().u16(0).short("").raw(&[1]))); // basic.get
    frames.push(method(1, 50, 30, Arguments::default().u16(0).short("").raw(&[0]))); // queue.purge
    frames.push(frame(kind::HEARTBEAT, 0, &[]));
    frames.push(method(1, 20, 40, Arguments::default().u16(200).short("done").u16(0).u16(0)));
    frames.push(method(0, 10, 50, Arguments::default().u16(200).short("done").u16(0).u16(0)));
    frames
}

/// A client's end of a connection.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connect, and say nothing.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Connect and log in, with channel 1 open.
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        let mut connection = Self::connect(address).await?;
        connection.stream.write_all(HEADER).await?;
        connection.stream.write_all(&start_ok("guest")).await?;
        connection.until(name::TUNE).await?;
        connection.stream.write_all(&tune_and_open().concat()).await?;
        connection.until(name::OPEN_OK).await?;
        connection.stream.write_all(&channel_open()).await?;
        connection.until((20, 11)).await?;
        Ok(connection)
    }

    /// Ask for something small and get it.
    pub(crate) async fn works(&mut self) -> Result<()> {
        self.stream.write_all(&own_queue()).await?;
        self.until((50, 11)).await
    }

    /// Read until this method comes.
    pub(crate) async fn until(&mut self, wanted: (u16, u16)) -> Result<()> {
        loop {
            let frame =
                self.frame().await?.with_context(|| format!("closed while {wanted:?} was awaited"))?;
            let found = frame.method();
            if found == Some(wanted) {
                return Ok(());
            }
            ensure!(
                !is_error(found),
                "an error while {wanted:?} was awaited: {:?}",
                String::from_utf8_lossy(&frame.payload)
            );
        }
    }

    /// Read until the broker closes, in words or by the socket: one of them must come in time, and all before it must be well-formed.
    pub(crate) async fn end(&mut self) -> Result<End> {
        let (mut any, mut error) = (false, false);
        while let Some(frame) = self.frame().await? {
            any = true;
            error |= is_error(frame.method());
            if frame.method() == Some(name::CONNECTION_CLOSE) {
                break; // it may now wait for our close-ok
            }
        }
        Ok(match (any, error) {
            (_, true) => End::Error,
            (true, false) => End::Quiet,
            (false, false) => End::Dropped,
        })
    }

    /// As [`Connection::end`], but the broker must have been the one who ended it.
    pub(crate) async fn refused(&mut self) -> Result<End> {
        loop {
            match self.frame().await? {
                Some(frame) if is_error(frame.method()) => return Ok(End::Error),
                Some(_) => {}
                None => return Ok(End::Dropped),
            }
        }
    }

    /// The next frame, `None` at the end of the connection.
    pub(crate) async fn frame(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(Some(frame));
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
            match read.context("the broker neither answered nor closed")? {
                Ok(0) | Err(_) => return Ok(None), // a reset is an end as well
                Ok(_) => {}
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Frame>> {
        // A broker that does not like our header answers with its own.
        if self.buffer.starts_with(b"AMQP") && self.buffer.len() >= HEADER.len() {
            self.buffer.drain(..HEADER.len());
        }
        if b"AMQP".starts_with(self.buffer.get(..4).unwrap_or(&self.buffer)) {
            return Ok(None);
        }
        let Some((head, rest)) = self.buffer.split_first_chunk::<FRAME_HEAD>() else { return Ok(None) };
        let [kind, _, _, length @ ..] = *head;
        let length = u32::from_be_bytes(length);
        if !matches!(kind, kind::METHOD | kind::HEADER | kind::BODY | kind::HEARTBEAT) || length > FRAME_MAX {
            bail!("the broker sent a frame of kind {kind} and {length} bytes");
        }
        let length = usize::try_from(length)?;
        let (Some(payload), Some(end)) = (rest.get(..length), rest.get(length)) else { return Ok(None) };
        ensure!(*end == END, "the broker ended a frame with {end}");
        let frame = Frame { kind, payload: payload.to_vec() };
        self.buffer.drain(..FRAME_HEAD + length + 1);
        Ok(Some(frame))
    }
}

fn is_error(method: Option<(u16, u16)>) -> bool {
    matches!(method, Some(name::CONNECTION_CLOSE | name::CHANNEL_CLOSE))
}
