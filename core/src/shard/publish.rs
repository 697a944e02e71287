//! Storing records: the hot path.
//!
//! Neighbours of a batch that go to the same queues are copied to the log in one piece; of each record only the 32 bytes of its head
//! are read. A queue that refuses when it is full is asked record by record. What must hold: the records of a batch reach a queue in
//! their order, whether logged or volatile (S14); the confirm waits for the entry (S2); a link's number is logged with the last
//! records that it brought, in one entry with all of them unless a queue that may refuse comes between (S5).

use super::effect::Turn;
use super::entry::{self, Target};
use super::stream::bundle::Joined;
use super::stream::marks;
use super::stream::store::Decided;
use super::{Mutant, Shard};
use crate::queue::lease::NOBODY;
use crate::queue::{NEVER, Queue, Record};
use crate::stream::records::Marks;
use crate::stream::waited_for;
use smallvec::SmallVec;
use std::ops::Range;
use stele_model::id::{Lsn, Now, Place, Position, QueueId};
use stele_model::machine::{Urgency, VOLATILE};
use stele_model::publish::{LinkNumber, Publishes, RoutedRun, ShardPublish};
use stele_model::queue::Overflow;
use stele_model::refusal::Refusal;
use stele_model::shard::{DeathReason, ShardEffect};
use stele_model::stream::records::{Bundled, ShardStored, Terms};
use stele_record::{HEAD_BYTES, TTL_NONE};

/// What the index needs of one record, read from its head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    /// Offset from the first record of the run.
    pub(super) at: u32,
    pub(super) len: u32,
    overhead: u32,
    exchange_len: u16,
    key_len: u16,
    ttl_ms: Option<u64>,
    priority: u8,
}

/// A publish on its way into entries.
struct Storing<'a> {
    batch: &'a Publishes,
    urgency: Urgency,
    link: Option<LinkNumber>,
    /// Routed, not yet appended.
    pending: Vec<Pending>,
    pending_bytes: usize,
    /// What the confirm waits for.
    after: Lsn,
    refused: Vec<(u32, Refusal)>,
    gone: Vec<u32>,
    touched: Vec<QueueId>,
    /// Refused by a queue that dead-letters what it refuses.
    diverted: Vec<(QueueId, Position)>,
    /// Partitions that got something, and in which block last.
    streamed: SmallVec<[(QueueId, Lsn); 2]>,
    /// The item whose terms go with the next entry.
    marked: Option<u32>,
    /// Where awaited records went that a stream tells apart.
    stored: Vec<ShardStored>,
    heads: Vec<Head>,
}

/// Neighbours with the same targets.
struct Pending {
    items: Range<u32>,
    bytes: Range<usize>,
    targets: Targets,
    /// It goes to volatile memory instead of the entry.
    volatile: bool,
}

type Targets = SmallVec<[Target; 2]>;

impl Shard {
    pub(super) fn publish(&mut self, publish: ShardPublish, turn: &mut Turn<'_>) {
        let (publish, renamed) = self.rename(publish);
        let ShardPublish { hub, call, awaited, link, batch, runs, routes } = publish;
        if link.is_some_and(|link| self.links.is_repeat(link)) && !self.makes(Mutant::TakenTwice) {
            turn.say_present(ShardEffect::Published {
                hub,
                call,
                refused: Vec::new(),
                gone: Vec::new(),
                stored: Vec::new(),
            });
            return;
        }
        let mut storing = Storing::new(&batch, awaited, link);
        for run in &runs {
            let route = routes.get(run.route as usize).map_or(&[][..], |route| route.as_slice());
            self.route_run(&mut storing, run, route, turn);
        }
        // If all is gone the hub routes again and submits over the same link: its number is not yet taken.
        let all_gone = storing.gone.len() == runs.iter().map(|run| run.items.len()).sum::<usize>();
        if all_gone {
            storing.link = None;
        }
        self.append(&mut storing, true, turn);
        let Storing { mut after, mut refused, mut gone, mut touched, diverted, streamed, mut stored, .. } =
            storing;
        renamed.put_right(&mut refused, &mut gone, &mut stored);
        if !refused.is_empty() || !gone.is_empty() || stored.iter().any(|stored| stored.duplicate) {
            after = after.max(turn.journal.tail());
        }
        if self.makes(Mutant::EarlyConfirm) {
            after = Lsn(0);
        }
        turn.say(after, ShardEffect::Published { hub, call, refused, gone, stored });
        for (partition, lsn) in streamed {
            self.came_to(partition, lsn, turn);
        }
        self.divert(&diverted, turn);
        touched.sort_unstable();
        touched.dedup();
        for queue in touched {
            self.advance(queue, turn);
        }
    }

