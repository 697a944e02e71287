//! Who takes from a group, what each still wants, and whose turn it is.
//!
//! Called by [`super::Share`]. Attached state (S1). What must hold: a pull gets at most what it asked for, a push only against byte credit
//! (S18); takers with wishes take turns; a sign of life put off by records costs no change of the times: the time is looked at again
//! when it comes. Not here: which records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use stele_model::id::{Lsn, Now, SubscriptionId};
use stele_model::share::{PullLeft, PullWant};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Takers {
    by_id: BTreeMap<SubscriptionId, Taker>,
    /// Those with wishes, in turn. May name some who are gone.
    line: VecDeque<SubscriptionId>,
    /// When a taker has to be looked at.
    alarms: BTreeSet<(Now, SubscriptionId)>,
    pushes: u32,
    /// Records that pulls want.
    wanted: u64,
}

/// A pull or a push.
#[derive(Debug)]
pub(crate) struct Taker {
    wants: Wants,
    heartbeat_us: Option<u64>,
    /// When it last heard something.
    heard: Now,
    /// Its entry in the alarms.
    alarm: Option<Now>,
    in_line: bool,
    /// What its last records wait for, and so whatever is said to it afterwards.
    after: Lsn,
}

#[derive(Debug)]
enum Wants {
    Pull {
        count: u32,
        /// `None`: any.
        bytes: Option<u64>,
        expires: Option<Now>,
        no_wait: bool,
        took: bool,
    },
    Push {
        bytes: i64,
        bytes_max: i64,
    },
}

/// What a taker's time has come for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// The pull's time is over.
    Expired(PullLeft),
    /// It has heard nothing for long.
    Quiet,
}

/// What was given to a taker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// So many records.
    pub(crate) count: u32,
    /// The next one has more bytes than the pull still takes, so it gets no more.
    pub(crate) stuck: bool,
}

impl Taker {
    fn left(&self) -> PullLeft {
        match self.wants {
            Wants::Pull { count, bytes, .. } => PullLeft { count, bytes: bytes.unwrap_or(0) },
            Wants::Push { .. } => PullLeft::default(),
        }
    }

    fn is_open(&self) -> bool {
        match self.wants {
            Wants::Pull { count, .. } => count > 0,
            Wants::Push { bytes, .. } => bytes > 0,
        }
    }

    fn due(&self) -> Option<Now> {
        let expires = match self.wants {
            Wants::Pull { expires, .. } => expires,
            Wants::Push { .. } => None,
        };
        [expires, self.quiet_at()].into_iter().flatten().min()
    }

    fn quiet_at(&self) -> Option<Now> {
        self.heartbeat_us.map(|us| Now(self.heard.0.saturating_add(us)))
    }
}

impl Takers {
    pub(crate) fn pulls(&self) -> u32 {
        self.by_id.len() as u32 - self.pushes
    }

    pub(crate) fn pushes(&self) -> u32 {
        self.pushes
    }

    /// Records that pulls want.
    pub(crate) fn wanted(&self) -> u64 {
        self.wanted
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.by_id.keys().copied()
    }

    pub(crate) fn due(&self) -> Option<Now> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Adds a pull; one of the same name ends unheard.
    pub(crate) fn pull(&mut self, id: SubscriptionId, want: &PullWant, now: Now) {
        let expires = want.expires_us.map(|us| Now(now.0.saturating_add(us)));
        let wants = Wants::Pull {
            count: want.count,
            bytes: want.bytes_max,
            expires,
            no_wait: want.no_wait,
            took: false,
        };
        self.add(id, wants, want.heartbeat_us, now);
    }

    /// Adds a push.
    pub(crate) fn push(&mut self, id: SubscriptionId, bytes_max: u64, heartbeat_us: Option<u64>, now: Now) {
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        self.add(id, Wants::Push { bytes: bytes_max, bytes_max }, heartbeat_us, now);
    }

    fn add(&mut self, id: SubscriptionId, wants: Wants, heartbeat_us: Option<u64>, now: Now) {
        self.remove(id);
        match wants {
            Wants::Pull { count, .. } => self.wanted += u64::from(count),
            Wants::Push { .. } => self.pushes += 1,
        }
        self.by_id.insert(
            id,
            Taker { wants, heartbeat_us, heard: now, alarm: None, in_line: false, after: Lsn(0) },
        );
        self.set_alarm(id);
        self.queue(id);
    }

    /// Lets go of a taker. Returns the block that its last records wait for.
    pub(crate) fn remove(&mut self, id: SubscriptionId) -> Lsn {
        let Some(taker) = self.by_id.remove(&id) else { return Lsn(0) };
        match taker.wants {
            Wants::Pull { count, .. } => self.wanted -= u64::from(count),
            Wants::Push { .. } => self.pushes -= 1,
        }
        if let Some(at) = taker.alarm {
            self.alarms.remove(&(at, id));
        }
        if self.by_id.is_empty() {
            self.line.clear();
        }
        taker.after
    }

