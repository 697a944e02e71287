//! Clients that join, sync, commit and die at random, crashes at any block, and what must hold of what they are told.
//!
//! The judge sees requests and answers only. An answer counts as seen if what it waits for is durable.

use super::rig::{Rig, SHARD, join, of, partition};
use crate::judge::past::Past;
use crate::judge::{self, Check};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use stele_core::shard::{LoggedState, Mutant, Shard};
use stele_model::group::{Commit, GroupAnswer, GroupRefusal, GroupVerb, Leaver, MemberRef, ShardGroupAnswer};
use stele_model::id::{Lsn, Position, QueueId};
use stele_model::machine::{Journal, Machine};
use stele_model::shard::ShardOp;

/// Clients of a run; the last two are static members.
const CLIENTS: usize = 5;
/// Where a commit's number of a position comes from: a new one each time.
const PARTITIONS: u64 = 3;

/// One step.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Join { client: usize, fresh: bool, first: bool, other: bool },
    Sync { client: usize, stale: bool },
    Heartbeat { client: usize },
    Leave { client: usize },
    Commit { client: usize, stale: bool },
    ByHand,
    Forget,
    Delete,
    SessionGone { client: usize },
    Pass { ms: u32 },
    Seal,
    Snapshot,
    Crash { back: u8, from_snapshot: bool },
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let client = 0..CLIENTS;
    let join = (client.clone(), prop::bool::weighted(0.3), any::<bool>(), prop::bool::weighted(0.1));
    let op = prop_oneof![
        14 => join.prop_map(|(client, fresh, first, other)| Op::Join { client, fresh, first, other }),
        14 => (client.clone(), prop::bool::weighted(0.1)).prop_map(|(client, stale)| Op::Sync { client, stale }),
        6 => client.clone().prop_map(|client| Op::Heartbeat { client }),
        2 => client.clone().prop_map(|client| Op::Leave { client }),
        8 => (client.clone(), prop::bool::weighted(0.3)).prop_map(|(client, stale)| Op::Commit { client, stale }),
        1 => Just(Op::ByHand),
        1 => Just(Op::Forget),
        1 => Just(Op::Delete),
        1 => client.prop_map(|client| Op::SessionGone { client }),
        3 => (0..12_000u32).prop_map(|ms| Op::Pass { ms }),
        5 => Just(Op::Seal),
        1 => Just(Op::Snapshot),
        2 => (0..4u8, any::<bool>()).prop_map(|(back, from_snapshot)| Op::Crash { back, from_snapshot }),
    ];
    prop::collection::vec(op, 1..120)
}

#[derive(Clone, Debug, Default)]
struct Client {
    number: String,
    generation: i32,
    /// As the leader of its generation: everybody in it.
    members: Vec<String>,
    session: u64,
    asked: Vec<(u64, Asked)>,
}

#[derive(Clone, Debug)]
enum Asked {
    Join { unnumbered: bool },
    Sync { generation: i32, number: String },
}

/// What a generation's leader brought, under the log's length then.
type Parts = BTreeMap<String, Bytes>;

pub(crate) struct World {
    rig: Rig,
    clients: Vec<Client>,
    /// What leaders brought, by generation; the last one that was taken counts.
    parts: BTreeMap<i32, Parts>,
    /// The generation that members are told of.
    generation: i32,
    /// Commits that were taken: what they wait for, partition, position; `None`: forgotten.
    commits: Vec<(Lsn, u64, Option<u64>)>,
    /// Numbers that were told, by what the answer waits for.
    numbers: Vec<(Lsn, String)>,
    /// Generations of which a part was told.
    synced: Vec<(Lsn, i32)>,
    heard: BTreeSet<u64>,
    next: u64,
    sessions: u64,
    past: Past,
}

impl judge::World for World {
    type Op = Op;

    fn begin(mutant: Option<Mutant>) -> Self {
        let mut rig = Rig::new();
        rig.mutant = mutant;
        rig.shard = Shard::new(SHARD).with_mutant(mutant);
        let clients = (0..CLIENTS).map(|n| Client { session: n as u64, ..Client::default() });
        let mut past = Past::new(SHARD);
        past.seal(&mut rig.log, &rig.shard, ());
        Self {
            rig,
            clients: clients.collect(),
            parts: BTreeMap::new(),
            generation: 0,
            commits: Vec::new(),
            numbers: Vec::new(),
            synced: Vec::new(),
            heard: BTreeSet::new(),
            next: 1,
            sessions: CLIENTS as u64,
            past,
        }
    }

