//! The AMQP 0-9-1 dialect as RabbitMQ speaks it: codec and session. Pure.
//!
//! What is supported, what deviates and what is refused stands in `docs/dialects/amqp091.md`. Inside this crate the words are
//! AMQP's (channel, delivery tag, routing key); at the border to `model` they change (lane, tag, key).
//!
//! Read in this order: [`codec`] (bytes), [`profile`] (limits), [`session`] (the connection's state machine), [`refuse`] (the
//! words for "no"). Not here: sockets, time, passwords' verification, routing, queues.

pub mod codec;
pub mod fuzz;
pub mod profile;
pub mod refuse;
pub mod session;

pub use profile::Profile;
pub use session::Connection;
