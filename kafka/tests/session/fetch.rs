//! Fetching: what is read, how long is waited, and where partitions begin and end.

use crate::produce::{request, topic};
use crate::support::{Run, batch};
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use stele_kafka::codec::generated::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use stele_kafka::codec::generated::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use stele_kafka::codec::generated::metadata::MetadataRequest;
use stele_kafka::codec::wire::Uuid;
use stele_model::group::{GROUP_STREAM, GroupChanges};
use stele_model::id::Position;
use stele_model::op::{Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_record::batch::Batch;
use stele_record::batch::compression::Codec;

const NOW: i64 = 1_000_000_000_000;

fn fetch_request(
    run: &Run,
    version: i16,
    from: i64,
    (min_bytes, max_wait_ms): (i32, i32),
) -> FetchRequest<'static> {
    let id = run.hub.info("t").map(|info| Uuid(info.uuid.0)).unwrap_or_default();
    let by_id = version >= 13;
    let partition = FetchPartition {
        partition: 1,
        fetch_offset: from,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: if by_id { "" } else { "t" }.into(),
        topic_id: if by_id { id } else { Uuid::default() },
        partitions: vec![partition],
    };
    FetchRequest {
        max_wait_ms,
        min_bytes,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

fn partition(body: Vec<u8>, version: i16) -> PartitionData<'static> {
    let answer: FetchResponse<'_> = ApiKey::Fetch.read(version, body.leak()).unwrap();
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    answer.responses[0].partitions[0].clone()
}

fn produce(run: &mut Run, values: &[&str]) {
    let records = batch(Codec::None, NOW, values);
    run.call(ApiKey::Produce, 9, &request("t", Uuid::default(), -1, Some(&records)));
}

#[test]
fn no_more_fetches_are_read_at_once_than_memory_is_meant_for() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let mut request = fetch_request(&run, 12, 0, (1, 1000));
    request.max_bytes = i32::MAX;
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    let sent: Vec<i32> = (0..5).map(|_| run.send(ApiKey::Fetch, 12, &request)).collect();
    let reads = |run: &Run| run.ops.iter().filter(|op| matches!(op, Op::Read(_))).count();
    assert_eq!(reads(&run), 2);
    run.pass_ms(1000);
    assert_eq!(reads(&run), 4, "when those are answered the next are looked at");
    run.pass_ms(2000);
    let answered: Vec<i32> =
        std::iter::from_fn(|| run.answer(ApiKey::Fetch, 12)).map(|(number, _)| number).collect();
    assert_eq!(answered, sent);
}

#[test]
fn batches_come_back_with_their_offsets_at_every_version() {
    for version in 4..=18 {
        let mut run = Run::new();
        topic(&mut run, "t", &[]);
        produce(&mut run, &["a", "b"]);
        produce(&mut run, &["x".repeat(100_000).as_str()]);
        let request = fetch_request(&run, version, 1, (1, 0));
        let part = partition(run.call(ApiKey::Fetch, version, &request), version);
        assert_eq!((part.error_code, part.high_watermark, part.last_stable_offset), (0, 3, 3), "{version}");
        let (first, rest) = Batch::first(part.records.unwrap()).unwrap();
        first.verify().unwrap();
        let (second, rest) = Batch::first(rest).unwrap();
        second.verify().unwrap();
        assert!(rest.is_empty());
        assert_eq!((first.head().base_offset, second.head().base_offset), (0, 2));
        assert_eq!((first.head().leader_epoch, first.head().count), (0, 2));
    }
}

#[test]
fn a_fetch_waits_for_an_append_and_later_answers_wait_for_it() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let request = fetch_request(&run, 16, 0, (1, 500));
    let waiting = run.send(ApiKey::Fetch, 16, &request);
    let later = run.send(ApiKey::Metadata, 13, &MetadataRequest::default());
    run.pass_ms(499);
    assert!(run.is_silent() && run.hub.is_watched());
    let records = batch(Codec::None, NOW, &["a"]);
    let produced =
        run.send(ApiKey::Produce, 9, &crate::produce::request("t", Uuid::default(), -1, Some(&records)));
    let (id, body) = run.answer(ApiKey::Fetch, 16).unwrap();
    assert_eq!((id, partition(body, 16).records.map(<[u8]>::len)), (waiting, Some(records.len())));
    assert_eq!(run.answer(ApiKey::Metadata, 13).unwrap().0, later);
    assert_eq!(run.answer(ApiKey::Produce, 9).unwrap().0, produced);
    assert!(!run.hub.is_watched());
}

