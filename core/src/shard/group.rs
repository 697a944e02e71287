//! What is asked of groups: the table, and what a verb works on.
//!
//! Called by the shard. The verbs follow the classic group protocol of the dialect that brought it (docs/dialects): a file for each phase.
//! What must hold: every request is answered once, perhaps much later; what is logged is changed by the functions that replay calls (S1);
//! an answer waits for all that was logged before it (S2), so nobody is told a generation or position that a crash could take back.

mod commit;
mod describe;
mod entry;
mod join;
mod leave;
mod rebalance;
mod replay;
mod retain;
mod snapshot;
mod sync;

pub(super) use describe::logged;
pub use describe::{LoggedGroup, LoggedGroups, LoggedPosition};
pub(crate) use entry::GroupEntry;
pub(super) use entry::{FIRST_KIND, LAST_KIND, read};
pub(super) use snapshot::{GROUP, READING, homes, put_home, read_group_reading, read_home};

use super::effect::Turn;
use super::{Mutant, Shard};
use crate::group::member::{Waiter, Waits};
use crate::group::place::Places;
use crate::group::timer::Due;
use crate::group::{Around, Group, Groups, Home};
use std::sync::Arc;
use stele_model::group::{
    GroupAnswer, GroupRefusal, GroupState, GroupVerb, MemberRef, ShardGroup, ShardGroupAnswer,
};
use stele_model::id::{Call, HubId, Lsn, Now, QueueId, SessionId};
use stele_model::machine::Urgency;
use stele_model::shard::Answer;

/// Times looked at in one step.
const DUE_MAX: usize = 64;

/// What a verb says at once; `None`: it answers later.
type Reply = Option<Result<GroupAnswer, GroupRefusal>>;

/// One group in one turn: what a verb works on.
struct Seat<'a, 't> {
    home: QueueId,
    name: Arc<str>,
    group: &'a mut Group,
    places: &'a mut Places,
    around: &'a mut Around,
    turn: &'a mut Turn<'t>,
    shard: stele_model::id::ShardId,
    mutant: Option<Mutant>,
}

impl Shard {
    pub(super) fn ask_group(&mut self, ask: ShardGroup, turn: &mut Turn<'_>) {
        let ShardGroup { session, hub, call, home, group: name, verb, partitions, reads } = ask;
        let waiter = Waiter { session, hub, call };
        if name.is_empty() || name.len() > self.groups.around.settings.name_bytes_max {
            return reply(turn, waiter, Err(GroupRefusal::InvalidName));
        }
        if self.groups.find(home, &name).is_none() {
            match self.absent(home, &verb) {
                Some(said) => return said_plain(turn, waiter, said),
                None => {
                    self.groups.make(home, &name);
                }
            }
        }
        if let GroupVerb::Positions { of } = &verb {
            let known = describe::positions(self.groups.find(home, &name), of.is_some(), &partitions);
            return reply(turn, waiter, Ok(ShardGroupAnswer::Positions(known)));
        }
        let Some(mut seat) = self.seat(home, &name, turn) else { return };
        let said = match verb {
            GroupVerb::Join(join) => seat.join(waiter, join, &reads),
            GroupVerb::Sync { of, protocol, parts } => seat.sync(waiter, &of, &protocol, parts),
            GroupVerb::Heartbeat { of } => Some(seat.heartbeat(&of)),
            GroupVerb::Leave { members } => Some(seat.leave(&members)),
            GroupVerb::Commit { of, positions } => Some(seat.commit(&of, positions, &partitions)),
            GroupVerb::Positions { .. } => None,
            GroupVerb::Forget { of } => Some(seat.forget(&of, &partitions)),
            GroupVerb::Describe => Some(Ok(GroupAnswer::Described(describe::group(seat.group)))),
            GroupVerb::Delete => Some(seat.delete()),
        };
        if let Some(said) = said {
            seat.say(waiter, said);
        }
        self.tidy(home, &name);
    }

    /// What is said of a group that is not there; `None`: it is to be made.
    fn absent(&self, home: QueueId, verb: &GroupVerb) -> Reply {
        let count = self.groups.homes.get(&home).map_or(0, |home| home.groups.len());
        let makes = match verb {
            GroupVerb::Join(join) => join.of.member.is_empty(),
            GroupVerb::Commit { of, .. } => of.generation < 0,
            _ => false,
        };
        if makes {
            let full = count >= self.groups.around.settings.groups_max;
            return full.then_some(Err(GroupRefusal::Full));
        }
        Some(match verb {
            GroupVerb::Join(_)
            | GroupVerb::Sync { .. }
            | GroupVerb::Heartbeat { .. }
            | GroupVerb::Leave { .. } => Err(GroupRefusal::UnknownMember),
            GroupVerb::Positions { .. } => Ok(GroupAnswer::Positions(Vec::new())),
            GroupVerb::Describe => Ok(GroupAnswer::Described(describe::nothing())),
            GroupVerb::Commit { .. } | GroupVerb::Forget { .. } | GroupVerb::Delete => {
                Err(GroupRefusal::Unknown)
            }
        })
    }

