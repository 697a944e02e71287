//! When something of a group is due.
//!
//! One set for all groups of a shard. What must hold: a sign of life costs no change of the set while the old time is still to come: the
//! time is looked at again when it comes, and put off. So a group of 10 000 members costs as many changes per session time, not per sign.

use super::{Group, GroupNumber};
use std::collections::BTreeSet;
use stele_model::id::Now;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A member has shown no sign of life, or has not joined with the number that it was given.
    Member(u64),
    /// Waiting for members to join ends.
    Join,
    /// Waiting for members to ask for their parts ends.
    Sync,
    /// Positions, or the empty group, may go.
    Retention,
}

/// All times.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Now, GroupNumber, Due)>);

/// A time that is mostly put off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lazy {
    /// When it is due; `None`: never.
    due: Option<Now>,
    /// When it is looked at, not after `due`.
    set: Option<Now>,
}

impl Timers {
    pub(crate) fn first(&self) -> Option<Now> {
        self.0.first().map(|(at, _, _)| *at)
    }

    /// Takes out the first if it is due.
    pub(crate) fn pop(&mut self, now: Now) -> Option<(GroupNumber, Due)> {
        let (at, group, due) = *self.0.first()?;
        if at > now {
            return None;
        }
        self.0.remove(&(at, group, due));
        Some((group, due))
    }

    /// Moves a time of a group; `slot` is where the group keeps it.
    pub(crate) fn set(&mut self, group: GroupNumber, what: Due, slot: &mut Option<Now>, at: Option<Now>) {
        if let Some(before) = std::mem::replace(slot, at) {
            self.0.remove(&(before, group, what));
        }
        if let Some(at) = at {
            self.0.insert((at, group, what));
        }
    }

    /// Moves a member's time.
    pub(crate) fn put_off(&mut self, group: GroupNumber, member: u64, lazy: &mut Lazy, due: Option<Now>) {
        lazy.due = due;
        let Some(due) = due else { return };
        if lazy.set.is_none_or(|set| due < set) {
            self.set(group, Due::Member(member), &mut lazy.set, Some(due));
        }
    }

    /// The member's time has come out of the set. Is it due, or was it put off?
    pub(crate) fn has_come(&mut self, group: GroupNumber, member: u64, lazy: &mut Lazy, now: Now) -> bool {
        lazy.set = None;
        match lazy.due {
            None => false,
            Some(due) if due <= now => true,
            Some(due) => {
                self.set(group, Due::Member(member), &mut lazy.set, Some(due));
                false
            }
        }
    }

    /// The member is no more.
    pub(crate) fn drop_member(&mut self, group: GroupNumber, member: u64, lazy: &mut Lazy) {
        self.set(group, Due::Member(member), &mut lazy.set, None);
    }

    /// The group is no more.
    pub(crate) fn forget(&mut self, group: &mut Group) {
        let number = group.number;
        self.set(number, Due::Join, &mut group.join_due, None);
        self.set(number, Due::Sync, &mut group.sync_due, None);
        self.set(number, Due::Retention, &mut group.retention_due, None);
        for (member, time) in group.roster.times() {
            self.drop_member(number, member, time);
        }
    }
}
