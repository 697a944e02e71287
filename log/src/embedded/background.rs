//! Everything that is not a commit: sealing segments, preparing the next ones, recycling, snapshots, promotion, zeroing.
//!
//! One bounded step at a time, most urgent first; on a thread of its own or, in the polled form, when told. What it writes is
//! paid for from the budget. No space and no handles are waited out: every piece of work can be begun again where it stopped. Any
//! other error poisons the log, for nobody knows what the disk holds.

use crate::disk::{Disk, is_out_of_handles};
use crate::embedded::append::Identity;
use crate::embedded::budget::Share;
use crate::embedded::catalog::Catalog;
use crate::embedded::cushion::Needs;
use crate::embedded::journal::Journal;
use crate::embedded::promote::{self, Promotion, Wanted};
use crate::embedded::read::Reader;
use crate::embedded::snapshot::{Previous, Writing};
use crate::embedded::supply::{PIECE_PAGES, Supply, Zeroing, install};
use crate::embedded::table::{Segment, Table};
use crate::embedded::{Options, PANICKED, lock};
use crate::format::manifest::Manifest;
use crate::format::page::PAGE_BYTES;
use crate::format::segment::Kind;
use crate::mutant::{self, Mutant};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use stele_model::id::{Lsn, Place};

/// How often the thread looks for work that nobody told it of: space that came free, reads that have ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the appending thread asks of the background, and what it learns.
#[derive(Default)]
pub(crate) struct Requests {
    /// Segments that no block goes to any more.
    pub(crate) left: VecDeque<Arc<Segment>>,
    /// Blocks up to here are not needed for replay.
    pub(crate) trim: Lsn,
    /// Some segment may have become empty.
    pub(crate) tidy: bool,
    /// A snapshot to be written.
    pub(crate) snapshot: Option<(Lsn, Vec<Bytes>)>,
    /// The newest durable snapshot.
    pub(crate) snapshot_durable: Lsn,
    /// It has not been told yet.
    pub(crate) snapshot_news: bool,
    /// The range whose survivors are wanted.
    pub(crate) wanted: Wanted,
    /// They are here.
    pub(crate) survivors: Option<Vec<(Place, u32)>>,
    /// Damage met while promoting.
    pub(crate) damage: Option<String>,
    /// Something was asked since the background last looked.
    pub(crate) asked: bool,
    pub(crate) stop: bool,
}

/// What the background shares with the appending thread.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) requests: Mutex<Requests>,
    pub(crate) work: Condvar,
}

/// The background of one log.
pub(crate) struct Background {
    pub(crate) options: Options,
    pub(crate) identity: Identity,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) table: Arc<Table>,
    pub(crate) supply: Arc<Mutex<Supply>>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) reader: Reader,
    pub(crate) work: Work,
}

/// What is begun and not finished.
#[derive(Default)]
pub(crate) struct Work {
    turn: usize,
    zeroing: Option<Zeroing>,
    writing: Option<Writing>,
    previous: Previous,
    promotion: Option<Promotion>,
    /// Out of the manifest, perhaps still being read.
    retired: Vec<Arc<Segment>>,
    /// Something waits for space or for handles, and that was said.
    waits: bool,
    /// What commits leave of the disk. In the polled form, which knows no time, always everything.
    beside: Beside,
}

/// What somebody else does with the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Beside {
    /// Nothing.
    #[default]
    Nobody,
    /// Commits, each of which would wait for what is written beside it: nothing is written before its time.
    Commits,
    /// Commits of so many bytes that nothing is written ahead.
    Bulk,
}

/// What a step did: bytes written or read; `None`: there is nothing to do.
type Step = io::Result<Option<u64>>;

/// One kind of work.
type Piece = fn(&mut Background) -> Step;

impl Background {
    /// The background's thread: until told to stop.
    pub(crate) fn run(&mut self) {
        loop {
            let stopped = {
                let mut requests = lock(&self.desk.requests);
                requests.asked = false;
                requests.stop
            };
            if stopped {
                return;
            }
            let budget = &self.options.volume.budget;
            self.work.beside = match (budget.is_quiet(), budget.is_bulk()) {
                (true, _) => Beside::Nobody,
                (false, false) => Beside::Commits,
                (false, true) => Beside::Bulk,
            };
            let bytes = self.step();
            let wait =
                bytes.map_or(LOOK_AGAIN, |bytes| self.options.volume.budget.take(Share::Writes, bytes));
            let idle = bytes.is_none();
            let requests = lock(&self.desk.requests);
            // What was asked meanwhile is not waited out; what was used of the disk is.
            let goes_on = |requests: &mut Requests| !(requests.stop || idle && requests.asked);
            drop(self.desk.work.wait_timeout_while(requests, wait, goes_on).expect(PANICKED));
        }
    }

