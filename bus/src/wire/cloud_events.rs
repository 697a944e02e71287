//! CloudEvents 1.0 in JSON: structured mode (one object) and binary mode (attributes in headers).
//!
//! | envelope | attribute |
//! |---|---|
//! | messageId | `id` |
//! | sourceAddress | `source` |
//! | messageType | `type` (the first URN), extension `messagetypes` (all, joined by `;`) |
//! | sentTime | `time` |
//! | key | `subject`, extension `partitionkey` |
//! | other ids and addresses | extensions `correlationid`, `conversationid`, `initiatorid`, `requestid`, `responseaddress`, `faultaddress` |
//!
//! In binary mode attributes are headers with the prefix `cloudEvents_`; `cloudEvents:` is read too.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::raw_json::id_of;
use super::{Encoded, own_headers};
use crate::envelope::{Draft, Envelope, Payload};
use crate::headers::{HeaderValue, Headers, Properties};
use crate::time::Timestamp;

/// Content type of structured mode.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
const PREFIX: &str = "cloudEvents_";
const PREFIX_COLON: &str = "cloudEvents:";
/// Extensions with a place of their own in the envelope; what else comes is a header.
const KNOWN: [&str; 14] = [
    "specversion",
    "id",
    "source",
    "type",
    "time",
    "subject",
    "datacontenttype",
    "messagetypes",
    "partitionkey",
    "correlationid",
    "conversationid",
    "initiatorid",
    "requestid",
    "dataschema",
];

