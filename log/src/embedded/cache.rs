//! Pages of segments that were read lately, for cold reads that walk through the log.
//!
//! A consumer that drains a backlog asks for ten records at a time, which stand in a part of one block: each fetch reads the same
//! pages again, or the next ones. The first read in a region reads what it needs and nothing else, so single records cost what they did; the
//! second one near it reads a whole chunk, and those that follow find theirs. Chunks leave in the order in which they came, unless
//! they were used when they were no longer new: a walk uses what it has just read, and does not push out what others come back to. Only pages that no write can change any more are kept, by the
//! number of their segment, which is never used again. What is here is checked like what comes from disk.

use crate::embedded::lock;
use crate::format::page::{PAGE_BYTES, Page};
use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Pages of a chunk: 128 KB, what may be read in one piece beside commits.
pub(crate) const CHUNK_PAGES: u32 = 32;
/// Regions in which one read was made, and a second one would be the begin of a walk.
const REGIONS_MAX: usize = 32;

/// A chunk: the segment's number, and which of its chunks.
type Key = (u64, u32);

/// The cache of one log, shared by its readers.
#[derive(Debug)]
pub(crate) struct Cache {
    chunks_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    chunks: HashMap<Key, Chunk>,
    /// Chunks that ever came.
    came: u64,
    /// Of how many chunks a chunk is new.
    young: u64,
    /// In the order in which they came, or were let stay.
    order: VecDeque<Key>,
    regions: HashSet<Key>,
    regions_order: VecDeque<Key>,
}

#[derive(Debug)]
struct Chunk {
    pages: Arc<[Page]>,
    /// How many chunks had come before.
    born: u64,
    /// It was used when it was no longer new.
    used: bool,
}

/// What to do for a read.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Here it is.
    Held(Vec<Page>),
    /// Read these pages, whole chunks, and hand them to [`Cache::keep`].
    Walk(Range<u32>),
    /// Read what is needed.
    Single,
}

impl Cache {
    /// A cache of so many bytes; with less than a chunk there is none.
    pub(crate) fn new(bytes_max: u64) -> Self {
        let chunk = u64::from(CHUNK_PAGES) * PAGE_BYTES as u64;
        let chunks_max = usize::try_from(bytes_max / chunk).unwrap_or(usize::MAX);
        let state = State { young: chunks_max as u64 / 4, ..State::default() };
        Self { chunks_max, state: Mutex::new(state) }
    }

    /// How to read `pages` of a segment of which the first `settled` pages do not change any more.
    pub(crate) fn plan(&self, segment: u64, pages: &Range<u32>, settled: u32) -> Plan {
        let chunks = pages.start / CHUNK_PAGES..pages.end.div_ceil(CHUNK_PAGES);
        let whole = chunks.end * CHUNK_PAGES <= settled;
        if pages.is_empty() || !whole || chunks.len() > self.chunks_max {
            return Plan::Single;
        }
        let mut state = lock(&self.state);
        let missing = |chunk: &u32| !state.chunks.contains_key(&(segment, *chunk));
        let Some(first) = chunks.clone().find(missing) else { return Plan::Held(state.cut(segment, pages)) };
        let last = chunks.clone().rev().find(missing).unwrap_or(first);
        let known = |chunk: u32| {
            state.regions.contains(&(segment, chunk)) || state.chunks.contains_key(&(segment, chunk))
        };
        if known(chunks.start) || chunks.start.checked_sub(1).is_some_and(known) {
            return Plan::Walk(first * CHUNK_PAGES..(last + 1) * CHUNK_PAGES);
        }
        Plan::Single
    }

    /// A record was read somewhere in these pages: a second one near it would be the begin of a walk.
    pub(crate) fn note(&self, segment: u64, pages: &Range<u32>) {
        if self.chunks_max > 0 && !pages.is_empty() {
            let mut state = lock(&self.state);
            state.note((segment, pages.start / CHUNK_PAGES));
            state.note((segment, (pages.end - 1) / CHUNK_PAGES));
        }
    }

    /// Keeps chunks that were read, from page `from` on.
    pub(crate) fn keep(&self, segment: u64, from: u32, pages: &[Page]) {
        let mut state = lock(&self.state);
        for (i, chunk) in pages.chunks_exact(CHUNK_PAGES as usize).enumerate() {
            let key = (segment, from / CHUNK_PAGES + u32::try_from(i).unwrap_or(u32::MAX));
            if state.chunks.contains_key(&key) {
                continue;
            }
            // Before it comes: else it would be the only one that was not used yet.
            while state.chunks.len() >= self.chunks_max {
                state.evict();
            }
            state.came += 1;
            let born = state.came;
            state.chunks.insert(key, Chunk { pages: chunk.into(), born, used: false });
            state.order.push_back(key);
        }
    }
}

