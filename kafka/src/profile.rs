//! Limits and defaults of the dialect, with units. Kafka 4.3's where clients can see them.

use std::ops::RangeInclusive;

/// Largest request, octets; a driver may set less (Kafka: `socket.request.max.bytes`).
pub const REQUEST_BYTES_MAX: u32 = 100 << 20;
/// Largest request before the client has shown who it is, octets: a stranger gets little memory.
pub const REQUEST_BYTES_STRANGER: u32 = 64 << 10;
/// From the first octet to the end of the login, ms (Kafka closes as well, after `connection.failed.authentication.delay.ms`).
pub const LOGIN_MS: u64 = 30_000;
/// Requests of a connection that are not answered yet; beyond, its socket is not read.
pub const IN_FLIGHT_MAX: usize = 1000;
/// Octets of such requests, beyond which the socket is not read.
pub const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;
/// Octets below which it is read again.
pub const IN_FLIGHT_BYTES_RESUME: usize = IN_FLIGHT_BYTES_MAX / 2;
/// Octets of answers that wait for an earlier one; beyond, the socket is not read.
pub const ANSWERED_BYTES_MAX: usize = 128 << 20;
/// Most octets of records in one answer, whatever the client allows (Kafka: `fetch.max.bytes`).
pub const FETCH_BYTES_MAX: u64 = 55 << 20;
/// Most octets that the fetches of a connection that are under way may bring together; beyond, no further request is looked at.
pub const FETCHES_BYTES_MAX: u64 = 2 * FETCH_BYTES_MAX;
/// Most octets that the records of one batch may unpack to.
pub const UNPACKED_BYTES_MAX: usize = 64 << 20;
/// Most octets that the records of one request take while they are handed to readers of other dialects.
pub const LISTENED_BYTES_MAX: usize = 64 << 20;
/// How long what is known of a topic's settings is believed by a producer's connection, ms.
pub const TOPIC_FRESH_MS: u64 = 1_000;
/// Topics whose settings a connection remembers.
pub const TOPICS_KEPT_MAX: usize = 1_000;
/// A fetch that waits for more than one octet looks again no sooner than so many ms after an append.
pub const LOOK_AGAIN_MS: u64 = 5;
/// Longest wait of a fetch, ms.
pub const FETCH_WAIT_MS_MAX: u64 = 5 * 60 * 1000;
/// Longest name of a topic, octets.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// The epoch of every partition's leader: on one node nothing that was acknowledged is ever lost.
pub const LEADER_EPOCH: i32 = 0;
/// Partitions that one DescribeTopicPartitions answers (Kafka: `max.request.partition.size.limit`).
pub const PARTITIONS_DESCRIBED_MAX: usize = 2_000;
/// Entries that one read of the groups' topic takes up.
pub const GROUP_CHANGES_MAX: u32 = 1_000;

const _: () = assert!(REQUEST_BYTES_STRANGER < REQUEST_BYTES_MAX && REQUEST_BYTES_MAX < i32::MAX as u32);
const _: () = assert!(IN_FLIGHT_BYTES_RESUME < IN_FLIGHT_BYTES_MAX);
const _: () = assert!((FETCH_BYTES_MAX as usize) < ANSWERED_BYTES_MAX);

/// What a driver may set for its connections.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The broker's number.
    pub node_id: i32,
    /// The host that clients are told to connect to.
    pub host: String,
    /// The port that clients are told to connect to.
    pub port: u16,
    /// The cluster's identity; clients only compare it.
    pub cluster_id: String,
    /// The namespace that is the cluster.
    pub namespace: String,
    /// At most [`REQUEST_BYTES_MAX`].
    pub request_bytes_max: u32,
    /// Topics that are not there are made when a client asks for them (Kafka: `auto.create.topics.enable`).
    pub auto_create: bool,
    /// Partitions of a topic when nobody says (Kafka: `num.partitions`).
    pub partitions: u32,
    /// Most partitions of one topic.
    pub partitions_max: u32,
    /// Highest replication factor that is taken as written; there is one copy all the same.
    pub replication_max: i16,
    /// Session times that a group accepts, ms (Kafka: `group.min.session.timeout.ms`, `group.max.session.timeout.ms`).
    pub session_ms: RangeInclusive<i32>,
    /// How long the first member of an empty group waits for others, ms; only shown (Kafka: `group.initial.rebalance.delay.ms`).
    pub group_initial_delay_ms: u64,
    /// How long positions stay that nobody uses, minutes; only shown (Kafka: `offsets.retention.minutes`).
    pub offsets_retention_minutes: u64,
    /// What the one directory of records is called (Kafka: `log.dirs`).
    pub log_dir: String,
    /// Clients must log in. SASL is offered in any case; without this the driver decides who may come without a name.
    pub login: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            node_id: 1,
            host: "localhost".to_owned(),
            port: 9092,
            cluster_id: "stele".to_owned(),
            namespace: "/".to_owned(),
            request_bytes_max: REQUEST_BYTES_MAX,
            auto_create: true,
            partitions: 1,
            partitions_max: 10_000,
            replication_max: 8,
            session_ms: 6_000..=1_800_000,
            group_initial_delay_ms: 0,
            offsets_retention_minutes: 7 * 24 * 60,
            log_dir: "stele-data".to_owned(),
            login: false,
        }
    }
}

impl Profile {
    /// Whether the numbers are within their bounds.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        (REQUEST_BYTES_STRANGER..=REQUEST_BYTES_MAX).contains(&self.request_bytes_max)
            && (1..=self.partitions_max).contains(&self.partitions)
            && self.node_id >= 0
            && self.replication_max >= 1
            && !self.session_ms.is_empty()
    }
}
