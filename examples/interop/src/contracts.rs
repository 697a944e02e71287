//! The messages of `Shop.Contracts`, as every peer of the interop application knows them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use stele_bus::{Message, decimal};
use uuid::Uuid;

/// Asks for an order.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:SubmitOrder", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubmitOrder {
    pub(crate) order_id: Uuid,
    #[serde(default)]
    pub(crate) customer: Option<String>,
    #[serde(with = "decimal", default)]
    pub(crate) amount: Amount,
    #[serde(default)]
    pub(crate) behavior: Option<String>,
}

/// An order was taken.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderSubmitted", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderSubmitted {
    pub(crate) order_id: Uuid,
    pub(crate) customer: Option<String>,
    #[serde(with = "decimal")]
    pub(crate) amount: Amount,
}

/// The answer to who submitted it.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderAccepted", correlate = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderAccepted {
    pub(crate) order_id: Uuid,
}

/// Asks how an order stands.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:CheckOrderStatus")]
#[serde(rename_all = "camelCase")]
pub(crate) struct CheckOrderStatus {
    pub(crate) order_id: Uuid,
}

/// It is known.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderStatusResult")]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderStatusResult {
    pub(crate) order_id: Uuid,
    pub(crate) status: String,
}

/// It is not.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderNotFound")]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderNotFound {
    pub(crate) order_id: Uuid,
}

/// An order was placed; of the part with a database.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderPlaced", correlate = order_id, key = aggregate_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) aggregate_id: String,
    pub(crate) seq: i32,
}

/// A placed order had its effect.
#[derive(Clone, Debug, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderBilled", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderBilled {
    pub(crate) order_id: Uuid,
}

/// An amount of money as its decimal digits: nothing is calculated here, so nothing is rounded either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amount(String);

impl Default for Amount {
    fn default() -> Self {
        Self("0".into())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number: f64 = text.parse().map_err(|_| "not a number")?;
        if number.is_finite() { Ok(Self(text.to_owned())) } else { Err("not finite") }
    }
}
