//! Records between Kafka's batches and the layout of this crate, both ways: one side of `docs/dialects/crossing.md`.
//!
//! | Kafka | here |
//! |---|---|
//! | key | header `kafka.key`; towards Kafka, without that header, the routing key |
//! | value; null | body; empty body and header `kafka.tombstone` |
//! | timestamp, ms | time, and the property `timestamp` in seconds |
//! | headers `content-type`, `content-encoding`, `correlation-id`, `message-id`, `reply-to`, `type`, `app-id` | the property of that name |
//! | other headers | header of that name: text if it is UTF-8, else bytes; null: void |
//! | topic | routing key, on the exchange of the subject space |
//!
//! Towards Kafka numbers, booleans and times become their text; tables, lists and decimals have no place there and are left out.

use super::builder::Builder;
use super::compression::Codec;
use super::records::{Record, Records};
use super::{Batch, Head};
use crate::properties::{Properties, Property};
use crate::table::{Value, put_table};
use crate::{Damage, Draft, Origin, View};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use stele_model::id::Now;
use stele_model::publish::{Publish, Publishes};

/// The exchange through which other dialects listen to streams.
pub const SUBJECTS: &str = "amq.topic";
/// Carries the key.
pub const KEY_HEADER: &str = "kafka.key";
/// Marks a null value.
pub const TOMBSTONE_HEADER: &str = "kafka.tombstone";

/// Headers of Kafka that have a property of their own here.
const NAMED: [(&str, Property); 7] = [
    ("content-type", Property::ContentType),
    ("content-encoding", Property::ContentEncoding),
    ("correlation-id", Property::CorrelationId),
    ("message-id", Property::MessageId),
    ("reply-to", Property::ReplyTo),
    ("type", Property::Type),
    ("app-id", Property::AppId),
];
/// Longest value of a property, and longest name of a header.
const SHORT_BYTES_MAX: usize = 255;

/// The records of a batch for readers of other dialects, published to `subject`. Ends at damage. `None`: unpacked, or in this layout,
/// they take more than `bytes_max` octets.
#[must_use]
pub fn publishes(batch: &[u8], subject: &str, now: Now, bytes_max: usize) -> Option<Publishes> {
    let mut out = BytesMut::new();
    let mut items = Vec::new();
    each(batch, bytes_max, |head, record| {
        if out.len() + std::mem::size_of_val(&items[..]) > bytes_max {
            return ControlFlow::Break(());
        }
        let start = len(out.len());
        append_record(head, &record, subject, now.0, &mut out);
        let exchange = start + len(crate::HEAD_BYTES)..start + len(crate::HEAD_BYTES + SUBJECTS.len());
        let key = exchange.end..exchange.end + len(subject.len());
        items.push(Publish {
            record: start..len(out.len()),
            exchange,
            key,
            extra_keys: 0..0,
            lane: 0,
            mandatory: false,
            awaited: true,
            persistent: true,
        });
        ControlFlow::Continue(())
    })
    .is_continue()
    .then(|| Publishes { bytes: out.freeze(), items, ..Publishes::default() })
}

/// A batch whose records are read in the layout of this crate, some at a time.
///
/// What must hold: records come once and with ascending offsets, whatever the batch says; what was passed over is not converted.
#[derive(Debug)]
pub struct Opened {
    head: Head,
    octets: Bytes,
    is_packed: bool,
    /// Where the next record begins, and how many are left from there.
    at: usize,
    left: i32,
    /// Relative offset behind the last record before there.
    passed: i64,
}

impl Opened {
    /// Unpacks the batch that `batch` starts with. A plain one is shared.
    ///
    /// # Errors
    /// As [`Batch::contents`] with this bound.
    pub fn new(batch: &Bytes, bytes_max: usize) -> Result<Self, super::Damage> {
        let (parsed, _) = Batch::first(batch)?;
        let (head, contents) = (*parsed.head(), parsed.contents(bytes_max)?);
        let (octets, is_packed) = match contents.into_octets() {
            Cow::Borrowed(octets) => (batch.slice_ref(octets), false),
            Cow::Owned(octets) => (Bytes::from(octets), true),
        };
        Ok(Self { head, octets, is_packed, at: 0, left: head.count, passed: 0 })
    }

