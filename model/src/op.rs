//! What sessions ask for. Names are the client's; the hub resolves them.

use crate::id::Ticket;
use crate::publish::Publishes;
use crate::settle::Settle;
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
    /// Change or look at definitions. Answer: `Done::Unit`, `Done::Queue` or `Done::Deleted`.
    Define(Define),
}

/// More may be under way to a subscription (S18). Message credit comes back with settles by itself; this is for bytes that
/// have left for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credit {
    /// Whose.
    pub subscription: u64,
    /// Bytes of records.
    pub bytes: u64,
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
    /// Add a rule.
    Bind(Rule),
    /// Remove a rule; not being there is fine.
    Unbind(Rule),
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
