//! Runs operations on a shard and judges its effects by the model.

use crate::item::item;
use crate::judge::past::Past;
use crate::judge::{self, Check};
use crate::model::{Batch, Partition, Verdict};
use crate::ops::{Number, Op, Part};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_core::shard::{LoggedPartition, Mutant, Shard};
use stele_core::testing::{MemoryLog, write_record};
use stele_model::id::{
    Call, HubId, Lsn, NamespaceId, Place, Position, QueueId, Revision, SessionId, ShardId,
};
use stele_model::machine::{Journal, Machine, VOLATILE};
use stele_model::publish::{Publish, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::queue::{QueueSettings, QueueSpec};
use stele_model::refusal::Refusal;
use stele_model::shard::{Answer, ShardEffect, ShardOp};
use stele_model::stream::{
    Appended, Batch as Sent, Format, Found, FoundPosition, KeyMark, PartitionSpec, Producer, SeekBy,
    ShardAppend, ShardRead, ShardReadPart, StreamRefusal, StreamSettings, TimeKind,
};

const SHARD: ShardId = ShardId(1);
const PARTITIONS: u64 = 3;
const QUEUE: QueueId = QueueId(1_000_000);
const SESSION: SessionId = SessionId { hub: HubId(0), number: 4 };

pub(crate) struct World {
    shard: Shard,
    log: MemoryLog,
    mutant: Option<Mutant>,
    effects: Vec<(Lsn, ShardEffect)>,
    partitions: BTreeMap<QueueId, Partition>,
    watches: BTreeMap<u64, BTreeSet<QueueId>>,
    past: Past,
    live: BTreeMap<Lsn, i64>,
    clock_jumped: bool,
    next_partition: u64,
    revision: u64,
    letter: u8,
    /// The keys of every batch that was ever stored with some, by partition and position.
    keys: BTreeMap<(QueueId, u64), Vec<(u128, bool)>>,
}

fn spec(id: QueueId, settings: StreamSettings) -> PartitionSpec {
    PartitionSpec { id, namespace: NamespaceId(1), stream: "s".to_owned(), index: id.0 as u32, settings }
}

impl judge::World for World {
    type Op = Op;

    fn begin(mutant: Option<Mutant>) -> Self {
        let mut world = Self {
            shard: Shard::new(SHARD).with_mutant(mutant),
            log: MemoryLog::new(4096),
            mutant,
            effects: Vec::new(),
            partitions: BTreeMap::new(),
            watches: BTreeMap::new(),
            past: Past::new(SHARD),
            live: BTreeMap::new(),
            clock_jumped: false,
            next_partition: 0,
            revision: 0,
            letter: 0,
            keys: BTreeMap::new(),
        };
        // Away from the epoch, so that times before now are possible.
        world.log.advance_ms(1_000_000_000);
        let settings = QueueSettings { durable: true, ..QueueSettings::default() };
        let queue = QueueSpec { id: QUEUE, namespace: NamespaceId(1), name: "q".to_owned(), settings };
        world.take(ShardOp::Put { revision: Revision(0), queue: queue.into() });
        for _ in 0..PARTITIONS {
            world.add(StreamSettings::default());
        }
        world.seal();
        world.past.floor = world.log.tail();
        world
    }

    fn perform(&mut self, op: &Op) -> Check {
        match op {
            Op::Append { parts, awaited } => self.append(parts, *awaited)?,
            Op::Publish { mask, lens, persistent } => self.publish(*mask, lens, *persistent)?,
            Op::Read { parts, bytes_max, watch } => self.read(parts, u64::from(*bytes_max), *watch)?,
            Op::Unwatch(watch) => {
                self.watches.remove(&u64::from(*watch));
                self.take(ShardOp::Unwatch { session: SESSION, watch: u64::from(*watch) });
            }
            Op::SessionGone => {
                self.watches.clear();
                self.take(ShardOp::SessionGone { session: SESSION });
            }
            Op::Seek { partition, by, ms } => self.seek(*partition, *by, *ms)?,
            Op::Trim { partition, at } => self.trim(*partition, *at)?,
            Op::Put { partition, age, bytes, append_time, compact } => {
                let settings = StreamSettings {
                    retention_ms: age.map(u64::from),
                    retention_bytes: bytes.map(u64::from),
                    time: if *append_time { TimeKind::Append } else { TimeKind::Producer },
                    compact: compact.is_some(),
                    compact_after_ms: compact.map_or(0, |(after, _)| after.into()),
                    tombstone_ms: compact.map_or(0, |(_, stay)| stay.into()),
                    ..StreamSettings::default()
                };
                let id = self.id(*partition);
                self.put(id, settings);
            }
            Op::Replace(partition) => self.replace(*partition)?,
            Op::Clock(jumped) => {
                self.clock_jumped = *jumped;
                self.take(ShardOp::Clock { jumped: *jumped });
            }
            Op::Pass(ms) => self.pass(u64::from(*ms)),
            Op::PassLong => self.pass(25 * 60 * 60 * 1000),
            Op::Seal => self.seal(),
            Op::Snapshot => {
                self.come_to_rest();
                self.seal();
                self.past.begin_snapshot(&self.log, &mut self.shard);
            }
            Op::Crash { back, from_snapshot } => return self.crash(*back, *from_snapshot),
        }
        self.come_to_rest();
        self.compacted(matches!(op, Op::PassLong))?;
        self.compare()
    }

    fn end(mut self) -> Check {
        self.crash(0, false)
    }
}

impl World {
    fn now_ms(&self) -> u64 {
        self.log.now().ms()
    }

    /// One of the partitions, or one that is not there.
    fn id(&self, nth: u8) -> QueueId {
        self.partitions.keys().nth(usize::from(nth)).copied().unwrap_or(QueueId(999_999))
    }

    fn take(&mut self, op: ShardOp) {
        self.shard.take(op, &mut self.log, &mut self.effects);
    }

    fn add(&mut self, settings: StreamSettings) {
        self.next_partition += 1;
        let id = QueueId(self.next_partition);
        self.partitions.insert(id, Partition::new(settings.clone()));
        self.put(id, settings);
    }

    fn put(&mut self, id: QueueId, settings: StreamSettings) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        partition.set(settings.clone());
        self.revision += 1;
        self.take(ShardOp::PutPartition { revision: Revision(self.revision), partition: spec(id, settings) });
        self.effects.clear();
    }

    fn replace(&mut self, nth: u8) -> Check {
        let id = self.id(nth);
        self.effects.clear();
        self.revision += 1;
        self.take(ShardOp::Drop { revision: Revision(self.revision), queue: id });
        self.partitions.remove(&id);
        self.woken(&[id], self.log.tail())?;
        self.add(StreamSettings::default());
        Ok(())
    }

    fn pass(&mut self, ms: u64) {
        self.seal();
        self.log.advance_ms(ms);
    }

    fn append(&mut self, parts: &[Part], awaited: bool) -> Check {
        self.effects.clear();
        let urgent = self.log.urgent();
        let mut sent = Vec::new();
        let mut model = self.partitions.clone();
        for part in parts {
            let id = self.id(part.partition);
            let batch = self.batch(part, model.get(&id));
            // So that the next part is numbered after this one.
            if let Some(partition) = model.get_mut(&id) {
                let stored = stored(&batch, partition.end, self.now_ms(), Lsn(0));
                let verdict = batch.producer.map_or(Verdict::Take, |of| partition.verdict(&of, batch.count));
                if verdict == Verdict::Take {
                    partition.append(stored, batch.producer);
                }
            }
            sent.push((id, batch));
        }
        let (hub, call) = (HubId(2), Call(8));
        let parts = sent.clone();
        self.take(ShardOp::Append(ShardAppend { hub, call, awaited, parts, records: Vec::new() }));
        let (after, results) = self
            .said(|effect| match effect {
                ShardEffect::Appended { parts, .. } => Some(parts.clone()),
                _ => None,
            })
            .ok_or("an append is answered")?;
        let (mut touched, mut block) = (Vec::new(), Lsn(0));
        let logged = self.shard.logged();
        for ((id, batch), result) in sent.into_iter().zip(&results) {
            let Some(partition) = self.partitions.get_mut(&id) else {
                expect(result, &Err(Refusal::Stream(StreamRefusal::UnknownPartition)))?;
                continue;
            };
            let start = Position(partition.start);
            let should = match batch.producer.map_or(Verdict::Take, |of| partition.verdict(&of, batch.count))
            {
                Verdict::Take => {
                    let first = partition.end;
                    let of = logged.partitions.iter().find(|of| of.spec.id == id);
                    let of = of.and_then(|of| of.batches.iter().find(|batch| batch.first.0 == first));
                    let of =
                        of.ok_or_else(|| format!("no batch at {first}, which is answered with {result:?}"))?;
                    block = block.max(of.place.lsn);
                    let stored = stored(&batch, first, of.appended_ms, of.place.lsn);
                    self.keys.insert((id, first), stored.keys.clone());
                    partition.append(stored, batch.producer);
                    touched.push((id, of.place.lsn));
                    Ok(Appended::At { first: Position(first), start })
                }
                Verdict::Repeat(first) => {
                    block = self.log.tail();
                    Ok(Appended::At { first: Position(first), start })
                }
                Verdict::OutOfSequence => Err(Refusal::Stream(StreamRefusal::OutOfSequence)),
                Verdict::Fenced => Err(Refusal::Stream(StreamRefusal::ProducerFenced)),
            };
            expect(result, &should)?;
        }
        if after < block {
            return Err(format!("an append waits for {after}, its last block is {block}"));
        }
        if self.log.urgent() > urgent && !awaited {
            return Err("an append that nobody waits for started a commit".to_owned());
        }
        for (id, block) in touched {
            self.woken(&[id], block)?;
        }
        self.nobody_else_woken()
    }

    /// Records of another dialect: what goes to a partition in one piece is one batch of it.
    fn publish(&mut self, mask: u8, lens: &[u16], persistent: bool) -> Check {
        self.effects.clear();
        let ids: Vec<QueueId> = self.partitions.keys().copied().collect();
        let taking: Vec<QueueId> =
            ids.iter().enumerate().filter(|(n, _)| mask & 1 << n != 0).map(|(_, id)| *id).collect();
        let mut route: Route = taking.iter().copied().collect();
        if mask & 8 != 0 {
            route.push(QUEUE);
        }
        if route.is_empty() {
            return Ok(());
        }
        let mut bytes = bytes::BytesMut::new();
        let mut items = Vec::new();
        for len in lens {
            self.letter = self.letter.wrapping_add(1);
            let start = bytes.len() as u32;
            write_record(&mut bytes, 0, None, persistent, &vec![self.letter; usize::from(*len)]);
            items.push(Publish { persistent, ..item(start..bytes.len() as u32) });
        }
        let all = bytes.freeze();
        let batch = Arc::new(Publishes { bytes: all.clone(), items, ..Publishes::default() });
        let runs = vec![RoutedRun { items: 0..lens.len() as u32, route: 0, volatile: !persistent }];
        let (hub, call, link, awaited) = (HubId(0), Call(3), None, true);
        let routes = vec![route];
        self.take(ShardOp::Publish(ShardPublish { hub, call, awaited, link, batch, runs, routes }));
        let (after, refused) = self
            .said(|effect| match effect {
                ShardEffect::Published { refused, gone, .. } => Some(refused.len() + gone.len()),
                _ => None,
            })
            .ok_or("a publish is answered")?;
        expect(&refused, &0)?;
        let logged = self.shard.logged();
        for id in &taking {
            let Some(partition) = self.partitions.get_mut(id) else { continue };
            let of = logged.partitions.iter().find(|of| of.spec.id == *id).ok_or("the partition is there")?;
            let (mut records, mut whole, mut blocks) = (0, Vec::new(), Vec::new());
            // An entry has room for a part of a long run; each part is a batch.
            for batch in of.batches.iter().filter(|batch| batch.first.0 >= partition.end) {
                let bytes = self.log.read(batch.place, batch.len).unwrap_or_default().to_vec();
                whole.extend_from_slice(&bytes);
                records += batch.count;
                let lsn = batch.place.lsn;
                blocks.push(lsn);
                let (first, count) = (batch.first.0, batch.count);
                let (appended_ms, newest_ms) = (batch.appended_ms, batch.newest_ms);
                // Another one may have stood here before a crash.
                self.keys.remove(&(*id, first));
                expect(&newest_ms, &appended_ms)?;
                expect(&batch.format, &Format::Records)?;
                partition.batches.push(Batch {
                    first,
                    count,
                    bytes,
                    appended_ms,
                    newest_ms,
                    lsn,
                    keys: Vec::new(),
                });
            }
            partition.end += u64::from(records);
            expect(&(records as usize, &whole[..]), &(lens.len(), &all[..]))?;
            if blocks.iter().any(|block| after < *block) {
                return Err(format!("a publish waits for {after}, its blocks are {blocks:?}"));
            }
            self.woken(&[*id], blocks[0])?;
        }
        self.nobody_else_woken()
    }

    /// A batch as a producer that knows what the shard has would send it.
    fn batch(&mut self, part: &Part, partition: Option<&Partition>) -> Sent {
        self.letter = self.letter.wrapping_add(1);
        let producer = part.producer.map(|(id, number)| {
            let known = partition.and_then(|partition| partition.producers.get(&u64::from(id)));
            let epoch = known.map_or(3, |known| known.epoch);
            let batches = known.map_or(&[][..], |known| &known.batches);
            let next = batches
                .last()
                .map_or((1 << 31) - 3, |(sequence, count, _)| (sequence + count) & ((1 << 31) - 1));
            let (epoch, sequence) = match number {
                Number::Next => (epoch, next),
                Number::Repeat(back) => {
                    let before = batches.iter().rev().nth(usize::from(back));
                    (epoch, before.map_or(next, |(sequence, ..)| *sequence))
                }
                Number::Gap => (epoch, (next + 1) & ((1 << 31) - 1)),
                Number::Reborn(well) => (epoch + 1, u32::from(!well)),
                Number::Old => (epoch.saturating_sub(1), next),
            };
            Producer { id: u64::from(id), epoch, sequence }
        });
        let keys = match partition {
            Some(partition) if partition.settings.compact => {
                let mark =
                    |key: &u8| KeyMark { hash: u128::from(key % 8) << 100 | 2, tombstone: *key >= 200 };
                part.keys.iter().take(part.count as usize).map(mark).collect()
            }
            _ => Vec::new(),
        };
        Sent {
            bytes: vec![self.letter; usize::from(part.len)].into(),
            format: Format::KafkaBatch,
            count: part.count,
            time_max_ms: part.time.map(|time| self.now_ms().saturating_add_signed(time.into())),
            producer,
            keys,
        }
    }

    fn read(&mut self, parts: &[(u8, u8, u16)], bytes_max: u64, watch: Option<u8>) -> Check {
        self.effects.clear();
        let watch = watch.map(u64::from);
        let parts: Vec<ShardReadPart> = parts
            .iter()
            .map(|(nth, at, bytes_max)| {
                let partition = self.id(*nth);
                let range = self.partitions.get(&partition).map_or((0, 0), |of| (of.start, of.end));
                // One below, all within, one above.
                let from = (range.0 + u64::from(*at) % (range.1 - range.0 + 3)).saturating_sub(1);
                let (from, bytes_max) = (Position(from), u64::from(*bytes_max));
                ShardReadPart { partition, from, bytes_max, stable: at % 2 == 0 }
            })
            .collect();
        let call = Call(6);
        self.take(ShardOp::Read(ShardRead {
            session: SESSION,
            call,
            parts: parts.clone(),
            bytes_max,
            watch,
        }));
        let (after, results) = self
            .said(|effect| match effect {
                ShardEffect::Read { parts, .. } => Some(parts.clone()),
                _ => None,
            })
            .ok_or("a read is answered")?;
        let (mut left, mut first, mut at_end, mut block) = (bytes_max, true, BTreeSet::new(), Lsn(0));
        for (part, result) in parts.iter().zip(&results) {
            let Some(of) = self.partitions.get(&part.partition) else {
                expect(&result.as_ref().map(drop).map_err(Clone::clone), &Err(unknown()))?;
                continue;
            };
            block = block.max(of.batches.last().map_or(Lsn(0), |last| last.lsn));
            let within = (of.start..=of.end).contains(&part.from.0);
            let Ok(found) = result else {
                if within {
                    return Err(format!("a read of {part:?} is refused: {result:?}"));
                }
                continue;
            };
            let mut part_left = part.bytes_max;
            let mut should = Vec::new();
            let mut next = part.from.0;
            for batch in of.batches.iter().filter(|batch| batch.end() > part.from.0) {
                let len = batch.bytes.len() as u64;
                if len > part_left.min(left) && !first {
                    break;
                }
                (part_left, left, first) = (part_left.saturating_sub(len), left.saturating_sub(len), false);
                should.push(batch);
                next = batch.end();
            }
            self.found(&found.batches, &should)?;
            if !within || (found.ends.start.0, found.ends.end.0) != (of.start, of.end) {
                return Err(format!("a read of {part:?} tells of {:?}, should {of:?}", found.ends));
            }
            if next == of.end {
                at_end.insert(part.partition);
            }
        }
        // What stands below the floor was durable at the last start.
        if after < block && block > self.past.floor {
            return Err(format!("a read waits for {after}, and tells of {block}"));
        }
        if let Some(watch) = watch {
            self.watches.remove(&watch);
            if !at_end.is_empty() {
                self.watches.insert(watch, at_end);
            }
        }
        self.nobody_else_woken()
    }

    fn found(&self, is: &[Found], should: &[&Batch]) -> Check {
        let bytes = |found: &Found| self.log.read(found.place, found.len).unwrap_or_default().to_vec();
        let told: Vec<_> = is.iter().map(|of| (of.first.0, of.count, of.appended.ms(), bytes(of))).collect();
        let model: Vec<_> =
            should.iter().map(|of| (of.first, of.count, of.appended_ms, of.bytes.clone())).collect();
        if told == model { Ok(()) } else { Err(format!("found {told:?}, should {model:?}")) }
    }

    fn seek(&mut self, nth: u8, by: u8, ms: i16) -> Check {
        self.effects.clear();
        let id = self.id(nth);
        let ms = self.now_ms().saturating_add_signed(ms.into());
        let by = match by {
            0 => SeekBy::Start,
            1 => SeekBy::End { stable: ms.is_multiple_of(2) },
            2 | 3 => SeekBy::Time(ms),
            4 => SeekBy::Appended(ms),
            _ => SeekBy::NewestTime,
        };
        self.take(ShardOp::Seek { hub: HubId(0), call: Call(1), parts: vec![(id, by)] });
        let (after, found) = self
            .said(|effect| match effect {
                ShardEffect::Sought { parts, .. } => Some(parts.clone()),
                _ => None,
            })
            .ok_or("a search is answered")?;
        let Some(of) = self.partitions.get(&id) else {
            return expect(&found[0].as_ref().map(drop).map_err(Clone::clone), &Err(unknown()));
        };
        let Ok(FoundPosition { position, batch, .. }) = found[0].clone() else {
            return Err(format!("a search is refused: {found:?}"));
        };
        let newest = of.batches.iter().map(|batch| of.time(batch)).max();
        let should = match by {
            SeekBy::Start => return expect(&position, &Some(Position(of.start))),
            SeekBy::End { .. } => return expect(&position, &Some(Position(of.end))),
            SeekBy::Time(ms) => of.batches.iter().find(|batch| of.time(batch) >= ms),
            SeekBy::Appended(ms) => of.batches.iter().find(|batch| batch.appended_ms >= ms),
            SeekBy::NewestTime if of.settings.time == TimeKind::Append => of.batches.last(),
            SeekBy::NewestTime => of.batches.iter().find(|batch| Some(of.time(batch)) == newest),
        };
        if should.is_some_and(|batch| after < batch.lsn && batch.lsn > self.past.floor) {
            return Err(format!("a search waits for {after}, and tells of {should:?}"));
        }
        expect(&position, &should.map(|batch| Position(batch.first)))?;
        self.found(batch.as_slice(), &Vec::from_iter(should))
    }

    fn trim(&mut self, nth: u8, at: u8) -> Check {
        self.effects.clear();
        let id = self.id(nth);
        let range = self.partitions.get(&id).map_or((0, 0), |of| (of.start, of.end));
        let below = (range.0 + u64::from(at) % (range.1 - range.0 + 3)).saturating_sub(1);
        self.take(ShardOp::Trim { hub: HubId(0), call: Call(1), parts: vec![(id, Position(below))] });
        let (_, answer) = self
            .said(|effect| match effect {
                ShardEffect::Answer { answer: Ok(Answer::Trimmed(parts)), .. } => Some(parts.clone()),
                _ => None,
            })
            .ok_or("a trim is answered")?;
        let is = answer[0].as_ref().map(|ends| (ends.start.0, ends.end.0)).map_err(Clone::clone);
        match self.partitions.get_mut(&id) {
            None => expect(&is, &Err(unknown())),
            Some(of) if below > of.end => {
                let refused = matches!(is, Err(Refusal::Stream(StreamRefusal::OutOfRange { .. })));
                if refused { Ok(()) } else { Err(format!("trimmed to {below} of {}: {is:?}", of.end)) }
            }
            Some(of) => {
                of.trim(below);
                expect(&is, &Ok((of.start, of.end)))
            }
        }
    }

    /// Lets the shard do all that is due, and the model too.
    fn come_to_rest(&mut self) {
        while self.shard.deadline().is_some_and(|at| at <= self.log.now()) {
            self.shard.tick(&mut self.log, &mut self.effects);
        }
        let now_ms = self.now_ms();
        for partition in self.partitions.values_mut() {
            partition.age(now_ms, !self.clock_jumped);
        }
    }

    /// What compaction has taken out may go, and has gone when there was time.
    fn compacted(&mut self, all: bool) -> Check {
        let now_ms = self.now_ms();
        let logged = self.shard.logged();
        for of in &logged.partitions {
            let Some(partition) = self.partitions.get_mut(&of.spec.id) else { continue };
            let over = partition.over(now_ms);
            for key in over {
                let there = of.keys.iter().any(|(is, ..)| *is == key);
                if there && all && !self.clock_jumped {
                    return Err(format!("the tombstone of {key:x} stays for ever"));
                }
                if !there {
                    partition.keys.remove(&key);
                }
            }
            for first in partition.superseded(now_ms) {
                let there = of.batches.iter().any(|batch| batch.first.0 == first);
                if there && all && !self.clock_jumped {
                    return Err(format!("the superseded batch at {first} stays for ever"));
                }
                if !there {
                    partition.batches.retain(|batch| batch.first != first);
                }
            }
            // What stood behind it may be old already.
            partition.age(now_ms, !self.clock_jumped);
        }
        Ok(())
    }

    /// The shard's state is the model's, and its live changes add up.
    fn compare(&mut self) -> Check {
        let logged = self.shard.logged();
        if logged.partitions.len() != self.partitions.len() {
            return Err(format!("{} partitions", logged.partitions.len()));
        }
        let mut live: BTreeMap<Lsn, i64> = BTreeMap::new();
        for (of, (id, should)) in logged.partitions.iter().zip(&self.partitions) {
            let is = self.seen(of);
            if of.spec.id != *id || is != *should {
                return Err(format!("partition {id} is {is:#?}, should be {should:#?}"));
            }
            for batch in &of.batches {
                *live.entry(batch.place.lsn).or_default() += i64::from(batch.len);
            }
        }
        for record in logged.queues.iter().flat_map(|queue| &queue.ready) {
            *live.entry(record.place.lsn).or_default() += i64::from(record.len);
        }
        let mut changes = Vec::new();
        self.shard.live_changes(&mut changes);
        for (lsn, change) in changes {
            if lsn.0 & VOLATILE != 0 {
                continue;
            }
            let sum = self.live.entry(lsn).or_default();
            *sum += change;
        }
        self.live.retain(|_, sum| *sum != 0);
        if self.live != live {
            return Err(format!("live bytes are {:?}, should be {live:?}", self.live));
        }
        let mut places = Vec::new();
        self.shard.live_in((Lsn(0), Lsn(VOLATILE - 1)), &mut places);
        let apart = places
            .windows(2)
            .all(|pair| pair[0].0.lsn < pair[1].0.lsn || pair[0].0.at + pair[0].1 <= pair[1].0.at);
        let batches = logged.partitions.iter().flat_map(|of| &of.batches).map(|of| (of.place, of.len));
        let records = logged.queues.iter().flat_map(|of| &of.ready).map(|of| (of.place, of.len));
        let all: Vec<_> = batches.chain(records).collect();
        let within = |inner: &(Place, u32), outer: &(Place, u32)| {
            inner.0.lsn == outer.0.lsn
                && inner.0.at >= outer.0.at
                && inner.0.at + inner.1 <= outer.0.at + outer.1
        };
        let covered = all.iter().all(|of| places.iter().any(|place| within(of, place)));
        if apart && covered && places.iter().all(|place| all.contains(place)) {
            return Ok(());
        }
        Err(format!("live in blocks are {places:?}, should cover {all:?}"))
    }

    /// The state of a partition in the model's words.
    fn seen(&self, of: &LoggedPartition) -> Partition {
        let mut seen = Partition::new(of.spec.settings.clone());
        (seen.start, seen.end) = (of.start.0, of.end.0);
        // A batch's own keys are not to be seen in the shard.
        let keys = |batch: &stele_core::shard::LoggedBatch| {
            let told = of.keys_since.is_some_and(|since| since <= batch.first);
            let keys = self.keys.get(&(of.spec.id, batch.first.0)).filter(|_| told);
            keys.cloned().unwrap_or_default()
        };
        let batch = |batch: &stele_core::shard::LoggedBatch| Batch {
            first: batch.first.0,
            count: batch.count,
            bytes: self.log.read(batch.place, batch.len).unwrap_or_default().to_vec(),
            appended_ms: batch.appended_ms,
            newest_ms: batch.newest_ms,
            lsn: batch.place.lsn,
            keys: keys(batch),
        };
        seen.batches = of.batches.iter().map(batch).collect();
        seen.keys = of.keys.iter().map(|(key, at, tombstone)| (*key, (at.0, *tombstone))).collect();
        for (id, _, epoch, used_ms, recent) in &of.producers {
            let recent = recent.iter().rev().filter(|batch| batch.1 > 0);
            let batches: Vec<_> = recent.map(|(s, count, first)| (*s, *count, first.0)).collect();
            // The model knows all; the shard the last five.
            let model = self.partitions.get(&of.spec.id).and_then(|of| of.producers.get(id));
            let all = model.map(|known| &known.batches).filter(|all| all.ends_with(&batches));
            let all = all.filter(|all| batches.len() == all.len().min(5));
            let batches = all.cloned().unwrap_or(batches);
            seen.producers.insert(*id, crate::model::Known { epoch: *epoch, used_ms: *used_ms, batches });
        }
        seen
    }

    /// Those who watch one of these partitions are told after block `block`, once.
    fn woken(&mut self, ids: &[QueueId], block: Lsn) -> Check {
        let watching: Vec<u64> = self
            .watches
            .iter()
            .filter(|(_, of)| ids.iter().any(|id| of.contains(id)))
            .map(|(watch, _)| *watch)
            .collect();
        for watch in watching {
            self.watches.remove(&watch);
            let at = self.effects.iter().position(
                |(_, effect)| matches!(effect, ShardEffect::Woken { watch: is, .. } if *is == watch),
            );
            let Some((after, _)) = at.map(|at| self.effects.remove(at)) else {
                return Err(format!("watch {watch} was not woken"));
            };
            expect(&after, &block)?;
        }
        Ok(())
    }

    fn nobody_else_woken(&self) -> Check {
        let woken = self.effects.iter().find(|(_, effect)| matches!(effect, ShardEffect::Woken { .. }));
        woken.map_or(Ok(()), |woken| Err(format!("{woken:?} wakes somebody who does not watch")))
    }

    fn said<T>(&self, of: impl Fn(&ShardEffect) -> Option<T>) -> Option<(Lsn, T)> {
        self.effects.iter().find_map(|(after, effect)| Some((*after, of(effect)?)))
    }

    fn seal(&mut self) {
        self.past.seal(&mut self.log, &self.shard, ());
    }

    /// The process dies; blocks after one that may have been the last durable one are lost.
    pub(crate) fn crash(&mut self, back: u8, from_snapshot: bool) -> Check {
        self.past.write_on(&mut self.shard, usize::MAX);
        self.come_to_rest();
        self.seal();
        let (shard, ()) = self.past.crash(&mut self.log, back.into(), from_snapshot)?;
        self.shard = shard.with_mutant(self.mutant);
        self.effects.clear();
        self.shard.started(&mut self.log, &mut self.effects);
        self.rebuild();
        self.come_to_rest();
        self.compacted(false)?;
        self.compare()?;
        self.seal();
        self.past.floor = self.log.tail();
        Ok(())
    }

    /// Takes the model back to what was durable.
    fn rebuild(&mut self) {
        self.live.clear();
        self.watches.clear();
        self.clock_jumped = false;
        let logged = self.shard.logged();
        self.partitions = logged.partitions.iter().map(|of| (of.spec.id, self.seen(of))).collect();
        self.revision = self.revision.max(logged.revision.0);
        let last = self.partitions.keys().last().map_or(0, |id| id.0);
        self.next_partition = self.next_partition.max(last);
    }
}

fn stored(of: &Sent, first: u64, appended_ms: u64, lsn: Lsn) -> Batch {
    let newest_ms = of.time_max_ms.unwrap_or(appended_ms);
    let keys = of.keys.iter().map(|key| (key.hash, key.tombstone)).collect();
    Batch { first, count: of.count, bytes: of.bytes.to_vec(), appended_ms, newest_ms, lsn, keys }
}

fn unknown() -> Refusal {
    Refusal::Stream(StreamRefusal::UnknownPartition)
}

fn expect<T: PartialEq + std::fmt::Debug>(is: &T, should: &T) -> Check {
    if is == should { Ok(()) } else { Err(format!("{is:?} is answered with, should {should:?}")) }
}
