//! The blocks that memory keeps, so that a record that is read soon is never read from disk.
//!
//! Blocks are cut from larger buffers, so what is counted and let go is a *stretch* of neighbouring blocks. A stretch goes when
//! nothing in it is referred to any more; over the budget the oldest goes first, since the log has it too. Volatile pieces stay until
//! nothing refers to them: they are nowhere else.
//!
//! A reader's delivery may be on its way while the machine has already let go of the record (deliveries that need no settle). So
//! changes come in *waves*, handed over once everything that was decided before them has left; until its wave has come, a block or
//! piece is young and stays.

use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use stele_model::id::{Lsn, Place};
use stele_model::machine::VOLATILE;

/// Bytes of blocks that make one stretch: about what memory holds of a log that nobody reads any more.
const STRETCH_BYTES: usize = 256 << 10;

pub(super) struct Memory {
    bytes_max: usize,
    bytes: usize,
    /// Neighbours, oldest first.
    stretches: VecDeque<Stretch>,
    /// Blocks up to here are not young.
    grown: Lsn,
    volatile: BTreeMap<Lsn, Piece>,
    volatile_young: VecDeque<Lsn>,
}

struct Stretch {
    first: Lsn,
    count: u64,
    /// Empty once let go.
    blocks: Vec<Bytes>,
    bytes: usize,
    live: i64,
}

struct Piece {
    bytes: Bytes,
    live: i64,
}

/// What a machine let go of or took hold of, and how far the blocks and pieces had come by then.
pub(super) struct Wave {
    pub(super) through: Lsn,
    pub(super) volatile_through: Lsn,
    pub(super) changes: Vec<(Lsn, i64)>,
}

impl Memory {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            bytes: 0,
            stretches: VecDeque::new(),
            grown: Lsn(0),
            volatile: BTreeMap::new(),
            volatile_young: VecDeque::new(),
        }
    }

    pub(super) fn add(&mut self, lsn: Lsn, body: Bytes) {
        let len = body.len();
        let fits =
            self.stretches.back().is_some_and(|last| last.bytes + len <= STRETCH_BYTES && last.next() == lsn);
        if !fits {
            self.stretches.push_back(Stretch { first: lsn, count: 0, blocks: Vec::new(), bytes: 0, live: 0 });
        }
        if let Some(last) = self.stretches.back_mut() {
            last.blocks.push(body);
            last.count += 1;
            last.bytes += len;
        }
        self.bytes += len;
        self.shrink();
    }

    /// Another budget.
    pub(super) fn set_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.bytes > self.bytes_max && self.stretches.len() > 1 {
            self.drop_front();
        }
    }

    /// Volatile bytes become readable.
    pub(super) fn add_volatile(&mut self, piece: Lsn, bytes: Bytes) {
        self.volatile.insert(piece, Piece { bytes, live: 0 });
        self.volatile_young.push_back(piece);
    }

    pub(super) fn wave(&mut self, wave: &Wave) {
        for &(lsn, change) in &wave.changes {
            if lsn.0 & VOLATILE != 0 {
                self.change_volatile(lsn, change);
            } else if let Some(n) = self.stretch_of(lsn) {
                self.stretches[n].live += change;
                self.empty_if_dead(n);
            }
        }
        self.grown = self.grown.max(wave.through);
        while let Some(piece) = self.volatile_young.front().copied()
            && piece <= wave.volatile_through
        {
            self.volatile_young.pop_front();
            if self.volatile.get(&piece).is_some_and(|piece| piece.live <= 0) {
                self.volatile.remove(&piece);
            }
        }
        while self.stretches.len() > 1 && self.stretches.front().is_some_and(|first| self.dead(first)) {
            self.drop_front();
        }
    }

    /// The block's or piece's bytes.
    pub(super) fn block(&self, lsn: Lsn) -> Option<&Bytes> {
        if lsn.0 & VOLATILE != 0 {
            return self.volatile.get(&lsn).map(|piece| &piece.bytes);
        }
        let stretch = &self.stretches[self.stretch_of(lsn)?];
        stretch.blocks.get((lsn.0 - stretch.first.0) as usize)
    }

    pub(super) fn bytes(&self, place: Place, len: u32) -> Option<Bytes> {
        let block = self.block(place.lsn)?;
        let end = place.at.checked_add(len)? as usize;
        (end <= block.len()).then(|| block.slice(place.at as usize..end))
    }

    /// Bytes held for readers of logged records.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    fn change_volatile(&mut self, lsn: Lsn, change: i64) {
        let Some(piece) = self.volatile.get_mut(&lsn) else { return };
        piece.live += change;
        if piece.live <= 0 && self.volatile_young.front().is_none_or(|young| lsn < *young) {
            self.volatile.remove(&lsn);
        }
    }

    fn stretch_of(&self, lsn: Lsn) -> Option<usize> {
        let n = self.stretches.partition_point(|stretch| stretch.first <= lsn).checked_sub(1)?;
        (lsn < self.stretches[n].next()).then_some(n)
    }

    fn dead(&self, stretch: &Stretch) -> bool {
        stretch.live <= 0 && stretch.next().0 <= self.grown.0 + 1
    }

    /// A dead stretch in the middle keeps its place in the order, without its bytes. The last one may still grow.
    fn empty_if_dead(&mut self, n: usize) {
        if n + 1 < self.stretches.len() && self.dead(&self.stretches[n]) {
            let stretch = &mut self.stretches[n];
            self.bytes -= stretch.bytes;
            stretch.bytes = 0;
            stretch.blocks = Vec::new();
        }
    }

    fn drop_front(&mut self) {
        if let Some(first) = self.stretches.pop_front() {
            self.bytes -= first.bytes;
        }
    }
}

