//! What a start finds on the disk: which segments there are, where the log ends, and whether anything is damaged.
//!
//! The first invalid block is the end of the log only if no valid block stands later; else it is damage, and the log does not
//! open (STORAGE §2). One write is in flight at a time, so whatever stands before a valid block had been acknowledged.

use crate::disk::{Disk, DiskFile, Found, LockError, Purpose};
use crate::embedded::background::seal;
use crate::embedded::catalog::{self, Catalog};
use crate::embedded::cushion::{self, Cushion};
use crate::embedded::scan::Scan;
use crate::embedded::supply::{Supply, Zeroing};
use crate::embedded::table::{Segment, State, Table, file_name};
use crate::embedded::{Options, lock, snapshot};
use crate::format::block::Head;
use crate::format::manifest::{Entry, Manifest};
use crate::format::page::{PAGE_BYTES, padded};
use crate::format::segment::{Kind, SegmentHead};
use crate::format::{FORMAT_VERSION, Flaw};
use crate::mutant::{self, Mutant};
use std::fmt;
use std::io;
use std::sync::Arc;
use stele_model::id::Lsn;

const FORMAT_NAME: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
/// Free space that a start on a full disk leaves for manifests and a small snapshot; less where segments are small.
const SLACK_BYTES_MAX: u64 = 128 << 10;

/// Why a log did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("lock the log: {0}")]
    Locked(#[from] LockError),
    /// The disk failed.
    #[error("open the log: {0}")]
    Io(#[from] io::Error),
    /// It is not a log of this version, or not this shard's.
    #[error("open the log: {0}")]
    Format(String),
    /// The disk is so full that the log cannot go on, not even to let consumers drain.
    #[error("open the log: the disk is full: {free_bytes} bytes are free, {needed_bytes} are needed")]
    NoSpace {
        /// Bytes that can be written now.
        free_bytes: u64,
        /// Bytes without which nothing can be appended.
        needed_bytes: u64,
    },
    /// Bytes that had been acknowledged are damaged. Nothing was changed.
    #[error("open the log: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Damaged(Vec<Damage>),
}

/// A place on the disk where bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// Offset in it, bytes.
    pub offset: u64,
    /// The block that should be there, or that everything from there on depends on.
    pub lsn: Lsn,
    /// What is wrong.
    pub what: String,
}

impl Damage {
    pub(crate) fn new(file: &str, page: u64, lsn: Lsn, what: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), offset: page * PAGE_BYTES as u64, lsn, what: what.to_string() }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}, block {}: {}", self.file, self.offset, self.lsn, self.what)
    }
}

/// What a start found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The last block of the log.
    pub tail: Lsn,
    /// The newest snapshot.
    pub snapshot: Option<Lsn>,
    /// How often the log has been opened, this time included.
    pub epoch: u64,
    /// A write that was under way when the process before ended; its block had not been acknowledged.
    pub torn: Option<Damage>,
}

/// A log as a start found it, ready to go on.
pub(crate) struct Recovered {
    pub(crate) manifest: Manifest,
    pub(crate) catalog: Catalog,
    pub(crate) table: Table,
    pub(crate) supply: Supply,
    pub(crate) chain: u32,
    pub(crate) report: Recovery,
}

/// What reading alone tells of a log's files.
pub(crate) struct Survey {
    pub(crate) manifest: Manifest,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Segments that hold no block, by number.
    pub(crate) unused: Vec<u64>,
    pub(crate) tail: Lsn,
    pub(crate) chain: u32,
    pub(crate) snapshot: Option<Lsn>,
    /// Segments whose header page was torn off their first block, and what it should be.
    pub(crate) heads: Vec<(Arc<Segment>, SegmentHead)>,
    pub(crate) torn: Option<Damage>,
    pub(crate) damage: Vec<Damage>,
}

/// A segment that is not sealed and holds a block, with what is wrong with its header page.
struct Begun {
    head: SegmentHead,
    flaw: Option<Flaw>,
    segment: Arc<Segment>,
    file: Arc<dyn DiskFile>,
}

