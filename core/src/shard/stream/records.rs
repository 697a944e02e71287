//! Work on single records: removing, reading, telling.
//!
//! What must hold: an answer waits for the last append or removal that it speaks of (S2); what goes is logged by position (S1), so a replay
//! matches no subject. Bounds: an answer has at most [`FOUND_MAX`] records and [`LISTED_MAX`] subjects or holes.

use super::super::effect::Turn;
use super::{Shard, entry, unknown};
use crate::queue::extend_runs;
use crate::stream::{Next, Partition, Stored};
use std::ops::ControlFlow;
use stele_model::id::{Lsn, Now, Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::refusal::Refusal;
use stele_model::settle::Run;
use stele_model::shard::ShardEffect;
use stele_model::stream::StreamRefusal;
use stele_model::stream::records::{
    From, LastsOf, RecordAt, RecordRefusal, RecordsAsk, ScanOf, ShardRecords, ShardRecordsAnswer, StateOf,
    StreamState, Wanted,
};
use stele_model::subject::Pattern;

/// Records in one answer.
const FOUND_MAX: usize = 4096;
/// Subjects or holes in one answer.
const LISTED_MAX: u32 = 100_000;
/// Searches for one record, until they have come to an end: each looks at some thousand records.
const SEARCHES_MAX: usize = 256;

type Answered = Result<ShardRecordsAnswer, Refusal>;

impl Shard {
    pub(in crate::shard) fn records(&mut self, of: ShardRecords, turn: &mut Turn<'_>) {
        let ShardRecords { hub, call, partition: id, ask } = of;
        let Some(partition) = self.streams.partitions.get(&id) else {
            return turn.say_present(ShardEffect::Records { hub, call, answer: Err(unknown()) });
        };
        let mut after = partition.after;
        let answer = match check(partition, &ask) {
            Err(why) => Err(refused(partition, why)),
            Ok(()) => match ask {
                RecordsAsk::Delete(position) => self.delete(id, position, &mut after, turn),
                RecordsAsk::Purge(of) => return self.purge_records((hub, call), id, of, turn),
                RecordsAsk::Get(wanted) => Ok(get(partition, &wanted)),
                RecordsAsk::Scan(of) => Ok(scan(partition, &of)),
                RecordsAsk::Lasts(of) => lasts(partition, &of),
                RecordsAsk::State(of) => Ok(self.state(partition, &of)),
            },
        };
        let after = if answer.is_err() { turn.journal.tail() } else { after };
        turn.say(after, ShardEffect::Records { hub, call, answer });
    }

    /// Takes records out and logs it. Those that are not there are passed over. How many went.
    pub(in crate::shard) fn remove_records(
        &mut self,
        id: QueueId,
        positions: &[Position],
        urgency: Urgency,
        turn: &mut Turn<'_>,
    ) -> u64 {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return 0 };
        let (live, mut runs, mut count) = (&mut self.live, Vec::<Run>::new(), 0);
        for position in positions {
            if partition.let_go(*position, |batch| live.let_go(batch.place.lsn, batch.len)) {
                extend_runs(&mut runs, *position);
                count += 1;
            }
        }
        if count > 0 && !partition.is_volatile() {
            let place = turn.log(urgency, |out| entry::put_records_gone(out, id, &runs));
            partition.after = place.lsn;
        }
        if count > 0 {
            self.shares.look_at(id);
        }
        count
    }

    fn delete(&mut self, id: QueueId, position: Position, after: &mut Lsn, turn: &mut Turn<'_>) -> Answered {
        let count = self.remove_records(id, &[position], Urgency::Urgent, turn);
        let Some(partition) = self.streams.partitions.get(&id) else { return Err(unknown()) };
        *after = partition.after;
        if count == 0 {
            return Err(refused(partition, RecordRefusal::NoRecord));
        }
        self.end_gone(id, vec![position], true, turn);
        Ok(ShardRecordsAnswer::Removed(count))
    }

    fn state(&self, partition: &Partition, of: &StateOf) -> ShardRecordsAnswer {
        let Some(records) = &partition.records else { return ShardRecordsAnswer::State(Box::default()) };
        let (first, count) = (partition.start, partition.count());
        let mut state = StreamState {
            records: count,
            bytes: partition.bytes,
            first,
            first_at: partition.index.from(first).next().map(|first| appended(&first)),
            end: partition.end,
            last_at: (records.last_ms > 0).then(|| Now(records.last_ms.saturating_mul(1000))),
            subjects: records.subjects.count() as u64,
            holes: partition.end.0 - first.0 - count,
            ..StreamState::default()
        };
        if let Some(wanted) = &of.subjects {
            let count_max = wanted.count_max.min(LISTED_MAX);
            let (ids, all) = records.subjects.page(&wanted.pattern, wanted.offset, count_max);
            let counted = |id: u32| {
                let name = records.subjects.name(id).to_vec();
                (name.into(), records.subjects.positions(id).count_from(first))
            };
            state.counted = ids.into_iter().map(counted).collect();
            state.counted_all = all;
        }
        if let Some(count_max) = of.holes_max {
            let count_max = count_max.min(LISTED_MAX) as usize;
            state.hole_list = partition.index.holes((first, partition.end), count_max);
        }
        state.groups = self.shares.of.get(&partition.spec.id).map_or(0, |of| of.names.len() as u32);
        ShardRecordsAnswer::State(Box::new(state))
    }
}