    fn route_run(&mut self, to: &mut Storing<'_>, run: &RoutedRun, route: &[QueueId], turn: &mut Turn<'_>) {
        let mut there: SmallVec<[QueueId; 8]> = SmallVec::new();
        let (mut lasting, mut refusing, mut streamed) = (false, false, false);
        for id in route {
            if let Some(partition) = self.streams.partitions.get(id) {
                streamed |= !partition.is_volatile();
                refusing |= to.bytes_of(&run.items).len() > partition.spec.settings.batch_bytes_max as usize;
                refusing |= self.is_choosy(*id, to.batch);
                there.push(*id);
                continue;
            }
            if let Some(queue) = self.queues.get(id).filter(|queue| !queue.closing) {
                lasting |= queue.spec.settings.durable;
                refusing |= queue.may_refuse();
                there.push(*id);
            }
        }
        if there.is_empty() {
            to.gone.extend(run.items.clone());
            return;
        }
        to.touched.extend_from_slice(&there);
        // A stream keeps what it takes, whatever the record asks for, unless it is kept in memory.
        let volatile = !streamed && (run.volatile || !lasting);
        if !refusing {
            self.gather(to, run.items.clone(), &there, &[], volatile, turn);
            return;
        }
        for item in run.items.clone() {
            self.route_item(to, item, &there, volatile, turn);
        }
    }

    /// One record, with queues in its route that may refuse it.
    fn route_item(
        &mut self,
        to: &mut Storing<'_>,
        item: u32,
        route: &[QueueId],
        volatile: bool,
        turn: &mut Turn<'_>,
    ) {
        let body = Head::read(to.batch.record(item), 0).map_or(0, |head| u64::from(head.len - head.overhead));
        // What is decided of one record depends on those before it, and its terms are logged in an entry of its own.
        let choosy = route.iter().any(|id| self.is_choosy(*id, to.batch));
        if choosy {
            self.append(to, false, turn);
        }
        let hope = !to.pending.is_empty() || route.iter().any(|id| self.could_make_room(*id));
        // Also for what comes over a link, although a crash between the two entries may then bring the first again: that is better
        // than to refuse, and so to lose, a dead letter that a reader makes room for.
        if hope && self.any_full(route, body) {
            self.append(to, false, turn);
            route.iter().for_each(|id| self.advance(*id, turn));
        }
        let (mut taking, mut diverting): (SmallVec<[QueueId; 8]>, SmallVec<[QueueId; 2]>) =
            Default::default();
        for id in route {
            if let Some(partition) = self.streams.partitions.get(id) {
                if partition.records.is_some() {
                    if let Some(terms) = to.batch.terms(item).filter(|terms| terms.bundle.is_some()) {
                        self.bundle_item(to, *id, (item, terms), turn);
                        continue;
                    }
                    match self.decide_record(*id, to.batch, item, turn.now()) {
                        Decided::Take => taking.push(*id),
                        Decided::Duplicate(position) => to.stored(self, *id, item, (position, true)),
                        Decided::Refuse(refusal) => to.refuse(item, refusal),
                    }
                    continue;
                }
                let max = partition.spec.settings.batch_bytes_max;
                if to.batch.record(item).len() <= max as usize {
                    taking.push(*id);
                } else {
                    let what = format!("bytes of a batch in stream '{}'", partition.spec.stream);
                    to.refuse(item, Refusal::Limit { what, max: u64::from(max) });
                }
                continue;
            }
            let Some(queue) = self.queues.get(id) else { continue };
            if !queue.may_refuse() || !queue.is_full_for(body) {
                taking.push(*id);
                continue;
            }
            to.refuse(item, Refusal::Full { name: queue.spec.name.clone() });
            let of = &queue.spec.settings;
            let dead_letters = of.overflow == Overflow::RejectPublishDlx && of.dead_letter.is_some();
            if dead_letters && !self.moves.is_full() {
                diverting.push(*id);
            }
        }
        if taking.is_empty() && diverting.is_empty() {
            return;
        }
        to.marked = to.batch.terms(item).filter(|_| choosy).map(|_| item);
        self.gather(to, item..item + 1, &taking, &diverting, volatile, turn);
        if to.marked.is_some() {
            self.append(to, false, turn);
            to.marked = None;
        }
    }

