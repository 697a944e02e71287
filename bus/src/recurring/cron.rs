//! Cron expressions: minute, hour, day of month, month, day of week. Pure. Here they are of UTC; of other zones in `zone.rs`.

use std::str::FromStr;

use crate::time::{Timestamp, civil_from_days};

pub(super) const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// A leap day comes within eight years, also across a century.
pub(super) const DAYS_MAX: u64 = 8 * 366;

/// Five fields of `*`, numbers, ranges, lists and steps: `*/15 8-18 * * 1-5`. Days of month and week are joined by "or" when both are
/// restricted, as cron does; Sunday is 0 or 7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    either_day: bool,
}

/// A text that is no cron expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cron expression: {0:?}")]
pub struct NotACron(String);

impl FromStr for Cron {
    type Err = NotACron;

    fn from_str(text: &str) -> Result<Self, NotACron> {
        let fail = || NotACron(text.chars().take(100).collect());
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else { return Err(fail()) };
        let read = |text, low, high| field(text, low, high).ok_or_else(fail);
        let mut cron = Self {
            minutes: read(minutes, 0, 59)?,
            hours: read(hours, 0, 23)?,
            days: read(days, 1, 31)?,
            months: read(months, 1, 12)?,
            weekdays: read(weekdays, 0, 7)?,
            either_day: !days.starts_with('*') && !weekdays.starts_with('*'),
        };
        cron.weekdays |= cron.weekdays >> 7 & 1;
        Ok(cron)
    }
}

/// A field as a set of bits.
fn field(text: &str, low: u32, high: u32) -> Option<u64> {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u32>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*", _) => (low, high),
            (_, Some((from, to))) => (from.parse().ok()?, to.parse().ok()?),
            (one, None) => {
                let one = one.parse().ok()?;
                (one, if part.contains('/') { high } else { one })
            }
        };
        if from < low || to > high || from > to {
            return None;
        }
        let step = usize::try_from(step).ok()?;
        (from..=to).step_by(step).for_each(|bit| set |= 1 << bit);
    }
    Some(set)
}

impl Cron {
    /// The first whole minute after `now` that fits.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let start = (now.0 / MINUTE_MS + 1) * MINUTE_MS;
        let today = start / DAY_MS;
        (today..today + DAYS_MAX).filter(|day| self.fits(*day)).find_map(|day| {
            let first = if day == today { start % DAY_MS / MINUTE_MS } else { 0 };
            let minute = self.minutes().find(|minute| *minute >= first)?;
            Some(Timestamp(day * DAY_MS + minute * MINUTE_MS))
        })
    }

    /// Minutes of a day that fit, ascending.
    pub(super) fn minutes(&self) -> impl Iterator<Item = u64> {
        let fits =
            |minute: &u64| self.hours >> (minute / 60) & 1 == 1 && self.minutes >> (minute % 60) & 1 == 1;
        (0..24 * 60).filter(fits)
    }

    /// Whether it is for every hour of its days.
    #[cfg(feature = "tz")]
    pub(super) fn is_hourly(&self) -> bool {
        self.hours == (1 << 24) - 1
    }

    /// Whether a day, counted from 1970-01-01, fits.
    pub(super) fn fits(&self, day: u64) -> bool {
        let Ok(days) = i64::try_from(day) else { return false };
        let (_, month, of_month) = civil_from_days(days);
        let weekday = (day + 4) % 7; // 1970-01-01 was a Thursday
        let (by_day, by_weekday) = (self.days >> of_month & 1 == 1, self.weekdays >> weekday & 1 == 1);
        let day_fits = if self.either_day { by_day || by_weekday } else { by_day && by_weekday };
        self.months >> month & 1 == 1 && day_fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_found() {
        for (cron, now, next) in [
            ("0 3 * * *", "2026-11-21T06:00:00Z", Some("2026-11-22T03:00:00.000Z")),
            ("*/15 * * * *", "2026-11-21T06:00:00Z", Some("2026-11-21T06:15:00.000Z")),
            ("30 8-10 * * 1-5", "2026-11-21T06:00:00Z", Some("2026-11-23T08:30:00.000Z")),
            ("0 0 29 2 *", "2026-11-21T06:00:00Z", Some("2028-02-29T00:00:00.000Z")),
            ("0 0 1 * 7", "2026-11-21T06:00:00Z", Some("2026-11-22T00:00:00.000Z")),
            ("0 0 31 2 *", "2026-11-21T06:00:00Z", None),
            ("5/20 0 1 1 *", "2026-01-01T00:05:00Z", Some("2026-01-01T00:25:00.000Z")),
        ] {
            let found = cron.parse::<Cron>().unwrap().next(Timestamp::parse(now).unwrap());
            assert_eq!(found.map(|at| at.to_string()).as_deref(), next, "{cron}");
        }
    }

    #[test]
    fn what_is_no_cron_expression_is_an_error() {
        for text in [
            "",
            "* * * *",
            "60 * * * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "a * * * *",
            "* * 0 * *",
            "* * * * * *",
        ] {
            assert!(text.parse::<Cron>().is_err(), "{text}");
        }
    }
}
