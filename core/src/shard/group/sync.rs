//! The leader brings the parts, and each member gets its own.

use super::{Reply, Seat};
use crate::group::known::Generation;
use crate::group::member::{Waiter, Waits};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_model::group::{GroupAnswer, GroupRefusal, GroupState, MemberRef};

/// Kind of protocol and way of dividing, as a member believes them to be.
type Believed = (Option<String>, Option<String>);

impl Seat<'_, '_> {
    pub(super) fn sync(
        &mut self,
        from: Waiter,
        of: &MemberRef,
        protocol: &Believed,
        parts: Vec<(String, Bytes)>,
    ) -> Reply {
        let id = match self.may_sync(of, protocol) {
            Ok(id) => id,
            Err(refusal) => return Some(Err(refusal)),
        };
        match self.group.state {
            GroupState::Dividing if self.group.roster.leader() == Some(id) => {
                let parts = self.divided(parts);
                if self.generation_bytes(&parts) > self.generation_bytes_max() {
                    return Some(Err(GroupRefusal::MetadataTooLarge));
                }
                self.park(from, id);
                self.complete_sync(parts);
                None
            }
            GroupState::Dividing => {
                self.park(from, id);
                None
            }
            GroupState::Stable => {
                self.note_synced(id);
                Some(Ok(self.synced(id)))
            }
            GroupState::Joining => Some(Err(GroupRefusal::Rebalancing)),
            GroupState::Empty | GroupState::Dead => Some(Err(GroupRefusal::UnknownMember)),
        }
    }

    fn may_sync(&self, of: &MemberRef, (kind, protocol): &Believed) -> Result<u64, GroupRefusal> {
        let member = self.known_member(of)?;
        if of.generation != self.group.generation {
            return Err(GroupRefusal::IllegalGeneration);
        }
        let differs = |said: &Option<String>, is: &str| said.as_deref().is_some_and(|said| said != is);
        if differs(kind, &self.group.kind) || differs(protocol, &self.group.protocol) {
            return Err(GroupRefusal::InconsistentProtocol);
        }
        Ok(member)
    }

    fn park(&mut self, from: Waiter, id: u64) {
        if let Waits::Join(to) | Waits::Sync(to) = self.wait(id, Waits::Sync(from)) {
            self.say(to, Err(GroupRefusal::Rebalancing));
        }
        self.note_synced(id);
        if let Some(member) = self.group.roster.get_mut(id) {
            // Who waits is there.
            self.around.timers.put_off(self.group.number, id, &mut member.time, None);
        }
    }

    fn note_synced(&mut self, id: u64) {
        self.group.roster.set_synced(id, true);
        self.synced_perhaps();
    }

    /// Everybody has asked for its part: nobody is waited for.
    pub(super) fn synced_perhaps(&mut self) {
        if self.group.roster.all_synced() {
            self.set_sync_due(None);
        }
    }

    /// The members that are there, in order, each with what the leader has for it.
    fn divided(&self, parts: Vec<(String, Bytes)>) -> Vec<(u64, Bytes)> {
        let parts: BTreeMap<String, Bytes> = parts.into_iter().collect();
        let part =
            |number: &str| parts.get(number).map_or_else(Bytes::new, |part| Bytes::copy_from_slice(part));
        self.group.roster.iter().map(|(id, member)| (id, part(&member.profile.number))).collect()
    }

    /// The generation is complete: it is logged, and everybody who waits gets its part.
    fn complete_sync(&mut self, parts: Vec<(u64, Bytes)>) {
        for (id, part) in parts {
            if let Some(member) = self.group.roster.get_mut(id) {
                member.part = part;
            }
        }
        self.group.state = GroupState::Stable;
        self.log_generation();
        if let Some(streams) = self.group.roster.reads() {
            self.group.reading.keep(&streams);
        }
        self.log_reading();
        self.look_later();
        for id in self.group.roster.ids() {
            if self.group.roster.get(id).is_some_and(|member| matches!(member.waits, Waits::Sync(_))) {
                let synced = self.synced(id);
                self.answer(id, Ok(synced));
                self.touch(id);
            }
        }
    }

    fn synced(&self, id: u64) -> GroupAnswer {
        GroupAnswer::Synced {
            kind: self.group.kind.clone(),
            protocol: self.group.protocol.clone(),
            part: self.group.roster.get(id).map(|member| member.part.clone()).unwrap_or_default(),
        }
    }

    /// Waiting for members to ask for their parts is over: who has not is not there.
    pub(super) fn sync_due(&mut self) {
        self.group.sync_due = None;
        let absent = self.group.roster.unsynced();
        if absent.is_empty() || !matches!(self.group.state, GroupState::Dividing | GroupState::Stable) {
            return;
        }
        for member in absent {
            self.remove_member(member, &GroupRefusal::UnknownMember);
        }
        self.prepare();
    }

    /// The generation as it is to be logged.
    pub(super) fn complete_generation(&self) -> Generation {
        let members = self.group.roster.iter();
        Generation {
            number: self.group.generation,
            kind: self.group.kind.clone(),
            protocol: self.group.protocol.clone(),
            leader: self.group.roster.leader_number(),
            members: members.map(|(_, member)| (Arc::clone(&member.profile), member.part.clone())).collect(),
        }
    }

    /// Bytes of the generation's entry, about and not less.
    fn generation_bytes(&self, parts: &[(u64, Bytes)]) -> usize {
        let parts: usize = parts.iter().map(|(_, part)| part.len() + 4).sum();
        self.group.roster.bytes()
            + parts
            + self.name.len()
            + self.group.kind.len()
            + 2 * usize::from(u16::MAX)
    }

    fn generation_bytes_max(&self) -> usize {
        self.turn.journal.entry_bytes_max()
    }
}
