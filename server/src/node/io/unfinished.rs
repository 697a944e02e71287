//! What clients have begun to send and not finished: memory that they take without having asked for anything. It has one bound for the
//! whole node, beside what each dialect bounds for a connection (S31).
//!
//! Called after each read. Above the bound that connection of the node is ended which has gone longest without finishing anything: who stalls
//! gives way to who sends. It may be another thread's, which is then told. What must hold: [`Connection::unfinished`] is what stands in the
//! sum, until the connection is ended or removed.

use super::connection::Connection;
use super::{Io, IoMessage};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use stele_model::id::{HubId, Now};
use stele_model::outcome::Wake;

/// Less than this of one connection is not counted: what a connection may cost anyway, bytes.
const FREE_BYTES: usize = 256 << 10;

/// The node's sum.
pub(crate) struct Budget {
    bytes: AtomicUsize,
    bytes_max: usize,
    /// Who has something in the sum, by when he last finished anything. It changes with large messages only, not with each read of one.
    holders: Mutex<BTreeSet<(Now, Holder)>>,
}

/// A connection: its thread, and its slot there.
type Holder = (HubId, usize);

/// A connection's part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unfinished {
    bytes: usize,
    /// Since when nothing of it was finished.
    since: Now,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), bytes_max, holders: Mutex::default() }
    }

    /// A connection has `bytes` unfinished now; whether all have too many together.
    fn note(&self, now: Now, holder: Holder, of: &mut Unfinished, bytes: usize) -> bool {
        let bytes = if bytes < FREE_BYTES { 0 } else { bytes };
        if bytes == of.bytes {
            return false;
        }
        let before = of.holds_since();
        if of.bytes == 0 || bytes < of.bytes {
            of.since = now;
        }
        // Only sums are compared, and nothing else is told by them: no order is needed.
        let sum = self.bytes.fetch_add(bytes.wrapping_sub(of.bytes), Ordering::Relaxed);
        let sum = sum.wrapping_add(bytes).wrapping_sub(of.bytes);
        let grows = bytes > of.bytes;
        of.bytes = bytes;
        if before != of.holds_since() {
            let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
            before.map(|since| holders.remove(&(since, holder)));
            holders.extend(of.holds_since().map(|since| (since, holder)));
        }
        grows && sum > self.bytes_max
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.bytes_max
    }

    /// Who has gone longest without finishing anything.
    fn slowest(&self) -> Option<Holder> {
        let holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        holders.first().map(|(_, holder)| *holder)
    }
}

impl Unfinished {
    fn holds_since(self) -> Option<Now> {
        (self.bytes > 0).then_some(self.since)
    }
}

impl Io {
    /// A connection was read, or is gone from those that are.
    pub(super) fn note_unfinished(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // Who is being ended holds nothing that could be ended once more.
        let bytes = if connection.takes_input() { connection.session.unfinished_bytes() } else { 0 };
        let holder = (self.wiring.hub, slot);
        if self.wiring.unfinished.note(now, holder, &mut connection.unfinished, bytes) {
            self.make_way(now);
        }
    }

    /// The connection that was in this slot is removed.
    pub(super) fn forget_unfinished(&self, slot: usize, connection: &mut Connection) {
        self.wiring.unfinished.note(Now(0), (self.wiring.hub, slot), &mut connection.unfinished, 0);
    }

    /// Sees to it that the slowest of all is ended, if there is still too much.
    pub(super) fn make_way(&mut self, now: Now) {
        let Some((hub, slot)) = self.wiring.unfinished.slowest().filter(|_| self.wiring.unfinished.is_over())
        else {
            return;
        };
        if hub == self.wiring.hub {
            self.end_stalled(now, slot);
        } else {
            self.wiring.hubs[usize::from(hub.0)].send(IoMessage::MakeWay, 0);
        }
    }

    fn end_stalled(&mut self, now: Now, slot: usize) {
        let Some(stalled) = self.connections.get_mut(slot) else { return };
        let Unfinished { bytes, .. } = stalled.unfinished;
        let bytes_max = self.wiring.unfinished.bytes_max;
        tracing::warn!(
            session = stalled.id.number,
            bytes,
            bytes_max,
            "ended a connection: too much is unfinished"
        );
        let why = format!("all connections have more than {bytes_max} bytes of unfinished messages");
        stalled.session.wake(now, Wake::Close(why), &mut stalled.outbox);
        // It takes no more, and what it has goes with it.
        self.wiring.unfinished.note(now, (self.wiring.hub, slot), &mut stalled.unfinished, 0);
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
        let (of_a, of_b) = ((HubId(0), 1), (HubId(1), 1));
        assert!(!budget.note(Now(1), of_a, &mut a, 3 * MIB));
        assert!(!budget.note(Now(2), of_b, &mut b, FREE_BYTES - 1), "little is free");
        assert!(!budget.note(Now(2), of_b, &mut b, MIB));
        assert!(budget.note(Now(3), of_b, &mut b, MIB + 1));
        assert!(!budget.note(Now(4), of_b, &mut b, MIB), "who shrinks is not to blame");
        assert!(!budget.note(Now(4), of_a, &mut a, 0));
        assert!(!budget.note(Now(5), of_b, &mut b, 4 * MIB));
    }

    #[test]
    fn time_counts_from_the_last_message_that_was_finished() {
        let budget = Budget::new(usize::MAX);
        let mut of = Unfinished::default();
        for (now, bytes, since) in
            [(1, 2 * MIB, 1), (2, 3 * MIB, 1), (3, MIB, 3), (4, MIB, 3), (5, 0, 5), (9, MIB, 9)]
        {
            budget.note(Now(now), (HubId(0), 0), &mut of, bytes);
            assert_eq!(of.since, Now(since), "at {now}");
        }
    }

    #[test]
    fn the_slowest_is_who_has_finished_nothing_for_longest_on_whichever_thread() {
        let budget = Budget::new(4 * MIB);
        let mut of = [Unfinished::default(); 3];
        let holders = [(HubId(1), 7), (HubId(0), 7), (HubId(0), 3)];
        for (now, n, bytes, slowest) in [
            (1, 0, MIB, Some(0)),
            (2, 1, MIB, Some(0)),
            (3, 2, MIB, Some(0)),
            (4, 0, 2 * MIB, Some(0)),
            (5, 0, MIB, Some(1)),
            (6, 1, 0, Some(2)),
            (7, 2, 0, Some(0)),
            (8, 0, 0, None),
        ] {
            budget.note(Now(now), holders[n], &mut of[n], bytes);
            assert_eq!(budget.slowest(), slowest.map(|n: usize| holders[n]), "at {now}");
        }
        assert!(!budget.is_over());
    }
}
