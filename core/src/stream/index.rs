//! Where the batches of a partition are: by position, by time, by block.
//!
//! Called by [`super::Partition`] and by the shard. Chunks of 8 KB, about 12 bytes a batch; an idle partition has one small one. What must
//! hold: batches come behind all others; those at the head leave in order, in steps that the caller bounds (S7); a hole in the middle
//! costs one chunk's encoding. Searches by position or append time are binary; those by the producers' times, which have no order, look at
//! the head of every chunk: 1 ns each, so 0.2 ms for 100 million batches. Not here: what the numbers mean for readers.

use super::chunk::{Chunk, Stored};
use bytes::Bytes;
use std::collections::VecDeque;
use stele_model::id::{Lsn, Position};

/// The batches of a partition, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Index {
    chunks: VecDeque<Box<Chunk>>,
}

impl Index {
    /// Appends a batch behind all others.
    pub(crate) fn push(&mut self, batch: &Stored) {
        if let Some(last) = self.chunks.back_mut() {
            if last.has_room() {
                return last.push(batch);
            }
            last.seal();
        }
        self.chunks.push_back(Box::new(Chunk::new(batch)));
    }

    /// There is one batch.
    pub(crate) fn is_single(&self) -> bool {
        self.chunks.len() == 1 && self.chunks.front().is_some_and(|chunk| chunk.count() == chunk.gone + 1)
    }

    pub(crate) fn first(&self) -> Option<Stored> {
        self.chunks.front().and_then(|chunk| chunk.batches().next())
    }

    pub(crate) fn last(&self) -> Option<Stored> {
        let last = self.chunks.back()?;
        last.batches_from(Position(last.end().0.saturating_sub(1))).last()
    }

