//! The durable state machines: shard, queues, settlement; and the runner that joins a machine to its log. Pure.

pub mod runner;
