//! Reading: which batches, and which positions. Nothing changes but watches.
//!
//! What must hold: an answer waits for the last append to what it speaks of (S2), so all it tells is durable when it leaves; it is bounded
//! in bytes by its asker and in batches here (S7). The bytes are fetched by `runner::dispatch`.

use super::super::Mutant;
use super::super::effect::Turn;
use super::{Shard, unknown};
use crate::stream::{Partition, Stored};
use stele_model::id::{Call, HubId, Lsn, Position, QueueId};
use stele_model::refusal::Refusal;
use stele_model::shard::ShardEffect;
use stele_model::stream::{
    FoundPart, FoundPosition, PartResult, SeekBy, ShardRead, ShardReadPart, StreamRefusal, TimeKind,
};

/// Batches in one answer.
const BATCHES_MAX: usize = 4096;

/// What an answer may still take.
struct Room {
    bytes: u64,
    batches: usize,
    /// Nothing was found yet: the first batch comes whatever its length.
    first: bool,
}

impl Shard {
    pub(in crate::shard) fn read(&mut self, of: ShardRead, turn: &mut Turn<'_>) {
        let ShardRead { session, call, parts, bytes_max, watch } = of;
        let mut room = Room { bytes: bytes_max, batches: BATCHES_MAX, first: true };
        let mut after = Lsn(0);
        let mut at_end = Vec::new();
        let mut found = Vec::with_capacity(parts.len());
        for part in &parts {
            let Some(partition) = self.streams.partitions.get(&part.partition) else {
                after = after.max(turn.journal.tail());
                found.push(Err(unknown()));
                continue;
            };
            after = after.max(partition.after);
            let result = read_part(partition, part, &mut room);
            if watch.is_some() && result.as_ref().is_ok_and(|found| reaches_end(found, part.from)) {
                at_end.push(part.partition);
            }
            found.push(result);
        }
        if self.makes(Mutant::EarlyRead) {
            after = Lsn(0);
        }
        turn.say(after, ShardEffect::Read { session, call, parts: found });
        if let Some(watch) = watch {
            self.watch(session, watch, at_end);
        }
    }

    pub(in crate::shard) fn seek(
        &mut self,
        to: (HubId, Call),
        parts: &[(QueueId, SeekBy)],
        turn: &mut Turn<'_>,
    ) {
        let mut after = Lsn(0);
        let mut found = Vec::with_capacity(parts.len());
        for (id, by) in parts {
            let Some(partition) = self.streams.partitions.get(id) else {
                after = after.max(turn.journal.tail());
                found.push(Err(unknown()));
                continue;
            };
            after = after.max(partition.after);
            found.push(Ok(seek_in(partition, *by)));
        }
        turn.say(after, ShardEffect::Sought { hub: to.0, call: to.1, parts: found });
    }
}

#[expect(clippy::result_large_err, reason = "once per part, and the refusal is moved on as it is")]
fn read_part(partition: &Partition, part: &ShardReadPart, room: &mut Room) -> PartResult<FoundPart> {
    let ends = partition.ends();
    if part.from < ends.start || part.from > ends.end {
        return Err(Refusal::Stream(StreamRefusal::OutOfRange { ends }));
    }
    let to = if part.stable { ends.stable } else { ends.end };
    let mut left = part.bytes_max;
    let mut batches = Vec::new();
    for batch in partition.index.from(part.from) {
        let len = u64::from(batch.len);
        let fits = len <= left.min(room.bytes) || room.first;
        if !fits || room.batches == 0 || batch.first >= to {
            break;
        }
        batches.push(batch.found());
        left = left.saturating_sub(len);
        room.bytes = room.bytes.saturating_sub(len);
        room.batches -= 1;
        room.first = false;
    }
    Ok(FoundPart { ends, batches, aborted: Vec::new() })
}

/// Nothing more can be read behind what was found.
fn reaches_end(found: &FoundPart, from: Position) -> bool {
    let next = found.batches.last().map_or(from, |last| Position(last.first.0 + u64::from(last.count)));
    next >= found.ends.end
}

fn seek_in(partition: &Partition, by: SeekBy) -> FoundPosition {
    let ends = partition.ends();
    let index = &partition.index;
    let by_append = partition.spec.settings.time == TimeKind::Append;
    let batch = match by {
        SeekBy::Start => return FoundPosition { ends, position: Some(ends.start), batch: None },
        SeekBy::End { stable } => {
            let end = if stable { ends.stable } else { ends.end };
            return FoundPosition { ends, position: Some(end), batch: None };
        }
        SeekBy::Time(ms) if !by_append => index.newest_at(ends.start, ms),
        SeekBy::Time(ms) | SeekBy::Appended(ms) => index.appended_at(ends.start, ms),
        SeekBy::NewestTime if by_append => index.last().filter(|last| last.end() > ends.start),
        SeekBy::NewestTime => index.newest(ends.start),
    };
    let batch = batch.as_ref().map(Stored::found);
    FoundPosition { ends, position: batch.map(|batch| batch.first), batch }
}
