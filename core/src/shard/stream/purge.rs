//! Purges: records of some subjects or below a position go, and groups go on behind them.
//!
//! Called by [`super::records`], and for records that roll others up. What must hold: what goes is logged by position (S1); what is below a
//! position goes at once; everything else goes in steps (S7), and the answer comes at the end of all; a group that wants nothing but
//! what was purged goes on at what is left of that, one that wants other records too at the partition's start. Attached state: after a
//! restart nobody waits for a purge, and what it has not removed stays. Bounds: see the constants.

use super::super::effect::Turn;
use super::super::entry::Target;
use super::super::publish::Head;
use super::{Shard, entry};
use crate::share::ShareNumber;
use crate::stream::records::Marks;
use crate::stream::{Next, Partition};
use std::ops::ControlFlow;
use stele_model::id::{Call, HubId, Lsn, Position, QueueId};
use stele_model::machine::Urgency;
use stele_model::shard::ShardEffect;
use stele_model::stream::records::{PurgeOf, Rollup, ShardRecordsAnswer};
use stele_model::subject::Pattern;

/// Records that one step removes. The last one of a subject costs a search in the order of names: up to 10 µs among a million.
const PURGE_MAX: u64 = 128;
/// Batches that a purge of all below a position lets go of at once.
const RECLAIMED_MAX: u32 = 1024;
/// Groups that one step looks at.
const GROUPS_MAX: usize = 1024;
/// Purges under way above which groups do not go on behind what is rolled up: they come to it by themselves.
const ROLLED_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Purging {
    /// As whose the partition counts, as if for a group.
    number: u64,
    /// Who waits for it.
    to: Option<(HubId, Call)>,
    partition: QueueId,
    /// At most one.
    filters: Vec<Pattern>,
    from: Position,
    below: Position,
    /// So many of the newest stay.
    keep: u64,
    /// How many it may still remove.
    left: u64,
    removed: u64,
    after: Lsn,
    stage: Stage,
}

/// What a purge is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Counting what it may remove, since some are to stay.
    Counting,
    Removing,
    /// Looking for the first record that is left of what it was told to remove.
    Searching,
    /// Having groups go on, those that want nothing else at `left`; the next one is behind the group of this number.
    Moving {
        left: Position,
        group: u64,
    },
}

impl Shard {
    /// Begins a purge.
    pub(super) fn purge_records(&mut self, to: (HubId, Call), id: QueueId, of: PurgeOf, turn: &mut Turn<'_>) {
        let number = self.streams.walker();
        let Some(partition) = self.streams.partitions.get(&id) else { return };
        let PurgeOf { subjects, below, keep } = of;
        let filters: Vec<Pattern> = subjects.into_iter().collect();
        let below = below.unwrap_or(partition.end).min(partition.end);
        let is_whole = filters.is_empty() && keep.is_none();
        let mut purging = Purging {
            number,
            to: Some(to),
            partition: id,
            filters,
            from: partition.start,
            below,
            keep: keep.unwrap_or(0),
            left: u64::MAX,
            removed: 0,
            after: partition.after,
            stage: if keep.is_some() { Stage::Counting } else { Stage::Removing },
        };
        if is_whole {
            (purging.removed, purging.after) = self.purge_below(id, below, turn);
            purging.stage = Stage::Moving { left: below, group: 0 };
        }
        self.purge_on(purging, turn);
    }

    /// Records have come, each with its marks. Where one has rolled up others groups go on as after a purge of them.
    pub(in crate::shard) fn rolled_up(
        &mut self,
        target: &Target,
        (bytes, heads): (&[u8], &[Head]),
        marks: &[Marks<'_>],
    ) {
        for ((n, head), marks) in (0..).zip(heads).zip(marks) {
            let has_groups = self.shares.of.contains_key(&target.queue);
            if marks.rollup.is_none() || !has_groups || self.streams.purges.len() >= ROLLED_MAX {
                continue;
            }
            let at = Position(target.first.0 + n);
            let subject = bytes.get(head.at as usize..).map_or(&[][..], |record| head.key(record));
            let of_subject = || Pattern::new(subject.to_vec());
            let filters = if marks.rollup == Some(Rollup::Subject) { of_subject() } else { None };
            self.streams.purges.push_back(Purging {
                number: 0,
                to: None,
                partition: target.queue,
                filters: filters.into_iter().collect(),
                from: at,
                below: at,
                keep: 0,
                left: 0,
                removed: 0,
                after: Lsn(0),
                stage: Stage::Moving { left: at, group: 0 },
            });
        }
    }

    /// One step of the purges under way.
    pub(super) fn step_purges(&mut self, turn: &mut Turn<'_>) {
        if let Some(purging) = self.streams.purges.pop_front() {
            self.purge_on(purging, turn);
        }
    }

    /// Goes on with a purge as far as a turn goes: one step of a stage that is not finished by it.
    fn purge_on(&mut self, mut of: Purging, turn: &mut Turn<'_>) {
        while self.streams.partitions.contains_key(&of.partition) {
            let next = match of.stage {
                Stage::Counting => self.count_purged(&mut of, turn).then_some(Stage::Removing),
                Stage::Removing => self.remove_purged(&mut of, turn).then_some(Stage::Searching),
                Stage::Searching => self.first_left(&mut of).map(|left| Stage::Moving { left, group: 0 }),
                Stage::Moving { left, group } => match self.move_groups(&of, left, group) {
                    Some(group) => {
                        of.stage = Stage::Moving { left, group };
                        None
                    }
                    None => break,
                },
            };
            let Some(next) = next else { return self.streams.purges.push_back(of) };
            of.stage = next;
        }
        let Some((hub, call)) = of.to else { return };
        let answer = Ok(ShardRecordsAnswer::Removed(of.removed));
        turn.say(of.after, ShardEffect::Records { hub, call, answer });
    }

    /// All below a position goes at once, and is let go of in steps.
    fn purge_below(&mut self, id: QueueId, below: Position, turn: &mut Turn<'_>) -> (u64, Lsn) {
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return (0, Lsn(0)) };
        let before = partition.count();
        if below > partition.start && before > 0 {
            if !partition.is_volatile() {
                let place = turn.log(Urgency::Urgent, |out| entry::put_trimmed(out, id, below));
                partition.after = place.lsn;
            }
            partition.trim(below);
            self.shares.look_at(id);
        }
        let Some(partition) = self.streams.partitions.get(&id) else { return (0, Lsn(0)) };
        let purged = (before - partition.count(), partition.after);
        let mut left = RECLAIMED_MAX;
        self.look_after(id, &mut left, turn);
        purged
    }

