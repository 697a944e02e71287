//! Reading: whole blocks in order for replay, single records for deliveries that memory no longer holds.

mod ahead;
mod piece;
mod sweep;

pub(crate) use ahead::Ahead;
pub(crate) use piece::Pieces;
pub(crate) use sweep::PAGES_MAX as SWEEP_PAGES_MAX;

use crate::disk::{Disk, is_out_of_handles};
use crate::embedded::budget::Share;
use crate::embedded::cache::{Cache, Plan};
use crate::embedded::journal::Journal;
use crate::embedded::scan::Scan;
use crate::embedded::table::{Opened, Segment, Table};
use crate::embedded::volume::Volume;
use crate::embedded::{HANDLES_AGAIN, HANDLES_PATIENCE, lock};
use crate::format::Flaw;
use crate::format::block::{self, FRAME_BYTES, Head, Layout};
use crate::format::page::{PAGE_BYTES, Page, bytes_of};
use crate::format::segment::Kind;
use crate::mutant::{self, Mutant};
use bytes::Bytes;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;
use stele_model::id::{Lsn, Now, Place};
use stele_model::log::{Block, ReadError, RecordReader};

/// Blocks up to so many pages are read in one go; of longer ones the first page and the frames that are needed.
const WHOLE_PAGES_MAX: u32 = 8;
/// Records of one block this close together are read in one piece.
const RUN_BYTES_MAX: usize = 256 << 10;

/// Reads from one log; clones share it. Cheap to clone, may be used on any thread.
#[derive(Clone)]
pub struct Reader {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) table: Arc<Table>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) volume: Arc<Volume>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) pieces: Arc<Pieces>,
    pub(crate) ahead: Arc<Ahead>,
    /// Whether a read waits for its share of the disk. Not in the polled form, which has no clock.
    pub(crate) waits: bool,
}

/// Where a record's bytes are: a block of a segment, and an offset in its body.
struct Address {
    block: usize,
    at: usize,
}

impl Reader {
    /// See [`stele_model::log::LogStore::read`].
    pub(crate) fn blocks(
        &self,
        from: Lsn,
        bytes_max: usize,
        sink: &mut dyn FnMut(Block),
    ) -> Result<(), ReadError> {
        let durable = self.journal.durable();
        let mut next = from;
        let mut given = 0;
        while next <= durable && given < bytes_max {
            let segment = match self.table.covering(next) {
                Some(segment) if segment.kind == Kind::Log => segment,
                _ => return Err(ReadError::Trimmed { first: self.first() }),
            };
            let opened = self.open(&segment, next)?;
            let mut scan = Scan::new(&*opened.file, segment.salt);
            let begin = usize::try_from(next.0 - opened.footer.first.0).expect("fits in memory");
            for page in opened.footer.index.get(begin..).unwrap_or(&[]) {
                if next > durable || given >= bytes_max {
                    break;
                }
                let found = scan.block(u64::from(*page)).map_err(|error| unavailable(&segment, &error))?;
                let (head, body) = found.map_err(|flaw| corrupt(&segment, next, *page, flaw))?;
                if head.lsn != next || head.is_marker() {
                    let flaw = Flaw::Sequence { expected: next, found: head.lsn };
                    return Err(corrupt(&segment, next, *page, flaw));
                }
                given += body.len().max(1);
                let body = Bytes::copy_from_slice(body);
                sink(Block { lsn: next, time: Now(head.time), entries: head.entries, body });
                next.0 += 1;
            }
        }
        Ok(())
    }

    /// The first block from which on all blocks up to the tail can be read.
    pub(crate) fn first(&self) -> Lsn {
        let mut first = Lsn(self.journal.durable().0 + 1);
        for segment in self.table.all().iter().rev() {
            let state = lock(&segment.state);
            if segment.kind != Kind::Log || state.last.0 + 1 < first.0 {
                break;
            }
            first = first.min(state.first);
        }
        first
    }

    fn open(&self, segment: &Arc<Segment>, lsn: Lsn) -> Result<Opened, ReadError> {
        let begun = Instant::now();
        loop {
            let error = match self.table.open(&*self.disk, segment) {
                Ok(opened) => return Ok(opened),
                Err(error) => error,
            };
            if is_out_of_handles(&error) && self.waits && begun.elapsed() < HANDLES_PATIENCE {
                self.table.close_idle();
                std::thread::sleep(HANDLES_AGAIN);
                continue;
            }
            return Err(match error.kind() {
                io::ErrorKind::InvalidData => {
                    ReadError::Corrupt { at: lsn, what: format!("{}: footer: {error}", segment.name()) }
                }
                _ => unavailable(segment, &error),
            });
        }
    }

