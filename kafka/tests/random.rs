//! Bounded random runs of the entry points for fuzzers: random bytes behind good headers, and real batches with some octets changed.

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::frame;
use stele_kafka::codec::generated::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use stele_kafka::fuzz;
use stele_record::batch::builder::Builder;
use stele_record::batch::compression::Codec;

fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = Builder::default();
    for n in 0..5 {
        let headers = [(&b"h"[..], Some(&b"v"[..])), (b"none", None)];
        builder.put(n, 1000, (Some(b"key"), Some(&[b'v'; 50])), headers.into_iter());
    }
    builder.finish(0, -1, codec).to_vec()
}

fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    for (at, octet) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *octet;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bodies_make_no_reader_panic(
        key in prop::sample::select(ApiKey::ALL), version: prop::sample::Index, body in prop::collection::vec(any::<u8>(), 0..200),
        small in prop::collection::vec(0_u8..4, 0..200),
    ) {
        let (first, last) = key.versions();
        let version = first + i16::try_from(version.index(usize::try_from(last - first + 1).unwrap())).unwrap();
        fuzz::requests(key, version, &body);
        fuzz::requests(key, version, &small);
        for body in [&body, &small] {
            let mut octets = BytesMut::new();
            octets.put_u32(u32::try_from(10 + body.len()).unwrap());
            octets.put_i16(key as i16);
            octets.put_i16(version);
            octets.put_slice(b"\0\0\0\x01\xff\xff");
            octets.put_slice(body);
            fuzz::sessions(&octets);
        }
        fuzz::frames(&body);
        fuzz::batches(&body);
    }

    #[test]
    fn damaged_batches_make_no_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), codec in 0_u8..5,
    ) {
        fuzz::batches(&changed(batch(Codec::of(codec).unwrap()), &changes));
    }

    #[test]
    fn damaged_produce_requests_make_no_reader_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), version in 3_i16..=13,
    ) {
        let records = batch(Codec::None);
        let partition_data = vec![PartitionProduceData { index: 0, records: Some(&records) }];
        let topic_data = vec![TopicProduceData { name: "topic".into(), partition_data, ..Default::default() }];
        let request = ProduceRequest { acks: -1, topic_data, ..ProduceRequest::default() };
        let mut octets = BytesMut::new();
        frame::request(ApiKey::Produce, version, (1, "me"), &request, &mut octets);
        octets.put_slice(b"\0\0\0\x10more");
        let octets = changed(octets.to_vec(), &changes);
        fuzz::frames(&octets);
        fuzz::sessions(&octets);
    }
}
