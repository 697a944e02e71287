//! Kafka's protocol by hand, as far as drivers need it: one old version of each request, and record batches.
//!
//! A client library would hide what is judged here: which batch was sent again under which number, and what is answered to nonsense.

pub mod batch;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Key and version of a request.
pub type Api = (i16, i16);

/// Batches to partitions.
pub const PRODUCE: Api = (0, 8);
/// Batches of partitions.
pub const FETCH: Api = (1, 11);
/// Where a group stands.
pub const OFFSET_COMMIT: Api = (8, 7);
/// Where a group stood.
pub const OFFSET_FETCH: Api = (9, 5);
/// Which node keeps a group.
pub const FIND_COORDINATOR: Api = (10, 2);
/// Into a group.
pub const JOIN_GROUP: Api = (11, 5);
/// Still in it.
pub const HEARTBEAT: Api = (12, 3);
/// Out of it.
pub const LEAVE_GROUP: Api = (13, 1);
/// Who of it has what.
pub const SYNC_GROUP: Api = (14, 3);
/// Make topics.
pub const CREATE_TOPICS: Api = (19, 4);
/// The name of an idempotent producer.
pub const INIT_PRODUCER_ID: Api = (22, 1);

/// How long an answer may take; a join waits for the other members.
pub const PATIENCE: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A request's body under construction.
#[derive(Default)]
pub struct Body(pub Vec<u8>);

impl Body {
    /// One octet.
    #[must_use]
    pub fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Two octets.
    #[must_use]
    pub fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Four octets; also how many elements follow.
    #[must_use]
    pub fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Eight octets.
    #[must_use]
    pub fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// Text with its length.
    ///
    /// # Panics
    /// It is longer than 32 767 bytes.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        let mut body = self.i16(i16::try_from(value.len()).expect("our own names are short"));
        body.0.extend(value.as_bytes());
        body
    }

    /// No text.
    #[must_use]
    pub fn null(self) -> Self {
        self.i16(-1)
    }

    /// Bytes with their length.
    ///
    /// # Panics
    /// They are more than 2 GiB.
    #[must_use]
    pub fn bytes(self, value: &[u8]) -> Self {
        let mut body = self.i32(i32::try_from(value.len()).expect("our own batches are small"));
        body.0.extend(value);
        body
    }
}

/// An answer, read from the front and never beyond its end.
pub struct Answer {
    bytes: Vec<u8>,
    at: usize,
}

impl Answer {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let start = self.at;
        self.at = start.checked_add(count).context("a length that cannot be")?;
        self.bytes.get(start..self.at).context("an answer that is too short")
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(*self.take(N)?.first_chunk().expect("as many as were taken"))
    }

    /// Two octets.
    ///
    /// # Errors
    /// The answer ends before.
    pub fn i16(&mut self) -> Result<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    /// Four octets.
    ///
    /// # Errors
    /// The answer ends before.
    pub fn i32(&mut self) -> Result<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    /// Eight octets.
    ///
    /// # Errors
    /// The answer ends before.
    pub fn i64(&mut self) -> Result<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// Text; none is empty.
    ///
    /// # Errors
    /// The answer ends before.
    pub fn text(&mut self) -> Result<String> {
        let bytes = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(bytes)?).into_owned())
    }

    /// Bytes; none are empty.
    ///
    /// # Errors
    /// The answer ends before.
    pub fn bytes(&mut self) -> Result<Vec<u8>> {
        let bytes = usize::try_from(self.i32()?).unwrap_or(0);
        Ok(self.take(bytes)?.to_vec())
    }

    /// How many elements follow; none for an array that is not there.
    ///
    /// # Errors
    /// The answer ends before.
    pub fn count(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }
}

/// A connection; any error of it means that the broker may be gone.
pub struct Wire {
    /// The socket, for those who misuse it.
    pub stream: TcpStream,
    sent: i32,
    answered: i32,
}

