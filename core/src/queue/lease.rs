//! Records that were delivered and not yet settled, by position.
//!
//! Called by [`super::Queue`]. The records are logged state, who holds them is attached state and unknown in replay (S1). Neighbours share
//! a page of 64 while most of them are there; a page that has become nearly empty is given up and the rest kept singly. So what matters
//! holds: one record that is never settled does not keep memory of its neighbours, and settling a run does not search for each of it.
//! Not here: what a settle means.

use super::Record;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Range;
use stele_model::id::{Lsn, Now, Place, Position};

/// Index of a holder in [`super::serve::Readers`]; [`NOBODY`] in replay.
pub(crate) type HolderAt = u32;

/// The holder of what was replayed.
pub(crate) const NOBODY: HolderAt = u32::MAX;

/// Positions of one page.
const PAGE: u64 = 64;
/// A page with so few records is given up, unless it is the one being filled.
const PAGE_MIN: u32 = 6;

/// A delivery that has not ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) record: Record,
    pub(crate) holder: HolderAt,
}

/// The unsettled deliveries of a queue.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    pages: BTreeMap<u64, Box<Page>>,
    /// The page being filled, which is not in `pages`.
    open: Option<Box<Page>>,
    /// Records whose page was given up.
    single: BTreeMap<Position, Slot>,
    /// A page to be used again.
    spare: Option<Box<Page>>,
    count: u64,
}

/// Neighbouring positions.
#[derive(Debug)]
struct Page {
    number: u64,
    /// Which of the slots are taken.
    taken: u64,
    slots: [Slot; PAGE as usize],
}

/// So few leases need no pages.
const SINGLE_MAX: u64 = 16;

/// A lease without its position: 40 bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    lsn: u64,
    expires: u64,
    at: u32,
    len: u32,
    overhead: u32,
    failures: u32,
    holder: HolderAt,
    priority: u8,
    redelivered: bool,
}

const _: () = assert!(size_of::<Slot>() == 40, "a leased record is about 40 bytes (STORAGE §3)");

impl Slot {
    fn of(record: &Record, holder: HolderAt) -> Self {
        Self {
            lsn: record.place.lsn.0,
            expires: record.expires.0,
            at: record.place.at,
            len: record.len,
            overhead: record.overhead,
            failures: record.failures,
            holder,
            priority: record.priority,
            redelivered: record.redelivered,
        }
    }

    fn lease(&self, position: Position) -> Lease {
        let record = Record {
            position,
            place: Place { lsn: Lsn(self.lsn), at: self.at },
            len: self.len,
            overhead: self.overhead,
            expires: Now(self.expires),
            priority: self.priority,
            redelivered: self.redelivered,
            failures: self.failures,
        };
        Lease { record, holder: self.holder }
    }
}

impl Page {
    fn new(number: u64) -> Box<Self> {
        Box::new(Self { number, taken: 0, slots: [Slot::default(); PAGE as usize] })
    }

    fn find(&self, position: Position) -> Option<Lease> {
        let n = position.0 % PAGE;
        (self.taken & (1 << n) != 0).then(|| self.slots[n as usize].lease(position))
    }

    fn take(&mut self, position: Position) -> Option<Lease> {
        let lease = self.find(position)?;
        self.taken &= !(1 << (position.0 % PAGE));
        Some(lease)
    }

    /// Leases from position `from` on.
    fn from(&self, from: Position) -> impl Iterator<Item = Lease> + '_ {
        let first = from.0.saturating_sub(self.number * PAGE).min(PAGE);
        let mut rest = if first == PAGE { 0 } else { self.taken & (u64::MAX << first) };
        std::iter::from_fn(move || {
            let n = u64::from(rest.trailing_zeros());
            if n == PAGE {
                return None;
            }
            rest &= rest - 1;
            Some(self.slots[n as usize].lease(Position(self.number * PAGE + n)))
        })
    }
}

