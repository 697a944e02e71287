//! MassTransit v8's JSON envelope: one object, `application/vnd.masstransit+json`.

use serde::Serialize;

use super::Encoded;
use crate::envelope::{Draft, Envelope};
use crate::fold;
use crate::headers::Headers;

/// The content type.
pub const CONTENT_TYPE: &str = "application/vnd.masstransit+json";

pub(super) fn encode<M: Serialize>(draft: &Draft<'_, M>) -> Result<Encoded, serde_json::Error> {
    let body = serde_json::to_vec(draft)?.into();
    Ok(Encoded { body, content_type: CONTENT_TYPE, headers: Headers::new() })
}

pub(super) fn decode(body: &[u8]) -> Result<Envelope, String> {
    // A derived reader would also take the fields in order from an array.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("not a JSON object".into());
    }
    fold::from_slice(body).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_read_in_any_letter_case_with_unknown_and_absent_fields() {
        let body = br#"{"MESSAGEID":"0198AF00-0000-7000-8000-0000000000AB","MessageType":["urn:message:A:B","urn:message:A:C"],
            "message":{"OrderId":1},"unknown":[{}],"Headers":null,"sentTime":"2026-11-21T06:00:00.1234567Z","host":{"processId":7}}"#;
        let envelope = decode(body).unwrap();
        assert_eq!(envelope.message_id.unwrap().to_string(), "0198af00-0000-7000-8000-0000000000ab");
        assert_eq!(envelope.message_type.len(), 2);
        assert_eq!(envelope.message.0.get(), r#"{"OrderId":1}"#);
        assert_eq!(envelope.host.unwrap().process_id, 7);
        assert_eq!(envelope.conversation_id, None);
    }

    #[test]
    fn what_is_not_an_envelope_is_an_error() {
        for body in [&b""[..], b"[]", b"{", b"nonsense", br#"{"messageId":"seven"}"#, br#"{"messageType":3}"#]
        {
            assert!(decode(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }
}
