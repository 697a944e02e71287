//! Where the next segment comes from: recycled files first, then files zeroed ahead, then a file that grows as it is written.
//!
//! Measured: a zero-written or recycled file takes commits at the disk's ceiling, a growing one at 0.5–0.7 of it. Where nothing
//! can grow any more, the last files of the pool are kept: one for blocks that only settle, delete or trim, so that consumers
//! drain a full disk and a start finds a place to go on; one to be given up for a snapshot or a manifest.

use crate::disk::{Disk, DiskFile, Found, Purpose};
use crate::embedded::Options;
use crate::embedded::catalog::Catalog;
use crate::embedded::cushion::{Cushion, Needs};
use crate::embedded::table::file_name;
use crate::embedded::volume::{Promise, Volume};
use crate::format::manifest::Entry;
use crate::format::page::{PAGE_BYTES, Page};
use crate::format::segment::Kind;
use crate::mutant::{self, Mutant};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Ready segments kept under their final name, so that going on to the next costs the hot path nothing.
pub(crate) const PREPARED_MAX: usize = 2;
/// Files that are kept when nothing can grow, see above.
const RESERVE_MAX: usize = 2;
/// Written at once in the background: pieces this small cost a lone commit beside them nothing measurable.
pub(crate) const PIECE_PAGES: usize = 32;
/// Zeroes between two syncs: where writes go through the page cache, a sync of a whole segment would hold up commits and the end of the
/// process for as long as that takes.
const SYNC_PAGES: u64 = 2048;
pub(crate) static ZEROES: [Page; PIECE_PAGES] = [Page::ZERO; PIECE_PAGES];

/// A segment that a number was given to.
pub(crate) struct Ready {
    pub(crate) number: u64,
    /// Pages that may be used.
    pub(crate) pages: u32,
    pub(crate) source: Source,
}

/// How its file comes to be.
pub(crate) enum Source {
    /// It is there, and the manifest knows it.
    Prepared(Arc<dyn DiskFile>, Option<Promise>),
    /// By giving this file of the pool another name.
    Pool(String),
    /// It has its final name; the manifest may not know it yet.
    Named(Option<Promise>),
    /// By creating it; it grows into space that it was promised.
    Grow(Promise),
}

impl Source {
    /// The space that the segment was promised, if it grows.
    pub(crate) fn promise(self) -> Option<Promise> {
        match self {
            Self::Grow(promise) | Self::Named(Some(promise)) | Self::Prepared(_, Some(promise)) => {
                Some(promise)
            }
            Self::Prepared(_, None) | Self::Pool(_) | Self::Named(None) => None,
        }
    }
}

/// Files that wait to become segments.
pub(crate) struct Supply {
    prepared: VecDeque<Ready>,
    pool: VecDeque<PoolFile>,
    /// One that could not be prepared: no space for the manifest, or no handle.
    begun: Option<Ready>,
    volume: Arc<Volume>,
    margin_bytes: u64,
    /// Files that are kept when nothing can grow.
    keep: usize,
    /// Segments that the background is preparing at the moment.
    in_hand: usize,
    /// Segments begun since the start, up to a few.
    taken: usize,
    /// The segment in use is almost full.
    hurry: bool,
    /// When last asked, there was no room for publishes.
    short: bool,
    segment_pages: u32,
    /// Pages without which a start cannot go on.
    least_pages: u32,
    /// Missing until the start is done with it.
    cushion: Option<Cushion>,
    pool_number: u64,
}

struct PoolFile {
    name: String,
    pages: u64,
}

fn pool_name(number: u64) -> String {
    format!("pool-{number:010}")
}

impl Supply {
    pub(crate) fn new(segment_pages: u32, options: &Options) -> Self {
        Self {
            prepared: VecDeque::new(),
            pool: VecDeque::new(),
            begun: None,
            volume: Arc::clone(&options.volume),
            margin_bytes: options.margin_bytes,
            keep: options.pool_min.min(RESERVE_MAX),
            in_hand: 0,
            taken: 0,
            hurry: false,
            short: false,
            segment_pages,
            least_pages: u32::try_from(options.least_bytes() / PAGE_BYTES as u64).expect("at most 16 MiB"),
            cushion: None,
            pool_number: 0,
        }
    }

