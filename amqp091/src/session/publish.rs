//! `basic.publish`: from frames to records, many to a batch.
//!
//! The usual case is that method, header and one body frame stand one behind the other in what was read: then the record is
//! written straight into the batch. What must hold: no allocation for such a message; records stand back to back in the order
//! they came in.

use super::Connection;
use super::content::{Addressed, Content, basic_header};
use super::ticket::Pending;
use super::values::type_name;
use crate::codec::content::Header;
use crate::codec::frame::{self, Kind};
use crate::codec::hot::Publish;
use crate::profile;
use crate::refuse::{Code, Exception};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::Arc;
use stele_model::id::Now;
use stele_model::op::{Op, Submit};
use stele_model::publish::{Publish as Item, Publishes};
use stele_model::session::Outbox;
use stele_record::properties::{Properties, Property, expiration_ms};
use stele_record::table::{Table, Value, put_table};
use stele_record::{Draft, HEAD_BYTES, Origin, history};

/// The name that stands for "answer straight to my channel".
pub(super) const REPLY_TO: &[u8] = b"amq.rabbitmq.reply-to";

/// What a header says that the record's head repeats, and the record's variable parts.
pub(super) struct Admitted<'a> {
    persistent: bool,
    priority: u8,
    ttl_ms: Option<u32>,
    properties: Cow<'a, [u8]>,
    history: BytesMut,
}

/// What stands beside a record in its batch.
#[derive(Debug, Default)]
pub(super) struct Traits {
    exchange_len: u8,
    key_len: u8,
    mandatory: bool,
    persistent: bool,
    extra_keys: Vec<Bytes>,
}

impl<'a> Admitted<'a> {
    /// The record without its body.
    pub(super) fn draft<'b>(&'b self, publish: &Publish<'b>, now: Now) -> Draft<'b> {
        Draft {
            origin: Origin::Amqp091,
            persistent: self.persistent,
            priority: self.priority,
            ttl_ms: self.ttl_ms,
            time: now.0,
            exchange: publish.exchange,
            key: publish.routing_key,
            properties: &self.properties,
            history: &self.history,
        }
    }
}

/// Publishes of one channel in one batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneRun {
    /// The channel.
    pub(super) channel: u16,
    /// Which of that number.
    pub(super) incarnation: u32,
    /// Delivery tag of the first that is to be confirmed.
    pub(super) first: u64,
    /// How many are to be confirmed.
    pub(super) awaited: u64,
}

/// A batch that was handed over.
#[derive(Debug)]
pub(super) struct Publishing {
    /// Octets of its records.
    pub(super) bytes: u64,
    /// Its channels.
    pub(super) lanes: SmallVec<[LaneRun; 2]>,
}

impl Pending {
    /// Which channel of that number a batch under way has publishes of.
    pub(super) fn incarnation(&self, number: u16) -> Option<u32> {
        match self {
            Self::Publish(publishing) => {
                publishing.lanes.iter().find(|lane| lane.channel == number).map(|lane| lane.incarnation)
            }
            Self::Waiting | Self::ConsumerGone => None,
        }
    }
}

/// The records of one read.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: BytesMut,
    /// How long the batch before was.
    last_len: usize,
    items: Vec<Item>,
    extra_keys: Vec<Bytes>,
    lanes: SmallVec<[LaneRun; 2]>,
}

impl Batch {
    /// More than is held while the server blocks publishers.
    pub(super) fn is_large(&self) -> bool {
        self.bytes.len() > profile::BLOCKED_BYTES_MAX || self.extra_keys.len() > profile::BLOCKED_KEYS_MAX
    }
}

/// A content of which all frames were there.
struct WholeContent<'a> {
    header: Header<'a>,
    body: &'a [u8],
    /// Octets of its frames.
    used: usize,
}

impl Connection {
    /// `basic.publish`. `rest` is what follows its frame; returns how much of that was used as well.
    pub(super) fn publish(
        &mut self,
        now: Now,
        number: u16,
        publish: &Publish<'_>,
        rest: &[u8],
        out: &mut Outbox,
    ) -> Result<usize, Exception> {
        if publish.immediate {
            return Err(Exception::new(Code::NotImplemented, "immediate=true"));
        }
        let Some(WholeContent { header, body, used }) = self.whole_content(number, rest)? else {
            if let Some(channel) = self.channels.live(number) {
                channel.content = Content::Method(Box::new(Addressed::of(publish)));
            }
            return Ok(0);
        };
        let (admitted, traits) = match self.admit(number, publish, &header) {
            Ok(admitted) => admitted,
            // The content is passed over with the method.
            Err(exception) => return self.fail(number, exception.by((60, 40)), out).map(|()| used),
        };
        let draft = admitted.draft(publish, now);
        if self.channels.get(number).is_some_and(|channel| channel.tx.is_some()) {
            let mut record = BytesMut::new();
            draft.write(body, &mut record);
            let stored = self.store(number, record, traits, out);
            return stored.or_else(|exception| self.fail(number, exception.by((60, 40)), out)).map(|()| used);
        }
        self.make_room(&traits, out);
        let start = self.batch.bytes.len();
        draft.write(body, &mut self.batch.bytes);
        self.enlist(number, start, &traits);
        Ok(used)
    }

