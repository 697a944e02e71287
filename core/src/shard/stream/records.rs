//! Work on single records: by position, by subject.

use super::super::effect::Turn;
use super::{Shard, unknown};
use stele_model::refusal::Refusal;
use stele_model::shard::ShardEffect;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{RecordRefusal, ShardRecords};

impl Shard {
    pub(in crate::shard) fn records(&mut self, of: ShardRecords, turn: &mut Turn<'_>) {
        let ShardRecords { hub, call, partition, .. } = of;
        let refusal = match self.streams.partitions.get(&partition) {
            None => unknown(),
            Some(partition) => {
                let stream = partition.spec.stream.clone();
                Refusal::Stream(StreamRefusal::Record { stream, why: RecordRefusal::NotByRecord })
            }
        };
        turn.say_present(ShardEffect::Records { hub, call, answer: Err(refusal) });
    }
}