    fn perform(&mut self, op: &Op) -> Check {
        match *op {
            Op::Join { client, fresh, first, other } => self.join(client, fresh, first, other),
            Op::Sync { client, stale } => self.sync(client, stale),
            Op::Heartbeat { client } => {
                let who = self.who(client, false);
                self.ask(client, GroupVerb::Heartbeat { of: who }, Vec::new());
            }
            Op::Leave { client } => {
                let of = &self.clients[client];
                let leaver = Leaver { member: of.number.clone(), instance: instance(client) };
                self.ask(client, GroupVerb::Leave { members: vec![leaver] }, Vec::new());
            }
            Op::Commit { client, stale } => self.commit(Some(client), stale)?,
            Op::ByHand => self.commit(None, false)?,
            Op::Forget => self.forget(),
            Op::Delete => self.delete(),
            Op::SessionGone { client } => {
                let gone = self.clients[client].session;
                self.rig.take(ShardOp::SessionGone { session: super::rig::session(gone) });
                self.reconnect(client);
            }
            Op::Pass { ms } => {
                self.seal();
                self.rig.pass_ms(u64::from(ms));
            }
            Op::Seal => self.seal(),
            Op::Snapshot => {
                self.seal();
                self.past.begin_snapshot(&self.rig.log, &mut self.rig.shard);
            }
            Op::Crash { back, from_snapshot } => self.crash(back, from_snapshot)?,
        }
        self.listen()?;
        self.positions()
    }

    fn end(mut self) -> Check {
        self.crash(0, false)?;
        self.nobody_waits()
    }
}

impl World {
    fn who(&self, client: usize, stale: bool) -> MemberRef {
        let of = &self.clients[client];
        let generation = of.generation - i32::from(stale);
        MemberRef { generation, member: of.number.clone(), instance: instance(client) }
    }

    fn reconnect(&mut self, client: usize) {
        self.sessions += 1;
        self.clients[client].session = self.sessions;
        self.clients[client].asked.clear();
    }

    fn ask(&mut self, client: usize, verb: GroupVerb, partitions: Vec<Option<QueueId>>) -> u64 {
        self.rig.ask_from(self.clients[client].session, "g", verb, partitions).0
    }

    fn join(&mut self, client: usize, fresh: bool, first: bool, other: bool) {
        let mut of = join(&format!("c{client}"));
        of.number_first = first;
        of.of.instance = instance(client);
        if fresh {
            self.clients[client].number.clear();
        }
        of.of.member.clone_from(&self.clients[client].number);
        let unnumbered = of.of.member.is_empty();
        if other {
            of.protocols.insert(0, ("sticky".to_owned(), Bytes::from_static(b"other")));
        }
        let call = self.ask(client, GroupVerb::Join(of), Vec::new());
        self.clients[client].asked.push((call, Asked::Join { unnumbered }));
    }

    fn sync(&mut self, client: usize, stale: bool) {
        let of = self.who(client, stale);
        let (generation, number) = (of.generation, of.member.clone());
        let (mut parts, mut brought) = (Vec::new(), Parts::new());
        for member in &self.clients[client].members {
            let part = Bytes::from(format!("{member} of {generation} by {}", self.next));
            brought.insert(member.clone(), part.clone());
            parts.push((member.clone(), part));
        }
        self.next += 1;
        let before = self.rig.log.entries().len();
        let call = self.ask(client, GroupVerb::Sync { of, protocol: (None, None), parts }, Vec::new());
        if self.rig.log.entries().len() > before {
            self.parts.insert(generation, brought);
        }
        self.clients[client].asked.push((call, Asked::Sync { generation, number }));
    }

