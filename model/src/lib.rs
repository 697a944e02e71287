//! The words that dialects and core share: ids, operations, outcomes, effects. Pure.
