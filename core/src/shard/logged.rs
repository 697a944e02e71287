//! The logged state of a shard in a form to compare, and the search for records by block.
//!
//! For tests, the simulator and promotion; costs time for each record, so never on a turn. Volatile records and queues' attached state are
//! left out: a replay cannot know them (S1).

use super::Shard;
use super::group::{self, LoggedGroups};
use super::share::{self, LoggedShare};
use super::stream;
use crate::queue::dead_letter::Moving;
use crate::queue::{Queue, Record};
use crate::stream::compact::Compaction;
use crate::stream::single::Expiry;
use crate::stream::{Partition, Stored};
use std::cmp::Reverse;
use std::sync::Arc;
use stele_model::id::{Boot, Lsn, Now, Place, Position, QueueId, Revision};
use stele_model::publish::LinkNumber;
use stele_model::queue::QueueSpec;
use stele_model::repeat::Repeat;
use stele_model::shard::DeathReason;
use stele_model::share::ShareMove;
use stele_model::stream::due::{DueMove, How};
use stele_model::stream::{Format, PartitionSpec};

/// All that a replay of a shard's log must bring back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedState {
    /// In the order of their numbers.
    pub queues: Vec<LoggedQueue>,
    /// The last number of each link, by sender.
    pub links: Vec<LinkNumber>,
    /// Unfinished moves out of queues: number, queue, reason, logged records.
    pub moves: Vec<(u64, QueueId, DeathReason, Vec<LoggedRecord>)>,
    /// Unfinished moves out of shared groups.
    pub share_moves: Vec<(u64, ShareMove)>,
    /// Unfinished moves of records whose time has come.
    pub due_moves: Vec<(u64, DueMove)>,
    /// The last number given to a move.
    pub move_last: u64,
    /// The registry's last word.
    pub revision: Revision,
    /// The last start that was synced.
    pub boot: Boot,
    /// What is known of groups.
    pub groups: LoggedGroups,
    /// Partitions in the order of their numbers.
    pub partitions: Vec<LoggedPartition>,
    /// Producers that were given a number.
    pub producers: u64,
    /// Shared groups that are logged, in the order of their numbers.
    pub shares: Vec<LoggedShare>,
}

/// One partition of a [`LoggedState`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPartition {
    /// Its settings.
    pub spec: PartitionSpec,
    /// First position that can be read.
    pub start: Position,
    /// Last position plus one.
    pub end: Position,
    /// Its batches.
    pub batches: Vec<LoggedBatch>,
    /// Its producers: number, when put in line, incarnation, last use, and for the last batches sequence, count, position.
    pub producers: Vec<LoggedProducer>,
    /// Of a compacted stream: the last record of each key, and whether it ends the key.
    pub keys: Vec<(u128, Position, bool)>,
    /// Of a compacted stream: batches below were appended before keys were told.
    pub keys_since: Option<Position>,
    /// Of a stream that tells its records apart.
    pub records: Option<LoggedSubjects>,
}

/// What a partition knows of single records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedSubjects {
    /// Its records.
    pub records: Vec<LoggedSingle>,
    /// Its schedules: position, next time in ms, what it repeats by and what is published.
    pub schedules: Vec<(Position, u64, Option<Repeat>, How)>,
    /// Ids that are remembered: position, hash, time in ms.
    pub ids: Vec<(Position, u128, u64)>,
    /// Of the last record that came.
    pub last_id: Option<Vec<u8>>,
    /// When it came, ms.
    pub last_ms: u64,
}

/// One record of [`LoggedSubjects`]: its subject, when it goes by its own time in ms (`u64::MAX`: never), whether it is a marker, and whether
/// it is published again when it goes.
pub type LoggedSingle = (Position, Vec<u8>, Option<u64>, bool, bool);

/// See [`LoggedPartition::producers`].
pub type LoggedProducer = (u64, u64, u16, u64, Vec<(u32, u32, Position)>);

/// One batch of a [`LoggedPartition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedBatch {
    /// Position of its first record.
    pub first: Position,
    /// Positions it takes.
    pub count: u32,
    /// Of its bytes.
    pub place: Place,
    /// How many they are.
    pub len: u32,
    /// Its form.
    pub format: Format,
    /// When it was appended, ms.
    pub appended_ms: u64,
    /// The newest time in it, ms.
    pub newest_ms: u64,
}

/// One queue of a [`LoggedState`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedQueue {
    /// Its settings.
    pub spec: QueueSpec,
    /// It waits to be gone.
    pub closing: bool,
    /// Ready records by position.
    pub ready: Vec<LoggedRecord>,
    /// Leased records by position.
    pub leased: Vec<LoggedRecord>,
}

/// One record of a [`LoggedState`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedRecord {
    /// In its queue.
    pub position: Position,
    /// Of its bytes.
    pub place: Place,
    /// Of the whole record, bytes.
    pub len: u32,
    /// Of its body, bytes.
    pub body_len: u64,
    /// `None`: never.
    pub expires: Option<Now>,
    /// As the queue orders by it.
    pub priority: u8,
    /// It was delivered before.
    pub redelivered: bool,
    /// Deliveries that failed and counted.
    pub failures: u32,
}

