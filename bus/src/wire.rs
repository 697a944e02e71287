//! Bytes and headers to [`Envelope`] and back, in every format that is spoken.
//!
//! | format | recognised by | written as |
//! |---|---|---|
//! | [`Format::MassTransit`] (default) | content type `application/vnd.masstransit+json` | the same |
//! | [`Format::CloudEvents`] | content type `application/cloudevents+json` | structured mode |
//! | [`Format::CloudEventsBinary`] | header `cloudEvents:specversion` (or with `_`) | binary mode |
//! | [`Format::RawJson`] | any other JSON | payload as the body, the rest in `MT-*` headers |
//!
//! All are read always; the format chosen on the builder is what is written. Pure. Not here: which handler takes it.

pub mod cloud_events;
pub mod mass_transit;
pub mod raw_json;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::envelope::{Draft, Envelope};
use crate::headers::{Headers, Properties, find};

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// MassTransit v8's JSON envelope.
    #[default]
    MassTransit,
    /// CloudEvents 1.0, structured mode: one JSON object.
    CloudEvents,
    /// CloudEvents 1.0, binary mode: attributes in headers, the payload is the body.
    CloudEventsBinary,
    /// The payload is the body, ids and types in headers.
    RawJson,
}

/// A written message.
pub struct Encoded {
    /// The body.
    pub body: Bytes,
    /// Its content type.
    pub content_type: &'static str,
    /// Headers that belong to the format.
    pub headers: Headers,
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
#[error("unreadable {content_type} body: {why}")]
pub struct Unreadable {
    content_type: String,
    why: String,
}

/// Write a message.
pub fn encode<M: Serialize>(
    format: Format,
    draft: &Draft<'_, M>,
    key: Option<&str>,
) -> Result<Encoded, serde_json::Error> {
    match format {
        Format::MassTransit => mass_transit::encode(draft),
        Format::CloudEvents => cloud_events::encode_structured(draft, key),
        Format::CloudEventsBinary => cloud_events::encode_binary(draft, key),
        Format::RawJson => raw_json::encode(draft),
    }
}

/// Read a message.
pub fn decode(properties: &Properties, body: &[u8]) -> Result<Envelope, Unreadable> {
    let content_type = properties.content_type.as_deref().unwrap_or_default();
    let bare = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let read = match bare.as_str() {
        mass_transit::CONTENT_TYPE => mass_transit::decode(body),
        cloud_events::CONTENT_TYPE => cloud_events::decode_structured(body),
        _ if cloud_events::is_binary(&properties.headers) => cloud_events::decode_binary(properties, body),
        "" | "application/json" | "text/json" => raw_json::decode(properties, body),
        json if json.ends_with("+json") && !json.contains("masstransit") => {
            raw_json::decode(properties, body)
        }
        _ => Err("content type is not supported".into()),
    };
    read.map_err(|why| Unreadable {
        content_type: if bare.is_empty() { "untyped".into() } else { bare },
        why,
    })
}

/// A header as a text.
fn text(headers: &Headers, name: &str) -> Option<String> {
    find(headers, name).and_then(|value| value.as_text()).map(str::to_owned)
}

/// The sender's own headers of a message whose format keeps them beside the body.
fn own_headers(headers: &Headers, is_ours: impl Fn(&str) -> bool) -> BTreeMap<String, Value> {
    use crate::headers::HeaderValue;
    let own = headers.iter().filter(|(name, _)| !is_ours(name));
    own.filter_map(|(name, value)| {
        let value = match value {
            HeaderValue::Text(text) => Value::from(text.as_str()),
            HeaderValue::Int(number) => Value::from(*number),
            HeaderValue::Bool(truth) => Value::from(*truth),
            HeaderValue::Float(number) => Value::from(*number),
            _ => return None,
        };
        Some((name.clone(), value))
    })
    .collect()
}
