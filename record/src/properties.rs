//! The properties of an AMQP 0-9-1 content header (spec 4.2.6.1 and the class `basic`): flags, then the fields they announce.
//!
//! Called by the AMQP dialect for every publish ([`Properties::parse`] is the check), and by whoever wants a field of a record
//! that came in that way. What must hold: one pass, no allocation, fields are slices of the input.

use crate::Damage;
use crate::table::Table;
use bytes::{BufMut, BytesMut};

/// One property of the class `basic`, in the order of the wire. The discriminant is its index there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Property {
    /// MIME type, text.
    ContentType,
    /// Text.
    ContentEncoding,
    /// Field table.
    Headers,
    /// One byte: 1 transient, 2 persistent.
    DeliveryMode,
    /// One byte.
    Priority,
    /// Text.
    CorrelationId,
    /// Text.
    ReplyTo,
    /// Time to live in ms, as decimal digits.
    Expiration,
    /// Text.
    MessageId,
    /// Eight bytes: seconds since the Unix epoch.
    Timestamp,
    /// Text.
    Type,
    /// Text; must be the connection's user.
    UserId,
    /// Text.
    AppId,
    /// Text; deprecated by the specification, passed on.
    ClusterId,
}

const COUNT: usize = 14;
const _: () = assert!(Property::ClusterId as usize + 1 == COUNT);

/// How a property stands on the wire.
enum Form {
    Text,
    Table,
    Byte,
    Long,
}

impl Property {
    const ALL: [Self; COUNT] = [
        Self::ContentType,
        Self::ContentEncoding,
        Self::Headers,
        Self::DeliveryMode,
        Self::Priority,
        Self::CorrelationId,
        Self::ReplyTo,
        Self::Expiration,
        Self::MessageId,
        Self::Timestamp,
        Self::Type,
        Self::UserId,
        Self::AppId,
        Self::ClusterId,
    ];

    /// Its bit in the property flags: the first property has the highest; bits 1 and 0 belong to none.
    fn bit(self) -> u16 {
        0x8000 >> self as u16
    }

    fn form(self) -> Form {
        match self {
            Self::Headers => Form::Table,
            Self::DeliveryMode | Self::Priority => Form::Byte,
            Self::Timestamp => Form::Long,
            _ => Form::Text,
        }
    }
}

/// The fields of a property list, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    flags: u16,
    fields: [&'a [u8]; COUNT],
}

impl<'a> Properties<'a> {
    /// Reads flags and fields, which must be all of `bytes`.
    ///
    /// # Errors
    /// [`Damage`] if a field ends early, bytes are left over, or flags are set that belong to no property of `basic`. The
    /// headers' table is not looked into ([`Table::check`] does that).
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Damage> {
        let (flags, mut rest) = bytes.split_first_chunk::<2>().ok_or(Damage::Short("property flags"))?;
        let mut properties = Self { flags: u16::from_be_bytes(*flags), fields: [&[]; COUNT] };
        if properties.flags & 0b11 != 0 {
            return Err(Damage::Value("property flags"));
        }
        let mut left = properties.flags;
        while left != 0 {
            let index = left.leading_zeros() as usize;
            left &= !(0x8000 >> index);
            let len = match Property::ALL.get(index).ok_or(Damage::Value("property flags"))?.form() {
                Form::Text => usize::from(take(&mut rest, 1)?.first().copied().unwrap_or(0)),
                Form::Table => {
                    take(&mut rest, 4)?.first_chunk().map_or(0, |len| u32::from_be_bytes(*len) as usize)
                }
                Form::Byte => 1,
                Form::Long => 8,
            };
            let field = take(&mut rest, len)?;
            if let Some(slot) = properties.fields.get_mut(index) {
                *slot = field;
            }
        }
        if rest.is_empty() { Ok(properties) } else { Err(Damage::Long) }
    }

