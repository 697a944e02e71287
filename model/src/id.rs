//! The numbers things go by. All are plain integers with a type each, so that two of them cannot be exchanged by mistake.
//!
//! Ids of objects are given by the registry, dense and never used again (S9). What lives only as long as the process
//! (hubs, sessions, subscriptions, tickets) is numbered by its driver.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($of:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $of);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(/// Number of a commit block in one shard's log: dense, from 1; 0 means "before the first block".
    Lsn(u64));
number!(/// Place of a record in a queue or partition: dense, from 0, never used again.
    Position(u64));
number!(/// A shard: a state machine with a log of its own.
    ShardId(u16));
number!(/// One IO thread's hub. Dense from 0 in a process.
    HubId(u16));
number!(/// An exchange; from the registry.
    ExchangeId(u64));
number!(/// A queue; from the registry.
    QueueId(u64));
number!(/// A namespace (AMQP: vhost); from the registry.
    NamespaceId(u64));
number!(/// A user; from the registry.
    PrincipalId(u64));
number!(/// Start of a process on a data directory, counted in the registry's log; owned objects carry it (S12).
    Boot(u64));
number!(/// The registry's revision: grows by one per committed change.
    Revision(u64));
number!(/// What a session calls one of its submits; the outcome carries it back. Chosen by the session, unique within it.
    Ticket(u64));
number!(/// What a hub calls one part of a submit that it sent to a shard or to the registry; the answer carries it back.
    Call(u64));

/// A connection's session. The hub that holds it can be read from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SessionId {
    /// The IO thread that the session lives on.
    pub hub: HubId,
    /// Counted by that IO thread, never used again within a process.
    pub number: u64,
}

/// A live attachment of a session to a queue (AMQP: consumer).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct SubscriptionId {
    /// Whose it is.
    pub session: SessionId,
    /// Chosen by the session, never used again within it.
    pub number: u64,
}

/// Where a record's first byte stands in one shard's log: the block, and the offset in the block's body (ADR 0002).
///
/// This is a name, not an address: it stays the same when the bytes are moved to another segment, and is equal on every
/// node that has the same log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// The block.
    pub lsn: Lsn,
    /// Offset in bytes from the start of the block's body.
    pub at: u32,
}

/// Time in microseconds since the Unix epoch. Never runs backwards within a process: it follows the monotonic clock and is
/// slewed towards wall time (S28). Pure code is handed it; it never asks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Now(pub u64);

impl Now {
    /// The time `ms` milliseconds later; saturates.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1000)))
    }

    /// Whole milliseconds since the Unix epoch.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0 / 1000
    }
}
