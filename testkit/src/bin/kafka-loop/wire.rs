//! Kafka's protocol by hand, as far as the loop needs it: one old version of each request, and plain record batches.
//!
//! A client library would hide what is judged here, which batch was sent again under which number.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

/// Key and version of a request.
pub(crate) type Api = (i16, i16);

pub(crate) const PRODUCE: Api = (0, 8);
pub(crate) const FETCH: Api = (1, 11);
pub(crate) const OFFSET_COMMIT: Api = (8, 7);
pub(crate) const OFFSET_FETCH: Api = (9, 5);
pub(crate) const FIND_COORDINATOR: Api = (10, 2);
pub(crate) const JOIN_GROUP: Api = (11, 5);
pub(crate) const HEARTBEAT: Api = (12, 3);
pub(crate) const LEAVE_GROUP: Api = (13, 1);
pub(crate) const SYNC_GROUP: Api = (14, 3);
pub(crate) const CREATE_TOPICS: Api = (19, 4);
pub(crate) const INIT_PRODUCER_ID: Api = (22, 1);

/// How long an answer may take; a join waits for the other members.
const PATIENCE: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES: usize = 61;

/// A request's body under construction.
#[derive(Default)]
pub(crate) struct Body(pub Vec<u8>);

impl Body {
    pub(crate) fn i8(mut self, value: i8) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i16(mut self, value: i16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn i64(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub(crate) fn text(self, value: &str) -> Self {
        let mut body = self.i16(i16::try_from(value.len()).expect("our own names are short"));
        body.0.extend(value.as_bytes());
        body
    }

    pub(crate) fn null(self) -> Self {
        self.i16(-1)
    }

    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        let mut body = self.i32(i32::try_from(value.len()).expect("our own batches are small"));
        body.0.extend(value);
        body
    }
}

/// An answer, read from the front and never beyond its end.
pub(crate) struct Answer {
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

    pub(crate) fn i16(&mut self) -> Result<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let bytes = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.take(bytes)?).into_owned())
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        let bytes = usize::try_from(self.i32()?).unwrap_or(0);
        Ok(self.take(bytes)?.to_vec())
    }

    pub(crate) fn count(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }
}

/// A connection; any error of it means that the broker may be gone.
pub(crate) struct Wire {
    stream: TcpStream,
    sent: i32,
    answered: i32,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, sent: 0, answered: 0 })
    }

    /// Send without waiting; answers come in the order of requests.
    pub(crate) fn send(&mut self, api: Api, body: &Body) -> Result<()> {
        self.sent += 1;
        let head = Body::default().i16(api.0).i16(api.1).i32(self.sent).text("kafka-loop");
        let length = u32::try_from(head.0.len() + body.0.len()).context("a request that is too large")?;
        let mut request = length.to_be_bytes().to_vec();
        request.extend(head.0);
        request.extend(&body.0);
        self.stream.write_all(&request)?;
        Ok(())
    }

    pub(crate) fn receive(&mut self) -> Result<Answer> {
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

    pub(crate) fn ask(&mut self, api: Api, body: &Body) -> Result<Answer> {
        self.send(api, body)?;
        self.receive()
    }
}

/// An idempotent producer's batch of these values.
pub(crate) fn batch(producer: (i64, i16), sequence: u64, values: &[Vec<u8>]) -> Vec<u8> {
    let mut records = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let mut record = vec![0];
        for number in [0, index as i64, -1, value.len() as i64] {
            varint(&mut record, number); // time, offset, no key, length of the value
        }
        record.extend(value);
        varint(&mut record, 0);
        varint(&mut records, record.len() as i64);
        records.extend(record);
    }
    let count = values.len() as i32;
    let sequence = i32::try_from(sequence % (1 << 31)).expect("smaller than 2^31");
    // A broker may forget a producer whose last record is old, so a made-up time would allow what is judged here.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
    let covered = Body::default().i16(0).i32(count - 1).i64(now).i64(now);
    let mut covered = covered.i64(producer.0).i16(producer.1).i32(sequence).i32(count).0;
    covered.extend(records);
    let crc = crc32c(&covered);
    let head = Body::default().i64(0).i32((covered.len() + 9) as i32).i32(-1).i8(2);
    let mut whole = head.0;
    whole.extend(crc.to_be_bytes());
    whole.extend(covered);
    whole
}

/// Offsets and values of all whole batches in what was fetched; an error if something in it is damaged.
pub(crate) fn records(mut fetched: &[u8]) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut found = Vec::new();
    while let Some(head) = fetched.first_chunk::<12>() {
        let base = u64::from_be_bytes(*head.first_chunk().expect("eight of twelve"));
        let length = 12 + u32::from_be_bytes(*head[8..].first_chunk().expect("the last four")) as usize;
        let Some((whole, rest)) = fetched.split_at_checked(length) else { break };
        fetched = rest;
        ensure!(length >= HEAD_BYTES, "a batch of {length} bytes");
        let crc = u32::from_be_bytes(*whole[17..].first_chunk().expect("inside the head"));
        ensure!(crc == crc32c(&whole[21..]), "a damaged batch at offset {base}");
        let mut answer = Answer { bytes: whole.to_vec(), at: HEAD_BYTES - 4 };
        for _ in 0..answer.count()? {
            unvarint(&mut answer)?; // length
            answer.take(1)?;
            let (_, offset) = (unvarint(&mut answer)?, unvarint(&mut answer)?);
            let key = unvarint(&mut answer)?;
            answer.take(usize::try_from(key).unwrap_or(0))?;
            let bytes = unvarint(&mut answer)?;
            let value = answer.take(usize::try_from(bytes).unwrap_or(0))?.to_vec();
            ensure!(unvarint(&mut answer)? == 0, "headers that nobody sent");
            found.push((base + offset as u64, value));
        }
    }
    Ok(found)
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn unvarint(answer: &mut Answer) -> Result<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let [byte] = answer.chunk()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    anyhow::bail!("a number without end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written_and_a_changed_one_is_not() {
        let values = [b"one".to_vec(), vec![7; 300]];
        let mut written = batch((5, 0), 9, &values);
        written[..8].copy_from_slice(&40u64.to_be_bytes());
        let found = records(&written).unwrap();
        assert_eq!(found, [(40, values[0].clone()), (41, values[1].clone())]);
        assert!(records(&written[..written.len() - 1]).unwrap().is_empty());
        *written.last_mut().unwrap() ^= 1;
        assert!(records(&written).is_err());
    }
}