    /// Records are on their way to a taker, once block `after` is durable.
    pub(crate) fn sent(&mut self, id: SubscriptionId, after: Lsn) {
        if let Some(taker) = self.by_id.get_mut(&id) {
            taker.after = taker.after.max(after);
        }
    }

    /// What the taker's last records wait for.
    pub(crate) fn after(&self, id: SubscriptionId) -> Lsn {
        self.by_id.get(&id).map_or(Lsn(0), |taker| taker.after)
    }

    /// Bytes have left for a push's client.
    pub(crate) fn give_bytes(&mut self, id: SubscriptionId, given: u64) {
        let Some(taker) = self.by_id.get_mut(&id) else { return };
        if let Wants::Push { bytes, bytes_max } = &mut taker.wants {
            let given = i64::try_from(given).unwrap_or(i64::MAX);
            *bytes = bytes.saturating_add(given).min(*bytes_max);
            self.queue(id);
        }
    }

    /// Whose turn it is; it keeps its place.
    pub(crate) fn head(&mut self) -> Option<SubscriptionId> {
        while let Some(id) = self.line.front().copied() {
            match self.by_id.get_mut(&id) {
                Some(taker) if taker.is_open() => return Some(id),
                Some(taker) => taker.in_line = false,
                None => {}
            }
            self.line.pop_front();
        }
        None
    }

    /// The head has had its share: others come first.
    pub(crate) fn turn(&mut self) {
        if let Some(id) = self.line.pop_front() {
            if let Some(taker) = self.by_id.get_mut(&id) {
                taker.in_line = false;
            }
            self.queue(id);
        }
    }

    /// Gives a taker as many as it may have of up to `most` records of `len` bytes each.
    pub(crate) fn give(&mut self, id: SubscriptionId, most: u32, len: u64, now: Now) -> Given {
        let Some(taker) = self.by_id.get_mut(&id) else { return Given::default() };
        let mut given = Given::default();
        match &mut taker.wants {
            Wants::Pull { count, bytes, took, .. } => {
                let before = *count;
                given.count = most.min(*count);
                if let Some(bytes) = bytes {
                    let fitting = bytes.checked_div(len).unwrap_or(u64::MAX);
                    given.count = u64::from(given.count).min(fitting) as u32;
                    *bytes -= len * u64::from(given.count);
                    // Used up to the byte is as good as complete.
                    *count = if *bytes == 0 { 0 } else { *count - given.count };
                    given.stuck = given.count < most && *count > 0;
                } else {
                    *count -= given.count;
                }
                *took |= given.count > 0;
                self.wanted -= u64::from(before - *count);
            }
            Wants::Push { bytes, .. } => {
                // The last record may take it below 0, so that one larger than all credit passes.
                let fitting = u64::try_from(*bytes).unwrap_or(0).div_ceil(len.max(1));
                given.count = u64::from(most).min(fitting) as u32;
                *bytes -= i64::try_from(len * u64::from(given.count)).unwrap_or(i64::MAX);
            }
        }
        if given.count > 0 {
            taker.heard = now;
        }
        given
    }

    /// What a pull still wants.
    pub(crate) fn left(&self, id: SubscriptionId) -> PullLeft {
        self.by_id.get(&id).map_or_else(PullLeft::default, Taker::left)
    }

    /// What a pull that has all it wanted did not use; `None`: it wants more, or is none.
    pub(crate) fn complete(&self, id: SubscriptionId) -> Option<PullLeft> {
        let taker = self.by_id.get(&id)?;
        matches!(taker.wants, Wants::Pull { count: 0, .. }).then(|| taker.left())
    }

    /// Pulls that will not wait, when there is nothing (more).
    pub(crate) fn impatient(&self) -> Vec<SubscriptionId> {
        let gives_up = |taker: &Taker| matches!(taker.wants, Wants::Pull { no_wait: true, expires, took, .. } if expires.is_none() || took);
        self.by_id.iter().filter(|(_, taker)| gives_up(taker)).map(|(id, _)| *id).collect()
    }

    /// Takes out a taker whose time has come.
    pub(crate) fn ring(&mut self, now: Now) -> Option<(SubscriptionId, Alarm)> {
        while let Some((at, id)) = self.alarms.first().copied().filter(|(at, _)| *at <= now) {
            self.alarms.remove(&(at, id));
            let Some(taker) = self.by_id.get_mut(&id) else { continue };
            taker.alarm = None;
            if let Wants::Pull { expires: Some(expires), .. } = taker.wants
                && expires <= now
            {
                return Some((id, Alarm::Expired(taker.left())));
            }
            let is_quiet = taker.quiet_at().is_some_and(|at| at <= now);
            if is_quiet {
                taker.heard = now;
            }
            self.set_alarm(id);
            if is_quiet {
                return Some((id, Alarm::Quiet));
            }
        }
        None
    }

