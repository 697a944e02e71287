//! What partitions hold, as tools ask for it.

use crate::produce::{request, topic};
use crate::support::{Run, batch};
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResponse,
};
use stele_kafka::codec::wire::Uuid;
use stele_record::batch::compression::Codec;

/// Appends to partition 1 of `a`; how many bytes.
fn produce(run: &mut Run) -> i64 {
    let sent = batch(Codec::None, 1_000_000_000_000, &["x", "y"]);
    run.call(ApiKey::Produce, 9, &request("a", Uuid::default(), -1, Some(&sent)));
    i64::try_from(sent.len()).unwrap()
}

fn described(
    run: &mut Run,
    version: i16,
    topics: Option<Vec<(&'static str, Vec<i32>)>>,
) -> Vec<(String, i32, i64)> {
    let topic =
        |(name, partitions): (&'static str, _)| DescribableLogDirTopic { topic: name.into(), partitions };
    let topics = topics.map(|topics| topics.into_iter().map(topic).collect());
    let body = run.call(ApiKey::DescribeLogDirs, version, &DescribeLogDirsRequest { topics });
    let answer: DescribeLogDirsResponse<'_> = ApiKey::DescribeLogDirs.read(version, &body).unwrap();
    assert_eq!((answer.error_code, answer.results.len()), (0, 1), "one directory");
    let directory = &answer.results[0];
    assert_eq!((directory.error_code, &*directory.log_dir), (0, "stele-data"));
    assert_eq!((directory.total_bytes, directory.usable_bytes), (-1, -1), "not told");
    let parts =
        directory.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |part| (topic, part)));
    let told = parts.map(|(topic, part)| {
        assert_eq!((part.offset_lag, part.is_future_key), (0, false));
        (topic.name.to_string(), part.partition_index, part.partition_size)
    });
    told.collect()
}

#[test]
fn every_partition_tells_the_bytes_of_its_batches() {
    for version in 1..=5 {
        let mut run = Run::new();
        assert_eq!(described(&mut run, version, None), []);
        topic(&mut run, "a", &[]);
        topic(&mut run, "b", &[]);
        let bytes = produce(&mut run);
        let part = |topic: &str, index, bytes| (topic.to_owned(), index, bytes);
        let all = [part("a", 0, 0), part("a", 1, bytes), part("b", 0, 0), part("b", 1, 0)];
        assert_eq!(described(&mut run, version, None), all);
        produce(&mut run);
        let asked = vec![("a", vec![1, 7]), ("b", vec![]), ("c", vec![0])];
        assert_eq!(described(&mut run, version, Some(asked)), [part("a", 1, 2 * bytes)]);
        assert_eq!(described(&mut run, version, Some(Vec::new())), []);
    }
}