fn attributes<M>(draft: &Draft<'_, M>, key: Option<&str>) -> BTreeMap<String, String> {
    let id = |id: Option<Uuid>| id.map(|id| id.to_string());
    let rows = [
        ("specversion", Some("1.0".to_owned())),
        ("id", id(Some(draft.message_id))),
        ("source", Some(draft.source_address.unwrap_or("stele-bus").to_owned())),
        ("type", draft.message_type.first().cloned()),
        ("time", draft.sent_time.map(|time| time.to_string())),
        ("subject", key.map(str::to_owned)),
        ("partitionkey", key.map(str::to_owned)),
        ("datacontenttype", Some("application/json".to_owned())),
        ("messagetypes", (draft.message_type.len() > 1).then(|| draft.message_type.join(";"))),
        ("correlationid", id(draft.correlation_id)),
        ("conversationid", id(draft.conversation_id)),
        ("initiatorid", id(draft.initiator_id)),
        ("requestid", id(draft.request_id)),
        ("responseaddress", draft.response_address.map(str::to_owned)),
        ("faultaddress", draft.fault_address.map(str::to_owned)),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

pub(super) fn encode_structured<M: Serialize>(
    draft: &Draft<'_, M>,
    key: Option<&str>,
) -> Result<Encoded, serde_json::Error> {
    #[derive(Serialize)]
    struct Event<'a, M> {
        #[serde(flatten)]
        attributes: BTreeMap<String, String>,
        #[serde(flatten)]
        own: BTreeMap<String, &'a Value>,
        data: &'a M,
    }
    // An extension's name is lower-case letters and digits; a header that has no such name stays a transport header only.
    let named = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let own = draft.headers.iter().filter(|(name, _)| named(name) && !KNOWN.contains(&name.as_str()));
    let own = own.map(|(name, value)| (name.clone(), value)).collect();
    let event = Event { attributes: attributes(draft, key), own, data: draft.message };
    Ok(Encoded {
        body: serde_json::to_vec(&event)?.into(),
        content_type: CONTENT_TYPE,
        headers: Headers::new(),
    })
}

pub(super) fn encode_binary<M: Serialize>(
    draft: &Draft<'_, M>,
    key: Option<&str>,
) -> Result<Encoded, serde_json::Error> {
    let mut headers = Headers::new();
    for (name, value) in attributes(draft, key).into_iter().filter(|(name, _)| name != "datacontenttype") {
        headers.insert(format!("{PREFIX}{name}"), value.into());
    }
    Ok(Encoded { body: serde_json::to_vec(draft.message)?.into(), content_type: "application/json", headers })
}

/// Whether headers say that a message is a CloudEvent in binary mode.
pub(super) fn is_binary(headers: &Headers) -> bool {
    headers.keys().any(|name| attribute(name) == Some("specversion"))
}

fn attribute(header: &str) -> Option<&str> {
    let rest = header.get(PREFIX.len()..)?;
    let prefix = &header[..PREFIX.len()];
    (prefix.eq_ignore_ascii_case(PREFIX) || prefix.eq_ignore_ascii_case(PREFIX_COLON)).then_some(rest)
}

pub(super) fn decode_structured(body: &[u8]) -> Result<Envelope, String> {
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let data = match (fields.remove("data"), fields.remove("data_base64")) {
        (Some(data), _) => data,
        (None, Some(_)) => return Err("data_base64: the payload is not JSON".into()),
        (None, None) => RawValue::NULL.to_owned(),
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in fields {
        let value: Value = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
        attributes.insert(name, value);
    }
    envelope(attributes, data)
}

pub(super) fn decode_binary(properties: &Properties, body: &[u8]) -> Result<Envelope, String> {
    let payload = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let payload = RawValue::from_string(payload.to_owned()).map_err(|error| error.to_string())?;
    let mut attributes = BTreeMap::new();
    for (name, value) in &properties.headers {
        let Some(name) = attribute(name) else { continue };
        let value = match value {
            HeaderValue::Text(text) => Value::from(text.as_str()),
            HeaderValue::Int(number) => Value::from(*number),
            HeaderValue::Bool(truth) => Value::from(*truth),
            _ => continue,
        };
        attributes.insert(name.to_ascii_lowercase(), value);
    }
    let mut envelope = envelope(attributes, payload)?;
    envelope.headers.extend(own_headers(&properties.headers, |name| attribute(name).is_some()));
    Ok(envelope)
}

fn envelope(mut attributes: BTreeMap<String, Value>, data: Box<RawValue>) -> Result<Envelope, String> {
    let mut text = |name: &str| match attributes.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    if text("specversion").as_deref().is_none_or(|version| !version.starts_with("1.")) {
        return Err("not a CloudEvent of version 1".into());
    }
    let (id, kind) = (text("id"), text("type"));
    let (Some(id), Some(kind)) = (id, kind) else { return Err("a CloudEvent needs id and type".into()) };
    let source = text("source");
    let types =
        text("messagetypes").map_or_else(|| vec![urn(&kind)], |all| all.split(';').map(urn).collect());
    let own_id = |text: Option<String>| text.map(|text| id_of(&text));
    // The pair of source and id is what is unique; an id that is a GUID already is ours or as good.
    let message_id =
        Uuid::parse_str(&id).unwrap_or_else(|_| id_of(&format!("{}#{id}", source.as_deref().unwrap_or(""))));
    let mut envelope = Envelope {
        message_id: Some(message_id),
        request_id: own_id(text("requestid")),
        correlation_id: own_id(text("correlationid")),
        conversation_id: own_id(text("conversationid")),
        initiator_id: own_id(text("initiatorid")),
        source_address: source,
        response_address: text("responseaddress"),
        fault_address: text("faultaddress"),
        message_type: types,
        message: Payload(data),
        sent_time: text("time").and_then(|time| Timestamp::parse(&time)),
        ..Envelope::default()
    };
    attributes.retain(|name, _| !KNOWN.contains(&name.as_str()));
    envelope.headers = attributes;
    Ok(envelope)
}

/// A `type` that is not a URN yet becomes one, so that declared names and aliases match it.
fn urn(kind: &str) -> String {
    if kind.starts_with("urn:") { kind.to_owned() } else { format!("urn:message:{kind}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_event_is_read_in_both_modes() {
        let body = br#"{"specversion":"1.0","id":"a-1","source":"/shop","type":"Shop:Paid","data":{"x":1},"tenant":"t"}"#;
        let structured = decode_structured(body).unwrap();
        let mut properties = Properties::default();
        for (name, value) in [
            ("cloudEvents:specversion", "1.0"),
            ("cloudEvents:id", "a-1"),
            ("cloudEvents:source", "/shop"),
            ("cloudEvents:type", "Shop:Paid"),
            ("cloudEvents:tenant", "t"),
        ] {
            properties.headers.insert(name.into(), value.into());
        }
        assert!(is_binary(&properties.headers));
        let binary = decode_binary(&properties, br#"{"x":1}"#).unwrap();
        for envelope in [structured, binary] {
            assert_eq!(envelope.message_type, ["urn:message:Shop:Paid"]);
            assert_eq!(envelope.message_id, Some(id_of("/shop#a-1")));
            assert_eq!(envelope.message.0.get(), r#"{"x":1}"#);
            assert_eq!(envelope.headers["tenant"], "t");
        }
    }

    #[test]
    fn what_is_not_an_event_is_an_error() {
        for body in
            ["{}", "[]", r#"{"specversion":"0.3","id":"1","type":"t"}"#, r#"{"specversion":"1.0","id":"1"}"#]
        {
            assert!(decode_structured(body.as_bytes()).is_err(), "{body}");
        }
    }
}
