//! What every case needs: fresh names, topics, producers, readers and members, and waiting with a deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::Arguments;

/// How long an event may take that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A case, under the name that `cases.toml` lists.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Rig<'_>) -> Result<Value>,
}

/// A record as it is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) time_ms: Option<i64>,
}

/// A record as it was read.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// One case's view of the broker.
pub(crate) struct Rig<'a> {
    pub(crate) arguments: &'a Arguments,
    pub(crate) admin: AdminClient<DefaultClientContext>,
    /// Where the broker is and how it is spoken to.
    pub(crate) settings: ClientConfig,
    runtime: &'a Runtime,
    stem: String,
    topics: Vec<String>,
}

impl<'a> Rig<'a> {
    pub(crate) fn new(case: &str, arguments: &'a Arguments, runtime: &'a Runtime) -> Result<Self> {
        let settings = settings(&arguments.bootstrap, &[]);
        let millis = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let stem = format!("{case}-rdkafka-{millis:x}");
        Ok(Self { arguments, admin: settings.create()?, settings, runtime, stem, topics: Vec::new() })
    }

    /// A name that nothing else has, for a topic or a group.
    pub(crate) fn name(&self) -> String {
        self.stem.clone()
    }

    /// The number of an error, 0 for none, of an administrator's request about one thing.
    pub(crate) fn code<T, W>(
        &self,
        request: impl Future<Output = Result<Vec<Result<T, (W, RDKafkaErrorCode)>>, KafkaError>>,
    ) -> Result<i32> {
        let answers = self.runtime.block_on(request)?;
        let answer = answers.into_iter().next().context("one thing was asked for")?;
        Ok(answer.err().map_or(0, |(_, code)| code as i32))
    }

    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    pub(crate) fn create(&self, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Result<i32> {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        let new = configs.iter().fold(new, |new, (name, value)| new.set(name, value));
        self.code(self.admin.create_topics([&new], &AdminOptions::new()))
    }

    /// A topic that is ready to be used.
    pub(crate) fn topic(&mut self, partitions: i32, configs: &[(&str, &str)]) -> Result<String> {
        let topic = self.name();
        self.topics.push(topic.clone());
        let code = self.create(&topic, partitions, configs)?;
        ensure!(code == 0, "{topic} could not be created: {code}");
        until(|| Ok((self.partitions(&topic)? == partitions).then_some(())))?;
        Ok(topic)
    }

    pub(crate) fn delete(&self, topic: &str) -> Result<i32> {
        self.code(self.admin.delete_topics(&[topic], &AdminOptions::new()))
    }

    pub(crate) fn grow(&self, topic: &str, total: usize) -> Result<i32> {
        let wanted = NewPartitions::new(topic, total);
        self.code(self.admin.create_partitions([&wanted], &AdminOptions::new()))
    }

    /// How many have a leader; 0 without such a topic.
    pub(crate) fn partitions(&self, topic: &str) -> Result<i32> {
        let found = self.admin.inner().fetch_metadata(Some(topic), PATIENCE)?;
        let partitions = found.topics().iter().flat_map(|topic| topic.partitions());
        Ok(i32::try_from(partitions.filter(|partition| partition.leader() >= 0).count())?)
    }

    pub(crate) fn listed(&self, topic: &str) -> Result<bool> {
        let found = self.admin.inner().fetch_metadata(None, PATIENCE)?;
        Ok(found.topics().iter().any(|one| one.name() == topic))
    }

    /// Offsets in order; an object with a code for a record that was refused.
    pub(crate) fn produce(
        &self,
        (topic, partition): (&str, i32),
        records: &[Sent],
        more: &[(&str, &str)],
    ) -> Result<Vec<Value>> {
        let mut settings = self.settings.clone();
        settings.set("linger.ms", "2").set("message.timeout.ms", "20000");
        for (name, value) in more {
            settings.set(*name, *value);
        }
        let producer: FutureProducer = settings.create()?;
        let mut waiting = Vec::new();
        for record in records {
            let mut sent = FutureRecord::<str, str>::to(topic).partition(partition).payload(&record.value);
            sent.key = record.key.as_deref();
            sent.timestamp = record.time_ms;
            waiting.push(producer.send_result(sent).map_err(|(error, _)| error)?);
        }
        let mut placed = Vec::new();
        for delivery in waiting {
            placed.push(match self.runtime.block_on(delivery)? {
                Ok(delivery) => json!(delivery.offset),
                Err((error, _)) => json!({ "code": code_of(&error)? }),
            });
        }
        Ok(placed)
    }

    pub(crate) fn consumer(&self, more: &[(&str, &str)]) -> Result<BaseConsumer> {
        let mut settings = self.settings.clone();
        settings.set("group.id", "unused").set("enable.auto.commit", "false").set("check.crcs", "true");
        for (name, value) in more {
            settings.set(*name, *value);
        }
        Ok(settings.create()?)
    }

    /// So many records from an offset of partition 0 on.
    pub(crate) fn read(&self, topic: &str, count: usize, start: Offset) -> Result<Vec<Got>> {
        let consumer = self.consumer(&[("auto.offset.reset", "error")])?;
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(topic, 0, start)?;
        consumer.assign(&place)?;
        let mut got = Vec::new();
        until(|| {
            while got.len() < count
                && let Some(message) = consumer.poll(Duration::from_millis(200))
            {
                got.push(read(&message?));
            }
            Ok((got.len() == count).then_some(()))
        })?;
        Ok(got)
    }

    /// The first and the next offset.
    pub(crate) fn ends(&self, topic: &str) -> Result<(i64, i64)> {
        Ok(self.consumer(&[])?.fetch_watermarks(topic, 0, PATIENCE)?)
    }

    /// A member of a group.
    pub(crate) fn member(&self, group: &str, topic: &str, strategy: &str) -> Result<Member> {
        let strategy = if strategy == "cooperative" { "cooperative-sticky" } else { strategy };
        let settings = [
            ("group.id", group),
            ("auto.offset.reset", "earliest"),
            ("partition.assignment.strategy", strategy),
            ("session.timeout.ms", "10000"),
            ("heartbeat.interval.ms", "300"),
        ];
        let consumer = self.consumer(&settings)?;
        consumer.subscribe(&[topic])?;
        Ok(Member { consumer, topic: topic.to_owned() })
    }

    /// State, way of dividing and number of members of a group.
    pub(crate) fn group(&self, group: &str) -> Result<(String, String, usize)> {
        let found = self.admin.inner().fetch_group_list(Some(group), PATIENCE)?;
        let found = found.groups().first().context("the group is described")?;
        Ok((found.state().to_lowercase(), found.protocol().to_owned(), found.members().len()))
    }

    pub(crate) fn close(self) {
        for topic in &self.topics {
            let _ = self.delete(topic); // some are not there any more
        }
    }
}

/// A consumer in a group.
pub(crate) struct Member {
    consumer: BaseConsumer,
    topic: String,
}

impl Member {
    /// What has come by now.
    pub(crate) fn take(&self) -> Option<Got> {
        let message = self.consumer.poll(Duration::from_millis(100))?.ok()?;
        Some(read(&message))
    }

