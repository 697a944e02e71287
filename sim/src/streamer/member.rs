//! Being a member of the run's group: join, divide, read by one position after the other, commit, leave.

use super::{Asked, Streamer};
use crate::desk::Desk;
use crate::history::stream::{GroupEvent, Part};
use crate::history::{Event, Step};
use crate::oracle::SESSION_MS;
use crate::topology::{STREAMS, partition};
use bytes::Bytes;
use std::collections::BTreeMap;
use stele_model::group::{
    Commit, GroupAnswer, GroupRefusal, GroupRequest, GroupVerb, Join, Leaver, MemberRef,
};
use stele_model::id::{Now, Position};
use stele_model::op::Op;
use stele_model::outcome::{Done, Outcome};
use stele_model::stream::{PartitionRef, StreamRef};

/// Name of the run's group.
const GROUP: &str = "readers";

#[derive(Debug, Default)]
pub(super) struct Member {
    number: String,
    generation: i32,
    doing: Doing,
    /// A request is under way.
    busy: bool,
    /// Partitions of its part, and the next position of each once it is known.
    owned: BTreeMap<u32, Option<u64>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Doing {
    /// It is not in a generation.
    #[default]
    Out,
    /// It knows its generation, and as the leader all members.
    Joined(Vec<String>),
    /// It has its part.
    Reading,
}

/// What the member has asked.
#[derive(Clone, Debug)]
pub(super) enum GroupAsked {
    Join {
        unnumbered: bool,
    },
    Sync {
        at: Now,
    },
    Heartbeat {
        at: Now,
    },
    Positions,
    Commit {
        commit: u64,
        index: u32,
        next: u64,
    },
    /// A commit of an earlier generation, as of a thread that has not heard of the new one.
    Late {
        commit: u64,
    },
    Leave,
}

impl Member {
    pub(super) fn cut_off(&mut self) {
        self.busy = false;
        // After a restart it looks how far it was.
        self.owned.values_mut().for_each(|next| *next = None);
    }

    fn of(&self) -> MemberRef {
        MemberRef { generation: self.generation, member: self.number.clone(), instance: None }
    }

    /// It must join again.
    fn lost(&mut self, number: bool) {
        self.doing = Doing::Out;
        self.owned.clear();
        if number {
            self.number.clear();
        }
    }
}

impl Streamer {
    /// Does the next thing that a member does.
    pub(super) fn take_part(&mut self, desk: &mut Desk) {
        let Some(member) = self.member.as_mut().filter(|member| !member.busy) else { return };
        member.busy = true;
        let (verb, asked) = match &member.doing {
            Doing::Out => {
                let unnumbered = member.number.is_empty();
                let join = join(&member.number, self.rng.chance(1, 2));
                (GroupVerb::Join(join), GroupAsked::Join { unnumbered })
            }
            Doing::Joined(members) => {
                let parts = divide(members);
                let verb = GroupVerb::Sync { of: member.of(), protocol: (None, None), parts };
                (verb, GroupAsked::Sync { at: desk.now })
            }
            Doing::Reading if member.owned.values().any(Option::is_none) => {
                let indexes = 0..STREAMS[0].partitions;
                let of = indexes.map(|index| partition(Part { stream: 0, index })).collect();
                (GroupVerb::Positions { of: Some(of) }, GroupAsked::Positions)
            }
            Doing::Reading => match self.rng.weighted(&[6, 6, 1, 1]) {
                0 if !member.owned.is_empty() => {
                    let owned: Vec<(u32, u64)> =
                        member.owned.iter().filter_map(|(index, next)| Some((*index, (*next)?))).collect();
                    let (index, next) = *self.rng.pick(&owned);
                    let (next, commit) = (next + self.rng.between(0, 3), desk.next_stream_number());
                    let (generation, position) = (member.generation, next);
                    desk.event(&Event::Group(GroupEvent::CommitAsked {
                        commit,
                        generation,
                        index,
                        position,
                    }));
                    (commit_verb(member.of(), index, next), GroupAsked::Commit { commit, index, next })
                }
                3 => {
                    let (commit, generation) = (desk.next_stream_number(), member.generation - 1);
                    let (index, position) = (0, 0);
                    desk.event(&Event::Group(GroupEvent::CommitAsked {
                        commit,
                        generation,
                        index,
                        position,
                    }));
                    let of = MemberRef { generation, ..member.of() };
                    (commit_verb(of, index, position), GroupAsked::Late { commit })
                }
                2 => {
                    let leaver = Leaver { member: member.number.clone(), instance: None };
                    // Whether it is answered or not, it is nobody from now on.
                    member.lost(true);
                    (GroupVerb::Leave { members: vec![leaver] }, GroupAsked::Leave)
                }
                _ => (GroupVerb::Heartbeat { of: member.of() }, GroupAsked::Heartbeat { at: desk.now }),
            },
        };
        let request = GroupRequest { group: GROUP.to_owned(), verb };
        self.ask(Op::Group(request), Asked::Group(asked, desk.step));
    }