impl State {
    /// Cuts pages out of chunks that are all here.
    fn cut(&mut self, segment: u64, pages: &Range<u32>) -> Vec<Page> {
        let mut out = Vec::with_capacity(pages.len());
        let mut page = pages.start;
        while page < pages.end {
            let index = page / CHUNK_PAGES;
            let end = pages.end.min((index + 1) * CHUNK_PAGES);
            let chunk = self.chunks.get_mut(&(segment, index)).expect("was looked up under this lock");
            chunk.used |= self.came - chunk.born >= self.young;
            let at = |page: u32| (page - index * CHUNK_PAGES) as usize;
            out.extend_from_slice(&chunk.pages[at(page)..at(end - 1) + 1]);
            page = end;
        }
        out
    }

    fn note(&mut self, region: Key) {
        if !self.regions.insert(region) {
            return;
        }
        self.regions_order.push_back(region);
        if self.regions_order.len() > REGIONS_MAX
            && let Some(oldest) = self.regions_order.pop_front()
        {
            self.regions.remove(&oldest);
        }
    }

    /// Lets one chunk go; those that were used since they came have one more turn.
    fn evict(&mut self) {
        while let Some(key) = self.order.pop_front() {
            let Some(chunk) = self.chunks.get_mut(&key) else { continue };
            if !std::mem::take(&mut chunk.used) {
                self.chunks.remove(&key);
                return;
            }
            self.order.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK_BYTES: u64 = CHUNK_PAGES as u64 * PAGE_BYTES as u64;

    fn filled(page: u32) -> Page {
        let mut filled = Page::ZERO;
        filled.bytes_mut()[..4].copy_from_slice(&page.to_le_bytes());
        filled
    }

    fn file(pages: Range<u32>) -> Vec<Page> {
        pages.map(filled).collect()
    }

    /// Reads through the cache; pages that came from disk.
    fn read(cache: &Cache, segment: u64, pages: Range<u32>) -> u32 {
        let from_disk = match cache.plan(segment, &pages, 10_000) {
            Plan::Held(held) => {
                assert!(
                    held.iter().zip(pages.clone()).all(|(held, page)| held.bytes() == filled(page).bytes())
                );
                0
            }
            Plan::Walk(range) => {
                cache.keep(segment, range.start, &file(range.clone()));
                assert!(matches!(cache.plan(segment, &pages, 10_000), Plan::Held(_)));
                range.end - range.start
            }
            Plan::Single => pages.end - pages.start,
        };
        cache.note(segment, &pages);
        from_disk
    }

    #[test]
    fn a_walk_reads_every_chunk_once_and_single_reads_read_what_they_need() {
        let cache = Cache::new(8 * CHUNK_BYTES);
        let walked: u32 = (0..3_000).step_by(3).map(|page| read(&cache, 1, page..page + 5)).sum();
        assert!((3_000..3_000 + 2 * CHUNK_PAGES).contains(&walked), "{walked}");
        let single: u32 = (0..100).map(|i| read(&cache, 2, i * 97..i * 97 + 2)).sum();
        assert_eq!(single, 200);
    }

    #[test]
    fn what_is_used_stays_while_others_walk_by_and_the_bound_holds() {
        let cache = Cache::new(8 * CHUNK_BYTES);
        assert!(read(&cache, 1, 0..1) + read(&cache, 1, 1..2) > 0);
        let mut again = 0;
        for page in (0..6_000).step_by(8) {
            read(&cache, 2, page..page + 8);
            again += read(&cache, 1, 5..9);
        }
        assert_eq!(again, 0);
        assert!(lock(&cache.state).chunks.len() <= 8 && lock(&cache.state).order.len() <= 8);
    }

    #[test]
    fn pages_that_may_still_be_written_are_not_kept() {
        let cache = Cache::new(8 * CHUNK_BYTES);
        for _ in 0..3 {
            assert!(matches!(cache.plan(1, &(0..1), CHUNK_PAGES - 1), Plan::Single));
        }
        assert!(matches!(cache.plan(1, &(0..1), CHUNK_PAGES), Plan::Single), "the first read in the region");
        cache.note(1, &(0..1));
        assert!(matches!(cache.plan(1, &(0..1), CHUNK_PAGES), Plan::Walk(_)));
        assert!(matches!(Cache::new(0).plan(1, &(0..1), CHUNK_PAGES), Plan::Single));
    }
}
