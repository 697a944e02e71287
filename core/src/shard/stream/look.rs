//! Reads that may have to look at more than a turn has (S7): they go on in later ones, and are answered at the end of all.
//!
//! Called by [`super::records`]. There may be millions of subjects, so each read remembers how far it has come. What must hold: what it
//! answers is there when it answers; a record that is there from the first turn to the last is found, and where the last one of a
//! subject is wanted what comes meanwhile counts, and of one that goes meanwhile the one before it, if no more than [`REPAIRED_MAX`] subjects are
//! wanted at once. Attached state: after a restart nobody waits for a read. Bounds: each step looks
//! at no more than the turn has left; an answer has at most [`FOUND_MAX`] records and [`LISTED_MAX`] subjects or holes.

use super::super::effect::Turn;
use super::{Shard, unknown};
use crate::stream::tally::{LOOKS, LastSearch, Walk};
use crate::stream::{Next, Partition, Stored};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::slice::from_ref;
use stele_model::id::{Call, HubId, Now, Position, QueueId};
use stele_model::refusal::Refusal;
use stele_model::shard::ShardEffect;
use stele_model::stream::records::{
    From, LastsOf, RecordAt, ScanOf, ShardRecordsAnswer, StateOf, StreamState, SubjectsOf, Wanted,
};

/// Records in one answer.
const FOUND_MAX: usize = 4096;
/// Subjects of which the last records are looked at once more in the turn that answers.
const REPAIRED_MAX: usize = LOOKS / 4;
/// Subjects or holes in one answer.
const LISTED_MAX: u32 = 100_000;
/// Positions that one step looks through for holes.
const HOLES_STEP: u64 = 4 * LOOKS as u64;

type Answered = Result<ShardRecordsAnswer, Refusal>;

/// A read under way.
#[derive(Debug)]
pub(super) struct Looking {
    to: (HubId, Call),
    partition: QueueId,
    /// As whose the partition counts what is left, as if for a group; none has this number.
    number: u64,
    what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Get(Getting),
    Scan(Scanning),
    Lasts(Gathering),
    State(Telling),
}

impl Shard {
    /// Begins a read.
    pub(super) fn look(&mut self, to: (HubId, Call), partition: QueueId, what: What, turn: &mut Turn<'_>) {
        let number = self.streams.walker();
        self.look_on(Looking { to, partition, number, what }, turn);
    }

    /// One step of the reads under way.
    pub(super) fn step_looks(&mut self, turn: &mut Turn<'_>) {
        if let Some(looking) = self.streams.looks.pop_front() {
            self.look_on(looking, turn);
        }
    }

    fn look_on(&mut self, mut of: Looking, turn: &mut Turn<'_>) {
        let (hub, call) = of.to;
        let groups = self.shares.of.get(&of.partition).map_or(0, |of| of.names.len() as u32);
        let Some(partition) = self.streams.partitions.get_mut(&of.partition) else {
            return turn.say_present(ShardEffect::Records { hub, call, answer: Err(unknown()) });
        };
        let looks = &mut turn.looks;
        let answer = match &mut of.what {
            What::Get(getting) => getting.go_on(partition, looks),
            What::Scan(scanning) => scanning.go_on(partition, of.number, looks),
            What::Lasts(gathering) => gathering.go_on(partition, looks),
            What::State(telling) => telling.go_on(partition, groups, looks),
        };
        let Some(answer) = answer else { return self.streams.looks.push_back(of) };
        let after = if answer.is_err() { turn.journal.tail() } else { partition.after };
        turn.say(after, ShardEffect::Records { hub, call, answer });
    }
}

fn appended(of: &Stored) -> Now {
    Now(of.appended_ms.saturating_mul(1000))
}

fn record_at(of: &Stored) -> RecordAt {
    RecordAt { place: of.place, len: of.len, position: of.first, appended: appended(of) }
}

/// Where what was appended then or later begins.
fn first_at(partition: &Partition, at: Now) -> Position {
    let ms = at.0.div_ceil(1000);
    partition.index.appended_at(partition.start, ms).map_or(partition.end, |batch| batch.first)
}

/// Single records, each by a search of its own.
#[derive(Debug)]
pub(super) struct Getting {
    wanted: Vec<Wanted>,
    found: Vec<Option<Position>>,
    /// Of the one that is looked for now.
    search: LastSearch,
    from: Option<Position>,
}

