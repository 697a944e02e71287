//! The manifest: which segments a log is made of, and what must outlive them. Replaced as a whole, by rename.

use super::fields::{Reader, Writer};
use super::page::{Page, padded, pages_for};
use super::segment::Kind;
use super::{FORMAT_VERSION, Flaw, crc};
use stele_model::id::Lsn;

const MAGIC: [u8; 4] = *b"SLMF";
const HEAD_BYTES: usize = 64;
const ENTRY_BYTES: usize = 48;

/// The segments of a log, and what is known of the log beyond them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The shard whose log this is.
    pub shard: u16,
    /// Drawn at random when the log was created.
    pub identity: u64,
    /// How often the log was opened.
    pub epoch: u64,
    /// The next segment's number; numbers are never used again.
    pub number_next: u64,
    /// The last block of all segments that were given up, and its chain: where the log goes on if no segment is left.
    pub floor: (Lsn, u32),
    /// Segments in use, in the order of their numbers.
    pub segments: Vec<Entry>,
}

/// One segment in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Names its file.
    pub number: u64,
    /// What it holds.
    pub kind: Kind,
    /// Pages that the file has at least: what it had when it went into use, or when it was sealed.
    pub file_pages: u32,
    /// Set once no block is added any more.
    pub sealed: Option<Sealed>,
}

/// What is known of a sealed segment without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// First block; of the range it was made from in a promoted segment.
    pub first: Lsn,
    /// Last block, likewise.
    pub last: Lsn,
    /// Checksum in the header of the last block; 0 in a promoted segment.
    pub chain: u32,
    /// Where the footer begins: the number of pages used before it.
    pub footer_page: u32,
}

impl Manifest {
    /// The manifest as pages.
    #[must_use]
    pub fn encode(&self) -> Vec<Page> {
        let mut bytes = vec![0; HEAD_BYTES + self.segments.len() * ENTRY_BYTES + 4];
        let mut fields = Writer::new(&mut bytes);
        fields.bytes(MAGIC).u16(FORMAT_VERSION).u16(0).u16(self.shard).u16(0).u32(self.floor.1);
        fields.u64(self.identity).u64(self.epoch).u64(self.number_next).u64(self.floor.0.0);
        fields.u32(u32::try_from(self.segments.len()).expect("fewer than 2^32 segments"));
        fields.bytes([0; HEAD_BYTES - 52]);
        for entry in &self.segments {
            let sealed =
                entry.sealed.unwrap_or(Sealed { first: Lsn(0), last: Lsn(0), chain: 0, footer_page: 0 });
            fields
                .u64(entry.number)
                .u16(entry.kind.code())
                .u16(u16::from(entry.sealed.is_some()))
                .u32(sealed.chain);
            fields.u64(sealed.first.0).u64(sealed.last.0).u32(sealed.footer_page).u32(entry.file_pages);
            fields.bytes([0; ENTRY_BYTES - 40]);
        }
        let crc_at = bytes.len() - 4;
        let sum = crc(&bytes[..crc_at]);
        bytes[crc_at..].copy_from_slice(&sum.to_le_bytes());
        padded(&bytes)
    }

    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let head = bytes.get(..HEAD_BYTES).ok_or(Flaw::Short)?;
        let mut fields = Reader::new(head);
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
        let (shard, _, chain) = (fields.u16(), fields.u16(), fields.u32());
        let (identity, epoch, number_next, floor) =
            (fields.u64(), fields.u64(), fields.u64(), Lsn(fields.u64()));
        let count = fields.u32() as usize;
        let crc_at = HEAD_BYTES + count * ENTRY_BYTES;
        if bytes.len() != pages_for(crc_at + 4) * super::page::PAGE_BYTES {
            return Err(Flaw::Short);
        }
        if crc(&bytes[..crc_at]).to_le_bytes() != bytes[crc_at..crc_at + 4] {
            return Err(Flaw::Crc);
        }
        if bytes[crc_at + 4..].iter().any(|byte| *byte != 0) {
            return Err(Flaw::Padding);
        }
        let segments =
            bytes[HEAD_BYTES..crc_at].chunks_exact(ENTRY_BYTES).map(entry).collect::<Result<_, _>>()?;
        Ok(Self { shard, identity, epoch, number_next, floor: (floor, chain), segments })
    }
}

fn entry(bytes: &[u8]) -> Result<Entry, Flaw> {
    let mut fields = Reader::new(bytes);
    let (number, kind, sealed, chain) = (fields.u64(), fields.u16(), fields.u16(), fields.u32());
    let kind = Kind::of(kind).ok_or(Flaw::Flags(kind))?;
    let (first, last) = (Lsn(fields.u64()), Lsn(fields.u64()));
    let (footer_page, file_pages) = (fields.u32(), fields.u32());
    let sealed = (sealed != 0).then_some(Sealed { first, last, chain, footer_page });
    Ok(Entry { number, kind, file_pages, sealed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::{bytes_of, bytes_of_mut};

    #[test]
    fn a_manifest_reads_back_and_every_flipped_bit_is_detected() {
        let sealed = Some(Sealed { first: Lsn(1), last: Lsn(9), chain: 7, footer_page: 20 });
        let written = Manifest {
            shard: 1,
            identity: 2,
            epoch: 3,
            number_next: 4,
            floor: (Lsn(5), 6),
            segments: vec![
                Entry { number: 1, kind: Kind::Promoted, file_pages: 21, sealed },
                Entry { number: 3, kind: Kind::Log, file_pages: 16, sealed: None },
            ],
        };
        let mut pages = written.encode();
        assert_eq!(Manifest::decode(bytes_of(&pages)).as_ref(), Ok(&written));
        for bit in 0..bytes_of(&pages).len() * 8 {
            bytes_of_mut(&mut pages)[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(bytes_of(&pages)).is_err(), "bit {bit}");
            bytes_of_mut(&mut pages)[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
