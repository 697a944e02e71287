//! One entry point for each decoder that meets bytes from outside, for fuzzers and for the bounded random runs in the tests.
//! Each must return for any input; what it asserts are statements about the decoder, not about the input.

use crate::codec::Malformed;
use crate::codec::api::ApiKey;
use crate::codec::fetch::Fetch;
use crate::codec::frame::{Request, frame};
use crate::codec::generated::apis;
use crate::codec::produce::Produce;
use crate::{Connection, Profile};
use bytes::BytesMut;
use std::sync::Arc;
use stele_model::id::{Now, PrincipalId};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::Refusal;
use stele_model::session::{Outbox, Principal, Session};
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
        headed(frame);
    }
}

/// A request with its header, without the length of its frame.
pub fn headed(frame: &[u8]) {
    let Ok(request) = Request::parse(frame) else { return };
    let Some(api) = ApiKey::of(request.key).filter(|api| api.has(request.version)) else { return };
    if let Ok((_, body)) = request.open(api) {
        requests(api, request.version, body);
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

/// A whole connection: the input comes in two pieces, and a hub refuses everything but the login.
pub fn sessions(input: &[u8]) {
    let now = Now(1);
    let mut session = Connection::new(Arc::new(Profile::default()), "host", [1; 32], now);
    let mut out = Outbox::default();
    let mut pending = Vec::new();
    let (first, second) = input.split_at(input.len() / 2);
    for piece in [first, second] {
        pending.extend_from_slice(piece);
        let mut turns = 0;
        loop {
            let used = session.receive(now, &pending, &mut out);
            assert!(used <= pending.len(), "only what was offered is used");
            pending.drain(..used);
            turns += 1;
            assert!(turns < 100_000, "a session ends every turn by using input or by asking");
            if !refuse(&mut session, now, &mut out) {
                break;
            }
        }
    }
    session.expire(now.plus_ms(crate::profile::FETCH_WAIT_MS_MAX), &mut out);
    let mut written = Vec::new();
    out.write.take(|piece| written.extend_from_slice(&piece));
    let mut rest = &written[..];
    while let Some((_, used)) = frame(rest, 1 << 20).expect("a session writes frames") {
        rest = &rest[used..];
    }
    assert!(rest.is_empty(), "a session writes whole frames");
}

/// Answers everything that was asked; whether anything was.
fn refuse(session: &mut Connection, now: Now, out: &mut Outbox) -> bool {
    let mut asked = false;
    if out.authenticate.take().is_some() {
        asked = true;
        session.authenticated(now, Ok(Principal { id: PrincipalId(1), name: "u".to_owned() }), out);
    }
    for submit in std::mem::take(&mut out.submits) {
        let outcome = match submit.op {
            Op::Open { .. } => Outcome::Done(Done::Opened),
            Op::Unwatch { .. } => continue,
            _ => Outcome::Refused(Refusal::Unavailable { why: "nothing works".to_owned() }),
        };
        asked = true;
        session.complete(now, submit.ticket, outcome, out);
    }
    asked
}
