//! Publishing to topics of Kafka: per worker one client, which speaks to the leaders of the partitions.
//!
//! The partition of a message follows from its aggregate, as Java's client computes it, so an aggregate stays in one partition with all
//! that other producers send under its key. What goes to one partition is sent in requests one behind the other, partitions side by side;
//! every replica in sync must have a request before it counts as confirmed.
//!
//! The client is `rskafka`: in Rust alone and small, without idempotent producers, so what is sent again is stored again, under the same
//! header `id`. TLS is not here: the client brings a second crypto library for it.

mod partition;

use crate::publish::{Fault, Message, Outcome, Publisher, Refusal, Target};
use futures_util::future::join_all;
use rskafka::BackoffConfig;
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::timeout;

/// Longest wait for a connection, and for an answer about topics.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for the confirms of a batch.
const CONFIRM: Duration = Duration::from_secs(60);
/// The client tries again by itself for so long, since leaders move; then the worker does.
const PATIENCE: Duration = Duration::from_secs(3);
const RETRIES: BackoffConfig = BackoffConfig {
    init_backoff: Duration::from_millis(50),
    max_backoff: Duration::from_secs(2),
    base: 2.0,
    deadline: Some(PATIENCE),
};
/// Topics, and partitions, remembered; when there are more the memory starts anew.
const KNOWN_MAX: usize = 10_000;
/// One request to a partition: brokers take about 1 MiB by default, and a record has some bytes around it.
const REQUEST_BYTES: usize = 512 << 10;
const REQUEST_RECORDS: usize = 1_000;
const RECORD_EXTRA_BYTES: usize = 64;
/// "As the broker is set", for partitions and replicas of a topic that is made.
const BROKERS_DEFAULT: i16 = -1;
const TOPIC_BYTES_MAX: usize = 249;

/// A cluster.
#[derive(Clone)]
pub struct Kafka {
    servers: Vec<String>,
    login: Option<SaslConfig>,
    name: String,
}

/// Without user and password.
impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Kafka").field(&self.place()).finish()
    }
}

impl Kafka {
    /// Reads a URL: `kafka://user:password@host:port,host:port?sasl=scram-sha-512`, where the login is by `plain`, `scram-sha-256` or (by
    /// default) `scram-sha-512`. `name` is what the brokers show of the connections.
    ///
    /// # Errors
    /// It is no URL that can be connected to. The text does not repeat the URL.
    pub fn new(url: &str, name: &str) -> Result<Self, String> {
        let expected = || "expected kafka://user:password@host:port,host:port".to_owned();
        let rest = url.strip_prefix("kafka://").ok_or_else(expected)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (login, servers) =
            rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let server = |server: &str| match server.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(server.to_owned()),
            None if !server.is_empty() => Ok(format!("{server}:9092")),
            _ => Err(expected()),
        };
        let servers = servers.trim_end_matches('/').split(',').map(server).collect::<Result<_, _>>()?;
        let login = match login {
            None => None,
            Some(login) => {
                let (user, password) = login.split_once(':').ok_or_else(expected)?;
                let decoded = crate::percent::decoded;
                let credentials = Credentials::new(decoded(user), decoded(password));
                Some(match query {
                    "" | "sasl=scram-sha-512" => SaslConfig::ScramSha512(credentials),
                    "sasl=scram-sha-256" => SaslConfig::ScramSha256(credentials),
                    "sasl=plain" => SaslConfig::Plain(credentials),
                    _ => return Err("expected ?sasl=plain, scram-sha-256 or scram-sha-512".into()),
                })
            }
        };
        Ok(Self { servers, login, name: name.to_owned() })
    }

    /// The servers, for people.
    #[must_use]
    pub fn place(&self) -> String {
        format!("kafka://{}", self.servers.join(","))
    }
}

impl Target for Kafka {
    type Publisher = KafkaPublisher;

    async fn open(&self) -> Result<KafkaPublisher, Fault> {
        let place = self.place();
        let mut builder = ClientBuilder::new(self.servers.clone());
        builder = builder.client_id(self.name.replace(' ', "-")).backoff_config(RETRIES);
        if let Some(login) = &self.login {
            builder = builder.sasl_config(login.clone());
        }
        let client = timeout(CONNECT, builder.build())
            .await
            .map_err(|_| Fault::Connection(format!("could not connect to {place} within {CONNECT:?}")))?
            .map_err(|error| Fault::Connection(format!("could not connect to {place}: {error}")))?;
        Ok(KafkaPublisher { client, topics: HashMap::new(), partitions: HashMap::new() })
    }
}

