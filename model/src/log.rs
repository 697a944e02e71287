//! The seam between a state machine and the log that keeps it: blocks go down, completions come up.
//!
//! Called by `core::runner`; implemented by the engines in `log` and by the test doubles of `sim`. A machine's thread sees
//! completions, never futures: an engine may be asynchronous inside. What is not here: segments, files, promotion, snapshots'
//! bytes on disk. They are the engine's own affair.

use crate::id::{Lsn, Now, Place};
use bytes::Bytes;

/// One commit block as the runner hands it over: a body of entries, back to back, and what the header needs to say of it.
/// The engine frames, checksums and pads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Previous block's plus one.
    pub lsn: Lsn,
    /// When the block was opened; the time of all its entries (S28).
    pub time: Now,
    /// Number of entries in `body`. 0 in an idle marker.
    pub entries: u32,
    /// Entries, each `len: u32 LE` (of what follows) and its bytes. Places count from the start of this body.
    pub body: Bytes,
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Every block up to and including this one survives a power cut.
    Durable(Lsn),
    /// The engine cannot say that the blocks in flight survive; nothing after them may be appended.
    Failed(AppendError),
}

/// Why a block was not, or may not have been, appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendError {
    /// Another writer owns the log; its tail is given.
    Fenced {
        /// Last block of the log.
        tail: Lsn,
    },
    /// The log was sealed.
    Sealed {
        /// Last block of the log.
        tail: Lsn,
    },
    /// No space for this kind of block. Nothing was written; try again after space was made.
    Full,
    /// The body is longer than [`Limits::block_bytes_max`].
    TooLarge,
    /// It may or may not have happened: read the tail before going on, never retry blindly.
    Unknown(String),
    /// The log cannot be used any more; what and where.
    Broken(String),
}

/// Why blocks could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// Trimmed away; the first block there is.
    Trimmed {
        /// First readable block.
        first: Lsn,
    },
    /// Bytes at this block are damaged.
    Corrupt {
        /// The block.
        at: Lsn,
        /// What differs, and where on disk.
        what: String,
    },
    /// Not now.
    Unavailable(String),
}

/// A large body that begins at a multiple of this address can be written from where it stands, without a copy.
pub const BODY_ALIGN: usize = 4096;

/// What an engine can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body of a block, bytes.
    pub block_bytes_max: u32,
    /// Body size above which a block gains nothing by growing, bytes.
    pub block_bytes_best: u32,
    /// How many blocks may be appended and not yet completed.
    pub in_flight_max: u32,
}

/// What "durable" means on an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Nothing survives the process.
    Memory,
    /// Synced on this machine's disk.
    Synced,
    /// Synced on a quorum of machines.
    Quorum,
}

/// One log. See STORAGE §4 of the design for the reasons behind each verb.
pub trait LogStore {
    /// What the engine can take.
    fn limits(&self) -> Limits;

    /// What "durable" means here.
    fn durability(&self) -> Durability;

    /// Appends a block. Ordered; durable later, as [`Self::poll`] tells. `block.lsn` must be the last appended one plus one.
    ///
    /// With `inline`, the engine may do the whole work before it returns (it is idle and the block small), so that the
    /// completion is there at the next `poll`.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::TooLarge`] leave the log as it was; after any other the log is not used again.
    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError>;

    /// Whether the appends that follow may use what an engine keeps in reserve for a full disk. Set for blocks that only settle,
    /// delete or trim, so that consumers drain after [`AppendError::Full`]; unset for all others. Engines without a reserve
    /// ignore it.
    fn use_reserve(&mut self, allowed: bool) {
        let _ = allowed;
    }

    /// Whether a snapshot would free much although little was logged since the last one: each start begins something new, and the processes
    /// were short-lived. Asked at a start.
    fn is_scattered(&self) -> bool {
        false
    }

    /// Whether a log that was full has space again, by more than the reserve. An engine that cannot tell says `false`: then only an append
    /// finds out.
    fn has_room(&self) -> bool {
        false
    }

    /// Microseconds from append to durable, added up over all blocks since the start; measured where the disk is. Engines without a
    /// clock say 0.
    fn commit_us(&self) -> u64 {
        0
    }

    /// Moves what has completed since the last call to `out`.
    fn poll(&mut self, out: &mut Vec<Completion>);

    /// Hands blocks from `from` on to `sink`, in order, until about `bytes_max` bytes of bodies were given or the tail is
    /// reached. Used for replay and for reads of what memory no longer holds.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn read(&self, from: Lsn, bytes_max: usize, sink: &mut dyn FnMut(Block)) -> Result<(), ReadError>;

    /// The last durable block.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn tail(&self) -> Result<Lsn, ReadError>;

    /// Blocks up to and including `below` are not needed for replay any more: a durable snapshot stands above them. What the
    /// machine still refers to in them stays readable (see [`Self::live`]). A hint. All that is alive in these blocks has been
    /// told by [`Self::live`] before this call, after a start as well: a block of which nothing was said counts as dead.
    fn trim(&mut self, below: Lsn);

    /// Net change, in bytes, of what the machine refers to in each of these blocks since the last call. A record that several
    /// queues hold counts once for each. The engine learns by it which segments are empty and which are worth promoting. The
    /// sums are rebuilt by such calls after a start. Engines that keep everything ignore it.
    fn live(&mut self, changes: &[(Lsn, i64)]);

    /// The range of blocks whose surviving records the engine wants to know, because it is about to move them (promotion).
    /// Answered by [`Self::survivors`] once. `None`: nothing wanted.
    fn wanted(&mut self) -> Option<(Lsn, Lsn)>;

    /// All records in the blocks of `range` that the machine still refers to, sorted by place, each with its length in bytes.
    /// The set only shrinks afterwards: no new reference to an old place is ever made.
    fn survivors(&mut self, range: (Lsn, Lsn), records: Vec<(Place, u32)>);

    /// Stores a snapshot of the machine as of `lsn`, durable when [`Self::snapshot_done`] says so.
    /// `chunks` that are equal (same pointer and length) to those of the previous snapshot need not be written again.
    fn snapshot(&mut self, lsn: Lsn, chunks: Vec<Bytes>);

    /// The newest snapshot that is known to be durable since the process started, if it changed since the last call.
    fn snapshot_done(&mut self) -> Option<Lsn>;

    /// The newest durable snapshot and its chunks, in the order they were given; for the start.
    ///
    /// # Errors
    /// See [`ReadError`]: a damaged snapshot is reported, never passed over in silence.
    fn load_snapshot(&self) -> Result<Option<(Lsn, Vec<Bytes>)>, ReadError>;
}

/// Reads single records that memory no longer holds. Cloned to reader threads.
pub trait RecordReader: Send + Sync {
    /// The `len` bytes of the record at `place`.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn record(&self, place: Place, len: u32) -> Result<Bytes, ReadError>;

    /// Several records, in the order asked for. An engine that can reads neighbours in one piece.
    ///
    /// # Errors
    /// The first one met.
    fn records(&self, records: &[(Place, u32)]) -> Result<Vec<Bytes>, ReadError> {
        records.iter().map(|&(place, len)| self.record(place, len)).collect()
    }
}
