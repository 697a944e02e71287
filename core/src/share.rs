//! Shared groups: who takes which record of a partition, and how far everything is settled.
//!
//! Here is the state of one group and how it changes; `shard::share` asks and logs. As everywhere there are two kinds of state (S1).
//! Logged, for a durable group that is not kept in memory, is what a restart must bring back: settings, how far deliveries have come, and
//! the deliveries that have not ended ([`pending`]). Attached is the rest: takers ([`takers`]), leases, times. What must hold: the settled
//! floor follows from the rest and goes down by a reset only; a record is given out only within the group's bound on what is unsettled, those to be
//! given out again first; the cost is that of what is delivered. Not here: which records there are ([`supply`]), and what is logged.

pub(crate) mod counting;
pub(crate) mod pending;
pub(crate) mod serve;
pub(crate) mod supply;
pub(crate) mod takers;

use crate::shelf::Shelf;
use crate::stream::Partition;
use crate::stream::tally::Walk;
use counting::{Counting, Held};
use pending::{Pending, Slot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::{Now, Position, QueueId, SessionId, SubscriptionId};
use stele_model::share::{Pace, Reached, SettlePolicy, ShareSettings, ShareStart};
use takers::Takers;

/// Number of a group: of a logged one, for ever; of another, as long as the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShareNumber(pub(crate) u64);

/// A group.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) number: ShareNumber,
    pub(crate) partition: QueueId,
    pub(crate) name: Arc<str>,
    pub(crate) created: Now,
    pub(crate) settings: Arc<ShareSettings>,
    /// Behind the last record that was delivered for the first time; [`Lasts`] stand below.
    pub(crate) next: Position,
    pub(crate) lasts: Option<Lasts>,
    /// How many deliveries there were.
    pub(crate) sequence: u64,
    pub(crate) pending: Pending,
    /// The settled floor while something is unsettled: it moves when the oldest delivery ends, so what no delivery was for stays above it
    /// until then. Attached state: a restart may leave it higher, at the oldest delivery.
    pub(crate) low: Position,
    pub(crate) takers: Takers,
    /// Between `next` and here is nothing that it wants.
    pub(crate) scanned: Position,
    /// Answers that wait until it is known how many records wait.
    pub(crate) held: Vec<Held>,
    pub(crate) delivered_at: Option<Now>,
    pub(crate) settled_at: Option<Now>,
    /// When it was last of use to somebody.
    pub(crate) used: Now,
    /// Nothing new is given out before.
    pub(crate) rests_until: Now,
    /// See [`Pace::Original`]: when the last record was given out and when it was appended, until everything up to the last position that
    /// there was at first has been.
    pub(crate) replay: Option<Replay>,
    /// Those that are ready to be delivered again are to be looked at from here on: the bound on deliveries may be another.
    pub(crate) recheck: Option<Position>,
    /// What it wants was purged up to here: it is to go on there. Attached state.
    pub(crate) purged: Position,
    /// Deliveries from here on may be of records that are gone: they are to be looked at. Attached state.
    pub(crate) doubt: Option<Doubt>,
    /// Its entry in the shard's timers.
    pub(crate) timer: Option<Now>,
}

/// The last record of each subject, for a group that begins with them.
#[derive(Clone, Debug)]
pub(crate) struct Lasts {
    /// Behind the last of them that was delivered. Logged.
    pub(crate) from: Position,
    /// They stand below: the partition's end at the group's birth. Logged.
    pub(crate) below: Position,
    /// Those that were not delivered, as far as they were found. Attached state.
    pub(crate) left: BTreeSet<Position>,
    /// The search for them; `None`: all were found. Attached state.
    pub(crate) walk: Option<Walk>,
}

/// See [`Share::doubt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    pub(crate) from: Position,
    /// Listeners hear of those that have ended.
    pub(crate) told: bool,
}

