//! A row of an outbox, in the words that all layouts share. Made by a [`crate::Reader`], turned into a [`crate::Message`] by a
//! [`crate::route::Route`].

/// Lanes of every outbox. All relays of a table must agree on it, so it is no setting.
pub const LANES: u16 = 64;

/// Where a row stands: its lane, and its number, which grows with the time of its insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// 0 – 63, by the hash of the aggregate.
    pub lane: i16,
    /// Grows over the whole table; not dense, and not in the order of commits except within an aggregate that its writers lock.
    pub ord: i64,
}

/// One row, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place, by which it is deleted or parked.
    pub place: Place,
    /// The message's id, the same for every copy.
    pub id: String,
    /// What kind of thing the aggregate is, such as `order`; may be empty.
    pub aggregate_type: String,
    /// Rows of one aggregate are kept in order. The row's id where it belongs to none.
    pub aggregate_id: String,
    /// The event's type.
    pub kind: String,
    /// Where it is to go, such as `exchange:Shop.Contracts:OrderPlaced` or `queue:submit-order`; by default the relay's route says.
    pub destination: Option<String>,
    /// Media type of the payload.
    pub content_type: Option<String>,
    /// A JSON object of application headers.
    pub headers: Option<String>,
    /// A JSON object of further properties: see [`crate::publish::Properties`].
    pub properties: Option<String>,
    /// The body, as it will be published.
    pub payload: Vec<u8>,
}