    /// A record of a bundle: if it ends it, all of it is stored now, by an entry of its own.
    fn bundle_item(
        &mut self,
        to: &mut Storing<'_>,
        id: QueueId,
        (item, terms): (u32, &Terms),
        turn: &mut Turn<'_>,
    ) {
        let most = turn.journal.entry_bytes_max();
        let head = entry::PUBLISH_HEAD_BYTES + entry::PUBLISH_RUN_BYTES + entry::PUBLISH_TARGET_BYTES;
        let most = most.saturating_sub(head);
        let records = match self.bundle(id, (to.batch, item), terms, most, turn.now()) {
            Joined::Waits => return to.took(self, id, item, (Position(0), false, Bundled::Waits)),
            Joined::Refused(refusal) => return to.refuse(item, refusal),
            Joined::Ends(records) => records,
        };
        let Some(partition) = self.streams.partitions.get_mut(&id) else { return };
        let bytes: Vec<u8> = records.iter().flat_map(|of| &of.record[..]).copied().collect();
        let count = records.len() as u32;
        let target = Target { queue: id, first: partition.next, diverted: false };
        partition.next.0 += u64::from(count);
        let marks: Vec<Marks<'_>> = records.iter().map(|of| Marks::of(&of.terms, turn.now())).collect();
        let place = if partition.is_volatile() {
            turn.journal.keep(&bytes)
        } else {
            entry::begin_publish(turn.scratch, None, 1);
            entry::put_publish_run(turn.scratch, count, bytes.len() as u32, &[target]);
            entry::put_bundle(turn.scratch, &marks);
            let head_len = turn.scratch.len() as u32;
            let place = turn.journal.append(to.urgency, &[turn.scratch, &bytes]);
            to.after = to.after.max(place.lsn);
            Place { at: place.at + head_len, ..place }
        };
        let (time, mut heads) = (turn.now(), Vec::new());
        read_heads(&bytes, count, &mut heads).expect("I20: a dialect writes whole records");
        let echoes = self.echoes(id, target.first, place, (&bytes, &heads), time);
        self.admit_bundle(&target, place, (&bytes, &heads), &marks, time);
        self.rolled_up(&target, (&bytes, &heads), &marks);
        to.streamed.push((id, waited_for(place)));
        let last = Position((target.first.0 + u64::from(count)).saturating_sub(1));
        to.took(self, id, item, (last, false, Bundled::Ends(count)));
        self.echo(id, echoes, turn);
    }

    fn any_full(&self, route: &[QueueId], body: u64) -> bool {
        let queues = route.iter().filter_map(|id| self.queues.get(id));
        queues.into_iter().any(|queue| queue.may_refuse() && queue.is_full_for(body))
    }

