//! Reading the JSON of requests as strictly, and as leniently, as nats-server does with its default settings.
//!
//! Unknown fields are refused, but by [`read_lenient`]. `null` stands for "not given", names of fields may be in any case, and the last of two
//! fields of one name counts: that is how Go reads JSON, and old clients rely on it. An empty request stands for one with nothing in it.

mod go;

use super::error::{ApiError, Code};
use go::Go;
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

/// A request of which unknown fields mean nothing, and white space is none.
///
/// # Errors
/// 10025 with the reason if it is not one.
pub fn read_lenient<T: DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    parsed(body, true).map_err(|error| Code::InvalidJson.with(error))
}

/// A value that may be spelt as Go would accept it.
///
/// # Errors
/// If it is not JSON, or not this.
pub fn read_value<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    // serde would read a list as the fields of a structure, in their order: so only what has none is read at once.
    if body.trim_ascii().first() == Some(&b'{')
        && !body.contains(&b'[')
        && let Ok(value) = serde_json::from_slice(body)
    {
        return Ok(value);
    }
    parsed(body, false)
}

/// For what is spelt in an unusual way, or wrong. Nested deeper than 128 levels, serde_json refuses it here as well.
fn parsed<T: DeserializeOwned>(body: &[u8], is_lenient: bool) -> Result<T, serde_json::Error> {
    T::deserialize(Go::new(serde_json::from_slice::<Value>(body)?, is_lenient))
}

/// Whether optional parameters are given at all: some requests may also carry any text, which says nothing.
#[must_use]
pub fn is_object_or_array(body: &[u8]) -> bool {
    matches!(body.trim_ascii().first(), Some(b'{' | b'['))
}

/// Whether a request says nothing: some must not carry anything, but may spell that out.
#[must_use]
pub fn is_empty_request(body: &[u8]) -> bool {
    if body.is_empty() || body == b"{}" {
        return true;
    }
    matches!(serde_json::from_slice::<Value>(body), Ok(Value::Object(fields)) if fields.is_empty())
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

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        #[default]
        Plain,
        Odd,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Large {
        small: Small,
        more: Option<Small>,
        all: Vec<Small>,
        names: Vec<String>,
        waits: Vec<i64>,
        kind: Kind,
        is: bool,
    }

    #[test]
    fn fields_are_read_as_go_reads_them() {
        let plain = || Small { count: 3, ..Small::default() };
        assert_eq!(read::<Small>(br#"{"count":3}"#).unwrap(), plain());
        assert_eq!(read::<Small>(br#"{"Count":3,"metadata":null}"#).unwrap(), plain());
        assert_eq!(read::<Small>(br#"{"count":1,"count":3}"#).unwrap(), plain());
        assert_eq!(read::<Small>(b" ").unwrap(), Small::default());
        let kept: Small = read(br#"{"COUNT":0,"metadata":{"Key":"V"}}"#).unwrap();
        assert_eq!(kept.metadata.get("Key").map(String::as_str), Some("V"));
        let all: Large =
            read(br#"{"SMALL":{"Count":3},"all":[null,{"count":3}],"names":["a",null],"kind":"odd"}"#)
                .unwrap();
        let expected = Large {
            small: plain(),
            all: vec![Small::default(), plain()],
            names: vec!["a".to_owned(), String::new()],
            kind: Kind::Odd,
            ..Large::default()
        };
        assert_eq!(all, expected);
    }

    #[test]
    fn null_stands_for_nothing_but_where_one_of_several_is_chosen() {
        assert_eq!(read::<Small>(b"null").unwrap(), Small::default());
        let nothing = br#"{"small":null,"more":null,"all":null,"names":null,"waits":null,"is":null}"#;
        assert_eq!(read::<Large>(nothing).unwrap(), Large::default());
        assert_eq!(read::<Large>(br#"{"waits":[null]}"#).unwrap().waits, [0]);
        let of_names: Small = read(br#"{"metadata":{"Key":null}}"#).unwrap();
        assert_eq!(of_names.metadata.get("Key").map(String::as_str), Some(""));
        assert_eq!(read::<Large>(br#"{"kind":null}"#).unwrap_err().err_code, 10025);
        assert_eq!(read::<Large>(br#"{"other":null}"#).unwrap_err().err_code, 10025);
    }

    #[test]
    fn what_is_no_request_is_refused_with_the_reason() {
        for wrong in ["{", "[]", r#"{"other":1}"#, r#"{"count":"3"}"#, r#"{"count":-1}"#, r#"{"count":1} x"#]
        {
            let error = read::<Small>(wrong.as_bytes()).unwrap_err();
            assert_eq!(error.err_code, 10025, "{wrong}");
            assert!(error.description.starts_with("invalid JSON: "), "{error}");
        }
        for list in [r#"{"small":[3]}"#, r#"{"more":[3,{}]}"#, r#"{"all":[[3]]}"#, r#"{"small":[]}"#] {
            assert_eq!(read::<Large>(list.as_bytes()).unwrap_err().err_code, 10025, "{list}");
        }
    }

    #[test]
    fn some_requests_may_have_fields_that_nobody_knows() {
        let read = |text: &str| read_lenient::<Small>(text.as_bytes());
        assert_eq!(read(r#"{"count":3,"other":[1]}"#).unwrap().count, 3);
        assert_eq!(read("").unwrap(), Small::default());
        for wrong in [" ", "x", "[]", r#"{"count":"3","other":1}"#] {
            assert_eq!(read(wrong).unwrap_err().err_code, 10025, "{wrong}");
        }
    }

    #[test]
    fn an_empty_request_may_be_spelt_out() {
        assert!(is_empty_request(b"") && is_empty_request(b" {} ") && is_empty_request(b"{ }"));
        assert!(!is_empty_request(b"x") && !is_empty_request(b"[]") && !is_empty_request(br#"{"a":1}"#));
        assert!(!is_empty_request(b" "));
    }
}
