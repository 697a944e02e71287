//! What the shop's services say to each other.

use serde::{Deserialize, Serialize};
use stele_bus::{Message, Replies};
use uuid::Uuid;

/// A customer wants something.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:PlaceOrder", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlaceOrder {
    pub(crate) order_id: Uuid,
    pub(crate) customer: String,
    pub(crate) product: String,
}

/// The answer: it is on its way.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:OrderAccepted", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderAccepted {
    pub(crate) order_id: Uuid,
}

/// The answer: there is no such product.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:OrderRefused", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderRefused {
    pub(crate) order_id: Uuid,
    pub(crate) why: String,
}

/// An order begins.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:OrderPlaced", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderPlaced {
    pub(crate) order_id: Uuid,
    pub(crate) customer: String,
    pub(crate) product: String,
}

/// To the inventory: put one aside.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:ReserveStock", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReserveStock {
    pub(crate) order_id: Uuid,
    pub(crate) product: String,
}

/// One was put aside.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:StockReserved", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StockReserved {
    pub(crate) order_id: Uuid,
}

/// There was none.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:StockMissing", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StockMissing {
    pub(crate) order_id: Uuid,
}

/// To the inventory: put it back. Undoes [`ReserveStock`].
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:ReleaseStock", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReleaseStock {
    pub(crate) order_id: Uuid,
    pub(crate) product: String,
}

/// To the payment service.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:TakePayment", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TakePayment {
    pub(crate) order_id: Uuid,
    pub(crate) customer: String,
}

/// It was paid.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:PaymentTaken", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentTaken {
    pub(crate) order_id: Uuid,
}

/// It was not.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:PaymentRefused", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentRefused {
    pub(crate) order_id: Uuid,
}

/// Nobody has paid in time.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:PaymentLate", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentLate {
    pub(crate) order_id: Uuid,
}

/// An order ended well.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:OrderCompleted", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderCompleted {
    pub(crate) order_id: Uuid,
    pub(crate) product: String,
}

/// An order was undone.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:OrderCancelled", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OrderCancelled {
    pub(crate) order_id: Uuid,
    pub(crate) why: String,
}

/// What else could go with it?
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:Recommend", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recommend {
    pub(crate) order_id: Uuid,
    pub(crate) product: String,
}

/// That.
#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Demo:Recommendation", correlate = order_id, key = order_id)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recommendation {
    pub(crate) order_id: Uuid,
    pub(crate) products: Vec<String>,
}

/// What comes back when an order is placed.
#[derive(Debug, Replies)]
pub(crate) enum Placed {
    Accepted(OrderAccepted),
    Refused(OrderRefused),
}
