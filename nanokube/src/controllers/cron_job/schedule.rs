//! Cron schedules: five fields (minute, hour, day of month, month, day of week), or a name such as `@daily`, or
//! `@every 90s`. The grammar is that of the library upstream uses: lists, ranges, steps, names of months and days; a
//! day must match both day fields if one of them is `*`, else either. A local time that a change of clocks skips is
//! skipped.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// A schedule that never comes is looked for this far ahead.
const HORIZON_YEARS: i16 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    Fields(Box<Fields>),
    Every(SignedDuration),
}

/// Bit n of a field is set if the value n matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    pub fn parse(text: &str) -> Result<Schedule, String> {
        let text = text.trim();
        if let Some(period) = text.strip_prefix("@every ") {
            return every(period.trim()).ok_or_else(|| format!("failed to parse duration {text}"));
        }
        let text = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            named if named.starts_with('@') => return Err(format!("unrecognized descriptor: {named}")),
            fields => fields,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        let is_any = |field: &str| field.split(',').any(|part| matches!(part.split('/').next(), Some("*" | "?")));
        Ok(Schedule::Fields(Box::new(Fields {
            minutes: parse_field(minutes, 0, 59, &[])?,
            hours: parse_field(hours, 0, 23, &[])?,
            days: parse_field(days, 1, 31, &[])?,
            months: parse_field(months, 1, 12, MONTHS)?,
            weekdays: parse_field(weekdays, 0, 6, WEEKDAYS)?,
            any_day: is_any(days),
            any_weekday: is_any(weekdays),
        })))
    }

    /// The first time after `after`; None if there is none in the coming years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Schedule::Every(period) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*period).ok()
            }
            Schedule::Fields(fields) => fields.next(after, zone),
        }
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let minute = after.as_second().div_euclid(60) * 60 + 60;
        let mut at = Timestamp::from_second(minute).ok()?.to_zoned(zone.clone());
        let last_year = at.year() + HORIZON_YEARS;
        while at.year() <= last_year {
            let has = |bits: u64, value: i8| bits & (1 << value) != 0;
            at = if !has(self.months, at.month()) {
                start_of_day(&at.first_of_month().ok()?.checked_add(1.month()).ok()?)?
            } else if !self.has_day(&at) {
                start_of_day(&at.checked_add(1.day()).ok()?)?
            } else if !has(self.hours, at.hour()) {
                let into_hour_s = i64::from(at.minute()) * 60;
                at.checked_add(SignedDuration::from_secs(3600 - into_hour_s)).ok()?
            } else if !has(self.minutes, at.minute()) {
                at.checked_add(SignedDuration::from_mins(1)).ok()?
            } else {
                return Some(at.timestamp());
            };
        }
        None
    }

    fn has_day(&self, at: &Zoned) -> bool {
        let day = self.days & (1 << at.day()) != 0;
        let weekday = self.weekdays & (1 << at.weekday().to_sunday_zero_offset()) != 0;
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }
}

fn start_of_day(at: &Zoned) -> Option<Zoned> {
    at.with().time(Time::midnight()).build().ok()
}

fn parse_field(field: &str, min: u64, max: u64, names: &[&str]) -> Result<u64, String> {
    field.split(',').try_fold(0, |bits, part| Ok(bits | parse_range(part, min, max, names)?))
}

