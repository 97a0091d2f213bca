//! Time zones: the offset at an instant, local time to UTC as PostgreSQL resolves gaps and overlaps, and zone names on input.

use std::borrow::Cow;

use chrono::{DateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use super::TimeZone;
use super::calendar::{self, Civil};

/// The last year whose transitions the zone database lists one by one; later years repeat its rules.
const LAST_LISTED_YEAR: i64 = 2099;
/// 0001-01-01 in seconds since 1970: before it every zone is on local mean time.
const FIRST_SECOND: i64 = -62_135_596_800;

/// Seconds east of UTC at an instant, given in microseconds since 1970-01-01 UTC.
pub fn offset_at(zone: TimeZone, utc_micros: i64) -> i64 {
    match zone {
        TimeZone::Fixed(seconds) => i64::from(seconds),
        TimeZone::Named(Tz::UTC) => 0,
        TimeZone::Named(tz) => listed(tz, utc_micros).map_or(0, |offset| i64::from(offset.fix().local_minus_utc())),
    }
}

/// The abbreviation in force at an instant (`CET`, `PDT`); `None` for fixed offsets.
pub fn abbreviation_at(zone: TimeZone, utc_micros: i64) -> Option<Cow<'static, str>> {
    match zone {
        TimeZone::Fixed(_) => None,
        TimeZone::Named(tz) => {
            let offset = listed(tz, utc_micros)?;
            let letters = offset.abbreviation().map(ToOwned::to_owned);
            Some(Cow::Owned(letters.unwrap_or_else(|| numeric_abbreviation(offset.fix().local_minus_utc()))))
        }
    }
}

/// Where nobody uses letters, the time zone database abbreviates an offset as `+0630` or `+03` (its `%z` format).
fn numeric_abbreviation(seconds: i32) -> String {
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes, rest) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    match (minutes, rest) {
        (0, 0) => format!("{sign}{hours:02}"),
        (_, 0) => format!("{sign}{hours:02}{minutes:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}{rest:02}"),
    }
}

fn listed(tz: Tz, utc_micros: i64) -> Option<chrono_tz::TzOffset> {
    let seconds = listed_second(utc_micros.div_euclid(1_000_000)).max(FIRST_SECOND);
    let instant = DateTime::from_timestamp(seconds, 0)?.naive_utc();
    Some(tz.offset_from_utc_datetime(&instant))
}

/// Moves an instant after the listed years to a listed year with the same calendar.
fn listed_second(second: i64) -> i64 {
    let year = calendar::civil(second.div_euclid(86_400)).year;
    if year <= LAST_LISTED_YEAR {
        return second;
    }
    let first_day = |year| calendar::days(Civil { year, month: 1, day: 1 });
    // 28 consecutive years without a skipped leap year hold each of the 14 calendars.
    let twin = (LAST_LISTED_YEAR - 27..=LAST_LISTED_YEAR).find(|&candidate| {
        calendar::is_leap(candidate) == calendar::is_leap(year)
            && calendar::weekday(first_day(candidate)) == calendar::weekday(first_day(year))
    });
    twin.map_or(second, |twin| second - (first_day(year) - first_day(twin)) * 86_400)
}

/// The instant a wall clock shows `local_micros` (microseconds since 1970-01-01 by that clock). In a gap the offset before
/// it counts, in an overlap the later one, as PostgreSQL's `DetermineTimeZoneOffset`; `None` on overflow.
pub fn to_utc(zone: TimeZone, local_micros: i64) -> Option<i64> {
    let shift = |offset: i64| local_micros.checked_sub(offset * 1_000_000);
    if let TimeZone::Fixed(seconds) = zone {
        return shift(i64::from(seconds));
    }
    let before = offset_at(zone, local_micros.saturating_sub(calendar::DAY_MICROS));
    let after = offset_at(zone, local_micros.saturating_add(calendar::DAY_MICROS));
    let later = shift(after)?;
    if before == after || offset_at(zone, later) == after { Some(later) } else { shift(before) }
}

