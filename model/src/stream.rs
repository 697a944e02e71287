//! Streams: replayable sequences in partitions. Reading one does not consume it.
//!
//! A partition is a sequence of *batches*. A batch is what its dialect wrote, byte for byte, and takes `count` neighbouring positions;
//! nobody opens it unless somebody of another dialect reads it (DESIGN §4). The positions that a batch got are not in its bytes: they come
//! beside it, and a dialect that has to show them inside (Kafka's base offset) stamps them when it reads. Positions are dense when they
//! are given, never used again, and readable with holes.
//!
//! Partitions have numbers of the same space as queues, so that a route may lead to both and a payload is stored once for all of them.
//! What a stream is set to stands in [`StreamSettings`], free of any dialect's words; what a client wrote about it is kept beside it, as
//! given, for whoever asks.

pub mod due;
pub mod echo;
pub mod records;

use crate::id::{
    Call, HubId, NamespaceId, Now, Place, Position, QueueId, SessionId, ShardId, SubscriptionId,
};
use crate::publish::Publishes;
use crate::refusal::Refusal;
use crate::value::Arguments;
use bytes::Bytes;
use records::{RecordRefusal, RecordSettings};
use std::sync::Arc;

/// A stream's stable number for clients: random, new when a stream of the same name is made again (Kafka: topic id).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamUuid(pub [u8; 16]);

/// In which bytes a batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Format {
    /// Records of crate `record`, back to back, one position each.
    Records = 1,
    /// One record batch of Kafka, magic 2 (crate `record`, module `batch`, reads it for others).
    KafkaBatch = 2,
}

/// What a stream does. `None` stands for "no limit".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Age at which batches go, by their newest time, milliseconds.
    pub retention_ms: Option<u64>,
    /// Bytes above which the oldest batches go, in each partition.
    pub retention_bytes: Option<u64>,
    /// Old batches go by the two above.
    pub delete: bool,
    /// The last record of each key stays; earlier ones may go (compaction). A batch goes when all its records may.
    pub compact: bool,
    /// How long a record stays untouched by compaction, milliseconds.
    pub compact_after_ms: u64,
    /// How long the record that ends a key stays after compaction could take it, milliseconds.
    pub tombstone_ms: u64,
    /// Largest batch, bytes.
    pub batch_bytes_max: u32,
    /// Other dialects' publishes to the stream's name are appended to it (S26).
    pub capture: bool,
    /// Which time of a batch retention and [`SeekBy::Time`] go by. The two times of compaction count from the append.
    pub time: TimeKind,
    /// It tells its records apart, by position and by subject; `None`: it keeps batches as they come. Never changes.
    pub records: Option<Box<RecordSettings>>,
}

/// Whose clock a batch's time is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeKind {
    /// The producer's.
    #[default]
    Producer,
    /// Ours, at the append.
    Append,
}

impl Default for StreamSettings {
    /// A stream that keeps everything.
    fn default() -> Self {
        Self {
            retention_ms: None,
            retention_bytes: None,
            delete: true,
            compact: false,
            compact_after_ms: 0,
            tombstone_ms: 24 * 60 * 60 * 1000,
            batch_bytes_max: 8 << 20,
            capture: false,
            time: TimeKind::Producer,
            records: None,
        }
    }
}

/// A partition as its shard is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionSpec {
    /// Its number.
    pub id: QueueId,
    /// Where it lives.
    pub namespace: NamespaceId,
    /// The stream's name.
    pub stream: String,
    /// Which of the stream's partitions, from 0.
    pub index: u32,
    /// What it does.
    pub settings: StreamSettings,
}

/// A stream as sessions see it.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// Its stable number.
    pub uuid: StreamUuid,
    /// Number and home of each partition, by index.
    pub partitions: Vec<(QueueId, ShardId)>,
    /// What it does.
    pub settings: StreamSettings,
    /// As the client wrote it, under its dialect's names.
    pub arguments: Arguments,
    /// Made by the system; clients may read it.
    pub internal: bool,
}

/// Names a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamRef {
    /// By its name.
    Name(String),
    /// By its stable number.
    Uuid(StreamUuid),
}

/// Names a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionRef {
    /// The stream.
    pub stream: StreamRef,
    /// Its index.
    pub index: u32,
}

/// A producer that numbers what it appends, so that repeats are recognised (Kafka: idempotent producer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its number, from [`crate::op::Op::NewProducer`].
    pub id: u64,
    /// Its incarnation; one with a lower number is refused.
    pub epoch: u16,
    /// Number of the batch's first record: 0 … 2³¹ − 1, then 0 again. Those of a partition follow each other.
    pub sequence: u32,
}

/// Key of a record of a compacted stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMark {
    /// 128 bits of a hash that is the same on every machine.
    pub hash: u128,
    /// The record ends its key.
    pub tombstone: bool,
}

