//! An offline check of a log's files: reads every byte that is in use and names whatever is not as it was written.
//!
//! Called by `stele verify DIR` and by tests. Changes nothing. What must hold: damage that would ever be met by a start, a
//! replay or a read is found here, with file, offset and block.

use crate::disk::real::RealDisk;
use crate::disk::{Disk, Found, Purpose};
use crate::embedded::lock;
use crate::embedded::recover::{self, Damage, OpenError, Survey};
use crate::embedded::scan::Scan;
use crate::embedded::snapshot;
use crate::embedded::table::{Segment, read_footer};
use crate::format::Flaw;
use crate::format::block::Head;
use crate::format::page::PAGE_BYTES;
use crate::format::segment::{Kind, SegmentHead};
use std::fmt;
use std::path::Path;
use stele_model::id::Lsn;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The shard whose log it is.
    pub shard: u16,
    /// The log's identity.
    pub identity: u64,
    /// How often it was opened.
    pub epoch: u64,
    /// The last block.
    pub tail: Lsn,
    /// The newest snapshot.
    pub snapshot: Option<Lsn>,
    /// Segments in use, by their first block.
    pub segments: Vec<SegmentReport>,
    /// Files that hold nothing of the log: the pool, and leftovers that the next start clears away.
    pub spare: Vec<Found>,
    /// A write that was under way when the process ended. Not damage.
    pub torn: Option<Damage>,
    /// Everything that is wrong.
    pub damage: Vec<Damage>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReport {
    /// Its file.
    pub file: String,
    /// What it holds.
    pub kind: Kind,
    /// Whether the manifest says that no block is added any more.
    pub sealed: bool,
    /// First block; of the range it was made from in a promoted segment.
    pub first: Lsn,
    /// Last block, likewise.
    pub last: Lsn,
    /// Blocks in it.
    pub blocks: u64,
    /// Entries in these blocks; records in a promoted segment.
    pub entries: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
    /// Bytes of the file from its begin to the end of the last block or marker; a sealed segment's footer follows.
    pub used_bytes: u64,
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.damage.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log of shard {}, identity {:016x}, epoch {}", self.shard, self.identity, self.epoch)?;
        match self.snapshot {
            Some(lsn) => writeln!(f, "last block {}, newest snapshot {lsn}", self.tail)?,
            None => writeln!(f, "last block {}, no snapshot", self.tail)?,
        }
        for segment in &self.segments {
            writeln!(f, "{segment}")?;
        }
        writeln!(f, "{} spare files", self.spare.len())?;
        if let Some(torn) = &self.torn {
            writeln!(f, "torn, not acknowledged: {torn}")?;
        }
        for damage in &self.damage {
            writeln!(f, "DAMAGED: {damage}")?;
        }
        write!(f, "{}", if self.is_clean() { "nothing is damaged" } else { "the log is damaged" })
    }
}

impl fmt::Display for SegmentReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Log => "log",
            Kind::Promoted => "promoted",
        };
        let sealed = if self.sealed { "sealed" } else { "open" };
        write!(f, "{} {kind} {sealed} blocks {}..{}: ", self.file, self.first, self.last)?;
        write!(f, "{} blocks, {} entries, {} bytes", self.blocks, self.entries, self.body_bytes)
    }
}

/// Checks the log in the directory `dir`, which no process may have open.
///
/// # Errors
/// [`OpenError::Locked`], [`OpenError::Io`], [`OpenError::Format`]; damage is in the report, except where the manifest itself
/// cannot be read ([`OpenError::Damaged`]).
pub fn verify(dir: &Path) -> Result<Report, OpenError> {
    verify_disk(&RealDisk::open_existing(dir)?)
}

/// As [`verify`], for any disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_disk(disk: &dyn Disk) -> Result<Report, OpenError> {
    inspect(disk, &mut |_, _| Ok(()))
}

/// Something met on the way through a log.
pub(crate) enum Met<'a> {
    Segment(&'a Segment),
    Block(&'a Head),
}

/// What is told of everything that is met, with the page it stands at.
pub(crate) type Sink<'a> = dyn FnMut(Met<'_>, u64) -> std::io::Result<()> + 'a;

/// Walks through the whole log, checks it, and tells `sink` of every segment and block.
pub(crate) fn inspect(disk: &dyn Disk, sink: &mut Sink<'_>) -> Result<Report, OpenError> {
    let _held = disk.lock()?;
    let found = disk.list()?;
    let manifest = recover::read_manifest(disk, &found)?;
    let manifest = manifest.ok_or_else(|| OpenError::Format("there is no log here".into()))?;
    let survey = recover::survey(disk, manifest, &found)?;
    let mut report = blank(&survey, found);
    let mut before: Option<(Lsn, u32)> = None;
    for segment in &survey.segments {
        sink(Met::Segment(segment), 0)?;
        let walked = walk(disk, segment, before, &mut report.damage, sink)?;
        before = (segment.kind == Kind::Log).then(|| {
            let state = lock(&segment.state);
            (state.last, state.chain)
        });
        report.segments.push(walked);
    }
    if let Some(lsn) = survey.snapshot
        && let Err(damaged) = snapshot::load(disk, report.identity, lsn)?
    {
        report.damage.push(Damage::new(&damaged.file, damaged.page, lsn, damaged.flaw));
    }
    judge_gap(&mut report);
    Ok(report)
}

