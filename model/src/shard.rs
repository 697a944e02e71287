//! What hubs and the registry ask of a shard, and what a shard has to tell them.

use crate::group::{GroupRefusal, ShardGroup, ShardGroupAnswer};
use crate::id::{
    Boot, Call, HubId, NamespaceId, Place, Position, QueueId, Revision, SessionId, ShardId, SubscriptionId,
};
use crate::op::Credit;
use crate::outcome::Deliveries;
use crate::publish::ShardPublish;
use crate::queue::QueueSpec;
use crate::refusal::Refusal;
use crate::settle::Settle;
use crate::share::{
    ShardSettles, ShardShare, ShardShares, ShardTake, ShareAnswer, ShareEffect, ShareMove, ShareNews,
    ShareRefusal,
};
use crate::stream::due::DueMove;
use crate::stream::echo::{EchoAt, Echoes};
use crate::stream::records::{RecordsAnswer, ShardRecords, ShardRecordsAnswer, ShardStored};
use crate::stream::{
    Appended, Ends, FoundPart, FoundPosition, FoundRecords, OpenMax, Opened, PartResult, PartitionSpec,
    ReadPart, SeekBy, ShardAppend, ShardRead, Sought, StreamStart,
};
use bytes::Bytes;
use std::sync::Arc;

