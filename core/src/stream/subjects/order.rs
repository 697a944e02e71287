//! Subjects in the order of their names, by number: pages, with the records of each counted.
//!
//! Called by [`super::Subjects`], which knows names and tells how a page compares. What must hold: pages are never empty and at most
//! [`CROWDED_MAX`] long, so that a new subject moves at most 4 KB; a page keeps its number as long as it is there, so that a subject can name
//! it. Cutting a page in two tells half of its subjects where they are now: a page that has become too long waits for that, so that
//! a thousand new subjects in a thousand full pages do not have to cut all of them in one turn (S7).

use std::collections::VecDeque;

/// Subjects in one page that need not be cut.
const PAGE_MAX: usize = 512;
/// Subjects in one page.
const CROWDED_MAX: usize = 2 * PAGE_MAX;
/// Subjects that come for each page that is cut.
const COME_FOR_CUT: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Order {
    pages: Vec<Page>,
    /// Pages that were given up.
    free: Vec<u32>,
    order: Vec<u32>,
    /// Pages that are too long, or were.
    crowded: VecDeque<u32>,
    /// Subjects that have come since one of them was cut.
    come: u32,
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
    /// The first subject that is not `below`; the subjects that are below come first.
    pub(super) fn seek(&self, mut below: impl FnMut(u32) -> bool) -> At {
        let first = |page: &u32| self.pages[*page as usize].ids[0];
        let above = self.order.partition_point(|page| below(first(page)));
        let page = above.saturating_sub(1);
        let Some(number) = self.order.get(page) else { return At { page: 0, n: 0 } };
        let n = self.pages[*number as usize].ids.partition_point(|id| below(*id));
        self.norm(At { page, n })
    }

    /// Behind the last one.
    pub(super) fn end(&self) -> At {
        At { page: self.order.len(), n: 0 }
    }

    pub(super) fn get(&self, at: At) -> Option<u32> {
        self.pages[*self.order.get(at.page)? as usize].ids.get(at.n).copied()
    }

    /// Subjects and their records between two places, and those at the edges: whole pages are summed up, of others each subject is told to
    /// `each`.
    pub(super) fn sum(&self, from: At, to: At, mut each: impl FnMut(u32)) -> (u64, u64) {
        let (mut subjects, mut records) = (0, 0);
        for page in from.page..=to.page {
            let Some(number) = self.order.get(page) else { break };
            let of = &self.pages[*number as usize];
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
        let first = self.order.get(from.page).map(|page| &self.pages[*page as usize].ids[from.n..]);
        let others = self.order.iter().skip(from.page + 1).flat_map(|page| &self.pages[*page as usize].ids);
        first.unwrap_or_default().iter().chain(others).copied()
    }

    /// Puts a subject without records in at a place that [`Self::seek`] found. Every subject that is now in another page, itself included,
    /// is told to `moved` with that page, which answers how many records it has.
    pub(super) fn insert(&mut self, at: At, id: u32, mut moved: impl FnMut(u32, u32) -> u64) {
        // A place at the head of a page may as well be the end of the one before.
        let at = match at.n {
            0 if at.page > 0 => {
                At { page: at.page - 1, n: self.pages[self.order[at.page - 1] as usize].ids.len() }
            }
            _ => at,
        };
        let Some(number) = self.order.get(at.page).copied() else {
            let number = self.begin();
            self.order.push(number);
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
            let other = self.split(at.page, cut, &mut moved);
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
    pub(super) fn cut(&mut self, at: At, moved: impl FnMut(u32, u32) -> u64) {
        let len = self.order.get(at.page).map_or(0, |number| self.pages[*number as usize].ids.len());
        if len > PAGE_MAX {
            self.split(at.page, len / 2, moved);
        }
    }

    /// Cuts a page in two; the new one is the number of the upper part.
    fn split(&mut self, page: usize, cut: usize, mut moved: impl FnMut(u32, u32) -> u64) -> u32 {
        let other = self.begin();
        let lower = &mut self.pages[self.order[page] as usize];
        let ids = lower.ids.split_off(cut);
        let records = ids.iter().map(|id| moved(*id, other)).sum();
        lower.records -= records;
        self.pages[other as usize] = Page { ids, records };
        self.order.insert(page + 1, other);
        other
    }

    /// Takes out the subject at a place.
    pub(super) fn remove(&mut self, at: At) {
        let Some(number) = self.order.get(at.page).copied() else { return };
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

    fn begin(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page::default());
            self.pages.len() as u32 - 1
        })
    }

    /// The same place, not behind the last one of a page.
    fn norm(&self, at: At) -> At {
        let len = self.order.get(at.page).map_or(0, |page| self.pages[*page as usize].ids.len());
        if at.n >= len && at.page < self.order.len() { At { page: at.page + 1, n: 0 } } else { at }
    }

    #[cfg(test)]
    pub(super) fn pages(&self) -> usize {
        self.order.len()
    }

    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let pages: usize = self.pages.iter().map(|page| size_of::<Page>() + 4 * page.ids.capacity()).sum();
        pages + 4 * self.order.capacity()
    }
}
