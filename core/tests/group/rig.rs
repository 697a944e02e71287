//! A shard with its journal, and short words for asking groups.

use bytes::Bytes;
use std::collections::BTreeMap;
use stele_core::group::GroupSettings;
use stele_core::shard::{LoggedState, Mutant, Shard};
use stele_core::testing::MemoryLog;
use stele_model::group::{
    Commit, GroupAnswer, GroupRefusal, GroupVerb, Join, KnownChange, Leaver, MemberRef, ShardGroup,
    ShardGroupAnswer,
};
use stele_model::id::{Call, HubId, Lsn, Position, QueueId, SessionId, ShardId};
use stele_model::machine::{Journal, Machine};
use stele_model::shard::{Answer, ShardEffect, ShardOp};
use stele_model::stream::{PartitionRef, StreamRef};

pub(crate) const HOME: QueueId = QueueId(100);
/// The partitions of stream `orders` that a join tells of. Others are newer, but for one.
const ORDERS: [u64; 2] = [7, 8];
/// The partition of stream `other`.
pub(crate) const OTHER: u64 = 9;
pub(crate) const SHARD: ShardId = ShardId(3);

pub(crate) type Said = Result<ShardGroupAnswer, GroupRefusal>;

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) log: MemoryLog,
    pub(crate) settings: GroupSettings,
    pub(crate) mutant: Option<Mutant>,
    calls: u64,
    /// Answers that have come, by call, with what they wait for.
    pub(crate) said: BTreeMap<u64, (Lsn, Said)>,
}

/// A request that may be answered later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked(pub(crate) u64);

pub(crate) fn session(number: u64) -> SessionId {
    SessionId { hub: HubId(0), number }
}

pub(crate) fn join(client: &str) -> Join {
    Join {
        of: MemberRef { generation: -1, ..MemberRef::default() },
        number_first: false,
        client: client.to_owned(),
        host: "/127.0.0.1".to_owned(),
        session_ms: 10_000,
        rebalance_ms: 60_000,
        kind: "reader".to_owned(),
        protocols: vec![("range".to_owned(), Bytes::from_static(b"meta"))],
        reads: Some(vec!["orders".to_owned()]),
    }
}

pub(crate) fn partition(stream: &str, index: u32) -> PartitionRef {
    PartitionRef { stream: StreamRef::Name(stream.to_owned()), index }
}

