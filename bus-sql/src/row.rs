//! An outgoing message as a row of the outbox, and back.
//!
//! A row is readable twice: by the bus, which finds everything under `properties.bus`, and by a relay that knows nothing of the bus,
//! which finds a destination, headers and properties in plain words.

use bytes::Bytes;
use serde_json::{Map, Value, json};
use stele_bus::headers::{HeaderValue, Headers};
use stele_bus::{Destination, Outgoing};
use uuid::Uuid;

/// The columns of a row that the database does not fill.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NewRow {
    pub(crate) id: Uuid,
    pub(crate) aggregate_id: Option<String>,
    pub(crate) kind: String,
    pub(crate) destination: String,
    pub(crate) content_type: Option<String>,
    /// JSON
    pub(crate) headers: String,
    /// JSON
    pub(crate) properties: String,
    pub(crate) payload: Bytes,
    /// Seconds since 1970.
    pub(crate) available_at: Option<f64>,
}

impl NewRow {
    pub(crate) fn of(outgoing: &Outgoing) -> Self {
        let body = Outgoing { body: Bytes::new(), ..outgoing.clone() };
        let from = &outgoing.properties;
        let properties = json!({
            "correlation_id": from.correlation_id,
            "reply_to": from.reply_to,
            "expiration_ms": from.expiration_ms,
            "bus": serde_json::to_value(&body).expect("an outgoing message is plain data"),
        });
        Self {
            id: outgoing.id,
            aggregate_id: outgoing.key.clone(),
            kind: outgoing.kind.as_ref().map(ToString::to_string).unwrap_or_default(),
            destination: plain(&outgoing.destination),
            content_type: from.content_type.clone(),
            headers: Value::Object(table(&from.headers)).to_string(),
            properties: properties.to_string(),
            payload: outgoing.body.clone(),
            available_at: outgoing.not_before.map(|time| time.0 as f64 / 1e3),
        }
    }
}

/// The message that a row was made of; `None` if it was not made by [`NewRow::of`].
pub(crate) fn outgoing(properties: Option<&Value>, payload: &[u8]) -> Option<Outgoing> {
    let outgoing: Outgoing = serde_json::from_value(properties?.clone()).ok()?;
    Some(Outgoing { body: Bytes::copy_from_slice(payload), ..outgoing })
}

/// The destination for a relay that is not the bus.
fn plain(destination: &Destination) -> String {
    match destination {
        Destination::Type { name, .. } => format!("exchange:{}", name.exchange()),
        Destination::Queue(name) => format!("queue:{name}"),
        Destination::Exchange(name) => format!("exchange:{name}"),
        Destination::Address { reply_to: Some(queue), .. } => format!("queue:{queue}"),
        Destination::Address { address, reply_to: None } => {
            let path = address.split_once('?').map_or(address.as_str(), |(path, _)| path);
            format!("existing:{}", path.rsplit('/').next().unwrap_or_default())
        }
    }
}

fn table(headers: &Headers) -> Map<String, Value> {
    headers.iter().map(|(name, value)| (name.clone(), plain_value(value))).collect()
}

fn plain_value(value: &HeaderValue) -> Value {
    match value {
        HeaderValue::Null => Value::Null,
        HeaderValue::Bool(value) => (*value).into(),
        HeaderValue::Int(number) => (*number).into(),
        HeaderValue::Float(number) => (*number).into(),
        HeaderValue::Text(text) => text.as_str().into(),
        HeaderValue::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned().into(),
        HeaderValue::Seconds(seconds) => (*seconds).into(),
        HeaderValue::List(values) => values.iter().map(plain_value).collect(),
        HeaderValue::Table(headers) => Value::Object(table(headers)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_bus::TypeName;
    use stele_bus::headers::Properties;

    #[test]
    fn a_message_comes_back_from_its_row_as_it_was() {
        let headers =
            Headers::from([("n".into(), HeaderValue::Int(7)), ("at".into(), HeaderValue::Seconds(3))]);
        let message = Outgoing {
            id: Uuid::from_u128(5),
            destination: Destination::Type {
                name: TypeName::declared("Shop:Placed"),
                supertypes: Vec::new(),
            },
            kind: Some(TypeName::declared("Shop:Placed")),
            key: Some("a-1".into()),
            not_before: None,
            token: None,
            properties: Properties { correlation_id: Some("c".into()), headers, ..Properties::default() },
            body: Bytes::from_static(b"{\"a\":\"\\u0000\"}"),
        };
        let row = NewRow::of(&message);
        assert_eq!(row.destination, "exchange:Shop:Placed");
        assert_eq!(row.headers, r#"{"at":3,"n":7}"#);
        let properties: Value = serde_json::from_str(&row.properties).unwrap();
        assert_eq!(properties["correlation_id"], "c");
        assert_eq!(outgoing(properties.get("bus"), &row.payload), Some(message));
        assert_eq!(outgoing(None, b""), None);
    }

    #[test]
    fn destinations_are_said_in_plain_words() {
        let address = |address: &str, reply_to: Option<&str>| Destination::Address {
            address: address.into(),
            reply_to: reply_to.map(Into::into),
        };
        for (destination, text) in [
            (Destination::Queue("q".into()), "queue:q"),
            (Destination::Exchange("e".into()), "exchange:e"),
            (address("rabbitmq://host/vhost/name?temporary=true", None), "existing:name"),
            (address("rabbitmq://host/amq.rabbitmq.reply-to", Some("amq.gen-1")), "queue:amq.gen-1"),
        ] {
            assert_eq!(plain(&destination), text);
        }
    }
}
