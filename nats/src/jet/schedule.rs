//! What a message says of a time to be published again (ADR-51): once, at equal distances, or by a cron expression; and that it ends another's.
//!
//! Called for each publish that has headers. Everything is read here, as nats-server reads it, and refused in its order; whether the stream
//! takes it is for the stream to say. Not here: when it is published (`model::repeat`), what is (`record::due`).

use super::error::{ApiError, Code};
use super::publish::{Ttl, header, ttl};
use super::subject::is_publishable;
use super::time::{self, Time};
use stele_model::repeat::{Clock, Repeat, is_zone};
use stele_model::stream::due::When;
use stele_record::due::{
    NEXT, PURGE, SAMPLE, SCHEDULE, SCHEDULER, TARGET, TARGET_ROLLUP, TARGET_TTL, TIME_ZONE,
};

/// When a message is published, where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule<'a> {
    /// When; a time that is past is now.
    pub when: When,
    /// To which subject.
    pub target: &'a str,
    /// The last message of this subject in its place.
    pub source: Option<&'a str>,
    /// With this time to live.
    pub ttl: Option<Ttl>,
    /// In the place of the messages of the target.
    pub rollup: bool,
}

/// The schedule in a header block, if there is one. Its errors are such that a stream without schedules says that instead.
///
/// # Errors
/// The first of what cannot be.
pub fn schedule(block: &[u8]) -> Result<Option<Schedule<'_>>, ApiError> {
    let get = |name: &str| header(block, name).filter(|text| !text.is_empty());
    let zone = header(block, TIME_ZONE);
    if zone.is_some_and(|zone| !is_zone(zone)) {
        return Err(Code::MessageSchedulesTimeZoneInvalid.error());
    }
    let Some(pattern) = get(SCHEDULE) else { return Ok(None) };
    let when = when(pattern, zone).ok_or_else(|| Code::MessageSchedulesPatternInvalid.error())?;
    let own_ttl = get(TARGET_TTL).map(ttl).transpose();
    let ttl = own_ttl.map_err(|_| Code::MessageSchedulesTtlInvalid.error())?;
    let rollup = match get(TARGET_ROLLUP) {
        None => false,
        Some("sub") => true,
        Some(_) => return Err(Code::MessageSchedulesRollupInvalid.error()),
    };
    let target = get(TARGET).filter(|target| is_publishable(target));
    let target = target.ok_or_else(|| Code::MessageSchedulesTargetInvalid.error())?;
    let source = get(SAMPLE);
    if source.is_some_and(|source| source == target || !is_publishable(source)) {
        return Err(Code::MessageSchedulesSourceInvalid.error());
    }
    Ok(Some(Schedule { when, target, source, ttl, rollup }))
}

/// The subject whose schedule a message ends.
///
/// # Errors
/// If it says of schedules what only the server says.
pub fn ends(block: &[u8]) -> Result<Option<&str>, ApiError> {
    let get = |name: &str| header(block, name).filter(|text| !text.is_empty());
    match (get(NEXT), get(SCHEDULER)) {
        (None, None) => Ok(None),
        (Some(PURGE), Some(subject)) if is_publishable(subject) => Ok(Some(subject)),
        _ => Err(Code::MessageSchedulesSchedulerInvalid.error()),
    }
}

fn when(pattern: &str, zone: Option<&str>) -> Option<When> {
    // Only a cron expression is of a zone.
    if let Some(text) = pattern.strip_prefix("@at ") {
        let at: Time = text.parse().ok().filter(|_| zone.is_none())?;
        return Some(When::At(at.unix_ms()));
    }
    if let Some(text) = pattern.strip_prefix("@every ") {
        let every = time::parse_short(text).ok().filter(|every| *every >= time::SECOND && zone.is_none())?;
        let ms = u64::try_from(every / time::MILLISECOND).ok()?;
        return Some(When::Each(Repeat::Every(ms)));
    }
    let cron = match pattern {
        "@yearly" | "@annually" => "0 0 0 1 1 *",
        "@monthly" => "0 0 0 1 * *",
        "@weekly" => "0 0 0 * * 0",
        "@daily" | "@midnight" => "0 0 0 * * *",
        "@hourly" => "0 0 * * * *",
        other => other,
    };
    let repeat = Repeat::Clock(Box::new(clock(cron, zone.unwrap_or("UTC"))?));
    // What no calendar shows is no schedule.
    repeat.after(0)?;
    Some(When::Each(repeat))
}

