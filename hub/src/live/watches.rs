//! Watches: sessions that are told when somebody begins or ceases to listen to a subject.
//!
//! A change of a filter without wildcards looks at the watches of that one subject; one with wildcards, which is rare, at all watches of
//! its namespace. At most [`WATCHES_MAX`] for a session: of a further one it is told once, and no more.

use super::{Interests, LeafId, Slot, trie};
use bytes::Bytes;
use std::collections::BTreeMap;
use stele_model::id::{NamespaceId, SessionId};

/// Most watches of one session.
const WATCHES_MAX: usize = 1 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Watches {
    /// By subject: whose, and what they were told last.
    subjects: BTreeMap<(NamespaceId, Bytes), Vec<Watch>>,
    /// Subjects by watch.
    numbers: BTreeMap<(Slot, u32), (NamespaceId, Bytes)>,
    /// What has changed: to be told.
    told: Vec<(Slot, u32, bool)>,
}

struct Watch {
    slot: Slot,
    number: u32,
    is_there: bool,
}

impl Watches {
    /// A session is gone.
    pub(super) fn leave(&mut self, slot: Slot) {
        let numbers: Vec<u32> =
            self.numbers.range((slot, 0)..=(slot, u32::MAX)).map(|((_, number), _)| *number).collect();
        numbers.into_iter().for_each(|number| self.remove(slot, number));
        self.told.retain(|(of, ..)| *of != slot);
    }

    fn remove(&mut self, slot: Slot, number: u32) {
        let Some(key) = self.numbers.remove(&(slot, number)) else { return };
        let Some(watches) = self.subjects.get_mut(&key) else { return };
        watches.retain(|watch| (watch.slot, watch.number) != (slot, number));
        if watches.is_empty() {
            self.subjects.remove(&key);
        }
    }
}

impl Interests {
    /// A session wants to be told of a subject; it is told at once if somebody listens.
    pub(crate) fn watch(&mut self, slot: Slot, namespace: NamespaceId, number: u32, subject: &Bytes) {
        self.unwatch(slot, number);
        let is_there = self.is_heard(namespace, subject);
        if is_there {
            self.watches.told.push((slot, number, true));
        }
        let own = self.watches.numbers.range((slot, 0)..=(slot, u32::MAX)).count();
        if own >= WATCHES_MAX {
            return;
        }
        let key = (namespace, subject.clone());
        self.watches.numbers.insert((slot, number), key.clone());
        self.watches.subjects.entry(key).or_default().push(Watch { slot, number, is_there });
    }

    /// A session wants to be told no more.
    pub(crate) fn unwatch(&mut self, slot: Slot, number: u32) {
        self.watches.remove(slot, number);
    }

    /// Whom to tell what, since the last time.
    pub(crate) fn take_told(&mut self) -> Vec<(SessionId, u32, bool)> {
        let told = std::mem::take(&mut self.watches.told);
        told.into_iter().map(|(slot, number, is)| (self.listener(slot).session, number, is)).collect()
    }

    /// Somebody came or went by this leaf's filter.
    pub(super) fn look_again(&mut self, leaf: LeafId) {
        if self.watches.subjects.is_empty() {
            return;
        }
        let leaf = self.leaf(leaf);
        let (namespace, filter, has_wildcard) = (leaf.namespace, leaf.filter.clone(), leaf.has_wildcard);
        self.look_again_at(namespace, &filter, has_wildcard);
    }

    /// Somebody came or went by this filter.
    pub(super) fn look_again_at(&mut self, namespace: NamespaceId, filter: &[u8], has_wildcard: bool) {
        if self.watches.subjects.is_empty() {
            return;
        }
        let subjects: Vec<Bytes> = if has_wildcard {
            let of_namespace = (namespace, Bytes::new())..(NamespaceId(namespace.0 + 1), Bytes::new());
            let all = self.watches.subjects.range(of_namespace).map(|((_, subject), _)| subject);
            all.filter(|subject| trie::matches(filter, subject)).cloned().collect()
        } else {
            vec![Bytes::copy_from_slice(filter)]
        };
        for subject in subjects {
            let is_there = self.is_heard(namespace, &subject);
            let Watches { subjects, told, .. } = &mut self.watches;
            for watch in subjects.get_mut(&(namespace, subject)).into_iter().flatten() {
                if watch.is_there != is_there {
                    watch.is_there = is_there;
                    told.push((watch.slot, watch.number, is_there));
                }
            }
        }
    }

    fn is_heard(&mut self, namespace: NamespaceId, subject: &[u8]) -> bool {
        !self.reach(namespace, subject).is_empty()
    }
}
