//! Counting the records that match filters, and finding the last of each subject, some subjects at a time.
//!
//! Called for shared groups. Both may have to look at every subject, and there may be millions (S7): so a [`Walk`] remembers how far it has
//! come, and a [`Tally`] once made is kept right as records go, and goes on with those that have come when it is asked again. Attached
//! state. What must hold: a complete tally is what counting anew would give. Bounds: each call looks at no more than the turn has left.

use super::Partition;
use super::by_subject::SCAN_MAX;
use super::subjects::Subjects;
use bytes::Bytes;
use std::ops::{ControlFlow, Range};
use stele_model::id::Position;
use stele_model::subject::Pattern;

/// Looks that one turn has.
pub(crate) const LOOKS: usize = 4096;
/// What a count without a walk is charged for, looks.
const AT_ONCE: usize = LOOKS / 4;
/// Records behind a tally, for each subject there is, above which it is made anew.
const STALE: u64 = 4;

/// How far all subjects that match some filters were seen: those of one filter after the other, in the order of names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Walk {
    /// All of the filters before this one were.
    filter: usize,
    /// Of this one, all up to this name.
    seen: Option<Bytes>,
}

/// How far the search for the last record that matches has come.
#[derive(Debug, Default)]
pub(crate) struct LastSearch {
    walk: Walk,
    /// The last one below this is known, once the walk has seen all. `None`: nothing was looked at yet.
    until: Option<Position>,
    has_walked: bool,
    last: Option<Position>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tally {
    filters: Vec<Pattern>,
    /// Records below are not counted…
    from: Position,
    /// … nor those from here on. Never below `from`; beyond the partition's end, if that is.
    until: Position,
    /// Only subjects that it has seen are counted; `None`: all are.
    walk: Option<Walk>,
    count: u64,
}

/// Looks that a comparison with filters costs.
fn price(filters: &[Pattern]) -> usize {
    1 + filters.len() / 8
}

/// Which of the filters a subject is seen with.
fn first_match(filters: &[Pattern], name: &[u8]) -> Option<usize> {
    filters.iter().position(|filter| filter.matches(name))
}

impl Walk {
    /// Hands subjects that match to `each`, once each, as far as the looks go. `true`: it has seen all.
    pub(crate) fn go_on(
        &mut self,
        subjects: &Subjects,
        filters: &[Pattern],
        looks: &mut usize,
        mut each: impl FnMut(u32),
    ) -> bool {
        while let Some(filter) = filters.get(self.filter) {
            let mut last = None;
            let stopped = subjects.walk_behind(filter, self.seen.as_deref(), |id, matches| {
                if *looks == 0 {
                    return ControlFlow::Break(());
                }
                let before = &filters[..self.filter];
                *looks = looks.saturating_sub(price(before));
                last = Some(id);
                if matches && first_match(before, subjects.name(id)).is_none() {
                    each(id);
                }
                ControlFlow::Continue(())
            });
            self.seen = last.map(|id| Bytes::copy_from_slice(subjects.name(id))).or(self.seen.take());
            if stopped.is_some() {
                return false;
            }
            (self.filter, self.seen) = (self.filter + 1, None);
        }
        true
    }

    fn has_seen(&self, filters: &[Pattern], name: &[u8]) -> bool {
        first_match(filters, name).is_some_and(|at| {
            at < self.filter || at == self.filter && self.seen.as_deref().is_some_and(|seen| name <= seen)
        })
    }
}

impl Tally {
    /// A record is about to go.
    pub(super) fn goes(&mut self, position: Position, name: &[u8]) {
        if position < self.from || position >= self.until {
            return;
        }
        let counted = match &self.walk {
            Some(walk) => walk.has_seen(&self.filters, name),
            None => first_match(&self.filters, name).is_some(),
        };
        self.count -= u64::from(counted);
    }

    fn is_complete(&self, end: Position) -> bool {
        self.walk.is_none() && self.until >= end
    }

    /// Records up to this one have gone, and were not told.
    pub(super) fn is_above(&self, start: Position) -> bool {
        self.from >= start
    }
}

impl Partition {
    /// How many records from `from` on match, for group `of`, if it is known now: by what was last counted for it, where counting may look
    /// at many.
    pub(crate) fn counted(&self, of: u64, filters: &[Pattern], from: Position) -> Option<u64> {
        if self.records.is_none() || filters.is_empty() {
            return self.pending_at_once(filters, from);
        }
        let tally = self.tallies.get(&of)?;
        tally.is_complete(self.end).then_some(tally.count)
    }

