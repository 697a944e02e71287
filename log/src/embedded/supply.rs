//! Where the next segment comes from: recycled files first, then files zeroed ahead, then a file that grows as it is written.
//!
//! Measured: a zero-written or recycled file takes commits at the disk's ceiling, a growing one at 0.5–0.7 of it. The last
//! ready segment is kept for blocks that only settle, delete or trim, so that consumers drain a full disk.

use crate::disk::{Disk, DiskFile, Found, Purpose};
use crate::embedded::catalog::Catalog;
use crate::embedded::table::file_name;
use crate::format::manifest::Entry;
use crate::format::page::{PAGE_BYTES, Page};
use crate::format::segment::Kind;
use crate::mutant::{self, Mutant};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// Ready segments kept under their final name, so that going on to the next costs the hot path nothing.
pub(crate) const PREPARED_MAX: usize = 2;
/// Written at once in the background: pieces this small cost a lone commit beside them nothing measurable.
pub(crate) const PIECE_PAGES: usize = 32;
static ZEROES: [Page; PIECE_PAGES] = [Page::ZERO; PIECE_PAGES];

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
    Prepared(Arc<dyn DiskFile>),
    /// By giving this file of the pool another name.
    Pool(String),
    /// By creating it.
    Grow,
}

/// Files that wait to become segments.
pub(crate) struct Supply {
    prepared: VecDeque<Ready>,
    pool: VecDeque<PoolFile>,
    /// How many segments the free space of the disk would hold, beyond the margin.
    growable: u64,
    /// Segments that the background is preparing at the moment.
    in_hand: u64,
    /// The segment in use is almost full.
    hurry: bool,
    segment_pages: u32,
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
    pub(crate) fn new(segment_pages: u32) -> Self {
        let (prepared, pool) = (VecDeque::new(), VecDeque::new());
        Self { prepared, pool, growable: 0, in_hand: 0, hurry: false, segment_pages, pool_number: 0 }
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

    /// Segments that could be begun, now or in a moment.
    pub(crate) fn ready(&self) -> u64 {
        self.available() + self.in_hand
    }

    /// Segments that [`Self::take`] could give now.
    pub(crate) fn available(&self) -> u64 {
        (self.prepared.len() + self.pool.len()) as u64 + self.growable
    }

    /// Files in the pool.
    pub(crate) fn pooled(&self) -> usize {
        self.pool.len() + self.prepared.len()
    }

    /// Bytes of the files in the pool.
    pub(crate) fn pool_bytes(&self) -> u64 {
        let prepared = self.prepared.len() as u64 * u64::from(self.segment_pages);
        (self.pool.iter().map(|file| file.pages).sum::<u64>() + prepared) * PAGE_BYTES as u64
    }

    pub(crate) fn set_free(&mut self, bytes: u64) {
        self.growable = bytes / PAGE_BYTES as u64 / u64::from(self.segment_pages);
    }

    /// The next segment. Its file is made by [`install`] if it is not there yet.
    pub(crate) fn take(&mut self, catalog: &Catalog) -> Option<Ready> {
        self.hurry = false;
        if let Some(ready) = self.prepared.pop_front() {
            return Some(ready);
        }
        self.draw(catalog)
    }

    fn draw(&mut self, catalog: &Catalog) -> Option<Ready> {
        let (source, pages) = if let Some(file) = self.pool.pop_front() {
            let pages = u32::try_from(file.pages).unwrap_or(u32::MAX);
            (Source::Pool(file.name), pages.min(self.segment_pages))
        } else if self.growable > 0 {
            self.growable -= 1;
            (Source::Grow, self.segment_pages)
        } else {
            return None;
        };
        Some(Ready { number: catalog.number(), pages, source })
    }

    /// Something to prepare, if too little is prepared. To be installed and brought back by [`Self::prepared`]. A growing file
    /// is taken late, because by then the pool may have something better.
    pub(crate) fn unprepared(&mut self, catalog: &Catalog) -> Option<Ready> {
        let from_pool = self.prepared.len() < PREPARED_MAX && !self.pool.is_empty();
        let late = self.hurry && self.prepared.is_empty();
        let ready = if from_pool || late { self.draw(catalog) } else { None };
        self.in_hand += u64::from(ready.is_some());
        ready
    }

    /// The segment in use is almost full. `true`: the background has to make the next one ready.
    pub(crate) fn hurry(&mut self) -> bool {
        !std::mem::replace(&mut self.hurry, true) && self.prepared.is_empty()
    }

    /// What [`Self::unprepared`] gave is ready, or could not be made ready.
    pub(crate) fn prepared(&mut self, ready: Option<Ready>) {
        self.in_hand -= 1;
        self.prepared.extend(ready);
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

    /// Takes a file out of the pool for removal.
    pub(crate) fn give_up(&mut self) -> Option<String> {
        self.pool.pop_back().map(|file| file.name)
    }
}

/// Makes the file of a segment and lets the manifest know it, durably.
///
/// # Errors
/// Those of the file system.
pub(crate) fn install(
    disk: &dyn Disk,
    catalog: &Catalog,
    number: u64,
    source: Source,
) -> io::Result<Arc<dyn DiskFile>> {
    let name = file_name(number);
    let purpose = if mutant::on(Mutant::CommitUnsynced) { Purpose::Bulk } else { Purpose::Commit };
    let file = match source {
        Source::Prepared(file) => return Ok(file),
        Source::Pool(from) => {
            disk.rename(&from, &name)?;
            disk.open(&name, purpose)?
        }
        Source::Grow => disk.open(&name, purpose)?,
    };
    disk.sync_dir()?;
    let file_pages = u32::try_from(file.pages()?).unwrap_or(u32::MAX);
    let entry = Entry { number, kind: Kind::Log, file_pages, sealed: None };
    catalog.commit(disk, |manifest| manifest.segments.push(entry))?;
    Ok(file)
}

/// A file that is being filled with zeroes, piece by piece.
pub(crate) struct Zeroing {
    file: Arc<dyn DiskFile>,
    name: String,
    done: u64,
    pages: u64,
}

impl Zeroing {
    /// The name of the file while it is filled.
    pub(crate) const NAME: &'static str = "zero.new";

    /// Begins a file of so many pages.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn begin(disk: &dyn Disk, pages: u64) -> io::Result<Self> {
        let file = disk.open(Self::NAME, Purpose::Bulk)?;
        Ok(Self { file, name: Self::NAME.to_owned(), done: 0, pages })
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
        if self.done < self.pages {
            return Ok(None);
        }
        self.file.sync()?;
        let to = to();
        disk.rename(&self.name, &to)?;
        disk.sync_dir()?;
        Ok(Some((to, self.pages)))
    }
}