    /// Does one piece of work; its bytes, or `None` if nothing can be done now.
    pub(crate) fn step(&mut self) -> Option<u64> {
        if self.journal.failed().is_some() {
            return None;
        }
        let mut order: [(Piece, Needs); 8] = [
            (Self::seal, Needs::Manifest),
            (Self::prepare, Needs::Manifest),
            (Self::retire, Needs::Manifest),
            (Self::recycle, Needs::Manifest),
            (Self::snapshot, Needs::Much),
            (Self::promote, Needs::Much),
            (Self::cushion, Needs::Much),
            (Self::zero, Needs::Much),
        ];
        // Every other step is for whose turn it is: a stream of urgent work must not keep snapshots and promotions waiting.
        self.work.turn = self.work.turn.wrapping_add(1);
        if self.work.turn.is_multiple_of(2) {
            let whose = self.work.turn / 2 % order.len();
            order.rotate_left(whose);
        }
        let mut waits = false;
        for (work, needs) in order {
            let outcome = work(self).or_else(|error| {
                waits |= self.can_wait(&error);
                if self.can_wait(&error) { self.relieve(&error, needs) } else { Err(error) }
            });
            match outcome {
                Ok(None) => {}
                Ok(Some(bytes)) => return Some(bytes),
                Err(error) => {
                    self.journal.poison(format!("keep the log in order: {error}"));
                    return None;
                }
            }
        }
        if self.work.waits && !waits {
            tracing::info!(shard = self.identity.shard, "the log's background work goes on");
        }
        self.work.waits = waits;
        None
    }

    #[expect(clippy::unused_self, reason = "reads as a question to the background")]
    fn can_wait(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::StorageFull || is_out_of_handles(error)
    }

    /// Work has met a lack that may pass: says so once, and gives up what can be spared.
    fn relieve(&mut self, error: &io::Error, needs: Needs) -> Step {
        if !self.work.waits {
            self.work.waits = true;
            tracing::warn!(shard = self.identity.shard, %error, "the log's background work waits");
        }
        if is_out_of_handles(error) {
            self.table.close_idle();
            return Ok(None);
        }
        Ok(lock(&self.supply).relieve(&*self.disk, needs)?.then_some(0))
    }

    /// Writes the footer of a segment that was left, and lets the manifest know that it is sealed.
    fn seal(&mut self) -> Step {
        let durable = self.journal.durable();
        let left = lock(&self.desk.requests).left.front().cloned();
        let Some(segment) = left.filter(|left| lock(&left.state).last <= durable) else { return Ok(None) };
        let bytes = seal(&*self.disk, &self.catalog, &self.table, &segment, false)?;
        let mut requests = lock(&self.desk.requests);
        requests.left.pop_front();
        requests.tidy = true;
        Ok(Some(bytes))
    }

    /// Gives ready files their final names ahead of use.
    fn prepare(&mut self) -> Step {
        let unprepared = lock(&self.supply).unprepared(&*self.disk, &self.catalog);
        let Some(mut ready) = unprepared else { return Ok(None) };
        let installed = install(&*self.disk, &self.catalog, ready.number, &mut ready.source);
        lock(&self.supply).prepared(ready);
        installed.map(|_| Some(0))
    }

    /// Takes segments that nobody needs out of the manifest.
    fn retire(&mut self) -> Step {
        let durable = if mutant::on(Mutant::RetireEarly) { Lsn(u64::MAX) } else { self.journal.durable() };
        let trim = {
            let mut requests = lock(&self.desk.requests);
            if !std::mem::take(&mut requests.tidy) {
                return Ok(None);
            }
            requests.trim
        };
        let mut waits = false;
        let mut empty = self.table.all();
        empty.retain(|segment| {
            let state = lock(&segment.state);
            let empty = state.sealed && state.last <= trim && state.live_bytes <= 0;
            // What settled the last record in it must be durable first: else a crash brings the record back without its bytes.
            waits |= empty && state.live_at > durable;
            let moving = self.work.promotion.as_ref().is_some_and(|promotion| promotion.uses(segment));
            empty && state.live_at <= durable && !moving
        });
        lock(&self.desk.requests).tidy |= waits;
        if empty.is_empty() {
            return Ok(None);
        }
        if let Err(error) = self.catalog.commit(&*self.disk, |manifest| drop_segments(manifest, &empty)) {
            lock(&self.desk.requests).tidy = true;
            return Err(error);
        }
        self.table.replace(&empty, None);
        self.work.retired.append(&mut empty);
        Ok(Some(0))
    }

