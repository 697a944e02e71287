//! Deliveries of a group that have not ended: who counts them, and when each is to be given out again.
//!
//! Called by [`super::Share`]. Logged is which records they are, how often each was delivered, the number of its first delivery, and until
//! when it rests after a release; leases are attached state, so after a restart what was leased is ready again (S4). What must hold: a
//! run of neighbours that were delivered at one time costs one mark of time, not one each; marks that mean nothing any more are at most
//! about as many as deliveries. Not here: what ends a delivery, and what is logged.

use crate::paged::Paged;
use crate::queue::{extend_runs, positions};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use stele_model::id::{Now, Position};
use stele_model::settle::Run;

/// Marks of time that may mean nothing, besides one for each delivery.
const STALE_MARKS_MAX: u64 = 256;

/// A lease that does not end by itself.
pub(crate) const NEVER: Now = Now(u64::MAX);

/// A delivery that has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The group's number of its first delivery.
    pub(crate) sequence: u64,
    /// How often it was delivered.
    pub(crate) deliveries: u32,
    state: State,
    /// It was released to rest until `until`, and not delivered since.
    rested: bool,
    until: Now,
}

/// What a slot waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// For a settle, until the lease ends.
    #[default]
    Leased,
    /// To be delivered again, from a time on.
    Resting,
    /// To be delivered again.
    Ready,
}

impl Slot {
    /// Until when it rests, or rested, since its last delivery. Logged.
    pub(crate) fn rest(&self) -> Option<Now> {
        self.rested.then_some(self.until)
    }

    /// When its lease of `lease_us` began; the end of time, if it was before a restart.
    pub(crate) fn leased_at(&self, lease_us: u64) -> Now {
        Now(if self.until == NEVER { NEVER.0 } else { self.until.0.saturating_sub(lease_us) })
    }

    fn waits(&self) -> bool {
        self.state != State::Ready
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    slots: Paged<Slot>,
    /// Those to be delivered again.
    ready: BTreeSet<Position>,
    /// When slots stop waiting. A mark holds for a slot that waits until just then; others mean nothing.
    marks: BTreeMap<Now, Vec<Run>>,
    /// Runs in `marks`.
    marked: u64,
    /// Slots that were delivered more than once.
    redelivered: u64,
}

impl Pending {
    pub(crate) fn count(&self) -> u64 {
        self.slots.count()
    }

    pub(crate) fn redelivered(&self) -> u64 {
        self.redelivered
    }

    pub(crate) fn ready(&self) -> u64 {
        self.ready.len() as u64
    }

    pub(crate) fn find(&self, position: Position) -> Option<&Slot> {
        self.slots.find(position)
    }

    pub(crate) fn first(&self) -> Option<(Position, Slot)> {
        self.slots.first()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Position, Slot)> + '_ {
        self.slots.iter()
    }

