//! The keys of a compacted partition: for each the position of its last record.
//!
//! Called by [`super::compact`]. Sorted pages of 24-byte entries, so a key costs about 34 bytes. A page's memory *is* its snapshot form: a
//! page that did not change since the last snapshot is the same allocation, one that did is copied once before it changes. What must hold:
//! pages are sorted, never empty, and at most [`PAGE_ENTRIES_MAX`] long, so that a change moves at most 12 KB. Keys are hashes: bit 0 is
//! not part of them (it says "tombstone" in entries).

use bytes::{Bytes, BytesMut};
use stele_model::id::Position;

/// Bytes of one key: hash, position.
const ENTRY_BYTES: usize = 24;
/// Keys in one page.
const PAGE_ENTRIES_MAX: usize = 512;
/// Bit of a position: the record ends its key.
const TOMBSTONE: u64 = 1 << 63;

/// The last record of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Last {
    pub(crate) position: Position,
    /// It ends the key.
    pub(crate) tombstone: bool,
}

/// Keys by hash.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    /// The lowest hash that belongs here; 0 for the first page.
    from: u128,
    bytes: Bytes,
}

impl Keys {
    /// The last record of this key.
    pub(crate) fn get(&self, hash: u128) -> Option<Last> {
        let page = self.pages.get(self.page_of(hash)?)?;
        page.find(hash).ok().map(|n| page.entry(n).1)
    }

    /// Puts the last record of a key in place of the one before, which is returned.
    pub(crate) fn put(&mut self, hash: u128, last: Last) -> Option<Last> {
        let Some(at) = self.page_of(hash) else {
            let bytes = Bytes::copy_from_slice(&encode(hash, last));
            self.pages.push(Page { from: 0, bytes });
            return None;
        };
        let page = &mut self.pages[at];
        match page.find(hash) {
            Ok(n) => {
                let before = page.entry(n).1;
                page.change(|bytes| {
                    bytes[n * ENTRY_BYTES..(n + 1) * ENTRY_BYTES].copy_from_slice(&encode(hash, last))
                });
                Some(before)
            }
            Err(n) => {
                page.change(|bytes| {
                    let (from, end) = (n * ENTRY_BYTES, bytes.len());
                    bytes.extend_from_slice(&[0; ENTRY_BYTES]);
                    bytes.copy_within(from..end, from + ENTRY_BYTES);
                    bytes[from..from + ENTRY_BYTES].copy_from_slice(&encode(hash, last));
                });
                if page.len() > PAGE_ENTRIES_MAX {
                    self.split(at);
                }
                None
            }
        }
    }

    /// Forgets a key.
    pub(crate) fn remove(&mut self, hash: u128) {
        let Some(at) = self.page_of(hash) else { return };
        let page = &mut self.pages[at];
        let Ok(n) = page.find(hash) else { return };
        page.change(|bytes| {
            let end = bytes.len();
            bytes.copy_within((n + 1) * ENTRY_BYTES..end, n * ENTRY_BYTES);
            bytes.truncate(end - ENTRY_BYTES);
        });
        if page.len() == 0 {
            self.drop_page(at);
        }
    }

    /// All, by hash.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, Last)> + '_ {
        self.pages.iter().flat_map(|page| (0..page.len()).map(|n| page.entry(n)))
    }

    /// Forgets the keys of one page whose last record is below `start`: the page of `from` on. Returns where the next one begins; `None`:
    /// this was the last.
    pub(crate) fn sweep(&mut self, from: u128, start: Position) -> Option<u128> {
        let at = self.page_of(from)?;
        let page = &mut self.pages[at];
        let kept: Vec<u8> = (0..page.len())
            .map(|n| page.entry(n))
            .filter(|(_, last)| last.position >= start)
            .flat_map(|(hash, last)| encode(hash, last))
            .collect();
        let next = self.pages.get(at + 1).map(|next| next.from);
        if kept.is_empty() {
            self.drop_page(at);
        } else if let Some(page) = self.pages.get_mut(at).filter(|page| kept.len() < page.bytes.len()) {
            page.bytes = kept.into();
        }
        next
    }

    /// The pages for a snapshot. Those that have not changed since the last one are shared.
    pub(crate) fn pages(&self) -> impl ExactSizeIterator<Item = Bytes> + '_ {
        self.pages.iter().map(|page| page.bytes.clone())
    }

    /// Takes up a page of a snapshot behind the others.
    pub(crate) fn restore(&mut self, bytes: Bytes) -> Result<(), String> {
        let page = Page { from: 0, bytes };
        let last = self.pages.last().map(|last| last.entry(last.len() - 1).0);
        let whole = page.bytes.len().is_multiple_of(ENTRY_BYTES) && page.len() > 0;
        let sorted = whole && (1..page.len()).all(|n| page.entry(n - 1).0 < page.entry(n).0);
        if !sorted || last.is_some_and(|last| last >= page.entry(0).0) {
            return Err("a page of keys is out of order".to_owned());
        }
        let from = if last.is_some() { page.entry(0).0 } else { 0 };
        self.pages.push(Page { from, ..page });
        Ok(())
    }

    fn page_of(&self, hash: u128) -> Option<usize> {
        self.pages.partition_point(|page| page.from <= hash).checked_sub(1)
    }

    fn split(&mut self, at: usize) {
        let page = &mut self.pages[at];
        let half = page.len() / 2 * ENTRY_BYTES;
        let upper = Bytes::copy_from_slice(&page.bytes[half..]);
        page.bytes = Bytes::copy_from_slice(&page.bytes[..half]);
        let mut upper = Page { from: 0, bytes: upper };
        upper.from = upper.entry(0).0;
        self.pages.insert(at + 1, upper);
    }

    fn drop_page(&mut self, at: usize) {
        self.pages.remove(at);
        if let Some(first) = self.pages.first_mut() {
            first.from = 0;
        }
    }
}