    /// Commits a position that was never committed before; `None`: by hand.
    fn commit(&mut self, client: Option<usize>, stale: bool) -> Check {
        let who = client.map_or(of(-1, ""), |client| self.who(client, stale));
        let first = self.next % PARTITIONS;
        let mut positions = Vec::new();
        for n in 0..2 {
            positions.push(Commit {
                of: partition("orders", 0),
                position: Position(self.next + n),
                epoch: 0,
                metadata: "x".to_owned(),
            });
        }
        let at = [first, (first + 1) % PARTITIONS];
        let partitions = at.iter().map(|at| Some(QueueId(*at))).collect();
        let verb = GroupVerb::Commit { of: who.clone(), positions };
        let call = self.ask(client.unwrap_or(0), verb, partitions);
        let (after, said) = self.rig.said[&call].clone();
        if let Ok(ShardGroupAnswer::Plain(GroupAnswer::Committed(_))) = said {
            let current = who.generation == self.generation;
            if who.generation >= 0 && !current {
                return Err(format!("a commit of generation {} in {}", who.generation, self.generation));
            }
            for (n, at) in at.into_iter().enumerate() {
                self.commits.push((after, at, Some(self.next + n as u64)));
            }
        }
        self.next += 2;
        Ok(())
    }

    fn forget(&mut self) {
        let verb = GroupVerb::Forget { of: vec![partition("orders", 0), partition("other", 0)] };
        let call = self.ask(0, verb, vec![Some(QueueId(0)), Some(QueueId(1))]);
        let (after, said) = self.rig.said[&call].clone();
        if let Ok(ShardGroupAnswer::Plain(GroupAnswer::Committed(each))) = said {
            for (at, said) in each.into_iter().enumerate() {
                if said.is_ok() {
                    self.commits.push((after, at as u64, None));
                }
            }
        }
    }

    fn delete(&mut self) {
        let call = self.ask(0, GroupVerb::Delete, Vec::new());
        let (after, said) = self.rig.said[&call].clone();
        if said.is_ok() {
            self.generation = 0;
            self.parts.clear();
            self.synced.clear();
            (0..PARTITIONS).for_each(|at| self.commits.push((after, at, None)));
        }
    }

