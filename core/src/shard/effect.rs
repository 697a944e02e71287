//! One turn of a shard: where it writes, and what it says to whom once the log has come so far.
//!
//! Called by every verb of the shard. What must hold: an effect names what it waits for (S2): a confirm its entry, a delivery its
//! record, an answer the state that it speaks of.

use super::bytes::RUN_BYTES;
use super::entry;
use crate::queue::Queue;
use crate::stream::tally::LOOKS;
use stele_model::id::{Call, HubId, Lsn, Now, Place, QueueId};
use stele_model::machine::{Effects, Journal, Urgency};
use stele_model::refusal::{Object, Refusal};
use stele_model::settle::{How, Run};
use stele_model::shard::{Answer, ShardEffect};

/// Bytes that the head of an entry of runs has at most.
const RUNS_HEAD_BYTES: usize = 32;

pub(crate) struct Turn<'a> {
    pub(crate) journal: &'a mut dyn Journal,
    effects: &'a mut Effects<ShardEffect>,
    /// Memory for entries under construction.
    pub(crate) scratch: &'a mut Vec<u8>,
    /// Subjects and records that may still be looked at to count them (S7).
    pub(crate) looks: usize,
}

impl<'a> Turn<'a> {
    pub(crate) fn new(
        journal: &'a mut dyn Journal,
        effects: &'a mut Effects<ShardEffect>,
        scratch: &'a mut Vec<u8>,
    ) -> Self {
        Self { journal, effects, scratch, looks: LOOKS }
    }

    /// Whoever comes next may look at half of what a turn has, whatever others have looked at: nobody waits for ever.
    pub(crate) fn replenish(&mut self) {
        self.looks = self.looks.max(LOOKS / 2);
    }

    /// The time of whatever is appended next, and after an append the time of that entry's block.
    pub(crate) fn now(&self) -> Now {
        self.journal.now()
    }

    /// Says it once block `after` is durable.
    pub(crate) fn say(&mut self, after: Lsn, effect: ShardEffect) {
        self.effects.push((after, effect));
    }

    /// Says something about the present state.
    pub(crate) fn say_present(&mut self, effect: ShardEffect) {
        let tail = self.journal.tail();
        self.effects.push((tail, effect));
    }

    pub(crate) fn answer(&mut self, after: Lsn, to: (HubId, Call), answer: Result<Answer, Refusal>) {
        self.say(after, ShardEffect::Answer { hub: to.0, call: to.1, answer });
    }

    pub(crate) fn answer_present(&mut self, to: (HubId, Call), answer: Result<Answer, Refusal>) {
        let tail = self.journal.tail();
        self.answer(tail, to, answer);
    }

    /// Logs what `write` puts into the scratch memory.
    pub(crate) fn log(&mut self, urgency: Urgency, write: impl FnOnce(&mut Vec<u8>)) -> Place {
        write(self.scratch);
        self.journal.append(urgency, &[self.scratch])
    }

    /// Logs runs, in as many entries as they need. Nothing for no runs. Never starts a commit (S3).
    pub(crate) fn log_runs(&mut self, runs: &[Run], write: impl Fn(&mut Vec<u8>, &[Run])) {
        self.log_runs_as(Urgency::Rides, runs, write);
    }

    /// As [`Self::log_runs`]; somebody may wait for it.
    pub(crate) fn log_runs_as(
        &mut self,
        urgency: Urgency,
        runs: &[Run],
        write: impl Fn(&mut Vec<u8>, &[Run]),
    ) {
        let most = self.journal.entry_bytes_max().saturating_sub(RUNS_HEAD_BYTES) / RUN_BYTES;
        for runs in runs.chunks(most.max(1)) {
            self.log(urgency, |out| write(out, runs));
        }
    }

    /// Logs the end of deliveries. Never starts a commit (S3).
    pub(crate) fn log_settle(&mut self, queue: QueueId, how: How, runs: &[Run]) {
        self.log_runs(runs, |out, runs| entry::put_settle(out, queue, how, runs));
    }
}

/// The refusal for a queue that is not there any more. The hub, which knows the names, fills them in where they are empty.
pub(crate) fn missing(queue: Option<&Queue>) -> Refusal {
    let name = queue.map(|queue| queue.spec.name.clone()).unwrap_or_default();
    Refusal::Missing { object: Object::Queue, name, namespace: String::new() }
}
