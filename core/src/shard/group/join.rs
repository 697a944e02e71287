//! Becoming a member, or remaining one in the next generation.

use super::{Reply, Seat};
use crate::group::known::Profile;
use crate::group::member::{Member, Waiter, Waits};
use crate::group::timer::Lazy;
use bytes::Bytes;
use stele_model::group::{GroupAnswer, GroupRefusal, GroupState, Join};
use stele_model::id::QueueId;

/// Bytes of a client's name that become part of its member's number.
const CLIENT_BYTES_MAX: usize = 255;

impl Seat<'_, '_> {
    /// `reads`: the partitions of each stream that the member reads.
    pub(super) fn join(&mut self, from: Waiter, join: Join, reads: &[Vec<QueueId>]) -> Reply {
        if let Err(refusal) = self.check_join(&join) {
            return Some(Err(refusal));
        }
        if !self.has_room(&join) {
            return Some(Err(GroupRefusal::Full));
        }
        if !self.fits(&join) {
            return Some(Err(GroupRefusal::InconsistentProtocol));
        }
        let streams = join.reads.clone().unwrap_or_default();
        let reply =
            if join.of.member.is_empty() { self.join_new(from, join) } else { self.join_again(from, join) };
        if !matches!(reply, Some(Err(_))) {
            streams
                .iter()
                .zip(reads)
                .for_each(|(stream, partitions)| self.group.reading.joined(stream, partitions));
            if self.group.state == GroupState::Stable {
                self.log_reading(); // no generation follows
            }
        }
        reply
    }

    /// What has nothing to do with who is there.
    fn check_join(&self, join: &Join) -> Result<(), GroupRefusal> {
        let settings = &self.around.settings;
        if !(settings.session_ms_min..=settings.session_ms_max).contains(&join.session_ms) {
            return Err(GroupRefusal::SessionTime);
        }
        let instance = join.of.instance.as_deref();
        if instance.is_some_and(|name| name.is_empty() || name.len() > settings.name_bytes_max) {
            return Err(GroupRefusal::InvalidName);
        }
        let texts = [&join.client, &join.host, &join.kind, &join.of.member].into_iter();
        let names = join.protocols.iter().map(|(name, _)| name).chain(join.reads.iter().flatten());
        let too_long = texts.chain(names).any(|text| text.len() > usize::from(u16::MAX));
        if too_long || profile(join, String::new()).bytes() > settings.member_bytes_max {
            return Err(GroupRefusal::MetadataTooLarge);
        }
        Ok(())
    }

    /// There is room for it. Who is not let in is not a member any more.
    fn has_room(&mut self, join: &Join) -> bool {
        let most = self.around.settings.members_max;
        let roster = &self.group.roster;
        let member = roster.by_number(&join.of.member);
        let room = match self.group.state {
            GroupState::Empty | GroupState::Dead => roster.pending_count() < most,
            GroupState::Joining => {
                let waits = member.and_then(|id| roster.get(id)).map(|member| member.waits);
                matches!(waits, Some(Waits::Join(_))) || roster.joining() < most
            }
            GroupState::Dividing | GroupState::Stable => member.is_some() || roster.count() < most,
        };
        let known = member.is_some() || roster.is_pending(&join.of.member);
        let held = member.and_then(|id| roster.get(id)).map_or(0, |member| member.profile.bytes());
        let bytes = roster.bytes() - held + profile(join, String::new()).bytes();
        let bytes = bytes <= self.around.settings.bytes_max;
        let pending = known || !join.number_first || roster.pending_count() < most;
        if !room && let Some(id) = member {
            self.remove_member(id, &GroupRefusal::UnknownMember);
            self.maybe_complete();
        } else if !room && self.remove_pending(&join.of.member) {
            self.maybe_complete();
        }
        room && bytes && pending
    }

    /// It is of the group's kind, and knows a way of dividing that all members know.
    fn fits(&self, join: &Join) -> bool {
        if self.group.state == GroupState::Empty {
            return !join.kind.is_empty() && !join.protocols.is_empty();
        }
        self.group.kind == join.kind && self.group.roster.knows(&join.protocols)
    }

    fn join_new(&mut self, from: Waiter, join: Join) -> Reply {
        let number = self.new_number(join.of.instance.as_deref().unwrap_or(&join.client));
        if let Some(instance) = &join.of.instance {
            return match self.group.roster.by_instance(instance) {
                Some(old) => self.replace(from, join, old, number),
                None => self.admit(from, &join, number, false),
            };
        }
        if !join.number_first {
            return self.admit(from, &join, number, false);
        }
        let id = self.around.next_member();
        let due = self.now().plus_ms(u64::from(join.session_ms));
        let mut time = Lazy::default();
        self.around.timers.put_off(self.group.number, id, &mut time, Some(due));
        self.group.roster.add_pending(number.clone(), id, time);
        Some(Err(GroupRefusal::MemberIdRequired(number)))
    }

