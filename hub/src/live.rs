//! Live interest of one hub (S13): which sessions of it listen to what, and which other hubs have listeners.
//!
//! What members had is counted where they stand, and added to the edges of the flow graph when somebody asks ([`Interests::count`]): the
//! path of a record looks up nothing for it.
//!
//! Called by [`crate::hub`] alone. A filter without wildcards is found by its hash and never invalidates anything; filters with wildcards
//! stand in a trie for each namespace, whose results are kept until one of them comes or goes ([`reach`]). A filter's members stand side by side
//! in its leaf ([`leaf`]), so that a publish walks over one array. What must hold: another hub is told of every change that it could
//! route by ([`Interests::take_changes`]); a member's place and its session's entry point to each other; a leaf without members is gone.
//! Not here: bytes, permissions, what is stored.

mod leaf;
mod reach;
#[cfg(test)]
mod tests;
mod trie;
mod watches;

pub(crate) use reach::{Chosen, Reach, Told};
pub(crate) use trie::is_filter;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
pub(crate) use leaf::HubMask;
use leaf::{Leaf, Member};
use reach::Wild;
use slab::Slab;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use stele_model::id::{HubId, NamespaceId, SessionId};
use stele_model::live::{LiveHit, LiveSubscribe};
use watches::Watches;

/// Place of a listening session in its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(u32);

/// Place of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LeafId(u32);

/// Most live subscriptions of one session. Dialects refuse earlier, in their own words.
pub const SUBSCRIPTIONS_MAX: u32 = 1 << 20;

/// What another hub has to know: so many members listen by this filter, on the hub that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterestChange {
    /// Where.
    pub namespace: NamespaceId,
    /// By which filter.
    pub filter: Bytes,
    /// In which group; `None`: in none, and then 1 stands for any number above.
    pub group: Option<Bytes>,
    /// How many.
    pub members: u32,
}

/// See the module.
pub(crate) struct Interests {
    hasher: FixedState,
    random: u64,
    listeners: Slab<Listener>,
    leaves: Slab<Leaf>,
    /// Leaves of filters without wildcards, by namespace and filter.
    literals: HashTable<LeafId>,
    wild: BTreeMap<NamespaceId, Wild>,
    watches: Watches,
    changes: Vec<InterestChange>,
    /// Listeners that had something since it was last counted.
    uncounted: Vec<Slot>,
    /// What subscriptions that have ended had since then.
    ended: Vec<Count>,
    /// There are other hubs, which want to be told.
    tells: bool,
}

/// A session that listens.
struct Listener {
    session: SessionId,
    /// By the session's number.
    subscriptions: Vec<Option<Subscription>>,
    /// What it is to be told of the batch at hand.
    hits: Vec<LiveHit>,
    /// Its place among the uncounted.
    uncounted_at: Option<u32>,
}

/// Where a subscription stands.
struct Subscription {
    leaf: LeafId,
    group: Option<Arc<[u8]>>,
    /// Its place in the ring.
    at: u32,
    /// Number of the flow graph's edge to its party.
    edge: u32,
    /// So many of what it had are counted.
    counted: u64,
}

