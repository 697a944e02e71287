//! Who hears a subject, and the walk over them.
//!
//! What the trie found for a subject is kept until a filter with wildcards comes or goes in the namespace; members that come and go do
//! not matter to it, and filters without wildcards (each requester's own inbox is one) are not in it.

use super::leaf::{HubMask, Member, Ring};
use super::trie::Trie;
use super::{Interests, LeafId, Slot};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;
use std::sync::Arc;
use stele_model::id::{HubId, NamespaceId, SessionId};
use stele_model::live::LiveHit;

/// Most subjects for which a namespace keeps what its trie found; when they are too many, all are forgotten.
const KEPT_MAX: usize = 1 << 16;

/// Filters with wildcards of one namespace.
#[derive(Default)]
pub(super) struct Wild {
    trie: Trie,
    /// Grows whenever a filter comes or goes.
    generation: u64,
    kept: HashTable<Kept>,
}

struct Kept {
    subject: SmallVec<[u8; 24]>,
    hash: u64,
    generation: u64,
    leaves: SmallVec<[LeafId; 2]>,
}

impl Wild {
    pub(super) fn get(&self, filter: &[u8]) -> Option<LeafId> {
        self.trie.get(filter)
    }

    pub(super) fn insert(&mut self, filter: &[u8], leaf: LeafId) {
        self.trie.insert(filter, leaf);
        self.generation += 1;
    }

    /// Whether none is left.
    pub(super) fn remove(&mut self, filter: &[u8]) -> bool {
        self.trie.remove(filter);
        self.generation += 1;
        self.trie.is_empty()
    }

    #[cfg(test)]
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    fn leaves(&mut self, subject: &[u8], hash: u64) -> &[LeafId] {
        let Self { trie, generation, kept } = self;
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let is_it = |kept: &Kept| kept.hash == hash && kept.subject[..] == *subject;
        let found = match kept.entry(hash, is_it, |kept| kept.hash) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(room) => {
                let generation = generation.wrapping_sub(1);
                let kept = Kept { subject: subject.into(), hash, generation, leaves: SmallVec::new() };
                room.insert(kept).into_mut()
            }
        };
        if found.generation != *generation {
            found.generation = *generation;
            found.leaves.clear();
            trie.matching(subject, |leaf| found.leaves.push(leaf));
        }
        &found.leaves
    }
}

/// An item that listeners are told of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Its number in the batch.
    pub(crate) number: u32,
    /// Bytes of its headers and body.
    pub(crate) bytes: u64,
}

/// Who hears a subject, until somebody comes or goes.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    leaves: SmallVec<[LeafId; 4]>,
    /// Other hubs with listeners outside groups.
    pub(crate) hubs: HubMask,
    /// Groups by name, over all leaves.
    groups: SmallVec<[ReachedGroup; 1]>,
}

#[derive(Debug)]
struct ReachedGroup {
    name: Arc<[u8]>,
    leaves: SmallVec<[LeafId; 1]>,
    members: u64,
}

/// Another hub whose group is to hear an item.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Which hub.
    pub(crate) hub: HubId,
    /// Which group.
    pub(crate) group: Arc<[u8]>,
}

impl Reach {
    /// Nobody hears it.
    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }
}

impl Interests {
    /// Who hears a subject.
    pub(crate) fn reach(&mut self, namespace: NamespaceId, subject: &[u8]) -> Reach {
        let mut reach = Reach::default();
        reach.leaves.extend(self.literal(namespace, subject));
        if let Some(wild) = self.wild.get_mut(&namespace) {
            let hash = std::hash::BuildHasher::hash_one(&self.hasher, (namespace, subject));
            reach.leaves.extend_from_slice(wild.leaves(subject, hash));
        }
        let Reach { leaves, hubs, groups } = &mut reach;
        for id in leaves.iter() {
            let leaf = &self.leaves[id.0 as usize];
            hubs.merge(leaf.hubs);
            for (name, ring) in &leaf.groups {
                let at = groups.iter().position(|group| group.name == *name).unwrap_or_else(|| {
                    groups.push(ReachedGroup { name: name.clone(), leaves: SmallVec::new(), members: 0 });
                    groups.len() - 1
                });
                groups[at].leaves.push(*id);
                groups[at].members += ring.total();
            }
        }
        reach
    }

    /// Lets everybody on this hub who is in no group hear an item, but `mute`. Tells how many heard it, and whether a subscription has
    /// ended by it, so that the reach is not what it was.
    pub(crate) fn tell_plain(
        &mut self,
        reach: &Reach,
        item: Told,
        mute: Option<Slot>,
        touched: &mut Vec<Slot>,
    ) -> (u32, bool) {
        let (mut heard, mut ended) = (0, SmallVec::<[(Slot, u32); 4]>::new());
        let Self { leaves, listeners, .. } = self;
        for id in &reach.leaves {
            for member in &mut leaves[id.0 as usize].plain.here {
                if mute == Some(member.slot) {
                    continue;
                }
                heard += 1;
                let hit = member.hit(item);
                if hit.is_last() {
                    ended.push((member.slot, member.subscription));
                }
                let hits = &mut listeners[member.slot.0 as usize].hits;
                if hits.is_empty() {
                    touched.push(member.slot);
                }
                hits.push(hit);
            }
        }
        let has_ended = !ended.is_empty();
        ended.into_iter().for_each(|(slot, subscription)| self.end(slot, subscription));
        (heard, has_ended)
    }

