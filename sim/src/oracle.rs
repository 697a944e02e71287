//! Judges a history. Knows what users are promised and nothing of how it is done.
//!
//! Rules are named W1 … as in `docs/invariants-sim.md`. What can be seen at once is judged in [`Oracle::observe`]; what is
//! missing is judged at the end, when all queues have been emptied ([`Oracle::close`], in `oracle::account`).
//!
//! Durability is inferred, never asked for: a log is kept in order, so what a session had settled before it published to the
//! same queue is durable once that publish is confirmed; and so is the handing out of everything it had been shown by then.

mod account;
mod bundles;
mod group;
mod shared;
mod stream;

pub use group::SESSION_MS;

use crate::history::{Delivery, Event, Held, Publish, RecordId, Removal, RemovalKind, Session, Step};
use crate::topology::{Standing, standing};
use std::collections::{BTreeMap, BTreeSet};
use stele_model::id::{Position, QueueId, SessionId};
use stele_model::settle::How;
use stele_record::View;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Name of the rule, such as `W1`.
    pub rule: &'static str,
    /// When it was noticed.
    pub step: Step,
    /// What happened.
    pub what: String,
}

/// What has been seen so far, and what was wrong with it.
#[derive(Debug, Default)]
pub struct Oracle {
    records: BTreeMap<RecordId, Record>,
    places: BTreeMap<PlaceKey, PlaceState>,
    /// Which record stood at a place last.
    at: BTreeMap<(QueueId, Position), RecordId>,
    queue_names: BTreeMap<QueueId, String>,
    /// Last place of a queue that each subscription was shown for the first time.
    readers: BTreeMap<(SessionId, u64, QueueId), Position>,
    /// Places of each lane's records in each queue.
    lanes: BTreeMap<(String, SessionId, u16), BTreeMap<RecordId, Position>>,
    removals: BTreeMap<u64, RemovalState>,
    replies_seen: BTreeSet<RecordId>,
    /// Who asked for records of a queue, and when the session ended if it has.
    reads: BTreeMap<String, BTreeMap<SessionId, Read>>,
    stops: Vec<Step>,
    closing: bool,
    streams: stream::Streams,
    group: group::Group,
    shared: shared::Shared,
    violations: Vec<Violation>,
}

#[derive(Debug)]
struct Record {
    publish: Publish,
    step: Step,
    confirmed: bool,
    returned: bool,
    refused: bool,
}

/// Where a record stands or stood.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PlaceKey {
    record: RecordId,
    queue: QueueId,
    position: Position,
}

#[derive(Debug, Default)]
struct PlaceState {
    /// When it was shown last, and during which run of the node.
    shown: Option<(Step, usize)>,
    /// The next delivery must carry the mark: after any crash, or only if there is none.
    mark: Mark,
    holder: Option<(SessionId, u64)>,
    ended: Option<End>,
    found: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mark {
    #[default]
    NotDue,
    DueInThisRun,
    Due,
}

/// The last settle that takes a record away.
#[derive(Clone, Copy, Debug)]
struct End {
    step: Step,
    run: usize,
    by: SessionId,
    accepted: bool,
    durable: bool,
}

/// A session's interest in a queue.
#[derive(Clone, Copy, Debug)]
struct Read {
    asked: Step,
    ended: Option<Step>,
}

#[derive(Debug)]
struct RemovalState {
    removal: Removal,
    /// `None`: nobody knows.
    answered: Option<(Step, bool)>,
}

impl Oracle {
    /// Everything found wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Notes something that the world itself judges (progress, equality of states).
    pub fn violate(&mut self, rule: &'static str, step: Step, what: String) {
        self.violations.push(Violation { rule, step, what });
    }

    /// From now on what is delivered is what was left in the queues.
    pub fn begin_close(&mut self) {
        self.closing = true;
    }

