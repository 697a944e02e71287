//! Helpers for tests on the real binary: start a broker in a child process, kill it, start it again; judge what clients saw of it.
//!
//! Used by `xtask` (only to start and kill) and by this crate's drivers, `kill-loop`, `kafka-loop`, `nats-loop`, `bad-input`, `kafka-bad-input` and `nats-bad-input`. It depends on no other crate of
//! ours: what judges the broker sees only what a client, an operator or the kernel sees.

pub mod broker;
#[cfg(feature = "drivers")]
pub mod kafka;
#[cfg(feature = "drivers")]
pub mod kills;
pub mod ledger;
pub mod memory;
pub mod nats;
pub mod postgres;
pub mod process;
pub mod random;
#[cfg(feature = "drivers")]
pub mod siege;
pub mod victim;