    /// Counts for group `of` as far as the looks go. `true`: [`Self::counted`] knows it.
    pub(crate) fn count_on(
        &mut self,
        of: u64,
        filters: &[Pattern],
        from: Position,
        looks: &mut usize,
    ) -> bool {
        if self.counted(of, filters, from).is_some() {
            return true;
        }
        if *looks == 0 {
            return false;
        }
        let stale = |tally: &Tally| {
            let behind = self.index.count_from(tally.until);
            let subjects = self.records.as_ref().map_or(0, |records| records.subjects.count() as u64);
            tally.walk.is_none() && behind > (STALE * subjects).max(SCAN_MAX as u64)
        };
        let tally = self.tallies.remove(&of).filter(|tally| !stale(tally));
        let mut tally = tally.unwrap_or_else(|| {
            *looks = looks.saturating_sub(AT_ONCE);
            self.begin_tally(filters, from)
        });
        self.go_on(&mut tally, looks);
        let known = tally.is_complete(self.end);
        self.tallies.insert(of, tally);
        known
    }

    /// So many records from `from` on are left for group `of`, which has been given others.
    pub(crate) fn left_over(&mut self, of: u64, from: Position, count: u64) {
        if let Some(tally) = self.tallies.get_mut(&of) {
            (tally.from, tally.count) = (from, count);
        }
    }

    /// Group `of` is gone, or wants others.
    pub(crate) fn forget_count(&mut self, of: u64) {
        self.tallies.remove(&of);
    }

    fn begin_tally(&self, filters: &[Pattern], from: Position) -> Tally {
        let count = self.pending_at_once(filters, from);
        let walk = count.is_none().then(Walk::default);
        let until = self.end.max(from);
        Tally { filters: filters.to_vec(), from, until, walk, count: count.unwrap_or(0) }
    }

    fn go_on(&self, tally: &mut Tally, looks: &mut usize) {
        let Some(records) = &self.records else { return };
        let Tally { filters, from, until, walk, count } = tally;
        if let Some(on) = walk {
            let over = on.go_on(&records.subjects, filters, looks, |id| {
                let positions = records.subjects.positions(id);
                *count += positions.count_from(*from) - positions.count_from(*until);
            });
            if !over {
                return;
            }
            *walk = None;
        }
        for record in self.index.from(*until) {
            if *looks == 0 {
                *until = record.first;
                return;
            }
            *looks = looks.saturating_sub(price(filters));
            *count += u64::from(self.fits(filters, &record));
        }
        *until = self.end.max(*until);
    }

    /// Goes on to look for the last record below `end` that matches. `true`: `last` is it, if there is one.
    pub(crate) fn last_on(
        &self,
        filters: &[Pattern],
        end: Position,
        walk: &mut Walk,
        looks: &mut usize,
        last: &mut Option<Position>,
    ) -> bool {
        let Some(records) = &self.records else { return true };
        walk.go_on(&records.subjects, filters, looks, |id| {
            *last = (*last).max(records.subjects.positions(id).before(end));
        })
    }

    /// Goes on to look for the last record that matches. `Some`: it is this one, if there is one; what has come since it began counts.
    pub(crate) fn search_last(
        &self,
        filters: &[Pattern],
        of: &mut LastSearch,
        looks: &mut usize,
    ) -> Option<Option<Position>> {
        let subjects = self.records.as_ref().map_or(0, |records| records.subjects.count());
        let at_once = AT_ONCE.min(1 + subjects);
        let until = match of.until {
            Some(until) => until,
            None if *looks < at_once => return None,
            None => {
                *looks -= at_once;
                if let Some(last) = self.last_at_once(filters) {
                    return Some(last);
                }
                self.end
            }
        };
        of.until = Some(until);
        of.has_walked = of.has_walked || self.last_on(filters, until, &mut of.walk, looks, &mut of.last);
        if !of.has_walked {
            return None;
        }
        for record in self.index.from(until) {
            if *looks == 0 {
                of.until = Some(record.first);
                return None;
            }
            *looks = looks.saturating_sub(price(filters));
            of.last = if self.fits(filters, &record) { Some(record.first) } else { of.last };
        }
        of.until = Some(self.end);
        let is_there = |last: Position| last >= self.start && self.index.get(last).is_some();
        if of.last.is_some_and(|last| !is_there(last)) {
            // It has gone meanwhile, and nothing that matches has come: the one before it is looked for from the beginning.
            *of = LastSearch::default();
            return None;
        }
        Some(of.last)
    }

    /// Goes on to hand the last record below the end of `range` of each subject that matches to `each`, if it is in there, with the subject's
    /// number. `true`: these are all.
    pub(crate) fn lasts_on(
        &self,
        filters: &[Pattern],
        range: Range<Position>,
        walk: &mut Walk,
        looks: &mut usize,
        mut each: impl FnMut(u32, Position),
    ) -> bool {
        let from = range.start.max(self.start);
        let Some(records) = &self.records else {
            let lasts = self.lasts(filters, range.end, usize::MAX).into_iter().filter(|last| *last >= from);
            lasts.for_each(|last| each(0, last));
            return true;
        };
        let everything = [Pattern::everything()];
        let filters = if filters.is_empty() { &everything } else { filters };
        walk.go_on(&records.subjects, filters, looks, |id| {
            let last = records.subjects.positions(id).before(range.end).filter(|last| *last >= from);
            last.into_iter().for_each(|last| each(id, last));
        })
    }
}

#[cfg(test)]
#[path = "tally_tests.rs"]
mod tests;
