//! The bytes of the log on disk, as pure functions: no file, no clock, no lock. `docs/format.md` says the same byte by byte.
//!
//! Called by the embedded engine, by `verify` and by `dump`. All integers are little-endian, all checksums CRC-32C. What is
//! not here: where a block goes, and when; that is the engine's affair.

pub mod page;

pub mod block;
pub mod segment;

pub mod footer;
pub mod manifest;
pub mod snapshot;

mod fields;

use std::fmt;
use stele_model::id::Lsn;

/// Version of every structure in this module. A reader refuses a higher one.
pub const FORMAT_VERSION: u16 = 1;

/// The checksum of everything on disk: CRC-32C (CRC-32/iSCSI). Under a fuzzer (`cargo xtask fuzz`) it is 0 for all, or nothing behind a
/// checksum would ever be reached.
#[must_use]
#[expect(unexpected_cfgs, reason = "the fuzzers' build alone sets it")]
pub fn crc(bytes: &[u8]) -> u32 {
    if cfg!(fuzzing) {
        return 0;
    }
    let wide = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(wide).expect("a CRC-32 has 32 bits")
}

/// What is wrong with bytes read from disk. A value: disks cause it, not we.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Fewer bytes than the structure needs.
    Short,
    /// The first bytes are not this structure's.
    Magic,
    /// Written by a newer version.
    Version(u16),
    /// Flags this version does not know (compression and encryption are reserved).
    Flags(u16),
    /// The header's own checksum differs.
    HeadCrc,
    /// A length or an offset in the header cannot be right.
    Length,
    /// The block belongs to another incarnation of this file.
    Salt,
    /// The block was written to another offset than it stands at.
    Misplaced,
    /// The block does not follow the one before it.
    Sequence {
        /// What should stand here.
        expected: Lsn,
        /// What stands here.
        found: Lsn,
    },
    /// The block before this one was another one.
    Chain,
    /// The checksum of the frame table differs.
    TableCrc,
    /// The checksum of this frame of the body differs.
    FrameCrc(u32),
    /// The checksum of a whole structure differs.
    Crc,
    /// Bytes that must be zero are not.
    Padding,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => write!(f, "bytes are missing"),
            Self::Magic => write!(f, "magic differs"),
            Self::Version(version) => write!(f, "version {version} is not known here"),
            Self::Flags(flags) => {
                write!(f, "flags {flags:#06x} are not known here (compressed or encrypted?)")
            }
            Self::HeadCrc => write!(f, "checksum of the header differs"),
            Self::Length => write!(f, "a length in the header is out of range"),
            Self::Salt => write!(f, "salt is that of another segment"),
            Self::Misplaced => write!(f, "block was written for another offset"),
            Self::Sequence { expected, found } => write!(f, "block {found} stands where {expected} should"),
            Self::Chain => write!(f, "chain to the previous block is broken"),
            Self::TableCrc => write!(f, "checksum of the frame table differs"),
            Self::FrameCrc(frame) => write!(f, "checksum of frame {frame} differs"),
            Self::Crc => write!(f, "checksum differs"),
            Self::Padding => write!(f, "padding is not zero"),
        }
    }
}

impl std::error::Error for Flaw {}