/// A client, and what it knows.
pub struct KafkaPublisher {
    client: Client,
    /// How many partitions a topic has.
    topics: HashMap<String, i32>,
    partitions: HashMap<(String, i32), Arc<PartitionClient>>,
}

impl Publisher for KafkaPublisher {
    async fn admit(&mut self, message: &Message) -> Result<Outcome, Fault> {
        let topic = message.address.name();
        if self.topics.contains_key(topic) {
            return Ok(Outcome::Confirmed);
        }
        if !is_topic(topic) {
            let reason = format!("{topic:?} is not the name of a topic: letters, digits, '.', '_' and '-'");
            return Ok(Outcome::Refused(Refusal::lasting(reason)));
        }
        let found = timeout(CONNECT, self.find(topic, message.address.is_made())).await;
        found.map_err(|_| Fault::Connection(format!("no answer about topics within {CONNECT:?}")))?
    }

    async fn publish(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        let sent = timeout(CONFIRM, self.send(batch)).await;
        sent.map_err(|_| Fault::Connection(format!("no confirm within {CONFIRM:?}")))?
    }
}

impl KafkaPublisher {
    /// Learns how many partitions the topic has, and makes it when it is not there and may be.
    async fn find(&mut self, topic: &str, is_made: bool) -> Result<Outcome, Fault> {
        let mut count = self.look(topic).await?;
        if count.is_none() && is_made {
            let timeout_ms = i32::try_from(CONNECT.as_millis()).unwrap_or(i32::MAX);
            let controller = self.client.controller_client().map_err(cut)?;
            let made =
                controller.create_topic(topic, BROKERS_DEFAULT.into(), BROKERS_DEFAULT, timeout_ms).await;
            match made {
                Ok(())
                | Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => {}
                Err(Error::ServerError { protocol_error, .. }) => {
                    let reason =
                        format!("topic {topic} is not there and could not be made: {protocol_error}");
                    return Ok(Outcome::Refused(Refusal::passing(reason)));
                }
                Err(error) => return Err(cut(error)),
            }
            count = self.look(topic).await?;
        }
        let Some(count) = count else {
            return Ok(Outcome::Refused(Refusal::passing(format!("there is no topic {topic}"))));
        };
        if self.topics.len() == KNOWN_MAX {
            self.topics.clear();
        }
        self.topics.insert(topic.to_owned(), count);
        Ok(Outcome::Confirmed)
    }

    async fn look(&self, topic: &str) -> Result<Option<i32>, Fault> {
        let topics = self.client.list_topics().await.map_err(cut)?;
        let found = topics.into_iter().find(|found| found.name == topic);
        let count = found.map(|found| i32::try_from(found.partitions.len()).unwrap_or(i32::MAX));
        Ok(count.filter(|count| *count > 0))
    }

    async fn send(&mut self, batch: &[Message]) -> Result<Vec<Outcome>, Fault> {
        let mut parts: BTreeMap<(&str, i32), Vec<usize>> = BTreeMap::new();
        for (index, message) in batch.iter().enumerate() {
            let topic = message.address.name();
            let count = *self.topics.get(topic).expect("only what was admitted is published");
            let partition = partition::of(message.key.as_bytes(), count);
            parts.entry((topic, partition)).or_default().push(index);
        }
        let mut requests = Vec::with_capacity(parts.len());
        for ((topic, partition), indexes) in parts {
            let client = self.partition(topic, partition).await?;
            requests.push(part(client, batch, indexes));
        }
        let mut outcomes = vec![Outcome::Confirmed; batch.len()];
        for of_part in join_all(requests).await {
            for (index, refusal) in of_part? {
                outcomes[index] = Outcome::Refused(refusal);
            }
        }
        Ok(outcomes)
    }

    async fn partition(&mut self, topic: &str, partition: i32) -> Result<Arc<PartitionClient>, Fault> {
        let place = (topic.to_owned(), partition);
        if let Some(client) = self.partitions.get(&place) {
            return Ok(Arc::clone(client));
        }
        let opened = self.client.partition_client(topic, partition, UnknownTopicHandling::Error).await;
        let client = Arc::new(opened.map_err(cut)?);
        if self.partitions.len() == KNOWN_MAX {
            self.partitions.clear();
        }
        self.partitions.insert(place, Arc::clone(&client));
        Ok(client)
    }
}

