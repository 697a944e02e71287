//! Producing: what is checked, what is stored, what is answered.

use crate::support::{Run, batch};
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use stele_kafka::codec::generated::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use stele_kafka::codec::generated::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use stele_kafka::codec::generated::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};
use stele_kafka::codec::wire::Uuid;
use stele_model::op::Op;
use stele_model::outcome::Wake;
use stele_record::batch::compression::Codec;
use stele_record::batch::{Batch, HEAD_BYTES};

/// The present time of a run, ms.
const NOW: i64 = 1_000_000_000_000;

pub(crate) fn topic(run: &mut Run, name: &str, configs: &[(&str, &str)]) {
    let configs = configs
        .iter()
        .map(|(name, value)| CreatableTopicConfig { name: (*name).into(), value: Some((*value).into()) });
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 2,
        replication_factor: 1,
        configs: configs.collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest { topics: vec![topic], ..CreateTopicsRequest::default() };
    run.call(ApiKey::CreateTopics, 7, &request);
    assert!(run.hub.info(name).is_some(), "{name} was made");
}

pub(crate) fn request<'a>(name: &str, id: Uuid, acks: i16, records: Option<&'a [u8]>) -> ProduceRequest<'a> {
    let partition_data = vec![PartitionProduceData { index: 1, records }];
    let topic_data = vec![TopicProduceData { name: name.to_owned().into(), topic_id: id, partition_data }];
    ProduceRequest { acks, topic_data, timeout_ms: 1000, ..ProduceRequest::default() }
}

/// Produces to partition 1 of topic `t`; the answer for it, and its message.
fn produce(run: &mut Run, version: i16, records: &[u8]) -> PartitionProduceResponse<'static> {
    let id = run.hub.info("t").map(|info| Uuid(info.uuid.0)).unwrap_or_default();
    let name = if version >= 13 { "" } else { "t" };
    let id = if version >= 13 { id } else { Uuid::default() };
    let body = run.call(ApiKey::Produce, version, &request(name, id, -1, Some(records)));
    let answer: ProduceResponse<'_> = ApiKey::Produce.read(version, body.leak()).unwrap();
    assert_eq!((answer.responses.len(), &*answer.responses[0].name), (1, name));
    answer.responses[0].partition_responses[0].clone()
}

#[test]
fn a_batch_is_stored_as_it_was_sent_at_every_version() {
    for version in 3..=13 {
        for one_by_one in [false, true] {
            let mut run = Run::new();
            run.one_by_one = one_by_one;
            topic(&mut run, "t", &[]);
            let sent = batch(Codec::Gzip, NOW, &["a", "b", "c"]);
            let answer = produce(&mut run, version, &sent);
            assert_eq!((answer.error_code, answer.base_offset, answer.index), (0, 0, 1));
            assert_eq!(answer.log_append_time_ms, -1);
            let answer = produce(&mut run, version, &sent);
            assert_eq!((answer.error_code, answer.base_offset), (0, 3));
            let stored = run.hub.stored("t", 1);
            assert_eq!((&stored[0].bytes[..], stored[0].count), (&sent[..], 3));
            assert_eq!(stored[0].time_max_ms, Some(NOW as u64 + 2));
        }
    }
}

#[test]
fn a_numbered_batch_carries_its_producer() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let body = run.call(ApiKey::InitProducerId, 5, &InitProducerIdRequest::default());
    let answer: InitProducerIdResponse = ApiKey::InitProducerId.read(5, &body).unwrap();
    assert_eq!((answer.error_code, answer.producer_id, answer.producer_epoch), (0, 1, 0));
    let mut sent = batch(Codec::None, NOW, &["a"]);
    sent[43..57].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 9]);
    reseal(&mut sent);
    assert_eq!(produce(&mut run, 9, &sent).error_code, 0);
    let producer = run.hub.stored("t", 1)[0].producer.unwrap();
    assert_eq!((producer.id, producer.epoch, producer.sequence), (1, 2, 9));
}

/// Makes the checksum right again.
fn reseal(batch: &mut [u8]) {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &batch[21..]);
    batch[17..21].copy_from_slice(&u32::try_from(sum).unwrap().to_be_bytes());
}

