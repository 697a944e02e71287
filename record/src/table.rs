//! AMQP field tables and arrays, read in hub form and written from it.
//!
//! Type tags are RabbitMQ's (its errata to the specification: `s` is a 16-bit integer, `l` and `L` are both signed 64-bit),
//! and Qpid's unsigned ones. Called by the AMQP dialect (arguments and headers), the hub (headers exchange, CC), and every
//! dialect that shows a record's headers. What must hold: no length is believed before it is checked, depth is bounded by
//! [`DEPTH_MAX`], reading allocates nothing.

use crate::Damage;
use bytes::{BufMut, BytesMut};
use std::fmt;

/// How deep tables and arrays may be nested in one another. RabbitMQ states no limit; nothing in the wild is deeper than a few.
pub const DEPTH_MAX: u32 = 32;

/// One value in hub form.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// No value; the key alone counts.
    Void,
    /// True or false.
    Bool(bool),
    /// Any signed integer.
    I64(i64),
    /// Any unsigned integer.
    U64(u64),
    /// Any floating-point number.
    F64(f64),
    /// `value` divided by 10^`scale`.
    Decimal {
        /// Digits after the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// Text; AMQP does not promise that it is UTF-8.
    Str(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Seconds since the Unix epoch.
    Timestamp(u64),
    /// Nested entries.
    Table(Table<'a>),
    /// Nested values.
    Array(Array<'a>),
}

/// A table's bytes, without their length. Empty by default.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Table<'a>(&'a [u8]);

/// An array's bytes, without their length. Empty by default.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Array<'a>(&'a [u8]);

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("void"),
            Self::Bool(truth) => truth.fmt(f),
            Self::I64(number) => number.fmt(f),
            Self::U64(number) => number.fmt(f),
            Self::F64(number) => number.fmt(f),
            Self::Decimal { scale, value } => write!(f, "{value}e-{scale}"),
            Self::Str(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            Self::Bytes(bytes) => write!(f, "{bytes:x?}"),
            Self::Timestamp(seconds) => write!(f, "@{seconds}"),
            Self::Table(table) => table.fmt(f),
            Self::Array(array) => array.fmt(f),
        }
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries().map(|(name, value)| (Value::Str(name), value))).finish()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values()).finish()
    }
}

impl<'a> Table<'a> {
    /// A table of these bytes, not yet looked at.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes, without their length.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether every entry can be read, down to the innermost.
    ///
    /// # Errors
    /// What is wrong with the first that cannot.
    pub fn check(&self) -> Result<(), Damage> {
        check_entries(self.0, DEPTH_MAX)
    }

    /// The entries in order; ends early at damage.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries(self.0)
    }

    /// The first entry of this name.
    #[must_use]
    pub fn find(&self, name: &[u8]) -> Option<Value<'a>> {
        self.entries().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl<'a> Array<'a> {
    /// The values in order; ends early at damage.
    #[must_use]
    pub fn values(&self) -> Values<'a> {
        Values(self.0)
    }
}

/// Iterator over a table: name and value.
#[derive(Clone, Debug)]
pub struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = name(self.0).ok()?;
        let (value, rest) = value(rest).ok()?;
        self.0 = rest;
        Some((name, value))
    }
}

/// Iterator over an array.
#[derive(Clone, Debug)]
pub struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = value(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }
}

fn check_entries(mut rest: &[u8], depth: u32) -> Result<(), Damage> {
    let depth = depth.checked_sub(1).ok_or(Damage::Deep)?;
    while !rest.is_empty() {
        let (_, after_name) = name(rest)?;
        let (value, after) = value(after_name)?;
        check_value(&value, depth)?;
        rest = after;
    }
    Ok(())
}

fn check_values(mut rest: &[u8], depth: u32) -> Result<(), Damage> {
    let depth = depth.checked_sub(1).ok_or(Damage::Deep)?;
    while !rest.is_empty() {
        let (value, after) = value(rest)?;
        check_value(&value, depth)?;
        rest = after;
    }
    Ok(())
}

