//! Kafka's batches of records, format 2 (its only one since 0.11; the older two are refused): the bytes that producers send,
//! logs keep and consumers get. The words in here are Kafka's.
//!
//! | at | type | field |
//! |---|---|---|
//! | 0 | i64 | base offset |
//! | 8 | i32 | length of what follows this field |
//! | 12 | i32 | leader epoch |
//! | 16 | i8 | magic, 2 |
//! | 17 | u32 | CRC-32C of everything from 21 on |
//! | 21 | i16 | [`Attributes`] |
//! | 23 | i32 | last offset − base offset |
//! | 27 | i64 | base timestamp, ms |
//! | 35 | i64 | largest timestamp, ms |
//! | 43 | i64 | producer id, −1 if none |
//! | 51 | i16 | producer epoch |
//! | 53 | i32 | base sequence |
//! | 57 | i32 | number of records |
//! | 61 | bytes | the records, compressed together |
//!
//! The checksum covers neither base offset nor leader epoch, so both are stamped in place ([`stamp`]). Called by the Kafka dialect for
//! every produce request, and by whoever reads records for another dialect ([`records`]). What must hold: nothing panics on input,
//! decompression is bounded. Not here: which offset comes next.

pub mod builder;
pub mod compression;
pub mod crossing;
pub mod records;

use compression::Codec;
use crc_fast::CrcAlgorithm;

/// Octets before the records.
pub const HEAD_BYTES: usize = 61;
/// Octets before what the length counts.
pub const LENGTH_END: usize = 12;
/// Octets at the start of a batch that [`stamp`] may change, and those between them.
pub const STAMPED_BYTES: usize = 16;
/// Where the leader epoch stands.
const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const _: () = assert!(STAMPED_BYTES == EPOCH_AT + 4);
const CRC_AT: usize = 17;
/// Where the checksum begins to count.
const CRC_END: usize = 21;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
/// The only format.
pub const MAGIC: i8 = 2;

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// It ends early.
    Short,
    /// Its length does not fit its head.
    Length(i32),
    /// Another format.
    Magic(i8),
    /// The octets are not those that were sent.
    Crc {
        /// In the head.
        stated: u32,
        /// Of the octets.
        computed: u32,
    },
    /// The attributes name no codec.
    Codec(u8),
    /// The records cannot be decompressed.
    Compressed,
    /// Decompressed, the records would be larger than allowed, octets.
    TooLarge(usize),
    /// A record does not fit its length; what is wrong.
    Record(&'static str),
}

/// The bits of a batch's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const LOG_APPEND_TIME: i16 = 1 << 3;
    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;
    const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`Damage::Codec`] for a number that is none.
    pub fn codec(self) -> Result<Codec, Damage> {
        Codec::of(self.0.to_le_bytes()[0] & 0b111)
    }

    /// The timestamps are the log's, not the producer's.
    #[must_use]
    pub fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Part of a transaction.
    #[must_use]
    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Made by the broker: the end of a transaction.
    #[must_use]
    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// The base timestamp is the moment from which tombstones may go.
    #[must_use]
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !0b111 | codec as i16)
    }

    fn with_log_append_time(self) -> Self {
        Self(self.0 | Self::LOG_APPEND_TIME)
    }
}

/// The head of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Octets after the field itself.
    pub length: i32,
    /// Of the leader that took it; −1 if unknown.
    pub leader_epoch: i32,
    /// Over everything after it.
    pub crc: u32,
    /// Codec and kind.
    pub attributes: Attributes,
    /// Offset of the last record, from the first one's.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, ms; the others' stand relative to it.
    pub base_timestamp: i64,
    /// Largest timestamp, ms.
    pub max_timestamp: i64,
    /// −1: not an idempotent producer's.
    pub producer_id: i64,
    /// Incarnation of the producer.
    pub producer_epoch: i16,
    /// The producer's number of the first record, −1 if it has none.
    pub base_sequence: i32,
    /// Records in it.
    pub count: i32,
}

