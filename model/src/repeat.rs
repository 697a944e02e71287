//! What comes again and again: at equal distances, or by the clocks of a time zone.
//!
//! Made by dialects from their words, and asked by the shard, which logs the answer: a replay never depends on the rules of time zones. Those
//! are compiled in, so that two machines with one binary say the same. What must hold: an answer lies behind what was asked about, and is
//! found in a bounded number of steps. Pure. Not here: how a dialect writes it.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use std::fmt;

const DAY_S: i64 = 86_400;
/// The bits of a field that stand for a number.
const FIELD_60: u64 = (1 << 60) - 1;
const FIELD_24: u64 = (1 << 24) - 1;
/// How far ahead the clocks are looked at: the 29th of February comes within it, but for the years around 2100.
const AHEAD_S: i64 = 6 * 366 * DAY_S;

/// When something comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// So many milliseconds after the last time, which counts in whole seconds; at least 1000.
    Every(u64),
    /// Whenever the clocks of a time zone show a time of these.
    Clock(Box<Clock>),
}

/// Times of day on some days, to the second. In each field bit `n` stands for the number `n`; other bits mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// 0–59.
    pub seconds: u64,
    /// 0–59.
    pub minutes: u64,
    /// 0–23.
    pub hours: u32,
    /// Of the month, 1–31.
    pub days: u32,
    /// 1–12.
    pub months: u16,
    /// 0–6, from Sunday.
    pub weekdays: u8,
    /// A day fits by the month or by the week; else by both.
    pub either: bool,
    /// Name in the time zone database. Of one that is not known the clocks show nothing.
    pub zone: String,
}

/// A time, and what the clocks that it was read from are ahead of UTC by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Seconds east of Greenwich.
    pub offset_s: i32,
}

impl fmt::Display for Moment {
    /// As RFC 3339 has it, with as many digits behind the second as are needed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = i64::try_from(self.ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let at = at.unwrap_or(Timestamp::MAX);
        match Offset::from_seconds(self.offset_s) {
            Ok(offset) if offset != Offset::UTC => write!(f, "{}", at.display_with_offset(offset)),
            _ => write!(f, "{at}"),
        }
    }
}

/// Whether the time zone database has this name, letter by letter.
#[must_use]
pub fn is_zone(name: &str) -> bool {
    zone(name).is_some_and(|zone| zone.iana_name() == Some(name))
}

