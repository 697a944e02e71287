//! The end of deliveries.

use crate::id::{Position, QueueId};

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// Done with it.
    Accept,
    /// Back to its place in the queue.
    Release {
        /// It was shown to a client: its next delivery is marked as redelivered.
        seen: bool,
        /// It counts towards the queue's delivery limit.
        counted: bool,
    },
    /// Not wanted: dead-lettered where the queue has a target, else gone.
    Reject,
}

/// Neighbouring positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// First position.
    pub first: Position,
    /// How many, at least 1.
    pub count: u32,
}

/// Ends deliveries of one queue that one subscription (or get) holds. Positions it does not hold any more are passed over:
/// the first settle wins (S16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Number of the session's subscription that got them.
    pub subscription: u64,
    /// The queue they came from.
    pub queue: QueueId,
    /// How they end.
    pub how: How,
    /// Which.
    pub runs: Vec<Run>,
}
