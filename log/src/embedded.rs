//! The log on this machine's disk: segments of blocks, one write in flight, snapshots and promotion beside it.
//!
//! Opened by `server` with threads of its own ([`Embedded::threaded`]) and by the simulator and tests without
//! ([`Embedded::polled`]): the same parts, driven by `poll`. What must hold: nothing is reported durable before its sync has
//! returned; a page with acknowledged bytes is never written again; a failed sync is never retried.

mod append;

mod journal;

mod read;

pub(crate) mod table;

pub(crate) mod scan;

pub(crate) mod recover;

pub(crate) mod catalog;

mod supply;

mod cushion;

mod background;

pub(crate) mod snapshot;

mod promote;

mod budget;

mod volume;

mod cache;

pub use journal::Waker;
pub use read::Reader;
use read::{Ahead, Pieces, SWEEP_PAGES_MAX};
pub use recover::{Damage, OpenError, Recovery};
pub use volume::Volume;

use crate::disk::{Disk, Lock};
use crate::format::block::{BODY_BYTES_MAX, Layout};
use crate::format::page::PAGE_BYTES;
use crate::format::segment::Kind;
use append::{Around, Identity, Tail};
use background::{Background, Desk};
use bytes::Bytes;
use cache::Cache;
use catalog::Catalog;
use journal::Journal;
use promote::Wanted;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;
use stele_model::id::{Lsn, Place};
use stele_model::log::{AppendError, Block, Completion, Durability, Limits, LogStore, ReadError};
use supply::Supply;
use table::Table;

const PANICKED: &str = "a thread of this log has panicked";

/// Body size above which a block gains nothing: 1-MB blocks are as fast as 4 MB with a quarter of the latency.
const BODY_BYTES_BEST: u32 = 1 << 20;
/// Blocks up to here are written on the appending thread when the journal is idle: it saves two hand-overs, 10–15 µs.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// Blocks appended and not completed: one being written, the next ready to follow without a pause.
const IN_FLIGHT_MAX: u32 = 2;

/// So many segments behind the snapshot are many, when a start finds them.
const SCATTERED_MIN: usize = 8;

/// How long a commit or a read waits for a file handle, and how often it asks.
const HANDLES_PATIENCE: Duration = Duration::from_secs(60);
const HANDLES_AGAIN: Duration = Duration::from_millis(20);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(PANICKED)
}

/// How a log is laid out and how much of the disk it may use. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The shard whose log it is.
    pub shard: u16,
    /// For a new log: a number no other log has.
    pub identity: u64,
    /// Length of a segment; 64 KiB … 1 GiB, whole pages. A block may have a quarter of it (at most 15.5 MiB).
    pub segment_bytes: u64,
    /// Length of the first segment of a young log, which is zero-written while it opens.
    pub starter_bytes: u64,
    /// Ready segments kept in store, at least 1: fewer while the log is young and there is much space. The last two are kept for a full
    /// disk.
    pub pool_min: usize,
    /// The log's budget: beyond it segments that are less than half alive are promoted.
    pub log_bytes_max: u64,
    /// Space left free on the disk, for snapshots and manifests.
    pub margin_bytes: u64,
    /// The disk; one for all logs on it.
    pub volume: Arc<Volume>,
    /// Pages that were read lately and are kept for who reads on behind them; less than 128 KiB: none.
    pub cache_bytes: u64,
    /// After so long without a block a marker proves that the last one was written whole.
    pub idle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shard: 0,
            identity: RandomState::new().build_hasher().finish(),
            segment_bytes: 128 << 20,
            starter_bytes: 32 << 20,
            pool_min: 4,
            log_bytes_max: 8 << 30,
            margin_bytes: 256 << 20,
            volume: Arc::default(),
            cache_bytes: 8 << 20,
            idle: Duration::from_millis(50),
        }
    }
}

impl Options {
    /// Options that suit a volume of so many bytes: a tenth of it for the log, and segments of which a small disk holds some.
    #[must_use]
    pub fn sized(volume_bytes: u64) -> Self {
        let default = Self::default();
        let segment_bytes =
            (volume_bytes / 256).next_multiple_of(1 << 20).clamp(16 << 20, default.segment_bytes);
        Self {
            segment_bytes,
            log_bytes_max: default.log_bytes_max.min(volume_bytes / 10),
            margin_bytes: default.margin_bytes.min(volume_bytes / 50),
            ..default
        }
    }