    /// When the last batch was appended; 0 if there is none.
    pub(crate) fn appended_ms(&self) -> u64 {
        self.chunks.back().map_or(0, |chunk| chunk.appended_ms())
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Stored> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.batches())
    }

    /// Those with an end above `position`, oldest first.
    pub(crate) fn from(&self, position: Position) -> impl Iterator<Item = Stored> + '_ {
        let n = self.chunks.partition_point(|chunk| chunk.end() <= position);
        let first = self.chunks.get(n).into_iter().flat_map(move |chunk| chunk.batches_from(position));
        first.chain(self.chunks.iter().skip(n + 1).flat_map(|chunk| chunk.batches()))
    }

    /// The first with an end above `from` that was appended at `ms` or later.
    pub(crate) fn appended_at(&self, from: Position, ms: u64) -> Option<Stored> {
        let n = self.chunks.partition_point(|chunk| chunk.end() <= from || chunk.appended_ms() < ms);
        let mut batches = self.chunks.get(n)?.batches_from(from);
        batches.find(|batch| batch.appended_ms >= ms)
    }

    /// The first with an end above `from` and a newest time of `ms` or later.
    pub(crate) fn newest_at(&self, from: Position, ms: u64) -> Option<Stored> {
        let n = self.chunks.partition_point(|chunk| chunk.end() <= from);
        let fitting = self.chunks.iter().skip(n).filter(|chunk| chunk.newest_ms >= ms);
        fitting.flat_map(|chunk| chunk.batches_from(from)).find(|batch| batch.newest_ms >= ms)
    }

    /// The first that has the newest time of all with an end above `from`.
    pub(crate) fn newest(&self, from: Position) -> Option<Stored> {
        let n = self.chunks.partition_point(|chunk| chunk.end() <= from);
        // The first chunk may owe its newest time to what is below `from`, so it is read.
        let head = self.chunks.get(n)?.batches_from(from).map(|batch| batch.newest_ms).max();
        let others = self.chunks.iter().skip(n + 1).map(|chunk| chunk.newest_ms).max();
        self.newest_at(from, head.max(others)?)
    }

    /// Lets go of up to `batches_max` batches that end at or below `start`, each told to `gone`. `true`: there are more.
    pub(crate) fn drop_below(
        &mut self,
        start: Position,
        batches_max: u32,
        mut gone: impl FnMut(&Stored),
    ) -> bool {
        let mut left = batches_max;
        while let Some(chunk) = self.chunks.front_mut() {
            let mut dropped = 0;
            let below = chunk.batches().take_while(|batch| batch.end() <= start);
            for batch in below.take(left as usize) {
                gone(&batch);
                dropped += 1;
            }
            chunk.gone += dropped;
            left -= dropped;
            if chunk.gone < chunk.count() {
                break;
            }
            self.chunks.pop_front();
        }
        left == 0 && self.first().is_some_and(|batch| batch.end() <= start)
    }

    /// How many of these batches, which are in order and there, stand in the first `chunks_max` chunks that hold any of them.
    pub(crate) fn within_chunks(&self, firsts: &[Position], chunks_max: usize) -> usize {
        let (mut chunks, mut end) = (0, Position(0));
        for (n, first) in firsts.iter().enumerate() {
            if *first >= end {
                let at = self.chunks.partition_point(|chunk| chunk.end() <= *first);
                end = self.chunks.get(at).map_or(Position(u64::MAX), |chunk| chunk.end());
                chunks += 1;
                if chunks > chunks_max {
                    return n;
                }
            }
        }
        firsts.len()
    }

    /// Takes out the batches that begin at these positions, which are in order and all there. Each chunk they stand in is written anew.
    pub(crate) fn remove(&mut self, firsts: &[Position], mut gone: impl FnMut(&Stored)) {
        let mut rest = firsts;
        while let Some(first) = rest.first() {
            let n = self.chunks.partition_point(|chunk| chunk.end() <= *first);
            let Some(chunk) = self.chunks.get(n) else { return };
            let (these, others) = rest.split_at(rest.partition_point(|first| *first < chunk.end()));
            rest = others;
            let mut kept: Option<Chunk> = None;
            for batch in chunk.batches() {
                if these.binary_search(&batch.first).is_ok() {
                    gone(&batch);
                    continue;
                }
                match &mut kept {
                    Some(kept) => kept.push(&batch),
                    None => kept = Some(Chunk::new(&batch)),
                }
            }
            let last = n + 1 == self.chunks.len();
            match kept {
                Some(mut kept) => {
                    if !last {
                        kept.seal();
                    }
                    *self.chunks[n] = kept;
                }
                None => {
                    self.chunks.remove(n);
                }
            }
        }
    }

    /// Batches in the blocks of `range`; chunks outside it are passed over.
    pub(crate) fn in_blocks(&self, range: (Lsn, Lsn)) -> impl Iterator<Item = Stored> + '_ {
        let from = self.chunks.partition_point(|chunk| chunk.blocks().1 < range.0);
        let chunks = self.chunks.iter().skip(from).take_while(move |chunk| chunk.blocks().0 <= range.1);
        chunks
            .flat_map(|chunk| chunk.batches())
            .filter(move |batch| (range.0..=range.1).contains(&batch.place.lsn))
    }

    /// The chunks' bytes for a snapshot. Full ones are shared, not copied.
    pub(crate) fn chunks(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        self.chunks.iter().map(|chunk| chunk.to_bytes())
    }

    /// Takes up a chunk of a snapshot behind the others.
    pub(crate) fn restore(&mut self, bytes: Bytes) -> Result<(), String> {
        let chunk = Chunk::parse(bytes)?;
        let ordered = self.chunks.back().is_none_or(|last| {
            last.end() <= chunk.first()
                && last.blocks().1 <= chunk.blocks().0
                && last.appended_ms() <= chunk.batches().next().map_or(0, |batch| batch.appended_ms)
        });
        if !ordered {
            return Err("chunks of a partition's index are out of order".to_owned());
        }
        self.chunks.push_back(Box::new(chunk));
        Ok(())
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