    pub(crate) fn assignment(&self) -> Result<Vec<i32>> {
        let held = self.consumer.assignment()?;
        let mut held: Vec<i32> = held.elements().iter().map(|place| place.partition()).collect();
        held.sort_unstable();
        Ok(held)
    }

    pub(crate) fn commit(&self, offset: i64) -> Result<i32> {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&self.topic, 0, Offset::Offset(offset))?;
        self.consumer.commit(&place, CommitMode::Sync).map_or_else(|error| code_of(&error), |()| Ok(0))
    }

    /// Offset and note of partition 0; null without a commit.
    pub(crate) fn committed(&self) -> Result<Value> {
        let mut place = TopicPartitionList::new();
        place.add_partition(&self.topic, 0);
        let found = self.consumer.committed_offsets(place, PATIENCE)?;
        let found = found.elements();
        let found = found.first().context("the partition is answered")?;
        Ok(match found.offset() {
            Offset::Offset(offset) => json!([offset, found.metadata()]),
            _ => Value::Null,
        })
    }
}

/// Notes that TLS failed, and says nothing else.
#[derive(Clone, Default)]
pub(crate) struct Heard {
    pub(crate) tls: Arc<AtomicBool>,
    pub(crate) login: Arc<AtomicBool>,
}

impl ClientContext for Heard {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, _: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::SSL) => self.tls.store(true, Ordering::Relaxed),
            Some(RDKafkaErrorCode::Authentication) => self.login.store(true, Ordering::Relaxed),
            _ => {}
        }
    }
}

impl ConsumerContext for Heard {}

pub(crate) fn settings(address: &str, more: &[(&str, &str)]) -> ClientConfig {
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", address).set_log_level(RDKafkaLogLevel::Emerg);
    for (name, value) in more {
        settings.set(*name, *value);
    }
    settings
}

/// The broker's number of an error.
pub(crate) fn code_of(error: &KafkaError) -> Result<i32> {
    let code = error.rdkafka_error_code().with_context(|| format!("the number of {error}"))?;
    Ok(code as i32)
}

fn read(message: &BorrowedMessage<'_>) -> Got {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Got {
        key: message.key().map(text),
        value: message.payload().map(text).unwrap_or_default(),
        partition: message.partition(),
        offset: message.offset(),
    }
}

pub(crate) fn numbers(count: usize) -> Vec<Sent> {
    (0..count).map(|number| Sent { value: number.to_string(), ..Sent::default() }).collect()
}

pub(crate) fn texts(values: &[&str]) -> Vec<Sent> {
    values.iter().map(|value| Sent { value: (*value).to_owned(), ..Sent::default() }).collect()
}

pub(crate) fn values(got: &[Got]) -> Vec<&str> {
    got.iter().map(|one| one.value.as_str()).collect()
}

pub(crate) fn offsets(got: &[Got]) -> Vec<i64> {
    got.iter().map(|one| one.offset).collect()
}

/// Ask again and again until there is something.
pub(crate) fn until<T>(mut happened: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = happened()? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("late");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
