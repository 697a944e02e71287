//! A request on the wire, and the frame around a response.
//!
//! A frame is its size as int32 and so many octets. A request starts with a header: key, version, correlation id, client id, and
//! from the API's first flexible version on tagged fields; the client id never is in the flexible encoding. A response starts with
//! the correlation id, and tagged fields likewise, but for ApiVersions, whose answer must be readable by who does not know yet
//! what is spoken.

use super::Malformed;
use super::api::ApiKey;
use super::wire::{Reader, Text, Wire};
use bytes::{BufMut, BytesMut};
use std::fmt;

/// Octets before a request's client id.
const HEAD_BYTES: usize = 8;

/// The start of a request. `body` borrows from the input.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<'a> {
    /// What is asked for, as a number: not every one is spoken here.
    pub key: i16,
    /// The version of the API.
    pub version: i16,
    /// Comes back with the response.
    pub correlation_id: i32,
    /// What follows the three.
    rest: &'a [u8],
}

/// What makes the stream of octets unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// The announced size is negative or over the limit.
    Size {
        /// As announced, octets.
        bytes: i32,
        /// The limit, octets.
        bytes_max: u32,
    },
    /// The header or the body is not what it says.
    Malformed(Malformed),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { bytes, bytes_max } => {
                write!(f, "a request of {bytes} octets, where {bytes_max} are allowed")
            }
            Self::Malformed(malformed) => malformed.fmt(f),
        }
    }
}

impl From<Malformed> for Violation {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// The octets of the next frame: `Ok(None)`: wait for more; else the frame and the octets used.
///
/// # Errors
/// [`Violation::Size`] as soon as the size is there.
pub fn frame(input: &[u8], bytes_max: u32) -> Result<Option<(&[u8], usize)>, Violation> {
    let Some((size, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let bytes = i32::from_be_bytes(*size);
    let len = usize::try_from(bytes).ok().filter(|len| *len <= bytes_max as usize);
    let len = len.ok_or(Violation::Size { bytes, bytes_max })?;
    Ok(rest.get(..len).map(|frame| (frame, 4 + len)))
}

/// The client id of the request that `input` starts with, size included, as soon as it is there; the inner `None`: it has none.
#[must_use]
pub fn client_id(input: &[u8]) -> Option<Option<&str>> {
    let (len, rest) = input.get(4 + HEAD_BYTES..)?.split_first_chunk::<2>()?;
    let Ok(len) = usize::try_from(i16::from_be_bytes(*len)) else { return Some(None) };
    Some(std::str::from_utf8(rest.get(..len)?).ok())
}

impl<'a> Request<'a> {
    /// Reads the part of the header that all versions of all APIs share.
    ///
    /// # Errors
    /// If the frame is shorter.
    pub fn parse(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (head, rest) = frame.split_first_chunk::<HEAD_BYTES>().ok_or(Malformed("short header"))?;
        let [k0, k1, v0, v1, correlation_id @ ..] = *head;
        Ok(Self {
            key: i16::from_be_bytes([k0, k1]),
            version: i16::from_be_bytes([v0, v1]),
            correlation_id: i32::from_be_bytes(correlation_id),
            rest,
        })
    }

    /// The client id and the octets of the body, for an API and version that we speak.
    ///
    /// # Errors
    /// If the header's second half is damaged.
    pub fn open(&self, api: ApiKey) -> Result<(Option<Text<'a>>, &'a [u8]), Malformed> {
        let mut reader = Reader::new(self.rest, self.version, false);
        let client_id = Option::<Text<'a>>::read(&mut reader)?;
        reader.flexible = api.is_flexible(self.version);
        reader.tags(|_, _| Ok(false))?;
        Ok((client_id, reader.rest()))
    }
}

/// A response under construction: its size is filled in at the end.
#[derive(Debug)]
#[must_use = "the size is missing until it is ended"]
pub struct Started {
    at: usize,
}

/// Appends size (as yet zero) and header of a response.
pub fn start(api: ApiKey, version: i16, correlation_id: i32, out: &mut BytesMut) -> Started {
    let at = out.len();
    out.put_i32(0);
    out.put_i32(correlation_id);
    if api.is_flexible(version) && api != ApiKey::ApiVersions {
        out.put_u8(0);
    }
    Started { at }
}

impl Started {
    /// Fills in the size; `shared_bytes` are sent with this response without being in `out`.
    ///
    /// # Panics
    /// If the response is over 2 GiB: what is read for one answer is bounded far below.
    pub fn end(self, shared_bytes: usize, out: &mut BytesMut) {
        let size = out.len() - self.at - 4 + shared_bytes;
        let size = i32::try_from(size).expect("responses are bounded");
        out[self.at..self.at + 4].copy_from_slice(&size.to_be_bytes());
    }
}

/// Appends a whole response.
pub fn respond<'a>(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    message: &impl Wire<'a>,
    out: &mut BytesMut,
) {
    let started = start(api, version, correlation_id, out);
    api.write(version, message, out);
    started.end(0, out);
}

/// Appends a whole request, as a client does; for tests and tools.
pub fn request<'a>(
    api: ApiKey,
    version: i16,
    (correlation_id, client_id): (i32, &str),
    message: &impl Wire<'a>,
    out: &mut BytesMut,
) {
    let started = Started { at: out.len() };
    out.put_i32(0);
    out.put_i16(api as i16);
    out.put_i16(version);
    out.put_i32(correlation_id);
    out.put_i16(i16::try_from(client_id.len()).expect("a short name"));
    out.put_slice(client_id.as_bytes());
    if api.is_flexible(version) {
        out.put_u8(0);
    }
    api.write(version, message, out);
    started.end(0, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::generated::metadata::MetadataRequest;

    #[test]
    fn a_frame_is_found_one_octet_at_a_time() {
        let mut octets = BytesMut::new();
        let metadata = MetadataRequest::default();
        request(ApiKey::Metadata, 13, (7, "me"), &metadata, &mut octets);
        for short in 0..octets.len() {
            assert_eq!(frame(&octets[..short], 1000), Ok(None), "{short} octets");
        }
        octets.extend_from_slice(b"next");
        let (found, used) = frame(&octets, 1000).unwrap().unwrap();
        assert_eq!((used, &octets[used..]), (octets.len() - 4, &b"next"[..]));
        let head = Request::parse(found).unwrap();
        assert_eq!((head.key, head.version, head.correlation_id), (3, 13, 7));
        let (client, body) = head.open(ApiKey::Metadata).unwrap();
        assert_eq!(client.as_deref(), Some("me"));
        assert_eq!(ApiKey::Metadata.read(13, body), Ok(metadata));
    }

    #[test]
    fn a_size_that_cannot_be_is_refused_at_once() {
        for bytes in [-1, i32::MIN, 1001, i32::MAX] {
            assert_eq!(frame(&bytes.to_be_bytes(), 1000), Err(Violation::Size { bytes, bytes_max: 1000 }));
        }
    }

    #[test]
    fn the_answer_to_api_versions_never_has_tags_in_its_header() {
        for (api, len) in [(ApiKey::ApiVersions, 8), (ApiKey::Metadata, 9)] {
            let mut out = BytesMut::new();
            let started = start(api, api.versions().1, 5, &mut out);
            assert_eq!(out.len(), len);
            started.end(100, &mut out);
            let size = i32::from_be_bytes(out[..4].try_into().unwrap());
            assert_eq!(usize::try_from(size).unwrap(), len - 4 + 100);
        }
    }
}
