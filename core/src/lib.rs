//! The durable state machines: shard, queues, settlement; and the runner that joins a machine to its log. Pure.
//!
//! Read [`shard`] first (the table of what it can be asked), then `queue` and `settle`; [`runner`] is what drives it. Invariants are numbered
//! in `docs/invariants.md`, the bytes of entries stand in `docs/format-entries.md`.

pub mod group;
mod link;
mod paged;
mod queue;
pub mod runner;
mod settle;
pub mod shard;
mod share;
mod shelf;
mod stream;
pub mod testing;