    /// Hears what was said since, and judges it.
    fn listen(&mut self) -> Check {
        let new: Vec<_> = self.rig.said.iter().filter(|(call, _)| !self.heard.contains(call)).collect();
        let new: Vec<_> = new.into_iter().map(|(call, said)| (*call, said.clone())).collect();
        for (call, (after, said)) in new {
            self.heard.insert(call);
            let asked = self.clients.iter().enumerate().find_map(|(n, client)| {
                let (_, asked) = client.asked.iter().find(|(of, _)| *of == call)?;
                Some((n, asked.clone()))
            });
            let Some((client, asked)) = asked else { continue };
            self.clients[client].asked.retain(|(of, _)| *of != call);
            match (asked, said) {
                (Asked::Join { unnumbered }, Ok(ShardGroupAnswer::Plain(said))) => {
                    self.joined(client, after, said, unnumbered)?;
                }
                (Asked::Join { .. }, Err(GroupRefusal::MemberIdRequired(number))) => {
                    self.told(after, &number)?;
                    self.clients[client].number = number;
                }
                (Asked::Sync { generation, number }, Ok(ShardGroupAnswer::Plain(said))) => {
                    self.synced(client, &number, after, generation, said)?;
                }
                (_, Err(GroupRefusal::UnknownMember | GroupRefusal::FencedInstance)) => {
                    self.clients[client].number.clear();
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn told(&mut self, after: Lsn, number: &str) -> Check {
        if self.numbers.iter().any(|(_, told)| told == number) {
            return Err(format!("number {number} was given twice"));
        }
        self.numbers.push((after, number.to_owned()));
        Ok(())
    }

    fn joined(&mut self, client: usize, after: Lsn, said: GroupAnswer, unnumbered: bool) -> Check {
        let GroupAnswer::Joined { generation, member, leader, members, .. } = said else {
            return Err(format!("{said:?} after a join"));
        };
        if unnumbered {
            self.told(after, &member)?;
        }
        let of = &mut self.clients[client];
        of.number.clone_from(&member);
        of.generation = generation;
        of.members = members.into_iter().map(|(number, _, _)| number).collect();
        if (leader == member) != of.members.contains(&member) {
            return Err(format!("{member} is told {:?} under {leader}", of.members));
        }
        if generation < self.generation {
            return Err(format!("generation {generation} after {}", self.generation));
        }
        self.generation = generation;
        Ok(())
    }

    fn synced(
        &mut self,
        client: usize,
        number: &str,
        after: Lsn,
        generation: i32,
        said: GroupAnswer,
    ) -> Check {
        let GroupAnswer::Synced { part, .. } = said else { return Err(format!("{said:?} after a sync")) };
        if generation != self.generation {
            return Err(format!("a part of generation {generation} in {}", self.generation));
        }
        self.synced.push((after, generation));
        let brought = self.parts.get(&generation).and_then(|parts| parts.get(number));
        // A static member that came back has the part of who it was.
        let replaced = instance(client).is_some() && brought.is_none();
        if replaced || part == brought.cloned().unwrap_or_default() {
            return Ok(());
        }
        Err(format!("{number} got {part:?} in {generation}, should {brought:?}"))
    }

    /// Positions are what was committed last.
    fn positions(&mut self) -> Check {
        let should = fold(&self.commits, Lsn(u64::MAX));
        let is: BTreeMap<u64, u64> = self.rig.positions().into_iter().collect();
        if is == should { Ok(()) } else { Err(format!("positions are {is:?}, should {should:?}")) }
    }

    fn seal(&mut self) {
        self.past.seal(&mut self.rig.log, &self.rig.shard, ());
    }

    /// The process dies; blocks after one that may have been the last durable one are lost.
    pub(crate) fn crash(&mut self, back: u8, from_snapshot: bool) -> Check {
        self.past.write_on(&mut self.rig.shard, usize::MAX);
        self.seal();
        let (shard, ()) = self.past.crash(&mut self.rig.log, back.into(), from_snapshot)?;
        let durable = shard.logged();
        self.rig.shard = shard.with_mutant(self.rig.mutant);
        let mut effects = Vec::new();
        self.rig.shard.started(&mut self.rig.log, &mut effects);
        self.seen_is_there(durable)?;
        self.seal();
        self.past.floor = self.rig.log.tail();
        (0..CLIENTS).for_each(|client| self.reconnect(client));
        Ok(())
    }

    /// What was seen of a generation, of positions and numbers holds after the restart.
    fn seen_is_there(&mut self, state: LoggedState) -> Check {
        let through = self.rig.log.tail();
        self.commits.retain(|(after, _, _)| *after <= through);
        self.positions()?;
        self.numbers.retain(|(after, _)| *after <= through);
        let group = state.groups.groups.into_iter().next();
        let generation = group.map(|group| group.generation).unwrap_or_default();
        let seen = self.synced.iter().filter(|(after, _)| *after <= through).map(|(_, of)| *of).max();
        if seen.is_some_and(|seen| seen > generation.generation) {
            return Err(format!(
                "parts of generation {seen:?} were told, {} is logged",
                generation.generation
            ));
        }
        self.synced.retain(|(_, of)| *of <= generation.generation);
        self.generation = generation.generation;
        for (member, ..) in &generation.members {
            let who = MemberRef {
                generation: generation.generation,
                member: member.member.clone(),
                instance: member.instance.clone(),
            };
            if self.rig.now(GroupVerb::Heartbeat { of: who }) != Ok(GroupAnswer::Unit) {
                return Err(format!("member {} is lost after a restart", member.member));
            }
        }
        // Who was told of a later generation, or of none that was logged, finds out by itself.
        self.parts.retain(|of, _| *of <= generation.generation);
        let parts =
            generation.members.iter().map(|(member, ..)| (member.member.clone(), member.part.clone()));
        self.parts.insert(generation.generation, parts.collect());
        Ok(())
    }

    /// Nobody waits for ever: without another word, all is answered once the times are over.
    fn nobody_waits(&mut self) -> Check {
        for _ in 0..60 {
            self.rig.pass_ms(30_000);
        }
        self.listen()?;
        let waits: Vec<u64> =
            self.clients.iter().flat_map(|client| client.asked.iter().map(|(call, _)| *call)).collect();
        if waits.is_empty() { Ok(()) } else { Err(format!("calls {waits:?} are never answered")) }
    }
}

fn instance(client: usize) -> Option<String> {
    (client + 2 >= CLIENTS).then(|| format!("i{client}"))
}

fn fold(commits: &[(Lsn, u64, Option<u64>)], through: Lsn) -> BTreeMap<u64, u64> {
    let mut positions = BTreeMap::new();
    for (_, at, position) in commits.iter().filter(|(after, _, _)| *after <= through) {
        match position {
            Some(position) => positions.insert(*at, *position),
            None => positions.remove(at),
        };
    }
    positions
}
