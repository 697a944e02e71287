//! Properties and headers between the bus's words and NATS' headers, which are texts of one line. Pure.
//!
//! Content type and encoding have their usual names, the other properties begin with `Stele-`. What a line cannot hold is percent-encoded,
//! and its name is listed in `Stele-Encoded`, so that a message that is moved keeps its headers byte for byte.

use std::str::FromStr;

use async_nats::header::{HeaderMap, HeaderName, HeaderValue as Line};
use serde_json::Value;

use super::TransportError;
use crate::headers::{HeaderValue, Headers, Properties};
use crate::time::Timestamp;

const CONTENT_TYPE: &str = "Content-Type";
const CONTENT_ENCODING: &str = "Content-Encoding";
const PRIORITY: &str = "Stele-Priority";
const CORRELATION_ID: &str = "Stele-Correlation-Id";
const REPLY_TO: &str = "Stele-Reply-To";
const MESSAGE_ID: &str = "Stele-Message-Id";
const TIMESTAMP: &str = "Stele-Timestamp";
const KIND: &str = "Stele-Type";
const APP_ID: &str = "Stele-App-Id";
/// Time to live as it was given, in ms.
const EXPIRATION: &str = "Stele-Expiration";
/// The end of it, in ms since 1970.
const EXPIRES: &str = "Stele-Expires";
/// Names of the headers whose values are percent-encoded.
const ENCODED: &str = "Stele-Encoded";
/// The id by which the stream knows copies.
pub(super) const DEDUPE_ID: &str = "Nats-Msg-Id";
/// What the server itself reads and writes begins with this; none of it is the application's.
const SERVERS: &str = "Nats-";

/// Headers of a message that leaves at `now`.
pub(super) fn lines(from: &Properties, now: Timestamp) -> Result<HeaderMap, TransportError> {
    let mut lines = HeaderMap::new();
    let mut encoded = Vec::new();
    for (name, value) in &from.headers {
        let Some(text) = text(value) else { continue };
        let name =
            percent_encoded(name.as_bytes(), |byte| byte.is_ascii_graphic() && byte != b':' && byte != b'%');
        if is_line(&text) {
            put(&mut lines, &name, std::str::from_utf8(&text).unwrap_or_default())?;
        } else {
            put(&mut lines, &name, &percent_encoded(&text, |byte| byte.is_ascii_graphic() && byte != b'%'))?;
            encoded.push(name);
        }
    }
    if !encoded.is_empty() {
        put(&mut lines, ENCODED, &encoded.join(","))?;
    }
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let expires = from.expiration_ms.map(|ms| now.0.saturating_add(ms));
    for (name, value) in [
        (CONTENT_TYPE, from.content_type.clone()),
        (CONTENT_ENCODING, from.content_encoding.clone()),
        (PRIORITY, number(from.priority.map(u64::from))),
        (CORRELATION_ID, from.correlation_id.clone()),
        (REPLY_TO, from.reply_to.clone()),
        (MESSAGE_ID, from.message_id.clone()),
        (TIMESTAMP, number(from.timestamp)),
        (KIND, from.kind.clone()),
        (APP_ID, from.app_id.clone()),
        (EXPIRATION, number(from.expiration_ms)),
        (EXPIRES, number(expires)),
    ] {
        if let Some(value) = value {
            put(&mut lines, name, &value)?;
        }
    }
    Ok(lines)
}

pub(super) fn put(lines: &mut HeaderMap, name: &str, value: &str) -> Result<(), TransportError> {
    let refused = || TransportError::Refused(format!("header {name:.80}: not a line of text"));
    let key = HeaderName::from_str(name).map_err(|_| refused())?;
    lines.insert(key, Line::from_str(value).map_err(|_| refused())?);
    Ok(())
}

