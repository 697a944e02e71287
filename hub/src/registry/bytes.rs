//! Reading and writing the pieces that registry entries are made of (`docs/format-registry.md`): little-endian numbers,
//! strings with a u32 length, lists with a u32 count, tagged values.
//!
//! What must hold: no length is believed before it is checked; nesting is bounded by [`DEPTH_MAX`].

use bytes::{BufMut, Bytes, BytesMut};
use stele_model::value::{Arguments, Value};

/// How deep lists and tables in arguments may be nested. As deep as `stele_record::table` reads them.
pub(crate) const DEPTH_MAX: u32 = 32;

/// What was wrong, for the report of a damaged or foreign log.
pub(crate) type Wrong = String;

/// Appends to an entry.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) BytesMut);

impl Writer {
    pub(crate) fn u8(&mut self, number: u8) {
        self.0.put_u8(number);
    }

    pub(crate) fn u16(&mut self, number: u16) {
        self.0.put_u16_le(number);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.0.put_u32_le(number);
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.0.put_u64_le(number);
    }

    pub(crate) fn i64(&mut self, number: i64) {
        self.0.put_i64_le(number);
    }

    pub(crate) fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        self.0.put_slice(&bytes);
    }

    pub(crate) fn bool(&mut self, is: bool) {
        self.0.put_u8(u8::from(is));
    }

    pub(crate) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).expect("definitions are bounded far below 4 Gi"));
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.put_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// Something that may be absent: a byte that says so, then it.
    pub(crate) fn maybe<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    pub(crate) fn arguments(&mut self, arguments: &Arguments) {
        self.count(arguments.len());
        for (name, value) in arguments {
            self.text(name);
            self.value(value);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Void => self.u8(0),
            Value::Bool(is) => {
                self.u8(1);
                self.bool(*is);
            }
            Value::Int(number) => {
                self.u8(2);
                self.i64(*number);
            }
            Value::Float(number) => {
                self.u8(3);
                self.u64(number.to_bits());
            }
            Value::Decimal { scale, digits } => {
                self.u8(4);
                self.u8(*scale);
                self.u32(digits.cast_unsigned());
            }
            Value::Text(text) => {
                self.u8(5);
                self.text(text);
            }
            Value::Bytes(bytes) => {
                self.u8(6);
                self.bytes(bytes);
            }
            Value::Timestamp(seconds) => {
                self.u8(7);
                self.u64(*seconds);
            }
            Value::List(values) => {
                self.u8(8);
                self.count(values.len());
                values.iter().for_each(|value| self.value(value));
            }
            Value::Table(table) => {
                self.u8(9);
                self.arguments(table);
            }
        }
    }
}

/// Takes an entry apart from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let (array, rest) = self.0.split_first_chunk::<N>().ok_or("entry ends early")?;
        self.0 = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Wrong> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Wrong> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Wrong> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Wrong> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Wrong> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn bool(&mut self) -> Result<bool, Wrong> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("{other} where 0 or 1 was expected")),
        }
    }

    /// A count of things of at least one byte each: never more than there are bytes.
    pub(crate) fn count(&mut self) -> Result<usize, Wrong> {
        let count = self.u32()? as usize;
        if count <= self.0.len() { Ok(count) } else { Err(format!("count {count} is larger than the entry")) }
    }

    fn slice(&mut self) -> Result<&[u8], Wrong> {
        let len = self.count()?;
        let (slice, rest) = self.0.split_at_checked(len).ok_or("entry ends early")?;
        self.0 = rest;
        Ok(slice)
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes, Wrong> {
        self.slice().map(Bytes::copy_from_slice)
    }

    pub(crate) fn text(&mut self) -> Result<String, Wrong> {
        String::from_utf8(self.slice()?.to_vec()).map_err(|_| "text is not UTF-8".into())
    }

    pub(crate) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Wrong>,
    ) -> Result<Option<T>, Wrong> {
        if self.bool()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(crate) fn arguments(&mut self) -> Result<Arguments, Wrong> {
        self.arguments_within(DEPTH_MAX)
    }

    fn arguments_within(&mut self, depth: u32) -> Result<Arguments, Wrong> {
        let depth = depth.checked_sub(1).ok_or("arguments are nested too deeply")?;
        let mut arguments = Arguments::new();
        for _ in 0..self.count()? {
            let name = self.text()?;
            let value = self.value(depth)?;
            arguments.insert(name, value);
        }
        Ok(arguments)
    }

    fn value(&mut self, depth: u32) -> Result<Value, Wrong> {
        Ok(match self.u8()? {
            0 => Value::Void,
            1 => Value::Bool(self.bool()?),
            2 => Value::Int(self.i64()?),
            3 => Value::Float(f64::from_bits(self.u64()?)),
            4 => Value::Decimal { scale: self.u8()?, digits: self.u32()?.cast_signed() },
            5 => Value::Text(self.text()?),
            6 => Value::Bytes(self.bytes()?.into()),
            7 => Value::Timestamp(self.u64()?),
            8 => {
                let depth = depth.checked_sub(1).ok_or("arguments are nested too deeply")?;
                let count = self.count()?;
                Value::List((0..count).map(|_| self.value(depth)).collect::<Result<_, _>>()?)
            }
            9 => Value::Table(self.arguments_within(depth)?),
            other => return Err(format!("value of unknown type {other}")),
        })
    }
}

/// Whether arguments are nested no deeper than [`Reader::arguments`] reads.
#[must_use]
pub(crate) fn is_shallow(arguments: &Arguments) -> bool {
    fn table(arguments: &Arguments, depth: u32) -> bool {
        depth > 0 && arguments.values().all(|inner| value(inner, depth - 1))
    }
    fn value(inner: &Value, depth: u32) -> bool {
        match inner {
            Value::List(values) => depth > 0 && values.iter().all(|inner| value(inner, depth - 1)),
            Value::Table(inner) => table(inner, depth),
            _ => true,
        }
    }
    table(arguments, DEPTH_MAX)
}
