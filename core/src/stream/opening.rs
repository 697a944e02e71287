//! What opening batches for subscriptions may take: one subscription's account, and the room that all of a shard share.
//!
//! Nobody knows how large a packed batch is before it is open. So a subscription has one opening under way at a time, which ends when its
//! credit is used up; what it could not use comes back by [`stele_model::shard::ShardOp::Opened`]. Only the last record may be larger than
//! the credit that is left: for that a whole batch's worth is borrowed from the shard, and given back as credit comes. While there is none to
//! borrow, batches that stay small go on, and the others wait. What must hold: what is borrowed is given back once, by whatever ends it.

use stele_model::stream::OpenMax;

/// Bytes that a batch may unpack to. A larger one counts as one without records.
pub(crate) const OPEN_BYTES_MAX: u64 = 64 << 20;
/// And while others have borrowed everything.
const LITTLE_BYTES_MAX: u64 = 1 << 20;
/// Batches of the largest size that may be open beyond the credit of their readers.
const LOANS_MAX: u64 = 4;

/// What the openings of a shard may take beyond credit. Attached state.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: LOANS_MAX * OPEN_BYTES_MAX }
    }
}

impl Room {
    /// Openings of the largest size that may begin.
    pub(crate) fn loans(&self) -> u64 {
        self.bytes / OPEN_BYTES_MAX
    }

    fn borrow(&mut self) -> u64 {
        let bytes = if self.bytes >= OPEN_BYTES_MAX { OPEN_BYTES_MAX } else { 0 };
        self.bytes -= bytes;
        bytes
    }

    /// Takes back what was borrowed.
    pub(crate) fn give(&mut self, bytes: u64) {
        self.bytes += bytes;
        assert!(self.bytes <= LOANS_MAX * OPEN_BYTES_MAX, "what is borrowed is given back once");
    }
}

/// The openings of one subscription.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Of the room of the shard.
    borrowed: u64,
    /// The next batch is not small.
    is_large: bool,
    /// Bytes that were charged for what is being opened.
    under_way: Option<u64>,
}

impl Opening {
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins one against so many bytes of credit that are left, at least 1; `charged` were taken for what comes along with it and need not be
    /// opened. `None`: it has to wait for room.
    pub(super) fn begin(&mut self, credit: u64, charged: u64, room: &mut Room) -> Option<OpenMax> {
        assert!(self.borrowed == 0, "who has credit owes nothing");
        let borrowed = room.borrow();
        if borrowed == 0 && self.is_large {
            return None;
        }
        self.borrowed = borrowed;
        self.under_way = Some(charged);
        Some(OpenMax {
            bytes: credit + charged,
            batch_bytes: if borrowed > 0 { OPEN_BYTES_MAX } else { LITTLE_BYTES_MAX },
        })
    }

    /// So much was charged for a part of what is being opened, if anything is.
    pub(super) fn charge(&mut self, bytes: u64) {
        if let Some(charged) = &mut self.under_way {
            *charged += bytes;
        }
    }

    /// It has ended; how much was charged. `None`: there is none under way.
    pub(super) fn end(&mut self, is_large: bool) -> Option<u64> {
        self.is_large = is_large;
        self.under_way.take()
    }

    /// Gives back what is borrowed above what the subscription is over its credit.
    pub(super) fn settle(&mut self, over: u64, room: &mut Room) {
        if self.under_way.is_none() {
            room.give(self.borrowed.saturating_sub(over));
            self.borrowed = self.borrowed.min(over);
        }
    }

    /// What it has borrowed.
    pub(super) fn borrowed(&self) -> u64 {
        self.borrowed
    }
}
