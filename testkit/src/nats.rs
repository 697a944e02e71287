//! The NATS protocol by hand, as far as drivers need it: a blocking connection, requests, and the few fields they look at in answers.
//!
//! A client library would reconnect and repeat on its own, which is what is judged here. Not here: what an answer means.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a server may take for an answer.
pub const PATIENCE: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 64 << 10;
/// The longest line and the largest message that is read.
const LINE_BYTES_MAX: usize = 64 << 10;
const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// A delivered message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub subject: String,
    /// The subscription that it came for.
    pub sid: u64,
    /// Where an answer goes, empty if none is wanted.
    pub reply: String,
    /// The block of headers as text, empty without.
    pub head: String,
    /// The payload.
    pub body: Vec<u8>,
}

impl Message {
    /// The code in the first line of the headers, which only the server sets.
    #[must_use]
    pub fn status(&self) -> Option<u32> {
        self.head.strip_prefix("NATS/1.0 ")?.get(..3)?.parse().ok()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(line[name.len() + 1..].trim())
    }

    /// The number after `"name":` in a JSON payload, at its first place.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        number(&String::from_utf8_lossy(&self.body), name)
    }
}

/// The number after `"name":` in a text of JSON, at its first place.
#[must_use]
pub fn number(text: &str, name: &str) -> Option<u64> {
    let (_, rest) = text.split_once(&format!("\"{name}\":"))?;
    let rest = rest.trim_start();
    let end = rest.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A connection; any error of it means that the server may be gone.
pub struct Connection {
    /// The socket, for those who misuse it.
    pub stream: TcpStream,
    input: Vec<u8>,
    asked: u64,
    inbox: String,
}

impl Connection {
    /// Connect, take the server's INFO, say CONNECT and wait for the answer to a ping.
    ///
    /// # Errors
    /// Nobody listens, or who listens does not speak NATS.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let inbox = format!("_INBOX.{}.{}", std::process::id(), stream.local_addr()?.port());
        let mut connection = Self { stream, input: Vec::new(), asked: 0, inbox };
        let info = connection.line()?;
        ensure!(info.starts_with("INFO "), "a server says INFO first, not {info:?}");
        connection.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n")?;
        connection.subscribe(&format!("{}.>", connection.inbox), 0)?;
        connection.fence()?;
        Ok(connection)
    }

    /// Send text as it is.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.write_all(text.as_bytes())?)
    }

    /// Subscribe under a number; 0 is taken by answers to requests.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn subscribe(&mut self, subject: &str, sid: u64) -> Result<()> {
        self.send(&format!("SUB {subject} {sid}\r\n"))
    }

    /// Publish; headers are lines without their ends, a reply may be empty.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn publish(&mut self, subject: &str, reply: &str, headers: &[String], body: &[u8]) -> Result<()> {
        let mut out = Vec::with_capacity(body.len() + 256);
        if headers.is_empty() {
            write!(out, "PUB {subject} {reply} {}\r\n", body.len())?;
        } else {
            let head = format!("NATS/1.0\r\n{}\r\n\r\n", headers.join("\r\n"));
            write!(out, "HPUB {subject} {reply} {} {}\r\n{head}", head.len(), head.len() + body.len())?;
        }
        out.extend(body);
        out.extend(b"\r\n");
        Ok(self.stream.write_all(&out)?)
    }

    /// A reply subject that no other request has.
    pub fn reply(&mut self) -> String {
        self.asked += 1;
        format!("{}.{}", self.inbox, self.asked)
    }

    /// Publish and wait for the answer; messages of other kinds are dropped.
    ///
    /// # Errors
    /// The connection has ended, or no answer came in time.
    pub fn request(&mut self, subject: &str, headers: &[String], body: &[u8]) -> Result<Message> {
        let reply = self.reply();
        self.publish(subject, &reply, headers, body)?;
        loop {
            let message = self.message()?;
            if message.subject == reply {
                return Ok(message);
            }
        }
    }

    /// Wait until the server has taken everything that was sent; messages that come before are dropped.
    ///
    /// # Errors
    /// The connection has ended, or the server complained.
    pub fn fence(&mut self) -> Result<()> {
        self.send("PING\r\n")?;
        while self.operation()?.is_some() {}
        Ok(())
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection has ended, nothing came in time, or the server complained.
    pub fn message(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.operation()? {
                return Ok(message);
            }
        }
    }

    /// The next message, if one comes within this time.
    ///
    /// # Errors
    /// As [`Self::message`], but for the time.
    pub fn message_within(&mut self, patience: Duration) -> Result<Option<Message>> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left))?;
            let found = self.operation();
            self.stream.set_read_timeout(Some(PATIENCE))?;
            match found {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(error) if is_late(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
        }
    }

    /// The next operation: a message, or nothing for the answer to a ping. Pings are answered, complaints are errors.
    fn operation(&mut self) -> Result<Option<Message>> {
        loop {
            let line = self.peek()?;
            let mut words = line.split(' ').filter(|word| !word.is_empty());
            match words.next() {
                Some("PING") => {
                    self.drop_line(&line);
                    self.send("PONG\r\n")?;
                }
                Some("PONG") => {
                    self.drop_line(&line);
                    return Ok(None);
                }
                Some("MSG") => return self.delivery(&line, words.collect(), false).map(Some),
                Some("HMSG") => return self.delivery(&line, words.collect(), true).map(Some),
                Some("INFO" | "+OK") => self.drop_line(&line),
                _ => bail!("the server says {line}"),
            }
        }
    }

    fn delivery(&mut self, line: &str, words: Vec<&str>, headed: bool) -> Result<Message> {
        let (subject, sid, reply, sizes) = match (headed, words.as_slice()) {
            (false, [subject, sid, bytes]) => (subject, sid, "", ["0", bytes]),
            (false, [subject, sid, reply, bytes]) => (subject, sid, *reply, ["0", bytes]),
            (true, [subject, sid, head, bytes]) => (subject, sid, "", [*head, bytes]),
            (true, [subject, sid, reply, head, bytes]) => (subject, sid, *reply, [*head, bytes]),
            _ => bail!("a delivery that is none: {line}"),
        };
        let [head_bytes, bytes] = [sizes[0].parse::<usize>()?, sizes[1].parse::<usize>()?];
        ensure!(head_bytes <= bytes && bytes <= MESSAGE_BYTES_MAX, "a delivery of {bytes} bytes");
        let start = line.len() + 2;
        while self.input.len() < start + bytes + 2 {
            self.more()?;
        }
        let payload = &self.input[start..start + bytes];
        ensure!(self.input[start + bytes..].starts_with(b"\r\n"), "a payload without its end");
        let message = Message {
            subject: (*subject).into(),
            sid: sid.parse()?,
            reply: reply.into(),
            head: String::from_utf8_lossy(&payload[..head_bytes]).into_owned(),
            body: payload[head_bytes..].to_vec(),
        };
        self.input.drain(..start + bytes + 2);
        Ok(message)
    }

    /// The next line, which stays where it is: a reader that runs out of time in a payload must find it again.
    fn peek(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                return Ok(String::from_utf8_lossy(&self.input[..end]).into_owned());
            }
            ensure!(self.input.len() <= LINE_BYTES_MAX, "a line without end");
            self.more()?;
        }
    }

    fn line(&mut self) -> Result<String> {
        let line = self.peek()?;
        self.drop_line(&line);
        Ok(line)
    }

    fn drop_line(&mut self, line: &str) {
        self.input.drain(..line.len() + 2);
    }

    fn more(&mut self) -> Result<()> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer)? {
            0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)).context("the connection ended"),
            bytes => {
                self.input.extend(&buffer[..bytes]);
                Ok(())
            }
        }
    }
}

/// Whether an error only says that nothing came in time.
#[must_use]
pub fn is_late(error: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    error.downcast_ref::<std::io::Error>().is_some_and(|error| matches!(error.kind(), TimedOut | WouldBlock))
}

/// Whether an error only says that the other side is gone.
#[must_use]
pub fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_json() {
        let text = "{\"stream\":\"s\", \"seq\": 42,\"duplicate\":true}";
        assert_eq!(number(text, "seq"), Some(42));
        assert_eq!(number(text, "duplicate"), None);
        assert_eq!(number(text, "stream"), None);
    }

    #[test]
    fn statuses_and_headers_are_read() {
        let message = Message {
            head: "NATS/1.0 408 Request Timeout\r\nNats-Pending: 3\r\n\r\n".into(),
            ..Message::default()
        };
        assert_eq!((message.status(), message.header("Nats-Pending")), (Some(408), Some("3")));
        assert_eq!(Message::default().status(), None);
    }
}
