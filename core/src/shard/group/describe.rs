//! Telling what groups there are, and what is known of them.

use crate::group::{Group, Groups};
use bytes::Bytes;
use stele_model::group::{Described, GroupState, KnownChange, KnownGeneration, KnownPosition, Listed};
use stele_model::id::{Now, Position, QueueId};

/// Changes told at once, at most.
const CHANGES_MAX: u32 = 1000;

/// A group that is not there.
pub(super) fn nothing() -> Described {
    Described { state: GroupState::Dead, kind: String::new(), protocol: String::new(), members: Vec::new() }
}

/// Members of a stable group with what they brought and got, those of another without.
pub(super) fn group(of: &Group) -> Described {
    let stable = of.state == GroupState::Stable;
    let members = of.roster.iter().map(|(_, member)| {
        if stable {
            member.profile.described(member.profile.metadata(&of.protocol), member.part.clone())
        } else {
            member.profile.described(Bytes::new(), Bytes::new())
        }
    });
    Described {
        state: of.state,
        kind: of.kind.clone(),
        protocol: if stable { of.protocol.clone() } else { String::new() },
        members: members.collect(),
    }
}

pub(super) fn list(groups: &Groups, home: QueueId) -> Vec<Listed> {
    let numbers = groups.homes.get(&home).into_iter().flat_map(|home| home.groups.values());
    let each = numbers.filter_map(|number| groups.all.get(number)).map(|group| Listed {
        group: group.name.to_string(),
        kind: group.kind.clone(),
        state: group.state,
    });
    each.collect()
}

/// The positions of these partitions, or all.
pub(super) fn positions(
    group: Option<&Group>,
    some: bool,
    partitions: &[Option<QueueId>],
) -> Vec<KnownPosition> {
    let Some(group) = group else { return Vec::new() };
    let known = &group.known.positions;
    if !some {
        return known.iter().map(|(partition, held)| position(*partition, held)).collect();
    }
    let each = partitions.iter().flatten();
    each.filter_map(|partition| known.get(partition).map(|held| position(*partition, held))).collect()
}

fn position(partition: QueueId, held: &crate::group::known::Held) -> KnownPosition {
    KnownPosition {
        partition,
        position: held.position,
        epoch: held.epoch,
        metadata: held.metadata.to_string(),
    }
}

/// What still holds of what was logged of a home's groups, and where the next comes.
pub(super) fn changes(
    groups: &Groups,
    home: QueueId,
    from: u64,
    count_max: u32,
) -> (Position, Vec<KnownChange>) {
    let Some(of) = groups.homes.get(&home) else { return (Position(0), Vec::new()) };
    let most = count_max.min(CHANGES_MAX) as usize;
    let each = of.places.from(from).take(most).filter_map(|(at, number, partition)| {
        let group = groups.all.get(&number)?;
        let known = &group.known;
        let (time, what) = match partition {
            Some(partition) => {
                let held = known.positions.get(&partition)?;
                (held.time, Ok(position(partition, held)))
            }
            None => (known.time, Err(generation(&known.generation))),
        };
        Some(KnownChange { at: Position(at), time, group: group.name.to_string(), what })
    });
    (Position(of.places.next()), each.collect())
}

fn generation(of: &crate::group::known::Generation) -> KnownGeneration {
    let members = of.members.iter().map(|(profile, part)| {
        let member = profile.described(profile.metadata(&of.protocol), part.clone());
        (member, profile.session_ms, profile.rebalance_ms)
    });
    KnownGeneration {
        generation: of.number,
        kind: of.kind.clone(),
        protocol: of.protocol.clone(),
        leader: of.leader.clone(),
        members: members.collect(),
    }
}

/// What is logged of a shard's groups, in a form to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedGroups {
    /// How many processes have given members numbers.
    pub epoch: u64,
    /// The next place of each home that has logged anything.
    pub homes: Vec<(QueueId, u64)>,
    /// By home and name.
    pub groups: Vec<LoggedGroup>,
}

/// One group of [`LoggedGroups`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedGroup {
    /// Where it lives.
    pub home: QueueId,
    /// Its name.
    pub name: String,
    /// Its last complete generation.
    pub generation: KnownGeneration,
    /// When that was complete, and its place in the home.
    pub completed: Option<(Now, u64)>,
    /// All that each member of it brought.
    pub brought: Vec<Vec<(String, Bytes)>>,
    /// What each member of it reads.
    pub reads: Vec<Option<Vec<String>>>,
    /// The partitions of the streams that they read.
    pub reading: Vec<(String, Vec<QueueId>)>,
    /// By partition.
    pub positions: Vec<LoggedPosition>,
}

/// One position of a [`LoggedGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPosition {
    /// It.
    pub known: KnownPosition,
    /// When it was committed.
    pub time: Now,
    /// Its place in the home.
    pub at: u64,
}

/// See [`LoggedGroups`].
pub(in crate::shard) fn logged(groups: &Groups) -> LoggedGroups {
    let homes = groups.homes.iter().filter(|(_, home)| home.places.next() > 0);
    let each = groups.homes.values().flat_map(|home| home.groups.values());
    let each = each.filter_map(|number| groups.all.get(number)).filter(|group| group.known.logged);
    let each = each.map(|group| {
        let known = &group.known;
        let positions = known.positions.iter().map(|(partition, held)| LoggedPosition {
            known: position(*partition, held),
            time: held.time,
            at: held.at,
        });
        let reading =
            known.reading.iter().map(|(stream, of)| (stream.to_owned(), of.iter().copied().collect()));
        let members = || known.generation.members.iter().map(|(profile, _)| profile);
        LoggedGroup {
            home: group.home,
            name: group.name.to_string(),
            generation: generation(&known.generation),
            completed: known.at.map(|at| (known.time, at)),
            brought: members().map(|profile| profile.protocols.clone()).collect(),
            reads: members().map(|profile| profile.reads.clone()).collect(),
            reading: reading.collect(),
            positions: positions.collect(),
        }
    });
    LoggedGroups {
        epoch: groups.around.numbers.epoch,
        homes: homes.map(|(id, home)| (*id, home.places.next())).collect(),
        groups: each.collect(),
    }
}
