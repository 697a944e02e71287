//! Runs operations on a shard and judges its effects by the model.

mod moves;

use crate::item::item;
use crate::judge::past::{Past, same};
use crate::judge::{self, Check};
use crate::model::{Item, Queue, Reader, State};
use crate::ops::Op;
use bytes::BytesMut;
use std::collections::BTreeMap;
use std::sync::Arc;
use stele_core::shard::{LoggedRecord, LoggedState, Mutant, Shard};
use stele_core::testing::{MemoryLog, write_record};
use stele_model::id::{
    Call, HubId, Lsn, NamespaceId, Position, QueueId, Revision, SessionId, ShardId, SubscriptionId,
};
use stele_model::machine::{Journal, Machine, VOLATILE};
use stele_model::op::Credit;
use stele_model::publish::{LinkNumber, Publish, Publishes, Route, RoutedRun, ShardPublish};
use stele_model::queue::{DeadLetter, Overflow, QueueSettings, QueueSpec};
use stele_model::settle::{How, Run, Settle};
use stele_model::shard::{DeathReason, Grant, ShardEffect, ShardOp, ShardSubscribe};

const SHARD: ShardId = ShardId(1);
const QUEUES: u64 = 3;
const LINK: ShardId = ShardId(9);

/// Deliveries of one queue in one turn: what each waits for, to whom, what.
type Given = Vec<(Lsn, SubscriptionId, Grant)>;

pub(crate) struct World {
    shard: Shard,
    log: MemoryLog,
    mutant: Option<Mutant>,
    effects: Vec<(Lsn, ShardEffect)>,
    queues: BTreeMap<QueueId, Queue>,
    past: Past,
    /// Positions as deliveries told them, by (queue, id).
    positions: BTreeMap<(QueueId, u32), Position>,
    /// Moves under way: number to (queue, ids).
    moves: BTreeMap<u64, (QueueId, Vec<u32>)>,
    link: u64,
    live: BTreeMap<Lsn, i64>,
    next_id: u32,
    next_queue: u64,
    next_number: u64,
    revision: u64,
}

fn spec(id: u64, durable: bool) -> QueueSpec {
    let settings =
        QueueSettings { durable, priority_max: (id % QUEUES == 1).then_some(2), ..QueueSettings::default() };
    QueueSpec { id: QueueId(id), namespace: NamespaceId(1), name: format!("q{id}"), settings }
}

impl judge::World for World {
    type Op = Op;

    fn begin(mutant: Option<Mutant>) -> Self {
        let mut world = Self {
            shard: Shard::new(SHARD).with_mutant(mutant).with_snapshot_steps(1),
            log: MemoryLog::new(4096),
            mutant,
            effects: Vec::new(),
            queues: BTreeMap::new(),
            past: Past::new(SHARD),
            positions: BTreeMap::new(),
            moves: BTreeMap::new(),
            link: 0,
            live: BTreeMap::new(),
            next_id: 0,
            next_queue: QUEUES,
            next_number: 0,
            revision: 0,
        };
        (0..QUEUES).for_each(|id| world.put(spec(id, id != 2)));
        world.seal();
        world.past.floor = world.log.tail();
        world
    }