    fn address(segment: &Segment, opened: &Opened, place: Place) -> Option<Address> {
        if segment.kind == Kind::Log {
            let block = usize::try_from(place.lsn.0.checked_sub(opened.footer.first.0)?).ok()?;
            return Some(Address { block, at: place.at as usize });
        }
        let moves = &opened.footer.moves;
        // What is asked for may begin within a longer record that was moved as a whole: a batch that queues hold records of.
        let moved = moves[moves.partition_point(|moved| moved.place <= place).checked_sub(1)?];
        let within = place.at.wrapping_sub(moved.place.at);
        let is_there = moved.place.lsn == place.lsn && within < moved.len;
        is_there.then_some(Address { block: moved.block as usize, at: moved.at as usize + within as usize })
    }

    /// Pages of a segment of which the first `settled` do not change any more.
    fn pages(
        &self,
        segment: &Segment,
        opened: &Opened,
        pages: Range<u32>,
        settled: u32,
    ) -> Result<Vec<Page>, ReadError> {
        let walk = match self.cache.plan(segment.number, &pages, settled) {
            Plan::Held(held) => return Ok(held),
            Plan::Single => return self.pages_from_disk(segment, opened, pages),
            Plan::Walk(walk) => walk,
        };
        let read = self.pages_from_disk(segment, opened, walk.clone())?;
        self.cache.keep(segment.number, walk.start, &read);
        match self.cache.plan(segment.number, &pages, settled) {
            Plan::Held(held) => Ok(held),
            // Other readers have filled the cache meanwhile.
            Plan::Single | Plan::Walk(_) => self.pages_from_disk(segment, opened, pages),
        }
    }

    fn pages_from_disk(
        &self,
        segment: &Segment,
        opened: &Opened,
        pages: Range<u32>,
    ) -> Result<Vec<Page>, ReadError> {
        let mut read = vec![Page::ZERO; pages.len()];
        let count = self.read_into(segment, opened, pages.start, &mut read)?;
        read.truncate(count);
        Ok(read)
    }

    /// Fills `pages` from page `start` of a segment on; how many there are. What has to come from the disk waits for its share of it.
    fn read_into(
        &self,
        segment: &Segment,
        opened: &Opened,
        start: u32,
        pages: &mut [Page],
    ) -> Result<usize, ReadError> {
        let failed = |error: io::Error| unavailable(segment, &error);
        let held = opened.file.read_held(u64::from(start), pages).map_err(failed)?;
        let missing = &mut pages[held..];
        if missing.is_empty() {
            return Ok(held);
        }
        self.wait_for_disk(missing.len());
        let count = opened.file.read(u64::from(start) + held as u64, missing).map_err(failed)?;
        Ok(held + count)
    }

    /// Waits for the share of the disk that so many pages take.
    fn wait_for_disk(&self, pages: usize) {
        if self.waits {
            let wait = self.volume.budget.take(Share::Reads, (pages * PAGE_BYTES) as u64);
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
        }
    }

    /// The bytes `ranges` of a block's body; the frames they stand in are read in one piece and checked.
    fn fetch(
        &self,
        segment: &Segment,
        opened: &Opened,
        place: Place,
        block: usize,
        ranges: &[Range<usize>],
    ) -> Result<Vec<Bytes>, ReadError> {
        let (used, settled) = {
            let state = lock(&segment.state);
            (state.pages, state.settled_pages())
        };
        let span = Segment::span(&opened.footer, block, used);
        let (page, end) = span.ok_or_else(|| corrupt(segment, place.lsn, 0, Flaw::Short))?;
        let bad = |flaw| corrupt(segment, place.lsn, page, flaw);
        let whole = end - page <= WHOLE_PAGES_MAX;
        let first = self.pages(segment, opened, page..if whole { end } else { page + 1 }, settled)?;
        let bytes = bytes_of(&first);
        let (head, sums) = segment.head(place.lsn, page, bytes).map_err(bad)?;
        let all = hull(ranges);
        if all.end > head.body_bytes as usize {
            return Err(bad(Flaw::Length));
        }
        let frames = Layout::frames_of(&all);
        let covered = frames.start * FRAME_BYTES..(frames.end * FRAME_BYTES).min(head.body_bytes as usize);
        let body_at = head.layout().body_at;
        let (rest, skip);
        let bytes = if whole {
            skip = body_at + covered.start;
            bytes
        } else {
            let from = (body_at + covered.start) / PAGE_BYTES;
            let to = (body_at + covered.end).div_ceil(PAGE_BYTES);
            skip = body_at + covered.start - from * PAGE_BYTES;
            rest = self.pages(segment, opened, page + small(from)..page + small(to), settled)?;
            bytes_of(&rest)
        };
        let body = bytes.get(skip..skip + covered.len()).ok_or(bad(Flaw::Short))?;
        check_frames(body, frames.start, &sums).map_err(bad)?;
        self.cache.note(segment.number, &(page..page + small((body_at + covered.end).div_ceil(PAGE_BYTES))));
        let cut = |range: &Range<usize>| {
            Bytes::copy_from_slice(&body[range.start - covered.start..range.end - covered.start])
        };
        Ok(ranges.iter().map(cut).collect())
    }

