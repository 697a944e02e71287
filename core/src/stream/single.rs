//! What the index knows of a record that stands alone, in a stream that tells its records apart.
//!
//! Part of an index's batch ([`super::chunk`]); the layout stands in `docs/format-entries.md`.

use super::chunk::{put, take};

/// Most bytes of it in a chunk.
pub(super) const SINGLE_BYTES_MAX: usize = 6 + 10;

/// When a record goes by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// By the stream's age.
    Stream,
    /// By the stream's age, or at this time, ms since the Unix epoch.
    At(u64),
    /// Never.
    Never,
    /// By the stream's age, or at this time to be published again, ms since the Unix epoch.
    Due(u64),
}

impl Expiry {
    /// The record's own time.
    pub(crate) fn own_ms(self) -> Option<u64> {
        match self {
            Self::At(ms) | Self::Due(ms) => Some(ms),
            Self::Stream | Self::Never => None,
        }
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Single {
    /// Number of its subject ([`super::subjects::Subjects`]).
    pub(crate) subject: u32,
    pub(crate) expiry: Expiry,
    /// It says that its subject has ended.
    pub(crate) marker: bool,
}

impl Single {
    pub(super) fn put(self, out: &mut Vec<u8>, appended_ms: u64) {
        let kind = match self.expiry {
            Expiry::Stream => 0,
            Expiry::At(_) => 1,
            Expiry::Never => 2,
            Expiry::Due(_) => 3,
        };
        put(out, u64::from(self.subject) << 3 | u64::from(self.marker) << 2 | kind);
        if let Some(ms) = self.expiry.own_ms() {
            put(out, ms.saturating_sub(appended_ms));
        }
    }

    pub(super) fn take(rest: &mut &[u8], appended_ms: u64) -> Option<Self> {
        let head = take(rest)?;
        let expiry = match head & 3 {
            0 => Expiry::Stream,
            1 => Expiry::At(appended_ms.checked_add(take(rest)?)?),
            2 => Expiry::Never,
            _ => Expiry::Due(appended_ms.checked_add(take(rest)?)?),
        };
        Some(Self { subject: u32::try_from(head >> 3).ok()?, expiry, marker: head & 4 != 0 })
    }
}
