//! Many records at once, as somebody wants them who catches up: read in the order in which they stand in the log, whichever way they were
//! asked for, a stretch of blocks in one piece, and handed out as slices of that piece.
//!
//! Twelve partitions that were written together stand interleaved in the same blocks: asked for one after the other, each would read
//! them all again. What is checked: every header, and every frame that a wanted record stands in. Not here: a few records (they are
//! read alone, through the cache), and those that stand far apart.

use super::ahead::Held;
use super::{Reader, check_frames, corrupt, unavailable};
use crate::embedded::lock;
use crate::embedded::table::{Opened, Segment};
use crate::format::Flaw;
use crate::format::block::{FRAME_BYTES, Layout};
use crate::format::page::PAGE_BYTES;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;
use stele_model::id::Place;
use stele_model::log::ReadError;

/// From so many bytes on, records are read this way: below, the cache is worth more.
pub(super) const BYTES_MIN: usize = 128 << 10;
/// Longest stretch: a whole block always fits that was closed for its size (1 MB and a page).
pub(crate) const PAGES_MAX: u32 = 288;
/// Pages between two wanted blocks that are rather read than skipped.
const GAP_PAGES_MAX: u32 = 16;

/// A record that was asked for, and where it is.
struct Wanted {
    /// Its number in the request.
    number: usize,
    place: Place,
    /// Pages of its block.
    pages: Range<u32>,
    /// Its bytes in the body of its block.
    body: Range<usize>,
}

/// Wanted records of neighbouring blocks of one segment, at least one, in their order there.
struct Stretch {
    segment: Arc<Segment>,
    opened: Opened,
    wanted: Vec<Wanted>,
    /// The piece that holds them all, where it was read ahead.
    held: Option<Held>,
}

impl Stretch {
    fn pages(&self) -> Range<u32> {
        let ends = self.wanted.first().zip(self.wanted.last());
        ends.map_or(0..0, |(first, last)| first.pages.start..last.pages.end)
    }

    /// Whether reading all of it is better than picking: at least half is wanted.
    fn is_dense(&self) -> bool {
        let pages = self.pages();
        let wanted: usize = self.wanted.iter().map(|wanted| wanted.body.len()).sum();
        pages.len() as u32 <= PAGES_MAX && wanted * 2 >= pages.len() * PAGE_BYTES
    }
}

impl Reader {
    /// The records, in the order asked for.
    pub(super) fn sweep(&self, records: &[(Place, u32)]) -> Result<Vec<Bytes>, ReadError> {
        let mut order: Vec<usize> = (0..records.len()).collect();
        order.sort_by_key(|&number| records[number].0);
        let mut found = vec![Bytes::new(); records.len()];
        let mut rest = &order[..];
        while !rest.is_empty() {
            let stretch = self.stretch(records, rest)?;
            let (taken, left) = rest.split_at(stretch.wanted.len());
            if stretch.held.is_some() || stretch.is_dense() {
                self.read_stretch(&stretch, &mut found)?;
            } else {
                let apart: Vec<_> = taken.iter().map(|&number| records[number]).collect();
                let read = self.one_by_one(&apart)?;
                taken.iter().zip(read).for_each(|(&number, bytes)| found[number] = bytes);
            }
            rest = left;
        }
        Ok(found)
    }

    /// As many records, from the first of `order` on, as can be read in one piece: that one at least.
    fn stretch(&self, records: &[(Place, u32)], order: &[usize]) -> Result<Stretch, ReadError> {
        let (first, _) = records[order[0]];
        let (segment, opened) = self.home(first)?;
        let used = lock(&segment.state).pages;
        let mut wanted: Vec<Wanted> = Vec::new();
        let (mut begin, mut end) = (0, 0);
        let mut held: Option<Held> = None;
        for &number in order {
            let (place, len) = records[number];
            let at = Self::address(&segment, &opened, place).filter(|_| place.lsn <= self.journal.durable());
            let span = at.as_ref().and_then(|at| Segment::span(&opened.footer, at.block, used));
            let Some((at, pages)) = at.zip(span) else { break };
            if wanted.is_empty() {
                (begin, end) = pages;
                held = self.ahead.find(segment.number, &(begin..end));
            }
            if held.as_ref().is_some_and(|held| pages.1 > held.pages.end) {
                break;
            }
            let follows = pages.0 >= begin && pages.1 >= end && pages.0 <= end + GAP_PAGES_MAX;
            if !follows || (!wanted.is_empty() && pages.1 - begin > PAGES_MAX) {
                break;
            }
            end = pages.1;
            wanted.push(Wanted { number, place, pages: pages.0..pages.1, body: at.at..at.at + len as usize });
        }
        if wanted.is_empty() {
            return Err(ReadError::Trimmed { first: self.first() });
        }
        Ok(Stretch { segment, opened, wanted, held })
    }

    fn read_stretch(&self, stretch: &Stretch, found: &mut [Bytes]) -> Result<(), ReadError> {
        let Stretch { segment, opened, wanted, held } = stretch;
        let (begin, piece) = match held {
            Some(held) => (held.pages.start, held.bytes.clone()),
            None => (stretch.pages().start, self.piece(segment, opened, &stretch.pages())?),
        };
        for block in wanted.chunk_by(|one, next| one.pages.start == next.pages.start) {
            let at = (block[0].pages.start - begin) as usize * PAGE_BYTES;
            let bad = |flaw| corrupt(segment, block[0].place.lsn, block[0].pages.start, flaw);
            cut(segment, &piece.slice(at.min(piece.len())..), block, found).map_err(bad)?;
        }
        Ok(())
    }

    /// Pages of a segment, at most [`PAGES_MAX`]. Who comes first reads past the page cache, which costs the processor an eighth; who
    /// follows, through it, so that a third one finds them there.
    pub(super) fn piece(
        &self,
        segment: &Segment,
        opened: &Opened,
        pages: &Range<u32>,
    ) -> Result<Bytes, ReadError> {
        let is_first = segment.sweep(pages);
        self.pieces.take().fill(pages.len(), |into| {
            if !is_first {
                return self.read_into(segment, opened, pages.start, into);
            }
            self.wait_for_disk(into.len());
            let read = opened.file.read_once(u64::from(pages.start), into);
            read.map_err(|error| unavailable(segment, &error))
        })
    }
}

/// Checks what is wanted of a block, which begins with `bytes`, and cuts it out.
fn cut(segment: &Segment, bytes: &Bytes, wanted: &[Wanted], found: &mut [Bytes]) -> Result<(), Flaw> {
    let (head, sums) = segment.head(wanted[0].place.lsn, wanted[0].pages.start, bytes)?;
    let body_at = head.layout().body_at;
    let body = bytes.get(body_at..).ok_or(Flaw::Short)?;
    let mut checked = 0;
    for wanted in wanted {
        if wanted.body.end > head.body_bytes as usize {
            return Err(Flaw::Length);
        }
        let frames = Layout::frames_of(&wanted.body);
        if frames.end > checked {
            let first = frames.start.max(checked);
            let range = first * FRAME_BYTES..(frames.end * FRAME_BYTES).min(head.body_bytes as usize);
            check_frames(body.get(range).ok_or(Flaw::Short)?, first, &sums)?;
            checked = frames.end;
        }
        found[wanted.number] = bytes.slice(body_at + wanted.body.start..body_at + wanted.body.end);
    }
    Ok(())
}
