//! Shared groups: a named reading state over one partition of a stream whose records are leased and settled one by one.
//!
//! The group decides who gets which record, so any number of takers share the work; a record that is not settled within its lease
//! comes again. (JetStream: consumers; Kafka: share groups.) A group is state of the shard where its partition lives, not of the
//! registry (S12). A durable group that is not kept in memory is logged; every other one is attached state and is gone with the process,
//! and earlier when nobody has used it for a while.
//!
//! Who reads is a *taker*, attached by a session under a number of the session's own: a [`Pull`] wants so many records and ends, a
//! [`Push`] goes on as long as there is byte credit. Records, ends and signs of life come by [`crate::outcome::Wake::Shared`]. Whoever
//! knows group and position may settle, whatever session it is; the first settle of a position wins (S16).
//!
//! The *settled floor* is the place below which everything is settled or was never for this group. It goes down only where a group is told to
//! begin again ([`ShareVerb::Reset`]).
//!
//! Times and durations are in µs.

use crate::id::{Call, HubId, NamespaceId, Now, Position, QueueId, SessionId, SubscriptionId};
use crate::queue::DeadLetter;
use crate::settle::Run;
use crate::stream::records::BundleAbandoned;
use crate::stream::{Found, FoundRecords, PartitionRef, PartitionSpec};
use crate::subject::Pattern;
use bytes::Bytes;
use std::sync::Arc;

/// Names a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShareRef {
    /// The partition that it reads.
    pub of: PartitionRef,
    /// Its name, unique within the partition.
    pub group: String,
}

/// Where a group begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShareStart {
    /// With the oldest record.
    #[default]
    All,
    /// With the newest record that it wants.
    Last,
    /// With what comes.
    New,
    /// With this position, or the first there is behind it.
    Position(Position),
    /// With what was appended at this time or later.
    Time(Now),
    /// With the newest record of each subject that it wants, in the order of positions; then with what comes.
    LastPerSubject,
}

/// What ends deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SettlePolicy {
    /// Nothing is leased: a delivery is the end.
    None,
    /// Accepting one accepts all before it.
    All,
    /// Each for itself.
    #[default]
    Explicit,
}

/// How fast records are given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pace {
    /// As fast as they are taken.
    #[default]
    Instant,
    /// As they came: with the gaps that were between their appends.
    Original,
}

/// How a push is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushSettings {
    /// A sign of life after so long without a record.
    pub heartbeat_us: Option<u64>,
    /// Bytes of records in a second, at most.
    pub rate_bytes_max: Option<u64>,
}

/// What a group is set to. `None` stands for "no limit".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSettings {
    /// Subjects that it wants; none: all.
    pub filters: Vec<Pattern>,
    /// Where it begins. Never changes.
    pub start: ShareStart,
    /// What ends deliveries. Never changes.
    pub settle: SettlePolicy,
    /// How long a delivery may stay unsettled. At least 1.
    pub lease_us: u64,
    /// In place of the lease: that of the first delivery, of the second, …; the last holds for all others. At most
    /// [`BACKOFF_MAX`] of them.
    pub backoff_us: Vec<u64>,
    /// Deliveries of one record. After so many without a settle it is given up: [`ShareEvent::Exhausted`].
    pub deliveries_max: Option<u32>,
    /// Unsettled records. New ones wait while there are so many.
    pub pending_max: Option<u32>,
    /// Pulls that wait; at least 1.
    pub waiting_max: u32,
    /// Records that one pull may ask for.
    pub pull_count_max: Option<u32>,
    /// Bytes that one pull may ask for.
    pub pull_bytes_max: Option<u64>,
    /// How long one pull may wait.
    pub pull_expires_us_max: Option<u64>,
    /// How fast.
    pub pace: Pace,
    /// Takers get records without their bodies. Told to who renders them; the shard gives out whole records.
    pub headers_only: bool,
    /// The group goes when nobody has used it for so long.
    pub inactive_us: Option<u64>,
    /// Nothing is given out until then.
    pub pause_until: Option<Now>,
    /// Where records go that were given up or terminated, by a move (S6); `None`: nowhere, they only stay in the stream. With a target they
    /// are settled by that. Names of at most [`DEAD_LETTER_BYTES_MAX`].
    pub dead_letter: Option<DeadLetter>,
    /// It is there until it is deleted or unused; `false`: it does not outlive the process.
    pub durable: bool,
    /// Its state is not logged, so it does not outlive the process either.
    pub memory: bool,
    /// It is read by [`Push`]; `None`: by [`Pull`].
    pub push: Option<PushSettings>,
    /// Of how many of a hundred accepted deliveries listeners are told ([`ShareEvent::Accepted`]); with [`SettlePolicy::Explicit`] only.
    pub sampled_percent: u8,
    /// As the client wrote it, in its dialect's bytes. Never interpreted. At most [`ARGUMENTS_BYTES_MAX`].
    pub arguments: Bytes,
}