    pub(super) fn group_said(&mut self, desk: &mut Desk, what: GroupAsked, asked: Step, outcome: Outcome) {
        let Some(member) = &mut self.member else { return };
        member.busy = false;
        let said = match outcome {
            Outcome::Done(Done::Group(said)) => said,
            // The homes of groups are being made.
            Outcome::Refused(_) => return,
            other => {
                let other = format!("{what:?} was answered by {other:?}");
                return desk.oracle.violate("W11", desk.step, other);
            }
        };
        if let GroupAsked::Heartbeat { at } = what {
            let well = match &said {
                Ok(_) => Some(true),
                Err(GroupRefusal::UnknownMember) => Some(false),
                Err(_) => None,
            };
            let (number, generation, now) = (member.number.clone(), member.generation, desk.now);
            desk.event(&Event::Group(GroupEvent::Beat { at, now, number, generation, well }));
        }
        match (what, said) {
            (GroupAsked::Late { commit }, Ok(_)) => {
                desk.event(&Event::Group(GroupEvent::Committed { commit }))
            }
            (GroupAsked::Late { .. }, Err(_)) => {}
            (GroupAsked::Join { unnumbered }, Ok(said)) => member.joined(desk, asked, unnumbered, said),
            (GroupAsked::Join { .. }, Err(GroupRefusal::MemberIdRequired(number))) => {
                desk.event(&Event::Group(GroupEvent::Numbered { number: number.clone() }));
                member.number = number;
            }
            (GroupAsked::Sync { at }, Ok(GroupAnswer::Synced { part, .. })) => {
                member.synced(desk, (asked, at), &part);
            }
            (GroupAsked::Positions, Ok(GroupAnswer::Positions(known))) => member.told(desk, asked, &known),
            (GroupAsked::Commit { commit, index, next }, Ok(GroupAnswer::Committed(parts))) => {
                if parts.iter().all(Result::is_ok) {
                    desk.event(&Event::Group(GroupEvent::Committed { commit }));
                }
                if let Some(known) = member.owned.get_mut(&index) {
                    *known = Some(next);
                }
            }
            (_, Err(GroupRefusal::UnknownMember | GroupRefusal::FencedInstance)) => member.lost(true),
            (_, Err(_)) => member.lost(false),
            (_, Ok(_)) => {}
        }
    }
}

impl Member {
    fn joined(&mut self, desk: &mut Desk, asked: Step, unnumbered: bool, said: GroupAnswer) {
        let GroupAnswer::Joined { generation, member, members, .. } = said else { return };
        if unnumbered {
            desk.event(&Event::Group(GroupEvent::Numbered { number: member.clone() }));
        }
        let number = member.clone();
        desk.event(&Event::Group(GroupEvent::Joined { asked, number, generation }));
        self.number = member;
        self.generation = generation;
        self.doing = Doing::Joined(members.into_iter().map(|(number, ..)| number).collect());
    }

    fn synced(&mut self, desk: &mut Desk, (asked, at): (Step, Now), part: &[u8]) {
        let owned: Vec<u32> = part.iter().map(|digit| u32::from(digit - b'0')).collect();
        self.owned = owned.iter().map(|index| (*index, None)).collect();
        self.doing = Doing::Reading;
        let (number, generation) = (self.number.clone(), self.generation);
        desk.event(&Event::Group(GroupEvent::Synced { asked, at, number, generation, owned }));
    }

    fn told(&mut self, desk: &mut Desk, asked: Step, known: &[Commit]) {
        let known: Vec<(u32, u64)> = known.iter().map(|of| (of.of.index, of.position.0)).collect();
        for (index, next) in &mut self.owned {
            let position = known.iter().find(|(of, _)| of == index).map_or(0, |(_, position)| *position);
            next.get_or_insert(position);
        }
        desk.event(&Event::Group(GroupEvent::Positions { asked, known }));
    }
}

fn join(number: &str, number_first: bool) -> Join {
    Join {
        of: MemberRef { generation: -1, member: number.to_owned(), instance: None },
        number_first,
        client: "sim".to_owned(),
        host: String::new(),
        session_ms: SESSION_MS,
        rebalance_ms: SESSION_MS,
        kind: "reader".to_owned(),
        protocols: vec![("turns".to_owned(), Bytes::from_static(b"all"))],
        reads: Some(vec![STREAMS[0].name.to_owned()]),
    }
}

/// Each partition to one of the members, in turns; a digit for each.
fn divide(members: &[String]) -> Vec<(String, Bytes)> {
    let part = |n: usize| {
        let mine = (0..STREAMS[0].partitions).filter(|index| *index as usize % members.len() == n);
        Bytes::from(mine.map(|index| b'0' + index as u8).collect::<Vec<u8>>())
    };
    members.iter().enumerate().map(|(n, member)| (member.clone(), part(n))).collect()
}

fn commit_verb(of: MemberRef, index: u32, position: u64) -> GroupVerb {
    let stream = StreamRef::Name(STREAMS[0].name.to_owned());
    let of_partition = PartitionRef { stream, index };
    let commit = Commit { of: of_partition, position: Position(position), epoch: 0, metadata: String::new() };
    GroupVerb::Commit { of, positions: vec![commit] }
}
