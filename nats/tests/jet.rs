//! What nats-server 2.15.2 answered (`golden/jet.jsonl`, recorded by `golden/record.py`), against what the translation says.
//!
//! A toy that keeps nothing but configurations stands in for the hub. Compared are refusals, statuses and echoed configurations;
//! what depends on stored messages is left to the conformance runs.

use serde_json::Value;
use std::collections::BTreeMap;
use stele_nats::jet::api::Api;
use stele_nats::jet::consumer::{ConsumerConfig, ConsumerInfo};
use stele_nats::jet::consumer_check::{self, Action, CreateConsumer};
use stele_nats::jet::error::{ApiError, Code};
use stele_nats::jet::pull::{check_pull, parse_pull};
use stele_nats::jet::request::{
    DeleteRequest, GetRequest, Page, PauseRequest, PurgeRequest, StreamInfoRequest,
};
use stele_nats::jet::stream::{StreamConfig, StreamInfo};
use stele_nats::jet::{json, publish, stream_check, subject, versions};

/// Configurations of all streams and their consumers.
#[derive(Default)]
struct Toy {
    streams: BTreeMap<String, (StreamConfig, BTreeMap<String, ConsumerConfig>)>,
    made: u32,
}

/// What can be said without messages.
enum Said {
    /// An answer with this configuration.
    Stream(StreamConfig),
    /// An answer with this configuration.
    Consumer(ConsumerConfig),
    /// An answer that is no error.
    Fine,
    /// A header block in place of an answer.
    Status(String),
}

impl From<stele_nats::jet::pull::Status> for Said {
    fn from(status: stele_nats::jet::pull::Status) -> Self {
        Self::Status(status.block())
    }
}

impl Toy {
    fn stream(&self, name: &str) -> Result<&(StreamConfig, BTreeMap<String, ConsumerConfig>), ApiError> {
        self.streams.get(name).ok_or_else(|| Code::StreamNotFound.error())
    }

    fn consumer(&self, stream: &str, name: &str) -> Result<&ConsumerConfig, ApiError> {
        self.stream(stream)?.1.get(name).ok_or_else(|| Code::ConsumerNotFound.error())
    }

    fn ask(&mut self, api: &Api<'_>, level: Option<&str>, body: &[u8]) -> Result<Said, ApiError> {
        if let Api::DirectGet { stream, subject } = *api {
            return Ok(self.direct(stream, subject, level, body));
        }
        if versions::is_beyond(level) {
            return Err(Code::RequiredApiLevel.error());
        }
        match *api {
            Api::StreamCreate(named) => self.create_stream(named, body),
            Api::StreamUpdate(named) => {
                let new = stream_check::update(json::read(body)?, named)?;
                let new = stream_check::update_from(&self.stream(named)?.0, new)?;
                self.streams.get_mut(named).unwrap().0 = new.clone();
                Ok(Said::Stream(new))
            }
            Api::StreamDelete(_) | Api::ConsumerDelete(_) | Api::ConsumerInfo(_)
                if !json::is_empty_request(body) =>
            {
                Err(Code::NotEmptyRequest.error())
            }
            Api::StreamDelete(name) => {
                self.streams.remove(name).map(|_| Said::Fine).ok_or_else(|| Code::StreamNotFound.error())
            }
            Api::StreamInfo(name) => {
                optional::<StreamInfoRequest>(body)?;
                Ok(Said::Stream(self.stream(name)?.0.clone()))
            }
            Api::StreamPurge(name) => {
                optional::<PurgeRequest>(body)?.check()?;
                let (config, _) = self.stream(name)?;
                if config.sealed { Err(Code::StreamSealed.error()) } else { Ok(Said::Fine) }
            }
            Api::MessageDelete(_) | Api::MessageGet(_) if json::is_empty_request(body) => {
                Err(Code::BadRequest.error())
            }
            Api::MessageDelete(name) => {
                json::read::<DeleteRequest>(body)?;
                let (config, _) = self.stream(name)?;
                if config.sealed {
                    return Err(Code::StreamSealed.error());
                }
                let denied = || Code::StreamMsgDeleteFailed.with("message delete not permitted");
                if config.deny_delete { Err(denied()) } else { Ok(Said::Fine) }
            }
            Api::MessageGet(name) => {
                json::read::<GetRequest>(body)?.one()?;
                self.stream(name).map(|_| Said::Fine)
            }
            Api::StreamNames | Api::StreamList => optional::<Page>(body).map(|_| Said::Fine),
            Api::ConsumerNames(stream) | Api::ConsumerList(stream) => {
                optional::<Page>(body)?;
                self.stream(stream).map(|_| Said::Fine)
            }
            Api::ConsumerCreate(named) => {
                let mut request: CreateConsumer = json::read(body)?;
                consumer_check::named(&mut request, named)?;
                self.create_consumer(request)
            }
            Api::ConsumerInfo(of) => Ok(Said::Consumer(self.consumer(of.stream, of.name)?.clone())),
            Api::ConsumerDelete(of) => {
                self.consumer(of.stream, of.name)?;
                self.streams.get_mut(of.stream).unwrap().1.remove(of.name);
                Ok(Said::Fine)
            }
            Api::ConsumerPause(of) => {
                let until = optional::<PauseRequest>(body)?.pause_until;
                let mut config = self.consumer(of.stream, of.name)?.clone();
                config.pause_until = (!until.is_zero()).then_some(until);
                versions::stamp_consumer(&mut config);
                self.streams.get_mut(of.stream).unwrap().1.insert(of.name.to_owned(), config);
                Ok(Said::Fine)
            }
            Api::Next(of) => {
                let config = self.consumer(of.stream, of.name)?;
                let pull = parse_pull(body).and_then(|pull| check_pull(&pull, config));
                Ok(pull.err().map_or(Said::Fine, Said::from))
            }
            Api::Cluster(_) => Err(Code::ClusterRequired.error()),
            Api::Info | Api::ConsumerReset(_) => Ok(Said::Fine),
            Api::StreamSnapshot(_) | Api::StreamRestore(_) | Api::ConsumerUnpin(_) | Api::Unknown => {
                Ok(Said::Fine)
            }
            Api::DirectGet { .. } => unreachable!("answered above"),
        }
    }

