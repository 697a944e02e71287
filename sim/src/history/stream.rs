//! What clients of streams and groups did and saw.

use super::Step;
use std::fmt;
use stele_model::id::{Now, Position};

/// An appended batch, by the order of appending. Its bytes say it, so that it can be recognized wherever it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// A partition: which of the standing streams, and its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Index into [`crate::topology::STREAMS`].
    pub stream: usize,
    /// Of the partition.
    pub index: u32,
}

/// Something a client of streams did or saw.
#[derive(Clone, Debug)]
pub enum StreamEvent {
    /// A batch was handed to the session, for the first time.
    Appended {
        /// Which.
        batch: BatchId,
        /// Where to.
        part: Part,
        /// Positions it takes.
        count: u32,
        /// Who numbered it; it is sent again until it is answered.
        producer: Option<u64>,
    },
    /// It is stored, says the answer.
    Stored {
        /// Which.
        batch: BatchId,
        /// Where.
        first: Position,
    },
    /// It is refused, says the answer.
    Refused {
        /// Which.
        batch: BatchId,
        /// Why.
        why: String,
    },
    /// A read was answered.
    Read {
        /// What was read.
        part: Part,
        /// When it was asked.
        asked: Step,
        /// From where.
        from: Position,
        /// First position that can be read, and the one after the last.
        ends: (Position, Position),
        /// What came; `None`: bytes that nobody appended.
        batches: Vec<(Option<BatchId>, Position, u32)>,
        /// The final look.
        last: bool,
    },
    /// Somebody has asked to remove what is below.
    TrimAsked {
        /// Where.
        part: Part,
        /// Below what.
        below: Position,
    },
}

/// Something a member of the group did or saw.
#[derive(Clone, Debug)]
pub enum GroupEvent {
    /// A member was given a number.
    Numbered {
        /// It.
        number: String,
    },
    /// A member was told of a generation.
    Joined {
        /// When it asked.
        asked: Step,
        /// The member.
        number: String,
        /// The generation.
        generation: i32,
    },
    /// A member was given its part.
    Synced {
        /// When it asked.
        asked: Step,
        /// The time then.
        at: Now,
        /// The member.
        number: String,
        /// The generation.
        generation: i32,
        /// Partitions of its part.
        owned: Vec<u32>,
    },
    /// A member has shown a sign of life, and was answered.
    Beat {
        /// When it did.
        at: Now,
        /// When it was answered.
        now: Now,
        /// The member.
        number: String,
        /// Its generation.
        generation: i32,
        /// `Some(true)`: all is well; `None`: something is to be done; `Some(false)`: it is not a member.
        well: Option<bool>,
    },
    /// A member commits.
    CommitAsked {
        /// Number of the question.
        commit: u64,
        /// Its generation.
        generation: i32,
        /// Which partition.
        index: u32,
        /// What.
        position: u64,
    },
    /// It is committed, says the answer.
    Committed {
        /// Number of the question.
        commit: u64,
    },
    /// Somebody was told how far partitions were read.
    Positions {
        /// When it asked.
        asked: Step,
        /// What.
        known: Vec<(u32, u64)>,
    },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", crate::topology::STREAMS[self.stream].name, self.index)
    }
}
