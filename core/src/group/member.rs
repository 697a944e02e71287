//! Who is in a group now: attached state.
//!
//! Called by the verbs. What must hold: the sums agree with the members (each function that changes one changes the other).

use super::known::Profile;
use super::timer::Lazy;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::{Call, HubId, SessionId};

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) session: SessionId,
    pub(crate) hub: HubId,
    pub(crate) call: Call,
}

/// What a member waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Nothing,
    /// The next generation.
    Join(Waiter),
    /// Its part.
    Sync(Waiter),
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) profile: Arc<Profile>,
    pub(crate) part: Bytes,
    pub(crate) waits: Waits,
    /// It waits for its first generation.
    pub(crate) fresh: bool,
    /// Its client knows its number.
    pub(crate) told: bool,
    /// It has asked for its part in this generation.
    synced: bool,
    pub(crate) time: Lazy,
}

/// Everybody in a group, by a number that grows in the order in which they come.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    members: BTreeMap<u64, Member>,
    numbers: BTreeMap<String, u64>,
    instances: BTreeMap<String, u64>,
    /// Numbers that were given to who has not joined with them yet.
    pending: BTreeMap<String, (u64, Lazy)>,
    pending_numbers: BTreeMap<u64, String>,
    /// How many members know each way of dividing.
    votes: BTreeMap<String, usize>,
    leader: Option<u64>,
    joining: usize,
    unsynced: usize,
    bytes: usize,
}

impl Member {
    pub(crate) fn new(profile: Profile) -> Self {
        Self {
            profile: Arc::new(profile),
            part: Bytes::new(),
            waits: Waits::Nothing,
            fresh: true,
            told: false,
            synced: true,
            time: Lazy::default(),
        }
    }

    /// As a complete generation has it.
    pub(crate) fn settled(profile: &Arc<Profile>, part: &Bytes) -> Self {
        Self {
            profile: Arc::clone(profile),
            part: part.clone(),
            waits: Waits::Nothing,
            fresh: false,
            told: true,
            synced: true,
            time: Lazy::default(),
        }
    }
}

impl Roster {
    /// Nobody is a member or about to become one.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// How many members.
    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    /// How many wait for the next generation.
    pub(crate) fn joining(&self) -> usize {
        self.joining
    }

    /// Everybody who could come to the next generation waits for it.
    pub(crate) fn all_joined(&self) -> bool {
        self.joining == self.members.len() && self.pending.is_empty()
    }

    /// Everybody has asked for its part.
    pub(crate) fn all_synced(&self) -> bool {
        self.unsynced == 0
    }

    /// Bytes of the members.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.members.iter().map(|(id, member)| (*id, member))
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.members.keys().copied().collect()
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Member> {
        self.members.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Member> {
        self.members.get_mut(&id)
    }

    pub(crate) fn by_number(&self, number: &str) -> Option<u64> {
        self.numbers.get(number).copied()
    }

    pub(crate) fn by_instance(&self, instance: &str) -> Option<u64> {
        self.instances.get(instance).copied()
    }

    /// Names of the streams that members read; `None`: of a member nobody can tell.
    pub(crate) fn reads(&self) -> Option<BTreeSet<&str>> {
        let each = self.members.values().map(|member| member.profile.reads.as_deref());
        Some(each.collect::<Option<Vec<_>>>()?.into_iter().flatten().map(String::as_str).collect())
    }

    pub(crate) fn leader(&self) -> Option<u64> {
        self.leader
    }

    pub(crate) fn lead(&mut self, id: u64) {
        assert!(self.members.contains_key(&id), "I40: the leader of a group is a member");
        self.leader = Some(id);
    }

    /// Number of the leader; empty: there is none.
    pub(crate) fn leader_number(&self) -> String {
        let leader = self.leader.and_then(|id| self.get(id));
        leader.map(|member| member.profile.number.clone()).unwrap_or_default()
    }

    /// The longest time that a member gives others to join, milliseconds.
    pub(crate) fn rebalance_ms(&self) -> u64 {
        u64::from(self.members.values().map(|member| member.profile.rebalance_ms).max().unwrap_or(0))
    }

    pub(crate) fn is_pending(&self, number: &str) -> bool {
        self.pending.contains_key(number)
    }

    /// Numbers given to who has not joined with them yet.
    pub(crate) fn pending_numbers(&self) -> Vec<String> {
        self.pending.keys().cloned().collect()
    }

    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn pending_number(&self, id: u64) -> Option<String> {
        self.pending_numbers.get(&id).cloned()
    }

    pub(crate) fn pending_time(&mut self, number: &str) -> Option<&mut Lazy> {
        self.pending.get_mut(number).map(|(_, time)| time)
    }

    pub(crate) fn add_pending(&mut self, number: String, id: u64, time: Lazy) {
        self.pending_numbers.insert(id, number.clone());
        self.pending.insert(number, (id, time));
    }

    pub(crate) fn remove_pending(&mut self, number: &str) -> Option<(u64, Lazy)> {
        let pending = self.pending.remove(number)?;
        self.pending_numbers.remove(&pending.0);
        Some(pending)
    }

    /// All times that are kept for members and those to be.
    pub(crate) fn times(&mut self) -> impl Iterator<Item = (u64, &mut Lazy)> {
        let members = self.members.iter_mut().map(|(id, member)| (*id, &mut member.time));
        members.chain(self.pending.values_mut().map(|(id, time)| (*id, time)))
    }

    pub(crate) fn add(&mut self, id: u64, member: Member) {
        self.count_votes(&member.profile, true);
        self.numbers.insert(member.profile.number.clone(), id);
        if let Some(instance) = &member.profile.instance {
            self.instances.insert(instance.clone(), id);
        }
        self.bytes += member.profile.bytes();
        self.joining += usize::from(matches!(member.waits, Waits::Join(_)));
        self.unsynced += usize::from(!member.synced);
        self.leader.get_or_insert(id);
        let before = self.members.insert(id, member);
        assert!(before.is_none(), "I40: a member is in a group once");
    }

    /// Takes a member out; the first of the others leads if it did.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.count_votes(&member.profile, false);
        self.numbers.remove(&member.profile.number);
        if let Some(instance) = &member.profile.instance {
            self.instances.remove(instance);
        }
        self.bytes -= member.profile.bytes();
        self.joining -= usize::from(matches!(member.waits, Waits::Join(_)));
        self.unsynced -= usize::from(!member.synced);
        if self.leader == Some(id) {
            self.leader = self.members.keys().next().copied();
        }
        Some(member)
    }

