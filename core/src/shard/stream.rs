//! Streams: what a shard can be asked of its partitions, and what it keeps for them beside each partition's own state.
//!
//! Each verb has a file; here is the table of partitions, and how they come and go by the registry's word. What must hold is what holds for
//! queues: decide, log, apply by the functions that replay calls (S1); the registry's words are taken once and in order (S5, S10); no turn
//! is long (S7). Not here: what is in a batch, and the word for it in any dialect.

mod age;
mod append;
pub(super) mod bundle;
mod chores;
pub(super) mod due;
#[cfg(test)]
mod due_tests;
mod echo;
mod entry;
mod hold;
mod look;
pub(super) mod marks;
mod purge;
mod push;
mod read;
#[cfg(test)]
mod record_entry_tests;
mod records;
mod rename;
mod replay;
mod retain;
mod snapshot;
mod spec;
pub(super) mod store;
mod watch;

pub(super) use due::logged_due;
pub(super) use entry::StreamEntry;
pub(super) use snapshot::{PARTITION, PRODUCERS, put_last_producer, read_last_producer, read_partition};

use super::Shard;
use super::effect::Turn;
use super::entry as entries;
use crate::shelf::Shelf;
use crate::stream::Partition;
use crate::stream::opening::Room;
use chores::Chores;
use hold::Held;
use look::Looking;
use purge::Purging;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use stele_model::id::{Call, HubId, Position, QueueId, Revision, SessionId};
use stele_model::machine::Urgency;
use stele_model::refusal::Refusal;
use stele_model::shard::{Answer, ShardEffect};
use stele_model::stream::{PartitionSpec, StreamRefusal};

/// Bits of a producer's number that count; the shard's number stands above them.
const PRODUCER_BITS: u32 = 40;

/// The partitions of a shard.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) partitions: Shelf<Partition>,
    /// How many producers were given a number here.
    producers: u64,
    /// Which partitions a watch looks at.
    watches: BTreeMap<(SessionId, u64), Vec<QueueId>>,
    chores: Chores,
    /// Purges under way.
    purges: VecDeque<Purging>,
    /// Reads under way.
    looks: VecDeque<Looking>,
    /// Publishes that wait, in the order in which they came.
    held: VecDeque<Held>,
    /// How many purges and reads there were. Attached state.
    walkers: u64,
    /// Who is told of what is stored.
    listeners: echo::Listeners,
    /// Bundles that are not whole yet.
    bundles: bundle::Bundles,
    /// Partitions that wait for a move to end.
    stalled: BTreeSet<QueueId>,
    /// What may be opened for readers beyond their credit.
    room: Room,
    /// Partitions with readers that wait for room, no one twice.
    short: VecDeque<QueueId>,
}

impl Streams {
    /// Nothing of a partition goes by its own time until [`Self::moves_go_on`].
    fn stall(&mut self, id: QueueId) {
        if let Some(records) = self.partitions.get_mut(&id).and_then(|of| of.records.as_mut()) {
            records.stalled = true;
            self.stalled.insert(id);
        }
    }

    /// As whose a partition counts for a purge or a read: a number that no group has.
    fn walker(&mut self) -> u64 {
        self.walkers += 1;
        u64::MAX - self.walkers
    }

    /// A move has ended: there is room for others.
    pub(super) fn moves_go_on(&mut self) {
        for id in std::mem::take(&mut self.stalled) {
            if let Some(records) = self.partitions.get_mut(&id).and_then(|of| of.records.as_mut()) {
                records.stalled = false;
            }
            self.chores.again(id);
        }
    }
}

/// What can be said of a partition without looking at its batches, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionCounts {
    /// Which.
    pub partition: QueueId,
    /// First position that can be read.
    pub start: Position,
    /// Last position plus one.
    pub end: Position,
    /// Bytes of its batches, those that are being let go of included.
    pub bytes: u64,
}

impl Streams {
    /// How many producers were given a number.
    pub(super) fn given(&self) -> u64 {
        self.producers
    }

    /// Counts of each partition, in the order of their numbers.
    pub(super) fn counts(&self) -> impl Iterator<Item = PartitionCounts> + '_ {
        self.partitions.values().map(|partition| PartitionCounts {
            partition: partition.spec.id,
            start: partition.start,
            end: partition.end,
            bytes: partition.bytes,
        })
    }
}