/// A request to a shard.
#[derive(Clone, Debug)]
pub enum ShardOp {
    /// Store records. Answer: [`ShardEffect::Published`].
    Publish(ShardPublish),
    /// End deliveries. No answer.
    Settle {
        /// Who held them.
        session: SessionId,
        /// What.
        settles: Vec<Settle>,
    },
    /// Give back byte credit. No answer.
    Credit {
        /// Whose.
        session: SessionId,
        /// To which queue's subscription.
        queue: QueueId,
        /// How much.
        credit: Credit,
    },
    /// From the runner, once for each [`ShardEffect::DeliverBatches`] with batches to be opened: how far that went. No answer.
    Opened(Opened),
    /// Attach a reader. Answer: `Answer::Subscribed`.
    Subscribe(ShardSubscribe),
    /// Detach a reader. Answer: `Answer::Unsubscribed`. Its leases stay.
    Unsubscribe {
        /// Number for the answer.
        call: Call,
        /// Which.
        subscription: SubscriptionId,
        /// Of which queue.
        queue: QueueId,
    },
    /// Read one ready record. Answer: [`ShardEffect::Got`].
    Get {
        /// Number for the answer.
        call: Call,
        /// Who will hold and settle it.
        subscription: SubscriptionId,
        /// From which queue.
        queue: QueueId,
        /// Settle it at once.
        no_ack: bool,
    },
    /// Remove ready records. Answer: `Answer::Purged`.
    Purge {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Which queue.
        queue: QueueId,
    },
    /// Count. Answer: `Answer::Status`.
    Status {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Which queue.
        queue: QueueId,
    },
    /// Remove a queue if the conditions hold (S10): the shard logs that it is closing, tells the registry by
    /// [`ShardEffect::Closing`], and answers with `Answer::Deleted` once the registry's [`ShardOp::Drop`] is durable.
    Close {
        /// Who is answered; `None`: nobody.
        answer: Option<(HubId, Call)>,
        /// Which queue.
        queue: QueueId,
        /// Refuse if it has consumers.
        if_unused: bool,
        /// Refuse if it has ready records.
        if_empty: bool,
    },
    /// A session is gone: its subscriptions end, what it held is released (seen, and counted as a failed delivery).
    SessionGone {
        /// Which.
        session: SessionId,
    },
    /// From the registry: make or change this queue. Answer: [`ShardEffect::Applied`].
    Put {
        /// The registry's revision that says so.
        revision: Revision,
        /// The queue; shared with the registry, since there may be millions.
        queue: Arc<QueueSpec>,
    },
    /// From the registry: the queue is gone. Answer: [`ShardEffect::Applied`], and to who waits for a [`ShardOp::Close`].
    Drop {
        /// The registry's revision that says so.
        revision: Revision,
        /// Which.
        queue: QueueId,
    },
    /// From the registry at its start: these are all queues of this shard. What is missing is made, what is unknown dropped.
    /// Answer: [`ShardEffect::Applied`].
    Sync {
        /// The registry's revision.
        revision: Revision,
        /// This start of the process.
        boot: Boot,
        /// All queues.
        queues: Vec<Arc<QueueSpec>>,
        /// All partitions.
        partitions: Vec<PartitionSpec>,
    },
    /// Append batches to partitions. Answer: [`ShardEffect::Appended`].
    Append(ShardAppend),
    /// Read batches of partitions. Answer: [`ShardEffect::Read`].
    Read(ShardRead),
    /// Forget a watch. No answer.
    Unwatch {
        /// Whose.
        session: SessionId,
        /// Which.
        watch: u64,
    },
    /// Find positions. Answer: [`ShardEffect::Sought`].
    Seek {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Where, and what.
        parts: Vec<(QueueId, SeekBy)>,
    },
    /// Remove what is below positions. Answer: `Answer::Trimmed`.
    Trim {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Where, and below what.
        parts: Vec<(QueueId, Position)>,
    },
    /// Work on the records of a partition. Answer: [`ShardEffect::Records`].
    Records(ShardRecords),
    /// Give a producer's number. Answer: `Answer::Producer`.
    NewProducer {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
    },
    /// Ask a group. Answer: `Answer::Group`.
    Group(ShardGroup),
    /// List the groups of a home. Answer: `Answer::Group`.
    Groups {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Which partition of the groups' stream.
        home: QueueId,
    },
    /// Tell what is known of the groups of a home. Answer: `Answer::Group`.
    GroupChanges {
        /// Who is answered.
        hub: HubId,
        /// Number for the answer.
        call: Call,
        /// Which partition of the groups' stream.
        home: QueueId,
        /// From which place.
        from: Position,
        /// At most so many.
        count_max: u32,
    },
    /// From a hub: these partitions are not there any more, wherever they were. What groups know of them is forgotten. No answer, and no
    /// harm if it is missed: then it goes with the group.
    PartitionsGone {
        /// Which.
        partitions: Vec<QueueId>,
    },
    /// From the registry: make or change this partition. Answer: [`ShardEffect::Applied`]. It goes by [`ShardOp::Drop`].
    PutPartition {
        /// The registry's revision that says so.
        revision: Revision,
        /// The partition.
        partition: PartitionSpec,
    },
    /// Ask a shared group. Answer: `Answer::Share`.
    Share(ShardShare),
    /// List shared groups. Answer: `Answer::Share`.
    Shares(ShardShares),
    /// Attach a taker to a shared group. See [`crate::op::Op::Pull`] and [`crate::op::Op::Push`].
    Take(ShardTake),
    /// A taker leaves. No answer.
    Untake {
        /// Which.
        taker: SubscriptionId,
    },
    /// More may be sent to a push. No answer.
    TakerCredit {
        /// Which.
        taker: SubscriptionId,
        /// Bytes of records.
        bytes: u64,
    },
    /// End deliveries of shared groups. Answer, if awaited: `Answer::Share`.
    SettleShares(ShardSettles),
    /// Tell this session what happens to shared groups, or do not any more. No answer.
    ShareListen {
        /// Which.
        session: SessionId,
        /// Tell.
        on: bool,
    },
    /// Tell this session of the records that streams of a namespace store and tell of, or of none any more. No answer.
    EchoListen {
        /// Which.
        session: SessionId,
        /// Of which namespace; `None`: of none.
        namespace: Option<NamespaceId>,
    },
    /// From a hub: so much of what a session was told of has left the way to it. No answer.
    EchoTaken {
        /// Which.
        session: SessionId,
        /// Bytes of records.
        bytes: u64,
    },
    /// From the driver: the wall clock has jumped, or is trusted again (S28). What goes by age stays meanwhile. No answer; not logged,
    /// so it is said again after a restart.
    Clock {
        /// It has.
        jumped: bool,
    },
    /// From a hub: the records of a move (S6) are where they should be, or nowhere to go. The source lets go of them.
    Moved {
        /// Which move.
        number: u64,
    },
}

/// A reader to be attached.
#[derive(Clone, Debug)]
pub struct ShardSubscribe {
    /// Number for the answer.
    pub call: Call,
    /// Who reads.
    pub subscription: SubscriptionId,
    /// What.
    pub queue: QueueId,
    /// See [`crate::op::Subscribe`].
    pub no_ack: bool,
    /// See [`crate::op::Subscribe`].
    pub exclusive: bool,
    /// See [`crate::op::Subscribe`].
    pub messages_max: Option<u32>,
    /// See [`crate::op::Subscribe`].
    pub bytes_max: u64,
    /// See [`crate::op::Subscribe`].
    pub priority: i32,
    /// See [`crate::op::Subscribe`].
    pub start: Option<StreamStart>,
}