    /// Readers with credit, or time, would take what is ready.
    fn could_make_room(&self, id: QueueId) -> bool {
        self.queues.get(&id).is_some_and(|queue| queue.readers.any_open() || queue.may_expire)
    }

    /// Adds records to what is about to be appended. Positions are given here.
    fn gather(
        &mut self,
        to: &mut Storing<'_>,
        items: Range<u32>,
        taking: &[QueueId],
        diverting: &[QueueId],
        volatile: bool,
        turn: &mut Turn<'_>,
    ) {
        let most = turn.journal.entry_bytes_max();
        let head = entry::PUBLISH_HEAD_BYTES
            + to.marks(turn.now()).map_or(0, |of| marks::bytes_max(&of))
            + entry::PUBLISH_RUN_BYTES
            + (taking.len() + diverting.len()) * entry::PUBLISH_TARGET_BYTES;
        let mut rest = items;
        while !rest.is_empty() {
            let room = most.saturating_sub(to.pending_bytes + head);
            let fits = to.fit(&rest, room);
            if fits.is_empty() && !to.pending.is_empty() {
                self.append(to, false, turn);
                continue;
            }
            if fits.is_empty() {
                to.refuse(
                    rest.start,
                    Refusal::Limit { what: "bytes of a record".to_owned(), max: most as u64 },
                );
                rest.start += 1;
                continue;
            }
            rest.start = fits.end;
            let at_once = volatile && to.link.is_none();
            if at_once {
                self.append(to, false, turn);
            }
            let targets = self.targets(to, &fits, taking, diverting);
            to.pend(fits, targets, head, volatile);
            if at_once {
                self.keep(to, turn);
            }
        }
    }

    /// Gives positions in each queue.
    fn targets(
        &mut self,
        to: &mut Storing<'_>,
        items: &Range<u32>,
        taking: &[QueueId],
        diverting: &[QueueId],
    ) -> Targets {
        let mut targets = Targets::new();
        let count = u64::from(items.end - items.start);
        let both = taking.iter().map(|id| (id, false)).chain(diverting.iter().map(|id| (id, true)));
        for (id, diverted) in both {
            if let Some(partition) = self.streams.partitions.get_mut(id) {
                let first = partition.next;
                partition.next.0 += count;
                targets.push(Target { queue: *id, first, diverted });
                continue;
            }
            let Some(queue) = self.queues.get_mut(id) else { continue };
            let first = queue.next;
            queue.next.0 += count;
            targets.push(Target { queue: *id, first, diverted });
            if diverted {
                to.diverted.extend((0..count).map(|n| (*id, Position(first.0 + n))));
            } else if queue.may_refuse() {
                queue.incoming.count += count;
                queue.incoming.body_bytes += to.body_bytes(items);
            }
        }
        targets
    }

    /// Appends what is pending as one entry, and puts it into the queues. `last`: the link's number goes with it.
    fn append(&mut self, to: &mut Storing<'_>, last: bool, turn: &mut Turn<'_>) {
        let link = if last { to.link } else { None };
        if to.pending.is_empty() && link.is_none() {
            return;
        }
        let pending = std::mem::take(&mut to.pending);
        to.pending_bytes = 0;
        let logged = || pending.iter().filter(|run| !run.volatile);
        entry::begin_publish(turn.scratch, link, logged().count() as u32);
        let mut pieces: SmallVec<[Range<usize>; 4]> = SmallVec::new();
        for run in logged() {
            let lasting = run.targets.iter().filter(|target| self.lasts(target.queue));
            let lasting: Targets = lasting.copied().collect();
            let count = run.items.end - run.items.start;
            entry::put_publish_run(turn.scratch, count, run.bytes.len() as u32, &lasting);
            match pieces.last_mut() {
                Some(last) if last.end == run.bytes.start => last.end = run.bytes.end,
                _ => pieces.push(run.bytes.clone()),
            }
        }
        let logs_terms = !pending.is_empty() && !self.makes(Mutant::UnloggedTerms);
        if let Some(marks) = to.marks(turn.now()).filter(|_| logs_terms) {
            entry::put_marks(turn.scratch, &marks);
        }
        let head_len = turn.scratch.len();
        let mut parts: SmallVec<[&[u8]; 5]> = SmallVec::new();
        parts.push(turn.scratch);
        parts.extend(pieces.into_iter().map(|piece| &to.batch.bytes[piece]));
        let place = turn.journal.append(to.urgency, &parts);
        drop(parts);
        let time = turn.now();
        if let Some(link) = link {
            self.links.taken(link);
        }
        to.after = to.after.max(place.lsn);
        let mut at = place.at + head_len as u32;
        for run in &pending {
            if run.volatile {
                self.keep_run(to, run, turn);
                continue;
            }
            self.store(to, run, Place { lsn: place.lsn, at }, time, turn);
            at += run.bytes.len() as u32;
        }
    }