fn blank(survey: &Survey, found: Vec<Found>) -> Report {
    let used = |file: &Found| {
        survey.segments.iter().any(|segment| segment.name() == file.name)
            || snapshot::lsn_of(&file.name).is_some()
            || ["MANIFEST", "FORMAT", "LOCK"].contains(&file.name.as_str())
    };
    Report {
        shard: survey.manifest.shard,
        identity: survey.manifest.identity,
        epoch: survey.manifest.epoch,
        tail: survey.tail,
        snapshot: survey.snapshot,
        segments: Vec::new(),
        spare: found.into_iter().filter(|file| !used(file)).collect(),
        torn: survey.torn.clone(),
        damage: survey.damage.clone(),
    }
}

/// Replay needs every block after the snapshot.
fn judge_gap(report: &mut Report) {
    let mut next = Lsn(report.snapshot.map_or(1, |lsn| lsn.0 + 1));
    for segment in &report.segments {
        if segment.first <= next && segment.last >= next && segment.kind == Kind::Log {
            next = Lsn(segment.last.0 + 1);
        }
    }
    if next <= report.tail {
        report.damage.push(Damage::new(
            "MANIFEST",
            0,
            next,
            "no segment holds this block, and replay needs it",
        ));
    }
}

/// Reads one segment from its header to its footer.
fn walk(
    disk: &dyn Disk,
    segment: &Segment,
    before: Option<(Lsn, u32)>,
    damage: &mut Vec<Damage>,
    sink: &mut Sink<'_>,
) -> std::io::Result<SegmentReport> {
    let name = segment.name();
    let file = disk.open(&name, Purpose::Read)?;
    let mut scan = Scan::new(&*file, segment.salt);
    let (first, last, pages, sealed) = {
        let state = lock(&segment.state);
        (state.first, state.last, state.pages, state.sealed)
    };
    let mut report = SegmentReport {
        file: name.clone(),
        kind: segment.kind,
        sealed,
        first,
        last,
        blocks: 0,
        entries: 0,
        body_bytes: 0,
        used_bytes: u64::from(pages) * PAGE_BYTES as u64,
    };
    let head = scan.first_page()?.as_ref().map_or(Err(Flaw::Short), SegmentHead::decode);
    let mut chain = None;
    match head {
        Ok(head) if head.salt != segment.salt => damage.push(Damage::new(&name, 0, first, Flaw::Salt)),
        Ok(head) => {
            // What was promoted is no part of the chain, also where it takes the place right behind a segment that is.
            let chained = before.filter(|(last, _)| segment.kind == Kind::Log && last.0 + 1 == first.0);
            let follows = chained.is_none_or(|(_, chain)| chain == head.chain);
            if !follows || head.first != first {
                damage.push(Damage::new(&name, 0, first, Flaw::Chain));
            }
            chain = Some(head.chain);
        }
        Err(flaw) => damage.push(Damage::new(&name, 0, first, flaw)),
    }
    let mut expected = if segment.kind == Kind::Log { first } else { Lsn(1) };
    let mut page = 1;
    while page < u64::from(pages) {
        let met = match scan.block(page)? {
            Ok((head, _)) => head,
            Err(flaw) => {
                damage.push(Damage::new(&name, page, expected, flaw));
                // Go on behind it: everything that is damaged is to be named.
                match scan.find(page + 1)?.filter(|(next, _)| *next < u64::from(pages)) {
                    Some((next, head)) => {
                        page = next;
                        expected = Lsn(head.lsn.0 + u64::from(head.is_marker()));
                        chain = None;
                        continue;
                    }
                    None => break,
                }
            }
        };
        sink(Met::Block(&met), page)?;
        let number = if met.is_marker() { Lsn(expected.0 - 1) } else { expected };
        if met.lsn != number {
            damage.push(Damage::new(
                &name,
                page,
                number,
                Flaw::Sequence { expected: number, found: met.lsn },
            ));
        } else if chain.is_some_and(|chain| chain != met.chain) {
            damage.push(Damage::new(&name, page, number, Flaw::Chain));
        }
        if !met.is_marker() {
            (expected, chain) = (Lsn(met.lsn.0 + 1), Some(met.crc));
            report.blocks += 1;
            report.entries += u64::from(met.entries);
            report.body_bytes += u64::from(met.body_bytes);
        }
        page += met.layout().pages as u64;
    }
    if segment.kind == Kind::Log && expected.0 != last.0 + 1 {
        let what = format!("the manifest says that block {last} is the last");
        damage.push(Damage::new(&name, page, expected, what));
    }
    if sealed {
        footer(&*file, segment, u64::from(pages), &report, damage)?;
    }
    Ok(report)
}

fn footer(
    file: &dyn crate::disk::DiskFile,
    segment: &Segment,
    page: u64,
    report: &SegmentReport,
    damage: &mut Vec<Damage>,
) -> std::io::Result<()> {
    let what = match read_footer(file, page)? {
        Ok(footer) if footer.salt != segment.salt => Flaw::Salt.to_string(),
        Ok(footer) if footer.index.len() as u64 != report.blocks => "the footer counts other blocks".into(),
        Ok(_) => return Ok(()),
        Err(flaw) => flaw.to_string(),
    };
    let rebuilt = if segment.kind == Kind::Log { " (can be rebuilt)" } else { "" };
    let offset = page * PAGE_BYTES as u64;
    damage.push(Damage {
        file: segment.name(),
        offset,
        lsn: report.first,
        what: format!("footer: {what}{rebuilt}"),
    });
    Ok(())
}