/// What a shard has to tell.
#[derive(Clone, Debug)]
pub enum ShardEffect {
    /// To the hub of a [`ShardOp::Publish`].
    Published {
        /// Who.
        hub: HubId,
        /// Which part.
        call: Call,
        /// Items that a queue refused, in order.
        refused: Vec<(u32, Refusal)>,
        /// Items of which a route's queues are all gone by now: to be routed again once (S9).
        gone: Vec<u32>,
        /// See [`crate::outcome::Published::stored`].
        stored: Vec<ShardStored>,
    },
    /// To the hub: what came of [`ShardOp::Records`]. The runner fetches the bytes and sends them as [`ToHub::Records`].
    Records {
        /// Who is answered.
        hub: HubId,
        /// Which.
        call: Call,
        /// What.
        answer: Result<ShardRecordsAnswer, Refusal>,
    },
    /// To the hub of a [`ShardOp::Append`].
    Appended {
        /// Who.
        hub: HubId,
        /// Which part.
        call: Call,
        /// One for each part.
        parts: Vec<PartResult<Appended>>,
    },
    /// To a session: what was found. The runner fetches the bytes and sends them as [`ToHub::Read`].
    Read {
        /// Who asked.
        session: SessionId,
        /// Which part.
        call: Call,
        /// One for each part.
        parts: Vec<PartResult<FoundPart>>,
    },
    /// To the hub of a [`ShardOp::Seek`]. The runner fetches the bytes and sends them as [`ToHub::Sought`].
    Sought {
        /// Who.
        hub: HubId,
        /// Which part.
        call: Call,
        /// One for each part.
        parts: Vec<PartResult<FoundPosition>>,
    },
    /// To a session: something came to what it watches.
    Woken {
        /// Whose.
        session: SessionId,
        /// Which.
        watch: u64,
    },
    /// To the hub of another request.
    Answer {
        /// Who.
        hub: HubId,
        /// Which.
        call: Call,
        /// What.
        answer: Result<Answer, Refusal>,
    },
    /// To a session: records. The runner fetches their bytes and sends them as [`crate::outcome::Deliveries`].
    Deliver {
        /// To whom.
        subscription: SubscriptionId,
        /// From where.
        queue: QueueId,
        /// What, in queue order.
        records: Vec<Grant>,
    },
    /// To a session: records of a stream. The runner fetches and opens the batches and sends the records as
    /// [`crate::outcome::Deliveries`].
    DeliverBatches {
        /// To whom.
        subscription: SubscriptionId,
        /// From which partition.
        partition: std::sync::Arc<PartitionSpec>,
        /// What, in order.
        batches: Vec<FoundRecords>,
        /// Some have to be opened, and so far. Nothing else is granted to the subscription until [`ShardOp::Opened`].
        open: Option<OpenMax>,
    },
    /// Answer to [`ShardOp::Get`].
    Got {
        /// Who asked.
        subscription: SubscriptionId,
        /// Number for the answer.
        call: Call,
        /// The queue.
        queue: QueueId,
        /// See [`crate::outcome::Done::Subscribed`].
        counts_deliveries: bool,
        /// The record, if any.
        record: Option<Grant>,
        /// Ready records left.
        ready: u64,
    },
    /// To a taker of a shared group, or to a listener (number 0).
    Shared {
        /// To whom.
        to: SubscriptionId,
        /// What.
        what: ShareEffect,
    },
    /// To a session: a stream has stored these. The runner fetches their bytes and sends them as [`ToHub::Echo`].
    Echo {
        /// Who listens.
        session: SessionId,
        /// The stream.
        partition: Arc<PartitionSpec>,
        /// What.
        records: Vec<EchoAt>,
    },
    /// To a session: the subscription is ended by the server.
    Cancelled {
        /// Which.
        subscription: SubscriptionId,
    },
    /// To a hub: give these records somewhere to go (S6). Repeated after a restart until [`ShardOp::Moved`].
    Move(Move),
    /// To the registry: this queue wants to be gone.
    Closing {
        /// Which.
        queue: QueueId,
    },
    /// To the registry: logged and durable.
    Applied {
        /// By whom.
        shard: ShardId,
        /// What.
        revision: Revision,
        /// The queue, if it was about one.
        queue: Option<QueueId>,
    },
}

/// A record granted to a reader, or on the move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Where its bytes are.
    pub place: Place,
    /// Length of the record, bytes.
    pub len: u32,
    /// Place in the queue.
    pub position: Position,
    /// It was delivered before.
    pub redelivered: bool,
    /// Earlier deliveries that failed and counted.
    pub failures: u32,
}

/// Answers of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The reader is attached; deliveries follow this.
    Subscribed {
        /// See [`crate::outcome::Done::Subscribed`].
        counts_deliveries: bool,
    },
    /// Detached.
    Unsubscribed,
    /// Removed so many.
    Purged {
        /// How many.
        count: u64,
    },
    /// Counts.
    Status {
        /// Ready records.
        ready: u64,
        /// Unsettled deliveries.
        unsettled: u64,
        /// Consumers.
        consumers: u32,
    },
    /// The queue is gone; it had so many ready records.
    Deleted {
        /// How many.
        ready: u64,
    },
    /// One for each part: its ends now.
    Trimmed(Vec<PartResult<Ends>>),
    /// A producer's number.
    Producer(u64),
    /// What a group says.
    Group(Result<ShardGroupAnswer, GroupRefusal>),
    /// What a shared group says.
    Share(Result<ShareAnswer, ShareRefusal>),
}

