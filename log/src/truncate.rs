//! An operator's truncate: gives up the end of a log that is damaged, from a block on that the operator names.
//!
//! Called by `stele truncate-log DIR`, offline. What must hold: nothing is cut that replay could still read; nothing is changed before
//! the operator has repeated the block that the plan names; a cut that is broken off leaves a log that is damaged at the same place
//! or whole. What cannot be mended by a cut (a snapshot, a promoted segment, a block that only holds live records) is refused.

use crate::disk::real::RealDisk;
use crate::disk::{Disk, Purpose};
use crate::embedded::catalog;
use crate::embedded::lock;
use crate::embedded::recover::{self, Damage, OpenError, Survey};
use crate::embedded::scan::Scan;
use crate::embedded::table::{Segment, file_name};
use crate::format::Flaw;
use crate::format::footer::Footer;
use crate::format::manifest::{Entry, Manifest, Sealed};
use crate::format::segment::{Kind, SegmentHead};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use stele_model::id::Lsn;

/// What a cut takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The first block that is given up: the first that cannot be read.
    pub from: Lsn,
    /// Where it stood, or should stand, and what is wrong there.
    pub damage: Damage,
    /// By file: what can still be read from there on, and goes as well.
    pub readable: Vec<Readable>,
}

/// Blocks behind the damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readable {
    /// The file they are in.
    pub file: String,
    /// The first and the last of them.
    pub blocks: (Lsn, Lsn),
    /// How many of these can be read.
    pub count: u64,
    /// Their entries.
    pub entries: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "damaged: {}", self.damage)?;
        writeln!(f, "a cut gives up block {} and everything behind it:", self.from)?;
        for readable in &self.readable {
            let (first, last) = readable.blocks;
            writeln!(
                f,
                "  {}: {} blocks that can still be read, {first} to {last}, with {} entries",
                readable.file, readable.count, readable.entries
            )?;
        }
        if self.readable.is_empty() {
            writeln!(f, "  nothing behind it can be read")?;
        }
        write!(
            f,
            "what was confirmed by these blocks is lost; the log then ends with block {}",
            self.from.0 - 1
        )
    }
}

/// Why nothing was cut.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The log could not be looked at.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The operator named another block than the damaged one.
    #[error("the damage begins with block {found}, not with block {named}")]
    Elsewhere {
        /// What was named.
        named: Lsn,
        /// Where it begins.
        found: Lsn,
    },
    /// A cut would not help.
    #[error("a cut does not mend this: {0}")]
    NoHelp(String),
}

impl From<io::Error> for CutError {
    fn from(error: io::Error) -> Self {
        Self::Open(error.into())
    }
}

/// What a cut of the log in `dir` would take away; `None` if replay reads the whole log. Changes nothing.
///
/// # Errors
/// See [`CutError`].
pub fn plan_cut(dir: &Path) -> Result<Option<Cut>, CutError> {
    plan_cut_disk(&RealDisk::open_existing(dir)?)
}

/// Cuts the log in `dir` from block `from` on, which must be the one that [`plan_cut`] names.
///
/// # Errors
/// See [`CutError`].
pub fn cut(dir: &Path, from: u64) -> Result<Cut, CutError> {
    cut_disk(&RealDisk::open_existing(dir)?, Lsn(from))
}

/// As [`plan_cut`], for any disk.
///
/// # Errors
/// As [`plan_cut`].
pub fn plan_cut_disk(disk: &dyn Disk) -> Result<Option<Cut>, CutError> {
    let _held = disk.lock().map_err(OpenError::from)?;
    Ok(Plan::make(disk)?.map(|plan| plan.cut))
}

/// As [`cut`], for any disk.
///
/// # Errors
/// As [`cut`].
pub fn cut_disk(disk: &dyn Disk, from: Lsn) -> Result<Cut, CutError> {
    let _held = disk.lock().map_err(OpenError::from)?;
    let plan = Plan::make(disk)?;
    let plan = plan.ok_or_else(|| CutError::NoHelp("replay reads the whole log".into()))?;
    if plan.cut.from != from {
        return Err(CutError::Elsewhere { named: from, found: plan.cut.from });
    }
    plan.carry_out(disk)?;
    Ok(plan.cut)
}