impl Head {
    /// Reads the head of the batch that `bytes` start with.
    ///
    /// # Errors
    /// [`Damage`] if it is short, of another format, or has an impossible length.
    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        // Older formats have their magic at the same place, and may be shorter than our head.
        let magic = bytes.get(MAGIC_AT).copied().ok_or(Damage::Short)?.cast_signed();
        if magic != MAGIC {
            return Err(Damage::Magic(magic));
        }
        let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(Damage::Short)?;
        let head = Self {
            base_offset: i64::from_be_bytes(field(head, 0)),
            length: i32::from_be_bytes(field(head, 8)),
            leader_epoch: i32::from_be_bytes(field(head, EPOCH_AT)),
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes: Attributes(i16::from_be_bytes(field(head, ATTRIBUTES_AT))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, MAX_TIMESTAMP_AT)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            count: i32::from_be_bytes(field(head, 57)),
        };
        let fits = usize::try_from(head.length).is_ok_and(|length| LENGTH_END + length >= HEAD_BYTES);
        if fits { Ok(head) } else { Err(Damage::Length(head.length)) }
    }

    /// Writes the head as it stands, its checksum included.
    fn write(&self, out: &mut [u8; HEAD_BYTES]) {
        put(out, 0, self.base_offset.to_be_bytes());
        put(out, 8, self.length.to_be_bytes());
        put(out, EPOCH_AT, self.leader_epoch.to_be_bytes());
        put(out, MAGIC_AT, MAGIC.to_be_bytes());
        put(out, CRC_AT, self.crc.to_be_bytes());
        put(out, ATTRIBUTES_AT, self.attributes.0.to_be_bytes());
        put(out, 23, self.last_offset_delta.to_be_bytes());
        put(out, 27, self.base_timestamp.to_be_bytes());
        put(out, MAX_TIMESTAMP_AT, self.max_timestamp.to_be_bytes());
        put(out, 43, self.producer_id.to_be_bytes());
        put(out, 51, self.producer_epoch.to_be_bytes());
        put(out, 53, self.base_sequence.to_be_bytes());
        put(out, 57, self.count.to_be_bytes());
    }

    /// Octets of the whole batch.
    #[must_use]
    pub fn bytes(&self) -> usize {
        LENGTH_END + usize::try_from(self.length).expect("parse has checked it")
    }

    /// Offset of the last record; saturates.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }
}

/// `N` octets of the head; `at` is a constant of this file.
fn field<const N: usize>(head: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    *head[at..].first_chunk().expect("every field lies in the head")
}

fn put<const N: usize>(head: &mut [u8; HEAD_BYTES], at: usize, value: [u8; N]) {
    head[at..at + N].copy_from_slice(&value);
}

/// A batch, borrowed from wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    head: Head,
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The batch that `bytes` start with, and what follows it. Its checksum is not looked at: see [`Self::verify`].
    ///
    /// # Errors
    /// As [`Head::parse`], or [`Damage::Short`] if it is not there whole.
    pub fn first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Damage> {
        let head = Head::parse(bytes)?;
        let (bytes, rest) = bytes.split_at_checked(head.bytes()).ok_or(Damage::Short)?;
        Ok((Self { head, bytes }, rest))
    }

    /// Its head.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The records, compressed as they are.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEAD_BYTES..).unwrap_or_default()
    }

    /// Whether the octets are those that the checksum was made of.
    ///
    /// # Errors
    /// [`Damage::Crc`].
    pub fn verify(&self) -> Result<(), Damage> {
        let computed = crc(self.bytes);
        let stated = self.head.crc;
        if stated == computed { Ok(()) } else { Err(Damage::Crc { stated, computed }) }
    }
}

/// The checksum of a batch: CRC-32C (Castagnoli) from the attributes on.
fn crc(batch: &[u8]) -> u32 {
    let counted = batch.get(CRC_END..).unwrap_or_default();
    let sum = crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, counted);
    u32::try_from(sum).expect("a checksum of 32 bits")
}

/// Puts offset and epoch into the start of a batch. The checksum does not cover them.
pub fn stamp(start: &mut [u8; STAMPED_BYTES], base_offset: i64, leader_epoch: i32) {
    start[..8].copy_from_slice(&base_offset.to_be_bytes());
    start[EPOCH_AT..].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Replaces the producer's timestamps by the log's: largest timestamp and attribute change, and with them the checksum.
///
/// # Panics
/// If `batch` is shorter than a head.
pub fn stamp_log_append_time(batch: &mut [u8], timestamp_ms: i64) {
    let head: &mut [u8; HEAD_BYTES] = batch.first_chunk_mut().expect("a whole batch");
    let attributes = Attributes(i16::from_be_bytes(field(head, ATTRIBUTES_AT))).with_log_append_time();
    put(head, ATTRIBUTES_AT, attributes.0.to_be_bytes());
    put(head, MAX_TIMESTAMP_AT, timestamp_ms.to_be_bytes());
    seal(batch);
}

/// Writes the checksum of a whole batch.
fn seal(batch: &mut [u8]) {
    let sum = crc(batch);
    let head: &mut [u8; HEAD_BYTES] = batch.first_chunk_mut().expect("a whole batch");
    put(head, CRC_AT, sum.to_be_bytes());
}

#[cfg(test)]
mod tests;
