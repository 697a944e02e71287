//! What a bus is, for people and tools: JSON of its endpoints, and an AsyncAPI 3 document.
//!
//! Read by `Bus::describe` and `Bus::asyncapi`; needs no connection, so a build can publish it. Schemas of payloads are
//! those that messages give ([`crate::Message::schema`]).

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
    /// JSON Schema of its payload, if the type says one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
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
                let mut message = json!({ "name": consumed.urn, "contentType": content_type });
                if let Some(schema) = &consumed.schema {
                    message["payload"] = enveloped(&consumed.urn, schema);
                }
                messages.insert(name.clone(), message);
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
        let route = endpoint.routes.get(&urn)?;
        let (consumer, schema) = (route.consumer, route.schema.clone());
        Some(Consumed { exchange: kind.name.exchange(), urn, consumer, schema })
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

/// The envelope around a payload of this schema, as AsyncAPI names a schema of another format than its own.
fn enveloped(urn: &str, payload: &Value) -> Value {
    let id = || json!({ "type": ["string", "null"], "format": "uuid" });
    let (address, time) = (
        || json!({ "type": ["string", "null"], "format": "uri" }),
        || json!({ "type": ["string", "null"], "format": "date-time" }),
    );
    let mut payload = payload.clone();
    // References inside a schema are to its own root, so definitions move there with it.
    let definitions = payload.as_object_mut().and_then(|schema| {
        schema.remove("$schema");
        schema.remove("definitions")
    });
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["messageType", "message"],
        "properties": {
            "messageId": id(), "requestId": id(), "correlationId": id(), "conversationId": id(), "initiatorId": id(),
            "sourceAddress": address(), "destinationAddress": address(), "responseAddress": address(),
            "faultAddress": address(), "expirationTime": time(), "sentTime": time(),
            "messageType": { "type": "array", "items": { "type": "string" }, "contains": { "const": urn } },
            "message": payload,
            "headers": { "type": ["object", "null"] },
            "host": { "type": ["object", "null"] }
        }
    });
    if let Some(definitions) = definitions {
        schema["definitions"] = definitions;
    }
    json!({ "schemaFormat": "application/schema+json;version=draft-07", "schema": schema })
}

/// A name that AsyncAPI takes for a key: letters, digits, dots, hyphens and underscores.
fn key(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect()
}
