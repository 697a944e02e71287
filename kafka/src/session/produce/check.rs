//! What a producer sends to one partition: checked as Kafka checks it, stamped or packed anew where the topic asks for it.
//!
//! Called for each partition of a produce request. All but two of the checks read only the head of a batch. Not here: what needs the partition
//! (numbers of producers, which the shard checks).

use crate::profile;
use crate::refuse::{Code, Fault};
use crate::session::produce::offset;
use crate::session::settings::Rules;
use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use stele_model::id::Now;
use stele_model::stream::{Batch as StreamBatch, Format, KeyMark, Producer};
use stele_record::batch::builder::recode;
use stele_record::batch::compression::Codec;
use stele_record::batch::{Batch, Damage, stamp_log_append_time};

/// First version that may carry Zstandard.
const ZSTD_VERSION_FIRST: i16 = 7;

/// What is wrong with a batch, and which of its records are to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) fault: Fault,
    pub(super) records: Vec<u32>,
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self { fault, records: Vec::new() }
    }
}

/// Checks what one partition is sent, and makes of it what is stored.
pub(super) fn check(records: &Bytes, rules: &Rules, version: i16, now: Now) -> Result<StreamBatch, Bad> {
    let invalid = |text: &str| Bad::from(Fault::new(Code::InvalidRecord, text));
    let corrupt = |damage: Damage| Bad::from(damaged(damage));
    let (batch, rest) = Batch::first(records).map_err(corrupt)?;
    // Octets behind it that are no whole batch are passed over and not stored.
    if !matches!(Batch::first(rest), Err(Damage::Short)) {
        return Err(invalid("there must be exactly one record batch for each partition"));
    }
    batch.verify().map_err(corrupt)?;
    let head = batch.head();
    let codec = head.attributes.codec().map_err(corrupt)?;
    if codec == Codec::Zstd && version < ZSTD_VERSION_FIRST {
        let text = "zstd needs produce version 7";
        return Err(Fault::new(Code::UnsupportedCompressionType, text).into());
    }
    if batch.bytes().len() > rules.batch_bytes_max as usize {
        let text = format!("a batch may have at most {} bytes in this topic", rules.batch_bytes_max);
        return Err(Fault::new(Code::MessageTooLarge, text).into());
    }
    let count = u32::try_from(head.count).ok().filter(|count| *count > 0);
    let count = count.filter(|_| head.count.checked_sub(1) == Some(head.last_offset_delta));
    let count = count.ok_or_else(|| invalid("the number of records is not that of the offsets"))?;
    batch.check_records().map_err(corrupt)?;
    if head.attributes.is_control() {
        return Err(invalid("clients may not write control batches"));
    }
    if head.attributes.is_transactional() {
        return Err(Fault::transactional().into());
    }
    if head.base_offset != 0 {
        return Err(invalid("the base offset of a batch that is sent must be 0"));
    }
    if !rules.log_append_time {
        timely(head.base_timestamp, head.max_timestamp, rules, now)?;
    }
    let keys = if rules.compact { keys(&batch)? } else { Vec::new() };
    let producer = producer(head)?;
    let mut bytes = records.slice_ref(batch.bytes());
    if let Some(wanted) = rules.codec.filter(|wanted| wanted.codec != codec) {
        bytes = recode(&batch, wanted, profile::UNPACKED_BYTES_MAX).map_err(corrupt)?;
    }
    let time_max_ms = if rules.log_append_time {
        let mut stamped = BytesMut::from(&bytes[..]);
        stamp_log_append_time(&mut stamped, offset(now.ms()));
        bytes = stamped.freeze();
        Some(now.ms())
    } else {
        u64::try_from(head.max_timestamp).ok()
    };
    Ok(StreamBatch { bytes, format: Format::KafkaBatch, count, time_max_ms, producer, keys })
}

/// Kafka's code for a batch that is not one: producers send those of [`Code::CorruptMessage`] again, and give the others up.
fn damaged(damage: Damage) -> Fault {
    let code = match damage {
        Damage::Magic(0 | 1) | Damage::Short | Damage::Codec(_) | Damage::Compressed | Damage::Record(_) => {
            Code::InvalidRecord
        }
        Damage::Magic(_) | Damage::Length(_) | Damage::Crc { .. } | Damage::TooLarge(_) => {
            Code::CorruptMessage
        }
    };
    Fault::new(code, format!("the batch is damaged: {damage:?}"))
}

fn timely(base: i64, max: i64, rules: &Rules, now: Now) -> Result<(), Bad> {
    let now = offset(now.ms());
    let early = base >= 0 && now.saturating_sub(base) > rules.before_ms;
    let late = max.saturating_sub(now) > rules.after_ms;
    if early || late {
        let text = format!("timestamps {base} to {max} are out of the topic's bounds at {now}");
        return Err(Fault::new(Code::InvalidTimestamp, text).into());
    }
    Ok(())
}

/// Who numbered the batch.
fn producer(head: &stele_record::batch::Head) -> Result<Option<Producer>, Bad> {
    let Ok(id) = u64::try_from(head.producer_id) else { return Ok(None) };
    match (u16::try_from(head.producer_epoch), u32::try_from(head.base_sequence)) {
        (Ok(epoch), Ok(sequence)) => Ok(Some(Producer { id, epoch, sequence })),
        _ => {
            let text = "a producer with an id needs an epoch and a sequence";
            Err(Fault::new(Code::InvalidRecord, text).into())
        }
    }
}

/// The keys of a compacted topic's records, each of which must have one.
fn keys(batch: &Batch<'_>) -> Result<Vec<KeyMark>, Bad> {
    let contents = batch.contents(profile::UNPACKED_BYTES_MAX).map_err(damaged)?;
    let mut keys = Vec::new();
    let mut missing = Vec::new();
    for (record, at) in contents.records().zip(0..) {
        let record = record.map_err(damaged)?;
        match record.key {
            Some(key) => keys.push(KeyMark { hash: key_hash(key), tombstone: record.value.is_none() }),
            None => missing.push(at),
        }
    }
    if missing.is_empty() {
        return Ok(keys);
    }
    let fault = Fault::new(Code::InvalidRecord, "Compacted topic cannot accept message without key");
    Err(Bad { fault, records: missing })
}

/// The first half of the key's SHA-256: two keys of one hash would be taken for the same, so nobody may be able to make such a pair.
fn key_hash(key: &[u8]) -> u128 {
    let sum = digest::digest(&digest::SHA256, key);
    u128::from_be_bytes(*sum.as_ref().first_chunk().expect("SHA-256 has 32 octets"))
}