/// One batch to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Its bytes, verified by the dialect.
    pub bytes: Bytes,
    /// Of which form.
    pub format: Format,
    /// How many positions it takes, at least 1.
    pub count: u32,
    /// The newest time in it, milliseconds since the Unix epoch; `None`: it has none, the append's is taken.
    pub time_max_ms: Option<u64>,
    /// Who numbered it.
    pub producer: Option<Producer>,
    /// One for each record, for compacted streams; else empty.
    pub keys: Vec<KeyMark>,
}

/// A batch and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Append {
    /// Which partition.
    pub to: PartitionRef,
    /// What.
    pub batch: Batch,
}

/// Batches to be appended: what one request of a client carried. Each part succeeds or fails by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Appends {
    /// What, in order.
    pub parts: Vec<Append>,
    /// The producer waits: start a commit (S3).
    pub awaited: bool,
    /// The same records for readers of other dialects, one list for each part; see [`Appended::Listeners`]. `None`: not asked for yet.
    pub records: Option<Vec<Arc<Publishes>>>,
}

/// What became of one part of [`Appends`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// Stored, or stored earlier (a numbered repeat).
    At {
        /// Position of its first record.
        first: Position,
        /// First position that can be read.
        start: Position,
    },
    /// Not stored: somebody of another dialect listens to this stream. Submit all parts again with [`Appends::records`].
    Listeners,
}

/// Batches to be read. Each part is answered by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reads {
    /// From where, in the order of importance.
    pub parts: Vec<Read>,
    /// Bytes after which no further batch is added; the first batch of the whole answer comes even if it is larger.
    pub bytes_max: u64,
    /// Where a part ends with what is there now, tell the session of the next append to it, once, by
    /// [`crate::outcome::Wake::Appended`] with this number. The session chooses it; it is free again after that wake, or after
    /// [`crate::op::Op::Unwatch`].
    pub watch: Option<u64>,
}

/// One partition to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Which.
    pub of: PartitionRef,
    /// The first position wanted; the batch that holds it comes whole.
    pub from: Position,
    /// Bytes after which no further batch of this part is added.
    pub bytes_max: u64,
    /// Only up to the last stable position (S24).
    pub stable: bool,
}

/// What can be said of a partition's ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// First position that can be read.
    pub start: Position,
    /// Last stable position plus one (S24).
    pub stable: Position,
    /// Last position plus one; all below is durable.
    pub end: Position,
    /// Grows when positions were lost (never on one node).
    pub epoch: u32,
    /// Bytes of the batches that are kept, as they were appended.
    pub bytes: u64,
}

/// Batches of one partition.
#[derive(Clone, Debug, Default)]
pub struct ReadPart {
    /// Its ends when it was read.
    pub ends: Ends,
    /// Memory that holds the batches.
    pub blocks: Vec<Bytes>,
    /// In order.
    pub batches: Vec<ReadBatch>,
    /// Producers of aborted transactions in the range, each with the first position of one.
    pub aborted: Vec<(u64, Position)>,
}

/// A batch that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBatch {
    /// Index into [`ReadPart::blocks`].
    pub block: u32,
    /// Offset in the block, bytes.
    pub at: u32,
    /// Length, bytes.
    pub len: u32,
    /// Its form.
    pub format: Format,
    /// Position of its first record.
    pub first: Position,
    /// Positions that it takes.
    pub count: u32,
    /// The partition's epoch when it was appended.
    pub epoch: u32,
    /// When it was appended, milliseconds since the Unix epoch.
    pub appended_ms: u64,
}

impl ReadPart {
    /// The bytes of `batch`; empty if the ranges are not inside (which would be our mistake, not the client's).
    #[must_use]
    pub fn batch(&self, batch: &ReadBatch) -> Bytes {
        let (at, end) = (batch.at as usize, batch.at as usize + batch.len as usize);
        match self.blocks.get(batch.block as usize) {
            Some(block) if end <= block.len() => block.slice(at..end),
            _ => Bytes::new(),
        }
    }
}

/// What position is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeekBy {
    /// The first that can be read.
    Start,
    /// Behind the last (or the last stable) one.
    End {
        /// Only up to the last stable position.
        stable: bool,
    },
    /// The first batch with a time at or after this, milliseconds since the Unix epoch, by the stream's [`TimeKind`].
    Time(u64),
    /// The first batch that was appended at or after this.
    Appended(u64),
    /// The batch with the newest time.
    NewestTime,
}

/// Where it is.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The partition's ends.
    pub ends: Ends,
    /// The position; for a batch that of its first record. `None`: there is none.
    pub position: Option<Position>,
    /// The batch, for a search by time: the exact record is found in it by who can read it.
    pub batch: Option<(ReadBatch, Bytes)>,
}

