//! Finding records by their subjects: the next one, how many, the last ones.
//!
//! Called by who reads a stream by filters (shared groups, direct reads, purges). What must hold: the work goes by what is found, not by
//! what is passed over. Few subjects are each asked; of many their records are dense, so records are looked at one after the other, a
//! bounded number at a time ([`Next::Later`]). A partition that keeps batches as they come has one subject: its stream's name.

use super::{Partition, Stored};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::ControlFlow;
use stele_model::id::Position;
use stele_model::subject::Pattern;

/// Subjects that are asked one by one.
const FEW: usize = 256;
/// Names that are looked at to find out whether they are few.
const NAMES_MAX: usize = 4096;
/// Records that one search looks at.
pub(super) const SCAN_MAX: usize = 4096;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The record at this position.
    At(Position),
    /// Nothing before this position; go on from there in another turn.
    Later(Position),
    /// Nothing that is there now.
    Nowhere,
}

/// How to search.
enum Way {
    /// Every record matches.
    All,
    /// None does.
    None,
    /// Those of these subjects do.
    Few(Vec<u32>),
    /// Those whose subject does, among many.
    Scan,
}

impl Partition {
    /// The first record at `from` or behind it whose subject matches one of `filters`; none of them: every record matches.
    pub(crate) fn next(&self, filters: &[Pattern], from: Position) -> Next {
        let mut found = None;
        let next = self.select(filters, from, |record| {
            found = Some(record.first.max(from));
            ControlFlow::Break(())
        });
        found.map_or(next, Next::At)
    }

    /// Hands records from `from` on that match to `each`, in the order of positions, until it breaks off. Then, or at the end,
    /// [`Next::Nowhere`]; [`Next::Later`]: the search is to be gone on with.
    pub(crate) fn select(
        &self,
        filters: &[Pattern],
        from: Position,
        mut each: impl FnMut(&Stored) -> ControlFlow<()>,
    ) -> Next {
        let from = from.max(self.start);
        match self.way(filters) {
            Way::None => {}
            Way::All => {
                let _ = self.index.from(from).try_for_each(|record| each(&record));
            }
            Way::Few(subjects) => self.merge(&subjects, from, each),
            Way::Scan => {
                for (n, record) in self.index.from(from).enumerate() {
                    if n == SCAN_MAX {
                        return Next::Later(record.first);
                    }
                    if self.fits(filters, &record) && each(&record).is_break() {
                        break;
                    }
                }
            }
        }
        Next::Nowhere
    }

    /// How many records from `from` on match; `None`: it would have to look at more than fits a turn.
    pub(super) fn pending_at_once(&self, filters: &[Pattern], from: Position) -> Option<u64> {
        let from = from.max(self.start);
        if from >= self.end {
            return Some(0);
        }
        let Some(records) = &self.records else {
            let all = matches!(self.way(filters), Way::All);
            return Some(if all { self.end.0 - from.0 } else { 0 });
        };
        match self.way(filters) {
            Way::All => return Some(self.index.count_from(from)),
            Way::None => return Some(0),
            Way::Few(subjects) => {
                let of = |id: &u32| records.subjects.positions(*id).count_from(from);
                return Some(subjects.iter().map(of).sum());
            }
            Way::Scan => {}
        }
        let behind = self.index.count_from(from);
        if behind <= SCAN_MAX as u64 {
            let fitting = self.index.from(from).filter(|record| self.fits(filters, record));
            return Some(fitting.count() as u64);
        }
        let whole = self.index.first().is_none_or(|first| first.first >= from);
        match filters {
            [filter] if whole && filter.is_prefix() => Some(records.subjects.sum(filter).records),
            _ => None,
        }
    }

    /// The last record that matches, if it is known. Else it may have to look at every subject, if many match and none of the newest records
    /// does.
    pub(crate) fn last(&self, pattern: &Pattern) -> Option<Position> {
        let filters = std::slice::from_ref(pattern);
        let all = || self.lasts(filters, self.end, usize::MAX).into_iter().max();
        let found = || self.last_at_once(filters).unwrap_or_else(all);
        self.known.get(pattern).copied().unwrap_or_else(found).filter(|last| *last >= self.start)
    }

