//! Joining batches that were found to their bytes: reads and searches of streams.
//!
//! What must hold: a block that memory holds is named once for neighbouring batches and never copied; what was fetched stands in memory of
//! its own, batch by batch.

use bytes::Bytes;
use stele_model::id::{Lsn, Place};
use stele_model::stream::{Found, FoundPart, FoundPosition, PartResult, ReadBatch, ReadPart, Sought};

/// Where the batches of a read are, in order.
pub(super) fn places_of_read(parts: &[PartResult<FoundPart>]) -> Vec<(Place, u32)> {
    let found = parts.iter().flatten().flat_map(|part| &part.batches);
    found.map(|batch| (batch.place, batch.len)).collect()
}

/// Where the batches of a search are, in order.
pub(super) fn places_of_search(parts: &[PartResult<FoundPosition>]) -> Vec<(Place, u32)> {
    let found = parts.iter().flatten().filter_map(|part| part.batch.as_ref());
    found.map(|batch| (batch.place, batch.len)).collect()
}

/// The hot path: every block is in memory, and shared once for neighbours. `None`: one is not.
pub(super) fn read_from_memory<'m>(
    parts: &[PartResult<FoundPart>],
    block: &impl Fn(Lsn) -> Option<&'m Bytes>,
) -> Option<Vec<PartResult<ReadPart>>> {
    parts.iter().map(|part| part_from_memory(part, block)).collect()
}

fn part_from_memory<'m>(
    part: &PartResult<FoundPart>,
    block: &impl Fn(Lsn) -> Option<&'m Bytes>,
) -> Option<PartResult<ReadPart>> {
    let found = match part {
        Ok(found) => found,
        Err(refusal) => return Some(Err(refusal.clone())),
    };
    let mut blocks: Vec<Bytes> = Vec::new();
    let mut batches = Vec::with_capacity(found.batches.len());
    let mut last = None;
    for batch in &found.batches {
        if last != Some(batch.place.lsn) {
            blocks.push(block(batch.place.lsn)?.clone());
            last = Some(batch.place.lsn);
        }
        batches.push(read_batch(batch, blocks.len() as u32 - 1, batch.place.at));
    }
    Some(Ok(ReadPart { ends: found.ends, blocks, batches, aborted: found.aborted.clone() }))
}

/// The same from the batches' own bytes, in order.
pub(super) fn read_from_bytes(
    parts: Vec<PartResult<FoundPart>>,
    bytes: Vec<Bytes>,
) -> Vec<PartResult<ReadPart>> {
    let mut bytes = bytes.into_iter();
    let mut join = |found: FoundPart| {
        let blocks: Vec<Bytes> = bytes.by_ref().take(found.batches.len()).collect();
        let each = found.batches.iter().enumerate();
        let batches = each.map(|(n, batch)| read_batch(batch, n as u32, 0)).collect();
        ReadPart { ends: found.ends, blocks, batches, aborted: found.aborted }
    };
    parts.into_iter().map(|part| part.map(&mut join)).collect()
}

/// A search's answer with the batches' bytes, in order.
pub(super) fn sought(parts: Vec<PartResult<FoundPosition>>, bytes: Vec<Bytes>) -> Vec<PartResult<Sought>> {
    let mut bytes = bytes.into_iter();
    let mut join = |found: FoundPosition| {
        let batch = found.batch.and_then(|batch| Some((read_batch(&batch, 0, 0), bytes.next()?)));
        Sought { ends: found.ends, position: found.position, batch }
    };
    parts.into_iter().map(|part| part.map(&mut join)).collect()
}

fn read_batch(of: &Found, block: u32, at: u32) -> ReadBatch {
    ReadBatch {
        block,
        at,
        len: of.len,
        format: of.format,
        first: of.first,
        count: of.count,
        epoch: of.epoch,
        appended_ms: of.appended.ms(),
    }
}
