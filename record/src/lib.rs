//! The bytes of a stored record and the lazy view of them. Pure.
//!
//! A record is written once, by the dialect it came in through, and kept in that dialect's bytes; [`View`] reads it for any
//! other, field by field, when somebody asks (hub form: 2N converters, not N²). Called by the dialects (write and read), the
//! hub (keys and headers for routing), the core (expiry, priority, dead letters).
//!
//! # Layout, version 1
//! Little endian, one contiguous slice:
//!
//! | at | type | field |
//! |---|---|---|
//! | 0 | u32 | `len`: bytes of the whole record, this field included |
//! | 4 | u8 | version, 1 |
//! | 5 | u8 | [`Origin`]: the dialect whose bytes `properties` are; 1 = AMQP 0-9-1, 2 = NATS |
//! | 6 | u8 | flags: bit 0 persistent; the others 0 |
//! | 7 | u8 | priority, 0 if none was given |
//! | 8 | u32 | time to live in ms, [`TTL_NONE`] if none |
//! | 12 | u16 | `exchange_len` |
//! | 14 | u16 | `key_len` |
//! | 16 | u32 | `properties_len` |
//! | 20 | u32 | `history_len` |
//! | 24 | u64 | when the record was first accepted, µs since the Unix epoch |
//! | 32 | bytes | exchange, key, properties, history, body; the body is what remains |
//!
//! `properties` are the origin's bytes, verbatim. For AMQP 0-9-1: the property flags and property list of the content header,
//! without class id, weight and body size; for NATS: see [`nats`]. `history` is dialect-free and empty until the record is dead-lettered or carries
//! hidden keys; its layout stands in [`history`]. The length of a record never changes; a dead-letter move writes a new one
//! ([`history::with_death`]).
//!
//! A stream of Kafka's keeps whole batches as their producer sent them; [`batch`] reads and writes those.
//!
//! Not here: where records lie, how long they live, who holds them (core); frames (dialects).

pub mod batch;
mod damage;
pub mod dead;
mod draft;
pub mod due;
pub mod history;
pub mod nats;
pub mod properties;
pub mod table;
mod view;

pub use damage::Damage;
pub use draft::Draft;
pub use view::{Origin, View};

/// Version of the layout that [`Draft`] writes.
pub const VERSION: u8 = 1;
/// Bytes before the variable part.
pub const HEAD_BYTES: usize = 32;
/// `ttl_ms` of a record that has no time to live of its own.
pub const TTL_NONE: u32 = u32::MAX;
/// Bit of the flags: the record asks to survive a restart.
pub(crate) const FLAG_PERSISTENT: u8 = 1;