    /// Puts the one pending run into volatile memory and into the queues.
    fn keep(&mut self, to: &mut Storing<'_>, turn: &mut Turn<'_>) {
        to.pending_bytes = 0;
        for run in std::mem::take(&mut to.pending) {
            self.keep_run(to, &run, turn);
        }
    }

    fn keep_run(&mut self, to: &mut Storing<'_>, run: &Pending, turn: &mut Turn<'_>) {
        let place = turn.journal.keep(&to.batch.bytes[run.bytes.clone()]);
        let time = turn.now();
        self.store(to, run, place, time, turn);
    }

    fn store(&mut self, to: &mut Storing<'_>, run: &Pending, place: Place, time: Now, turn: &mut Turn<'_>) {
        to.heads.clear();
        let bytes = &to.batch.bytes[run.bytes.clone()];
        read_heads(bytes, run.items.end - run.items.start, &mut to.heads)
            .expect("I20: a dialect writes whole records");
        for target in &run.targets {
            // What a stream keeps in memory stands there, although a queue may have it logged.
            let kept = self.is_kept(target.queue) && place.lsn.0 & VOLATILE == 0;
            let place = if kept { turn.journal.keep(bytes) } else { place };
            let marks = to.marks(time).unwrap_or(Marks::NONE);
            let echoes = self.echoes(target.queue, target.first, place, (bytes, &to.heads), time);
            if self.admit_run(target, place, (bytes, &to.heads), &marks, time) {
                to.streamed.push((target.queue, waited_for(place)));
                self.rolled_up(target, (bytes, &to.heads), std::slice::from_ref(&marks));
                for (n, item) in (0..).zip(run.items.clone()) {
                    to.stored(self, target.queue, item, (Position(target.first.0 + n), false));
                }
                self.echo(target.queue, echoes, turn);
            } else {
                self.admit(target, place, time, &to.heads);
            }
        }
    }

    /// A stream that keeps its records in memory.
    fn is_kept(&self, id: QueueId) -> bool {
        self.streams.partitions.get(&id).is_some_and(|partition| partition.is_volatile())
    }

    fn lasts(&self, queue: QueueId) -> bool {
        let streamed = self.streams.partitions.get(&queue).is_some_and(|partition| !partition.is_volatile());
        let queue = self.queues.get(&queue);
        streamed || queue.is_some_and(|queue| queue.spec.settings.durable)
    }

