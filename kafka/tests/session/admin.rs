//! Topics and their configurations.

use crate::produce::topic;
use crate::support::Run;
use stele_kafka::Profile;
use stele_kafka::codec::api::ApiKey;
use stele_kafka::codec::generated::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use stele_kafka::codec::generated::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
    CreateTopicsResponse,
};
use stele_kafka::codec::generated::delete_topics::{
    DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use stele_kafka::codec::generated::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use stele_kafka::codec::generated::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
};
use stele_kafka::codec::generated::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use stele_kafka::codec::generated::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use stele_kafka::codec::generated::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use stele_kafka::codec::generated::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use stele_kafka::codec::wire::Uuid;

fn metadata(run: &mut Run, version: i16, names: &[&'static str], create: bool) -> MetadataResponse<'static> {
    let topics = names
        .iter()
        .map(|name| MetadataRequestTopic { name: Some((*name).into()), topic_id: Uuid::default() });
    let request = MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: create,
        ..MetadataRequest::default()
    };
    let body = run.call(ApiKey::Metadata, version, &request);
    ApiKey::Metadata.read(version, body.leak()).unwrap()
}

#[test]
fn a_name_that_differs_from_another_in_dots_and_underscores_only_is_refused() {
    let mut run = Run::new();
    topic(&mut run, "a.b_c", &[]);
    let names = ["a_b.c", "a.b-c", "x.y", "x_y", "a.b_c"];
    let topics = names.map(|name| CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    });
    let request = CreateTopicsRequest { topics: topics.to_vec(), ..CreateTopicsRequest::default() };
    let body = run.call(ApiKey::CreateTopics, 7, &request);
    let answer: CreateTopicsResponse<'_> = ApiKey::CreateTopics.read(7, &body).unwrap();
    let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [17, 0, 0, 17, 36]);
    let answer = metadata(&mut run, 12, &["a_b_c", "new.one"], true);
    let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [17, 0]);
}

#[test]
fn a_topic_that_is_asked_for_is_made_if_both_sides_allow_it() {
    for version in 0..=13 {
        let mut run = Run::with(Profile { partitions: 3, ..Profile::default() });
        let answer = metadata(&mut run, version, &["t", "t", "bad name"], true);
        let codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
        assert_eq!(codes, [0, 17], "each name is answered once; version {version}");
        assert_eq!((answer.topics[0].partitions.len(), answer.brokers.len()), (3, 1));
        assert_eq!((answer.brokers[0].port, answer.topics[0].partitions[2].leader_id), (9092, 1));
    }
    let mut run = Run::new();
    assert_eq!(metadata(&mut run, 12, &["t"], false).topics[0].error_code, 3);
    let mut run = Run::with(Profile { auto_create: false, ..Profile::default() });
    assert_eq!(metadata(&mut run, 3, &["t"], true).topics[0].error_code, 3);
}

#[test]
fn topics_are_described_by_id_and_all_together() {
    let mut run = Run::new();
    topic(&mut run, "a", &[]);
    topic(&mut run, "b", &[]);
    let id = Uuid(run.hub.info("a").unwrap().uuid.0);
    assert_eq!((id.0[6] >> 4, id.0[8] >> 6), (4, 2), "a random UUID");
    let topics = [id, Uuid([9; 16])].map(|topic_id| MetadataRequestTopic { name: None, topic_id });
    let request = MetadataRequest { topics: Some(topics.to_vec()), ..MetadataRequest::default() };
    let body = run.call(ApiKey::Metadata, 12, &request);
    let answer: MetadataResponse<'_> = ApiKey::Metadata.read(12, &body).unwrap();
    let told: Vec<_> = answer.topics.iter().map(|topic| (topic.error_code, topic.name.as_deref())).collect();
    assert_eq!(told, [(0, Some("a")), (100, None)]);
    let body = run.call(ApiKey::Metadata, 12, &MetadataRequest::default());
    let answer: MetadataResponse<'_> = ApiKey::Metadata.read(12, &body).unwrap();
    assert_eq!(answer.topics.len(), 2);
    assert_eq!(metadata(&mut run, 1, &[], true).topics.len(), 0, "an empty list is none from version 1 on");
    assert_eq!(metadata(&mut run, 0, &[], true).topics.len(), 2);
}