    fn seat<'a, 't>(&'a mut self, home: QueueId, name: &str, turn: &'a mut Turn<'t>) -> Option<Seat<'a, 't>> {
        let Groups { homes, all, around, .. } = &mut self.groups;
        let Home { groups, places } = homes.get_mut(&home)?;
        let group = all.get_mut(groups.get(name)?)?;
        let name = Arc::clone(&group.name);
        Some(Seat { home, name, group, places, around, turn, shard: self.id, mutant: self.mutant })
    }

    /// Forgets the group if there is nothing of it.
    fn tidy(&mut self, home: QueueId, name: &str) {
        if self.groups.find(home, name).is_some_and(Group::is_nothing) {
            self.groups.remove(home, name);
        }
        if self.groups.homes.get(&home).is_some_and(|home| home.groups.is_empty() && home.places.next() == 0)
        {
            self.groups.homes.remove(&home);
        }
    }

    /// A session is gone: nobody waits for its joins and parts any more.
    pub(super) fn group_session_gone(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        loop {
            let from = (session, crate::group::GroupNumber(0), 0);
            let first = self.groups.around.parked.range(from..).next().copied();
            let Some((_, number, member)) = first.filter(|(of, _, _)| *of == session) else { return };
            self.groups.around.parked.remove(&(session, number, member));
            let Some((home, name)) = self.groups.named(number) else { continue };
            if let Some(mut seat) = self.seat(home, &name, turn) {
                seat.abandon(member);
            }
            self.tidy(home, &name);
        }
    }

    /// Does what is due in groups, in bounded steps.
    pub(super) fn step_groups(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now();
        for _ in 0..DUE_MAX {
            let Some((number, due)) = self.groups.around.timers.pop(now) else { break };
            let Some((home, name)) = self.groups.named(number) else { continue };
            let Some(mut seat) = self.seat(home, &name, turn) else { continue };
            match due {
                Due::Member(member) => seat.member_due(member),
                Due::Join => seat.join_due(),
                Due::Sync => seat.sync_due(),
                Due::Retention => {
                    if seat.retention_due() {
                        self.groups.remove(home, &name);
                    }
                }
            }
            self.tidy(home, &name);
        }
        self.forget_gone(turn);
    }

    /// Replay is over: members are there, and their time begins.
    pub(super) fn start_groups(&mut self, turn: &mut Turn<'_>) {
        let names: Vec<_> =
            self.groups.all.values().map(|group| (group.home, Arc::clone(&group.name))).collect();
        for (home, name) in names {
            if let Some(mut seat) = self.seat(home, &name, turn) {
                seat.start();
            }
        }
    }

    /// If it is a home that is gone, all its groups go with it.
    pub(super) fn drop_home(&mut self, home: QueueId, turn: &mut Turn<'_>) {
        let Some(of) = self.groups.homes.get(&home) else { return };
        if of.places.next() > 0 {
            turn.log(Urgency::Urgent, |out| entry::put_home_gone(out, home));
        }
        let names: Vec<Arc<str>> = of.groups.keys().cloned().collect();
        for name in names {
            if let Some(mut seat) = self.seat(home, &name, turn) {
                seat.refuse_all(&GroupRefusal::Unknown);
            }
        }
        self.groups.remove_home(home);
    }

    pub(super) fn list_groups(&self, to: (HubId, Call), home: QueueId, turn: &mut Turn<'_>) {
        let listed = describe::list(&self.groups, home);
        turn.answer_present(to, Ok(Answer::Group(Ok(ShardGroupAnswer::Listed(listed)))));
    }

    pub(super) fn group_changes(
        &self,
        to: (HubId, Call),
        home: QueueId,
        from: u64,
        count_max: u32,
        turn: &mut Turn<'_>,
    ) {
        let (end, changes) = describe::changes(&self.groups, home, from, count_max);
        turn.answer_present(to, Ok(Answer::Group(Ok(ShardGroupAnswer::Changes(end, changes)))));
    }
}

fn said_plain(turn: &mut Turn<'_>, to: Waiter, said: Result<GroupAnswer, GroupRefusal>) {
    let said = match said {
        // Between shard and hub positions have no names.
        Ok(GroupAnswer::Positions(_)) => Ok(ShardGroupAnswer::Positions(Vec::new())),
        said => said.map(ShardGroupAnswer::Plain),
    };
    reply(turn, to, said);
}

