//! A map by position for what stands close together and is mostly removed in order: deliveries that have not ended.
//!
//! Called by the leases of queues and by shared groups. Neighbours share a page of 64 while most of them are there; a page that has become
//! nearly empty is given up and the rest kept singly. So what matters holds: one position that is never removed does not keep memory of
//! its neighbours, and removing a run does not search for each of it. A snapshot takes what was there page by page, while it changes:
//! a page that is not yet taken is kept as it was just before it changes for the first time (S7). Not here: what a slot means.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Range;
use stele_model::id::Position;

/// Positions of one page.
const PAGE: u64 = 64;
/// A page with so few slots is given up, unless it is the one being filled.
const PAGE_MIN: u32 = 6;
/// So few slots need no pages.
const SINGLE_MAX: u64 = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Paged<T> {
    pages: BTreeMap<u64, Box<Page<T>>>,
    /// The page being filled, which is not in `pages`.
    open: Option<Box<Page<T>>>,
    /// Those whose page was given up.
    single: BTreeMap<Position, T>,
    /// A page to be used again.
    spare: Option<Box<Page<T>>>,
    count: u64,
    frozen: Option<Box<Frozen<T>>>,
}

/// What was there at one moment and is not yet taken, by numbers of pages.
#[derive(Debug)]
struct Frozen<T> {
    rest: Range<u64>,
    /// Those of the rest that have changed since, as they were.
    kept: BTreeMap<u64, Vec<(Position, T)>>,
}

/// Neighbouring positions.
#[derive(Debug)]
struct Page<T> {
    number: u64,
    /// Which of the slots are taken.
    taken: u64,
    slots: [T; PAGE as usize],
}

impl<T> Default for Paged<T> {
    fn default() -> Self {
        Self {
            pages: BTreeMap::new(),
            open: None,
            single: BTreeMap::new(),
            spare: None,
            count: 0,
            frozen: None,
        }
    }
}

impl<T: Copy + Default> Page<T> {
    fn new(number: u64) -> Box<Self> {
        Box::new(Self { number, taken: 0, slots: [T::default(); PAGE as usize] })
    }

    fn find(&self, position: Position) -> Option<&T> {
        let n = position.0 % PAGE;
        (self.taken & (1 << n) != 0).then(|| &self.slots[n as usize])
    }

    fn find_mut(&mut self, position: Position) -> Option<&mut T> {
        let n = position.0 % PAGE;
        (self.taken & (1 << n) != 0).then(|| &mut self.slots[n as usize])
    }

    fn take(&mut self, position: Position) -> Option<T> {
        let slot = *self.find(position)?;
        self.taken &= !(1 << (position.0 % PAGE));
        Some(slot)
    }

    /// Slots from position `from` on.
    fn from(&self, from: Position) -> impl Iterator<Item = (Position, T)> + '_ {
        let first = from.0.saturating_sub(self.number * PAGE).min(PAGE);
        let mut rest = if first == PAGE { 0 } else { self.taken & (u64::MAX << first) };
        std::iter::from_fn(move || {
            let n = u64::from(rest.trailing_zeros());
            if n == PAGE {
                return None;
            }
            rest &= rest - 1;
            Some((Position(self.number * PAGE + n), self.slots[n as usize]))
        })
    }
}

impl<T: Copy + Default> Paged<T> {
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Puts in what is not there yet.
    pub(crate) fn insert(&mut self, position: Position, slot: T) {
        if self.frozen.is_some() {
            self.keep(position);
        }
        self.count += 1;
        if self.count <= SINGLE_MAX {
            let before = self.single.insert(position, slot);
            assert!(before.is_none(), "I11, I12: a record is in one place");
            return;
        }
        let number = position.0 / PAGE;
        if self.open.as_ref().is_none_or(|open| open.number != number) {
            self.turn_to(number);
        }
        let n = position.0 % PAGE;
        let Some(open) = &mut self.open else { return };
        assert!(open.taken & (1 << n) == 0, "I11, I12: a record is in one place");
        open.taken |= 1 << n;
        open.slots[n as usize] = slot;
    }

    pub(crate) fn remove(&mut self, position: Position) -> Option<T> {
        if self.frozen.is_some() {
            self.keep(position);
        }
        let number = position.0 / PAGE;
        let mut slot =
            self.open.as_mut().filter(|open| open.number == number).and_then(|page| page.take(position));
        if slot.is_none()
            && let Some(page) = self.pages.get_mut(&number)
        {
            slot = page.take(position);
            if slot.is_some() && page.taken.count_ones() <= PAGE_MIN {
                let page = self.pages.remove(&number);
                page.into_iter().for_each(|page| self.give_up(page));
            }
        }
        let slot = slot.or_else(|| self.single.remove(&position))?;
        self.count -= 1;
        if self.count == 0 {
            (self.open, self.spare) = (None, None);
        }
        Some(slot)
    }