    /// Octets that were unpacked; 0 for a plain batch.
    #[must_use]
    pub fn unpacked_bytes(&self) -> usize {
        if self.is_packed { self.octets.len() } else { 0 }
    }

    /// Shows the records whose offsets, relative to the batch's first, lie in `range`, published to `subject`, until damage or until `each`
    /// breaks. Who goes on where the last call ended does not pay for what lies before; who goes back begins at the start.
    pub fn records(
        &mut self,
        (subject, appended_us): (&str, u64),
        range: Range<i64>,
        mut each: impl FnMut(i64, Bytes) -> ControlFlow<()>,
    ) {
        if range.start < self.passed {
            (self.at, self.left, self.passed) = (0, self.head.count, 0);
        }
        let mut out = BytesMut::new();
        let mut records = Records::of(self.octets.get(self.at..).unwrap_or_default(), self.left);
        while let Some(Ok(record)) = records.next() {
            let delta = i64::from(record.offset_delta);
            if delta >= range.end {
                return;
            }
            let is_wanted = delta >= range.start.max(self.passed);
            self.passed = self.passed.max(delta.saturating_add(1));
            (self.at, self.left) = (self.octets.len() - records.rest().len(), records.left());
            if !is_wanted {
                continue;
            }
            append_record(&self.head, &record, subject, appended_us, &mut out);
            if each(delta, out.split().freeze()).is_break() {
                return;
            }
        }
    }
}

/// Shows the records up to damage; breaks if `each` does, and before the first if there are too many octets.
fn each(
    batch: &[u8],
    bytes_max: usize,
    mut each: impl FnMut(&Head, Record<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Ok((batch, _)) = Batch::first(batch) else { return ControlFlow::Continue(()) };
    match batch.contents(bytes_max) {
        Ok(contents) => {
            contents.records().map_while(Result::ok).try_for_each(|record| each(batch.head(), record))
        }
        Err(super::Damage::TooLarge(_)) => ControlFlow::Break(()),
        Err(_) => ControlFlow::Continue(()),
    }
}

fn len(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a batch unpacks to less than 4 GiB")
}

fn append_record(head: &Head, record: &Record<'_>, subject: &str, now_us: u64, out: &mut BytesMut) {
    let timestamp_ms = if head.attributes.is_log_append_time() {
        head.max_timestamp
    } else {
        head.base_timestamp.saturating_add(record.timestamp_delta)
    };
    let timestamp_ms = u64::try_from(timestamp_ms).ok();
    let named = |name: &[u8]| NAMED.iter().find(|(known, _)| known.as_bytes() == name);
    let seconds = timestamp_ms.map(|ms| (ms / 1000).to_be_bytes());
    let mut properties = Properties::default();
    properties.set(Property::DeliveryMode, Some(&[2]));
    properties.set(Property::Timestamp, seconds.as_ref().map(|seconds| &seconds[..]));
    let mut table = BytesMut::new();
    put_table(&mut table, |table| {
        if let Some(key) = record.key {
            table.entry(KEY_HEADER.as_bytes(), text_or_bytes(key));
        }
        if record.value.is_none() {
            table.entry(TOMBSTONE_HEADER.as_bytes(), Value::Bool(true));
        }
        for (name, value) in record.headers().map_while(Result::ok) {
            match (named(name), value) {
                (Some((_, property)), Some(value)) if value.len() <= SHORT_BYTES_MAX => {
                    properties.set(*property, Some(value));
                }
                (_, value) if name.len() <= SHORT_BYTES_MAX => {
                    table.entry(name, value.map_or(Value::Void, text_or_bytes));
                }
                _ => {} // A name of more than 255 octets has no place in a table.
            }
        }
    });
    let headers = table.get(4..).unwrap_or_default();
    properties.set(Property::Headers, (!headers.is_empty()).then_some(headers));
    let mut list = BytesMut::new();
    properties.write(&mut list);
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time: timestamp_ms.map_or(now_us, |ms| ms.saturating_mul(1000)),
        exchange: SUBJECTS.as_bytes(),
        key: subject.as_bytes(),
        properties: &list,
        history: b"",
    };
    draft.write(record.value.unwrap_or_default(), out);
}