    fn direct(&self, stream: &str, subject: Option<&str>, level: Option<&str>, body: &[u8]) -> Said {
        let status = |code: u16, text: &str| Said::from(stele_nats::jet::pull::Status::new(code, text));
        if self.stream(stream).map_or(true, |(config, _)| !config.allow_direct) {
            return Said::Fine;
        }
        if versions::is_beyond(level) {
            return status(412, "Required Api Level");
        }
        let Ok(request) = json::read::<GetRequest>(body) else { return status(408, "Malformed Request") };
        request.direct(subject).err().map_or(Said::Fine, Said::from)
    }

    fn create_stream(&mut self, named: &str, body: &[u8]) -> Result<Said, ApiError> {
        let config = stream_check::create(json::read(body)?, named)?;
        if let Some((old, _)) = self.streams.get(named) {
            let same = stream_check::is_same(old, &config);
            return if same { Ok(Said::Stream(config)) } else { Err(Code::StreamNameExists.error()) };
        }
        let mut taken = self.streams.values().flat_map(|(other, _)| &other.subjects);
        if taken.any(|theirs| config.subjects.iter().any(|ours| subject::collide(theirs, ours))) {
            return Err(Code::StreamSubjectOverlap.error());
        }
        self.streams.insert(named.to_owned(), (config.clone(), BTreeMap::new()));
        Ok(Said::Stream(config))
    }

    fn create_consumer(&mut self, request: CreateConsumer) -> Result<Said, ApiError> {
        let (stream, consumers) = self.stream(&request.stream_name)?;
        let old = consumers.get(&request.config.name);
        let mut config = request.config;
        config.pause_until = old.map_or(config.pause_until, |old| old.pause_until);
        let mut config = consumer_check::check(config, stream, request.pedantic)?;
        let same = |config: &ConsumerConfig| old.is_some_and(|old| consumer_check::is_same(old, config));
        if request.action == Action::Create && old.is_some() && !same(&config) {
            return Err(Code::ConsumerAlreadyExists.error());
        }
        if request.action == Action::Update && old.is_none() {
            return Err(Code::ConsumerDoesNotExist.error());
        }
        let others = consumers.iter().filter(|(name, _)| **name != config.name).map(|(_, config)| config);
        consumer_check::beside(&config, stream, old.is_none(), others)?;
        if let Some(old) = old {
            consumer_check::update_from(old, &config, false)?;
        }
        consumer_check::stamp_inactive(&mut config);
        let mut name = config.name.clone();
        if name.is_empty() {
            self.made += 1;
            name = format!("made-{}", self.made);
        }
        self.streams.get_mut(&request.stream_name).unwrap().1.insert(name, config.clone());
        Ok(Said::Consumer(config))
    }
}

fn optional<T: serde::de::DeserializeOwned + Default>(body: &[u8]) -> Result<T, ApiError> {
    if json::is_object_or_array(body) { json::read(body) } else { Ok(T::default()) }
}

/// One question and its answer.
struct Entry {
    subject: String,
    body: Vec<u8>,
    level: Option<String>,
    headers: Vec<u8>,
    answer: Value,
    status: String,
}

