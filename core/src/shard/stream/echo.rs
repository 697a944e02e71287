//! Telling of records that were stored: to the sessions that listen to their namespace, for streams that tell.
//!
//! Called where records are stored live, never in replay. Attached state (S1): who listens, and how much is on its way to each. What must
//! hold: what is told is durable (S2), once, in the order of positions; who is too far behind hears nothing until it has caught up. Not
//! here: what is made of it, which is a dialect's.

use super::Shard;
use crate::shard::effect::Turn;
use crate::shard::publish::Head;
use crate::stream::{Partition, waited_for};
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{NamespaceId, Now, Place, Position, QueueId, SessionId};
use stele_model::shard::ShardEffect;
use stele_model::stream::echo::{EchoAt, Echoed, UNDERWAY_BYTES_MAX};

/// Who listens.
#[derive(Debug, Default)]
pub(in crate::shard) struct Listeners(BTreeMap<SessionId, Listener>);

#[derive(Debug)]
struct Listener {
    namespace: NamespaceId,
    /// Bytes of records on their way to it.
    underway: u64,
}

impl Shard {
    /// It listens from now on, or no more.
    pub(in crate::shard) fn echo_listen(&mut self, session: SessionId, namespace: Option<NamespaceId>) {
        let listeners = &mut self.streams.listeners.0;
        match namespace {
            Some(namespace) => {
                listeners.insert(session, Listener { namespace, underway: 0 });
            }
            None => {
                listeners.remove(&session);
            }
        }
    }

    /// What it was told of has left the way to it.
    pub(in crate::shard) fn echo_taken(&mut self, session: SessionId, bytes: u64) {
        if let Some(listener) = self.streams.listeners.0.get_mut(&session) {
            listener.underway = listener.underway.saturating_sub(bytes);
        }
    }

    /// What there will be to tell of a run of records that this partition is about to take, the first at `first`. Empty where nobody is told.
    pub(in crate::shard) fn echoes(
        &self,
        id: QueueId,
        first: Position,
        place: Place,
        (bytes, heads): (&[u8], &[Head]),
        now: Now,
    ) -> Vec<EchoAt> {
        if self.streams.listeners.0.is_empty() {
            return Vec::new();
        }
        let Some(partition) = self.streams.partitions.get(&id).filter(|partition| tells(partition)) else {
            return Vec::new();
        };
        let mut came = BTreeMap::new();
        let positions = (first.0..).map(Position);
        let told = heads.iter().zip(positions).map(|(head, position)| {
            let subject = bytes.get(head.at as usize..).map_or(&[][..], |record| head.key(record));
            let before = came.insert(subject, position).or_else(|| partition.last_of(subject));
            let place = Place { at: place.at + head.at, ..place };
            EchoAt { place, len: head.len, of: Echoed { position, before, appended: now } }
        });
        told.collect()
    }

    /// Tells who listens of records that are stored.
    pub(in crate::shard) fn echo(&mut self, id: QueueId, records: Vec<EchoAt>, turn: &mut Turn<'_>) {
        let (Some(partition), Some(last)) = (self.streams.partitions.get(&id), records.last()) else {
            return;
        };
        let after = waited_for(last.place);
        let bytes: u64 = records.iter().map(|record| u64::from(record.len)).sum();
        let namespace = partition.spec.namespace;
        let of_namespace = |listener: &&mut Listener| listener.namespace == namespace;
        for (session, listener) in &mut self.streams.listeners.0 {
            let Some(listener) = Some(listener).filter(of_namespace) else { continue };
            if listener.underway + bytes > UNDERWAY_BYTES_MAX {
                continue;
            }
            listener.underway += bytes;
            let (session, partition) = (*session, Arc::clone(&partition.spec));
            turn.say(after, ShardEffect::Echo { session, partition, records: records.clone() });
        }
    }
}

fn tells(partition: &Partition) -> bool {
    partition.by_record().is_some_and(|of| of.echo.is_some())
}