    /// Moves files of retired segments that nobody reads any more into the pool.
    fn recycle(&mut self) -> Step {
        let Some(free) = self.work.retired.iter().position(|segment| Arc::strong_count(segment) == 1) else {
            return self.give_up();
        };
        let segment = self.work.retired.swap_remove(free);
        let pages = lock(&segment.state).file_pages;
        let welcome = segment.kind == Kind::Log && lock(&self.supply).welcome(pages);
        if welcome {
            let name = lock(&self.supply).name();
            self.disk.rename(&segment.name(), &name)?;
            lock(&self.supply).join(name, pages);
        } else {
            self.disk.remove(&segment.name())?;
        }
        Ok(Some(0))
    }

    /// Removes one file of a pool that has become too large for the log's budget, or while another log has no space.
    fn give_up(&mut self) -> Step {
        let bound = self.options.log_bytes_max + self.options.pool_min as u64 * self.options.segment_bytes;
        if lock(&self.supply).pooled() <= self.options.pool_min {
            return Ok(None);
        }
        let needed = self.options.volume.is_short();
        let name = {
            let mut supply = lock(&self.supply);
            let over = supply.pool_bytes() + segments_bytes(&self.table) > bound;
            if over || needed { supply.give_up() } else { None }
        };
        let Some(name) = name else { return Ok(None) };
        self.disk.remove(&name)?;
        Ok(Some(0))
    }

    /// Writes a piece of a snapshot.
    fn snapshot(&mut self) -> Step {
        if self.work.writing.is_none() {
            let durable = self.journal.durable();
            let mut requests = lock(&self.desk.requests);
            // A snapshot may not be newer than the log that a crash leaves.
            let Some((lsn, chunks)) = requests.snapshot.take_if(|(lsn, _)| *lsn <= durable) else {
                return Ok(None);
            };
            if lsn == requests.snapshot_durable {
                requests.snapshot_news = true;
                return Ok(Some(0));
            }
            drop(requests);
            self.work.writing = Some(Writing::of(self.identity.identity, lsn, chunks, &self.work.previous));
        }
        let Some(writing) = &mut self.work.writing else { return Ok(None) };
        if let Some(bytes) = writing.step(&*self.disk)? {
            return Ok(Some(bytes));
        }
        writing.finish(&*self.disk)?;
        let Some(writing) = self.work.writing.take() else { return Ok(None) };
        let (lsn, previous) = writing.done();
        self.work.previous = previous;
        let mut requests = lock(&self.desk.requests);
        (requests.snapshot_durable, requests.snapshot_news) = (lsn, true);
        drop(requests);
        self.journal.wake();
        Ok(Some(0))
    }

    /// Moves survivors, piece by piece.
    fn promote(&mut self) -> Step {
        if self.work.promotion.is_none() {
            self.work.promotion = self.begin_promotion();
        }
        let Some(promotion) = &mut self.work.promotion else { return Ok(None) };
        match promotion.step(&self.reader)? {
            Some(Ok(bytes)) => return Ok(Some(bytes)),
            Some(Err(damage)) => {
                // Left as it is: what is damaged is reported, and nothing of it is given up.
                tracing::error!(shard = self.identity.shard, damage, "the log is damaged");
                lock(&self.desk.requests).damage.get_or_insert(damage);
                let Some(promotion) = self.work.promotion.take() else { return Ok(None) };
                promotion.abandon(&*self.disk)?;
                lock(&self.desk.requests).wanted = Wanted::Never;
                return Ok(Some(0));
            }
            None => {}
        }
        let mut gone = promotion.finish(&*self.disk, &self.catalog, &self.table)?;
        self.work.promotion = None;
        self.work.retired.append(&mut gone);
        let mut requests = lock(&self.desk.requests);
        (requests.wanted, requests.tidy) = (Wanted::Nothing, true);
        Ok(Some(0))
    }

    fn begin_promotion(&mut self) -> Option<Promotion> {
        let mut requests = lock(&self.desk.requests);
        match requests.wanted {
            Wanted::Nothing => {
                let trim = requests.trim;
                drop(requests);
                let range = promote::candidates(&self.table, &self.options, trim)?;
                lock(&self.desk.requests).wanted = Wanted::Range(range);
                self.journal.wake();
                None
            }
            Wanted::Asked(range) => {
                let survivors = requests.survivors.take()?;
                drop(requests);
                let sources: Vec<Arc<Segment>> = self.table.within(range);
                Some(Promotion::begin(self.identity, self.catalog.number(), range, sources, survivors))
            }
            Wanted::Range(_) | Wanted::Never => None,
        }
    }

