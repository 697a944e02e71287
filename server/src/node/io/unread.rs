//! What clients have asked for by reads and not taken: records that are read from disk for them are in nobody else's memory. It has one bound
//! for the whole node, beside what each dialect bounds for a connection ([ADR 0017](../../../../docs/adr/0017-answers-shrink-where-memory-is-short.md)).
//!
//! A read is counted from when it is asked for until the kernel has taken its answer. Where little is left a read brings less. Above the bound
//! that connection is ended which has taken nothing for longest. It may be another thread's, which is then told.

use super::Io;
use super::connection::Connection;
use stele_model::id::{Now, Ticket};
use stele_model::stream::Reads;

/// The reads of a connection.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Those under way, with what each may bring, bytes. Sessions bound how many they have.
    under_way: Vec<(Ticket, usize)>,
    /// There was one, so that what is to be written may be its answer.
    any: bool,
}

impl Asked {
    /// A read begins; it brings no more than there is room for.
    pub(super) fn begin(&mut self, ticket: Ticket, reads: &mut Reads, room: usize) {
        let bytes = usize::try_from(reads.bytes_max).unwrap_or(usize::MAX).min(room);
        reads.bytes_max = bytes as u64;
        self.under_way.push((ticket, bytes));
        self.any = true;
    }

    /// Whatever had this ticket is answered.
    pub(super) fn end(&mut self, ticket: Ticket) {
        if let Some(at) = self.under_way.iter().position(|(of, _)| *of == ticket) {
            self.under_way.swap_remove(at);
        }
    }

    /// What stands in the sum, when so much is to be written.
    fn bytes(&self, unwritten: usize) -> usize {
        if !self.any {
            return 0;
        }
        self.under_way.iter().map(|(_, bytes)| bytes).sum::<usize>() + unwritten
    }
}

impl Io {
    /// A connection has asked, was answered, or has taken something.
    pub(super) fn note_unread(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let bytes = connection.asked.bytes(connection.unwritten());
        let holder = (self.wiring.hub, slot);
        if self.wiring.budgets.unread.note(now, holder, &mut connection.unread, bytes) {
            self.take_from_others();
        }
    }

    /// The connection that was in this slot is removed.
    pub(super) fn forget_unread(&self, slot: usize, connection: &mut Connection) {
        self.wiring.budgets.unread.note(Now(0), (self.wiring.hub, slot), &mut connection.unread, 0);
    }

    /// Sees to it that the slowest of all is ended, if there is still too much.
    pub(super) fn take_from_others(&mut self) {
        let budget = &self.wiring.budgets.unread;
        let Some(slot) = self.slowest_here(budget) else { return };
        let Some(slow) = self.connections.get(slot) else { return };
        let (session, bytes, bytes_max) = (slow.id.number, slow.unread.bytes, budget.bytes_max);
        tracing::warn!(session, bytes, bytes_max, "ended a connection: too much is not read");
        self.counters.cut += 1;
        // What it has left is more than it would take: nothing is said.
        self.remove(slot, "it reads too slowly");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_counts_from_its_request_until_its_answer_is_taken() {
        let mut asked = Asked::default();
        assert_eq!(asked.bytes(70), 0, "who never reads leaves other answers");
        let mut reads = Reads { parts: Vec::new(), bytes_max: 1000, watch: None };
        asked.begin(Ticket(5), &mut reads, 400);
        assert_eq!((reads.bytes_max, asked.bytes(0)), (400, 400));
        let mut reads = Reads { bytes_max: 100, ..reads };
        asked.begin(Ticket(6), &mut reads, 400);
        assert_eq!((reads.bytes_max, asked.bytes(3)), (100, 503));
        asked.end(Ticket(5));
        asked.end(Ticket(7));
        assert_eq!(asked.bytes(400), 500);
        asked.end(Ticket(6));
        assert_eq!(asked.bytes(90), 90);
    }
}
