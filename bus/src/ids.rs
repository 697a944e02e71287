//! New ids: time-ordered UUIDs (version 7), unique but not secret; repeatable from a seed in tests.
//!
//! Called for message, conversation and fault ids and schedule tokens. No system call per id.

use std::hash::{BuildHasher, Hasher};
use std::sync::Mutex;

use uuid::{Builder, Uuid};

use crate::time::Timestamp;

/// A source of ids.
#[derive(Debug)]
pub struct Ids(Mutex<u64>);

impl Ids {
    /// Seeded from the standard library's per-process randomness.
    pub fn random() -> Self {
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        hasher.write_u64(Timestamp::now().0);
        Self::seeded(hasher.finish())
    }

    /// The same seed and times give the same ids.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// A new id with the given time in front.
    pub fn next(&self, now: Timestamp) -> Uuid {
        let (high, low) = {
            let mut state = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (split_mix(&mut state), split_mix(&mut state))
        };
        let mut bytes = [0; 10];
        bytes[..8].copy_from_slice(&high.to_le_bytes());
        bytes[8..].copy_from_slice(&low.to_le_bytes()[..2]);
        Builder::from_unix_timestamp_millis(now.0, &bytes).into_uuid()
    }
}

/// One step of the generator of Steele, Lea and Flood (2014); every seed gives a full period.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_sort_by_time_and_repeat_by_seed() {
        let (one, two) = (Ids::seeded(1), Ids::seeded(1));
        let early = one.next(Timestamp(1000));
        let late = one.next(Timestamp(2000));
        assert!(early < late);
        assert_eq!(two.next(Timestamp(1000)), early);
        assert_ne!(one.next(Timestamp(2000)), late);
        assert_eq!(early.get_version_num(), 7);
    }
}
