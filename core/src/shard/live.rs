//! How many bytes the shard refers to in each block, as changes since it was last asked.
//!
//! Called where records come and go for good. Volatile blocks are counted like logged ones: the runner frees its memory by it.
//! What must hold: every record that was added is let go of exactly once.

use crate::queue::Record;
use stele_model::id::Lsn;

/// Changes kept before neighbours are summed up.
const CHANGES_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Live {
    changes: Vec<(Lsn, i64)>,
    sorted: usize,
}

impl Live {
    /// Bytes in a block are referred to by one more queue.
    pub(crate) fn held(&mut self, lsn: Lsn, bytes: u64) {
        self.change(lsn, bytes as i64);
    }

    /// A record is let go of.
    pub(crate) fn gone(&mut self, record: &Record) {
        self.change(record.place.lsn, -i64::from(record.len));
    }

    /// Bytes in a block are not referred to any more.
    pub(crate) fn let_go(&mut self, lsn: Lsn, bytes: u32) {
        self.change(lsn, -i64::from(bytes));
    }

    /// Hands out the net changes since the last call.
    pub(crate) fn take(&mut self, out: &mut Vec<(Lsn, i64)>) {
        self.sum_up();
        out.append(&mut self.changes);
        self.sorted = 0;
    }

    fn change(&mut self, lsn: Lsn, bytes: i64) {
        if let Some(last) = self.changes.last_mut()
            && last.0 == lsn
            && self.sorted < self.changes.len()
        {
            if let Some(last) = self.changes.last_mut() {
                last.1 += bytes;
            }
            return;
        }
        if self.changes.len() >= CHANGES_MAX.max(2 * self.sorted) {
            self.sum_up();
        }
        self.changes.push((lsn, bytes));
    }

    fn sum_up(&mut self) {
        self.changes.sort_unstable_by_key(|change| change.0);
        self.changes.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            if same {
                sum.1 += next.1;
            }
            same
        });
        self.changes.retain(|change| change.1 != 0);
        self.sorted = self.changes.len();
    }
}
