//! Makes a manifest again from the headers, blocks and footers of the segments, where the manifest is lost or damaged.
//!
//! Called by `stele rebuild-manifest DIR`, offline, never by a start: a missing manifest may also mean that files are missing, which
//! only an operator can know. Reads every segment from front to back. What must hold: only a directory whose manifest cannot be
//! read is touched, the damaged one is kept beside, and what cannot be told from the segments is refused, not guessed.

use crate::disk::real::RealDisk;
use crate::disk::{Disk, Found, Purpose};
use crate::embedded::catalog::{self, Catalog};
use crate::embedded::recover::OpenError;
use crate::embedded::scan::Scan;
use crate::embedded::snapshot;
use crate::embedded::table::{file_name, read_footer};
use crate::format::footer::Footer;
use crate::format::manifest::{Entry, Manifest, Sealed};
use crate::format::page::PAGE_BYTES;
use crate::format::segment::{self, Kind, SegmentHead};
use std::fmt;
use std::io;
use std::path::Path;
use stele_model::id::Lsn;

/// Where a damaged manifest is kept.
const NAME_DAMAGED: &str = "MANIFEST.damaged";

/// A manifest that was made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// What it says now.
    pub manifest: Manifest,
    /// Segment files that hold nothing of the log, or nothing that another one does not hold.
    pub left_out: Vec<String>,
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest { shard, identity, segments, .. } = &self.manifest;
        writeln!(f, "manifest of shard {shard}, identity {identity:016x}: {} segments", segments.len())?;
        for entry in segments {
            let kind = if entry.kind == Kind::Log { "log" } else { "promoted" };
            match entry.sealed {
                Some(sealed) => {
                    writeln!(
                        f,
                        "  {} {kind}, blocks {}..{}",
                        file_name(entry.number),
                        sealed.first,
                        sealed.last
                    )?;
                }
                None => writeln!(
                    f,
                    "  {} {kind}, its end is for the next start to find",
                    file_name(entry.number)
                )?,
            }
        }
        write!(
            f,
            "left out: {}",
            if self.left_out.is_empty() { "none".into() } else { self.left_out.join(", ") }
        )
    }
}

/// Why no manifest was made.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// The directory could not be looked at.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is one that can be read.
    #[error("the manifest is in order")]
    InOrder,
    /// The segments do not tell enough.
    #[error("the manifest cannot be made again: {0}")]
    Unclear(String),
}

impl From<io::Error> for RebuildError {
    fn from(error: io::Error) -> Self {
        Self::Open(error.into())
    }
}

/// Makes the manifest of the log in `dir` again.
///
/// # Errors
/// See [`RebuildError`]. Nothing was changed then.
pub fn rebuild_manifest(dir: &Path) -> Result<Rebuilt, RebuildError> {
    rebuild_manifest_disk(&RealDisk::open_existing(dir)?)
}

/// As [`rebuild_manifest`], for any disk.
///
/// # Errors
/// As [`rebuild_manifest`].
pub fn rebuild_manifest_disk(disk: &dyn Disk) -> Result<Rebuilt, RebuildError> {
    let _held = disk.lock().map_err(OpenError::from)?;
    let damaged = match Catalog::read(disk)? {
        Some(Ok(_)) => return Err(RebuildError::InOrder),
        Some(Err(_)) => true,
        None => false,
    };
    let found = disk.list()?;
    let rebuilt = gather(disk, &found)?;
    if damaged {
        disk.rename(catalog::NAME, NAME_DAMAGED)?;
    }
    catalog::write(disk, &rebuilt.manifest)?;
    Ok(rebuilt)
}

/// A segment as its file tells it.
struct Told {
    head: SegmentHead,
    /// The last block that can be read in order.
    last: Lsn,
    entry: Entry,
}

impl Told {
    /// The blocks it stands for, as far as it says.
    fn range(&self) -> (Lsn, Lsn) {
        self.entry.sealed.map_or((self.head.first, self.head.first), |sealed| (sealed.first, sealed.last))
    }
}

fn gather(disk: &dyn Disk, found: &[Found]) -> Result<Rebuilt, RebuildError> {
    let numbered = |file: &Found| file.name.strip_prefix("seg-")?.parse::<u64>().ok();
    let files: Vec<(u64, u64)> =
        found.iter().filter_map(|file| Some((numbered(file)?, file.bytes / PAGE_BYTES as u64))).collect();
    let identity = identity(disk, &files)?;
    let mut told = Vec::new();
    let mut left_out = Vec::new();
    for &(number, file_pages) in &files {
        match tell(disk, identity, number, file_pages)? {
            Some(segment) => told.push(segment),
            None => left_out.push(file_name(number)),
        }
    }
    left_out.extend(replaced(&mut told).iter().map(|number| file_name(*number)));
    left_out.sort();
    let snapshot = snapshot::newest(disk)?.unwrap_or_default();
    let Some(shard) = told.first().map(|segment| segment.head.shard) else {
        return Err(RebuildError::Unclear("no segment says whose log this is".into()));
    };
    let manifest = Manifest {
        shard,
        identity,
        epoch: told.iter().map(|segment| segment.head.epoch).max().unwrap_or_default(),
        number_next: files.iter().map(|(number, _)| number + 1).max().unwrap_or(1),
        floor: floor(&told, snapshot),
        segments: told.iter().map(|segment| segment.entry).collect(),
    };
    Ok(Rebuilt { manifest, left_out })
}

