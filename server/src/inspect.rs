//! What the outer parts (HTTP API, metrics) ask of a running node. The node implements [`Inspect`]; [`Gate`] stands in front of it,
//! so that health can be asked before there is a node and after it has begun to stop.
//!
//! Implementations may block for as long as a turn of an IO or shard thread takes; callers on an async runtime put them on a
//! blocking thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use stele_model::flow::FlowCounts;
use stele_model::id::{ExchangeId, QueueId};
use stele_model::registry::User;
use stele_model::shard::QueueCounts;
use stele_model::stream::{StreamInfo, StreamUuid};

pub use stele_model::id::Now;
pub use stele_model::roll::{ClientLine, Clients};

/// A node that can be looked at.
pub trait Inspect: Send + Sync {
    /// Does it serve clients?
    fn readiness(&self) -> Readiness;
    /// The flow counts of all IO threads, merged; they grow as long as the process lives.
    fn flow(&self) -> FlowCounts;
    /// What exchanges and queues are called, from the newest snapshot of the registry.
    fn names(&self) -> Names;
    /// The sums over all threads.
    fn counters(&self) -> Counters;
    /// The counts of every queue of every shard.
    fn queues(&self) -> Vec<QueueCounts>;
    /// All streams, by namespace and name.
    fn streams(&self) -> Vec<StreamView>;
    /// The clients of those dialects that keep account of them, and those of late; with what they listen to, if that is asked for.
    fn clients(&self, listens: bool) -> Clients;
    /// The answer of JetStream's API (`$JS.API.` and `subject`) to a request in a namespace; `None`: there is none in time.
    fn jetstream(&self, namespace: &str, subject: &str, body: &str) -> Option<Vec<u8>>;
    /// A user by name, with hash and tags; `None`: there is none.
    fn user(&self, name: &str) -> Option<User>;
    /// How far the wall clock has jumped, seconds, if nobody has confirmed it: nothing goes by age meanwhile (S28).
    fn clock_away_s(&self) -> Option<i64>;
    /// An administrator says that the wall clock is right. Returns what [`Self::clock_away_s`] was.
    fn confirm_clock(&self) -> Option<i64>;
}

/// Whether clients are served, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not yet; what is going on.
    Starting(String),
    /// Yes.
    Ready,
    /// Not any more; why.
    Stopping(String),
}

/// An exchange's or queue's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Name of its namespace.
    pub namespace: String,
    /// Its own; AMQP's default exchange is empty.
    pub name: String,
}

/// Names of the objects that are there now. An id in a flow count may be missing: its object was deleted since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Of exchanges.
    pub exchanges: BTreeMap<ExchangeId, ObjectName>,
    /// Of queues.
    pub queues: BTreeMap<QueueId, ObjectName>,
    /// Of streams.
    pub streams: BTreeMap<StreamUuid, ObjectName>,
    /// The stream of each partition.
    pub partitions: BTreeMap<QueueId, StreamUuid>,
}

/// A stream, for listings.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamView {
    /// Name of its namespace.
    pub namespace: String,
    /// All else.
    pub info: Arc<StreamInfo>,
}

/// Sums over all threads since the process began; `…_now` are numbers of this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads of client sockets that brought something.
    pub io_reads: u64,
    /// Bytes they brought.
    pub io_read_bytes: u64,
    /// Writes to client sockets.
    pub io_writes: u64,
    /// Bytes they took.
    pub io_written_bytes: u64,
    /// Messages published by clients.
    pub messages_in: u64,
    /// Messages sent to clients: deliveries, answers to get, returned ones.
    pub messages_out: u64,
    /// Published messages that no rule took.
    pub messages_unrouted: u64,
    /// Commits: durable writes of the shards' and the registry's logs.
    pub log_commits: u64,
    /// Bytes they wrote.
    pub log_commit_bytes: u64,
    /// Time they took from submit to durable, microseconds.
    pub log_commit_us: u64,
    /// Frames that told a publisher that publishes are safe; one may stand for many.
    pub confirm_frames: u64,
    /// Publishes told to be safe.
    pub publishes_confirmed: u64,
    /// Publishes told to be refused.
    pub publishes_refused: u64,
    /// Connections accepted.
    pub connections_accepted: u64,
    /// Connections turned away: too many, or wrong credentials.
    pub connections_refused: u64,
    /// Open connections.
    pub connections_now: u64,
    /// Connections cut because they did not take what they listen to.
    pub connections_cut: u64,
}

/// Stands where the node will be, is, or was.
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
}

#[derive(Default)]
enum State {
    #[default]
    Starting,
    Open(Arc<dyn Inspect>),
    Stopping,
}

impl Gate {
    /// Lets questions through to a node.
    pub fn open(&self, node: Arc<dyn Inspect>) {
        self.put(State::Open(node));
    }

    /// Lets go of the node: nothing but health is answered any more.
    pub fn close(&self) {
        self.put(State::Stopping);
    }

    /// The node, if there is one.
    #[must_use]
    pub fn node(&self) -> Option<Arc<dyn Inspect>> {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open(node) => Some(Arc::clone(node)),
            State::Starting | State::Stopping => None,
        }
    }

    /// Are clients served?
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let node = match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Starting => return Readiness::Starting("the node is starting".into()),
            State::Stopping => return Readiness::Stopping("the node is stopping".into()),
            State::Open(node) => Arc::clone(node),
        };
        // Asked without the lock: a node may take its time.
        node.readiness()
    }

    fn put(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.readiness()).finish()
    }
}
