//! Calendar arithmetic over microseconds since 1970: adding intervals, local clocks and instants, ranges of the types.

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::{Diagnosis, sqlstate};
use crate::format::{TimeZone, calendar, zone};
use crate::pgtype::{TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

use super::datum::DAY_US;

/// 4713-11-24 BC, the first day PostgreSQL knows, in days since 1970.
const DAY_MIN: i32 = -2_440_588;
/// 5874897-12-31, the last `date`.
const DAY_MAX: i32 = 2_145_031_948;

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
    // The carrier ends in the year 294247, before PostgreSQL's own end in 294276; its last value is infinity.
    if at < i64::from(DAY_MIN) * DAY_US || at == TIMESTAMP_INFINITY { Err(out_of_range()) } else { Ok(at) }
}

/// Year, month (1 to 12) and day of a count of days since 1970, in the proleptic Gregorian calendar.
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    let date = calendar::civil(days);
    (date.year, date.month, date.day)
}

/// The inverse of [`civil`].
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    calendar::days(calendar::Civil { year, month, day })
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
        days = days_of(year, month, day.min(calendar::month_length(year, month)));
    }
    days += i64::from(by.days);
    let moved = days.checked_mul(DAY_US).and_then(|at| at.checked_add(time)).and_then(|at| at.checked_add(by.nanoseconds / 1000));
    within(moved.ok_or_else(out_of_range)?)
}

/// [`add`] for an instant: months and days move the local clock, the time part moves the instant.
pub(super) fn add_in_zone(at: i64, by: IntervalMonthDayNano, zone: TimeZone) -> Result<i64, Diagnosis> {
    if is_infinite(at) {
        return Ok(at);
    }
    let moved = if by.months == 0 && by.days == 0 {
        at
    } else {
        to_instant(add(to_local(at, zone), IntervalMonthDayNano::new(by.months, by.days, 0))?, zone)
    };
    add(moved, IntervalMonthDayNano::new(0, 0, by.nanoseconds))
}

/// Seconds east of UTC at an instant.
pub(super) fn offset_at(at: i64, zone: TimeZone) -> i64 {
    zone::offset_at(zone, at)
}

/// The local clock of an instant.
pub(super) fn to_local(at: i64, zone: TimeZone) -> i64 {
    if is_infinite(at) { at } else { at.saturating_add(offset_at(at, zone) * 1_000_000) }
}

/// The instant of a local clock; see `zone::to_utc` for gaps and overlaps.
pub(super) fn to_instant(local: i64, zone: TimeZone) -> i64 {
    if is_infinite(local) { local } else { zone::to_utc(zone, local).unwrap_or(local) }
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