    fn perform(&mut self, op: &Op) -> Check {
        self.grow_patient(0);
        match op {
            Op::Publish { route, count, persistent, priority, ttl, awaited, linked } => {
                let ttl = ttl.map(u32::from);
                self.publish(*route, *count, *persistent, *priority, ttl, *awaited, *linked)?;
            }
            Op::Subscribe { session, queue, no_ack, messages, bytes, priority } => {
                self.subscribe(*session, *queue, *no_ack, *messages, *bytes, *priority);
            }
            Op::Unsubscribe { nth } => self.unsubscribe(*nth),
            Op::Credit { nth, bytes } => self.credit(*nth, *bytes)?,
            Op::Settle { nth, skip, count, how } => self.settle(*nth, *skip, *count, *how)?,
            Op::Get { session, queue, no_ack } => self.get(*session, *queue, *no_ack)?,
            Op::Purge { queue } => self.purge(*queue),
            Op::SessionGone { session } => self.session_gone(*session),
            Op::Settings { queue, kind, max } => self.settings(*queue, *kind, *max),
            Op::Recreate { queue } => self.recreate(*queue),
            Op::Moved { nth } => self.moved(*nth),
            Op::Pass { ms } => {
                // Time passes between blocks only, so that it does not jump when an entry opens a block in a turn.
                self.seal();
                self.log.advance_ms(u64::from(*ms));
            }
            Op::Seal => self.seal(),
            Op::Snapshot => {
                self.seal();
                self.past.begin_snapshot(&self.log, &mut self.shard);
            }
            Op::WriteOn { steps } => self.past.write_on(&mut self.shard, usize::from(*steps)),
            Op::Crash { back, from_snapshot } => return self.crash(*back, *from_snapshot),
        }
        self.come_to_rest()
    }

    fn end(mut self) -> Check {
        self.crash(0, false)
    }
}

impl World {
    fn now(&self) -> u64 {
        self.log.now().0
    }

    fn queue(&self, n: u8) -> QueueId {
        let ids: Vec<QueueId> = self.queues.keys().copied().collect();
        ids[usize::from(n) % ids.len()]
    }

    fn take(&mut self, op: ShardOp) {
        self.shard.take(op, &mut self.log, &mut self.effects);
    }

    /// Lets the shard do all that is due, and compares.
    fn come_to_rest(&mut self) -> Check {
        self.judge_effects()?;
        for _ in 0..10_000 {
            if self.shard.deadline().is_none_or(|at| at.0 > self.now()) {
                return self.compare();
            }
            self.shard.tick(&mut self.log, &mut self.effects);
            self.judge_effects()?;
        }
        Err("the shard does not come to rest".to_owned())
    }

    fn judge_effects(&mut self) -> Check {
        let mut given: BTreeMap<QueueId, Given> = BTreeMap::new();
        let effects = std::mem::take(&mut self.effects);
        let moved = self.moved_by(&effects);
        for (after, effect) in effects {
            if after > self.log.tail() {
                return Err(format!("{effect:?} waits for block {after}, which was not begun"));
            }
            if let ShardEffect::Deliver { subscription, queue, records } = effect {
                let grants = given.entry(queue).or_default();
                grants.extend(records.into_iter().map(|grant| (after, subscription, grant)));
            }
        }
        self.moves.extend(moved.iter().map(|of| (of.number, (of.queue, of.ids.clone()))));
        self.grow_patient(0);
        self.have_left(&moved, DeathReason::Expired)?;
        for (queue, grants) in given {
            self.all_delivered(queue, grants)?;
        }
        self.have_left(&moved, DeathReason::MaxLength)?;
        let now = self.now();
        for queue in self.queues.values_mut() {
            queue.expire(now, false);
            queue.drop_heads();
        }
        Ok(())
    }

    fn id_of(&self, grant: &Grant) -> Option<u32> {
        let bytes = self.log.read(grant.place, grant.len)?;
        Some(id_in(&bytes))
    }

    /// Deliveries of one turn: together they are the next of the queue, and each reader sees its own in order.
    fn all_delivered(&mut self, id: QueueId, mut grants: Given) -> Check {
        let now = self.now();
        while !grants.is_empty() {
            let queue = self.queues.get_mut(&id).ok_or("a delivery from an unknown queue")?;
            queue.expire(now, true);
            let head = queue.head().map(|head| queue.items[head].id);
            let n = grants.iter().position(|(_, _, grant)| self.id_of(grant) == head);
            let n = n.ok_or_else(|| format!("{grants:?} were delivered where {head:?} was next"))?;
            let (after, to, grant) = grants.remove(n);
            if grants[..n].iter().any(|(_, other, _)| *other == to) {
                return Err(format!("{to:?} sees {grant:?} out of order"));
            }
            self.delivered(after, to, id, &grant)?;
        }
        Ok(())
    }

