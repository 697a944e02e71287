//! Records of a partition are gone: their deliveries in its groups have ended.
//!
//! Called by whoever takes records out of a partition, with their positions; if there are too many deliveries to look at in one turn (S7) the
//! groups doubt them, and look in steps. What must hold: a delivery of a record that cannot be read ends without anybody asking; who
//! listens hears of it, but for a purge; what was purged counts as delivered and settled.

use super::entry::{self, Ended};
use crate::queue::extend_runs;
use crate::shard::Shard;
use crate::shard::effect::Turn;
use crate::share::pending::Slot;
use crate::share::{Doubt, Gone, ShareNumber};
use stele_model::id::{Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::settle::Run;
use stele_model::share::ShareEvent;

/// Deliveries that are looked for in one turn.
const FINDS_MAX: usize = 8192;
/// Deliveries of one group that are looked at in one step.
const DOUBTED_MAX: usize = 2048;

impl Shard {
    /// The group may have deliveries that have not ended.
    pub(super) fn holds(&mut self, number: ShareNumber) {
        let Some(share) = self.shares.groups.get(&number).filter(|share| share.pending.count() > 0) else {
            return;
        };
        if let Some(of) = self.shares.of.get_mut(&share.partition) {
            of.holding.insert(number);
        }
    }

    /// What has made room for others is gone.
    pub(super) fn end_pushed_out(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        let Some(gone) = self.shares.gone_of(id) else { return };
        let Gone { told, untold } = std::mem::take(gone);
        self.end_gone(id, told, true, turn);
        self.end_gone(id, untold, false, turn);
    }

    /// Records are gone. `told`: listeners hear of their deliveries.
    pub(in crate::shard) fn end_gone(
        &mut self,
        id: QueueId,
        mut gone: Vec<Position>,
        told: bool,
        turn: &mut Turn<'_>,
    ) {
        gone.sort_unstable();
        let Some(from) = gone.first().copied() else { return };
        let Some(of) = self.shares.of.get_mut(&id) else { return };
        if of.holding.len().saturating_mul(gone.len()) > FINDS_MAX {
            return self.shares.doubt(id, Doubt { from, told });
        }
        let groups = &self.shares.groups;
        of.holding.retain(|number| groups.get(number).is_some_and(|share| share.pending.count() > 0));
        for number in of.holding.iter().copied().collect::<Vec<_>>() {
            let Some(share) = self.shares.groups.get(&number) else { continue };
            let mut lost: Vec<Run> = Vec::new();
            let held = gone.iter().filter(|position| share.pending.find(**position).is_some());
            held.for_each(|position| extend_runs(&mut lost, *position));
            self.lose(number, &lost, told, turn);
        }
    }

    /// Ends what has to end in a group before anything is told of it.
    pub(super) fn put_right(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        self.end_below_start(number, turn);
        self.end_doubted(number, turn);
        let Some(share) = self.shares.groups.get(&number).filter(|share| share.floor().next < share.purged)
        else {
            return;
        };
        let logs = share.logs();
        let passed = self.shares.groups.get_mut(&number).and_then(|share| share.pass_purged());
        if let Some(reached) = passed.filter(|_| logs) {
            turn.log(Urgency::Rides, |out| entry::put_passed(out, number, reached));
        }
    }

    /// Deliveries of records that are below the partition's start have ended, some of them. Listeners hear of those that were not purged.
    fn end_below_start(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let Some(partition) = self.streams.partitions.get(&share.partition) else { return };
        let Some((first, _)) = share.pending.first().filter(|(first, _)| *first < partition.start) else {
            return;
        };
        let is_purged = first < share.purged;
        let below = if is_purged { share.purged.min(partition.start) } else { partition.start };
        let mut lost: Vec<Run> = Vec::new();
        let below = share.pending.range(Position(0)..below).take(DOUBTED_MAX);
        below.for_each(|(position, _)| extend_runs(&mut lost, position));
        self.lose(number, &lost, !is_purged, turn);
    }

    /// Deliveries whose records may be gone are looked at, some of them.
    fn end_doubted(&mut self, number: ShareNumber, turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let Some(Doubt { from, told }) = share.doubt else { return };
        let Some(partition) = self.streams.partitions.get(&share.partition) else { return };
        let mut lost: Vec<Run> = Vec::new();
        let mut rest = None;
        for (n, (position, _)) in share.pending.range(from..share.next).enumerate() {
            if n == DOUBTED_MAX {
                rest = Some(Doubt { from: position, told });
                break;
            }
            if partition.index.get(position).is_none() {
                extend_runs(&mut lost, position);
            }
        }
        if let Some(share) = self.shares.groups.get_mut(&number) {
            share.doubt = rest;
        }
        self.shares.again.extend(rest.map(|_| number));
        self.lose(number, &lost, told, turn);
    }

    /// Deliveries have ended because their records are gone.
    fn lose(&mut self, number: ShareNumber, lost: &[Run], told: bool, turn: &mut Turn<'_>) {
        if lost.is_empty() {
            return;
        }
        let slots = if told { self.told_slots(number, lost) } else { Vec::new() };
        self.end_share(number, Ended::Lost, lost, false, turn);
        let what = |position, Slot { sequence, deliveries, .. }: Slot| ShareEvent::Lost {
            position,
            sequence,
            deliveries,
        };
        self.tell_of(number, slots, what, turn);
        self.shares.again.insert(number);
    }
}