    /// Takes in what happened.
    pub fn observe(&mut self, step: Step, event: &Event) {
        match event {
            Event::Published(publish) => self.published(step, publish),
            Event::Confirmed { record, returned } => self.confirmed(step, *record, *returned),
            Event::Refused { record, whole, why } => self.refused(step, *record, *whole, why),
            Event::Reads { session, queue } => {
                let reads = self.reads.entry(queue.clone()).or_default();
                reads.entry(*session).or_insert(Read { asked: step, ended: None });
            }
            Event::Delivered(delivery) => self.delivered(step, delivery),
            Event::Settled { session, held, how, .. } => self.settled(step, *session, held, *how),
            Event::RemovalAsked(removal) => {
                let state = RemovalState { removal: removal.clone(), answered: None };
                self.removals.insert(removal.number, state);
            }
            Event::RemovalAnswered { number, done } => {
                if let Some(removal) = self.removals.get_mut(number) {
                    removal.answered = Some((step, *done));
                }
            }
            Event::SessionEnded(session) => self.session_ended(step, *session),
            Event::Stopped { orderly } => self.stopped(step, *orderly),
            Event::LookedFor { queue, found } => self.looked_for(step, queue, *found),
            Event::Emptied { .. } => {}
            Event::Stream(event) => {
                let judged = self.streams.observe(step, event);
                self.judged(step, judged);
            }
            Event::Group(event) => {
                let judged = self.group.observe(step, event);
                self.judged(step, judged);
            }
            Event::Shared(event) => {
                let judged = self.shared.observe(step, event);
                self.judged(step, judged);
            }
        }
    }

    fn judged(&mut self, step: Step, judged: Result<(), stream::Wrong>) {
        if let Err((rule, what)) = judged {
            self.violate(rule, step, what);
        }
    }

    fn run(&self) -> usize {
        self.stops.len()
    }

    fn published(&mut self, step: Step, publish: &Publish) {
        let record =
            Record { publish: publish.clone(), step, confirmed: false, returned: false, refused: false };
        self.records.insert(publish.record, record);
    }

    fn confirmed(&mut self, step: Step, id: RecordId, returned: bool) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.confirmed = true;
        record.returned = returned;
        let Publish { queues, certain, persistent, session, .. } = record.publish.clone();
        let published = record.step;
        if certain && returned != queues.is_empty() {
            let what = format!("r{} to {queues:?}: returned = {returned}", id.0);
            self.violate("W2", step, what);
        }
        if certain && persistent && !returned {
            queues.iter().for_each(|queue| self.durable_before(queue, session, published));
        }
    }

    /// A publish of `session` to `queue`, made at `published`, is durable; and so is all before it.
    fn durable_before(&mut self, queue: &str, session: SessionId, published: Step) {
        let run = self.run();
        for (key, place) in &mut self.places {
            if self.queue_names.get(&key.queue).is_none_or(|name| name != queue) {
                continue;
            }
            if place.mark == Mark::DueInThisRun && place.shown.is_some_and(|(step, _)| step < published) {
                place.mark = Mark::Due;
            }
            if let Some(end) = &mut place.ended
                && (end.run, end.by) == (run, session)
                && end.step < published
            {
                end.durable = true;
            }
        }
    }

    fn refused(&mut self, step: Step, id: RecordId, whole: bool, why: &str) {
        let Some(record) = self.records.get_mut(&id) else { return };
        record.refused = true;
        let may = !record.publish.certain
            || record.publish.queues.iter().any(|queue| standing(queue).is_some_and(|queue| queue.refuses));
        if !may {
            let what = format!("r{} to {:?} was refused: {why}", id.0, record.publish.queues);
            self.violate("W1", step, what);
        }
        if whole && self.places.keys().any(|place| place.record == id) {
            self.violate("W2", step, format!("r{} was refused after it had been delivered", id.0));
        }
    }

    fn delivered(&mut self, step: Step, delivery: &Delivery) {
        let Some(id) = delivery.held.record.filter(|id| self.records.contains_key(id)) else {
            self.violate("W2", step, format!("nobody published {}", delivery.held));
            return;
        };
        if let Err(what) = self.as_published(id, delivery) {
            self.violate("W2", step, what);
        }
        if delivery.queue.is_empty() {
            if !self.replies_seen.insert(id) {
                self.violate("W7", step, format!("the reply r{} came twice", id.0));
            }
            return;
        }
        let held = delivery.held;
        self.queue_names.insert(held.queue, delivery.queue.clone());
        if let Some(rule) = standing(&delivery.queue) {
            self.judge_order(step, id, delivery, rule);
        }
        let key = PlaceKey { record: id, queue: held.queue, position: held.position };
        if !self.places.contains_key(&key) {
            self.judge_new_place(step, &key, &delivery.queue);
        }
        self.judge_place(step, &key, delivery);
    }