    fn delivered(&mut self, after: Lsn, to: SubscriptionId, id: QueueId, grant: &Grant) -> Check {
        let now = self.now();
        let body = self.id_of(grant).ok_or_else(|| format!("no record at {:?}", grant.place))?;
        let queue = self.queues.get_mut(&id).ok_or("a delivery from an unknown queue")?;
        queue.expire(now, true);
        let head = queue.head().ok_or_else(|| format!("{grant:?} from an empty queue"))?;
        let item = queue.items[head].clone();
        if item.id != body {
            return Err(format!("delivered {body} where {} was next", item.id));
        }
        if (item.redelivered, item.failures) != (grant.redelivered, grant.failures) {
            return Err(format!("{grant:?} for {item:?}"));
        }
        let volatile = grant.place.lsn.0 & VOLATILE != 0;
        let wait = if volatile { queue.delivered_after } else { grant.place.lsn };
        if after < wait {
            return Err(format!("{grant:?} waits for {after}, should for {wait}"));
        }
        if !volatile {
            queue.delivered_after = queue.delivered_after.max(grant.place.lsn);
        }
        let reader = queue.readers.iter().position(|reader| reader.id == to);
        let n = reader.ok_or("a delivery to nobody")?;
        if !queue.has_credit(&queue.readers[n]) {
            return Err(format!("{grant:?} without credit for {:?}", queue.readers[n]));
        }
        let first =
            queue.readers.iter().filter(|reader| queue.has_credit(reader)).map(|reader| reader.priority);
        if first.max() > Some(queue.readers[n].priority) {
            return Err(format!("{:?} was served before a higher priority", queue.readers[n]));
        }
        queue.readers[n].bytes -= i64::from(grant.len);
        if queue.readers[n].no_ack {
            queue.items.remove(head);
        } else {
            queue.items[head].state = State::Leased(to);
        }
        self.positions.insert((id, body), grant.position);
        Ok(())
    }

    fn compare(&mut self) -> Check {
        let now = self.now();
        self.shed_patience();
        for queue in self.queues.values_mut() {
            queue.expire(now, false);
            queue.drop_heads();
        }
        for counts in self.shard.counts() {
            let queue = self.queues.get(&counts.queue).ok_or("counts of an unknown queue")?;
            let expected = (queue.ready(), queue.ready_bytes(), queue.leased(), queue.readers.len() as u32);
            let is = (counts.ready, counts.ready_bytes, counts.unsettled, counts.consumers);
            if is != expected {
                return Err(format!("queue {} counts {is:?}, should {expected:?}", counts.queue));
            }
            if queue.owes_a_delivery(now) {
                return Err(format!("queue {} does not serve its readers", counts.queue));
            }
        }
        let mut changes = Vec::new();
        self.shard.live_changes(&mut changes);
        changes.into_iter().for_each(|(lsn, change)| *self.live.entry(lsn).or_default() += change);
        if let Some((lsn, _)) = self.live.iter().find(|(_, bytes)| **bytes < 0) {
            return Err(format!("less than nothing is live in block {lsn}"));
        }
        let (live, held): (i64, i64) = (self.live.values().sum(), self.held_bytes());
        if live != held { Err(format!("{live} bytes are live, should {held}")) } else { Ok(()) }
    }