/// What the settings do not allow.
fn check(partition: &Partition, ask: &RecordsAsk) -> Result<(), RecordRefusal> {
    let settings = partition.by_record().ok_or(RecordRefusal::NotByRecord)?;
    match ask {
        RecordsAsk::Delete(_) | RecordsAsk::Purge(_) if settings.sealed => Err(RecordRefusal::Sealed),
        RecordsAsk::Delete(_) if settings.deny_delete => Err(RecordRefusal::NoDelete),
        RecordsAsk::Purge(_) if settings.deny_purge => Err(RecordRefusal::NoPurge),
        _ => Ok(()),
    }
}

fn refused(partition: &Partition, why: RecordRefusal) -> Refusal {
    Refusal::Stream(StreamRefusal::Record { stream: partition.spec.stream.clone(), why })
}

fn appended(of: &Stored) -> Now {
    Now(of.appended_ms.saturating_mul(1000))
}

fn record_at(of: &Stored) -> RecordAt {
    RecordAt { place: of.place, len: of.len, position: of.first, appended: appended(of) }
}

fn get(partition: &Partition, wanted: &[Wanted]) -> ShardRecordsAnswer {
    let find = |wanted: &Wanted| {
        let position = match wanted {
            Wanted::At(position) => Some(*position),
            Wanted::Last(subjects) => partition.last(std::slice::from_ref(subjects)),
            Wanted::Next { subjects, from } => next(partition, subjects, *from),
        };
        let position = position.filter(|position| *position >= partition.start)?;
        partition.index.get(position).as_ref().map(record_at)
    };
    let records = wanted.iter().take(FOUND_MAX).map(find).collect();
    ShardRecordsAnswer::Found { records, pending: 0, ends: partition.ends() }
}

fn next(partition: &Partition, subjects: &Pattern, mut from: Position) -> Option<Position> {
    for _ in 0..SEARCHES_MAX {
        match partition.next(std::slice::from_ref(subjects), from) {
            Next::At(position) => return Some(position),
            Next::Later(further) => from = further,
            Next::Nowhere => return None,
        }
    }
    None
}

/// Records as long as an answer has room.
struct Room {
    records: Vec<Option<RecordAt>>,
    count_max: usize,
    bytes: u64,
}

impl Room {
    fn new(count_max: u32, bytes_max: u64) -> Self {
        let count_max = (count_max as usize).clamp(1, FOUND_MAX);
        Self { records: Vec::new(), count_max, bytes: bytes_max }
    }

    /// `false`: it is full.
    fn take(&mut self, record: &Stored) -> bool {
        let len = u64::from(record.len);
        let fits = self.records.len() < self.count_max && (len <= self.bytes || self.records.is_empty());
        if fits {
            self.bytes = self.bytes.saturating_sub(len);
            self.records.push(Some(record_at(record)));
        }
        fits
    }
}

fn scan(partition: &Partition, of: &ScanOf) -> ShardRecordsAnswer {
    let filters = std::slice::from_ref(&of.subjects);
    let mut from = match of.from {
        From::Position(position) => position,
        From::Time(at) => first_at(partition, at),
    };
    let mut room = Room::new(of.count_max, of.bytes_max);
    for _ in 0..SEARCHES_MAX {
        let mut is_full = false;
        let next = partition.select(filters, from, |record| {
            is_full = !room.take(record);
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match next {
            Next::Later(further) if !is_full => from = further,
            _ => break,
        }
    }
    let behind = room.records.iter().flatten().last().map_or(from, |last| Position(last.position.0 + 1));
    let pending = partition.pending(filters, behind);
    ShardRecordsAnswer::Found { records: room.records, pending, ends: partition.ends() }
}

fn lasts(partition: &Partition, of: &LastsOf) -> Answered {
    let end = match of.as_of {
        None => partition.end,
        Some(From::Position(position)) => Position(position.0.saturating_add(1)),
        // Times are kept in ms.
        Some(From::Time(at)) => first_at(partition, at.plus_ms(1)),
    };
    let mut positions = partition.lasts(&of.subjects, end, of.subjects_max as usize + 1);
    if positions.len() > of.subjects_max as usize {
        let what = format!("subjects of one read of stream '{}'", partition.spec.stream);
        return Err(Refusal::Limit { what, max: u64::from(of.subjects_max) });
    }
    positions.sort_unstable();
    let mut room = Room::new(of.count_max, of.bytes_max);
    let ahead = &positions[positions.partition_point(|position| *position < of.from)..];
    for position in ahead {
        if !partition.index.get(*position).is_some_and(|record| room.take(&record)) {
            break;
        }
    }
    let pending = (ahead.len() - room.records.len()) as u64;
    Ok(ShardRecordsAnswer::Found { records: room.records, pending, ends: partition.ends() })
}

/// Where what was appended then or later begins.
fn first_at(partition: &Partition, at: Now) -> Position {
    let ms = at.0.div_ceil(1000);
    partition.index.appended_at(partition.start, ms).map_or(partition.end, |batch| batch.first)
}
