//! What sessions ask for. Names are the client's; the hub resolves them.

use crate::group::GroupRequest;
use crate::id::{Position, Ticket};
use crate::live::LiveBatch;
use crate::publish::Publishes;
use crate::registry::Change;
use crate::settle::Settle;
use crate::share::{Pull, Push, ShareRequest, ShareSettles, TakerCredit};
use crate::stream::records::RecordsRequest;
use crate::stream::{
    Appends, PartitionRef, Reads, SeekBy, StreamRef, StreamSettings, StreamStart, StreamUuid,
};
use crate::value::Arguments;
use bytes::Bytes;
use std::sync::Arc;

/// One request of a session. Requests of one session are taken in order.
#[derive(Clone, Debug)]
pub struct Submit {
    /// Comes back with the outcome.
    pub ticket: Ticket,
    /// The session's lane (AMQP: channel); 0 for the session as a whole. A refused publish fails its lane: whatever the lane
    /// submitted after it, up to [`Op::CloseLane`], is dropped unanswered, as AMQP wants after an error.
    pub lane: u16,
    /// What is asked.
    pub op: Op,
}

/// What can be asked.
#[derive(Clone, Debug)]
pub enum Op {
    /// Work in this namespace from now on. Answer: `Done::Opened`. The session was authenticated before.
    Open {
        /// The namespace's name (AMQP: vhost).
        namespace: String,
    },
    /// Lane `lane` of the submit is fresh again. No answer.
    CloseLane,
    /// Store and route. Answer: [`crate::outcome::Outcome::Published`] once everything awaited is durable; before it, for a lane whose publish is
    /// refused as a whole (no such exchange, no grant), [`crate::outcome::Outcome::LaneFailed`].
    Publish(Arc<Publishes>),
    /// Publish live, beside what the session's reads bring: answers to others, what another dialect stored. No answer.
    Live(Arc<LiveBatch>),
    /// End deliveries. No answer.
    Settle(Vec<Settle>),
    /// More may be sent to subscriptions. No answer.
    Credit(Vec<Credit>),
    /// Read from a queue. Answer: `Done::Subscribed`, before the first delivery.
    Subscribe(Subscribe),
    /// Stop reading. Answer: `Done::Unsubscribed`. Deliveries may still be under way and arrive after the answer: the session
    /// releases them unseen. What is held stays held until it is settled.
    Unsubscribe {
        /// Which.
        subscription: u64,
    },
    /// Read one record. Answer: `Done::Got`.
    Get(Get),
    /// Remove the ready records. Answer: `Done::Purged`.
    Purge {
        /// The queue's name.
        queue: String,
    },
    /// Change or look at definitions. Answer: `Done::Unit`, `Done::Queue`, `Done::Deleted` or `Done::Stream`.
    Define(Define),
    /// Append batches to streams. Answer: `Done::Appended`, once everything awaited is durable.
    Append(Appends),
    /// Read batches of streams; what is there now. Answer: `Done::Read`.
    Read(Reads),
    /// Forget a watch (see [`Reads::watch`]). No answer; the wake may still come.
    Unwatch {
        /// Which.
        watch: u64,
    },
    /// Find positions. Answer: `Done::Sought`.
    Seek(Vec<(PartitionRef, SeekBy)>),
    /// Remove what is below these positions. Answer: `Done::Trimmed`.
    Trim(Vec<(PartitionRef, Position)>),
    /// Work on the records of a stream that tells them apart. Answer: `Done::Records`.
    Records(RecordsRequest),
    /// A number for a producer, never given before. Answer, when durable: `Done::Producer`.
    NewProducer,
    /// Look at streams. Answer: `Done::Streams`.
    Streams(StreamsWanted),
    /// Ask a group. Answer: `Done::Group`.
    Group(GroupRequest),
    /// An administrator's change. Answer: `Done::Unit`.
    Administer(Change),
    /// List all users with their grants, for an administrator. Answer: `Done::Accounts`.
    Accounts,
    /// List all groups that the session may see. Answer: `Done::Groups`.
    Groups,
    /// What is known of the groups of a home, from a place on: what a reader of that partition of the internal stream is shown.
    /// Answer: `Done::GroupChanges`.
    GroupChanges {
        /// Which partition of [`crate::group::GROUP_STREAM`].
        home: u32,
        /// From which place.
        from: Position,
        /// At most so many.
        count_max: u32,
    },
    /// Ask a shared group. Answer: `Done::Share`.
    Share(ShareRequest),
    /// List the shared groups of a partition. Answer: `Done::Share`.
    Shares {
        /// Which partition.
        of: PartitionRef,
        /// Groups to pass over, by name.
        offset: u64,
        /// At most so many.
        count_max: u32,
    },
    /// Take some records of a shared group. Answered by what comes to the taker; only if it is refused by an outcome.
    Pull(Pull),
    /// Take what there is and what comes of a shared group. Answer: `Done::Share`.
    Push(Push),
    /// A pull or push ends. No answer, and no [`crate::share::ShareNews::Ended`]; records may still be under way.
    Untake {
        /// The taker's number.
        taker: u64,
    },
    /// More may be sent to pushes. No answer.
    TakerCredit(Vec<TakerCredit>),
    /// End deliveries of shared groups. Answer, if awaited: `Done::Share`.
    SettleShares(ShareSettles),
    /// Tell this session what happens to the shared groups of its namespace ([`crate::share::ShareNews::Event`]), which bundles of records
    /// came to nothing ([`crate::share::ShareNews::Abandoned`]), and what its streams
    /// store and tell of ([`crate::outcome::Wake::Echo`]), or do not any more. No answer.
    ShareListen {
        /// Tell.
        on: bool,
    },
    /// Answer ([`crate::outcome::Done::Unit`]) once what other sessions of this node have been told so far, and what they publish live because
    /// of it, has come to whoever hears it: who is answered then overtakes nothing of that.
    CatchUp,
}