impl Wire {
    /// Connect.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, sent: 0, answered: 0 })
    }

    /// Send without waiting; answers come in the order of requests.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn send(&mut self, api: Api, body: &Body) -> Result<()> {
        self.sent += 1;
        Ok(self.stream.write_all(&request(api, self.sent, body))?)
    }

    /// The next answer.
    ///
    /// # Errors
    /// The connection has ended, or what came is not the answer to the request whose turn it is.
    pub fn receive(&mut self) -> Result<Answer> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        let mut answer = Answer { bytes, at: 0 };
        self.answered += 1;
        ensure!(answer.i32()? == self.answered, "an answer to another request");
        Ok(answer)
    }

    /// Send, and wait for the answer; nothing else may be under way.
    ///
    /// # Errors
    /// [`Self::send`], [`Self::receive`].
    pub fn ask(&mut self, api: Api, body: &Body) -> Result<Answer> {
        self.send(api, body)?;
        self.receive()
    }
}

/// A whole request, with its length.
///
/// # Panics
/// It is longer than 2 GiB.
#[must_use]
pub fn request(api: Api, number: i32, body: &Body) -> Vec<u8> {
    let head = Body::default().i16(api.0).i16(api.1).i32(number).text("testkit").0;
    Body::default().bytes(&[&head[..], &body.0].concat()).0
}

/// The body of [`CREATE_TOPICS`] for one topic with these configurations; with `only_asked` nothing is made.
#[must_use]
pub fn topic(name: &str, partitions: i32, configs: &[(&str, &str)], only_asked: bool) -> Body {
    let body = Body::default().i32(1).text(name).i32(partitions).i16(1).i32(0).i32(configs.len() as i32);
    let body = configs.iter().fold(body, |body, (name, value)| body.text(name).text(value));
    body.i32(30_000).i8(only_asked.into())
}

/// Make a topic; the error's code, 0 for none.
///
/// # Errors
/// [`Wire::ask`].
pub fn create(wire: &mut Wire, name: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<i16> {
    let mut answer = wire.ask(CREATE_TOPICS, &topic(name, partitions, configs, false))?;
    let (_, _, _) = (answer.i32()?, answer.i32()?, answer.text()?);
    answer.i16()
}

/// The body of [`PRODUCE`] of one batch, acknowledged once it is on disk.
#[must_use]
pub fn produce(topic: &str, partition: i32, batch: &[u8]) -> Body {
    let head = Body::default().null().i16(-1).i32(30_000).i32(1).text(topic);
    head.i32(1).i32(partition).bytes(batch)
}

/// What [`PRODUCE`] of one batch is answered: the error's code, 0 for none, and the offset of the first record.
///
/// # Errors
/// The answer ends before.
pub fn produced(mut answer: Answer) -> Result<(i16, i64)> {
    let (_, _, _) = (answer.i32()?, answer.text()?, answer.i32()?);
    let (_, code, base) = (answer.i32()?, answer.i16()?, answer.i64()?);
    Ok((code, base))
}

/// The body of [`FETCH`] of some partitions of a topic, each from its offset on.
#[must_use]
pub fn fetch(topic: &str, next: &BTreeMap<i32, i64>, wait_ms: i32, partition_bytes_max: i32) -> Body {
    let head = Body::default().i32(-1).i32(wait_ms).i32(1).i32(50 << 20).i8(0).i32(0).i32(-1);
    let head = head.i32(1).text(topic).i32(next.len() as i32);
    let body = next.iter().fold(head, |body, (partition, offset)| {
        body.i32(*partition).i32(-1).i64(*offset).i64(-1).i32(partition_bytes_max)
    });
    body.i32(0).text("")
}

/// What [`FETCH`] is answered: the error's code and the batches of each partition.
///
/// # Errors
/// The answer ends before, or the whole request was refused.
pub fn fetched(mut answer: Answer) -> Result<Vec<(i32, i16, Vec<u8>)>> {
    let (_, code, _) = (answer.i32()?, answer.i16()?, answer.i32()?);
    ensure!(code == 0, "a fetch is refused: error {code}");
    let mut found = Vec::new();
    for _ in 0..answer.count()? {
        answer.text()?;
        for _ in 0..answer.count()? {
            let (partition, code) = (answer.i32()?, answer.i16()?);
            let (_, _, _) = (answer.i64()?, answer.i64()?, answer.i64()?);
            for _ in 0..answer.count()? {
                let (_, _) = (answer.i64()?, answer.i64()?);
            }
            answer.i32()?;
            found.push((partition, code, answer.bytes()?));
        }
    }
    Ok(found)
}