/// The log's identity, about which all headers that belong to their file agree.
fn identity(disk: &dyn Disk, files: &[(u64, u64)]) -> Result<u64, RebuildError> {
    let mut found = None;
    for &(number, _) in files {
        let file = disk.open(&file_name(number), Purpose::Read)?;
        let page = Scan::new(&*file, 0).first_page()?;
        let Some(head) = page.and_then(|page| SegmentHead::decode(&page).ok()) else { continue };
        // A header under another number is of the file's life before.
        if head.number != number {
            continue;
        }
        if found.is_some_and(|identity| identity != head.identity) {
            return Err(RebuildError::Unclear("segments of several logs are in the directory".into()));
        }
        found = Some(head.identity);
    }
    found.ok_or_else(|| RebuildError::Unclear("no segment has a header that can be read".into()))
}

/// What a file tells of itself; `None`: nothing of the log is in it.
fn tell(disk: &dyn Disk, identity: u64, number: u64, file_pages: u64) -> Result<Option<Told>, RebuildError> {
    let salt = segment::salt(identity, number);
    let file = disk.open(&file_name(number), Purpose::Read)?;
    let mut scan = Scan::new(&*file, salt);
    let head = scan.first_page()?.and_then(|page| SegmentHead::decode(&page).ok());
    let Some(head) = head.filter(|head| head.salt == salt) else {
        // Not begun, unless blocks of it follow.
        let Some((page, first)) = scan.find(1)? else { return Ok(None) };
        let what =
            format!("{} has no header, yet block {} stands at page {page}", file_name(number), first.lsn);
        return Err(RebuildError::Unclear(what));
    };
    // In a promoted segment blocks count from 1, whatever the range.
    let mut last = if head.kind == Kind::Log { Lsn(head.first.0 - 1) } else { Lsn(0) };
    let (mut page, mut chain) = (1, head.chain);
    while let Ok((block, _)) = scan.block(u64::from(page))? {
        if block.lsn.0 != last.0 + u64::from(!block.is_marker()) || block.chain != chain {
            break;
        }
        if !block.is_marker() {
            (last, chain) = (block.lsn, block.crc);
        }
        page += u32::try_from(block.layout().pages).unwrap_or(0);
    }
    let footer = read_footer(&*file, u64::from(page))?.ok().filter(|footer| footer.salt == salt);
    let sealed = match (head.kind, footer) {
        (Kind::Promoted, None) => return Ok(None),
        (Kind::Promoted, Some(footer)) => Some(promoted(number, &footer, page)?),
        // Blocks that follow behind a flaw are for the survey of the next start to judge.
        (Kind::Log, footer) => footer
            .filter(|footer| footer.index.len() as u64 == last.0 + 1 - head.first.0)
            .map(|_| Sealed { first: head.first, last, chain, footer_page: page }),
    };
    let file_pages = u32::try_from(file_pages).unwrap_or(u32::MAX);
    Ok(Some(Told { head, last, entry: Entry { number, kind: head.kind, file_pages, sealed } }))
}

fn promoted(number: u64, footer: &Footer, page: u32) -> Result<Sealed, RebuildError> {
    if footer.last < footer.first {
        let what =
            format!("the footer of {} is too old to say which blocks it stands for", file_name(number));
        return Err(RebuildError::Unclear(what));
    }
    Ok(Sealed { first: footer.first, last: footer.last, chain: 0, footer_page: page })
}

/// Takes out what a promotion has moved elsewhere; their numbers.
fn replaced(told: &mut Vec<Told>) -> Vec<u64> {
    let promoted: Vec<(u64, (Lsn, Lsn))> = told
        .iter()
        .filter(|segment| segment.entry.kind == Kind::Promoted)
        .map(|segment| (segment.entry.number, segment.range()))
        .collect();
    let mut gone = Vec::new();
    told.retain(|segment| {
        let (first, last) = segment.range();
        // Made from it, so made later.
        let moved = promoted
            .iter()
            .any(|(number, range)| *number > segment.entry.number && range.0 <= first && last <= range.1);
        if moved {
            gone.push(segment.entry.number);
        }
        !moved
    });
    gone
}

/// Where the log goes on where no sealed segment says it: before the last segment that has no one in front of it.
fn floor(told: &[Told], snapshot: Lsn) -> (Lsn, u32) {
    let logs = || told.iter().filter(|segment| segment.entry.kind == Kind::Log);
    let begins = |segment: &Told| Lsn(segment.head.first.0 - 1);
    let follows = |before: Lsn| logs().any(|segment| segment.last == before);
    let first = logs().filter(|segment| !follows(begins(segment))).max_by_key(|segment| begins(segment));
    first.map_or((snapshot, 0), |segment| (begins(segment), segment.head.chain))
}