    /// Bytes of all records, also of moves whose queue is gone.
    fn held_bytes(&self) -> i64 {
        let queued = self.queues.values().flat_map(|queue| &queue.items).map(|item| i64::from(item.len));
        let gone = self.moves.values().filter(|(queue, _)| !self.queues.contains_key(queue));
        queued.sum::<i64>() + gone.map(|(_, ids)| ids.len() as i64 * i64::from(LEN)).sum::<i64>()
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
    fn publish(
        &mut self,
        route: u8,
        count: u8,
        persistent: bool,
        priority: u8,
        ttl: Option<u32>,
        awaited: bool,
        linked: Option<bool>,
    ) -> Check {
        let ids: Vec<QueueId> = self.queues.keys().copied().collect();
        let mut route: Route =
            ids.iter().enumerate().filter(|(n, _)| route & (1 << n) != 0).map(|(_, id)| *id).collect();
        if route.is_empty() {
            route.push(self.queue(count));
        }
        let link = linked.map(|again| {
            let number = if again { self.link.max(1) } else { self.link + 1 };
            LinkNumber { from: LINK, number }
        });
        let repeat = link.is_some_and(|link| link.number <= self.link);
        self.link = self.link.max(link.map_or(0, |link| link.number));
        let mut bytes = BytesMut::new();
        let mut items = Vec::new();
        let first = self.next_id;
        for _ in 0..count {
            let start = bytes.len() as u32;
            let mut body = self.next_id.to_le_bytes().to_vec();
            body.resize(BODY, 7);
            write_record(&mut bytes, priority, ttl, persistent, &body);
            items.push(Publish { awaited, persistent, ..item(start..bytes.len() as u32) });
            self.next_id += 1;
        }
        let batch = Arc::new(Publishes { bytes: bytes.freeze(), items, ..Publishes::default() });
        let half = u32::from(count) / 2;
        let runs = [0..half, half..u32::from(count)].into_iter().filter(|items| !items.is_empty());
        let runs = runs.map(|items| RoutedRun { items, route: 0, volatile: !persistent }).collect();
        let routes = vec![route.clone()];
        let call = Call(7);
        let urgent = self.log.urgent();
        let op = ShardPublish { hub: HubId(0), call, awaited, link, batch, runs, routes };
        self.take(ShardOp::Publish(op));
        if !awaited && self.log.urgent() != urgent {
            return Err("a publish that nobody waits for started a commit".to_owned());
        }
        let answer = self.effects.iter().find_map(|(after, effect)| match effect {
            ShardEffect::Published { refused, gone, .. } => Some((*after, refused.clone(), gone.clone())),
            _ => None,
        });
        let (after, refused, gone) = answer.ok_or("a publish was not answered")?;
        if !gone.is_empty() {
            return Err(format!("{gone:?} are gone although the queues are there"));
        }
        if repeat {
            return if refused.is_empty() { Ok(()) } else { Err("a repeat was refused".to_owned()) };
        }
        let now = self.now();
        let refused: Vec<u32> = refused.into_iter().map(|(item, _)| first + item).collect();
        self.published(&route, first..self.next_id, &refused, now, (persistent, priority, ttl), after)
    }

    fn published(
        &mut self,
        route: &[QueueId],
        ids: std::ops::Range<u32>,
        refused: &[u32],
        now: u64,
        (persistent, priority, ttl): (bool, u8, Option<u32>),
        after: Lsn,
    ) -> Check {
        let mut deliveries: Vec<(Lsn, ShardEffect)> = std::mem::take(&mut self.effects);
        let mut expected = Vec::new();
        let moved = self.moved_by(&deliveries);
        self.grow_patient(moved.len());
        let has_moved = |queue, id: &u32| moved.iter().any(|of| of.queue == queue && of.ids.contains(id));
        for id in ids {
            let mut full = route.iter().any(|queue| self.queues[queue].is_full_for(BODY as u64));
            if full {
                // Readers with credit may have made room, or time has.
                let all = route.iter().filter(|at| self.queues[at].is_full_for(BODY as u64));
                let all: Vec<QueueId> = all.copied().collect();
                self.have_left(&moved, DeathReason::Expired)?;
                self.judge_deliveries(&mut deliveries, id)?;
                let queues = self.queues.iter_mut().filter(|(at, _)| all.contains(at));
                queues.for_each(|(_, queue)| queue.expire(now, false));
                full = route.iter().any(|queue| self.queues[queue].is_full_for(BODY as u64));
            }
            if full {
                expected.push(id);
            }
            for at in route {
                let Some(queue) = self.queues.get_mut(at) else { continue };
                let refuses = queue.is_full_for(BODY as u64);
                let dead_letters = queue.spec.settings.overflow == Overflow::RejectPublishDlx
                    && queue.spec.settings.dead_letter.is_some();
                if refuses && !(dead_letters && (!queue.is_patient || has_moved(*at, &id))) {
                    continue;
                }
                let persistent = persistent && queue.spec.settings.durable;
                queue.items.push(Item {
                    id,
                    persistent,
                    priority: queue.spec.settings.priority_max.map_or(0, |max| priority.min(max)),
                    expires_us: queue.expiry(now, ttl.map(u64::from)),
                    len: LEN,
                    body_len: BODY as u64,
                    state: if refuses { State::Moving } else { State::Ready },
                    redelivered: false,
                    failures: 0,
                    confirmed_after: (!full).then_some(after),
                });
            }
        }
        self.effects = deliveries;
        if expected == refused { Ok(()) } else { Err(format!("refused {refused:?}, should {expected:?}")) }
    }

    /// Judges the deliveries of records before `id`, which happened before it was taken in.
    fn judge_deliveries(&mut self, effects: &mut Vec<(Lsn, ShardEffect)>, id: u32) -> Check {
        let before = |(_, effect): &&(Lsn, ShardEffect)| match effect {
            ShardEffect::Deliver { records, .. } => {
                records.iter().all(|grant| self.id_of(grant).is_some_and(|of| of < id))
            }
            _ => true,
        };
        let later = effects.iter().take_while(before).count();
        let later = effects.split_off(later);
        let (now, rest): (Vec<_>, Vec<_>) =
            effects.drain(..).partition(|(_, effect)| matches!(effect, ShardEffect::Deliver { .. }));
        *effects = rest.into_iter().chain(later).collect();
        let mut given: BTreeMap<QueueId, Given> = BTreeMap::new();
        for (after, effect) in now {
            let ShardEffect::Deliver { subscription, queue, records } = effect else { continue };
            let grants = given.entry(queue).or_default();
            grants.extend(records.into_iter().map(|grant| (after, subscription, grant)));
        }
        given.into_iter().try_for_each(|(queue, grants)| self.all_delivered(queue, grants))
    }

    fn subscribe(
        &mut self,
        session: u8,
        queue: u8,
        no_ack: bool,
        messages: Option<u8>,
        bytes: u16,
        priority: i8,
    ) {
        let queue = self.queue(queue);
        self.next_number += 1;
        let id = SubscriptionId { session: session_id(session), number: self.next_number };
        let reader = Reader {
            id,
            no_ack,
            messages_max: messages.map(u32::from),
            bytes_max: i64::from(bytes),
            bytes: i64::from(bytes),
            priority: i32::from(priority),
        };
        if let Some(of) = self.queues.get_mut(&queue) {
            of.readers.push(reader);
        }
        self.take(ShardOp::Subscribe(ShardSubscribe {
            call: Call(1),
            subscription: id,
            queue,
            no_ack,
            exclusive: false,
            messages_max: messages.map(u32::from),
            bytes_max: u64::from(bytes),
            priority: i32::from(priority),
            start: None,
        }));
    }

    fn nth_reader(&self, nth: u8) -> Option<(QueueId, SubscriptionId)> {
        let all: Vec<(QueueId, SubscriptionId)> = self
            .queues
            .iter()
            .flat_map(|(id, queue)| queue.readers.iter().map(|reader| (*id, reader.id)))
            .collect();
        all.get(usize::from(nth) % all.len().max(1)).copied()
    }

    fn unsubscribe(&mut self, nth: u8) {
        let Some((queue, subscription)) = self.nth_reader(nth) else { return };
        if let Some(of) = self.queues.get_mut(&queue) {
            of.readers.retain(|reader| reader.id != subscription);
        }
        self.take(ShardOp::Unsubscribe { call: Call(1), subscription, queue });
    }

    fn credit(&mut self, nth: u8, bytes: u16) -> Check {
        let Some((queue, subscription)) = self.nth_reader(nth) else { return Ok(()) };
        let readers = self.queues.get_mut(&queue).map(|of| of.readers.iter_mut());
        for reader in readers.into_iter().flatten().filter(|reader| reader.id == subscription) {
            reader.bytes = (reader.bytes + i64::from(bytes)).min(reader.bytes_max);
        }
        let urgent = self.log.urgent();
        let credit =
            Credit { subscription: subscription.number, bytes: u64::from(bytes), messages_max: None };
        self.take(ShardOp::Credit { session: subscription.session, queue, credit });
        self.no_commit(urgent, "credit")
    }

    fn no_commit(&self, urgent: u64, what: &str) -> Check {
        if self.log.urgent() == urgent { Ok(()) } else { Err(format!("{what} started a commit")) }
    }

    fn settle(&mut self, nth: u8, skip: u8, count: u8, how: u8) -> Check {
        let mut holders: Vec<(QueueId, SubscriptionId)> = Vec::new();
        for (id, queue) in &self.queues {
            for item in &queue.items {
                if let State::Leased(to) = item.state {
                    holders.push((*id, to));
                }
            }
        }
        let Some(&(id, holder)) = holders.get(usize::from(nth) % holders.len().max(1)) else { return Ok(()) };
        let how = match how % 7 {
            0..3 => How::Accept,
            3 => How::Reject,
            4 => How::Release { seen: true, counted: true },
            5 => How::Release { seen: true, counted: false },
            _ => How::Release { seen: false, counted: false },
        };
        let queue = self.queues.get_mut(&id).ok_or("no queue")?;
        let ids: Vec<u32> = queue.held(holder).map(|item| item.id).collect();
        let ids = ids.into_iter().skip(skip.into()).take(count.into());
        let mut positions: Vec<(Position, u32)> = ids.map(|of| (self.positions[&(id, of)], of)).collect();
        positions.sort_unstable();
        let mut runs: Vec<Run> = Vec::new();
        for (position, of) in &positions {
            runs.push(Run { first: *position, count: 1 });
            queue.settle(*of, how);
        }
        // What is named twice ends once; what somebody else holds, or nobody, is passed over.
        runs.extend(runs.first().copied());
        runs.push(Run { first: Position(1 << 40), count: 5 });
        let urgent = self.log.urgent();
        let settle = Settle { subscription: holder.number, queue: id, how, runs };
        let again = settle.clone();
        self.take(ShardOp::Settle { session: holder.session, settles: vec![settle] });
        let foreign = SessionId { number: 99, ..holder.session };
        self.take(ShardOp::Settle { session: foreign, settles: vec![again] });
        self.no_commit(urgent, "a settle")
    }

    fn get(&mut self, session: u8, queue: u8, no_ack: bool) -> Check {
        let now = self.now();
        let id = self.queue(queue);
        let subscription = SubscriptionId { session: session_id(session), number: 1_000_000 };
        self.take(ShardOp::Get { call: Call(3), subscription, queue: id, no_ack });
        self.have_left(&self.moved_by(&self.effects), DeathReason::Expired)?;
        let queue = self.queues.get_mut(&id).ok_or("no queue")?;
        queue.expire(now, false);
        let got = self.effects.iter().find_map(|(after, effect)| match effect {
            ShardEffect::Got { record, ready, .. } => Some((*after, *record, *ready)),
            _ => None,
        });
        let (after, record, ready) = got.ok_or("a get was not answered")?;
        let Some(grant) = record else {
            let is_empty = queue.head().is_none() || queue.keeps_a_dead_head(now);
            return if is_empty { Ok(()) } else { Err("a get saw nothing".to_owned()) };
        };
        let body = self.id_of(&grant);
        let queue = self.queues.get_mut(&id).ok_or("no queue")?;
        let head = queue.head().ok_or("a get from an empty queue")?;
        let volatile = grant.place.lsn.0 & VOLATILE != 0;
        let wait = if volatile { queue.delivered_after } else { grant.place.lsn };
        if body != Some(queue.items[head].id) || after < wait {
            return Err(format!("got {grant:?} after {after}, should {:?}", queue.items[head]));
        }
        if grant.place.lsn.0 & VOLATILE == 0 {
            queue.delivered_after = queue.delivered_after.max(grant.place.lsn);
        }
        self.positions.insert((id, queue.items[head].id), grant.position);
        if no_ack {
            queue.items.remove(head);
        } else {
            queue.items[head].state = State::Leased(subscription);
        }
        if ready == queue.ready() {
            Ok(())
        } else {
            Err(format!("a get left {ready}, should {}", queue.ready()))
        }
    }

    fn purge(&mut self, queue: u8) {
        let id = self.queue(queue);
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.items.retain(|item| item.state != State::Ready);
        }
        self.take(ShardOp::Purge { hub: HubId(0), call: Call(2), queue: id });
    }