    /// The record is what was published, and came from where it was routed to.
    fn as_published(&self, id: RecordId, delivery: &Delivery) -> Result<(), String> {
        let publish = &self.records[&id].publish;
        if self.records[&id].refused && publish.queues.len() == 1 {
            return Err(format!("r{} is delivered, although its publish was refused", id.0));
        }
        let wrong = |what: &str| Err(format!("r{} from '{}': {what}", id.0, delivery.queue));
        let Ok(view) = View::parse(&delivery.bytes) else { return wrong("its bytes are no record") };
        let sent = View::parse(&publish.bytes).expect("clients publish records");
        if view.body() != sent.body() {
            return wrong("its body is not what was published");
        }
        if delivery.queue.is_empty() {
            return Ok(());
        }
        let direct = publish.queues.contains(&delivery.queue);
        let circle = standing(&delivery.queue).is_some_and(|queue| queue.circle);
        if direct && !circle {
            return if delivery.bytes == publish.bytes { Ok(()) } else { wrong("its bytes were changed") };
        }
        if direct && view.history_bytes().is_empty() {
            return Ok(());
        }
        let Ok(history) = view.history() else { return wrong("its history is damaged") };
        let Some(last) = history.last() else { return wrong("it was not routed there") };
        let died_in = String::from_utf8_lossy(last.queue).into_owned();
        let from = standing(&died_in).and_then(|queue| queue.dead_letters_to);
        if from != Some(delivery.queue.as_str()) || !self.reaches(publish, &died_in) {
            return wrong(&format!("it died in '{died_in}', which does not lead there"));
        }
        Ok(())
    }

    /// A dead letter of this publish may have been in `queue`.
    fn reaches(&self, publish: &Publish, queue: &str) -> bool {
        publish.queues.iter().any(|first| {
            let next = |name: &&'static str| standing(name).and_then(|queue| queue.dead_letters_to);
            let chain = std::iter::successors(standing(first).map(|queue| queue.name), next);
            chain.take(4).any(|name| name == queue)
        })
    }

    fn judge_order(&mut self, step: Step, id: RecordId, delivery: &Delivery, rule: &Standing) {
        let position = delivery.held.position;
        let before = self.at.contains_key(&(delivery.held.queue, position));
        if rule.ordered && !before && !delivery.redelivered {
            let reader = (delivery.session, delivery.held.subscription, delivery.held.queue);
            let last = self.readers.entry(reader).or_insert(position);
            if *last > position {
                let what = format!("{} came after {last} of '{}'", delivery.held, delivery.queue);
                self.violate("W3", step, what);
                return;
            }
            *last = position;
        }
        let publish = &self.records[&id].publish;
        if rule.circle || !publish.queues.contains(&delivery.queue) {
            return;
        }
        let lane = (delivery.queue.clone(), publish.session, publish.lane);
        let places = self.lanes.entry(lane).or_default();
        places.insert(id, position);
        let earlier = places.range(..id).next_back().filter(|(_, place)| **place >= position);
        let later = places.range(RecordId(id.0 + 1)..).next().filter(|(_, place)| **place <= position);
        if let Some((other, place)) = earlier.or(later) {
            let what = format!("r{} at {position} and r{} at {place} of '{}'", id.0, other.0, delivery.queue);
            self.violate("W3", step, format!("places differ from the order of publishing: {what}"));
        }
    }

