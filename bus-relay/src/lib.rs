//! The outbox relay: takes committed rows out of a table and publishes them, in order per aggregate, each at least once and always under
//! the same id.
//!
//! Used by the bus (`bus-sql`) and by the broker's binary (`stele outbox …`). Four seams: a [`Source`] is where rows are (Postgres,
//! SQLite), a [`Target`] is where messages go (AMQP, NATS, Kafka), [`relay::start`] runs workers between the two, and a
//! [`route::Route`] says which row goes to which address.
//!
//! How order is kept: rows belong to [`LANES`] lanes by a hash of their aggregate, a lane has one owner at a time, and its owner always
//! reads from the lane's oldest committed row. There is no cursor, so a transaction that commits late is never passed over, and no
//! `skip locked`, so two workers never share an aggregate. A row is deleted after its confirm; what was published and not deleted is
//! published again, as a copy with the same id, behind its first delivery.
//!
//! Deliberately not here: messages, envelopes and handlers (that is the bus), and anything of the broker.

pub mod row;

pub mod publish;
pub mod route;
pub mod source;

mod held;
pub mod metrics;
pub mod relay;
mod worker;

#[cfg(feature = "amqp")]
pub mod amqp;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "nats")]
pub mod nats;

#[cfg(all(feature = "amqp", feature = "nats", feature = "kafka"))]
pub mod broker;

#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "follow", feature = "nats", feature = "kafka"))]
mod percent;
#[cfg(test)]
mod testing;

pub use publish::{Address, Exchange, Fault, Message, Outcome, Publisher, Refusal, Target};
pub use relay::{Relay, Settings};
pub use row::{LANES, Place, Row};
pub use source::{Backlog, Reader, Source, SourceError};