    fn checked(&self) -> Result<(), OpenError> {
        let pages = self.segment_bytes.is_multiple_of(PAGE_BYTES as u64);
        if !pages || !(64 << 10..=1 << 30).contains(&self.segment_bytes) {
            return Err(OpenError::Format("segment_bytes is 64 KiB to 1 GiB, in whole pages".into()));
        }
        if self.pool_min == 0 {
            return Err(OpenError::Format("pool_min is at least 1".into()));
        }
        // A block of the largest size, with header, marker and footer, fits into the shortest segment.
        if self.starter_bytes < self.body_bytes_max() * 2
            || !self.starter_bytes.is_multiple_of(PAGE_BYTES as u64)
        {
            return Err(OpenError::Format(
                "starter_bytes is half of a segment or 31 MiB at least, in whole pages".into(),
            ));
        }
        Ok(())
    }

    /// The shortest file that can be a segment: it holds a block of the largest size.
    fn least_bytes(&self) -> u64 {
        let body = usize::try_from(self.body_bytes_max()).expect("at most 15.5 MiB");
        // Header, marker, footer, and one to spare.
        ((Layout::of(body).pages + 4) * PAGE_BYTES) as u64
    }

    fn body_bytes_max(&self) -> u64 {
        (self.segment_bytes / 4).min(BODY_BYTES_MAX as u64)
    }
}

/// One log.
pub struct Embedded {
    options: Options,
    disk: Arc<dyn Disk>,
    table: Arc<Table>,
    catalog: Arc<Catalog>,
    supply: Arc<Mutex<Supply>>,
    journal: Arc<Journal>,
    cache: Arc<Cache>,
    pieces: Arc<Pieces>,
    ahead: Arc<Ahead>,
    desk: Arc<Desk>,
    tail: Arc<Mutex<Tail>>,
    appended: Lsn,
    told: Lsn,
    failure_told: bool,
    reserve: bool,
    identity: Identity,
    form: Form,
    _lock: Box<dyn Lock>,
}

/// Who drives the journal and the background.
enum Form {
    Threads(Vec<JoinHandle<()>>),
    Polled { background: Box<Background>, held: bool },
}