fn create(run: &mut Run, topics: Vec<CreatableTopic<'static>>) -> Vec<(i16, i32, i16)> {
    let request = CreateTopicsRequest { topics, ..CreateTopicsRequest::default() };
    let body = run.call(ApiKey::CreateTopics, 7, &request);
    let answer: CreateTopicsResponse<'_> = ApiKey::CreateTopics.read(7, &body).unwrap();
    let told = answer.topics.iter();
    told.map(|one| (one.error_code, one.num_partitions, one.replication_factor)).collect()
}

fn named(name: &'static str) -> CreatableTopic<'static> {
    CreatableTopic {
        name: name.into(),
        num_partitions: -1,
        replication_factor: -1,
        ..CreatableTopic::default()
    }
}

#[test]
fn what_cannot_be_made_is_told_beside_what_was() {
    let mut run = Run::new();
    let config = |name: &'static str, value: &'static str| CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
    };
    let assigned = |broker| vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![broker] }];
    let topics = vec![
        named("fine"),
        CreatableTopic { num_partitions: 4, replication_factor: 3, ..named("three") },
        CreatableTopic { num_partitions: 0, ..named("none") },
        CreatableTopic { replication_factor: 9, ..named("many") },
        named("two"),
        named("two"),
        named("no/good"),
        CreatableTopic { configs: vec![config("retention.ms", "soon")], ..named("config") },
        CreatableTopic { configs: vec![config("no.such", "1")], ..named("config2") },
        CreatableTopic { assignments: assigned(1), ..named("here") },
        CreatableTopic { assignments: assigned(2), ..named("elsewhere") },
    ];
    let told = create(&mut run, topics);
    let bad = |code| (code, -1, -1);
    let expected =
        [(0, 1, 1), (0, 4, 3), bad(37), bad(38), bad(42), bad(17), bad(40), bad(40), (0, 1, 1), bad(39)];
    assert_eq!(told, expected);
    assert_eq!(create(&mut run, vec![named("fine")]), [bad(36)]);
}

#[test]
fn topics_grow_and_go() {
    let mut run = Run::new();
    topic(&mut run, "t", &[]);
    let grown = CreatePartitionsTopic { name: "t".into(), count: 5, assignments: None };
    let request = CreatePartitionsRequest { topics: vec![grown], timeout_ms: 0, validate_only: false };
    let body = run.call(ApiKey::CreatePartitions, 3, &request);
    let answer: CreatePartitionsResponse<'_> = ApiKey::CreatePartitions.read(3, &body).unwrap();
    assert_eq!(answer.results[0].error_code, 0);
    let info = run.hub.info("t").unwrap();
    assert_eq!(info.partitions.len(), 5);
    let states = [Uuid(info.uuid.0), Uuid([9; 16])].map(|topic_id| DeleteTopicState { name: None, topic_id });
    let request = DeleteTopicsRequest { topics: states.to_vec(), ..DeleteTopicsRequest::default() };
    let body = run.call(ApiKey::DeleteTopics, 6, &request);
    let answer: DeleteTopicsResponse<'_> = ApiKey::DeleteTopics.read(6, &body).unwrap();
    let told: Vec<_> = answer.responses.iter().map(|one| (one.error_code, one.name.as_deref())).collect();
    assert_eq!(told, [(0, Some("t")), (100, None)]);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], ..DeleteTopicsRequest::default() };
    let body = run.call(ApiKey::DeleteTopics, 3, &request);
    let answer: DeleteTopicsResponse<'_> = ApiKey::DeleteTopics.read(3, &body).unwrap();
    assert_eq!(answer.responses[0].error_code, 3);
}

fn configs(run: &mut Run, kind: i8, name: &'static str) -> (i16, Vec<(String, String, i8)>) {
    let resource =
        DescribeConfigsResource { resource_type: kind, resource_name: name.into(), configuration_keys: None };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let body = run.call(ApiKey::DescribeConfigs, 4, &request);
    let answer: DescribeConfigsResponse<'_> = ApiKey::DescribeConfigs.read(4, &body).unwrap();
    let result = &answer.results[0];
    let shown = result.configs.iter();
    let silent =
        |one: &DescribeConfigsResourceResult<'_>| one.documentation.as_deref().is_none_or(str::is_empty);
    assert!(!result.configs.iter().any(silent), "what each configuration of {name} means is told");
    let value = |one: &Option<std::borrow::Cow<'_, str>>| one.as_deref().unwrap_or_default().to_owned();
    (
        result.error_code,
        shown.map(|one| (one.name.to_string(), value(&one.value), one.config_source)).collect(),
    )
}

