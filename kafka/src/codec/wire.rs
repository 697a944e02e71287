//! The primitive types of Kafka's protocol, in both encodings: fixed lengths (int16, int32) before a message's first flexible
//! version, unsigned varints of length + 1 from it on.
//!
//! Called by the generated messages and by the hand-written readers beside them. What must hold: no length is believed before it
//! is compared with the octets that are left, a count reserves no memory by itself, nothing panics on input. Not here: which
//! field stands in which version (the tables in `generated`).

use super::Malformed;
use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// Text of a message: borrowed when read, either when written.
pub type Text<'a> = Cow<'a, str>;

/// Most elements of arrays in one message, all together. A client's message of the size limit could otherwise claim structures of
/// many times its size in memory.
pub const ELEMENTS_MAX: u32 = 1 << 18;
/// First room for the elements of an array; more comes as they are read.
const ELEMENTS_FIRST: usize = 64;
/// Most tagged fields of one structure.
const TAGS_MAX: u32 = 1024;

/// A topic's identity: 16 octets, all zero for "none".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Uuid(pub [u8; 16]);

/// What can stand in a message.
pub trait Wire<'a>: Sized {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Malformed`] if octets are missing or a length does not fit them.
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed>;

    /// Appends the value.
    fn write(&self, writer: &mut Writer<'_>);
}

/// What can be null.
pub trait Nullable<'a>: Wire<'a> + Default {
    /// As [`Wire::read`], but null is a value too.
    ///
    /// # Errors
    /// As [`Wire::read`].
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed>;

    /// Appends the value, or null.
    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>);
}

/// Where in a message we are.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// The message's version.
    pub version: i16,
    /// The version is a flexible one.
    pub flexible: bool,
    elements_left: u32,
}

impl<'a> Reader<'a> {
    /// At the start of `octets`.
    #[must_use]
    pub fn new(octets: &'a [u8], version: i16, flexible: bool) -> Self {
        Self { rest: octets, version, flexible, elements_left: ELEMENTS_MAX }
    }

    /// What was not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` octets.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Malformed("short"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed("short"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// An unsigned varint of at most 32 bits.
    ///
    /// # Errors
    /// If it is short or longer.
    pub fn uvarint(&mut self) -> Result<u32, Malformed> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let [octet] = self.chunk()?;
            let bits = u32::from(octet & 0x7f);
            if shift == 28 && octet > 0x0f {
                break;
            }
            value |= bits << shift;
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("varint"))
    }

    /// The length before a text: `None` is null.
    fn text_len(&mut self) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        length(i32::from(i16::read(self)?))
    }

    /// The length before octets or an array: `None` is null.
    pub(crate) fn long_len(&mut self) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok((self.uvarint()? as usize).checked_sub(1));
        }
        length(i32::read(self)?)
    }

    /// The count before an array: `None` is null. Every element has at least one octet.
    pub(crate) fn count(&mut self) -> Result<Option<usize>, Malformed> {
        let Some(count) = self.long_len()? else { return Ok(None) };
        if count > self.rest.len() {
            return Err(Malformed("array length"));
        }
        let left = u32::try_from(count).ok().and_then(|count| self.elements_left.checked_sub(count));
        self.elements_left = left.ok_or(Malformed("array lengths"))?;
        Ok(Some(count))
    }

    /// The tagged fields at the end of a structure: `known` reads those it knows and says so; the others are skipped.
    ///
    /// # Errors
    /// If they do not fit their lengths.
    pub fn tags(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        let count = self.uvarint()?;
        if count > TAGS_MAX {
            return Err(Malformed("tagged fields"));
        }
        for _ in 0..count {
            let tag = self.uvarint()?;
            let len = self.uvarint()? as usize;
            let mut inner = Self { rest: self.take(len)?, ..*self };
            known(tag, &mut inner)?;
            self.elements_left = inner.elements_left;
        }
        Ok(())
    }
}

/// −1 is null, everything below is nonsense.
fn length(len: i32) -> Result<Option<usize>, Malformed> {
    match len {
        -1 => Ok(None),
        _ => usize::try_from(len).map(Some).map_err(|_| Malformed("negative length")),
    }
}

/// Where a message goes.
#[derive(Debug)]
pub struct Writer<'b> {
    /// The octets so far, and what stood before them.
    pub out: &'b mut BytesMut,
    /// The message's version.
    pub version: i16,
    /// The version is a flexible one.
    pub flexible: bool,
}

impl Writer<'_> {
    /// An unsigned varint.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.out.put_u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.out.put_u8(value.to_le_bytes()[0]);
    }

    fn text_len(&mut self, len: Option<usize>) {
        if self.flexible {
            self.long_len(len);
        } else {
            self.out.put_i16(len.map_or(-1, |len| i16::try_from(len).expect("texts were cut")));
        }
    }

    /// The length before octets or an array; `None` is null.
    ///
    /// # Panics
    /// If it is over 2^31 - 2.
    pub fn long_len(&mut self, len: Option<usize>) {
        let len = len.map_or(-1, |len| i32::try_from(len).expect("no message is that long"));
        if self.flexible {
            self.uvarint((len + 1).cast_unsigned());
        } else {
            self.out.put_i32(len);
        }
    }
}

/// Tagged fields on their way out, in ascending order of their tags.
#[derive(Debug, Default)]
pub struct Tags {
    count: u32,
    octets: BytesMut,
}

