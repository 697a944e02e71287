//! Runs operations on a shard with one such stream, and judges its answers and its state by the model.

use crate::batch::{HUB, PARTITION, published, record, routed};
use crate::judge::past::Past;
use crate::judge::{self, Check};
use crate::model::{Model, Record, Waits};
use crate::ops::{Op, Sent, Settings};
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::fmt::Debug;
use stele_core::shard::{LoggedBatch, LoggedSingle, Mutant, Shard};
use stele_core::testing::MemoryLog;
use stele_model::id::{Call, HubId, Lsn, NamespaceId, Position, Revision, SessionId, ShardId};
use stele_model::machine::{Journal, Machine};
use stele_model::publish::{Publish, Publishes, ShardPublish};
use stele_model::refusal::Refusal;
use stele_model::repeat::Repeat;
use stele_model::shard::{Move, MoveOut, ShardEffect, ShardOp};
use stele_model::stream::due::{Due, DueMove, How, When};
use stele_model::stream::records::{
    BundleEnd, BundleTerms, Bundled, Discard, From, LastOf, LastsOf, PurgeOf, RecordRefusal, RecordSettings,
    RecordsAsk, ScanOf, ShardRecords, ShardRecordsAnswer, ShardStored, StateOf, StreamState, SubjectsOf,
    Terms, Wanted,
};
use stele_model::stream::{PartitionSpec, StreamRefusal, StreamSettings};
use stele_model::subject::Pattern;

const SHARD: ShardId = ShardId(1);
const FIRST: u64 = 40;

pub(crate) struct World {
    shard: Shard,
    log: MemoryLog,
    mutant: Option<Mutant>,
    effects: Vec<(Lsn, ShardEffect)>,
    model: Model,
    clock_jumped: bool,
    revision: u64,
    /// Bundles that were begun.
    bundles: u64,
    past: Past<Model>,
    /// Positions of those that have left to be published again, since they were compared; and how many moves of the effects were looked
    /// at.
    left: Vec<u64>,
    arrived: usize,
}

fn subject(n: u8) -> &'static str {
    ["a", "a.b", "a.c", "a.b.c", "b", "b.c", "b.c.d", "c.b"][usize::from(n) % 8]
}

fn pattern(n: u8) -> Pattern {
    let text = ["a.b", "a.>", "*.c", ">", "zz.*", "*.b.>"][usize::from(n) % 6];
    Pattern::new(text).expect("it is well formed")
}

fn settings(of: Settings) -> StreamSettings {
    let records = RecordSettings {
        records_max: of.records_max.map(u64::from),
        per_subject_max: of.per_subject_max.map(u64::from),
        discard: of.discard,
        dedupe_ms: 1500,
        first: Position(FIRST),
        rollup: true,
        bundles: true,
        record_ttl: true,
        due: true,
        subjects: Pattern::new(">").into_iter().collect(),
        marker_ttl_ms: of.marker_ttl_ms.map(u64::from),
        ..RecordSettings::default()
    };
    StreamSettings {
        retention_bytes: of.bytes_max.map(u64::from),
        retention_ms: of.age_ms.map(u64::from),
        records: Some(Box::new(records)),
        ..StreamSettings::default()
    }
}

const NONE: Settings = Settings {
    records_max: None,
    per_subject_max: None,
    bytes_max: None,
    age_ms: None,
    discard: Discard::Old,
    marker_ttl_ms: None,
};

/// What the random runs begin with.
pub(crate) fn plain() -> RecordSettings {
    *settings(NONE).records.expect("it tells its records apart")
}

/// The refusal of the one stream.
pub(crate) fn refusal(why: RecordRefusal) -> Refusal {
    Refusal::Stream(StreamRefusal::Record { stream: "s".to_owned(), why })
}

/// What a marker of a subject adds to its subject's length, bytes.
const MARKER_BYTES: u64 = 72;

impl judge::World for World {
    type Op = Op;

    fn begin(mutant: Option<Mutant>) -> Self {
        Self::with(mutant, settings(NONE))
    }

