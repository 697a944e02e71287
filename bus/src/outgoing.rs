//! A message that is ready to leave: encoded, addressed, with its id. The one thing that pipeline, outbox and transports exchange.
//!
//! Made by [`crate::Composer`]; stored by outboxes (it is `Serialize`); sent by transports. What must hold: sending it twice sends
//! the same message id twice, never a new one. Not here: how a destination is spelt on a broker (transports).

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::headers::Properties;
use crate::name::TypeName;
use crate::time::Timestamp;

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Destination {
    /// To everyone who consumes the type or one of its supertypes.
    Type {
        /// The most derived type.
        name: TypeName,
        /// What it also is.
        supertypes: Vec<TypeName>,
    },
    /// To one endpoint's queue, which is made if it is not there.
    Queue(String),
    /// To a named routing point.
    Exchange(String),
    /// To an address that a message brought along (`responseAddress`, `faultAddress`); nothing is made for it.
    Address {
        /// The address as it was read.
        address: String,
        /// What the message's own reply-to property said; used for direct replies.
        reply_to: Option<String>,
    },
}

impl Destination {
    /// What it is called, without scheme, host and parameters: for telemetry.
    pub fn name(&self) -> String {
        match self {
            Self::Type { name, .. } => name.exchange(),
            Self::Queue(name) | Self::Exchange(name) => name.clone(),
            Self::Address { address, .. } => {
                let path = address.split(['?', '#']).next().unwrap_or_default();
                path.rsplit('/').next().unwrap_or_default().to_owned()
            }
        }
    }

    /// Read `queue:name`, `exchange:name`, a bare name (a queue), or an address with a scheme of its own.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some(("queue", name)) => Self::Queue(name.into()),
            Some(("exchange", name)) => Self::Exchange(name.into()),
            Some(_) if text.contains("://") => Self::Address { address: text.into(), reply_to: None },
            _ => Self::Queue(text.into()),
        }
    }
}

impl From<&str> for Destination {
    fn from(text: &str) -> Self {
        Self::parse(text)
    }
}

impl From<String> for Destination {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

/// Names a scheduled message, so that it can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ScheduleToken(pub Uuid);

/// A message that is ready to leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outgoing {
    /// The message id; also in the body and in the properties.
    pub id: Uuid,
    /// Where it goes.
    pub destination: Destination,
    /// The most derived type; `None` when a body is moved that nobody could read.
    pub kind: Option<TypeName>,
    /// What it keeps its order with; `None` if nothing.
    pub key: Option<String>,
    /// Not before this time; `None` is now.
    pub not_before: Option<Timestamp>,
    /// Names the message while it waits for `not_before`.
    pub token: Option<ScheduleToken>,
    /// Properties and headers.
    pub properties: Properties,
    /// The encoded body.
    pub body: Bytes,
}