fn check_value(value: &Value<'_>, depth: u32) -> Result<(), Damage> {
    match value {
        Value::Table(table) => check_entries(table.0, depth),
        Value::Array(array) => check_values(array.0, depth),
        _ => Ok(()),
    }
}

fn name(input: &[u8]) -> Result<(&[u8], &[u8]), Damage> {
    let (len, rest) = input.split_first().ok_or(Damage::Short("table"))?;
    rest.split_at_checked(usize::from(*len)).ok_or(Damage::Short("table"))
}

/// One tagged value and what follows it.
fn value(input: &[u8]) -> Result<(Value<'_>, &[u8]), Damage> {
    let (tag, rest) = input.split_first().ok_or(Damage::Short("table"))?;
    Ok(match tag {
        b't' => fixed(rest, |[byte]| Value::Bool(byte != 0))?,
        b'b' => fixed(rest, |bytes| Value::I64(i8::from_be_bytes(bytes).into()))?,
        b'B' => fixed(rest, |bytes| Value::U64(u8::from_be_bytes(bytes).into()))?,
        b's' => fixed(rest, |bytes| Value::I64(i16::from_be_bytes(bytes).into()))?,
        b'u' => fixed(rest, |bytes| Value::U64(u16::from_be_bytes(bytes).into()))?,
        b'I' => fixed(rest, |bytes| Value::I64(i32::from_be_bytes(bytes).into()))?,
        b'i' => fixed(rest, |bytes| Value::U64(u32::from_be_bytes(bytes).into()))?,
        b'l' | b'L' => fixed(rest, |bytes| Value::I64(i64::from_be_bytes(bytes)))?,
        b'f' => fixed(rest, |bytes| Value::F64(f32::from_be_bytes(bytes).into()))?,
        b'd' => fixed(rest, |bytes| Value::F64(f64::from_be_bytes(bytes)))?,
        b'D' => fixed(rest, |[scale, value @ ..]: [u8; 5]| Value::Decimal {
            scale,
            value: u32::from_be_bytes(value),
        })?,
        b'T' => fixed(rest, |bytes| Value::Timestamp(u64::from_be_bytes(bytes)))?,
        b'S' => long(rest, Value::Str)?,
        b'x' => long(rest, Value::Bytes)?,
        b'F' => long(rest, |bytes| Value::Table(Table(bytes)))?,
        b'A' => long(rest, |bytes| Value::Array(Array(bytes)))?,
        b'V' => (Value::Void, rest),
        _ => return Err(Damage::Value("type of a table's field")),
    })
}

fn fixed<'a, const N: usize>(
    input: &'a [u8],
    form: impl FnOnce([u8; N]) -> Value<'a>,
) -> Result<(Value<'a>, &'a [u8]), Damage> {
    let (bytes, rest) = input.split_first_chunk::<N>().ok_or(Damage::Short("table"))?;
    Ok((form(*bytes), rest))
}

fn long<'a>(
    input: &'a [u8],
    form: impl FnOnce(&'a [u8]) -> Value<'a>,
) -> Result<(Value<'a>, &'a [u8]), Damage> {
    let (len, rest) = input.split_first_chunk::<4>().ok_or(Damage::Short("table"))?;
    let (bytes, rest) =
        rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or(Damage::Short("table"))?;
    Ok((form(bytes), rest))
}