    /// The content that follows a publish, if all of it is there in at most one body frame.
    fn whole_content<'a>(
        &mut self,
        number: u16,
        rest: &'a [u8],
    ) -> Result<Option<WholeContent<'a>>, Exception> {
        let payload_max = self.frame_bytes_max;
        let mut next =
            |rest: &'a [u8]| frame::frame(rest, payload_max).map_err(|violation| self.lost(violation));
        let Some((frame, used)) = next(rest)? else { return Ok(None) };
        if (frame.channel, frame.kind) != (number, Kind::Header) {
            return Ok(None);
        }
        let header = basic_header(&frame)?;
        if header.body_bytes == 0 {
            return Ok(Some(WholeContent { header, body: &[], used }));
        }
        let Some((frame, more)) = next(rest.get(used..).unwrap_or_default())? else { return Ok(None) };
        let is_whole = frame.payload.len() as u64 == header.body_bytes;
        if (frame.channel, frame.kind) != (number, Kind::Body) || !is_whole {
            return Ok(None);
        }
        Ok(Some(WholeContent { header, body: frame.payload, used: used + more }))
    }

    /// Looks at a message's properties, in RabbitMQ's order.
    pub(super) fn admit<'a>(
        &self,
        number: u16,
        publish: &Publish<'_>,
        header: &Header<'a>,
    ) -> Result<(Admitted<'a>, Traits), Exception> {
        let max = self.profile.message_bytes_max;
        if header.body_bytes > u64::from(max) {
            let text = format!("message size {} is larger than configured max size {max}", header.body_bytes);
            return Err(Exception::new(Code::PreconditionFailed, text));
        }
        let unreadable =
            |_| Exception::new(Code::SyntaxError, "cannot decode the properties of a content header");
        let mut properties = Properties::parse(header.properties).map_err(unreadable)?;
        let persistent = properties.delivery_mode() == Some(2);
        let mut admitted = Admitted {
            persistent,
            priority: properties.priority().unwrap_or(0),
            ttl_ms: None,
            properties: Cow::Borrowed(header.properties),
            history: BytesMut::new(),
        };
        let mut traits = Traits {
            exchange_len: u8::try_from(publish.exchange.len()).expect("it came as a short string"),
            key_len: u8::try_from(publish.routing_key.len()).expect("it came as a short string"),
            mandatory: publish.mandatory,
            persistent,
            extra_keys: Vec::new(),
        };
        if properties.reply_to() == Some(REPLY_TO) {
            let replies = self.channels.get(number).and_then(|channel| channel.replies.as_ref());
            let text = "fast reply consumer does not exist";
            let (_, address) = replies.ok_or_else(|| Exception::new(Code::PreconditionFailed, text))?;
            properties.set(Property::ReplyTo, Some(address.as_bytes()));
            admitted.properties = written(&properties);
        }
        if let Some(expiration) = properties.expiration() {
            admitted.ttl_ms = Some(expiration_ms(expiration).map_err(|_| invalid_expiration(expiration))?);
        }
        if let Some(headers) = properties.headers() {
            headers.check().map_err(unreadable)?;
            copies(&properties, headers, &mut admitted, &mut traits)?;
        }
        match properties.user_id() {
            Some(user) if user != self.peer.user.as_bytes() => {
                let (claimed, user) = (String::from_utf8_lossy(user), &self.peer.user);
                let text = format!("user_id property set to '{claimed}' but authenticated user was '{user}'");
                Err(Exception::new(Code::PreconditionFailed, text))
            }
            _ => Ok((admitted, traits)),
        }
    }

    /// Takes a record that was put together elsewhere: into the channel's transaction, or into the batch.
    pub(super) fn store(
        &mut self,
        number: u16,
        record: BytesMut,
        traits: Traits,
        out: &mut Outbox,
    ) -> Result<(), Exception> {
        if let Some(channel) = self.channels.live(number)
            && let Some(tx) = &mut channel.tx
        {
            return tx.publish(record, traits);
        }
        self.append(number, &record, &traits, out);
        Ok(())
    }

    /// Puts a record into the batch.
    pub(super) fn append(&mut self, number: u16, record: &[u8], traits: &Traits, out: &mut Outbox) {
        self.make_room(traits, out);
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(record);
        self.enlist(number, start, traits);
    }

    /// Hands the batch over if it is large enough already. While publishers are blocked it is kept, unless its keys could not be
    /// counted any more (a transaction may bring many at once).
    fn make_room(&mut self, traits: &Traits, out: &mut Outbox) {
        let keys = self.batch.extra_keys.len() + traits.extra_keys.len();
        let is_large = self.blocked.is_none() && self.batch.bytes.len() > profile::BATCH_BYTES;
        if is_large || keys > usize::from(u16::MAX) {
            self.flush_publishes(out);
        }
        let batch = &mut self.batch;
        if batch.bytes.is_empty() {
            // A read likely brings as much as the one before: no record is moved to make room for the next.
            batch.bytes.reserve(batch.last_len.next_power_of_two());
        }
    }

    /// Notes the record that stands in the batch from `start` on.
    fn enlist(&mut self, number: u16, start: usize, traits: &Traits) {
        let batch = &mut self.batch;
        let offset = |at: usize| u32::try_from(at).expect("a batch is far shorter than 4 GiB");
        let exchange = start + HEAD_BYTES;
        let key = exchange + usize::from(traits.exchange_len);
        let keys = batch.extra_keys.len();
        batch.extra_keys.extend_from_slice(&traits.extra_keys);
        let place = |at: usize| u16::try_from(at).expect("a batch is handed over before it has so many keys");
        let Some(channel) = self.channels.live(number) else { return };
        let incarnation = channel.incarnation;
        let is_ours = |lane: &LaneRun| lane.channel == number && lane.incarnation == incarnation;
        let index = batch.lanes.iter().rposition(is_ours).unwrap_or_else(|| {
            channel.batches += 1;
            batch.lanes.push(LaneRun { channel: number, incarnation, first: 0, awaited: 0 });
            batch.lanes.len() - 1
        });
        if let Some(confirms) = &mut channel.confirms {
            let tag = confirms.issue();
            let lane = &mut batch.lanes[index];
            if lane.awaited == 0 {
                lane.first = tag;
                confirms.opened(tag);
            }
            lane.awaited += 1;
        }
        // A commit waits for its publishes as a confirm does.
        let awaited = channel.confirms.is_some() || channel.tx.is_some();
        batch.items.push(Item {
            record: offset(start)..offset(batch.bytes.len()),
            exchange: offset(exchange)..offset(key),
            key: offset(key)..offset(key + usize::from(traits.key_len)),
            extra_keys: place(keys)..place(batch.extra_keys.len()),
            lane: number,
            mandatory: traits.mandatory,
            awaited,
            persistent: traits.persistent,
        });
    }

    /// Hands the batch over, if there is one.
    pub(super) fn flush_publishes(&mut self, out: &mut Outbox) {
        if self.batch.items.is_empty() {
            return;
        }
        let batch = &mut self.batch;
        let publishing =
            Publishing { bytes: batch.bytes.len() as u64, lanes: std::mem::take(&mut batch.lanes) };
        self.in_flight_bytes += publishing.bytes;
        batch.last_len = batch.bytes.len();
        let publishes = Publishes {
            bytes: batch.bytes.split().freeze(),
            items: std::mem::take(&mut batch.items),
            extra_keys: std::mem::take(&mut batch.extra_keys),
            terms: Vec::new(),
        };
        let ticket = self.tickets.issue(Pending::Publish(publishing));
        out.submits.push(Submit { ticket, lane: 0, op: Op::Publish(Arc::new(publishes)) });
    }
}