    pub(crate) fn find(&self, position: Position) -> Option<&T> {
        let number = position.0 / PAGE;
        let open = self.open.as_deref().filter(|open| open.number == number);
        let page = open.or_else(|| self.pages.get(&number).map(|page| &**page));
        page.and_then(|page| page.find(position)).or_else(|| self.single.get(&position))
    }

    pub(crate) fn find_mut(&mut self, position: Position) -> Option<&mut T> {
        if self.frozen.is_some() {
            self.keep(position);
        }
        let number = position.0 / PAGE;
        let open = self.open.as_deref_mut().filter(|open| open.number == number);
        let page = match open {
            Some(open) => Some(open),
            None => self.pages.get_mut(&number).map(|page| &mut **page),
        };
        page.and_then(|page| page.find_mut(position)).or_else(|| self.single.get_mut(&position))
    }

    /// Slots at these positions, in order.
    pub(crate) fn range(&self, positions: Range<Position>) -> impl Iterator<Item = (Position, T)> + '_ {
        let Range { start, end } = positions;
        let numbers = start.0 / PAGE..;
        let open = self.open.iter().map(|page| &**page).filter(move |page| page.number >= start.0 / PAGE);
        let pages = Merged {
            a: self.pages.range(numbers).map(|(_, page)| &**page).peekable(),
            b: open.peekable(),
            before: |a: &&Page<T>, b: &&Page<T>| a.number < b.number,
        };
        let paged = pages.flat_map(move |page| page.from(start));
        let single = self.single.range(start..).map(|(position, slot)| (*position, *slot));
        let all = Merged {
            a: paged.peekable(),
            b: single.peekable(),
            before: |a: &(Position, T), b: &(Position, T)| a.0 < b.0,
        };
        all.take_while(move |(position, _)| *position < end)
    }

    /// All, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Position, T)> + '_ {
        self.range(Position(0)..Position(u64::MAX))
    }

    /// The one with the lowest position.
    pub(crate) fn first(&self) -> Option<(Position, T)> {
        let of = |page: &Page<T>| page.from(Position(0)).next();
        let open = self.open.as_deref().and_then(of);
        let page = self.pages.first_key_value().and_then(|(_, page)| of(page));
        let single = self.single.first_key_value().map(|(position, slot)| (*position, *slot));
        [open, page, single].into_iter().flatten().min_by_key(|(position, _)| *position)
    }

    /// What is there now can be taken by [`Self::next_frozen`], whatever changes meanwhile.
    pub(crate) fn freeze(&mut self) {
        let pages = self.pages.last_key_value().map(|(number, _)| *number);
        let open = self.open.as_ref().map(|page| page.number);
        let single = self.single.last_key_value().map(|(position, _)| position.0 / PAGE);
        let last = [pages, open, single].into_iter().flatten().max();
        self.frozen = last.map(|last| Box::new(Frozen { rest: 0..last + 1, kept: BTreeMap::new() }));
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Nothing more will be taken of what was there.
    pub(crate) fn thaw(&mut self) {
        self.frozen = None;
    }

    /// The next slots of what was there, in order: those of one page. `None`: that was all.
    pub(crate) fn next_frozen(&mut self) -> Option<Vec<(Position, T)>> {
        let mut frozen = self.frozen.take()?;
        let here = self.range(positions(&frozen.rest)).next().map(|(position, _)| position.0 / PAGE);
        let kept = frozen.kept.first_key_value().map(|(number, _)| *number);
        let next = here.into_iter().chain(kept).min()?;
        frozen.rest.start = next + 1;
        let slots = frozen.kept.remove(&next);
        self.frozen = Some(frozen);
        Some(slots.unwrap_or_else(|| self.range(positions(&(next..next + 1))).collect()))
    }

    /// The page of this position is about to change.
    #[cold]
    fn keep(&mut self, position: Position) {
        let number = position.0 / PAGE;
        let Some(mut frozen) = self.frozen.take() else { return };
        if frozen.rest.contains(&number) {
            let slots = || self.range(positions(&(number..number + 1))).collect();
            frozen.kept.entry(number).or_insert_with(slots);
        }
        self.frozen = Some(frozen);
    }

    /// Forgets what has changed as it was: a mistake to make on purpose.
    pub(crate) fn forget_kept(&mut self) {
        self.frozen.iter_mut().for_each(|frozen| frozen.kept.clear());
    }

    /// Pages in use, but for the one being filled.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
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
    fn give_up(&mut self, mut page: Box<Page<T>>) {
        self.single.extend(page.from(Position(0)));
        page.taken = 0;
        self.spare = Some(page);
    }
}

/// The positions of these pages.
fn positions(pages: &Range<u64>) -> Range<Position> {
    Position(pages.start.saturating_mul(PAGE))..Position(pages.end.saturating_mul(PAGE))
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
