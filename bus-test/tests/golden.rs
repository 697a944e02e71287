//! Golden files: one for each kind of message, bytes and headers as they leave. `UPDATE_GOLDEN=1` writes them anew; read the difference.
//!
//! Times and ids come from the harness's clock and seed. Only what differs from machine to machine (the host) is replaced by its shape.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stele_bus::headers::HeaderValue;
use stele_bus::transport::memory::address;
use stele_bus::wire::Format;
use stele_bus::{Destination, Message, Msg, Outgoing, Respond, Retry, SendOptions};
use stele_bus_test::{Harness, run};
use uuid::Uuid;

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:SubmitOrder", correlate = order_id, key = customer, implements(IOrder))]
#[serde(rename_all = "camelCase")]
struct SubmitOrder {
    order_id: Uuid,
    customer: String,
    #[serde(with = "stele_bus::decimal")]
    amount: f64,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:IOrder")]
#[serde(rename_all = "camelCase")]
struct IOrder {
    order_id: Uuid,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderAccepted")]
#[serde(rename_all = "camelCase")]
struct OrderAccepted {
    order_id: Uuid,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:Outer+Changed")]
struct Changed<T> {
    before: T,
    after: T,
}

#[derive(Debug, thiserror::Error)]
#[error("out of stock")]
struct OutOfStock;

async fn accept(Msg(order): Msg<SubmitOrder>) -> Result<Respond<OrderAccepted>, OutOfStock> {
    if order.amount < 0.0 { Err(OutOfStock) } else { Ok(Respond(OrderAccepted { order_id: order.order_id })) }
}

fn order(amount: f64) -> SubmitOrder {
    SubmitOrder { order_id: Uuid::from_u128(7), customer: "Ada".into(), amount }
}

#[test]
fn every_kind_of_message_leaves_as_it_always_did() {
    for (name, format) in [
        ("masstransit", Format::MassTransit),
        ("cloudevents", Format::CloudEvents),
        ("cloudevents-binary", Format::CloudEventsBinary),
        ("raw-json", Format::RawJson),
    ] {
        run(
            |bus| {
                bus.format(format).endpoint("submit-order", |e| e.handle(accept).retry(Retry::immediate(1)))
            },
            async |h| check(name, &everything(&h).await),
        );
    }
}

/// What is sent when each kind of message is sent once, by kind.
async fn everything(h: &Harness) -> Value {
    let composer = h.bus().composer();
    let headers = [("tenant".to_owned(), "t1".into()), ("MT-Own".to_owned(), 1.into())].into();
    let options =
        SendOptions { headers, ttl: Some(std::time::Duration::from_secs(60)), ..SendOptions::default() };
    let sent = composer.send("queue:elsewhere", &order(12.5), options).unwrap();
    let (before, after) = (OrderAccepted { order_id: Uuid::nil() }, OrderAccepted { order_id: Uuid::max() });
    let generic = composer.publish(&Changed { before, after }, SendOptions::default()).unwrap();
    h.publish(&order(-1.0)).await;
    let _answer: OrderAccepted = h.bus().request(&order(1.0)).await.unwrap();
    h.quiet().await;
    let strange = IOrder { order_id: Uuid::from_u128(9) };
    h.send("queue:submit-order", &strange).await;
    let journal = h.broker().journal();
    let find = |wanted: fn(&Outgoing) -> bool| show(journal.iter().find(|message| wanted(message)).unwrap());
    json!({
        "sent": show(&sent),
        "generic and nested": show(&generic),
        "published": find(|message| message.kind.as_ref().is_some_and(|kind| kind.name() == "SubmitOrder")),
        "request": find(|message| message.properties.expiration_ms.is_some()),
        "response": find(|message| message.kind.as_ref().is_some_and(|kind| kind.name() == "OrderAccepted")),
        "fault": find(|message| message.kind.as_ref().is_some_and(|kind| kind.name() == "Fault")),
        "error": show(&h.errors("submit-order")[0]),
        "skipped": show(&h.skipped("submit-order")[0]),
    })
}

fn show(message: &Outgoing) -> Value {
    let mut properties = serde_json::to_value(&message.properties).unwrap();
    let headers: Map<String, Value> =
        message.properties.headers.iter().map(|(name, value)| (name.clone(), plain(name, value))).collect();
    properties["headers"] = Value::Object(headers);
    let mut body: Value = serde_json::from_slice(&message.body).unwrap();
    shape(&mut body);
    json!({ "to": address(&match &message.destination {
        Destination::Address { address, .. } => Destination::Address { address: address.clone(), reply_to: None },
        other => other.clone(),
    }), "properties": properties, "body": body })
}

fn plain(name: &str, value: &HeaderValue) -> Value {
    if name.starts_with("MT-Host-") {
        return "…".into();
    }
    match value {
        HeaderValue::Text(text) => local(text).into(),
        HeaderValue::Int(number) => (*number).into(),
        other => serde_json::to_value(other).unwrap(),
    }
}

/// Replace what differs from machine to machine.
fn shape(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "host" && value.is_object() {
                    let fields =
                        value.as_object().unwrap().keys().map(|name| (name.clone(), "…".into())).collect();
                    *value = Value::Object(fields);
                } else if name == "source" && !value.as_str().is_some_and(|text| text.contains("://")) {
                    *value = "…".into();
                } else {
                    shape(value);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(shape),
        Value::String(text) => *text = local(text),
        _ => {}
    }
}

/// The address of this process is named after it.
fn local(text: &str) -> String {
    if text.ends_with("_bus") { "loopback://localhost/…_bus".into() } else { text.to_owned() }
}

fn check(name: &str, found: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{name}.json"));
    let found = serde_json::to_string_pretty(found).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (at, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "{name}, line {}", at + 1);
    }
    assert_eq!(found.len(), expected.len(), "{name}");
}
