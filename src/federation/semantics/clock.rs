//! Calendar arithmetic over microseconds since 1970: adding intervals, local clocks and instants, ranges of the types.

use arrow::datatypes::IntervalMonthDayNano;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Offset, TimeZone as _};

use crate::error::{Diagnosis, sqlstate};
use crate::format::TimeZone;
use crate::pgtype::{TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

use super::datum::DAY_US;

/// 4713-11-24 BC, the first day PostgreSQL knows, in days since 1970.
const DAY_MIN: i32 = -2_440_588;
/// 5874897-12-31, the last `date`.
const DAY_MAX: i32 = 2_145_031_948;
/// 294277-01-01 00:00:00, the first instant beyond `timestamp`.
const TIMESTAMP_END: i64 = 9_224_318_016_000_000_000;

/// Whether the days are a `date` of PostgreSQL.
pub(super) fn is_date(days: i32) -> bool {
    (DAY_MIN..=DAY_MAX).contains(&days)
}

/// Whether a timestamp is `infinity` or `-infinity`.
pub(super) fn is_infinite(at: i64) -> bool {
    matches!(at, TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY)
}

fn out_of_range() -> Diagnosis {
    Diagnosis::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

/// Refuses timestamps PostgreSQL cannot hold.
pub(super) fn within(at: i64) -> Result<i64, Diagnosis> {
    // The upper end does not fit 64 bits of microseconds since 1970 where PostgreSQL counts from 2000; i64 itself bounds it.
    if at < i64::from(DAY_MIN) * DAY_US || at >= TIMESTAMP_END.min(i64::MAX) { Err(out_of_range()) } else { Ok(at) }
}

/// Year, month (1 to 12) and day of a count of days since 1970, in the proleptic Gregorian calendar.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    // Days are counted from 0000-03-01 in eras of 400 years, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`civil`].
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_index = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Days of a month.
pub(super) fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Adds months (cut to the month's end), then days, then time.
pub(super) fn add(at: i64, by: IntervalMonthDayNano) -> Result<i64, Diagnosis> {
    if is_infinite(at) {
        return Ok(at);
    }
    let mut days = at.div_euclid(DAY_US);
    let time = at.rem_euclid(DAY_US);
    if by.months != 0 {
        let (year, month, day) = civil(days);
        let index = year * 12 + month - 1 + i64::from(by.months);
        let (year, month) = (index.div_euclid(12), index.rem_euclid(12) + 1);
        days = days_of(year, month, day.min(month_length(year, month)));
    }
    days += i64::from(by.days);
    let moved = days.checked_mul(DAY_US).and_then(|at| at.checked_add(time)).and_then(|at| at.checked_add(by.nanoseconds / 1000));
    within(moved.ok_or_else(out_of_range)?)
}

/// Seconds east of UTC at an instant.
pub(super) fn offset_at(at: i64, zone: TimeZone) -> i64 {
    match zone {
        TimeZone::Fixed(seconds) => i64::from(seconds),
        TimeZone::Named(zone) => DateTime::from_timestamp_micros(at).map_or(0, |instant| {
            i64::from(zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc())
        }),
    }
}

/// The local clock of an instant.
pub(super) fn to_local(at: i64, zone: TimeZone) -> i64 {
    if is_infinite(at) { at } else { at.saturating_add(offset_at(at, zone) * 1_000_000) }
}

/// The instant of a local clock. In a gap the offset before it counts, in an overlap standard time, as in PostgreSQL.
pub(super) fn to_instant(local: i64, zone: TimeZone) -> i64 {
    if is_infinite(local) {
        return local;
    }
    // The two candidate offsets are those a day before and a day after.
    let before = offset_at(local.saturating_sub(DAY_US), zone) * 1_000_000;
    let after = offset_at(local.saturating_add(DAY_US), zone) * 1_000_000;
    let fits = |offset: i64| offset_at(local.saturating_sub(offset), zone) * 1_000_000 == offset;
    let offset = match (fits(before), fits(after)) {
        (true, true) => before.min(after),
        (true, false) => before,
        (false, true) => after,
        (false, false) => before,
    };
    local.saturating_sub(offset)
}

/// A date-time of the calendar library, for zones and week numbers; `None` outside its range.
pub(super) fn naive(at: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_micros(at).map(|instant| instant.naive_utc())
}

/// A date of the calendar library; `None` outside its range.
pub(super) fn naive_date(days: i64) -> Option<NaiveDate> {
    naive(days.checked_mul(DAY_US)?).map(|at| at.date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_days_convert_both_ways() {
        for days in [-2_440_588, -719_469, -1, 0, 59, 60, 11_016, 2_932_896, 2_145_031_948] {
            let (year, month, day) = civil(days);
            assert_eq!(days_of(year, month, day), days);
        }
        assert_eq!(civil(19_782), (2024, 2, 29));
    }

    #[test]
    fn months_are_cut_to_the_end_of_the_month() {
        let january = days_of(2024, 1, 31) * DAY_US;
        assert_eq!(add(january, IntervalMonthDayNano::new(1, 0, 0)).unwrap(), days_of(2024, 2, 29) * DAY_US);
        assert_eq!(add(january, IntervalMonthDayNano::new(-2, 1, 0)).unwrap(), days_of(2023, 12, 1) * DAY_US);
    }

    #[test]
    fn gaps_and_overlaps_resolve_like_postgres() {
        let berlin = TimeZone::Named(chrono_tz::Europe::Berlin);
        let hour = 3_600_000_000;
        // 2024-03-31 02:30 does not exist; 2024-10-27 02:30 exists twice.
        let gap = days_of(2024, 3, 31) * DAY_US + 2 * hour + hour / 2;
        assert_eq!(to_instant(gap, berlin), gap - hour);
        let overlap = days_of(2024, 10, 27) * DAY_US + 2 * hour + hour / 2;
        assert_eq!(to_instant(overlap, berlin), overlap - hour);
    }
}
