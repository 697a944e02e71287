//! Members that go: because they say so, because nothing was heard of them, or because they ended with their connection.

use super::Seat;
use crate::group::member::Waits;
use stele_model::group::{GroupAnswer, GroupRefusal, GroupState, Leaver};

impl Seat<'_, '_> {
    pub(super) fn leave(&mut self, members: &[Leaver]) -> Result<GroupAnswer, GroupRefusal> {
        let left: Vec<_> = members.iter().map(|member| self.leave_one(member)).collect();
        if left.iter().any(Result::is_ok) {
            match self.group.state {
                GroupState::Joining => self.maybe_complete(),
                GroupState::Dividing | GroupState::Stable => self.prepare(),
                GroupState::Empty | GroupState::Dead => {}
            }
        }
        Ok(GroupAnswer::Left(left))
    }

    fn leave_one(&mut self, of: &Leaver) -> Result<(), GroupRefusal> {
        let member = if of.member.is_empty() {
            let holder = of.instance.as_deref().and_then(|name| self.group.roster.by_instance(name));
            holder.ok_or(GroupRefusal::UnknownMember)?
        } else if self.remove_pending(&of.member) {
            return Ok(());
        } else {
            self.known(&of.member, of.instance.as_deref())?
        };
        self.remove_member(member, &GroupRefusal::UnknownMember);
        Ok(())
    }

    /// Takes a member out, and answers what it waits for.
    pub(super) fn remove_member(&mut self, id: u64, why: &GroupRefusal) {
        self.answer(id, Err(why.clone()));
        if let Some(mut member) = self.group.roster.remove(id) {
            self.around.timers.drop_member(self.group.number, id, &mut member.time);
        }
        self.synced_perhaps();
    }

    /// Forgets a number that was given and not yet used. `false`: there is no such one.
    pub(super) fn remove_pending(&mut self, number: &str) -> bool {
        let Some((id, mut time)) = self.group.roster.remove_pending(number) else { return false };
        self.around.timers.drop_member(self.group.number, id, &mut time);
        true
    }

    /// A member's time has come.
    pub(super) fn member_due(&mut self, id: u64) {
        let (now, group) = (self.now(), self.group.number);
        if let Some(number) = self.group.roster.pending_number(id) {
            let Some(time) = self.group.roster.pending_time(&number) else { return };
            if self.around.timers.has_come(group, id, time, now) {
                self.remove_pending(&number);
                self.complete_if_joined();
            }
            return;
        }
        let Some(member) = self.group.roster.get_mut(id) else { return };
        if !self.around.timers.has_come(group, id, &mut member.time, now) {
            return;
        }
        self.remove_member(id, &GroupRefusal::UnknownMember);
        match self.group.state {
            GroupState::Dividing | GroupState::Stable => self.prepare(),
            _ => self.complete_if_joined(),
        }
    }

    fn complete_if_joined(&mut self) {
        if self.group.state == GroupState::Joining && self.group.roster.all_joined() {
            self.complete_join();
        }
    }

    /// Whoever waited for the member's answer is gone. A member whose client never learned its number cannot come back; others have
    /// their session time.
    pub(super) fn abandon(&mut self, id: u64) {
        let Some(member) = self.group.roster.get(id) else { return };
        let lost = !member.told && member.profile.instance.is_none();
        let joined = matches!(member.waits, Waits::Join(_));
        self.wait(id, Waits::Nothing);
        if lost && joined {
            self.remove_member(id, &GroupRefusal::UnknownMember);
            return self.complete_if_joined();
        }
        self.touch(id);
    }
}
