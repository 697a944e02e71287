//! Publishing to the stream's subjects: with an id, and again until it is answered; or for one position, once.

use super::{Asked, OPEN_MAX, Taker};
use crate::desk::Desk;
use crate::history::Event;
use crate::history::shared::{MessageId, SharedEvent};
use crate::topology::{JET_SUBJECTS, LATER_TARGET, later_subject};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::outcome::Published;
use stele_model::publish::{Publish, Publishes};
use stele_model::repeat::Repeat;
use stele_model::stream::due::{Due, How, When};
use stele_model::stream::records::Terms;
use stele_record::nats::{self, Parts};
use stele_record::{Draft, HEAD_BYTES, Origin, View, due};

/// The exchange whose keys are subjects.
const SUBJECTS: &str = "amq.topic";

/// One message as it is sent, each time.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) subject: &'static str,
    pub(super) filler: usize,
    pub(super) expected: Option<Position>,
}

impl Taker {
    pub(super) fn publish(&mut self, desk: &mut Desk) {
        let mut messages = Vec::new();
        for _ in 0..self.rng.between(1, 3) {
            let identified = self.rng.chance(3, 4);
            if identified && self.open.len() >= OPEN_MAX {
                continue;
            }
            // Mostly where the next one comes, as far as anybody was told; sometimes a little off.
            let near = Position(desk.jet_end.0 + self.rng.below(2));
            let expected = (!identified && self.rng.chance(3, 4)).then_some(near);
            let subject = *self.rng.pick(JET_SUBJECTS);
            let message = Message { subject, filler: self.rng.below(150) as usize, expected };
            let id = desk.next_message();
            desk.event(&Event::Shared(SharedEvent::Published { message: id, identified, expected }));
            if identified {
                self.open.insert(id, message.clone());
            }
            messages.push((id, identified, message));
        }
        self.send(messages);
    }

    /// Publishes a message that waits for its time, once or with each second, with an id.
    pub(super) fn publish_later(&mut self, desk: &mut Desk) {
        if self.later.len() < OPEN_MAX {
            let (message, repeats) = (desk.next_message(), self.rng.chance(1, 3));
            let wait_ms = (!repeats).then(|| self.rng.below(20));
            desk.event(&Event::Shared(SharedEvent::Delayed { message, repeats }));
            self.later.insert(message, wait_ms);
            self.send_later(desk, message, wait_ms);
        }
    }

    fn send_later(&mut self, desk: &Desk, id: MessageId, wait_ms: Option<u64>) {
        let mut bytes = BytesMut::new();
        let subject = later_subject(id.0);
        let block = format!("NATS/1.0\r\n{}: {LATER_TARGET}\r\n\r\n", due::TARGET);
        let body = format!("m{};", id.0);
        let parts = Parts { reply: b"", block: block.as_bytes() };
        nats::write(&mut bytes, (SUBJECTS.as_bytes(), subject.as_bytes(), body.as_bytes()), parts, 1);
        let when = match wait_ms {
            Some(wait_ms) => When::At(desk.now.ms() + wait_ms),
            None => When::Each(Repeat::Every(1000)),
        };
        let due = Due { when, subject: LATER_TARGET.into(), how: How::default() };
        let id_bytes = Some(Bytes::from(format!("id-{}", id.0)));
        let terms = Terms { id: id_bytes, due: Some(due), ..Terms::default() };
        let items = vec![item(0..bytes.len() as u32, (SUBJECTS.len(), subject.len()))];
        let batch =
            Publishes { bytes: bytes.freeze(), items, terms: vec![(0, terms)], ..Publishes::default() };
        self.ask(Op::Publish(Arc::new(batch)), Asked::Later(id));
    }

    /// A message that waits was answered.
    pub(super) fn kept(&mut self, desk: &mut Desk, message: MessageId, said: &Published) {
        if said.stored.len() == 1 && self.later.remove(&message).is_some() {
            desk.event(&Event::Shared(SharedEvent::Kept { message }));
        } else {
            let what = format!("message {} waits for its time and is answered {said:?}", message.0);
            desk.oracle.violate("W48", desk.step, what);
        }
    }

