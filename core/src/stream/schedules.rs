//! Records of a partition that are published again in a way of their own: repeatedly, or not as they are.
//!
//! Part of [`super::records`]; changed where a record comes, goes, or its time has come, the same in replay. Logged state. A record that is
//! published once, as it is, and has no time to live is not among these: there may be very many, and the index has room for their time
//! ([`super::single::Expiry::Due`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use stele_model::id::Position;
use stele_model::repeat::Repeat;
use stele_model::stream::due::{Due, How, When};
use stele_model::stream::records::Ttl;

/// When a record is published next, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coming {
    /// Ms since the Unix epoch.
    pub(crate) at_ms: u64,
    /// `None`: once, as it is, and it has no time to live.
    pub(crate) schedule: Option<Arc<Schedule>>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// `None`: once.
    pub(crate) repeat: Option<Repeat>,
    pub(crate) how: How,
}

impl Coming {
    /// Of a record that comes now, with this time to live.
    pub(crate) fn of(due: &Due, ttl: Ttl, now_ms: u64) -> Self {
        let (at_ms, repeat) = match &due.when {
            When::At(at_ms) => (*at_ms, None),
            // A time that is never shown is never.
            When::Each(repeat) => {
                (repeat.after(now_ms).map_or(u64::MAX, |first| first.ms), Some(repeat.clone()))
            }
        };
        let is_plain = repeat.is_none() && due.how == How::default() && ttl == Ttl::Stream;
        let schedule = (!is_plain).then(|| Arc::new(Schedule { repeat, how: due.how.clone() }));
        Self { at_ms, schedule }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    of: BTreeMap<Position, (u64, Arc<Schedule>)>,
    /// The same, soonest first.
    times: BTreeSet<(u64, Position)>,
}

impl Schedules {
    pub(crate) fn put(&mut self, position: Position, at_ms: u64, schedule: Arc<Schedule>) {
        self.gone(position);
        self.of.insert(position, (at_ms, schedule));
        self.times.insert((at_ms, position));
    }

    pub(crate) fn gone(&mut self, position: Position) {
        if let Some((at_ms, _)) = self.of.remove(&position) {
            self.times.remove(&(at_ms, position));
        }
    }

    /// It comes again at this time.
    pub(crate) fn comes_again(&mut self, position: Position, at_ms: u64) {
        if let Some((_, schedule)) = self.of.get(&position) {
            self.put(position, at_ms, Arc::clone(schedule));
        }
    }

    /// A record's schedule, and when it comes next, ms.
    pub(crate) fn get(&self, position: Position) -> Option<(u64, &Schedule)> {
        self.of.get(&position).map(|(at_ms, schedule)| (*at_ms, &**schedule))
    }

    /// All, by position.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (Position, u64, &Schedule)> {
        self.of.iter().map(|(position, (at_ms, schedule))| (*position, *at_ms, &**schedule))
    }

    /// The soonest time, ms, and whose it is.
    pub(crate) fn first(&self) -> Option<(u64, Position)> {
        self.times.first().copied()
    }

    /// Those whose time has come, soonest first.
    pub(crate) fn come(&self, now_ms: u64) -> impl Iterator<Item = Position> {
        self.times.iter().take_while(move |(at_ms, _)| *at_ms <= now_ms).map(|(_, position)| *position)
    }
}