fn entries() -> Vec<Entry> {
    let read = |line: &str| {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let body = match &entry["body"] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut block = String::new();
        if let Value::Object(headers) = &entry["headers"] {
            block.push_str("NATS/1.0\r\n");
            for (name, value) in headers {
                block.push_str(&format!("{name}: {}\r\n", text(value)));
            }
            block.push_str("\r\n");
        }
        let level = entry["headers"]["Nats-Required-Api-Level"].as_str().map(str::to_owned);
        let (subject, status) = (text(&entry["subject"]), text(&entry["answer_headers"]));
        Entry {
            subject,
            body: body.into_bytes(),
            level,
            headers: block.into_bytes(),
            answer: entry["answer"].take(),
            status,
        }
    };
    include_str!("golden/jet.jsonl").lines().map(read).collect()
}

/// Texts of these are Go's own words for what is wrong with JSON or with a number, or name its storage.
const OTHER_WORDS: [u64; 2] = [10025, 10095];
/// Whether a message is there is not known here.
const NEEDS_MESSAGES: [u64; 2] = [10037, 10057];

#[test]
fn refusals_and_echoes_are_those_of_nats_server() {
    let mut toy = Toy::default();
    let mut compared = 0;
    for entry in entries() {
        let Some(api) = Api::parse(&entry.subject) else { continue };
        let said = toy.ask(&api, entry.level.as_deref(), &entry.body);
        let asked = format!("{} {}", entry.subject, String::from_utf8_lossy(&entry.body));
        let refused = entry.answer["error"]["err_code"].as_u64();
        match (said, refused) {
            (Err(error), Some(number)) => {
                assert_eq!(u64::from(error.err_code), number, "{asked}: {error}");
                if !OTHER_WORDS.contains(&number) {
                    assert_eq!(serde_json::to_value(&error).unwrap(), entry.answer["error"], "{asked}");
                }
                compared += 1;
            }
            (Ok(_), Some(number)) if NEEDS_MESSAGES.contains(&number) => {}
            (Ok(_), Some(_))
                if matches!(api, Api::StreamSnapshot(_) | Api::StreamRestore(_) | Api::ConsumerUnpin(_)) => {}
            (Ok(_), Some(_)) => panic!("{asked}: refused with {}", entry.answer["error"]),
            // A request for a consumer that is not there reaches nobody.
            (Err(error), None) if matches!(api, Api::Next(_)) && error.err_code == 10014 => {
                assert!(entry.status.contains(" 503"), "{asked}");
            }
            (Err(error), None) => panic!("{asked}: not refused, but here with {error}"),
            (Ok(Said::Stream(mut config)), None) => {
                versions::show(&mut config.metadata);
                assert_eq!(serde_json::to_value(&config).unwrap(), entry.answer["config"], "{asked}");
                compared += 1;
            }
            (Ok(Said::Consumer(mut config)), None) => {
                versions::show(&mut config.metadata);
                assert_eq!(serde_json::to_value(&config).unwrap(), entry.answer["config"], "{asked}");
                compared += 1;
            }
            // What is wrong with JSON is said in other words.
            (Ok(Said::Status(_)), None) if entry.body == b"{" => {
                assert!(entry.status.contains(" 40"), "{asked}")
            }
            (Ok(Said::Status(block)), None) => {
                assert_eq!(block, entry.status, "{asked}");
                compared += 1;
            }
            (Ok(Said::Fine), None) => {}
        }
    }
    assert!(compared > 180, "the file is read: {compared}");
}

#[test]
fn infos_are_read_and_written_as_nats_server_writes_them() {
    for entry in entries() {
        let mut answer = entry.answer;
        if answer.get("config").is_none() {
            continue;
        }
        // There is no cluster here to name a leader of.
        for name in ["cluster", "type", "did_create", "total", "offset", "limit", "reset_seq"] {
            answer.as_object_mut().unwrap().remove(name);
        }
        let written = if answer.get("state").is_some() {
            serde_json::to_value(serde_json::from_value::<StreamInfo>(answer.clone()).unwrap())
        } else {
            serde_json::to_value(serde_json::from_value::<ConsumerInfo>(answer.clone()).unwrap())
        };
        assert_eq!(written.unwrap(), answer, "{}", entry.subject);
    }
}

#[test]
fn publish_headers_are_refused_as_nats_server_refuses_them() {
    let allows = publish::Allows { rollup: false, ttl: false, schedules: false };
    // What is compared with stored messages, or decided by the stream alone.
    let with_messages = [10054, 10060, 10070, 10071, 10109, 10174];
    for entry in
        entries().into_iter().filter(|entry| Api::parse(&entry.subject).is_none() && entry.subject == "a")
    {
        let wishes = publish::Wishes::parse(&entry.headers, allows);
        match entry.answer["error"]["err_code"].as_u64() {
            Some(number) if with_messages.contains(&number) => assert!(wishes.is_ok()),
            Some(_) => {
                let error = wishes.unwrap_err();
                assert_eq!(serde_json::to_value(&error).unwrap(), entry.answer["error"]);
            }
            None => assert!(wishes.is_ok(), "{:?}", String::from_utf8_lossy(&entry.headers)),
        }
    }
}
