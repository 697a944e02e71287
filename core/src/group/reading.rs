//! Which partitions the members of a group read: told by the hub when they join, and logged with each generation.
//!
//! Members say by name which streams they mean to read, positions are kept by number of the partition, and which number belongs to
//! which name only hubs know. So a join brings the partitions that its streams have, and a commit the name of each partition that is
//! newer. What must hold: a partition that a member reads is never taken for one that nobody reads. So what is logged of it stands in the
//! log before the positions that it is about; of a stream of which nothing is known (that was logged before this was, or was too long to be
//! logged) everything counts as read until somebody joins.

use std::collections::{BTreeMap, BTreeSet};
use stele_model::id::QueueId;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading(BTreeMap<String, BTreeSet<QueueId>>);

impl Reading {
    /// A member reads this stream, which has these partitions. Earlier ones stay: another hub may have known more.
    pub(crate) fn joined(&mut self, stream: &str, partitions: &[QueueId]) {
        self.0.entry(stream.to_owned()).or_default().extend(partitions);
    }

    /// A position of this partition of the stream was committed.
    pub(crate) fn committed(&mut self, stream: &str, partition: QueueId) {
        if let Some(partitions) = self.0.get_mut(stream) {
            partitions.insert(partition);
        }
    }

    /// Each stream with its partitions, in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &BTreeSet<QueueId>)> {
        self.0.iter().map(|(stream, partitions)| (stream.as_str(), partitions))
    }

    /// Bytes in an entry.
    pub(crate) fn bytes(&self) -> usize {
        4 + self.iter().map(|(stream, partitions)| 6 + stream.len() + 8 * partitions.len()).sum::<usize>()
    }

    /// Forgets streams that no member reads any more.
    pub(crate) fn keep(&mut self, streams: &BTreeSet<&str>) {
        self.0.retain(|stream, _| streams.contains(stream.as_str()));
    }

    /// Forgets partitions that are no more.
    pub(crate) fn gone(&mut self, partitions: &BTreeSet<QueueId>) {
        self.0.values_mut().for_each(|of| of.retain(|partition| !partitions.contains(partition)));
    }

    /// All partitions of these streams; `None`: of one of them nothing is known.
    pub(crate) fn of(&self, streams: &BTreeSet<&str>) -> Option<BTreeSet<QueueId>> {
        let each = streams.iter().map(|stream| self.0.get(*stream));
        Some(each.collect::<Option<Vec<_>>>()?.into_iter().flatten().copied().collect())
    }
}
