//! A table of objects of which a snapshot is written step by step, while they change (S7).
//!
//! Called by [`crate::shard`] for whatever it has many of: queues, moves, groups, partitions, shared groups. Beginning a snapshot costs nothing:
//! from then on an object that is not yet written is written just before it changes for the first time, and kept until its turn comes. What
//! must hold: there is no way to change an object but through this table; so what a snapshot says is what was so when it began. An object
//! is written whole: what may become large in one is shared with the snapshot chunk by chunk, not copied, or keeps by itself, from then on,
//! what is written later ([`Shelved::freeze`]). Not here: what is written.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

/// What a [`Shelf`] holds.
pub(crate) trait Shelved {
    /// What it is found by.
    type Key: Ord + Clone + Debug;

    /// Writes what a snapshot says of it, if anything: to `out`, and to `chunks` what stands by itself.
    fn write(&self, key: &Self::Key, out: &mut Vec<u8>, chunks: &mut Vec<Bytes>);

    /// It was written, and is about to change: it has to keep as it is what was left out.
    fn freeze(&mut self) {}
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shelf<V: Shelved> {
    items: BTreeMap<V::Key, Box<V>>,
    frozen: Option<Frozen<V::Key>>,
}

/// A snapshot that is being written.
#[derive(Debug)]
struct Frozen<K> {
    /// Up to here all are written.
    written: Option<K>,
    /// Those behind it that have changed since the snapshot began, as they were; `None`: they were not there.
    kept: BTreeMap<K, Option<Piece>>,
}

/// An object as it was.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    chunks: Vec<Bytes>,
}

impl<V: Shelved> Default for Shelf<V> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), frozen: None }
    }
}

impl<K: Ord + Clone> Frozen<K> {
    /// An object is about to change, to come (`item` is `None`) or to go.
    #[cold]
    fn keep<V: Shelved<Key = K>>(&mut self, key: &K, item: Option<&mut V>) {
        if self.written.as_ref().is_some_and(|written| key <= written) {
            return;
        }
        if let Entry::Vacant(place) = self.kept.entry(key.clone()) {
            place.insert(item.map(|item| {
                let mut piece = Piece::default();
                item.write(key, &mut piece.bytes, &mut piece.chunks);
                item.freeze();
                piece
            }));
        }
    }
}

impl<V: Shelved> Shelf<V> {
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn contains_key(&self, key: &V::Key) -> bool {
        self.items.contains_key(key)
    }

    pub(crate) fn get(&self, key: &V::Key) -> Option<&V> {
        self.items.get(key).map(|item| &**item)
    }

    /// The object, to be changed.
    pub(crate) fn get_mut(&mut self, key: &V::Key) -> Option<&mut V> {
        let item = self.items.get_mut(key)?;
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(key, Some(&mut **item));
        }
        Some(item)
    }

    /// Puts in an object, in place of one that keeps nothing by itself.
    pub(crate) fn insert(&mut self, key: V::Key, item: Box<V>) {
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(&key, self.items.get_mut(&key).map(|item| &mut **item));
        }
        self.items.insert(key, item);
    }

    /// Takes out an object. It may still keep something for the snapshot.
    pub(crate) fn remove(&mut self, key: &V::Key) -> Option<Box<V>> {
        let mut item = self.items.remove(key)?;
        if let Some(frozen) = &mut self.frozen {
            frozen.keep(key, Some(&mut *item));
        }
        Some(item)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &V::Key> {
        self.items.keys()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.items.values().map(|item| &**item)
    }

    /// All, in the order of their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&V::Key, &V)> {
        self.items.iter().map(|(key, item)| (key, &**item))
    }

    /// Those with these keys, in order.
    pub(crate) fn range(&self, keys: impl RangeBounds<V::Key>) -> impl Iterator<Item = (&V::Key, &V)> {
        self.items.range(keys).map(|(key, item)| (key, &**item))
    }

    /// All, to be changed: not on a turn.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        if let Some(frozen) = &mut self.frozen {
            self.items.iter_mut().for_each(|(key, item)| frozen.keep(key, Some(&mut **item)));
        }
        self.items.values_mut().map(|item| &mut **item)
    }

    /// Begins a snapshot of all objects as they are now.
    pub(crate) fn freeze(&mut self) {
        self.frozen = Some(Frozen { written: None, kept: BTreeMap::new() });
    }

    /// Writes the next object of the snapshot, as it was when that began. `false`: there was none left, and the snapshot is over.
    pub(crate) fn write_next(&mut self, out: &mut Vec<u8>, chunks: &mut Vec<Bytes>) -> bool {
        let Some(frozen) = &mut self.frozen else { return false };
        let rest = frozen.written.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let here = self.items.range_mut((rest, Bound::Unbounded)).next();
        let kept = frozen.kept.first_key_value().map(|(key, _)| key);
        let Some(next) = here.as_ref().map(|(key, _)| *key).into_iter().chain(kept).min().cloned() else {
            self.frozen = None;
            return false;
        };
        match (frozen.kept.remove(&next), here) {
            (Some(Some(mut piece)), _) => {
                out.append(&mut piece.bytes);
                chunks.append(&mut piece.chunks);
            }
            (Some(None), _) | (None, None) => {}
            (None, Some((key, item))) => {
                item.write(key, out, chunks);
                item.freeze();
            }
        }
        frozen.written = Some(next);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Shelved for u8 {
        type Key = u16;

        /// Nothing is said of those below ten.
        fn write(&self, key: &u16, out: &mut Vec<u8>, chunks: &mut Vec<Bytes>) {
            if *self >= 10 {
                out.extend(key.to_le_bytes());
                out.push(*self);
                chunks.push(Bytes::from(vec![*self]));
            }
        }
    }

    fn whole(shelf: &BTreeMap<u16, u8>) -> (Vec<u8>, Vec<Bytes>) {
        let (mut out, mut chunks) = (Vec::new(), Vec::new());
        shelf.iter().for_each(|(key, item)| item.write(key, &mut out, &mut chunks));
        (out, chunks)
    }

    proptest! {
        #[test]
        fn a_snapshot_is_of_the_moment_it_began_whatever_changes_while_it_is_written(
            ops in prop::collection::vec((0..40u16, any::<u8>(), 0..5u8), 0..400),
            begins in 0..200usize,
        ) {
            let (mut shelf, mut model) = (Shelf::default(), BTreeMap::new());
            let (mut out, mut chunks, mut expected) = (Vec::new(), Vec::new(), None);
            for (n, (key, item, what)) in ops.into_iter().enumerate() {
                if n == begins {
                    shelf.freeze();
                    expected = Some(whole(&model));
                }
                match what {
                    0 => {
                        shelf.insert(key, Box::new(item));
                        model.insert(key, item);
                    }
                    1 => prop_assert_eq!(shelf.remove(&key).map(|item| *item), model.remove(&key)),
                    2 => {
                        shelf.write_next(&mut out, &mut chunks);
                    }
                    3 => {
                        shelf.values_mut().for_each(|item| *item = item.wrapping_add(1));
                        model.values_mut().for_each(|item| *item = item.wrapping_add(1));
                    }
                    _ => {
                        let (a, b) = (shelf.get_mut(&key), model.get_mut(&key));
                        prop_assert_eq!(a.is_some(), b.is_some());
                        a.into_iter().chain(b).for_each(|there| *there = item);
                    }
                }
            }
            while shelf.write_next(&mut out, &mut chunks) {}
            prop_assert_eq!((out, chunks), expected.unwrap_or_default());
            prop_assert!(shelf.iter().map(|(key, item)| (*key, *item)).eq(model));
        }
    }
}