    fn perform(&mut self, op: &Op) -> Check {
        self.effects.clear();
        self.arrived = 0;
        match op {
            Op::Publish { sent, awaited } => self.publish(sent, *awaited)?,
            Op::Bundle { sent, end } => self.bundle(sent, *end)?,
            Op::Delete(at) => self.delete(*at)?,
            Op::Purge { pattern, below, keep } => self.purge(*pattern, *below, *keep)?,
            Op::Get { at, pattern } => self.get(*at, *pattern)?,
            Op::Scan { pattern, from, count } => self.scan(*pattern, *from, *count)?,
            Op::Lasts { pattern, as_of } => self.lasts(*pattern, *as_of)?,
            Op::Put { settings: of } => self.put(settings(*of)),
            Op::Clock(jumped) => {
                self.clock_jumped = *jumped;
                self.take(ShardOp::Clock { jumped: *jumped });
            }
            Op::Pass(ms) => {
                self.seal();
                self.log.advance_ms(u64::from(*ms));
            }
            Op::Seal => self.seal(),
            Op::Snapshot => {
                self.come_to_rest();
                self.seal();
                self.past.begin_snapshot(&self.log, &mut self.shard);
            }
            Op::Crash { back, from_snapshot } => return self.crash(*back, *from_snapshot),
        }
        self.come_to_rest();
        self.compare()
    }

    fn end(mut self) -> Check {
        self.crash(0, false)
    }
}

impl World {
    /// A stream that does this with its records.
    pub(crate) fn of(records: RecordSettings) -> Self {
        Self::with(None, StreamSettings { records: Some(Box::new(records)), ..settings(NONE) })
    }

    fn with(mutant: Option<Mutant>, settings: StreamSettings) -> Self {
        let model = Model {
            settings: settings.clone(),
            records: Vec::new(),
            end: FIRST,
            ids: Vec::new(),
            last_id: None,
            left: Vec::new(),
        };
        let mut world = Self {
            shard: Shard::new(SHARD).with_mutant(mutant),
            log: MemoryLog::new(4096),
            mutant,
            effects: Vec::new(),
            model,
            clock_jumped: false,
            revision: 0,
            bundles: 0,
            past: Past::new(SHARD),
            left: Vec::new(),
            arrived: 0,
        };
        world.log.advance_ms(1_000_000_000);
        world.put(settings);
        world.seal();
        world.past.floor = world.log.tail();
        world
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.log.now().ms()
    }

    fn take(&mut self, op: ShardOp) {
        self.shard.take(op, &mut self.log, &mut self.effects);
    }

    fn put(&mut self, settings: StreamSettings) {
        self.model.settings = settings.clone();
        self.revision += 1;
        let partition = PartitionSpec {
            id: PARTITION,
            namespace: NamespaceId(1),
            stream: "s".to_owned(),
            index: 0,
            settings,
        };
        self.take(ShardOp::PutPartition { revision: Revision(self.revision), partition });
    }

    fn terms(&self, sent: &Sent, model: &Model) -> Option<Terms> {
        if sent.plain {
            return None;
        }
        let mut terms = Terms {
            id: sent.id.map(|id| vec![b'i', id].into()),
            rollup: sent.rollup,
            ttl: sent.ttl,
            marker: sent.marker,
            due: sent.due.map(|(ms, to_itself, repeats)| Due {
                when: match repeats {
                    false => When::At(self.now_ms() + u64::from(ms)),
                    true => When::Each(Repeat::Every(1000 + u64::from(ms) / 2)),
                },
                subject: if to_itself { subject(sent.subject).into() } else { "again".into() },
                how: How::default(),
            }),
            ends: sent.ends.map(|ends| subject(ends).into()),
            ..Terms::default()
        };
        let own = Pattern::new(subject(sent.subject)).expect("it is well formed");
        let last =
            |pattern: &Pattern| model.matching(pattern).next_back().map(|last| Position(last.position));
        let wrong = |holds: bool, position: Option<Position>| {
            if holds { position } else { Some(Position(position.map_or(3, |position| position.0 + 1))) }
        };
        match sent.condition {
            Some((0, holds)) => terms.end = Some(Position(model.end + u64::from(!holds))),
            Some((1, holds)) => {
                terms.last = Some(LastOf { subjects: None, position: wrong(holds, last(&own)) })
            }
            Some((2, holds)) => {
                let of = pattern(sent.subject);
                let position = wrong(holds, last(&of));
                terms.last = Some(LastOf { subjects: Some(of), position });
            }
            Some((_, holds)) => {
                let is = model.last_id.clone().map(Into::into);
                terms.last_id = if holds { is } else { Some(vec![b'?'].into()) };
            }
            None => {}
        }
        Some(terms)
    }

