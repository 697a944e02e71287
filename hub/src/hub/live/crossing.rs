//! What another dialect publishes to a subject, for those who listen live: opened record by record, and only where somebody listens.

use super::super::publish::Notes;
use super::{Hub, HubOut, Publisher};
use crate::router::resolve::SUBJECTS;
use bytes::BytesMut;
use std::sync::Arc;
use stele_model::id::{NamespaceId, Now};
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
        let snapshot = self.snapshot.clone();
        let is_queue = |name: &[u8]| {
            let name = std::str::from_utf8(name).ok();
            let namespace = snapshot.namespace_by_id(namespace);
            namespace.zip(name).is_some_and(|(namespace, name)| namespace.sequence(name).is_some())
        };
        let (mut items, mut bytes) = (Vec::new(), BytesMut::new());
        let mut last: Option<(&Publish, bool)> = None;
        for (n, item) in (0..).zip(&batch.items) {
            let key = batch.slice(&item.key);
            let is_heard = match last.filter(|(of, _)| is_alike(batch, of, item)) {
                Some((_, is_heard)) => is_heard,
                None => {
                    let is_open = match batch.slice(&item.exchange) {
                        b"" => !is_queue(key) && !self.is_reply_address(key),
                        exchange => exchange == SUBJECTS.as_bytes(),
                    };
                    is_open && is_subject(key) && !self.interests.reach(namespace, key).is_empty()
                }
            };
            last = Some((item, is_heard));
            if !is_heard || notes.dropped.binary_search(&n).is_ok() {
                continue;
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

    /// Whether somebody listens live to this subject.
    pub(in super::super) fn is_heard(&mut self, namespace: NamespaceId, subject: &[u8]) -> bool {
        !self.interests.is_empty() && !self.interests.reach(namespace, subject).is_empty()
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