/// Appends a table with its length; `fill` puts the entries in.
pub fn put_table(out: &mut BytesMut, fill: impl FnOnce(&mut TableWriter<'_>)) {
    with_length(out, |out| fill(&mut TableWriter { out }));
}

/// Appends an array with its length; `fill` appends the values.
fn put_array(out: &mut BytesMut, fill: impl FnOnce(&mut ArrayWriter<'_>)) {
    with_length(out, |out| fill(&mut ArrayWriter { out }));
}

fn with_length(out: &mut BytesMut, fill: impl FnOnce(&mut BytesMut)) {
    let at = out.len();
    out.put_u32(0);
    fill(out);
    let len = u32::try_from(out.len() - at - 4).expect("a table is shorter than 4 GiB");
    out[at..at + 4].copy_from_slice(&len.to_be_bytes());
}

/// Puts entries into a table. Names have at most 255 bytes.
#[derive(Debug)]
pub struct TableWriter<'a> {
    out: &'a mut BytesMut,
}

impl TableWriter<'_> {
    /// One entry.
    pub fn entry(&mut self, name: &[u8], value: Value<'_>) {
        self.name(name);
        put_value(self.out, value);
    }

    /// One entry that is a text.
    pub fn text(&mut self, name: &str, text: impl AsRef<[u8]>) {
        self.entry(name.as_bytes(), Value::Str(text.as_ref()));
    }

    /// One entry that is a table.
    pub fn table(&mut self, name: &str, fill: impl FnOnce(&mut TableWriter<'_>)) {
        self.name(name.as_bytes());
        self.out.put_u8(b'F');
        put_table(self.out, fill);
    }

    /// One entry that is an array.
    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut ArrayWriter<'_>)) {
        self.name(name.as_bytes());
        self.out.put_u8(b'A');
        put_array(self.out, fill);
    }

    /// Entries of another table for which `keep` says so, byte for byte.
    pub fn copy(&mut self, table: Table<'_>, keep: impl Fn(&[u8]) -> bool) {
        let mut entries = table.entries();
        loop {
            let before = entries.0;
            let Some((name, _)) = entries.next() else { break };
            if keep(name) {
                self.out.put_slice(&before[..before.len() - entries.0.len()]);
            }
        }
    }

    fn name(&mut self, name: &[u8]) {
        self.out.put_u8(u8::try_from(name.len()).expect("a name in a table has at most 255 bytes"));
        self.out.put_slice(name);
    }
}

/// Puts values into an array.
#[derive(Debug)]
pub struct ArrayWriter<'a> {
    out: &'a mut BytesMut,
}

impl ArrayWriter<'_> {
    /// One value.
    pub fn value(&mut self, value: Value<'_>) {
        put_value(self.out, value);
    }

    /// One value that is a table.
    pub fn table(&mut self, fill: impl FnOnce(&mut TableWriter<'_>)) {
        self.out.put_u8(b'F');
        put_table(self.out, fill);
    }
}

/// Appends tag and value. Integers take 64 bits, as RabbitMQ's own headers do; an unsigned one above `i64::MAX`, which AMQP
/// cannot say, becomes its decimal digits.
fn put_value(out: &mut BytesMut, value: Value<'_>) {
    match value {
        Value::Void => out.put_u8(b'V'),
        Value::Bool(value) => out.put_slice(&[b't', u8::from(value)]),
        Value::I64(value) => {
            out.put_u8(b'l');
            out.put_i64(value);
        }
        Value::U64(value) => match i64::try_from(value) {
            Ok(value) => put_value(out, Value::I64(value)),
            Err(_) => put_long(out, b'S', value.to_string().as_bytes()),
        },
        Value::F64(value) => {
            out.put_u8(b'd');
            out.put_f64(value);
        }
        Value::Decimal { scale, value } => {
            out.put_slice(&[b'D', scale]);
            out.put_u32(value);
        }
        Value::Str(bytes) => put_long(out, b'S', bytes),
        Value::Bytes(bytes) => put_long(out, b'x', bytes),
        Value::Timestamp(seconds) => {
            out.put_u8(b'T');
            out.put_u64(seconds);
        }
        Value::Table(Table(bytes)) => put_long(out, b'F', bytes),
        Value::Array(Array(bytes)) => put_long(out, b'A', bytes),
    }
}

