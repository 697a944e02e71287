//! One message as the pipeline and the handlers see it: read, with where it arrived and how often it was tried.
//!
//! Made by the pipeline from an [`crate::transport::Incoming`]; shared by extractors, layers and telemetry. Immutable.

use bytes::Bytes;
use uuid::Uuid;

use crate::envelope::Envelope;
use crate::headers::{Properties, find, names};

/// A message that arrived and could be read.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The endpoint that received it.
    pub endpoint: String,
    /// Its address.
    pub input_address: String,
    /// What was read from the body.
    pub envelope: Envelope,
    /// What travelled beside the body.
    pub properties: Properties,
    /// The body as it was sent.
    pub body: Bytes,
    /// The broker has delivered it before.
    pub redelivered: bool,
    /// The W3C context of the span that handles it, once there is one.
    pub trace: Option<String>,
}

impl Delivery {
    /// The id that copies share: the envelope's, else the property's if that is a GUID.
    pub fn message_id(&self) -> Option<Uuid> {
        let property = || self.properties.message_id.as_deref().and_then(|text| Uuid::parse_str(text).ok());
        self.envelope.message_id.or_else(property)
    }

    /// How often it was sent again after a delay; 0 the first time.
    pub fn redelivery_count(&self) -> u32 {
        let beside = find(&self.properties.headers, names::REDELIVERY_COUNT).and_then(|value| value.as_int());
        let inside =
            || self.envelope.headers.get(names::REDELIVERY_COUNT).and_then(serde_json::Value::as_i64);
        beside.or_else(inside).and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
    }

    /// One of the sender's own headers.
    pub fn header(&self, name: &str) -> Option<&serde_json::Value> {
        let headers = &self.envelope.headers;
        headers.get(name).or_else(|| {
            headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        })
    }
}
