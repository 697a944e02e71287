//! What is published, and how it is read again from a body that either a bus or a plain row made.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stele_bus::Message;
use uuid::Uuid;

/// An order was placed.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Crash:OrderPlaced", key = aggregate_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) aggregate_id: String,
    pub(crate) seq: i64,
}

/// An order was billed; the consumer's own event.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Crash:OrderBilled", key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderBilled {
    pub(crate) order_id: Uuid,
}

/// An order was placed and billed; the saga's own event. Its field has another name, so that no other event reads as this one.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Crash:OrderClosed", key = closed_order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderClosed {
    pub(crate) closed_order_id: Uuid,
}

/// Any of the events.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Placed(OrderPlaced),
    Billed(OrderBilled),
    Closed(OrderClosed),
}

impl Event {
    /// Reads a body: an envelope around the event, or the event alone.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let mut value: Value = serde_json::from_slice(body).ok()?;
        let message = value.get_mut("message").map(Value::take).unwrap_or(value);
        if let Ok(placed) = serde_json::from_value(message.clone()) {
            return Some(Self::Placed(placed));
        }
        if let Ok(billed) = serde_json::from_value(message.clone()) {
            return Some(Self::Billed(billed));
        }
        serde_json::from_value(message).ok().map(Self::Closed)
    }
}
