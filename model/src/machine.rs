//! The shape of a state machine that lives on a log, and what it writes to. `core::runner` joins the two.
//!
//! One door for change: `take` decides and hands entries to the journal, and what it then does to the logged state it does by
//! the same `apply` that replay calls (S1). Effects name what they wait for (S2).

use crate::id::{Lsn, Now, Place};
use bytes::Bytes;

/// A state machine with logged and attached state.
pub trait Machine {
    /// What it is asked.
    type Op;
    /// What it wants done once the log has come so far.
    type Effect;

    /// Takes operations in order: decides, appends entries, applies them, and emits effects.
    fn take(&mut self, op: Self::Op, journal: &mut dyn Journal, effects: &mut Effects<Self::Effect>);

    /// Time has passed: what is due now is decided, appended and applied (expiry, delays).
    fn tick(&mut self, journal: &mut dyn Journal, effects: &mut Effects<Self::Effect>);

    /// When [`Self::tick`] has something to do if nothing else happens before.
    fn deadline(&self) -> Option<Now>;

    /// Replays one entry. Must not depend on attached state.
    ///
    /// # Errors
    /// What is wrong with the entry. The log has vouched for its bytes, so this is a format of another version, or a bug.
    fn apply(&mut self, place: Place, time: Now, entry: &[u8]) -> Result<(), String>;

    /// Replay is over: attached state starts here. What a crash interrupted is taken up again (leases S4, moves S6).
    fn started(&mut self, journal: &mut dyn Journal, effects: &mut Effects<Self::Effect>);

    /// Begins a snapshot of the logged state as it is now. However much there is, this costs a short turn (S7): what was begun is written by
    /// [`Self::step_snapshot`], while the state goes on changing. A snapshot that was begun before is dropped.
    fn begin_snapshot(&mut self);

    /// Writes the next piece of the snapshot that was begun, in a short turn (S7). `Some`: that was the last; these are its chunks. A chunk that
    /// has not changed since the last snapshot should be the same allocation, so that an engine need not write it again.
    fn step_snapshot(&mut self) -> Option<Vec<Bytes>>;

    /// A whole snapshot at once: for tests and tools, never on a turn.
    fn snapshot(&mut self) -> Vec<Bytes> {
        self.begin_snapshot();
        loop {
            if let Some(chunks) = self.step_snapshot() {
                return chunks;
            }
        }
    }

    /// Net changes since the last call of the bytes referred to in blocks (see [`crate::log::LogStore::live`]).
    fn live_changes(&mut self, out: &mut Vec<(Lsn, i64)>);

    /// All records referred to in the blocks of `range`, sorted by place, with their lengths.
    fn live_in(&self, range: (Lsn, Lsn), out: &mut Vec<(Place, u32)>);
}

/// Where a machine writes: the block under construction.
pub trait Journal {
    /// The time of the block under construction, and so of whatever is appended next.
    fn now(&self) -> Now;

    /// The block that the last entry went to (or the last block of the log, if nothing was appended since): what an effect
    /// that reflects the present state waits for.
    fn tail(&self) -> Lsn;

    /// Appends an entry made of `parts`, back to back. Returns the place of its first byte. The entry may open a new block.
    ///
    /// An entry is at most as long as [`crate::log::Limits::block_bytes_max`] allows; the caller splits.
    fn append(&mut self, urgency: Urgency, parts: &[&[u8]]) -> Place;

    /// Stores bytes that need not survive the process, to be read by their place like logged ones (S14). The place's block is
    /// marked by [`VOLATILE`]; it is durable by definition.
    fn keep(&mut self, bytes: &[u8]) -> Place;

    /// The most bytes one entry may have.
    fn entry_bytes_max(&self) -> usize;
}

/// Bit in a place's [`Lsn`] that marks volatile memory instead of the log.
pub const VOLATILE: u64 = 1 << 63;

/// Does an entry start a commit? (S3)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// It goes with the next commit, or after 2 ms or 64 KB, or at shutdown.
    Rides,
    /// Somebody waits for it.
    Urgent,
}

/// Effects, each with the block it waits for. `Lsn(0)`: nothing.
pub type Effects<E> = Vec<(Lsn, E)>;
