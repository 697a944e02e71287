//! The order in which what is known of a home's groups was logged.
//!
//! Called wherever a generation or position is logged, and by replay. What must hold: each thing that still holds has one place, places
//! grow and are never used again, so a reader who comes back finds all that is new behind the place where it was.

use super::GroupNumber;
use super::known::KnownGroup;
use std::collections::BTreeMap;
use stele_model::id::QueueId;

/// The places of a home.
#[derive(Debug, Default)]
pub(crate) struct Places {
    next: u64,
    /// What holds: a group's position of a partition, or (without one) its generation.
    held: BTreeMap<u64, (GroupNumber, Option<QueueId>)>,
}

impl Places {
    /// The place that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// As a snapshot says.
    pub(crate) fn set_next(&mut self, next: u64) {
        self.next = next;
    }

    /// Something is logged; what was logged before of the same does not hold any more.
    pub(crate) fn log(&mut self, before: Option<u64>, group: GroupNumber, of: Option<QueueId>) -> u64 {
        if let Some(before) = before {
            self.held.remove(&before);
        }
        let at = self.next;
        self.next += 1;
        self.held.insert(at, (group, of));
        at
    }

    /// Something of a snapshot.
    pub(crate) fn restore(&mut self, at: u64, group: GroupNumber, of: Option<QueueId>) {
        self.held.insert(at, (group, of));
    }

    /// It does not hold any more.
    pub(crate) fn end(&mut self, at: u64) {
        self.held.remove(&at);
    }

    /// Nothing of the group holds any more.
    pub(crate) fn forget(&mut self, group: &KnownGroup) {
        for at in group.positions.values().map(|held| held.at).chain(group.at) {
            self.held.remove(&at);
        }
    }

    /// What holds, from a place on.
    pub(crate) fn from(&self, from: u64) -> impl Iterator<Item = (u64, GroupNumber, Option<QueueId>)> + '_ {
        self.held.range(from..).map(|(at, (group, of))| (*at, *group, *of))
    }
}
