//! A shard with its journal, and short words for asking it.

use crate::item::item;
use bytes::BytesMut;
use std::sync::Arc;
use stele_core::shard::Shard;
use stele_core::testing::{MemoryLog, write_record};
use stele_model::id::{
    Boot, Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId, SubscriptionId,
};
use stele_model::machine::Machine;
use stele_model::op::Credit;
use stele_model::publish::{LinkNumber, Publish, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::queue::{QueueSettings, QueueSpec};
use stele_model::refusal::Refusal;
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{Answer, Grant, Move, MoveOut, QueueCounts, ShardEffect, ShardOp, ShardSubscribe};

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) log: MemoryLog,
    revision: u64,
}

pub(crate) type Said = Vec<(Lsn, ShardEffect)>;

/// What a subscription asks for.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) no_ack: bool,
    pub(crate) exclusive: bool,
    pub(crate) messages_max: Option<u32>,
    pub(crate) bytes_max: u64,
    pub(crate) priority: i32,
}

pub(crate) const READING: Reading =
    Reading { no_ack: false, exclusive: false, messages_max: None, bytes_max: 1 << 20, priority: 0 };

pub(crate) fn session(number: u64) -> SessionId {
    SessionId { hub: HubId(0), number }
}

/// Subscription `number`; ten of them are one session.
pub(crate) fn subscription(number: u64) -> SubscriptionId {
    SubscriptionId { session: session(number / 10), number }
}

pub(crate) fn spec(id: u64, settings: QueueSettings) -> QueueSpec {
    QueueSpec { id: QueueId(id), namespace: NamespaceId(1), name: format!("q{id}"), settings }
}

pub(crate) fn durable() -> QueueSettings {
    QueueSettings { durable: true, ..QueueSettings::default() }
}

/// Record of a publish: body, priority, time to live.
pub(crate) type Message<'a> = (&'a str, u8, Option<u32>);

