//! Rows that go to NATS and to Kafka: what arrives, in which order, under which ids, read back by clients of those.

use super::{DEBEZIUM, address, broker_with, cluster, emptied, ended, relay};
use futures_util::StreamExt as _;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::UnknownTopicHandling;
use std::collections::{BTreeMap, BTreeSet};
use stele_testkit::postgres::Cluster;

/// Rows of seven aggregates, and how many of each are enough to need several batches.
const ROWS: u32 = 700;
const AGGREGATES: u32 = 7;

/// One that arrived.
struct Arrived {
    id: String,
    key: String,
    kind: String,
    payload: serde_json::Value,
}

fn insert(cluster: &Cluster) {
    let values = format!(
        "select gen_random_uuid(), 'order', 'a-' || n % {AGGREGATES}, 'Placed', jsonb_build_object('n', n) \
         from generate_series(1, {ROWS}) n"
    );
    cluster
        .sql(&format!("insert into outbox(id, aggregatetype, aggregateid, type, payload) {values}"))
        .unwrap();
}

/// All are there, under the ids that their rows had, ascending within each aggregate.
fn judge(arrived: &[Arrived], ids: &str) {
    let expected: BTreeSet<&str> = ids.lines().collect();
    assert_eq!(arrived.iter().map(|one| one.id.as_str()).collect::<BTreeSet<_>>(), expected);
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for one in arrived {
        let n = one.payload["n"].as_i64().unwrap();
        assert_eq!(one.key, format!("a-{}", n % i64::from(AGGREGATES)));
        assert_eq!(one.kind, "Placed");
        let before = last.insert(&one.key, n);
        assert!(before < Some(n), "{} {n} came after {before:?}", one.key);
    }
}

fn on_its_own_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn rows_go_to_a_stream_of_nats_which_is_made() {
    let (cluster, data) = (cluster(), tempfile::tempdir().unwrap());
    cluster.sql(DEBEZIUM).unwrap();
    insert(&cluster);
    let ids = cluster.sql("select id from outbox").unwrap();
    let (_broker, ready) = broker_with(data.path(), &[]);
    let to = format!("nats://{}", address(&ready, "nats"));
    let _relay = relay(&["--postgres", &cluster.url(), "--to", &to, "--batch", "100"]);
    emptied(&cluster);
    let arrived = on_its_own_runtime(async {
        let jetstream = async_nats::jetstream::new(async_nats::connect(&to).await.unwrap());
        let stream = jetstream.get_stream("outbox_event").await.unwrap();
        assert_eq!(stream.cached_info().config.subjects, ["outbox.event.>"]);
        assert_eq!(stream.cached_info().state.messages, u64::from(ROWS));
        let config = async_nats::jetstream::consumer::pull::OrderedConfig::default();
        let consumer = stream.create_consumer(config).await.unwrap();
        let messages = consumer.messages().await.unwrap().take(ROWS as usize);
        messages
            .map(|message| {
                let message = message.unwrap();
                assert_eq!(message.subject.as_str(), "outbox.event.order");
                let lines = message.headers.as_ref().unwrap();
                let line = |name: &str| lines.get(name).unwrap().as_str().to_owned();
                assert_eq!(line("Nats-Msg-Id"), line("id"));
                assert_eq!(line("content-type"), "application/json");
                let payload = serde_json::from_slice(&message.payload).unwrap();
                Arrived { id: line("id"), key: line("key"), kind: line("type"), payload }
            })
            .collect::<Vec<_>>()
            .await
    });
    judge(&arrived, &ids);
}

#[test]
fn rows_go_to_a_topic_of_kafka_which_is_made() {
    let (cluster, data) = (cluster(), tempfile::tempdir().unwrap());
    cluster.sql(DEBEZIUM).unwrap();
    insert(&cluster);
    let ids = cluster.sql("select id from outbox").unwrap();
    let (_broker, ready) = broker_with(data.path(), &[]);
    let server = address(&ready, "kafka").to_string();
    let to = format!("kafka://{server}");
    let _relay = relay(&["--postgres", &cluster.url(), "--to", &to, "--batch", "100"]);
    emptied(&cluster);
    let arrived = on_its_own_runtime(async {
        let client = ClientBuilder::new(vec![server]).build().await.unwrap();
        let topics = client.list_topics().await.unwrap();
        let topic = topics.iter().find(|topic| topic.name == "outbox.event.order").unwrap();
        let mut arrived = Vec::new();
        for partition in &topic.partitions {
            let handling = UnknownTopicHandling::Error;
            let client = client.partition_client(&topic.name, *partition, handling).await.unwrap();
            let mut next = 0;
            loop {
                let (records, end) = client.fetch_records(next, 1..1_000_000, 1_000).await.unwrap();
                for found in records {
                    next = found.offset + 1;
                    let record = found.record;
                    let header = |name: &str| String::from_utf8(record.headers[name].clone()).unwrap();
                    let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
                    assert_eq!(header("key"), key);
                    let payload = serde_json::from_slice(record.value.as_ref().unwrap()).unwrap();
                    arrived.push(Arrived { id: header("id"), key, kind: header("type"), payload });
                }
                if next >= end {
                    break;
                }
            }
        }
        arrived
    });
    assert_eq!(arrived.len(), ROWS as usize, "and no copies, since nothing failed");
    judge(&arrived, &ids);
}

#[test]
fn what_a_broker_cannot_be_asked_for_is_parked_and_the_rest_goes_on() {
    let (cluster, data) = (cluster(), tempfile::tempdir().unwrap());
    let (_, ddl, _) = ended(&["outbox", "ddl"]);
    cluster.sql(&ddl).unwrap();
    let (_broker, ready) = broker_with(data.path(), &[]);
    for (dialect, name) in [("nats", "no such subject"), ("kafka", "Shop:Order")] {
        let row = "insert into outbox(id, aggregate_id, type, destination, payload) values";
        cluster
            .sql(&format!(
                "{row} (gen_random_uuid(), 'a', 'T', 'exchange:{name}', 'x'), \
                 (gen_random_uuid(), 'a', 'T', 'exchange:{dialect}-events', 'y'), \
                 (gen_random_uuid(), 'b', 'T', 'topic:shop/shop.{dialect}.b', 'z')"
            ))
            .unwrap();
        let to = format!("{dialect}://{}", address(&ready, dialect));
        let _relay = relay(&["--postgres", &cluster.url(), "--to", &to, "--park-after", "2"]);
        emptied(&cluster);
        let (code, list, _) = ended(&["outbox", "dead", "list", "--postgres", &cluster.url()]);
        assert!(
            code == 0 && list.lines().count() == 1 && list.contains(&format!("{name:?} is not")),
            "{list}"
        );
        cluster.sql("truncate outbox_dead").unwrap();
    }
}
