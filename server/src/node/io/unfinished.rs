//! What clients have begun to send and not finished: memory that they take without having asked for anything. It has one bound for the
//! whole node, beside what each dialect bounds for a connection (S31).
//!
//! Called after each read. Above the bound that connection of the node is ended which has gone longest without finishing anything: who stalls
//! gives way to who sends. It may be another thread's, which is then told.

use super::Io;
use super::connection::Connection;
use stele_model::id::Now;
use stele_model::outcome::Wake;

impl Io {
    /// A connection was read, or is gone from those that are.
    pub(super) fn note_unfinished(&mut self, now: Now, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        // Who is being ended holds nothing that could be ended once more.
        let bytes = if connection.takes_input() { connection.session.unfinished_bytes() } else { 0 };
        let holder = (self.wiring.hub, slot);
        if self.wiring.budgets.unfinished.note(now, holder, &mut connection.unfinished, bytes) {
            self.finish_others(now);
        }
    }

    /// The connection that was in this slot is removed.
    pub(super) fn forget_unfinished(&self, slot: usize, connection: &mut Connection) {
        self.wiring.budgets.unfinished.note(Now(0), (self.wiring.hub, slot), &mut connection.unfinished, 0);
    }

    /// Sees to it that the slowest of all is ended, if there is still too much.
    pub(super) fn finish_others(&mut self, now: Now) {
        let Some(slot) = self.slowest_here(&self.wiring.budgets.unfinished) else { return };
        let Some(stalled) = self.connections.get_mut(slot) else { return };
        let bytes = stalled.unfinished.bytes;
        let bytes_max = self.wiring.budgets.unfinished.bytes_max;
        tracing::warn!(
            session = stalled.id.number,
            bytes,
            bytes_max,
            "ended a connection: too much is unfinished"
        );
        let why = format!("all connections have more than {bytes_max} bytes of unfinished messages");
        stalled.session.wake(now, Wake::Close(why), &mut stalled.outbox);
        // It takes no more, and what it has goes with it.
        self.wiring.budgets.unfinished.note(now, (self.wiring.hub, slot), &mut stalled.unfinished, 0);
        self.counters.cut += 1;
        self.touched.push(slot);
    }
}
