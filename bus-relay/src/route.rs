//! Which row goes to which address, and with what headers.
//!
//! A row that names its destination goes there. Any other goes to the route's exchange, with a key made from a template, as Debezium's
//! event router does it: exchange `outbox.event`, key `outbox.event.<aggregatetype>`, headers `id` and `key`.

use crate::publish::{Address, Exchange, Message, Properties, Refusal};
use crate::row::Row;
use serde_json::{Map, Value};
use std::fmt;
use std::str::FromStr;

/// Where rows without a destination go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// A durable topic exchange, made when it is not there.
    pub exchange: String,
    /// The routing key.
    pub key: Template,
}

impl Default for Route {
    fn default() -> Self {
        let key = Template(vec![Part::Text("outbox.event.".into()), Part::AggregateType]);
        Self { exchange: "outbox.event".into(), key }
    }
}

impl Route {
    /// The message of a row.
    ///
    /// # Errors
    /// The row says something that cannot be understood.
    pub fn message(&self, row: Row) -> Result<Message, Refusal> {
        let address = match &row.destination {
            Some(text) => destination(text).ok_or_else(|| {
                Refusal::lasting(format!(
                    "destination {text:?} is not exchange:…, queue:…, existing:… or topic:…"
                ))
            })?,
            None => Address {
                exchange: self.exchange.clone(),
                routing_key: self.key.fill(&row),
                declare: Exchange::Topic,
                must_route: false,
            },
        };
        let mut headers = object("headers", row.headers.as_deref())?;
        if row.destination.is_none() {
            headers.insert("id".into(), Value::String(row.id.clone()));
            headers.insert("key".into(), Value::String(row.aggregate_id.clone()));
        }
        let properties = properties(&object("properties", row.properties.as_deref())?)?;
        Ok(Message {
            address,
            id: row.id,
            key: row.aggregate_id,
            kind: row.kind,
            content_type: row.content_type,
            headers,
            properties,
            payload: row.payload,
        })
    }
}

/// `exchange:NAME` is a durable fanout exchange with the name of a message's type, `queue:NAME` a queue that must be there,
/// `existing:NAME` an exchange that must be there, `topic:EXCHANGE/KEY` a durable topic exchange.
fn destination(text: &str) -> Option<Address> {
    let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty())?;
    match kind {
        "exchange" => Some(Address {
            exchange: name.into(),
            routing_key: String::new(),
            declare: Exchange::Fanout,
            must_route: false,
        }),
        "queue" => Some(Address {
            exchange: String::new(),
            routing_key: name.into(),
            declare: Exchange::Existing,
            must_route: true,
        }),
        "existing" => Some(Address {
            exchange: name.into(),
            routing_key: String::new(),
            declare: Exchange::Existing,
            must_route: false,
        }),
        "topic" => {
            let (exchange, key) = name.split_once('/')?;
            Some(Address {
                exchange: exchange.into(),
                routing_key: key.into(),
                declare: Exchange::Topic,
                must_route: false,
            })
        }
        _ => None,
    }
}

fn object(what: &str, text: Option<&str>) -> Result<Map<String, Value>, Refusal> {
    let Some(text) = text else { return Ok(Map::new()) };
    serde_json::from_str(text).map_err(|error| Refusal::lasting(format!("{what}: no JSON object: {error}")))
}

fn properties(object: &Map<String, Value>) -> Result<Properties, Refusal> {
    let mut properties = Properties::default();
    for (key, value) in object {
        match (key.as_str(), value) {
            (_, Value::Null) => {}
            ("correlation_id", Value::String(text)) => properties.correlation_id = Some(text.clone()),
            ("reply_to", Value::String(text)) => properties.reply_to = Some(text.clone()),
            ("bus", value) => properties.bus = Some(value.clone()),
            ("expiration_ms", Value::Number(ms)) if ms.is_u64() => properties.expiration_ms = ms.as_u64(),
            _ => return Err(Refusal::lasting(format!("properties: {key} = {value} is not understood"))),
        }
    }
    Ok(properties)
}

/// A routing key with holes: `{aggregatetype}`, `{aggregateid}`, `{type}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    AggregateType,
    AggregateId,
    Kind,
}

impl Template {
    fn fill(&self, row: &Row) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::AggregateType => row.aggregate_type.clone(),
            Part::AggregateId => row.aggregate_id.clone(),
            Part::Kind => row.kind.clone(),
        };
        self.0.iter().map(part).collect()
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            let (name, after) = after.split_once('}').ok_or("a { is not closed")?;
            parts.push(match name {
                "aggregatetype" => Part::AggregateType,
                "aggregateid" => Part::AggregateId,
                "type" => Part::Kind,
                _ => {
                    return Err(format!(
                        "{{{name}}} is none of {{aggregatetype}}, {{aggregateid}}, {{type}}"
                    ));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts))
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::AggregateType => f.write_str("{aggregatetype}"),
            Part::AggregateId => f.write_str("{aggregateid}"),
            Part::Kind => f.write_str("{type}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::row;

    #[test]
    fn a_row_without_destination_goes_where_debezium_sends_it() {
        let message = Route::default().message(row(7, "a-1")).unwrap();
        assert_eq!(
            (message.address.exchange.as_str(), message.address.routing_key.as_str()),
            ("outbox.event", "outbox.event.order")
        );
        assert_eq!(message.headers["id"], Value::from("id-7"));
        assert_eq!(message.headers["key"], Value::from("a-1"));
    }

    #[test]
    fn a_row_goes_to_its_own_destination_with_its_own_headers() {
        let mut row = row(7, "a-1");
        row.destination = Some("exchange:Shop.Contracts:OrderPlaced".into());
        row.headers = Some(r#"{"MT-Host":"x","n":1}"#.into());
        row.properties = Some(r#"{"correlation_id":"c","reply_to":null,"expiration_ms":5}"#.into());
        let message = Route::default().message(row).unwrap();
        assert_eq!(message.address.exchange, "Shop.Contracts:OrderPlaced");
        assert_eq!(message.address.declare, Exchange::Fanout);
        assert_eq!(message.headers.len(), 2);
        assert_eq!(message.properties.correlation_id.as_deref(), Some("c"));
        assert_eq!(message.properties.expiration_ms, Some(5));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_for_ever() {
        for (destination, headers, properties) in [
            (Some("nowhere"), None, None),
            (Some("queue:"), None, None),
            (None, Some("[]"), None),
            (None, None, Some("{\"priority\":1}")),
        ] {
            let mut row = row(7, "a-1");
            row.destination = destination.map(Into::into);
            row.headers = headers.map(Into::into);
            row.properties = properties.map(Into::into);
            assert!(Route::default().message(row).unwrap_err().lasting);
        }
    }

    #[test]
    fn templates_are_parsed_filled_and_shown() {
        let text = "x.{aggregatetype}.{type}.{aggregateid}!";
        let template: Template = text.parse().unwrap();
        assert_eq!(template.to_string(), text);
        assert_eq!(template.fill(&row(7, "a-1")), "x.order.OrderPlaced.a-1!");
        assert!("{aggregate}".parse::<Template>().unwrap_err().contains("{aggregatetype}"));
        assert!("{type".parse::<Template>().is_err());
    }
}
