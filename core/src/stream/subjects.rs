//! The subjects of a stream's records, and where the records of each are.
//!
//! Called by [`super::records`]. A name is kept once; a subject has a number, which the index of batches names, and which is used again once
//! the subject has no record. What must hold: exactly the subjects that have records are here; what is asked by name costs a look at a
//! table, what is asked by pattern as many looks as there are subjects under its literal beginning, and where that beginning decides
//! alone, whole pages are counted at once. A snapshot has the names only: the positions follow from the index.

mod names;
mod order;
mod positions;

pub(crate) use positions::Positions;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use names::{NameAt, Names};
use order::{At, Order};
use std::cell::Cell;
use std::hash::BuildHasher;
use std::ops::ControlFlow;
use stele_model::id::Position;
use stele_model::subject::Pattern;

/// Slots that stand together, so that growing moves none.
const SLOTS: usize = 1024;
/// Slots that a snapshot is believed to need.
const SLOTS_MAX: usize = 1 << 28;
/// Subjects for each table of names, on average: one is added whenever there are more, and takes half of another one's, so that no table grows
/// for long (S7).
const TABLE_MEAN: usize = 360;
/// Subjects that a table has room for, without growing.
const TABLE_ROOM: usize = 896;

/// See the module.
#[derive(Debug)]
pub(crate) struct Subjects {
    names: Names,
    order: Order,
    slots: Vec<Vec<Slot>>,
    free: Vec<u32>,
    /// Numbers by name, in tables by hash ([`table_of`]).
    tables: Vec<HashTable<u32>>,
    count: usize,
}

#[derive(Debug, Default)]
struct Slot {
    name: NameAt,
    /// Where it stands in the order.
    page: Cell<u32>,
    positions: Positions,
}

/// What a pattern takes of the subjects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) subjects: u64,
    pub(crate) records: u64,
}

impl Default for Subjects {
    fn default() -> Self {
        Self {
            names: Names::default(),
            order: Order::default(),
            slots: Vec::new(),
            free: Vec::new(),
            tables: vec![HashTable::new()],
            count: 0,
        }
    }
}

