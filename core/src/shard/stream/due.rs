//! Records whose time has come: each is published again, by a move (S6), and leaves its stream, or stays until its next time.
//!
//! Called by the chores, when time has come, and by replay. What must hold: one entry says all of it, so a crash finds a record in one place;
//! what comes next is in the entry, so that no replay asks a clock or a time zone; what the move publishes is held until it has ended,
//! whatever becomes of the stream. Not here: where the records go (a hub decides, at that time).

pub(in crate::shard) mod bytes;

use super::Shard;
use super::entry;
use crate::queue::dead_letter::{Moving, cut};
use crate::shard::effect::Turn;
use crate::stream::Partition;
use crate::stream::schedules::Schedule;
use std::sync::Arc;
use stele_model::id::{Now, Position, QueueId};
use stele_model::machine::{Urgency, VOLATILE};
use stele_model::repeat::Moment;
use stele_model::shard::ShardEffect;
use stele_model::stream::due::{DueMove, DueRecord};
use stele_model::stream::records::{RecordAt, Ttl};

/// A record's time has come. As logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::shard) struct Come {
    pub(super) position: Position,
    /// When it comes again; `None`: it leaves.
    pub(super) next: Option<Moment>,
    /// The record that is published in its place.
    pub(super) sample: Option<Position>,
}

/// Records of one partition whose time has come, and the move that publishes them. As logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard) struct AllCome {
    pub(super) partition: QueueId,
    pub(super) moving: u64,
    pub(super) records: Vec<Come>,
}

impl Shard {
    /// Publishes records of a partition again, named in the order of positions.
    pub(super) fn begin_due(&mut self, id: QueueId, positions: &[Position], turn: &mut Turn<'_>) {
        assert!(positions.is_sorted(), "I78: what is published again is named in order");
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        let now = turn.now();
        let come: Vec<(Come, DueRecord)> = positions
            .iter()
            .filter_map(|position| {
                let come = come(partition, *position, now);
                Some((come, record(partition, come)?))
            })
            .collect();
        let mut rest = &come[..];
        while !rest.is_empty() {
            let (these, others) = rest.split_at(cut_due(rest));
            rest = others;
            let (records, moved) = these.iter().copied().unzip();
            self.begin_due_move(AllCome { partition: id, moving: self.moves.next(), records }, moved, turn);
        }
    }

    fn begin_due_move(&mut self, of: AllCome, records: Vec<DueRecord>, turn: &mut Turn<'_>) {
        let Some(partition) = self.streams.partitions.get_mut(&of.partition) else { return };
        let is_volatile = partition.is_volatile();
        // Of records in memory no replay knows more than that the number is used.
        let logged = if is_volatile { &[][..] } else { &of.records };
        let place = turn.log(Urgency::Rides, |out| entry::put_due(out, &of, logged));
        if !is_volatile {
            partition.after = place.lsn;
        }
        let moving = self.move_due(&of, records);
        turn.say(place.lsn, ShardEffect::Move(moving.effect(self.id, of.moving)));
        self.moves.begin(of.moving, moving);
        let left = of.records.iter().filter(|come| come.next.is_none()).map(|come| come.position);
        self.end_gone(of.partition, left.collect(), true, turn);
    }

    /// See [`Self::begin_due`]; from the log.
    pub(super) fn replay_due(&mut self, of: &AllCome) -> Result<(), String> {
        let id = of.partition;
        let partition = self.streams.partitions.get(&id);
        let partition = partition.ok_or_else(|| format!("publishes records of unknown partition {id}"))?;
        let found = of.records.iter().map(|come| {
            record(partition, *come).ok_or_else(|| format!("publishes {}, which is not there", come.position))
        });
        let records = found.collect::<Result<_, _>>()?;
        let moving = self.move_due(of, records);
        self.moves.replay(of.moving, moving)
    }

    /// The records are on the move: its bytes are held, and they leave, or wait for their next time.
    fn move_due(&mut self, of: &AllCome, records: Vec<DueRecord>) -> Moving {
        let Some(partition) = self.streams.partitions.get_mut(&of.partition) else {
            unreachable!("I78: the partition was there when its records were looked up")
        };
        let namespace = partition.spec.namespace;
        let moving = Moving::Due(Arc::new(DueMove { partition: of.partition, namespace, records }));
        moving.hold(&mut self.live);
        for come in &of.records {
            match (come.next, partition.records.as_mut()) {
                (Some(next), Some(records)) => records.schedules.comes_again(come.position, next.ms),
                _ => {
                    let live = &mut self.live;
                    partition.let_go(come.position, |batch| live.let_go(batch.place.lsn, batch.len));
                }
            }
        }
        moving
    }
}

/// What is to be done with a record whose time has come.
fn come(partition: &Partition, position: Position, now: Now) -> Come {
    let schedule = partition.records.as_ref().and_then(|of| of.schedules.get(position));
    let next = schedule.and_then(|(at_ms, of)| of.repeat.as_ref()?.next(at_ms, now.ms()));
    let sample = schedule.and_then(|(_, of)| partition.last_of(of.how.sample.as_ref()?));
    Come { position, next, sample }
}

/// The record with what is published of it; `None`: something of it is not there.
fn record(partition: &Partition, of: Come) -> Option<DueRecord> {
    let at = |position: Position| {
        let batch = partition.index.get(position).filter(|_| position >= partition.start)?;
        let appended = Now(batch.appended_ms.saturating_mul(1000));
        Some(RecordAt { place: batch.place, len: batch.len, position, appended })
    };
    let schedule = partition.records.as_ref().and_then(|records| records.schedules.get(of.position));
    let (ttl, rollup) =
        schedule.map_or((Ttl::Stream, false), |(_, Schedule { how, .. })| (how.ttl, how.rollup));
    let sample = match of.sample {
        Some(position) => Some(at(position)?),
        None => None,
    };
    Some(DueRecord { record: at(of.position)?, sample, next: of.next, ttl, rollup })
}

/// How many records go into the next move. One that asks something of the stream that takes it goes alone: it is stored by an entry of its own,
/// and the move's number with it (S5).
fn cut_due(of: &[(Come, DueRecord)]) -> usize {
    let asks = |of: &(Come, DueRecord)| of.1.rollup || of.1.ttl != Ttl::Stream;
    let plain = of.iter().take_while(|of| !asks(of));
    cut(plain.map(|(_, of)| of.record.len + of.sample.map_or(0, |sample| sample.len)))
}

/// A move as a replay must bring it back: without records in memory.
pub(in crate::shard) fn logged_due(of: &DueMove) -> DueMove {
    let is_lasting = |of: &&DueRecord| of.record.place.lsn.0 & VOLATILE == 0;
    DueMove { records: of.records.iter().filter(is_lasting).copied().collect(), ..*of }
}
