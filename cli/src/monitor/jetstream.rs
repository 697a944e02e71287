//! `/jsz`: what JetStream holds, by account, stream and consumer. The details are the API's own answers, asked for as a client would.

use super::Told;
use serde_json::{Value, json};
use stele_nats::front::query::Query;
use stele_nats::jet::versions::API_LEVEL;
use stele_server::node::nats_server_id;

/// Accounts of a page when nobody says.
const LIMIT: usize = 1024;

/// Streams, and consumers of a stream, that are told of at most.
const DETAILS_MAX: usize = 16 * 1024;

/// An account's name as clients know it.
fn account(namespace: &str) -> &str {
    if namespace == "/" { "$G" } else { namespace }
}

/// What the accounts hold together.
#[derive(Default)]
pub(super) struct Held {
    memory: u64,
    storage: u64,
    reserved_memory: u64,
    reserved_storage: u64,
    streams: u64,
    consumers: u64,
    messages: u64,
    bytes: u64,
    api_total: u64,
}

impl Told {
    /// Parameters: `acc`, `accounts`, `streams`, `consumers`, `config`, `offset`, `limit`; each but the first asks for more than the one before.
    pub(super) fn jsz(&self, query: &Query) -> Result<Value, String> {
        let (consumers, config) = (query.truth("consumers")?, query.truth("config")?);
        let streams = query.truth("streams")? || consumers || config;
        let accounts = query.truth("accounts")? || streams || query.text("acc").is_some();
        let (offset, limit) = (query.number("offset", 0)?, query.number("limit", LIMIT)?);
        let mut names: Vec<String> = self.node.streams().into_iter().map(|stream| stream.namespace).collect();
        names.dedup();
        let (mut all, mut details) = (Held::default(), Vec::new());
        let known = names.len();
        for namespace in names {
            let listed = self.pages(&namespace, "STREAM.LIST", "streams");
            let held = self.held(&namespace, &listed);
            all.add(&held);
            if query.text("acc").is_none_or(|wanted| wanted == account(&namespace)) {
                let mut detail = held.json();
                detail["name"] = json!(account(&namespace));
                detail["id"] = json!(account(&namespace));
                if streams {
                    let streams = listed.iter().map(|info| self.stream(&namespace, info, consumers, config));
                    detail["stream_detail"] = json!(streams.collect::<Vec<_>>());
                }
                details.push(detail);
            }
        }
        let mut answer = all.json();
        answer["server_id"] = json!(nats_server_id());
        answer["now"] = json!(Self::now());
        answer["config"] = self.jetstream_config();
        answer["limits"] = json!({});
        answer["streams"] = json!(all.streams);
        answer["consumers"] = json!(all.consumers);
        answer["messages"] = json!(all.messages);
        answer["bytes"] = json!(all.bytes);
        answer["accounts"] = json!(known);
        answer["total"] = json!(known);
        if accounts {
            details.sort_by_key(|detail| detail["name"].as_str().map(str::to_owned));
            answer["account_details"] =
                json!(details.into_iter().skip(offset).take(limit).collect::<Vec<_>>());
        }
        Ok(answer)
    }

    /// What `/varz` says of it.
    pub(super) fn jetstream(&self) -> Value {
        if !self.nats.jetstream {
            return json!({});
        }
        let mut names: Vec<String> = self.node.streams().into_iter().map(|stream| stream.namespace).collect();
        names.dedup();
        let mut all = Held::default();
        for namespace in &names {
            all.add(&self.held(namespace, &self.pages(namespace, "STREAM.LIST", "streams")));
        }
        let mut stats = all.json();
        stats["accounts"] = json!(names.len());
        json!({ "config": self.jetstream_config(), "stats": stats, "limits": {} })
    }

    fn jetstream_config(&self) -> Value {
        json!({
            "max_memory": -1, "max_storage": -1, "store_dir": self.store.to_string_lossy(), "sync_interval": 0, "sync_always": true,
        })
    }

    fn held(&self, namespace: &str, streams: &[Value]) -> Held {
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let info = self.ask(namespace, "INFO", "").unwrap_or_default();
        let mut held = Held {
            memory: number(&info["memory"]),
            storage: number(&info["storage"]),
            reserved_memory: number(&info["reserved_memory"]),
            reserved_storage: number(&info["reserved_storage"]),
            streams: streams.len() as u64,
            api_total: number(&info["api"]["total"]),
            ..Held::default()
        };
        for stream in streams {
            held.consumers += number(&stream["state"]["consumer_count"]);
            held.messages += number(&stream["state"]["messages"]);
            held.bytes += number(&stream["state"]["bytes"]);
        }
        held
    }

    fn stream(&self, namespace: &str, info: &Value, consumers: bool, config: bool) -> Value {
        let name = &info["config"]["name"];
        let mut detail = json!({ "name": name, "created": info["created"], "state": info["state"] });
        if config {
            detail["config"] = info["config"].clone();
        }
        if consumers && let Some(name) = name.as_str() {
            let mut all = self.pages(namespace, &format!("CONSUMER.LIST.{name}"), "consumers");
            if !config {
                all.iter_mut().filter_map(Value::as_object_mut).for_each(|info| drop(info.remove("config")));
            }
            detail["consumer_detail"] = json!(all);
        }
        detail
    }

    /// All pages of a list of the API.
    fn pages(&self, namespace: &str, subject: &str, list: &str) -> Vec<Value> {
        let mut all = Vec::new();
        while all.len() < DETAILS_MAX {
            let body = json!({ "offset": all.len() }).to_string();
            let Some(mut page) = self.ask(namespace, subject, &body) else { break };
            let Value::Array(mut items) = page[list].take() else { break };
            if items.is_empty() {
                break;
            }
            all.append(&mut items);
            if page["total"].as_u64().is_none_or(|total| total <= all.len() as u64) {
                break;
            }
        }
        all
    }

    fn ask(&self, namespace: &str, subject: &str, body: &str) -> Option<Value> {
        serde_json::from_slice(&self.node.jetstream(namespace, subject, body)?).ok()
    }
}

impl Held {
    fn add(&mut self, other: &Self) {
        self.memory += other.memory;
        self.storage += other.storage;
        self.reserved_memory += other.reserved_memory;
        self.reserved_storage += other.reserved_storage;
        self.streams += other.streams;
        self.consumers += other.consumers;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.api_total += other.api_total;
    }

    fn json(&self) -> Value {
        json!({
            "memory": self.memory,
            "storage": self.storage,
            "reserved_memory": self.reserved_memory,
            "reserved_storage": self.reserved_storage,
            "ha_assets": 0,
            "api": { "level": API_LEVEL, "total": self.api_total, "errors": 0 },
        })
    }
}
