//! The positions of one subject's records, in order.
//!
//! Called by [`super::Subjects`]. One position costs nothing beside its subject (a key of a key-value store with one value), many cost about
//! four bytes each. What must hold: positions come behind all others; each of push, removal and search moves or looks at one block, and
//! counting adds up blocks.

use std::collections::VecDeque;
use stele_model::id::Position;

/// Positions in one block.
const BLOCK_MAX: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(crate) enum Positions {
    /// None.
    #[default]
    None,
    One(u64),
    Few(Box<Block>),
    Many(Box<Blocks>),
}

/// Neighbours, each by its distance from the first one that ever was here.
#[derive(Debug, Default)]
pub(crate) struct Block {
    base: u64,
    offsets: Vec<u32>,
}

/// Many, in blocks that are never empty.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    count: u64,
    blocks: VecDeque<Block>,
}

impl Block {
    fn new(base: u64) -> Self {
        Self { base, offsets: vec![0] }
    }

    fn first(&self) -> u64 {
        self.base + self.offsets.first().copied().map_or(0, u64::from)
    }

    fn last(&self) -> u64 {
        self.base + self.offsets.last().copied().map_or(0, u64::from)
    }

    /// `false`: it is full, or the position too far away.
    fn push(&mut self, position: u64) -> bool {
        let offset = u32::try_from(position - self.base).ok().filter(|_| self.offsets.len() < BLOCK_MAX);
        self.offsets.extend(offset);
        offset.is_some()
    }

    /// Index of the first one at `from` or behind it.
    fn at(&self, from: u64) -> usize {
        self.offsets.partition_point(|offset| self.base + u64::from(*offset) < from)
    }

    fn get(&self, at: usize) -> Option<u64> {
        self.offsets.get(at).map(|offset| self.base + u64::from(*offset))
    }

    fn remove(&mut self, position: u64) -> bool {
        let at = self.at(position);
        let there = self.get(at) == Some(position);
        if there {
            self.offsets.remove(at);
        }
        there
    }
}

impl Positions {
    /// Adds one behind all others.
    pub(super) fn push(&mut self, position: Position) {
        let position = position.0;
        match self {
            Self::None => *self = Self::One(position),
            Self::One(first) => {
                let mut block = Block::new(*first);
                *self = if block.push(position) {
                    Self::Few(Box::new(block))
                } else {
                    Self::of_blocks([block, Block::new(position)])
                };
            }
            Self::Few(block) => {
                if !block.push(position) {
                    let full = std::mem::take(&mut **block);
                    *self = Self::of_blocks([full, Block::new(position)]);
                }
            }
            Self::Many(many) => {
                many.count += 1;
                if !many.blocks.back_mut().is_some_and(|last| last.push(position)) {
                    many.blocks.push_back(Block::new(position));
                }
            }
        }
    }