fn reply(turn: &mut Turn<'_>, to: Waiter, said: Result<ShardGroupAnswer, GroupRefusal>) {
    turn.answer_present((to.hub, to.call), Ok(Answer::Group(said)));
}

impl Seat<'_, '_> {
    fn now(&self) -> Now {
        self.turn.now()
    }

    fn makes(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Answers, once all that is logged so far is durable.
    fn say(&mut self, to: Waiter, said: Result<GroupAnswer, GroupRefusal>) {
        if self.makes(Mutant::EarlyParts) && matches!(said, Ok(GroupAnswer::Synced { .. })) {
            let answer = Ok(Answer::Group(said.map(ShardGroupAnswer::Plain)));
            return self.turn.answer(Lsn(0), (to.hub, to.call), answer);
        }
        said_plain(self.turn, to, said);
    }

    /// Changes what a member waits for, and returns who waited for what until now.
    fn wait(&mut self, member: u64, waits: Waits) -> Waits {
        let before = self.group.roster.wait(member, waits);
        if let Waits::Join(to) | Waits::Sync(to) = before {
            self.around.parked.remove(&(to.session, self.group.number, member));
        }
        if let Waits::Join(to) | Waits::Sync(to) = waits {
            self.around.parked.insert((to.session, self.group.number, member));
        }
        before
    }

    /// Answers what a member waits for, if anything.
    fn answer(&mut self, member: u64, said: Result<GroupAnswer, GroupRefusal>) {
        if let Waits::Join(to) | Waits::Sync(to) = self.wait(member, Waits::Nothing) {
            self.say(to, said);
        }
    }

    fn refuse_all(&mut self, refusal: &GroupRefusal) {
        for member in self.group.roster.ids() {
            self.answer(member, Err(refusal.clone()));
        }
    }

    /// Who it is, if it is a member, and under its instance the one that holds it.
    fn known_member(&self, of: &MemberRef) -> Result<u64, GroupRefusal> {
        self.known(&of.member, of.instance.as_deref())
    }

    fn known(&self, number: &str, instance: Option<&str>) -> Result<u64, GroupRefusal> {
        let roster = &self.group.roster;
        if let Some(instance) = instance {
            let holder = roster.by_instance(instance).ok_or(GroupRefusal::UnknownMember)?;
            if roster.by_number(number) != Some(holder) {
                return Err(GroupRefusal::FencedInstance);
            }
        }
        roster.by_number(number).ok_or(GroupRefusal::UnknownMember)
    }

    /// A sign of life: from now on the member has its whole session time.
    fn touch(&mut self, id: u64) {
        let now = self.now();
        let Some(member) = self.group.roster.get_mut(id) else { return };
        let due = now.plus_ms(u64::from(member.profile.session_ms));
        self.around.timers.put_off(self.group.number, id, &mut member.time, Some(due));
    }

    fn set_join_due(&mut self, at: Option<Now>) {
        self.around.timers.set(self.group.number, Due::Join, &mut self.group.join_due, at);
    }

    fn set_sync_due(&mut self, at: Option<Now>) {
        self.around.timers.set(self.group.number, Due::Sync, &mut self.group.sync_due, at);
    }

    /// The member has shown a sign of life, and says of what generation it is.
    fn heartbeat(&mut self, of: &MemberRef) -> Result<GroupAnswer, GroupRefusal> {
        let member = self.known_member(of)?;
        if of.generation != self.group.generation {
            return Err(GroupRefusal::IllegalGeneration);
        }
        self.touch(member);
        match self.group.state {
            GroupState::Joining => Err(GroupRefusal::Rebalancing),
            _ => Ok(GroupAnswer::Unit),
        }
    }

    /// Makes attached state from what is logged.
    fn start(&mut self) {
        use crate::group::member::Member;
        let generation = &self.group.known.generation;
        self.group.generation = generation.number;
        self.group.kind.clone_from(&generation.kind);
        self.group.protocol.clone_from(&generation.protocol);
        self.group.reading.clone_from(&self.group.known.reading);
        let leader = generation.leader.clone();
        let members: Vec<Member> =
            generation.members.iter().map(|(profile, part)| Member::settled(profile, part)).collect();
        let forgets = self.makes(Mutant::LostMembers);
        for member in members.into_iter().filter(|_| !forgets) {
            let id = self.around.next_member();
            let leads = member.profile.number == leader;
            self.group.roster.add(id, member);
            if leads {
                self.group.roster.lead(id);
            }
            self.touch(id);
        }
        if self.group.roster.count() > 0 {
            self.group.state = GroupState::Stable;
        }
        self.look_later();
    }
}
