//! What goes by itself from a stream that tells its records apart: by age, by a record's own time, by limits that were lowered.
//!
//! Called by the chores. What must hold: records go one by one and exactly (S21), each logged; those that stay for ever are passed over;
//! where a subject ends by time a marker takes its place, if the stream wants that; a step looks at a bounded number of records (S7);
//! nothing goes by time while the clock is not trusted (S28).

use super::super::Mutant;
use super::super::effect::Turn;
use super::super::entry::{self, Target};
use super::Shard;
use crate::shard::publish::read_heads;
use crate::stream::Partition;
use crate::stream::records::Marks;
use crate::stream::single::Expiry;
use bytes::BytesMut;
use std::collections::BTreeSet;
use stele_model::id::{Now, Place, Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::stream::records::{Discard, Ttl};
use stele_record::properties::{Properties, Property};
use stele_record::table::put_table;
use stele_record::{Draft, Origin};

/// Records that one step looks at or takes out. One that is the last of its subject costs up to 10 µs among a million, and its marker as
/// much again.
const RECORDS_MAX: usize = 128;
/// Header of a marker that says why it is there, and what it says.
const REASON: &str = "stele.reason";
const REASON_TIME: &str = "expired";
/// The exchange whose keys are subjects.
const SUBJECTS: &[u8] = b"amq.topic";

/// What a step found.
#[derive(Default)]
struct Due {
    by_time: BTreeSet<Position>,
    by_limit: Vec<Position>,
    /// To be published again.
    again: Vec<Position>,
    /// There may be more.
    more: bool,
}

impl Shard {
    /// Does for a partition whatever is due: how many records went, and whether there is more.
    pub(super) fn age_records(&mut self, id: QueueId, by_age: bool, turn: &mut Turn<'_>) -> (u32, bool) {
        let now = turn.now();
        let silent = self.makes(Mutant::SilentRetention);
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return (0, false) };
        let mut due = Due::default();
        if by_age {
            find_aged(partition, now, &mut due);
        }
        let ended = ended_subjects(partition, &due.by_time);
        if self.moves.is_full() && !due.again.is_empty() {
            self.streams.stall(id);
            due.more = false;
        } else {
            self.begin_due(id, &due.again, turn);
        }
        let Some(partition) = self.streams.partitions.get(&id) else { return (0, due.more) };
        find_over(partition, &mut due);
        let positions: Vec<Position> = due.by_time.into_iter().chain(due.by_limit).collect();
        let went = positions.len() as u32;
        if silent {
            let Some(partition) = self.streams.partitions.get_mut(&id) else { return (0, false) };
            let live = &mut self.live;
            for position in positions {
                partition.let_go(position, |batch| live.let_go(batch.place.lsn, batch.len));
            }
        } else {
            self.remove_records(id, &positions, Urgency::Rides, turn);
            self.end_gone(id, positions, true, turn);
        }
        for subject in ended {
            self.put_marker(id, &subject, turn);
        }
        (went, due.more)
    }

    /// A marker takes the place of a subject's last record.
    fn put_marker(&mut self, id: QueueId, subject: &[u8], turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        let Some(ttl_ms) = partition.by_record().and_then(|of| of.marker_ttl_ms) else { return };
        let record = marker(subject, ttl_ms, turn.now());
        let target = Target { queue: id, first: partition.end, diverted: false };
        let marks = Marks { ttl: Ttl::Ms(ttl_ms), marker: true, ..Marks::NONE };
        let place = if partition.is_volatile() {
            turn.journal.keep(&record)
        } else {
            entry::begin_publish(turn.scratch, None, 1);
            entry::put_publish_run(turn.scratch, 1, record.len() as u32, &[target]);
            entry::put_marks(turn.scratch, &marks);
            let head_len = turn.scratch.len() as u32;
            let place = turn.journal.append(Urgency::Rides, &[turn.scratch, &record]);
            Place { at: place.at + head_len, ..place }
        };
        let (time, mut heads) = (turn.now(), Vec::new());
        read_heads(&record, 1, &mut heads).expect("I20: a marker is a whole record");
        let echoes = self.echoes(id, target.first, place, (&record, &heads), time);
        self.admit_singles(&target, place, (&record, &heads), &marks, time);
        self.echo(id, echoes, turn);
        self.came_to(id, crate::stream::waited_for(place), turn);
    }
}

/// When a partition that tells its records apart has to be looked at by time, ms.
pub(super) fn due_ms(partition: &Partition) -> Option<u64> {
    let records = partition.records.as_ref()?;
    let from = records.aged.max(partition.start);
    let oldest = partition.index.from(from).next();
    let max = partition.spec.settings.retention_ms;
    let aged = oldest.zip(max).map(|(oldest, max)| oldest.appended_ms.saturating_add(max));
    let expires = records.expires_first().map(|(at, _)| at);
    aged.into_iter().chain(expires).min()
}

