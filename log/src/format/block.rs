//! One commit block: a header of 128 bytes, the frame table, the body in frames of 16 KB, zeroes up to a whole page.
//!
//! The body stands contiguous, so that places (offsets in the body) need no translation. A small block is compact, a large one
//! starts its body at the second page: its frames are then page-aligned, and one page tells all that a reader of a single
//! record needs to know.

use super::fields::{Reader, Writer};
use super::page::{PAGE_BYTES, Page, bytes_of_mut, pages_for};
use super::{FORMAT_VERSION, Flaw, crc};
use std::ops::Range;
use stele_model::id::Lsn;

/// Bytes of a block's header.
pub const HEAD_BYTES: usize = 128;
/// Bytes of a frame: what one checksum covers, and so the least that is read for one record.
pub const FRAME_BYTES: usize = 16 << 10;
/// Largest body, 15.5 MiB: as many frames as the table beside the header can have. Blocks grow to 1 MiB; only a single large record
/// makes a longer one.
pub const BODY_BYTES_MAX: usize = (PAGE_BYTES - HEAD_BYTES) / 4 * FRAME_BYTES;
/// Bodies up to here follow the header at once; longer ones begin at the second page.
pub const COMPACT_BODY_BYTES_MAX: usize = 64 << 10;

const MAGIC: [u8; 4] = *b"SLBK";
const CRC_AT: usize = HEAD_BYTES - 4;
const _: () = assert!(
    HEAD_BYTES + BODY_BYTES_MAX / FRAME_BYTES * 4 <= PAGE_BYTES,
    "the frame table of the largest block fits beside its header"
);

/// What a block is, beside an ordinary one.
pub mod flags {
    /// Carries nothing; shows that the block before it was written whole. Repeats its LSN and its chain.
    pub const MARKER: u16 = 1;
    /// In a promoted segment: LSN counts from 1 within the segment.
    pub const PROMOTED: u16 = 2;
    /// Reserved: frames are compressed.
    pub const COMPRESSED: u16 = 4;
    /// Reserved: frames are encrypted.
    pub const ENCRYPTED: u16 = 8;

    pub(super) const KNOWN: u16 = MARKER | PROMOTED;
}

/// What the header of a block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// See [`flags`].
    pub flags: u16,
    /// Number of the block.
    pub lsn: Lsn,
    /// How often the log had been recovered when this was written.
    pub epoch: u64,
    /// Who wrote it (the log's identity on one node, the leader elsewhere).
    pub writer: u64,
    /// When it was opened, microseconds since the Unix epoch.
    pub time: u64,
    /// Of the segment's incarnation.
    pub salt: u64,
    /// Checksum in the header of the previous block (markers do not count); 0 before the first.
    pub chain: u32,
    /// Offset of the block in its file, in pages.
    pub page: u32,
    /// Entries in the body.
    pub entries: u32,
    /// Bytes of the body.
    pub body_bytes: u32,
    /// Checksum of the frame table.
    pub table_crc: u32,
    /// The header's own checksum; the next block's chain.
    pub crc: u32,
}

impl Head {
    /// Whether it is a marker, not a block.
    #[must_use]
    pub fn is_marker(&self) -> bool {
        self.flags & flags::MARKER != 0
    }

    /// Where its parts stand.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::of(self.body_bytes as usize)
    }
}

/// Where the parts of a block stand; follows from the length of its body alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Frames of the body.
    pub frames: usize,
    /// Offset of the body from the start of the block.
    pub body_at: usize,
    /// Pages of the whole block.
    pub pages: usize,
}

impl Layout {
    /// Of a block whose body has so many bytes.
    #[must_use]
    pub const fn of(body_bytes: usize) -> Self {
        let frames = body_bytes.div_ceil(FRAME_BYTES);
        let body_at = if body_bytes > COMPACT_BODY_BYTES_MAX { PAGE_BYTES } else { HEAD_BYTES + frames * 4 };
        Self { frames, body_at, pages: pages_for(body_at + body_bytes) }
    }

    /// Frames that hold `bytes` of the body.
    #[must_use]
    pub fn frames_of(bytes: &Range<usize>) -> Range<usize> {
        bytes.start / FRAME_BYTES..bytes.end.div_ceil(FRAME_BYTES)
    }
}

/// Writes a block into `pages`, which are as many as [`Layout`] says, and every byte of them. `head` comes without the two
/// checksums; the returned one has them.
pub fn encode(head: Head, body: &[u8], pages: &mut [Page]) -> Head {
    let layout = checked_layout(&head, body);
    assert_eq!(pages.len(), layout.pages, "a block fills its pages");
    let bytes = bytes_of_mut(pages);
    bytes[..layout.body_at].fill(0);
    let (front, back) = bytes.split_at_mut(layout.body_at);
    let (back, padding) = back.split_at_mut(body.len());
    let table = &mut front[HEAD_BYTES..HEAD_BYTES + layout.frames * 4];
    // Copied and summed frame by frame, while the frame is in the cache.
    let frames = body.chunks(FRAME_BYTES).zip(back.chunks_mut(FRAME_BYTES));
    for ((from, to), sum) in frames.zip(table.chunks_exact_mut(4)) {
        to.copy_from_slice(from);
        sum.copy_from_slice(&crc(to).to_le_bytes());
    }
    padding.fill(0);
    finish(head, &layout, front)
}