impl Shard {
    pub(super) fn put_partition(&mut self, revision: Revision, spec: PartitionSpec, turn: &mut Turn<'_>) {
        let id = spec.id;
        let applied = ShardEffect::Applied { shard: self.id, revision, queue: Some(id) };
        let same = self.streams.partitions.get(&id).is_some_and(|partition| *partition.spec == spec);
        if revision < self.revision || same {
            return turn.say_present(applied);
        }
        let place = turn.log(Urgency::Urgent, |out| entry::put_put_partition(out, revision, &spec));
        self.place_partition(revision, spec);
        turn.say(place.lsn, applied);
        self.streams.chores.again(id);
    }

    /// Makes or changes a partition, the same in replay.
    fn place_partition(&mut self, revision: Revision, spec: PartitionSpec) {
        self.revision = self.revision.max(revision);
        let spec = Arc::new(spec);
        match self.streams.partitions.get_mut(&spec.id) {
            Some(partition) => partition.set(spec),
            None => {
                self.streams.partitions.insert(spec.id, Box::new(Partition::new(spec)));
            }
        }
    }

    /// A partition goes. `false`: it is none of the shard's.
    pub(super) fn drop_partition(&mut self, revision: Revision, id: QueueId, turn: &mut Turn<'_>) -> bool {
        if !self.streams.partitions.contains_key(&id) {
            return false;
        }
        let place = turn.log(Urgency::Urgent, |out| entries::put_dropped(out, revision, id));
        self.revision = self.revision.max(revision);
        self.wake_all(id, place.lsn, turn);
        self.cancel_readers(id, place.lsn, turn);
        self.drop_shares(id, place.lsn, turn);
        self.remove_partition(id);
        self.open_more();
        turn.say(place.lsn, ShardEffect::Applied { shard: self.id, revision, queue: Some(id) });
        true
    }

    /// Forgets a partition and all it holds, the same in replay. `false`: there is none.
    pub(super) fn remove_partition(&mut self, id: QueueId) -> bool {
        let Some(partition) = self.streams.partitions.remove(&id) else { return false };
        self.streams.room.give(partition.readers.borrowed());
        self.streams.bundles.forget(id);
        self.remove_shares(id);
        self.shares.swept.remove(&id);
        self.shares.sweeps.remove(&id);
        self.streams.chores.forget(&partition);
        self.streams.chores.bury(partition.index);
        true
    }

    /// The registry's list of partitions is taken over: what is unknown goes, what is missing comes.
    pub(super) fn sync_partitions(
        &mut self,
        revision: Revision,
        specs: Vec<PartitionSpec>,
        turn: &mut Turn<'_>,
    ) {
        let listed: BTreeSet<QueueId> = specs.iter().map(|spec| spec.id).collect();
        let here = self.streams.partitions.keys();
        let unknown: Vec<QueueId> = here.filter(|id| !listed.contains(id)).copied().collect();
        for id in unknown {
            turn.log(Urgency::Urgent, |out| entries::put_dropped(out, revision, id));
            self.remove_partition(id);
        }
        for spec in specs {
            if self.streams.partitions.get(&spec.id).is_some_and(|partition| *partition.spec == spec) {
                continue;
            }
            turn.log(Urgency::Urgent, |out| entry::put_put_partition(out, revision, &spec));
            self.streams.chores.again(spec.id);
            self.place_partition(revision, spec);
        }
    }

    /// Gives a number to a producer: unlike any other of this or another shard, and positive as a 64-bit number with a sign.
    pub(super) fn new_producer(&mut self, to: (HubId, Call), turn: &mut Turn<'_>) {
        let number = u64::from(self.id.0) << PRODUCER_BITS | (self.streams.producers + 1);
        let place = turn.log(Urgency::Urgent, |out| entry::put_producer(out, number));
        self.streams.producers += 1;
        turn.answer(place.lsn, to, Ok(Answer::Producer(number)));
    }
}

/// The refusal for a partition that is not here.
fn unknown() -> Refusal {
    Refusal::Stream(StreamRefusal::UnknownPartition)
}
