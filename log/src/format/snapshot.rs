//! A snapshot file: a header page, the chunks that are new in it, and a table of all chunks, new or in older files.

use super::fields::{Reader, Writer};
use super::page::{PAGE_BYTES, Page, padded, pages_for};
use super::{FORMAT_VERSION, Flaw, crc};
use stele_model::id::Lsn;

const MAGIC: [u8; 4] = *b"SLSN";
const CRC_AT: usize = PAGE_BYTES - 4;
const FIELDS_BYTES: usize = 48;
const ENTRY_BYTES: usize = 24;

/// The first page of a snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The log's identity.
    pub identity: u64,
    /// The last block whose effects are in it.
    pub lsn: Lsn,
    /// The page its table begins at.
    pub table_page: u32,
    /// Chunks in the table.
    pub chunks: u32,
    /// Checksum of the table.
    pub table_crc: u32,
}

/// Where one chunk of a snapshot stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkAt {
    /// The snapshot whose file holds it.
    pub file: Lsn,
    /// The page it begins at.
    pub page: u32,
    /// Bytes of it.
    pub len: u32,
    /// Its checksum.
    pub crc: u32,
}

impl SnapshotHead {
    /// The header as a page.
    #[must_use]
    pub fn encode(&self) -> Page {
        let mut page = Page::ZERO;
        let bytes = page.bytes_mut();
        let mut fields = Writer::new(&mut bytes[..]);
        fields.bytes(MAGIC).u16(FORMAT_VERSION).u16(0).u64(self.identity).u64(self.lsn.0);
        fields.u32(self.table_page).u32(self.chunks).u32(self.table_crc);
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
        let (version, flags) = (fields.u16(), fields.u16());
        if version != FORMAT_VERSION {
            return Err(Flaw::Version(version));
        }
        if flags != 0 {
            return Err(Flaw::Flags(flags));
        }
        let (identity, lsn) = (fields.u64(), Lsn(fields.u64()));
        let head =
            Self { identity, lsn, table_page: fields.u32(), chunks: fields.u32(), table_crc: fields.u32() };
        if bytes[FIELDS_BYTES..CRC_AT].iter().any(|byte| *byte != 0) {
            return Err(Flaw::Padding);
        }
        Ok(head)
    }

    /// Pages of its table.
    #[must_use]
    pub fn table_pages(&self) -> usize {
        pages_for(self.chunks as usize * ENTRY_BYTES)
    }

    /// Reads and checks the table, whose pages are `bytes`.
    ///
    /// # Errors
    /// [`Flaw::Short`], [`Flaw::TableCrc`], [`Flaw::Padding`].
    pub fn table(&self, bytes: &[u8]) -> Result<Vec<ChunkAt>, Flaw> {
        let len = self.chunks as usize * ENTRY_BYTES;
        let (table, padding) = bytes.split_at_checked(len).ok_or(Flaw::Short)?;
        if crc(table) != self.table_crc {
            return Err(Flaw::TableCrc);
        }
        if padding.iter().any(|byte| *byte != 0) {
            return Err(Flaw::Padding);
        }
        let entry = |bytes| {
            let mut fields = Reader::new(bytes);
            ChunkAt { file: Lsn(fields.u64()), page: fields.u32(), len: fields.u32(), crc: fields.u32() }
        };
        Ok(table.chunks_exact(ENTRY_BYTES).map(entry).collect())
    }
}

/// The table of chunks as pages, and its checksum.
#[must_use]
pub fn encode_table(chunks: &[ChunkAt]) -> (Vec<Page>, u32) {
    let mut bytes = vec![0; chunks.len() * ENTRY_BYTES];
    let mut fields = Writer::new(&mut bytes);
    for chunk in chunks {
        fields.u64(chunk.file.0).u32(chunk.page).u32(chunk.len).u32(chunk.crc).u32(0);
    }
    (padded(&bytes), crc(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::bytes_of;

    #[test]
    fn a_snapshot_header_and_table_read_back() {
        let chunks = [
            ChunkAt { file: Lsn(3), page: 1, len: 65_536, crc: 9 },
            ChunkAt { file: Lsn(7), page: 17, len: 5, crc: 10 },
        ];
        let (pages, table_crc) = encode_table(&chunks);
        let written = SnapshotHead { identity: 1, lsn: Lsn(7), table_page: 18, chunks: 2, table_crc };
        let mut page = written.encode();
        let read = SnapshotHead::decode(&page).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.table_pages(), pages.len());
        assert_eq!(read.table(bytes_of(&pages)).unwrap(), chunks);
        for bit in 0..PAGE_BYTES * 8 {
            page.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            assert!(SnapshotHead::decode(&page).is_err(), "bit {bit}");
            page.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
