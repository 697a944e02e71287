//! Times and durations as JetStream writes them: RFC 3339 with up to nine digits behind the second, and Go's short forms ("1m30s").
//!
//! Called wherever JSON, a header or a status text carries one. Times are kept in UTC; an offset is applied when one is read.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use stele_model::id::Now;

/// Nanoseconds of a second.
pub const SECOND: i64 = 1_000_000_000;
/// Nanoseconds of a millisecond.
pub const MILLISECOND: i64 = 1_000_000;

const SECONDS_PER_DAY: i64 = 86_400;
/// 0001-01-01T00:00:00Z, in seconds from the Unix epoch: what an unset time is written as.
const ZERO_SECONDS: i64 = -62_135_596_800;
/// 9999-12-31T23:59:59Z: no later one has four digits for its year.
const LAST_SECONDS: i64 = 253_402_300_799;

/// A moment, from the years 1 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Seconds from the Unix epoch, rounded down.
    seconds: i64,
    /// 0 … 999 999 999.
    nanos: u32,
}

/// The text is not a time, or not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotATime;

impl fmt::Display for NotATime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a time as RFC 3339 has it")
    }
}

impl Time {
    /// "No time".
    pub const ZERO: Self = Self { seconds: ZERO_SECONDS, nanos: 0 };

    /// Whether it stands for "no time".
    #[must_use]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// From nanoseconds since the Unix epoch; every such number is within the years 1677 to 2262.
    #[must_use]
    pub fn from_unix_nanos(nanos: i64) -> Self {
        let below = nanos.rem_euclid(SECOND);
        Self { seconds: nanos.div_euclid(SECOND), nanos: u32::try_from(below).unwrap_or(0) }
    }

    /// Nanoseconds since the Unix epoch; saturates outside of the years 1677 to 2262.
    #[must_use]
    pub fn unix_nanos(&self) -> i64 {
        self.seconds.saturating_mul(SECOND).saturating_add(i64::from(self.nanos))
    }

    /// Whole milliseconds since the Unix epoch; 0 for what was before.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.seconds.saturating_mul(1000).saturating_add(i64::from(self.nanos / 1_000_000)))
            .unwrap_or(0)
    }
}

impl From<Now> for Time {
    fn from(now: Now) -> Self {
        Self::from_unix_nanos(i64::try_from(now.0).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Year, month and day of a day counted from the Unix epoch (the proleptic Gregorian calendar, years counted from March).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.seconds.div_euclid(SECONDS_PER_DAY));
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// Takes a number of exactly `digits` decimal digits off the front.
fn number(text: &mut &str, digits: usize) -> Result<i64, NotATime> {
    let (front, rest) = text.split_at_checked(digits).ok_or(NotATime)?;
    if !front.bytes().all(|octet| octet.is_ascii_digit()) {
        return Err(NotATime);
    }
    *text = rest;
    front.parse().map_err(|_| NotATime)
}

fn literal(text: &mut &str, expected: char) -> Result<(), NotATime> {
    *text = text.strip_prefix(expected).ok_or(NotATime)?;
    Ok(())
}

/// Takes a fraction of a second off the front; digits beyond the ninth count nothing.
fn fraction(text: &mut &str) -> Result<u32, NotATime> {
    let Some(rest) = text.strip_prefix('.') else { return Ok(0) };
    let len = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = rest.split_at(len);
    *text = rest;
    let kept = digits.get(..len.min(9)).unwrap_or_default();
    if kept.is_empty() { Err(NotATime) } else { format!("{kept:0<9}").parse().map_err(|_| NotATime) }
}

/// Takes the zone off the front; seconds east of Greenwich.
fn zone(text: &mut &str) -> Result<i64, NotATime> {
    if literal(text, 'Z').is_ok() {
        return Ok(0);
    }
    let sign = if literal(text, '+').is_ok() { 1 } else { literal(text, '-').map(|()| -1)? };
    let hours = number(text, 2)?;
    literal(text, ':')?;
    let minutes = number(text, 2)?;
    if hours > 23 || minutes > 59 { Err(NotATime) } else { Ok(sign * (hours * 3600 + minutes * 60)) }
}

impl FromStr for Time {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let rest = &mut &*text;
        let year = number(rest, 4)?;
        literal(rest, '-')?;
        let month = number(rest, 2)?;
        literal(rest, '-')?;
        let day = number(rest, 2)?;
        literal(rest, 'T')?;
        let hour = number(rest, 2)?;
        literal(rest, ':')?;
        let minute = number(rest, 2)?;
        literal(rest, ':')?;
        let second = number(rest, 2)?;
        let nanos = fraction(rest)?;
        let east = zone(rest)?;
        let days = days_from_civil(year, month, day);
        let is_a_day = civil(days) == (year, month, day);
        if !rest.is_empty() || !is_a_day || hour > 23 || minute > 59 || second > 59 {
            return Err(NotATime);
        }
        let seconds = days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - east;
        if (ZERO_SECONDS..=LAST_SECONDS).contains(&seconds) {
            Ok(Self { seconds, nanos })
        } else {
            Err(NotATime)
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As Go reads it, `null` is no time.
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Self::ZERO) };
        text.parse().map_err(|error: NotATime| serde::de::Error::custom(format_args!("{text:?}: {error}")))
    }
}

