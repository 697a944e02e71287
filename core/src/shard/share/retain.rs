//! Streams whose records go by settles: a record goes when no group needs it any more (S22).
//!
//! Whether a record is needed follows from what the groups know, so nothing is kept for each record: a group needs what it wants and has
//! not settled. What was asked last is asked first the next time around, so a record that many groups read costs about one look for each
//! settle. What goes is logged by the stream as records that are gone. Bounds: a step looks at [`SWEPT_MAX`] records.

use crate::queue::positions;
use crate::shard::Shard;
use crate::shard::effect::Turn;
use crate::share::{Share, ShareNumber};
use crate::stream::{Partition, Stored};
use stele_model::id::{Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::settle::Run;
use stele_model::share::{SettlePolicy, ShareRefusal, ShareSettings, ShareStart};
use stele_model::stream::records::Retention;

/// Records that one step looks at.
const SWEPT_MAX: usize = 1024;

impl Shard {
    fn retention(&self, id: QueueId) -> Retention {
        let partition = self.streams.partitions.get(&id);
        partition.and_then(|of| of.by_record()).map_or(Retention::Limits, |of| of.retention)
    }

    /// A group has settled these: those that no other needs go.
    pub(super) fn let_settled_go(&mut self, number: ShareNumber, runs: &[Run], turn: &mut Turn<'_>) {
        let Some(share) = self.shares.groups.get(&number) else { return };
        let id = share.partition;
        let gone = self.unneeded(id, positions(runs), number);
        self.remove_records(id, &gone, Urgency::Rides, turn);
    }

    /// Those of a partition's records, settled by this group, that go because no other needs them.
    pub(super) fn unneeded(
        &self,
        id: QueueId,
        settled: impl Iterator<Item = Position>,
        number: ShareNumber,
    ) -> Vec<Position> {
        if self.retention(id) == Retention::Limits {
            return Vec::new();
        }
        settled.filter(|position| !self.is_needed(id, *position, number)).collect()
    }

    /// Whether a group wants the record and has not settled it. Groups behind `after` are asked first.
    fn is_needed(&self, id: QueueId, position: Position, after: ShareNumber) -> bool {
        let Some(partition) = self.streams.partitions.get(&id) else { return false };
        let Some(record) = partition.index.get(position) else { return false };
        let Some(of) = self.shares.of.get(&id) else { return false };
        let behind = of.numbers.range(ShareNumber(after.0.saturating_add(1))..);
        let mut all = behind.chain(of.numbers.range(..=after));
        all.any(|number| self.shares.groups.get(number).is_some_and(|share| needs(share, partition, &record)))
    }

    /// Records have come to the partition: those that nobody needs go, if they go by interest.
    pub(in crate::shard) fn sweep_new(&mut self, id: QueueId) {
        if self.retention(id) == Retention::Interest {
            let end = self.streams.partitions.get(&id).map_or(Position(0), |of| of.end);
            let from = self.shares.swept.insert(id, end).unwrap_or(Position(0));
            self.sweep_interest(id, from);
        }
    }

    /// A group has left the partition, or nobody knows: what stands from here on and nobody needs goes, if it goes by interest.
    pub(in crate::shard) fn sweep_interest(&mut self, id: QueueId, from: Position) {
        if self.retention(id) == Retention::Interest {
            let at = self.shares.sweeps.entry(id).or_insert(from);
            *at = (*at).min(from);
        }
    }

    /// Goes on with sweeps that were begun.
    pub(in crate::shard) fn step_sweeps(&mut self, turn: &mut Turn<'_>) {
        let Some((id, from)) = self.shares.sweeps.pop_first() else { return };
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        let records: Vec<Position> = partition.index.from(from).take(SWEPT_MAX).map(|of| of.first).collect();
        let next = records.last().map(|last| Position(last.0 + 1)).filter(|_| records.len() == SWEPT_MAX);
        let gone: Vec<Position> =
            records.into_iter().filter(|at| !self.is_needed(id, *at, ShareNumber(0))).collect();
        self.remove_records(id, &gone, Urgency::Rides, turn);
        if let Some(next) = next {
            self.shares.sweeps.insert(id, next);
        }
    }

    /// Whether a partition whose records go by settles can have a group like this besides the others.
    pub(super) fn fits_retention(
        &self,
        id: QueueId,
        besides: Option<ShareNumber>,
        settings: &ShareSettings,
    ) -> Result<(), ShareRefusal> {
        if self.retention(id) != Retention::Work {
            return Ok(());
        }
        if settings.settle != SettlePolicy::Explicit || settings.start != ShareStart::All {
            return Err(ShareRefusal::NeedsSettles);
        }
        let others = self.shares.of.get(&id).into_iter().flat_map(|of| &of.numbers);
        let others = others.filter(|number| Some(**number) != besides);
        let overlaps = |other: &ShareNumber| {
            self.shares.groups.get(other).is_some_and(|other| overlap(&other.settings, settings))
        };
        if others.into_iter().any(overlaps) { Err(ShareRefusal::Overlap) } else { Ok(()) }
    }
}

fn overlap(one: &ShareSettings, other: &ShareSettings) -> bool {
    let all = one.filters.is_empty() || other.filters.is_empty();
    all || one.filters.iter().any(|a| other.filters.iter().any(|b| a.overlaps(b)))
}

/// Whether the group wants the record and has not settled it.
fn needs(share: &Share, partition: &Partition, record: &Stored) -> bool {
    let open = record.first >= share.next
        || share.pending.find(record.first).is_some()
        || share.lasts.as_ref().is_some_and(|lasts| lasts.may_hold(record.first));
    open && partition.fits(&share.settings.filters, record)
}