fn put_long(out: &mut BytesMut, tag: u8, bytes: &[u8]) {
    out.put_u8(tag);
    out.put_u32(u32::try_from(bytes.len()).expect("a field is shorter than 4 GiB"));
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(fill: impl FnOnce(&mut TableWriter<'_>)) -> BytesMut {
        let mut out = BytesMut::new();
        put_table(&mut out, fill);
        let (len, rest) = out.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*len) as usize, rest.len());
        out.split_off(4)
    }

    #[test]
    fn every_type_tag_of_rabbitmq_is_read() {
        let cases: [(&[u8], Value<'_>); 18] = [
            (&[b't', 1], Value::Bool(true)),
            (&[b'b', 0xff], Value::I64(-1)),
            (&[b'B', 0xff], Value::U64(255)),
            (&[b's', 0xff, 0xfe], Value::I64(-2)),
            (&[b'u', 0xff, 0xfe], Value::U64(65_534)),
            (&[b'I', 0xff, 0xff, 0xff, 0xfd], Value::I64(-3)),
            (&[b'i', 0, 0, 1, 0], Value::U64(256)),
            (&[b'l', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Value::I64(-1)),
            (&[b'L', 0, 0, 0, 0, 0, 0, 0, 9], Value::I64(9)),
            (&[b'f', 0x3f, 0x80, 0, 0], Value::F64(1.0)),
            (&[b'd', 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Value::F64(1.0)),
            (&[b'D', 2, 0, 0, 0, 5], Value::Decimal { scale: 2, value: 5 }),
            (&[b'S', 0, 0, 0, 1, b'x'], Value::Str(b"x")),
            (&[b'x', 0, 0, 0, 1, 7], Value::Bytes(&[7])),
            (&[b'A', 0, 0, 0, 1, b'V'], Value::Array(Array(b"V"))),
            (&[b'T', 0, 0, 0, 0, 0, 0, 0, 1], Value::Timestamp(1)),
            (&[b'F', 0, 0, 0, 3, 1, b'a', b'V'], Value::Table(Table(b"\x01aV"))),
            (b"V", Value::Void),
        ];
        for (bytes, expected) in cases {
            assert_eq!(value(bytes), Ok((expected, &[][..])), "{bytes:?}");
            let table = [b"\x01k", bytes].concat();
            assert_eq!(Table::of(&table).check(), Ok(()));
            assert_eq!(Table::of(&table).find(b"k"), Some(expected));
            for short in 1..table.len() {
                assert!(Table::of(&table[..short]).check().is_err(), "{short} of {table:?}");
            }
        }
        assert_eq!(Table::of(b"\x01kQ").check(), Err(Damage::Value("type of a table's field")));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut bytes = vec![];
        for depth in 1..=DEPTH_MAX + 1 {
            let expected = if depth <= DEPTH_MAX { Ok(()) } else { Err(Damage::Deep) };
            assert_eq!(Table::of(&bytes).check(), expected, "depth {depth}");
            let len = u32::try_from(bytes.len()).unwrap();
            bytes = [&b"\x01aF"[..], &len.to_be_bytes(), &bytes].concat();
        }
    }

    #[test]
    fn a_copy_keeps_the_bytes_of_what_it_keeps() {
        let source = [&b"\x01as\x00\x07"[..], b"\x03BCCV", b"\x01bV"].concat();
        let copy = written(|table| table.copy(Table::of(&source), |name| name != b"BCC"));
        assert_eq!(copy[..], b"\x01as\x00\x07\x01bV"[..]);
    }

    #[test]
    fn an_unsigned_number_beyond_amqp_becomes_its_digits() {
        let bytes = written(|table| table.entry(b"n", Value::U64(u64::MAX)));
        assert_eq!(Table::of(&bytes).find(b"n"), Some(Value::Str(b"18446744073709551615")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(number: i64, text in prop::collection::vec(any::<u8>(), 0..40), truth: bool) {
            let bytes = written(|table| {
                table.entry(b"number", Value::I64(number));
                table.table("inner", |inner| inner.entry(b"text", Value::Str(&text)));
                table.array("array", |array| { array.value(Value::Bool(truth)); array.value(Value::Void); });
            });
            let table = Table::of(&bytes);
            prop_assert_eq!(table.check(), Ok(()));
            prop_assert_eq!(table.find(b"number"), Some(Value::I64(number)));
            let Some(Value::Table(inner)) = table.find(b"inner") else { panic!() };
            prop_assert_eq!(inner.find(b"text"), Some(Value::Str(&text)));
            let Some(Value::Array(array)) = table.find(b"array") else { panic!() };
            prop_assert_eq!(array.values().collect::<Vec<_>>(), vec![Value::Bool(truth), Value::Void]);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let table = Table::of(&bytes);
            let checked = table.check().is_ok();
            let read: usize = table.entries().count();
            prop_assert!(!checked || read > 0 || bytes.is_empty());
        }
    }
}
