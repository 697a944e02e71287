//! What goes: by a client's word, by age, by bytes.
//!
//! What must hold: the start moves by an entry, exactly as far as the settings say (S21), and what is below it is let go of afterwards, in
//! steps (S7); nothing goes by age while the wall clock is not trusted (S28). Bounds: one step decides on [`DECIDE_MAX`] batches.

use super::super::Mutant;
use super::super::effect::Turn;
use super::{Shard, age, entry, unknown};
use crate::shard::LiveBytes;
use crate::stream::Partition;
use crate::stream::compact::Compaction;
use crate::stream::producers::IDLE_MS_MAX;
use stele_model::id::{Call, HubId, Lsn, Now, Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::refusal::Refusal;
use stele_model::shard::Answer;
use stele_model::stream::StreamRefusal;

/// Batches that could be let go of while one goes that is told apart, and perhaps its subject with it.
const RECORD_PRICE: u32 = 64;
/// Batches that one step decides on.
const DECIDE_MAX: usize = 4096;
/// Time between two compactions of a partition, ms: each writes chunks of its index anew.
const COMPACT_EVERY_MS: u64 = 1000;

impl Shard {
    pub(in crate::shard) fn trim(
        &mut self,
        to: (HubId, Call),
        parts: &[(QueueId, Position)],
        turn: &mut Turn<'_>,
    ) {
        let mut after = Lsn(0);
        let mut results = Vec::with_capacity(parts.len());
        for (id, below) in parts {
            let Some(partition) = self.streams.partitions.get_mut(id) else {
                after = after.max(turn.journal.tail());
                results.push(Err(unknown()));
                continue;
            };
            if *below > partition.end {
                let ends = partition.ends();
                after = after.max(turn.journal.tail());
                results.push(Err(Refusal::Stream(StreamRefusal::OutOfRange { ends })));
                continue;
            }
            if *below > partition.start {
                if !partition.is_volatile() {
                    let place = turn.log(Urgency::Urgent, |out| entry::put_trimmed(out, *id, *below));
                    partition.after = place.lsn;
                }
                partition.trim(*below);
                self.streams.chores.again(*id);
                self.shares.look_at(*id);
            }
            after = after.max(partition.after);
            results.push(Ok(partition.ends()));
        }
        turn.answer(after, to, Ok(Answer::Trimmed(results)));
    }

    /// Does for a partition whatever is due. `left`: batches that this step may still let go of.
    pub(super) fn look_after(&mut self, id: QueueId, left: &mut u32, turn: &mut Turn<'_>) {
        let now = turn.now();
        let by_age = self.ages();
        let by_record = self.streams.partitions.get(&id).is_some_and(|partition| partition.records.is_some());
        let (aged, ages_on) = if by_record { self.age_records(id, by_age, turn) } else { (0, false) };
        *left = left.saturating_sub(aged * RECORD_PRICE);
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        if let Some(start) = over(partition, now, by_age) {
            if self.mutant != Some(Mutant::SilentRetention) {
                turn.log(Urgency::Rides, |out| entry::put_trimmed(out, id, start));
            }
            partition.trim(start);
            self.shares.look_at(id);
        }
        if by_age && partition.compacted.plus_ms(COMPACT_EVERY_MS) <= now {
            compact(partition, now, &mut self.live, turn);
        }
        let since_ms = now.ms().saturating_sub(IDLE_MS_MAX);
        if by_age && partition.producers.due_ms().is_some_and(|due| due <= now.ms()) {
            turn.log(Urgency::Rides, |out| entry::put_producers_gone(out, id, since_ms));
            partition.producers.forget_idle(since_ms);
        }
        let live = &mut self.live;
        let price = if by_record { RECORD_PRICE } else { 1 };
        let more = partition.reclaim(*left / price, |batch| {
            live.let_go(batch.place.lsn, batch.len);
            *left -= price;
        });
        let sweeps = partition.compaction.as_mut().is_some_and(|of| of.sweep(partition.start));
        let over = over(partition, now, by_age).is_some();
        if more || sweeps || over || ages_on {
            self.streams.chores.again(id);
        }
        self.set_partition_timer(id);
        self.serve_stream(id, turn);
    }

    /// Something was appended: the timer is set if there is none, and what is over its bytes is looked at.
    pub(super) fn grown(&mut self, id: QueueId) {
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        let settings = &partition.spec.settings;
        let by_record = partition.records.is_some();
        let long = settings.delete && settings.retention_bytes.is_some_and(|max| partition.bytes > max);
        let unreclaimed = by_record && partition.is_unreclaimed();
        if long && !by_record || unreclaimed {
            self.streams.chores.again(id);
        }
        let expires = age::due_ms(partition).map(|ms| Now(ms.saturating_mul(1000)));
        // Only a new head or a first producer can be due before what the timer is set to.
        let producers = partition.producers.due_ms().map(|ms| Now(ms.saturating_mul(1000)));
        let compaction = partition.compaction.as_ref().and_then(|of| of.due_ms(settings, partition.end));
        let first = producers.into_iter().chain(expires).min();
        let sooner =
            compaction.is_some() || partition.timer.is_none_or(|at| first.is_some_and(|due| due < at));
        if sooner || partition.index.is_single() {
            self.set_partition_timer(id);
        }
    }

    fn set_partition_timer(&mut self, id: QueueId) {
        let by_age = self.ages();
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        let due = if by_age { due(partition) } else { None };
        self.streams.chores.set_timer(partition, due);
    }
}

/// Takes out what is superseded, some of it.
fn compact(partition: &mut Partition, now: Now, live: &mut LiveBytes, turn: &mut Turn<'_>) {
    let settings = &partition.spec.settings;
    let decide = |of: &Compaction| of.decide(settings, &partition.index, partition.end, now.ms());
    let Some(step) = partition.compaction.as_deref().and_then(decide) else {
        partition.compacted = now;
        return;
    };
    turn.log(Urgency::Rides, |out| entry::put_compacted(out, partition.spec.id, step));
    partition.compact(step, |batch| live.let_go(batch.place.lsn, batch.len));
}

/// When age makes something due.
fn due(partition: &Partition) -> Option<Now> {
    let settings = &partition.spec.settings;
    let head = partition.index.first().filter(|_| settings.delete);
    let head = head.zip(settings.retention_ms).map(|(head, ms)| partition.expires_ms(&head, ms));
    let compaction = partition.compaction.as_ref().and_then(|of| of.due_ms(settings, partition.end));
    let rested = partition.compacted.ms().saturating_add(COMPACT_EVERY_MS);
    let compaction = compaction.map(|due| due.max(rested));
    let head = if partition.records.is_some() { age::due_ms(partition) } else { head };
    let ms = [head, compaction, partition.producers.due_ms()].into_iter().flatten().min()?;
    Some(Now(ms.saturating_mul(1000)))
}

/// Where the start moves to by the partition's settings, as far as one step looks. `None`: it stays. The newest batch stays whatever
/// its length.
fn over(partition: &Partition, now: Now, by_age: bool) -> Option<Position> {
    let settings = &partition.spec.settings;
    // Single records go one by one: see the module `age`.
    if !settings.delete || partition.records.is_some() {
        return None;
    }
    let mut bytes = partition.bytes;
    let mut start = None;
    for batch in partition.index.iter().take(DECIDE_MAX) {
        let below = batch.end() <= partition.start;
        let newest = batch.end() == partition.end;
        let too_old = |max: u64| partition.expires_ms(&batch, max) <= now.ms();
        let aged = by_age && settings.retention_ms.is_some_and(too_old);
        let long = settings.retention_bytes.is_some_and(|max| bytes > max) && !newest;
        if !(below || aged || long) {
            break;
        }
        bytes -= u64::from(batch.len);
        if !below {
            start = Some(batch.end());
        }
    }
    start
}
