//! The records inside a batch, read lazily: for the checks of compacted topics, and for readers of other dialects.
//!
//! A record is its length and, all integers as zigzag varints: attributes (one octet, unused), timestamp and offset relative to the
//! batch's, key, value, headers. A length of −1 is null.

use super::{Batch, Damage};
use std::borrow::Cow;

/// One record, borrowed from its batch's unpacked contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Relative to the batch's base timestamp, ms.
    pub timestamp_delta: i64,
    /// Relative to the batch's base offset.
    pub offset_delta: i32,
    /// What it is about.
    pub key: Option<&'a [u8]>,
    /// `None`: a tombstone, in a compacted topic.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
}

/// All records of a batch, unpacked.
#[derive(Clone, Debug)]
pub struct Contents<'a> {
    octets: Cow<'a, [u8]>,
    count: i32,
}

/// Fewest octets of a record: length, attributes, two deltas, two null lengths, no headers.
const RECORD_BYTES_MIN: usize = 7;

impl<'a> Batch<'a> {
    /// Unpacks the records.
    ///
    /// # Errors
    /// As [`super::compression::Codec::unpack`] with this bound; [`Damage::Record`] if the stated count cannot fit.
    pub fn contents(&self, bytes_max: usize) -> Result<Contents<'a>, Damage> {
        let octets = match self.head().attributes.codec()? {
            super::Codec::None => Cow::Borrowed(self.body()),
            codec => Cow::Owned(codec.unpack(self.body(), bytes_max)?),
        };
        let count = self.head().count;
        let fits = usize::try_from(count).is_ok_and(|count| count <= octets.len() / RECORD_BYTES_MIN);
        if fits { Ok(Contents { octets, count }) } else { Err(Damage::Record("count")) }
    }
}

impl Batch<'_> {
    /// Checks what can be known of the records without unpacking them: of plain ones that they fit their lengths, are as many as stated and
    /// fill the batch; of packed ones that they begin as their codec does.
    ///
    /// # Errors
    /// [`Damage::Codec`], [`Damage::Compressed`] or [`Damage::Record`].
    pub fn check_records(&self) -> Result<(), Damage> {
        match self.head().attributes.codec()? {
            super::Codec::None => {
                self.contents(self.body().len())?.records().try_for_each(|record| record.map(|_| ()))
            }
            codec if codec.is_begun_in(self.body()) => Ok(()),
            _ => Err(Damage::Compressed),
        }
    }
}

impl<'a> Contents<'a> {
    /// The unpacked octets: the batch's own if it was plain.
    pub(super) fn into_octets(self) -> Cow<'a, [u8]> {
        self.octets
    }
}

impl Contents<'_> {
    /// The records in order. Ends after the first damage.
    pub fn records(&self) -> Records<'_> {
        Records { rest: &self.octets, left: self.count }
    }

    /// The unpacked octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}

/// Reads one record after the other.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    left: i32,
}

impl<'a> Records<'a> {
    /// Those that are left, from where one begins.
    pub(super) fn of(rest: &'a [u8], left: i32) -> Self {
        Self { rest, left }
    }

    /// The octets behind what was read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many are left.
    pub(super) fn left(&self) -> i32 {
        self.left
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            // Octets behind the last record are damage too, told once.
            let over = !std::mem::take(&mut self.rest).is_empty();
            return over.then_some(Err(Damage::Record("octets left over")));
        }
        self.left -= 1;
        let record = record(&mut self.rest);
        if record.is_err() {
            (self.left, self.rest) = (0, &[]);
        }
        Some(record)
    }
}

fn record<'a>(rest: &mut &'a [u8]) -> Result<Record<'a>, Damage> {
    let len = varint(rest)?;
    let mut inner = take(rest, usize::try_from(len).map_err(|_| Damage::Record("length"))?)?;
    take(&mut inner, 1)?;
    let timestamp_delta = varint(&mut inner)?;
    let offset_delta = i32::try_from(varint(&mut inner)?).map_err(|_| Damage::Record("offset delta"))?;
    let key = nullable(&mut inner)?;
    let value = nullable(&mut inner)?;
    let record = Record { timestamp_delta, offset_delta, key, value, headers: inner };
    let mut headers = record.headers();
    headers.by_ref().try_for_each(|header| header.map(|_| ()))?;
    if headers.rest.is_empty() { Ok(record) } else { Err(Damage::Record("octets left over")) }
}

impl<'a> Record<'a> {
    /// The headers in order, as written; names may come more than once.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers { rest: self.headers, left: None }
    }
}

/// Reads one header after the other.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
    /// `None`: the count was not read yet.
    left: Option<i64>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<(&'a [u8], Option<&'a [u8]>), Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let left = match self.left {
            Some(left) => left,
            None => match varint(&mut self.rest) {
                Ok(count) if count >= 0 => count,
                _ => {
                    self.left = Some(0);
                    return Some(Err(Damage::Record("header count")));
                }
            },
        };
        self.left = Some(0);
        if left == 0 {
            return None;
        }
        let header = header(&mut self.rest);
        if header.is_ok() {
            self.left = Some(left - 1);
        }
        Some(header)
    }
}

fn header<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), Damage> {
    let name = nullable(rest)?.ok_or(Damage::Record("header name"))?;
    Ok((name, nullable(rest)?))
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Damage> {
    let (taken, after) = rest.split_at_checked(len).ok_or(Damage::Record("short"))?;
    *rest = after;
    Ok(taken)
}

fn nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Damage> {
    match varint(rest)? {
        -1 => Ok(None),
        len => take(rest, usize::try_from(len).map_err(|_| Damage::Record("length"))?).map(Some),
    }
}

/// A zigzag varint of at most 64 bits.
fn varint(rest: &mut &[u8]) -> Result<i64, Damage> {
    let mut value = 0_u64;
    for (at, octet) in rest.iter().enumerate().take(10) {
        value |= u64::from(octet & 0x7f).checked_shl(7 * u32::try_from(at).unwrap_or(64)).unwrap_or(0);
        if octet & 0x80 == 0 {
            *rest = rest.get(at + 1..).unwrap_or_default();
            return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    Err(Damage::Record("varint"))
}