/// Longest name of an exchange or key in [`ShareSettings::dead_letter`], bytes.
pub const DEAD_LETTER_BYTES_MAX: usize = 4096;
/// Most entries of [`ShareSettings::backoff_us`].
pub const BACKOFF_MAX: usize = 64;
/// Most filters of a group.
pub const FILTERS_MAX: usize = 1024;
/// Most bytes of [`ShareSettings::arguments`].
pub const ARGUMENTS_BYTES_MAX: usize = 256 << 10;

impl Default for ShareSettings {
    /// A durable group that is pulled, settled one by one, with a lease of 30 s and 1000 records unsettled.
    fn default() -> Self {
        Self {
            filters: Vec::new(),
            start: ShareStart::All,
            settle: SettlePolicy::Explicit,
            lease_us: 30_000_000,
            backoff_us: Vec::new(),
            deliveries_max: None,
            pending_max: Some(1000),
            waiting_max: 512,
            pull_count_max: None,
            pull_bytes_max: None,
            pull_expires_us_max: None,
            pace: Pace::Instant,
            headers_only: false,
            inactive_us: None,
            pause_until: None,
            dead_letter: None,
            durable: true,
            memory: false,
            push: None,
            sampled_percent: 0,
            arguments: Bytes::new(),
        }
    }
}

impl ShareSettings {
    /// A restart brings it back.
    #[must_use]
    pub fn logged(&self) -> bool {
        self.durable && !self.memory
    }

    /// How long a delivery that is the `nth` of its record (from 1) may stay unsettled.
    #[must_use]
    pub fn lease_of(&self, nth: u32) -> u64 {
        let last = self.backoff_us.len().saturating_sub(1);
        let at = (nth.saturating_sub(1) as usize).min(last);
        self.backoff_us.get(at).copied().unwrap_or(self.lease_us)
    }
}

/// A request about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareRequest {
    /// Which.
    pub share: ShareRef,
    /// What.
    pub verb: ShareVerb,
}

/// What can be asked of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareVerb {
    /// Make or change it. Answer, when durable: [`ShareAnswer::Put`].
    Put {
        /// What it is from now on.
        settings: Box<ShareSettings>,
        /// What may be there already.
        expect: Expect,
    },
    /// Remove it. Answer, when durable: [`ShareAnswer::Deleted`].
    Delete,
    /// Tell everything. Answer: [`ShareAnswer::Info`].
    Info,
    /// Give nothing out until then; `None`: go on. Answer, when durable: [`ShareAnswer::Info`].
    Pause(Option<Now>),
    /// Begin again at this position, which may be one that is still to come; `None`: at the settled floor. Every delivery that is not
    /// settled ends, and deliveries are counted from 1 again. Answer, when durable: [`ShareAnswer::Reset`].
    Reset(Option<Position>),
}

/// What a [`ShareVerb::Put`] expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// It is not there, or is just like this.
    New,
    /// It is there.
    There,
    /// Either.
    Any,
}

/// What a group answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareAnswer {
    /// It is there like this.
    Put {
        /// It was not there before.
        created: bool,
        /// As it is now.
        info: Box<ShareInfo>,
    },
    /// It is gone.
    Deleted,
    /// As it is.
    Info(Box<ShareInfo>),
    /// It begins again.
    Reset {
        /// Here.
        at: Position,
        /// As it is now.
        info: Box<ShareInfo>,
    },
    /// One page of the groups of a partition, by name, and how many there are in all.
    Listed {
        /// The page.
        groups: Vec<ShareInfo>,
        /// All.
        total: u64,
    },
    /// So many deliveries were ended, or extended. Durable, if that was asked for.
    Settled {
        /// Positions that were unsettled until now.
        count: u64,
    },
    /// The push is attached.
    Attached,
}

/// How far a group has come: a pair of what it counts itself, and of the partition's positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The group's own number of the last delivery, from 1; 0: none.
    pub sequence: u64,
    /// The position behind.
    pub next: Position,
}