/// Which streams to tell of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamsWanted {
    /// All that the session may see, by name.
    All,
    /// These, in this order.
    These(Vec<StreamRef>),
}

/// More may be under way to a subscription (S18). Message credit comes back with settles by itself; this is for bytes that
/// have left for the client, and for a limit that the client has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Whose.
    pub subscription: u64,
    /// Bytes of records.
    pub bytes: u64,
    /// From now on so many records may be unsettled, in place of [`Subscribe::messages_max`]; `None`: as before. What is under way stays so.
    pub messages_max: Option<u32>,
}

/// A subscription.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Its number, chosen by the session, never used again within it.
    pub subscription: u64,
    /// The queue's name; or `amq.rabbitmq.reply-to` by [`Subscribe::direct_reply`].
    pub queue: String,
    /// Not a queue: the session wants answers to its own requests, sent straight to it. Answer: `Done::Replies` with the
    /// address to give out.
    pub direct_reply: bool,
    /// Deliveries end as accepted when they are sent.
    pub no_ack: bool,
    /// Nobody else may read the queue.
    pub exclusive: bool,
    /// Most unsettled deliveries; `None`: no limit but the bytes.
    pub messages_max: Option<u32>,
    /// Most bytes under way that [`Credit`] has not yet given back.
    pub bytes_max: u64,
    /// Higher ones are served first.
    pub priority: i32,
    /// Where in a stream to begin; passed over for queues. `None`: with what comes next.
    pub start: Option<StreamStart>,
}

/// A single read.
#[derive(Clone, Debug)]
pub struct Get {
    /// The queue's name.
    pub queue: String,
    /// Number under which the delivery is held and settled; one for each lane is enough.
    pub subscription: u64,
    /// The delivery ends as accepted at once.
    pub no_ack: bool,
}

/// What a rule leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DestinationName {
    /// A queue.
    Queue(String),
    /// Another exchange.
    Exchange(String),
}

/// Work on definitions, in AMQP 0-9-1's terms, since it is the richest of the dialects in this.
#[derive(Clone, Debug)]
pub enum Define {
    /// Make an exchange, or check that it is like this, or (passive) that it is there.
    DeclareExchange {
        /// Name.
        name: String,
        /// The client's word for its type; unknown ones are refused.
        kind: String,
        /// Only check that it is there.
        passive: bool,
        /// Outlives a restart.
        durable: bool,
        /// Gone after its last rule.
        auto_delete: bool,
        /// Clients may not publish to it.
        internal: bool,
        /// Further arguments.
        arguments: Arguments,
    },
    /// Remove an exchange; not being there is fine.
    DeleteExchange {
        /// Name.
        name: String,
        /// Refuse if rules lead from it.
        if_unused: bool,
    },
    /// Make a queue, or check that it is like this, or (passive) that it is there. Answer: `Done::Queue`.
    DeclareQueue {
        /// Name; empty: make one up.
        name: String,
        /// Only check that it is there.
        passive: bool,
        /// Outlives a restart.
        durable: bool,
        /// Only for this session.
        exclusive: bool,
        /// Gone after its last consumer.
        auto_delete: bool,
        /// Further arguments.
        arguments: Arguments,
    },
    /// Remove a queue; not being there is fine. Answer: `Done::Deleted`.
    DeleteQueue {
        /// Name.
        name: String,
        /// Refuse if it has consumers.
        if_unused: bool,
        /// Refuse if it has ready records.
        if_empty: bool,
    },
    /// Make a stream. Answer: `Done::Stream`.
    CreateStream(CreateStream),
    /// Change a stream's settings. Answer: `Done::Stream`.
    AlterStream {
        /// Which.
        stream: StreamRef,
        /// What it does from now on.
        settings: StreamSettings,
        /// In place of what the client wrote before.
        arguments: Arguments,
        /// Only check whether it could be done.
        check_only: bool,
    },
    /// Add partitions to a stream, up to this number. Answer: `Done::Stream`.
    AddPartitions {
        /// Which.
        stream: StreamRef,
        /// How many it has afterwards.
        partitions: u32,
        /// Only check whether it could be done.
        check_only: bool,
    },
    /// Remove a stream and all in it. Answer: `Done::Stream`, what it was.
    DeleteStream {
        /// Which.
        stream: StreamRef,
    },
    /// Add a rule.
    Bind(Rule),
    /// Remove a rule; not being there is fine.
    Unbind(Rule),
}

/// A stream to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateStream {
    /// Its name.
    pub name: String,
    /// Its stable number, made up by the driver's dialect from random bytes that it was given; all zeroes: make one up from the
    /// registry's revision and boot.
    pub uuid: StreamUuid,
    /// How many partitions, at least 1.
    pub partitions: u32,
    /// What it does.
    pub settings: StreamSettings,
    /// As the client wrote it, under its dialect's names.
    pub arguments: Arguments,
    /// Only check whether it could be made.
    pub check_only: bool,
}

/// One edge from an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Name of the exchange.
    pub source: String,
    /// Where it leads.
    pub destination: DestinationName,
    /// Routing key or pattern.
    pub key: Bytes,
    /// Further arguments (headers to match).
    pub arguments: Arguments,
}