    /// Lets one member of each group hear an item: one of this hub, or one of another, which is handed to `elsewhere`.
    pub(crate) fn tell_groups(
        &mut self,
        reach: &Reach,
        item: Told,
        mute: Option<Slot>,
        touched: &mut Vec<Slot>,
        mut elsewhere: impl FnMut(Chosen),
    ) -> (u32, bool) {
        let (mut heard, mut has_ended) = (0, false);
        for group in &reach.groups {
            match self.choose(group, mute) {
                Some(Ok(at)) => {
                    heard += 1;
                    has_ended |= self.tell_member(group, at, item, touched);
                }
                Some(Err(hub)) => {
                    heard += 1;
                    elsewhere(Chosen { hub, group: group.name.clone() });
                }
                None => {}
            }
        }
        (heard, has_ended)
    }

    /// Lets one member of a group on this hub hear an item, or names the hub that has some, if this one has none any more.
    pub(crate) fn tell_group(
        &mut self,
        reach: &Reach,
        name: &[u8],
        item: Told,
        touched: &mut Vec<Slot>,
    ) -> (Option<HubId>, bool) {
        let Some(group) = reach.groups.iter().find(|group| *group.name == *name) else {
            return (None, false);
        };
        let rings = || group.leaves.iter().filter_map(|id| self.leaf(*id).ring(Some(name)));
        let here = rings().map(|ring| ring.here.len() as u64).sum::<u64>();
        if here == 0 {
            let elsewhere = rings().flat_map(|ring| &ring.elsewhere).map(|(hub, _)| *hub).next();
            return (elsewhere, false);
        }
        let mut n = self.random_below(here);
        for id in &group.leaves {
            let count = self.ring(*id, name).map_or(0, |ring| ring.here.len() as u64);
            if n < count {
                return (None, self.tell_member(group, (*id, n as usize), item, touched));
            }
            n -= count;
        }
        unreachable!("n is below the sum of the counts")
    }

    /// One of all members of a group: of this hub by leaf and place, or the hub that it is on. `mute` is passed over.
    fn choose(&mut self, group: &ReachedGroup, mute: Option<Slot>) -> Option<Result<(LeafId, usize), HubId>> {
        let from = self.random_below(group.members.max(1));
        for step in 0..group.members {
            let chosen = self.nth(group, (from + step) % group.members)?;
            match chosen {
                Ok((_, _, slot)) if mute == Some(slot) => {}
                Ok((leaf, at, _)) => return Some(Ok((leaf, at))),
                Err(hub) => return Some(Err(hub)),
            }
        }
        None
    }

    fn nth(&self, group: &ReachedGroup, mut n: u64) -> Option<Result<(LeafId, usize, Slot), HubId>> {
        for id in &group.leaves {
            let ring = self.ring(*id, &group.name)?;
            let here = ring.here.len() as u64;
            if n < here {
                return Some(Ok((*id, n as usize, ring.here[n as usize].slot)));
            }
            n -= here;
            for (hub, count) in &ring.elsewhere {
                if n < u64::from(*count) {
                    return Some(Err(*hub));
                }
                n -= u64::from(*count);
            }
        }
        None
    }

    fn ring(&self, leaf: LeafId, group: &[u8]) -> Option<&Ring> {
        self.leaf(leaf).ring(Some(group))
    }

    fn tell_member(
        &mut self,
        group: &ReachedGroup,
        (leaf, at): (LeafId, usize),
        item: Told,
        touched: &mut Vec<Slot>,
    ) -> bool {
        let member = &mut self.leaf_mut(leaf).ring_mut(Some(&group.name)).here[at];
        let (hit, slot) = (member.hit(item), member.slot);
        let hits = &mut self.listener_mut(slot).hits;
        if hits.is_empty() {
            touched.push(slot);
        }
        hits.push(hit);
        if hit.is_last() {
            self.end(slot, hit.subscription);
        }
        hit.is_last()
    }

    /// What a session is to be told of the batch at hand: appended to `into`.
    pub(crate) fn take_hits(&mut self, slot: Slot, into: &mut Vec<LiveHit>) -> SessionId {
        let Some(listener) = self.listeners.get_mut(slot.0 as usize) else { return SessionId::default() };
        into.append(&mut listener.hits);
        if listener.uncounted_at.is_none() {
            listener.uncounted_at = u32::try_from(self.uncounted.len()).ok();
            self.uncounted.push(slot);
        }
        listener.session
    }

    /// The subscription outside groups by which a session itself hears a subject.
    pub(crate) fn own_subscription(
        &mut self,
        slot: Slot,
        namespace: NamespaceId,
        subject: &[u8],
    ) -> Option<u32> {
        let reach = self.reach(namespace, subject);
        let members = reach.leaves.iter().flat_map(|id| &self.leaf(*id).plain.here);
        members.into_iter().find(|member| member.slot == slot).map(|member| member.subscription)
    }

    /// A number below `n`; splitmix64.
    fn random_below(&mut self, n: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let spread = u128::from(z ^ (z >> 31)) * u128::from(n);
        (spread >> 64) as u64
    }
}

impl Member {
    /// One more record for it.
    fn hit(&mut self, item: Told) -> LiveHit {
        self.hits += 1;
        self.bytes += item.bytes;
        LiveHit::new(self.subscription, item.number, self.hits == self.hits_max)
    }
}
