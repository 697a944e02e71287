//! The NATS dialect: core protocol, JetStream, key-value and object store as nats-server 2.15 speaks them. Pure.
//!
//! What is supported, what deviates and what is refused stands in `docs/dialects/nats.md`. Inside this crate the words are NATS' own
//! (subject, stream sequence, consumer); at the border to `model` they change (position, group).
//!
//! Not here: sockets, time, passwords' storage, where records lie.

pub mod codec;
pub mod front;
pub mod fuzz;
pub mod jet;
pub mod profile;
pub mod roll;
pub mod session;
pub mod subject;

pub use profile::Profile;
pub use session::{Arrival, Connection};
