//! A hub that is too simple to be wrong: streams are lists of batches, and everything is durable at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::id::{Now, Position, QueueId, ShardId};
use stele_model::op::{CreateStream, Define, Op, StreamsWanted};
use stele_model::outcome::{Done, Outcome};
use stele_model::refusal::{Object, Refusal};
use stele_model::stream::{
    Append, Appended, Batch, Ends, PartResult, PartitionRef, ReadBatch, ReadPart, Reads, SeekBy, Sought,
    StreamInfo, StreamRef, StreamRefusal,
};

/// The streams, by name.
#[derive(Default)]
pub(crate) struct Toy {
    streams: BTreeMap<String, (Arc<StreamInfo>, Vec<Partition>)>,
    producers: u64,
    /// Number of a watch, and the partitions that it watches.
    watches: BTreeMap<u64, Vec<PartitionRef>>,
    woken: Vec<u64>,
    /// Answers for what is not a stream's, in order.
    pub(crate) script: Vec<Outcome>,
    /// Somebody of another dialect listens.
    pub(crate) listens: bool,
}

#[derive(Default)]
struct Partition {
    start: u64,
    end: u64,
    batches: Vec<(u64, Batch)>,
}

impl Toy {
    /// Watches that have something to tell.
    pub(crate) fn wakes(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.woken)
    }

    pub(crate) fn unwatch(&mut self, watch: u64) {
        self.watches.remove(&watch);
    }

    /// Wakes all that watch although nothing came.
    pub(crate) fn wake_for_nothing(&mut self) {
        self.woken.extend(std::mem::take(&mut self.watches).into_keys());
    }

    /// Whether anything is watched.
    pub(crate) fn is_watched(&self) -> bool {
        !self.watches.is_empty()
    }

    /// What is stored, batch by batch.
    pub(crate) fn stored(&self, name: &str, index: usize) -> Vec<Batch> {
        self.streams[name].1[index].batches.iter().map(|(_, batch)| batch.clone()).collect()
    }

    /// What is known of a stream.
    pub(crate) fn info(&self, name: &str) -> Option<Arc<StreamInfo>> {
        self.streams.get(name).map(|(info, _)| info.clone())
    }

    pub(crate) fn answer(&mut self, _: Now, op: Op) -> Outcome {
        let done = match op {
            Op::Streams(StreamsWanted::All) => {
                Done::Streams(self.streams.values().map(|(info, _)| Ok(info.clone())).collect())
            }
            Op::Streams(StreamsWanted::These(these)) => Done::Streams(
                these.iter().map(|one| self.find(one).map(|name| self.streams[&name].0.clone())).collect(),
            ),
            Op::Define(define) => return self.define(define),
            Op::Append(appends) if self.listens && appends.records.is_none() => {
                Done::Appended(appends.parts.iter().map(|_| Ok(Appended::Listeners)).collect())
            }
            Op::Append(appends) => {
                Done::Appended(appends.parts.into_iter().map(|part| self.append(part)).collect())
            }
            Op::Read(reads) => self.read(&reads),
            Op::Seek(wanted) => Done::Sought(wanted.iter().map(|(of, by)| self.seek(of, *by)).collect()),
            Op::Trim(wanted) => Done::Trimmed(
                wanted
                    .iter()
                    .map(|(of, to)| {
                        let partition = self.partition(of)?;
                        partition.start = partition.start.max(to.0);
                        Ok(partition.ends())
                    })
                    .collect(),
            ),
            Op::NewProducer => {
                self.producers += 1;
                Done::Producer(self.producers)
            }
            _ => return self.script.remove(0),
        };
        Outcome::Done(done)
    }

    fn find(&self, stream: &StreamRef) -> Result<String, Refusal> {
        let found = match stream {
            StreamRef::Name(name) => {
                self.streams.contains_key(name).then(|| name.clone()).ok_or(StreamRefusal::UnknownStream)
            }
            StreamRef::Uuid(uuid) => self
                .streams
                .values()
                .find(|(info, _)| info.uuid == *uuid)
                .map(|(info, _)| info.name.clone())
                .ok_or(StreamRefusal::UnknownUuid),
        };
        found.map_err(Refusal::Stream)
    }

    fn partition(&mut self, of: &PartitionRef) -> Result<&mut Partition, Refusal> {
        let name = self.find(&of.stream)?;
        let partitions = &mut self.streams.get_mut(&name).unwrap().1;
        partitions.get_mut(of.index as usize).ok_or(Refusal::Stream(StreamRefusal::UnknownPartition))
    }

    fn define(&mut self, define: Define) -> Outcome {
        let info = match define {
            Define::CreateStream(CreateStream {
                name,
                uuid,
                partitions,
                settings,
                arguments,
                check_only,
            }) => {
                if self.streams.contains_key(&name) {
                    return Outcome::Refused(Refusal::Exists { object: Object::Stream, name });
                }
                let partitions: Vec<_> =
                    (0..partitions).map(|n| (QueueId(u64::from(n)), ShardId(0))).collect();
                let empty = partitions.iter().map(|_| Partition::default()).collect();
                let info = Arc::new(StreamInfo {
                    name: name.clone(),
                    uuid,
                    partitions,
                    settings,
                    arguments,
                    internal: false,
                });
                if !check_only {
                    self.streams.insert(name, (info.clone(), empty));
                }
                Ok(info)
            }
            Define::AlterStream { stream, settings, arguments, check_only } => {
                self.find(&stream).map(|name| {
                    let place = &mut self.streams.get_mut(&name).unwrap().0;
                    let info = Arc::new(StreamInfo { settings, arguments, ..(**place).clone() });
                    if !check_only {
                        *place = info.clone();
                    }
                    info
                })
            }
            Define::AddPartitions { stream, partitions, .. } => self.find(&stream).map(|name| {
                let (info, all) = self.streams.get_mut(&name).unwrap();
                all.resize_with(partitions as usize, Partition::default);
                let numbers = (0..partitions).map(|n| (QueueId(u64::from(n)), ShardId(0))).collect();
                *info = Arc::new(StreamInfo { partitions: numbers, ..(**info).clone() });
                info.clone()
            }),
            Define::DeleteStream { stream } => {
                self.find(&stream).map(|name| self.streams.remove(&name).unwrap().0)
            }
            other => panic!("a Kafka session defines streams: {other:?}"),
        };
        match info {
            Ok(info) => Outcome::Done(Done::Stream(info)),
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    pub(crate) fn append(&mut self, part: Append) -> PartResult<Appended> {
        let partition = self.partition(&part.to)?;
        let first = partition.end;
        partition.end += u64::from(part.batch.count);
        partition.batches.push((first, part.batch));
        let start = Position(partition.start);
        let name = self.find(&part.to.stream)?;
        let is_it =
            |of: &PartitionRef| of.index == part.to.index && self.find(&of.stream).as_ref() == Ok(&name);
        let watching = self.watches.iter().filter(|(_, parts)| parts.iter().any(is_it));
        let watching: Vec<u64> = watching.map(|(watch, _)| *watch).collect();
        self.watches.retain(|watch, _| !watching.contains(watch));
        self.woken.extend(watching);
        Ok(Appended::At { first: Position(first), start })
    }

    fn read(&mut self, reads: &Reads) -> Done {
        let mut left = reads.bytes_max;
        let mut is_first = true;
        let mut parts = Vec::new();
        for read in &reads.parts {
            let part = self
                .partition(&read.of)
                .and_then(|partition| partition.read(read.from.0, read.bytes_max, &mut left, &mut is_first));
            parts.push(part);
        }
        if let Some(watch) = reads.watch {
            self.watches.insert(watch, reads.parts.iter().map(|read| read.of.clone()).collect());
        }
        Done::Read(parts)
    }

    fn seek(&mut self, of: &PartitionRef, by: SeekBy) -> PartResult<Sought> {
        let partition = self.partition(of)?;
        let ends = partition.ends();
        let time = |batch: &Batch| batch.time_max_ms.unwrap_or_default();
        let (position, batch) = match by {
            SeekBy::Start => (Some(ends.start), None),
            SeekBy::End { .. } => (Some(ends.end), None),
            SeekBy::Time(at) | SeekBy::Appended(at) => {
                let found = partition.batches.iter().find(|(_, batch)| time(batch) >= at);
                (found.map(|(first, _)| Position(*first)), found)
            }
            SeekBy::NewestTime => {
                let found = partition.batches.iter().max_by_key(|(_, batch)| time(batch));
                (found.map(|(first, _)| Position(*first)), found)
            }
        };
        let batch = batch.map(|(first, batch)| (described(*first, batch, 0), batch.bytes.clone()));
        Ok(Sought { ends, position, batch })
    }
}

fn described(first: u64, batch: &Batch, block: u32) -> ReadBatch {
    ReadBatch {
        block,
        at: 0,
        len: u32::try_from(batch.bytes.len()).unwrap(),
        format: batch.format,
        first: Position(first),
        count: batch.count,
        epoch: 0,
        appended_ms: 0,
    }
}

impl Partition {
    fn ends(&self) -> Ends {
        let bytes = self.batches.iter().map(|(_, batch)| batch.bytes.len() as u64).sum();
        let end = Position(self.end);
        Ends { start: Position(self.start), stable: end, end, epoch: 0, bytes }
    }

    fn read(&self, from: u64, bytes_max: u64, left: &mut u64, is_first: &mut bool) -> PartResult<ReadPart> {
        let ends = self.ends();
        if from < self.start || from > self.end {
            return Err(Refusal::Stream(StreamRefusal::OutOfRange { ends }));
        }
        let mut part = ReadPart { ends, ..ReadPart::default() };
        let mut bytes = 0;
        for (first, batch) in
            self.batches.iter().filter(|(first, batch)| first + u64::from(batch.count) > from)
        {
            let len = batch.bytes.len() as u64;
            if !*is_first && (len > *left || bytes + len > bytes_max) {
                break;
            }
            *is_first = false;
            *left = left.saturating_sub(len);
            bytes += len;
            part.batches.push(described(*first, batch, part.blocks.len() as u32));
            part.blocks.push(batch.bytes.clone());
        }
        Ok(part)
    }
}
