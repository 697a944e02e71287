//! Joining single records of streams to their bytes.
//!
//! What must hold: neighbours in a block that memory holds share it; an answer lists what was asked for, found or not, in its order.

use bytes::Bytes;
use stele_model::id::Place;
use stele_model::stream::records::{FoundAnswer, FoundRecord, RecordAt, RecordsAnswer, ShardRecordsAnswer};

/// Where the records of an answer are, in order.
pub(super) fn places(answer: &ShardRecordsAnswer) -> Vec<(Place, u32)> {
    match answer {
        ShardRecordsAnswer::Found { records, .. } => {
            records.iter().flatten().map(|record| (record.place, record.len)).collect()
        }
        ShardRecordsAnswer::Removed(_) | ShardRecordsAnswer::State(_) => Vec::new(),
    }
}

/// The answer with the records' bytes, in order.
pub(super) fn answer(of: ShardRecordsAnswer, bytes: Vec<Bytes>) -> RecordsAnswer {
    match of {
        ShardRecordsAnswer::Removed(count) => RecordsAnswer::Removed(count),
        ShardRecordsAnswer::State(state) => RecordsAnswer::State(state),
        ShardRecordsAnswer::Found { records, pending, ends } => {
            let mut block = 0..;
            let mut record = |of: RecordAt| {
                let RecordAt { len, position, appended, .. } = of;
                FoundRecord { block: block.next().unwrap_or_default(), at: 0, len, position, appended }
            };
            let records = records.into_iter().map(|of| of.map(&mut record)).collect();
            RecordsAnswer::Found(FoundAnswer { blocks: bytes, records, pending, ends })
        }
    }
}
