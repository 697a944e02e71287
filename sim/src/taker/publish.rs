//! Publishing to the stream's subjects: with an id, and again until it is answered; or for one position, once.

use super::{Asked, OPEN_MAX, Taker};
use crate::desk::Desk;
use crate::history::Event;
use crate::history::shared::{MessageId, SharedEvent};
use crate::topology::JET_SUBJECTS;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use stele_model::id::Position;
use stele_model::op::Op;
use stele_model::outcome::Published;
use stele_model::publish::{Publish, Publishes};
use stele_model::stream::records::Terms;
use stele_record::{Draft, HEAD_BYTES, Origin};

/// The exchange whose keys are subjects.
const SUBJECTS: &str = "amq.topic";

/// One message as it is sent, each time.
#[derive(Clone, Debug)]
pub(super) struct Message {
    subject: &'static str,
    filler: usize,
    expected: Option<Position>,
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

    /// A new session: what was not answered is sent again.
    pub(super) fn publish_again(&mut self) {
        let open = self.open.iter().map(|(id, message)| (*id, true, message.clone()));
        let open = open.collect();
        self.send(open);
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

fn write(id: MessageId, message: &Message, out: &mut BytesMut) -> Publish {
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
    let exchange_end = start + (HEAD_BYTES + exchange.len()) as u32;
    Publish {
        record: start..out.len() as u32,
        exchange: exchange_end - exchange.len() as u32..exchange_end,
        key: exchange_end..exchange_end + key.len() as u32,
        extra_keys: 0..0,
        lane: 0,
        mandatory: true,
        awaited: true,
        persistent: true,
    }
}

/// The number in a record's body.
pub(super) fn message_id(record: &[u8]) -> Option<MessageId> {
    let body = stele_record::View::parse(record).ok()?.body();
    let digits = body.strip_prefix(b"m")?.split(|byte| *byte == b';').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok().map(MessageId)
}
