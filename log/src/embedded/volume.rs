//! The disk that the logs of a node share: how fast it may be used beside commits, and what of its free space is promised.
//!
//! A growing segment takes its space as it is written. So each log promises the whole of it to itself before it begins one, and no
//! log counts on space that another one was promised; else together they would write into the margin that snapshots need.

use crate::disk::Disk;
use crate::embedded::budget::Budget;
use crate::embedded::lock;
use crate::embedded::supply::Supply;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, Weak};

/// What several logs on one disk must agree about. Give all of them the same one.
#[derive(Default)]
pub struct Volume {
    pub(crate) budget: Budget,
    /// Bytes of segments that were begun, and perhaps not written yet.
    promised: Mutex<u64>,
    /// Of the logs that are open.
    supplies: Mutex<Vec<Weak<Mutex<Supply>>>>,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("budget", &self.budget)
            .field("promised", &self.promised)
            .finish_non_exhaustive()
    }
}

impl Volume {
    /// A disk that the background may use at so many bytes per second beside small commits; at least 1.
    #[must_use]
    pub fn new(bytes_per_s: u64) -> Self {
        Self { budget: Budget::new(bytes_per_s), ..Self::default() }
    }

    /// A log of this disk has opened.
    pub(crate) fn join(&self, supply: &Arc<Mutex<Supply>>) {
        lock(&self.supplies).push(Arc::downgrade(supply));
    }

    /// Bytes of the files that the open logs keep to write into: full of nothing, so as good as free, though the file system does not know.
    #[must_use]
    pub fn ready_bytes(&self) -> u64 {
        self.open().iter().map(|supply| lock(supply).pool_bytes()).sum()
    }

    /// Whether a log of this disk has no room for publishes, so that the others should give back what they do not need.
    pub(crate) fn is_short(&self) -> bool {
        self.open().iter().any(|supply| lock(supply).is_short())
    }

    fn open(&self) -> Vec<Arc<Mutex<Supply>>> {
        let mut supplies = lock(&self.supplies);
        supplies.retain(|supply| supply.strong_count() > 0);
        supplies.iter().filter_map(Weak::upgrade).collect()
    }

    /// Bytes that nobody was promised, beyond the margin.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn room(&self, disk: &dyn Disk, margin: u64) -> io::Result<u64> {
        let promised = *lock(&self.promised);
        Ok(disk.free_bytes()?.saturating_sub(margin).saturating_sub(promised))
    }

    /// Promises so many bytes, if they are there.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn promise(
        self: &Arc<Self>,
        disk: &dyn Disk,
        margin: u64,
        bytes: u64,
    ) -> io::Result<Option<Promise>> {
        let mut promised = lock(&self.promised);
        if disk.free_bytes()? < margin.saturating_add(*promised).saturating_add(bytes) {
            return Ok(None);
        }
        *promised += bytes;
        Ok(Some(Promise { volume: Arc::clone(self), whole: bytes, bytes }))
    }
}

/// Bytes of the disk that nobody else counts on, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Promise {
    volume: Arc<Volume>,
    /// Of the file.
    whole: u64,
    /// Not written yet.
    bytes: u64,
}

impl Promise {
    /// The file has so many bytes now: they are no longer free, so they need not be promised.
    pub(crate) fn written(&mut self, bytes: u64) {
        let left = self.whole.saturating_sub(bytes).min(self.bytes);
        *lock(&self.volume.promised) -= self.bytes - left;
        self.bytes = left;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        *lock(&self.volume.promised) -= self.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::FaultDisk;

    #[test]
    fn what_one_log_was_promised_no_other_counts_on() {
        let disk = FaultDisk::new();
        disk.limit(100 << 10);
        let volume = Arc::new(Volume::default());
        let promise = |bytes| volume.promise(&disk, 20 << 10, bytes).unwrap();
        let mut first = promise(50 << 10).expect("there is room");
        assert_eq!(volume.room(&disk, 20 << 10).unwrap(), 30 << 10);
        assert!(promise(31 << 10).is_none() && promise(30 << 10).is_some());
        // As they are written they are free no longer.
        first.written(20 << 10);
        assert_eq!(volume.room(&disk, 20 << 10).unwrap(), 50 << 10);
        drop(first);
        assert!(promise(80 << 10).is_some() && promise(81 << 10).is_none());
    }
}