    /// `true`: it is known how many may go.
    fn count_purged(&mut self, of: &mut Purging, turn: &mut Turn<'_>) -> bool {
        let Some(partition) = self.streams.partitions.get_mut(&of.partition) else { return true };
        if !partition.count_on(of.number, &of.filters, of.from, &mut turn.looks) {
            return false;
        }
        let count = partition.counted(of.number, &of.filters, of.from).unwrap_or(0);
        partition.forget_count(of.number);
        of.left = count.saturating_sub(of.keep);
        true
    }

    /// Removes some. `true`: all are removed that were to be.
    fn remove_purged(&mut self, of: &mut Purging, turn: &mut Turn<'_>) -> bool {
        let Some(partition) = self.streams.partitions.get(&of.partition) else { return true };
        let (most, mut positions, mut is_behind) = (of.left.min(PURGE_MAX), Vec::new(), false);
        let next = partition.select(&of.filters, of.from, |record| {
            is_behind = record.first >= of.below;
            if is_behind || positions.len() as u64 == most {
                return ControlFlow::Break(());
            }
            positions.push(record.first);
            ControlFlow::Continue(())
        });
        let is_full = positions.len() as u64 == most;
        of.from = match next {
            Next::Later(from) => from,
            _ => positions.last().map_or(of.from, |last| Position(last.0 + 1)),
        };
        of.left -= positions.len() as u64;
        of.removed += self.remove_records(of.partition, &positions, Urgency::Urgent, turn);
        of.after = self.streams.partitions.get(&of.partition).map_or(of.after, |partition| partition.after);
        self.end_gone(of.partition, positions, false, turn);
        of.left == 0 || is_behind || of.from >= of.below || (!is_full && !matches!(next, Next::Later(_)))
    }

    /// The first record that is left of what it was told to remove, or the partition's end. `None`: the search goes on.
    fn first_left(&mut self, of: &mut Purging) -> Option<Position> {
        let partition = self.streams.partitions.get(&of.partition)?;
        match partition.next(&of.filters, of.from) {
            Next::At(position) => Some(position),
            Next::Nowhere => Some(partition.end),
            Next::Later(from) => {
                of.from = from;
                None
            }
        }
    }

    /// Has some groups go on. `Some`: there are others behind this one.
    fn move_groups(&mut self, of: &Purging, left: Position, behind: u64) -> Option<u64> {
        let partition = self.streams.partitions.get(&of.partition)?;
        let numbers = &self.shares.of.get(&of.partition)?.numbers;
        let mut rest = numbers.range(ShareNumber(behind + 1)..);
        let mut last = None;
        for number in rest.by_ref().take(GROUPS_MAX) {
            last = Some(number.0);
            let Some(share) = self.shares.groups.get(number) else { continue };
            let to = goes_on(partition, of.filters.first(), &share.settings.filters, left);
            if to.is_some_and(|to| share.floor().next < to && share.purged < to) {
                self.shares.again.insert(*number);
                if let Some((share, to)) = self.shares.groups.get_mut(number).zip(to) {
                    share.purged = to;
                }
            }
        }
        rest.next().and(last)
    }
}

/// Where a group goes on behind what was purged; `None`: it wants none of it.
fn goes_on(
    partition: &Partition,
    purged: Option<&Pattern>,
    wanted: &[Pattern],
    left: Position,
) -> Option<Position> {
    let Some(purged) = purged else { return Some(partition.start) };
    let within = wanted.iter().filter(|filter| purged.covers(filter)).count();
    match within {
        0 => {
            let wants = wanted.is_empty() || wanted.iter().any(|filter| filter.covers(purged));
            wants.then_some(partition.start)
        }
        _ if within == wanted.len() => Some(left),
        _ => Some(partition.start),
    }
}