impl Leases {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn insert(&mut self, record: Record, holder: HolderAt) {
        self.count += 1;
        if self.count <= SINGLE_MAX {
            let before = self.single.insert(record.position, Slot::of(&record, holder));
            assert!(before.is_none(), "I12: a record has one holder");
            return;
        }
        let number = record.position.0 / PAGE;
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.turn_to(number);
        }
        let n = record.position.0 % PAGE;
        let Some(open) = &mut self.open else { return };
        assert!(open.taken & (1 << n) == 0, "I12: a record has one holder");
        open.taken |= 1 << n;
        open.slots[n as usize] = Slot::of(&record, holder);
    }

    pub(crate) fn remove(&mut self, position: Position) -> Option<Lease> {
        let number = position.0 / PAGE;
        let mut lease =
            self.open.as_mut().filter(|open| open.number == number).and_then(|page| page.take(position));
        if lease.is_none()
            && let Some(page) = self.pages.get_mut(&number)
        {
            lease = page.take(position);
            if lease.is_some() && page.taken.count_ones() <= PAGE_MIN {
                let page = self.pages.remove(&number);
                page.into_iter().for_each(|page| self.give_up(page));
            }
        }
        let lease = lease.or_else(|| self.single.remove(&position).map(|slot| slot.lease(position)))?;
        self.count -= 1;
        if self.count == 0 {
            (self.open, self.spare) = (None, None);
        }
        Some(lease)
    }

    /// The lease at this position.
    pub(crate) fn find(&self, position: Position) -> Option<Lease> {
        let number = position.0 / PAGE;
        let open = self.open.as_deref().filter(|open| open.number == number);
        let page = open.or_else(|| self.pages.get(&number).map(|page| &**page));
        let paged = page.and_then(|page| page.find(position));
        paged.or_else(|| self.single.get(&position).map(|slot| slot.lease(position)))
    }

    /// Leases at these positions, in order.
    pub(crate) fn range(&self, positions: Range<Position>) -> impl Iterator<Item = Lease> + '_ {
        let Range { start, end } = positions;
        let numbers = start.0 / PAGE..;
        let open = self.open.iter().map(|page| &**page).filter(move |page| page.number >= start.0 / PAGE);
        let pages = Merged {
            a: self.pages.range(numbers).map(|(_, page)| &**page).peekable(),
            b: open.peekable(),
            before: |a: &&Page, b: &&Page| a.number < b.number,
        };
        let paged = pages.flat_map(move |page| page.from(start));
        let single = self.single.range(start..).map(|(position, slot)| slot.lease(*position));
        let all = Merged {
            a: paged.peekable(),
            b: single.peekable(),
            before: |a: &Lease, b: &Lease| a.record.position < b.record.position,
        };
        all.take_while(move |lease| lease.record.position < end)
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Lease> + '_ {
        self.range(Position(0)..Position(u64::MAX))
    }

    /// Takes the one with the lowest position.
    pub(crate) fn pop_first(&mut self) -> Option<Lease> {
        let first = self.iter().next()?;
        self.remove(first.record.position)
    }

    /// Makes page `number` the one being filled.
    fn turn_to(&mut self, number: u64) {
        if let Some(before) = self.open.take() {
            if before.taken.count_ones() <= PAGE_MIN {
                self.give_up(before);
            } else {
                self.pages.insert(before.number, before);
            }
        }
        let page = self.pages.remove(&number).or_else(|| self.spare.take());
        let mut page = page.unwrap_or_else(|| Page::new(number));
        page.number = number;
        self.open = Some(page);
    }

    /// Keeps what is left of a page singly.
    fn give_up(&mut self, mut page: Box<Page>) {
        for lease in page.from(Position(0)) {
            self.single.insert(lease.record.position, Slot::of(&lease.record, lease.holder));
        }
        page.taken = 0;
        self.spare = Some(page);
    }
}

/// Two ordered iterators as one.
struct Merged<A: Iterator, B: Iterator<Item = A::Item>, F> {
    a: Peekable<A>,
    b: Peekable<B>,
    before: F,
}

impl<A: Iterator, B: Iterator<Item = A::Item>, F: Fn(&A::Item, &A::Item) -> bool> Iterator
    for Merged<A, B, F>
{
    type Item = A::Item;

    fn next(&mut self) -> Option<A::Item> {
        match (self.a.peek(), self.b.peek()) {
            (Some(a), Some(b)) if (self.before)(b, a) => self.b.next(),
            (Some(_), _) => self.a.next(),
            (None, _) => self.b.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::record_for_tests as record;
    use proptest::prelude::*;

    #[test]
    fn a_record_that_is_never_settled_keeps_no_page() {
        let mut leases = Leases::default();
        for n in 0..100_000 {
            leases.insert(record(n), 1);
            if n % 1000 != 0 {
                leases.remove(Position(n));
            }
        }
        assert_eq!((leases.count(), leases.pages.len()), (100, 0));
        assert!(leases.iter().map(|lease| lease.record).eq((0..100).map(|n| record(n * 1000))));
    }

    proptest! {
        #[test]
        fn leases_are_a_map_by_position(
            ops in prop::collection::vec((any::<bool>(), 0..400u64, 1..80u64), 1..60),
            cut in 0..400u64,
        ) {
            let (mut leases, mut model) = (Leases::default(), BTreeMap::new());
            for (insert, from, count) in ops {
                for n in from..from + count {
                    if insert && !model.contains_key(&n) {
                        leases.insert(record(n), n as u32);
                        model.insert(n, n as u32);
                    } else if !insert {
                        let is = leases.remove(Position(n)).map(|lease| (lease.record, lease.holder));
                        prop_assert_eq!(is, model.remove(&n).map(|holder| (record(n), holder)));
                    }
                }
                prop_assert_eq!(leases.count(), model.len() as u64);
            }
            let is: Vec<u64> = leases.range(Position(cut)..Position(cut + 99)).map(|of| of.record.position.0).collect();
            prop_assert_eq!(leases.find(Position(cut)).map(|of| of.holder), model.get(&cut).copied());
            let should: Vec<u64> = model.range(cut..cut + 99).map(|(n, _)| *n).collect();
            prop_assert_eq!(is, should);
            while let Some(lease) = leases.pop_first() {
                prop_assert_eq!(Some(lease.record.position.0), model.pop_first().map(|(n, _)| n));
            }
            prop_assert!(model.is_empty());
        }
    }
}