/// What a message brought along.
pub(super) fn properties(lines: Option<&HeaderMap>) -> Properties {
    let mut properties = Properties { persistent: true, ..Properties::default() };
    let Some(lines) = lines else { return properties };
    let encoded: Vec<&str> =
        lines.get(ENCODED).map(|names| names.as_str().split(',').collect()).unwrap_or_default();
    for (name, values) in lines.iter() {
        let (name, Some(value)) = (name.as_ref(), values.last()) else { continue };
        let text = || Some(value.as_str().to_owned());
        match name {
            _ if name.eq_ignore_ascii_case(CONTENT_TYPE) => properties.content_type = text(),
            _ if name.eq_ignore_ascii_case(CONTENT_ENCODING) => properties.content_encoding = text(),
            PRIORITY => properties.priority = value.as_str().parse().ok(),
            CORRELATION_ID => properties.correlation_id = text(),
            REPLY_TO => properties.reply_to = text(),
            MESSAGE_ID => properties.message_id = text(),
            TIMESTAMP => properties.timestamp = value.as_str().parse().ok(),
            KIND => properties.kind = text(),
            APP_ID => properties.app_id = text(),
            EXPIRATION => properties.expiration_ms = value.as_str().parse().ok(),
            EXPIRES | ENCODED => {}
            _ if name.starts_with(SERVERS) => {}
            _ => {
                let value = match encoded.contains(&name) {
                    true => match String::from_utf8(percent_decoded(value.as_str())) {
                        Ok(text) => HeaderValue::Text(text),
                        Err(bytes) => HeaderValue::Bytes(bytes.into_bytes()),
                    },
                    false => HeaderValue::Text(value.as_str().to_owned()),
                };
                let name = String::from_utf8_lossy(&percent_decoded(name)).into_owned();
                properties.headers.insert(name, value);
            }
        }
    }
    properties
}

/// Whether a message that arrives at `now` is of no use any more.
pub(super) fn is_expired(lines: Option<&HeaderMap>, now: Timestamp) -> bool {
    let expires = lines.and_then(|lines| lines.get(EXPIRES)).and_then(|ms| ms.as_str().parse::<u64>().ok());
    expires.is_some_and(|ms| ms < now.0)
}

fn text(value: &HeaderValue) -> Option<Vec<u8>> {
    Some(match value {
        HeaderValue::Null => return None,
        HeaderValue::Text(text) => text.clone().into_bytes(),
        HeaderValue::Bytes(bytes) => bytes.clone(),
        other => match plain(other) {
            Value::String(text) => text.into_bytes(),
            json => json.to_string().into_bytes(),
        },
    })
}

fn plain(value: &HeaderValue) -> Value {
    let table =
        |headers: &Headers| headers.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
    match value {
        HeaderValue::Null => Value::Null,
        HeaderValue::Bool(truth) => (*truth).into(),
        HeaderValue::Int(number) => (*number).into(),
        HeaderValue::Float(number) => (*number).into(),
        HeaderValue::Text(text) => text.as_str().into(),
        HeaderValue::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        HeaderValue::Seconds(seconds) => (*seconds).into(),
        HeaderValue::List(values) => values.iter().map(plain).collect(),
        HeaderValue::Table(headers) => Value::Object(table(headers)),
    }
}

/// Whether a header can hold it as it is. Spaces around a value are cut off on the way.
fn is_line(text: &[u8]) -> bool {
    let is_trimmed = text.trim_ascii().len() == text.len();
    is_trimmed && std::str::from_utf8(text).is_ok_and(|text| !text.contains(char::is_control))
}

fn percent_encoded(bytes: &[u8], stays: impl Fn(u8) -> bool) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match stays(byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&byte, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let decoded = digits.and_then(|two| u8::from_str_radix(two, 16).ok()).filter(|_| byte == b'%');
        bytes.push(decoded.unwrap_or(byte));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_and_headers_come_back_as_they_were() {
        let headers = [
            ("tenant", HeaderValue::Text("seven".into())),
            ("MT-Fault-StackTrace", HeaderValue::Text("one\n  two 100%\n".into())),
            ("cloudEvents:type", HeaderValue::Text(" x ".into())),
            ("bytes", HeaderValue::Bytes(vec![0, 255])),
            ("ümlaut", HeaderValue::Text("größe 5%".into())),
        ];
        let before = Properties {
            content_type: Some("application/json".into()),
            persistent: true,
            priority: Some(4),
            correlation_id: Some("c".into()),
            expiration_ms: Some(500),
            message_id: Some("m".into()),
            timestamp: Some(7),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Properties::default()
        };
        let lines = lines(&before, Timestamp(1_000)).unwrap();
        assert_eq!(properties(Some(&lines)), before);
        assert!(!is_expired(Some(&lines), Timestamp(1_500)) && is_expired(Some(&lines), Timestamp(1_501)));
    }

    #[test]
    fn numbers_become_texts_that_are_read_as_numbers() {
        let headers = [("n".to_owned(), HeaderValue::Int(3)), ("none".to_owned(), HeaderValue::Null)];
        let lines =
            lines(&Properties { headers: headers.into(), ..Properties::default() }, Timestamp(0)).unwrap();
        let after = properties(Some(&lines));
        assert_eq!(after.headers["n"].as_int(), Some(3));
        assert_eq!(after.headers.len(), 1);
    }
}
