//! Groups: who is a member, which generation is in force, who has which part, and how far each partition was read.
//!
//! Here is the state; the verbs that change it are in `shard::group`. As everywhere there are two kinds of it (S1). Logged is what a restart
//! must bring back: the last complete generation with its members and parts, and the positions ([`known`]). Attached is the rest: who
//! waits for whom, who has shown a sign of life and when, and generations that are still being agreed upon ([`member`], [`timer`]). After a
//! restart attached state is made from the logged one: every member of the last complete generation is there and its time begins anew.
//! What must hold: everything is bounded by [`GroupSettings`]; a heartbeat costs O(log n) of the members. Not here: what members' metadata
//! and parts mean, and names of streams.

pub(crate) mod known;
pub(crate) mod member;
pub(crate) mod place;
pub(crate) mod reading;
pub(crate) mod timer;

use crate::shelf::Shelf;
use known::KnownGroup;
use member::Roster;
use place::Places;
use reading::Reading;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use stele_model::group::GroupState;
use stele_model::id::{Now, QueueId, SessionId};
use timer::Timers;

/// Bounds and times of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// How long the first member of an empty group waits for others, milliseconds. Grows while others come.
    pub initial_delay_ms: u64,
    /// Shortest session time that a member may ask for, milliseconds.
    pub session_ms_min: u32,
    /// Longest session time that a member may ask for, milliseconds.
    pub session_ms_max: u32,
    /// How long a new member waits for its first generation before it counts as gone, milliseconds.
    pub first_join_ms: u64,
    /// How long positions stay after the group has become empty, or, if it never had members, after they were committed; milliseconds.
    /// While there are members, those of streams that none of them reads stay so long after they were committed.
    pub retention_ms: u64,
    /// How long a group without members and positions stays, milliseconds.
    pub empty_ms: u64,
    /// Members of a group, and numbers given to those who have not joined with them yet.
    pub members_max: usize,
    /// Bytes of a group's members, without their parts.
    pub bytes_max: usize,
    /// Bytes that one member brings when it joins.
    pub member_bytes_max: usize,
    /// Groups of a home.
    pub groups_max: usize,
    /// Partitions of which a group knows positions.
    pub positions_max: usize,
    /// Bytes of the remark of a position.
    pub metadata_bytes_max: usize,
    /// Bytes of the name of a group or instance.
    pub name_bytes_max: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_delay_ms: 0,
            session_ms_min: 6_000,
            session_ms_max: 30 * 60 * 1000,
            first_join_ms: 5 * 60 * 1000,
            retention_ms: 7 * 24 * 60 * 60 * 1000,
            empty_ms: 10 * 60 * 1000,
            members_max: 20_000,
            bytes_max: 6 << 20,
            member_bytes_max: 1 << 20,
            groups_max: 100_000,
            positions_max: 1 << 20,
            metadata_bytes_max: 4096,
            name_bytes_max: 1024,
        }
    }
}

/// Number of a group within a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct GroupNumber(pub(crate) u64);

/// All groups of a shard.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    pub(crate) homes: BTreeMap<QueueId, Home>,
    pub(crate) all: Shelf<Group>,
    pub(crate) around: Around,
    /// Partitions that are gone: positions of them are forgotten step by step.
    pub(crate) gone: VecDeque<Vec<QueueId>>,
    /// The group that was searched last for the first of `gone`.
    pub(crate) searched: GroupNumber,
    last: GroupNumber,
}

/// The groups of one home.
#[derive(Debug, Default)]
pub(crate) struct Home {
    pub(crate) groups: BTreeMap<Arc<str>, GroupNumber>,
    pub(crate) places: Places,
}

/// What all groups share.
#[derive(Debug, Default)]
pub(crate) struct Around {
    pub(crate) settings: GroupSettings,
    pub(crate) timers: Timers,
    /// Members whose session waits for an answer.
    pub(crate) parked: BTreeSet<(SessionId, GroupNumber, u64)>,
    pub(crate) numbers: Numbers,
    /// Nothing goes by age (S28).
    pub(crate) clock_jumped: bool,
    last_member: u64,
}

