//! What a record has gone through, in RabbitMQ's headers: `x-death`, `x-first-death-*`, `x-last-death-*`, `x-delivery-count`.
//!
//! The stored properties are the publisher's and stay so; these headers are put in on the way out, in place of any that the
//! publisher wrote under the same name (since RabbitMQ 4.0 a client's own `x-death` counts for nothing).

use bytes::BytesMut;
use stele_model::id::Position;
use stele_record::View;
use stele_record::history::{Circumstances, Death, History};
use stele_record::properties::{Properties, Property};
use stele_record::table::{TableWriter, Value, put_table};

/// Names that a record with deaths does not take from its publisher.
const DEATHS: [&[u8]; 7] = [
    b"x-death",
    b"x-first-death-exchange",
    b"x-first-death-queue",
    b"x-first-death-reason",
    b"x-last-death-exchange",
    b"x-last-death-queue",
    b"x-last-death-reason",
];
const DELIVERY_COUNT: &[u8] = b"x-delivery-count";

/// The offset of a stream's record, in place of one that the publisher wrote.
const STREAM_OFFSET: &[u8] = b"x-stream-offset";

/// What a client is shown of a delivery, besides the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Earlier deliveries that failed; 0: nothing is shown.
    pub(super) failures: u32,
    /// Its place in the stream.
    pub(super) offset: Option<Position>,
}

/// Property flags and list with the headers put in.
pub(super) fn properties(view: &View<'_>, history: &History<'_>, shown: Shown) -> BytesMut {
    let Shown { failures, offset } = shown;
    let mut headers = BytesMut::new();
    put_table(&mut headers, |table| {
        let has_died = !history.is_empty();
        let is_ours = |name: &[u8]| {
            (has_died && DEATHS.contains(&name))
                || (failures > 0 && name == DELIVERY_COUNT)
                || (offset.is_some() && name == STREAM_OFFSET)
        };
        table.copy(view.headers_table(), |name| !is_ours(name));
        if has_died {
            table.array("x-death", |array| {
                history.deaths().for_each(|death| array.table(|table| put_death(table, &death)));
            });
        }
        history.first().into_iter().for_each(|first| put_circumstances(table, "first", &first));
        history.last().into_iter().for_each(|last| put_circumstances(table, "last", &last));
        if failures > 0 {
            table.entry(DELIVERY_COUNT, Value::I64(i64::from(failures)));
        }
        if let Some(Position(offset)) = offset {
            table.entry(STREAM_OFFSET, Value::I64(i64::try_from(offset).unwrap_or(i64::MAX)));
        }
    });
    let mut properties: Properties<'_> = view.properties();
    let headers = headers.get(4..).unwrap_or_default();
    if !headers.is_empty() {
        properties.set(Property::Headers, Some(headers));
    }
    if !history.is_empty() {
        // Its time to live ended with its first death; what it was stands in `original-expiration`.
        properties.set(Property::Expiration, None);
    }
    let mut out = BytesMut::new();
    properties.write(&mut out);
    out
}

fn put_death(table: &mut TableWriter<'_>, death: &Death<'_>) {
    if let Some(ttl_ms) = death.ttl_ms {
        table.text("original-expiration", ttl_ms.to_string());
    }
    table.entry(b"count", Value::U64(death.count));
    table.text("reason", death.reason.text());
    table.text("queue", death.queue);
    table.entry(b"time", Value::Timestamp(death.time_s));
    table.text("exchange", death.exchange);
    table.array("routing-keys", |array| death.keys().for_each(|key| array.value(Value::Str(key))));
}

fn put_circumstances(table: &mut TableWriter<'_>, which: &str, circumstances: &Circumstances<'_>) {
    table.text(&format!("x-{which}-death-exchange"), circumstances.exchange);
    table.text(&format!("x-{which}-death-queue"), circumstances.queue);
    table.text(&format!("x-{which}-death-reason"), circumstances.reason.text());
}
