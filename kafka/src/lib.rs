//! The Kafka dialect as Kafka 4 speaks it: codec and session. Pure.
//!
//! What is supported, what deviates and what is refused stands in `docs/dialects/kafka.md`. Inside this crate the words are
//! Kafka's (topic, offset, group); at the border to `model` they change (stream, position).
//!
//! Read in this order: [`codec`] (bytes), [`profile`] (limits), [`session`] (the connection's state machine), [`refuse`] (the words
//! for "no"). Batches of records are read by crate `record`. Not here: sockets, time, passwords' storage, where records lie.

pub mod codec;
pub mod fuzz;
pub mod profile;
pub mod refuse;
pub mod session;

pub use profile::Profile;
pub use session::Connection;