/// As [`encode`], for a body of which the whole pages are written from where they stand ([`page::whole`]): what comes before them goes into
/// `front`, the rest of the body into `back`, a page if there is any.
pub fn encode_around(head: Head, body: &[u8], front: &mut Page, back: &mut [Page]) -> Head {
    let layout = checked_layout(&head, body);
    assert_eq!(layout.body_at, PAGE_BYTES, "a large body begins with a page");
    let rest = &body[body.len() / PAGE_BYTES * PAGE_BYTES..];
    assert_eq!(back.len(), pages_for(rest.len()), "there is room for the rest, and for nothing else");
    let front = front.bytes_mut();
    front.fill(0);
    for (frame, sum) in body.chunks(FRAME_BYTES).zip(front[HEAD_BYTES..].chunks_exact_mut(4)) {
        sum.copy_from_slice(&crc(frame).to_le_bytes());
    }
    let back = bytes_of_mut(back);
    back.fill(0);
    back[..rest.len()].copy_from_slice(rest);
    finish(head, &layout, front)
}

fn checked_layout(head: &Head, body: &[u8]) -> Layout {
    assert!(body.len() <= BODY_BYTES_MAX, "a block that is too large was let in");
    assert_eq!(body.len(), head.body_bytes as usize, "the header tells the length of its body");
    head.layout()
}

/// Writes the header in front of the frame table.
fn finish(head: Head, layout: &Layout, front: &mut [u8]) -> Head {
    let table_crc = crc(&front[HEAD_BYTES..HEAD_BYTES + layout.frames * 4]);
    let mut head = Head { table_crc, ..head };
    write_head(&head, &mut front[..HEAD_BYTES]);
    head.crc = crc(&front[..CRC_AT]);
    front[CRC_AT..HEAD_BYTES].copy_from_slice(&head.crc.to_le_bytes());
    head
}

fn write_head(head: &Head, out: &mut [u8]) {
    let mut fields = Writer::new(out);
    fields.bytes(MAGIC).u16(FORMAT_VERSION).u16(head.flags);
    fields.u64(head.lsn.0).u64(head.epoch).u64(head.writer).u64(head.time).u64(head.salt);
    fields.u32(head.chain).u32(head.page).u32(head.entries).u32(head.body_bytes).u32(head.table_crc);
}

/// Reads and checks the header at the start of `bytes`; what follows it is not looked at.
///
/// # Errors
/// The first thing that is wrong. The checksum is judged before any length is believed.
pub fn head(bytes: &[u8]) -> Result<Head, Flaw> {
    let bytes = bytes.get(..HEAD_BYTES).ok_or(Flaw::Short)?;
    let mut fields = Reader::new(bytes);
    if fields.bytes() != MAGIC {
        return Err(Flaw::Magic);
    }
    let own = u32::from_le_bytes([bytes[CRC_AT], bytes[CRC_AT + 1], bytes[CRC_AT + 2], bytes[CRC_AT + 3]]);
    if crc(&bytes[..CRC_AT]) != own {
        return Err(Flaw::HeadCrc);
    }
    let version = fields.u16();
    if version != FORMAT_VERSION {
        return Err(Flaw::Version(version));
    }
    let found = fields.u16();
    if found & !flags::KNOWN != 0 {
        return Err(Flaw::Flags(found));
    }
    let head = Head {
        flags: found,
        lsn: Lsn(fields.u64()),
        epoch: fields.u64(),
        writer: fields.u64(),
        time: fields.u64(),
        salt: fields.u64(),
        chain: fields.u32(),
        page: fields.u32(),
        entries: fields.u32(),
        body_bytes: fields.u32(),
        table_crc: fields.u32(),
        crc: own,
    };
    if head.body_bytes as usize > BODY_BYTES_MAX {
        return Err(Flaw::Length);
    }
    Ok(head)
}

/// Checks the frame table of `head`, which stands at the start of `bytes`, and gives the checksum of each frame.
///
/// # Errors
/// [`Flaw::Short`], [`Flaw::TableCrc`].
pub fn table(head: &Head, bytes: &[u8]) -> Result<Vec<u32>, Flaw> {
    let table = bytes.get(HEAD_BYTES..HEAD_BYTES + head.layout().frames * 4).ok_or(Flaw::Short)?;
    if crc(table) != head.table_crc {
        return Err(Flaw::TableCrc);
    }
    Ok(table.chunks_exact(4).map(|sum| u32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]])).collect())
}

