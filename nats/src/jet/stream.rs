//! A stream's configuration and its state, as JetStream's JSON has them.
//!
//! Fields, their order, and which of them are left out when they are unset are nats-server's: clients compare what they asked for with
//! what is echoed. What may be asked for is decided in [`super::stream_check`].

use super::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is configured; durations in nanoseconds, `-1` for "no limit".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamConfig {
    /// Its name.
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it captures; wildcards allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// When messages go.
    pub retention: Retention,
    /// Most consumers.
    pub max_consumers: i64,
    /// Most messages.
    pub max_msgs: i64,
    /// Most bytes.
    pub max_bytes: i64,
    /// Oldest age, 0: any.
    pub max_age: i64,
    /// Most messages of one subject.
    pub max_msgs_per_subject: i64,
    /// Largest message, header included.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_msg_size: i32,
    /// What happens at a limit.
    pub discard: Discard,
    /// Where messages are kept.
    pub storage: Storage,
    /// How many servers hold it.
    pub num_replicas: i64,
    /// Publishes are not answered.
    #[serde(skip_serializing_if = "is_false")]
    pub no_ack: bool,
    /// How long a message id is remembered.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub duplicate_window: i64,
    /// On which servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// A copy of another stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<StreamSource>,
    /// Fed from other streams.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamSource>,
    /// How it is stored.
    pub compression: Compression,
    /// The first sequence of a new stream.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub first_seq: u64,
    /// Rewrites subjects of what comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_transform: Option<SubjectTransform>,
    /// Publishes again what was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub republish: Option<Republish>,
    /// Messages may be got without the API.
    pub allow_direct: bool,
    /// The same for mirrors.
    pub mirror_direct: bool,
    /// A full subject refuses new messages, too.
    #[serde(skip_serializing_if = "is_false")]
    pub discard_new_per_subject: bool,
    /// Nothing may change any more.
    pub sealed: bool,
    /// Messages cannot be deleted.
    pub deny_delete: bool,
    /// It cannot be purged.
    pub deny_purge: bool,
    /// A publish may remove what was before it.
    pub allow_rollup_hdrs: bool,
    /// Bounds for its consumers.
    pub consumer_limits: ConsumerLimits,
    /// Messages may say how long they live.
    pub allow_msg_ttl: bool,
    /// A subject whose last message went by age leaves a marker that lives as long.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub subject_delete_marker_ttl: i64,
    /// Messages count.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_msg_counter: bool,
    /// Batches that are stored whole or not at all.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_atomic: bool,
    /// Messages may be for later.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_msg_schedules: bool,
    /// When an acknowledged message is safe. Ours always is.
    #[serde(skip_serializing_if = "PersistMode::is_default")]
    pub persist_mode: PersistMode,
    /// Batches that are answered now and then.
    #[serde(skip_serializing_if = "is_false")]
    pub allow_batched: bool,
    /// The client's own, and the server's under `_nats.`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Of the request, not of the stream: refuse rather than correct.
    #[serde(skip_serializing)]
    pub pedantic: bool,
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

pub(super) fn is_zero_64(value: &i64) -> bool {
    *value == 0
}

pub(super) fn is_zero_u64(value: &u64) -> bool {
    *value == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// When messages go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    /// By limits.
    #[default]
    Limits,
    /// When all consumers that want one have acknowledged it.
    Interest,
    /// When its consumer has acknowledged it.
    WorkQueue,
}

/// What happens at a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Discard {
    /// The oldest messages go.
    #[default]
    Old,
    /// New ones are refused.
    New,
}

/// Where messages are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// They outlive the process.
    #[default]
    File,
    /// They do not.
    Memory,
}

/// How messages are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// S2.
    S2,
}

/// When an acknowledged message is safe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersistMode {
    /// At once.
    #[default]
    #[serde(alias = "")]
    Default,
    /// Soon.
    Async,
}

impl PersistMode {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// On which servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Placement {
    /// Which cluster.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cluster: String,
    /// What servers must be tagged with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Which server leads.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub preferred: String,
}

/// Another stream that this one is fed from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StreamSource {
    /// Its name.
    pub name: String,
    /// From which sequence.
    #[serde(skip_serializing_if = "is_zero_u64")]
    pub opt_start_seq: u64,
    /// From which time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_start_time: Option<Time>,
    /// Only these subjects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub filter_subject: String,
    /// Under other subjects.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_transforms: Vec<SubjectTransform>,
    /// In another account or domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<External>,
    /// Through a consumer that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<SourceConsumer>,
}

/// A stream of another account or domain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct External {
    /// What its API's subjects begin with.
    pub api: String,
    /// What deliveries' subjects begin with.
    pub deliver: String,
}

/// A consumer that a source reads through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceConsumer {
    /// Its name.
    pub name: String,
    /// Where it delivers.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub deliver_subject: String,
}

/// A subject rewritten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubjectTransform {
    /// From.
    pub src: String,
    /// To.
    pub dest: String,
}

/// What is published again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Republish {
    /// From.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub src: String,
    /// To.
    pub dest: String,
    /// Without the payload.
    #[serde(skip_serializing_if = "is_false")]
    pub headers_only: bool,
}

/// Bounds, and defaults, for a stream's consumers; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerLimits {
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub inactive_threshold: i64,
    /// Deliveries.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub max_ack_pending: i64,
}

/// What is in a stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamState {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sequence of the first; of the next one, if there is none.
    pub first_seq: u64,
    /// When it was stored.
    pub first_ts: Time,
    /// Sequence of the last.
    pub last_seq: u64,
    /// When it was stored.
    pub last_ts: Time,
    /// How many subjects there are.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub num_subjects: u64,
    /// Messages of each subject that was asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, u64>,
    /// Sequences between the first and the last that are gone.
    #[serde(default, skip_serializing_if = "is_zero_u64")]
    pub num_deleted: u64,
    /// Which, if asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<u64>,
    /// Consumers.
    pub consumer_count: u64,
}

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// How it is configured.
    pub config: StreamConfig,
    /// When it was made.
    pub created: Time,
    /// What is in it.
    pub state: StreamState,
    /// When this was found out.
    pub ts: Time,
}