impl Getting {
    pub(super) fn new(mut wanted: Vec<Wanted>) -> Self {
        wanted.truncate(FOUND_MAX);
        Self { wanted, found: Vec::new(), search: LastSearch::default(), from: None }
    }

    fn go_on(&mut self, partition: &Partition, looks: &mut usize) -> Option<Answered> {
        while let Some(wanted) = self.wanted.get(self.found.len()) {
            let found = match wanted {
                Wanted::At(position) => Some(*position),
                Wanted::Last(subjects) => {
                    partition.search_last(from_ref(subjects), &mut self.search, looks)?
                }
                Wanted::Next { subjects, from } => {
                    let from = self.from.get_or_insert(*from);
                    let next = step_of(looks, |_| partition.next(from_ref(subjects), *from))?;
                    match next {
                        Next::At(position) => Some(position),
                        Next::Nowhere => None,
                        Next::Later(further) => {
                            *from = further;
                            continue;
                        }
                    }
                }
            };
            self.found.push(found);
            (self.search, self.from) = (LastSearch::default(), None);
        }
        let at = |position: &Option<Position>| {
            let position = position.filter(|position| *position >= partition.start)?;
            partition.index.get(position).as_ref().map(record_at)
        };
        let records = self.found.iter().map(at).collect();
        Some(Ok(ShardRecordsAnswer::Found { records, pending: 0, ends: partition.ends() }))
    }
}

/// A search by filters looks at as much as a turn has: it is done at the beginning of one, or after little else. `None`: in the next turn.
fn step_of<T>(looks: &mut usize, search: impl FnOnce(&mut usize) -> T) -> Option<T> {
    if *looks < LOOKS / 2 {
        return None;
    }
    *looks -= LOOKS / 2;
    Some(search(looks))
}

/// Records as long as an answer has room.
#[derive(Debug)]
struct Room {
    records: Vec<Position>,
    count_max: usize,
    bytes: u64,
}

impl Room {
    fn new(count_max: u32, bytes_max: u64) -> Self {
        let count_max = (count_max as usize).clamp(1, FOUND_MAX);
        Self { records: Vec::new(), count_max, bytes: bytes_max }
    }

    /// `false`: it is full.
    fn take(&mut self, record: &Stored) -> bool {
        let len = u64::from(record.len);
        let fits = self.records.len() < self.count_max && (len <= self.bytes || self.records.is_empty());
        if fits {
            self.bytes = self.bytes.saturating_sub(len);
            self.records.push(record.first);
        }
        fits
    }

    /// Those that are still there.
    fn answer(&self, partition: &Partition, pending: u64) -> ShardRecordsAnswer {
        let mut cursor = partition.index.cursor();
        let there = self.records.iter().filter(|position| **position >= partition.start);
        let records = there.filter_map(|position| Some(Some(record_at(&cursor.get(*position)?)))).collect();
        ShardRecordsAnswer::Found { records, pending, ends: partition.ends() }
    }
}

/// Records that match, in a row, and how many would follow.
#[derive(Debug)]
pub(super) struct Scanning {
    of: ScanOf,
    room: Room,
    /// Where to look on.
    from: Option<Position>,
    /// All that there is room for is found.
    is_read: bool,
}

impl Scanning {
    pub(super) fn new(of: ScanOf) -> Self {
        let room = Room::new(of.count_max, of.bytes_max);
        Self { of, room, from: None, is_read: false }
    }

