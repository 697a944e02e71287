//! Writing batches: for records that came in through another dialect, and for topics whose `compression.type` is not what the
//! producer chose.

use super::compression::{Codec, Packing};
use super::{Attributes, Batch, Damage, HEAD_BYTES, Head, LENGTH_END, seal};
use bytes::{BufMut, Bytes, BytesMut};

/// Gathers records into a batch.
#[derive(Debug, Default)]
pub struct Builder {
    records: BytesMut,
    scratch: BytesMut,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    last_offset_delta: i32,
}

impl Builder {
    /// Adds a record at an offset relative to the batch's base; relative offsets ascend, and may leave holes.
    ///
    /// # Panics
    /// If it is larger than 2 GiB, or offsets do not ascend.
    pub fn put<'r>(
        &mut self,
        offset_delta: i32,
        timestamp_ms: i64,
        (key, value): (Option<&[u8]>, Option<&[u8]>),
        headers: impl ExactSizeIterator<Item = (&'r [u8], Option<&'r [u8]>)>,
    ) {
        if self.count == 0 {
            self.base_timestamp = timestamp_ms;
            self.max_timestamp = timestamp_ms;
        } else {
            assert!(offset_delta > self.last_offset_delta, "offsets of a batch ascend");
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        self.last_offset_delta = offset_delta;
        self.count += 1;
        let out = &mut self.scratch;
        out.put_u8(0);
        varint(out, timestamp_ms.wrapping_sub(self.base_timestamp));
        varint(out, i64::from(offset_delta));
        nullable(out, key);
        nullable(out, value);
        varint(out, length(headers.len()));
        for (name, value) in headers {
            nullable(out, Some(name));
            nullable(out, value);
        }
        varint(&mut self.records, length(self.scratch.len()));
        self.records.extend_from_slice(&self.scratch);
        self.scratch.clear();
    }

    /// Records so far.
    #[must_use]
    pub fn count(&self) -> i32 {
        self.count
    }

    /// Octets so far, without the head and before compression.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// The batch; the builder is empty again.
    pub fn finish(&mut self, base_offset: i64, leader_epoch: i32, codec: Codec) -> Bytes {
        let head = Head {
            base_offset,
            length: 0,
            leader_epoch,
            crc: 0,
            attributes: Attributes::default(),
            last_offset_delta: self.last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: self.count,
        };
        let records = std::mem::take(self).records;
        assemble(head, &records, Packing { codec, level: None })
    }
}

/// The same records under another codec; everything else of the head stays.
///
/// # Errors
/// As [`Batch::contents`].
pub fn recode(batch: &Batch<'_>, packing: Packing, bytes_max: usize) -> Result<Bytes, Damage> {
    let contents = batch.contents(bytes_max)?;
    Ok(assemble(*batch.head(), contents.octets(), packing))
}

fn assemble(head: Head, plain: &[u8], packing: Packing) -> Bytes {
    let codec = packing.codec;
    let packed = if codec == Codec::None { None } else { Some(packing.pack(plain)) };
    let body = packed.as_deref().unwrap_or(plain);
    let length = i32::try_from(HEAD_BYTES - LENGTH_END + body.len()).expect("a batch is below 2 GiB");
    let mut octets = [0; HEAD_BYTES];
    Head { length, attributes: head.attributes.with_codec(codec), ..head }.write(&mut octets);
    let mut out = BytesMut::with_capacity(HEAD_BYTES + body.len());
    out.extend_from_slice(&octets);
    out.extend_from_slice(body);
    seal(&mut out);
    out.freeze()
}

fn length(len: usize) -> i64 {
    i64::try_from(len).expect("memory is smaller")
}

fn nullable(out: &mut BytesMut, octets: Option<&[u8]>) {
    varint(out, octets.map_or(-1, |octets| length(octets.len())));
    out.extend_from_slice(octets.unwrap_or_default());
}

fn varint(out: &mut BytesMut, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.put_u8(left.to_le_bytes()[0] | 0x80);
        left >>= 7;
    }
    out.put_u8(left.to_le_bytes()[0]);
}
