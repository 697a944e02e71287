//! Namespaces and policies as the configuration gives them: put into the registry at every start, like its users. There is no other way to
//! set a policy until the management API comes.

use std::collections::BTreeMap;
use stele_model::registry::AppliesTo;
use stele_model::value::{Arguments, Value};
use stele_nats::jet::limits::Limits;

/// A namespace and its limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSetting {
    /// Most queues in it.
    pub queues_max: Option<u64>,
    /// Most connections to it.
    pub connections_max: Option<u64>,
    /// What NATS clients there may have of JetStream.
    pub jetstream: Limits,
}

/// A policy. Its name is its key in the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicySetting {
    /// Where it holds.
    pub namespace: String,
    /// Regular expression of the names it is for.
    pub pattern: String,
    /// What it is for.
    pub applies_to: AppliesTo,
    /// Of several that match, the highest holds.
    pub priority: i64,
    /// An operator's policy: merged with a user's, the stricter limit wins.
    pub operator: bool,
    /// Settings by RabbitMQ's policy keys.
    pub definition: Arguments,
}

impl Default for PolicySetting {
    fn default() -> Self {
        Self {
            namespace: "/".to_owned(),
            pattern: ".*".to_owned(),
            applies_to: AppliesTo::All,
            priority: 0,
            operator: false,
            definition: BTreeMap::new(),
        }
    }
}

const APPLIES_TO: [(&str, AppliesTo); 5] = [
    ("all", AppliesTo::All),
    ("queues", AppliesTo::Queues),
    ("classic_queues", AppliesTo::ClassicQueues),
    ("quorum_queues", AppliesTo::QuorumQueues),
    ("exchanges", AppliesTo::Exchanges),
];

/// RabbitMQ's word for what a policy is for.
pub(super) fn applies_to(word: &str) -> Result<AppliesTo, String> {
    let found = APPLIES_TO.iter().find(|(known, _)| *known == word);
    let words = || APPLIES_TO.map(|(word, _)| format!("\"{word}\"")).join(", ");
    found.map(|(_, applies)| *applies).ok_or_else(|| format!("expected one of {}, found \"{word}\"", words()))
}

/// The other way round.
pub(super) fn applies_to_word(applies: AppliesTo) -> &'static str {
    APPLIES_TO.iter().find(|(_, known)| *known == applies).map_or("all", |(word, _)| word)
}

/// A definition from a JSON object.
pub(super) fn definition(json: &str) -> Result<Arguments, String> {
    let wrong =
        |error: serde_json::Error| format!("expected a JSON object such as {{\"max-length\": 10}}: {error}");
    let object: BTreeMap<String, serde_json::Value> = serde_json::from_str(json).map_err(wrong)?;
    object.into_iter().map(|(key, json)| Ok((key.clone(), value(&key, json)?))).collect()
}

/// Bounds on keys from a JSON object: expressions to write and to read, by exchange.
pub(super) fn topics(json: &str) -> Result<BTreeMap<String, (String, String)>, String> {
    const FORM: &str = "{\"amq.topic\": {\"write\": \"^a\", \"read\": \".*\"}}";
    let wrong = |why: &dyn std::fmt::Display| format!("expected a JSON object such as {FORM}: {why}");
    let object: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(json).map_err(|error| wrong(&error))?;
    let bound = |(exchange, mut keys): (String, BTreeMap<String, String>)| match (
        keys.remove("write"),
        keys.remove("read"),
        keys.is_empty(),
    ) {
        (Some(write), Some(read), true) => Ok((exchange, (write, read))),
        _ => Err(wrong(&format_args!("\"{exchange}\" wants write and read"))),
    };
    object.into_iter().map(bound).collect()
}

/// Bounds on keys as a JSON object.
pub(super) fn topics_json(topics: &BTreeMap<String, (String, String)>) -> String {
    let object = topics.iter().map(|(exchange, (write, read))| {
        (exchange.clone(), serde_json::json!({ "read": read, "write": write }))
    });
    serde_json::Value::Object(object.collect()).to_string()
}

fn value(key: &str, json: serde_json::Value) -> Result<Value, String> {
    match json {
        serde_json::Value::Bool(is) => Ok(Value::Bool(is)),
        serde_json::Value::String(text) => Ok(Value::Text(text)),
        serde_json::Value::Number(number) => {
            let number =
                number.as_i64().ok_or_else(|| format!("\"{key}\" is {number}, not a whole number"))?;
            Ok(Value::Int(number))
        }
        other => Err(format!("\"{key}\" is {other}, not a number, a string, true or false")),
    }
}

/// A definition as a JSON object.
pub(super) fn definition_json(definition: &Arguments) -> String {
    let json = |value: &Value| match value {
        Value::Bool(is) => serde_json::Value::from(*is),
        Value::Int(number) => serde_json::Value::from(*number),
        other => serde_json::Value::from(other.as_text().unwrap_or_default()),
    };
    let object: serde_json::Map<_, _> =
        definition.iter().map(|(key, value)| (key.clone(), json(value))).collect();
    serde_json::Value::Object(object).to_string()
}
