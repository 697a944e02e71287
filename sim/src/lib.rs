//! A whole node in one deterministic process: clients, hubs, shards, logs, crashes; by seed.
//!
//! Called by its binary (`cargo run -p stele-sim -- --seeds N`) and by the tests. What must hold: a run follows from its seed and
//! from nothing else; the oracle judges what clients did and saw and knows nothing of the node. Not here: sockets, dialects,
//! threads; what a real disk tears is tried by the log's own crash tests.

pub mod channel;
pub mod client;
pub mod desk;
pub mod history;
pub mod keeper;
mod link;
pub mod log;
pub mod mutant;
pub mod node;
pub mod oracle;
pub mod rng;
pub mod streamer;
pub mod taker;
pub mod topology;
pub mod world;
