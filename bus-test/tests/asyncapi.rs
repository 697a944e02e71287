//! The AsyncAPI document of a bus: payloads with the schemas that their types say.

use serde::{Deserialize, Serialize};
use stele_bus::schemars::{self, JsonSchema};
use stele_bus::transport::memory::Memory;
use stele_bus::{Bus, Message, Msg};

#[derive(Message, Serialize, Deserialize, JsonSchema)]
#[message(urn = "Shop:Ordered", schema)]
#[serde(rename_all = "camelCase")]
struct Ordered {
    /// Number of the order.
    order_number: u32,
    lines: Vec<Line>,
    note: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Line {
    sku: String,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop:Silent")]
struct Silent;

async fn take(_: Msg<Ordered>) {}
async fn hush(_: Msg<Silent>) {}

#[test]
fn a_payload_s_schema_stands_inside_the_envelope_s() {
    let bus =
        Bus::builder(Memory::default()).endpoint("orders", |e| e.handle(take).handle(hush)).build().unwrap();
    let document = bus.asyncapi("orders", "1.0.0");
    let payload = &document["components"]["messages"]["Shop_Ordered"]["payload"];
    assert_eq!(payload["schemaFormat"], "application/schema+json;version=draft-07");
    let schema = &payload["schema"];
    assert_eq!(schema["properties"]["messageType"]["contains"]["const"], "urn:message:Shop:Ordered");
    let message = &schema["properties"]["message"];
    assert_eq!(message["properties"]["orderNumber"]["description"], "Number of the order.");
    assert_eq!(message["required"], serde_json::json!(["orderNumber", "lines"]));
    let reference = message["properties"]["lines"]["items"]["$ref"].as_str().unwrap();
    let line = schema.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
    assert_eq!(line["properties"]["sku"]["type"], "string");
    let silent = &document["components"]["messages"]["Shop_Silent"];
    assert_eq!(silent["payload"], serde_json::Value::Null, "a type that says none has none");
}
