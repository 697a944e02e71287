//! A message with everything that travels beside its payload: MassTransit v8's envelope, in its own words.
//!
//! Every format ([`crate::wire`]) is read into an [`Envelope`] and written from a [`Draft`]. Field names on the wire are camelCase and
//! read in any letter case; absent and null are the same. Not here: content types and transport headers.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::time::Timestamp;

/// A message that was read. The payload is still JSON.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Envelope {
    /// Id of this message; copies keep it.
    pub message_id: Option<Uuid>,
    /// Id of the request that this is or answers.
    pub request_id: Option<Uuid>,
    /// Id of the business act.
    pub correlation_id: Option<Uuid>,
    /// Id shared by everything that came of one first message.
    pub conversation_id: Option<Uuid>,
    /// Correlation id (else request id) of the message that caused this one.
    pub initiator_id: Option<Uuid>,
    /// The endpoint that sent it.
    pub source_address: Option<String>,
    /// Where it was sent.
    pub destination_address: Option<String>,
    /// Where an answer is wanted.
    pub response_address: Option<String>,
    /// Where a fault is wanted.
    pub fault_address: Option<String>,
    /// URNs, most derived first.
    #[serde(deserialize_with = "one_or_many")]
    pub message_type: Vec<String>,
    /// The payload.
    #[serde(deserialize_with = "raw")]
    pub message: Payload,
    /// When it is of no use any more.
    pub expiration_time: Option<Timestamp>,
    /// When it was sent.
    pub sent_time: Option<Timestamp>,
    /// The sender's own headers.
    #[serde(deserialize_with = "or_default")]
    pub headers: BTreeMap<String, Value>,
    /// The sending process.
    pub host: Option<Host>,
}

/// A payload as JSON text; `null` if there was none.
#[derive(Clone, Debug)]
pub struct Payload(pub Box<RawValue>);

impl Default for Payload {
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}

/// The process that sent a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Host {
    /// Name of the machine.
    pub machine_name: Option<String>,
    /// Name of the program.
    pub process_name: Option<String>,
    /// Its process id.
    pub process_id: i64,
    /// Name of the application.
    pub assembly: Option<String>,
    /// Its version.
    pub assembly_version: Option<String>,
    /// Version of the language's runtime.
    pub framework_version: Option<String>,
    /// Version of the bus library; the field is named after the library that invented the envelope.
    pub mass_transit_version: Option<String>,
    /// Name of the operating system.
    pub operating_system_version: Option<String>,
}

impl Host {
    /// This process.
    pub fn this() -> Self {
        let program = std::env::current_exe().ok();
        let program = program
            .as_deref()
            .and_then(|path| path.file_stem())
            .map(|name| name.to_string_lossy().into_owned());
        let machine =
            std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
        Self {
            machine_name: machine
                .or_else(|| std::env::var("HOSTNAME").ok())
                .or_else(|| Some("localhost".into())),
            process_name: program.clone(),
            process_id: i64::from(std::process::id()),
            assembly: program,
            assembly_version: Some(env!("CARGO_PKG_VERSION").into()),
            framework_version: Some(concat!("rust ", env!("CARGO_PKG_RUST_VERSION")).into()),
            mass_transit_version: Some(concat!("stele-bus ", env!("CARGO_PKG_VERSION")).into()),
            operating_system_version: Some(format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)),
        }
    }
}

/// A message that is to be written. Absent fields are written as null, as MassTransit does.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of `Envelope`")]
pub struct Draft<'a, M> {
    pub message_id: Uuid,
    pub request_id: Option<Uuid>,
    pub correlation_id: Option<Uuid>,
    pub conversation_id: Option<Uuid>,
    pub initiator_id: Option<Uuid>,
    pub source_address: Option<&'a str>,
    pub destination_address: Option<&'a str>,
    pub response_address: Option<&'a str>,
    pub fault_address: Option<&'a str>,
    pub message_type: &'a [String],
    pub message: &'a M,
    pub expiration_time: Option<Timestamp>,
    pub sent_time: Option<Timestamp>,
    pub headers: &'a BTreeMap<String, Value>,
    pub host: &'a Host,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        None,
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::None => Vec::new(),
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Payload)
}

fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
