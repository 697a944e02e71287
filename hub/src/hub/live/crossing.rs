//! What another dialect publishes to a subject, for those who listen live: opened record by record, and only where somebody listens.

use super::super::publish::Notes;
use super::super::routes::Wanted;
use super::{Hub, HubOut, Publisher};
use crate::router::resolve::SUBJECTS;
use bytes::BytesMut;
use std::sync::Arc;
use stele_model::flow::Flow;
use stele_model::id::{ExchangeId, NamespaceId, Now};
use stele_model::live::LiveBatch;
use stele_model::publish::{Publish, Publishes};
use stele_record::{View, nats};

/// Longest subject that listeners are told of, bytes. AMQP's keys are shorter; names of streams are, too.
const SUBJECT_BYTES_MAX: usize = 4 << 10;

impl Hub {
    /// Lets listeners hear what a batch publishes to the subject space, or through the default exchange to a name that is no queue's: so an
    /// AMQP client answers a request of a live publisher. What was heard is not unroutable.
    pub(in super::super) fn let_hear(
        &mut self,
        namespace: NamespaceId,
        batch: &Publishes,
        notes: &mut Notes,
        out: &mut HubOut,
    ) {
        if self.interests.is_empty() {
            return;
        }
        let (mut items, mut bytes) = (Vec::new(), BytesMut::new());
        let mut last: Option<(&Publish, Way)> = None;
        for (n, item) in (0..).zip(&batch.items) {
            let key = batch.slice(&item.key);
            let way = match last.filter(|(of, _)| is_alike(batch, of, item)) {
                Some((_, way)) => way,
                None => self.heard_way(namespace, batch.slice(&item.exchange), key),
            };
            last = Some((item, way));
            if matches!(way, Way::Unheard) || notes.dropped.binary_search(&n).is_ok() {
                continue;
            }
            if let Way::HeardAlone(exchange) = way {
                notes.heard_alone(exchange, u64::from(item.record.end - item.record.start));
            }
            if let Ok(at) = notes.unroutable.binary_search(&n) {
                notes.unroutable.remove(at);
            }
            let Ok(view) = View::parse(batch.record(n)) else { continue };
            let (reply, block) = nats::shown(&view);
            LiveBatch::put(&mut items, &mut bytes, (key, &reply), (&block, view.body()));
        }
        if !items.is_empty() {
            let by = Publisher { namespace, slot: None, mute: false, now: Now::default() };
            let heard = LiveBatch { bytes: bytes.freeze(), items, ..LiveBatch::default() };
            self.hear_batch(by, Arc::new(heard), out);
        }
    }

    /// Whether what is published to an exchange with this key is heard live.
    fn heard_way(&mut self, namespace: NamespaceId, exchange: &[u8], key: &[u8]) -> Way {
        let snapshot = self.snapshot.clone();
        let Some(namespace) = snapshot.namespace_by_id(namespace) else { return Way::Unheard };
        let is_queue = || std::str::from_utf8(key).is_ok_and(|name| namespace.sequence(name).is_some());
        let name = match exchange {
            b"" if !is_queue() && !self.is_reply_address(key) => "",
            exchange if exchange == SUBJECTS.as_bytes() => SUBJECTS,
            _ => return Way::Unheard,
        };
        if !is_subject(key) || self.interests.reach(namespace.id, key).is_empty() {
            return Way::Unheard;
        }
        let Some(exchange) = namespace.exchange(name) else { return Way::Heard };
        let wanted = Wanted { namespace, revision: snapshot.revision(), exchange, key };
        let resolved = &self.routes.find(wanted, &mut self.flows).resolved;
        if resolved.is_empty() && !resolved.by_headers { Way::HeardAlone(exchange.id) } else { Way::Heard }
    }

    /// Whether somebody listens live to this subject.
    pub(in super::super) fn is_heard(&mut self, namespace: NamespaceId, subject: &[u8]) -> bool {
        !self.interests.is_empty() && !self.interests.reach(namespace, subject).is_empty()
    }
}

/// Who gets a record of an exchange and key.
#[derive(Clone, Copy)]
enum Way {
    /// Nobody who listens live.
    Unheard,
    /// Live listeners, and queues.
    Heard,
    /// Live listeners of this exchange alone.
    HeardAlone(ExchangeId),
}

impl Notes {
    fn heard_alone(&mut self, exchange: ExchangeId, bytes: u64) {
        match self.heard_alone.iter_mut().find(|(known, _)| *known == exchange) {
            Some((_, flow)) => flow.add(bytes),
            None => self.heard_alone.push((exchange, Flow { records: 1, bytes })),
        }
    }
}

fn is_alike(batch: &Publishes, last: &Publish, item: &Publish) -> bool {
    batch.slice(&last.key) == batch.slice(&item.key)
        && batch.slice(&last.exchange) == batch.slice(&item.exchange)
}

/// Whether a routing key can be a subject: keys may have empty words, blanks and wildcards.
fn is_subject(key: &[u8]) -> bool {
    key.len() <= SUBJECT_BYTES_MAX
        && key.split(|byte| *byte == b'.').all(|word| !matches!(word, b"" | b"*" | b">"))
        && !key.iter().any(|byte| *byte <= b' ')
}