fn find_aged(partition: &mut Partition, now: Now, due: &mut Due) {
    let Some(records) = &partition.records else { return };
    let expired = records.expired(now.ms(), RECORDS_MAX);
    let come: Vec<Position> = records.schedules.come(now.ms()).take(RECORDS_MAX).collect();
    due.more |= expired.len() == RECORDS_MAX || come.len() == RECORDS_MAX;
    let start = partition.start;
    let there = |position: &Position| *position >= start;
    let is_delay = |position: &Position| {
        let single = partition.index.get(*position).and_then(|batch| batch.single);
        single.is_some_and(|single| matches!(single.expiry, Expiry::Due(_)))
    };
    let (mut delays, ended): (Vec<Position>, Vec<Position>) =
        expired.into_iter().filter(there).partition(is_delay);
    delays.sort_unstable();
    due.by_time.extend(ended);
    find_older(partition, &delays, now, due);
    // Who has sent another record to its subject wants it no more.
    for position in delays.into_iter().chain(come.into_iter().filter(there)) {
        if !partition.is_last_of_subject(position) {
            due.by_time.insert(position);
        } else if !due.by_time.contains(&position) {
            due.again.push(position);
        }
    }
    due.again.sort_unstable();
}

/// Records that go by the stream's age; not these, in the order of positions, which are published now.
fn find_older(partition: &mut Partition, delays: &[Position], now: Now, due: &mut Due) {
    let (Some(max), Some(records)) = (partition.spec.settings.retention_ms, &partition.records) else {
        return;
    };
    let mut aged = records.aged.max(partition.start);
    for (n, batch) in partition.index.from(aged).enumerate() {
        if batch.appended_ms.saturating_add(max) > now.ms() {
            break;
        }
        if n == RECORDS_MAX {
            due.more = true;
            break;
        }
        aged = batch.end();
        let stays = batch.single.is_some_and(|single| single.expiry == Expiry::Never);
        if !stays && delays.binary_search(&batch.first).is_err() {
            due.by_time.insert(batch.first);
        }
    }
    if let Some(records) = &mut partition.records {
        records.aged = aged;
    }
}

/// Limits of the whole stream that hold no more, since its settings are others now.
fn find_over(partition: &Partition, due: &mut Due) {
    let Some(settings) = partition.by_record().filter(|of| of.discard == Discard::Old) else { return };
    let bytes_max = partition.spec.settings.retention_bytes;
    if settings.records_max.is_none() && bytes_max.is_none() {
        return;
    }
    let going = due.by_time.iter().filter_map(|position| partition.index.get(*position));
    let going: u64 = going.map(|batch| u64::from(batch.len)).sum();
    let (mut count, mut bytes) = (partition.count() - due.by_time.len() as u64, partition.bytes - going);
    let staying = partition.index.from(partition.start).filter(|batch| !due.by_time.contains(&batch.first));
    for (n, batch) in staying.enumerate() {
        let many = settings.records_max.is_some_and(|max| count > max.max(1));
        let long = bytes_max.is_some_and(|max| bytes > max) && batch.end() < partition.end;
        if !(many || long) {
            return;
        }
        if n == RECORDS_MAX {
            due.more = true;
            return;
        }
        count -= 1;
        bytes -= u64::from(batch.len);
        due.by_limit.push(batch.first);
    }
}

/// Subjects whose last record is among these and gets a marker.
fn ended_subjects(partition: &Partition, gone: &BTreeSet<Position>) -> Vec<Vec<u8>> {
    if partition.by_record().is_none_or(|of| of.marker_ttl_ms.is_none()) {
        return Vec::new();
    }
    let ends = gone.iter().filter(|position| {
        let marker = partition.index.get(**position).and_then(|batch| batch.single);
        marker.is_some_and(|single| !single.marker) && partition.is_last_of_subject(**position)
    });
    ends.filter_map(|position| partition.subject_of(*position).map(<[u8]>::to_vec)).collect()
}

/// A record without a body that says why it is there, in the form that every dialect reads.
fn marker(subject: &[u8], ttl_ms: u64, now: Now) -> BytesMut {
    let mut headers = BytesMut::new();
    put_table(&mut headers, |table| table.text(REASON, REASON_TIME));
    let mut properties = Properties::default();
    properties.set(Property::Headers, headers.get(4..));
    let mut bytes = BytesMut::new();
    properties.write(&mut bytes);
    let draft = Draft {
        origin: Origin::Amqp091,
        persistent: true,
        priority: 0,
        ttl_ms: Some(u32::try_from(ttl_ms).unwrap_or(u32::MAX).min(u32::MAX - 1)),
        time: now.0,
        exchange: SUBJECTS,
        key: subject,
        properties: &bytes,
        history: &[],
    };
    let mut record = BytesMut::new();
    draft.write(&[], &mut record);
    record
}
