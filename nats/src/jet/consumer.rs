//! A consumer's configuration and its state, as JetStream's JSON has them. See [`super::stream`] for how they are written, and
//! [`super::consumer_check`] for what may be asked for.

use super::stream::{is_false, is_zero_64, is_zero_u64};
use super::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is configured; durations in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerConfig {
    /// Its name, if it outlives its readers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub durable_name: String,
    /// Its name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Where it begins.
    pub deliver_policy: DeliverPolicy,
    /// With which sequence.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub opt_start_seq: u64,
    /// At which time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Time>,
    /// What is acknowledged.
    pub ack_policy: AckPolicy,
    /// How long an acknowledgement is waited for.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub ack_wait: i64,
    /// Most deliveries of a message; −1: any number.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_deliver: i64,
    /// Instead of `ack_wait`, for each delivery; the last one repeats.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backoff: Vec<i64>,
    /// Only these subjects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// Only these subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filter_subjects: Vec<String>,
    /// How fast.
    pub replay_policy: ReplayPolicy,
    /// Bits per second.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub rate_limit_bps: u64,
    /// Of how many acknowledgements the latency is told, percent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sample_freq: String,
    /// Most pull requests that wait.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_waiting: i64,
    /// Most deliveries without an acknowledgement; −1: any number.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_ack_pending: i64,
    /// The receiver is asked to keep up.
    #[serde(skip_serializing_if = "is_false")]
    pub flow_control: bool,
    /// Without payloads.
    #[serde(skip_serializing_if = "is_false")]
    pub headers_only: bool,
    /// Most messages of a pull request.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_batch: i64,
    /// Longest time a pull request waits.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_expires: i64,
    /// Most bytes of a pull request.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_bytes: i64,
    /// Where messages are pushed to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
    /// Only to subscribers of this queue group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_group: String,
    /// After how long a silence a status is sent.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub idle_heartbeat: i64,
    /// After how long without readers it goes.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub inactive_threshold: i64,
    /// How many servers keep its state; 0: as many as the stream's.
    pub num_replicas: i64,
    /// Its state is kept in memory only.
    #[serde(skip_serializing_if = "is_false")]
    pub mem_storage: bool,
    /// For servers only.
    #[serde(skip_serializing_if = "is_false")]
    pub direct: bool,
    /// For servers only.
    #[serde(skip_serializing_if = "is_false")]
    pub sourcing: bool,
    /// The client's own, and the server's under `_nats.`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Until when nothing is delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_until: Option<Time>,
    /// Groups of clients.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priority_groups: Vec<String>,
    /// Which of them are served.
    #[serde(skip_serializing_if = "PriorityPolicy::is_none")]
    pub priority_policy: PriorityPolicy,
    /// How long a pinned client may be silent.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub priority_timeout: i64,
}

impl ConsumerConfig {
    /// Whether messages are pushed to a subject.
    #[must_use]
    pub fn is_push(&self) -> bool {
        !self.deliver_subject.is_empty()
    }

    /// Whether it outlives its readers.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !self.durable_name.is_empty()
    }

    /// The subjects it is for; empty: all.
    #[must_use]
    pub fn filters(&self) -> &[String] {
        if self.filter_subject.is_empty() {
            &self.filter_subjects
        } else {
            std::slice::from_ref(&self.filter_subject)
        }
    }
}

/// Where a consumer begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliverPolicy {
    /// With the first message.
    #[default]
    All,
    /// With the last one.
    Last,
    /// With the next one.
    New,
    /// With this sequence.
    ByStartSequence,
    /// At this time.
    ByStartTime,
    /// With the last one of each subject.
    LastPerSubject,
}

/// What is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckPolicy {
    /// Nothing.
    #[default]
    None,
    /// A message, and all before it.
    All,
    /// Each message.
    Explicit,
    /// By answering flow control; for servers.
    FlowControl,
}

/// How fast messages are delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayPolicy {
    /// As fast as can be.
    #[default]
    Instant,
    /// As they came.
    Original,
}

/// Which clients of a priority group are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriorityPolicy {
    /// All.
    #[default]
    None,
    /// Those whose thresholds are passed.
    Overflow,
    /// One of them.
    PinnedClient,
    /// Those of the highest priority.
    Prioritized,
}

impl PriorityPolicy {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

/// A place in both sequences: of deliveries, and of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceInfo {
    /// Number of the delivery, from 1.
    pub consumer_seq: u64,
    /// Sequence in the stream.
    pub stream_seq: u64,
    /// When it was last reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active: Option<Time>,
}

/// A consumer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConsumerInfo {
    /// Its stream.
    pub stream_name: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Time,
    /// How it is configured.
    pub config: ConsumerConfig,
    /// The last delivery.
    pub delivered: SequenceInfo,
    /// The last one below which all are acknowledged.
    pub ack_floor: SequenceInfo,
    /// Deliveries without an acknowledgement.
    pub num_ack_pending: u64,
    /// Those of them that are not the first.
    pub num_redelivered: u64,
    /// Pull requests that wait.
    pub num_waiting: u64,
    /// Messages that were not delivered yet.
    pub num_pending: u64,
    /// Somebody listens to the deliver subject.
    #[serde(default, skip_serializing_if = "is_false")]
    pub push_bound: bool,
    /// Nothing is delivered now.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// For so long, nanoseconds.
    #[serde(default, skip_serializing_if = "is_zero_64")]
    pub pause_remaining: i64,
    /// When this was found out.
    pub ts: Time,
}
