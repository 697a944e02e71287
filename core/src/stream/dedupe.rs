//! Ids of records, so that a second one with the same id is recognised (S27).
//!
//! Called by [`super::records`]. Ids are kept as 128-bit hashes in the order in which they came; a sealed stretch's memory *is* its snapshot
//! form. What must hold: an id is remembered for the stream's window, but of more than [`IDS_MAX`] the oldest are forgotten earlier; what is
//! forgotten follows from what is put and when, so a replay forgets the same.

use bytes::{BufMut, Bytes};
use foldhash::fast::FixedState;
use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;
use stele_model::id::Position;

/// Ids that a partition remembers at most: 4 Mi, about 300 MB with what it takes to find them.
pub(crate) const IDS_MAX: usize = 4 << 20;
/// Longest id, bytes.
pub(crate) const ID_BYTES_MAX: usize = 4 << 10;
/// Bytes of one id: hash, position, time in ms.
const ENTRY_BYTES: usize = 32;
/// Ids in a stretch.
const STRETCH: usize = 1024;
/// Ids that are forgotten when one comes: more than one, so that the table shrinks after a rush.
const FORGET_MAX: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct Dedupe {
    /// Position, and time in ms.
    by_id: BTreeMap<u128, (Position, u64)>,
    /// Stretches that are full, oldest first.
    sealed: VecDeque<Bytes>,
    growing: Vec<u8>,
    /// Ids at the head that are forgotten.
    gone: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u128,
    position: u64,
    came_ms: u64,
}

impl Dedupe {
    /// Where the record with this id is, if it came within the window.
    pub(crate) fn get(&self, id: &[u8], now_ms: u64, window_ms: u64) -> Option<Position> {
        let (position, came_ms) = *self.by_id.get(&hash(id))?;
        (came_ms.saturating_add(window_ms) > now_ms).then_some(position)
    }

    /// Remembers an id that is not remembered, or not within the window any more.
    pub(crate) fn put(&mut self, id: &[u8], position: Position, now_ms: u64, window_ms: u64) {
        for _ in 0..FORGET_MAX {
            let Some(oldest) = self.iter().next() else { break };
            if oldest.came_ms.saturating_add(window_ms) > now_ms && self.by_id.len() < IDS_MAX {
                break;
            }
            self.forget(oldest);
        }
        let entry = Entry { id: hash(id), position: position.0, came_ms: now_ms };
        entry.put(&mut self.growing);
        if self.growing.len() == STRETCH * ENTRY_BYTES {
            self.sealed.push_back(std::mem::take(&mut self.growing).into());
        }
        self.by_id.insert(entry.id, (position, now_ms));
    }

    /// All that are remembered, oldest first: position, hash and time.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Position, u128, u64)> + '_ {
        self.iter().map(|entry| (Position(entry.position), entry.id, entry.came_ms))
    }

    /// The stretches for a snapshot, and how many ids at their head are forgotten.
    pub(crate) fn chunks(&self) -> (usize, impl Iterator<Item = Bytes> + '_) {
        let growing = (!self.growing.is_empty()).then(|| Bytes::copy_from_slice(&self.growing));
        (self.gone, self.sealed.iter().cloned().chain(growing))
    }

    /// Takes up what a snapshot has.
    pub(crate) fn restore(gone: usize, chunks: Vec<Bytes>) -> Result<Self, String> {
        let whole = |chunk: &Bytes| chunk.len() == STRETCH * ENTRY_BYTES;
        let mut dedupe = Self { gone, ..Self::default() };
        let mut chunks = chunks.into_iter().peekable();
        while let Some(chunk) = chunks.next() {
            if whole(&chunk) {
                dedupe.sealed.push_back(chunk);
            } else if chunks.peek().is_none() && chunk.len().is_multiple_of(ENTRY_BYTES) {
                dedupe.growing = chunk.to_vec();
            } else {
                return Err("a stretch of ids does not add up".to_owned());
            }
        }
        let known = |entry: Entry| (entry.id, (Position(entry.position), entry.came_ms));
        dedupe.by_id = dedupe.iter().map(known).collect();
        Ok(dedupe)
    }

    fn forget(&mut self, oldest: Entry) {
        if self.by_id.get(&oldest.id).is_some_and(|(position, _)| position.0 == oldest.position) {
            self.by_id.remove(&oldest.id);
        }
        self.gone += 1;
        if self.gone == STRETCH && self.sealed.pop_front().is_some() {
            self.gone = 0;
        } else if self.gone * ENTRY_BYTES == self.growing.len() && self.sealed.is_empty() {
            self.growing.clear();
            self.gone = 0;
        }
    }

    fn iter(&self) -> impl Iterator<Item = Entry> + '_ {
        let chunks = self.sealed.iter().map(|chunk| &chunk[..]).chain([&self.growing[..]]);
        chunks.flat_map(|chunk| chunk.as_chunks::<ENTRY_BYTES>().0).skip(self.gone).map(Entry::read)
    }
}

impl Entry {
    fn put(self, out: &mut Vec<u8>) {
        out.put_u128_le(self.id);
        out.put_u64_le(self.position);
        out.put_u64_le(self.came_ms);
    }

    fn read(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let part = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
        Self { id: u128::from(part(0)) | u128::from(part(8)) << 64, position: part(16), came_ms: part(24) }
    }
}

/// The same on every machine. Two ids of one stream have the same one of 2^128 by chance only.
fn hash(id: &[u8]) -> u128 {
    let half = |seed| u128::from(FixedState::with_seed(seed).hash_one(id));
    half(1) << 64 | half(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_remembered_for_the_window_and_comes_back_from_a_snapshot() {
        let mut dedupe = Dedupe::default();
        for n in 0..5000u64 {
            dedupe.put(&n.to_le_bytes(), Position(n), n, 3000);
        }
        let check = |dedupe: &Dedupe| {
            for n in 0..5000u64 {
                let expected = (n + 3000 > 5000).then_some(Position(n));
                assert_eq!(dedupe.get(&n.to_le_bytes(), 5000, 3000), expected, "{n}");
            }
        };
        check(&dedupe);
        let (gone, chunks) = dedupe.chunks();
        let back = Dedupe::restore(gone, chunks.collect()).unwrap();
        check(&back);
        assert!(back.all().eq(dedupe.all()));
        assert!(dedupe.all().count() <= 3001, "others are forgotten");
    }

    #[test]
    fn an_id_that_comes_again_after_the_window_is_remembered_where_it_came_last() {
        let mut dedupe = Dedupe::default();
        dedupe.put(b"a", Position(1), 10, 5);
        assert_eq!(dedupe.get(b"a", 14, 5), Some(Position(1)));
        assert_eq!(dedupe.get(b"a", 15, 5), None);
        dedupe.put(b"a", Position(2), 15, 5);
        dedupe.put(b"b", Position(3), 16, 5);
        assert_eq!(dedupe.get(b"a", 16, 5), Some(Position(2)));
        assert_eq!(dedupe.all().count(), 2);
    }
}