impl Doubt {
    /// Both.
    pub(crate) fn and(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| Self { from: self.from.min(other.from), told: self.told && other.told })
    }
}

/// Records given out as they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay {
    /// Where it ends.
    pub(crate) until: Position,
    /// When the last one was given out, and when it was appended.
    pub(crate) last: Option<(Now, Now)>,
}

impl Lasts {
    /// Whether this record is one that was not delivered, or perhaps is.
    pub(crate) fn may_hold(&self, position: Position) -> bool {
        match self.walk {
            Some(_) => (self.from..self.below).contains(&position),
            None => self.left.contains(&position),
        }
    }
}

impl Share {
    pub(crate) fn new(
        number: ShareNumber,
        (partition, name): (QueueId, Arc<str>),
        created: Now,
        settings: Arc<ShareSettings>,
        next: Position,
    ) -> Self {
        let lasts =
            || Lasts { from: Position(0), below: next, left: BTreeSet::new(), walk: Some(Walk::default()) };
        let lasts = (settings.start == ShareStart::LastPerSubject).then(lasts);
        Self {
            number,
            partition,
            name,
            created,
            settings,
            next,
            lasts,
            sequence: 0,
            pending: Pending::default(),
            low: Position(0),
            takers: Takers::default(),
            scanned: next,
            held: Vec::new(),
            delivered_at: None,
            settled_at: None,
            used: created,
            rests_until: Now(0),
            replay: None,
            recheck: None,
            purged: Position(0),
            doubt: None,
            timer: None,
        }
    }

    /// Whether what happens to it is logged.
    pub(crate) fn logs(&self) -> bool {
        self.settings.logged()
    }

    /// Whether deliveries wait for a settle.
    pub(crate) fn leases(&self) -> bool {
        self.settings.settle != SettlePolicy::None
    }

    pub(crate) fn delivered(&self) -> Reached {
        Reached { sequence: self.sequence, next: self.behind_last() }
    }

    /// Behind the last record that was delivered for the first time. Of a group that begins with the last records of subjects that is before
    /// the first of them, as soon as that is found.
    fn behind_last(&self) -> Position {
        match &self.lasts {
            Some(lasts) if self.next == lasts.below => {
                let first = lasts.left.first().copied();
                if lasts.from > Position(0) { lasts.from } else { first.unwrap_or(lasts.below) }
            }
            _ => self.next,
        }
    }

    /// The settled floor.
    pub(crate) fn floor(&self) -> Reached {
        match self.pending.first() {
            Some((_, slot)) => Reached { sequence: slot.sequence.saturating_sub(1), next: self.low },
            None => self.delivered(),
        }
    }

    /// Where to look for what was never delivered.
    pub(crate) fn from(&self, start: Position) -> Position {
        self.scanned.max(self.next).max(start)
    }

    /// Nothing is given out now.
    pub(crate) fn is_paused(&self, now: Now) -> bool {
        self.settings.pause_until.is_some_and(|until| now < until)
    }

    /// A record is delivered, the same in replay but for the lease (see [`Pending::deliver`]). Returns which delivery of the record it
    /// is; its number in the group is [`Self::sequence`] afterwards.
    pub(crate) fn deliver(&mut self, position: Position, lease: impl Fn(u32) -> Now) -> u32 {
        self.sequence += 1;
        if self.pending.count() == 0 {
            self.low = self.behind_last();
        }
        if position >= self.next {
            self.next = Position(position.0 + 1);
        } else if let Some(lasts) = &mut self.lasts
            && (lasts.from..lasts.below).contains(&position)
        {
            lasts.from = Position(position.0 + 1);
            lasts.left.remove(&position);
        }
        if self.leases() { self.pending.deliver(position, self.sequence, lease) } else { 1 }
    }

    /// Deliveries that need no settle, the same in replay.
    pub(crate) fn passed(&mut self, reached: Reached) {
        self.next = self.next.max(reached.next);
        self.sequence = self.sequence.max(reached.sequence);
    }

