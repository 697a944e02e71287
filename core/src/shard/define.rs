//! What the registry and operators do to queues: put, drop, close, sync, purge, status.
//!
//! What must hold: the registry's words are taken once and in its order (S5, S10); conditions on a deletion are decided here, logged, and
//! the queue is gone only when the registry says so; nothing iterates over the records of a queue that goes (S7).

use super::attach::usable;
use super::effect::{Turn, missing};
use super::entry;
use super::{Mutant, Shard};
use crate::queue::Queue;
use std::collections::BTreeSet;
use std::sync::Arc;
use stele_model::id::{Boot, Call, HubId, Lsn, QueueId, Revision};
use stele_model::machine::Urgency;
use stele_model::queue::QueueSpec;
use stele_model::refusal::{Object, Refusal};
use stele_model::shard::{Answer, ShardEffect};

impl Shard {
    pub(super) fn put(&mut self, revision: Revision, spec: Arc<QueueSpec>, turn: &mut Turn<'_>) {
        let id = spec.id;
        let applied = ShardEffect::Applied { shard: self.id, revision, queue: Some(id) };
        let same = self.queues.get(&id).is_some_and(|queue| *queue.spec == *spec);
        if revision < self.revision || same {
            return turn.say_present(applied);
        }
        // One with an owner goes with him at a restart, so nobody waits for it to be durable (S12).
        let owned = spec.settings.owner.is_some();
        let urgency = if owned { Urgency::Rides } else { Urgency::Urgent };
        let place = turn.log(urgency, |out| entry::put_put(out, revision, &spec));
        let after = if owned { Lsn(0) } else { place.lsn };
        let now = turn.now();
        self.place(revision, spec);
        turn.say(after, applied);
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.used = now;
        }
        self.advance(id, turn);
    }

    /// Makes or changes a queue, the same in replay.
    pub(super) fn place(&mut self, revision: Revision, spec: Arc<QueueSpec>) {
        self.revision = self.revision.max(revision);
        match self.queues.get_mut(&spec.id) {
            Some(queue) => queue.spec = spec,
            None => {
                self.queues.insert(spec.id, Box::new(Queue::new(spec)));
            }
        }
    }

    pub(super) fn drop_queue(&mut self, revision: Revision, id: QueueId, turn: &mut Turn<'_>) {
        let applied = ShardEffect::Applied { shard: self.id, revision, queue: Some(id) };
        if !self.queues.contains_key(&id) {
            return turn.say_present(applied);
        }
        let after = self.log_end(id, turn, |out| entry::put_dropped(out, revision, id));
        self.revision = self.revision.max(revision);
        let ready = self.remove(id, |shard, queue| {
            for subscription in queue.readers.reading() {
                turn.say(after, ShardEffect::Cancelled { subscription });
            }
            for session in queue.readers.sessions() {
                if let Some(queues) = shard.attached.sessions.get_mut(&session) {
                    queues.remove(&id);
                }
            }
        });
        for to in self.attached.closes.remove(&id).unwrap_or_default() {
            turn.answer(after, to, Ok(Answer::Deleted { ready }));
        }
        turn.say(after, applied);
    }

    /// Logs a step to the end of a queue, and returns what whoever is told of it waits for. With an owner a queue goes at a restart anyway, so
    /// nobody waits for that to be durable (S12), but for what was given out before.
    fn log_end(&self, id: QueueId, turn: &mut Turn<'_>, write: impl FnOnce(&mut Vec<u8>)) -> Lsn {
        match self.queues.get(&id).filter(|queue| queue.spec.settings.owner.is_some()) {
            Some(queue) if !self.makes(Mutant::UrgentEnd) => {
                turn.log(Urgency::Rides, write);
                queue.head_after
            }
            _ => turn.log(Urgency::Urgent, write).lsn,
        }
    }

    /// Forgets a queue and all it holds, the same in replay. Returns how many records were ready.
    pub(super) fn remove(&mut self, id: QueueId, seen: impl FnOnce(&mut Self, &Queue)) -> u64 {
        let Some(queue) = self.queues.remove(&id) else { return 0 };
        seen(self, &queue);
        self.work.forget(&queue);
        let ready = queue.ready.count();
        self.work.bury(id, queue.ready, queue.leases);
        ready
    }

    pub(super) fn sync(
        &mut self,
        revision: Revision,
        boot: Boot,
        specs: Vec<Arc<QueueSpec>>,
        turn: &mut Turn<'_>,
    ) {
        if self.queues.values().any(|queue| queue.spec.settings.owner.is_some()) && boot != self.boot {
            turn.log(Urgency::Urgent, |out| entry::put_owners_gone(out, boot));
            self.owners_gone();
        }
        let listed: BTreeSet<QueueId> = specs.iter().map(|spec| spec.id).collect();
        let unknown: Vec<QueueId> = self.queues.keys().filter(|id| !listed.contains(id)).copied().collect();
        for id in unknown {
            turn.log(Urgency::Urgent, |out| entry::put_dropped(out, revision, id));
            self.remove(id, |_, _| ());
        }
        let now = turn.now();
        for spec in specs {
            let id = spec.id;
            if let Some(queue) = self.queues.get_mut(&id).filter(|queue| queue.spec == spec) {
                queue.spec = spec; // the registry's own, in place of the one that replay made
                continue;
            }
            turn.log(Urgency::Urgent, |out| entry::put_put(out, revision, &spec));
            self.place(revision, spec);
            if let Some(queue) = self.queues.get_mut(&id) {
                queue.used = now;
            }
            self.work.again(id);
        }
        let place = turn.log(Urgency::Urgent, |out| entry::put_synced(out, revision, boot));
        self.synced(revision, boot);
        turn.say(place.lsn, ShardEffect::Applied { shard: self.id, revision, queue: None });
    }

    /// The queues of sessions of an earlier process go (S12), the same in replay.
    pub(super) fn owners_gone(&mut self) {
        let owned = self.queues.values().filter(|queue| queue.spec.settings.owner.is_some());
        let owned: Vec<QueueId> = owned.map(|queue| queue.spec.id).collect();
        for id in owned {
            self.remove(id, |_, _| ());
        }
    }

    /// The same in replay. Of an earlier process's revisions, the registry may have lost the last: none that was awaited (S12).
    pub(super) fn synced(&mut self, revision: Revision, boot: Boot) {
        let before = if boot == self.boot { self.revision } else { Revision(0) };
        self.revision = before.max(revision);
        self.boot = boot;
    }

    pub(super) fn close(
        &mut self,
        answer: Option<(HubId, Call)>,
        id: QueueId,
        if_unused: bool,
        if_empty: bool,
        turn: &mut Turn<'_>,
    ) {
        if let Some(to) = answer.filter(|_| self.is_partition(id)) {
            return self.refuse_for_stream(to, "delete one partition of", turn);
        }
        let Some(queue) = self.queues.get(&id) else {
            if let Some(to) = answer {
                turn.answer_present(to, Ok(Answer::Deleted { ready: 0 }));
            }
            return;
        };
        let name = queue.spec.name.clone();
        let namespace = String::new();
        let refusal = if queue.closing {
            None
        } else if if_unused && queue.readers.count() > 0 {
            Some(Refusal::InUse { object: Object::Queue, name, namespace })
        } else if if_empty && queue.ready.count() > 0 {
            Some(Refusal::NotEmpty { name, namespace })
        } else {
            None
        };
        match (refusal, answer) {
            (Some(refusal), Some(to)) => return turn.answer_present(to, Err(refusal)),
            (Some(_), None) => return,
            (None, Some(to)) => self.attached.closes.entry(id).or_default().push(to),
            (None, None) => {}
        }
        self.begin_close(id, turn);
    }

    /// Logs that the queue is closing and tells the registry.
    pub(super) fn begin_close(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        if self.queues.get(&id).is_none_or(|queue| queue.closing) {
            return;
        }
        let after = self.log_end(id, turn, |out| entry::put_closing(out, id));
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.closing = true;
        }
        turn.say(after, ShardEffect::Closing { queue: id });
    }

    /// Closes the queue if it was not used for as long as it is set to.
    pub(super) fn close_unused(&mut self, id: QueueId, turn: &mut Turn<'_>) {
        let now = turn.now();
        let unused_at = self.queues.get(&id).and_then(|queue| queue.unused_at());
        if self.ages() && unused_at.is_some_and(|at| at <= now) {
            self.begin_close(id, turn);
            self.set_timer(id);
        }
    }

    pub(super) fn purge(&mut self, to: (HubId, Call), id: QueueId, turn: &mut Turn<'_>) {
        if self.is_partition(id) {
            return self.refuse_for_stream(to, "purge", turn);
        }
        let queue = match usable(&mut self.queues, id, None) {
            Ok(queue) => queue,
            Err(refusal) => return turn.answer_present(to, Err(refusal)),
        };
        let count = queue.ready.count();
        if count == 0 {
            return turn.answer_present(to, Ok(Answer::Purged { count }));
        }
        let place = turn.log(Urgency::Urgent, |out| entry::put_purged(out, id));
        self.purged(id);
        turn.answer(place.lsn, to, Ok(Answer::Purged { count }));
        self.set_timer(id);
    }

    /// Removes what is ready, the same in replay.
    pub(super) fn purged(&mut self, id: QueueId) -> bool {
        let Some(queue) = self.queues.get_mut(&id) else { return false };
        queue.may_expire = false;
        let ready = std::mem::take(&mut queue.ready);
        self.work.bury(id, ready, Default::default());
        true
    }

    pub(super) fn status(&mut self, to: (HubId, Call), id: QueueId, turn: &mut Turn<'_>) {
        if self.is_partition(id) {
            return self.stream_status(to, id, turn);
        }
        let now = turn.now();
        let answer = match self.queues.get_mut(&id) {
            None => Err(missing(None)),
            // On its way out: who declares it meanwhile waits until it is gone (S10).
            Some(queue) if queue.closing => Err(missing(Some(queue))),
            Some(queue) => {
                queue.used = now;
                Ok(Answer::Status {
                    ready: queue.ready.count(),
                    unsettled: queue.leases.count(),
                    consumers: queue.readers.count(),
                })
            }
        };
        turn.answer_present(to, answer);
        self.set_timer(id);
    }
}