/// Sends what belongs to one partition, in order; those that were refused, by their index. What is behind a refused request waits too.
async fn part(
    client: Arc<PartitionClient>,
    batch: &[Message],
    indexes: Vec<usize>,
) -> Result<Vec<(usize, Refusal)>, Fault> {
    let mut rest = &indexes[..];
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = |index: &&usize| {
            let message = &batch[**index];
            bytes += message.payload.len() + message.key.len() + RECORD_EXTRA_BYTES;
            bytes <= REQUEST_BYTES
        };
        let count = rest.iter().take(REQUEST_RECORDS).take_while(fits).count().max(1);
        let (request, behind) = rest.split_at(count);
        let records = request.iter().map(|index| record(&batch[*index])).collect();
        match client.produce(records, Compression::NoCompression).await {
            Ok(_) => rest = behind,
            Err(Error::ServerError { protocol_error, .. }) => match protocol_error {
                ProtocolError::MessageTooLarge
                | ProtocolError::RecordListTooLarge
                | ProtocolError::InvalidRecord
                | ProtocolError::InvalidTimestamp
                | ProtocolError::CorruptMessage => return Err(Fault::Message(protocol_error.to_string())),
                ProtocolError::UnknownTopicOrPartition => {
                    return Err(Fault::Connection(format!("{client:?} is gone")));
                }
                _ => {
                    let refusal = Refusal::passing(format!("{client:?}: {protocol_error}"));
                    return Ok(rest.iter().map(|index| (*index, refusal.clone())).collect());
                }
            },
            Err(error) => return Err(cut(error)),
        }
    }
    Ok(Vec::new())
}

fn record(message: &Message) -> Record {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let lines = message.lines().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()));
    Record {
        key: Some(message.key.clone().into_bytes()),
        value: Some(message.payload.clone()),
        headers: lines.collect(),
        timestamp: chrono::DateTime::from_timestamp_millis(now_ms).unwrap_or_default(),
    }
}

fn is_topic(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=TOPIC_BYTES_MAX).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(plain)
}

fn cut(error: Error) -> Fault {
    Fault::Connection(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Route;
    use crate::testing::row;

    #[test]
    fn a_record_has_its_aggregate_as_key_and_its_id_among_the_headers() {
        let record = record(&Route::default().message(row(7, "a-1")).unwrap());
        assert_eq!(record.key.as_deref(), Some(&b"a-1"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"{}"[..]));
        let header =
            |name: &str| record.headers.get(name).map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(header("id").as_deref(), Some("id-7"));
        assert_eq!(header("type").as_deref(), Some("OrderPlaced"));
        assert_eq!(record.headers.len(), 4);
    }

    #[test]
    fn what_is_no_topic_is_known_before_it_is_sent() {
        assert!(is_topic("outbox.event.order") && is_topic("a_b-C"));
        for name in ["", ".", "..", "Shop:Order", "a b", &"x".repeat(250)] {
            assert!(!is_topic(name), "{name}");
        }
    }

    #[test]
    fn urls_name_servers_and_a_login() {
        let kafka = Kafka::new("kafka://ann:p%40ss@one,two:9093?sasl=plain", "relay").unwrap();
        assert_eq!(kafka.servers, ["one:9092", "two:9093"]);
        let Some(SaslConfig::Plain(login)) = kafka.login else { panic!("no login") };
        assert_eq!((login.username.as_str(), login.password.as_str()), ("ann", "p@ss"));
        assert!(Kafka::new("kafka://one/", "relay").unwrap().login.is_none());
        for url in
            ["kafka://", "kafka://:1", "kafka://one:x", "kafka://ann@one", "kafka://a:b@one?sasl=x", "one:1"]
        {
            assert!(Kafka::new(url, "relay").is_err(), "{url}");
        }
    }

    #[test]
    fn no_text_holds_a_password() {
        let kafka = Kafka::new("kafka://ann:hunter2@one:9092", "relay").unwrap();
        assert_eq!(format!("{kafka:?}"), "Kafka(\"kafka://one:9092\")");
        assert!(!Kafka::new("kafka://ann:hunter2@one?sasl=no", "relay").unwrap_err().contains("hunter2"));
    }
}
