//! Records that a shared group gave up, or was told to forget, leave it for its dead letters (S6).
//!
//! Called where deliveries end for good ([`super::settle`]). One entry says all of it: the deliveries have ended, the records are on the
//! move, and those that nobody else needs have left the stream, if it goes by settles; so a crash finds a record in one place. The move is
//! one like those of queues: it has the next number of the shard, is sent again until a hub has found places for its records, and holds their
//! bytes until then, whatever becomes of the stream. What must hold: one move is bounded, and who could begin too many of them waits
//! ([`Shard::stalls`]). Not here: where they go (a hub decides, at that time).

use super::entry::{self, Ended, Leaving, LeavingRecord};
use crate::queue::dead_letter::{Moving, cut};
use crate::queue::{extend_runs, positions};
use crate::shard::Shard;
use crate::shard::effect::Turn;
use crate::share::ShareNumber;
use std::sync::Arc;
use stele_model::id::{Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::settle::Run;
use stele_model::shard::ShardEffect;
use stele_model::share::{DeadRecord, ShareDeath, ShareMove};

impl Shard {
    /// Ends deliveries for good. If the group has a place for dead letters the records move there; what is not in the stream any more
    /// just ends.
    pub(super) fn end_dead(
        &mut self,
        number: ShareNumber,
        why: &ShareDeath,
        runs: &[Run],
        awaited: bool,
        turn: &mut Turn<'_>,
    ) {
        let how = match why {
            ShareDeath::Exhausted => Ended::GivenUp,
            ShareDeath::Terminated { .. } => Ended::Terminated,
        };
        let Some((head, records, lost)) = self.dead_records(number, why, runs) else {
            return self.end_share(number, how, runs, awaited, turn);
        };
        self.end_share(number, Ended::Lost, &lost, awaited, turn);
        let urgency = if awaited { Urgency::Urgent } else { Urgency::Rides };
        let mut rest = &records[..];
        while !rest.is_empty() {
            let lens = rest.iter().map(|record| record.batch.len / record.batch.count);
            let (these, others) = rest.split_at(cut(lens));
            rest = others;
            self.begin_dead(
                number,
                how,
                ShareMove { records: these.to_vec(), ..head.clone() },
                urgency,
                turn,
            );
        }
    }

    /// The move without its records, the records, and what is not there any more; `None`: the group has no place for dead letters.
    fn dead_records(
        &self,
        number: ShareNumber,
        why: &ShareDeath,
        runs: &[Run],
    ) -> Option<(ShareMove, Vec<DeadRecord>, Vec<Run>)> {
        let share = self.shares.groups.get(&number)?;
        let target = share.settings.dead_letter.clone()?;
        let partition = self.streams.partitions.get(&share.partition)?;
        let head = ShareMove {
            partition: share.partition,
            namespace: partition.spec.namespace,
            stream: partition.spec.stream.clone(),
            group: share.name.to_string(),
            target,
            why: why.clone(),
            records: Vec::new(),
        };
        let (mut records, mut lost) = (Vec::new(), Vec::new());
        for position in positions(runs) {
            let Some(slot) = share.pending.find(position) else { continue };
            match partition.index.get(position).filter(|_| position >= partition.start) {
                Some(batch) => {
                    let (deliveries, batch) = (slot.deliveries, batch.found());
                    records.push(DeadRecord { position, deliveries, batch });
                }
                None => extend_runs(&mut lost, position),
            }
        }
        Some((head, records, lost))
    }

    /// Ends the deliveries of one move's records, and begins the move.
    fn begin_dead(
        &mut self,
        number: ShareNumber,
        how: Ended,
        of: ShareMove,
        urgency: Urgency,
        turn: &mut Turn<'_>,
    ) {
        let Some(share) = self.shares.groups.get_mut(&number) else { return };
        let (id, logs) = (share.partition, share.logs());
        of.records.iter().for_each(|record| _ = share.end(record.position));
        let mut gone = self.unneeded(id, of.records.iter().map(|record| record.position), number);
        gone.sort_unstable();
        if logs && self.is_volatile(id) {
            // No replay knows the records: only that the deliveries have ended.
            let mut runs = Vec::new();
            of.records.iter().for_each(|record| extend_runs(&mut runs, record.position));
            turn.log_runs_as(urgency, &runs, |out, runs| entry::put_ended(out, number, how, runs));
        }
        self.begin_move_out(logs.then_some(number), of, &gone, urgency, turn);
    }

    /// Logs one move, tells a hub, and holds the records until it answers. Those of `gone`, in order, leave the partition.
    fn begin_move_out(
        &mut self,
        number: Option<ShareNumber>,
        of: ShareMove,
        gone: &[Position],
        urgency: Urgency,
        turn: &mut Turn<'_>,
    ) {
        let id = of.partition;
        let leaves = |DeadRecord { position, deliveries, .. }: &DeadRecord| LeavingRecord {
            position: *position,
            deliveries: *deliveries,
            gone: gone.binary_search(position).is_ok(),
        };
        let is_volatile = self.is_volatile(id);
        // Of records in memory no replay knows more than that the number is used.
        let logged: &[DeadRecord] = if is_volatile { &[] } else { &of.records };
        let moving = self.moves.next();
        let leaving = Leaving {
            number: number.filter(|_| !is_volatile),
            moving,
            head: ShareMove { records: Vec::new(), ..of.clone() },
            records: logged.iter().map(leaves).collect(),
        };
        let place = turn.log(urgency, |out| entry::put_moving(out, &leaving));
        let move_out = Moving::Share(Arc::new(of));
        move_out.hold(&mut self.live);
        turn.say(place.lsn, ShardEffect::Move(move_out.effect(self.id, moving)));
        self.moves.begin(moving, move_out);
        if gone.is_empty() {
            return;
        }
        if let Some(partition) = self.streams.partitions.get_mut(&id).filter(|_| !is_volatile) {
            partition.after = place.lsn;
        }
        self.leave_stream(id, gone);
        self.shares.look_at(id);
    }

    fn is_volatile(&self, id: QueueId) -> bool {
        self.streams.partitions.get(&id).is_some_and(|of| of.is_volatile())
    }

    /// Takes records out of a partition, the same in replay.
    fn leave_stream(&mut self, id: QueueId, gone: &[Position]) {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        for position in gone {
            partition.let_go(*position, |batch| self.live.let_go(batch.place.lsn, batch.len));
        }
    }

    /// See [`Self::begin_dead`]; from the log.
    pub(super) fn replay_dead(&mut self, of: Leaving) -> Result<(), String> {
        let Leaving { number, moving, mut head, records } = of;
        let id = head.partition;
        let not_there = |position: Position| format!("moves position {position}, which is not there");
        let partition = self.streams.partitions.get(&id);
        let partition = partition.ok_or_else(|| format!("moves records of unknown partition {id}"))?;
        for LeavingRecord { position, deliveries, .. } in &records {
            let batch = partition.index.get(*position).ok_or_else(|| not_there(*position))?.found();
            head.records.push(DeadRecord { position: *position, deliveries: *deliveries, batch });
        }
        if let Some(number) = number {
            let share = super::of_number(&mut self.shares, number);
            let share = share.ok_or_else(|| format!("moves records of unknown group {}", number.0))?;
            for LeavingRecord { position, .. } in &records {
                share.end(*position).ok_or_else(|| not_there(*position))?;
            }
        }
        let move_out = Moving::Share(Arc::new(head));
        move_out.hold(&mut self.live);
        self.moves.replay(moving, move_out)?;
        let gone: Vec<Position> =
            records.iter().filter(|record| record.gone).map(|record| record.position).collect();
        self.leave_stream(id, &gone);
        Ok(())
    }

    /// Whether a group has to wait with what it gives up: too many moves are under way. It is looked at again when one has ended.
    pub(super) fn stalls(&mut self, number: ShareNumber) -> bool {
        let share = self.shares.groups.get(&number);
        let stalls = self.moves.is_full() && share.is_some_and(|share| share.settings.dead_letter.is_some());
        if stalls {
            self.shares.stalled.insert(number);
        }
        stalls
    }
}