    /// Puts a run of records into a queue: the same in replay. `false`: there is no such queue.
    pub(super) fn admit(&mut self, target: &Target, place: Place, time: Now, heads: &[Head]) -> bool {
        let Some(queue) = self.queues.get_mut(&target.queue) else { return false };
        let count = heads.len() as u64;
        let end = Position(target.first.0 + count);
        queue.next = queue.next.max(end);
        if queue.spec.settings.durable && place.lsn.0 & VOLATILE == 0 {
            queue.next_logged = end;
        }
        queue.incoming = Default::default();
        queue.sums.published += count;
        let mut bytes = 0;
        let mut position = target.first;
        for head in heads {
            let record = head.record(queue, position, Place { at: place.at + head.at, ..place }, time);
            bytes += u64::from(record.len);
            queue.may_expire |= record.expires != NEVER;
            if target.diverted {
                queue.leases.insert(record, NOBODY);
            } else {
                queue.ready.push(&record);
            }
            position.0 += 1;
        }
        self.live.held(place.lsn, bytes);
        true
    }

    /// Sends on what full queues refused, where they dead-letter it.
    fn divert(&mut self, diverted: &[(QueueId, Position)], turn: &mut Turn<'_>) {
        let mut rest = diverted;
        while let Some((id, _)) = rest.first() {
            let id = *id;
            let same = rest.iter().take_while(|(other, _)| *other == id).count();
            let (these, others) = rest.split_at(same);
            rest = others;
            let Some(queue) = self.queues.get_mut(&id) else { continue };
            let records: Vec<Record> =
                these.iter().filter_map(|(_, position)| queue.take_anywhere(*position)).collect();
            self.begin_moves(id, &records, DeathReason::MaxLength, turn);
        }
    }
}

impl<'a> Storing<'a> {
    fn new(batch: &'a Publishes, awaited: bool, link: Option<LinkNumber>) -> Self {
        Self {
            batch,
            urgency: if awaited { Urgency::Urgent } else { Urgency::Rides },
            link,
            pending: Vec::new(),
            pending_bytes: 0,
            after: Lsn(0),
            refused: Vec::new(),
            gone: Vec::new(),
            touched: Vec::new(),
            diverted: Vec::new(),
            streamed: SmallVec::new(),
            marked: None,
            stored: Vec::new(),
            heads: Vec::new(),
        }
    }

    /// What is logged of the terms that go with the next entry.
    fn marks(&self, now: Now) -> Option<Marks<'a>> {
        self.marked.and_then(|item| self.batch.terms(item)).map(|terms| Marks::of(terms, now))
    }

    /// A record is in a stream that tells its records apart; its publisher may want to know.
    fn stored(
        &mut self,
        shard: &Shard,
        partition: QueueId,
        item: u32,
        (position, duplicate): (Position, bool),
    ) {
        self.took(shard, partition, item, (position, duplicate, Bundled::No));
    }

    /// The same of any record, also of one that waits for the end of its bundle.
    fn took(
        &mut self,
        shard: &Shard,
        partition: QueueId,
        item: u32,
        (position, duplicate, bundle): (Position, bool, Bundled),
    ) {
        let awaited = self.batch.items.get(item as usize).is_some_and(|of| of.awaited);
        let of = shard.streams.partitions.get(&partition).and_then(|partition| partition.by_record());
        if awaited && of.is_some_and(|settings| !settings.no_ack) {
            self.stored.push(ShardStored { item, partition, position, duplicate, bundle });
        }
    }

    fn bytes_of(&self, items: &Range<u32>) -> Range<usize> {
        let of = |n: u32| self.batch.items.get(n as usize).map(|item| &item.record);
        match (of(items.start), of(items.end.wrapping_sub(1))) {
            (Some(first), Some(last)) => first.start as usize..last.end as usize,
            _ => 0..0,
        }
    }

    fn body_bytes(&self, items: &Range<u32>) -> u64 {
        let body =
            |n| Head::read(self.batch.record(n), 0).map_or(0, |head| u64::from(head.len - head.overhead));
        items.clone().map(body).sum()
    }

    /// The first of `items` that have together at most `room` bytes.
    fn fit(&self, items: &Range<u32>, room: usize) -> Range<u32> {
        let mut end = items.end;
        while end > items.start && self.bytes_of(&(items.start..end)).len() > room {
            // Halves first: a batch that is far too large is cut in few steps.
            let half = items.start + (end - items.start) / 2;
            end = if self.bytes_of(&(items.start..half)).len() > room { half } else { end - 1 };
        }
        items.start..end
    }

    fn pend(&mut self, items: Range<u32>, targets: Targets, head: usize, volatile: bool) {
        let bytes = self.bytes_of(&items);
        self.pending_bytes += bytes.len();
        if let Some(last) = self.pending.last_mut()
            && last.volatile == volatile
            && last.continues(&items, &targets)
        {
            last.items.end = items.end;
            last.bytes.end = bytes.end;
            return;
        }
        self.pending_bytes += head;
        self.pending.push(Pending { items, bytes, targets, volatile });
    }

    /// The first refusal of an item counts; the others are of the same kind.
    fn refuse(&mut self, item: u32, refusal: Refusal) {
        if self.refused.last().is_none_or(|(last, _)| *last != item) {
            self.refused.push((item, refusal));
        }
    }
}