/// Why a record is a dead letter. The words are RabbitMQ's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeathReason {
    /// A consumer rejected it.
    Rejected,
    /// Its time was over.
    Expired,
    /// It had to make room, or was refused by reject-publish-dlx.
    MaxLength,
    /// Its deliveries failed too often.
    DeliveryLimit,
}

/// Records that leave their place for wherever its dead letters go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The shard it leaves.
    pub from: ShardId,
    /// Grows by one for each move of the shard, for ever; also its number on the links to the shards that take the records.
    pub number: u64,
    /// What they leave.
    pub out_of: MoveOut,
}

/// What records on the move leave, and which they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MoveOut {
    /// A queue.
    Queue {
        /// With its name, namespace and dead-letter target.
        queue: Arc<QueueSpec>,
        /// Why.
        reason: DeathReason,
        /// The records.
        records: Vec<Grant>,
    },
    /// A shared group.
    Share(Arc<ShareMove>),
    /// A stream: their time has come.
    Due(Arc<DueMove>),
}

/// A move with the records' bytes, as the runner hands it to a hub.
#[derive(Clone, Debug)]
pub struct MoveRecords {
    /// The move.
    pub of: Move,
    /// One for each of its records, in order, or for each of [`DueMove::places`]; empty for one that could not be opened.
    pub bytes: Vec<Bytes>,
}

/// Counts of a shard, for metrics and listings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// The queue.
    pub queue: QueueId,
    /// Ready records.
    pub ready: u64,
    /// Bytes of ready records.
    pub ready_bytes: u64,
    /// Unsettled deliveries.
    pub unsettled: u64,
    /// Consumers.
    pub consumers: u32,
    /// Records ever taken in.
    pub published: u64,
    /// Deliveries ever made.
    pub delivered: u64,
    /// Deliveries that ended as accepted.
    pub accepted: u64,
    /// Records dead-lettered, by any reason.
    pub dead_lettered: u64,
}

/// What a hub hears from a shard: the released effects, records joined to their bytes.
#[derive(Clone, Debug)]
pub enum ToHub {
    /// See [`ShardEffect::Published`].
    Published {
        /// Which part.
        call: Call,
        /// Items that a queue refused, in order.
        refused: Vec<(u32, Refusal)>,
        /// Items to be routed again.
        gone: Vec<u32>,
        /// See [`crate::outcome::Published::stored`].
        stored: Vec<ShardStored>,
    },
    /// See [`ShardEffect::Records`].
    Records {
        /// Which.
        call: Call,
        /// What.
        answer: Result<RecordsAnswer, Refusal>,
    },
    /// See [`ShardEffect::Answer`].
    Answer {
        /// Which.
        call: Call,
        /// What.
        answer: Result<Answer, Refusal>,
    },
    /// See [`ShardEffect::Got`].
    Got {
        /// Number for the answer.
        call: Call,
        /// The queue.
        queue: QueueId,
        /// See [`crate::outcome::Done::Subscribed`].
        counts_deliveries: bool,
        /// The record, if any.
        record: Option<(Bytes, Grant)>,
        /// Ready records left.
        ready: u64,
    },
    /// See [`ShardEffect::Deliver`].
    Deliver {
        /// To whom.
        session: SessionId,
        /// What.
        deliveries: Deliveries,
    },
    /// See [`ShardEffect::Shared`].
    Shared {
        /// To which session.
        session: SessionId,
        /// What.
        news: Box<ShareNews>,
    },
    /// See [`ShardEffect::Echo`].
    Echo {
        /// Which session.
        session: SessionId,
        /// What.
        echoes: Box<Echoes>,
    },
    /// See [`ShardEffect::Cancelled`].
    Cancelled {
        /// Which.
        subscription: SubscriptionId,
    },
    /// See [`ShardEffect::Move`].
    Move(MoveRecords),
    /// See [`ShardEffect::Appended`].
    Appended {
        /// Which part.
        call: Call,
        /// One for each part.
        parts: Vec<PartResult<Appended>>,
    },
    /// See [`ShardEffect::Read`].
    Read {
        /// Which part.
        call: Call,
        /// One for each part.
        parts: Vec<PartResult<ReadPart>>,
    },
    /// See [`ShardEffect::Sought`].
    Sought {
        /// Which part.
        call: Call,
        /// One for each part.
        parts: Vec<PartResult<Sought>>,
    },
    /// See [`ShardEffect::Woken`].
    Woken {
        /// Whose.
        session: SessionId,
        /// Which.
        watch: u64,
    },
}