/// Why a partition cannot do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRefusal {
    /// No such stream.
    UnknownStream,
    /// No stream with this stable number.
    UnknownUuid,
    /// No such partition of it.
    UnknownPartition,
    /// The position is not within what can be read.
    OutOfRange {
        /// What can be read.
        ends: Ends,
    },
    /// The batch is larger than the stream allows.
    TooLarge {
        /// The bound, bytes.
        max: u32,
    },
    /// The numbers of a producer's batches do not follow each other.
    OutOfSequence,
    /// There is a newer incarnation of the producer.
    ProducerFenced,
    /// Nothing is known of the producer, and it does not begin at 0.
    UnknownProducer,
    /// Records of a compacted stream need keys: these (indexes in the batch) have none.
    KeysMissing(Vec<u32>),
    /// A stream that tells its records apart does not take, or do, this.
    Record {
        /// The stream's name.
        stream: String,
        /// Why not.
        why: RecordRefusal,
    },
}

// What follows is between hubs and shards.

/// What one shard shall append. Answer: [`crate::shard::ShardEffect::Appended`].
#[derive(Clone, Debug, PartialEq)]
pub struct ShardAppend {
    /// Who is answered.
    pub hub: HubId,
    /// Number for the answer.
    pub call: Call,
    /// See [`Appends::awaited`].
    pub awaited: bool,
    /// What and where to, in order.
    pub parts: Vec<(QueueId, Batch)>,
    /// For readers of other dialects: what to store of a part (its index) with it, if the part is stored now: not if it is refused or a
    /// repeat. Each is answered as if it had been asked by itself. They are logged before the batches, so that no crash leaves a batch
    /// without them.
    pub records: Vec<(u32, crate::publish::ShardPublish)>,
}

/// What one shard shall read. Answer: [`crate::shard::ShardEffect::Read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRead {
    /// Who asks.
    pub session: SessionId,
    /// Number for the answer.
    pub call: Call,
    /// Which partition, from where, how many bytes, only up to the last stable position.
    pub parts: Vec<ShardReadPart>,
    /// See [`Reads::bytes_max`].
    pub bytes_max: u64,
    /// See [`Reads::watch`].
    pub watch: Option<u64>,
}

/// See [`Read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardReadPart {
    /// Which.
    pub partition: QueueId,
    /// See [`Read::from`].
    pub from: Position,
    /// See [`Read::bytes_max`].
    pub bytes_max: u64,
    /// See [`Read::stable`].
    pub stable: bool,
}

/// A batch that a shard found; the runner fetches its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where its bytes are.
    pub place: Place,
    /// How many.
    pub len: u32,
    /// See [`ReadBatch::format`].
    pub format: Format,
    /// See [`ReadBatch::first`].
    pub first: Position,
    /// See [`ReadBatch::count`].
    pub count: u32,
    /// See [`ReadBatch::epoch`].
    pub epoch: u32,
    /// When it was appended.
    pub appended: Now,
}

/// Records of a batch that a subscription gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecords {
    /// The batch.
    pub batch: Found,
    /// The first position, within the batch.
    pub from: Position,
    /// How many positions, at least 1.
    pub count: u32,
    /// Bytes of credit that were taken for them; what they turn out to have is put right when they are opened.
    pub charged: u64,
}

/// How far batches may be opened for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMax {
    /// Bytes of records, at least 1: the record that reaches it is the last.
    pub bytes: u64,
    /// Bytes that one batch may unpack to.
    pub batch_bytes: u64,
}

/// How far batches were opened for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Whose.
    pub subscription: SubscriptionId,
    /// From which partition.
    pub partition: QueueId,
    /// Bytes of the records that were sent.
    pub sent: u64,
    /// Positions that were granted and not sent: those that hold no record, and those that were not come to.
    pub unused: u64,
    /// The first that was not come to.
    pub next: Position,
    /// The batch there unpacks to more than it might now.
    pub is_large: bool,
}

/// What a shard found of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPart {
    /// Its ends.
    pub ends: Ends,
    /// The batches, in order.
    pub batches: Vec<Found>,
    /// See [`ReadPart::aborted`].
    pub aborted: Vec<(u64, Position)>,
}

/// What a shard found when it looked for a position; the runner fetches the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundPosition {
    /// See [`Sought::ends`].
    pub ends: Ends,
    /// See [`Sought::position`].
    pub position: Option<Position>,
    /// See [`Sought::batch`].
    pub batch: Option<Found>,
}

/// A part's answer, or why not.
pub type PartResult<T> = Result<T, Refusal>;

/// A reader's start in a stream, for dialects that push (AMQP: `x-stream-offset`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    /// The oldest record.
    First,
    /// The last batch.
    Last,
    /// Only what comes.
    Next,
    /// This position, or the first readable one behind it.
    Position(Position),
    /// What was appended at this time or later, milliseconds since the Unix epoch.
    Time(u64),
}
