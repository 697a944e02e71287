//! A shard with one partition and its journal, and short words for asking it about shared groups.

use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use stele_core::shard::{Mutant, Shard};
use stele_core::testing::{MemoryLog, write_record};
use stele_model::id::{
    Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId, SubscriptionId,
};
use stele_model::machine::{Journal, Machine};
use stele_model::settle::Run;
use stele_model::shard::{Answer, ShardEffect, ShardOp};
use stele_model::share::{
    Expect, PullEnd, PullWant, ShardSettle, ShardSettles, ShardShare, ShardTake, ShareAnswer, ShareEffect,
    ShareEvent, ShareHow, ShareInfo, ShareNews, ShareRefusal, ShareSettings, ShareVerb, Take,
};
use stele_model::stream::records::{Abandoned, RecordSettings, RecordsAsk, ShardRecords};
use stele_model::stream::{Batch, Format, PartitionSpec, ShardAppend, StreamSettings};

pub(crate) const SHARD: ShardId = ShardId(3);
pub(crate) const PARTITION: QueueId = QueueId(1);

pub(crate) struct Rig {
    pub(crate) shard: Shard,
    pub(crate) log: MemoryLog,
    mutant: Option<Mutant>,
}

pub(crate) type Said = Vec<(Lsn, ShardEffect)>;

/// One delivery: to which taker, position, which delivery, number in the group, records behind it.
pub(crate) type Got = (u64, u64, u32, u64, u64);

/// Taker `number`; ten of them are one session.
pub(crate) fn taker(number: u64) -> SubscriptionId {
    SubscriptionId { session: session(number / 10), number }
}

pub(crate) fn session(number: u64) -> SessionId {
    SessionId { hub: HubId(0), number }
}

pub(crate) fn want(count: u32) -> PullWant {
    PullWant { count, ..PullWant::default() }
}

pub(crate) fn runs(positions: &[u64]) -> Vec<Run> {
    positions.iter().map(|at| Run { first: Position(*at), count: 1 }).collect()
}

/// So many records of our own layout, as one batch.
pub(crate) fn batch(count: u32) -> Batch {
    let mut bytes = BytesMut::new();
    for _ in 0..count {
        write_record(&mut bytes, 0, None, true, b"body");
    }
    let (time_max_ms, producer, keys) = (None, None, Vec::new());
    Batch { bytes: bytes.freeze(), format: Format::Records, count, time_max_ms, producer, keys }
}

/// Bytes of one record of [`batch`].
pub(crate) const RECORD_BYTES: u64 = 37;

impl Rig {
    pub(crate) fn new(mutant: Option<Mutant>) -> Self {
        Self::over(mutant, StreamSettings::default())
    }

    /// As it is, with a mistake.
    pub(crate) fn making(mut self, mutant: Option<Mutant>) -> Self {
        self.shard = self.shard.with_mutant(mutant);
        self.mutant = mutant;
        self
    }

    /// Over a stream that tells its records apart.
    pub(crate) fn of(records: RecordSettings) -> Self {
        Self::over(None, StreamSettings { records: Some(Box::new(records)), ..StreamSettings::default() })
    }

    fn over(mutant: Option<Mutant>, settings: StreamSettings) -> Self {
        let shard = Shard::new(SHARD).with_mutant(mutant);
        let mut rig = Self { shard, log: MemoryLog::new(1 << 14), mutant };
        rig.log.advance_ms(1_000_000);
        let (namespace, stream) = (NamespaceId(1), "s".to_owned());
        let partition = PartitionSpec { id: PARTITION, namespace, stream, index: 0, settings };
        rig.ask(ShardOp::PutPartition { revision: Revision(1), partition });
        rig.log.seal();
        rig
    }

    /// With group `g` of these settings.
    pub(crate) fn with(settings: ShareSettings) -> Self {
        let mut rig = Self::new(None);
        rig.put("g", settings, Expect::New).1.expect("it can be made");
        rig
    }

    pub(crate) fn ask(&mut self, op: ShardOp) -> Said {
        let mut effects = Vec::new();
        self.shard.take(op, &mut self.log, &mut effects);
        effects
    }

    pub(crate) fn append(&mut self, count: u32) -> Said {
        let parts = vec![(PARTITION, batch(count))];
        let (hub, call) = (HubId(0), Call(1));
        self.ask(ShardOp::Append(ShardAppend { hub, call, awaited: true, parts, records: Vec::new() }))
    }

    pub(crate) fn trim(&mut self, below: u64) -> Said {
        let parts = vec![(PARTITION, Position(below))];
        self.ask(ShardOp::Trim { hub: HubId(0), call: Call(1), parts })
    }

    /// Takes out one record.
    pub(crate) fn remove(&mut self, position: u64) -> Said {
        let ask = RecordsAsk::Delete(Position(position));
        self.ask(ShardOp::Records(ShardRecords { hub: HubId(0), call: Call(1), partition: PARTITION, ask }))
    }

    pub(crate) fn verb(&mut self, group: &str, verb: ShareVerb) -> (Said, Result<ShareAnswer, ShareRefusal>) {
        let (session, call, group) = (session(9), Call(2), group.to_owned());
        let said = self.ask(ShardOp::Share(ShardShare { session, call, partition: PARTITION, group, verb }));
        let answer = answer(&said).1;
        (said, answer)
    }

    pub(crate) fn put(
        &mut self,
        group: &str,
        settings: ShareSettings,
        expect: Expect,
    ) -> (Said, Result<ShareAnswer, ShareRefusal>) {
        self.verb(group, ShareVerb::Put { settings: Box::new(settings), expect })
    }