/// Opens the log's files and makes them ready to go on in a new segment and epoch.
///
/// # Errors
/// See [`OpenError`]. After [`OpenError::Damaged`] and [`OpenError::Format`] nothing was changed.
pub(crate) fn recover(disk: &dyn Disk, options: &Options) -> Result<Recovered, OpenError> {
    let found = disk.list()?;
    let manifest = match read_manifest(disk, &found)? {
        Some(manifest) if manifest.shard != options.shard => {
            return Err(OpenError::Format(format!("it is the log of shard {}", manifest.shard)));
        }
        Some(manifest) => manifest,
        None => create(disk, options)?,
    };
    let mut survey = survey(disk, manifest, &found)?;
    // A promotion that was cut off left blocks under a number, and so under a salt, that the manifest does not know.
    let numbers = found.iter().filter_map(|file| file.name.strip_prefix("seg-")?.parse::<u64>().ok());
    let number_next = numbers.map(|number| number + 1).max().unwrap_or(0);
    survey.manifest.number_next = survey.manifest.number_next.max(number_next);
    if !survey.damage.is_empty() {
        return Err(OpenError::Damaged(survey.damage));
    }
    go_on(disk, options, survey)
}

/// The manifest, if there is a log here.
pub(crate) fn read_manifest(disk: &dyn Disk, found: &[Found]) -> Result<Option<Manifest>, OpenError> {
    if found.iter().any(|found| found.name == FORMAT_NAME) {
        let mut page = [crate::format::page::Page::ZERO];
        let read = disk.open(FORMAT_NAME, Purpose::Read)?.read(0, &mut page)?;
        let expected = padded(format_text().as_bytes());
        if read == 0 || page[0].bytes() != expected[0].bytes() {
            let text: String = String::from_utf8_lossy(&page[0].bytes()[..64]).lines().take(1).collect();
            return Err(OpenError::Format(format!(
                "this is format {FORMAT_VERSION}, {FORMAT_NAME} says {text:?}"
            )));
        }
    }
    match Catalog::read(disk)? {
        Some(Ok(manifest)) => Ok(Some(manifest)),
        Some(Err(flaw)) => Err(OpenError::Damaged(vec![Damage::new(catalog::NAME, 0, Lsn(0), flaw)])),
        None if found
            .iter()
            .any(|found| found.name.starts_with("seg-") || snapshot::lsn_of(&found.name).is_some()) =>
        {
            Err(OpenError::Damaged(vec![Damage::new(catalog::NAME, 0, Lsn(0), "the manifest is missing")]))
        }
        None => Ok(None),
    }
}

fn format_text() -> String {
    format!("stele log, format {FORMAT_VERSION}\n")
}

fn create(disk: &dyn Disk, options: &Options) -> io::Result<Manifest> {
    let text = padded(format_text().as_bytes());
    catalog::replace(disk, FORMAT_NEW, FORMAT_NAME, &text)?;
    let manifest =
        Manifest { shard: options.shard, identity: options.identity, number_next: 1, ..Manifest::default() };
    catalog::write(disk, &manifest)?;
    Ok(manifest)
}

/// Reads what recovery needs to know, and changes nothing.
pub(crate) fn survey(disk: &dyn Disk, manifest: Manifest, found: &[Found]) -> io::Result<Survey> {
    let (tail, chain) = manifest.floor;
    let (segments, unused, damage) = (Vec::new(), Vec::new(), Vec::new());
    let mut survey = Survey {
        manifest,
        segments,
        unused,
        tail,
        chain,
        snapshot: None,
        heads: Vec::new(),
        torn: None,
        damage,
    };
    let mut open = Vec::new();
    for entry in survey.manifest.segments.clone() {
        let name = file_name(entry.number);
        let Some(file) = found.iter().find(|found| found.name == name) else {
            let lsn = entry.sealed.map_or(Lsn(survey.tail.0 + 1), |sealed| sealed.first);
            survey.damage.push(Damage::new(&name, 0, lsn, "the file is missing"));
            continue;
        };
        let file_pages = file.bytes / PAGE_BYTES as u64;
        if file_pages < u64::from(entry.file_pages) {
            let lsn = entry.sealed.map_or(Lsn(survey.tail.0 + 1), |sealed| sealed.first);
            survey.damage.push(Damage::new(&name, file_pages, lsn, "the file was cut short"));
        }
        match entry.sealed {
            Some(_) => survey.sealed(&entry, file),
            None => open.push(entry.number),
        }
    }
    survey.scan(disk, open)?;
    survey.judge_snapshot(disk)?;
    survey.segments.sort_by_key(|segment| lock(&segment.state).first);
    Ok(survey)
}

