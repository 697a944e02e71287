//! Cron expressions by the clocks of a time zone. Pure but for the zone's rules, which are read once: from the machine's tz database
//! (`/usr/share/zoneinfo`), or, where there is none, from the copy that is built in.
//!
//! A time of the wall clock is looked up as RFC 5545 says: one that is skipped is taken by the offset before the change, one that comes
//! twice is the first. What is for every hour is a rhythm, not a time, and takes the second as well.

use std::str::FromStr;

use jiff::civil;
use jiff::tz::{AmbiguousOffset, TimeZone};

use super::cron::{Cron, DAYS_MAX, MINUTE_MS};
use crate::time::{Timestamp, civil_from_days};

/// A time zone by its name in the tz database, such as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// No time zone has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time zone: {0:?}")]
pub struct NoSuchZone(String);

impl FromStr for Zone {
    type Err = NoSuchZone;

    fn from_str(name: &str) -> Result<Self, NoSuchZone> {
        TimeZone::get(name).map(Self).map_err(|_| NoSuchZone(name.chars().take(100).collect()))
    }
}

impl Zone {
    /// The first whole minute after `now` that fits.
    pub(super) fn next(&self, cron: &Cron, now: Timestamp) -> Option<Timestamp> {
        let instant = jiff::Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok()?;
        let today = days_of(self.0.to_datetime(instant).date());
        // Yesterday's skipped times may still come, and around a change at midnight tomorrow's may come before the last of today.
        let fitting = |day: &u64| cron.fits(*day);
        let mut days = (today.saturating_sub(1)..today + DAYS_MAX).filter(fitting).peekable();
        while let Some(day) = days.next() {
            let Some(found) = self.first(cron, day, now) else { continue };
            let next = days.next_if_eq(&(day + 1)).and_then(|day| self.first(cron, day, now));
            return Some(next.map_or(found, |next| found.min(next)));
        }
        None
    }

    /// The first time after `now` of a day that fits.
    fn first(&self, cron: &Cron, day: u64, now: Timestamp) -> Option<Timestamp> {
        let (year, month, of_month) = civil_from_days(i64::try_from(day).ok()?);
        let date = civil::Date::new(year.try_into().ok()?, month.try_into().ok()?, of_month.try_into().ok()?);
        let date = date.ok()?;
        let at = |minute: u64| date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
        let times = cron.minutes().flat_map(|minute| self.of_clock(at(minute), cron.is_hourly()));
        times.filter(|time| *time > now).min()
    }

    /// When the zone's clocks show a time.
    fn of_clock(&self, shown: civil::DateTime, is_hourly: bool) -> impl Iterator<Item = Timestamp> {
        let (first, second) = match self.0.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, None),
            AmbiguousOffset::Gap { before, .. } => (before, None),
            AmbiguousOffset::Fold { before, after } => (before, is_hourly.then_some(after)),
        };
        let at = move |offset: jiff::tz::Offset| offset.to_timestamp(shown).ok();
        let ms = |at: jiff::Timestamp| u64::try_from(at.as_millisecond()).ok().map(Timestamp);
        // Offsets of long ago have seconds; schedules are of now.
        let whole = |time: &Timestamp| time.0.is_multiple_of(MINUTE_MS);
        [Some(first), second].into_iter().flatten().filter_map(at).filter_map(ms).filter(whole)
    }
}

/// Days since 1970-01-01.
fn days_of(date: civil::Date) -> u64 {
    let seconds = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).map_or(0, |at| at.as_second());
    u64::try_from(seconds).unwrap_or(0) / 86_400
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn firings(cron: &str, zone_name: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (cron.parse::<Cron>().unwrap(), zone(zone_name));
        let mut now = Timestamp::parse(after).unwrap();
        let step = |_| {
            now = zone.next(&cron, now).unwrap();
            now.to_string().replace(":00.000Z", "Z")
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn a_time_of_the_wall_clock_moves_with_the_seasons() {
        let found = firings("0 3 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", 3);
        assert_eq!(found, ["2026-03-28T02:00Z", "2026-03-29T01:00Z", "2026-03-30T01:00Z"]);
        let found = firings("0 9 * * 1-5", "America/New_York", "2026-10-30T20:00:00Z", 2);
        assert_eq!(found, ["2026-11-02T14:00Z", "2026-11-03T14:00Z"]);
        assert_eq!(firings("45 5 * * *", "Asia/Kathmandu", "2026-11-21T01:00:00Z", 1), ["2026-11-22T00:00Z"]);
    }

    #[test]
    fn a_time_that_is_skipped_comes_as_much_later_as_the_clocks_moved() {
        let found = firings("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
        assert_eq!(found, ["2026-03-29T01:30Z", "2026-03-30T00:30Z"]); // 03:30 and 02:30 of summer time
        // Both 02:30 and 03:30 are wanted, and are one time on that day.
        let found = firings("30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2);
        assert_eq!(found, ["2026-03-29T01:30Z", "2026-03-30T00:30Z"]);
        // Clocks that skip midnight.
        let found = firings("0 0 * * *", "America/Havana", "2026-03-07T12:00:00Z", 2);
        assert_eq!(found, ["2026-03-08T05:00Z", "2026-03-09T04:00Z"]);
    }

    #[test]
    fn a_time_that_comes_twice_is_the_first() {
        let found = firings("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2);
        assert_eq!(found, ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]);
        // Asked in between: the first is over.
        assert_eq!(firings("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z", 1), ["2026-10-26T01:30Z"]);
    }

    #[test]
    fn what_is_for_every_hour_keeps_its_rhythm_through_every_change() {
        for (zone, start, days) in [
            ("Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ("Europe/Berlin", "2026-10-24T00:00:00Z", 3),
            ("America/Havana", "2026-10-31T00:00:00Z", 3),
            ("Australia/Lord_Howe", "2026-04-03T00:00:00Z", 3), // half an hour
            ("Asia/Tokyo", "2026-06-01T00:00:00Z", 1),
        ] {
            let count = days * 24 * 4;
            let start = Timestamp::parse(start).unwrap();
            let expected: Vec<String> = (1..=count)
                .map(|quarter: u64| Timestamp(start.0 + quarter * 15 * MINUTE_MS).to_string())
                .map(|text| text.replace(":00.000Z", "Z"))
                .collect();
            assert_eq!(firings("*/15 * * * *", zone, &start.to_string(), count as usize), expected, "{zone}");
        }
    }

    #[test]
    fn a_name_of_no_zone_is_an_error() {
        for name in ["", "Berlin", "Mars/Olympus", "../../etc/passwd"] {
            assert!(name.parse::<Zone>().is_err(), "{name}");
        }
        assert_eq!("0 0 31 2 *".parse::<Cron>().map(|cron| zone("UTC").next(&cron, Timestamp(0))), Ok(None));
    }
}