    fn judge_new_place(&mut self, step: Step, key: &PlaceKey, queue: &str) {
        let circle = standing(queue).is_some_and(|queue| queue.circle);
        let mut others =
            self.places.keys().filter(|other| other.record == key.record && other.queue == key.queue);
        if !circle && let Some(other) = others.next() {
            let what = format!(
                "r{} stands twice in '{queue}': at {} and {}",
                key.record.0, other.position, key.position
            );
            self.violate("W9", step, what);
        }
        let last = self.at.insert((key.queue, key.position), key.record);
        if let Some(last) = last.filter(|last| *last != key.record && self.records[last].publish.persistent) {
            let what =
                format!("place {}.{} held r{}, now r{}", key.queue, key.position, last.0, key.record.0);
            self.violate("W2", step, what);
        }
    }

    fn judge_place(&mut self, step: Step, key: &PlaceKey, delivery: &Delivery) {
        let run = self.run();
        let place = self.places.entry(key.clone()).or_default();
        let mut wrong = Vec::new();
        if let Some((holder, _)) = place.holder {
            wrong.push(("W7", format!("{} has it already", Session(holder))));
        }
        match place.ended {
            Some(end) if end.run == run => wrong.push(("W5", format!("it was settled at step {}", end.step))),
            Some(end) if end.durable => {
                wrong.push(("W5", format!("it was durably settled at step {}", end.step)));
            }
            _ => {}
        }
        if place.mark != Mark::NotDue && !delivery.redelivered {
            let (before, _) = place.shown.unwrap_or_default();
            wrong.push(("W6", format!("it was shown at step {before}, but is not marked as redelivered")));
        }
        place.shown = Some((step, run));
        place.found |= self.closing;
        if delivery.no_ack {
            place.mark = Mark::NotDue;
            place.ended =
                Some(End { step, run, by: delivery.session, accepted: true, durable: self.closing });
        } else {
            place.mark = place.mark.max_with(Mark::DueInThisRun);
            place.holder = Some((delivery.session, delivery.held.subscription));
            // What a crash brought back starts again.
            place.ended = None;
        }
        for (rule, what) in wrong {
            self.violate(rule, step, format!("{} from '{}': {what}", delivery.held, delivery.queue));
        }
    }

    fn settled(&mut self, step: Step, session: SessionId, held: &Held, how: How) {
        let run = self.run();
        let Some(record) = held.record else { return };
        let key = PlaceKey { record, queue: held.queue, position: held.position };
        let Some(place) = self.places.get_mut(&key) else { return };
        if place.holder != Some((session, held.subscription)) {
            return;
        }
        place.holder = None;
        match how {
            How::Accept | How::Reject => {
                let accepted = how == How::Accept;
                place.ended = Some(End { step, run, by: session, accepted, durable: false });
            }
            How::Release { seen: false, .. } => place.mark = Mark::NotDue,
            How::Release { seen: true, .. } => {}
        }
    }

    fn session_ended(&mut self, step: Step, session: SessionId) {
        for read in self.reads.values_mut().filter_map(|reads| reads.get_mut(&session)) {
            read.ended.get_or_insert(step);
        }
        for place in self.places.values_mut() {
            if place.holder.is_some_and(|(holder, _)| holder == session) {
                place.holder = None;
            }
        }
    }

    fn stopped(&mut self, step: Step, orderly: bool) {
        let run = self.run();
        for read in self.reads.values_mut().flat_map(BTreeMap::values_mut) {
            read.ended.get_or_insert(step);
        }
        self.stops.push(step);
        self.shared.stopped();
        for (key, place) in &mut self.places {
            place.holder = None;
            let transient = !self.records[&key.record].publish.persistent;
            if orderly && let Some(end) = &mut place.ended {
                end.durable |= end.run == run;
            }
            place.mark = match place.mark {
                _ if transient => Mark::NotDue,
                Mark::DueInThisRun if orderly => Mark::Due,
                Mark::DueInThisRun => Mark::NotDue,
                other => other,
            };
        }
    }

    fn looked_for(&mut self, step: Step, queue: &str, found: bool) {
        if standing(queue).is_some() && !found {
            self.violate("W16", step, format!("queue '{queue}' is gone"));
        }
        if queue.starts_with("own.") && found {
            self.violate("W16", step, format!("queue '{queue}' outlived its owner"));
        }
    }
}

impl Mark {
    fn max_with(self, other: Self) -> Self {
        if self == Self::Due { self } else { other }
    }
}

#[cfg(test)]
mod tests;