    /// The member says other things of itself.
    pub(crate) fn update(&mut self, id: u64, profile: Profile) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let old = std::mem::replace(&mut member.profile, Arc::new(profile));
        let new = Arc::clone(&member.profile);
        self.bytes = self.bytes - old.bytes() + new.bytes();
        self.count_votes(&old, false);
        self.count_votes(&new, true);
        if old.number != new.number {
            self.numbers.remove(&old.number);
            self.numbers.insert(new.number.clone(), id);
        }
    }

    /// What a member waits for, from now on. Returns what it waited for.
    pub(crate) fn wait(&mut self, id: u64, waits: Waits) -> Waits {
        let Some(member) = self.members.get_mut(&id) else { return Waits::Nothing };
        let before = std::mem::replace(&mut member.waits, waits);
        self.joining += usize::from(matches!(waits, Waits::Join(_)));
        self.joining -= usize::from(matches!(before, Waits::Join(_)));
        before
    }

    /// The member has asked for its part, or is to ask.
    pub(crate) fn set_synced(&mut self, id: u64, synced: bool) {
        let Some(member) = self.members.get_mut(&id) else { return };
        self.unsynced += usize::from(!synced);
        self.unsynced -= usize::from(!std::mem::replace(&mut member.synced, synced));
    }

    /// Members that have not asked for their parts.
    pub(crate) fn unsynced(&self) -> Vec<u64> {
        self.iter().filter(|(_, member)| !member.synced).map(|(id, _)| id).collect()
    }

    /// All members know one of these ways of dividing.
    pub(crate) fn knows(&self, protocols: &[(String, Bytes)]) -> bool {
        protocols.iter().any(|(name, _)| self.votes.get(name).is_some_and(|votes| *votes == self.count()))
    }

    /// The way of dividing that most members like best among those that all know; the first by name of equals.
    pub(crate) fn choose(&self) -> String {
        let all = |name: &str| self.votes.get(name).is_some_and(|votes| *votes == self.count());
        let mut liked: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.profile.protocols.iter().find(|(name, _)| all(name)) {
                *liked.entry(name).or_default() += 1;
            }
        }
        let best = liked.iter().max_by(|(a, x), (b, y)| x.cmp(y).then(b.cmp(a)));
        best.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    fn count_votes(&mut self, profile: &Profile, more: bool) {
        for (name, _) in &profile.protocols {
            match self.votes.get_mut(name) {
                Some(votes) if more => *votes += 1,
                Some(votes) => *votes -= 1,
                None => {
                    self.votes.insert(name.clone(), 1);
                }
            }
        }
        if !more {
            self.votes.retain(|_, votes| *votes > 0);
        }
    }
}
