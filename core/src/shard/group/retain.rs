//! What goes with time, and with the streams that go.

use super::Seat;
use crate::group::GroupNumber;
use crate::group::timer::Due;
use crate::shard::Shard;
use crate::shard::effect::Turn;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use stele_model::group::{GroupAnswer, GroupRefusal, GroupState};
use stele_model::id::{Now, QueueId};
use stele_model::machine::Urgency;

/// Groups searched in one step for positions of partitions that are gone.
const SEARCHED_MAX: usize = 1000;

impl Seat<'_, '_> {
    pub(super) fn delete(&mut self) -> Result<GroupAnswer, GroupRefusal> {
        if self.group.state != GroupState::Empty {
            return Err(GroupRefusal::NotEmpty);
        }
        self.log_gone(Urgency::Urgent);
        for number in self.group.roster.pending_numbers() {
            self.remove_pending(&number);
        }
        Ok(GroupAnswer::Unit)
    }

    /// While the group is empty, or stable with positions, it is looked at now and then; see [`Self::retention_due`].
    pub(super) fn look_later(&mut self) {
        let may_lose = match self.group.state {
            GroupState::Empty => true,
            GroupState::Stable => !self.group.known.positions.is_empty(),
            GroupState::Joining | GroupState::Dividing | GroupState::Dead => false,
        };
        if may_lose && self.group.retention_due.is_none() {
            let at = self.now().plus_ms(self.around.settings.empty_ms);
            self.set_retention_due(Some(at));
        }
    }

    /// The group is neither empty nor stable.
    pub(super) fn look_not(&mut self) {
        self.set_retention_due(None);
    }

    fn set_retention_due(&mut self, at: Option<Now>) {
        self.around.timers.set(self.group.number, Due::Retention, &mut self.group.retention_due, at);
    }

    /// Forgets positions whose time is over. `true`: nothing is left of the group, and it may go.
    pub(super) fn retention_due(&mut self) -> bool {
        self.group.retention_due = None;
        if !matches!(self.group.state, GroupState::Empty | GroupState::Stable) {
            return false;
        }
        if self.around.clock_jumped {
            self.look_later();
            return false;
        }
        if self.group.state == GroupState::Stable {
            self.forget_unread();
            return false;
        }
        let (now, retention_ms) = (self.now(), self.around.settings.retention_ms);
        let (mut over, mut next) = (Vec::new(), None::<Now>);
        for (partition, held) in &self.group.known.positions {
            let expires = self.group.known.expires(held, retention_ms);
            if expires <= now {
                over.push(*partition);
            } else {
                next = Some(next.map_or(expires, |next| next.min(expires)));
            }
        }
        if next.is_none() && self.group.roster.is_empty() {
            self.log_gone(Urgency::Rides);
            return true;
        }
        self.log_forgotten(&over);
        let soon = now.plus_ms(self.around.settings.empty_ms);
        self.set_retention_due(Some(next.unwrap_or(soon)));
        false
    }

    /// Forgets positions of streams that no member reads, a while after they were committed.
    fn forget_unread(&mut self) {
        let (now, retention_ms) = (self.now(), self.around.settings.retention_ms);
        let read = self.group.roster.reads().and_then(|streams| self.group.reading.of(&streams));
        let Some(read) = read else { return }; // The next generation is looked at again.
        let (mut over, mut next) = (Vec::new(), None::<Now>);
        for (partition, held) in self.group.known.positions.iter().filter(|(of, _)| !read.contains(of)) {
            let expires = held.time.plus_ms(retention_ms);
            if expires <= now {
                over.push(*partition);
            } else {
                next = Some(next.map_or(expires, |next| next.min(expires)));
            }
        }
        self.log_forgotten(&over);
        self.set_retention_due(next);
    }

    /// Forgets positions of partitions that are gone.
    fn forget_partitions(&mut self, partitions: &BTreeSet<QueueId>) {
        let known = &self.group.known.positions;
        let gone: Vec<QueueId> = if partitions.len() < known.len() {
            partitions.iter().filter(|of| known.contains_key(of)).copied().collect()
        } else {
            known.keys().filter(|of| partitions.contains(of)).copied().collect()
        };
        self.log_forgotten(&gone);
        self.group.reading.gone(partitions);
        self.look_later();
    }
}

impl Shard {
    /// Partitions are gone, here or elsewhere.
    pub(in crate::shard) fn partitions_gone(&mut self, partitions: Vec<QueueId>) {
        if !partitions.is_empty() && !self.groups.all.is_empty() {
            self.groups.gone.push_back(partitions);
        }
    }

    /// One step of the search for what groups know of partitions that are gone.
    pub(super) fn forget_gone(&mut self, turn: &mut Turn<'_>) {
        let Some(first) = self.groups.gone.front() else { return };
        let partitions: BTreeSet<QueueId> = first.iter().copied().collect();
        let rest = (Bound::Excluded(self.groups.searched), Bound::Unbounded);
        let some = self.groups.all.range(rest).take(SEARCHED_MAX);
        let some: Vec<_> = some.map(|(of, group)| (*of, group.home, Arc::clone(&group.name))).collect();
        for (_, home, name) in &some {
            if let Some(mut seat) = self.seat(*home, name, turn) {
                seat.forget_partitions(&partitions);
            }
        }
        self.groups.searched = some.last().map_or(GroupNumber(0), |(of, ..)| *of);
        if some.len() < SEARCHED_MAX {
            self.groups.gone.pop_front();
            self.groups.searched = GroupNumber(0);
        }
    }
}
