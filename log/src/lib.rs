//! The durable log: block format, embedded engine, recovery, segments, verify.

pub mod format;

pub mod disk;
