//! Subjects in the order of their names, by number: pages, with the records of each counted.
//!
//! Called by [`super::Subjects`], which knows names. What must hold: pages are never empty and at most [`CROWDED_MAX`] long, so that a new
//! subject moves at most 1 KB; a page keeps its number as long as it is there, so that a subject can name it; the fence of a page is above all
//! names before it and not above any in it, so that a search finds its page without a look at what lies elsewhere in memory. Cutting a page in two tells half of its subjects where they are now: a page that has become too long waits for that, so that
//! a thousand new subjects in a thousand full pages do not have to cut all of them in one turn (S7).

use std::collections::VecDeque;

/// Subjects in one page that need not be cut.
const PAGE_MAX: usize = 128;
/// Subjects in one page.
const CROWDED_MAX: usize = 2 * PAGE_MAX;
/// Subjects that come for each page that is cut.
const COME_FOR_CUT: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Order {
    pages: Vec<Page>,
    /// Pages that were given up.
    free: Vec<u32>,
    order: Vec<Fenced>,
    /// Pages that are too long, or were.
    crowded: VecDeque<u32>,
    /// Subjects that have come since one of them was cut.
    come: u32,
}

/// A page, and a name that stands between those before it and its own.
#[derive(Debug)]
struct Fenced {
    fence: Box<[u8]>,
    page: u32,
}

#[derive(Debug, Default)]
struct Page {
    ids: Vec<u32>,
    /// Of all subjects in it.
    records: u64,
}

/// A place in the order; of a moment, since changes move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    page: usize,
    n: usize,
}