/// Six fields, divided by blanks: second, minute, hour, day of the month, month, day of the week from Sunday.
fn clock(text: &str, zone: &str) -> Option<Clock> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [seconds, minutes, hours, days, months, weekdays] = fields[..] else { return None };
    let (days, any_day) = field(days, (1, 31), &[])?;
    let (weekdays, any_weekday) = field(weekdays, (0, 6), &WEEKDAYS)?;
    Some(Clock {
        seconds: field(seconds, (0, 59), &[])?.0,
        minutes: field(minutes, (0, 59), &[])?.0,
        hours: u32::try_from(field(hours, (0, 23), &[])?.0).ok()?,
        days: u32::try_from(days).ok()?,
        months: u16::try_from(field(months, (1, 12), &MONTHS)?.0).ok()?,
        weekdays: u8::try_from(weekdays).ok()?,
        either: !any_day && !any_weekday,
        zone: zone.to_owned(),
    })
}

const MONTHS: [(&str, u32); 12] = [
    ("jan", 1),
    ("feb", 2),
    ("mar", 3),
    ("apr", 4),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("oct", 10),
    ("nov", 11),
    ("dec", 12),
];
const WEEKDAYS: [(&str, u32); 7] =
    [("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)];

/// The numbers of a field, each as the bit of that number, and whether one of its parts stands for all.
fn field(text: &str, bounds: (u32, u32), names: &[(&str, u32)]) -> Option<(u64, bool)> {
    let mut all = (0, false);
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (bits, is_any) = range(part, bounds, names)?;
        all = (all.0 | bits, all.1 | is_any);
    }
    Some(all)
}

/// A part of a field: `*`, `?`, a number or name, a range of these; behind a slash the step, which without a range goes on to the end.
fn range(text: &str, (min, max): (u32, u32), names: &[(&str, u32)]) -> Option<(u64, bool)> {
    let number = |text: &str| {
        let name = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
        name.map(|(_, number)| *number).or_else(|| text.parse().ok())
    };
    let (numbers, step) = text.split_once('/').map_or((text, None), |(numbers, step)| (numbers, Some(step)));
    let (first, last) = numbers.split_once('-').map_or((numbers, None), |(first, last)| (first, Some(last)));
    let is_any = first == "*" || first == "?";
    let (first, last) = match (number(first), last) {
        _ if is_any => (min, max),
        (Some(first), Some(last)) => (first, number(last)?),
        (Some(first), None) if step.is_some() => (first, max),
        (Some(first), None) => (first, first),
        (None, _) => return None,
    };
    let step: u32 = step.map_or(Some(1), |step| step.parse().ok())?;
    if first < min || last > max || first > last || step == 0 {
        return None;
    }
    let bits = (first..=last).step_by(step as usize).fold(0, |bits, number| bits | 1 << number);
    Some((bits, is_any && step == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(lines: &[(&str, &str)]) -> Vec<u8> {
        let lines: String = lines.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("NATS/1.0\r\n{lines}\r\n").into_bytes()
    }

    fn error(lines: &[(&str, &str)]) -> u16 {
        schedule(&block(lines)).unwrap_err().err_code
    }

    const TO: (&str, &str) = (TARGET, "now");

    #[test]
    fn a_schedule_is_a_time_and_a_target() {
        let all =
            [(SCHEDULE, "@at 1970-01-01T00:00:02+00:00"), TO, (TARGET_TTL, "5m"), (TARGET_ROLLUP, "sub")];
        let should = Schedule {
            when: When::At(2000),
            target: "now",
            source: None,
            ttl: Some(Ttl::Seconds(300)),
            rollup: true,
        };
        assert_eq!(schedule(&block(&all)), Ok(Some(should)));
        let at = all[0];
        assert_eq!(error(&[at]), 10190);
        assert_eq!(error(&[at, (TARGET, "now.*")]), 10190);
        assert_eq!(error(&[(SCHEDULE, "@at 2 o'clock"), TO]), 10189);
        assert_eq!(error(&[at, TO, (TIME_ZONE, "Europe/Berlin")]), 10189);
        assert_eq!(error(&[at, TO, (TIME_ZONE, "")]), 10223);
        assert_eq!(error(&[at, TO, (TIME_ZONE, "Middle/Earth")]), 10223);
        assert_eq!(error(&[at, TO, (TARGET_TTL, "soon")]), 10191);
        assert_eq!(error(&[at, TO, (TARGET_ROLLUP, "all")]), 10192);
        assert_eq!(error(&[at, TO, (SAMPLE, "now")]), 10203);
        assert_eq!(error(&[at, TO, (SAMPLE, "a.>")]), 10203);
        assert_eq!(schedule(&block(&[TO, (TIME_ZONE, "Europe/Berlin")])), Ok(None));
    }

    #[test]
    fn only_the_server_says_what_comes_next_but_for_an_end() {
        let both = |next, scheduler| {
            let block = block(&[(NEXT, next), (SCHEDULER, scheduler)]);
            ends(&block).map(|ends| ends.map(str::to_owned)).map_err(|error| error.err_code)
        };
        assert_eq!(both("purge", "later"), Ok(Some("later".to_owned())));
        assert_eq!(both("", ""), Ok(None));
        for (next, scheduler) in
            [("purge", ""), ("", "later"), ("purge", "later.*"), ("2030-01-01T00:00:00Z", "later")]
        {
            assert_eq!(both(next, scheduler), Err(10212), "{next} {scheduler}");
        }
    }

    #[test]
    fn distances_are_at_least_a_second() {
        let every = |text: &str| when(&format!("@every {text}"), None);
        assert_eq!(every("1m30s"), Some(When::Each(Repeat::Every(90_000))));
        assert_eq!(every("1s"), Some(When::Each(Repeat::Every(1000))));
        for wrong in ["999ms", "-1h", "5", "", " 1m"] {
            assert_eq!(every(wrong), None, "{wrong:?}");
        }
        assert_eq!(when("@every 1m", Some("UTC")), None);
    }

    #[test]
    fn fields_are_numbers_names_ranges_lists_and_steps() {
        let bits = |numbers: &[u32]| numbers.iter().fold(0_u64, |bits, number| bits | 1 << number);
        let of = |text: &str| field(text, (1, 12), &MONTHS);
        assert_eq!(of("3"), Some((bits(&[3]), false)));
        assert_eq!(of("2-4,DEC"), Some((bits(&[2, 3, 4, 12]), false)));
        assert_eq!(of("jan-mar"), Some((bits(&[1, 2, 3]), false)));
        assert_eq!(of("*/4"), Some((bits(&[1, 5, 9]), false)));
        assert_eq!(of("10/1"), Some((bits(&[10, 11, 12]), false)));
        assert_eq!(of("1-9/4"), Some((bits(&[1, 5, 9]), false)));
        assert_eq!(of("?"), Some((bits(&(1..=12).collect::<Vec<_>>()), true)));
        assert_eq!(of("*/1"), of("*"));
        assert_eq!(of("1,,2"), of("1,2"));
        for wrong in ["0", "13", "4-2", "1-2-3", "1/2/3", "1/0", "foo", "-1", "1-", "1.5"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_cron_expression_has_six_fields_and_some_time() {
        let cron = |text: &str| when(text, Some("Europe/Berlin"));
        for good in
            ["0 30 14 * * *", "@hourly", "@midnight", "0 0 0 29 2 ?", "*/5 * * * * mon-fri", " 0  0 0 1 1 * "]
        {
            assert!(matches!(cron(good), Some(When::Each(Repeat::Clock(_)))), "{good}");
        }
        for wrong in [
            "0 0 0 * *",
            "0 0 0 * * * *",
            "0 0 0 30 2 *",
            ", * * * * *",
            "@minutely",
            "@reboot",
            "* * * * * 7",
        ] {
            assert_eq!(cron(wrong), None, "{wrong}");
        }
        let Some(When::Each(Repeat::Clock(clock))) = cron("0 0 0 13 * fri") else {
            panic!("a cron expression")
        };
        assert!(clock.either && clock.zone == "Europe/Berlin");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(pattern in ".{0,40}", fields in "([0-9*/?,-]{1,5} ){5}[0-9*/?,-]{1,5}", zone in prop::option::of("[A-Za-z/]{0,20}")) {
            let _ = when(&pattern, zone.as_deref());
            let _ = when(&fields, zone.as_deref());
        }
    }
}
