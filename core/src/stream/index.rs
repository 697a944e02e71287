//! Where the batches of a partition are: by position, by time, by block.
//!
//! Called by [`super::Partition`] and by the shard. Chunks of 8 KB, about 12 bytes a batch; an idle partition has one small one. What must
//! hold: batches come behind all others; those at the head leave in order, in steps that the caller bounds (S7); one taken out of the middle
//! costs a search and a bit, and every so often the encoding of its chunk anew. Searches by position or append time are binary; those by the producers' times, which have no order, look at
//! the head of every chunk: 1 ns each, so 0.2 ms for 100 million batches. Not here: what the numbers mean for readers.

use super::chunk::{Batches, Chunk, Stored};
use bytes::Bytes;
use std::collections::VecDeque;
use stele_model::id::{Lsn, Position};

/// Holes in the middle of a chunk that are left there, even if as few batches are. More than that, and more than there are batches, and
/// the chunk is written anew.
const HOLES_MAX: u32 = 64;
/// A chunk with fewer batches than this joins the one before it, if that has not many more.
const ALIVE_MIN: u32 = 64;

/// Positions that a cursor steps over rather than search: about as many batches as a search decodes.
const NEAR: u64 = 16;

/// The batches of a partition, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Index {
    chunks: VecDeque<Held>,
    /// Batches that are there.
    alive: u64,
}

/// A chunk, and what is asked of all of them in turn.
#[derive(Debug)]
struct Held {
    end: Position,
    alive: u32,
    /// Bytes of the batches that are there.
    bytes: u64,
    chunk: Box<Chunk>,
}

impl Held {
    fn new(chunk: Chunk) -> Self {
        let bytes = chunk.batches().map(|batch| u64::from(batch.len)).sum();
        Self { end: chunk.end(), alive: chunk.alive(), bytes, chunk: Box::new(chunk) }
    }
}

impl Index {
    /// Appends a batch behind all others.
    pub(crate) fn push(&mut self, batch: &Stored) {
        self.alive += 1;
        if let Some(last) = self.chunks.back_mut() {
            if last.chunk.has_room() {
                last.chunk.push(batch);
                last.end = batch.end();
                last.alive += 1;
                last.bytes += u64::from(batch.len);
                return;
            }
            last.chunk.seal();
            // The last one stays when all in it is gone, as long as it takes more.
            if last.alive == 0 {
                self.chunks.pop_back();
            }
        }
        self.chunks.push_back(Held::new(Chunk::new(batch)));
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.alive
    }

    /// How many there are with an end above `position`.
    pub(crate) fn count_from(&self, position: Position) -> u64 {
        let n = self.chunk_of(position);
        let Some(held) = self.chunks.get(n) else { return 0 };
        let here = u64::from(held.chunk.alive_from(position));
        // The shorter side is counted.
        if n > self.chunks.len() / 2 {
            return here + self.chunks.range(n + 1..).map(|held| u64::from(held.alive)).sum::<u64>();
        }
        let before: u64 = self.chunks.range(..=n).map(|held| u64::from(held.alive)).sum();
        self.alive - before + here
    }

    /// Bytes of the batches that end at or below `position`.
    pub(crate) fn bytes_below(&self, position: Position) -> u64 {
        let n = self.chunk_of(position);
        let before: u64 = self.chunks.range(..n).map(|held| held.bytes).sum();
        let here = self.chunks.get(n).into_iter().flat_map(|held| held.chunk.batches());
        let here = here.take_while(|batch| batch.end() <= position);
        before + here.map(|batch| u64::from(batch.len)).sum::<u64>()
    }

    /// There is one batch.
    pub(crate) fn is_single(&self) -> bool {
        self.alive == 1
    }

    pub(crate) fn first(&self) -> Option<Stored> {
        self.chunks.iter().find_map(|held| held.chunk.batches().next())
    }

    pub(crate) fn last(&self) -> Option<Stored> {
        self.chunks.iter().rev().find_map(|held| held.chunk.last())
    }

    /// The batch that holds `position`.
    pub(crate) fn get(&self, position: Position) -> Option<Stored> {
        let held = self.chunks.get(self.chunk_of(position))?;
        held.chunk.batches_from(position).next().filter(|batch| batch.first <= position)
    }

