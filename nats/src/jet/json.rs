//! Reading the JSON of requests as strictly, and as leniently, as nats-server does with its default settings.
//!
//! Unknown fields are refused. `null` stands for "not given", names of fields may be in any case, and the last of two fields of one
//! name counts: that is how Go reads JSON, and old clients rely on it. An empty request stands for one with nothing in it.

use super::error::{ApiError, Code};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A request.
///
/// # Errors
/// 10025 with the reason if it is not one.
pub fn read<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if body.trim_ascii().is_empty() {
        return Ok(T::default());
    }
    read_value(body).map_err(|error| Code::InvalidJson.with(error))
}

/// A value that may be spelt as Go would accept it.
///
/// # Errors
/// If it is not JSON, or not this.
pub fn read_value<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    if body.trim_ascii().first() != Some(&b'{') {
        // serde would read an array as the fields in their order.
        return Err(serde::de::Error::custom("an object is expected"));
    }
    match serde_json::from_slice(body) {
        Ok(value) => Ok(value),
        // Rare: spelt in an unusual way, or wrong. Nested deeper than 128 levels, serde_json refuses it here as well.
        Err(_) => serde_json::from_value(as_go_reads(serde_json::from_slice(body)?)),
    }
}

/// Whether optional parameters are given at all: some requests may also carry any text, which says nothing.
#[must_use]
pub fn is_object_or_array(body: &[u8]) -> bool {
    matches!(body.trim_ascii().first(), Some(b'{' | b'['))
}

/// Whether a request says nothing: some must not carry anything, but may spell that out.
#[must_use]
pub fn is_empty_request(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    if body.is_empty() || body == b"{}" {
        return true;
    }
    matches!(serde_json::from_slice::<Value>(body), Ok(Value::Object(fields)) if fields.is_empty())
}

/// Drops what is null, and spells names of fields in lower case; the values of `metadata` are not ours to change.
fn as_go_reads(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            let lower = fields.map(|(name, value)| {
                let name = name.to_lowercase();
                let value = if name == "metadata" { value } else { as_go_reads(value) };
                (name, value)
            });
            Value::Object(lower.collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(as_go_reads).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Small {
        count: u64,
        metadata: BTreeMap<String, String>,
    }

    #[test]
    fn fields_are_read_as_go_reads_them() {
        let plain = Small { count: 3, ..Small::default() };
        assert_eq!(read::<Small>(br#"{"count":3}"#).unwrap(), plain);
        assert_eq!(read::<Small>(br#"{"Count":3,"metadata":null}"#).unwrap(), plain);
        assert_eq!(read::<Small>(br#"{"count":1,"count":3}"#).unwrap(), plain);
        assert_eq!(read::<Small>(b" ").unwrap(), Small::default());
        let kept: Small = read(br#"{"COUNT":0,"metadata":{"Key":"V"}}"#).unwrap();
        assert_eq!(kept.metadata.get("Key").map(String::as_str), Some("V"));
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        for wrong in ["{", "[]", r#"{"other":1}"#, r#"{"count":"3"}"#, r#"{"count":-1}"#, r#"{"count":1} x"#]
        {
            let error = read::<Small>(wrong.as_bytes()).unwrap_err();
            assert_eq!(error.err_code, 10025, "{wrong}");
            assert!(error.description.starts_with("invalid JSON: "), "{error}");
        }
    }

    #[test]
    fn an_empty_request_may_be_spelt_out() {
        assert!(is_empty_request(b"") && is_empty_request(b" {} ") && is_empty_request(b"{ }"));
        assert!(!is_empty_request(b"x") && !is_empty_request(b"[]") && !is_empty_request(br#"{"a":1}"#));
    }
}