pub(super) fn of(shard: &Shard) -> LoggedState {
    let moves = shard.moves.iter().filter_map(|(number, moving)| {
        let Moving::Queue { queue, reason, records } = moving else { return None };
        let lasting = queue.settings.durable;
        let records = records.iter().filter(|record| lasting && !record.is_volatile());
        Some((number, queue.id, *reason, records.map(record).collect()))
    });
    let share_moves = shard.moves.iter().filter_map(|(number, moving)| match moving {
        Moving::Share(of) => Some((number, share::logged_move(of))),
        Moving::Queue { .. } | Moving::Due(_) => None,
    });
    let due_moves = shard.moves.iter().filter_map(|(number, moving)| match moving {
        Moving::Due(of) => Some((number, stream::logged_due(of))),
        Moving::Queue { .. } | Moving::Share(_) => None,
    });
    LoggedState {
        queues: shard.queues.values().map(queue).collect(),
        links: shard.links.iter().collect(),
        moves: moves.collect(),
        share_moves: share_moves.collect(),
        due_moves: due_moves.collect(),
        move_last: shard.moves.last(),
        revision: shard.revision,
        boot: shard.boot,
        groups: group::logged(&shard.groups),
        partitions: shard.streams.partitions.values().map(partition).collect(),
        producers: shard.streams.given(),
        shares: share::logged(&shard.shares),
    }
}

/// Those whose records can be read.
fn keys(of: &Compaction, start: Position) -> Vec<(u128, Position, bool)> {
    let there = of.keys.iter().filter(|(_, last)| of.holds(last.position, start));
    there.map(|(hash, last)| (hash, last.position, last.tombstone)).collect()
}

fn partition(of: &Partition) -> LoggedPartition {
    if of.is_volatile() {
        // After a restart it is as it was made.
        return partition_of(&Partition::new(Arc::clone(&of.spec)));
    }
    partition_of(of)
}

fn partition_of(of: &Partition) -> LoggedPartition {
    let batch = |of: Stored| LoggedBatch {
        first: of.first,
        count: of.count,
        place: of.place,
        len: of.len,
        format: of.format,
        appended_ms: of.appended_ms,
        newest_ms: of.newest_ms,
    };
    let producers = of.producers.iter().map(|(id, put_at, known)| {
        let recent = known.recent.iter().map(|batch| (batch.sequence, batch.count, batch.first)).collect();
        (id, put_at, known.epoch, known.used_ms, recent)
    });
    LoggedPartition {
        spec: (*of.spec).clone(),
        start: of.start,
        end: of.end,
        batches: of.index.from(of.start).map(batch).collect(),
        producers: producers.collect(),
        keys: of.compaction.as_ref().map_or_else(Vec::new, |compaction| keys(compaction, of.start)),
        keys_since: of.compaction.as_ref().map(|compaction| compaction.since),
        records: subjects(of),
    }
}

fn subjects(of: &Partition) -> Option<LoggedSubjects> {
    let records = of.records.as_ref()?;
    let single = |batch: Stored| {
        let single = batch.single?;
        let expires = match single.expiry {
            Expiry::Stream => None,
            Expiry::At(at) | Expiry::Due(at) => Some(at),
            Expiry::Never => Some(u64::MAX),
        };
        let due = matches!(single.expiry, Expiry::Due(_));
        Some((batch.first, records.subjects.name(single.subject).to_vec(), expires, single.marker, due))
    };
    let schedules = records.schedules.iter().filter(|(position, ..)| *position >= of.start);
    let schedules = schedules
        .map(|(position, at_ms, schedule)| (position, at_ms, schedule.repeat.clone(), schedule.how.clone()));
    Some(LoggedSubjects {
        schedules: schedules.collect(),
        records: of.index.from(of.start).filter_map(single).collect(),
        ids: records.dedupe.all().collect(),
        last_id: records.last_id.as_ref().map(|id| id.to_vec()),
        last_ms: records.last_ms,
    })
}

fn queue(of: &Queue) -> LoggedQueue {
    let mut ready: Vec<LoggedRecord> =
        of.ready.iter().filter(|record| of.logs(record)).map(|of| record(&of)).collect();
    ready.sort_unstable_by_key(|record| record.position);
    let leased = of.leases.iter().map(|lease| lease.record).filter(|record| of.logs(record));
    LoggedQueue {
        spec: (*of.spec).clone(),
        closing: of.closing,
        ready,
        leased: leased.map(|of| record(&of)).collect(),
    }
}

fn record(of: &Record) -> LoggedRecord {
    LoggedRecord {
        position: of.position,
        place: of.place,
        len: of.len,
        body_len: of.body_len(),
        expires: (of.expires != crate::queue::NEVER).then_some(of.expires),
        priority: of.priority,
        redelivered: of.redelivered,
        failures: of.failures,
    }
}

/// See [`stele_model::machine::Machine::live_in`].
pub(super) fn in_blocks(shard: &Shard, range: (Lsn, Lsn), out: &mut Vec<(Place, u32)>) {
    let within = |record: &Record| (range.0..=range.1).contains(&record.place.lsn);
    for queue in shard.queues.values() {
        out.extend(queue.ready.in_blocks(range).map(|record| (record.place, record.len)));
        let leased = queue.leases.iter().map(|lease| lease.record).filter(within);
        out.extend(leased.map(|record| (record.place, record.len)));
    }
    for partition in shard.streams.partitions.values() {
        out.extend(partition.index.in_blocks(range).map(|batch| (batch.place, batch.len)));
    }
    let moving = shard.moves.iter().flat_map(|(_, moving)| moving.places());
    out.extend(moving.filter(|(place, _)| (range.0..=range.1).contains(&place.lsn)));
    // The batch of a run of records holds those of queues: one name stands for all that begins within it.
    out.sort_unstable_by_key(|(place, len)| (*place, Reverse(*len)));
    out.dedup_by(|inner, outer| inner.0.lsn == outer.0.lsn && inner.0.at + inner.1 <= outer.0.at + outer.1);
}
