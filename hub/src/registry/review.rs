//! A change of policies in a large namespace: what it means for exchanges and queues is worked out some of them at a time (S7).
//!
//! The entry that changes the policy says that a review is due; the registry then logs step after step how far it has come, and answers when
//! the last one is published. What must hold: a step looks at [`OBJECTS_MAX`] objects at most; which ones follows from the entries alone;
//! what is declared meanwhile needs no review, for it is declared by the new policies. A review that a crash interrupts goes on after the
//! start. In a small namespace there is none: the entry of the change does it all.

use super::state::{Consequence, State};
use super::{Answer, Fact, Registry};
use std::ops::Bound::{Excluded, Included, Unbounded};
use stele_model::id::{ExchangeId, NamespaceId, QueueId};
use stele_model::machine::{Effects, Journal};
use stele_model::registry::RegistryEffect;

/// Objects that one step looks at, those of other namespaces included: about 3 µs each.
pub(crate) const OBJECTS_MAX: usize = 256;

/// How far a review has come: all exchanges and all queues up to these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Exchanges.
    pub exchange: ExchangeId,
    /// Queues.
    pub queue: QueueId,
}

impl Looked {
    /// At everything.
    pub const ALL: Self = Self { exchange: ExchangeId(u64::MAX), queue: QueueId(u64::MAX) };
}

impl State {
    /// The fact that goes before a change of policies there, if that is too much for one turn.
    pub(super) fn review_due(&self, id: NamespaceId) -> Option<Fact> {
        let namespace = self.root.namespaces.get(&id)?;
        let is_large = namespace.queues.len() + namespace.exchanges.len() > OBJECTS_MAX;
        // One that is under way begins again: it has not seen this change.
        (is_large || self.reviews.contains_key(&id)).then_some(Fact::ReviewDue(id, Looked::default()))
    }

    /// The next step of the first review.
    fn next_step(&self) -> Option<Fact> {
        let (id, from) = self.reviews.first_key_value()?;
        let mut exchanges = self.names.range((Excluded(from.exchange), Unbounded)).map(|(id, _)| *id);
        let mut left = OBJECTS_MAX;
        let mut through = *from;
        for exchange in exchanges.by_ref().take(left) {
            (through.exchange, left) = (exchange, left - 1);
        }
        if left > 0 {
            through.exchange = Looked::ALL.exchange;
            for queue in self.queue_ids.range((Excluded(from.queue), Unbounded)).take(left) {
                (through.queue, left) = (*queue, left - 1);
            }
        }
        if left > 0 {
            through = Looked::ALL;
        }
        Some(Fact::Reviewed(*id, through))
    }

    /// Applies a step.
    pub(super) fn review(
        &mut self,
        id: NamespaceId,
        through: Looked,
        out: &mut Vec<Consequence>,
    ) -> Result<(), String> {
        let from = *self.reviews.get(&id).ok_or_else(|| format!("no review of namespace {id} is due"))?;
        if through.exchange < from.exchange || through.queue < from.queue {
            return Err(format!("the review of namespace {id} goes back"));
        }
        let exchanges = self.names.range((Excluded(from.exchange), Included(through.exchange)));
        let exchanges: Vec<_> =
            exchanges.filter(|(_, (of, _))| *of == id).map(|(_, (_, name))| name.clone()).collect();
        for name in exchanges {
            self.review_exchange(id, &name)?;
        }
        let queues = self.queue_ids.range((Excluded(from.queue), Included(through.queue)));
        for queue in queues.copied().collect::<Vec<_>>() {
            self.review_queue(id, queue, out)?;
        }
        if through == Looked::ALL {
            self.reviews.remove(&id);
        } else {
            self.reviews.insert(id, through);
        }
        Ok(())
    }
}

impl Registry {
    /// Whether a step is to be done, or somebody to be answered after the last one.
    pub(super) fn reviews(&self) -> bool {
        let waits = !self.state.reviews.is_empty() && self.order.has_room().is_ok();
        waits || self.reviewing.iter().any(|(id, _)| !self.state.reviews.contains_key(id))
    }

    /// Does one step, and answers whose review is over.
    pub(super) fn review(&mut self, journal: &mut dyn Journal, effects: &mut Effects<RegistryEffect>) {
        if self.order.has_room().is_ok()
            && let Some(step) = self.state.next_step()
        {
            self.commit(&[step], None, journal, effects);
        }
        let (over, rest): (Vec<(NamespaceId, Answer)>, Vec<_>) = std::mem::take(&mut self.reviewing)
            .into_iter()
            .partition(|(id, _)| !self.state.reviews.contains_key(id));
        self.reviewing = rest;
        for (_, answer) in over {
            self.answer(answer, effects);
        }
    }
}