/// A group, described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareInfo {
    /// Its name.
    pub group: String,
    /// When it was made.
    pub created: Now,
    /// What it is set to.
    pub settings: ShareSettings,
    /// The last delivery, repeated ones included; nothing at or behind `next` was delivered.
    pub delivered: Reached,
    /// The settled floor.
    pub floor: Reached,
    /// When something was delivered last.
    pub delivered_at: Option<Now>,
    /// When something was settled last.
    pub settled_at: Option<Now>,
    /// Unsettled records.
    pub unsettled: u64,
    /// Unsettled records that were delivered more than once.
    pub redelivered: u64,
    /// Records that wait to be delivered for the first time.
    pub pending: u64,
    /// Pulls that wait.
    pub waiting: u32,
    /// Pushes that are attached.
    pub attached: u32,
}

/// Wants some records. Answered by what comes to the taker: records, perhaps signs of life, and one [`PullEnd`]; or refused, if there is no
/// such stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// From where.
    pub share: ShareRef,
    /// The taker's number, chosen by the session, never used again within it.
    pub taker: u64,
    /// What.
    pub want: PullWant,
    /// The subject where the session will publish what it gets: if nobody listens there, the pull ends at once ([`PullEnd::Unheard`]).
    /// `None`: the session itself takes it.
    pub heard_at: Option<Bytes>,
}

/// See [`Pull`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullWant {
    /// How many records, at least 1.
    pub count: u32,
    /// How many bytes of records; `None`: any.
    pub bytes_max: Option<u64>,
    /// How long to wait; `None`: for ever.
    pub expires_us: Option<u64>,
    /// Take what is there. With `expires_us` it waits for the first.
    pub no_wait: bool,
    /// A sign of life after so long without a record.
    pub heartbeat_us: Option<u64>,
}

/// Attaches a session to a group that is read by push. Answer: [`ShareAnswer::Attached`], before the first record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// From where.
    pub share: ShareRef,
    /// The taker's number, chosen by the session, never used again within it. Several takers of a group take turns.
    pub taker: u64,
    /// Bytes of records under way that were not given back by [`TakerCredit`].
    pub bytes_max: u64,
}

/// More may be under way to a push. No answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakerCredit {
    /// To which taker.
    pub taker: u64,
    /// Bytes of records.
    pub bytes: u64,
}

/// How a delivery of a shared group ends, or does not yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareHow {
    /// Done with it.
    Accept,
    /// Again: at once, or after a while.
    Release {
        /// How long it rests.
        delay_us: u64,
    },
    /// Still at work: the lease begins anew.
    Extend,
    /// Never again, in this group.
    Terminate {
        /// Why, as the client said.
        reason: String,
    },
}

/// Ends deliveries of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSettle {
    /// Of which group.
    pub share: ShareRef,
    /// How.
    pub how: ShareHow,
    /// Which. With [`SettlePolicy::All`] accepting one accepts all unsettled ones below it.
    pub runs: Vec<Run>,
    /// Only if it is this delivery of the record, counted from 1; 0: whichever.
    pub delivery: u32,
}

/// Settles, in order. Without `awaited` there is no answer; with it [`ShareAnswer::Settled`], when durable. An accept that wants
/// the next record is this and a [`Pull`] behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSettles {
    /// What.
    pub settles: Vec<ShareSettle>,
    /// Somebody waits for it: start a commit (S3).
    pub awaited: bool,
}

/// Something for a taker, or for who listens to a namespace's groups.
#[derive(Clone, Debug)]
pub enum ShareNews {
    /// Records.
    Records(ShareRecords),
    /// The pull has ended. Nothing else comes to it.
    Ended {
        /// Which.
        taker: u64,
        /// Why.
        why: PullEnd,
    },
    /// Nothing came for a while, but all is well.
    Idle {
        /// To which taker.
        taker: u64,
        /// How far the group's deliveries have come.
        delivered: Reached,
    },
    /// Something happened to a group; see [`crate::op::Op::ShareListen`].
    Event(ShareHappened),
    /// A bundle of records came to nothing; told to the same listeners.
    Abandoned(BundleAbandoned),
}

/// Records for one taker.
#[derive(Clone, Debug)]
pub struct ShareRecords {
    /// Its number.
    pub taker: u64,
    /// See [`ShareSettings::headers_only`].
    pub headers_only: bool,
    /// Memory that holds the records.
    pub blocks: Vec<Bytes>,
    /// In the order of delivery.
    pub items: Vec<ShareDelivery>,
}

