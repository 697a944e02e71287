//! Streams that tell their records apart: by position, and by the subject each was published to.
//!
//! Such a stream has one partition. It captures subjects (S26), limits its records one by one, forgets single ones, and can be read by
//! subject. A record comes to it like to a queue, by a publish; conditions that the publisher put on it travel beside it, in
//! [`Terms`], and each record that was awaited has an answer of its own, [`Stored`] or a [`RecordRefusal`].

use crate::id::{Call, HubId, Now, Place, Position, QueueId};
use crate::stream::due::Due;
use crate::stream::echo::Echo;
use crate::stream::{Ends, PartitionRef, PartitionSpec};
use crate::subject::Pattern;
use crate::subject::renaming::Renaming;
use bytes::Bytes;
use std::sync::Arc;

/// What a stream does with its records one by one. `None` stands for "no limit". Age and bytes stand in
/// [`crate::stream::StreamSettings`]; its `batch_bytes_max` bounds one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSettings {
    /// Subjects whose publishes are appended to it. Two streams of a namespace that acknowledge must not share one (S26).
    pub subjects: Vec<Pattern>,
    /// Most records.
    pub records_max: Option<u64>,
    /// Most records of one subject.
    pub per_subject_max: Option<u64>,
    /// What happens to a publish at a limit.
    pub discard: Discard,
    /// How long the id of a record is remembered, so that a second one with it is a duplicate, milliseconds; 0: not at all. What is
    /// remembered is bounded besides (S27).
    pub dedupe_ms: u64,
    /// What its records outlive.
    pub storage: Storage,
    /// When a record has done its work (S22).
    pub retention: Retention,
    /// Position of its first record ever; passed over when a stream is altered.
    pub first: Position,
    /// Most groups that read it.
    pub groups_max: Option<u32>,
    /// Publishes may take the place of earlier records ([`Terms::rollup`]).
    pub rollup: bool,
    /// Records may have a time to live of their own ([`Terms::ttl`]).
    pub record_ttl: bool,
    /// Records may be published again at a time of their own ([`Terms::due`]).
    pub due: bool,
    /// Where the last record of a subject goes by age, or by its own time to live, a marker takes its place for so long, milliseconds.
    pub marker_ttl_ms: Option<u64>,
    /// Single records cannot be deleted by clients.
    pub deny_delete: bool,
    /// It cannot be purged by clients.
    pub deny_purge: bool,
    /// Nothing comes, and nothing goes by a client's word.
    pub sealed: bool,
    /// Publishers are not told where their records went.
    pub no_ack: bool,
    /// It takes bundles, which are stored whole or not at all ([`Terms::bundle`]).
    pub bundles: bool,
    /// Records are stored under these other subjects; what this is not for, under its own.
    pub rename: Option<Renaming>,
    /// Who listens is told of its records; `None`: nobody is.
    pub echo: Option<Echo>,
}

impl Default for RecordSettings {
    /// A durable stream that captures nothing and keeps everything.
    fn default() -> Self {
        Self {
            subjects: Vec::new(),
            records_max: None,
            per_subject_max: None,
            discard: Discard::Old,
            dedupe_ms: 0,
            storage: Storage::Durable,
            retention: Retention::Limits,
            first: Position(0),
            groups_max: None,
            rollup: false,
            record_ttl: false,
            due: false,
            marker_ttl_ms: None,
            deny_delete: false,
            deny_purge: false,
            sealed: false,
            no_ack: false,
            bundles: false,
            rename: None,
            echo: None,
        }
    }
}

/// What happens to a publish at a limit of count or bytes. Age always takes the oldest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// The oldest make room.
    #[default]
    Old,
    /// It is refused.
    New {
        /// Also at the limit per subject; else the oldest of the subject makes room.
        per_subject: bool,
    },
}

/// What the records of a stream outlive. The stream itself is a definition and stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Storage {
    /// Kill and power loss, once acknowledged.
    #[default]
    Durable,
    /// Nothing: after a restart the stream is empty.
    Memory,
}

/// When a record may go, besides by limits (S22).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retention {
    /// By limits only.
    #[default]
    Limits,
    /// When all groups that want it have settled it; at once, if there are none.
    Interest,
    /// When a group has settled it.
    Work,
}