    fn join_again(&mut self, from: Waiter, join: Join) -> Reply {
        let number = join.of.member.clone();
        if self.group.roster.is_pending(&number) {
            if join.of.instance.is_some() {
                return Some(Err(GroupRefusal::UnknownMember));
            }
            self.remove_pending(&number);
            return self.admit(from, &join, number, true);
        }
        let id = match self.known_member(&join.of) {
            Ok(id) => id,
            Err(refusal) => return Some(Err(refusal)),
        };
        let profile = profile(&join, number);
        let same = self.group.roster.get(id).is_some_and(|of| of.profile.protocols == profile.protocols);
        let leads = self.group.roster.leader() == Some(id);
        match self.group.state {
            GroupState::Dividing if same => Some(Ok(self.joined(id, false))),
            GroupState::Stable if same && !leads => Some(Ok(self.joined(id, false))),
            GroupState::Joining | GroupState::Dividing | GroupState::Stable => {
                self.update(from, id, profile);
                self.rebalance_or_complete();
                None
            }
            GroupState::Empty | GroupState::Dead => Some(Err(GroupRefusal::UnknownMember)),
        }
    }

    /// Another member.
    fn admit(&mut self, from: Waiter, join: &Join, number: String, told: bool) -> Reply {
        if self.group.roster.count() == 0 {
            self.group.kind.clone_from(&join.kind);
        }
        if let Some(initial) = &mut self.group.initial {
            initial.came = true;
        }
        let id = self.around.next_member();
        let mut member = Member::new(profile(join, number));
        member.told = told;
        let due = self.now().plus_ms(self.around.settings.first_join_ms);
        self.around.timers.put_off(self.group.number, id, &mut member.time, Some(due));
        self.group.roster.add(id, member);
        self.wait(id, Waits::Join(from));
        self.rebalance_or_complete();
        None
    }

    /// What a member says of itself now, and that it waits for the next generation.
    fn update(&mut self, from: Waiter, id: u64, profile: Profile) {
        self.group.roster.update(id, profile);
        if let Waits::Join(to) | Waits::Sync(to) = self.wait(id, Waits::Join(from)) {
            self.say(to, Err(GroupRefusal::Rebalancing));
        }
        if let Some(member) = self.group.roster.get_mut(id)
            && !member.fresh
        {
            // Who waits is there.
            self.around.timers.put_off(self.group.number, id, &mut member.time, None);
        }
    }

    /// A static member has started again: it takes the place of who it was, with a number of its own.
    fn replace(&mut self, from: Waiter, join: Join, id: u64, number: String) -> Reply {
        self.answer(id, Err(GroupRefusal::FencedInstance));
        let old = self.group.roster.get(id).map(|member| member.profile.number.clone()).unwrap_or_default();
        self.group.roster.update(id, profile(&join, number));
        if let Some(member) = self.group.roster.get_mut(id) {
            member.fresh = false;
        }
        self.touch(id);
        match self.group.state {
            GroupState::Stable if self.group.roster.choose() == self.group.protocol => {
                self.log_replaced(&old, id);
                let leads = self.group.roster.leader() == Some(id);
                return Some(Ok(self.joined(id, leads)));
            }
            GroupState::Joining => {
                self.wait_to_join(from, id);
                self.maybe_complete();
            }
            _ => {
                self.wait_to_join(from, id);
                self.prepare();
            }
        }
        None
    }

    fn wait_to_join(&mut self, from: Waiter, id: u64) {
        self.wait(id, Waits::Join(from));
        if let Some(member) = self.group.roster.get_mut(id) {
            self.around.timers.put_off(self.group.number, id, &mut member.time, None);
        }
    }

    /// What a member is told of the generation.
    pub(super) fn joined(&self, id: u64, keep_parts: bool) -> GroupAnswer {
        let roster = &self.group.roster;
        let protocol = &self.group.protocol;
        let members = if roster.leader() == Some(id) {
            let each = roster.iter().map(|(_, member)| {
                let of = &member.profile;
                (of.number.clone(), of.instance.clone(), of.metadata(protocol))
            });
            each.collect()
        } else {
            Vec::new()
        };
        GroupAnswer::Joined {
            generation: self.group.generation,
            kind: self.group.kind.clone(),
            protocol: protocol.clone(),
            leader: roster.leader_number(),
            member: roster.get(id).map(|member| member.profile.number.clone()).unwrap_or_default(),
            members,
            keep_parts,
        }
    }

    /// A number that no member of this shard ever had.
    fn new_number(&mut self, name: &str) -> String {
        self.begin_numbers();
        let numbers = &mut self.around.numbers;
        numbers.count += 1;
        let end = (0..=CLIENT_BYTES_MAX.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
        let name = name.get(..end.unwrap_or(0)).unwrap_or_default();
        format!("{name}-{:04x}-{:08x}-{:08x}", self.shard.0, numbers.epoch, numbers.count)
    }
}

/// The member that a join makes. What it keeps is copied: the request's bytes are part of a whole read.
fn profile(join: &Join, number: String) -> Profile {
    let mut protocols: Vec<(String, Bytes)> = Vec::new();
    for (name, metadata) in &join.protocols {
        if !protocols.iter().any(|(known, _)| known == name) {
            protocols.push((name.clone(), Bytes::copy_from_slice(metadata)));
        }
    }
    Profile {
        number,
        instance: join.of.instance.clone(),
        client: join.client.clone(),
        host: join.host.clone(),
        session_ms: join.session_ms,
        rebalance_ms: join.rebalance_ms,
        protocols,
        reads: join.reads.clone(),
    }
}
