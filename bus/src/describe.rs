//! What a bus is, for people and tools: JSON of its endpoints, and an AsyncAPI 3 document.
//!
//! Read by `Bus::describe` and `Bus::asyncapi`; needs no connection, so a build can publish it. Not here: schemas of payloads, which Rust
//! types do not tell.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::bus::Bus;
use crate::endpoint::Endpoint;

/// A bus as a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// The kind of broker.
    pub transport: &'static str,
    /// The endpoints.
    pub endpoints: Vec<EndpointDescription>,
}

/// An endpoint as a value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointDescription {
    /// Name of its queue.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Where messages end that failed for good.
    pub error_queue: String,
    /// Where messages end that nobody takes.
    pub skipped_queue: String,
    /// What it consumes, aliases included.
    pub consumes: Vec<Consumed>,
    /// Retries of one delivery at most.
    pub retries: usize,
    /// Redeliveries, as waits in ms.
    pub redeliver_ms: Vec<u64>,
    /// Messages in hand at once; with `lanes`, what the broker sends ahead.
    pub concurrency: u16,
    /// Lanes by key, if its messages keep their order.
    pub lanes: Option<u16>,
    /// One message id has one effect.
    pub inbox: bool,
}

/// A type that an endpoint consumes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Consumed {
    /// Its URN.
    pub urn: String,
    /// The exchange it is published to.
    pub exchange: String,
    /// Who takes it.
    pub consumer: &'static str,
}

impl Bus {
    /// Endpoints, types and policies.
    pub fn describe(&self) -> Description {
        let endpoints = self.endpoints().map(endpoint).collect();
        Description { transport: self.transport().system(), endpoints }
    }

    /// An AsyncAPI 3.0 document: one channel per endpoint and per type, one `receive` operation per endpoint.
    pub fn asyncapi(&self, title: &str, version: &str) -> Value {
        let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
        for endpoint in self.describe().endpoints {
            let mut of_channel = Map::new();
            let mut of_operation = Vec::new();
            let channel = key(&endpoint.name);
            for consumed in &endpoint.consumes {
                let name = key(&consumed.exchange);
                let content_type = crate::wire::mass_transit::CONTENT_TYPE;
                messages.insert(name.clone(), json!({ "name": consumed.urn, "contentType": content_type }));
                of_channel.insert(name.clone(), json!({ "$ref": format!("#/components/messages/{name}") }));
                of_operation.push(json!({ "$ref": format!("#/channels/{channel}/messages/{name}") }));
                channels.entry(name.clone()).or_insert_with(|| {
                    let own = Map::from_iter([(
                        name.clone(),
                        json!({ "$ref": format!("#/components/messages/{name}") }),
                    )]);
                    let exchange = json!({ "name": consumed.exchange, "type": "fanout", "durable": true });
                    json!({
                        "address": consumed.exchange,
                        "messages": own,
                        "bindings": { "amqp": { "is": "routingKey", "exchange": exchange } }
                    })
                });
            }
            let queue =
                json!({ "name": endpoint.name, "durable": true, "exclusive": false, "autoDelete": false });
            channels.insert(
                channel.clone(),
                json!({
                    "address": endpoint.name,
                    "messages": of_channel,
                    "bindings": { "amqp": { "is": "queue", "queue": queue } }
                }),
            );
            let of_endpoint = json!({ "$ref": format!("#/channels/{channel}") });
            operations.insert(
                format!("receive-{channel}"),
                json!({ "action": "receive", "channel": of_endpoint, "messages": of_operation }),
            );
        }
        json!({
            "asyncapi": "3.0.0",
            "info": { "title": title, "version": version },
            "channels": channels,
            "operations": operations,
            "components": { "messages": messages }
        })
    }
}

fn endpoint(endpoint: &Endpoint) -> EndpointDescription {
    let consumes = endpoint.topology.types.iter().filter_map(|kind| {
        let urn = kind.name.urn();
        let consumer = endpoint.routes.get(&urn)?.consumer;
        Some(Consumed { exchange: kind.name.exchange(), urn, consumer })
    });
    let ms = |wait: &std::time::Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    EndpointDescription {
        name: endpoint.name.clone(),
        address: endpoint.address.clone(),
        error_queue: format!("{}_error", endpoint.name),
        skipped_queue: format!("{}_skipped", endpoint.name),
        consumes: consumes.collect(),
        retries: endpoint.retry.count(),
        redeliver_ms: endpoint.redeliver.iter().map(ms).collect(),
        concurrency: endpoint.concurrency,
        lanes: endpoint.lanes,
        inbox: endpoint.turns.is_some(),
    }
}

/// A name that AsyncAPI takes for a key: letters, digits, dots, hyphens and underscores.
fn key(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect()
}
