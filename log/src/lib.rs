//! The durable log: block format, embedded engine, recovery, segments, verify.