/// Where a log can be cut, and what it is then.
struct Plan {
    cut: Cut,
    manifest: Manifest,
    /// Segments that end earlier, or end at all: their footers.
    ended: Vec<(Entry, Footer)>,
    /// Header pages that are damaged, as the first blocks behind them tell them.
    heads: Vec<SegmentHead>,
}

/// A segment as far as its blocks follow one another.
struct Followed {
    index: Vec<u32>,
    time: (u64, u64),
    last: Lsn,
    chain: u32,
    /// The page behind the last of them.
    page: u32,
    /// What ended it before it should.
    flaw: Option<Flaw>,
}

impl Plan {
    fn make(disk: &dyn Disk) -> Result<Option<Self>, CutError> {
        let found = disk.list()?;
        let manifest = recover::read_manifest(disk, &found)?;
        let manifest = manifest.ok_or_else(|| OpenError::Format("there is no log here".into()))?;
        let survey = recover::survey(disk, manifest, &found)?;
        let snapshot = survey.snapshot.unwrap_or_default();
        let mut next = Lsn(snapshot.0 + 1);
        for segment in survey.segments.iter().filter(|segment| segment.kind == Kind::Log) {
            let (first, last) = {
                let state = lock(&segment.state);
                (state.first, state.last)
            };
            if last < next {
                continue;
            }
            if first > next {
                let damage = Damage::new(&segment.name(), 0, next, "no segment holds this block");
                return Self::at(disk, &survey, damage, None).map(Some);
            }
            let followed = follow(disk, segment, first, last)?;
            if let Some(flaw) = followed.flaw {
                let lsn = Lsn(followed.last.0 + 1);
                let damage = Damage::new(&segment.name(), u64::from(followed.page), lsn, flaw);
                if lsn < next {
                    let why =
                        format!("{damage}; a snapshot stands above it, only records of queues are in it");
                    return Err(CutError::NoHelp(why));
                }
                return Self::at(disk, &survey, damage, Some((segment, &followed))).map(Some);
            }
            next = Lsn(last.0 + 1);
        }
        // What is read from front to back is in order; what a start met behind it is not.
        let Some(damage) = survey.damage.iter().min_by_key(|damage| damage.lsn.max(next)) else {
            return Ok(None);
        };
        if snapshot > survey.tail {
            let why = format!("{damage}; without what the snapshot stands on there is no log to go on from");
            return Err(CutError::NoHelp(why));
        }
        let damage = Damage { lsn: next, ..damage.clone() };
        Self::at(disk, &survey, damage, None).map(Some)
    }

    /// The log as it is without block `damage.lsn` and everything behind it.
    fn at(
        disk: &dyn Disk,
        survey: &Survey,
        damage: Damage,
        within: Option<(&Arc<Segment>, &Followed)>,
    ) -> Result<Self, CutError> {
        let from = damage.lsn;
        let mut manifest = survey.manifest.clone();
        let mut readable = Vec::new();
        for entry in &survey.manifest.segments {
            let beyond = entry.sealed.is_none_or(|sealed| sealed.last >= from);
            if entry.kind == Kind::Log && beyond {
                readable.extend(behind(disk, survey.manifest.identity, entry, from)?);
            }
        }
        manifest.segments.retain(|entry| entry.sealed.is_some_and(|sealed| sealed.last < from));
        for entry in &mut manifest.segments {
            // One that was cut short behind its last block is as good as before.
            let pages = disk.open(&file_name(entry.number), Purpose::Read).and_then(|file| file.pages());
            entry.file_pages = entry.file_pages.min(u32::try_from(pages?).unwrap_or(u32::MAX));
        }
        // Segments that a start would have sealed: what is in order of them stays.
        let open = survey.segments.iter().filter(|segment| !lock(&segment.state).sealed);
        let (mut ended, mut heads) = (Vec::new(), Vec::new());
        for segment in open.chain(within.map(|(segment, _)| segment)) {
            let first = lock(&segment.state).first;
            let last = lock(&segment.state).last.min(Lsn(from.0 - 1));
            if last < first {
                continue;
            }
            heads.extend(head_again(disk, segment, &survey.manifest)?);
            let followed = follow(disk, segment, first, last)?;
            let sealed =
                Sealed { first, last: followed.last, chain: followed.chain, footer_page: followed.page };
            let footer = Footer {
                salt: segment.salt,
                first,
                last: followed.last,
                time: followed.time,
                index: followed.index,
                moves: Vec::new(),
            };
            let entry = Entry {
                number: segment.number,
                kind: Kind::Log,
                file_pages: followed.page,
                sealed: Some(sealed),
            };
            manifest.segments.push(entry);
            ended.push((entry, footer));
        }
        manifest.segments.sort_by_key(|entry| entry.number);
        let before = Lsn(from.0 - 1);
        let ends_before = |entry: &Entry| entry.sealed.is_some_and(|sealed| sealed.last == before);
        if manifest.floor.0 < before && !manifest.segments.iter().any(ends_before) {
            // The block that the snapshot is of is lost itself: a new chain begins behind it.
            manifest.floor = (before, 0);
        }
        Ok(Self { cut: Cut { from, damage, readable }, manifest, ended, heads })
    }

