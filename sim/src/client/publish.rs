//! Making batches of records.

use super::{Asked, Client};
use crate::desk::Desk;
use crate::history::{Event, Publish as Published, RecordId};
use crate::topology::{RACING, RACING_EMPTY, RACING_EXCHANGE, ROUTES, STANDING};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use stele_model::op::Op;
use stele_model::publish::{Publish, Publishes};
use stele_record::{Draft, HEAD_BYTES, Origin};

/// Where a record goes and what may become of it.
struct Target {
    exchange: &'static str,
    key: String,
    queues: Vec<String>,
    certain: bool,
    mandatory: bool,
}

impl Client {
    pub(super) fn publish_standing(&mut self, desk: &mut Desk) {
        let targets = (0..self.rng.between(1, 4)).map(|_| self.standing_target()).collect();
        self.publish(desk, targets);
    }

    pub(super) fn publish_racing(&mut self, desk: &mut Desk) {
        let targets = (0..self.rng.between(1, 3)).map(|_| self.racing_target()).collect();
        self.publish(desk, targets);
    }

    pub(super) fn publish_own(&mut self, desk: &mut Desk, queue: String) {
        let target =
            Target { exchange: "", key: queue.clone(), queues: vec![queue], certain: false, mandatory: true };
        self.publish(desk, vec![target]);
    }

    pub(super) fn publish_reply(&mut self, desk: &mut Desk) {
        let addresses: Vec<_> = desk.addresses.values().cloned().collect();
        if addresses.is_empty() {
            return;
        }
        let key = self.rng.pick(&addresses).clone();
        let target = Target { exchange: "", key, queues: Vec::new(), certain: false, mandatory: false };
        self.publish(desk, vec![target]);
    }

    fn standing_target(&mut self) -> Target {
        if self.rng.chance(1, 2) {
            let route = self.rng.pick(ROUTES);
            let queues = route.queues.iter().map(|queue| (*queue).to_owned()).collect();
            let key = route.key.to_owned();
            return Target { exchange: route.exchange, key, queues, certain: true, mandatory: true };
        }
        let name = self.rng.pick(STANDING).name.to_owned();
        Target { exchange: "", key: name.clone(), queues: vec![name], certain: true, mandatory: true }
    }

    fn racing_target(&mut self) -> Target {
        if self.rng.chance(1, 4) {
            let queues = RACING.iter().map(|queue| (*queue).to_owned()).collect();
            let (exchange, key) = (RACING_EXCHANGE, String::new());
            return Target { exchange, key, queues, certain: false, mandatory: false };
        }
        let names = if self.rng.chance(1, 2) { RACING } else { RACING_EMPTY };
        let name = (*self.rng.pick(names)).to_owned();
        Target { exchange: "", key: name.clone(), queues: vec![name], certain: false, mandatory: true }
    }

    fn publish(&mut self, desk: &mut Desk, targets: Vec<Target>) {
        let mut bytes = BytesMut::new();
        let mut items = Vec::new();
        let mut published = Vec::new();
        let awaited = self.rng.chance(9, 10);
        for target in targets {
            let record = desk.next_record();
            let start = bytes.len();
            let persistent = self.rng.chance(17, 20);
            self.write(desk, record, &target, persistent, &mut bytes);
            let lane = self.rng.between(1, 2) as u16;
            items.push(item(start, bytes.len(), &target, lane, awaited, persistent));
            published.push((record, lane, target, persistent, start..bytes.len()));
        }
        let bytes = bytes.freeze();
        let ids = published.iter().map(|(record, ..)| *record).collect();
        for (record, lane, target, persistent, range) in published {
            desk.event(&Event::Published(Published {
                record,
                session: self.line.session,
                lane,
                queues: target.queues,
                certain: target.certain,
                persistent,
                awaited,
                bytes: bytes.slice(range),
            }));
        }
        let batch = Publishes { bytes, items, ..Publishes::default() };
        self.ask(0, Op::Publish(Arc::new(batch)), Asked::Publish(ids));
    }

    fn write(&mut self, desk: &Desk, record: RecordId, to: &Target, persistent: bool, out: &mut BytesMut) {
        let mut body = format!("r{};", record.0).into_bytes();
        // Now and then one that is longer than a block is meant to be.
        let filler = if self.rng.chance(1, 60) { 6_000 } else { self.rng.below(120) };
        body.resize(body.len() + filler as usize, b'x');
        let ttl_ms = (to.key == "aging" && self.rng.chance(1, 3)).then(|| self.rng.between(0, 4) as u32);
        let draft = Draft {
            origin: Origin::Amqp091,
            persistent,
            priority: self.rng.below(7) as u8,
            ttl_ms,
            time: desk.now.0,
            exchange: to.exchange.as_bytes(),
            key: to.key.as_bytes(),
            // No property is present.
            properties: &[0, 0],
            history: &[],
        };
        draft.write(&body, out);
    }
}

fn item(start: usize, end: usize, to: &Target, lane: u16, awaited: bool, persistent: bool) -> Publish {
    let exchange = start + HEAD_BYTES;
    let key = exchange + to.exchange.len();
    let range = |from: usize, to: usize| from as u32..to as u32;
    Publish {
        record: range(start, end),
        exchange: range(exchange, key),
        key: range(key, key + to.key.len()),
        extra_keys: 0..0,
        lane,
        mandatory: to.mandatory,
        awaited,
        persistent,
    }
}

/// The bytes of `record` within the block that holds it.
pub(super) fn slice(block: &Bytes, at: u32, len: u32) -> Bytes {
    let (at, end) = (at as usize, at as usize + len as usize);
    if end <= block.len() { block.slice(at..end) } else { Bytes::new() }
}
