//! Streams among the facts: by name in their namespace, by stable number in the root, their partitions by number.

use super::{Applied, Consequence, State};
use crate::registry::entry::{Fact, PartitionsFact, StreamFact};
use crate::registry::snapshot::{Namespace, Stream};
use crate::router::TargetId;
use crate::router::captures::Captor;
use std::sync::Arc;
use stele_model::stream::{PartitionSpec, StreamInfo, StreamUuid};

impl State {
    /// A stream as it is from now on. Partitions that it has are told of it.
    pub(super) fn put_stream(&mut self, fact: &StreamFact, out: &mut Vec<Consequence>) -> Applied {
        let partitions = self.root.stream(fact.uuid).map(|there| there.info.partitions.clone());
        let info = StreamInfo {
            name: fact.name.clone(),
            uuid: fact.uuid,
            partitions: partitions.unwrap_or_default(),
            settings: fact.settings.clone(),
            arguments: fact.arguments.clone(),
            internal: fact.internal,
        };
        out.extend(info.partitions.iter().map(|(id, _)| Consequence::PutPartition(*id)));
        let name = fact.name.as_str().into();
        self.keep_stream(Stream { namespace: fact.namespace, name, info: Arc::new(info) })
    }

    /// Further partitions of a stream.
    pub(super) fn put_partitions(&mut self, fact: &PartitionsFact, out: &mut Vec<Consequence>) -> Applied {
        let missing = || format!("no stream {:x?}", fact.stream.0);
        let stream = self.root.stream(fact.stream).cloned().ok_or_else(missing)?;
        if stream.len() != fact.first {
            return Err(format!(
                "partitions of '{}' from {}, which has {}",
                stream.name,
                fact.first,
                stream.len()
            ));
        }
        for (index, (id, shard)) in (fact.first..).zip(&fact.partitions) {
            self.take_number(*id, *shard)?;
            self.root.partitions.insert(*id, (fact.stream, index));
            out.push(Consequence::PutPartition(*id));
        }
        let mut info = (*stream.info).clone();
        info.partitions.extend(&fact.partitions);
        self.keep_stream(Stream { info: Arc::new(info), ..(*stream).clone() })
    }

    /// A stream with its partitions, and the rules that led to them.
    pub(super) fn remove_stream(&mut self, uuid: StreamUuid, out: &mut Vec<Consequence>) -> Applied {
        let stream = self.root.streams.remove(&uuid).ok_or_else(|| format!("no stream {:x?}", uuid.0))?;
        let namespace = self.namespace_mut(stream.namespace)?;
        capture(namespace, &stream, false);
        namespace.streams.remove(&*stream.name);
        namespace.stream_names.remove(&uuid);
        for (id, shard) in &stream.info.partitions {
            self.root.partitions.remove(id);
            if let Some(count) = self.shard_queues.get_mut(usize::from(shard.0)) {
                *count -= 1;
            }
            out.push(Consequence::Drop(*shard, *id));
            self.remove_leads(TargetId::Queue(*id), out)?;
        }
        Ok(())
    }

    /// All partitions, by shard, each shard's by number.
    pub(crate) fn partitions_by_shard(&self) -> Vec<Vec<PartitionSpec>> {
        let mut by_shard = vec![Vec::new(); self.shard_queues.len()];
        for stream in self.root.streams.values() {
            for (index, (_, shard)) in (0..).zip(&stream.info.partitions) {
                by_shard[usize::from(shard.0)].extend(stream.spec(index));
            }
        }
        by_shard.iter_mut().for_each(|partitions| partitions.sort_by_key(|partition| partition.id));
        by_shard
    }

    fn keep_stream(&mut self, stream: Stream) -> Applied {
        let stream = Arc::new(stream);
        let namespace = self.namespace_mut(stream.namespace)?;
        if let Some(before) = namespace.streams.get(&*stream.name).cloned() {
            capture(namespace, &before, false);
        }
        capture(namespace, &stream, true);
        namespace.streams.insert(stream.name.clone(), stream.clone());
        namespace.stream_names.insert(stream.info.uuid, stream.name.clone());
        self.root.streams.insert(stream.info.uuid, stream);
        Ok(())
    }
}

/// What the stream lists is captured by it from now on, or no more.
fn capture(namespace: &mut Namespace, stream: &Stream, begins: bool) {
    let Some((settings, (partition, shard))) = stream.info.settings.records.as_ref().zip(stream.partition(0))
    else {
        return;
    };
    let captor = begins.then_some(Captor { partition, shard });
    settings.subjects.iter().for_each(|pattern| namespace.captures.set(pattern, captor));
}

impl Stream {
    /// The fact that it is there, without its partitions.
    pub(in crate::registry) fn fact(&self) -> Fact {
        Fact::Stream(StreamFact {
            uuid: self.info.uuid,
            namespace: self.namespace,
            name: self.name.to_string(),
            internal: self.info.internal,
            settings: self.info.settings.clone(),
            arguments: self.info.arguments.clone(),
        })
    }

    /// The fact that it has the partitions that it has.
    pub(in crate::registry) fn partitions_fact(&self) -> Fact {
        let partitions = self.info.partitions.clone();
        Fact::Partitions(PartitionsFact { stream: self.info.uuid, first: 0, partitions })
    }
}
