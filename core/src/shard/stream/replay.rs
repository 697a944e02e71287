//! Replay of entries about streams: from entries to changes of the logged state.
//!
//! What must hold: nothing here depends on attached state (S1). An entry that does not fit the state is an error, never passed over.

use super::entry::{Append, StreamEntry};
use super::{PRODUCER_BITS, Shard};
use crate::queue::positions;
use crate::shelf::Shelf;
use crate::stream::{Admitted, Partition, Stored};
use stele_model::id::{Now, Place, QueueId};

impl Shard {
    pub(in crate::shard) fn replay_stream(
        &mut self,
        place: Place,
        time: Now,
        entry: &StreamEntry<'_>,
    ) -> Result<(), String> {
        match entry {
            StreamEntry::Append(append) => return self.replay_append(place, time, append),
            StreamEntry::PutPartition { revision, spec } => {
                self.place_partition(*revision, (**spec).clone());
            }
            StreamEntry::Trimmed { partition: id, start } => {
                let partition = known(&mut self.streams.partitions, *id)?;
                if *start <= partition.start || *start > partition.end {
                    return Err(format!("trims partition {id} to {start}, which is not within it"));
                }
                partition.trim(*start);
                let live = &mut self.live;
                partition.reclaim(u32::MAX, |batch| live.let_go(batch.place.lsn, batch.len));
            }
            StreamEntry::Compacted { partition: id, step } => {
                let partition = known(&mut self.streams.partitions, *id)?;
                let live = &mut self.live;
                partition.compact(*step, |batch| live.let_go(batch.place.lsn, batch.len));
            }
            StreamEntry::RecordsGone { partition: id, runs } => {
                let partition = known(&mut self.streams.partitions, *id)?;
                let live = &mut self.live;
                let mut gone = |batch: &Stored| live.let_go(batch.place.lsn, batch.len);
                for position in runs.iter().flat_map(|run| positions(&[run]).collect::<Vec<_>>()) {
                    if !partition.let_go(position, &mut gone) {
                        return Err(format!("speaks of position {position}, which is not there"));
                    }
                }
            }
            StreamEntry::Due(of) => return self.replay_due(of),
            StreamEntry::Producer { number } => {
                self.streams.producers = number & ((1 << PRODUCER_BITS) - 1);
            }
            StreamEntry::ProducersGone { partition, since_ms } => {
                known(&mut self.streams.partitions, *partition)?.producers.forget_idle(*since_ms);
            }
        }
        Ok(())
    }

    fn replay_append(&mut self, place: Place, time: Now, append: &Append<'_>) -> Result<(), String> {
        let mut at = place.at + append.batches_at;
        for part in &append.parts {
            let partition = known(&mut self.streams.partitions, part.partition)?;
            if part.first != partition.end {
                return Err(format!("appends at {} of partition {}", part.first, part.partition));
            }
            let len = part.bytes.len() as u32;
            let admitted = Admitted {
                first: part.first,
                count: part.count,
                place: Place { lsn: place.lsn, at },
                len,
                format: part.format,
                newest_ms: part.newest_ms,
                producer: part.producer,
            };
            self.admit_batch(part.partition, &admitted, part.keys(), time);
            at += len;
        }
        Ok(())
    }
}

/// The partition that an entry speaks of.
fn known(partitions: &mut Shelf<Partition>, id: QueueId) -> Result<&mut Partition, String> {
    partitions.get_mut(&id).ok_or_else(|| format!("speaks of unknown partition {id}"))
}