    /// Takes note of a file that was in the pool at the start. `false`: it is none, or is no use.
    pub(crate) fn adopt(&mut self, found: &Found) -> bool {
        let Some(number) = found.name.strip_prefix("pool-").and_then(|number| number.parse::<u64>().ok())
        else {
            return false;
        };
        self.pool_number = self.pool_number.max(number + 1);
        let pages = found.bytes / PAGE_BYTES as u64;
        let welcome = self.welcome(pages);
        if welcome {
            self.join(found.name.clone(), pages);
        }
        welcome
    }

    /// Whether a file of so many pages is worth keeping. One that grew ends a little short of a whole segment.
    pub(crate) fn welcome(&self, pages: u64) -> bool {
        pages >= u64::from(self.segment_pages / 4 * 3)
    }

    /// Whether there is a segment to go on in, beside the reserve; the other logs of the disk are let know.
    pub(crate) fn has_room(&mut self, disk: &dyn Disk) -> bool {
        self.short = !self.has(disk, 1);
        !self.short
    }

    /// What [`Self::has_room`] found last.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    /// Whether so many segments could be begun, beside the reserve, now or in a moment.
    pub(crate) fn has(&self, disk: &dyn Disk, segments: usize) -> bool {
        self.holds(disk, self.pooled() + self.in_hand, segments + self.keep)
    }

    /// Whether [`Self::take`] could give a segment now, be it the last one.
    pub(crate) fn has_any(&self, disk: &dyn Disk) -> bool {
        self.holds(disk, self.pooled(), 1)
    }

    /// Whether a start would find a place to go on, were the disk full and the segment in use had so many pages, of `all`, left at its end:
    /// a file of the pool, or what it can cut off there. A segment that was short from the beginning is used up all the same.
    pub(crate) fn can_restart(&self, disk: &dyn Disk, left: u32, all: u32) -> bool {
        left >= self.least_pages || all < 2 * self.least_pages || self.holds(disk, self.pooled(), 1)
    }

    fn holds(&self, disk: &dyn Disk, files: usize, wanted: usize) -> bool {
        if files >= wanted {
            return true;
        }
        // A disk that does not tell what is free has nothing to promise.
        let room = self.volume.room(disk, self.margin_bytes).unwrap_or(0);
        room / self.segment_bytes() >= (wanted - files) as u64
    }

    /// Little can grow any more, so that the last files are better kept.
    pub(crate) fn is_scarce(&self, disk: &dyn Disk) -> bool {
        !self.holds(disk, 0, self.keep + 1)
    }

    fn segment_bytes(&self) -> u64 {
        u64::from(self.segment_pages) * PAGE_BYTES as u64
    }

    /// Files in the pool.
    pub(crate) fn pooled(&self) -> usize {
        self.pool.len() + self.prepared.len() + usize::from(self.begun.is_some())
    }

    /// Files that the pool should have, of `most`. A young log has use for few, and nobody should wait for zeroes that nobody needs; where
    /// little can grow any more, all of them are the reserve.
    pub(crate) fn wanted(&self, disk: &dyn Disk, most: usize) -> usize {
        if self.is_scarce(disk) { most } else { most.min(self.taken) }
    }

    /// Bytes of the files in the pool.
    pub(crate) fn pool_bytes(&self) -> u64 {
        let prepared = self.prepared.len() as u64 * u64::from(self.segment_pages);
        (self.pool.iter().map(|file| file.pages).sum::<u64>() + prepared) * PAGE_BYTES as u64
    }

    /// The next segment. Its file is made by [`install`] if it is not there yet.
    pub(crate) fn take(&mut self, disk: &dyn Disk, catalog: &Catalog) -> Option<Ready> {
        self.hurry = false;
        self.taken = self.taken.saturating_add(1);
        let prepared = self.prepared.pop_front().or_else(|| self.begun.take());
        prepared.or_else(|| self.draw(disk, catalog))
    }