impl Order {
    /// The first subject whose name is not `below`; those whose names are below come first.
    pub(super) fn seek<'n>(&self, name_of: impl Fn(u32) -> &'n [u8], below: impl Fn(&[u8]) -> bool) -> At {
        let above = self.order.partition_point(|page| below(&page.fence));
        let page = above.saturating_sub(1);
        let Some(ids) = self.ids(page) else { return At { page: 0, n: 0 } };
        let n = ids.partition_point(|id| below(name_of(*id)));
        self.norm(At { page, n })
    }

    /// The first one.
    pub(super) fn first(&self) -> Option<u32> {
        self.ids(0)?.first().copied()
    }

    /// Behind the last one.
    pub(super) fn end(&self) -> At {
        At { page: self.order.len(), n: 0 }
    }

    pub(super) fn get(&self, at: At) -> Option<u32> {
        self.ids(at.page)?.get(at.n).copied()
    }

    /// Subjects and their records between two places, and those at the edges: whole pages are summed up, of others each subject is told to
    /// `each`.
    pub(super) fn sum(&self, from: At, to: At, mut each: impl FnMut(u32)) -> (u64, u64) {
        let (mut subjects, mut records) = (0, 0);
        for page in from.page..=to.page {
            let Some(of) = self.page(page) else { break };
            let low = if page == from.page { from.n } else { 0 };
            let high = if page == to.page { to.n } else { of.ids.len() };
            if low == 0 && high == of.ids.len() {
                subjects += of.ids.len() as u64;
                records += of.records;
                continue;
            }
            of.ids[low.min(high)..high].iter().for_each(|id| each(*id));
        }
        (subjects, records)
    }

    /// Those from a place on, in order.
    pub(super) fn iter(&self, from: At) -> impl Iterator<Item = u32> + '_ {
        let first = self.ids(from.page).map(|ids| &ids[from.n..]);
        let others = self.order.iter().skip(from.page + 1).flat_map(|of| &self.pages[of.page as usize].ids);
        first.unwrap_or_default().iter().chain(others).copied()
    }

    /// Puts a subject without records in at a place that [`Self::seek`] found. Every subject that is now in another page, itself included,
    /// is told to `moved` with that page, which answers how many records it has.
    pub(super) fn insert<'n>(
        &mut self,
        at: At,
        id: u32,
        name_of: impl Fn(u32) -> &'n [u8],
        moved: impl Fn(u32, u32) -> u64,
    ) {
        // A place at the head of a page may as well be the end of the one before.
        let at = match at.n {
            0 if at.page > 0 => At { page: at.page - 1, n: self.ids(at.page - 1).map_or(0, Vec::len) },
            _ => at,
        };
        let Some(number) = self.order.get(at.page).map(|of| of.page) else {
            let number = self.begin();
            // Nothing comes before the first page.
            self.order.push(Fenced { fence: Box::default(), page: number });
            self.pages[number as usize].ids.push(id);
            moved(id, number);
            return;
        };
        let mut here = (number, at.n);
        let len = self.pages[number as usize].ids.len();
        // Names that grow fill pages to the brim; others leave them half full.
        let grows = len >= PAGE_MAX && at.n == len;
        if grows || len == CROWDED_MAX {
            let cut = if grows { len } else { len / 2 };
            // Where nothing is moved the new subject begins the page.
            let first = self.pages[number as usize].ids.get(cut).copied().unwrap_or(id);
            let other = self.split(at.page, cut, name_of(first), &moved);
            if at.n >= cut {
                here = (other, at.n - cut);
            }
        } else if len == PAGE_MAX {
            self.crowded.push_back(number);
        }
        let (page, n) = here;
        self.pages[page as usize].ids.insert(n, id);
        moved(id, page);
        self.come += 1;
    }

    /// The first subject of a page that is to be cut now.
    pub(super) fn crowded(&mut self) -> Option<u32> {
        while self.come >= COME_FOR_CUT {
            let Some(page) = self.crowded.pop_front() else { break };
            let ids = &self.pages[page as usize].ids;
            if ids.len() > PAGE_MAX {
                self.come = 0;
                return ids.first().copied();
            }
        }
        None
    }

    /// Cuts the page that begins with the subject at this place. Moved subjects are told as by [`Self::insert`].
    pub(super) fn cut<'n>(
        &mut self,
        at: At,
        name_of: impl Fn(u32) -> &'n [u8],
        moved: impl Fn(u32, u32) -> u64,
    ) {
        let Some(ids) = self.ids(at.page).filter(|ids| ids.len() > PAGE_MAX) else { return };
        let cut = ids.len() / 2;
        let fence = name_of(ids[cut]);
        self.split(at.page, cut, fence, moved);
    }

    /// Cuts a page in two; the new one is the number of the upper part.
    fn split(&mut self, page: usize, cut: usize, fence: &[u8], moved: impl Fn(u32, u32) -> u64) -> u32 {
        let other = self.begin();
        let lower = &mut self.pages[self.order[page].page as usize];
        let ids = lower.ids.split_off(cut);
        let records = ids.iter().map(|id| moved(*id, other)).sum();
        lower.records -= records;
        self.pages[other as usize] = Page { ids, records };
        self.order.insert(page + 1, Fenced { fence: fence.into(), page: other });
        other
    }

    /// Takes out the subject at a place.
    pub(super) fn remove(&mut self, at: At) {
        let Some(number) = self.order.get(at.page).map(|of| of.page) else { return };
        let page = &mut self.pages[number as usize];
        page.ids.remove(at.n);
        if page.ids.is_empty() {
            self.order.remove(at.page);
            self.pages[number as usize] = Page::default();
            self.free.push(number);
        }
    }

    /// A record has come to a page's subject, or gone.
    pub(super) fn counted(&mut self, page: u32, came: bool) {
        let records = &mut self.pages[page as usize].records;
        *records = if came { *records + 1 } else { *records - 1 };
    }

    fn page(&self, at: usize) -> Option<&Page> {
        Some(&self.pages[self.order.get(at)?.page as usize])
    }

    fn ids(&self, at: usize) -> Option<&Vec<u32>> {
        self.page(at).map(|page| &page.ids)
    }

    fn begin(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page::default());
            self.pages.len() as u32 - 1
        })
    }

    /// The same place, not behind the last one of a page.
    fn norm(&self, at: At) -> At {
        let len = self.ids(at.page).map_or(0, Vec::len);
        if at.n >= len && at.page < self.order.len() { At { page: at.page + 1, n: 0 } } else { at }
    }

    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.order.len()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| size_of::<Page>() + 4 * page.ids.capacity()).sum();
        let fences: usize = self.order.iter().map(|of| of.fence.len()).sum();
        pages + fences + size_of::<Fenced>() * self.order.capacity()
    }
}
