//! Decimals as JSON strings: `#[serde(with = "stele_bus::decimal")]`.
//!
//! MassTransit writes every decimal as a string and reads a string or a number; so does this, for any type that is `Display` and
//! `FromStr` (a decimal type of your choice). A number is read through its shortest decimal spelling, so `12.30` arrives as `12.3`.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Bill {
//!     #[serde(with = "stele_bus::decimal")]
//!     amount: f64, // or a decimal type
//! }
//!
//! assert_eq!(serde_json::to_string(&Bill { amount: 12.5 })?, r#"{"amount":"12.5"}"#);
//! for text in [r#"{"amount":"12.5"}"#, r#"{"amount":12.5}"#] {
//!     assert_eq!(serde_json::from_str::<Bill>(text)?.amount, 12.5);
//! }
//! # Ok::<_, serde_json::Error>(())
//! ```

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Write as a string.
pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Read a string or a number.
pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error>
where
    T::Err: Display,
{
    deserializer.deserialize_any(Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr> Text<T>
where
    T::Err: Display,
{
    fn parse<E: Error>(text: &str) -> Result<T, E> {
        text.parse().map_err(|error| E::custom(format!("not a decimal: {text:?}: {error}")))
    }
}

impl<T: FromStr> Visitor<'_> for Text<T>
where
    T::Err: Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal as a string or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Self::parse(text)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Self::parse(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Self::parse(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        Self::parse(&number.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Priced(#[serde(with = "super")] f64);

    #[test]
    fn a_decimal_is_written_as_a_string_and_read_from_either() {
        assert_eq!(serde_json::to_string(&Priced(12.5)).unwrap(), r#""12.5""#);
        for json in [r#""12.5""#, "12.5"] {
            assert_eq!(serde_json::from_str::<Priced>(json).unwrap(), Priced(12.5));
        }
        assert!(serde_json::from_str::<Priced>(r#""twelve""#).is_err());
    }
}