    fn session_gone(&mut self, session: u8) {
        let gone = session_id(session);
        for queue in self.queues.values_mut() {
            queue.readers.retain(|reader| reader.id.session != gone);
            let held = queue
                .items
                .iter()
                .filter(|item| matches!(item.state, State::Leased(to) if to.session == gone));
            let held: Vec<u32> = held.map(|item| item.id).collect();
            held.into_iter().for_each(|id| queue.settle(id, How::Release { seen: true, counted: true }));
        }
        self.take(ShardOp::SessionGone { session: gone });
    }

    fn put(&mut self, spec: QueueSpec) {
        self.revision += 1;
        let queue = self.queues.entry(spec.id).or_insert_with(|| Queue::new(spec.clone()));
        queue.spec = spec.clone();
        self.take(ShardOp::Put { revision: Revision(self.revision), queue: Arc::new(spec) });
    }

    fn settings(&mut self, queue: u8, kind: u8, max: u8) {
        let id = self.queue(queue);
        let mut spec = self.queues[&id].spec.clone();
        let of = &mut spec.settings;
        match kind % 8 {
            0 => of.length_max = Some(u64::from(max)),
            1 => of.bytes_max = Some(u64::from(max) * BODY as u64),
            2 => of.overflow = Overflow::RejectPublish,
            3 => of.overflow = Overflow::RejectPublishDlx,
            4 => of.ttl_ms = (max > 2).then_some(u64::from(max) * 3),
            5 => of.delivery_max = (max > 2).then_some(u32::from(max) / 3),
            6 => of.dead_letter = Some(DeadLetter { exchange: "dlx".to_owned(), key: None }),
            _ => (of.length_max, of.bytes_max, of.overflow) = (None, None, Overflow::DropHead),
        }
        self.put(spec);
    }