    /// A file of the pool; a growing one where the pool is empty, or where its last files are better kept.
    fn draw(&mut self, disk: &dyn Disk, catalog: &Catalog) -> Option<Ready> {
        let keeps = self.pool.len() <= self.keep && self.is_scarce(disk);
        let (source, pages) = if (keeps || self.pool.is_empty())
            && let Some(promise) = self.promise(disk)
        {
            (Source::Grow(promise), self.segment_pages)
        } else {
            let file = self.pool.pop_front()?;
            let pages = u32::try_from(file.pages).unwrap_or(u32::MAX);
            (Source::Pool(file.name), pages.min(self.segment_pages))
        };
        Some(Ready { number: catalog.number(), pages, source })
    }

    /// Space for a segment that nobody else counts on.
    pub(crate) fn promise(&self, disk: &dyn Disk) -> Option<Promise> {
        // A disk that does not tell what is free has nothing to promise.
        self.volume.promise(disk, self.margin_bytes, self.segment_bytes()).ok().flatten()
    }

    /// Something to prepare, if too little is prepared. To be installed and brought back by [`Self::prepared`]. A growing file
    /// is taken late, because by then the pool may have something better.
    pub(crate) fn unprepared(&mut self, disk: &dyn Disk, catalog: &Catalog) -> Option<Ready> {
        let from_pool = self.prepared.len() < PREPARED_MAX
            && !self.pool.is_empty()
            && (self.pool.len() > self.keep || !self.is_scarce(disk));
        // The last files stay in the pool until they are used: only there can they be given up.
        let late =
            self.hurry && self.prepared.is_empty() && (self.pool.len() > self.keep || self.holds(disk, 0, 1));
        let ready = match self.begun.take() {
            Some(begun) => Some(begun),
            None if from_pool || late => self.draw(disk, catalog),
            None => None,
        };
        self.in_hand += usize::from(ready.is_some());
        ready
    }

    /// The segment in use is almost full. `true`: the background has to make the next one ready.
    pub(crate) fn hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.hurry, true) && self.prepared.is_empty()
    }

    /// What [`Self::unprepared`] gave is ready, or could not be made ready yet.
    pub(crate) fn prepared(&mut self, ready: Ready) {
        self.in_hand -= 1;
        if matches!(ready.source, Source::Prepared(..)) {
            self.prepared.push_back(ready);
        } else {
            self.begun = Some(ready);
        }
    }

    /// A name for a file that joins the pool.
    pub(crate) fn name(&mut self) -> String {
        self.pool_number += 1;
        pool_name(self.pool_number)
    }

    /// A file has joined the pool under a name from [`Self::name`].
    pub(crate) fn join(&mut self, name: String, pages: u64) {
        self.pool.push_back(PoolFile { name, pages });
    }

    /// Takes a file out of the pool for removal, but not the last one.
    pub(crate) fn give_up(&mut self) -> Option<String> {
        if self.pool.len() < 2 {
            return None;
        }
        self.pool.pop_back().map(|file| file.name)
    }

    /// Frees space that is needed at once: a file of the pool, else a piece of the cushion. `false`: there is nothing to give.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn relieve(&mut self, disk: &dyn Disk, needs: Needs) -> io::Result<bool> {
        match (self.give_up(), &mut self.cushion) {
            (Some(spare), _) => disk.remove(&spare).map(|()| true),
            (None, Some(cushion)) => cushion.give_up(disk, needs),
            (None, None) => Ok(false),
        }
    }

    /// The cushion that a start has found or made.
    pub(crate) fn lean_on(&mut self, cushion: Cushion) {
        self.cushion = Some(cushion);
    }

    /// Makes the cushion again if there is space. Bytes written.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn restore_cushion(&mut self, disk: &dyn Disk) -> io::Result<Option<u64>> {
        self.cushion.as_mut().map_or(Ok(None), |cushion| cushion.restore(disk))
    }
}

