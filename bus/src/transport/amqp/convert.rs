//! Properties and headers between the bus's words and AMQP's. Pure.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ByteArray, FieldArray, FieldTable, ShortString};

use super::TransportError;
use super::link::short;
use crate::headers::{HeaderValue, Headers, Properties};

/// Depth of tables in tables; deeper ones become null.
const DEPTH_MAX: usize = 8;

pub(super) fn properties(from: &BasicProperties) -> Properties {
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    Properties {
        content_type: text(from.content_type()),
        content_encoding: text(from.content_encoding()),
        persistent: *from.delivery_mode() == Some(2),
        priority: *from.priority(),
        correlation_id: text(from.correlation_id()),
        reply_to: text(from.reply_to()),
        expiration_ms: from.expiration().as_ref().and_then(|ms| ms.as_str().parse().ok()),
        message_id: text(from.message_id()),
        timestamp: *from.timestamp(),
        kind: text(from.kind()),
        app_id: text(from.app_id()),
        headers: from.headers().as_ref().map(|table| headers(table, 0)).unwrap_or_default(),
    }
}

fn headers(table: &FieldTable, depth: usize) -> Headers {
    table.inner().iter().map(|(name, value)| (name.to_string(), header(value, depth))).collect()
}

fn header(value: &AMQPValue, depth: usize) -> HeaderValue {
    match value {
        AMQPValue::Boolean(truth) => HeaderValue::Bool(*truth),
        AMQPValue::ShortShortInt(number) => HeaderValue::Int((*number).into()),
        AMQPValue::ShortShortUInt(number) => HeaderValue::Int((*number).into()),
        AMQPValue::ShortInt(number) => HeaderValue::Int((*number).into()),
        AMQPValue::ShortUInt(number) => HeaderValue::Int((*number).into()),
        AMQPValue::LongInt(number) => HeaderValue::Int((*number).into()),
        AMQPValue::LongUInt(number) => HeaderValue::Int((*number).into()),
        AMQPValue::LongLongInt(number) => HeaderValue::Int(*number),
        AMQPValue::Float(number) => HeaderValue::Float((*number).into()),
        AMQPValue::Double(number) => HeaderValue::Float(*number),
        AMQPValue::DecimalValue(number) => {
            HeaderValue::Float(f64::from(number.value) / 10f64.powi(i32::from(number.scale)))
        }
        AMQPValue::ShortString(text) => HeaderValue::Text(text.to_string()),
        AMQPValue::LongString(bytes) => match std::str::from_utf8(bytes.as_bytes()) {
            Ok(text) => HeaderValue::Text(text.to_owned()),
            Err(_) => HeaderValue::Bytes(bytes.as_bytes().to_vec()),
        },
        AMQPValue::Timestamp(seconds) => HeaderValue::Seconds(*seconds),
        AMQPValue::ByteArray(bytes) => HeaderValue::Bytes(bytes.as_slice().to_vec()),
        AMQPValue::FieldArray(list) if depth < DEPTH_MAX => {
            HeaderValue::List(list.as_slice().iter().map(|value| header(value, depth + 1)).collect())
        }
        AMQPValue::FieldTable(table) if depth < DEPTH_MAX => HeaderValue::Table(headers(table, depth + 1)),
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => HeaderValue::Null,
    }
}

/// `waits`: in a queue where its own time to live would end the wait.
pub(super) fn basic_properties(from: &Properties, waits: bool) -> Result<BasicProperties, TransportError> {
    let mut to = BasicProperties::default().with_delivery_mode(if from.persistent { 2 } else { 1 });
    let set = |to: BasicProperties,
               text: &Option<String>,
               with: fn(BasicProperties, ShortString) -> BasicProperties| {
        Ok::<_, TransportError>(match text {
            Some(text) => with(to, short(text)?),
            None => to,
        })
    };
    to = set(to, &from.content_type, BasicProperties::with_content_type)?;
    to = set(to, &from.content_encoding, BasicProperties::with_content_encoding)?;
    to = set(to, &from.correlation_id, BasicProperties::with_correlation_id)?;
    to = set(to, &from.reply_to, BasicProperties::with_reply_to)?;
    to = set(to, &from.message_id, BasicProperties::with_message_id)?;
    to = set(to, &from.kind, BasicProperties::with_type)?;
    to = set(to, &from.app_id, BasicProperties::with_app_id)?;
    if let Some(ms) = from.expiration_ms.filter(|_| !waits) {
        // The broker counts 32 bits; what is longer lives for ever as far as anybody can tell.
        to = to.with_expiration(short(&ms.min(u64::from(u32::MAX)).to_string())?);
    }
    if let Some(priority) = from.priority {
        to = to.with_priority(priority);
    }
    if let Some(seconds) = from.timestamp {
        to = to.with_timestamp(seconds);
    }
    Ok(to.with_headers(table(&from.headers)?))
}

fn table(headers: &Headers) -> Result<FieldTable, TransportError> {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(short(name)?, value_of(value)?);
    }
    Ok(table)
}

fn value_of(value: &HeaderValue) -> Result<AMQPValue, TransportError> {
    Ok(match value {
        HeaderValue::Null => AMQPValue::Void,
        HeaderValue::Bool(truth) => AMQPValue::Boolean(*truth),
        HeaderValue::Int(number) => AMQPValue::LongLongInt(*number),
        HeaderValue::Float(number) => AMQPValue::Double(*number),
        HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
        HeaderValue::Bytes(bytes) => AMQPValue::ByteArray(ByteArray::from(bytes.as_slice())),
        HeaderValue::Seconds(seconds) => AMQPValue::Timestamp(*seconds),
        HeaderValue::List(list) => {
            let values = list.iter().map(value_of).collect::<Result<Vec<_>, _>>()?;
            AMQPValue::FieldArray(FieldArray::from(values))
        }
        HeaderValue::Table(headers) => AMQPValue::FieldTable(table(headers)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_and_headers_come_back_as_they_were() {
        let nested = Headers::from([("count".to_owned(), HeaderValue::Int(3))]);
        let headers = Headers::from([
            ("text".to_owned(), "täxt".into()),
            ("bytes".to_owned(), HeaderValue::Bytes(vec![0xff, 0])),
            (
                "deaths".to_owned(),
                HeaderValue::List(vec![HeaderValue::Table(nested), HeaderValue::Seconds(7)]),
            ),
            ("half".to_owned(), HeaderValue::Float(0.5)),
            ("yes".to_owned(), HeaderValue::Bool(true)),
            ("none".to_owned(), HeaderValue::Null),
        ]);
        let before = Properties {
            content_type: Some("application/json".into()),
            persistent: true,
            priority: Some(3),
            expiration_ms: Some(5000),
            message_id: Some("m".into()),
            timestamp: Some(1),
            kind: Some("k".into()),
            headers,
            ..Properties::default()
        };
        assert_eq!(properties(&basic_properties(&before, false).unwrap()), before);
        let waiting = properties(&basic_properties(&before, true).unwrap());
        assert_eq!(waiting.expiration_ms, None);
    }

    #[test]
    fn a_name_too_long_for_amqp_is_an_error() {
        let long = Properties { message_id: Some("x".repeat(256)), ..Properties::default() };
        assert!(basic_properties(&long, false).is_err());
    }
}