    /// A new session: what was not answered is sent again.
    pub(super) fn publish_again(&mut self, desk: &Desk) {
        let later: Vec<_> = self.later.iter().map(|(id, wait_ms)| (*id, *wait_ms)).collect();
        later.into_iter().for_each(|(id, wait_ms)| self.send_later(desk, id, wait_ms));
        let open = self.open.iter().map(|(id, message)| (*id, true, message.clone()));
        let open = open.collect();
        self.send(open);
        if let Some(bundle) = &mut self.bundle {
            bundle.again();
        }
    }

    fn send(&mut self, messages: Vec<(MessageId, bool, Message)>) {
        if messages.is_empty() {
            return;
        }
        let mut batch = Publishes::default();
        let (mut bytes, mut ids) = (BytesMut::new(), Vec::new());
        for (id, identified, message) in messages {
            let item = batch.items.len() as u32;
            batch.items.push(write(id, &message, &mut bytes));
            let id_bytes = identified.then(|| Bytes::from(format!("id-{}", id.0)));
            let terms = Terms { id: id_bytes, end: message.expected, ..Terms::default() };
            batch.terms.push((item, terms));
            ids.push(id);
        }
        batch.bytes = bytes.freeze();
        self.ask(Op::Publish(Arc::new(batch)), Asked::Publish(ids));
    }

    pub(super) fn published(&mut self, desk: &mut Desk, ids: &[MessageId], said: &Published) {
        for stored in &said.stored {
            let (Some(message), position) = (ids.get(stored.item as usize).copied(), stored.position) else {
                continue;
            };
            desk.event(&Event::Shared(SharedEvent::Stored { message, position }));
        }
        for (item, why) in &said.refused {
            if let Some(message) = ids.get(*item as usize).copied() {
                let why = format!("{why:?}");
                desk.event(&Event::Shared(SharedEvent::Refused { message, why }));
            }
        }
        if said.stored.len() + said.refused.len() < ids.len() {
            let what = format!("of {ids:?} only some were answered: {:?}", said.stored);
            desk.oracle.violate("W40", desk.step, what);
        }
        self.open.retain(|id, _| !ids.contains(id));
    }
}

pub(super) fn write(id: MessageId, message: &Message, out: &mut BytesMut) -> Publish {
    let start = out.len() as u32;
    let mut body = format!("m{};", id.0).into_bytes();
    body.resize(body.len() + message.filler, b'x');
    let (exchange, key) = (SUBJECTS.as_bytes(), message.subject.as_bytes());
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: None,
        time: 1,
        exchange,
        key,
        // No property is present.
        properties: &[0, 0],
        history: &[],
    };
    draft.write(&body, out);
    item(start..out.len() as u32, (exchange.len(), key.len()))
}

/// A record with an exchange and a key of these lengths, as it is published.
fn item(record: std::ops::Range<u32>, (exchange, key): (usize, usize)) -> Publish {
    let exchange_end = record.start + (HEAD_BYTES + exchange) as u32;
    Publish {
        record,
        exchange: exchange_end - exchange as u32..exchange_end,
        key: exchange_end..exchange_end + key as u32,
        extra_keys: 0..0,
        lane: 0,
        mandatory: true,
        awaited: true,
        persistent: true,
    }
}

/// What a record that has waited says of its next time, if it has come to where it was to be published.
pub(super) fn next_time(record: &[u8]) -> Option<String> {
    let view = View::parse(record).ok().filter(|view| view.key() == LATER_TARGET.as_bytes())?;
    let (_, next) = Parts::of(&view).headers().find(|(name, _)| *name == due::NEXT.as_bytes())?;
    Some(String::from_utf8_lossy(next).into_owned())
}

/// The number in a record's body.
pub(super) fn message_id(record: &[u8]) -> Option<MessageId> {
    let body = View::parse(record).ok()?.body();
    let digits = body.strip_prefix(b"m")?.split(|byte| *byte == b';').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(MessageId)
}
