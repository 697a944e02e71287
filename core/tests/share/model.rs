//! The model: what clients may expect of a shared group, in the plainest form. It does not say who gets what; it says what may be given,
//! and what must be when everything has come to rest.

use std::collections::BTreeMap;
use stele_model::share::{SettlePolicy, ShareSettings};

/// A delivery that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) deliveries: u32,
    /// Number of the first delivery.
    pub(crate) sequence: u64,
    /// When it is to be given out again, µs.
    pub(crate) until: u64,
    /// It was released, and so is no longer at work.
    pub(crate) released: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) settings: ShareSettings,
    pub(crate) next: u64,
    pub(crate) sequence: u64,
    pub(crate) unsettled: BTreeMap<u64, Unsettled>,
    /// The floor never goes down in one life.
    pub(crate) floor: u64,
}

/// What a taker may still have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taker {
    Pull { group: u8, count: u32, no_wait: bool, took: bool, expires: Option<u64> },
    Push { group: u8, bytes: i64, bytes_max: i64 },
}

impl Taker {
    pub(crate) fn group(&self) -> u8 {
        match self {
            Self::Pull { group, .. } | Self::Push { group, .. } => *group,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Pull { count, .. } => *count > 0,
            Self::Push { bytes, .. } => *bytes > 0,
        }
    }
}

impl Group {
    pub(crate) fn new(settings: ShareSettings, next: u64) -> Self {
        Self { settings, next, sequence: 0, unsettled: BTreeMap::new(), floor: 0 }
    }

    pub(crate) fn leases(&self) -> bool {
        self.settings.settle != SettlePolicy::None
    }

    pub(crate) fn is_exhausted(&self, of: &Unsettled) -> bool {
        self.settings.deliveries_max.is_some_and(|max| of.deliveries >= max)
    }

    /// Everything from here on comes again.
    pub(crate) fn reset(&mut self, at: u64) {
        (self.next, self.floor, self.sequence) = (at, 0, 0);
        self.unsettled.clear();
    }

    /// What is to be given out again.
    pub(crate) fn again(&self, now: u64) -> impl Iterator<Item = u64> + '_ {
        let ready = move |(_, of): &(&u64, &Unsettled)| of.until <= now && !self.is_exhausted(of);
        self.unsettled.iter().filter(ready).map(|(at, _)| *at)
    }

    pub(crate) fn has_room(&self) -> bool {
        let max = self.settings.pending_max.filter(|_| self.leases());
        max.is_none_or(|max| (self.unsettled.len() as u64) < u64::from(max))
    }

    pub(crate) fn is_paused(&self, now: u64) -> bool {
        self.settings.pause_until.is_some_and(|until| now < until.0)
    }

    /// Everything below is settled, or was never for it.
    pub(crate) fn settled_below(&self) -> u64 {
        self.unsettled.keys().next().copied().unwrap_or(self.next)
    }

    /// May this record be given out now, as this delivery with this number?
    pub(crate) fn give(
        &mut self,
        (start, end): (u64, u64),
        now: u64,
        (at, delivery, sequence): (u64, u32, u64),
    ) -> Result<(), String> {
        let again = self.again(now).next();
        if self.is_paused(now) {
            return Err(format!("{at} is given out by a paused group"));
        }
        if at < start || at >= end {
            return Err(format!("{at} is given out of {start}..{end}"));
        }
        if sequence != self.sequence + 1 {
            return Err(format!("{at} is number {sequence} after {}", self.sequence));
        }
        self.sequence = sequence;
        let until = now + self.settings.lease_of(delivery);
        if let Some(of) = self.unsettled.get_mut(&at) {
            if again != Some(at) || of.deliveries + 1 != delivery {
                return Err(format!("{at} is given out again as {delivery}, should {again:?}, {of:?}"));
            }
            (of.deliveries, of.until, of.released) = (delivery, until, false);
            return Ok(());
        }
        if again.is_some() || at != self.next.max(start) || delivery != 1 {
            return Err(format!("{at} is new as {delivery}, should {again:?} or {}", self.next.max(start)));
        }
        if !self.has_room() {
            return Err(format!("{at} is given out although {} are unsettled", self.unsettled.len()));
        }
        self.next = at + 1;
        if self.leases() {
            self.unsettled.insert(at, Unsettled { deliveries: 1, sequence, until, released: false });
        }
        Ok(())
    }
}
