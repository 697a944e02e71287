//! What the clients of a run did and saw, in order: all that the oracle is told.
//!
//! Written by the clients and by the world (crashes), read by `oracle`. Nothing in here comes from inside the node.

pub mod shared;
pub mod stream;

use std::fmt;
use stele_model::id::{Position, QueueId, SessionId};
use stele_model::settle::How;

/// A published record, by the order of publishing. Its body says it, so that every delivery can be recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u64);

/// Time of an event: the number of the step it happened in.
pub type Step = u64;

/// Something a client did or saw, or that happened to the node.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client has handed a record to its session.
    Published(Publish),
    /// Its confirm came.
    Confirmed {
        /// Which.
        record: RecordId,
        /// No queue took it, and it was mandatory.
        returned: bool,
    },
    /// Its publish was refused, or dropped because its lane had failed.
    Refused {
        /// Which.
        record: RecordId,
        /// Nothing of it may be anywhere: the refusal was of the publish as a whole.
        whole: bool,
        /// Why.
        why: String,
    },
    /// A client has asked to be given records.
    Reads {
        /// Who.
        session: SessionId,
        /// The queue's name.
        queue: String,
    },
    /// A client was shown a record.
    Delivered(Delivery),
    /// A client has ended a delivery.
    Settled {
        /// Who.
        session: SessionId,
        /// The queue's name.
        queue: String,
        /// What.
        held: Held,
        /// How.
        how: How,
    },
    /// A client has asked for something that removes records.
    RemovalAsked(Removal),
    /// It was answered. Without this (a crash), it may or may not have happened.
    RemovalAnswered {
        /// Number of the question.
        number: u64,
        /// It was done; `false`: it was refused.
        done: bool,
    },
    /// A session has ended, from the client's side.
    SessionEnded(SessionId),
    /// The node has stopped: every session is gone.
    Stopped {
        /// After everything was written; else by a crash.
        orderly: bool,
    },
    /// A queue that should be there (or not) was looked for.
    LookedFor {
        /// Its name.
        queue: String,
        /// It was there.
        found: bool,
    },
    /// The final look into a queue showed that it is empty now.
    Emptied {
        /// Its name.
        queue: String,
    },
    /// Of streams.
    Stream(stream::StreamEvent),
    /// Of the group.
    Group(stream::GroupEvent),
    /// Of the stream by subject and its shared group.
    Shared(shared::SharedEvent),
}

/// A publish.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Number of the record.
    pub record: RecordId,
    /// Who.
    pub session: SessionId,
    /// On which of its lanes.
    pub lane: u16,
    /// Queues that must take it; all that may, for a route that others change meanwhile.
    pub queues: Vec<String>,
    /// Whether these queues are certain.
    pub certain: bool,
    /// It asks to survive.
    pub persistent: bool,
    /// The client waits for a confirm.
    pub awaited: bool,
    /// The whole record.
    pub bytes: bytes::Bytes,
}

/// A delivery as its client saw it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whose.
    pub session: SessionId,
    /// The queue's name; empty for a direct reply.
    pub queue: String,
    /// What a settle would name.
    pub held: Held,
    /// It ended as accepted when it was sent.
    pub no_ack: bool,
    /// The mark.
    pub redelivered: bool,
    /// The whole record.
    pub bytes: bytes::Bytes,
}

/// Names one delivery of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    /// The session's subscription.
    pub subscription: u64,
    /// The queue.
    pub queue: QueueId,
    /// Its place there.
    pub position: Position,
    /// What its body says it is; `None`: nothing we know.
    pub record: Option<RecordId>,
}

/// A request that removes records from a queue.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Number of the question.
    pub number: u64,
    /// Who.
    pub session: SessionId,
    /// The queue's name.
    pub queue: String,
    /// What.
    pub kind: RemovalKind,
}

/// Ways of removing records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemovalKind {
    /// All ready records.
    Purge,
    /// The queue with all it has.
    Delete,
    /// The queue, if it has no ready records.
    DeleteIfEmpty,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Published(publish) => write!(
                f,
                "published r{} by {} lane {} to {:?}{}{}",
                publish.record.0,
                Session(publish.session),
                publish.lane,
                publish.queues,
                if publish.persistent { "" } else { ", transient" },
                if publish.awaited { "" } else { ", unawaited" },
            ),
            Self::Delivered(delivery) => write!(
                f,
                "delivered {} from '{}' to {}{}{}",
                delivery.held,
                delivery.queue,
                Session(delivery.session),
                if delivery.redelivered { ", redelivered" } else { "" },
                if delivery.no_ack { ", settled by sending" } else { "" },
            ),
            Self::Settled { session, queue, held, how } => {
                write!(f, "settled {held} of '{queue}' by {}: {how:?}", Session(*session))
            }
            Self::Confirmed { record, returned } => {
                write!(f, "confirmed r{}{}", record.0, if *returned { ", returned" } else { "" })
            }
            Self::Refused { record, why, .. } => write!(f, "refused r{}: {why}", record.0),
            Self::Reads { session, queue } => write!(f, "{} reads '{queue}'", Session(*session)),
            Self::RemovalAsked(removal) => {
                let Removal { number, session, queue, kind } = removal;
                write!(f, "{} asks to remove, number {number}: {kind:?} '{queue}'", Session(*session))
            }
            Self::RemovalAnswered { number, done } => write!(f, "removal {number} is answered: {done}"),
            Self::SessionEnded(session) => write!(f, "session {} ended", Session(*session)),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.record {
            Some(record) => write!(f, "r{}", record.0)?,
            None => write!(f, "an unknown record")?,
        }
        write!(f, " at {}.{} (subscription {})", self.queue, self.position, self.subscription)
    }
}

/// A session in few letters.
pub struct Session(pub SessionId);

impl fmt::Display for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.hub, self.0.number)
    }
}
