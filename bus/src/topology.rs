//! What consumers need at the broker, as a value: endpoints and the types they take.
//!
//! Derived from the builder, read by transports ([`crate::transport::Transport::declare`]) and by `describe`. Pure.
//!
//! The shape on AMQP 0-9-1 is MassTransit's: type exchange (fanout) → endpoint exchange (fanout) → endpoint queue, all durable; a
//! type's exchange is also bound to the exchanges of its supertypes.

use serde::Serialize;

use crate::name::TypeName;

/// All endpoints of a bus.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Topology {
    /// In the order in which they were built.
    pub endpoints: Vec<EndpointTopology>,
}

/// One endpoint: a queue, an exchange of the same name, and the types bound to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointTopology {
    /// Name of queue and exchange.
    pub name: String,
    /// What it consumes.
    pub types: Vec<TypeTopology>,
}

/// A message type and what it also is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct TypeTopology {
    /// The type.
    pub name: TypeName,
    /// Its supertypes, most derived first.
    pub supertypes: Vec<TypeName>,
}
