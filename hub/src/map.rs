//! A persistent map: a clone costs one counter, and a change copies the path to what changed and shares the rest (S11).
//!
//! A hash trie of 32-way nodes behind `Arc`. Used by the registry for everything that is part of a snapshot. What must hold:
//! keys and values are cheap to clone (ids, `Arc`, `Bytes`), since a path copy clones the entries of the nodes it passes.
//! `Arc::make_mut` is the whole trick: a node that no snapshot holds is changed in place, so replay copies nothing. A crate was
//! considered (`imbl`, `rpds`); both are under another licence than ours, and this is a page.
//!
//! The order of iteration depends on hashes and on nothing else but the last level's history: sort before you show it.

use foldhash::fast::FixedState;
use smallvec::SmallVec;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

const LEVEL_BITS: u32 = 5;
const HASH_BITS: u32 = 64;

/// See the module.
#[derive(Clone)]
pub struct Map<K, V> {
    root: Option<Arc<Node<K, V>>>,
    len: usize,
}

/// Up to 32 slots, of which `bits` says which are there. Below the last bit of the hash all slots are entries, in a plain list.
#[derive(Clone)]
struct Node<K, V> {
    bits: u32,
    slots: Vec<Slot<K, V>>,
}

#[derive(Clone)]
enum Slot<K, V> {
    Entry(K, V),
    Branch(Arc<Node<K, V>>),
}

impl<K, V> Default for Map<K, V> {
    fn default() -> Self {
        Self { root: None, len: 0 }
    }
}

impl<K, V> Map<K, V> {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in no order that means anything.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { path: self.root.iter().map(|root| root.slots.iter()).collect() }
    }

    /// All entries as they are now, whatever becomes of the map: nothing is copied before it changes. In the order of [`Self::iter`].
    #[must_use]
    pub fn cursor(&self) -> Cursor<K, V> {
        Cursor { path: self.root.iter().map(|root| (Arc::clone(root), 0)).collect() }
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Map<K, V> {
    /// The value of `key`.
    #[must_use]
    pub fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_ref()?;
        let hash = hash_of(key);
        let mut level = 0;
        loop {
            match node.slots.get(node.slot(hash, level, key)?)? {
                Slot::Entry(found, value) => return (found.borrow() == key).then_some(value),
                Slot::Branch(below) => node = below,
            }
            level += LEVEL_BITS;
        }
    }

    /// Whether `key` is there.
    #[must_use]
    pub fn contains<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// The value of `key`, to be changed: its path is copied if it is shared.
    pub fn get_mut<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if !self.contains(key) {
            return None; // nothing is copied for nothing
        }
        let hash = hash_of(key);
        let mut node = Arc::make_mut(self.root.as_mut()?);
        let mut level = 0;
        loop {
            let slot = node.slot(hash, level, key)?;
            match node.slots.get_mut(slot)? {
                Slot::Entry(_, value) => return Some(value),
                Slot::Branch(below) => node = Arc::make_mut(below),
            }
            level += LEVEL_BITS;
        }
    }

    /// Puts `value` in; returns what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = hash_of(&key);
        let root = self.root.get_or_insert_with(|| Arc::new(Node { bits: 0, slots: Vec::new() }));
        let before = Arc::make_mut(root).insert(hash, 0, key, value);
        self.len += usize::from(before.is_none());
        before
    }

    /// Takes `key` out; returns what was there.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains(key) {
            return None;
        }
        let root = self.root.as_mut()?;
        let removed = Arc::make_mut(root).remove(hash_of(key), 0, key);
        self.len -= usize::from(removed.is_some());
        if self.len == 0 {
            self.root = None;
        }
        removed
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Node<K, V> {
    /// Index of the slot where `key` would be, if that slot is there.
    fn slot<Q: Hash + Eq + ?Sized>(&self, hash: u64, level: u32, key: &Q) -> Option<usize>
    where
        K: Borrow<Q>,
    {
        if level >= HASH_BITS {
            let is_key = |slot: &Slot<K, V>| matches!(slot, Slot::Entry(found, _) if found.borrow() == key);
            return self.slots.iter().position(is_key);
        }
        let bit = bit(hash, level);
        (self.bits & bit != 0).then(|| self.index(bit))
    }

    fn index(&self, bit: u32) -> usize {
        (self.bits & (bit - 1)).count_ones() as usize
    }

    fn insert(&mut self, hash: u64, level: u32, key: K, value: V) -> Option<V> {
        let Some(at) = self.slot(hash, level, &key) else {
            let at = if level >= HASH_BITS {
                self.slots.len()
            } else {
                let bit = bit(hash, level);
                self.bits |= bit;
                self.index(bit)
            };
            self.slots.insert(at, Slot::Entry(key, value));
            return None;
        };
        match &mut self.slots[at] {
            Slot::Branch(below) => Arc::make_mut(below).insert(hash, level + LEVEL_BITS, key, value),
            Slot::Entry(found, there) if *found == key => Some(std::mem::replace(there, value)),
            slot @ Slot::Entry(..) => {
                let empty = Slot::Branch(Arc::new(Node { bits: 0, slots: Vec::with_capacity(2) }));
                let Slot::Entry(other, its) = std::mem::replace(slot, empty) else { return None };
                let Slot::Branch(below) = slot else { return None };
                let below = Arc::make_mut(below);
                below.insert(hash_of(&other), level + LEVEL_BITS, other, its);
                below.insert(hash, level + LEVEL_BITS, key, value)
            }
        }
    }

    fn remove<Q: Hash + Eq + ?Sized>(&mut self, hash: u64, level: u32, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.slot(hash, level, key)?;
        if let Slot::Branch(below) = &mut self.slots[at] {
            let below = Arc::make_mut(below);
            let removed = below.remove(hash, level + LEVEL_BITS, key);
            // A branch with one entry left becomes that entry, so that the shape does not remember what is gone.
            if let [Slot::Entry(..)] = below.slots[..]
                && let Some(last) = below.slots.pop()
            {
                self.slots[at] = last;
            }
            return removed;
        }
        if level < HASH_BITS {
            self.bits &= !bit(hash, level);
        }
        match self.slots.remove(at) {
            Slot::Entry(_, value) => Some(value),
            Slot::Branch(_) => None,
        }
    }
}