fn text_or_bytes(octets: &[u8]) -> Value<'_> {
    if std::str::from_utf8(octets).is_ok() { Value::Str(octets) } else { Value::Bytes(octets) }
}

/// Records of this crate's layout, back to back, as one batch whose first record has this offset.
///
/// # Errors
/// [`Damage`] if they are none.
pub fn batch(records: &[u8], base_offset: i64, leader_epoch: i32) -> Result<Bytes, Damage> {
    let mut builder = Builder::default();
    let mut rest = records;
    let mut at = 0;
    while !rest.is_empty() {
        let (view, after) = View::first(rest)?;
        put_record(&mut builder, at, &view);
        (rest, at) = (after, at + 1);
    }
    Ok(builder.finish(base_offset, leader_epoch, Codec::None))
}

fn put_record(builder: &mut Builder, offset_delta: i32, view: &View<'_>) {
    if let Some(amqp) = crate::nats::as_amqp091(view) {
        let view = View::parse(&amqp).expect("it was just written");
        return put_record(builder, offset_delta, &view);
    }
    let properties = view.properties();
    let mut headers: Vec<(&[u8], Option<Bytes>)> = Vec::new();
    for (name, property) in NAMED {
        if let Some(value) = properties.field(property) {
            headers.push((name.as_bytes(), Some(Bytes::copy_from_slice(value))));
        }
    }
    let mut key = (!view.key().is_empty()).then(|| Bytes::copy_from_slice(view.key()));
    let mut is_tombstone = false;
    for (name, value) in view.headers() {
        match (name, as_text(&value)) {
            (name, value) if name == KEY_HEADER.as_bytes() => key = value.flatten(),
            (name, _) if name == TOMBSTONE_HEADER.as_bytes() => is_tombstone = true,
            (name, Some(value)) => headers.push((name, value)),
            (_, None) => {}
        }
    }
    let timestamp_ms = properties.timestamp().map_or(view.time() / 1000, |seconds| {
        // The property has whole seconds; the record's own time is finer where the two agree.
        let ms = view.time() / 1000;
        if ms / 1000 == seconds { ms } else { seconds.saturating_mul(1000) }
    });
    let timestamp_ms = i64::try_from(timestamp_ms).unwrap_or(i64::MAX);
    let value = (!is_tombstone || !view.body().is_empty()).then_some(view.body());
    let headers = headers.iter().map(|(name, value)| (*name, value.as_deref()));
    builder.put(offset_delta, timestamp_ms, (key.as_deref(), value), headers);
}

/// A header's value in Kafka's untyped form; the outer `None`: it has no place there.
pub(crate) fn as_text(value: &Value<'_>) -> Option<Option<Bytes>> {
    let text = |text: String| Some(Some(Bytes::from(text)));
    match value {
        Value::Void => Some(None),
        Value::Str(octets) | Value::Bytes(octets) => Some(Some(Bytes::copy_from_slice(octets))),
        Value::Bool(value) => text(value.to_string()),
        Value::I64(value) => text(value.to_string()),
        Value::U64(value) => text(value.to_string()),
        Value::F64(value) => text(value.to_string()),
        Value::Timestamp(seconds) => text(seconds.to_string()),
        Value::Decimal { .. } | Value::Array(_) | Value::Table(_) => None,
    }
}
