//! The account at the end of a run: where is every record that should be somewhere, and is it there once?

use super::{Oracle, Record, RemovalKind, Step};
use crate::history::RecordId;
use crate::topology::{RACING_EMPTY, standing};
use std::collections::BTreeMap;
use stele_model::id::QueueId;

/// Steps that it may take until the node has heard of a session's end.
const LAG: Step = 2_000;

impl Oracle {
    /// All queues were emptied: what has not been seen is lost.
    pub fn close(&mut self, step: Step) {
        let streams = self.streams.close().into_iter().chain(self.shared.close());
        for (rule, what) in streams {
            self.violate(rule, step, what);
        }
        let mut wrong = Vec::new();
        for (id, record) in &self.records {
            for queue in &record.publish.queues {
                self.account(*id, record, queue, &mut wrong);
            }
        }
        self.judge_lengths(&mut wrong);
        wrong.into_iter().for_each(|(rule, what)| self.violate(rule, step, what));
    }

    fn judge_lengths(&self, wrong: &mut Vec<(&'static str, String)>) {
        let mut lengths: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, _) in self.places.iter().filter(|(_, place)| place.found) {
            if let Some(name) = self.queue_names.get(&key.queue) {
                *lengths.entry(name).or_default() += 1;
            }
        }
        for (name, length) in lengths {
            let max = standing(name).and_then(|rule| rule.length_max).unwrap_or(u64::MAX);
            if length > max {
                wrong.push(("W8", format!("'{name}' holds {length} records, its limit is {max}")));
            }
        }
    }

    fn account(&self, id: RecordId, record: &Record, queue: &str, wrong: &mut Vec<(&'static str, String)>) {
        let here = self.seen(id, queue);
        let stored = record.confirmed && !record.returned && !record.refused && record.publish.awaited;
        let certain = record.publish.certain || self.only_queue(record);
        if (stored && certain || here.shown) && !self.accounted(id, record, queue) {
            let how = if stored { "was confirmed" } else { "was shown to a consumer" };
            let rule = if RACING_EMPTY.contains(&queue) { "W10" } else { "W1" };
            wrong.push((rule, format!("r{} {how} and is gone from '{queue}'", id.0)));
        }
        let Some(rule) = standing(queue) else { return };
        let Some(target) = rule.dead_letters_to else { return };
        if here.found && self.seen(id, target).found
            || !rule.circle && here.found && self.seen(id, target).shown
        {
            wrong.push(("W9", format!("r{} is in '{queue}' and in '{target}'", id.0)));
        }
    }

    /// A publish to one name that others make and remove: that it was not returned says that the queue had it.
    fn only_queue(&self, record: &Record) -> bool {
        record.publish.queues.len() == 1
    }

    fn accounted(&self, id: RecordId, record: &Record, queue: &str) -> bool {
        let here = self.seen(id, queue);
        if here.found || here.accepted || self.excused(record, queue, here.shown_at) {
            return true;
        }
        let Some(rule) = standing(queue) else { return here.rejected };
        match rule.dead_letters_to {
            Some(target) => {
                let there = self.seen(id, target);
                there.shown || there.found
            }
            None => here.rejected || rule.leaves_alone,
        }
    }

    /// Something else may have removed it.
    fn excused(&self, record: &Record, queue: &str, shown_at: Option<Step>) -> bool {
        let since = record.step;
        let transient = !record.publish.persistent && self.stops.iter().any(|step| *step > since);
        let sent = standing(queue).is_some_and(|rule| rule.settled_by_sending)
            && self.may_have_been_under_way(queue, since, Step::MAX);
        if transient || sent || queue.starts_with("own.") {
            return true;
        }
        self.removals.values().filter(|state| state.removal.queue == queue).any(|state| {
            let until = match state.answered {
                Some((_, false)) => return false,
                Some((step, true)) => step,
                None => Step::MAX,
            };
            match state.removal.kind {
                RemovalKind::Purge | RemovalKind::Delete => until > since,
                // Held by a reader, or on the way to one, when the queue went: not ready, so it did not keep the queue.
                RemovalKind::DeleteIfEmpty => {
                    shown_at.is_some_and(|shown| until > shown)
                        || self.may_have_been_under_way(queue, since, until)
                }
            }
        })
    }

    /// A delivery of a record published at `since` may have been under way before `until` to a session that ended before it came.
    fn may_have_been_under_way(&self, queue: &str, since: Step, until: Step) -> bool {
        let reads = self.reads.get(queue).into_iter().flat_map(|reads| reads.values());
        reads
            .into_iter()
            .any(|read| read.asked < until && read.ended.is_some_and(|ended| ended + LAG > since))
    }

    fn seen(&self, id: RecordId, queue: &str) -> Seen {
        let mut seen = Seen::default();
        for (key, place) in self.places.range(super::PlaceKey::all_of(id)) {
            if self.queue_names.get(&key.queue).is_none_or(|name| name != queue) {
                continue;
            }
            seen.shown |= place.shown.is_some();
            seen.shown_at = seen.shown_at.or(place.shown.map(|(step, _)| step));
            seen.found |= place.found;
            seen.accepted |= place.ended.is_some_and(|end| end.accepted);
            seen.rejected |= place.ended.is_some_and(|end| !end.accepted);
        }
        seen
    }
}

/// What was seen of a record in one queue.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    shown: bool,
    shown_at: Option<Step>,
    found: bool,
    accepted: bool,
    rejected: bool,
}

impl super::PlaceKey {
    /// All places of one record.
    fn all_of(record: RecordId) -> std::ops::RangeInclusive<Self> {
        let at =
            |queue, position| Self { record, queue: QueueId(queue), position: super::Position(position) };
        at(0, 0)..=at(u64::MAX, u64::MAX)
    }
}
