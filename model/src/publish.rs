//! Publishes on their way from a session through a hub to shards: one socket read is one batch.
//!
//! Records stand back to back in one buffer, in the layout of crate `record`, so that neighbours which go to the same
//! queues are copied to the log in one piece.

use crate::id::{Call, HubId, QueueId, ShardId};
use crate::stream::records::Terms;
use bytes::Bytes;
use smallvec::SmallVec;
use std::ops::Range;
use std::sync::Arc;

/// All that one read of a socket published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publishes {
    /// Records back to back, in the order of `items`, without gaps.
    pub bytes: Bytes,
    /// One for each record.
    pub items: Vec<Publish>,
    /// Further routing keys (AMQP: CC and BCC), which [`Publish::extra_keys`] points into.
    pub extra_keys: Vec<Bytes>,
    /// Items with terms, in order: what streams that tell records apart do with them. Queues pass them over.
    pub terms: Vec<(u32, Terms)>,
}

/// What routing and answering need to know of one record. Ranges are offsets into [`Publishes::bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// The whole record.
    pub record: Range<u32>,
    /// Name of the exchange; empty for the default one.
    pub exchange: Range<u32>,
    /// Routing key.
    pub key: Range<u32>,
    /// Range of [`Publishes::extra_keys`] that also route this record; usually empty.
    pub extra_keys: Range<u16>,
    /// The session's lane (AMQP: channel).
    pub lane: u16,
    /// Tell the publisher if no queue takes it.
    pub mandatory: bool,
    /// The publisher waits for a confirm: the record starts a commit (S3).
    pub awaited: bool,
    /// Survives a restart in a durable queue. `false`: volatile everywhere (S14).
    pub persistent: bool,
}

impl Publishes {
    /// The terms of item `n`, if it has any.
    #[must_use]
    pub fn terms(&self, n: u32) -> Option<&Terms> {
        if self.terms.is_empty() {
            return None;
        }
        let at = self.terms.binary_search_by_key(&n, |(item, _)| *item).ok()?;
        self.terms.get(at).map(|(_, terms)| terms)
    }

    /// The record of item `n`; empty if there is no such item.
    #[must_use]
    pub fn record(&self, n: u32) -> &[u8] {
        self.items.get(n as usize).map_or(&[], |item| self.slice(&item.record))
    }

    /// Bytes of a range; empty if the range is not inside.
    #[must_use]
    pub fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.bytes.get(range.start as usize..range.end as usize).unwrap_or(&[])
    }
}

/// Neighbouring items of a batch that go to the same queues of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedRun {
    /// Items of the batch, first to last plus one.
    pub items: Range<u32>,
    /// Index into [`ShardPublish::routes`].
    pub route: u32,
    /// Not written to the log: nobody expects these records after a restart (S14).
    pub volatile: bool,
}

/// Queues of one shard that take a record. Never empty, no queue twice.
pub type Route = SmallVec<[QueueId; 2]>;

/// What one shard shall store of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardPublish {
    /// Who is to be answered.
    pub hub: HubId,
    /// The hub's number for this part; the answer carries it.
    pub call: Call,
    /// Somebody waits for a confirm of at least one of the records: start a commit.
    pub awaited: bool,
    /// Set on what crosses from another shard's log; repeats are dropped by it (S5).
    pub link: Option<LinkNumber>,
    /// The batch.
    pub batch: Arc<Publishes>,
    /// What of it, in order.
    pub runs: Vec<RoutedRun>,
    /// Where to.
    pub routes: Vec<Route>,
}

/// Number of a submit on a link between two logs (S5). The receiver keeps the last number per link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkNumber {
    /// The sending shard.
    pub from: ShardId,
    /// Grows by one for each submit over the link, for ever.
    pub number: u64,
}
