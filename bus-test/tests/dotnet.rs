//! The envelope as a .NET service with MassTransit 8.5 writes it, read to the last field; and what we write, against the form that such a
//! service reads.
//!
//! `golden/dotnet.json` was made by hand from the published documentation and the facts of its source (reference of the project); no
//! service recorded it. One recorded is welcome beside it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stele_bus::envelope::Envelope;
use stele_bus::headers::{HeaderValue, Properties};
use stele_bus::{Fault, Message, Msg, Respond, Timestamp, fold, wire};
use stele_bus_test::run;
use uuid::{Uuid, uuid};

const ORDER: Uuid = uuid!("6f9619ff-8b86-d011-b42d-00c04fc964ff");

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:SubmitOrder", correlate = order_id)]
#[serde(rename_all = "camelCase")]
struct SubmitOrder {
    order_id: Uuid,
    customer: String,
    #[serde(with = "stele_bus::decimal")]
    amount: f64,
}

#[derive(Clone, Debug, PartialEq, Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:OrderAccepted")]
#[serde(rename_all = "camelCase")]
struct OrderAccepted {
    order_id: Uuid,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrderSubmitted {
    order_id: Uuid,
    customer: String,
    #[serde(with = "stele_bus::decimal")]
    amount: f64,
    placed_at: Timestamp,
    lines: Vec<Line>,
    note: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Line {
    sku: String,
    count: u32,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:Outer+Change")]
struct Change {
    field: String,
}

#[derive(Message, Serialize, Deserialize)]
#[message(urn = "Shop.Contracts:Audited")]
struct Audited<T> {
    subject: T,
}

/// One message of the file.
fn read(name: &str) -> (Properties, Vec<u8>, Envelope) {
    let file: Value = serde_json::from_str(include_str!("../golden/dotnet.json")).unwrap();
    let (properties, body) =
        (&file[name]["properties"], serde_json::to_vec_pretty(&file[name]["body"]).unwrap());
    let text = |field: &str| properties[field].as_str().map(str::to_owned);
    let headers = properties["headers"].as_object().unwrap().iter();
    let properties = Properties {
        content_type: text("content_type"),
        message_id: text("message_id"),
        persistent: true,
        expiration_ms: properties["expiration_ms"].as_u64(),
        headers: headers
            .map(|(name, value)| (name.clone(), HeaderValue::from(value.as_str().unwrap())))
            .collect(),
        ..Properties::default()
    };
    let envelope = wire::decode(&properties, &body).unwrap();
    (properties, body, envelope)
}

fn payload<T: for<'de> Deserialize<'de>>(envelope: &Envelope) -> T {
    fold::from_slice(envelope.message.0.get().as_bytes()).unwrap()
}

#[test]
fn an_event_of_a_dotnet_service_is_read_to_the_last_field() {
    let (_, _, envelope) = read("event with a supertype");
    assert_eq!(envelope.message_id, Some(uuid!("14b60000-5d6e-0015-3d0a-08de28a1c7f1")));
    assert_eq!((envelope.correlation_id, envelope.request_id), (Some(ORDER), None));
    assert_eq!(envelope.conversation_id, Some(uuid!("14b60000-5d6e-0015-50c2-08de28a1c7f1")));
    assert_eq!(
        envelope.message_type,
        ["urn:message:Shop.Contracts:OrderSubmitted", "urn:message:Shop.Contracts:IOrderEvent"]
    );
    assert_eq!(envelope.sent_time, Timestamp::parse("2026-11-21T08:31:07.502Z"));
    assert_eq!(envelope.headers["tenant"], "north");
    let host = envelope.host.clone().unwrap();
    assert_eq!((host.machine_name.as_deref(), host.process_id), (Some("SHOP-01"), 4711));
    assert_eq!(host.mass_transit_version.as_deref(), Some("8.5.4.0"));
    let order: OrderSubmitted = payload(&envelope);
    assert_eq!(order.amount, 1234.5);
    assert_eq!(order.placed_at, Timestamp::parse("2026-11-21T08:31:07.441Z").unwrap());
    assert_eq!(order.lines, [Line { sku: "lamp".into(), count: 2 }]);
}

#[test]
fn a_fault_of_a_dotnet_service_is_a_typed_fault() {
    let (_, _, envelope) = read("fault");
    assert!(
        envelope.message_type.contains(&Fault::<SubmitOrder>::name().urn()),
        "{:?}",
        envelope.message_type
    );
    let fault: Fault<SubmitOrder> = payload(&envelope);
    let exception = &fault.exceptions[0];
    assert_eq!(exception.exception_type.as_deref(), Some("Shop.Orders.OutOfStockException"));
    let inner = exception.inner_exception.as_ref().unwrap();
    assert_eq!(inner.source.as_deref(), Some("Npgsql"));
    assert_eq!(exception.data.as_ref().unwrap()["sku"], "lamp");
    assert_eq!(fault.fault_message_types, [SubmitOrder::name().urn()]);
    assert_eq!(fault.message, SubmitOrder { order_id: ORDER, customer: "Ada".into(), amount: 12.5 });
}

#[test]
fn names_of_generic_and_nested_types_are_those_of_dotnet() {
    let (_, _, envelope) = read("generic of a nested type");
    assert_eq!(envelope.message_type, [Audited::<Change>::name().urn()]);
    let exchange = envelope.destination_address.as_deref().unwrap().rsplit('/').next().unwrap();
    assert_eq!(Audited::<Change>::name().exchange(), exchange);
    assert_eq!(payload::<Audited<Change>>(&envelope).subject.field, "price");
    assert_eq!(envelope.headers["MT-Redelivery-Count"], 2);
}

#[test]
fn letter_case_is_no_matter() {
    let (_, _, envelope) = read("pascal case, as an application may configure it");
    assert_eq!(envelope.correlation_id, Some(ORDER));
    assert_eq!(payload::<SubmitOrder>(&envelope).amount, 12.5);
    assert_eq!(envelope.host.unwrap().machine_name.as_deref(), Some("SHOP-01"));
}

/// A request of .NET goes through a whole bus, and the answer is looked at as .NET's reader would.
#[test]
fn the_answer_to_a_dotnet_request_has_the_form_that_dotnet_reads() {
    async fn accept(Msg(order): Msg<SubmitOrder>) -> Respond<OrderAccepted> {
        Respond(OrderAccepted { order_id: order.order_id })
    }
    run(
        |bus| bus.endpoint("submit-order", |e| e.handle(accept)),
        async |h| {
            let (properties, body, request) = read("request");
            // Its answer queue, so that the answer has somewhere to go.
            let address = request.response_address.clone().unwrap();
            let queue = address.split('?').next().unwrap().rsplit('/').next().unwrap().to_owned();
            h.send(&format!("queue:{queue}"), &OrderAccepted { order_id: Uuid::nil() }).await;
            let mut outgoing = h
                .bus()
                .composer()
                .send("queue:submit-order", &OrderAccepted { order_id: ORDER }, Default::default())
                .unwrap();
            (outgoing.properties, outgoing.body) = (properties, body.into());
            outgoing.properties.expiration_ms = None; // that time is over
            h.bus().send_outgoing(outgoing).await.unwrap();
            h.quiet().await;
            let answers = h.broker().queued(&queue);
            let answer: Value = serde_json::from_slice(&answers.last().unwrap().body).unwrap();
            check_form(&answer);
            assert_eq!(answer["requestId"], request.request_id.unwrap().to_string());
            assert_eq!(answer["conversationId"], request.conversation_id.unwrap().to_string());
            assert_eq!(answer["initiatorId"], request.request_id.unwrap().to_string());
            assert_eq!(answer["destinationAddress"], address);
            assert_eq!(answer["messageType"][0], "urn:message:Shop.Contracts:OrderAccepted");
            assert_eq!(answer["message"]["orderId"], ORDER.to_string());
        },
    );
}

/// The fields of .NET's envelope, each in the form that its reader takes: GUIDs with hyphens, absolute addresses, times with a zone,
/// numbers as numbers; and no field that it does not know.
fn check_form(envelope: &Value) {
    let fields = envelope.as_object().unwrap();
    let guids = ["messageId", "requestId", "correlationId", "conversationId", "initiatorId"];
    let addresses = ["sourceAddress", "destinationAddress", "responseAddress", "faultAddress"];
    let times = ["expirationTime", "sentTime"];
    for (name, value) in fields {
        let text = value.as_str();
        let is_right = match name.as_str() {
            _ if value.is_null() => name != "messageId" && name != "message",
            name if guids.contains(&name) => {
                text.is_some_and(|text| Uuid::parse_str(text).is_ok_and(|id| id.to_string() == text))
            }
            name if addresses.contains(&name) => text.is_some_and(|text| text.contains("://")),
            name if times.contains(&name) => {
                text.is_some_and(|text| text.ends_with('Z') && Timestamp::parse(text).is_some())
            }
            "messageType" => {
                value.as_array().unwrap().iter().all(|urn| urn.as_str().unwrap().starts_with("urn:message:"))
            }
            "message" | "headers" => value.is_object(),
            "host" => {
                value["processId"].is_i64()
                    && value
                        .as_object()
                        .unwrap()
                        .iter()
                        .all(|(name, value)| name == "processId" || value.is_string())
            }
            _ => false,
        };
        assert!(is_right, "{name}: {value}");
    }
}