    fn set_alarm(&mut self, id: SubscriptionId) {
        let Some(taker) = self.by_id.get_mut(&id) else { return };
        let due = taker.due();
        if due == taker.alarm {
            return;
        }
        if let Some(at) = std::mem::replace(&mut taker.alarm, due) {
            self.alarms.remove(&(at, id));
        }
        if let Some(at) = due {
            self.alarms.insert((at, id));
        }
    }

    fn queue(&mut self, id: SubscriptionId) {
        let Some(taker) = self.by_id.get_mut(&id).filter(|taker| taker.is_open() && !taker.in_line) else {
            return;
        };
        taker.in_line = true;
        self.line.push_back(id);
        // Names of those who are gone are passed over at the head; behind one that stays there they would pile up.
        if self.line.len() > 2 * self.by_id.len() + 64 {
            let by_id = &self.by_id;
            self.line.retain(|id| by_id.get(id).is_some_and(|taker| taker.in_line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stele_model::id::{HubId, SessionId};

    fn id(number: u64) -> SubscriptionId {
        SubscriptionId { session: SessionId { hub: HubId(0), number: 1 }, number }
    }

    fn want(count: u32) -> PullWant {
        PullWant { count, ..PullWant::default() }
    }

    fn some(count: u32) -> Given {
        Given { count, stuck: false }
    }

    #[test]
    fn pulls_take_turns_and_end_when_they_have_all() {
        let mut takers = Takers::default();
        takers.pull(id(1), &want(2), Now(0));
        takers.pull(id(2), &want(1), Now(0));
        assert_eq!((takers.wanted(), takers.head()), (3, Some(id(1))));
        assert_eq!(takers.give(id(1), 1, 5, Now(1)), some(1));
        takers.turn();
        assert_eq!(takers.head(), Some(id(2)));
        assert_eq!(takers.give(id(2), 1, 5, Now(1)), some(1));
        assert_eq!(takers.complete(id(2)), Some(PullLeft::default()));
        takers.remove(id(2));
        assert_eq!((takers.head(), takers.wanted()), (Some(id(1)), 1));
    }

    #[test]
    fn a_pull_that_bounds_bytes_ends_with_the_record_that_does_not_fit() {
        let mut takers = Takers::default();
        takers.pull(id(1), &PullWant { count: 9, bytes_max: Some(10), ..PullWant::default() }, Now(0));
        assert_eq!(takers.give(id(1), 4, 3, Now(0)), Given { count: 3, stuck: true });
        assert_eq!(takers.left(id(1)), PullLeft { count: 6, bytes: 1 });
        assert_eq!(takers.give(id(1), 1, 1, Now(0)), some(1));
        assert_eq!(takers.complete(id(1)), Some(PullLeft::default()), "to the byte is enough");
    }

    #[test]
    fn a_push_without_credit_leaves_the_line_and_comes_back_with_it() {
        let mut takers = Takers::default();
        takers.push(id(1), 10, None, Now(0));
        assert_eq!(takers.give(id(1), 9, 6, Now(0)), some(2));
        assert_eq!((takers.head(), takers.give(id(1), 1, 1, Now(0))), (None, some(0)));
        takers.give_bytes(id(1), 2);
        assert_eq!(takers.head(), None);
        takers.give_bytes(id(1), 99);
        assert_eq!(takers.head(), Some(id(1)));
    }

    #[test]
    fn a_quiet_taker_hears_a_sign_of_life_and_records_put_it_off() {
        let mut takers = Takers::default();
        let want = PullWant { heartbeat_us: Some(10), expires_us: Some(25), ..want(9) };
        takers.pull(id(1), &want, Now(0));
        takers.give(id(1), 1, 1, Now(6));
        assert_eq!(takers.ring(Now(10)), None);
        assert_eq!(takers.due(), Some(Now(16)));
        assert_eq!(takers.ring(Now(16)), Some((id(1), Alarm::Quiet)));
        assert_eq!(takers.ring(Now(24)), None);
        assert_eq!(takers.ring(Now(25)), Some((id(1), Alarm::Expired(PullLeft { count: 8, bytes: 0 }))));
    }

    #[test]
    fn many_short_pulls_beside_a_long_one_leave_no_names_behind() {
        let mut takers = Takers::default();
        takers.pull(id(0), &want(1_000_000), Now(0));
        for n in 1..10_000 {
            takers.pull(id(n), &want(1), Now(0));
            takers.remove(id(n));
        }
        assert!(takers.line.len() <= 70, "{}", takers.line.len());
    }
}