    /// As [`Self::parse`]; no properties at all if the bytes are damaged.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self::parse(bytes).unwrap_or_default()
    }

    /// The field's bytes, without their length.
    #[must_use]
    pub fn field(&self, property: Property) -> Option<&'a [u8]> {
        (self.flags & property.bit() != 0).then(|| self.fields[property as usize])
    }

    /// Puts a field in, or takes it out.
    ///
    /// # Panics
    /// If the bytes do not have the property's form (its size, or at most 255 bytes for a text).
    pub fn set(&mut self, property: Property, field: Option<&'a [u8]>) {
        let len = field.unwrap_or_default().len();
        match property.form() {
            Form::Text => assert!(len <= 255, "a short string has at most 255 bytes"),
            Form::Byte => assert!(field.is_none() || len == 1, "one byte"),
            Form::Long => assert!(field.is_none() || len == 8, "eight bytes"),
            Form::Table => assert!(u32::try_from(len).is_ok(), "a table is shorter than 4 GiB"),
        }
        self.flags = if field.is_some() { self.flags | property.bit() } else { self.flags & !property.bit() };
        self.fields[property as usize] = field.unwrap_or_default();
    }

    /// Appends flags and fields as they stand on the wire; what was parsed comes out byte for byte.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_u16(self.flags);
        for property in Property::ALL {
            let Some(field) = self.field(property) else { continue };
            match property.form() {
                Form::Text => {
                    out.put_u8(u8::try_from(field.len()).expect("checked when it was parsed or set"))
                }
                Form::Table => {
                    out.put_u32(u32::try_from(field.len()).expect("checked when it was parsed or set"))
                }
                Form::Byte | Form::Long => {}
            }
            out.put_slice(field);
        }
    }

    /// MIME type of the body.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.field(Property::ContentType)
    }

    /// Encoding of the body, such as `gzip`.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&'a [u8]> {
        self.field(Property::ContentEncoding)
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> Option<Table<'a>> {
        self.field(Property::Headers).map(Table::of)
    }

    /// 1 transient, 2 persistent.
    #[must_use]
    pub fn delivery_mode(&self) -> Option<u8> {
        self.field(Property::DeliveryMode)?.first().copied()
    }

    /// The priority.
    #[must_use]
    pub fn priority(&self) -> Option<u8> {
        self.field(Property::Priority)?.first().copied()
    }

    /// What a reply is matched by.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&'a [u8]> {
        self.field(Property::CorrelationId)
    }

    /// Where a reply goes.
    #[must_use]
    pub fn reply_to(&self) -> Option<&'a [u8]> {
        self.field(Property::ReplyTo)
    }

    /// Time to live in ms as the publisher wrote it; see [`expiration_ms`].
    #[must_use]
    pub fn expiration(&self) -> Option<&'a [u8]> {
        self.field(Property::Expiration)
    }

    /// The publisher's name for the message.
    #[must_use]
    pub fn message_id(&self) -> Option<&'a [u8]> {
        self.field(Property::MessageId)
    }

    /// The publisher's time, seconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(&self) -> Option<u64> {
        Some(u64::from_be_bytes(*self.field(Property::Timestamp)?.first_chunk()?))
    }

    /// The publisher's name for the kind of message.
    #[must_use]
    pub fn kind(&self) -> Option<&'a [u8]> {
        self.field(Property::Type)
    }

    /// The publishing user.
    #[must_use]
    pub fn user_id(&self) -> Option<&'a [u8]> {
        self.field(Property::UserId)
    }

    /// The publishing application.
    #[must_use]
    pub fn app_id(&self) -> Option<&'a [u8]> {
        self.field(Property::AppId)
    }
}

/// What an expiration says, in ms.
///
/// # Errors
/// [`Damage::Value`] if it is not a plain decimal number, or more than `u32::MAX - 1` ms (49 days; RabbitMQ's own limit is
/// 2^32 − 1, of which the last value is our [`crate::TTL_NONE`]).
pub fn expiration_ms(text: &[u8]) -> Result<u32, Damage> {
    let bad = Damage::Value("expiration");
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return Err(bad);
    }
    let ms = std::str::from_utf8(text).ok().and_then(|digits| digits.parse::<u32>().ok()).ok_or(bad)?;
    if ms == crate::TTL_NONE { Err(bad) } else { Ok(ms) }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Damage> {
    let (field, left) = rest.split_at_checked(len).ok_or(Damage::Short("properties"))?;
    *rest = left;
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_stand_in_the_order_of_their_flags() {
        let mut properties = Properties::default();
        properties.set(Property::DeliveryMode, Some(&[2]));
        properties.set(Property::ContentType, Some(b"a/b"));
        properties.set(Property::Timestamp, Some(&[0, 0, 0, 0, 0, 0, 1, 0]));
        let mut out = BytesMut::new();
        properties.write(&mut out);
        let golden = [0x90, 0x40, 3, b'a', b'/', b'b', 2, 0, 0, 0, 0, 0, 0, 1, 0];
        assert_eq!(out[..], golden);
        let again = Properties::parse(&golden).unwrap();
        assert_eq!(again, properties);
        assert_eq!((again.content_type(), again.timestamp()), (Some(&b"a/b"[..]), Some(256)));
    }

    #[test]
    fn continuation_flags_and_left_over_bytes_are_damage() {
        assert_eq!(Properties::parse(&[0, 1, 0, 0]), Err(Damage::Value("property flags")));
        assert_eq!(Properties::parse(&[0, 0, 0]), Err(Damage::Long));
        assert_eq!(Properties::parse(&[0x80, 0, 3, b'a']), Err(Damage::Short("properties")));
    }

    #[test]
    fn an_expiration_is_a_plain_number_of_milliseconds() {
        assert_eq!(expiration_ms(b"60000"), Ok(60_000));
        assert_eq!(expiration_ms(b"0"), Ok(0));
        for bad in ["", "-1", "+1", "1.5", " 1", "abc", "4294967295", "99999999999999999999"] {
            assert!(expiration_ms(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_parses_is_written_byte_for_byte(flags: u16, tail in prop::collection::vec(0_u8..8, 0..80)) {
            let bytes = [&(flags & !3).to_be_bytes()[..], &tail].concat();
            // Cut until it parses: lengths are small, so many prefixes do.
            for end in 0..=bytes.len() {
                if let Ok(properties) = Properties::parse(&bytes[..end]) {
                    let mut out = BytesMut::new();
                    properties.write(&mut out);
                    prop_assert_eq!(&out[..], &bytes[..end]);
                }
            }
        }
    }
}
