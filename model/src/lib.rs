//! The words that dialects and core share: ids, operations, outcomes, effects. Pure.

pub mod id;
pub mod log;
