//! When something of a queue is over: records at its heads, and the queue itself when nobody uses it.
//!
//! Called by the shard, which keeps one timer per queue. A record is looked at only when it is the oldest of its priority, as
//! RabbitMQ's classic queues do; whatever expires behind it waits.

use super::{NEVER, Queue, Record};
use stele_model::id::Now;

impl Queue {
    /// The head whose time is over by `now`: at it, or before it if `strictly`. A record with no time at all (ttl 0) can so be
    /// delivered in the turn in which it comes, and in no other.
    pub(crate) fn expired_head(&self, now: Now, strictly: bool) -> Option<Record> {
        if !self.may_expire {
            return None;
        }
        self.ready.heads().find(|record| if strictly { record.expires < now } else { record.expires <= now })
    }

    /// When the queue goes if nobody comes.
    pub(crate) fn unused_at(&self) -> Option<Now> {
        let expires_ms = self.spec.settings.expires_ms?;
        (self.readers.count() == 0 && !self.closing).then(|| self.used.plus_ms(expires_ms))
    }

    /// When the shard has to look at the queue.
    pub(crate) fn due(&self) -> Option<Now> {
        let heads = self.may_expire.then(|| self.ready.heads().map(|record| record.expires).min()).flatten();
        [heads.filter(|at| *at != NEVER), self.unused_at()].into_iter().flatten().min()
    }
}