impl Tags {
    /// Adds one.
    pub fn put<'a>(&mut self, tag: u32, value: &impl Wire<'a>, like: &Writer<'_>) {
        let (version, flexible) = (like.version, like.flexible);
        let mut inner = BytesMut::new();
        value.write(&mut Writer { out: &mut inner, version, flexible });
        let mut writer = Writer { out: &mut self.octets, version, flexible };
        writer.uvarint(tag);
        writer.uvarint(u32::try_from(inner.len()).expect("a tagged field is small"));
        self.octets.extend_from_slice(&inner);
        self.count += 1;
    }

    /// Appends them.
    pub fn end(self, writer: &mut Writer<'_>) {
        if writer.flexible {
            writer.uvarint(self.count);
            writer.out.extend_from_slice(&self.octets);
        }
    }
}

macro_rules! numbers {
    ($($of:ty: $put:ident),*) => {$(
        impl<'a> Wire<'a> for $of {
            fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
                reader.chunk().map(Self::from_be_bytes)
            }
            fn write(&self, writer: &mut Writer<'_>) {
                writer.out.$put(*self);
            }
        }
    )*};
}

numbers!(i8: put_i8, i16: put_i16, u16: put_u16, i32: put_i32, u32: put_u32, i64: put_i64, f64: put_f64);

impl<'a> Wire<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(i8::read(reader)? != 0)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.out.put_u8(u8::from(*self));
    }
}

impl<'a> Wire<'a> for Uuid {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.chunk().map(Self)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.out.put_slice(&self.0);
    }
}

/// Not null.
fn some<T>(value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed("null"))
}

impl<'a> Wire<'a> for Text<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        some(Self::read_nullable(reader)?)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        Self::write_nullable(Some(self), writer);
    }
}

impl<'a> Nullable<'a> for Text<'a> {
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let Some(len) = reader.text_len()? else { return Ok(None) };
        let text = std::str::from_utf8(reader.take(len)?).map_err(|_| Malformed("text"))?;
        Ok(Some(Cow::Borrowed(text)))
    }

    /// A text of more than 32 767 octets is cut: names are shorter, so it can only be an explanation.
    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>) {
        let text = value.map(|text| &text[..text.floor_char_boundary(i16::MAX as usize)]);
        writer.text_len(text.map(str::len));
        writer.out.put_slice(text.unwrap_or_default().as_bytes());
    }
}

impl<'a> Wire<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        some(Self::read_nullable(reader)?)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        Self::write_nullable(Some(self), writer);
    }
}

impl<'a> Nullable<'a> for &'a [u8] {
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        match reader.long_len()? {
            Some(len) => reader.take(len).map(Some),
            None => Ok(None),
        }
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>) {
        writer.long_len(value.map(|octets| octets.len()));
        writer.out.put_slice(value.copied().unwrap_or_default());
    }
}

impl<'a, T: Wire<'a>> Wire<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        some(Self::read_nullable(reader)?)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        Self::write_nullable(Some(self), writer);
    }
}

impl<'a, T: Wire<'a>> Nullable<'a> for Vec<T> {
    fn read_nullable(reader: &mut Reader<'a>) -> Result<Option<Self>, Malformed> {
        let Some(count) = reader.count()? else { return Ok(None) };
        let mut elements = Self::with_capacity(count.min(ELEMENTS_FIRST));
        for _ in 0..count {
            elements.push(T::read(reader)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, writer: &mut Writer<'_>) {
        writer.long_len(value.map(Vec::len));
        for element in value.into_iter().flatten() {
            element.write(writer);
        }
    }
}

impl<'a, T: Nullable<'a>> Wire<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        T::read_nullable(reader)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        T::write_nullable(self.as_ref(), writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<'a>(value: &impl Wire<'a>, flexible: bool) -> BytesMut {
        let mut out = BytesMut::new();
        value.write(&mut Writer { out: &mut out, version: 0, flexible });
        out
    }

    #[test]
    fn lengths_have_two_encodings() {
        let text = Text::from("ab");
        assert_eq!(written(&text, false)[..], *b"\0\x02ab");
        assert_eq!(written(&text, true)[..], *b"\x03ab");
        assert_eq!(written(&None::<Text<'_>>, false)[..], *b"\xff\xff");
        assert_eq!(written(&None::<Text<'_>>, true)[..], *b"\0");
        assert_eq!(written(&vec![1_i8, 2], false)[..], *b"\0\0\0\x02\x01\x02");
        assert_eq!(written(&vec![7_i8; 200], true)[..2], *b"\xc9\x01");
    }

    #[test]
    fn no_count_is_believed() {
        let hostile = [0x7f, 0xff, 0xff, 0xff, 1, 2, 3];
        let array = Vec::<i8>::read(&mut Reader::new(&hostile, 0, false));
        assert_eq!(array, Err(Malformed("array length")));
        assert_eq!(<&[u8]>::read(&mut Reader::new(&hostile, 0, false)), Err(Malformed("short")));
        assert_eq!(Vec::<i8>::read(&mut Reader::new(&[0x80; 9], 0, true)), Err(Malformed("varint")));
        assert!(Vec::<i8>::read(&mut Reader::new(&[0xff, 0xff, 0xff, 0xfe], 0, false)).is_err());
    }

    #[test]
    fn many_small_elements_are_refused_before_they_cost_memory() {
        let mut octets = vec![0, 8, 0, 0];
        octets.resize(1 << 20, 0);
        let array = Vec::<i8>::read(&mut Reader::new(&octets, 0, false));
        assert_eq!(array, Err(Malformed("array lengths")));
    }

    #[test]
    fn varints_of_more_than_32_bits_are_refused() {
        let read = |octets: &[u8]| Reader::new(octets, 0, true).uvarint();
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
        assert!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]).is_err());
        assert!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]).is_err());
    }
}