pub(crate) fn batch(messages: &[Message<'_>], persistent: bool) -> Arc<Publishes> {
    let mut bytes = BytesMut::new();
    let mut items = Vec::new();
    for (body, priority, ttl) in messages {
        let start = bytes.len() as u32;
        write_record(&mut bytes, *priority, *ttl, persistent, body.as_bytes());
        items.push(Publish { persistent, ..item(start..bytes.len() as u32) });
    }
    Arc::new(Publishes { bytes: bytes.freeze(), items, ..Publishes::default() })
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self { shard: Shard::new(ShardId(3)), log: MemoryLog::new(1 << 20), revision: 0 }
    }

    /// With queue 1 of these settings.
    pub(crate) fn with(settings: QueueSettings) -> Self {
        let mut rig = Self::new();
        rig.put(1, settings);
        rig
    }

    pub(crate) fn ask(&mut self, op: ShardOp) -> Said {
        let mut effects = Vec::new();
        self.shard.take(op, &mut self.log, &mut effects);
        effects
    }

    pub(crate) fn put(&mut self, id: u64, settings: QueueSettings) -> Said {
        self.revision += 1;
        self.ask(ShardOp::Put { revision: Revision(self.revision), queue: Arc::new(spec(id, settings)) })
    }

    /// The registry does not remember its last changes.
    pub(crate) fn lose_revisions(&mut self, count: u64) {
        self.revision -= count;
    }

    pub(crate) fn drop_queue(&mut self, id: u64) -> Said {
        self.revision += 1;
        self.ask(ShardOp::Drop { revision: Revision(self.revision), queue: QueueId(id) })
    }

    pub(crate) fn sync(&mut self, boot: u64, queues: Vec<Arc<QueueSpec>>) -> Said {
        self.revision += 1;
        self.ask(ShardOp::Sync {
            revision: Revision(self.revision),
            boot: Boot(boot),
            queues,
            partitions: Vec::new(),
        })
    }

    /// Publishes these bodies to queue 1.
    pub(crate) fn publish(&mut self, bodies: &[&str]) -> Said {
        let messages: Vec<Message<'_>> = bodies.iter().map(|body| (*body, 0, None)).collect();
        self.publish_to(&[1], &messages, true, None)
    }

    pub(crate) fn publish_to(
        &mut self,
        queues: &[u64],
        messages: &[Message<'_>],
        persistent: bool,
        link: Option<LinkNumber>,
    ) -> Said {
        let route: Route = queues.iter().map(|id| QueueId(*id)).collect();
        self.ask(ShardOp::Publish(ShardPublish {
            hub: HubId(0),
            call: Call(9),
            awaited: true,
            link,
            batch: batch(messages, persistent),
            runs: vec![RoutedRun { items: 0..messages.len() as u32, route: 0, volatile: !persistent }],
            routes: vec![route],
        }))
    }

    pub(crate) fn subscribe(&mut self, number: u64, reading: Reading) -> Said {
        self.ask(ShardOp::Subscribe(ShardSubscribe {
            call: Call(1),
            subscription: subscription(number),
            queue: QueueId(1),
            no_ack: reading.no_ack,
            exclusive: reading.exclusive,
            messages_max: reading.messages_max,
            bytes_max: reading.bytes_max,
            priority: reading.priority,
            start: None,
        }))
    }

    pub(crate) fn unsubscribe(&mut self, number: u64) -> Said {
        let subscription = subscription(number);
        self.ask(ShardOp::Unsubscribe { call: Call(2), subscription, queue: QueueId(1) })
    }

    pub(crate) fn credit(&mut self, number: u64, bytes: u64) -> Said {
        let session = subscription(number).session;
        let credit = Credit { subscription: number, bytes, messages_max: None };
        self.ask(ShardOp::Credit { session, queue: QueueId(1), credit })
    }

    /// So many may be unsettled from now on.
    pub(crate) fn limit(&mut self, number: u64, messages_max: u32) -> Said {
        let session = subscription(number).session;
        let credit = Credit { subscription: number, bytes: 0, messages_max: Some(messages_max) };
        self.ask(ShardOp::Credit { session, queue: QueueId(1), credit })
    }

    pub(crate) fn settle(&mut self, number: u64, how: How, positions: &[u64]) -> Said {
        let runs = positions.iter().map(|at| Run { first: Position(*at), count: 1 }).collect();
        let settle = Settle { subscription: number, queue: QueueId(1), how, runs };
        self.ask(ShardOp::Settle { session: subscription(number).session, settles: vec![settle] })
    }

    pub(crate) fn get(&mut self, number: u64, no_ack: bool) -> Said {
        let subscription = subscription(number);
        self.ask(ShardOp::Get { call: Call(3), subscription, queue: QueueId(1), no_ack })
    }

    pub(crate) fn close(&mut self, if_unused: bool, if_empty: bool) -> Said {
        let answer = Some((HubId(0), Call(4)));
        self.ask(ShardOp::Close { answer, queue: QueueId(1), if_unused, if_empty })
    }

    pub(crate) fn purge(&mut self) -> Said {
        self.ask(ShardOp::Purge { hub: HubId(0), call: Call(5), queue: QueueId(1) })
    }

    pub(crate) fn session_gone(&mut self, number: u64) -> Said {
        self.ask(ShardOp::SessionGone { session: session(number) })
    }

    /// Lets the shard do all that is due now.
    pub(crate) fn tick(&mut self) -> Said {
        let mut effects = Vec::new();
        while self.shard.deadline().is_some_and(|at| at <= stele_model::machine::Journal::now(&self.log)) {
            self.shard.tick(&mut self.log, &mut effects);
        }
        effects
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) -> Said {
        self.log.seal();
        self.log.advance_ms(ms);
        self.tick()
    }

    /// The process dies and starts again; everything logged was durable.
    pub(crate) fn restart(&mut self) -> Said {
        let through = self.log.seal();
        self.log = self.log.cut(through);
        let mut shard = Shard::new(ShardId(3));
        self.log.replay(Lsn(0), &mut shard).unwrap();
        let mut effects = Vec::new();
        shard.started(&mut self.log, &mut effects);
        self.shard = shard;
        effects
    }

    pub(crate) fn counts(&self, id: u64) -> Option<QueueCounts> {
        self.shard.counts().find(|counts| counts.queue == QueueId(id))
    }

    pub(crate) fn ready(&self) -> u64 {
        self.counts(1).map_or(0, |counts| counts.ready)
    }

    pub(crate) fn body(&self, grant: &Grant) -> String {
        let record = self.log.read(grant.place, grant.len).unwrap();
        String::from_utf8(record[33..].to_vec()).unwrap()
    }

    /// Who got what, in the order said.
    pub(crate) fn deliveries(&self, said: &Said) -> Vec<(u64, Vec<String>)> {
        let each = said.iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Deliver { subscription, records, .. } => {
                Some((subscription.number, records.iter().map(|grant| self.body(grant)).collect()))
            }
            _ => None,
        });
        each.collect()
    }

    /// The bodies of what moves, with why.
    pub(crate) fn moves(&self, said: &Said) -> Vec<(u64, stele_model::shard::DeathReason, Vec<String>)> {
        let each = said.iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Move(Move { number, out_of: MoveOut::Queue { reason, records, .. }, .. }) => {
                let bodies = records.iter().map(|grant| self.body(grant)).collect();
                Some((*number, *reason, bodies))
            }
            _ => None,
        });
        each.collect()
    }
}

/// The grants of all deliveries.
pub(crate) fn grants(said: &Said) -> Vec<Grant> {
    let each = said.iter().filter_map(|(_, effect)| match effect {
        ShardEffect::Deliver { records, .. } => Some(records.clone()),
        _ => None,
    });
    each.flatten().collect()
}

/// The one answer, with what it waits for.
pub(crate) fn answer(said: &Said) -> (Lsn, Result<Answer, Refusal>) {
    let mut each = said.iter().filter_map(|(after, effect)| match effect {
        ShardEffect::Answer { answer, .. } => Some((*after, answer.clone())),
        _ => None,
    });
    let first = each.next().expect("there is an answer");
    assert!(each.next().is_none(), "there is one answer");
    first
}

/// What a publish was answered: after what, refused, gone.
pub(crate) fn published(said: &Said) -> (Lsn, Vec<(u32, Refusal)>, Vec<u32>) {
    let found = said.iter().find_map(|(after, effect)| match effect {
        ShardEffect::Published { refused, gone, .. } => Some((*after, refused.clone(), gone.clone())),
        _ => None,
    });
    found.expect("the publish was answered")
}
