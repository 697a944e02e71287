//! Readers of other dialects: what is appended to a stream is seen as a publish to its name by whoever listens through the topic
//! exchange (DESIGN §4, the subject space).
//!
//! Nobody pays when nobody listens: a kept route says so with one look-up for each part. When somebody does, the session is asked for the
//! records, once for the whole request, and they go to the listeners' queues: with the append where a queue lives on the partition's shard,
//! beside it elsewhere. A queue that refuses them, or that is gone meanwhile, does not refuse the append.

use super::publish::Notes;
use super::routes::{Resolved, Wanted};
use super::streams::Partition;
use super::{Hub, HubOut, Open};
use crate::registry::snapshot::Stream;
use crate::router::resolve::SUBJECTS;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{SessionId, ShardId};
use stele_model::publish::{Publishes, RoutedRun, ShardPublish};
use stele_model::refusal::Refusal;
use stele_model::shard::ShardOp;

/// What a shard stores for listeners with its appends: each with the part that it belongs to.
pub(super) type Stored = BTreeMap<ShardId, Vec<(u32, ShardPublish)>>;

/// Records of a part for listeners: of which stream, where the part is stored and as which part of that share, the records.
pub(super) type Heard = (Arc<Stream>, (ShardId, u32), Arc<Publishes>);

impl Hub {
    /// Whether somebody listens to one of these streams.
    pub(super) fn anybody_listens(
        &mut self,
        session: SessionId,
        found: &[Result<Partition, Refusal>],
    ) -> bool {
        let mut last: Option<&Arc<Stream>> = None;
        for Partition { stream, .. } in found.iter().flatten() {
            if last.is_some_and(|last| Arc::ptr_eq(last, stream)) {
                continue;
            }
            last = Some(stream);
            let is_heard = !stream.info.internal && self.is_heard(stream.namespace, stream.name.as_bytes());
            if is_heard || self.listeners(session, stream).is_some() {
                return true;
            }
        }
        false
    }

    /// Where records of a stream go besides; `None`: nowhere.
    fn listeners(&mut self, session: SessionId, stream: &Stream) -> Option<Arc<Resolved>> {
        if stream.info.internal {
            return None;
        }
        let snapshot = self.snapshot.clone();
        let (id, _) = self.sessions.get(&session.number)?.namespace.as_ref()?;
        let namespace = snapshot.namespace_by_id(*id)?;
        let exchange = namespace.exchange(SUBJECTS)?;
        let wanted =
            Wanted { namespace, revision: snapshot.revision(), exchange, key: stream.name.as_bytes() };
        let resolved = self.routes.find(wanted, &mut self.flows).resolved.clone();
        // A stream that captures its own subject, or is bound to it, has the records already.
        let own = &stream.info.partitions;
        let is_own = |queue| own.iter().any(|(id, _)| *id == queue);
        let legs = resolved.persistent.iter().flat_map(|leg| leg.route.iter());
        legs.copied().any(|queue| !is_own(queue)).then_some(resolved)
    }

    /// Takes up what listeners are to get: what goes with an append is returned, what goes beside it is sent.
    pub(super) fn store_for_listeners(
        &mut self,
        session: SessionId,
        joint: u64,
        awaited: bool,
        heard: Vec<Heard>,
        out: &mut HubOut,
    ) -> Stored {
        let mut stored = Stored::new();
        for (stream, (home, part), batch) in heard {
            self.let_hear(stream.namespace, &batch, &mut Notes::default(), out);
            let Some(resolved) = self.listeners(session, &stream).filter(|_| !batch.items.is_empty()) else {
                continue;
            };
            let records = batch.items.len() as u64;
            resolved.edges.iter().for_each(|edge| self.flows.add(*edge, records, batch.bytes.len() as u64));
            let items = 0..u32::try_from(batch.items.len()).expect("a batch has fewer than 4 Gi records");
            for leg in &resolved.persistent {
                let is_own = |queue: &_| stream.info.partitions.iter().any(|(id, _)| id == queue);
                let route: smallvec::SmallVec<_> =
                    leg.route.iter().copied().filter(|queue| !is_own(queue)).collect();
                if route.is_empty() {
                    continue;
                }
                let publish = ShardPublish {
                    hub: self.id,
                    call: self.share(joint, Vec::new()),
                    awaited,
                    link: None,
                    batch: batch.clone(),
                    runs: vec![RoutedRun { items: items.clone(), route: 0, volatile: leg.volatile }],
                    routes: vec![route],
                };
                if leg.shard == home {
                    stored.entry(home).or_default().push((part, publish));
                } else {
                    out.shards.push((leg.shard, ShardOp::Publish(publish)));
                }
            }
        }
        stored
    }

    /// Whether a call is for a joint request.
    pub(super) fn is_share(&self, call: stele_model::id::Call) -> bool {
        matches!(self.calls.get(&call).map(Box::as_ref), Some(Open::Share { .. }))
    }
}
