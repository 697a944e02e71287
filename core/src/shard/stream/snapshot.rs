//! Partitions in a snapshot, and back.
//!
//! Called by [`super::super::snapshot`]. What must hold: as there; a full chunk of an index is the very allocation that the index reads
//! from. Batches below the start may still stand in a chunk; restore passes them over. The layout stands in `docs/format-entries.md`.

use super::super::bytes::Input;
use super::due::bytes as due;
use super::{Shard, spec};
use crate::shelf::Shelved;
use crate::stream::Partition;
use crate::stream::dedupe::Dedupe;
use crate::stream::producers::{Known, Numbered, RECENT};
use bytes::{BufMut, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;
use stele_model::id::{Position, QueueId};

/// Kind of a partition's item.
pub(in crate::shard) const PARTITION: u8 = 5;
/// Kind of the item that counts the producers.
pub(in crate::shard) const PRODUCERS: u8 = 6;
/// Chunks shorter than this stand in a table; longer ones by themselves.
const CHUNK_BYTES_MIN: usize = 4 << 10;

impl Shelved for Partition {
    type Key = QueueId;

    fn write(&self, _: &QueueId, out: &mut Vec<u8>, chunks: &mut Vec<Bytes>) {
        put_partition(out, chunks, self);
        due::put_schedules(out, self);
    }
}

/// How many producers were given a number, if any.
pub(in crate::shard) fn put_last_producer(out: &mut Vec<u8>, count: u64) {
    if count > 0 {
        out.put_u8(PRODUCERS);
        out.put_u64_le(count);
    }
}

/// Keys, where there are any.
fn put_keys(out: &mut Vec<u8>, chunks: &mut Vec<Bytes>, partition: &Partition) {
    let Some(compaction) = &partition.compaction else { return };
    out.put_u64_le(compaction.since.0);
    out.put_u32_le(compaction.keys.pages().len() as u32);
    for page in compaction.keys.pages() {
        put_chunk(out, chunks, page);
    }
}

fn put_partition(out: &mut Vec<u8>, chunks: &mut Vec<Bytes>, partition: &Partition) {
    out.put_u8(PARTITION);
    spec::put(out, &partition.spec);
    if partition.is_volatile() {
        // After a restart it is as it was made.
        return put_partition_of(out, chunks, &Partition::new(Arc::clone(&partition.spec)));
    }
    put_partition_of(out, chunks, partition);
}

fn put_partition_of(out: &mut Vec<u8>, chunks: &mut Vec<Bytes>, partition: &Partition) {
    out.put_u64_le(partition.start.0);
    out.put_u64_le(partition.end.0);
    put_producers(out, partition);
    out.put_u32_le(partition.index.chunks().len() as u32);
    for (chunk, holes) in partition.index.chunks() {
        put_chunk(out, chunks, chunk);
        if partition.spec.settings.records.is_some() {
            out.put_u16_le(holes.len() as u16);
            holes.iter().for_each(|word| out.put_u64_le(*word));
        }
    }
    put_keys(out, chunks, partition);
    put_records(out, chunks, partition);
}

/// What a partition knows of single records, where it does.
fn put_records(out: &mut Vec<u8>, chunks: &mut Vec<Bytes>, partition: &Partition) {
    let Some(records) = &partition.records else { return };
    out.put_u64_le(records.last_ms);
    out.put_u8(u8::from(records.last_id.is_some()));
    if let Some(id) = &records.last_id {
        out.put_u16_le(id.len() as u16);
        out.put_slice(id);
    }
    let names = records.subjects.chunks();
    out.put_u32_le(names.len() as u32);
    names.into_iter().for_each(|chunk| put_chunk(out, chunks, chunk));
    let (gone, ids) = records.dedupe.chunks();
    let ids: Vec<Bytes> = ids.collect();
    out.put_u32_le(gone as u32);
    out.put_u32_le(ids.len() as u32);
    ids.into_iter().for_each(|chunk| put_chunk(out, chunks, chunk));
}

/// Reads what [`put_records`] wrote; the index is there.
fn read_records(
    partition: &mut Partition,
    input: &mut Input<'_>,
    chunks: &mut VecDeque<&Bytes>,
) -> Result<(), String> {
    let Some(records) = &mut partition.records else { return Ok(()) };
    records.last_ms = input.u64("time")?;
    if input.u8("id")? != 0 {
        let len = usize::from(input.u16("id")?);
        records.last_id = Some(Bytes::copy_from_slice(input.bytes(len, "id")?));
    }
    let names = (0..input.u32("subjects")?).map(|_| read_chunk(input, chunks)).collect::<Result<_, _>>()?;
    let gone = input.u32("ids")? as usize;
    let ids = (0..input.u32("ids")?).map(|_| read_chunk(input, chunks)).collect::<Result<_, _>>()?;
    partition.restore_records(names, Dedupe::restore(gone, ids)?)
}

/// A chunk in the table, or after it.
fn put_chunk(out: &mut Vec<u8>, chunks: &mut Vec<Bytes>, chunk: Bytes) {
    if chunk.len() < CHUNK_BYTES_MIN {
        out.put_u32_le(chunk.len() as u32);
        out.put_slice(&chunk);
    } else {
        out.put_u32_le(0);
        chunks.push(chunk);
    }
}

fn read_chunk(input: &mut Input<'_>, chunks: &mut VecDeque<&Bytes>) -> Result<Bytes, String> {
    match input.u32("chunk")? as usize {
        0 => Ok(chunks.pop_front().ok_or("lacks a chunk")?.clone()),
        len => Ok(Bytes::copy_from_slice(input.bytes(len, "chunk")?)),
    }
}

fn put_producers(out: &mut Vec<u8>, partition: &Partition) {
    let producers = partition.producers.iter();
    out.put_u32_le(producers.len() as u32);
    for (id, put_at, known) in producers {
        out.put_u64_le(id);
        out.put_u64_le(put_at);
        out.put_u64_le(known.used_ms);
        out.put_u16_le(known.epoch);
        for batch in &known.recent {
            out.put_u32_le(batch.sequence);
            out.put_u32_le(batch.count);
            out.put_u64_le(batch.first.0);
        }
    }
}

pub(in crate::shard) fn read_last_producer(shard: &mut Shard, input: &mut Input<'_>) -> Result<(), String> {
    shard.streams.producers = input.u64("producers")?;
    Ok(())
}

pub(in crate::shard) fn read_partition(
    shard: &mut Shard,
    input: &mut Input<'_>,
    chunks: &mut VecDeque<&Bytes>,
) -> Result<(), String> {
    let mut partition = Partition::new(Arc::new(spec::read(input)?));
    partition.start = Position(input.u64("start")?);
    partition.end = Position(input.u64("end")?);
    partition.next = partition.end;
    for _ in 0..input.u32("producers")? {
        let (id, put_at) = (input.u64("producer")?, input.u64("producer")?);
        let (used_ms, epoch) = (input.u64("producer")?, input.u16("producer")?);
        let mut recent = [Numbered::default(); RECENT];
        for batch in &mut recent {
            let (sequence, count) = (input.u32("producer")?, input.u32("producer")?);
            *batch = Numbered { sequence, count, first: Position(input.u64("producer")?) };
        }
        partition.producers.restore(id, put_at, Known { epoch, used_ms, recent })?;
    }
    for _ in 0..input.u32("chunks")? {
        let chunk = read_chunk(input, chunks)?;
        let words = if partition.spec.settings.records.is_some() { input.u16("holes")? } else { 0 };
        let holes = (0..words).map(|_| input.u64("holes")).collect::<Result<_, String>>()?;
        partition.index.restore(chunk, holes)?;
    }
    if let Some(compaction) = &mut partition.compaction {
        compaction.since = Position(input.u64("keys")?);
        for _ in 0..input.u32("keys")? {
            compaction.keys.restore(read_chunk(input, chunks)?)?;
        }
    }
    while partition.index.drop_below(partition.start, u32::MAX, |_| ()) {}
    read_records(&mut partition, input, chunks)?;
    for batch in partition.index.iter() {
        partition.bytes += u64::from(batch.len);
        shard.live.held(batch.place.lsn, u64::from(batch.len));
    }
    if let Some(compaction) = &mut partition.compaction {
        compaction.rebuild(&partition.index);
    }
    let last = partition.index.last().map_or(partition.start, |last| last.end());
    if last > partition.end || partition.start > partition.end {
        return Err(format!("has a partition that ends at {}, before its batches", partition.end));
    }
    shard.streams.partitions.insert(partition.spec.id, Box::new(partition));
    Ok(())
}