    fn publish(&mut self, sent: &[Sent], awaited: bool) -> Check {
        let now_ms = self.now_ms();
        let (mut bytes, mut batch) = (BytesMut::new(), Publishes::default());
        let (mut stored, mut refused) = (Vec::new(), Vec::new());
        let mut model = self.model.clone();
        for (item, sent) in (0..).zip(sent) {
            let (at, name) = (bytes.len() as u32, subject(sent.subject));
            let len = record(name, sent.len.into(), &mut bytes);
            batch.items.push(Publish { awaited, ..published(at..at + len, name) });
            let terms = self.terms(sent, &model);
            batch.terms.extend(terms.clone().map(|terms| (item, terms)));
            match model.decide(name.as_bytes(), len.into(), terms.as_ref(), now_ms) {
                Ok(None) => {
                    stored.push((item, model.end, false));
                    model.append(name.as_bytes(), len.into(), terms.as_ref(), now_ms);
                }
                Ok(Some(position)) => stored.push((item, position, true)),
                Err(why) => refused.push((item, why)),
            }
        }
        self.model = model;
        batch.bytes = bytes.freeze();
        self.take(ShardOp::Publish(routed(batch, awaited)));
        let told = self.effects.iter().find_map(|(after, effect)| match effect {
            ShardEffect::Published { refused, stored, .. } => Some((*after, refused.clone(), stored.clone())),
            _ => None,
        });
        let (after, is_refused, is_stored) = told.ok_or("a publish is answered")?;
        if awaited && after < self.log.tail() {
            return Err(format!("a publish waits for {after}, its last block is {}", self.log.tail()));
        }
        let named =
            |(item, why)| (item, Refusal::Stream(StreamRefusal::Record { stream: "s".to_owned(), why }));
        let refused: Vec<_> = refused.into_iter().map(named).collect();
        let partition = PARTITION;
        let named = |(item, position, duplicate)| ShardStored {
            item,
            partition,
            position: Position(position),
            duplicate,
            bundle: Bundled::No,
        };
        let mut should: Vec<_> = stored.into_iter().filter(|_| awaited).map(named).collect();
        should.sort_by_key(|stored| stored.item);
        let mut is_stored = is_stored;
        is_stored.sort_by_key(|stored| stored.item);
        same(&(is_stored, is_refused), &(should, refused), "stored, duplicates and refused")
    }

