//! The types of method arguments (section 4.2.5), and a reader and a writer that pack bits the way the wire does.

use super::Violation;
use bytes::{BufMut, BytesMut};
use std::fmt;
use stele_record::table::Table;

/// A short string: at most 255 octets, usually a name.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ShortStr<'a>(pub &'a [u8]);

/// A long string: text or bytes.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct LongStr<'a>(pub &'a [u8]);

/// A long string that is never printed.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Secret<'a>(pub &'a [u8]);

impl fmt::Debug for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}

impl fmt::Debug for LongStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl<'a> ShortStr<'a> {
    /// As many octets as a short string holds. Names that clients give fit; a dead-letter key comes from an argument, which may be
    /// of any length.
    #[must_use]
    pub fn cut(octets: &'a [u8]) -> Self {
        Self(octets.get(..255).unwrap_or(octets))
    }

    /// The text; octets that are not UTF-8 become replacement characters (RabbitMQ does not require UTF-8; names that differ
    /// only in such octets are one name here).
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }
}

/// Something that can stand in a method.
pub trait Field<'a>: Sized {
    /// Takes it from the reader.
    ///
    /// # Errors
    /// [`Violation::Syntax`] if it is not there.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Violation>;

    /// Appends it.
    fn write(&self, writer: &mut Writer<'_>);
}

/// Takes fields from a method's payload.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// What is left of an octet of bits: the octet, and how many of its bits were taken.
    bits: Option<(u8, u8)>,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `payload`.
    #[must_use]
    pub fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload, bits: None }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Violation> {
        self.bits = None;
        let (field, rest) = self.rest.split_at_checked(len).ok_or(Violation::Syntax("method"))?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        self.bits = None;
        let (field, rest) = self.rest.split_first_chunk::<N>().ok_or(Violation::Syntax("method"))?;
        self.rest = rest;
        Ok(*field)
    }

    fn bit(&mut self) -> Result<bool, Violation> {
        let (octet, taken) = match self.bits {
            Some((octet, taken)) if taken < 8 => (octet, taken),
            _ => {
                let [octet] = self.array()?;
                (octet, 0)
            }
        };
        self.bits = Some((octet, taken + 1));
        Ok(octet & (1 << taken) != 0)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`Violation::Syntax`] if something is.
    pub fn end(self) -> Result<(), Violation> {
        if self.rest.is_empty() { Ok(()) } else { Err(Violation::Syntax("method: octets are left over")) }
    }
}

/// Appends fields to a method's payload.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
    /// How many bits of the last octet are used; 0 if it is not an octet of bits.
    bits: u8,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out, bits: 0 }
    }

    fn octets(&mut self) -> &mut BytesMut {
        self.bits = 0;
        self.out
    }

    fn bit(&mut self, bit: bool) {
        if self.bits == 0 || self.bits == 8 {
            self.out.put_u8(0);
            self.bits = 0;
        }
        if let Some(last) = self.out.last_mut() {
            *last |= u8::from(bit) << self.bits;
        }
        self.bits += 1;
    }
}

impl Field<'_> for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
        reader.bit()
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.bit(*self);
    }
}

macro_rules! number {
    ($($of:ty),*) => {$(
        impl Field<'_> for $of {
            fn read(reader: &mut Reader<'_>) -> Result<Self, Violation> {
                Ok(Self::from_be_bytes(reader.array()?))
            }

            fn write(&self, writer: &mut Writer<'_>) {
                writer.octets().put_slice(&self.to_be_bytes());
            }
        }
    )*};
}
number!(u8, u16, u32, u64);

fn read_long<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Violation> {
    let len = u32::read(reader)?;
    reader.take(len as usize)
}

fn write_long(bytes: &[u8], writer: &mut Writer<'_>) {
    u32::try_from(bytes.len()).expect("what we send is shorter than frame_max").write(writer);
    writer.octets().put_slice(bytes);
}

impl<'a> Field<'a> for ShortStr<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let len = u8::read(reader)?;
        Ok(Self(reader.take(usize::from(len))?))
    }

    fn write(&self, writer: &mut Writer<'_>) {
        u8::try_from(self.0.len()).expect("a short string has at most 255 octets").write(writer);
        writer.octets().put_slice(self.0);
    }
}

impl<'a> Field<'a> for LongStr<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        read_long(reader).map(Self)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        write_long(self.0, writer);
    }
}

impl<'a> Field<'a> for Secret<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        read_long(reader).map(Self)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        write_long(self.0, writer);
    }
}

impl<'a> Field<'a> for Table<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Violation> {
        let table = Table::of(read_long(reader)?);
        table.check().map_err(|_| Violation::Syntax("field table"))?;
        Ok(table)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        write_long(self.bytes(), writer);
    }
}
