//! One entry point for each decoder that meets bytes from outside, for fuzzers and for the bounded random runs in the tests.
//! Each must return for any input; what it asserts are statements about the decoder, not about the input.

use crate::codec::Malformed;
use crate::codec::api::ApiKey;
use crate::codec::fetch::Fetch;
use crate::codec::frame::{Request, frame};
use crate::codec::generated::apis;
use crate::codec::produce::Produce;
use bytes::BytesMut;
use stele_record::batch::Batch;

/// Most octets of a frame.
const FRAME_BYTES_MAX: u32 = 1 << 16;
/// Most octets that records unpack to.
const CONTENTS_BYTES_MAX: usize = 1 << 20;

/// Frames, and the requests in them.
pub fn frames(mut input: &[u8]) {
    while let Ok(Some((frame, used))) = frame(input, FRAME_BYTES_MAX) {
        assert!(used <= input.len() && used == frame.len() + 4, "a frame is part of the input");
        input = &input[used..];
        let Ok(request) = Request::parse(frame) else { continue };
        let Some(api) = ApiKey::of(request.key).filter(|api| api.has(request.version)) else { continue };
        if let Ok((_, body)) = request.open(api) {
            requests(api, request.version, body);
        }
    }
}

/// The body of a request: what decodes can be written again.
pub fn requests(api: ApiKey, version: i16, body: &[u8]) {
    let mut octets = BytesMut::new();
    if rewrite(api, version, body, &mut octets).is_ok() {
        // Unknown tagged fields are dropped and booleans are 0 or 1, so the octets may differ; their number cannot grow.
        assert!(octets.len() <= body.len(), "nothing is added");
    }
    hot(api, version, body);
}

macro_rules! rewrite {
    ($($key:literal $name:ident $module:ident $request:ident $response:ident $first:literal..=$last:literal $flexible:expr;)*) => {
        /// Reads the body of a request by the generated tables, and writes it.
        ///
        /// # Errors
        /// [`Malformed`] if it is not one of this version.
        #[expect(elided_lifetimes_in_paths, reason = "some messages borrow and some do not")]
        pub fn rewrite(api: ApiKey, version: i16, body: &[u8], out: &mut BytesMut) -> Result<(), Malformed> {
            use crate::codec::generated;
            match api {
                $(ApiKey::$name => {
                    let message: generated::$module::$request = api.read(version, body)?;
                    api.write(version, &message, out);
                })*
            }
            Ok(())
        }
    };
}

apis!(rewrite);

/// The readers by hand agree with the table on what can be read.
fn hot(api: ApiKey, version: i16, body: &[u8]) {
    use crate::codec::generated::{fetch::FetchRequest, produce::ProduceRequest};
    match api {
        ApiKey::Produce => {
            let read =
                Produce::parse(version, body).and_then(|all| all.each(|_| (), |part| records(part.records)));
            let table = api.read::<ProduceRequest<'_>>(version, body);
            assert_eq!(read.is_ok(), table.is_ok());
        }
        ApiKey::Fetch => {
            let read = Fetch::parse(version, body).and_then(|all| all.each(|_| (), |_, _| ()));
            let table = api.read::<FetchRequest<'_>>(version, body);
            assert!(read.is_ok() || table.is_err(), "the table is the stricter one: it knows all tags");
        }
        _ => {}
    }
}

fn records(octets: Option<&[u8]>) {
    batches(octets.unwrap_or_default());
}

/// Batches, and the records in them.
pub fn batches(mut input: &[u8]) {
    while let Ok((batch, rest)) = Batch::first(input) {
        assert_eq!(batch.bytes().len() + rest.len(), input.len());
        input = rest;
        let _ = batch.verify();
        if let Ok(contents) = batch.contents(CONTENTS_BYTES_MAX) {
            for record in contents.records().flatten() {
                assert!(
                    record.headers().all(|header| header.is_ok()),
                    "headers were checked with their record"
                );
            }
        }
    }
}