#[test]
fn configurations_are_shown_and_changed() {
    let mut run = Run::new();
    topic(&mut run, "t", &[("retention.ms", "1000")]);
    let steps = [
        ("retention.ms", 1, None),
        ("cleanup.policy", 2, Some("compact")),
        ("max.message.bytes", 0, Some("2048")),
    ];
    let steps = steps.map(|(name, config_operation, value)| AlterableConfig {
        name: name.into(),
        config_operation,
        value: Some(value.unwrap_or_default().into()),
    });
    let resource =
        AlterConfigsResource { resource_type: 2, resource_name: "t".into(), configs: steps.to_vec() };
    let broker = AlterConfigsResource { resource_type: 4, resource_name: "1".into(), configs: Vec::new() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource, broker], validate_only: false };
    let body = run.call(ApiKey::IncrementalAlterConfigs, 1, &request);
    let answer: IncrementalAlterConfigsResponse<'_> = ApiKey::IncrementalAlterConfigs.read(1, &body).unwrap();
    let codes: Vec<i16> = answer.responses.iter().map(|one| one.error_code).collect();
    assert_eq!(codes, [0, 42]);
    let (code, shown) = configs(&mut run, 2, "t");
    assert_eq!(code, 0);
    let find =
        |name: &str| shown.iter().find(|one| one.0 == name).map(|one| (one.1.as_str(), one.2)).unwrap();
    assert_eq!(find("retention.ms"), ("604800000", 5));
    assert_eq!(find("cleanup.policy"), ("compact,delete", 1));
    assert_eq!(find("max.message.bytes"), ("2048", 1));
    let settings = &run.hub.info("t").unwrap().settings;
    assert!(settings.compact && settings.delete && settings.batch_bytes_max == 2048);
    assert_eq!(configs(&mut run, 2, "other").0, 3);
    assert!(configs(&mut run, 4, "1").1.iter().any(|one| one.0 == "num.partitions"));
    assert_eq!(configs(&mut run, 4, "7").0, 42);
}

#[test]
fn partitions_are_described_a_bounded_number_at_a_time() {
    let mut run = Run::new();
    for name in ["a", "b", "c"] {
        topic(&mut run, name, &[]);
    }
    let mut cursor: Option<(String, i32)> = None;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let at =
            cursor.as_ref().map(|(name, index)| Cursor { topic_name: name.into(), partition_index: *index });
        let request =
            DescribeTopicPartitionsRequest { response_partition_limit: 3, cursor: at, ..Default::default() };
        let body = run.call(ApiKey::DescribeTopicPartitions, 0, &request);
        let answer: DescribeTopicPartitionsResponse<'_> =
            ApiKey::DescribeTopicPartitions.read(0, &body).unwrap();
        for topic in &answer.topics {
            seen.extend(
                topic
                    .partitions
                    .iter()
                    .map(|one| format!("{}{}", topic.name.as_deref().unwrap(), one.partition_index)),
            );
        }
        cursor = answer.next_cursor.map(|next| (next.topic_name.to_string(), next.partition_index));
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a0", "a1", "b0", "b1", "c0", "c1"]);
}

#[test]
fn one_node_is_the_cluster_and_coordinates_all_groups() {
    let mut run = Run::with(Profile { host: "broker.example".to_owned(), node_id: 5, ..Profile::default() });
    let request = DescribeClusterRequest::default();
    let body = run.call(ApiKey::DescribeCluster, 2, &request);
    let answer: DescribeClusterResponse<'_> = ApiKey::DescribeCluster.read(2, &body).unwrap();
    assert_eq!((answer.controller_id, &*answer.brokers[0].host), (5, "broker.example"));
    for (key_type, code) in [(0, 0), (1, 53), (2, 42)] {
        let request =
            FindCoordinatorRequest { key: "g".into(), key_type, coordinator_keys: vec!["g".into()] };
        let body = run.call(ApiKey::FindCoordinator, 6, &request);
        let answer: FindCoordinatorResponse<'_> = ApiKey::FindCoordinator.read(6, &body).unwrap();
        assert_eq!(answer.coordinators[0].error_code, code);
        let body = run.call(ApiKey::FindCoordinator, 2, &request);
        let answer: FindCoordinatorResponse<'_> = ApiKey::FindCoordinator.read(2, &body).unwrap();
        assert_eq!((answer.error_code, answer.node_id), (code, if code == 0 { 5 } else { -1 }));
    }
}