/// What a publisher asks for with one record. By default: nothing. Whatever the stream refuses is refused for this record only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Refuse if the stream that takes it has another name.
    pub stream: Option<String>,
    /// The record's id: a second one with the same id within the stream's window is not stored again.
    pub id: Option<Bytes>,
    /// Refuse unless the record gets this position next: the last one plus one.
    pub end: Option<Position>,
    /// Refuse unless the last record of a subject stands there.
    pub last: Option<LastOf>,
    /// Refuse unless the last record that came had this id.
    pub last_id: Option<Bytes>,
    /// Earlier records go.
    pub rollup: Option<Rollup>,
    /// Its own time to live.
    pub ttl: Ttl,
    /// It is kept until a time, and then published again.
    pub due: Option<Due>,
    /// The record that waits at this subject for its time waits no more: it goes when this one comes.
    pub ends: Option<Bytes>,
    /// It says that its subject has ended: when it goes by time, no marker takes its place.
    pub marker: bool,
    /// It is one of a bundle, which is stored whole or not at all. It waits, at most 10 s for the next one, and is lost with the process; what
    /// else its terms say is decided when the bundle ends.
    pub bundle: Option<BundleTerms>,
    /// Its publisher asks for what no stream can do: refuse, as [`RecordRefusal::Impossible`]. What it is stands in the record, in the words of
    /// its dialect.
    pub impossible: bool,
}

/// A record's place in a bundle. Bundles of one stream have different names as long as they wait; records of several publishers may be in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleTerms {
    /// The bundle's name, at most 64 bytes.
    pub id: Bytes,
    /// The record's number in it, from 1, at most 1000; `None`: its publisher did not say.
    pub sequence: Option<u64>,
    /// Whether the bundle ends.
    pub end: BundleEnd,
}

/// A bundle ([`BundleTerms`]) that was begun, and of which nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleAbandoned {
    /// The partition's stream and namespace.
    pub partition: Arc<PartitionSpec>,
    /// Its name.
    pub bundle: Bytes,
    /// When.
    pub at: Now,
    /// Why.
    pub why: Abandoned,
}

/// See [`BundleAbandoned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abandoned {
    /// Nobody has gone on with it.
    Timeout,
    /// It has more records, or bytes, than may be.
    TooLarge,
    /// A record is missing.
    Incomplete,
    /// A record asks for what is not there.
    Unsupported,
}

/// Whether a bundle ends with a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum BundleEnd {
    /// There is more.
    #[default]
    More,
    /// It is the last one.
    Here,
    /// The one before was the last; this one is not stored.
    Before,
    /// Its publisher says something else: the bundle is given up.
    Unknown,
    /// The same, since its publisher asks for what its dialect does not offer.
    Unsupported,
}

/// What a record has to do with a bundle, where it is told that it was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bundled {
    /// Nothing.
    #[default]
    No,
    /// It waits for the end of its bundle; it has no position.
    Waits,
    /// It ended a bundle of so many records; the position is that of the last.
    Ends(u32),
}

/// A condition on the last record of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastOf {
    /// Of which subjects together; `None`: of the record's own.
    pub subjects: Option<Pattern>,
    /// Its position; `None`: there is none.
    pub position: Option<Position>,
}

/// Which earlier records go when one is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rollup {
    /// Those of its subject.
    Subject,
    /// All.
    All,
}

/// How long a record stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ttl {
    /// As the stream's age says.
    #[default]
    Stream,
    /// At most so long, milliseconds, at least 1.
    Ms(u64),
    /// Whatever the stream's age says.
    Never,
}

/// Where an awaited record was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Item of the batch.
    pub item: u32,
    /// The stream.
    pub stream: String,
    /// Its position.
    pub position: Position,
    /// It was there already, by its id: this is where.
    pub duplicate: bool,
    /// What it has to do with a bundle.
    pub bundle: Bundled,
}

/// Where an awaited record was stored, as the shard says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStored {
    /// Item of the batch.
    pub item: u32,
    /// The partition.
    pub partition: QueueId,
    /// See [`Stored::position`].
    pub position: Position,
    /// See [`Stored::duplicate`].
    pub duplicate: bool,
    /// See [`Stored::bundle`].
    pub bundle: Bundled,
}