/// One delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareDelivery {
    /// Index into [`ShareRecords::blocks`].
    pub block: u32,
    /// Offset of the record in the block, bytes.
    pub at: u32,
    /// Length of the record, bytes.
    pub len: u32,
    /// Which delivery of the record it is, from 1.
    pub delivery: u32,
    /// Place in the partition.
    pub position: Position,
    /// The group's own number of the delivery, from 1.
    pub sequence: u64,
    /// When the record was appended.
    pub appended: Now,
    /// Records that wait for their first delivery behind it.
    pub pending: u64,
}

impl ShareRecords {
    /// The record of `delivery`; empty if the ranges are not inside (which would be our mistake, not the client's).
    #[must_use]
    pub fn record(&self, delivery: &ShareDelivery) -> &[u8] {
        self.blocks
            .get(delivery.block as usize)
            .and_then(|block| block.get(delivery.at as usize..)?.get(..delivery.len as usize))
            .unwrap_or(&[])
    }
}

/// Why a pull has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullEnd {
    /// It has all it wanted.
    Complete {
        /// What it did not need, if it bounded bytes.
        left: PullLeft,
    },
    /// It would not wait, and nothing is there (any more).
    NoRecords,
    /// It would not wait, and others before it wait for more than is there.
    OthersWait,
    /// Its time is over.
    Expired {
        /// What it still wanted.
        left: PullLeft,
    },
    /// The next record has more bytes than it still takes.
    TooLarge {
        /// What it still wanted.
        left: PullLeft,
    },
    /// It asks for more records than [`ShareSettings::pull_count_max`].
    CountOver {
        /// That.
        max: u32,
    },
    /// It asks for more bytes than [`ShareSettings::pull_bytes_max`].
    BytesOver {
        /// That.
        max: u64,
    },
    /// It asks for more time than [`ShareSettings::pull_expires_us_max`].
    ExpiresOver {
        /// That.
        max_us: u64,
    },
    /// As many pulls wait as may.
    WaitingOver,
    /// There is no such group.
    Unknown,
    /// The group, or its stream, is gone now.
    Gone,
    /// The group is read by push.
    IsPush,
    /// Nobody listens where it is to be answered ([`Pull::heard_at`]).
    Unheard,
}

/// What a pull did not get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullLeft {
    /// Records.
    pub count: u32,
    /// Bytes; 0: any number was fine.
    pub bytes: u64,
}

/// Something that happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareHappened {
    /// The partition's stream and namespace.
    pub partition: Arc<PartitionSpec>,
    /// The group.
    pub group: Arc<str>,
    /// When.
    pub at: Now,
    /// What.
    pub what: ShareEvent,
}

/// See [`ShareHappened`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareEvent {
    /// It was made.
    Created,
    /// It was changed.
    Updated,
    /// It is gone: deleted, unused, or with its stream.
    Deleted,
    /// It is paused until then; `None`: it goes on.
    Paused {
        /// Until when.
        until: Option<Now>,
    },
    /// A record was delivered as often as may be, and not settled: it is given up.
    Exhausted {
        /// Which.
        position: Position,
        /// How often.
        deliveries: u32,
    },
    /// A taker wants a record never again.
    Terminated {
        /// Which.
        position: Position,
        /// Number of its first delivery.
        sequence: u64,
        /// How often it was delivered.
        deliveries: u32,
        /// Why, as the client said.
        reason: String,
    },
    /// A record was deleted, or had to make room for others, before it was settled.
    Lost {
        /// Which.
        position: Position,
        /// Number of its first delivery.
        sequence: u64,
        /// How often it was delivered.
        deliveries: u32,
    },
    /// A taker has accepted a record, and that was sampled ([`ShareSettings::sampled_percent`]).
    Accepted {
        /// Which.
        position: Position,
        /// Number of its first delivery.
        sequence: u64,
        /// How often it was delivered.
        deliveries: u32,
        /// How long it took since its last delivery, or since its lease began anew.
        took_us: u64,
    },
    /// A taker has released a record.
    Released {
        /// Which.
        position: Position,
        /// Number of its first delivery.
        sequence: u64,
        /// How often it was delivered.
        deliveries: u32,
    },
}

