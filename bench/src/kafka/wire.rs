//! Kafka's protocol as far as the generator needs it, in one old fixed version of each request: encoding, and reading with bounds.
//!
//! Hand-written on purpose: a judge shares no code with what it judges. Versions without tagged fields keep it short; every broker of the
//! 4.x line serves them.

use anyhow::{Context, Result, ensure};

/// Requests: key and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Api(pub i16, pub i16);

pub(crate) const PRODUCE: Api = Api(0, 8);
pub(crate) const FETCH: Api = Api(1, 11);
pub(crate) const LIST_OFFSETS: Api = Api(2, 5);
pub(crate) const METADATA: Api = Api(3, 8);
pub(crate) const CREATE_TOPICS: Api = Api(19, 4);
pub(crate) const DELETE_TOPICS: Api = Api(20, 3);
pub(crate) const INIT_PRODUCER_ID: Api = Api(22, 1);

/// An answer is never longer than this.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Appends fields in network byte order.
pub(crate) trait Put {
    fn i8(&mut self, value: i8) -> &mut Self;
    fn i16(&mut self, value: i16) -> &mut Self;
    fn i32(&mut self, value: i32) -> &mut Self;
    fn i64(&mut self, value: i64) -> &mut Self;
    fn text(&mut self, value: Option<&str>) -> &mut Self;
    /// A count before the elements of an array, or before bytes.
    fn count(&mut self, value: usize) -> &mut Self;
}

impl Put for Vec<u8> {
    fn i8(&mut self, value: i8) -> &mut Self {
        self.extend(value.to_be_bytes());
        self
    }

    fn i16(&mut self, value: i16) -> &mut Self {
        self.extend(value.to_be_bytes());
        self
    }

    fn i32(&mut self, value: i32) -> &mut Self {
        self.extend(value.to_be_bytes());
        self
    }

    fn i64(&mut self, value: i64) -> &mut Self {
        self.extend(value.to_be_bytes());
        self
    }

    fn text(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            None => self.i16(-1),
            Some(value) => {
                self.i16(i16::try_from(value.len()).expect("our own names are short"));
                self.extend(value.as_bytes());
                self
            }
        }
    }

    fn count(&mut self, value: usize) -> &mut Self {
        self.i32(i32::try_from(value).expect("our own requests are small"))
    }
}

/// Appends a whole request: length, header and what `body` writes.
pub(crate) fn request(out: &mut Vec<u8>, api: Api, correlation: i32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.i32(0).i16(api.0).i16(api.1).i32(correlation).text(Some("stele-bench"));
    body(out);
    let bytes = u32::try_from(out.len() - start - 4).expect("a request is smaller than 4 GB");
    out[start..start + 4].copy_from_slice(&bytes.to_be_bytes());
}

/// The first whole answer in `input`: what follows the correlation id, and how many bytes it took. `None`: wait for more.
pub(crate) fn answer(input: &[u8]) -> Result<Option<(i32, Fields<'_>, usize)>> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    ensure!((4..=ANSWER_BYTES_MAX).contains(&length), "an answer of {length} bytes");
    let Some(body) = rest.get(..length) else { return Ok(None) };
    let mut fields = Fields(body);
    let correlation = fields.i32()?;
    Ok(Some((correlation, fields, 4 + length)))
}

/// Reads fields and never beyond the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).context("an answer that is too short")?;
        self.0 = rest;
        Ok(head)
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().context("an answer that is too short")?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn i8(&mut self) -> Result<i8> {
        self.chunk().map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Result<i16> {
        self.chunk().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Result<i32> {
        self.chunk().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.chunk().map(i64::from_be_bytes)
    }

    pub(crate) fn text(&mut self) -> Result<Option<&'a str>> {
        let Ok(bytes) = usize::try_from(self.i16()?) else { return Ok(None) };
        Ok(Some(std::str::from_utf8(self.take(bytes)?)?))
    }

    /// So many elements follow; -1 counts as none.
    pub(crate) fn count(&mut self) -> Result<usize> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_its_length_and_an_answer_waits_for_its_end() {
        let mut out = Vec::new();
        request(&mut out, METADATA, 7, |out| _ = out.i32(-1));
        assert_eq!(out.len(), 4 + 2 + 2 + 4 + 2 + 11 + 4);
        assert_eq!(out[..4], [0, 0, 0, 25]);
        let whole = [0, 0, 0, 6, 0, 0, 0, 7, 0, 9, 1];
        for cut in 0..10 {
            assert!(answer(&whole[..cut]).unwrap().is_none());
        }
        let (correlation, mut fields, used) = answer(&whole).unwrap().unwrap();
        assert_eq!((correlation, fields.i16().unwrap(), used), (7, 9, 10));
        assert!(fields.i8().is_err());
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        assert!(answer(&[0xff; 4]).is_err() && answer(&[0; 4]).is_err());
    }
}