/// Why a stream does not do something with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordRefusal {
    /// The stream has another name than was expected.
    OtherStream,
    /// It would not get the position that was expected.
    WrongEnd {
        /// It would get this one.
        is: Position,
    },
    /// The last record of the subject stands elsewhere.
    WrongLast {
        /// There; `None`: there is none.
        is: Option<Position>,
    },
    /// The last record that came had another id.
    WrongLastId {
        /// This; `None`: none.
        is: Option<Bytes>,
    },
    /// The stream is full and refuses: by records.
    RecordsMax,
    /// The stream is full and refuses: by bytes.
    BytesMax,
    /// The subject is full, and the stream refuses.
    PerSubjectMax,
    /// The record is larger than the stream allows.
    TooLarge {
        /// The bound, bytes.
        max: u32,
    },
    /// What is asked for makes no sense.
    Impossible,
    /// Of a bundle.
    Bundle(BundleRefusal),
    /// The stream does not allow a rollup.
    NoRollup,
    /// The stream does not allow a time to live of the record's own.
    NoTtl,
    /// The stream does not allow that records are published again.
    NoDue,
    /// A record cannot be published again to that subject.
    WrongDue,
    /// Nothing can be published again from that subject.
    WrongSample,
    /// What it is to end does not wait for its time.
    NotDue,
    /// The stream is sealed.
    Sealed,
    /// The stream does not allow that single records are deleted.
    NoDelete,
    /// The stream does not allow a purge.
    NoPurge,
    /// There is no record at that position.
    NoRecord,
    /// The stream does not tell its records apart.
    NotByRecord,
    /// The stream takes single records, not another dialect's batches.
    NotSingle,
    /// That stream captures some of the subjects already.
    SubjectsOverlap,
}

/// Why a stream does not take a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleRefusal {
    /// It takes none.
    Disabled,
    /// A bundle cannot be called so.
    Id,
    /// A record of it has no number.
    NoSequence,
    /// A record of it is missing.
    Incomplete,
    /// Whether it ends is said in a way that means nothing.
    End,
    /// A record of it asks for what is not offered.
    Unsupported,
    /// It is too large.
    TooLarge {
        /// The bound: records, or bytes where that is reached first.
        max: u32,
    },
    /// Too many wait.
    TooMany,
    /// A record of it cannot ask for an id before it.
    LastId,
    /// An id is there already, or twice in it.
    Duplicate,
    /// A condition on what it changes itself.
    Condition,
    /// A rollup of what it stores itself.
    Rollup(Rollup),
}

/// Work on the records of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordsRequest {
    /// Which partition; streams that tell records apart have one, of index 0.
    pub of: PartitionRef,
    /// What.
    pub ask: RecordsAsk,
}

/// What can be asked of a stream that tells its records apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordsAsk {
    /// Remove one record. Its bytes leave the disk with the segment they stand in. Answer: [`RecordsAnswer::Removed`] with 1.
    Delete(Position),
    /// Remove records. Answer: [`RecordsAnswer::Removed`], when all are gone for every reader.
    Purge(PurgeOf),
    /// Read records, in this order. Answer: [`RecordsAnswer::Found`].
    Get(Vec<Wanted>),
    /// Read records by subject and position. Answer: [`RecordsAnswer::Found`].
    Scan(ScanOf),
    /// Read the last record of each subject. Answer: [`RecordsAnswer::Found`], by position.
    Lasts(LastsOf),
    /// Tell about the stream. Answer: [`RecordsAnswer::State`].
    State(StateOf),
}

/// Which records a purge takes. `below` and `keep` may both be given: then what either keeps stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeOf {
    /// Of these subjects; `None`: all.
    pub subjects: Option<Pattern>,
    /// Below this position.
    pub below: Option<Position>,
    /// The newest so many that match stay.
    pub keep: Option<u64>,
}

/// One record to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That at this position.
    At(Position),
    /// The last of these subjects.
    Last(Pattern),
    /// The first of these subjects at this position or behind it.
    Next {
        /// Of which subjects.
        subjects: Pattern,
        /// From where.
        from: Position,
    },
}

/// Records to be read in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanOf {
    /// Of these subjects.
    pub subjects: Pattern,
    /// From here.
    pub from: From,
    /// At most so many, at least 1.
    pub count_max: u32,
    /// Bytes after which no further one is added; the first comes whatever its length.
    pub bytes_max: u64,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// At this position.
    Position(Position),
    /// At what was appended then or later.
    Time(Now),
}

