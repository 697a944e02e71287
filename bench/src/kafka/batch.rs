//! Record batches: made once as a template and stamped for every send; found again in what was fetched.
//!
//! A plain record's value begins with its number in its partition, so that a reader can tell a lost, doubled or foreign record. What a
//! compressed batch holds was compressed once and stays the same: there only offsets and counts are checked.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::wire::{Fields, Put};

/// Bytes of a batch before its records.
const HEAD_BYTES: usize = 61;
/// Where the checksum's field ends and what it covers begins.
const COVERED_AT: usize = 21;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Lz4,
    Zstd,
}

/// Who sends: an idempotent producer's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub id: i64,
    pub epoch: i16,
}

/// A batch that lacks only what differs from send to send.
pub(crate) struct Template {
    bytes: Vec<u8>,
    /// Where the values begin; empty when they are compressed.
    values: Vec<usize>,
    pub records: u32,
    /// Of the values before compression.
    pub payload_bytes: usize,
}

impl Template {
    /// `records` of `value_bytes` each.
    pub(crate) fn new(records: u32, value_bytes: usize, codec: Codec) -> Result<Self> {
        ensure!(value_bytes >= 8, "a value holds a number");
        let mut content = Vec::new();
        let mut values = Vec::new();
        for index in 0..records {
            let mut body = Vec::with_capacity(value_bytes + 16);
            body.push(0); // attributes
            varint(&mut body, 0); // time
            varint(&mut body, i64::from(index)); // offset
            varint(&mut body, -1); // no key
            varint(&mut body, value_bytes as i64);
            let at = body.len();
            text(&mut body, index, value_bytes);
            varint(&mut body, 0); // headers
            varint(&mut content, body.len() as i64);
            values.push(HEAD_BYTES + content.len() + at);
            content.extend(body);
        }
        let (attributes, content) = match codec {
            Codec::None => (0, content),
            Codec::Lz4 => (3, lz4(&content)?),
            Codec::Zstd => (4, zstd::bulk::compress(&content, 3).context("compress")?),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
        bytes.i64(0).count(HEAD_BYTES - 12 + content.len()).i32(-1).i8(2).i32(0);
        bytes
            .i16(attributes)
            .i32(records as i32 - 1)
            .i64(0)
            .i64(0)
            .i64(-1)
            .i16(-1)
            .i32(-1)
            .i32(records as i32);
        assert_eq!(bytes.len(), HEAD_BYTES, "the head of a batch has a fixed size");
        bytes.extend(content);
        if codec != Codec::None {
            values.clear();
        }
        Ok(Self { bytes, values, records, payload_bytes: records as usize * value_bytes })
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the batch that begins with record `first` of its partition. `stamp` is put behind the number where the value has room.
    pub(crate) fn write(&self, out: &mut Vec<u8>, producer: Option<Producer>, first: u64, stamp: u64) {
        let start = out.len();
        out.extend(&self.bytes);
        let batch = &mut out[start..];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as i64);
        let mut put = |at: usize, value: &[u8]| batch[at..at + value.len()].copy_from_slice(value);
        put(27, &now.to_be_bytes());
        put(35, &now.to_be_bytes());
        if let Some(Producer { id, epoch }) = producer {
            put(43, &id.to_be_bytes());
            put(51, &epoch.to_be_bytes());
            put(53, &((first % (1 << 31)) as i32).to_be_bytes());
        }
        for (index, &at) in self.values.iter().enumerate() {
            put(at, &(first + index as u64).to_be_bytes());
            if self.payload_bytes >= 16 * self.records as usize {
                put(at + 8, &stamp.to_be_bytes());
            }
        }
        let crc = crc32c(&batch[COVERED_AT..]);
        batch[17..COVERED_AT].copy_from_slice(&crc.to_be_bytes());
    }
}

/// The checksum of a batch.
fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// What the beginning of a fetched batch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub base: u64,
    pub records: u32,
    /// Length of the whole batch.
    pub bytes: usize,
}

impl Head {
    /// How much of a batch is needed for it.
    pub(crate) const BYTES: usize = HEAD_BYTES;