fn zone(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

impl Repeat {
    /// The first time behind this one, ms since the Unix epoch.
    #[must_use]
    pub fn after(&self, ms: u64) -> Option<Moment> {
        match self {
            Self::Every(every_ms) => {
                let ms = whole_second(ms).checked_add((*every_ms).max(1000))?;
                Some(Moment { ms, offset_s: 0 })
            }
            Self::Clock(clock) => clock.after(i64::try_from(ms / 1000).ok()?),
        }
    }

    /// The first time behind `at_ms`; if that is past, the first one from now on: what was missed is not made up for.
    #[must_use]
    pub fn next(&self, at_ms: u64, now_ms: u64) -> Option<Moment> {
        let next = self.after(at_ms)?;
        if next.ms < now_ms { self.after(whole_second(now_ms)) } else { Some(next) }
    }
}

/// The nearest whole second.
fn whole_second(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000 * 1000
}

impl Clock {
    /// Between two changes of a zone's clocks they show what UTC's do, moved by a constant. A time that they skip does not come; one that
    /// they show twice comes twice.
    fn after(&self, second: i64) -> Option<Moment> {
        let times = [self.seconds & FIELD_60, self.minutes & FIELD_60, u64::from(self.hours) & FIELD_24];
        if times.contains(&0) {
            return None;
        }
        let zone = zone(&self.zone)?;
        let mut from = second.checked_add(1)?;
        let last = from.checked_add(AHEAD_S)?;
        while from < last {
            let at = Timestamp::from_second(from).ok()?;
            let offset_s = zone.to_offset(at).seconds();
            let change = zone.following(at).next().map_or(last, |change| change.timestamp().as_second());
            let until = change.min(last);
            let shown = |second: i64| second + i64::from(offset_s);
            if let Some(found) = self.first_shown(shown(from), shown(until)) {
                let ms = u64::try_from(found - i64::from(offset_s)).ok()?.checked_mul(1000)?;
                return Some(Moment { ms, offset_s });
            }
            from = until;
        }
        None
    }

    /// The first time that fits, from one time of the wall clock until before another, in seconds.
    fn first_shown(&self, from: i64, until: i64) -> Option<i64> {
        let (mut day, mut second) = (from.div_euclid(DAY_S), from.rem_euclid(DAY_S));
        while day * DAY_S < until {
            if self.is_day(day)
                && let Some(found) = self.first_of_day(second)
            {
                return Some(day * DAY_S + found).filter(|found| *found < until);
            }
            (day, second) = (day + 1, 0);
        }
        None
    }

    fn is_day(&self, day: i64) -> bool {
        let Ok(midnight) = Timestamp::from_second(day * DAY_S) else { return false };
        let date = Offset::UTC.to_datetime(midnight).date();
        let of_month = has(self.days, date.day());
        let of_week = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        let fits = if self.either { of_month || of_week } else { of_month && of_week };
        fits && has(self.months, date.month())
    }

    fn first_of_day(&self, from: i64) -> Option<i64> {
        let minutes = (from / 60..DAY_S / 60)
            .filter(|minute| has(self.hours, (minute / 60) as i8) && has(self.minutes, (minute % 60) as i8));
        let mut seconds = minutes.flat_map(|minute| {
            let fits = |second: &i64| has(self.seconds, *second as i8);
            (0..60).filter(fits).map(move |second| minute * 60 + second).filter(move |second| *second >= from)
        });
        seconds.next()
    }
}

fn has(bits: impl Into<u64>, number: i8) -> bool {
    bits.into() >> number & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Clock = Clock {
        seconds: u64::MAX,
        minutes: u64::MAX,
        hours: u32::MAX,
        days: u32::MAX,
        months: u16::MAX,
        weekdays: u8::MAX,
        either: false,
        zone: String::new(),
    };

    fn daily(hour: u32, minute: u32, zone: &str) -> Repeat {
        let zone = zone.to_owned();
        Repeat::Clock(Box::new(Clock { seconds: 1, minutes: 1 << minute, hours: 1 << hour, zone, ..ALL }))
    }

    fn ms(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond() as u64
    }

    fn times(repeat: &Repeat, from: &str, count: usize) -> Vec<String> {
        let mut at = ms(from);
        let step = |_| {
            let next = repeat.after(at).unwrap();
            at = next.ms;
            next.to_string()
        };
        (0..count).map(step).collect()
    }

    #[test]
    fn equal_distances_count_from_the_nearest_whole_second() {
        assert_eq!(Repeat::Every(1000).after(10_499).map(|at| at.ms), Some(11_000));
        assert_eq!(Repeat::Every(1500).after(10_500).map(|at| at.ms), Some(12_500));
        assert_eq!(Repeat::Every(u64::MAX).after(1000), None);
        assert_eq!(
            Repeat::Every(3).after(10_499).map(|at| at.ms),
            Some(11_000),
            "else it would come at once again"
        );
    }

    #[test]
    fn what_was_missed_comes_once() {
        let minute = Repeat::Every(60_000);
        assert_eq!(minute.next(60_000, 60_001).map(|at| at.ms), Some(120_000));
        assert_eq!(minute.next(60_000, 7_200_400).map(|at| at.ms), Some(7_260_000));
        let noon = daily(12, 0, "UTC");
        let next = noon.next(ms("2026-01-01T12:00:00Z"), ms("2026-03-01T15:00:00Z")).unwrap();
        assert_eq!(next.to_string(), "2026-03-02T12:00:00Z");
    }

    #[test]
    fn a_time_of_day_moves_with_the_seasons() {
        let found = times(&daily(3, 0, "Europe/Berlin"), "2026-03-27T12:00:00Z", 3);
        let should = ["2026-03-28T03:00:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T03:00:00+02:00"];
        assert_eq!(found, should);
        assert_eq!(times(&daily(0, 0, "UTC"), "2026-12-31T12:00:00Z", 1), ["2027-01-01T00:00:00Z"]);
    }

    #[test]
    fn a_time_that_is_skipped_does_not_come_and_one_that_is_shown_twice_comes_twice() {
        let half_past_two = daily(2, 30, "Europe/Berlin");
        assert_eq!(times(&half_past_two, "2026-03-28T12:00:00Z", 1), ["2026-03-30T02:30:00+02:00"]);
        let found = times(&half_past_two, "2026-10-24T12:00:00Z", 3);
        let should = ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"];
        assert_eq!(found, should);
    }

    #[test]
    fn a_day_fits_by_month_and_week_or_by_either() {
        let friday_13th = Clock {
            seconds: 1,
            minutes: 1,
            hours: 1,
            days: 1 << 13,
            weekdays: 1 << 5,
            zone: "UTC".to_owned(),
            ..ALL
        };
        let either = Clock { either: true, ..friday_13th.clone() };
        let both = Repeat::Clock(Box::new(friday_13th));
        assert_eq!(times(&both, "2026-11-20T00:00:00Z", 1), ["2027-08-13T00:00:00Z"]);
        let either = Repeat::Clock(Box::new(either));
        assert_eq!(
            times(&either, "2026-12-07T00:00:00Z", 2),
            ["2026-12-11T00:00:00Z", "2026-12-13T00:00:00Z"]
        );
    }

    #[test]
    fn what_never_comes_is_looked_for_in_vain() {
        let of = |days, months, zone: &str| {
            let zone = zone.to_owned();
            Repeat::Clock(Box::new(Clock { days, months, zone, ..ALL })).after(0).map(|at| at.to_string())
        };
        assert_eq!(of(1 << 30, 1 << 2, "UTC"), None);
        assert_eq!(of(1 << 29, 1 << 2, "UTC"), Some("1972-02-29T00:00:00Z".to_owned()));
        assert_eq!(of(1, 1, "UTC"), None, "a month has no day 0");
        assert_eq!(of(2, 2, "Mars/Olympus"), None);
        let empty = Clock { seconds: 1 << 60, zone: "UTC".to_owned(), ..ALL };
        assert_eq!(Repeat::Clock(Box::new(empty)).after(0), None);
    }

    #[test]
    fn zones_are_known_by_their_exact_names() {
        assert!(["UTC", "Europe/Berlin", "America/New_York", "EST"].into_iter().all(is_zone));
        assert!(
            !["", "Local", "europe/berlin", "Berlin", "+02:00", "../etc/passwd"].into_iter().any(is_zone)
        );
    }

    /// Against looking at each second.
    #[test]
    fn the_clocks_of_a_zone_show_what_was_asked_for_at_each_time_and_at_none_between() {
        for (zone, from) in
            [("Europe/Berlin", "2026-10-24T22:00:00Z"), ("Australia/Lord_Howe", "2026-04-04T12:00:00Z")]
        {
            let of = TimeZoneDatabase::bundled().get(zone).unwrap();
            let repeat = |clock: Clock| Repeat::Clock(Box::new(clock));
            let clock =
                Clock { seconds: 1 << 7, minutes: 1 << 15 | 1 << 40, hours: 7, zone: zone.to_owned(), ..ALL };
            let start = ms(from) / 1000;
            let is_shown = |second: &u64| {
                let shown = Timestamp::from_second(*second as i64).unwrap().to_zoned(of.clone());
                shown.second() == 7 && [15, 40].contains(&shown.minute()) && shown.hour() < 3
            };
            let should: Vec<u64> =
                (start + 1..start + 36 * 3600).filter(is_shown).map(|at| at * 1000).collect();
            let repeat = repeat(clock);
            let mut at = start * 1000;
            for should in should {
                at = repeat.after(at).unwrap().ms;
                assert_eq!(at, should, "{zone}");
            }
        }
    }
}
