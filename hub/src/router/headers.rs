//! What a rule of a headers exchange asks of a record's headers, in RabbitMQ's terms.
//!
//! `x-match` says how: `all` (also if it is not given), `any`, and the same `-with-x`, which look at keys that start with `x-`
//! as well. An argument without value asks only for presence. Numbers compare by value.

use stele_model::value::{Arguments, Value};
use stele_record::table::{Table, Value as Header};

/// `x-match`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Every argument is met.
    #[default]
    All,
    /// At least one is.
    Any,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct HeaderMatch {
    mode: Mode,
    asked: Vec<(String, Value)>,
}

impl HeaderMatch {
    /// Reads a rule's arguments. `None`: `x-match` is none of the four words.
    #[must_use]
    pub fn of(arguments: &Arguments) -> Option<Self> {
        let (mode, with_x) = match arguments.get("x-match") {
            None => (Mode::All, false),
            Some(value) => match value.as_text()? {
                "all" => (Mode::All, false),
                "any" => (Mode::Any, false),
                "all-with-x" => (Mode::All, true),
                "any-with-x" => (Mode::Any, true),
                _ => return None,
            },
        };
        let counts = |name: &str| name != "x-match" && (with_x || !name.starts_with("x-"));
        let asked = arguments.iter().filter(|(name, _)| counts(name));
        Some(Self { mode, asked: asked.map(|(name, value)| (name.clone(), value.clone())).collect() })
    }

    /// Whether a record with these headers is taken.
    #[must_use]
    pub fn takes(&self, headers: Table<'_>) -> bool {
        let mut met = self.asked.iter().map(|(name, value)| {
            headers
                .find(name.as_bytes())
                .is_some_and(|header| matches!(value, Value::Void) || same(value, &header))
        });
        match self.mode {
            Mode::All => met.all(|met| met),
            Mode::Any => met.any(|met| met),
        }
    }
}

#[expect(clippy::float_cmp, reason = "a header matches only what it is exactly")]
fn same(asked: &Value, header: &Header<'_>) -> bool {
    match (asked, header) {
        (Value::Void, Header::Void) => true,
        (Value::Bool(a), Header::Bool(b)) => a == b,
        (Value::Int(a), Header::I64(b)) => a == b,
        (Value::Int(a), Header::U64(b)) => u64::try_from(*a) == Ok(*b),
        (Value::Float(a), Header::F64(b)) => a == b,
        (Value::Decimal { scale, digits }, Header::Decimal { scale: places, value }) => {
            scale == places && *digits == value.cast_signed()
        }
        (Value::Text(a), Header::Str(b)) => a.as_bytes() == *b,
        (Value::Bytes(a), Header::Str(b) | Header::Bytes(b)) => a == b,
        (Value::Timestamp(a), Header::Timestamp(b)) => a == b,
        (Value::List(a), Header::Array(b)) => {
            b.values().count() == a.len() && a.iter().zip(b.values()).all(|(a, b)| same(a, &b))
        }
        (Value::Table(a), Header::Table(b)) => {
            b.entries().count() == a.len()
                && a.iter()
                    .all(|(name, value)| b.find(name.as_bytes()).is_some_and(|other| same(value, &other)))
        }
        _ => false,
    }
}