    pub(crate) fn range(&self, positions: Range<Position>) -> impl Iterator<Item = (Position, Slot)> + '_ {
        self.slots.range(positions)
    }

    /// The next to be delivered again, from `from` on.
    pub(crate) fn next_ready(&self, from: Position) -> Option<Position> {
        self.ready.range(from..).next().copied()
    }

    /// Those to be delivered again, from `from` on.
    pub(crate) fn all_ready(&self, from: Position) -> impl Iterator<Item = (Position, Slot)> + '_ {
        self.ready.range(from..).filter_map(|position| Some((*position, *self.slots.find(*position)?)))
    }

    /// When the next one stops waiting, or the next mark that means nothing is seen through.
    pub(crate) fn due(&self) -> Option<Now> {
        self.marks.first_key_value().map(|(at, _)| *at)
    }

    /// A record is delivered: again, or with this number for the first time. `lease`: when the delivery that is the nth of its record has
    /// to be settled; [`NEVER`] in replay. Returns which delivery it is.
    pub(crate) fn deliver(&mut self, position: Position, sequence: u64, lease: impl Fn(u32) -> Now) -> u32 {
        let (nth, until) = if let Some(slot) = self.slots.find_mut(position) {
            slot.deliveries = slot.deliveries.saturating_add(1);
            let until = lease(slot.deliveries);
            let was_ready = slot.state == State::Ready;
            (slot.state, slot.rested, slot.until) = (State::Leased, false, until);
            let nth = slot.deliveries;
            self.redelivered += u64::from(nth == 2);
            if was_ready {
                self.ready.remove(&position);
            }
            (nth, until)
        } else {
            let until = lease(1);
            let slot = Slot { sequence, deliveries: 1, state: State::Leased, rested: false, until };
            self.slots.insert(position, slot);
            (1, until)
        };
        if until != NEVER {
            self.mark(position, until);
        }
        nth
    }

    /// A lease begins anew, and ends then. What is not leased stays as it is.
    pub(crate) fn extend(&mut self, position: Position, until: Now) {
        if let Some(slot) = self.slots.find_mut(position).filter(|slot| slot.state == State::Leased) {
            slot.until = until;
            self.mark(position, until);
        }
    }

    /// It is to be delivered again: now, or after a rest; the same in replay.
    pub(crate) fn release(&mut self, position: Position, rest: Option<Now>) {
        let Some(slot) = self.slots.find_mut(position) else { return };
        slot.rested = rest.is_some();
        match rest {
            Some(until) => {
                (slot.state, slot.until) = (State::Resting, until);
                self.ready.remove(&position);
                self.mark(position, until);
            }
            None => {
                slot.state = State::Ready;
                self.ready.insert(position);
            }
        }
    }

    /// It has ended, the same in replay.
    pub(crate) fn end(&mut self, position: Position) -> Option<Slot> {
        let slot = self.slots.remove(position)?;
        if slot.state == State::Ready {
            self.ready.remove(&position);
        }
        self.redelivered -= u64::from(slot.deliveries > 1);
        if self.slots.count() == 0 {
            self.marks.clear();
            self.marked = 0;
        }
        Some(slot)
    }

    /// Looks at marks whose time has come, at least one and about `most` positions, and makes ready what has waited until then. `true`:
    /// there are more.
    pub(crate) fn wake(&mut self, now: Now, most: usize, mut woken: impl FnMut(Position, &Slot)) -> bool {
        let mut seen = 0;
        while let Some(entry) = self.marks.first_entry().filter(|entry| *entry.key() <= now) {
            if seen >= most {
                return true;
            }
            let (at, runs) = entry.remove_entry();
            self.marked -= runs.len() as u64;
            for position in positions(&runs) {
                seen += 1;
                let slot = self.slots.find_mut(position).filter(|slot| slot.waits() && slot.until == at);
                if let Some(slot) = slot {
                    slot.state = State::Ready;
                    self.ready.insert(position);
                    woken(position, slot);
                }
            }
        }
        false
    }

    /// A slot of a snapshot.
    pub(crate) fn restore(&mut self, position: Position, sequence: u64, deliveries: u32, rest: Option<Now>) {
        let until = rest.unwrap_or(NEVER);
        let slot = Slot { sequence, deliveries, state: State::Leased, rested: rest.is_some(), until };
        self.slots.insert(position, slot);
        self.redelivered += u64::from(deliveries > 1);
    }

    /// Replay is over: what was leased is ready again, what rests goes on resting.
    pub(crate) fn restart(&mut self) {
        self.ready.clear();
        self.marks.clear();
        self.marked = 0;
        let all: Vec<(Position, Slot)> = self.slots.iter().collect();
        for (position, slot) in all {
            self.release(position, slot.rest());
        }
    }

    fn mark(&mut self, position: Position, at: Now) {
        if self.marked > 2 * self.slots.count() + STALE_MARKS_MAX {
            self.mark_anew();
        }
        let runs = self.marks.entry(at).or_default();
        let before = runs.len();
        extend_runs(runs, position);
        self.marked += (runs.len() - before) as u64;
    }

    /// Forgets marks that mean nothing.
    fn mark_anew(&mut self) {
        self.marks.clear();
        self.marked = 0;
        for (position, slot) in self.slots.iter().filter(|(_, slot)| slot.waits()) {
            if slot.until != NEVER {
                let runs = self.marks.entry(slot.until).or_default();
                let before = runs.len();
                extend_runs(runs, position);
                self.marked += (runs.len() - before) as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(positions: Range<u64>, until: u64) -> Pending {
        let mut pending = Pending::default();
        for n in positions {
            assert_eq!(pending.deliver(Position(n), n + 1, |_| Now(until)), 1);
        }
        pending
    }

    fn woken(pending: &mut Pending, now: u64) -> Vec<u64> {
        let mut all = Vec::new();
        while pending.wake(Now(now), 4, |position, _| all.push(position.0)) {}
        all
    }

    #[test]
    fn what_is_not_settled_in_its_lease_is_ready_again_once() {
        let mut pending = delivered(0..5, 100);
        assert_eq!(pending.due(), Some(Now(100)));
        pending.end(Position(1));
        pending.extend(Position(3), Now(150));
        assert_eq!(woken(&mut pending, 99), []);
        assert_eq!(woken(&mut pending, 100), [0, 2, 4]);
        assert_eq!(woken(&mut pending, 150), [3]);
        assert_eq!((pending.count(), pending.ready()), (4, 4));
        assert_eq!(pending.deliver(Position(2), 9, |_| NEVER), 2);
        assert_eq!((pending.redelivered(), pending.next_ready(Position(1))), (1, Some(Position(3))));
    }

    #[test]
    fn a_released_one_rests_as_long_as_it_should() {
        let mut pending = delivered(0..2, 100);
        pending.release(Position(0), Some(Now(500)));
        assert_eq!(woken(&mut pending, 100), [1]);
        pending.release(Position(0), None);
        assert_eq!(pending.next_ready(Position(0)), Some(Position(0)), "a second release ends the rest");
        pending.release(Position(0), Some(Now(700)));
        assert_eq!(woken(&mut pending, 699), []);
        assert_eq!(woken(&mut pending, 700), [0]);
        assert_eq!(pending.find(Position(0)).and_then(Slot::rest), Some(Now(700)));
    }

    #[test]
    fn extending_for_ever_keeps_few_marks() {
        let mut pending = delivered(0..8, 1);
        for n in 0..100_000_u64 {
            pending.extend(Position(n % 8), Now(1000 + n));
        }
        assert!(pending.marked <= 2 * 8 + STALE_MARKS_MAX + 1, "{}", pending.marked);
        assert_eq!(woken(&mut pending, u64::MAX), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn after_a_restart_leases_are_ready_and_rests_go_on() {
        let mut pending = delivered(0..3, 100);
        pending.release(Position(1), Some(Now(500)));
        pending.restart();
        assert_eq!((pending.ready(), pending.due()), (2, Some(Now(500))));
        assert_eq!(woken(&mut pending, 500), [1]);
    }
}