    /// Takes one out; `false`: it is not there.
    pub(super) fn remove(&mut self, position: Position) -> bool {
        let position = position.0;
        match self {
            Self::None => false,
            Self::One(only) => {
                let there = *only == position;
                if there {
                    *self = Self::None;
                }
                there
            }
            Self::Few(block) => {
                let there = block.remove(position);
                if let [only] = block.offsets[..] {
                    *self = Self::One(block.base + u64::from(only));
                }
                there
            }
            Self::Many(many) => {
                let at = many.block_of(position);
                let Some(block) = many.blocks.get_mut(at) else { return false };
                let there = block.remove(position);
                if block.offsets.is_empty() {
                    many.blocks.remove(at);
                }
                many.count -= u64::from(there);
                if many.blocks.len() == 1
                    && let Some(last) = many.blocks.pop_front()
                {
                    let only = (last.offsets.len() == 1).then(|| last.first());
                    *self = only.map_or_else(|| Self::Few(Box::new(last)), Self::One);
                }
                there
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Few(block) => block.offsets.len() as u64,
            Self::Many(many) => many.count,
        }
    }

    /// How many at `from` or behind it.
    pub(crate) fn count_from(&self, from: Position) -> u64 {
        match self {
            Self::None => 0,
            Self::One(only) => u64::from(*only >= from.0),
            Self::Few(block) => (block.offsets.len() - block.at(from.0)) as u64,
            Self::Many(many) => {
                let at = many.block_of(from.0);
                let Some(block) = many.blocks.get(at) else { return 0 };
                let here = (block.offsets.len() - block.at(from.0)) as u64;
                // The shorter side is counted.
                if at < many.blocks.len() / 2 {
                    let before: u64 = many.blocks.range(..=at).map(|block| block.offsets.len() as u64).sum();
                    return many.count - before + here;
                }
                here + many.blocks.range(at + 1..).map(|block| block.offsets.len() as u64).sum::<u64>()
            }
        }
    }

    pub(crate) fn last(&self) -> Option<Position> {
        let last = match self {
            Self::None => None,
            Self::One(only) => Some(*only),
            Self::Few(block) => Some(block.last()),
            Self::Many(many) => many.blocks.back().map(Block::last),
        };
        last.map(Position)
    }

    /// The first one at `from` or behind it.
    pub(crate) fn next(&self, from: Position) -> Option<Position> {
        let next = match self {
            Self::None => None,
            Self::One(only) => Some(*only).filter(|only| *only >= from.0),
            Self::Few(block) => block.get(block.at(from.0)),
            Self::Many(many) => {
                let block = many.blocks.get(many.block_of(from.0));
                block.and_then(|block| block.get(block.at(from.0)))
            }
        };
        next.map(Position)
    }

    /// The last one below `end`.
    pub(crate) fn before(&self, end: Position) -> Option<Position> {
        let before = match self {
            Self::None => None,
            Self::One(only) => Some(*only).filter(|only| *only < end.0),
            Self::Few(block) => block.at(end.0).checked_sub(1).and_then(|at| block.get(at)),
            Self::Many(many) => {
                let at = many.block_of(end.0);
                let here = many.blocks.get(at);
                let here = here.and_then(|block| block.get(block.at(end.0).checked_sub(1)?));
                here.or_else(|| many.blocks.get(at.checked_sub(1)?).map(Block::last))
            }
        };
        before.map(Position)
    }

    fn of_blocks(blocks: [Block; 2]) -> Self {
        let count = blocks.iter().map(|block| block.offsets.len() as u64).sum();
        Self::Many(Box::new(Blocks { count, blocks: blocks.into() }))
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let of_block = |block: &Block| size_of::<Block>() + 4 * block.offsets.capacity();
        match self {
            Self::None | Self::One(_) => 0,
            Self::Few(block) => of_block(block),
            Self::Many(many) => size_of::<Blocks>() + many.blocks.iter().map(of_block).sum::<usize>(),
        }
    }
}

impl Blocks {
    /// The block in which the first position at `from` or behind it stands, if there is one.
    fn block_of(&self, from: u64) -> usize {
        self.blocks.partition_point(|block| block.last() < from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn positions_do_what_a_set_does(
            steps in prop::collection::vec((0..4u8, 0..5000u64), 0..4000), far in any::<bool>(),
            probes in prop::collection::vec(0..12_000u64, 1..20),
        ) {
            let (mut positions, mut set, mut last) = (Positions::default(), BTreeSet::new(), 0);
            for (what, n) in steps {
                if what > 0 {
                    last += 1 + n % 3 + if far && n == 7 { 1 << 33 } else { 0 };
                    positions.push(Position(last));
                    set.insert(last);
                } else {
                    let at = set.iter().nth(n as usize % set.len().max(1)).copied().unwrap_or(n);
                    prop_assert_eq!(positions.remove(Position(at)), set.remove(&at));
                    prop_assert!(!positions.remove(Position(at)));
                }
            }
            prop_assert_eq!(positions.count(), set.len() as u64);
            prop_assert_eq!(positions.last(), set.last().copied().map(Position));
            for from in probes {
                let at = Position(from);
                prop_assert_eq!(positions.count_from(at), set.range(from..).count() as u64);
                prop_assert_eq!(positions.next(at), set.range(from..).next().copied().map(Position));
                prop_assert_eq!(positions.before(at), set.range(..from).next_back().copied().map(Position));
            }
        }
    }
}