/// `*`, `n`, `a-b`, each with `/step`; `n/step` runs to the end.
fn parse_range(text: &str, min: u64, max: u64, names: &[&str]) -> Result<u64, String> {
    let mut halves = text.split('/');
    let (range, step) = (halves.next().unwrap_or_default(), halves.next());
    if halves.next().is_some() {
        return Err(format!("too many slashes: {text}"));
    }
    let value = |word: &str| {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(word));
        let number = named.map_or_else(|| word.parse::<u64>(), |at| Ok(at as u64 + min));
        number.map_err(|_| format!("failed to parse int from {word}"))
    };
    let (first, last) = match range.split_once('-') {
        _ if matches!(range, "*" | "?") => (min, max),
        Some((_, last)) if last.contains('-') => return Err(format!("too many hyphens: {text}")),
        Some((first, last)) => (value(first)?, value(last)?),
        None => {
            let first = value(range)?;
            (first, if step.is_some() { max } else { first })
        }
    };
    let step = step.map_or(Ok(1), |step| step.parse().map_err(|_| format!("failed to parse int from {step}")))?;
    if first < min {
        return Err(format!("beginning of range ({first}) below minimum ({min}): {text}"));
    }
    if last > max {
        return Err(format!("end of range ({last}) above maximum ({max}): {text}"));
    }
    if first > last {
        return Err(format!("beginning of range ({first}) beyond end of range ({last}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let step = usize::try_from(step).unwrap_or(usize::MAX);
    Ok((first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value))
}

fn every(period: &str) -> Option<Schedule> {
    let ns = crate::controllers::hpa::observe::duration_ns(period)?;
    let seconds = (ns / 1_000_000_000).max(1);
    Some(Schedule::Every(SignedDuration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next two times after `after`.
    #[track_caller]
    fn check(schedule: &str, after: &str, zone: &str, expected: [&str; 2]) {
        let schedule = Schedule::parse(schedule).unwrap();
        let zone = TimeZone::get(zone).unwrap();
        let mut at: Timestamp = after.parse().unwrap();
        for expected in expected {
            at = schedule.next(at, &zone).unwrap();
            assert_eq!(at.to_string(), expected, "{schedule:?}");
        }
    }

    #[test]
    fn schedules_find_their_next_times() {
        let after = "2026-01-30T10:07:30Z";
        check("* * * * *", after, "UTC", ["2026-01-30T10:08:00Z", "2026-01-30T10:09:00Z"]);
        check("*/15 * * * *", after, "UTC", ["2026-01-30T10:15:00Z", "2026-01-30T10:30:00Z"]);
        check("5,50-52 10 * * *", after, "UTC", ["2026-01-30T10:50:00Z", "2026-01-30T10:51:00Z"]);
        check("0 0 31 * *", after, "UTC", ["2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"]);
        check("0 12 * feb mon-fri", after, "UTC", ["2026-02-02T12:00:00Z", "2026-02-03T12:00:00Z"]);
        check("0 0 13 * 5", after, "UTC", ["2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z"]);
        check("0 0 29 2 *", after, "UTC", ["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        check("@hourly", after, "UTC", ["2026-01-30T11:00:00Z", "2026-01-30T12:00:00Z"]);
        check("@weekly", after, "UTC", ["2026-02-01T00:00:00Z", "2026-02-08T00:00:00Z"]);
        check("@every 90s", after, "UTC", ["2026-01-30T10:09:00Z", "2026-01-30T10:10:30Z"]);
    }

    #[test]
    fn local_times_that_a_change_of_clocks_skips_are_skipped() {
        if TimeZone::get("Europe/Berlin").is_err() {
            return; // A machine without a time zone database cannot tell.
        }
        let after = "2026-03-27T12:00:00Z";
        check("30 2 * * *", after, "Europe/Berlin", ["2026-03-28T01:30:00Z", "2026-03-30T00:30:00Z"]);
        check("0 9 * * *", after, "Europe/Berlin", ["2026-03-28T08:00:00Z", "2026-03-29T07:00:00Z"]);
    }

    #[test]
    fn what_never_comes_has_no_next_time() {
        let schedule = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(schedule.next("2026-01-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC), None);
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@never", "unrecognized descriptor: @never"),
            ("", "expected exactly 5 fields, found 0: []"),
        ];
        for (text, expected) in cases {
            assert_eq!(Schedule::parse(text), Err(expected.to_owned()), "{text:?}");
        }
    }
}
