//! Moves: records that leave a queue or a shared group as dead letters, and those whose time has come, find their way here, since a shard
//! cannot route (S6).
//!
//! They are routed by what is defined now, in the namespace of what they leave, and heard by who listens live as any publish is. The shards that take them get them over a
//! numbered link, so that a repeat after a restart is dropped there (S5); what they refuse, and what finds no queue, is gone. When all
//! have answered, the source lets go.

use super::publish::Notes;
use super::routes::Resolved;
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::Snapshot;
use crate::router::resolve::{Found, SUBJECTS};
use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::flow::Edge;
use stele_model::id::{Call, NamespaceId, Now, QueueId, ShardId};
use stele_model::publish::{LinkNumber, Publish, Publishes};
use stele_model::queue::{DeadLetter, QueueSpec};
use stele_model::shard::{DeathReason, MoveOut, MoveRecords, ShardOp};
use stele_model::share::{ShareDeath, ShareMove};
use stele_model::stream::due::DueMove;
use stele_model::stream::records::{Rollup, Terms};
use stele_record::dead::{self, Left};
use stele_record::due;
use stele_record::history::{Dying, Reason, routing_keys, with_death};
use stele_record::{HEAD_BYTES, View, nats};

impl Hub {
    pub(super) fn move_records(&mut self, now: Now, records: MoveRecords, out: &mut HubOut) {
        let MoveRecords { of, bytes } = records;
        let snapshot = self.snapshot.clone();
        let (namespace, batch) = match &of.out_of {
            MoveOut::Queue { queue, reason, .. } => {
                (queue.namespace, self.dead_letters(now, (queue, *reason), &bytes, &snapshot))
            }
            MoveOut::Share(share) => (share.namespace, self.out_of_group(share, &bytes, &snapshot)),
            MoveOut::Due(due) => (due.namespace, self.come_due(due, &bytes, &snapshot)),
        };
        let batch = Arc::new(batch);
        let is_due = matches!(&of.out_of, MoveOut::Due(_));
        // What is published again is its stream's own doing.
        if !is_due {
            self.let_hear(namespace, &batch, &mut Notes::default(), out);
        }
        self.plan.count(&mut self.flows, |_, _, _, _| {});
        let (source, link) = ((of.from, of.number), LinkNumber { from: of.from, number: of.number });
        let Self { id, plan, calls, call_last, .. } = self;
        let part = |_| {
            *call_last += 1;
            let call = Call(*call_last);
            calls.insert(call, Box::new(Open::Move { of: source }));
            call
        };
        let waiting = plan.send(*id, &batch, Some(link), part, &mut out.shards);
        plan.spread.clear();
        if waiting == 0 {
            out.shards.push((of.from, ShardOp::Moved { number: of.number }));
        } else {
            self.moves.insert(source, waiting);
        }
    }

    /// A shard has its part of a move.
    pub(super) fn moved(&mut self, of: (ShardId, u64), out: &mut HubOut) {
        let Some(waiting) = self.moves.get_mut(&of) else { return };
        *waiting -= 1;
        if *waiting == 0 {
            self.moves.remove(&of);
            out.shards.push((of.0, ShardOp::Moved { number: of.1 }));
        }
    }

    /// Writes a queue's records as they go on, and plans where each goes.
    fn dead_letters(
        &mut self,
        now: Now,
        (queue, why): (&QueueSpec, DeathReason),
        records: &[Bytes],
        snapshot: &Snapshot,
    ) -> Publishes {
        let Some(target) = &queue.settings.dead_letter else { return Publishes::default() };
        let mut draft = Draft::of(records);
        for record in records {
            // What is damaged could not be routed.
            draft.put(|out| dead_letter(now, (queue, why), target, record, out).is_some());
        }
        let batch = draft.finish();
        self.count_dead_letters(queue.id, target, reason(why).text(), &batch);
        for (n, item) in (0..).zip(&batch.items) {
            let Some(resolved) = self.resolve_dead_letter(snapshot, queue, target, batch.record(n)) else {
                continue;
            };
            self.plan_dead_letter(resolved, n, item);
        }
        batch
    }

    /// As [`Self::dead_letters`], of a shared group.
    fn out_of_group(&mut self, of: &ShareMove, records: &[Bytes], snapshot: &Snapshot) -> Publishes {
        let ShareMove { target, why, .. } = of;
        let (reason, detail) = match why {
            ShareDeath::Exhausted => ("max_deliveries", ""),
            ShareDeath::Terminated { reason } => ("terminated", &reason[..]),
        };
        let mut draft = Draft::of(records);
        for (dead, record) in of.records.iter().zip(records) {
            let Ok(view) = View::parse(record) else { continue };
            let (sequence, deliveries) = (dead.position.0 + 1, dead.deliveries);
            let left = Left { stream: &of.stream, sequence, group: &of.group, deliveries, reason, detail };
            let key = target.key.as_ref().map(String::as_bytes);
            draft.put(|out| {
                dead::write(&view, &left, target.exchange.as_bytes(), key, out);
                true
            });
        }
        let batch = draft.finish();
        self.count_dead_letters(of.partition, target, reason, &batch);
        self.plan_moved((of.namespace, &target.exchange), &batch, snapshot);
        batch
    }

