//! From AMQP's tables to the values that dialects share, and names that the server makes up.

use stele_model::value::{Arguments, Value};
use stele_record::table::{Table, Value as Field};

/// The arguments of a declaration. Names and texts that are not UTF-8 get replacement characters. The table was checked.
pub(super) fn arguments(table: Table<'_>) -> Arguments {
    table.entries().map(|(name, field)| (text(name), value(field))).collect()
}

fn value(field: Field<'_>) -> Value {
    match field {
        Field::Void => Value::Void,
        Field::Bool(bool) => Value::Bool(bool),
        Field::I64(number) => Value::Int(number),
        Field::U64(number) => {
            Value::Int(i64::try_from(number).expect("AMQP has no unsigned number of 64 bits"))
        }
        Field::F64(number) => Value::Float(number),
        // The specification's decimals are signed, RabbitMQ reads them unsigned: the bits are the same.
        Field::Decimal { scale, value } => Value::Decimal { scale, digits: value.cast_signed() },
        Field::Str(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        },
        Field::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Field::Timestamp(seconds) => Value::Timestamp(seconds),
        Field::Array(array) => Value::List(array.values().map(value).collect()),
        Field::Table(table) => Value::Table(arguments(table)),
    }
}

/// RabbitMQ's word for a value's type. Of its many integers the widest stands for all.
pub(super) fn type_name(field: &Field<'_>) -> &'static str {
    match field {
        Field::Void => "void",
        Field::Bool(_) => "bool",
        Field::I64(_) => "long",
        Field::U64(_) => "unsignedint",
        Field::F64(_) => "double",
        Field::Decimal { .. } => "decimal",
        Field::Str(_) => "longstr",
        Field::Bytes(_) => "binary",
        Field::Timestamp(_) => "timestamp",
        Field::Table(_) => "table",
        Field::Array(_) => "array",
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A name that no other connection makes up, as far as `seed` differs. The mixing is splitmix64's, so that neighbouring seeds do
/// not look alike; it protects nothing.
pub(super) fn made_up_name(prefix: &str, seed: u64, number: u64) -> String {
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    format!("{prefix}{:016x}{number:x}", mixed ^ (mixed >> 31))
}
