//! One queue: its records, where each stands, and who reads it.
//!
//! Called by [`crate::shard`], which logs what is done here. Logged state: settings, ready records, leases, whether it is closing.
//! Attached state: readers, the time of last use, sums for metrics (S1). Not here: entries and effects.

pub(crate) mod dead_letter;
pub(crate) mod expire;
pub(crate) mod lease;
pub(crate) mod limit;
pub(crate) mod priority;
pub(crate) mod ready;
pub(crate) mod serve;

use lease::{Leases, NOBODY};
use priority::Ready;
use serve::Readers;
use std::sync::Arc;
use stele_model::id::{Lsn, Now, Place, Position};
use stele_model::machine::VOLATILE;
use stele_model::queue::QueueSpec;
use stele_model::settle::Run;
use stele_model::shard::Grant;

/// "Does not expire."
pub(crate) const NEVER: Now = Now(u64::MAX);

/// What the index knows of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// In the queue.
    pub(crate) position: Position,
    /// Of its bytes.
    pub(crate) place: Place,
    /// Of the whole record, bytes.
    pub(crate) len: u32,
    /// Of what stands before the body, bytes.
    pub(crate) overhead: u32,
    /// [`NEVER`], or when its time is over.
    pub(crate) expires: Now,
    /// As the queue orders by it; 0 in a queue without priorities.
    pub(crate) priority: u8,
    /// A client has seen it.
    pub(crate) redelivered: bool,
    /// Deliveries that failed and counted.
    pub(crate) failures: u32,
}

impl Record {
    pub(crate) fn body_len(&self) -> u64 {
        u64::from(self.len - self.overhead)
    }

    /// Its bytes do not survive the process.
    pub(crate) fn is_volatile(&self) -> bool {
        self.place.lsn.0 & VOLATILE != 0
    }

    pub(crate) fn grant(&self) -> Grant {
        Grant {
            place: self.place,
            len: self.len,
            position: self.position,
            redelivered: self.redelivered,
            failures: self.failures,
        }
    }
}

/// A queue of a shard.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) spec: Arc<QueueSpec>,
    /// It wants to be gone and waits for the registry (S10).
    pub(crate) closing: bool,
    /// Position of the next record. Volatile records use positions that replay sees as holes.
    pub(crate) next: Position,
    /// Position after the last logged record: what a replay knows of `next`.
    pub(crate) next_logged: Position,
    pub(crate) ready: Ready,
    pub(crate) leases: Leases,
    pub(crate) readers: Readers,
    /// What the last record that left the head waits for; a volatile one behind it waits for the same (S14).
    pub(crate) head_after: Lsn,
    /// It has had a consumer (auto-delete).
    pub(crate) was_read: bool,
    /// When it was last of use to somebody (x-expires).
    pub(crate) used: Now,
    /// Its entry in the shard's timers.
    pub(crate) timer: Option<Now>,
    /// A record with a time to live has come since the queue was last empty.
    pub(crate) may_expire: bool,
    /// A session is gone: its leases are being released, from here on.
    pub(crate) releasing: Option<Position>,
    /// Records that were routed here and are not yet stored.
    pub(crate) incoming: Incoming,
    pub(crate) sums: Sums,
}

/// See [`Queue::incoming`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) count: u64,
    pub(crate) body_bytes: u64,
}

/// Counted since the process started, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) accepted: u64,
    pub(crate) dead_lettered: u64,
}

impl Queue {
    pub(crate) fn new(spec: Arc<QueueSpec>) -> Self {
        Self {
            spec,
            closing: false,
            next: Position(0),
            next_logged: Position(0),
            ready: Ready::default(),
            leases: Leases::default(),
            readers: Readers::default(),
            head_after: Lsn(0),
            was_read: false,
            used: Now(0),
            timer: None,
            may_expire: false,
            releasing: None,
            incoming: Incoming::default(),
            sums: Sums::default(),
        }
    }

    /// Whether what happens to `record` is logged: replay knows neither volatile records nor those of queues that do not last.
    pub(crate) fn logs(&self, record: &Record) -> bool {
        self.spec.settings.durable && !record.is_volatile()
    }

    /// Priority of a record as this queue orders by it.
    pub(crate) fn level(&self, priority: u8) -> u8 {
        self.spec.settings.priority_max.map_or(0, |max| priority.min(max))
    }

    /// When a record of this own time to live that comes now expires.
    pub(crate) fn expiry(&self, now: Now, ttl_ms: Option<u64>) -> Now {
        let ttl_ms = [self.spec.settings.ttl_ms, ttl_ms].into_iter().flatten().min();
        ttl_ms.map_or(NEVER, |ttl_ms| now.plus_ms(ttl_ms))
    }

    /// What a delivery of `record` waits for (S2, S14).
    pub(crate) fn delivery_after(&mut self, record: &Record) -> Lsn {
        if record.is_volatile() {
            return self.head_after;
        }
        self.head_after = self.head_after.max(record.place.lsn);
        record.place.lsn
    }

    /// A delivered record is ready again, at its place.
    pub(crate) fn put_back(&mut self, record: Record) {
        self.may_expire |= record.expires != NEVER;
        self.ready.put_back(record);
    }

    /// Takes a record from wherever it is: leased, or where [`Ready::take`] finds it.
    pub(crate) fn take_anywhere(&mut self, position: Position) -> Option<Record> {
        match self.leases.remove(position) {
            Some(lease) => {
                if lease.holder != NOBODY {
                    self.readers.ended(lease.holder, 1);
                }
                Some(lease.record)
            }
            None => self.ready.take(position),
        }
    }
}

/// Adds a position to runs that are in order.
pub(crate) fn extend_runs(runs: &mut Vec<Run>, position: Position) {
    match runs.last_mut() {
        Some(last) if last.first.0 + u64::from(last.count) == position.0 && last.count < u32::MAX => {
            last.count += 1;
        }
        _ => runs.push(Run { first: position, count: 1 }),
    }
}

/// The positions of runs.
pub(crate) fn positions(runs: &[Run]) -> impl Iterator<Item = Position> + '_ {
    runs.iter().flat_map(|run| (0..u64::from(run.count)).map(|n| Position(run.first.0.saturating_add(n))))
}

/// A record for tests of the index.
#[cfg(test)]
pub(crate) fn record_for_tests(n: u64) -> Record {
    Record {
        position: Position(n),
        place: Place { lsn: Lsn(1 + n), at: 40 },
        len: 50,
        overhead: 34,
        expires: NEVER,
        priority: 0,
        redelivered: false,
        failures: 0,
    }
}