/// Why a group does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareRefusal {
    /// There is no such group.
    Unknown,
    /// It is there, and was not expected or is otherwise.
    Exists,
    /// This setting never changes. Its name, as in [`ShareSettings`].
    Fixed(&'static str),
    /// The partition has as many groups as it may.
    Full {
        /// The bound.
        max: u64,
    },
    /// The name is not possible (empty, too long).
    InvalidName,
    /// A setting is not possible. Its name, as in [`ShareSettings`].
    Invalid(&'static str),
    /// The stream hands each record to one group, and another one wants some of the same.
    Overlap,
    /// The stream's records go by settles, so they must be settled one by one, from the first on.
    NeedsSettles,
    /// It is read by pull.
    IsPull,
    /// It can not begin again before the position that it began at.
    BeforePosition,
    /// It can not begin again with what was there before the time that it began at.
    BeforeTime,
    /// It can not begin again at a place of one's choice, as it does not begin at one.
    NoPlace,
}

// What follows is between hubs and shards.

/// A request about a group. Answer: `Answer::Share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardShare {
    /// Who asks.
    pub session: SessionId,
    /// Number for the answer.
    pub call: Call,
    /// The partition.
    pub partition: QueueId,
    /// The group.
    pub group: String,
    /// What.
    pub verb: ShareVerb,
}

/// A request for a page of the groups of a partition. Answer: `Answer::Share`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardShares {
    /// Who is answered.
    pub hub: HubId,
    /// Number for the answer.
    pub call: Call,
    /// The partition.
    pub partition: QueueId,
    /// Groups to pass over, by name.
    pub offset: u64,
    /// Groups to tell, at most.
    pub count_max: u32,
}

/// A taker to be attached. See [`Pull`] and [`Push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardTake {
    /// Who takes.
    pub taker: SubscriptionId,
    /// The partition.
    pub partition: QueueId,
    /// The group.
    pub group: String,
    /// How.
    pub how: Take,
}

/// See [`ShardTake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// Some records.
    Pull(PullWant),
    /// What there is, and what comes.
    Push {
        /// Number for the answer.
        call: Call,
        /// See [`Push::bytes_max`].
        bytes_max: u64,
    },
}

/// Settles for one shard. Answer to who awaits them: `Answer::Share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSettles {
    /// Who is answered, if somebody waits: see [`ShareSettles::awaited`].
    pub answer: Option<(HubId, Call)>,
    /// What.
    pub settles: Vec<ShardSettle>,
}

/// See [`ShareSettle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardSettle {
    /// The partition.
    pub partition: QueueId,
    /// The group.
    pub group: Arc<str>,
    /// See [`ShareSettle::how`].
    pub how: ShareHow,
    /// See [`ShareSettle::runs`].
    pub runs: Vec<Run>,
    /// See [`ShareSettle::delivery`].
    pub delivery: u32,
}

/// Records on the move out of a stream (S6): a shared group gave them up or was told to forget them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareMove {
    /// Of which partition they are records.
    pub partition: QueueId,
    /// Where its stream lives.
    pub namespace: NamespaceId,
    /// The stream's name.
    pub stream: String,
    /// The group's name.
    pub group: String,
    /// Where they go.
    pub target: DeadLetter,
    /// Why.
    pub why: ShareDeath,
    /// The records.
    pub records: Vec<DeadRecord>,
}

/// Why a record is a dead letter of a shared group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShareDeath {
    /// It was delivered as often as may be.
    Exhausted,
    /// A taker has terminated it.
    Terminated {
        /// The taker's words, at most [`REASON_BYTES_MAX`]; may be empty.
        reason: String,
    },
}

/// Most bytes of a [`ShareDeath::Terminated`]'s reason that are kept.
pub const REASON_BYTES_MAX: usize = 255;

/// One record of a [`ShareMove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadRecord {
    /// Where it stands in its partition.
    pub position: Position,
    /// How often the group has delivered it.
    pub deliveries: u32,
    /// The batch that holds it.
    pub batch: Found,
}

/// Records that a taker gets: neighbours of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareRange {
    /// Which.
    pub records: FoundRecords,
    /// See [`ShareDelivery::delivery`]; of all.
    pub delivery: u32,
    /// See [`ShareDelivery::sequence`]; of the first, the others follow.
    pub sequence: u64,
    /// See [`ShareDelivery::pending`]; of the first. One less for each other if `delivery` is 1.
    pub pending: u64,
}

/// What a shard has for a taker or a listener.
#[derive(Clone, Debug)]
pub enum ShareEffect {
    /// Records. The runner fetches and opens the batches and sends [`ShareNews::Records`].
    Deliver {
        /// From which partition.
        partition: Arc<PartitionSpec>,
        /// The group, to be told of positions that turn out to hold no record.
        group: Arc<str>,
        /// See [`ShareSettings::headers_only`].
        headers_only: bool,
        /// What, in the order of delivery.
        ranges: Vec<ShareRange>,
    },
    /// Something else, as it is, in order with the records.
    Say(ShareNews),
}