    /// Reads it.
    pub(crate) fn read(head: &[u8]) -> Result<Self> {
        let mut fields = Fields(head);
        let (base, length) = (fields.i64()?, fields.i32()?);
        fields.i32()?; // leader epoch
        ensure!(fields.i8()? == 2, "a batch of another format");
        fields.take(HEAD_BYTES - 12 - 4 - 1 - 4)?;
        let base = u64::try_from(base).context("a negative offset")?;
        let bytes = 12 + usize::try_from(length).context("a batch of negative length")?;
        let records = u32::try_from(fields.i32()?).context("a negative number of records")?;
        ensure!(bytes >= HEAD_BYTES, "a batch of {bytes} bytes");
        Ok(Self { base, records, bytes })
    }
}

/// Compares a whole batch's checksum, and the number in the first value with where it stands. Returns the stamp in that value.
pub(crate) fn check(whole: &[u8]) -> Result<u64> {
    let mut head = Fields(whole);
    let base = head.i64()?;
    head.take(9)?; // length, leader epoch, format
    let crc = head.i32()? as u32;
    ensure!(crc == crc32c(head.0), "a mangled batch at offset {base}");
    let compressed = head.i16()? & 7 != 0;
    if compressed {
        return Ok(0);
    }
    let mut fields = Fields(&whole[HEAD_BYTES..]);
    skip_varint(&mut fields)?; // length
    fields.i8()?;
    for _ in 0..4 {
        skip_varint(&mut fields)?; // time, offset, no key, length of the value
    }
    let number = fields.i64()?;
    ensure!(number == base, "record {number} stands at offset {base}");
    Ok(fields.i64().unwrap_or(0) as u64)
}

fn skip_varint(fields: &mut Fields<'_>) -> Result<()> {
    while fields.i8()? < 0 {}
    Ok(())
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)) as u64;
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// Something that compresses to about a third, as text and JSON do.
fn text(out: &mut Vec<u8>, seed: u32, bytes: usize) {
    const WORDS: [&str; 8] =
        ["order ", "created ", "customer ", "12345 ", "status ", "shipped ", "amount ", "2026 "];
    let end = out.len() + bytes;
    let mut state = u64::from(seed) + 1;
    while out.len() < end {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend(WORDS[(state >> 61) as usize].as_bytes());
        out.extend(format!("{:x} ", (state >> 32) as u16).as_bytes());
    }
    out.truncate(end);
}

fn lz4(content: &[u8]) -> Result<Vec<u8>> {
    use std::io::Write;
    let mut frame = lz4_flex::frame::FrameEncoder::new(Vec::new());
    frame.write_all(content)?;
    frame.finish().context("compress")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(codec: Codec) -> Vec<u8> {
        let template = Template::new(3, 100, codec).unwrap();
        let mut out = Vec::new();
        template.write(&mut out, Some(Producer { id: 5, epoch: 1 }), 6, 42);
        out[..8].copy_from_slice(&6u64.to_be_bytes()); // as a broker does
        out
    }

    #[test]
    fn what_was_written_is_found_again() {
        let bytes = written(Codec::None);
        let head = Head::read(&bytes[..Head::BYTES]).unwrap();
        assert_eq!(head, Head { base: 6, records: 3, bytes: bytes.len() });
        assert_eq!(check(&bytes).unwrap(), 42);
        assert!(Head::read(&bytes[..Head::BYTES - 1]).is_err());
    }

    #[test]
    fn a_changed_byte_and_another_place_are_noticed() {
        let mut bytes = written(Codec::None);
        bytes[7] = 7;
        assert!(check(&bytes).is_err());
        let mut bytes = written(Codec::Zstd);
        assert_eq!(check(&bytes).unwrap(), 0);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(check(&bytes).is_err());
    }

    #[test]
    fn compressed_batches_are_smaller() {
        let bytes = |codec| Template::new(100, 1024, codec).unwrap().bytes();
        assert!(bytes(Codec::Lz4) < bytes(Codec::None) * 3 / 4 && bytes(Codec::Zstd) < bytes(Codec::Lz4));
    }
}
