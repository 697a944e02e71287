//! Why something is not done. Values, not errors: each dialect maps every one of them to its own words in `refuse.rs`.

use crate::group::GroupRefusal;
use crate::stream::StreamRefusal;
use std::fmt;

/// What kind of thing a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A namespace (AMQP: vhost).
    Namespace,
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
    /// A stream.
    Stream,
    /// A group.
    Group,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "vhost",
            Self::Exchange => "exchange",
            Self::Queue => "queue",
            Self::Stream => "stream",
            Self::Group => "group",
        })
    }
}

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Make, remove and change objects.
    Configure,
    /// Publish to an exchange; make a queue or exchange the end of a rule.
    Write,
    /// Read a queue; make an exchange the start of a rule.
    Read,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A stream's own reasons.
    Stream(StreamRefusal),
    /// A group's own reasons, for one of several positions.
    Group(GroupRefusal),
    /// A thing of that name is there already.
    Exists {
        /// What kind.
        object: Object,
        /// Its name.
        name: String,
    },
    /// There is no such thing in the namespace.
    Missing {
        /// What kind.
        object: Object,
        /// Its name.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// It is there, with another property.
    Inequivalent {
        /// What kind.
        object: Object,
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
        /// The property.
        argument: String,
        /// What the client asked for, as text.
        asked: String,
        /// What it is, as text.
        is: String,
    },
    /// An argument has a value that is not possible.
    InvalidArgument {
        /// What kind of thing was being made.
        object: Object,
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
        /// The argument.
        argument: String,
        /// What is wrong with it; fits after a colon.
        why: String,
    },
    /// No exchange type of that name.
    UnknownExchangeKind {
        /// The name.
        kind: String,
    },
    /// The name is kept for the system (`amq.` and the default exchange).
    Reserved {
        /// What kind.
        object: Object,
        /// Its name.
        name: String,
        /// The whole reason; fits after "could not …".
        why: String,
    },
    /// The grants of the user do not allow it.
    Denied {
        /// What would have been needed.
        access: Access,
        /// On what kind of thing.
        object: Object,
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
        /// The user.
        user: String,
    },
    /// The user may not use this key with a topic exchange.
    KeyDenied {
        /// What would have been needed.
        access: Access,
        /// The key.
        key: String,
        /// The exchange.
        exchange: String,
        /// Where.
        namespace: String,
        /// The user.
        user: String,
    },
    /// The user has no grant in the namespace at all.
    NamespaceDenied {
        /// The namespace.
        namespace: String,
        /// The user.
        user: String,
    },
    /// Publishing to an internal exchange.
    InternalExchange {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The queue is another session's own.
    Locked {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The queue has a consumer that excludes others, or exclusion was asked for and there are others.
    ExclusiveConsumer {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// It has consumers or rules.
    InUse {
        /// What kind.
        object: Object,
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The queue has ready records.
    NotEmpty {
        /// Its name.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The queue is full and refuses publishes.
    Full {
        /// Its name.
        name: String,
    },
    /// A bound was reached.
    Limit {
        /// What is bounded, for example "queues in namespace 'a'".
        what: String,
        /// The bound.
        max: u64,
    },
    /// Stele does not do this.
    NotImplemented {
        /// What.
        what: String,
    },
    /// Not now: a log has stopped, or the disk is full.
    Unavailable {
        /// Why.
        why: String,
    },
}