    /// Records that are few, or stand apart, in the order asked for.
    fn one_by_one(&self, records: &[(Place, u32)]) -> Result<Vec<Bytes>, ReadError> {
        let mut out = Vec::with_capacity(records.len());
        while out.len() < records.len() {
            self.run(&records[out.len()..], &mut out)?;
        }
        Ok(out)
    }

    /// The segment that holds what is at `place`.
    fn home(&self, place: Place) -> Result<(Arc<Segment>, Opened), ReadError> {
        if place.lsn > self.journal.durable() {
            return Err(ReadError::Unavailable(format!("block {} is not durable yet", place.lsn)));
        }
        let trimmed = || ReadError::Trimmed { first: self.first() };
        let segment = self.table.covering(place.lsn).ok_or_else(trimmed)?;
        let opened = self.open(&segment, place.lsn)?;
        Ok((segment, opened))
    }

    /// As many of `records`, from the first on, as stand close together in one block, and can be read in one piece.
    fn run(&self, records: &[(Place, u32)], out: &mut Vec<Bytes>) -> Result<(), ReadError> {
        let (place, len) = records[0];
        let (segment, opened) = self.home(place)?;
        let first = Self::address(&segment, &opened, place)
            .ok_or_else(|| ReadError::Trimmed { first: self.first() })?;
        let mut ranges = Vec::with_capacity(records.len());
        ranges.push(first.at..first.at + len as usize);
        for (place, len) in &records[1..] {
            let in_segment = segment.kind == Kind::Promoted || place.lsn == records[0].0.lsn;
            let next = Self::address(&segment, &opened, *place)
                .filter(|next| in_segment && next.block == first.block);
            let Some(next) = next else { break };
            let range = next.at..next.at + *len as usize;
            if range.end.max(first.at) - range.start.min(first.at) > RUN_BYTES_MAX {
                break;
            }
            ranges.push(range);
        }
        out.extend(self.fetch(&segment, &opened, place, first.block, &ranges)?);
        Ok(())
    }
}

impl Segment {
    /// The header of the block at `page`, with which `bytes` begin, and the checksums of its frames. A log segment's block must be `lsn`.
    fn head(&self, lsn: Lsn, page: u32, bytes: &[u8]) -> Result<(Head, Vec<u32>), Flaw> {
        let head = block::head(bytes)?;
        if head.salt != self.salt {
            return Err(Flaw::Salt);
        }
        if head.page != page || (self.kind == Kind::Log && head.lsn != lsn) {
            return Err(Flaw::Misplaced);
        }
        let sums = block::table(&head, bytes)?;
        Ok((head, sums))
    }
}

/// Checks frames of a block's body, the first of which has number `first`, against the sums of all its frames.
fn check_frames(bytes: &[u8], first: usize, sums: &[u32]) -> Result<(), Flaw> {
    for (number, frame) in (first..).zip(bytes.chunks(FRAME_BYTES)) {
        if sums.get(number) != Some(&crate::format::crc(frame)) && !mutant::on(Mutant::SkipFrameCrc) {
            return Err(Flaw::FrameCrc(small(number)));
        }
    }
    Ok(())
}

/// The smallest range that covers them all.
fn hull(ranges: &[Range<usize>]) -> Range<usize> {
    let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    start..ranges.iter().map(|range| range.end).max().unwrap_or(0)
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn unavailable(segment: &Segment, error: &io::Error) -> ReadError {
    ReadError::Unavailable(format!("{}: {error}", segment.name()))
}

fn corrupt(segment: &Segment, at: Lsn, page: u32, flaw: Flaw) -> ReadError {
    let offset = u64::from(page) * PAGE_BYTES as u64;
    ReadError::Corrupt { at, what: format!("{} at byte {offset}: {flaw}", segment.name()) }
}

impl RecordReader for Reader {
    fn record(&self, place: Place, len: u32) -> Result<Bytes, ReadError> {
        let mut out = Vec::with_capacity(1);
        self.run(&[(place, len)], &mut out)?;
        Ok(out.swap_remove(0))
    }

    fn records(&self, records: &[(Place, u32)]) -> Result<Vec<Bytes>, ReadError> {
        let bytes: usize = records.iter().map(|(_, len)| *len as usize).sum();
        if bytes < sweep::BYTES_MIN { self.one_by_one(records) } else { self.sweep(records) }
    }
}
