//! One entry point for each decoder of JetStream's that meets bytes from outside, for fuzzers and for the bounded random runs in the tests.
//! Each must return for any input; what it asserts are statements about the decoder, not about the input.

use super::ack::{Ack, AckSubject};
use super::api::Api;
use super::consumer_check::{self, CreateConsumer};
use super::json;
use super::mapping;
use super::publish::{Allows, Wishes};
use super::pull::parse_pull;
use super::request::{
    DeleteRequest, GetRequest, Page, PauseRequest, PurgeRequest, ResetRequest, StreamInfoRequest,
};
use super::stream::StreamConfig;
use super::{settings, stream_check};
use crate::front::conf::{Sources, parse};
use crate::front::options::Setup;
use stele_model::subject::renaming::{Renaming, SUBJECT_BYTES_MAX};

/// A request: its subject's tail, and its body.
pub fn requests(tail: &str, body: &[u8]) {
    let subject = format!("{}{tail}", super::api::PREFIX);
    let Some(api) = Api::parse(&subject) else { return };
    match api {
        Api::StreamCreate(name) | Api::StreamUpdate(name) => streams(name, body),
        Api::ConsumerCreate(named) => {
            if let Ok(mut request) = json::read::<CreateConsumer>(body)
                && consumer_check::named(&mut request, named).is_ok()
            {
                consumers(request);
            }
        }
        Api::MessageGet(_) => drop(json::read::<GetRequest>(body).map(|request| request.one().is_ok())),
        Api::DirectGet { subject, .. } => {
            drop(json::read::<GetRequest>(body).map(|request| request.direct(subject).is_ok()));
        }
        Api::MessageDelete(_) => drop(json::read::<DeleteRequest>(body)),
        Api::StreamPurge(_) => drop(json::read::<PurgeRequest>(body).map(|request| request.check())),
        Api::StreamInfo(_) => drop(json::read::<StreamInfoRequest>(body)),
        Api::ConsumerPause(_) => drop(json::read::<PauseRequest>(body)),
        Api::ConsumerReset(_) => drop(json::read::<ResetRequest>(body)),
        Api::Next(_) => drop(parse_pull(body)),
        _ => drop(json::read::<Page>(body)),
    }
}

/// What passes the checks is echoed as it is kept, and is the same when it is asked for again.
fn streams(name: &str, body: &[u8]) {
    let Ok(config) = json::read::<StreamConfig>(body) else { return };
    let Ok(checked) = stream_check::create(config, name) else { return };
    let again = stream_check::create(checked.clone(), name).expect("what passed passes again");
    assert!(stream_check::is_same(&checked, &again), "defaults are filled in once");
    let _ = settings::of_stream(&checked);
}

fn consumers(request: CreateConsumer) {
    let of = StreamConfig { name: request.stream_name.clone(), ..StreamConfig::default() };
    let Ok(stream) = stream_check::create(of, &request.stream_name) else { return };
    let Ok(checked) = consumer_check::check(request.config, &stream, request.pedantic) else { return };
    let again = consumer_check::check(checked.clone(), &stream, false).expect("what passed passes again");
    assert!(consumer_check::is_same(&checked, &again), "defaults are filled in once");
    let _ = settings::of_consumer(&checked);
}

/// An acknowledgement: its subject, and its body.
pub fn acks(subject: &str, body: &[u8]) {
    if let Some(of) = AckSubject::parse(subject) {
        let written = of.to_string();
        assert_eq!(AckSubject::parse(&written), Some(of), "what was read is read again");
    }
    let _ = Ack::parse(body);
}

/// The header block of a publish.
pub fn headers(block: &[u8]) {
    let _ = Wishes::parse(block, Allows { rollup: true, ttl: true, schedules: true });
}

/// A subject, and a mapping of subjects: its source, and behind the first line break its destination.
pub fn mappings(subject: &str, mapping: &[u8]) {
    let text = String::from_utf8_lossy(mapping);
    let (source, destination) = text.split_once('\n').unwrap_or((&text, ""));
    let strictly = mapping::parse_strictly(source, destination);
    let Ok(Some(renaming)) = mapping::parse(source, destination) else {
        assert!(!matches!(strictly, Ok(Some(_))), "who looks more closely does not take more");
        return;
    };
    let mut written = Vec::new();
    renaming.write(&mut written);
    assert_eq!(Renaming::read(&written).as_ref(), Some(&renaming), "what was written is read again");
    let became = renaming.apply(subject.as_bytes(), 7);
    assert_eq!(became, renaming.apply(subject.as_bytes(), 7), "what comes out depends on what goes in");
    let len = became.ok().flatten().map_or(0, |became| became.len());
    assert!(len <= SUBJECT_BYTES_MAX, "no subject grows beyond its bound");
}

/// A configuration of nats-server's.
pub fn configuration(text: &str) {
    struct Itself<'t>(&'t str);
    impl Sources for Itself<'_> {
        fn include(&self, _: &str) -> Result<String, String> {
            Ok(self.0.to_owned())
        }

        fn variable(&self, _: &str) -> Option<String> {
            Some(self.0.to_owned())
        }
    }
    if let Ok(block) = parse(text, &Itself(text)) {
        let mut setup = Setup::default();
        setup.read(&block);
        setup.finish();
    }
}