impl Pending {
    fn continues(&self, items: &Range<u32>, targets: &Targets) -> bool {
        let count = u64::from(self.items.end - self.items.start);
        self.items.end == items.start
            && self.targets.len() == targets.len()
            && self.targets.iter().zip(targets).all(|(before, now)| {
                before.queue == now.queue
                    && before.diverted == now.diverted
                    && before.first.0 + count == now.first.0
            })
    }
}

impl Head {
    /// Reads the head of the record at the start of `bytes`.
    pub(super) fn read(bytes: &[u8], at: u32) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD_BYTES>()?;
        let [
            l0,
            l1,
            l2,
            l3,
            _,
            _,
            _,
            priority,
            t0,
            t1,
            t2,
            t3,
            e0,
            e1,
            k0,
            k1,
            p0,
            p1,
            p2,
            p3,
            h0,
            h1,
            h2,
            h3,
            ..,
        ] = *head;
        let len = u32::from_le_bytes([l0, l1, l2, l3]);
        let ttl_ms = u32::from_le_bytes([t0, t1, t2, t3]);
        let (exchange_len, key_len) = (u16::from_le_bytes([e0, e1]), u16::from_le_bytes([k0, k1]));
        let names = u32::from(exchange_len) + u32::from(key_len);
        let overhead = (names + HEAD_BYTES as u32)
            .checked_add(u32::from_le_bytes([p0, p1, p2, p3]))?
            .checked_add(u32::from_le_bytes([h0, h1, h2, h3]))?;
        let ttl_ms = (ttl_ms != TTL_NONE).then_some(u64::from(ttl_ms));
        (overhead <= len).then_some(Self { at, len, overhead, exchange_len, key_len, ttl_ms, priority })
    }

    /// The record's key, of the bytes that begin with the record.
    pub(super) fn key<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        let at = HEAD_BYTES + usize::from(self.exchange_len);
        record.get(at..at + usize::from(self.key_len)).unwrap_or(&[])
    }

    fn record(&self, queue: &Queue, position: Position, place: Place, time: Now) -> Record {
        Record {
            position,
            place,
            len: self.len,
            overhead: self.overhead,
            expires: queue.expiry(time, self.ttl_ms),
            priority: queue.level(self.priority),
            redelivered: false,
            failures: 0,
        }
    }
}

/// Reads the heads of `count` records that stand back to back in `bytes`.
pub(super) fn read_heads(bytes: &[u8], count: u32, out: &mut Vec<Head>) -> Result<(), String> {
    let mut at = 0usize;
    for _ in 0..count {
        let wrong = || format!("the record at {at} does not add up");
        let head = bytes.get(at..).and_then(|rest| Head::read(rest, at as u32)).ok_or_else(wrong)?;
        at += head.len as usize;
        out.push(head);
    }
    if at == bytes.len() { Ok(()) } else { Err(format!("{count} records end at {at} of {}", bytes.len())) }
}
