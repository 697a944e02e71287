//! Packed batches that readers have read in part, so that the rest is not unpacked again for every few records that they have credit for.
//!
//! What must hold: they take a bounded number of bytes, however many readers and batches there are; the oldest goes first.

use bytes::Bytes;
use std::collections::VecDeque;
use stele_model::id::Place;
use stele_record::batch::Damage;
use stele_record::batch::crossing::Opened;

/// Unpacked bytes that are kept, but for the newest batch.
const KEPT_BYTES_MAX: usize = 16 << 20;
/// Batches that are kept.
const KEPT_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Halves {
    /// The oldest first.
    kept: VecDeque<(Place, Opened)>,
    bytes: usize,
}

impl Halves {
    /// The batch at a place, which has these bytes, unpacked, and how many bytes had to be unpacked for it now.
    ///
    /// # Errors
    /// As [`Opened::new`] with this bound, also if it was unpacked already and is larger.
    pub(super) fn take(
        &mut self,
        place: Place,
        bytes: &Bytes,
        bytes_max: u64,
    ) -> Result<(Opened, u64), Damage> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let Some(at) = self.kept.iter().position(|(kept, _)| *kept == place) else {
            let batch = Opened::new(bytes, bytes_max)?;
            let unpacked = batch.unpacked_bytes() as u64;
            return Ok((batch, unpacked));
        };
        if self.kept[at].1.unpacked_bytes() > bytes_max {
            return Err(Damage::TooLarge(bytes_max));
        }
        let (_, batch) = self.kept.remove(at).expect("it is there");
        self.bytes -= batch.unpacked_bytes();
        Ok((batch, 0))
    }

    /// Keeps a batch that will be read further. One that was not packed is not worth it.
    pub(super) fn keep(&mut self, place: Place, batch: Opened) {
        if batch.unpacked_bytes() == 0 {
            return;
        }
        self.bytes += batch.unpacked_bytes();
        self.kept.push_back((place, batch));
        while self.kept.len() > 1 && (self.bytes > KEPT_BYTES_MAX || self.kept.len() > KEPT_MAX) {
            if let Some((_, oldest)) = self.kept.pop_front() {
                self.bytes -= oldest.unpacked_bytes();
            }
        }
    }
}