    pub(crate) fn info(&mut self) -> ShareInfo {
        match self.verb("g", ShareVerb::Info).1 {
            Ok(ShareAnswer::Info(info)) => *info,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn pull(&mut self, number: u64, want: PullWant) -> Said {
        let (partition, group, how) = (PARTITION, "g".to_owned(), Take::Pull(want));
        self.ask(ShardOp::Take(ShardTake { taker: taker(number), partition, group, how }))
    }

    pub(crate) fn push(&mut self, number: u64, bytes_max: u64) -> Said {
        let (partition, group, how) = (PARTITION, "g".to_owned(), Take::Push { call: Call(3), bytes_max });
        self.ask(ShardOp::Take(ShardTake { taker: taker(number), partition, group, how }))
    }

    pub(crate) fn settle_runs(
        &mut self,
        how: ShareHow,
        runs: Vec<Run>,
        delivery: u32,
        awaited: bool,
    ) -> Said {
        let answer = awaited.then_some((HubId(0), Call(4)));
        let settle = ShardSettle { partition: PARTITION, group: Arc::from("g"), how, runs, delivery };
        self.ask(ShardOp::SettleShares(ShardSettles { answer, settles: vec![settle] }))
    }

    pub(crate) fn settle(&mut self, how: ShareHow, positions: &[u64]) -> Said {
        self.settle_runs(how, runs(positions), 0, false)
    }

    pub(crate) fn accept(&mut self, positions: &[u64]) -> Said {
        self.settle(ShareHow::Accept, positions)
    }

    pub(crate) fn listen(&mut self) {
        self.ask(ShardOp::ShareListen { session: session(8), on: true });
    }

    /// Lets the shard do all that is due now.
    pub(crate) fn tick(&mut self) -> Said {
        let mut effects = Vec::new();
        while self.shard.deadline().is_some_and(|at| at <= self.log.now()) {
            self.shard.tick(&mut self.log, &mut effects);
        }
        effects
    }

    pub(crate) fn pass_ms(&mut self, ms: u64) -> Said {
        self.log.seal();
        self.log.advance_ms(ms);
        self.tick()
    }

    /// The process dies and starts again; everything up to block `through` was durable.
    pub(crate) fn restart_at(&mut self, through: Lsn) -> Said {
        self.log = self.log.cut(through);
        let mut shard = Shard::new(SHARD).with_mutant(self.mutant);
        self.log.replay(Lsn(0), &mut shard).unwrap();
        let mut effects = Vec::new();
        shard.started(&mut self.log, &mut effects);
        self.shard = shard;
        effects.extend(self.tick());
        effects
    }

    pub(crate) fn restart(&mut self) -> Said {
        let through = self.log.seal();
        self.restart_at(through)
    }
}

/// What takers got, in the order said.
pub(crate) fn got(said: &Said) -> Vec<Got> {
    let mut all = Vec::new();
    for (_, effect) in said {
        let ShardEffect::Shared { to, what: ShareEffect::Deliver { ranges, .. } } = effect else { continue };
        for range in ranges {
            for n in 0..u64::from(range.records.count) {
                let position = range.records.from.0 + n;
                let behind = if range.delivery == 1 { range.pending - n } else { range.pending };
                all.push((to.number, position, range.delivery, range.sequence + n, behind));
            }
        }
    }
    all
}

/// Positions that takers got.
pub(crate) fn positions(said: &Said) -> Vec<u64> {
    got(said).into_iter().map(|(_, position, ..)| position).collect()
}

/// Pulls that have ended.
pub(crate) fn ends(said: &Said) -> Vec<(u64, PullEnd)> {
    let each = said.iter().filter_map(|(_, effect)| match effect {
        ShardEffect::Shared { what: ShareEffect::Say(ShareNews::Ended { taker, why }), .. } => {
            Some((*taker, *why))
        }
        _ => None,
    });
    each.collect()
}

/// What listeners heard.
pub(crate) fn events(said: &Said) -> Vec<ShareEvent> {
    let each = said.iter().filter_map(|(_, effect)| match effect {
        ShardEffect::Shared { what: ShareEffect::Say(ShareNews::Event(of)), .. } => Some(of.what.clone()),
        _ => None,
    });
    each.collect()
}

/// Bundles that listeners heard were abandoned.
pub(crate) fn abandoned(said: &Said) -> Vec<(Bytes, Abandoned)> {
    let each = said.iter().filter_map(|(_, effect)| match effect {
        ShardEffect::Shared { what: ShareEffect::Say(ShareNews::Abandoned(of)), .. } => {
            Some((of.bundle.clone(), of.why))
        }
        _ => None,
    });
    each.collect()
}

/// The one answer, with what it waits for.
pub(crate) fn answer(said: &Said) -> (Lsn, Result<ShareAnswer, ShareRefusal>) {
    let mut each = said.iter().filter_map(|(after, effect)| match effect {
        ShardEffect::Answer { answer: Ok(Answer::Share(answer)), .. } => Some((*after, answer.clone())),
        _ => None,
    });
    let first = each.next().expect("there is an answer");
    assert!(each.next().is_none(), "there is one answer");
    first
}

/// The bytes that a range of a delivery names.
pub(crate) fn bytes(rig: &Rig, said: &Said) -> Vec<Bytes> {
    let mut all = Vec::new();
    for (_, effect) in said {
        let ShardEffect::Shared { what: ShareEffect::Deliver { ranges, .. }, .. } = effect else { continue };
        for range in ranges {
            let of = &range.records.batch;
            all.push(rig.log.read(of.place, of.len).expect("a delivery names bytes that are there"));
        }
    }
    all
}