    /// Begins again, the same in replay.
    pub(crate) fn reset(&mut self, at: Position) {
        self.pending = Pending::default();
        self.sequence = 0;
        self.next = at;
        if let Some(lasts) = &mut self.lasts
            && at < lasts.below
        {
            lasts.from = lasts.from.min(at);
            lasts.walk = Some(Walk::default());
            self.next = lasts.below;
        }
        self.scanned = self.next;
    }

    /// A delivery has ended, the same in replay.
    pub(crate) fn end(&mut self, position: Position) -> Option<Slot> {
        let was_first = self.pending.first().is_some_and(|(first, _)| first == position);
        let slot = self.pending.end(position);
        if was_first {
            let next = self.pending.first().filter(|_| self.settings.settle == SettlePolicy::Explicit);
            self.low = next.map_or(Position(position.0 + 1), |(next, _)| next);
        }
        slot
    }

    /// What it wants was purged up to a position: it counts as delivered and settled. `Some`: that moves how far deliveries have come, which is
    /// to be logged.
    pub(crate) fn pass_purged(&mut self) -> Option<Reached> {
        self.low = self.low.max(self.purged);
        if self.next >= self.purged {
            return None;
        }
        let reached = Reached { sequence: self.sequence, next: self.purged };
        self.passed(reached);
        Some(reached)
    }

    /// Whether a record was delivered as often as may be.
    pub(crate) fn is_exhausted(&self, slot: &Slot) -> bool {
        self.settings.deliveries_max.is_some_and(|max| slot.deliveries >= max)
    }

    /// Records that wait for their first delivery; `None`: they have to be counted ([`Self::count_on`]).
    pub(crate) fn waiting(&self, partition: &Partition) -> Option<u64> {
        if self.searches() {
            return None;
        }
        let from = self.from(partition.start);
        let fresh = partition.counted(self.number.0, &self.settings.filters, from)?;
        Some(fresh + self.lasts_left())
    }

    /// Those of [`Self::waiting`] that are the last ones of their subjects.
    pub(crate) fn lasts_left(&self) -> u64 {
        self.lasts.as_ref().map_or(0, |lasts| lasts.left.len() as u64)
    }

    /// Goes on to find out how many records wait, and which are the last ones of their subjects, as far as the looks go. `true`: it is
    /// known.
    pub(crate) fn count_on(&mut self, partition: &mut Partition, looks: &mut usize) -> bool {
        let filters = &self.settings.filters;
        if let Some(lasts) = &mut self.lasts
            && let Some(walk) = &mut lasts.walk
        {
            let (range, left) = (lasts.from..lasts.below, &mut lasts.left);
            if !partition.lasts_on(filters, range, walk, looks, |_, last| _ = left.insert(last)) {
                return false;
            }
            lasts.walk = None;
        }
        let from = self.from(partition.start);
        partition.count_on(self.number.0, &self.settings.filters, from, looks)
    }

    /// The last records of subjects are still searched for.
    pub(crate) fn searches(&self) -> bool {
        self.lasts.as_ref().is_some_and(|lasts| lasts.walk.is_some())
    }

    /// Somebody wants to know how many records wait, or which are to be given out.
    pub(crate) fn is_asked(&self) -> bool {
        self.searches() || !self.held.is_empty() || !self.takers.is_empty()
    }

    /// Begins attached state: at the birth of the group, or after a restart.
    pub(crate) fn start(&mut self, now: Now, partition: &Partition) {
        let end = partition.end;
        self.used = now;
        self.pending.restart();
        self.recheck = Some(Position(0));
        if self.settings.pace == Pace::Original && self.next < end {
            self.replay = Some(Replay { until: end, last: None });
        }
    }

