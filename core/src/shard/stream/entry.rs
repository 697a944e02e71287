//! The bytes of entries about streams.
//!
//! Called by the verbs of streams (writing) and through [`super::super::entry`] (reading). The layout is a document first:
//! `docs/format-entries.md`. What must hold: append entries are readable for ever, others for one replay window (S35); reading borrows, is
//! bounded, and never panics.

use super::due::{AllCome, Come, bytes as due};
use super::spec;
use crate::shard::bytes::{Input, Runs, put_runs};
use crate::shard::entry::begin;
use crate::stream::compact::Step;
use bytes::BufMut;
use smallvec::SmallVec;
use stele_model::id::{Position, QueueId, Revision};
use stele_model::settle::Run;
use stele_model::stream::{Batch, Format, KeyMark, PartitionSpec, Producer};

/// Kinds of entries.
pub(in crate::shard) mod kind {
    pub(in crate::shard) const APPEND: u8 = 14;
    pub(in crate::shard) const PUT_PARTITION: u8 = 15;
    pub(in crate::shard) const TRIMMED: u8 = 16;
    pub(in crate::shard) const PRODUCER: u8 = 17;
    pub(in crate::shard) const PRODUCERS_GONE: u8 = 18;
    pub(in crate::shard) const COMPACTED: u8 = 19;
    pub(in crate::shard) const RECORDS_GONE: u8 = 20;
    pub(in crate::shard) const DUE: u8 = 21;
}

/// Bytes of an append entry before its parts.
pub(super) const APPEND_HEAD_BYTES: usize = 8;
/// Most bytes of a part's head, without its keys.
pub(super) const PART_HEAD_BYTES_MAX: usize = 52;

const TIME: u8 = 1;
const PRODUCER: u8 = 2;
const KEYS: u8 = 4;
/// Bytes of a key in a part: its hash, with bit 0 set for a tombstone.
pub(super) const KEY_BYTES: usize = 16;

/// One entry about streams, borrowed from the log.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::shard) enum StreamEntry<'a> {
    Append(Append<'a>),
    PutPartition { revision: Revision, spec: Box<PartitionSpec> },
    Trimmed { partition: QueueId, start: Position },
    Producer { number: u64 },
    ProducersGone { partition: QueueId, since_ms: u64 },
    Compacted { partition: QueueId, step: Step },
    RecordsGone { partition: QueueId, runs: Runs<'a> },
    Due(AllCome),
}

/// Batches and where they went.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::shard) struct Append<'a> {
    pub(super) parts: Vec<Part<'a>>,
    /// Offset of the first batch in the entry.
    pub(super) batches_at: u32,
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) partition: QueueId,
    pub(super) first: Position,
    pub(super) format: Format,
    pub(super) count: u32,
    pub(super) newest_ms: Option<u64>,
    pub(super) producer: Option<Producer>,
    keys: &'a [[u8; KEY_BYTES]],
    pub(super) bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// One for each record, or none.
    pub(super) fn keys(&self) -> impl ExactSizeIterator<Item = KeyMark> + use<'a> {
        self.keys.iter().map(|key| {
            let hash = u128::from_le_bytes(*key);
            KeyMark { hash: hash & !1, tombstone: hash & 1 != 0 }
        })
    }
}

/// Begins an append entry; then, for each part, [`put_part`]; then the batches.
pub(super) fn begin_append(out: &mut Vec<u8>, parts: u32) {
    begin(out, kind::APPEND, 0);
    out.put_u32_le(parts);
}

/// Appends the head of a part, with its keys if they are of use.
pub(super) fn put_part(out: &mut Vec<u8>, partition: QueueId, first: Position, batch: &Batch, keyed: bool) {
    let format = batch.format as u8;
    let flag = |is: bool, bit: u8| if is { bit } else { 0 };
    out.put_u64_le(partition.0);
    out.put_u64_le(first.0);
    out.put_u8(format);
    out.put_u8(
        flag(batch.time_max_ms.is_some(), TIME)
            | flag(batch.producer.is_some(), PRODUCER)
            | flag(keyed, KEYS),
    );
    out.put_u32_le(batch.count);
    out.put_u32_le(batch.bytes.len() as u32);
    if let Some(time) = batch.time_max_ms {
        out.put_u64_le(time);
    }
    if let Some(producer) = &batch.producer {
        out.put_u64_le(producer.id);
        out.put_u16_le(producer.epoch);
        out.put_u32_le(producer.sequence);
    }
    for key in batch.keys.iter().filter(|_| keyed) {
        out.put_u128_le(key.hash & !1 | u128::from(key.tombstone));
    }
}

pub(super) fn put_put_partition(out: &mut Vec<u8>, revision: Revision, of: &PartitionSpec) {
    begin(out, kind::PUT_PARTITION, 0);
    out.put_u64_le(revision.0);
    spec::put(out, of);
}

