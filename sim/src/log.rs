//! The logs below a node: the model of an engine ([`model`]), or the embedded engine on its fault disk ([`engine`]).
//!
//! Held twice: by a runner, as its [`LogStore`], and by the world, which makes it go on and crashes it. What an engine may do to
//! its machine the model does more often; what a disk may do to an engine only the other can show.

pub mod engine;
pub mod model;

use bytes::Bytes;
use engine::EngineLog;
use model::ModelLog;
use stele_model::id::{Lsn, Place};
use stele_model::log::{
    AppendError, Block, Completion, Durability, Limits, LogStore, ReadError, RecordReader,
};

/// Handle of a log; clones are the same log.
#[derive(Clone)]
pub enum SimLog {
    /// See [`ModelLog`].
    Model(ModelLog),
    /// See [`EngineLog`].
    Engine(EngineLog),
}

/// All that a second machine needs to come to the same state: the blocks and the newest snapshot as they are now.
#[derive(Clone, Debug)]
pub struct Image {
    /// Blocks in order; those that were trimmed may be missing.
    pub blocks: Vec<Block>,
    /// The newest snapshot.
    pub snapshot: Option<(Lsn, Vec<Bytes>)>,
    /// The last block.
    pub tail: Lsn,
}

/// Calls the same verb of whichever log it is.
macro_rules! either {
    ($self:ident, $log:ident => $call:expr) => {
        match $self {
            Self::Model($log) => $call,
            Self::Engine($log) => $call,
        }
    };
}

impl SimLog {
    /// A new process begins.
    ///
    /// # Errors
    /// Why the log cannot be opened.
    pub fn open(&self) -> Result<(), String> {
        match self {
            Self::Model(_) => Ok(()),
            Self::Engine(log) => log.open(),
        }
    }

    /// The log can go on by itself.
    #[must_use]
    pub fn busy(&self) -> bool {
        either!(self, log => log.busy())
    }

    /// Goes on with one thing.
    pub fn step(&self) {
        either!(self, log => log.step());
    }

    /// The process is gone: some of what was not synced is, too.
    pub fn crash(&self) {
        either!(self, log => log.crash());
    }

    /// From now on it does its duty and nothing else.
    pub fn behave(&self) {
        either!(self, log => log.behave());
    }

    /// See [`Image`].
    #[must_use]
    pub fn image(&self) -> Image {
        either!(self, log => log.image())
    }
}

impl LogStore for SimLog {
    fn limits(&self) -> Limits {
        either!(self, log => log.limits())
    }

    fn durability(&self) -> Durability {
        either!(self, log => log.durability())
    }

    fn append(&mut self, block: Block, inline: bool) -> Result<(), AppendError> {
        either!(self, log => log.append(block, inline))
    }

    fn use_reserve(&mut self, allowed: bool) {
        either!(self, log => log.use_reserve(allowed));
    }

    fn poll(&mut self, out: &mut Vec<Completion>) {
        either!(self, log => log.poll(out));
    }

    fn read(&self, from: Lsn, bytes_max: usize, sink: &mut dyn FnMut(Block)) -> Result<(), ReadError> {
        either!(self, log => log.read(from, bytes_max, sink))
    }

    fn tail(&self) -> Result<Lsn, ReadError> {
        either!(self, log => log.tail())
    }

    fn trim(&mut self, below: Lsn) {
        either!(self, log => log.trim(below));
    }

    fn live(&mut self, changes: &[(Lsn, i64)]) {
        either!(self, log => log.live(changes));
    }

    fn wanted(&mut self) -> Option<(Lsn, Lsn)> {
        either!(self, log => log.wanted())
    }

    fn survivors(&mut self, range: (Lsn, Lsn), records: Vec<(Place, u32)>) {
        either!(self, log => log.survivors(range, records));
    }

    fn snapshot(&mut self, lsn: Lsn, chunks: Vec<Bytes>) {
        either!(self, log => log.snapshot(lsn, chunks));
    }

    fn snapshot_done(&mut self) -> Option<Lsn> {
        either!(self, log => log.snapshot_done())
    }

    fn load_snapshot(&self) -> Result<Option<(Lsn, Vec<Bytes>)>, ReadError> {
        either!(self, log => log.load_snapshot())
    }
}

impl RecordReader for SimLog {
    fn record(&self, place: Place, len: u32) -> Result<Bytes, ReadError> {
        either!(self, log => log.record(place, len))
    }
}