/// Checks everything that follows the header of a whole block and says where in `bytes` its body is.
///
/// # Errors
/// The first thing that is wrong.
pub fn body(head: &Head, bytes: &[u8]) -> Result<Range<usize>, Flaw> {
    let layout = head.layout();
    let bytes = bytes.get(..layout.pages * PAGE_BYTES).ok_or(Flaw::Short)?;
    let sums = table(head, bytes)?;
    let range = layout.body_at..layout.body_at + head.body_bytes as usize;
    for (frame, (bytes, sum)) in bytes[range.clone()].chunks(FRAME_BYTES).zip(&sums).enumerate() {
        if crc(bytes) != *sum {
            return Err(Flaw::FrameCrc(u32::try_from(frame).unwrap_or(u32::MAX)));
        }
    }
    let gap = &bytes[HEAD_BYTES + layout.frames * 4..layout.body_at];
    if gap.iter().chain(&bytes[range.end..]).any(|byte| *byte != 0) {
        return Err(Flaw::Padding);
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::page::bytes_of;

    fn sample(body_bytes: usize) -> (Head, Vec<u8>) {
        let body: Vec<u8> = (0..body_bytes).map(|i| (i * 7 % 251) as u8).collect();
        let head = Head {
            flags: 0,
            lsn: Lsn(7),
            epoch: 2,
            writer: 3,
            time: 4,
            salt: 5,
            chain: 6,
            page: 1,
            entries: 9,
            body_bytes: body_bytes as u32,
            table_crc: 0,
            crc: 0,
        };
        (head, body)
    }

    fn encoded(head: Head, body: &[u8]) -> (Head, Vec<Page>) {
        // Not zeroes: encoding must write every byte.
        let mut pages = vec![Page::ZERO; head.layout().pages];
        bytes_of_mut(&mut pages).fill(0xa5);
        let head = encode(head, body, &mut pages);
        (head, pages)
    }

    #[test]
    fn a_block_of_any_length_reads_back_as_it_was_written() {
        for len in [0, 1, 3964, 3965, FRAME_BYTES, FRAME_BYTES + 1, 65_536, 65_537, 2 << 20, BODY_BYTES_MAX] {
            let (written, body_bytes) = sample(len);
            let (written, pages) = encoded(written, &body_bytes);
            let bytes = bytes_of(&pages);
            let read = head(bytes).unwrap();
            assert_eq!(read, written);
            let range = body(&read, bytes).unwrap();
            assert_eq!(&bytes[range], &body_bytes[..]);
        }
    }

    #[test]
    fn a_body_that_is_not_copied_makes_the_same_block() {
        for len in [COMPACT_BODY_BYTES_MAX + 1, 80_000, 20 * PAGE_BYTES, 1 << 20, BODY_BYTES_MAX] {
            let (head, body_bytes) = sample(len);
            let (whole, rest) = (len / PAGE_BYTES, pages_for(len % PAGE_BYTES));
            let (mut front, mut back) = ([Page::ZERO], vec![Page::ZERO; rest]);
            bytes_of_mut(&mut front).fill(0xa5);
            bytes_of_mut(&mut back).fill(0xa5);
            let around = encode_around(head, &body_bytes, &mut front[0], &mut back);
            let parts = [bytes_of(&front), &body_bytes[..whole * PAGE_BYTES], bytes_of(&back)];
            let (copied, pages) = encoded(head, &body_bytes);
            assert!(around == copied && parts.concat() == bytes_of(&pages), "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_detected() {
        for len in [0, 700, 20_000, 70_000] {
            let (written, body_bytes) = sample(len);
            let (_, mut pages) = encoded(written, &body_bytes);
            let bits = bytes_of(&pages).len() * 8;
            for bit in (0..bits).step_by(if bits > 100_000 { 61 } else { 1 }) {
                bytes_of_mut(&mut pages)[bit / 8] ^= 1 << (bit % 8);
                let bytes = bytes_of(&pages);
                assert!(head(bytes).and_then(|head| body(&head, bytes)).is_err(), "bit {bit} of {len}");
                bytes_of_mut(&mut pages)[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_block_with_a_reserved_flag_is_refused_by_name() {
        let (mut written, body_bytes) = sample(10);
        written.flags = flags::COMPRESSED;
        let (_, pages) = encoded(written, &body_bytes);
        assert_eq!(head(bytes_of(&pages)), Err(Flaw::Flags(flags::COMPRESSED)));
    }

    #[test]
    fn a_block_cut_anywhere_is_refused() {
        let (written, body_bytes) = sample(5000);
        let (_, pages) = encoded(written, &body_bytes);
        for len in 0..bytes_of(&pages).len() {
            let bytes = &bytes_of(&pages)[..len];
            assert!(head(bytes).and_then(|head| body(&head, bytes)).is_err());
        }
    }
}