impl Survey {
    /// Takes a sealed segment as the manifest describes it; its blocks are checked when they are read.
    fn sealed(&mut self, entry: &Entry, file: &Found) {
        let Some(sealed) = entry.sealed else { return };
        let file_pages = file.bytes / PAGE_BYTES as u64;
        if entry.kind == Kind::Log && sealed.last > self.tail {
            (self.tail, self.chain) = (sealed.last, sealed.chain);
        }
        let state = State {
            first: sealed.first,
            last: sealed.last,
            chain: sealed.chain,
            pages: sealed.footer_page,
            file_pages,
            sealed: true,
            ..State::default()
        };
        self.segments.push(Segment::new(self.manifest.identity, entry.number, entry.kind, state));
    }

    /// Follows the blocks through the segments that are not sealed.
    fn scan(&mut self, disk: &dyn Disk, numbers: Vec<u64>) -> io::Result<()> {
        let mut begun = Vec::new();
        for number in numbers {
            let segment = Segment::new(self.manifest.identity, number, Kind::Log, State::default());
            let file = disk.open(&segment.name(), Purpose::Read)?;
            let mut scan = Scan::new(&*file, segment.salt);
            let page = scan.first_page()?;
            let head = page.as_ref().map_or(Err(Flaw::Short), SegmentHead::decode);
            let flaw = match head {
                Ok(head) if head.salt == segment.salt => {
                    begun.push(Begun { head, flaw: None, segment, file });
                    continue;
                }
                Ok(_) => Flaw::Salt,
                Err(flaw) => flaw,
            };
            // Not begun, begun and torn, or of the file's life before: unless a block proves the opposite.
            match scan.find(1)? {
                Some((1, first)) => {
                    let head = head_of(&self.manifest, number, &first);
                    begun.push(Begun { head, flaw: Some(flaw), segment, file });
                }
                Some((_, later)) => {
                    let what = format!("{flaw} in the segment's header, yet block {} follows", later.lsn);
                    self.damage.push(Damage::new(&segment.name(), 0, later.lsn, what));
                }
                None => self.unused.push(number),
            }
        }
        begun.sort_by_key(|begun| begun.head.first);
        for Begun { head, flaw, segment, file } in begun {
            let mut scan = Scan::new(&*file, segment.salt);
            let alone = self.follow(&head, &segment, &mut scan)?;
            match flaw {
                // Header and first block are one write: torn, it may have left the block without the header. The block is good.
                Some(_) if alone => self.heads.push((segment, head)),
                Some(flaw) => {
                    let what =
                        format!("{flaw} in the segment's header, yet more than its first block follows");
                    self.damage.push(Damage::new(&segment.name(), 0, head.first, what));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Follows the blocks of one segment to the first invalid one, and judges that. `true`: there is one block and nothing else.
    fn follow(
        &mut self,
        head: &SegmentHead,
        segment: &Arc<Segment>,
        scan: &mut Scan<'_>,
    ) -> io::Result<bool> {
        let first = Lsn(self.tail.0 + 1);
        if head.first != first || head.chain != self.chain {
            // A segment is begun only after the block before it was synced.
            let what = format!("the segment begins with block {}, block {first} should follow", head.first);
            self.damage.push(Damage::new(&segment.name(), 0, first, what));
            return Ok(false);
        }
        let mut alone = false;
        let mut state = State { first, last: self.tail, chain: self.chain, pages: 1, ..State::default() };
        let flaw = loop {
            let (block, _) = match scan.block(u64::from(state.pages))? {
                Ok(block) => block,
                Err(flaw) => break flaw,
            };
            let expected = Lsn(state.last.0 + u64::from(!block.is_marker()));
            if block.lsn != expected {
                break Flaw::Sequence { expected, found: block.lsn };
            }
            if block.chain != state.chain {
                break Flaw::Chain;
            }
            if !block.is_marker() {
                state.time = if state.index.is_empty() {
                    (block.time, block.time)
                } else {
                    (state.time.0.min(block.time), state.time.1.max(block.time))
                };
                state.index.push(state.pages);
                (state.last, state.chain) = (block.lsn, block.crc);
            }
            alone = state.pages == 1;
            state.pages += u32::try_from(block.layout().pages).unwrap_or(0);
        };
        let (page, next) = (u64::from(state.pages), Lsn(state.last.0 + 1));
        if let Some((later, block)) = scan.find(page)?.filter(|_| !mutant::on(Mutant::TrustTheTear)) {
            let what = format!(
                "{flaw}, yet a valid block {} stands at byte {}",
                block.lsn,
                later * PAGE_BYTES as u64
            );
            self.damage.push(Damage::new(&segment.name(), page, next, what));
        } else if !matches!(flaw, Flaw::Magic | Flaw::Short | Flaw::Salt) {
            self.torn = Some(Damage::new(&segment.name(), page, next, flaw));
        }
        if state.index.is_empty() {
            self.unused.push(segment.number);
            return Ok(false);
        }
        (self.tail, self.chain) = (state.last, state.chain);
        *lock(&segment.state) = state;
        self.segments.push(Arc::clone(segment));
        Ok(alone)
    }

    /// A snapshot must stand on a log that reaches it and goes on from it without a gap.
    fn judge_snapshot(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.snapshot = snapshot::newest(disk)?;
        let Some(lsn) = self.snapshot.filter(|lsn| *lsn > self.tail) else { return Ok(()) };
        let what = format!("the log ends at block {}, before this snapshot", self.tail);
        self.damage.push(Damage::new(&snapshot::name(lsn), 0, lsn, what));
        Ok(())
    }
}

/// The header page of a segment, as its first block tells it.
pub(crate) fn head_of(manifest: &Manifest, number: u64, first: &Head) -> SegmentHead {
    SegmentHead {
        kind: Kind::Log,
        shard: manifest.shard,
        identity: manifest.identity,
        number,
        salt: first.salt,
        epoch: first.epoch,
        first: first.lsn,
        chain: first.chain,
    }
}

/// Seals what was open, clears away what belongs to nobody, and begins a new epoch.
fn go_on(disk: &dyn Disk, options: &Options, survey: Survey) -> Result<Recovered, OpenError> {
    let needed_bytes = make_space(disk, options, &survey)?;
    let gone_on = seal_and_begin(disk, options, survey);
    match gone_on {
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::StorageFull => {
            Err(OpenError::NoSpace { free_bytes: disk.free_bytes()?, needed_bytes })
        }
        other => other,
    }
}

/// Sees to it that manifests can be written: what was left unfinished goes, then files of the pool, but for one. Bytes that are
/// needed to go on.
fn make_space(disk: &dyn Disk, options: &Options, survey: &Survey) -> io::Result<u64> {
    let manifest_bytes = (2 * survey.manifest.encode().len() * PAGE_BYTES) as u64;
    let needed = options.least_bytes() + manifest_bytes + slack_bytes(options);
    let (pool, rest): (Vec<_>, Vec<_>) =
        disk.list()?.into_iter().partition(|file| file.name.starts_with("pool-"));
    let unfinished = rest.into_iter().filter(|file| file.name.ends_with(".new"));
    // One file is needed itself, unless its space can be had as a short one; a segment that was never begun will do.
    let kept = pool.len().saturating_sub(usize::from(survey.unused.is_empty()));
    let spare = pool.into_iter().enumerate().filter(|(at, file)| *at < kept || file.bytes >= needed);
    for file in unfinished.chain(spare.map(|(_, file)| file)) {
        if disk.free_bytes()? >= manifest_bytes + slack_bytes(options) {
            break;
        }
        disk.remove(&file.name)?;
    }
    Ok(needed)
}

fn slack_bytes(options: &Options) -> u64 {
    SLACK_BYTES_MAX.min(options.segment_bytes / 8)
}

fn seal_and_begin(disk: &dyn Disk, options: &Options, survey: Survey) -> Result<Recovered, OpenError> {
    let scarce = disk.free_bytes()? < options.margin_bytes.saturating_add(options.segment_bytes);
    let Survey { manifest, segments, unused, tail, chain, snapshot, heads, torn, .. } = survey;
    let catalog = Catalog::new(manifest.clone());
    let table = Table::default();
    for segment in segments {
        let open = !lock(&segment.state).sealed;
        if open {
            let file = disk.open(&segment.name(), Purpose::Commit)?;
            // What was read may have been in the page cache only.
            file.sync()?;
            if let Some((_, head)) = heads.iter().find(|(torn, _)| Arc::ptr_eq(torn, &segment)) {
                file.write(0, &[head.encode()])?;
            }
            lock(&segment.state).file = Some(file);
        }
        table.insert(Arc::clone(&segment));
        if open {
            // A whole segment is worth more in the pool later; on a full disk its unused end is worth more now.
            seal(disk, &catalog, &table, &segment, scarce)?;
        }
    }
    let mut manifest = manifest;
    catalog.commit(disk, |known| {
        known.epoch += 1;
        known.segments.retain(|entry| !unused.contains(&entry.number));
        manifest = known.clone();
    })?;
    let supply = restock(disk, options, &manifest)?;
    let report = Recovery { tail, snapshot, epoch: manifest.epoch, torn };
    Ok(Recovered { manifest, catalog, table, supply, chain, report })
}

/// Gathers the files that may become segments, and removes what was left unfinished.
fn restock(disk: &dyn Disk, options: &Options, manifest: &Manifest) -> Result<Supply, OpenError> {
    let segment_pages =
        u32::try_from(options.segment_bytes / PAGE_BYTES as u64).expect("checked at the start");
    let mut supply = Supply::new(segment_pages, options);
    let mut short = Vec::new();
    for file in disk.list()? {
        let orphan = file.name.starts_with("seg-")
            && !manifest.segments.iter().any(|entry| file_name(entry.number) == file.name);
        let pooled = file.name.starts_with("pool-");
        if pooled && supply.adopt(&file) {
            continue;
        }
        let pages = file.bytes / PAGE_BYTES as u64;
        if orphan && supply.welcome(pages) {
            pool(disk, &file.name, pages, &mut supply)?;
        } else if orphan || pooled || file.name == Zeroing::NAME {
            short.push(file);
        } else if file.name.ends_with(".new") && file.name != cushion::NAME {
            disk.remove(&file.name)?;
        }
    }
    // One that does for a starter spares the start to write one.
    let starts = |file: &Found| file.bytes >= options.starter_bytes.min(options.segment_bytes);
    if supply.pooled() == 0
        && let Some(at) = short.iter().position(starts)
    {
        let file = short.swap_remove(at);
        let pages = options.starter_bytes.min(options.segment_bytes) / PAGE_BYTES as u64;
        let starter = disk.open(&file.name, Purpose::Bulk)?;
        starter.cut(pages)?;
        // Nobody knows whether the process before came to that, and the manifest will say how long it is.
        starter.sync()?;
        pool(disk, &file.name, pages, &mut supply)?;
        disk.sync_dir()?;
    }
    short.iter().try_for_each(|file| disk.remove(&file.name))?;
    if supply.pooled() == 0 {
        starter(disk, options, &mut supply)?;
    }
    supply.lean_on(Cushion::open(disk, options)?);
    Ok(supply)
}

/// Moves a file of so many pages into the pool.
fn pool(disk: &dyn Disk, file: &str, pages: u64, supply: &mut Supply) -> io::Result<()> {
    let name = supply.name();
    disk.rename(file, &name)?;
    supply.join(name, pages);
    Ok(())
}

/// A short zero-written segment, so that the first commits of a young log are not those of a growing file. On a full disk it takes
/// what is left, also of the margin, so that settles have a place to go.
fn starter(disk: &dyn Disk, options: &Options, supply: &mut Supply) -> Result<(), OpenError> {
    let wanted = options.starter_bytes.min(options.segment_bytes);
    let free_bytes = disk.free_bytes()?;
    let room = free_bytes.saturating_sub(slack_bytes(options)) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
    if room < options.least_bytes() {
        let needed_bytes = options.least_bytes() + slack_bytes(options);
        return Err(OpenError::NoSpace { free_bytes, needed_bytes });
    }
    let is_scarce = options.volume.room(disk, options.margin_bytes)? < wanted;
    let beside = room.saturating_sub(cushion::bytes(options)).max(options.least_bytes());
    let bytes = if is_scarce { wanted.min(beside) } else { wanted };
    let mut zeroing = Zeroing::begin(disk, bytes / PAGE_BYTES as u64, None)?;
    loop {
        match zeroing.step(disk, || supply.name()) {
            Ok(Some((name, pages))) => {
                supply.join(name, pages);
                return Ok(());
            }
            Ok(None) => {}
            Err(error) => {
                if error.kind() == io::ErrorKind::StorageFull {
                    disk.remove(Zeroing::NAME)?;
                }
                return Err(error.into());
            }
        }
    }
}