/// A duration in nanoseconds, in Go's short form: "1h0m1.5s", "20ms", "0s".
#[must_use]
pub fn short(nanos: i64) -> String {
    let (sign, all) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let decimal = |unit: u64, name: &str| {
        let (whole, part) = (all / unit, all % unit);
        let width = unit.ilog10() as usize;
        let digits = format!("{part:0width$}");
        let digits = digits.trim_end_matches('0');
        let point = if part == 0 { String::new() } else { format!(".{digits}") };
        format!("{sign}{whole}{point}{name}")
    };
    match all {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{all}ns"),
        1_000..1_000_000 => decimal(1_000, "µs"),
        1_000_000..1_000_000_000 => decimal(1_000_000, "ms"),
        1_000_000_000..60_000_000_000 => decimal(1_000_000_000, "s"),
        _ => {
            let (minutes, rest) = (all / 60_000_000_000, all % 60_000_000_000);
            let seconds = short(i64::try_from(rest).unwrap_or(0));
            // Below a second Go would name a smaller unit; behind minutes it stays with seconds.
            let seconds = if rest > 0 && rest < 1_000_000_000 {
                let digits = format!("{rest:09}");
                format!("0.{}s", digits.trim_end_matches('0'))
            } else {
                seconds
            };
            let (hours, minutes) = (minutes / 60, minutes % 60);
            if hours > 0 {
                format!("{sign}{hours}h{minutes}m{seconds}")
            } else {
                format!("{sign}{minutes}m{seconds}")
            }
        }
    }
}

/// A duration in Go's short form, in nanoseconds.
///
/// # Errors
/// [`NotATime`] if it has no unit, an unknown one, or does not fit into 63 bits.
pub fn parse_short(text: &str) -> Result<i64, NotATime> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(NotATime);
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        total = total.checked_add(take_part(&mut rest)?).ok_or(NotATime)?;
    }
    Ok(sign * total)
}

/// Takes "1.5s" off the front.
fn take_part(rest: &mut &str) -> Result<i64, NotATime> {
    let number_len = rest.bytes().take_while(|octet| octet.is_ascii_digit() || *octet == b'.').count();
    let (number, behind) = rest.split_at(number_len);
    let unit_len = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
    let (unit, behind) = behind.split_at(unit_len);
    *rest = behind;
    let nanos: i64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => 60 * SECOND,
        "h" => 3_600 * SECOND,
        _ => return Err(NotATime),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && part.is_empty()) || part.contains('.') {
        return Err(NotATime);
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| NotATime)? };
    let mut scale = nanos;
    let mut below = 0;
    for digit in part.bytes() {
        scale /= 10;
        below += i64::from(digit - b'0') * scale;
    }
    whole.checked_mul(nanos).and_then(|all| all.checked_add(below)).ok_or(NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        for text in ["2024-01-02T03:04:05.123456789Z", "0001-01-01T00:00:00Z", "2000-02-29T23:59:59.5Z"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
        assert_eq!("2024-01-02T03:04:05+01:30".parse::<Time>().unwrap().to_string(), "2024-01-02T01:34:05Z");
        for wrong in [
            "",
            "2023-02-29T00:00:00Z",
            "2024-01-02 03:04:05Z",
            "2024-01-02T03:04:05",
            "2024-01-02T24:00:00Z",
        ] {
            assert_eq!(wrong.parse::<Time>(), Err(NotATime), "{wrong}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_500_000_000, "1.5s"),
            (60_000_000_000, "1m0s"),
            (3_600_500_000_000, "1h0m0.5s"),
            (-90_000_000_000, "-1m30s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(short(nanos), text);
            assert_eq!(parse_short(text), Ok(nanos));
        }
        for wrong in ["", "5", "1x", "1.2.3s", ".s", "9999999999999h", "s"] {
            assert_eq!(parse_short(wrong), Err(NotATime), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_time_that_was_written_is_read_as_itself(nanos in any::<i64>()) {
            let time = Time::from_unix_nanos(nanos);
            prop_assert_eq!(time.to_string().parse::<Time>(), Ok(time));
            prop_assert_eq!(time.unix_nanos(), nanos);
        }

        #[test]
        fn a_duration_that_was_written_is_read_as_itself(nanos in -i64::MAX..i64::MAX) {
            prop_assert_eq!(parse_short(&short(nanos)), Ok(nanos));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,40}") {
            let _ = text.parse::<Time>();
            let _ = parse_short(&text);
        }
    }
}