pub(super) fn put_trimmed(out: &mut Vec<u8>, partition: QueueId, start: Position) {
    begin(out, kind::TRIMMED, 0);
    out.put_u64_le(partition.0);
    out.put_u64_le(start.0);
}

pub(super) fn put_producer(out: &mut Vec<u8>, number: u64) {
    begin(out, kind::PRODUCER, 0);
    out.put_u64_le(number);
}

pub(super) fn put_producers_gone(out: &mut Vec<u8>, partition: QueueId, since_ms: u64) {
    begin(out, kind::PRODUCERS_GONE, 0);
    out.put_u64_le(partition.0);
    out.put_u64_le(since_ms);
}

pub(super) fn put_compacted(out: &mut Vec<u8>, partition: QueueId, step: Step) {
    begin(out, kind::COMPACTED, 0);
    out.put_u64_le(partition.0);
    out.put_u64_le(step.tombstones_below.0);
    out.put_u64_le(step.batches_below.0);
}

pub(super) fn put_records_gone(out: &mut Vec<u8>, partition: QueueId, runs: &[Run]) {
    begin(out, kind::RECORDS_GONE, 0);
    out.put_u64_le(partition.0);
    put_runs(out, runs);
}

/// Of the records of the move those that are logged.
pub(super) fn put_due(out: &mut Vec<u8>, of: &AllCome, logged: &[Come]) {
    begin(out, kind::DUE, 0);
    due::put_come(out, of, logged);
}

impl<'a> StreamEntry<'a> {
    /// Reads what follows the four bytes that every entry of `len` bytes begins with. `None`: it is not about streams.
    pub(in crate::shard) fn parse(
        kind: u8,
        len: usize,
        mut input: Input<'a>,
    ) -> Result<Option<Self>, String> {
        let entry = match kind {
            kind::RECORDS_GONE => {
                let partition = QueueId(input.u64("partition")?);
                return Ok(Some(Self::RecordsGone { partition, runs: input.runs()? }));
            }
            kind::APPEND => return append(len, input).map(|append| Some(Self::Append(append))),
            kind::PUT_PARTITION => {
                let revision = Revision(input.u64("revision")?);
                Self::PutPartition { revision, spec: Box::new(spec::read(&mut input)?) }
            }
            kind::TRIMMED => {
                let partition = QueueId(input.u64("partition")?);
                Self::Trimmed { partition, start: Position(input.u64("start")?) }
            }
            kind::PRODUCER => Self::Producer { number: input.u64("producer")? },
            kind::PRODUCERS_GONE => {
                let partition = QueueId(input.u64("partition")?);
                Self::ProducersGone { partition, since_ms: input.u64("time")? }
            }
            kind::COMPACTED => {
                let partition = QueueId(input.u64("partition")?);
                let tombstones_below = Position(input.u64("tombstones")?);
                let batches_below = Position(input.u64("batches")?);
                Self::Compacted { partition, step: Step { tombstones_below, batches_below } }
            }
            kind::DUE => Self::Due(due::read_come(&mut input)?),
            _ => return Ok(None),
        };
        input.end()?;
        Ok(Some(entry))
    }
}

fn append(len: usize, mut input: Input<'_>) -> Result<Append<'_>, String> {
    let count = input.u32("parts")?;
    let mut parts: Vec<Part<'_>> = Vec::new();
    let mut lens: SmallVec<[usize; 4]> = SmallVec::new();
    for _ in 0..count {
        let partition = QueueId(input.u64("part")?);
        let first = Position(input.u64("part")?);
        let format = match input.u8("format")? {
            1 => Format::Records,
            2 => Format::KafkaBatch,
            other => return Err(format!("has a batch of unknown format {other}")),
        };
        let flags = input.u8("flags")?;
        if flags & !(TIME | PRODUCER | KEYS) != 0 {
            return Err(format!("has a batch with unknown flags {flags:#x}"));
        }
        let count = input.u32("part")?;
        if count == 0 {
            return Err("has a batch of no records".to_owned());
        }
        lens.push(input.u32("part")? as usize);
        let newest_ms = (flags & TIME != 0).then(|| input.u64("time")).transpose()?;
        let producer = if flags & PRODUCER != 0 { Some(producer(&mut input)?) } else { None };
        let keys = if flags & KEYS != 0 { count as usize } else { 0 };
        let (keys, _) = input.bytes(keys.saturating_mul(KEY_BYTES), "keys")?.as_chunks::<KEY_BYTES>();
        parts.push(Part { partition, first, format, count, newest_ms, producer, keys, bytes: &[] });
    }
    let batches_at = (len - input.0.len()) as u32;
    for (part, len) in parts.iter_mut().zip(lens) {
        part.bytes = input.bytes(len, "batches")?;
    }
    input.end()?;
    Ok(Append { parts, batches_at })
}

fn producer(input: &mut Input<'_>) -> Result<Producer, String> {
    Ok(Producer {
        id: input.u64("producer")?,
        epoch: input.u16("producer")?,
        sequence: input.u32("producer")?,
    })
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
