//! The JSON answers of the API. Each begins with its type; an error takes the place of everything else.

use super::api::Api;
use super::consumer::ConsumerInfo;
use super::error::ApiError;
use super::stream::{StreamInfo, is_false, is_zero_64};
use super::time::Time;
use super::versions::{self, API_LEVEL};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Serialize, Serializer};

/// Most names in an answer.
pub const NAMES_MAX: usize = 1024;
/// Most descriptions in an answer.
pub const LIST_MAX: usize = 256;
/// Most subjects in a stream's description.
pub const SUBJECTS_MAX: usize = 100_000;

#[derive(Serialize)]
struct Answer<'a, T> {
    r#type: String,
    #[serde(flatten)]
    content: Content<'a, T>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a, T> {
    Done(&'a T),
    Error { error: &'a ApiError },
}

/// An answer to `api`, as JSON.
#[must_use]
pub fn answer<T: Serialize>(api: &Api<'_>, result: &Result<T, ApiError>) -> Vec<u8> {
    let content = match result {
        Ok(done) => Content::Done(done),
        Err(error) => Content::Error { error },
    };
    let answer = Answer { r#type: format!("io.nats.jetstream.api.v1.{}", api.answer_type()), content };
    serde_json::to_vec(&answer).expect("answers are maps with names")
}

/// It was done.
#[derive(Debug, Default, Serialize)]
pub struct Success {
    /// Always, or it would be an error.
    success: bool,
}

/// It was done.
pub const SUCCESS: Success = Success { success: true };

/// What an account uses and may use.
#[derive(Debug, Serialize)]
pub struct Account {
    /// Bytes in memory.
    pub memory: u64,
    /// Bytes on disk.
    pub storage: u64,
    /// Bytes that memory streams may come to have.
    pub reserved_memory: u64,
    /// Bytes that file streams may come to have.
    pub reserved_storage: u64,
    /// Streams.
    pub streams: u64,
    /// Consumers.
    pub consumers: u64,
    /// What it may use.
    pub limits: AccountLimits,
    /// What was asked of the API.
    pub api: ApiCounts,
}

/// What an account may use; −1: any number.
#[derive(Debug, Serialize)]
pub struct AccountLimits {
    /// Bytes in memory.
    pub max_memory: i64,
    /// Bytes on disk.
    pub max_storage: i64,
    /// Streams.
    pub max_streams: i64,
    /// Consumers.
    pub max_consumers: i64,
    /// Deliveries of a consumer without an acknowledgement.
    pub max_ack_pending: i64,
    /// Bytes of a memory stream.
    pub memory_max_stream_bytes: i64,
    /// Bytes of a file stream.
    pub storage_max_stream_bytes: i64,
    /// A stream must have a limit of bytes.
    pub max_bytes_required: bool,
}

impl Default for AccountLimits {
    fn default() -> Self {
        Self {
            max_memory: -1,
            max_storage: -1,
            max_streams: -1,
            max_consumers: -1,
            max_ack_pending: -1,
            memory_max_stream_bytes: -1,
            storage_max_stream_bytes: -1,
            max_bytes_required: false,
        }
    }
}

/// What was asked of the API.
#[derive(Debug, Serialize)]
pub struct ApiCounts {
    /// The level that is offered.
    pub level: u32,
    /// Requests.
    pub total: u64,
    /// Those that were answered by an error.
    pub errors: u64,
}

impl ApiCounts {
    /// At the level that is offered.
    #[must_use]
    pub fn new(total: u64, errors: u64) -> Self {
        Self { level: API_LEVEL, total, errors }
    }
}

/// A stream that was made.
#[derive(Debug, Serialize)]
pub struct Created {
    /// As it is.
    #[serde(flatten)]
    pub info: StreamInfo,
    /// It is there, whether it was before or not.
    pub did_create: bool,
}

/// A stream, with a page of its subjects.
#[derive(Debug, Serialize)]
pub struct Described<'a> {
    /// Subjects in all; 0 if none were asked for.
    pub total: usize,
    /// Subjects passed over.
    pub offset: usize,
    /// Most subjects.
    pub limit: usize,
    /// As it is.
    #[serde(flatten)]
    pub info: StreamInfo,
    /// Who serves it.
    pub cluster: Cluster<'a>,
}

/// Who serves a stream where there is no cluster.
#[derive(Debug, Serialize)]
pub struct Cluster<'a> {
    /// The server's name.
    pub leader: &'a str,
}

/// A page of a listing.
#[derive(Debug, Serialize)]
pub struct Paged<T> {
    /// Entries in all.
    pub total: usize,
    /// Entries passed over.
    pub offset: usize,
    /// Most entries.
    pub limit: usize,
    /// The entries.
    #[serde(flatten)]
    pub entries: T,
}

/// Streams.
#[derive(Debug, Serialize)]
pub struct Streams<T> {
    /// By name. `None`: names of none, for which old clients expect `null`.
    pub streams: Option<Vec<T>>,
}

/// Consumers.
#[derive(Debug, Serialize)]
pub struct Consumers<T> {
    /// By name.
    pub consumers: Option<Vec<T>>,
}

/// What a purge did.
#[derive(Debug, Serialize)]
pub struct Purged {
    /// Always, or it would be an error.
    pub success: bool,
    /// Messages that are gone.
    pub purged: u64,
}

/// A message as JSON.
#[derive(Debug, Serialize)]
pub struct Got {
    /// The message.
    pub message: StoredMessage,
}

/// A message as JSON.
#[derive(Debug, Serialize)]
pub struct StoredMessage {
    /// Its subject.
    pub subject: String,
    /// Its sequence.
    pub seq: u64,
    /// Its header block.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "base64")]
    pub hdrs: Vec<u8>,
    /// Its payload.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "base64")]
    pub data: Vec<u8>,
    /// When it was stored.
    pub time: Time,
}

fn base64<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(octets))
}

/// A consumer's pause.
#[derive(Debug, Serialize)]
pub struct Paused {
    /// Nothing is delivered now.
    pub paused: bool,
    /// Until then.
    pub pause_until: Time,
    /// For so long, nanoseconds.
    #[serde(skip_serializing_if = "is_zero_64")]
    pub pause_remaining: i64,
}

/// A consumer that begins again.
#[derive(Debug, Serialize)]
pub struct Reset {
    /// As it is.
    #[serde(flatten)]
    pub info: ConsumerInfo,
    /// With which sequence.
    pub reset_seq: u64,
}

/// What is told of a stream: the server's marks are added.
#[must_use]
pub fn shown(mut info: StreamInfo) -> StreamInfo {
    versions::show(&mut info.config.metadata);
    info
}

/// What is told of a consumer: the server's marks are added.
#[must_use]
pub fn shown_consumer(mut info: ConsumerInfo) -> ConsumerInfo {
    versions::show(&mut info.config.metadata);
    info
}

/// Used where nothing more is told.
#[derive(Debug, Default, Serialize)]
pub struct Nothing {
    #[serde(skip_serializing_if = "is_false")]
    nothing: bool,
}
