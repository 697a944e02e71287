//! From one generation to the next: who has come, who leads, when waiting ends.

use super::Seat;
use crate::group::Initial;
use crate::group::member::Waits;
use crate::group::reading::Reading;
use stele_model::group::{GroupRefusal, GroupState};

impl Seat<'_, '_> {
    /// Somebody came, left, or brought something else: a new generation begins, or the one that is gathering is perhaps complete.
    pub(super) fn rebalance_or_complete(&mut self) {
        match self.group.state {
            GroupState::Joining => self.maybe_complete(),
            GroupState::Empty | GroupState::Dividing | GroupState::Stable => self.prepare(),
            GroupState::Dead => {}
        }
    }

    /// Ends the gathering if all have come; the first after an empty group goes on until its time is over.
    pub(super) fn maybe_complete(&mut self) {
        let gathering = self.group.state == GroupState::Joining && self.group.initial.is_none();
        if gathering && self.group.roster.all_joined() {
            self.complete_join();
        }
    }

    /// A new generation begins: all are to join.
    pub(super) fn prepare(&mut self) {
        if self.group.state == GroupState::Dividing {
            for member in self.group.roster.ids() {
                if let Some(of) = self.group.roster.get_mut(member)
                    && matches!(of.waits, Waits::Sync(_))
                {
                    self.answer(member, Err(GroupRefusal::Rebalancing));
                    self.touch(member);
                }
            }
        }
        for member in self.group.roster.unsynced() {
            self.group.roster.set_synced(member, true);
        }
        self.set_sync_due(None);
        let first = self.group.state == GroupState::Empty;
        self.group.state = GroupState::Joining;
        self.look_not();
        let rebalance_ms = self.group.roster.rebalance_ms();
        let delay_ms = self.around.settings.initial_delay_ms;
        if first && delay_ms == 0 {
            return self.complete_join();
        }
        if first {
            let left_ms = rebalance_ms.saturating_sub(delay_ms);
            self.group.initial = Some(Initial { delay_ms, left_ms, came: false });
            return self.set_join_due(Some(self.now().plus_ms(delay_ms)));
        }
        if self.group.roster.all_joined() {
            return self.complete_join();
        }
        self.set_join_due(Some(self.now().plus_ms(rebalance_ms)));
    }

    /// Waiting for members to join is over.
    pub(super) fn join_due(&mut self) {
        self.group.join_due = None;
        if let Some(Initial { delay_ms, left_ms, came: true }) = self.group.initial
            && left_ms > 0
        {
            let next_ms = self.around.settings.initial_delay_ms.min(left_ms);
            let left_ms = left_ms.saturating_sub(delay_ms);
            self.group.initial = Some(Initial { delay_ms: next_ms, left_ms, came: false });
            return self.set_join_due(Some(self.now().plus_ms(next_ms)));
        }
        if self.group.state == GroupState::Joining {
            self.complete_join();
        }
    }

    /// Begins the generation with those who have come. Static members that have not stay in it; others go.
    pub(super) fn complete_join(&mut self) {
        self.set_join_due(None);
        self.group.initial = None;
        for member in self.group.roster.ids() {
            let goes = self
                .group
                .roster
                .get(member)
                .is_some_and(|of| !matches!(of.waits, Waits::Join(_)) && of.profile.instance.is_none());
            if goes {
                self.remove_member(member, &GroupRefusal::UnknownMember);
            }
        }
        if self.group.roster.count() == 0 {
            return self.become_empty();
        }
        if !self.elect() {
            // Only static members are left, and none of them has come.
            let again = self.now().plus_ms(self.group.roster.rebalance_ms());
            return self.set_join_due(Some(again));
        }
        self.next_generation();
        self.group.protocol = self.group.roster.choose();
        self.group.state = GroupState::Dividing;
        for member in self.group.roster.ids() {
            self.group.roster.set_synced(member, false);
            let joined = self.joined(member, false);
            self.answer(member, Ok(joined));
            if let Some(of) = self.group.roster.get_mut(member) {
                of.fresh = false;
                of.told = true;
                of.part = bytes::Bytes::new();
            }
            self.touch(member);
        }
        let rebalance_ms = self.group.roster.rebalance_ms();
        self.set_sync_due(Some(self.now().plus_ms(rebalance_ms)));
    }

    /// Who leads has come. Else the first of those who have leads from now on; `false`: nobody has come.
    fn elect(&mut self) -> bool {
        let roster = &mut self.group.roster;
        let waits = |id: u64| roster.get(id).is_some_and(|member| matches!(member.waits, Waits::Join(_)));
        if roster.leader().is_some_and(waits) {
            return true;
        }
        let first = roster.ids().into_iter().find(|id| waits(*id));
        if let Some(first) = first {
            roster.lead(first);
        }
        first.is_some()
    }

    /// The last member has left.
    fn become_empty(&mut self) {
        self.next_generation();
        self.group.protocol.clear();
        self.group.state = GroupState::Empty;
        self.group.reading = Reading::default();
        self.log_generation();
        self.log_reading();
        self.look_later();
    }

    fn next_generation(&mut self) {
        self.group.generation = self.group.generation.checked_add(1).unwrap_or(0);
    }
}