#[test]
fn a_fetch_that_is_woken_reads_without_a_watch_and_watches_again_if_it_finds_nothing() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let request = fetch_request(&run, 12, 0, (1, 500));
    run.send(ApiKey::Fetch, 12, &request);
    let asked = run.ops.len();
    run.wake_for_nothing();
    assert!(run.is_silent() && run.hub.is_watched());
    let watches = run.ops[asked..].iter().map(|op| matches!(op, Op::Read(reads) if reads.watch.is_some()));
    assert_eq!(watches.collect::<Vec<_>>(), [false, true]);
    let asked = run.ops.len();
    let records = batch(Codec::None, NOW, &["a"]);
    run.send(ApiKey::Produce, 9, &crate::produce::request("t", Uuid::default(), -1, Some(&records)));
    let (_, body) = run.answer(ApiKey::Fetch, 12).unwrap();
    assert_eq!(partition(body, 12).records.map(<[u8]>::len), Some(records.len()));
    assert!(
        !run.ops[asked..].iter().any(|op| matches!(op, Op::Unwatch { .. })),
        "there is nothing to take back"
    );
}

#[test]
fn a_fetch_is_answered_with_nothing_when_its_time_is_over() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let request = fetch_request(&run, 12, 0, (1, 500));
    run.send(ApiKey::Fetch, 12, &request);
    run.pass_ms(500);
    let (_, body) = run.answer(ApiKey::Fetch, 12).unwrap();
    assert_eq!(partition(body, 12).records, Some(&b""[..]));
    assert!(!run.hub.is_watched());
}

#[test]
fn a_fetch_that_wants_many_octets_is_answered_when_they_are_there_or_with_what_is() {
    for enough in [true, false] {
        let mut run = Run::new();
        topic(&mut run, "t", &[]);
        let request = fetch_request(&run, 12, 0, (1000, 500));
        let waiting = run.send(ApiKey::Fetch, 12, &request);
        for value in ["a", "b"] {
            let records = batch(Codec::None, NOW, &[value.repeat(if enough { 300 } else { 1 }).as_str()]);
            run.send(ApiKey::Produce, 9, &crate::produce::request("t", Uuid::default(), -1, Some(&records)));
            run.pass_ms(10);
        }
        assert_eq!(run.is_silent(), !enough);
        run.pass_ms(500);
        let (id, body) = run.answer(ApiKey::Fetch, 12).unwrap();
        assert_eq!(id, waiting);
        let part = partition(body, 12);
        assert_eq!(part.high_watermark, 2);
        let (_, rest) = Batch::first(part.records.unwrap()).unwrap();
        assert!(!rest.is_empty(), "both batches");
    }
}

#[test]
fn errors_of_a_partition_are_told_at_once() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let request = fetch_request(&run, 12, 7, (1, 500));
    let part = partition(run.call(ApiKey::Fetch, 12, &request), 12);
    assert_eq!((part.error_code, part.high_watermark, part.records), (1, -1, Some(&b""[..])));
    let mut request = fetch_request(&run, 12, 0, (1, 0));
    request.topics[0].partitions[0].current_leader_epoch = 3;
    assert_eq!(partition(run.call(ApiKey::Fetch, 12, &request), 12).error_code, 75);
    request.topics[0].partitions[0].partition = -1;
    assert_eq!(partition(run.call(ApiKey::Fetch, 12, &request), 12).error_code, 3);
    request.topics[0].topic = "other".into();
    assert_eq!(partition(run.call(ApiKey::Fetch, 12, &request), 12).error_code, 3);
}

#[test]
fn a_full_request_is_served_whatever_session_it_names_and_one_that_goes_on_with_a_session_is_not() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    for (session_id, session_epoch, code) in
        [(0, -1, 0), (0, 0, 0), (-1, -1, 0), (5, -1, 0), (5, 0, 0), (5, 1, 70), (0, 1, 70), (-1, 7, 70)]
    {
        let request = FetchRequest { session_id, session_epoch, ..fetch_request(&run, 12, 0, (1, 0)) };
        let body = run.call(ApiKey::Fetch, 12, &request);
        let answer: FetchResponse<'_> = ApiKey::Fetch.read(12, &body).unwrap();
        let told = (answer.error_code, answer.session_id, answer.responses.len());
        assert_eq!(told, (code, 0, usize::from(code == 0)), "session {session_id}, epoch {session_epoch}");
    }
}

fn offsets(run: &mut Run, version: i16, timestamp: i64) -> (i16, i64, i64) {
    let partition = ListOffsetsPartition { partition_index: 1, timestamp, ..ListOffsetsPartition::default() };
    let topics = vec![ListOffsetsTopic { name: "t".into(), partitions: vec![partition] }];
    let request = ListOffsetsRequest { replica_id: -1, topics, ..ListOffsetsRequest::default() };
    let body = run.call(ApiKey::ListOffsets, version, &request);
    let answer: ListOffsetsResponse<'_> = ApiKey::ListOffsets.read(version, &body).unwrap();
    let part = &answer.topics[0].partitions[0];
    (part.error_code, part.offset, part.timestamp)
}