fn hash_of<Q: Hash + ?Sized>(key: &Q) -> u64 {
    FixedState::default().hash_one(key)
}

fn bit(hash: u64, level: u32) -> u32 {
    1 << ((hash >> level) & 31)
}

/// Iterator over a [`Map`].
pub struct Iter<'a, K, V> {
    path: SmallVec<[std::slice::Iter<'a, Slot<K, V>>; 8]>,
}

impl<'a, K, V> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.path.last_mut()?.next() {
                Some(Slot::Entry(key, value)) => return Some((key, value)),
                Some(Slot::Branch(below)) => self.path.push(below.slots.iter()),
                None => {
                    self.path.pop();
                }
            }
        }
    }
}

/// Iterator that owns what it goes through; see [`Map::cursor`].
pub struct Cursor<K, V> {
    /// Each node on the way down.
    path: SmallVec<[Held<K, V>; 8]>,
}

/// A node, and the slot to look at next.
type Held<K, V> = (Arc<Node<K, V>>, usize);

impl<K: Clone, V: Clone> Iterator for Cursor<K, V> {
    type Item = (K, V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, at) = self.path.last_mut()?;
            let slot = node.slots.get(*at).cloned();
            *at += 1;
            match slot {
                Some(Slot::Entry(key, value)) => return Some((key, value)),
                Some(Slot::Branch(below)) => self.path.push((below, 0)),
                None => {
                    self.path.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn contents(map: &Map<u16, u32>) -> BTreeMap<u16, u32> {
        map.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        #[test]
        fn it_does_what_a_tree_map_does_and_old_clones_stay_as_they_were(
            steps in prop::collection::vec((any::<u16>().prop_map(|key| key % 700), any::<Option<u32>>()), 0..2000),
        ) {
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let mut kept = Vec::new();
            for (step, (key, value)) in steps.into_iter().enumerate() {
                match value {
                    Some(value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                    None => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                if let (Some(a), Some(b)) = (map.get_mut(&key), model.get_mut(&key)) {
                    *a ^= 1;
                    *b ^= 1;
                }
                if step % 256 == 0 {
                    kept.push((map.clone(), map.cursor(), model.clone()));
                }
            }
            kept.push((map.clone(), map.cursor(), model));
            for (map, cursor, model) in kept {
                prop_assert!(cursor.eq(map.iter().map(|(key, value)| (*key, *value))));
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(contents(&map), model);
            }
        }
    }

    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Same(u32);

    impl Hash for Same {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            7_u8.hash(state);
        }
    }

    #[test]
    fn keys_of_one_hash_live_side_by_side() {
        let mut map = Map::default();
        (0..40).for_each(|n| assert_eq!(map.insert(Same(n), n), None));
        assert_eq!(map.insert(Same(3), 33), Some(3));
        (0..40).for_each(|n| assert_eq!(map.get(&Same(n)), Some(&if n == 3 { 33 } else { n })));
        (0..39).for_each(|n| assert!(map.remove(&Same(n)).is_some()));
        assert_eq!(map.iter().count(), 1);
        assert_eq!(map.remove(&Same(39)), Some(39));
        assert!(map.is_empty());
    }
}