    /// To look up batches whose positions grow.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor { index: self, rest: Batches::default(), last: None }
    }

    /// When the last batch was appended; 0 if there is none.
    pub(crate) fn appended_ms(&self) -> u64 {
        self.chunks.back().map_or(0, |held| held.chunk.appended_ms())
    }

    /// All, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Stored> + '_ {
        self.chunks.iter().flat_map(|held| held.chunk.batches())
    }

    /// Those with an end above `position`, oldest first.
    pub(crate) fn from(&self, position: Position) -> impl Iterator<Item = Stored> + '_ {
        let n = self.chunk_of(position);
        let first = self.chunks.get(n).into_iter().flat_map(move |held| held.chunk.batches_from(position));
        first.chain(self.chunks.iter().skip(n + 1).flat_map(|held| held.chunk.batches()))
    }

    /// The first with an end above `from` that was appended at `ms` or later.
    pub(crate) fn appended_at(&self, from: Position, ms: u64) -> Option<Stored> {
        let n = self.chunks.partition_point(|held| held.end <= from || held.chunk.appended_ms() < ms);
        let mut batches = self.chunks.iter().skip(n).flat_map(|held| held.chunk.batches_from(from));
        batches.find(|batch| batch.appended_ms >= ms)
    }

    /// The first with an end above `from` and a newest time of `ms` or later.
    pub(crate) fn newest_at(&self, from: Position, ms: u64) -> Option<Stored> {
        let n = self.chunk_of(from);
        let fitting = self.chunks.iter().skip(n).filter(|held| held.chunk.newest_ms >= ms);
        fitting.flat_map(|held| held.chunk.batches_from(from)).find(|batch| batch.newest_ms >= ms)
    }

    /// The first that has the newest time of all with an end above `from`.
    pub(crate) fn newest(&self, from: Position) -> Option<Stored> {
        let n = self.chunk_of(from);
        // The first chunk may owe its newest time to what is below `from`, so it is read.
        let head = self.chunks.get(n)?.chunk.batches_from(from).map(|batch| batch.newest_ms).max();
        let others = self.chunks.iter().skip(n + 1).filter_map(|held| held.chunk.newest()).max();
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
        while let Some(held) = self.chunks.front_mut() {
            let (mut dropped, mut bytes) = (0, 0);
            let below = held.chunk.batches().take_while(|batch| batch.end() <= start);
            for batch in below.take(left as usize) {
                gone(&batch);
                dropped += 1;
                bytes += u64::from(batch.len);
            }
            (0..dropped).for_each(|_| held.chunk.drop_first());
            held.alive -= dropped;
            held.bytes -= bytes;
            self.alive -= u64::from(dropped);
            left -= dropped;
            if held.alive > 0 {
                break;
            }
            self.chunks.pop_front();
        }
        left == 0 && self.first().is_some_and(|batch| batch.end() <= start)
    }

    /// Takes out the batch that holds `position`.
    pub(crate) fn take(&mut self, position: Position) -> Option<Stored> {
        let n = self.chunk_of(position);
        let last = n + 1 == self.chunks.len();
        let held = self.chunks.get_mut(n)?;
        let batch = held.chunk.take(position)?;
        held.alive -= 1;
        held.bytes -= u64::from(batch.len);
        self.alive -= 1;
        if held.alive == 0 && !last {
            self.chunks.remove(n);
        } else if held.chunk.count() - held.chunk.gone - held.alive > held.alive.max(HOLES_MAX) {
            self.tidy(n);
        }
        Some(batch)
    }

    /// Writes a chunk anew without what is gone: behind what the one before it has, if both have little.
    fn tidy(&mut self, n: usize) {
        let last = n + 1 == self.chunks.len();
        let Some(held) = self.chunks.get(n) else { return };
        let before = n.checked_sub(1).and_then(|before| self.chunks.get(before));
        let joins = before.is_some_and(|before| !last && before.alive + held.alive <= 2 * ALIVE_MIN);
        let from = if joins { n - 1 } else { n };
        let mut batches = self.chunks.range(from..=n).flat_map(|held| held.chunk.batches());
        let Some(first) = batches.next() else { return };
        let mut kept = Chunk::new(&first);
        batches.for_each(|batch| kept.push(&batch));
        if !last {
            kept.seal();
        }
        self.chunks[from] = Held::new(kept);
        if joins {
            self.chunks.remove(n);
        }
    }

    /// How many of these batches, which are in order and there, stand in the first `chunks_max` chunks that hold any of them.
    pub(crate) fn within_chunks(&self, firsts: &[Position], chunks_max: usize) -> usize {
        let (mut chunks, mut end) = (0, Position(0));
        for (n, first) in firsts.iter().enumerate() {
            if *first >= end {
                end = self.chunks.get(self.chunk_of(*first)).map_or(Position(u64::MAX), |held| held.end);
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
            let n = self.chunk_of(*first);
            let Some(Held { end, alive, chunk, .. }) = self.chunks.get(n) else { return };
            let (these, others) = rest.split_at(rest.partition_point(|first| first < end));
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
            let (before, last) = (u64::from(*alive), n + 1 == self.chunks.len());
            match kept {
                Some(mut kept) => {
                    if !last {
                        kept.seal();
                    }
                    self.alive -= before - u64::from(kept.alive());
                    self.chunks[n] = Held::new(kept);
                }
                None => {
                    self.alive -= before;
                    self.chunks.remove(n);
                }
            }
        }
    }

    /// Batches in the blocks of `range`; chunks outside it are passed over.
    pub(crate) fn in_blocks(&self, range: (Lsn, Lsn)) -> impl Iterator<Item = Stored> + '_ {
        let from = self.chunks.partition_point(|held| held.chunk.blocks().1 < range.0);
        let chunks = self.chunks.iter().skip(from).take_while(move |held| held.chunk.blocks().0 <= range.1);
        chunks
            .flat_map(|held| held.chunk.batches())
            .filter(move |batch| (range.0..=range.1).contains(&batch.place.lsn))
    }

    /// Positions between these without a record, in a partition of single records: the first so many. Chunks without a hole are passed over.
    pub(crate) fn holes(&self, (from, end): (Position, Position), count_max: usize) -> Vec<Position> {
        let (mut holes, mut next) = (Vec::new(), from.0);
        let mut gap = |next: u64, to: u64| {
            holes.extend((next..to).take(count_max - holes.len()).map(Position));
            holes.len() == count_max
        };
        for held in self.chunks.iter().skip(self.chunk_of(from)) {
            let first = held.chunk.first();
            if first.0 == next && held.end.0 - first.0 == u64::from(held.alive) {
                next = held.end.0;
                continue;
            }
            for batch in held.chunk.batches_from(from) {
                if gap(next, batch.first.0.min(end.0)) || batch.first >= end {
                    return holes;
                }
                next = batch.end().0;
            }
        }
        gap(next, end.0);
        holes
    }

    /// The chunks' bytes for a snapshot, with the bits of those that are gone. Full ones are shared, not copied.
    pub(crate) fn chunks(&self) -> impl ExactSizeIterator<Item = (Bytes, &[u64])> + '_ {
        self.chunks.iter().map(|held| (held.chunk.to_bytes(), held.chunk.holes()))
    }

    /// Takes up a chunk of a snapshot behind the others.
    pub(crate) fn restore(&mut self, bytes: Bytes, holes: Vec<u64>) -> Result<(), String> {
        let mut chunk = Chunk::parse(bytes)?;
        let ordered = self.chunks.back().is_none_or(|Held { chunk: last, .. }| {
            last.end() <= chunk.first()
                && last.blocks().1 <= chunk.blocks().0
                && last.appended_ms() <= chunk.batches().next().map_or(0, |batch| batch.appended_ms)
        });
        if !ordered {
            return Err("chunks of a partition's index are out of order".to_owned());
        }
        chunk.restore_holes(holes)?;
        self.alive += u64::from(chunk.alive());
        self.chunks.push_back(Held::new(chunk));
        Ok(())
    }

    /// The chunk in which the first batch with an end above `position` stands, if it is there.
    fn chunk_of(&self, position: Position) -> usize {
        self.chunks.partition_point(|held| held.end <= position)
    }
}

/// Looks up batches whose positions grow: one that stands a little behind the last one costs no search.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    index: &'a Index,
    /// What follows the last one in its chunk.
    rest: Batches<'a>,
    last: Option<Stored>,
}

impl Cursor<'_> {
    /// The batch that holds `position`.
    pub(crate) fn get(&mut self, position: Position) -> Option<Stored> {
        let is_near = |last: &Stored| (last.first.0..last.end().0 + NEAR).contains(&position.0);
        let ends_above = |batch: &Stored| batch.end() > position;
        let near = self.last.filter(is_near);
        self.last = near.filter(ends_above).or_else(|| near.and_then(|_| self.rest.find(ends_above)));
        if self.last.is_none() {
            let held = self.index.chunks.get(self.index.chunk_of(position))?;
            self.rest = held.chunk.batches_from(position);
            self.last = self.rest.next();
        }
        self.last.filter(|batch| batch.first <= position)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