#[test]
fn offsets_are_found_by_place_and_by_time() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    produce(&mut run, &["a", "b", "c"]);
    produce(&mut run, &["d"]);
    for version in 1..=11 {
        assert_eq!(offsets(&mut run, version, -1), (0, 4, -1));
        assert_eq!(offsets(&mut run, version, -2), (0, 0, -1));
        assert_eq!(offsets(&mut run, version, NOW + 1), (0, 1, NOW + 1));
        assert_eq!(offsets(&mut run, version, NOW + 9), (0, -1, -1));
        let newest = if version >= 7 { (0, 2, NOW + 2) } else { (35, -1, -1) };
        assert_eq!(offsets(&mut run, version, -3), newest);
    }
    assert_eq!(offsets(&mut run, 8, -4), (0, 0, -1));
    assert_eq!(offsets(&mut run, 9, -5), (0, -1, -1));
    assert_eq!(offsets(&mut run, 11, -6), (0, -1, -1));
    assert_eq!(offsets(&mut run, 11, -7), (35, -1, -1));
}

#[test]
fn one_request_by_time_opens_a_bounded_number_of_octets() {
    const TOPICS: [&str; 4] = ["a", "b", "c", "d"];
    let mut run = Run::new();
    // Its key and its value.
    let large = batch(Codec::Zstd, NOW, &["x".repeat(25 << 20).as_str()]);
    for name in TOPICS {
        topic(&mut run, name, &[]);
        run.call(ApiKey::Produce, 9, &request(name, Uuid::default(), -1, Some(&large)));
    }
    let mut codes = |version: i16, timestamp: i64| -> Vec<i16> {
        let part = ListOffsetsPartition { partition_index: 1, timestamp, ..ListOffsetsPartition::default() };
        let topics =
            TOPICS.map(|name| ListOffsetsTopic { name: name.into(), partitions: vec![part.clone()] });
        let request =
            ListOffsetsRequest { replica_id: -1, topics: topics.to_vec(), ..ListOffsetsRequest::default() };
        let body = run.call(ApiKey::ListOffsets, version, &request);
        let answer: ListOffsetsResponse<'_> = ApiKey::ListOffsets.read(version, &body).unwrap();
        answer.topics.iter().map(|topic| topic.partitions[0].error_code).collect()
    };
    assert_eq!(codes(5, NOW), [0, 0, 0, 78], "who asks again gets the rest");
    assert_eq!(codes(4, NOW), [0, 0, 0, 5]);
    assert_eq!(codes(7, -1), [0, 0, 0, 0], "places cost nothing");
}

#[test]
fn records_are_deleted_up_to_an_offset_or_to_the_end() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    produce(&mut run, &["a", "b", "c"]);
    for (offset, low, code) in [(2, 2, 0), (9, -1, 1), (-1, 3, 0)] {
        let partitions = vec![DeleteRecordsPartition { partition_index: 1, offset }];
        let topics = vec![DeleteRecordsTopic { name: "t".into(), partitions }];
        let request = DeleteRecordsRequest { topics, timeout_ms: 0 };
        let body = run.call(ApiKey::DeleteRecords, 2, &request);
        let answer: DeleteRecordsResponse<'_> = ApiKey::DeleteRecords.read(2, &body).unwrap();
        let part = &answer.topics[0].partitions[0];
        assert_eq!((part.low_watermark, part.error_code), (low, code), "to {offset}");
    }
}

#[test]
fn the_groups_topic_is_read_by_id_and_has_ends() {
    let mut run = Run::new();
    topic(&mut run, GROUP_STREAM, &[]);
    let shown = || Outcome::Done(Done::GroupChanges(GroupChanges { end: Position(7), changes: Vec::new() }));
    run.hub.script = vec![shown(), shown(), shown(), shown()];
    let id = Uuid(run.hub.info(GROUP_STREAM).unwrap().uuid.0);
    let partitions =
        vec![FetchPartition { partition: 1, partition_max_bytes: 1000, ..FetchPartition::default() }];
    let topics = vec![FetchTopic { topic: GROUP_STREAM.into(), topic_id: id, partitions }];
    let request = FetchRequest { max_bytes: 1 << 20, topics, ..FetchRequest::default() };
    for version in [12, 16] {
        let part = partition(run.call(ApiKey::Fetch, version, &request), version);
        assert_eq!((part.error_code, part.high_watermark), (0, 7), "{version}");
    }
    let at = |timestamp| {
        let partitions =
            vec![ListOffsetsPartition { partition_index: 1, current_leader_epoch: -1, timestamp }];
        let topics = vec![ListOffsetsTopic { name: GROUP_STREAM.into(), partitions }];
        ListOffsetsRequest { topics, ..ListOffsetsRequest::default() }
    };
    for (timestamp, offset) in [(-1, 7), (-2, 0)] {
        let body = run.call(ApiKey::ListOffsets, 7, &at(timestamp));
        let answer: ListOffsetsResponse<'_> = ApiKey::ListOffsets.read(7, &body).unwrap();
        assert_eq!(answer.topics[0].partitions[0].offset, offset);
    }
    let asked = run.ops.iter().filter(|op| matches!(op, Op::Streams(StreamsWanted::These(_))));
    assert_eq!(asked.count(), 1, "the id is looked up once");
}
