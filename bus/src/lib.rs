//! A bus for typed messages over any broker: publish, send, request, retry, schedule, saga; outbox and inbox with `stele-bus-sql`.
//!
//! Used by services; it shares no code with the Stele broker and is complete on RabbitMQ alone. On the wire it speaks MassTransit v8's
//! envelope, raw JSON and CloudEvents. Read the modules in this order: [`message`] (what travels), [`handler`] (who takes it),
//! [`context`] (what a handler may say), [`bus`] (how it is put together), [`policy`] (what happens when it fails), [`saga`].
//!
//! A service, and how it is put together, is the example of [`bus`]; requests are in [`request`], sagas in [`saga`].
//!
//! Deliberately not here: databases (`stele-bus-sql`), the test harness (`stele-bus-test`), anything of the broker.

pub mod bus;
pub mod compose;
pub mod context;
pub mod decimal;
pub mod delivery;
pub mod describe;
pub mod dispatch;
pub mod endpoint;
pub mod envelope;
pub mod failure;
pub mod fault;
pub mod fold;
pub mod handler;
pub mod headers;
pub mod health;
pub mod ids;
pub mod message;
pub mod mishap;
pub mod name;
pub mod outgoing;
mod pipeline;
pub mod policy;
pub mod recurring;
pub mod request;
mod runner;
pub mod saga;
pub mod store;
mod telemetry;
pub mod time;
pub mod topology;
pub mod transport;
mod turns;
pub mod wire;

pub use bus::{Bus, BusBuilder, Scheduled, SendError};
pub use compose::{Composer, EncodeError, SendOptions};
pub use context::Context;
pub use delivery::Delivery;
pub use failure::Failure;
pub use fault::{AnyFault, Fault};
pub use handler::{Consumer, Either, Extract, Handler, Meta, Msg, Respond, State};
pub use message::Message;
pub use name::TypeName;
pub use outgoing::{Destination, Outgoing, ScheduleToken};
pub use pipeline::RedeliverLater;
pub use policy::{CircuitBreaker, KillSwitch, RateLimit, Retry};
pub use request::{Replies, RequestError};
#[cfg(feature = "schema")]
pub use schemars;
#[cfg(feature = "derive")]
pub use stele_bus_derive::{Message, Replies};
pub use time::Timestamp;

/// What the derives write refers to.
#[doc(hidden)]
pub mod __private {
    pub use bytes::Bytes;
    pub use serde_json::Value;
    pub use uuid::Uuid;

    /// The schema of a payload.
    #[cfg(feature = "schema")]
    pub fn schema_of<T: schemars::JsonSchema>() -> Value {
        let settings = schemars::generate::SchemaSettings::draft07();
        settings.into_generator().into_root_schema_for::<T>().to_value()
    }
}
