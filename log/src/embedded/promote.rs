//! Promotion: the records that survive in mostly dead segments move to a new one, and the old files go back to the pool.
//!
//! Only places' addresses change, never places: the new segment's footer maps every (LSN, offset) in the range it was made
//! from. The switch is one manifest commit; before it the old segments serve all reads, after it the new one does. Never a
//! condition of ingest: a log that grows beyond its budget keeps its segments until this has caught up.

use crate::disk::{Disk, DiskFile, Purpose, is_out_of_handles};
use crate::embedded::Options;
use crate::embedded::append::Identity;
use crate::embedded::background::{drop_segments, segments_bytes};
use crate::embedded::catalog::Catalog;
use crate::embedded::lock;
use crate::embedded::read::Reader;
use crate::embedded::table::{Segment, State, Table, file_name};
use crate::format::block::{self, Head, Layout, flags};
use crate::format::footer::{Footer, Move};
use crate::format::manifest::Sealed;
use crate::format::page::{PAGE_BYTES, Page};
use crate::format::segment::Kind;
use crate::mutant::{self, Mutant};
use std::io;
use std::sync::Arc;
use stele_model::id::{Lsn, Place};
use stele_model::log::{ReadError, RecordReader};

/// Segments promoted at once: more gain nothing.
const SOURCES_MAX: usize = 16;
/// Small promoted segments are merged when so many stand side by side.
const MERGE_MIN: usize = 8;
/// Body of a block of survivors, about.
const BODY_BYTES: usize = 128 << 10;

/// Where a promotion stands between the background and the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None is under way.
    #[default]
    Nothing,
    /// The machine is to be asked for what survives in this range.
    Range((Lsn, Lsn)),
    /// It was asked.
    Asked((Lsn, Lsn)),
    /// Damage was met; no promotion until somebody has looked.
    Never,
}

/// The range of neighbouring segments that is most worth promoting, if the log is over its budget.
pub(crate) fn candidates(table: &Table, options: &Options, trim: Lsn) -> Option<(Lsn, Lsn)> {
    if segments_bytes(table) <= options.log_bytes_max {
        return None;
    }
    let mut best: Option<(Run, u64)> = None;
    let mut run = Run::default();
    for segment in table.all() {
        let state = lock(&segment.state);
        let bytes = state.file_pages * PAGE_BYTES as u64;
        let live = u64::try_from(state.live_bytes).unwrap_or(0);
        let small = segment.kind == Kind::Promoted && bytes * 2 < options.segment_bytes;
        let fits = run.live + live <= options.segment_bytes && run.segments < SOURCES_MAX;
        let movable = state.sealed && state.last <= trim && (live * 2 < bytes || small);
        if !(movable && fits) {
            run = Run::default();
        }
        if movable {
            run.add(state.first, state.last, bytes, live);
            let worth = run.bytes >= run.promoted_bytes() * 2 || run.segments >= MERGE_MIN;
            let gain = run.bytes.saturating_sub(run.promoted_bytes());
            if worth && best.as_ref().is_none_or(|(_, most)| gain > *most) {
                best = Some((run, gain));
            }
        }
    }
    best.map(|(run, _)| (run.first, run.last))
}

/// Neighbouring segments.
#[derive(Clone, Copy, Default)]
struct Run {
    first: Lsn,
    last: Lsn,
    segments: usize,
    bytes: u64,
    live: u64,
}

impl Run {
    fn add(&mut self, first: Lsn, last: Lsn, bytes: u64, live: u64) {
        if self.segments == 0 {
            self.first = first;
        }
        self.last = last;
        self.segments += 1;
        self.bytes += bytes;
        self.live += live;
    }

    /// About how long the promoted segment will be: never less than a few pages, so that tiny ones are left in peace.
    fn promoted_bytes(&self) -> u64 {
        self.live + self.live / 8 + 4 * PAGE_BYTES as u64
    }
}

/// A promotion under way.
pub(crate) struct Promotion {
    identity: Identity,
    number: u64,
    range: (Lsn, Lsn),
    sources: Vec<Arc<Segment>>,
    records: std::vec::IntoIter<(Place, u32)>,
    segment: Arc<Segment>,
    file: Option<Arc<dyn DiskFile>>,
    /// The next free page.
    page: u32,
    chain: u32,
    body: Vec<u8>,
    count: u32,
    footer: Footer,
}

impl Promotion {
    /// Begins to move `survivors` out of `sources`.
    pub(crate) fn begin(
        identity: Identity,
        number: u64,
        range: (Lsn, Lsn),
        sources: Vec<Arc<Segment>>,
        survivors: Vec<(Place, u32)>,
    ) -> Self {
        assert!(survivors.is_sorted_by(|a, b| a.0 < b.0), "survivors come sorted by place, each once");
        let segment = Segment::new(identity.identity, number, Kind::Promoted, State::default());
        let (first, last) = range;
        let footer = Footer { salt: segment.salt, first, last, time: (u64::MAX, 0), ..Footer::default() };
        Self {
            identity,
            number,
            range,
            sources,
            records: survivors.into_iter(),
            segment,
            file: None,
            page: 1,
            chain: 0,
            body: Vec::new(),
            count: 0,
            footer,
        }
    }

