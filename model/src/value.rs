//! Values of headers and arguments in the form that dialects and core share.
//!
//! Dialects turn their own tagged values into these at the edge. What is not here: the wire forms.

use std::collections::BTreeMap;

/// A header's or an argument's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Present without a value (AMQP: void).
    Void,
    /// True or false.
    Bool(bool),
    /// Any whole number; AMQP's many widths are one, since they compare by value.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A decimal: `digits` × 10^−`scale`.
    Decimal {
        /// Number of digits after the point.
        scale: u8,
        /// The digits as a whole number.
        digits: i32,
    },
    /// Text. Bytes that are not UTF-8 are [`Value::Bytes`].
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// A list.
    List(Vec<Value>),
    /// A table.
    Table(Arguments),
}

/// Named values, in the order of their names.
pub type Arguments = BTreeMap<String, Value>;

impl Value {
    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }
}
