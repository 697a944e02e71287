//! How full a queue may be: ready records and the bytes of their bodies (S17).
//!
//! Called by the shard before a publish (queues that refuse) and after it (queues that drop their head). Moving and delivered records
//! do not count.

use super::Queue;
use stele_model::queue::Overflow;

impl Queue {
    /// The queue refuses publishes when it is full.
    pub(crate) fn may_refuse(&self) -> bool {
        let of = &self.spec.settings;
        of.overflow != Overflow::DropHead && (of.length_max.is_some() || of.bytes_max.is_some())
    }

    /// There is no room for another body of so many bytes, besides what is about to come in.
    pub(crate) fn is_full_for(&self, body_bytes: u64) -> bool {
        let of = &self.spec.settings;
        let count = self.ready.count() + self.incoming.count + 1;
        let bytes = self.ready.body_bytes() + self.incoming.body_bytes + body_bytes;
        of.length_max.is_some_and(|max| count > max) || of.bytes_max.is_some_and(|max| bytes > max)
    }

    /// The head must go.
    pub(crate) fn drops_head(&self) -> bool {
        let of = &self.spec.settings;
        of.overflow == Overflow::DropHead
            && self.ready.count() > 0
            && (of.length_max.is_some_and(|max| self.ready.count() > max)
                || of.bytes_max.is_some_and(|max| self.ready.body_bytes() > max))
    }
}