    /// The last record that matches; `None`: it would have to look at more than fits a turn.
    pub(crate) fn last_at_once(&self, filters: &[Pattern]) -> Option<Option<Position>> {
        let last = match self.way(filters) {
            Way::All => self.index.last().map(|last| Position(last.end().0 - 1)),
            Way::None => None,
            Way::Few(_) => self.lasts(filters, self.end, usize::MAX).into_iter().max(),
            Way::Scan => {
                let newest = Position(self.end.0.saturating_sub(SCAN_MAX as u64)).max(self.start);
                let fitting = self.index.from(newest).filter(|record| self.fits(filters, record));
                return fitting.last().map(|last| Some(last.first));
            }
        };
        Some(last.filter(|last| *last >= self.start))
    }

    /// The last record below `end` of each subject that matches, in no order; of more than `count_max` only so many.
    pub(crate) fn lasts(&self, filters: &[Pattern], end: Position, count_max: usize) -> Vec<Position> {
        let mut lasts = Vec::new();
        let Some(records) = &self.records else {
            let last = self.index.last().filter(|_| matches!(self.way(filters), Way::All));
            return last.map(|last| Position(last.end().0 - 1)).into_iter().collect();
        };
        let everything = [Pattern::everything()];
        let filters = if filters.is_empty() { &everything } else { filters };
        for (n, filter) in filters.iter().enumerate() {
            records.subjects.walk(filter, |id, matches| {
                if lasts.len() >= count_max {
                    return ControlFlow::Break(());
                }
                let before = filters[..n].iter().any(|other| other.matches(records.subjects.name(id)));
                let last = records.subjects.positions(id).before(end).filter(|last| *last >= self.start);
                lasts.extend(last.filter(|_| matches && !before));
                ControlFlow::Continue(())
            });
        }
        lasts
    }

    /// The record at this position is the last one of its subject.
    pub(crate) fn is_last_of_subject(&self, position: Position) -> bool {
        match self.subject_number(position).zip(self.records.as_ref()) {
            Some((id, records)) => records.subjects.positions(id).last() == Some(position),
            None => Position(position.0 + 1) == self.end,
        }
    }

    /// The subject of the record at this position; `None`: there is no record.
    pub(crate) fn subject_of(&self, position: Position) -> Option<&[u8]> {
        let there = self.index.get(position).filter(|_| position >= self.start)?;
        Some(match there.single.zip(self.records.as_ref()) {
            Some((single, records)) => records.subjects.name(single.subject),
            None => self.spec.stream.as_bytes(),
        })
    }

    fn subject_number(&self, position: Position) -> Option<u32> {
        Some(self.index.get(position)?.single?.subject)
    }

    /// Whether a record's subject matches one of `filters`.
    pub(crate) fn fits(&self, filters: &[Pattern], record: &Stored) -> bool {
        let name = match record.single.zip(self.records.as_ref()) {
            Some((single, records)) => records.subjects.name(single.subject),
            None => self.spec.stream.as_bytes(),
        };
        filters.is_empty() || filters.iter().any(|filter| filter.matches(name))
    }

    fn way(&self, filters: &[Pattern]) -> Way {
        let Some(records) = &self.records else {
            let name = self.spec.stream.as_bytes();
            let all = filters.is_empty() || filters.iter().any(|filter| filter.matches(name));
            return if all { Way::All } else { Way::None };
        };
        if filters.is_empty() || filters.iter().any(|filter| records.subjects.all_match(filter)) {
            return Way::All;
        }
        let (mut few, mut names) = (Vec::new(), 0);
        for filter in filters {
            let many = records.subjects.walk(filter, |id, matches| {
                names += 1;
                few.extend(matches.then_some(id));
                let is_many = few.len() > FEW || names > NAMES_MAX;
                if is_many { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            if many.is_some() {
                return Way::Scan;
            }
        }
        few.sort_unstable();
        few.dedup();
        match few.len() {
            0 => Way::None,
            all if all == records.subjects.count() => Way::All,
            _ => Way::Few(few),
        }
    }

    /// Records of these subjects, in the order of positions.
    fn merge(&self, subjects: &[u32], from: Position, mut each: impl FnMut(&Stored) -> ControlFlow<()>) {
        let Some(records) = &self.records else { return };
        let next = |id: u32, from: Position| {
            records.subjects.positions(id).next(from).map(|position| Reverse((position, id)))
        };
        let mut cursor = self.index.cursor();
        let mut ahead: BinaryHeap<_> = subjects.iter().filter_map(|id| next(*id, from)).collect();
        while let Some(Reverse((position, id))) = ahead.pop() {
            let Some(record) = cursor.get(position) else { continue };
            if each(&record).is_break() {
                return;
            }
            ahead.extend(next(id, Position(position.0 + 1)));
        }
    }
}