impl Subjects {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The number of a subject.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        let hash = hash(name);
        self.table(hash).find(hash, |id| self.name(*id) == name).copied()
    }

    pub(crate) fn name(&self, id: u32) -> &[u8] {
        self.names.get(self.slot(id).name)
    }

    pub(crate) fn positions(&self, id: u32) -> &Positions {
        &self.slot(id).positions
    }

    /// The number of a subject, which gets one if it has none: then it must get a record.
    pub(crate) fn number(&mut self, name: &[u8]) -> u32 {
        match self.find(name) {
            Some(id) => id,
            None => self.begin(name),
        }
    }

    /// A record has come, behind all others.
    pub(crate) fn came(&mut self, id: u32, position: Position) {
        let slot = self.slot_mut(id);
        slot.positions.push(position);
        let page = slot.page.get();
        self.order.counted(page, true);
    }

    /// A record has gone; its subject too, if that was its last one.
    pub(crate) fn gone(&mut self, id: u32, position: Position) {
        let slot = self.slot_mut(id);
        assert!(slot.positions.remove(position), "I71: a record goes once");
        let (page, empty) = (slot.page.get(), slot.positions.count() == 0);
        self.order.counted(page, false);
        if empty {
            self.end(id);
        }
    }

    /// Every subject that begins as the pattern does, in the order of names, and whether it matches, until `each` breaks off.
    pub(crate) fn walk<B>(
        &self,
        pattern: &Pattern,
        each: impl FnMut(u32, bool) -> ControlFlow<B>,
    ) -> Option<B> {
        self.walk_behind(pattern, None, each)
    }

    /// As [`Self::walk`], with those behind a name that begins as the pattern does.
    pub(crate) fn walk_behind<B>(
        &self,
        pattern: &Pattern,
        seen: Option<&[u8]>,
        mut each: impl FnMut(u32, bool) -> ControlFlow<B>,
    ) -> Option<B> {
        if let Some(literal) = pattern.literal() {
            let unseen = self.find(literal).filter(|_| seen.is_none());
            return unseen.and_then(|id| each(id, true).break_value());
        }
        let (mut from, to) = self.range(pattern.prefix());
        if let Some(seen) = seen {
            from = self.seek(|name| name <= seen);
        }
        let mut within = self.order.iter(from).take(self.distance(from, to));
        let is_prefix = pattern.is_prefix();
        within.find_map(|id| each(id, is_prefix || pattern.matches(self.name(id))).break_value())
    }

    /// Every subject that matches, in the order of names.
    pub(crate) fn matching(&self, pattern: &Pattern, mut each: impl FnMut(u32)) {
        self.walk(pattern, |id, matches| {
            if matches {
                each(id);
            }
            ControlFlow::<()>::Continue(())
        });
    }

    /// How many subjects match, and how many records they have.
    pub(crate) fn sum(&self, pattern: &Pattern) -> Sum {
        let mut sum = Sum::default();
        let add = |id: u32| {
            sum.subjects += 1;
            sum.records += self.slot(id).positions.count();
        };
        if pattern.is_prefix() {
            let (from, to) = self.range(pattern.prefix());
            let (subjects, records) = self.order.sum(from, to, add);
            return Sum { subjects: sum.subjects + subjects, records: sum.records + records };
        }
        self.matching(pattern, add);
        sum
    }

    /// Every subject matches.
    pub(crate) fn all_match(&self, pattern: &Pattern) -> bool {
        pattern.is_prefix() && {
            let (from, to) = self.range(pattern.prefix());
            self.order.get(from) == self.order.first() && to == self.order.end()
        }
    }

    /// The names' bytes for a snapshot.
    pub(crate) fn chunks(&self) -> Vec<Bytes> {
        self.names.chunks()
    }

    /// Takes up names and, for each of `records`, a subject's number and a position, in the order of positions.
    pub(crate) fn restore(
        chunks: impl IntoIterator<Item = Bytes>,
        records: impl Iterator<Item = (u32, Position)>,
    ) -> Result<Self, String> {
        let mut subjects = Self::default();
        let mut named: std::collections::BTreeMap<u32, NameAt> = std::collections::BTreeMap::new();
        for chunk in chunks {
            // Of a number that is there twice the later one counts.
            subjects.names.restore(chunk, |id, at| {
                named.insert(id, at);
            })?;
        }
        let slots = named.last_key_value().map_or(0, |(last, _)| *last as usize + 1);
        if slots > SLOTS_MAX {
            return Err("numbers of subjects are far too high".to_owned());
        }
        subjects.grow(slots);
        for (id, position) in records {
            let at = named.get(&id).ok_or_else(|| format!("a record of unknown subject {id}"))?;
            let slot = subjects.slot_mut(id);
            slot.name = *at;
            slot.positions.push(position);
        }
        subjects.free.clear();
        let mut there = Vec::new();
        for id in 0..slots as u32 {
            match subjects.slot(id).positions.count() {
                0 => subjects.free.push(id),
                _ => there.push(id),
            }
        }
        there.sort_unstable_by(|a, b| subjects.name(*a).cmp(subjects.name(*b)));
        for id in there {
            let at = subjects.slot(id).name;
            subjects.names.is_used(at);
            let end = subjects.order.end();
            subjects.enter(id, end);
            let (page, count) = (subjects.slot(id).page.get(), subjects.slot(id).positions.count());
            (0..count).for_each(|_| subjects.order.counted(page, true));
        }
        Ok(subjects)
    }

    /// The subjects that begin so, by name.
    fn range(&self, prefix: &[u8]) -> (At, At) {
        let from = self.seek(|name| name < prefix);
        let to = self.seek(|name| name < prefix || name.starts_with(prefix));
        (from, to)
    }

    fn seek(&self, below: impl Fn(&[u8]) -> bool) -> At {
        self.order.seek(|id| self.name(id), below)
    }

    fn distance(&self, from: At, to: At) -> usize {
        let mut edges = 0;
        let (whole, _) = self.order.sum(from, to, |_| edges += 1);
        whole as usize + edges
    }

    fn begin(&mut self, name: &[u8]) -> u32 {
        if self.free.is_empty() {
            let slots = self.slots.len() * SLOTS;
            self.grow(slots + SLOTS);
        }
        let id = self.free.pop().expect("I72: it was grown");
        let at = self.names.put(id, name);
        self.slot_mut(id).name = at;
        let place = self.seek(|other| other < name);
        self.enter(id, place);
        self.relieve();
        id
    }

    /// Puts a subject with a name into the order and the table.
    fn enter(&mut self, id: u32, place: At) {
        let Self { order, names, slots, .. } = self;
        order.insert(place, id, |id| names.get(slot_in(slots, id).name), |id, page| moved(slots, id, page));
        self.count += 1;
        if self.count > TABLE_MEAN * self.tables.len() {
            self.add_table();
        }
        self.tabulate(id);
    }

    /// Cuts a page of the order that has become too long, if it is time to.
    fn relieve(&mut self) {
        let Some(first) = self.order.crowded() else { return };
        let place = self.seek(|name| name < self.name(first));
        let Self { order, names, slots, .. } = self;
        order.cut(place, |id| names.get(slot_in(slots, id).name), |id, page| moved(slots, id, page));
    }

    fn tabulate(&mut self, id: u32) {
        let Self { names, slots, tables, .. } = self;
        let hash_of = |id: &u32| hash(names.get(slot_in(slots, *id).name));
        let own = hash_of(&id);
        let at = table_of(own, tables.len());
        tables[at].insert_unique(own, id, hash_of);
    }

    /// One more table, for half of what is in the one that would be next to be cut.
    fn add_table(&mut self) {
        let count = self.tables.len() + 1;
        self.tables.push(HashTable::with_capacity(TABLE_ROOM));
        let from = table_of((count as u64 - 1) << TABLE_SHIFT, count - 1);
        let ids: Vec<u32> = self.tables[from].drain().collect();
        ids.into_iter().for_each(|id| self.tabulate(id));
    }

    fn end(&mut self, id: u32) {
        let at = self.slot(id).name;
        let name = Bytes::copy_from_slice(self.names.get(at));
        let hash = hash(&name);
        let table = table_of(hash, self.tables.len());
        if let Ok(entry) = self.tables[table].find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        let place = self.seek(|other| other < &name[..]);
        self.order.remove(place);
        *self.slot_mut(id) = Slot::default();
        self.free.push(id);
        self.count -= 1;
        if let Some((mut given, chunk)) = self.names.forget(at) {
            while let Some((id, at, name)) = given.next() {
                if self.slot(id).positions.count() > 0 && self.slot(id).name.is(chunk, at) {
                    self.slot_mut(id).name = self.names.put(id, &name);
                }
            }
        }
    }

    fn grow(&mut self, slots: usize) {
        while self.slots.len() * SLOTS < slots {
            let first = (self.slots.len() * SLOTS) as u32;
            self.slots.push((0..SLOTS).map(|_| Slot::default()).collect());
            self.free.extend((first..first + SLOTS as u32).rev());
        }
    }

    fn table(&self, hash: u64) -> &HashTable<u32> {
        &self.tables[table_of(hash, self.tables.len())]
    }

    fn slot(&self, id: u32) -> &Slot {
        slot_in(&self.slots, id)
    }

    fn slot_mut(&mut self, id: u32) -> &mut Slot {
        &mut self.slots[id as usize / SLOTS][id as usize % SLOTS]
    }

    #[cfg(test)]
    fn memory(&self) -> usize {
        let positions: usize = self.slots.iter().flatten().map(|slot| slot.positions.memory()).sum();
        let slots = self.slots.len() * SLOTS * size_of::<Slot>();
        let tables: usize =
            self.tables.iter().map(|table| size_of_val(table) + table.allocation_size()).sum();
        self.names.memory() + self.order.memory() + positions + slots + tables + 4 * self.free.capacity()
    }
}

fn slot_in(slots: &[Vec<Slot>], id: u32) -> &Slot {
    &slots[id as usize / SLOTS][id as usize % SLOTS]
}

/// A subject is in another page of the order. How many records it has.
fn moved(slots: &[Vec<Slot>], id: u32, page: u32) -> u64 {
    let slot = slot_in(slots, id);
    slot.page.set(page);
    slot.positions.count()
}

fn hash(name: &[u8]) -> u64 {
    FixedState::default().hash_one(name)
}

/// Bits of a hash above which tables are told apart: those that the tables themselves look at last.
const TABLE_SHIFT: u32 = 24;

/// By as many bits as tell all tables apart; of what would be in a table that is not there yet, by one less.
fn table_of(hash: u64, tables: usize) -> usize {
    let mask = tables.next_power_of_two() - 1;
    let at = (hash >> TABLE_SHIFT) as usize & mask;
    if at < tables { at } else { at & (mask >> 1) }
}

#[cfg(test)]
#[path = "subjects/tests.rs"]
mod tests;