    /// The queue goes, and another one comes.
    fn recreate(&mut self, queue: u8) {
        let id = self.queue(queue);
        let call = Call(5);
        let answer = Some((HubId(0), call));
        self.take(ShardOp::Close { answer, queue: id, if_unused: false, if_empty: false });
        self.revision += 1;
        self.take(ShardOp::Drop { revision: Revision(self.revision), queue: id });
        self.queues.remove(&id);
        let durable = !self.next_queue.is_multiple_of(4);
        self.put(spec(self.next_queue, durable));
        self.next_queue += 1;
    }

    fn seal(&mut self) {
        self.past.seal(&mut self.log, &self.shard, ());
    }

    /// The process dies; blocks after one that may have been the last durable one are lost.
    pub(crate) fn crash(&mut self, back: u8, from_snapshot: bool) -> Check {
        self.past.write_on(&mut self.shard, usize::MAX);
        self.come_to_rest()?;
        self.seal();
        let (shard, ()) = self.past.crash(&mut self.log, back.into(), from_snapshot)?;
        self.shard = shard.with_mutant(self.mutant).with_snapshot_steps(1);
        let durable = self.shard.logged();
        self.nothing_confirmed_is_lost(&durable)?;
        self.effects.clear();
        self.shard.started(&mut self.log, &mut self.effects);
        self.restarted(&durable)?;
        self.come_to_rest()?;
        self.seal();
        self.past.floor = self.log.tail();
        Ok(())
    }