impl Embedded {
    /// Opens a log that is driven by [`LogStore::poll`]: each call performs one write and one piece of background work.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn polled(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Recovery), OpenError> {
        Self::open(disk, options, None, |background, _| {
            Ok(Form::Polled { background: Box::new(background), held: false })
        })
    }

    /// Opens a log with two threads of its own, journal and background. `waker` is called on either of them when
    /// [`LogStore::poll`], [`LogStore::snapshot_done`] or [`LogStore::wanted`] may have something new.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn threaded(
        disk: Arc<dyn Disk>,
        options: Options,
        waker: Waker,
    ) -> Result<(Self, Recovery), OpenError> {
        let idle = options.idle;
        Self::open(disk, options, Some(waker), |mut background, tail| {
            let journal = Arc::clone(&background.journal);
            let shard = background.identity.shard;
            let writer = std::thread::Builder::new().name(format!("journal-{shard}"));
            let keeper = std::thread::Builder::new().name(format!("log-keeper-{shard}"));
            let threads = vec![
                writer.spawn(move || journal.run(&tail, idle))?,
                keeper.spawn(move || background.run())?,
            ];
            Ok(Form::Threads(threads))
        })
    }

    fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        waker: Option<Waker>,
        form: impl FnOnce(Background, Arc<Mutex<Tail>>) -> std::io::Result<Form>,
    ) -> Result<(Self, Recovery), OpenError> {
        options.checked()?;
        let held = disk.lock()?;
        let found = recover::recover(&*disk, &options)?;
        let report = found.report;
        let (identity, shard) = (found.manifest.identity, options.shard);
        let identity = Identity { identity, shard, epoch: report.epoch };
        let tail = Arc::new(Mutex::new(Tail::new(identity, report.tail, found.chain)));
        let catalog = Arc::new(found.catalog);
        let table = Arc::new(found.table);
        let supply = Arc::new(Mutex::new(found.supply));
        options.volume.join(&supply);
        let waits = waker.is_some();
        let journal = Arc::new(Journal::new(
            Arc::clone(&disk),
            Arc::clone(&catalog),
            Arc::clone(&supply),
            Arc::clone(&table),
            Arc::clone(&options.volume),
            report.tail,
            waker,
        ));
        let desk = Arc::new(Desk::default());
        lock(&desk.requests).snapshot_durable = report.snapshot.unwrap_or_default();
        let cache = Arc::new(Cache::new(options.cache_bytes));
        let mut log = Self {
            options,
            disk,
            table,
            catalog,
            supply,
            journal,
            cache,
            pieces: Pieces::new(SWEEP_PAGES_MAX),
            ahead: Arc::default(),
            desk,
            tail,
            appended: report.tail,
            told: report.tail,
            failure_told: false,
            reserve: false,
            identity,
            form: Form::Threads(Vec::new()),
            _lock: held,
        };
        let background = log.background(waits);
        log.form = form(background, Arc::clone(&log.tail))?;
        Ok((log, report))
    }

    fn background(&self, waits: bool) -> Background {
        Background {
            options: self.options.clone(),
            identity: self.identity,
            disk: Arc::clone(&self.disk),
            catalog: Arc::clone(&self.catalog),
            table: Arc::clone(&self.table),
            supply: Arc::clone(&self.supply),
            journal: Arc::clone(&self.journal),
            desk: Arc::clone(&self.desk),
            // The background pays for what it did after each step.
            reader: Reader { waits: false, ..self.reader_that(waits) },
            work: background::Work::default(),
        }
    }

    fn reader_that(&self, waits: bool) -> Reader {
        Reader {
            disk: Arc::clone(&self.disk),
            table: Arc::clone(&self.table),
            journal: Arc::clone(&self.journal),
            volume: Arc::clone(&self.options.volume),
            cache: Arc::clone(&self.cache),
            pieces: Arc::clone(&self.pieces),
            ahead: Arc::clone(&self.ahead),
            waits,
        }
    }

    /// Reads records that memory no longer holds; for any number of other threads.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.reader_that(matches!(self.form, Form::Threads(_)))
    }

    /// The first block from which the log can be read to its end.
    #[must_use]
    pub fn first(&self) -> Lsn {
        self.reader_that(false).first()
    }

    /// Damage that the background met, if any: what and where.
    #[must_use]
    pub fn damage(&self) -> Option<String> {
        lock(&self.desk.requests).damage.clone()
    }

    /// Bytes of all segments and of the pool.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        background::segments_bytes(&self.table) + lock(&self.supply).pool_bytes()
    }

    /// Polled form: while held, [`LogStore::poll`] writes nothing, so that a simulator decides when a commit ends.
    pub fn hold(&mut self, hold: bool) {
        if let Form::Polled { held, .. } = &mut self.form {
            *held = hold;
        }
    }

    /// Polled form: what the journal's thread does after [`Options::idle`] without a block.
    pub fn idle(&mut self) {
        if matches!(self.form, Form::Polled { .. }) {
            self.journal.mark(&self.tail);
        }
    }

    /// Polled form: one piece of background work. `false`: there is none that can be done now.
    pub fn work(&mut self) -> bool {
        match &mut self.form {
            Form::Polled { background, .. } => background.step().is_some(),
            Form::Threads(_) => false,
        }
    }

    fn ask(&self, change: impl FnOnce(&mut background::Requests)) {
        let mut requests = lock(&self.desk.requests);
        change(&mut requests);
        requests.asked = true;
        drop(requests);
        self.desk.work.notify_one();
    }
}

impl LogStore for Embedded {
    fn limits(&self) -> Limits {
        let block_bytes_max = u32::try_from(self.options.body_bytes_max()).expect("at most 15.5 MiB");
        Limits {
            block_bytes_max,
            block_bytes_best: BODY_BYTES_BEST.min(block_bytes_max),
            in_flight_max: IN_FLIGHT_MAX,
        }
    }

    fn durability(&self) -> Durability {
        Durability::Synced
    }

    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError> {
        if let Some(failed) = self.journal.failed() {
            return Err(failed);
        }
        if block.body.len() as u64 > self.options.body_bytes_max() {
            return Err(AppendError::TooLarge);
        }
        assert_eq!(block.lsn.0, self.appended.0 + 1, "S20: blocks are appended in order, each once");
        let around =
            Around { disk: &*self.disk, supply: &self.supply, catalog: &self.catalog, table: &self.table };
        let mut tail = lock(&self.tail);
        let write = tail.place(&block, self.reserve, self.journal.buffer(), around)?;
        self.appended = block.lsn;
        let (left, hurry) = (tail.left(), tail.hurry());
        // Making a file takes milliseconds: not on this thread.
        let inline = inline && write.install.is_none();
        if inline && block.body.len() <= INLINE_BYTES_MAX && self.journal.claim() {
            drop(tail);
            self.journal.write_claimed(write);
        } else {
            self.journal.push(write);
            drop(tail);
        }
        if let Some(left) = left {
            self.ask(|requests| requests.left.push_back(left));
        } else if hurry {
            self.ask(|_| {});
        }
        Ok(())
    }