/// What came over an edge of the flow graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count {
    pub(crate) edge: u32,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Interests {
    /// Nobody listens. `seed` keeps clients from choosing colliding subjects, and decides who of a group hears what.
    pub(crate) fn new(seed: [u64; 2], hub: HubId, hubs: u16) -> Self {
        Self {
            hasher: FixedState::with_seed(seed[0]),
            random: seed[1] ^ u64::from(hub.0),
            listeners: Slab::new(),
            leaves: Slab::new(),
            literals: HashTable::new(),
            wild: BTreeMap::new(),
            watches: Watches::default(),
            changes: Vec::new(),
            uncounted: Vec::new(),
            ended: Vec::new(),
            tells: hubs > 1,
        }
    }

    /// Nobody listens to anything, anywhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// A session may listen from now on.
    pub(crate) fn enter(&mut self, session: SessionId) -> Slot {
        let listener = Listener { session, subscriptions: Vec::new(), hits: Vec::new(), uncounted_at: None };
        Slot(u32::try_from(self.listeners.insert(listener)).expect("there are fewer sessions"))
    }

    /// A session is gone, and all its subscriptions and watches.
    pub(crate) fn leave(&mut self, slot: Slot) {
        let count = self.listener(slot).subscriptions.len();
        (0..).take(count).for_each(|subscription| self.end(slot, subscription));
        self.watches.leave(slot);
        if let Some(at) = self.listeners.remove(slot.0 as usize).uncounted_at {
            self.uncounted.swap_remove(at as usize);
            if let Some(moved) = self.uncounted.get(at as usize).copied() {
                self.listener_mut(moved).uncounted_at = Some(at);
            }
        }
    }

    /// A session listens; what it hears is counted on `edge`. A filter with an empty word hears nothing.
    ///
    /// # Panics
    /// If the number is in use, or not below [`SUBSCRIPTIONS_MAX`]: the session keeps account.
    pub(crate) fn subscribe(
        &mut self,
        slot: Slot,
        namespace: NamespaceId,
        subscribe: &LiveSubscribe,
        edge: u32,
    ) {
        let LiveSubscribe { subscription, filter, group } = subscribe;
        assert!(*subscription < SUBSCRIPTIONS_MAX, "a session counts its subscriptions");
        if !is_filter(filter) {
            return;
        }
        let leaf = self.find_or_make(namespace, filter);
        let group: Option<Arc<[u8]>> = group.as_ref().map(|name| Arc::from(&name[..]));
        let ring = self.leaf_mut(leaf).ring_mut(group.as_ref());
        let at = u32::try_from(ring.here.len()).expect("there are fewer subscriptions");
        ring.here.push(Member { slot, subscription: *subscription, hits: 0, hits_max: u64::MAX, bytes: 0 });
        let entry = Subscription { leaf, group: group.clone(), at, edge, counted: 0 };
        let subscriptions = &mut self.listener_mut(slot).subscriptions;
        let number = *subscription as usize;
        if subscriptions.len() <= number {
            subscriptions.resize_with(number + 1, || None);
        }
        assert!(
            subscriptions[number].is_none(),
            "a number is used again only when its subscription has ended"
        );
        subscriptions[number] = Some(entry);
        if group.is_some() || at == 0 {
            self.note_change(leaf, group.as_deref());
        }
        self.look_again(leaf);
    }

    /// A session listens no more, or only until it had so many.
    pub(crate) fn unsubscribe(&mut self, slot: Slot, subscription: u32, hits_max: Option<u64>) {
        let Some(member) = self.member_mut(slot, subscription) else { return };
        match hits_max {
            Some(max) if member.hits < max => member.hits_max = max,
            _ => self.end(slot, subscription),
        }
    }

    /// What subscriptions had since this was asked last, all of it.
    pub(crate) fn count(&mut self, mut add: impl FnMut(Count)) {
        let Self { listeners, leaves, uncounted, ended, .. } = self;
        ended.drain(..).for_each(&mut add);
        for slot in uncounted.drain(..) {
            let listener = &mut listeners[slot.0 as usize];
            listener.uncounted_at = None;
            for subscription in listener.subscriptions.iter_mut().flatten() {
                let ring = leaves[subscription.leaf.0 as usize].ring_mut(subscription.group.as_ref());
                let member = &mut ring.here[subscription.at as usize];
                subscription.count(member).into_iter().for_each(&mut add);
            }
        }
    }

    /// The same, of subscriptions that have ended alone.
    pub(crate) fn count_ended(&mut self, add: impl FnMut(Count)) {
        self.ended.drain(..).for_each(add);
    }

    /// Edges on which something is, or will be, counted.
    pub(crate) fn edges(&self) -> impl Iterator<Item = u32> {
        let entries = self.listeners.iter().flat_map(|(_, listener)| listener.subscriptions.iter().flatten());
        entries.map(|subscription| subscription.edge)
    }

    /// Another hub tells of its own.
    pub(crate) fn heard_of(&mut self, hub: HubId, change: &InterestChange) {
        let InterestChange { namespace, filter, group, members } = change;
        let group: Option<Arc<[u8]>> = group.as_ref().map(|name| Arc::from(&name[..]));
        let leaf = match members {
            0 => match self.find(*namespace, filter) {
                Some(leaf) => leaf,
                None => return,
            },
            _ => self.find_or_make(*namespace, filter),
        };
        self.leaf_mut(leaf).set_elsewhere(group.as_ref(), hub, *members);
        self.sweep(leaf);
    }

    /// What other hubs have to be told since the last time.
    pub(crate) fn take_changes(&mut self) -> Vec<InterestChange> {
        std::mem::take(&mut self.changes)
    }

    /// Ends a subscription; if it is there.
    fn end(&mut self, slot: Slot, subscription: u32) {
        let entry = self.listener_mut(slot).subscriptions.get_mut(subscription as usize);
        let Some(mut entry) = entry.and_then(Option::take) else { return };
        let Self { leaves, ended, .. } = self;
        let ring = leaves[entry.leaf.0 as usize].ring_mut(entry.group.as_ref());
        let mut member = ring.here.swap_remove(entry.at as usize);
        ended.extend(entry.count(&mut member));
        let Subscription { leaf, group, at, .. } = entry;
        let is_last = ring.here.is_empty();
        if let Some(moved) = ring.here.get(at as usize).copied() {
            let entry = &mut self.listener_mut(moved.slot).subscriptions[moved.subscription as usize];
            entry.as_mut().expect("a member has an entry").at = at;
        }
        if group.is_some() || is_last {
            self.note_change(leaf, group.as_deref());
            self.sweep(leaf);
        }
    }

    /// Removes a leaf that nobody listens by.
    fn sweep(&mut self, id: LeafId) {
        let leaf = self.leaf_mut(id);
        leaf.tidy();
        if !leaf.is_empty() {
            return self.look_again(id);
        }
        let leaf = self.leaves.remove(id.0 as usize);
        let Leaf { namespace, filter, has_wildcard, .. } = &leaf;
        if *has_wildcard {
            let wild = self.wild.get_mut(namespace).expect("its trie is there");
            if wild.remove(filter) {
                self.wild.remove(namespace);
            }
        } else {
            let hash = self.hash(*namespace, filter);
            let found = self.literals.find_entry(hash, |known| *known == id);
            found.expect("a leaf without wildcards is in the table").remove();
        }
        self.look_again_at(leaf.namespace, &leaf.filter, leaf.has_wildcard);
    }

    fn find(&self, namespace: NamespaceId, filter: &[u8]) -> Option<LeafId> {
        if trie::has_wildcard(filter) {
            return self.wild.get(&namespace)?.get(filter);
        }
        self.literal(namespace, filter)
    }

    fn literal(&self, namespace: NamespaceId, subject: &[u8]) -> Option<LeafId> {
        let hash = self.hash(namespace, subject);
        let is_it = |id: &LeafId| {
            let leaf = &self.leaves[id.0 as usize];
            leaf.namespace == namespace && *leaf.filter == *subject
        };
        self.literals.find(hash, is_it).copied()
    }

    fn find_or_make(&mut self, namespace: NamespaceId, filter: &[u8]) -> LeafId {
        if let Some(leaf) = self.find(namespace, filter) {
            return leaf;
        }
        let has_wildcard = trie::has_wildcard(filter);
        let at = self.leaves.insert(Leaf::new(namespace, filter, has_wildcard));
        let id = LeafId(u32::try_from(at).expect("there are fewer filters"));
        if has_wildcard {
            self.wild.entry(namespace).or_default().insert(filter, id);
            return id;
        }
        let hash = self.hash(namespace, filter);
        let Self { literals, leaves, hasher, .. } = self;
        literals.insert_unique(hash, id, |id| {
            let leaf = &leaves[id.0 as usize];
            hasher.hash_one((leaf.namespace, &leaf.filter[..]))
        });
        id
    }

    fn hash(&self, namespace: NamespaceId, subject: &[u8]) -> u64 {
        self.hasher.hash_one((namespace, subject))
    }

    fn note_change(&mut self, leaf: LeafId, group: Option<&[u8]>) {
        if !self.tells {
            return;
        }
        let Leaf { namespace, filter, .. } = self.leaf(leaf);
        let count = self.leaf(leaf).ring(group).map_or(0, |ring| ring.here.len());
        let members = match group {
            None => u32::from(count > 0),
            Some(_) => u32::try_from(count).expect("there are fewer subscriptions"),
        };
        let change = InterestChange {
            namespace: *namespace,
            filter: Bytes::copy_from_slice(filter),
            group: group.map(Bytes::copy_from_slice),
            members,
        };
        self.changes.push(change);
    }

    fn member_mut(&mut self, slot: Slot, subscription: u32) -> Option<&mut Member> {
        let entry = self.listener(slot).subscriptions.get(subscription as usize)?.as_ref()?;
        let (leaf, group, at) = (entry.leaf, entry.group.clone(), entry.at as usize);
        self.leaf_mut(leaf).ring_mut(group.as_ref()).here.get_mut(at)
    }

    fn leaf(&self, id: LeafId) -> &Leaf {
        &self.leaves[id.0 as usize]
    }

    fn leaf_mut(&mut self, id: LeafId) -> &mut Leaf {
        &mut self.leaves[id.0 as usize]
    }

    fn listener(&self, slot: Slot) -> &Listener {
        &self.listeners[slot.0 as usize]
    }

    fn listener_mut(&mut self, slot: Slot) -> &mut Listener {
        &mut self.listeners[slot.0 as usize]
    }
}

impl Subscription {
    /// What its member had that was not counted.
    fn count(&mut self, member: &mut Member) -> Option<Count> {
        let records = member.hits - self.counted;
        self.counted = member.hits;
        let bytes = std::mem::take(&mut member.bytes);
        (records > 0).then_some(Count { edge: self.edge, records, bytes })
    }
}