    /// Every persistent record whose confirm has left, and which nobody has ended, is there.
    fn nothing_confirmed_is_lost(&self, state: &LoggedState) -> Check {
        let through = self.log.tail();
        for queue in &state.queues {
            let moving = state.moves.iter().filter(|(_, id, _, _)| *id == queue.spec.id);
            let moving = moving.flat_map(|(_, _, _, records)| records);
            let there: Vec<u32> = queue
                .ready
                .iter()
                .chain(&queue.leased)
                .chain(moving)
                .filter_map(|record| self.log.read(record.place, record.len))
                .map(|bytes| id_in(&bytes))
                .collect();
            let Some(model) = self.queues.get(&queue.spec.id) else { continue };
            for item in model.items.iter().filter(|item| item.persistent) {
                let left = item.confirmed_after.is_some_and(|after| after <= through);
                if left && !there.contains(&item.id) {
                    return Err(format!("confirmed and lost: {item:?}, log up to {through}"));
                }
            }
        }
        Ok(())
    }

    /// Takes the model back to what was durable, by the rules of a restart.
    fn restarted(&mut self, durable: &LoggedState) -> Check {
        let mut after = durable.clone();
        for queue in &mut after.queues {
            let returned = std::mem::take(&mut queue.leased);
            queue
                .ready
                .extend(returned.into_iter().map(|record| LoggedRecord { redelivered: true, ..record }));
            queue.ready.sort_unstable_by_key(|record| record.position);
        }
        // Nothing is left of a move of volatile records.
        after.moves.retain(|(_, _, _, records)| !records.is_empty());
        same(&self.shard.logged(), &after, "restart")?;
        let sent: Vec<u64> = self
            .effects
            .iter()
            .filter_map(|(_, effect)| match effect {
                ShardEffect::Move(of) => Some(of.number),
                _ => None,
            })
            .collect();
        let open: Vec<u64> = after.moves.iter().map(|(number, ..)| *number).collect();
        if sent != open {
            return Err(format!("moves sent again {sent:?}, should {open:?}"));
        }
        self.rebuild(&after);
        Ok(())
    }

