//! From an exchange and a record's keys to queues, across exchanges and alternates. Called by the hub for what its cache does
//! not know, against one snapshot.
//!
//! What must hold: every queue at most once however many rules lead to it; an exchange is looked at once, so that cycles end;
//! whatever the result depends on is noted in [`Found::because`], so that a cache knows when it is over.

use super::Target;
use super::captures::Capture;
use super::partition::partition_of;
use crate::registry::snapshot::{Exchange, Namespace};
use bytes::Bytes;
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::id::{ExchangeId, QueueId, Revision, ShardId};
use stele_record::table::Table;

/// The exchange whose keys are the subjects of the namespace.
pub const SUBJECTS: &str = "amq.topic";

/// A queue that takes the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Which.
    pub queue: QueueId,
    /// Where it lives.
    pub shard: ShardId,
    /// Persistent records in it outlive a restart.
    pub durable: bool,
    /// Key of the rule that led to it; the first, if there were several.
    pub rule: Bytes,
}

/// Something that a result depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Because {
    /// This exchange was at this version, or was not there.
    Exchange(Arc<str>, Option<Revision>),
    /// The queue or partition of this name had this number, or was not there.
    Queue(Bytes, Option<QueueId>),
    /// What is published to this subject was captured into these partitions.
    Capture(Bytes, Captured),
}

/// What was found.
#[derive(Default)]
pub struct Found {
    /// The queues, by number.
    pub hits: SmallVec<[Hit; 8]>,
    /// See [`Because`].
    pub because: SmallVec<[Because; 4]>,
    /// The record's headers had a say: another record of the same key may go elsewhere.
    pub by_headers: bool,
}

impl Found {
    /// Finds the queues for a record with these keys and headers.
    pub fn resolve(&mut self, namespace: &Namespace, start: &Exchange, keys: &[&[u8]], headers: Table<'_>) {
        let mut seen: SmallVec<[ExchangeId; 8]> = SmallVec::new();
        let mut ahead: SmallVec<[&Exchange; 8]> = SmallVec::new();
        ahead.push(start);
        while let Some(exchange) = ahead.pop() {
            let Err(at) = seen.binary_search(&exchange.id) else { continue };
            seen.insert(at, exchange.id);
            if exchange.is_default() {
                keys.iter().for_each(|key| self.by_name(namespace, key));
                continue;
            }
            self.because.push(Because::Exchange(exchange.name.clone(), Some(exchange.version)));
            let mut is_taken = false;
            if *exchange.name == *SUBJECTS {
                keys.iter().for_each(|key| is_taken |= self.by_capture(namespace, key));
            }
            self.by_headers |= exchange.kind == super::ExchangeKind::Headers;
            let mut exchanges: SmallVec<[&Arc<str>; 4]> = SmallVec::new();
            for key in keys {
                exchange.router.matching(key, headers, |rule| {
                    is_taken = true;
                    match &rule.target {
                        Target::Queue { id, shard, durable } => self.hits.push(Hit {
                            queue: *id,
                            shard: *shard,
                            durable: *durable,
                            rule: rule.key.clone(),
                        }),
                        Target::Exchange { name, .. } => exchanges.push(name),
                    }
                });
            }
            let alternate = exchange.alternate.as_ref().filter(|_| !is_taken);
            for name in exchanges.into_iter().chain(alternate) {
                match namespace.exchange(name) {
                    Some(next) => ahead.push(next),
                    None => self.because.push(Because::Exchange(name.clone(), None)),
                }
            }
        }
        self.hits.sort_by_key(|hit| hit.queue);
        self.hits.dedup_by_key(|hit| hit.queue);
    }

    /// The default exchange: a key is a queue's name.
    fn by_name(&mut self, namespace: &Namespace, key: &[u8]) {
        let found = std::str::from_utf8(key).ok().and_then(|name| namespace.sequence(name));
        let rule = Bytes::copy_from_slice(key);
        self.because.push(Because::Queue(rule.clone(), found.map(|found| found.id())));
        self.hits.extend(found.map(|found| Hit {
            queue: found.id(),
            shard: found.shard(),
            durable: found.is_durable(),
            rule,
        }));
    }

    /// The subject space: a stream that captures its name takes what is published to it (S26).
    fn by_capture(&mut self, namespace: &Namespace, key: &[u8]) -> bool {
        let (named, listed) = (named(namespace, key), namespace.captures().find(key));
        let ids = [named.map(|(id, _)| id), listed.map(|capture| capture.captor.partition)];
        let subject = Bytes::copy_from_slice(key);
        self.because.push(Because::Capture(subject.clone(), ids));
        let hit = |(queue, shard), rule| Hit { queue, shard, durable: true, rule };
        self.hits.extend(named.map(|of| hit(of, subject)));
        self.hits.extend(listed.map(|Capture { captor, pattern }| {
            hit((captor.partition, captor.shard), Bytes::copy_from_slice(pattern.as_bytes()))
        }));
        ids.iter().any(Option::is_some)
    }
}

/// The partition of the stream that has the subject as its name and wants that, and that of the stream whose patterns list it.
pub type Captured = [Option<QueueId>; 2];

fn named(namespace: &Namespace, subject: &[u8]) -> Option<(QueueId, ShardId)> {
    let stream = namespace.stream(std::str::from_utf8(subject).ok()?)?;
    let settings = &stream.info.settings;
    if !settings.capture {
        return None;
    }
    stream.partition(partition_of(subject, stream.len()))
}

impl Because {
    /// Whether it is still so.
    #[must_use]
    pub fn holds(&self, namespace: &Namespace) -> bool {
        match self {
            Self::Exchange(name, version) => {
                namespace.exchange(name).map(|exchange| exchange.version) == *version
            }
            Self::Queue(name, id) => {
                let found = std::str::from_utf8(name).ok().and_then(|name| namespace.sequence(name));
                found.map(|found| found.id()) == *id
            }
            Self::Capture(subject, ids) => {
                let listed = namespace.captures().find(subject).map(|capture| capture.captor.partition);
                [named(namespace, subject).map(|(id, _)| id), listed] == *ids
            }
        }
    }
}
