//! What can be wrong with the bytes of a record. A value, never a panic: disks and clients cause it.

use std::fmt;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// There are fewer bytes than the named part needs.
    Short(&'static str),
    /// There are more bytes than the lengths in the record account for.
    Long,
    /// A layout version that this build does not know.
    Version(u8),
    /// An origin that this build does not know.
    Origin(u8),
    /// A bit that must be 0 is 1, or an enumeration has a value it does not define.
    Value(&'static str),
    /// Tables and arrays are nested deeper than [`crate::table::DEPTH_MAX`].
    Deep,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short(part) => write!(f, "{part} ends early"),
            Self::Long => f.write_str("bytes are left over"),
            Self::Version(version) => write!(f, "record version {version} is unknown"),
            Self::Origin(origin) => write!(f, "record origin {origin} is unknown"),
            Self::Value(part) => write!(f, "{part} has an undefined value"),
            Self::Deep => f.write_str("tables are nested too deeply"),
        }
    }
}

impl std::error::Error for Damage {}