    fn rebuild(&mut self, state: &LoggedState) {
        self.moves.clear();
        self.live.clear();
        self.positions.clear();
        self.queues.clear();
        self.link = state.links.iter().map(|link| link.number).max().unwrap_or(0);
        self.revision = state.revision.0.max(self.revision);
        for of in &state.queues {
            let mut queue = Queue::new(of.spec.clone());
            let moving = state.moves.iter().filter(|(_, id, _, _)| *id == of.spec.id);
            let moving = moving.flat_map(|(_, _, _, records)| records).map(|record| (record, State::Moving));
            let mut all: Vec<(&LoggedRecord, State)> =
                of.ready.iter().map(|record| (record, State::Ready)).chain(moving).collect();
            all.sort_unstable_by_key(|(record, _)| record.position);
            for (record, state) in all {
                let bytes = self.log.read(record.place, record.len).unwrap_or_default();
                queue.items.push(Item {
                    id: id_in(&bytes),
                    persistent: true,
                    priority: record.priority,
                    expires_us: record.expires.map(|at| at.0),
                    len: record.len,
                    body_len: record.body_len,
                    state,
                    redelivered: record.redelivered,
                    failures: record.failures,
                    confirmed_after: Some(Lsn(0)),
                });
            }
            self.queues.insert(of.spec.id, queue);
        }
    }
}

/// Bytes of a body, and of a whole record: 32 of head and one of key.
const BODY: usize = 12;

/// The number that a record's body begins with, after the head and a key of one byte.
fn id_in(record: &[u8]) -> u32 {
    let body = record.get(33..37).and_then(|body| body.first_chunk());
    u32::from_le_bytes(*body.expect("a record of the world has a number"))
}

const LEN: u32 = 45;

fn session_id(session: u8) -> SessionId {
    SessionId { hub: HubId(0), number: u64::from(session) }
}
