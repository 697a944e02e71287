//! What is spoken, and what happens to who asks for something else.

use crate::support::Run;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use stele_kafka::codec::generated::describe_producers::DescribeProducersRequest;
use stele_kafka::codec::generated::metadata::MetadataRequest;

#[test]
fn every_version_of_api_versions_names_contiguous_ranges() {
    for version in 0..=4 {
        let mut run = Run::new();
        let request = ApiVersionsRequest {
            client_software_name: "probe".into(),
            client_software_version: "1.0".into(),
        };
        let body = run.call(ApiKey::ApiVersions, version, &request);
        let answer: ApiVersionsResponse<'_> = ApiKey::ApiVersions.read(version, &body).unwrap();
        assert_eq!(answer.error_code, 0);
        for told in &answer.api_keys {
            let api = ApiKey::of(told.api_key).unwrap();
            let (min, max) = api.versions();
            // The oldest produce is claimed and not spoken, as Kafka 4 does for the sake of librdkafka.
            let min = if api == ApiKey::Produce { 0 } else { min };
            assert_eq!((min, max), (told.min_version, told.max_version));
        }
        let told = |api: ApiKey| answer.api_keys.iter().any(|told| told.api_key == api as i16);
        assert!(told(ApiKey::Produce) && told(ApiKey::OffsetFetch) && told(ApiKey::SaslAuthenticate));
        assert!(!told(ApiKey::DescribeProducers), "what is not served is not advertised");
    }
}

#[test]
fn a_version_above_ours_is_answered_in_version_0_and_the_client_goes_on() {
    let mut run = Run::new();
    // Key 18, version 5, correlation id 9, no client id, tags, and a body that nobody knows.
    run.octets(b"\0\0\0\x10\0\x12\0\x05\0\0\0\x09\xff\xff\0abcde");
    let (correlation_id, body) = run.answer(ApiKey::ApiVersions, 0).unwrap();
    let answer: ApiVersionsResponse<'_> = ApiKey::ApiVersions.read(0, &body).unwrap();
    assert_eq!((correlation_id, answer.error_code), (9, 35));
    assert!(answer.api_keys.iter().any(|told| told.api_key == 18 && told.max_version == 4));
    assert!(run.closed.is_none());
    run.call(ApiKey::Metadata, 13, &MetadataRequest::default());
}

#[test]
fn what_is_not_spoken_ends_the_connection() {
    let mut run = Run::new();
    run.send(ApiKey::DescribeProducers, 0, &DescribeProducersRequest::default());
    assert_eq!(run.closed.as_deref(), Some("version 0 of API key 61 is not spoken here"));
    let mut run = Run::new();
    run.octets(b"GET / HTTP/1.1\r\n");
    assert!(run.closed.is_some(), "a size of more than a gigabyte");
    let mut run = Run::new();
    run.octets(b"\0\0\0\x0a\0\x03\0\x01\0\0\0\x09\xff\xff");
    assert_eq!(run.closed.as_deref(), Some("cannot decode the request: short"));
}