impl Page {
    fn len(&self) -> usize {
        self.bytes.len() / ENTRY_BYTES
    }

    fn entry(&self, n: usize) -> (u128, Last) {
        let (hash, position) = self.bytes[n * ENTRY_BYTES..(n + 1) * ENTRY_BYTES].split_at(16);
        let hash = u128::from_le_bytes(hash.try_into().expect("sixteen bytes of a key's entry"));
        let position = u64::from_le_bytes(position.try_into().expect("eight bytes of a key's entry"));
        let last = Last { position: Position(position & !TOMBSTONE), tombstone: position & TOMBSTONE != 0 };
        (hash, last)
    }

    /// Where the key stands, or where it belongs.
    fn find(&self, hash: u128) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.entry(middle).0.cmp(&hash) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    /// Changes the bytes: in place, unless a snapshot shares them.
    fn change(&mut self, change: impl FnOnce(&mut BytesMut)) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        change(&mut bytes);
        self.bytes = bytes.freeze();
    }
}

fn encode(hash: u128, last: Last) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let position = last.position.0 | if last.tombstone { TOMBSTONE } else { 0 };
    entry[..16].copy_from_slice(&hash.to_le_bytes());
    entry[16..].copy_from_slice(&position.to_le_bytes());
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Spreads small numbers over the whole range.
    fn hash(n: u64) -> u128 {
        u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) & !1
    }

    fn last(position: u64) -> Last {
        Last { position: Position(position), tombstone: position.is_multiple_of(3) }
    }

    proptest! {
        #[test]
        fn keys_do_what_a_map_does(ops in prop::collection::vec((0..3000u64, any::<bool>()), 1..5000)) {
            let (mut keys, mut map, mut saved) = (Keys::default(), BTreeMap::new(), Vec::new());
            for (n, (key, keep)) in ops.iter().enumerate() {
                let hash = hash(*key);
                if *keep || n % 3 > 0 {
                    prop_assert_eq!(keys.put(hash, last(n as u64)), map.insert(hash, last(n as u64)));
                } else {
                    keys.remove(hash);
                    map.remove(&hash);
                }
                if n == 1000 {
                    saved = vec![(keys.pages().collect::<Vec<_>>(), map.clone())];
                }
            }
            prop_assert!(keys.iter().eq(map.iter().map(|(hash, last)| (*hash, *last))));
            prop_assert!(map.iter().all(|(hash, last)| keys.get(*hash) == Some(*last)));
            for (pages, map) in saved {
                let mut back = Keys::default();
                pages.into_iter().for_each(|page| back.restore(page).unwrap());
                prop_assert!(back.iter().eq(map), "what a snapshot shares does not change");
            }
            let start = Position(ops.len() as u64 / 2);
            let mut next = Some(0);
            while let Some(from) = next {
                next = keys.sweep(from, start);
            }
            map.retain(|_, last| last.position >= start);
            prop_assert!(keys.iter().eq(map));
        }
    }

    #[test]
    fn a_key_costs_at_most_forty_bytes() {
        let mut keys = Keys::default();
        (0..200_000).for_each(|n| {
            keys.put(hash(n), last(n));
        });
        let bytes: usize = keys
            .pages
            .iter()
            .map(|page| {
                page.bytes.clone().try_into_mut().map_or(page.bytes.len(), |own| own.capacity())
                    + size_of::<Page>()
            })
            .sum();
        assert!(bytes <= 200_000 * 40, "{bytes}");
    }
}