/// Makes the file of a segment and lets the manifest know it, durably. After an error `ready` says how far that came, and the call
/// may be made again.
///
/// # Errors
/// Those of the file system.
pub(crate) fn install(
    disk: &dyn Disk,
    catalog: &Catalog,
    number: u64,
    source: &mut Source,
) -> io::Result<Arc<dyn DiskFile>> {
    let name = file_name(number);
    let purpose = if mutant::on(Mutant::CommitUnsynced) { Purpose::Bulk } else { Purpose::Commit };
    match source {
        Source::Prepared(file, _) => return Ok(Arc::clone(file)),
        Source::Pool(from) => {
            disk.rename(from, &name)?;
            *source = Source::Named(None);
        }
        Source::Named(_) | Source::Grow(_) => {}
    }
    let file = disk.open(&name, purpose)?;
    disk.sync_dir()?;
    let file_pages = u32::try_from(file.pages()?).unwrap_or(u32::MAX);
    let entry = Entry { number, kind: Kind::Log, file_pages, sealed: None };
    catalog.commit(disk, |manifest| manifest.segments.push(entry))?;
    let promise = std::mem::replace(source, Source::Named(None)).promise();
    *source = Source::Prepared(Arc::clone(&file), promise);
    Ok(file)
}

/// A file that is being filled with zeroes, piece by piece.
pub(crate) struct Zeroing {
    file: Arc<dyn DiskFile>,
    name: String,
    done: u64,
    pages: u64,
    _promise: Option<Promise>,
}

impl Zeroing {
    /// The name of the file while it is filled.
    pub(crate) const NAME: &'static str = "zero.new";

    /// Begins a file of so many pages.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn begin(disk: &dyn Disk, pages: u64, promise: Option<Promise>) -> io::Result<Self> {
        let file = disk.open(Self::NAME, Purpose::Bulk)?;
        Ok(Self { file, name: Self::NAME.to_owned(), done: 0, pages, _promise: promise })
    }

    /// Whether it will be ready in time, as things stand, without another piece now: of the segment in use, of `room` pages, `used` are
    /// used. At three quarters of that [`Supply::unprepared`] takes a growing file instead, so it has to be whole at two thirds.
    pub(crate) fn is_ahead(&self, used: u32, room: u32) -> bool {
        2 * self.done * u64::from(room) > 3 * u64::from(used) * self.pages
    }

    /// Writes one piece. The whole file's pages when it is done and durable under the name `to`.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn step(
        &mut self,
        disk: &dyn Disk,
        to: impl FnOnce() -> String,
    ) -> io::Result<Option<(String, u64)>> {
        let piece = (self.pages - self.done).min(PIECE_PAGES as u64);
        self.file.write(self.done, &ZEROES[..usize::try_from(piece).unwrap_or(PIECE_PAGES)])?;
        self.done += piece;
        let done = self.done == self.pages;
        if done || self.done.is_multiple_of(SYNC_PAGES) {
            self.file.sync()?;
        }
        if !done {
            return Ok(None);
        }
        let to = to();
        disk.rename(&self.name, &to)?;
        disk.sync_dir()?;
        Ok(Some((to, self.pages)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::FaultDisk;

    #[test]
    fn a_file_is_zeroed_as_the_segment_in_use_fills_up_and_whole_before_the_next_is_taken() {
        let (room, pages) = (3_000, 6_000);
        let disk = FaultDisk::new();
        let mut zeroing = Zeroing::begin(&disk, pages, None).unwrap();
        let mut whole_at = None;
        for used in 1..=room {
            let mut pieces = 0;
            while whole_at.is_none() && !zeroing.is_ahead(used, room) {
                let step = zeroing.step(&disk, || pool_name(1)).unwrap();
                whole_at = step.map(|_| used);
                pieces += 1;
            }
            assert!(pieces <= 1, "{pieces} pieces for one page of {used}");
            let due = 3 * u64::from(used) * pages / (2 * u64::from(room));
            assert!(zeroing.done <= due + PIECE_PAGES as u64, "{} of {due} pages at {used}", zeroing.done);
        }
        let whole_at = whole_at.expect("it becomes whole");
        assert!((room / 2..room / 4 * 3).contains(&whole_at), "whole at {whole_at}");
    }
}
