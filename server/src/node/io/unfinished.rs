//! What clients have begun to send and not finished: memory that they take without having asked for anything. It has one bound for the
//! whole node, beside what each dialect bounds for a connection (S31).
//!
//! Called after each read. Above the bound a thread ends that of its connections which has gone longest without finishing anything: who
//! stalls gives way to who sends. What must hold: [`Connection::unfinished`] is what stands in the sum, until the connection is removed.

use super::Io;
use super::connection::Connection;
use std::sync::atomic::{AtomicUsize, Ordering};
use stele_model::id::Now;
use stele_model::outcome::Wake;

/// Less than this of one connection is not counted: what a connection may cost anyway, bytes.
const FREE_BYTES: usize = 256 << 10;

/// The node's sum.
pub(crate) struct Budget {
    bytes: AtomicUsize,
    bytes_max: usize,
}

/// A connection's part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    bytes: usize,
    /// Since when nothing of it was finished.
    since: Now,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max }
    }

    /// A connection has `bytes` unfinished now; whether all have too many together.
    fn note(&self, now: Now, of: &mut Unfinished, bytes: usize) -> bool {
        let bytes = if bytes < FREE_BYTES { 0 } else { bytes };
        if bytes == of.bytes {
            return false;
        }
        if of.bytes == 0 || bytes < of.bytes {
            of.since = now;
        }
        // Only sums are compared, and nothing else is told by them: no order is needed.
        let before = self.bytes.fetch_add(bytes.wrapping_sub(of.bytes), Ordering::Relaxed);
        let sum = before.wrapping_add(bytes).wrapping_sub(of.bytes);
        let grows = bytes > of.bytes;
        of.bytes = bytes;
        grows && sum > self.bytes_max
    }
}

impl Io {
    /// A connection was read, or is gone from those that are.
    pub(super) fn note_unfinished(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        if self.wiring.unfinished.note(now, &mut connection.unfinished, connection.session.unfinished_bytes())
        {
            self.end_the_slowest(now);
        }
    }

    /// A connection is removed.
    pub(super) fn forget_unfinished(&self, connection: &mut Connection) {
        self.wiring.unfinished.note(Now(0), &mut connection.unfinished, 0);
    }

    fn end_the_slowest(&mut self, now: Now) {
        let holders = self.connections.iter_mut();
        let holders =
            holders.filter(|(_, connection)| connection.unfinished.bytes > 0 && connection.takes_input());
        let Some((slot, slowest)) = holders.min_by_key(|(_, connection)| connection.unfinished.since) else {
            return;
        };
        let Unfinished { bytes, .. } = slowest.unfinished;
        let bytes_max = self.wiring.unfinished.bytes_max;
        tracing::warn!(
            session = slowest.id.number,
            bytes,
            bytes_max,
            "ended a connection: too much is unfinished"
        );
        let why = format!("all connections have more than {bytes_max} bytes of unfinished messages");
        slowest.session.wake(now, Wake::Close(why), &mut slowest.outbox);
        self.wiring.unfinished.note(now, &mut slowest.unfinished, slowest.session.unfinished_bytes());
        self.counters.cut += 1;
        self.touched.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn all_connections_share_one_bound() {
        let budget = Budget::new(4 * MIB);
        let (mut a, mut b) = (Unfinished::default(), Unfinished::default());
        assert!(!budget.note(Now(1), &mut a, 3 * MIB));
        assert!(!budget.note(Now(2), &mut b, FREE_BYTES - 1), "little is free");
        assert!(!budget.note(Now(2), &mut b, MIB));
        assert!(budget.note(Now(3), &mut b, MIB + 1));
        assert!(!budget.note(Now(4), &mut b, MIB), "who shrinks is not to blame");
        assert!(!budget.note(Now(4), &mut a, 0));
        assert!(!budget.note(Now(5), &mut b, 4 * MIB));
    }

    #[test]
    fn time_counts_from_the_last_message_that_was_finished() {
        let budget = Budget::new(usize::MAX);
        let mut of = Unfinished::default();
        for (now, bytes, since) in
            [(1, 2 * MIB, 1), (2, 3 * MIB, 1), (3, MIB, 3), (4, MIB, 3), (5, 0, 5), (9, MIB, 9)]
        {
            budget.note(Now(now), &mut of, bytes);
            assert_eq!(of.since, Now(since), "at {now}");
        }
    }
}