/// `CC` and `BCC`: further routing keys. The second is taken out of the headers and kept where nobody is shown it.
fn copies(
    properties: &Properties<'_>,
    headers: Table<'_>,
    admitted: &mut Admitted<'_>,
    traits: &mut Traits,
) -> Result<(), Exception> {
    let keys = |name: &str| match headers.find(name.as_bytes()) {
        None => Ok(Vec::new()),
        Some(Value::Array(array)) => Ok(array
            .values()
            .filter_map(|value| match value {
                Value::Str(key) => Some(key),
                _ => None,
            })
            .collect()),
        Some(other) => {
            let text =
                format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{}}}", type_name(&other));
            Err(Exception::new(Code::PreconditionFailed, text))
        }
    };
    let (copied, hidden) = (keys("CC")?, keys("BCC")?);
    traits.extra_keys.extend(copied.iter().chain(&hidden).map(|key| Bytes::copy_from_slice(key)));
    if headers.find(b"BCC").is_some() {
        let mut shown = BytesMut::new();
        put_table(&mut shown, |table| table.copy(headers, |name| name != b"BCC"));
        let mut properties = *properties;
        properties.set(Property::Headers, shown.get(4..));
        admitted.properties = Cow::Owned(written(&properties).into_owned());
        history::put_hidden_keys(&hidden, &mut admitted.history);
    }
    Ok(())
}

fn written(properties: &Properties<'_>) -> Cow<'static, [u8]> {
    let mut bytes = BytesMut::new();
    properties.write(&mut bytes);
    Cow::Owned(bytes.to_vec())
}

/// What RabbitMQ finds wrong with an expiration, in its words.
fn invalid_expiration(expiration: &[u8]) -> Exception {
    let expiration = String::from_utf8_lossy(expiration);
    let sign = usize::from(expiration.starts_with(['-', '+']));
    let digits = expiration[sign..].bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = expiration.split_at(sign + digits);
    let why = match (digits, rest) {
        (0, _) => "no_integer".to_owned(),
        (_, "") if number.starts_with('-') => format!("{{value_negative,{number}}}"),
        (_, "") => format!("{{value_too_big,{number}}}"),
        (_, rest) => format!("{{leftover_string,\"{rest}\"}}"),
    };
    let text = format!("invalid expiration '{expiration}': {why}");
    Exception::new(Code::PreconditionFailed, text)
}