/// The last record of each subject, to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastsOf {
    /// Of these subjects.
    pub subjects: Vec<Pattern>,
    /// As of when only what was there then had come; `None`: now.
    pub as_of: Option<From>,
    /// More subjects than this are refused by [`crate::refusal::Refusal::Limit`].
    pub subjects_max: u32,
    /// Records to leave out at the beginning, by position: a reader goes on with the last one it has, plus one.
    pub from: Position,
    /// At most so many.
    pub count_max: u32,
    /// See [`ScanOf::bytes_max`].
    pub bytes_max: u64,
}

/// What to tell of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateOf {
    /// Count records by subject.
    pub subjects: Option<SubjectsOf>,
    /// List positions without a record, at most so many.
    pub holes_max: Option<u32>,
}

/// Which subjects to count, a page of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectsOf {
    /// Those that match.
    pub pattern: Pattern,
    /// Leave so many out at the beginning.
    pub offset: u64,
    /// At most so many.
    pub count_max: u32,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum RecordsAnswer {
    /// So many records are gone.
    Removed(u64),
    /// What was found.
    Found(FoundAnswer),
    /// See [`StreamState`].
    State(Box<StreamState>),
}

/// Records that were found.
#[derive(Clone, Debug, Default)]
pub struct FoundAnswer {
    /// Memory that holds them.
    pub blocks: Vec<Bytes>,
    /// For [`RecordsAsk::Get`] one for each wanted, in its order, `None` where there is none; else only records.
    pub records: Vec<Option<FoundRecord>>,
    /// Records that would have followed the last one.
    pub pending: u64,
    /// The stream's ends.
    pub ends: Ends,
}

/// One record that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundRecord {
    /// Index into [`FoundAnswer::blocks`].
    pub block: u32,
    /// Offset in the block, bytes.
    pub at: u32,
    /// Length, bytes. It is in the layout of crate `record`; its key is its subject.
    pub len: u32,
    /// Its position.
    pub position: Position,
    /// When it was appended.
    pub appended: Now,
}

impl FoundAnswer {
    /// The bytes of a record; empty if the range is not inside (which would be our mistake, not the client's).
    #[must_use]
    pub fn record(&self, of: &FoundRecord) -> Bytes {
        let (at, end) = (of.at as usize, of.at as usize + of.len as usize);
        match self.blocks.get(of.block as usize) {
            Some(block) if end <= block.len() => block.slice(at..end),
            _ => Bytes::new(),
        }
    }
}

/// What there is to tell of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Position of the first record, or of the next one that comes, if there is none.
    pub first: Position,
    /// When the first one was appended; `None`: there is none.
    pub first_at: Option<Now>,
    /// Position of the next one that comes: the last plus one.
    pub end: Position,
    /// When the last one that came was appended, still there or not; `None`: none ever was.
    pub last_at: Option<Now>,
    /// How many subjects have records.
    pub subjects: u64,
    /// Positions between first and end without a record.
    pub holes: u64,
    /// Subjects by name, with their records, if asked for.
    pub counted: Vec<(Bytes, u64)>,
    /// How many there would have been in all, if asked for.
    pub counted_all: u64,
    /// Positions without a record, if asked for.
    pub hole_list: Vec<Position>,
    /// Groups that read it.
    pub groups: u32,
}

// What follows is between hubs and shards.

/// Work on the records of a partition. Answer: [`crate::shard::ShardEffect::Records`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardRecords {
    /// Who is answered.
    pub hub: HubId,
    /// Number for the answer.
    pub call: Call,
    /// Which partition.
    pub partition: QueueId,
    /// What.
    pub ask: RecordsAsk,
}

/// What a shard found; the runner fetches the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardRecordsAnswer {
    /// See [`RecordsAnswer::Removed`].
    Removed(u64),
    /// See [`RecordsAnswer::Found`].
    Found {
        /// See [`FoundAnswer::records`].
        records: Vec<Option<RecordAt>>,
        /// See [`FoundAnswer::pending`].
        pending: u64,
        /// See [`FoundAnswer::ends`].
        ends: Ends,
    },
    /// See [`RecordsAnswer::State`].
    State(Box<StreamState>),
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordAt {
    /// Its bytes.
    pub place: Place,
    /// How many.
    pub len: u32,
    /// Its position.
    pub position: Position,
    /// When it was appended.
    pub appended: Now,
}