#[test]
fn what_is_wrong_with_a_batch_is_told_by_its_code() {
    let good = batch(Codec::None, NOW, &["a", "b"]);
    let change = |at: usize, octets: &[u8], seal: bool| {
        let mut changed = good.clone();
        changed[at..at + octets.len()].copy_from_slice(octets);
        if seal {
            reseal(&mut changed);
        }
        changed
    };
    let cases: Vec<(&str, i16, Vec<u8>, i16)> = vec![
        ("nothing", 9, Vec::new(), 87),
        ("two batches", 9, [&good[..], &good[..]].concat(), 87),
        ("an old format", 9, change(16, &[1], false), 87),
        ("a wrong checksum", 9, change(70, &[0xff], false), 2),
        ("a short batch", 9, good[..good.len() - 1].to_vec(), 87),
        ("a head and no more", 9, good[..HEAD_BYTES - 1].to_vec(), 87),
        ("a codec that is none", 9, change(22, &[5], true), 87),
        ("gzip that is none", 9, change(22, &[1], true), 87),
        ("a length that lies", 9, change(HEAD_BYTES, &[0x7e], true), 87),
        ("a base offset", 9, change(7, &[9], false), 87),
        ("zstd too early", 6, batch(Codec::Zstd, NOW, &["a"]), 76),
        ("a count that is not that of the offsets", 9, change(60, &[1], true), 87),
        ("a control batch", 9, change(22, &[0x20], true), 87),
        ("a transactional batch", 9, change(22, &[0x10], true), 53),
        ("two hours in the future", 9, batch(Codec::None, NOW + 7_200_000, &["a"]), 32),
        ("too large", 9, batch(Codec::None, NOW, &["x".repeat(2_000_000).as_str()]), 10),
    ];
    for (what, version, records, code) in cases {
        let mut run = Run::new();
        topic(&mut run, "t", &[]);
        let answer = produce(&mut run, version, &records);
        assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{what}: {answer:?}");
        assert!(run.hub.stored("t", 1).is_empty(), "{what}");
    }
}

#[test]
fn octets_behind_a_batch_are_not_stored() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let good = batch(Codec::None, NOW, &["a", "b"]);
    assert_eq!(produce(&mut run, 9, &[&good[..], &[0]].concat()).error_code, 0);
    assert_eq!(run.hub.stored("t", 1)[0].bytes, good);
}

#[test]
fn a_compacted_topic_names_the_records_without_a_key() {
    let mut run = Run::new();
    topic(&mut run, "t", &[("cleanup.policy", "compact")]);
    assert_eq!(produce(&mut run, 9, &batch(Codec::Lz4, NOW, &["a", "b"])).error_code, 0);
    let keys = run.hub.stored("t", 1)[0].keys.clone();
    assert_eq!(keys.len(), 2);
    assert!(keys[0] != keys[1] && !keys[0].tombstone);
    let mut builder = stele_record::batch::builder::Builder::default();
    builder.put(0, NOW, (Some(b"k"), Some(b"v")), std::iter::empty());
    builder.put(1, NOW, (None, Some(b"v")), std::iter::empty());
    let bad = builder.finish(0, -1, Codec::None);
    let answer = produce(&mut run, 9, &bad);
    assert_eq!(answer.error_code, 87);
    let told: Vec<i32> = answer.record_errors.iter().map(|one| one.batch_index).collect();
    assert_eq!(told, [1]);
}

#[test]
fn a_topic_may_set_timestamps_and_the_codec() {
    let mut run = Run::new();
    topic(&mut run, "t", &[("message.timestamp.type", "LogAppendTime"), ("compression.type", "zstd")]);
    let answer = produce(&mut run, 9, &batch(Codec::Gzip, 5, &["a", "b"]));
    assert_eq!((answer.error_code, answer.log_append_time_ms), (0, NOW));
    let stored = run.hub.stored("t", 1);
    let (stored, _) = Batch::first(&stored[0].bytes).unwrap();
    stored.verify().unwrap();
    assert!(stored.head().attributes.is_log_append_time());
    assert_eq!((stored.head().attributes.codec(), stored.head().max_timestamp), (Ok(Codec::Zstd), NOW));
    assert_eq!(stored.contents(1 << 20).unwrap().records().map(Result::unwrap).count(), 2);
}

#[test]
fn without_acks_nothing_is_answered_and_an_error_ends_the_connection() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let good = batch(Codec::None, NOW, &["a"]);
    run.send(ApiKey::Produce, 9, &request("t", Uuid::default(), 0, Some(&good)));
    assert_eq!((run.hub.stored("t", 1).len(), run.is_silent()), (1, true));
    let Some(Op::Append(appends)) = run.ops.last() else { panic!("an append") };
    assert!(!appends.awaited);
    run.send(ApiKey::Produce, 9, &request("t", Uuid::default(), 0, Some(b"junk")));
    assert!(run.is_silent() && run.closed.is_some());
}