    /// Whether the segment is among the sources.
    pub(crate) fn uses(&self, segment: &Arc<Segment>) -> bool {
        self.sources.iter().any(|source| Arc::ptr_eq(source, segment))
    }

    /// Moves some records; bytes read and written, or the damage that was met. `None`: all are moved. May be called again for want
    /// of space or handles.
    ///
    /// # Errors
    /// Those of the file system when writing.
    pub(crate) fn step(&mut self, reader: &Reader) -> io::Result<Option<Result<u64, String>>> {
        if self.file.is_none() {
            let file = reader.disk.open(&file_name(self.number), Purpose::Bulk)?;
            file.write(0, &[self.identity.head(&self.segment, self.range.0, 0).encode()])?;
            self.file = Some(file);
        }
        while self.body.len() < BODY_BYTES {
            let Some(&(place, len)) = self.records.as_slice().first() else { break };
            if let Some(segment) = reader.table.covering(place.lsn)
                && let Err(error) = reader.table.open(&*reader.disk, &segment)
                && is_out_of_handles(&error)
            {
                return Err(error);
            }
            self.records.next();
            match reader.record(place, len) {
                Ok(bytes) => {
                    let at = u32::try_from(self.body.len()).expect("a body is shorter than 4 GiB");
                    let block = u32::try_from(self.footer.index.len()).expect("a segment has few blocks");
                    self.footer.moves.push(Move { place, len, block, at });
                    self.body.extend_from_slice(&bytes);
                    self.count += 1;
                }
                // Settled since it was told, and its segment was empty and is gone.
                Err(ReadError::Trimmed { .. }) => {}
                Err(error) => return Ok(Some(Err(format!("move the record at {place:?}: {error:?}")))),
            }
        }
        if self.body.is_empty() {
            return Ok(None);
        }
        let bytes = self.write_block()?;
        Ok(Some(Ok(bytes)))
    }

    fn write_block(&mut self) -> io::Result<u64> {
        let layout = Layout::of(self.body.len());
        let mut pages = vec![Page::ZERO; layout.pages];
        let head = Head {
            flags: flags::PROMOTED,
            lsn: Lsn(self.footer.index.len() as u64 + 1),
            epoch: self.identity.epoch,
            writer: self.identity.identity,
            time: 0,
            salt: self.segment.salt,
            chain: self.chain,
            page: self.page,
            entries: self.count,
            body_bytes: u32::try_from(self.body.len()).expect("a body is shorter than 4 GiB"),
            table_crc: 0,
            crc: 0,
        };
        let chain = block::encode(head, &self.body, &mut pages).crc;
        self.file.as_ref().expect("opened with the first step").write(u64::from(self.page), &pages)?;
        self.chain = chain;
        self.footer.index.push(self.page);
        self.page += u32::try_from(layout.pages).expect("a block has few pages");
        self.body.clear();
        self.count = 0;
        Ok((2 * pages.len() * PAGE_BYTES) as u64)
    }

    /// Makes the new segment durable, switches to it, and gives back the old ones. May be called again for want of space or handles.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn finish(
        &mut self,
        disk: &dyn Disk,
        catalog: &Catalog,
        table: &Table,
    ) -> io::Result<Vec<Arc<Segment>>> {
        if self.footer.moves.is_empty() {
            // Nothing survives: there is nothing to switch to.
            catalog.commit(disk, |manifest| drop_segments(manifest, &self.sources))?;
            disk.remove(&file_name(self.number))?;
            table.replace(&self.sources, None);
            return Ok(std::mem::take(&mut self.sources));
        }
        let file = Arc::clone(self.file.as_ref().expect("opened with the first step"));
        let footer = self.footer.encode();
        file.write(u64::from(self.page), &footer)?;
        if !mutant::on(Mutant::PromoteUnsynced) {
            file.sync()?;
        }
        disk.sync_dir()?;
        let sealed = Sealed { first: self.range.0, last: self.range.1, chain: 0, footer_page: self.page };
        let mut state = lock(&self.segment.state);
        (state.first, state.last, state.pages) = (sealed.first, sealed.last, self.page);
        (state.sealed, state.file_pages) = (true, u64::from(self.page) + footer.len() as u64);
        drop(state);
        let entry = self.segment.entry();
        catalog.commit(disk, |manifest| {
            drop_segments(manifest, &self.sources);
            manifest.segments.push(entry);
        })?;
        let footer = Arc::new(std::mem::take(&mut self.footer));
        let footer_bytes = footer.memory_bytes();
        let mut state = lock(&self.segment.state);
        state.footer = Some(footer);
        drop(state);
        table.remember(&self.segment, footer_bytes);
        table.replace(&self.sources, Some(&self.segment));
        Ok(std::mem::take(&mut self.sources))
    }

    /// Gives up: the sources stay, the unfinished file goes.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn abandon(self, disk: &dyn Disk) -> io::Result<()> {
        disk.remove(&file_name(self.number))
    }
}
