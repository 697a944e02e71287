//! Points in time as they stand on the wire (RFC 3339, UTC), and the clock that the pipeline reads.
//!
//! The clock is wall time at the start plus tokio's clock since, so that a paused runtime makes all of the bus's time virtual.
//! Called by everything that stamps, delays or expires. Not here: time zones; everything is UTC
//! but the schedules of `recurring` that say otherwise.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch, UTC. On the wire `2026-11-21T06:00:00.123Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// What the machine's clock says.
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Later by `span`; stops at the largest value.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Read RFC 3339 with any offset and any number of fractional digits; `None` if it is not a time from 1970 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = text.get(from..to)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
        };
        let sign =
            |at: usize, wanted: &[u8]| text.as_bytes().get(at).is_some_and(|byte| wanted.contains(byte));
        let punctuated =
            sign(4, b"-") && sign(7, b"-") && sign(10, b"Tt ") && sign(13, b":") && sign(16, b":");
        if !punctuated {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut rest = text.get(19..)?;
        let mut ms = 0;
        if let Some(tail) = rest.strip_prefix('.') {
            let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
            let padded: String = tail[..digits].chars().chain("000".chars()).take(3).collect();
            ms = padded.parse().ok()?;
            rest = &tail[digits..];
        }
        let offset_minutes = match rest {
            "Z" | "z" | "" => 0,
            _ => {
                let (sign, tail) = (rest.get(..1)?, rest.get(1..)?);
                let (hours, minutes) = tail.split_once(':').unwrap_or((tail.get(..2)?, tail.get(2..)?));
                let span = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
                match sign {
                    "+" => span,
                    "-" => -span,
                    _ => return None,
                }
            }
        };
        let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
            - offset_minutes * 60;
        u64::try_from(seconds * 1000 + ms).ok().map(Self)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0 / 1000).unwrap_or(i64::MAX);
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let of_day = seconds % 86_400;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            of_day / 3600,
            of_day / 60 % 60,
            of_day % 60,
            self.0 % 1000
        )
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("not a time: {text:?}")))
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (years counted from March, so that the leap day is the last).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_from_civil`].
pub(crate) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// What the bus takes for now: wall time when it was made, moved on by tokio's clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    start: tokio::time::Instant,
}

impl Clock {
    /// Starts at the machine's time.
    pub fn system() -> Self {
        Self::starting_at(Timestamp::now())
    }

    /// Starts at a given time; with tokio's clock paused all later readings are virtual.
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, start: tokio::time::Instant::now() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.wall.after(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_back_as_it_was_written() {
        for text in [
            "1970-01-01T00:00:00.000Z",
            "2000-02-29T23:59:59.999Z",
            "2026-11-21T06:05:04.030Z",
            "9999-12-31T00:00:00.000Z",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn offsets_and_fractions_of_other_writers_are_understood() {
        let expected = Timestamp::parse("2026-11-21T06:05:04.030Z");
        for text in
            ["2026-11-21T06:05:04.0301234Z", "2026-11-21T07:05:04.03+01:00", "2026-11-21 01:05:04.030-0500"]
        {
            assert_eq!(Timestamp::parse(text), expected, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-11-21T06:05:04.0x",
            "2026-1-1T00:00:00Z",
            "2026-11-21T06:05:04+",
            "é026-11-21T06:05:04Z",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_converts_both_ways() {
        for days in 0..366_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
