//! Raw JSON: the payload is the whole body; types and ids stand in transport headers (`MT-MessageType`, `MessageId`, …), as
//! MassTransit's raw serializer has them. Ids that are no GUIDs are mapped to one by hashing, so that copies still share it.

use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Encoded, own_headers, text};
use crate::envelope::{Draft, Envelope, Payload};
use crate::headers::{Headers, Properties, names};
use crate::time::Timestamp;

/// The content type.
pub const CONTENT_TYPE: &str = "application/json";
const SENT_TIME: &str = "MT-SentTime";

pub(super) fn encode<M: Serialize>(draft: &Draft<'_, M>) -> Result<Encoded, serde_json::Error> {
    let mut headers = Headers::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            headers.insert(name.into(), value.into());
        }
    };
    let id = |id: Option<Uuid>| id.map(|id| id.to_string());
    put(names::MESSAGE_TYPE, Some(draft.message_type.join(";")));
    put(names::MESSAGE_ID, id(Some(draft.message_id)));
    put(names::REQUEST_ID, id(draft.request_id));
    put(names::CORRELATION_ID, id(draft.correlation_id));
    put(names::CONVERSATION_ID, id(draft.conversation_id));
    put(names::INITIATOR_ID, id(draft.initiator_id));
    put(names::SOURCE_ADDRESS, draft.source_address.map(str::to_owned));
    put(names::RESPONSE_ADDRESS, draft.response_address.map(str::to_owned));
    put(names::FAULT_ADDRESS, draft.fault_address.map(str::to_owned));
    put(SENT_TIME, draft.sent_time.map(|time| time.to_string()));
    Ok(Encoded { body: serde_json::to_vec(draft.message)?.into(), content_type: CONTENT_TYPE, headers })
}

pub(super) fn decode(properties: &Properties, body: &[u8]) -> Result<Envelope, String> {
    let payload = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let payload = RawValue::from_string(payload.to_owned()).map_err(|error| error.to_string())?;
    let headers = &properties.headers;
    let id = |name: &str| text(headers, name).map(|text| id_of(&text));
    let types = text(headers, names::MESSAGE_TYPE).unwrap_or_default();
    let ours = [
        names::MESSAGE_ID,
        names::REQUEST_ID,
        names::CORRELATION_ID,
        names::CONVERSATION_ID,
        names::TRACEPARENT,
        names::TRACESTATE,
    ];
    Ok(Envelope {
        message_id: id(names::MESSAGE_ID).or_else(|| properties.message_id.as_deref().map(id_of)),
        request_id: id(names::REQUEST_ID),
        correlation_id: id(names::CORRELATION_ID)
            .or_else(|| properties.correlation_id.as_deref().and_then(|text| Uuid::parse_str(text).ok())),
        conversation_id: id(names::CONVERSATION_ID),
        initiator_id: id(names::INITIATOR_ID).or_else(|| id("InitiatorId")),
        source_address: text(headers, names::SOURCE_ADDRESS),
        response_address: text(headers, names::RESPONSE_ADDRESS),
        fault_address: text(headers, names::FAULT_ADDRESS),
        message_type: types
            .split([';', ','])
            .map(str::trim)
            .filter(|urn| !urn.is_empty())
            .map(str::to_owned)
            .collect(),
        message: Payload(payload),
        sent_time: text(headers, SENT_TIME).and_then(|time| Timestamp::parse(&time)),
        headers: own_headers(headers, |name| {
            name.starts_with(names::PREFIX)
                || names::is_broker(name)
                || ours.iter().any(|known| known.eq_ignore_ascii_case(name))
        }),
        ..Envelope::default()
    })
}

/// A GUID, or the hash of what is none.
pub(super) fn id_of(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or_else(|_| Uuid::new_v5(&Uuid::NAMESPACE_URL, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_ids_are_taken_from_headers() {
        let mut properties = Properties::default();
        let id = "0198af00-0000-7000-8000-0000000000ab";
        for (name, value) in
            [("mt-messagetype", "urn:message:A:B;urn:message:A:C"), ("MessageId", id), ("tenant", "7")]
        {
            properties.headers.insert(name.into(), value.into());
        }
        let envelope = decode(&properties, br#"{"x":1}"#).unwrap();
        assert_eq!(envelope.message_type, ["urn:message:A:B", "urn:message:A:C"]);
        assert_eq!(envelope.message_id.unwrap().to_string(), id);
        assert_eq!(envelope.headers["tenant"], "7");
        assert!(decode(&properties, b"{").is_err());
        assert!(decode(&properties, b"\xff").is_err());
    }

    #[test]
    fn an_id_that_is_no_guid_is_the_same_each_time() {
        assert_eq!(id_of("order-7"), id_of("order-7"));
        assert_ne!(id_of("order-7"), id_of("order-8"));
    }
}
