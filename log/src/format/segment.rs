//! The first page of a segment file, and the salt that tells its blocks from those of the file's earlier lives.

use super::fields::{Reader, Writer};
use super::page::{PAGE_BYTES, Page};
use super::{FORMAT_VERSION, Flaw, crc};
use stele_model::id::Lsn;

const MAGIC: [u8; 4] = *b"SLSG";
const FIELDS_BYTES: usize = 80;
const CRC_AT: usize = PAGE_BYTES - 4;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Blocks as they were appended.
    Log,
    /// Records that survived in other segments, moved here.
    Promoted,
}

impl Kind {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Log => 0,
            Self::Promoted => 1,
        }
    }

    pub(crate) fn of(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Log),
            1 => Some(Self::Promoted),
            _ => None,
        }
    }
}

/// The header page of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHead {
    /// What it holds.
    pub kind: Kind,
    /// The shard whose log it belongs to.
    pub shard: u16,
    /// The log's identity: drawn at random when the log was created.
    pub identity: u64,
    /// Number of the segment, never used again in this log.
    pub number: u64,
    /// See [`salt`].
    pub salt: u64,
    /// How often the log had been recovered when the segment was begun.
    pub epoch: u64,
    /// The first block in it; in a promoted one the first block of the range it was made from.
    pub first: Lsn,
    /// The chain its first block continues.
    pub chain: u32,
}

/// The salt of a segment's incarnation: as good as random, yet known without the header page, so that blocks behind a damaged
/// header page are still recognized.
#[must_use]
pub fn salt(identity: u64, number: u64) -> u64 {
    // splitmix64, a bijection of 64 bits: segments of one log never share a salt.
    let mut z = identity.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl SegmentHead {
    /// The header as a page.
    #[must_use]
    pub fn encode(&self) -> Page {
        let mut page = Page::ZERO;
        let bytes = page.bytes_mut();
        let mut fields = Writer::new(&mut bytes[..]);
        fields.bytes(MAGIC).u16(FORMAT_VERSION).u16(0).u16(self.kind.code()).u16(self.shard).u32(self.chain);
        fields.u64(self.identity).u64(self.number).u64(self.salt).u64(self.epoch).u64(self.first.0);
        let sum = crc(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&sum.to_le_bytes());
        page
    }

    /// Reads and checks a header page.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(page: &Page) -> Result<Self, Flaw> {
        let bytes = page.bytes();
        let mut fields = Reader::new(bytes);
        if fields.bytes() != MAGIC {
            return Err(Flaw::Magic);
        }
        if crc(&bytes[..CRC_AT]).to_le_bytes() != bytes[CRC_AT..] {
            return Err(Flaw::HeadCrc);
        }
        let (version, flags, kind) = (fields.u16(), fields.u16(), fields.u16());
        if version != FORMAT_VERSION {
            return Err(Flaw::Version(version));
        }
        if flags != 0 {
            return Err(Flaw::Flags(flags));
        }
        let kind = Kind::of(kind).ok_or(Flaw::Flags(kind))?;
        let (shard, chain) = (fields.u16(), fields.u32());
        let head = Self {
            kind,
            shard,
            identity: fields.u64(),
            number: fields.u64(),
            salt: fields.u64(),
            epoch: fields.u64(),
            first: Lsn(fields.u64()),
            chain,
        };
        if bytes[FIELDS_BYTES..CRC_AT].iter().any(|byte| *byte != 0) {
            return Err(Flaw::Padding);
        }
        if head.salt != salt(head.identity, head.number) {
            return Err(Flaw::Salt);
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_header_reads_back_and_every_flipped_bit_is_detected() {
        let written = SegmentHead {
            kind: Kind::Promoted,
            shard: 3,
            identity: 11,
            number: 12,
            salt: salt(11, 12),
            epoch: 13,
            first: Lsn(14),
            chain: 15,
        };
        let mut page = written.encode();
        assert_eq!(SegmentHead::decode(&page), Ok(written));
        for bit in 0..PAGE_BYTES * 8 {
            page.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHead::decode(&page).is_err(), "bit {bit}");
            page.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