    /// Makes the cushion again that was given up on a full disk.
    fn cushion(&mut self) -> Step {
        lock(&self.supply).restore_cushion(&*self.disk)
    }

    /// Fills the pool with zeroed files, up to its least size. Beside commits as the segment in use fills up, and not beside bulk, which would
    /// use up in a moment what it had to share the disk for; unless what is zeroed is the reserve of a disk that becomes full.
    fn zero(&mut self) -> Step {
        let beside = match self.work.beside {
            Beside::Commits | Beside::Bulk if lock(&self.supply).is_scarce(&*self.disk) => Beside::Nobody,
            beside => beside,
        };
        if beside == Beside::Bulk {
            return Ok(None);
        }
        let (used, room) = self.table.newest().map_or((0, 0), |newest| {
            let state = lock(&newest.state);
            (state.pages, state.room)
        });
        if self.work.zeroing.is_none() {
            // The next one is all that commits have use for.
            let most = if beside == Beside::Commits { 1 } else { self.options.pool_min };
            let enough = {
                let supply = lock(&self.supply);
                supply.pooled() >= supply.wanted(&*self.disk, most)
            };
            let promise = if enough { None } else { lock(&self.supply).promise(&*self.disk) };
            if promise.is_none() {
                return Ok(None);
            }
            let whole = self.options.segment_bytes / PAGE_BYTES as u64;
            // A young log takes longer and longer files: its commits have little to share the disk for.
            let pages =
                if beside == Beside::Commits && room > 0 { whole.min(2 * u64::from(room)) } else { whole };
            self.work.zeroing = Some(Zeroing::begin(&*self.disk, pages, promise)?);
        }
        let Some(zeroing) = &mut self.work.zeroing else { return Ok(None) };
        if beside == Beside::Commits && zeroing.is_ahead(used, room) {
            return Ok(None);
        }
        match zeroing.step(&*self.disk, || lock(&self.supply).name()) {
            Ok(None) => {}
            Ok(Some((name, pages))) => {
                self.work.zeroing = None;
                lock(&self.supply).join(name, pages);
            }
            // Somebody else has filled the disk: nothing of ours needs this file most.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.work.zeroing = None;
                self.disk.remove(Zeroing::NAME)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        Ok(Some((PIECE_PAGES * PAGE_BYTES) as u64))
    }
}

/// Writes a segment's footer and seals it in the manifest; bytes written. With `cut` the file ends behind the footer.
///
/// # Errors
/// Those of the file system. A full disk costs the footer only: it can be rebuilt.
pub(crate) fn seal(
    disk: &dyn Disk,
    catalog: &Catalog,
    table: &Table,
    segment: &Arc<Segment>,
    cut: bool,
) -> io::Result<u64> {
    let footer = Arc::new(segment.footer());
    let pages = footer.encode();
    let file = table.open(disk, segment)?.file;
    let at = lock(&segment.state).pages;
    match file.write(u64::from(at), &pages) {
        Err(error) if error.kind() != io::ErrorKind::StorageFull => return Err(error),
        _ => {}
    }
    let end = u64::from(at) + pages.len() as u64;
    let file_pages = file.pages()?;
    let file_pages = if cut { file_pages.min(end) } else { file_pages };
    lock(&segment.state).file_pages = file_pages;
    let entry = segment.entry();
    catalog.commit(disk, |manifest| {
        manifest.segments.retain(|known| known.number != entry.number);
        manifest.segments.push(entry);
    })?;
    if cut {
        // Only now: until the manifest says that it is shorter, a shorter file is damage.
        file.cut(file_pages)?;
    }
    let mut state = lock(&segment.state);
    (state.sealed, state.index, state.promise) = (true, Vec::new(), None);
    // Who reads it now opens it for that.
    (state.file, state.footer) = (None, Some(Arc::clone(&footer)));
    drop(state);
    table.remember(segment, footer.memory_bytes());
    Ok((pages.len() * PAGE_BYTES) as u64)
}

/// Takes segments out of a manifest that keeps in mind how far they went.
pub(crate) fn drop_segments(manifest: &mut Manifest, gone: &[Arc<Segment>]) {
    for segment in gone {
        let state = lock(&segment.state);
        if segment.kind == Kind::Log && state.last > manifest.floor.0 {
            manifest.floor = (state.last, state.chain);
        }
        manifest.segments.retain(|known| known.number != segment.number);
    }
}

/// Bytes that the segments in use take on the disk.
pub(crate) fn segments_bytes(table: &Table) -> u64 {
    let pages = |segment: &Arc<Segment>| {
        let state = lock(&segment.state);
        state.file_pages.max(u64::from(state.pages))
    };
    table.all().iter().map(pages).sum::<u64>() * PAGE_BYTES as u64
}