    /// A bundle is stored whole, or nothing of it is.
    fn bundle(&mut self, sent: &[Sent], end: u8) -> Check {
        let now_ms = self.now_ms();
        self.bundles += 1;
        let (mut bytes, mut batch) = (BytesMut::new(), Publishes::default());
        let mut all = Vec::new();
        let count = sent.len() as u32;
        for (item, sent) in (0..).zip(sent.iter().chain(sent.last().filter(|_| end == 2))) {
            let (at, name) = (bytes.len() as u32, subject(sent.subject));
            let len = record(name, sent.len.into(), &mut bytes);
            batch.items.push(Publish { awaited: true, ..published(at..at + len, name) });
            let is_last = item + 1 == if end == 2 { count + 1 } else { count };
            let of_bundle = BundleTerms {
                id: self.bundles.to_string().into_bytes().into(),
                sequence: Some(u64::from(item) + 1 + u64::from(is_last && end == 3)),
                end: match end {
                    1 | 3 if is_last => BundleEnd::Here,
                    2 if is_last => BundleEnd::Before,
                    _ => BundleEnd::More,
                },
            };
            let terms = self.terms(sent, &self.model).unwrap_or_default();
            batch.terms.push((item, Terms { bundle: Some(of_bundle), ..terms.clone() }));
            all.push((name, u64::from(len), terms));
        }
        all.truncate(sent.len());
        batch.bytes = bytes.freeze();
        let last = batch.items.len() as u32 - 1;
        let entries = self.entries();
        self.take(ShardOp::Publish(routed(batch, true)));
        let told = self.effects.iter().find_map(|(after, effect)| match effect {
            ShardEffect::Published { refused, stored, .. } => Some((*after, refused.clone(), stored.clone())),
            _ => None,
        });
        let (after, refused, stored) = told.ok_or("a bundle is answered")?;
        let of_last = stored.iter().find(|stored| stored.item == last).map(|stored| stored.bundle);
        let is_plain = self.model.settings.records.as_ref().is_some_and(|of| of.discard == Discard::Old)
            && sent.iter().all(|sent| sent.plain);
        match (of_last, end) {
            (Some(Bundled::Waits), 0) => {}
            (Some(Bundled::Ends(ended)), 1 | 2) => {
                let mut model = self.model.clone();
                for (name, len, terms) in &all {
                    // What a subject's last record is was settled before the bundle; all else with those of the bundle before it.
                    let Terms { last, last_id, .. } = terms.clone();
                    let before = Terms { last, last_id, ..Terms::default() };
                    let with = Terms { last: None, last_id: None, ..terms.clone() };
                    for (model, terms) in [(&self.model, before), (&model, with)] {
                        match model.decide(name.as_bytes(), *len, Some(&terms), now_ms) {
                            Ok(None)
                            | Err(
                                RecordRefusal::RecordsMax
                                | RecordRefusal::BytesMax
                                | RecordRefusal::PerSubjectMax,
                            ) => {}
                            other => return Err(format!("a bundle was stored of which one is {other:?}")),
                        }
                    }
                    model.append(name.as_bytes(), *len, Some(terms), now_ms);
                }
                self.model = model;
                same(&ended, &count, "records of a bundle")?;
                if self.entries() != entries + 1 || after < self.log.tail() {
                    return Err("a bundle is one entry, and its answer waits for it".to_owned());
                }
            }
            (None, 1 | 2) if is_plain => return Err(format!("a plain bundle is refused: {refused:?}")),
            (None, 1..=3) if refused.iter().any(|(item, _)| *item == last) => {}
            other => return Err(format!("the end of a bundle is answered by {other:?}")),
        }
        Ok(())
    }

    /// Publishes to these subjects, awaited; where the records went, and whether they were there.
    pub(crate) fn publish_plain(&mut self, subjects: &[&str]) -> Vec<(u64, bool)> {
        self.effects.clear();
        let (mut bytes, mut batch) = (BytesMut::new(), Publishes::default());
        for name in subjects {
            let at = bytes.len() as u32;
            let len = record(name, 3, &mut bytes);
            batch.items.push(published(at..at + len, name));
        }
        batch.bytes = bytes.freeze();
        self.take(ShardOp::Publish(routed(batch, true)));
        let stored = self.effects.iter().find_map(|(_, effect)| match effect {
            ShardEffect::Published { stored, .. } => Some(stored.clone()),
            _ => None,
        });
        let stored = stored.expect("a publish is answered");
        stored.iter().map(|stored| (stored.position.0, stored.duplicate)).collect()
    }

    /// Publishes one record with these terms, by this hub.
    pub(crate) fn send(&mut self, hub: HubId, subject: &str, terms: Terms) {
        self.send_all(hub, vec![(subject, terms)]);
    }