    /// When it has to be looked at if nothing else happens before; a stalled one not for its leases.
    pub(crate) fn due(&self, now: Now, is_stalled: bool) -> Option<Now> {
        let unused = self
            .settings
            .inactive_us
            .filter(|_| self.takers.is_empty())
            .map(|us| Now(self.used.0.saturating_add(us)));
        let asked = !self.takers.is_empty();
        let paused = self.settings.pause_until.filter(|until| *until > now && asked);
        let rest = Some(self.rests_until).filter(|until| *until > now && asked);
        let pending = self.pending.due().filter(|_| !is_stalled);
        [pending, self.takers.due(), unused, paused, rest].into_iter().flatten().min()
    }
}

/// The groups of a shard.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    pub(crate) groups: Shelf<Share>,
    pub(crate) of: BTreeMap<QueueId, OfPartition>,
    /// Which group a taker takes from.
    pub(crate) takers: BTreeMap<SubscriptionId, ShareNumber>,
    /// Who is told what happens to groups.
    pub(crate) listeners: BTreeSet<SessionId>,
    pub(crate) timers: BTreeSet<(Now, ShareNumber)>,
    /// Groups with work left.
    pub(crate) again: BTreeSet<ShareNumber>,
    /// Groups that give nothing out until a move ends: they have dead letters, and too many moves are under way.
    pub(crate) stalled: BTreeSet<ShareNumber>,
    /// Partitions with groups that are to doubt deliveries.
    pub(crate) doubting: BTreeSet<QueueId>,
    /// Partitions whose records are to be looked at from a position on: those that nobody needs go.
    pub(crate) sweeps: BTreeMap<QueueId, Position>,
    /// Where the next record of such a partition will stand that was never looked at.
    pub(crate) swept: BTreeMap<QueueId, Position>,
    pub(crate) counting: Counting,
    /// The group that had its turn last.
    pub(crate) turn: ShareNumber,
    pub(crate) last: ShareNumber,
}

/// The groups of one partition.
#[derive(Debug, Default)]
pub(crate) struct OfPartition {
    pub(crate) names: BTreeMap<Arc<str>, ShareNumber>,
    pub(crate) numbers: BTreeSet<ShareNumber>,
    /// Those with takers that have come to the end.
    pub(crate) hungry: BTreeSet<ShareNumber>,
    /// Those with deliveries that have not ended, and perhaps others. Attached state: none in replay.
    pub(crate) holding: BTreeSet<ShareNumber>,
    /// What has made room for others since the groups were told.
    pub(crate) gone: Gone,
    /// Groups that are to doubt deliveries, which are too many to be looked at one by one.
    pub(crate) doubting: Option<Doubting>,
}

/// Records that went while others came.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    /// Listeners hear of their deliveries.
    pub(crate) told: Vec<Position>,
    /// They were rolled up: nobody hears of it.
    pub(crate) untold: Vec<Position>,
}

/// A round over the groups that hold deliveries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubting {
    pub(crate) doubt: Doubt,
    /// The group that was told last, and how many are left.
    pub(crate) last: ShareNumber,
    pub(crate) left: usize,
}

impl Shares {
    pub(crate) fn number(&self, partition: QueueId, name: &str) -> Option<ShareNumber> {
        self.of.get(&partition)?.names.get(name).copied()
    }

    pub(crate) fn find(&mut self, partition: QueueId, name: &str) -> Option<&mut Share> {
        let number = self.number(partition, name)?;
        self.groups.get_mut(&number)
    }

    /// Takes up a group, the same in replay.
    pub(crate) fn insert(&mut self, share: Share) {
        self.last = self.last.max(share.number);
        let of = self.of.entry(share.partition).or_default();
        of.names.insert(Arc::clone(&share.name), share.number);
        of.numbers.insert(share.number);
        self.groups.insert(share.number, Box::new(share));
    }