/// A zone as it stands in date and time input: one of the abbreviations PostgreSQL's default set knows, which keep their
/// offset all year, else as [`named`].
pub fn find(name: &str) -> Option<TimeZone> {
    if let Some((_, hours)) = ABBREVIATIONS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)) {
        return Some(TimeZone::Fixed(*hours * 1_800));
    }
    named(name)
}

/// A zone by its IANA name in any case: what `SET TimeZone` takes, where abbreviations mean nothing.
pub fn named(name: &str) -> Option<TimeZone> {
    TZ_VARIANTS.iter().find(|tz| tz.name().eq_ignore_ascii_case(name)).map(|tz| TimeZone::Named(*tz))
}

/// Abbreviations and their offsets in half hours east (`timezonesets/Default`, without those that moved in history).
const ABBREVIATIONS: &[(&str, i32)] = &[
    ("UTC", 0),
    ("GMT", 0),
    ("UT", 0),
    ("Z", 0),
    ("ZULU", 0),
    ("UCT", 0),
    ("WET", 0),
    ("WEST", 2),
    ("BST", 2),
    ("CET", 2),
    ("MET", 2),
    ("CEST", 4),
    ("MEST", 4),
    ("EET", 4),
    ("SAST", 4),
    ("EEST", 6),
    ("IST", 4),
    ("IDT", 6),
    ("JST", 18),
    ("KST", 18),
    ("AWST", 16),
    ("ACST", 19),
    ("ACDT", 21),
    ("AEST", 20),
    ("AEDT", 22),
    ("NZST", 24),
    ("NZDT", 26),
    ("NST", -7),
    ("NDT", -5),
    ("AST", -8),
    ("ADT", -6),
    ("EST", -10),
    ("EDT", -8),
    ("CST", -12),
    ("CDT", -10),
    ("MST", -14),
    ("MDT", -12),
    ("PST", -16),
    ("PDT", -14),
    ("AKST", -18),
    ("AKDT", -16),
    ("HST", -20),
    ("BRT", -6),
    ("BRST", -4),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(year: i64, month: i64, day: i64, hour: i64) -> i64 {
        calendar::days(Civil { year, month, day }) * calendar::DAY_MICROS + hour * 3_600_000_000
    }

    #[test]
    fn offsets_follow_history_and_rules_go_on_for_ever() {
        let new_york = find("america/new_york").unwrap();
        for (zone, instant, expected) in [
            (new_york, micros(2024, 7, 1, 0), -4 * 3600),
            (new_york, micros(2099, 7, 1, 0), -4 * 3600),
            (new_york, micros(2150, 7, 1, 0), -4 * 3600),
            (new_york, micros(290_000, 7, 1, 0), -4 * 3600),
            (new_york, micros(290_000, 1, 1, 0), -5 * 3600),
            (new_york, micros(-4000, 1, 1, 0), -17_762),
            (find("Europe/Paris").unwrap(), micros(1880, 1, 1, 0), 561),
        ] {
            assert_eq!(offset_at(zone, instant), expected, "{zone:?} {instant}");
        }
        assert_eq!(abbreviation_at(new_york, micros(2024, 7, 1, 0)).as_deref(), Some("EDT"));
    }

    #[test]
    fn gaps_and_overlaps_resolve_as_in_postgres() {
        let new_york = find("America/New_York").unwrap();
        let half = 1_800_000_000;
        // 2024-03-10 02:30 does not exist: the offset before the gap counts.
        assert_eq!(to_utc(new_york, micros(2024, 3, 10, 2) + half), Some(micros(2024, 3, 10, 7) + half));
        // 2024-11-03 01:30 exists twice: the later one, standard time, counts.
        assert_eq!(to_utc(new_york, micros(2024, 11, 3, 1) + half), Some(micros(2024, 11, 3, 6) + half));
    }
}
