//! The footer of a sealed segment: where its blocks stand, from when they are, and (promoted segments) where records went.
//!
//! Everything in it can be rebuilt by a scan of the segment, except the map of a promoted one. It stands behind the last
//! block; the manifest says at which page.

use super::fields::{Reader, Writer};
use super::page::{Page, padded, pages_for};
use super::{FORMAT_VERSION, Flaw, crc};
use stele_model::id::{Lsn, Place};

const MAGIC: [u8; 4] = *b"SLFT";
const HEAD_BYTES: usize = 64;
const INDEX_BYTES: usize = 4;
const MOVE_BYTES: usize = 24;

/// Where a moved record is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its name, which never changes.
    pub place: Place,
    /// Bytes of the record.
    pub len: u32,
    /// The block of the promoted segment that holds it, counted from 0.
    pub block: u32,
    /// Offset in that block's body.
    pub at: u32,
}

/// What a footer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Footer {
    /// Salt of the segment.
    pub salt: u64,
    /// First block; of the range it was made from in a promoted segment.
    pub first: Lsn,
    /// Last block, likewise; 0 in footers of early versions, which did not say it.
    pub last: Lsn,
    /// Earliest and latest time of its blocks, microseconds since the Unix epoch.
    pub time: (u64, u64),
    /// The page each block begins at, in order. In a log segment block `first + i` stands at `index[i]`.
    pub index: Vec<u32>,
    /// Where records went, sorted by place. Empty in a log segment.
    pub moves: Vec<Move>,
}

impl Footer {
    /// Pages of a footer with so many blocks and moves.
    #[must_use]
    pub const fn pages(blocks: usize, moves: usize) -> usize {
        pages_for(HEAD_BYTES + blocks * INDEX_BYTES + moves * MOVE_BYTES + 4)
    }

    /// The footer as pages.
    #[must_use]
    pub fn encode(&self) -> Vec<Page> {
        let body = self.index.len() * INDEX_BYTES + self.moves.len() * MOVE_BYTES;
        let mut bytes = vec![0; HEAD_BYTES + body + 4];
        let mut fields = Writer::new(&mut bytes);
        fields.bytes(MAGIC).u16(FORMAT_VERSION).u16(0).u64(self.salt).u64(self.first.0);
        fields.u64(self.time.0).u64(self.time.1).u32(count(self.index.len())).u32(count(self.moves.len()));
        fields.u64(self.last.0).bytes([0; HEAD_BYTES - 56]);
        for page in &self.index {
            fields.u32(*page);
        }
        for moved in &self.moves {
            fields.u64(moved.place.lsn.0).u32(moved.place.at).u32(moved.len).u32(moved.block).u32(moved.at);
        }
        let crc_at = bytes.len() - 4;
        let sum = crc(&bytes[..crc_at]);
        bytes[crc_at..].copy_from_slice(&sum.to_le_bytes());
        padded(&bytes)
    }

    /// How many pages the footer that begins with `bytes` has.
    ///
    /// # Errors
    /// [`Flaw::Short`], [`Flaw::Magic`], [`Flaw::Version`], [`Flaw::Flags`].
    pub fn pages_of(bytes: &[u8]) -> Result<usize, Flaw> {
        let bytes = bytes.get(..HEAD_BYTES).ok_or(Flaw::Short)?;
        let mut fields = Reader::new(bytes);
        if fields.bytes() != MAGIC {
            return Err(Flaw::Magic);
        }
        let (version, flags) = (fields.u16(), fields.u16());
        if version != FORMAT_VERSION {
            return Err(Flaw::Version(version));
        }
        if flags != 0 {
            return Err(Flaw::Flags(flags));
        }
        let _: [u8; 32] = fields.bytes();
        Ok(Self::pages(fields.u32() as usize, fields.u32() as usize))
    }

    /// Reads and checks a whole footer.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let pages = Self::pages_of(bytes)?;
        let bytes = bytes.get(..pages * super::page::PAGE_BYTES).ok_or(Flaw::Short)?;
        let mut fields = Reader::new(&bytes[8..]);
        let (salt, first, time) = (fields.u64(), Lsn(fields.u64()), (fields.u64(), fields.u64()));
        let (blocks, moves) = (fields.u32() as usize, fields.u32() as usize);
        let last = Lsn(fields.u64());
        let _: [u8; HEAD_BYTES - 56] = fields.bytes();
        let crc_at = HEAD_BYTES + blocks * INDEX_BYTES + moves * MOVE_BYTES;
        let sum: [u8; 4] = Reader::new(&bytes[crc_at..]).bytes();
        if crc(&bytes[..crc_at]).to_le_bytes() != sum {
            return Err(Flaw::Crc);
        }
        if bytes[crc_at + 4..].iter().any(|byte| *byte != 0) {
            return Err(Flaw::Padding);
        }
        let index = (0..blocks).map(|_| fields.u32()).collect();
        let moves = (0..moves)
            .map(|_| Move {
                place: Place { lsn: Lsn(fields.u64()), at: fields.u32() },
                len: fields.u32(),
                block: fields.u32(),
                at: fields.u32(),
            })
            .collect();
        Ok(Self { salt, first, last, time, index, moves })
    }

    /// Bytes it takes in memory, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        HEAD_BYTES + self.index.len() * INDEX_BYTES + self.moves.len() * MOVE_BYTES
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a segment holds fewer than 2^32 blocks or records")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::{bytes_of, bytes_of_mut};

    #[test]
    fn a_footer_reads_back_and_every_flipped_bit_is_detected() {
        let place = |lsn, at| Place { lsn: Lsn(lsn), at };
        let written = Footer {
            salt: 1,
            first: Lsn(5),
            last: Lsn(2004),
            time: (6, 7),
            index: (0..2000).map(|i| i * 2 + 1).collect(),
            moves: vec![
                Move { place: place(5, 0), len: 10, block: 0, at: 0 },
                Move { place: place(9, 4), len: 1, block: 1, at: 3 },
            ],
        };
        let mut pages = written.encode();
        assert_eq!(pages.len(), Footer::pages(2000, 2));
        assert_eq!(Footer::decode(bytes_of(&pages)).as_ref(), Ok(&written));
        for bit in 0..bytes_of(&pages).len() * 8 {
            bytes_of_mut(&mut pages)[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(bytes_of(&pages)).is_err(), "bit {bit}");
            bytes_of_mut(&mut pages)[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