    /// The same of several at once.
    pub(crate) fn send_all(&mut self, hub: HubId, records: Vec<(&str, Terms)>) {
        let (mut bytes, mut batch) = (BytesMut::new(), Publishes::default());
        for (n, (subject, terms)) in (0..).zip(records) {
            let from = bytes.len() as u32;
            let len = record(subject, 3, &mut bytes);
            batch.items.push(published(from..from + len, subject));
            batch.terms.push((n, terms));
        }
        batch.bytes = bytes.freeze();
        self.take(ShardOp::Publish(ShardPublish { hub, ..routed(batch, true) }));
    }

    /// What hubs were told of records since the last look: whose went where, `None` if it was refused.
    pub(crate) fn told(&mut self) -> Vec<(u32, Option<u64>)> {
        let told = std::mem::take(&mut self.effects).into_iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Published { hub, stored, .. } => {
                Some((u32::from(hub.0), stored.first().map(|stored| stored.position.0)))
            }
            _ => None,
        });
        told.collect()
    }

    pub(crate) fn tick(&mut self) {
        self.shard.tick(&mut self.log, &mut self.effects);
    }

    pub(crate) fn tick_until_done(&mut self) {
        while self.shard.deadline().is_some_and(|at| at.0 == 0) {
            self.tick();
        }
    }

    /// Publishes one record with these terms; where it went.
    pub(crate) fn publish_with(&mut self, subject: &str, terms: Terms) -> Result<Position, Refusal> {
        self.send(HUB, subject, terms);
        let told = self.effects.iter().rev().find_map(|(_, effect)| match effect {
            ShardEffect::Published { stored, refused, .. } => Some((stored.clone(), refused.clone())),
            _ => None,
        });
        let (stored, mut refused) = told.expect("a publish is answered");
        match refused.pop() {
            Some((_, refusal)) => Err(refusal),
            None => Ok(stored[0].position),
        }
    }

    /// Time goes by, and the shard does what is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.seal();
        self.log.advance_ms(ms);
        while self.shard.deadline().is_some_and(|at| at <= self.log.now()) {
            self.shard.tick(&mut self.log, &mut self.effects);
        }
    }

    /// The moves of records whose time has come, since the last look.
    pub(crate) fn due_moves(&mut self) -> Vec<(u64, DueMove)> {
        let moves = std::mem::take(&mut self.effects).into_iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Move(Move { number, out_of: MoveOut::Due(of), .. }) => Some((number, (*of).clone())),
            _ => None,
        });
        moves.collect()
    }

    /// A move has ended.
    pub(crate) fn moved(&mut self, number: u64) {
        self.take(ShardOp::Moved { number });
    }

    /// Publishes one record of this size; its length.
    pub(crate) fn publish_sized(&mut self, subject: &str, body: usize) -> u32 {
        self.effects.clear();
        self.log.seal();
        let (mut bytes, mut batch) = (BytesMut::new(), Publishes::default());
        let len = record(subject, body, &mut bytes);
        batch.items.push(published(0..len, subject));
        batch.bytes = bytes.freeze();
        self.take(ShardOp::Publish(routed(batch, true)));
        len
    }

    /// A session wants to be told of what is stored, or does not any more.
    pub(crate) fn listen(&mut self, session: u64, namespace: Option<NamespaceId>) {
        self.take(ShardOp::EchoListen { session: SessionId { hub: HUB, number: session }, namespace });
    }

    /// What a session was told of has reached it.
    pub(crate) fn taken(&mut self, session: u64, bytes: u64) {
        self.take(ShardOp::EchoTaken { session: SessionId { hub: HUB, number: session }, bytes });
    }

    /// What sessions were told of the last publish: who, of which position, and which was before it.
    pub(crate) fn echoed(&self) -> Vec<(u64, u64, Option<u64>)> {
        let mut told = Vec::new();
        for (after, effect) in &self.effects {
            let ShardEffect::Echo { session, records, .. } = effect else { continue };
            for record in records {
                assert!(*after >= record.place.lsn, "nobody is told of what is not durable");
                let before = record.of.before.map(|before| before.0);
                told.push((session.number, record.of.position.0, before));
            }
        }
        told
    }

    pub(crate) fn entries(&self) -> usize {
        self.log.entries().len()
    }

    pub(crate) fn state(&mut self) -> StreamState {
        self.told_state().expect("a stream tells its state")
    }

    /// The process ends and begins anew, from a snapshot.
    pub(crate) fn restart(&mut self) {
        self.seal();
        let restored = Shard::restore(&self.shard.snapshot()).expect("a snapshot is whole");
        let mut replayed = Shard::new(SHARD);
        self.log.replay(Lsn(0), &mut replayed).expect("a log is whole");
        assert_eq!(restored.logged(), replayed.logged());
        self.shard = restored;
        self.shard.started(&mut self.log, &mut self.effects);
    }

    /// A position that is there, or somewhere near.
    fn position(&self, at: u8) -> Position {
        let at = usize::from(at);
        let there = self.model.records.get(at % (self.model.records.len() + 2)).map(|record| record.position);
        Position(there.unwrap_or(self.model.start() + at as u64 % 9))
    }

    pub(crate) fn ask(&mut self, ask: RecordsAsk) -> Result<Result<ShardRecordsAnswer, Refusal>, String> {
        self.effects.clear();
        let (hub, call, partition) = (HUB, Call(4), PARTITION);
        self.take(ShardOp::Records(ShardRecords { hub, call, partition, ask }));
        while self.shard.deadline().is_some_and(|at| at.0 == 0) {
            self.shard.tick(&mut self.log, &mut self.effects);
        }
        let told = self.effects.iter().find_map(|(_, effect)| match effect {
            ShardEffect::Records { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        told.ok_or_else(|| "a request is answered".to_owned())
    }

    /// Removes one record.
    pub(crate) fn delete_at(&mut self, at: Position) {
        let answer = self.ask(RecordsAsk::Delete(at)).expect("a request is answered");
        assert_eq!(answer, Ok(ShardRecordsAnswer::Removed(1)));
    }

    fn delete(&mut self, at: u8) -> Check {
        let position = self.position(at);
        let before = self.model.records.len();
        self.model.records.retain(|record| record.position != position.0);
        let there = self.model.records.len() < before;
        let answer = self.ask(RecordsAsk::Delete(position))?;
        let refusal = StreamRefusal::Record { stream: "s".to_owned(), why: RecordRefusal::NoRecord };
        let should = if there { Ok(ShardRecordsAnswer::Removed(1)) } else { Err(Refusal::Stream(refusal)) };
        same(&answer, &should, "deleted")
    }

    fn purge(&mut self, of: Option<u8>, below: Option<u8>, keep: Option<u8>) -> Check {
        let subjects = of.map(pattern);
        let below = below.map(|at| self.position(at));
        let filter = subjects.clone().unwrap_or_else(Pattern::everything);
        let mut goes: Vec<u64> = self.model.matching(&filter).map(|record| record.position).collect();
        if let Some(keep) = keep {
            goes.truncate(goes.len().saturating_sub(keep.into()));
        }
        goes.retain(|position| below.is_none_or(|below| *position < below.0));
        self.model.records.retain(|record| !goes.contains(&record.position));
        let answer = self.ask(RecordsAsk::Purge(PurgeOf { subjects, below, keep: keep.map(u64::from) }))?;
        same(&answer, &Ok(ShardRecordsAnswer::Removed(goes.len() as u64)), "purged")
    }

    fn get(&mut self, at: u8, of: u8) -> Check {
        let (position, subjects) = (self.position(at), pattern(of));
        let should = [
            self.model.records.iter().find(|record| record.position == position.0),
            self.model.matching(&subjects).next_back(),
            self.model.matching(&subjects).find(|record| record.position >= position.0),
        ];
        let should: Vec<_> = should.into_iter().map(|found| found.map(|of| of.position)).collect();
        let wanted = vec![
            Wanted::At(position),
            Wanted::Last(subjects.clone()),
            Wanted::Next { subjects, from: position },
        ];
        let (found, _) = self.found(RecordsAsk::Get(wanted))?;
        same(&found, &should, "found")
    }

    fn found(&mut self, ask: RecordsAsk) -> Result<(Vec<Option<u64>>, u64), String> {
        let answer = self.ask(ask)?;
        let Ok(ShardRecordsAnswer::Found { records, pending, .. }) = answer else {
            return Err(format!("a read is answered with {answer:?}"));
        };
        for record in records.iter().flatten() {
            let bytes = self.log.read(record.place, record.len).ok_or("its bytes are there")?;
            let model = self.model.records.iter().find(|of| of.position == record.position.0);
            let model = model.ok_or_else(|| format!("no record at {}", record.position))?;
            let view = stele_record::View::parse(&bytes).map_err(|damage| damage.to_string())?;
            same(&view.key().to_vec(), &model.subject, "the subject in the bytes")?;
            same(&record.appended.ms(), &model.came_ms, "the time of a record")?;
        }
        Ok((records.iter().map(|found| found.map(|of| of.position.0)).collect(), pending))
    }

    fn scan(&mut self, of: u8, from: u8, count: u8) -> Check {
        let (subjects, from) = (pattern(of), self.position(from));
        let fits = |record: &&Record| record.position >= from.0;
        let all: Vec<u64> = self.model.matching(&subjects).filter(fits).map(|of| of.position).collect();
        let (should, rest) = all.split_at(all.len().min(count.into()));
        let should = (should.iter().copied().map(Some).collect(), rest.len() as u64);
        let (from, bytes_max) = (From::Position(from), u64::MAX);
        let ask = ScanOf { subjects, from, count_max: count.into(), bytes_max };
        same(&self.found(RecordsAsk::Scan(ask))?, &should, "scanned")
    }

    fn lasts(&mut self, of: u8, as_of: Option<u8>) -> Check {
        let subjects = pattern(of);
        let as_of = as_of.map(|at| self.position(at));
        let there = |record: &&Record| as_of.is_none_or(|end| record.position <= end.0);
        let mut lasts: BTreeMap<&[u8], u64> = BTreeMap::new();
        for record in self.model.matching(&subjects).filter(there) {
            lasts.insert(&record.subject, record.position);
        }
        let mut should: Vec<u64> = lasts.into_values().collect();
        should.sort_unstable();
        let ask = LastsOf {
            subjects: vec![subjects],
            as_of: as_of.map(From::Position),
            subjects_max: 100,
            from: Position(0),
            count_max: 100,
            bytes_max: u64::MAX,
        };
        let (found, pending) = self.found(RecordsAsk::Lasts(ask))?;
        same(&(found, pending), &(should.into_iter().map(Some).collect(), 0), "last of each subject")
    }

    /// What is on the move has come to where it should be.
    fn arrive(&mut self) {
        let moves = self.effects.iter().filter_map(|(_, effect)| match effect {
            ShardEffect::Move(of) => Some(of.clone()),
            _ => None,
        });
        let moves: Vec<Move> = moves.skip(self.arrived).collect();
        self.arrived += moves.len();
        for of in moves {
            if let MoveOut::Due(due) = &of.out_of {
                self.left.extend(due.records.iter().map(|of| of.record.position.0));
            }
            self.take(ShardOp::Moved { number: of.number });
        }
    }

    /// Lets the shard do all that is due, and the model too.
    fn come_to_rest(&mut self) {
        while self.shard.deadline().is_some_and(|at| at <= self.log.now()) {
            self.shard.tick(&mut self.log, &mut self.effects);
        }
        self.arrive();
        let now_ms = self.now_ms();
        let ended = if self.clock_jumped { Vec::new() } else { self.model.age(now_ms) };
        self.model.push_out();
        for subject in ended {
            let ttl = self.model.by_record().marker_ttl_ms.expect("the stream has markers");
            let ttl = stele_model::stream::records::Ttl::Ms(ttl);
            let terms = Terms { ttl, marker: true, ..Terms::default() };
            self.model.append(&subject, MARKER_BYTES + subject.len() as u64, Some(&terms), now_ms);
        }
    }

    /// The shard's state is the model's.
    fn compare(&mut self) -> Check {
        self.left.sort_unstable();
        self.model.left.sort_unstable();
        same(&std::mem::take(&mut self.left), &std::mem::take(&mut self.model.left), "published again are")?;
        let logged = self.shard.logged();
        let of = &logged.partitions[0];
        let subjects = of.records.as_ref().ok_or("it tells its records apart")?;
        let single = |((position, subject, expires, marker, due), batch): (&LoggedSingle, &LoggedBatch)| {
            let position: Position = *position;
            let delay = expires.filter(|_| *due).map(|at_ms| Waits { at_ms, every_ms: None, plain: true });
            let schedule = subjects.schedules.iter().find(|(at, ..)| *at == position);
            let schedule = schedule.map(|(_, at_ms, repeat, _)| {
                let every_ms = repeat.as_ref().map(|repeat| match repeat {
                    Repeat::Every(ms) => *ms,
                    Repeat::Clock(_) => unreachable!("nobody sent one"),
                });
                Waits { at_ms: *at_ms, every_ms, plain: false }
            });
            Record {
                position: position.0,
                subject: subject.clone(),
                len: u64::from(batch.len),
                came_ms: batch.appended_ms,
                expires: expires.filter(|_| !due),
                marker: *marker,
                due: delay.or(schedule),
            }
        };
        let records: Vec<Record> = subjects.records.iter().zip(&of.batches).map(single).collect();
        same(&records, &self.model.records, "the list of records is")?;
        same(&subjects.last_id, &self.model.last_id, "the last id is")?;
        same(&(of.start.0, of.end.0), &(self.model.start(), self.model.end), "the ends are")?;
        let state = self.told_state()?;
        let mut counted: BTreeMap<&[u8], u64> = BTreeMap::new();
        self.model.records.iter().for_each(|record| *counted.entry(&record.subject).or_default() += 1);
        let counted: Vec<_> =
            counted.into_iter().map(|(subject, count)| (subject.to_vec().into(), count)).collect();
        same(&state.counted, &counted, "records by subject are")?;
        same(
            &(state.records, state.subjects),
            &(records.len() as u64, counted.len() as u64),
            "the counts are",
        )?;
        let there = |position: &u64| records.iter().any(|record| record.position == *position);
        let holes: Vec<Position> =
            (self.model.start()..self.model.end).filter(|at| !there(at)).map(Position).collect();
        same(&(state.holes, state.hole_list), &(holes.len() as u64, holes), "the holes are")
    }

    fn told_state(&mut self) -> Result<StreamState, String> {
        self.effects.clear();
        let subjects = Some(SubjectsOf { pattern: Pattern::everything(), offset: 0, count_max: 100 });
        match self.ask(RecordsAsk::State(StateOf { subjects, holes_max: Some(10_000) }))? {
            Ok(ShardRecordsAnswer::State(state)) => Ok(*state),
            other => Err(format!("told {other:?} of its state")),
        }
    }

    fn seal(&mut self) {
        self.past.seal(&mut self.log, &self.shard, self.model.clone());
    }

    /// The process dies; blocks after one that may have been the last durable one are lost.
    pub(crate) fn crash(&mut self, back: u8, from_snapshot: bool) -> Check {
        self.past.write_on(&mut self.shard, usize::MAX);
        self.come_to_rest();
        self.seal();
        let (shard, model) = self.past.crash(&mut self.log, back.into(), from_snapshot)?;
        self.shard = shard.with_mutant(self.mutant);
        self.effects.clear();
        self.shard.started(&mut self.log, &mut self.effects);
        self.arrived = 0;
        // What had left before leaves once more.
        self.arrive();
        self.left.clear();
        self.model = model;
        self.clock_jumped = false;
        self.come_to_rest();
        self.compare()?;
        self.seal();
        self.past.floor = self.log.tail();
        Ok(())
    }
}

fn same<T: PartialEq + Debug>(is: &T, should: &T, what: &str) -> Check {
    if is == should { Ok(()) } else { Err(format!("{what}: is {is:?}, should be {should:?}")) }
}