/// What members' numbers are made of, so that none is given twice.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Logged: how many processes have given numbers.
    pub(crate) epoch: u64,
    /// This process's `epoch` is logged.
    pub(crate) begun: bool,
    /// Numbers given by this process.
    pub(crate) count: u64,
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) number: GroupNumber,
    pub(crate) home: QueueId,
    pub(crate) name: Arc<str>,
    /// Logged.
    pub(crate) known: KnownGroup,
    pub(crate) state: GroupState,
    /// The generation that is being agreed upon is the first since the group was empty, and others may still come.
    pub(crate) initial: Option<Initial>,
    pub(crate) generation: i32,
    /// Kind of protocol; empty: there was never a member.
    pub(crate) kind: String,
    /// The way of dividing; empty: none is agreed.
    pub(crate) protocol: String,
    pub(crate) roster: Roster,
    /// When waiting for members to join ends.
    pub(crate) join_due: Option<Now>,
    /// When waiting for members to ask for their parts ends.
    pub(crate) sync_due: Option<Now>,
    /// Which partitions the members read; some of it may not be logged yet.
    pub(crate) reading: Reading,
    /// When it is looked whether positions, or the empty group, may go.
    pub(crate) retention_due: Option<Now>,
}

/// See [`GroupSettings::initial_delay_ms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initial {
    /// The wait that ends next, milliseconds.
    pub(crate) delay_ms: u64,
    /// By how much it may be prolonged, milliseconds.
    pub(crate) left_ms: u64,
    /// Somebody has come since it began.
    pub(crate) came: bool,
}

impl Groups {
    /// The group's number; it is made if it is not there.
    pub(crate) fn make(&mut self, home: QueueId, name: &str) -> GroupNumber {
        let groups = &mut self.homes.entry(home).or_default().groups;
        if let Some(number) = groups.get(name) {
            return *number;
        }
        self.last.0 += 1;
        let name: Arc<str> = Arc::from(name);
        groups.insert(Arc::clone(&name), self.last);
        self.all.insert(self.last, Box::new(Group::new(self.last, home, name)));
        self.last
    }

    /// The group, if it is there.
    pub(crate) fn find(&self, home: QueueId, name: &str) -> Option<&Group> {
        self.all.get(self.homes.get(&home)?.groups.get(name)?)
    }

    /// The group, to be changed, and the places of its home.
    pub(crate) fn find_mut(&mut self, home: QueueId, name: &str) -> Option<(&mut Group, &mut Places)> {
        let of = self.homes.get_mut(&home)?;
        let group = self.all.get_mut(of.groups.get(name)?)?;
        Some((group, &mut of.places))
    }

    /// Home and name of a group.
    pub(crate) fn named(&self, number: GroupNumber) -> Option<(QueueId, Arc<str>)> {
        self.all.get(&number).map(|group| (group.home, Arc::clone(&group.name)))
    }

    /// Takes the group out of all tables. The caller has answered who waits.
    pub(crate) fn remove(&mut self, home: QueueId, name: &str) -> Option<Box<Group>> {
        let of = self.homes.get_mut(&home)?;
        let mut group = self.all.remove(&of.groups.remove(name)?)?;
        of.places.forget(&group.known);
        self.around.timers.forget(&mut group);
        Some(group)
    }

    /// Forgets a home and all its groups.
    pub(crate) fn remove_home(&mut self, home: QueueId) {
        let Some(of) = self.homes.get(&home) else { return };
        let names: Vec<Arc<str>> = of.groups.keys().cloned().collect();
        for name in names {
            self.remove(home, &name);
        }
        self.homes.remove(&home);
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Option<Now> {
        if self.gone.is_empty() { self.around.timers.first() } else { Some(Now(0)) }
    }
}

impl Around {
    /// A number for a member or one who is to become one, for the tables of this process.
    pub(crate) fn next_member(&mut self) -> u64 {
        self.last_member += 1;
        self.last_member
    }
}

impl Group {
    fn new(number: GroupNumber, home: QueueId, name: Arc<str>) -> Self {
        Self {
            number,
            home,
            name,
            known: KnownGroup::default(),
            state: GroupState::Empty,
            initial: None,
            generation: 0,
            kind: String::new(),
            protocol: String::new(),
            roster: Roster::default(),
            join_due: None,
            sync_due: None,
            reading: Reading::default(),
            retention_due: None,
        }
    }

    /// Nothing is known of it and nobody is there: it need not be kept.
    pub(crate) fn is_nothing(&self) -> bool {
        !self.known.logged && self.roster.is_empty()
    }
}