    /// Lets go of a group, the same in replay.
    pub(crate) fn remove(&mut self, number: ShareNumber) -> Option<Box<Share>> {
        let share = self.groups.remove(&number)?;
        if let Some(of) = self.of.get_mut(&share.partition) {
            of.names.remove(&share.name);
            of.numbers.remove(&number);
            of.hungry.remove(&number);
            of.holding.remove(&number);
            if of.names.is_empty() {
                self.of.remove(&share.partition);
            }
        }
        for id in share.takers.ids() {
            self.takers.remove(&id);
        }
        self.again.remove(&number);
        self.stalled.remove(&number);
        if let Some(at) = share.timer {
            self.timers.remove(&(at, number));
        }
        Some(share)
    }

    /// The start of the partition has moved: groups with deliveries are looked at.
    pub(crate) fn look_at(&mut self, partition: QueueId) {
        self.again.extend(self.of.get(&partition).iter().flat_map(|of| &of.holding));
    }

    /// Where to write down what goes from the partition, if one of its groups may have deliveries of it.
    pub(crate) fn gone_of(&mut self, partition: QueueId) -> Option<&mut Gone> {
        let of = self.of.get_mut(&partition).filter(|of| !of.holding.is_empty())?;
        Some(&mut of.gone)
    }

    /// Deliveries of the partition's groups have to be looked at, some groups at a time.
    pub(crate) fn doubt(&mut self, partition: QueueId, doubt: Doubt) {
        let Some(of) = self.of.get_mut(&partition) else { return };
        let before = of.doubting;
        let last = before.map_or(ShareNumber(0), |before| before.last);
        let doubt = doubt.and(before.map(|before| before.doubt));
        of.doubting = Some(Doubting { doubt, last, left: of.holding.len() });
        self.doubting.insert(partition);
    }

    /// Tells some of the groups that are to doubt deliveries.
    pub(crate) fn step_doubting(&mut self, groups_max: usize) {
        let Some(partition) = self.doubting.pop_first() else { return };
        let Some(of) = self.of.get_mut(&partition) else { return };
        let Some(Doubting { doubt, mut last, left }) = of.doubting.take() else { return };
        let behind = of.holding.range(ShareNumber(last.0 + 1)..);
        let round = behind.chain(of.holding.range(..=last)).take(left.min(groups_max));
        for number in round {
            last = *number;
            if let Some(share) = self.groups.get_mut(number) {
                share.doubt = Some(doubt.and(share.doubt));
                self.again.insert(*number);
            }
        }
        if left > groups_max {
            of.doubting = Some(Doubting { doubt, last, left: left - groups_max });
            self.doubting.insert(partition);
        }
    }

    /// A move has ended: there is room for others.
    pub(crate) fn moves_go_on(&mut self) {
        self.again.append(&mut self.stalled);
    }

    pub(crate) fn deadline(&self) -> Option<Now> {
        let is_busy = !(self.again.is_empty() && self.sweeps.is_empty() && self.doubting.is_empty());
        if is_busy || !self.counting.is_idle() {
            return Some(Now(0));
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Sets the group's timer to when it has to be looked at next.
    pub(crate) fn set_timer(&mut self, number: ShareNumber, now: Now) {
        let is_stalled = self.stalled.contains(&number);
        let Some(share) = self.groups.get_mut(&number) else { return };
        // One that is too early only looks and is set anew: cheaper than moving it with every delivery and settle.
        let Some(due) = share.due(now, is_stalled).filter(|due| share.timer.is_none_or(|at| *due < at))
        else {
            return;
        };
        if let Some(at) = share.timer.replace(due) {
            self.timers.remove(&(at, number));
        }
        self.timers.insert((due, number));
    }

    /// The next group with work left.
    pub(crate) fn next(&mut self) -> Option<ShareNumber> {
        let next = self.again.range(ShareNumber(self.turn.0.saturating_add(1))..).next();
        let next = next.or_else(|| self.again.first()).copied()?;
        self.again.remove(&next);
        self.turn = next;
        Some(next)
    }
}