#[test]
fn a_cursor_that_no_answer_had_is_refused_for_each_topic() {
    let mut run = Run::new();
    for name in ["a", "b", "d"] {
        topic(&mut run, name, &[]);
    }
    let mut told = |names: &[&'static str], cursor: (&'static str, i32)| {
        let cursor = Cursor { topic_name: cursor.0.into(), partition_index: cursor.1 };
        let request = DescribeTopicPartitionsRequest {
            topics: names.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
            response_partition_limit: 2000,
            cursor: Some(cursor),
        };
        let body = run.call(ApiKey::DescribeTopicPartitions, 0, &request);
        let answer: DescribeTopicPartitionsResponse<'_> =
            ApiKey::DescribeTopicPartitions.read(0, &body).unwrap();
        assert!(answer.next_cursor.is_none());
        let topics = answer.topics.into_iter();
        topics
            .map(|one| (one.error_code, one.name.unwrap().to_string(), one.partitions.len()))
            .collect::<Vec<_>>()
    };
    let of = |told: &[(i16, &str, usize)]| -> Vec<_> {
        told.iter().map(|(code, name, count)| (*code, (*name).to_owned(), *count)).collect()
    };
    let refused = of(&[(42, "a", 0), (42, "b", 0), (42, "d", 0)]);
    for cursor in [("b", -1), ("c", 0), ("~", 0), ("", 0), ("bad name", 1)] {
        assert_eq!(told(&["d", "b", "a"], cursor), refused, "{cursor:?}");
    }
    assert_eq!(told(&["a", "b", "d"], ("b", 7)), of(&[(0, "b", 0), (0, "d", 2)]), "behind the last one");
    assert_eq!(told(&["a", "z"], ("z", 1)), of(&[(3, "z", 0)]));
    assert_eq!(told(&[], ("c", 1)), of(&[(0, "d", 2)]), "of all topics one may have gone meanwhile");
    assert!(told(&[], ("b", -3)).is_empty());
}

#[test]
fn the_topic_of_kafkas_controllers_cannot_be_made() {
    let mut run = Run::new();
    assert_eq!(create(&mut run, vec![named("__cluster_metadata")]), [(42, -1, -1)]);
    let answer = metadata(&mut run, 12, &["__cluster_metadata"], true);
    assert_eq!(answer.topics[0].error_code, 3);
    assert!(run.hub.info("__cluster_metadata").is_none());
}

#[test]
fn the_node_has_no_loggers_and_each_is_unknown() {
    let mut run = Run::new();
    assert_eq!(configs(&mut run, 8, "1"), (0, Vec::new()));
    for other in ["", "2", "x"] {
        assert_eq!(configs(&mut run, 8, other).0, 42, "{other}");
    }
    let step = |operation: i8, value: Option<&'static str>| AlterableConfig {
        name: "kafka".into(),
        config_operation: operation,
        value: value.map(Into::into),
    };
    let mut altered = |node: &'static str, configs: Vec<AlterableConfig<'static>>| {
        let resource = AlterConfigsResource { resource_type: 8, resource_name: node.into(), configs };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let body = run.call(ApiKey::IncrementalAlterConfigs, 1, &request);
        let answer: IncrementalAlterConfigsResponse<'_> =
            ApiKey::IncrementalAlterConfigs.read(1, &body).unwrap();
        answer.responses[0].error_code
    };
    assert_eq!(altered("1", vec![step(0, Some("INFO"))]), 40);
    assert_eq!(altered("1", vec![step(1, None)]), 40);
    assert_eq!(altered("1", Vec::new()), 0);
    for wrong in [step(0, None), step(2, Some("INFO")), step(3, Some("INFO")), step(7, Some("INFO"))] {
        assert_eq!(altered("1", vec![wrong]), 42);
    }
    assert_eq!(altered("1", vec![step(0, Some("INFO")), step(0, Some("WARN"))]), 42);
    assert_eq!(altered("2", vec![step(0, Some("INFO"))]), 42);
}