    /// Writes records whose time has come as they are published, and plans where each goes.
    fn come_due(&mut self, of: &DueMove, records: &[Bytes], snapshot: &Snapshot) -> Publishes {
        let (mut draft, mut terms) = (Draft::of(records), Vec::new());
        let mut bytes = records.iter();
        for due in &of.records {
            let (record, sample) = (bytes.next(), due.sample.and_then(|_| bytes.next()));
            let Some(view) = record.and_then(|record| View::parse(record).ok()) else { continue };
            let sample = sample.and_then(|sample| View::parse(sample).ok());
            let item = draft.items.len() as u32;
            if !draft.put(|out| due::write(&view, sample.as_ref(), due.next, SUBJECTS.as_bytes(), out)) {
                continue;
            }
            let rollup = due.rollup.then_some(Rollup::Subject);
            let asked = Terms { ttl: due.ttl, rollup, ..Terms::default() };
            if asked != Terms::default() {
                terms.push((item, asked));
            }
        }
        let batch = Publishes { terms, ..draft.finish() };
        self.plan_moved((of.namespace, SUBJECTS), &batch, snapshot);
        batch
    }

    fn plan_moved(
        &mut self,
        (namespace, exchange): (NamespaceId, &str),
        batch: &Publishes,
        snapshot: &Snapshot,
    ) {
        let namespace = snapshot.namespace_by_id(namespace);
        let exchange = namespace.and_then(|of| Some((of, of.exchange(exchange)?)));
        let Some((namespace, exchange)) = exchange else { return };
        for (n, item) in (0..).zip(&batch.items) {
            let resolved = self.resolve_record(namespace, exchange, batch, item, QueueId(0));
            self.plan_dead_letter(resolved, n, item);
        }
    }

    fn plan_dead_letter(&mut self, resolved: Resolved, n: u32, item: &Publish) {
        let choice = self.plan.choose(&Arc::new(resolved), item.persistent);
        self.plan.add(choice, n, item.record.end - item.record.start, false);
    }

    /// Counts what leaves a queue or partition.
    fn count_dead_letters(
        &mut self,
        queue: QueueId,
        target: &DeadLetter,
        reason: &'static str,
        batch: &Publishes,
    ) {
        let exchange = target.exchange.clone();
        let edge = self.flows.edge(Edge::DeadLettered { queue, exchange, reason });
        self.flows.add(edge, batch.items.len() as u64, batch.bytes.len() as u64);
    }

    /// The queues that take a dead letter: not those it would only go round through.
    fn resolve_dead_letter(
        &mut self,
        snapshot: &Snapshot,
        queue: &QueueSpec,
        target: &DeadLetter,
        record: &[u8],
    ) -> Option<Resolved> {
        let namespace = snapshot.namespace_by_id(queue.namespace)?;
        let exchange = namespace.exchange(&target.exchange)?;
        let amqp = nats::as_amqp091(&View::parse(record).ok()?);
        let view = View::parse(amqp.as_deref().unwrap_or(record)).ok()?;
        let history = view.history().ok()?;
        let keys: SmallVec<[&[u8]; 8]> = routing_keys(&view, &history).collect();
        let mut found = Found::default();
        found.resolve(namespace, exchange, &keys, view.headers_table());
        found.hits.retain(|hit| {
            let name = snapshot.queue(hit.queue).map(|queue| queue.name.as_bytes());
            !name.is_some_and(|name| history.cycles(name))
        });
        Some(Resolved::of(exchange.id, found, &mut self.flows))
    }
}

/// Records as they go on, one behind the other.
struct Draft {
    bytes: BytesMut,
    items: Vec<Publish>,
}

impl Draft {
    /// With room for these and what is said of them.
    fn of(records: &[Bytes]) -> Self {
        let bytes = records.iter().map(|record| record.len() + 256).sum();
        Self { bytes: BytesMut::with_capacity(bytes), items: Vec::with_capacity(records.len()) }
    }

    /// Adds what is written; `false`: nothing was.
    fn put(&mut self, write: impl FnOnce(&mut BytesMut) -> bool) -> bool {
        let start = self.bytes.len();
        let is_written = write(&mut self.bytes);
        if is_written {
            let item = item(start, self.bytes.len(), &self.bytes);
            self.items.push(item);
        }
        is_written
    }

    fn finish(self) -> Publishes {
        Publishes { bytes: self.bytes.freeze(), items: self.items, ..Publishes::default() }
    }
}

fn dead_letter(
    now: Now,
    (queue, why): (&QueueSpec, DeathReason),
    target: &DeadLetter,
    record: &[u8],
    out: &mut BytesMut,
) -> Option<()> {
    let view = View::parse(record).ok()?;
    let dying = Dying { queue: queue.name.as_bytes(), reason: reason(why), time_s: now.0 / 1_000_000 };
    let key = target.key.as_ref().map(String::as_bytes);
    with_death(&view, dying, target.exchange.as_bytes(), key, out).ok()
}

/// The item of a record that was just written: exchange and key stand behind its head.
fn item(start: usize, end: usize, bytes: &[u8]) -> Publish {
    let view = View::parse(&bytes[start..end]).expect("it was written by us");
    let at = |offset: usize| u32::try_from(offset).expect("a move is far smaller than 4 GiB");
    let exchange = start + HEAD_BYTES;
    let key = exchange + view.exchange().len();
    Publish {
        record: at(start)..at(end),
        exchange: at(exchange)..at(key),
        key: at(key)..at(key + view.key().len()),
        extra_keys: 0..0,
        lane: 0,
        mandatory: false,
        awaited: false,
        persistent: view.persistent(),
    }
}

fn reason(of: DeathReason) -> Reason {
    match of {
        DeathReason::Rejected => Reason::Rejected,
        DeathReason::Expired => Reason::Expired,
        DeathReason::MaxLength => Reason::Maxlen,
        DeathReason::DeliveryLimit => Reason::DeliveryLimit,
    }
}
