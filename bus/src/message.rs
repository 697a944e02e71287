//! What a type must say about itself to travel: its declared name, and optionally who it belongs to and what keeps its order.
//!
//! Implemented by `#[derive(Message)]`; called by everything that sends or receives. Not here: how it looks on the wire
//! ([`crate::wire`]).

use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::name::TypeName;

/// A value that can be published, sent, requested or responded.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use stele_bus::Message;
/// use uuid::Uuid;
///
/// #[derive(Message, Serialize, Deserialize)]
/// #[message(urn = "Shop.Contracts:SubmitOrder", correlate = order_id, key = customer)]
/// #[serde(rename_all = "camelCase")]
/// struct SubmitOrder {
///     order_id: Uuid,
///     customer: String,
/// }
///
/// assert_eq!(SubmitOrder::name().urn(), "urn:message:Shop.Contracts:SubmitOrder");
/// ```
pub trait Message: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The declared name. Constant for a type.
    fn name() -> TypeName;

    /// Names of what this type also is (supertypes, interfaces), most derived first. Consumers of those receive it too.
    fn supertypes() -> Vec<TypeName> {
        Vec::new()
    }

    /// Former or foreign names under which this type is accepted too; never written.
    fn aliases() -> Vec<TypeName> {
        Vec::new()
    }

    /// The id that ties this message to others of the same business act, written as `correlationId`.
    fn correlation_id(&self) -> Option<Uuid> {
        None
    }

    /// What it keeps its order with: the outbox's aggregate, the partitioner's key.
    fn key(&self) -> Option<String> {
        None
    }

    /// JSON Schema (draft 7) of the payload, for documents such as AsyncAPI. The derive's `schema` writes it by `schemars`.
    fn schema() -> Option<serde_json::Value> {
        None
    }
}