pub(crate) fn of(generation: i32, member: &str) -> MemberRef {
    MemberRef { generation, member: member.to_owned(), instance: None }
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self::with(GroupSettings::default())
    }

    pub(crate) fn with(settings: GroupSettings) -> Self {
        Self {
            shard: Shard::new(SHARD).with_groups(settings),
            log: MemoryLog::new(1 << 20),
            settings,
            mutant: None,
            calls: 0,
            said: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, op: ShardOp) {
        let mut effects = Vec::new();
        self.shard.take(op, &mut self.log, &mut effects);
        self.hear(effects);
    }

    fn hear(&mut self, effects: Vec<(Lsn, ShardEffect)>) {
        for (after, effect) in effects {
            if let ShardEffect::Answer { call, answer, .. } = effect {
                let Ok(Answer::Group(said)) = answer else { panic!("an answer of a group, not {answer:?}") };
                let before = self.said.insert(call.0, (after, said));
                assert!(before.is_none(), "a request is answered once");
            }
        }
    }

    pub(crate) fn ask_from(
        &mut self,
        from: u64,
        group: &str,
        verb: GroupVerb,
        partitions: Vec<Option<QueueId>>,
    ) -> Asked {
        let orders = |name: &String| if name == "orders" { ORDERS.map(QueueId).to_vec() } else { Vec::new() };
        let reads = match &verb {
            GroupVerb::Join(join) => join.reads.iter().flatten().map(orders).collect(),
            _ => Vec::new(),
        };
        self.calls += 1;
        let call = Call(self.calls);
        let (group, session) = (group.to_owned(), session(from));
        self.take(ShardOp::Group(ShardGroup {
            session,
            hub: HubId(0),
            call,
            home: HOME,
            group,
            verb,
            partitions,
            reads,
        }));
        Asked(self.calls)
    }

    pub(crate) fn ask(&mut self, verb: GroupVerb) -> Asked {
        self.ask_from(1, "g", verb, Vec::new())
    }

    /// What was answered, if it was.
    pub(crate) fn heard(&self, asked: Asked) -> Option<Result<GroupAnswer, GroupRefusal>> {
        let (_, said) = self.said.get(&asked.0)?;
        Some(said.clone().map(|said| match said {
            ShardGroupAnswer::Plain(said) => said,
            other => panic!("a plain answer, not {other:?}"),
        }))
    }

    pub(crate) fn now(&mut self, verb: GroupVerb) -> Result<GroupAnswer, GroupRefusal> {
        let asked = self.ask(verb);
        self.heard(asked).expect("it is answered at once")
    }

    pub(crate) fn join(&mut self, join: Join) -> Asked {
        self.ask(GroupVerb::Join(join))
    }

    /// Generation, number and leader of who has joined.
    pub(crate) fn joined(&self, asked: Asked) -> (i32, String, String) {
        match self.heard(asked) {
            Some(Ok(GroupAnswer::Joined { generation, member, leader, .. })) => (generation, member, leader),
            other => panic!("joined, not {other:?}"),
        }
    }

    pub(crate) fn sync(&mut self, who: &MemberRef, parts: &[(&str, &'static str)]) -> Asked {
        let each =
            parts.iter().map(|(member, part)| ((*member).to_owned(), Bytes::from_static(part.as_bytes())));
        let (parts, protocol) = (each.collect(), (None, None));
        self.ask(GroupVerb::Sync { of: who.clone(), protocol, parts })
    }

    pub(crate) fn part(&self, asked: Asked) -> String {
        match self.heard(asked) {
            Some(Ok(GroupAnswer::Synced { part, .. })) => String::from_utf8(part.to_vec()).unwrap(),
            other => panic!("synced, not {other:?}"),
        }
    }

    pub(crate) fn heartbeat(&mut self, generation: i32, member: &str) -> Result<GroupAnswer, GroupRefusal> {
        self.now(GroupVerb::Heartbeat { of: of(generation, member) })
    }

    pub(crate) fn leave(&mut self, member: &str) -> Result<GroupAnswer, GroupRefusal> {
        let leaver = Leaver { member: member.to_owned(), instance: None };
        self.now(GroupVerb::Leave { members: vec![leaver] })
    }

    pub(crate) fn commit(
        &mut self,
        who: MemberRef,
        positions: &[(u64, u64)],
    ) -> Result<GroupAnswer, GroupRefusal> {
        let stream = |partition| if partition == OTHER { "other" } else { "orders" };
        let each = positions.iter().map(|(of, position)| Commit {
            of: partition(stream(*of), 0),
            position: Position(*position),
            epoch: 0,
            metadata: String::new(),
        });
        let partitions = positions.iter().map(|(partition, _)| Some(QueueId(*partition))).collect();
        let verb = GroupVerb::Commit { of: who, positions: each.collect() };
        let asked = self.ask_from(1, "g", verb, partitions);
        self.heard(asked).expect("a commit is answered at once")
    }

    /// All known positions: partition, position.
    pub(crate) fn positions(&mut self) -> Vec<(u64, u64)> {
        let asked = self.ask(GroupVerb::Positions { of: None });
        match self.said.get(&asked.0) {
            Some((_, Ok(ShardGroupAnswer::Positions(known)))) => {
                known.iter().map(|of| (of.partition.0, of.position.0)).collect()
            }
            other => panic!("positions, not {other:?}"),
        }
    }

    /// What a reader of the home is told, from a place on.
    pub(crate) fn changes(&mut self, from: u64) -> (Position, Vec<KnownChange>) {
        self.calls += 1;
        let (hub, call, from) = (HubId(0), Call(self.calls), Position(from));
        self.take(ShardOp::GroupChanges { hub, call, home: HOME, from, count_max: 100 });
        match self.said.get(&self.calls) {
            Some((_, Ok(ShardGroupAnswer::Changes(end, changes)))) => (*end, changes.clone()),
            other => panic!("changes, not {other:?}"),
        }
    }

    /// A stable group of one member: its number. Generation 1.
    pub(crate) fn alone(&mut self) -> String {
        let asked = self.join(join("a"));
        let (generation, number, leader) = self.joined(asked);
        assert_eq!((generation, &number), (1, &leader));
        let synced = self.sync(&of(1, &number), &[(&number, "all")]);
        assert_eq!(self.part(synced), "all");
        number
    }

    pub(crate) fn tick(&mut self) {
        let mut effects = Vec::new();
        while self.shard.deadline().is_some_and(|at| at <= self.log.now()) {
            self.shard.tick(&mut self.log, &mut effects);
        }
        self.hear(effects);
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) {
        self.log.seal();
        self.log.advance_ms(ms);
        self.tick();
    }

    /// The process dies and starts again; blocks up to `through` were durable.
    pub(crate) fn restart_from(&mut self, through: Lsn) {
        let live = self.shard.logged();
        let whole = self.log.seal() == through;
        self.log = self.log.cut(through);
        let replayed = self.start();
        if whole {
            assert_eq!(replayed, live, "replay");
        }
    }

    /// A shard comes back from the log. Returns what it has read there.
    fn start(&mut self) -> LoggedState {
        let mut shard = Shard::new(SHARD).with_groups(self.settings).with_mutant(self.mutant);
        self.log.replay(Lsn(0), &mut shard).unwrap();
        let replayed = shard.logged();
        let restored = Shard::restore(&shard.snapshot()).unwrap();
        assert_eq!(restored.logged(), replayed, "snapshot");
        let mut effects = Vec::new();
        shard.started(&mut self.log, &mut effects);
        self.shard = shard;
        self.hear(effects);
        replayed
    }

    /// As [`Self::restart`], with the log of a version that wrote no entries of this kind.
    pub(crate) fn restart_without(&mut self, kind: u8) {
        let through = self.log.seal();
        self.log = self.log.cut(through).without(kind);
        self.start();
    }

    /// As [`Self::restart_from`], with nothing lost.
    pub(crate) fn restart(&mut self) {
        let through = self.log.seal();
        self.restart_from(through);
    }
}