impl Stretch {
    fn next(&self) -> Lsn {
        Lsn(self.first.0 + self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(byte: u8) -> Bytes {
        Bytes::from(vec![byte; STRETCH_BYTES])
    }

    fn wave(through: u64, changes: &[(u64, i64)]) -> Wave {
        let changes = changes.iter().map(|&(lsn, change)| (Lsn(lsn), change)).collect();
        Wave { through: Lsn(through), volatile_through: Lsn(VOLATILE | through), changes }
    }

    #[test]
    fn a_block_stays_while_something_refers_to_it_and_goes_when_nothing_does() {
        let mut memory = Memory::new(usize::MAX);
        (1..=3).for_each(|lsn| memory.add(Lsn(lsn), body(lsn as u8)));
        memory.wave(&wave(3, &[(1, 10), (2, 10), (3, 10)]));
        assert_eq!(memory.held_bytes(), 3 * STRETCH_BYTES);
        memory.wave(&wave(3, &[(2, -10)]));
        assert!(memory.block(Lsn(2)).is_none() && memory.block(Lsn(1)).is_some());
        memory.wave(&wave(3, &[(1, -10)]));
        assert_eq!(memory.held_bytes(), STRETCH_BYTES);
        assert_eq!(memory.bytes(Place { lsn: Lsn(3), at: 5 }, 2).as_deref(), Some(&[3u8, 3][..]));
    }

    #[test]
    fn a_young_block_stays_although_nothing_refers_to_it() {
        let mut memory = Memory::new(usize::MAX);
        (1..=3).for_each(|lsn| memory.add(Lsn(lsn), body(0)));
        memory.wave(&wave(1, &[]));
        assert!(memory.block(Lsn(1)).is_none() && memory.block(Lsn(2)).is_some());
    }

    #[test]
    fn a_volatile_piece_goes_only_after_its_wave() {
        let mut memory = Memory::new(usize::MAX);
        memory.add_volatile(Lsn(VOLATILE | 1), body(1));
        memory.add_volatile(Lsn(VOLATILE | 2), body(2));
        memory.wave(&wave(1, &[(VOLATILE | 2, 5)]));
        assert!(memory.block(Lsn(VOLATILE | 1)).is_none() && memory.block(Lsn(VOLATILE | 2)).is_some());
        memory.wave(&wave(2, &[]));
        memory.wave(&wave(3, &[(VOLATILE | 2, -5)]));
        assert!(memory.block(Lsn(VOLATILE | 2)).is_none());
    }

    #[test]
    fn over_the_budget_the_oldest_goes_first() {
        let mut memory = Memory::new(2 * STRETCH_BYTES);
        (1..=4).for_each(|lsn| memory.add(Lsn(lsn), body(lsn as u8)));
        assert!(memory.block(Lsn(2)).is_none() && memory.block(Lsn(3)).is_some());
    }

    #[test]
    fn a_smaller_budget_lets_the_oldest_go_at_once() {
        let mut memory = Memory::new(usize::MAX);
        (1..=4).for_each(|lsn| memory.add(Lsn(lsn), body(lsn as u8)));
        memory.set_max(2 * STRETCH_BYTES);
        assert_eq!(memory.held_bytes(), 2 * STRETCH_BYTES);
        assert!(memory.block(Lsn(2)).is_none() && memory.block(Lsn(3)).is_some());
    }
}