    fn go_on(&mut self, partition: &mut Partition, number: u64, looks: &mut usize) -> Option<Answered> {
        let filters = from_ref(&self.of.subjects);
        while !self.is_read {
            let from = *self.from.get_or_insert_with(|| match self.of.from {
                From::Position(position) => position,
                From::Time(at) => first_at(partition, at),
            });
            let room = &mut self.room;
            let mut is_full = false;
            let next = step_of(looks, |looks| {
                partition.select(filters, from, |record| {
                    *looks = looks.saturating_sub(1);
                    is_full = !room.take(record);
                    if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
            })?;
            match next {
                Next::Later(further) if !is_full => self.from = Some(further),
                _ => self.is_read = true,
            }
        }
        let begin = self.from.unwrap_or(partition.end);
        let behind = self.room.records.last().map_or(begin, |last| Position(last.0 + 1));
        if !partition.count_on(number, filters, behind, looks) {
            return None;
        }
        let pending = partition.counted(number, filters, behind).unwrap_or(0);
        partition.forget_count(number);
        Some(Ok(self.room.answer(partition, pending)))
    }
}

/// The last record of each subject that matches.
#[derive(Debug)]
pub(super) struct Gathering {
    of: LastsOf,
    room: Room,
    walk: Walk,
    /// What was there below this is gathered, once `walk` has seen all.
    until: Option<Position>,
    has_walked: bool,
    /// By the numbers of subjects. Of one that has no record any more the number may be another's by now: that has no record so old.
    lasts: BTreeMap<u32, Position>,
    /// The same by position.
    order: BTreeMap<Position, u32>,
    /// Those below are counted, or are in the room.
    counted: Position,
    is_full: bool,
    pending: u64,
}

impl Gathering {
    pub(super) fn new(of: LastsOf) -> Self {
        let (room, counted) = (Room::new(of.count_max, of.bytes_max), of.from);
        let (walk, lasts, order) = (Walk::default(), BTreeMap::new(), BTreeMap::new());
        let (until, has_walked, is_full, pending) = (None, false, false, 0);
        Self { of, room, walk, until, has_walked, lasts, order, counted, is_full, pending }
    }

    fn go_on(&mut self, partition: &Partition, looks: &mut usize) -> Option<Answered> {
        let until = self.until(partition);
        if !self.has_walked {
            let (filters, range) = (&self.of.subjects, Position(0)..until);
            let (lasts, order) = (&mut self.lasts, &mut self.order);
            let each = |id, last| put(lasts, order, id, last);
            self.has_walked = partition.lasts_on(filters, range, &mut self.walk, looks, each);
        }
        if self.lasts.len() > self.of.subjects_max as usize {
            let what = format!("subjects of one read of stream '{}'", partition.spec.stream);
            return Some(Err(Refusal::Limit { what, max: u64::from(self.of.subjects_max) }));
        }
        if !self.has_walked || (self.of.as_of.is_none() && !self.follow(partition, until, looks)) {
            return None;
        }
        if self.lasts.len() <= REPAIRED_MAX && !self.repair(partition, looks) {
            return None;
        }
        let mut cursor = partition.index.cursor();
        for position in self.order.range(self.counted..).map(|(position, _)| position) {
            if *looks == 0 {
                self.counted = *position;
                return None;
            }
            *looks -= 1;
            let Some(record) = cursor.get(*position).filter(|_| *position >= partition.start) else {
                continue;
            };
            self.is_full |= !self.room.take(&record);
            self.pending += u64::from(self.is_full);
        }
        Some(Ok(self.room.answer(partition, self.pending)))
    }

    /// Puts what was before them in the place of those that have gone, where this turn can do that and count. `false`: a later one.
    fn repair(&mut self, partition: &Partition, looks: &mut usize) -> bool {
        let Some(records) = &partition.records else { return true };
        let cost = 2 * self.lasts.len();
        if *looks < cost {
            return false;
        }
        *looks -= cost / 2;
        let mut cursor = partition.index.cursor();
        let mut is_gone = |at: Position| at < partition.start || cursor.get(at).is_none();
        let all = self.order.iter().map(|(at, id)| (*at, *id));
        let gone: Vec<(Position, u32)> = all.filter(|(at, _)| is_gone(*at)).collect();
        for (at, id) in gone {
            self.lasts.remove(&id);
            self.order.remove(&at);
            let before = records.subjects.positions(id).before(at);
            if let Some(before) = before.filter(|before| *before >= partition.start) {
                put(&mut self.lasts, &mut self.order, id, before);
            }
        }
        true
    }

    /// Where it ends, as it was in the first turn.
    fn until(&mut self, partition: &Partition) -> Position {
        *self.until.get_or_insert_with(|| match self.of.as_of {
            None => partition.end,
            Some(From::Position(position)) => Position(position.0.saturating_add(1)),
            // Times are kept in ms: what came in a later one came later.
            Some(From::Time(at)) => first_at(partition, Now(at.0 - at.0 % 1000).plus_ms(1)),
        })
    }

    /// What has come since takes the place of what its subject had before. `true`: that is all.
    fn follow(&mut self, partition: &Partition, from: Position, looks: &mut usize) -> bool {
        if partition.records.is_none() {
            return true;
        }
        for record in partition.index.from(from) {
            if *looks == 0 {
                self.until = Some(record.first);
                return false;
            }
            *looks -= 1;
            if let Some(single) = record.single.filter(|_| partition.fits(&self.of.subjects, &record)) {
                put(&mut self.lasts, &mut self.order, single.subject, record.first);
            }
        }
        self.until = Some(partition.end);
        true
    }
}

/// The last record of a subject is this one now.
fn put(lasts: &mut BTreeMap<u32, Position>, order: &mut BTreeMap<Position, u32>, id: u32, last: Position) {
    if let Some(before) = lasts.insert(id, last) {
        order.remove(&before);
    }
    order.insert(last, id);
}

/// What there is to tell of a stream.
#[derive(Debug)]
pub(super) struct Telling {
    subjects: Option<Subjects>,
    holes: Option<Holes>,
}

/// A page of the subjects that match, by name, with their records.
#[derive(Debug)]
struct Subjects {
    of: SubjectsOf,
    walk: Walk,
    seen: u64,
    counted: Vec<(Bytes, u64)>,
}

/// Positions without a record.
#[derive(Debug)]
struct Holes {
    count_max: usize,
    /// Those below are listed.
    from: Position,
    list: Vec<Position>,
}

impl Telling {
    pub(super) fn new(of: StateOf) -> Self {
        let subjects = of.subjects.map(|mut of| {
            of.count_max = of.count_max.min(LISTED_MAX);
            Subjects { of, walk: Walk::default(), seen: 0, counted: Vec::new() }
        });
        let holes = of.holes_max.map(|max| {
            let count_max = max.min(LISTED_MAX) as usize;
            Holes { count_max, from: Position(0), list: Vec::new() }
        });
        Self { subjects, holes }
    }

    fn go_on(&mut self, partition: &Partition, groups: u32, looks: &mut usize) -> Option<Answered> {
        let Some(records) = &partition.records else {
            return Some(Ok(ShardRecordsAnswer::State(Box::default())));
        };
        let mut counted_all = 0;
        if let Some(subjects) = &mut self.subjects {
            counted_all = subjects.go_on(partition, looks)?;
        }
        if let Some(holes) = &mut self.holes {
            holes.go_on(partition, looks)?;
        }
        let (first, count) = (partition.start, partition.count());
        Some(Ok(ShardRecordsAnswer::State(Box::new(StreamState {
            records: count,
            bytes: partition.bytes,
            first,
            first_at: partition.index.from(first).next().map(|first| appended(&first)),
            end: partition.end,
            last_at: (records.last_ms > 0).then(|| Now(records.last_ms.saturating_mul(1000))),
            subjects: records.subjects.count() as u64,
            holes: partition.end.0 - first.0 - count,
            counted: self.subjects.take().map(|of| of.counted).unwrap_or_default(),
            counted_all,
            hole_list: self.holes.take().map(|of| of.list).unwrap_or_default(),
            groups,
        }))))
    }
}

impl Subjects {
    /// `Some`: how many there are in all.
    fn go_on(&mut self, partition: &Partition, looks: &mut usize) -> Option<u64> {
        let Self { of, walk, seen, counted } = self;
        let subjects = &partition.records.as_ref()?.subjects;
        counted.reserve_exact((of.count_max as usize).min(subjects.count()).saturating_sub(counted.len()));
        // Where whole pages of subjects match they are counted at once, and only those that are listed are looked at.
        let all_at_once = of.pattern.is_prefix();
        let is_full = |counted: &Vec<_>| counted.len() == of.count_max as usize;
        let mut is_over = all_at_once && is_full(counted);
        if !is_over {
            is_over = walk.go_on(subjects, from_ref(&of.pattern), looks, |id| {
                if *seen >= of.offset && !is_full(counted) {
                    let name = Bytes::copy_from_slice(subjects.name(id));
                    counted.push((name, subjects.positions(id).count_from(partition.start)));
                }
                *seen += 1;
            });
            is_over |= all_at_once && is_full(counted);
        }
        if !is_over {
            return None;
        }
        Some(if all_at_once { subjects.sum(&of.pattern).subjects } else { *seen })
    }
}

impl Holes {
    /// `None`: there may be more.
    fn go_on(&mut self, partition: &Partition, looks: &mut usize) -> Option<()> {
        self.from = self.from.max(partition.start);
        while self.from < partition.end && self.list.len() < self.count_max {
            let to = Position(self.from.0.saturating_add(HOLES_STEP)).min(partition.end);
            let room = self.count_max - self.list.len();
            let found = step_of(looks, |_| partition.index.holes((self.from, to), room))?;
            self.list.extend(found);
            self.from = to;
        }
        Some(())
    }
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