#[test]
fn a_partition_that_has_just_come_is_found() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let records = batch(Codec::None, NOW, &["v"]);
    assert_eq!(produce(&mut run, 9, &records).error_code, 0);
    let mut request = request("t", Uuid::default(), -1, Some(&records));
    request.topic_data[0].partition_data[0].index = 2;
    let code = |run: &mut Run| {
        let body = run.call(ApiKey::Produce, 9, &request);
        let answer: ProduceResponse<'_> = ApiKey::Produce.read(9, &body).unwrap();
        answer.responses[0].partition_responses[0].error_code
    };
    assert_eq!(code(&mut run), 3);
    let more = CreatePartitionsTopic { name: "t".into(), count: 3, ..CreatePartitionsTopic::default() };
    let more = CreatePartitionsRequest { topics: vec![more], ..CreatePartitionsRequest::default() };
    run.call(ApiKey::CreatePartitions, 3, &more);
    assert_eq!(code(&mut run), 0, "what was known of the topic is a moment old");
}

#[test]
fn unknown_topics_and_wrong_acks_are_told() {
    let mut run = Run::new();
    assert_eq!(produce(&mut run, 9, &batch(Codec::None, NOW, &["a"])).error_code, 3);
    assert_eq!(produce(&mut run, 13, &batch(Codec::None, NOW, &["a"])).error_code, 100);
    topic(&mut run, "t", &[]);
    assert_eq!(produce(&mut run, 9, &batch(Codec::None, NOW, &["a"])).error_code, 0, "it was made meanwhile");
    let good = batch(Codec::None, NOW, &["a"]);
    let body = run.call(ApiKey::Produce, 9, &request("t", Uuid::default(), 2, Some(&good)));
    let answer: ProduceResponse<'_> = ApiKey::Produce.read(9, &body).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 21);
}

#[test]
fn pipelined_requests_are_appended_and_answered_in_order() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    run.hold = true;
    let batches: Vec<_> = ["a", "b", "c"].iter().map(|value| batch(Codec::None, NOW, &[value])).collect();
    let sent: Vec<i32> = batches
        .iter()
        .map(|records| run.send(ApiKey::Produce, 9, &request("t", Uuid::default(), -1, Some(records))))
        .collect();
    assert!(run.is_silent());
    run.release();
    let answered: Vec<i32> =
        std::iter::from_fn(|| run.answer(ApiKey::Produce, 9)).map(|(id, _)| id).collect();
    assert_eq!(answered, sent);
    let stored: Vec<_> = run.hub.stored("t", 1).iter().map(|one| one.bytes.to_vec()).collect();
    assert_eq!(stored, batches);
}

#[test]
fn while_publishers_are_blocked_batches_wait_and_other_requests_do_not_overtake() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    run.wake(Wake::Blocked("disk".to_owned()));
    let good = batch(Codec::None, NOW, &["a"]);
    run.send(ApiKey::Produce, 9, &request("t", Uuid::default(), -1, Some(&good)));
    assert!(run.is_silent() && run.hub.stored("t", 1).is_empty());
    run.wake(Wake::Unblocked);
    assert!(run.answer(ApiKey::Produce, 9).is_some());
    assert_eq!(run.hub.stored("t", 1).len(), 1);
}

#[test]
fn listeners_of_other_dialects_get_the_records() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    run.hub.listens = true;
    assert_eq!(produce(&mut run, 13, &batch(Codec::Snappy, NOW, &["a", "b"])).error_code, 0);
    let Some(Op::Append(appends)) = run.ops.last() else { panic!("an append") };
    let records = appends.records.as_ref().unwrap();
    assert_eq!((records.len(), records[0].items.len()), (1, 2));
    assert_eq!(records[0].slice(&records[0].items[1].key), b"t");
}

#[test]
fn what_listeners_would_need_too_much_memory_for_is_refused_beside_what_is_stored() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    run.hub.listens = true;
    let large = "x".repeat(24 << 20);
    let (large, small) = (batch(Codec::Zstd, NOW, &[&large]), batch(Codec::None, NOW, &["a"]));
    let parts = [(0, &large), (1, &large), (1, &small)];
    let partition_data = parts.map(|(index, records)| PartitionProduceData { index, records: Some(records) });
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: partition_data.to_vec(),
        ..TopicProduceData::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() };
    let body = run.call(ApiKey::Produce, 9, &request);
    let answer: ProduceResponse<'_> = ApiKey::Produce.read(9, &body).unwrap();
    let codes = answer.responses[0].partition_responses.iter().map(|part| (part.index, part.error_code));
    assert_eq!(codes.collect::<Vec<_>>(), [(0, 0), (1, 10), (1, 0)]);
    assert_eq!((run.hub.stored("t", 0).len(), run.hub.stored("t", 1).len()), (1, 1));
}