    fn carry_out(&self, disk: &dyn Disk) -> io::Result<()> {
        for head in &self.heads {
            disk.open(&file_name(head.number), Purpose::Commit)?.write(0, &[head.encode()])?;
        }
        for (entry, footer) in &self.ended {
            let page = entry.sealed.map_or(0, |sealed| u64::from(sealed.footer_page));
            disk.open(&file_name(entry.number), Purpose::Commit)?.write(page, &footer.encode())?;
        }
        catalog::write(disk, &self.manifest)
    }
}

/// The header page of a segment if it is damaged and can be told from its first block.
fn head_again(disk: &dyn Disk, segment: &Segment, manifest: &Manifest) -> io::Result<Option<SegmentHead>> {
    let file = disk.open(&segment.name(), Purpose::Read)?;
    let mut scan = Scan::new(&*file, segment.salt);
    let page = scan.first_page()?;
    if page.is_some_and(|page| SegmentHead::decode(&page).is_ok_and(|head| head.salt == segment.salt)) {
        return Ok(None);
    }
    let first = scan.block(1)?.ok();
    Ok(first.map(|(first, _)| recover::head_of(manifest, segment.number, &first)))
}

/// Follows the blocks of a segment from `first` to `last`.
fn follow(disk: &dyn Disk, segment: &Segment, first: Lsn, last: Lsn) -> io::Result<Followed> {
    let mut followed =
        Followed { index: Vec::new(), time: (0, 0), last: Lsn(first.0 - 1), chain: 0, page: 1, flaw: None };
    let file = match disk.open(&segment.name(), Purpose::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            followed.flaw = Some(Flaw::Short);
            return Ok(followed);
        }
        Err(error) => return Err(error),
    };
    let mut scan = Scan::new(&*file, segment.salt);
    while followed.last < last {
        let block = match scan.block(u64::from(followed.page))? {
            Ok((block, _)) => block,
            Err(flaw) => {
                followed.flaw = Some(flaw);
                break;
            }
        };
        let expected = Lsn(followed.last.0 + u64::from(!block.is_marker()));
        if block.lsn != expected {
            followed.flaw = Some(Flaw::Sequence { expected, found: block.lsn });
            break;
        }
        if !block.is_marker() {
            followed.time = if followed.index.is_empty() {
                (block.time, block.time)
            } else {
                (followed.time.0.min(block.time), followed.time.1.max(block.time))
            };
            followed.index.push(followed.page);
            (followed.last, followed.chain) = (block.lsn, block.crc);
        }
        followed.page += u32::try_from(block.layout().pages).unwrap_or(0);
    }
    Ok(followed)
}

/// What can be read of a segment from block `from` on.
fn behind(disk: &dyn Disk, identity: u64, entry: &Entry, from: Lsn) -> io::Result<Option<Readable>> {
    let segment = Segment::new(identity, entry.number, entry.kind, Default::default());
    let file = match disk.open(&segment.name(), Purpose::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut scan = Scan::new(&*file, segment.salt);
    let mut readable: Option<Readable> = None;
    let mut page = 1;
    while let Some((at, block)) = scan.find(page)? {
        page = at + block.layout().pages as u64;
        if block.is_marker() || block.lsn < from {
            continue;
        }
        let blocks = (block.lsn, block.lsn);
        let so_far = readable.get_or_insert(Readable { file: segment.name(), blocks, count: 0, entries: 0 });
        so_far.blocks.1 = block.lsn;
        so_far.count += 1;
        so_far.entries += u64::from(block.entries);
    }
    Ok(readable)
}
