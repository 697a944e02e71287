//! What a stream tells of the records that it stores, once they are durable: to sessions that listen, so that they are published again.
//!
//! A stream that tells says under which subjects ([`Echo`]). Who listens ([`crate::op::Op::ShareListen`]) hears of each record once, in the
//! order of positions, at most: nothing is told again after a crash, and nothing while a listener is too far behind ([`UNDERWAY_BYTES_MAX`]).

use crate::id::{Now, Place, Position};
use crate::stream::PartitionSpec;
use crate::subject::renaming::Renaming;
use bytes::Bytes;
use std::sync::Arc;

/// Bytes of records that may be on their way from one shard to one listener; what is stored meanwhile is not told of.
pub const UNDERWAY_BYTES_MAX: u64 = 64 << 20;

/// How a stream tells of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Of which subjects, and under which others.
    pub to: Renaming,
    /// Headers are passed on, bodies are not.
    pub head_only: bool,
}

/// Records of one stream, as a session is told of them.
#[derive(Clone, Debug)]
pub struct Echoes {
    /// The stream: its settings are those under which the records were stored.
    pub partition: Arc<PartitionSpec>,
    /// One for each of `items`: its record, in the layout of crate `record`.
    pub records: Vec<Bytes>,
    /// In the order of positions.
    pub items: Vec<Echoed>,
}

/// A record that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echoed {
    /// Its position.
    pub position: Position,
    /// Where the last record of its subject stood before it; `None`: there was none.
    pub before: Option<Position>,
    /// When it was appended.
    pub appended: Now,
}

// What follows is between hubs and shards.

/// A record that was stored, and where; the runner fetches its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoAt {
    /// Its bytes.
    pub place: Place,
    /// How many.
    pub len: u32,
    /// What is told of it.
    pub of: Echoed,
}
