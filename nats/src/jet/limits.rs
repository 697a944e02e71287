//! What an account may have of JetStream: whether it is there for it at all, and how much.
//!
//! Set for each namespace by the driver ([`crate::profile::Profile::accounts`]). What must hold: counts and reserved bytes are looked at before
//! something is made. Not here: bytes that streams without `max_bytes` come to use; they are not bounded by an account.

use super::error::{ApiError, Code};
use super::reply::AccountLimits;
use super::stream::{Storage, StreamConfig};

/// See the module. `None`: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// It has JetStream.
    pub is_enabled: bool,
    /// Bytes that streams in memory reserve together.
    pub memory_bytes_max: Option<u64>,
    /// Bytes that streams on disk reserve together.
    pub storage_bytes_max: Option<u64>,
    /// Streams.
    pub streams_max: Option<u32>,
    /// Consumers of a stream.
    pub consumers_max: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            is_enabled: true,
            memory_bytes_max: None,
            storage_bytes_max: None,
            streams_max: None,
            consumers_max: None,
        }
    }
}

impl Limits {
    /// Whether anything about streams is bounded.
    #[must_use]
    pub fn bounds_streams(&self) -> bool {
        self.streams_max.is_some() || self.memory_bytes_max.is_some() || self.storage_bytes_max.is_some()
    }

    /// Whether a stream may be made beside those that are there, or changed where it is one of them.
    ///
    /// # Errors
    /// 10027, 10028 or 10047.
    pub fn check_stream<'c>(
        &self,
        new: &StreamConfig,
        there: impl Iterator<Item = &'c StreamConfig>,
    ) -> Result<(), ApiError> {
        let (mut count, mut reserved) = (0, reserves(new));
        for other in there.filter(|other| other.name != new.name) {
            count += 1;
            if other.storage == new.storage {
                reserved += reserves(other);
            }
        }
        if self.streams_max.is_some_and(|max| count >= max) {
            return Err(Code::MaximumStreamsLimit.error());
        }
        let (max, code) = match new.storage {
            Storage::Memory => (self.memory_bytes_max, Code::MemoryResourcesExceeded),
            Storage::File => (self.storage_bytes_max, Code::StorageResourcesExceeded),
        };
        if max.is_some_and(|max| reserved > max) { Err(code.error()) } else { Ok(()) }
    }

    /// As clients are told.
    #[must_use]
    pub fn shown(&self) -> AccountLimits {
        let bytes = |max: Option<u64>| max.map_or(-1, |max| i64::try_from(max).unwrap_or(i64::MAX));
        let count = |max: Option<u32>| max.map_or(-1, i64::from);
        AccountLimits {
            max_memory: bytes(self.memory_bytes_max),
            max_storage: bytes(self.storage_bytes_max),
            max_streams: count(self.streams_max),
            max_consumers: count(self.consumers_max),
            ..AccountLimits::default()
        }
    }
}

fn reserves(config: &StreamConfig) -> u64 {
    u64::try_from(config.max_bytes).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, storage: Storage, max_bytes: i64) -> StreamConfig {
        StreamConfig { name: name.to_owned(), storage, max_bytes, ..StreamConfig::default() }
    }

    #[test]
    fn streams_are_bounded_by_their_number_and_by_what_they_reserve() {
        let limits = Limits { streams_max: Some(2), storage_bytes_max: Some(100), ..Limits::default() };
        let there = [stream("a", Storage::File, 60)];
        let check = |new: &StreamConfig, there: &[StreamConfig]| {
            limits.check_stream(new, there.iter()).map_err(|error| error.err_code)
        };
        assert_eq!(check(&stream("b", Storage::File, 40), &there), Ok(()));
        assert_eq!(check(&stream("b", Storage::File, 41), &there), Err(10047));
        assert_eq!(check(&stream("b", Storage::Memory, 41), &there), Ok(()));
        assert_eq!(check(&stream("a", Storage::File, 100), &there), Ok(()), "it is the same stream");
        let two = [stream("a", Storage::File, -1), stream("b", Storage::File, -1)];
        assert_eq!(check(&stream("c", Storage::File, -1), &two), Err(10027));
    }
}