    fn use_reserve(&mut self, allowed: bool) {
        self.reserve = allowed;
    }

    fn is_scattered(&self) -> bool {
        let snapshot = lock(&self.desk.requests).snapshot_durable;
        let segments = self.table.all();
        let behind = segments
            .iter()
            .filter(|segment| segment.kind == Kind::Log && lock(&segment.state).last > snapshot);
        behind.count() >= SCATTERED_MIN
    }

    fn has_room(&self) -> bool {
        lock(&self.supply).has_room(&*self.disk)
    }

    fn commit_us(&self) -> u64 {
        self.journal.commit_us()
    }

    fn poll(&mut self, out: &mut Vec<Completion>) {
        if let Form::Polled { background, held: false } = &mut self.form
            && !self.journal.step()
        {
            background.step();
        }
        let durable = self.journal.durable();
        if durable > self.told {
            self.told = durable;
            out.push(Completion::Durable(durable));
        }
        if let (false, Some(failed)) = (self.failure_told, self.journal.failed()) {
            self.failure_told = true;
            out.push(Completion::Failed(failed));
        }
    }

    fn read(&self, from: Lsn, bytes_max: usize, sink: &mut dyn FnMut(Block)) -> Result<(), ReadError> {
        self.reader_that(false).blocks(from, bytes_max, sink)
    }

    fn tail(&self) -> Result<Lsn, ReadError> {
        Ok(self.journal.durable())
    }

    fn trim(&mut self, below: Lsn) {
        self.ask(|requests| {
            // Without a snapshot above it a block is needed for replay, whoever says otherwise.
            requests.trim = requests.trim.max(below.min(requests.snapshot_durable));
            requests.tidy = true;
        });
    }

    fn live(&mut self, changes: &[(Lsn, i64)]) {
        // The entry that caused a change stands in the last block appended or in the one being filled.
        let emptied = self.table.live(changes, Lsn(self.appended.0 + 1));
        if emptied {
            self.ask(|requests| requests.tidy = true);
        }
    }

    fn wanted(&mut self) -> Option<(Lsn, Lsn)> {
        let mut requests = lock(&self.desk.requests);
        let Wanted::Range(range) = requests.wanted else { return None };
        requests.wanted = Wanted::Asked(range);
        Some(range)
    }

    fn survivors(&mut self, range: (Lsn, Lsn), records: Vec<(Place, u32)>) {
        self.ask(|requests| {
            assert_eq!(
                requests.wanted,
                Wanted::Asked(range),
                "survivors are told when they are wanted, once"
            );
            requests.survivors = Some(records);
        });
    }

    fn snapshot(&mut self, lsn: Lsn, chunks: Vec<Bytes>) {
        assert!(lsn <= self.appended, "a snapshot is of blocks that were appended");
        self.ask(|requests| requests.snapshot = Some((lsn, chunks)));
    }

    fn snapshot_done(&mut self) -> Option<Lsn> {
        let mut requests = lock(&self.desk.requests);
        std::mem::take(&mut requests.snapshot_news).then_some(requests.snapshot_durable)
    }

    fn load_snapshot(&self) -> Result<Option<(Lsn, Vec<Bytes>)>, ReadError> {
        let unavailable =
            |error: std::io::Error| ReadError::Unavailable(format!("load the snapshot: {error}"));
        let Some(lsn) = snapshot::newest(&*self.disk).map_err(unavailable)? else { return Ok(None) };
        let loaded = snapshot::load(&*self.disk, self.identity.identity, lsn).map_err(unavailable)?;
        match loaded {
            Ok(chunks) => Ok(Some((lsn, chunks))),
            Err(damaged) => {
                let offset = damaged.page * PAGE_BYTES as u64;
                let what = format!("{} at byte {offset}: {}", damaged.file, damaged.flaw);
                Err(ReadError::Corrupt { at: lsn, what })
            }
        }
    }
}

impl Drop for Embedded {
    /// Writes what was handed over, then ends the threads.
    fn drop(&mut self) {
        self.journal.stop();
        self.ask(|requests| requests.stop = true);
        if let Form::Threads(threads) = &mut self.form {
            for thread in threads.drain(..) {
                // A panic there has been told by the panic itself; there is nobody to return it to.
                drop(thread.join());
            }
        }
    }
}
