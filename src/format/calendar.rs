//! The proleptic Gregorian calendar over PostgreSQL's whole range, on plain integers.
//!
//! Years are astronomical: 0 is 1 BC, -1 is 2 BC. `chrono` ends at year 262143 and is used for time zones only.

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

/// Microseconds of one day.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// Days from 1970-01-01 to 2000-01-01, where Postgres counts from on the wire.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// Microseconds from 1970-01-01 to 2000-01-01.
pub const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;
/// 4714-11-24 BC, the first day of both `date` and `timestamp`, in days since 1970-01-01.
pub const FIRST_DAY: i32 = -2_440_588;
/// 5874897-12-31, the last `date`, in days since 1970-01-01.
pub const LAST_DATE: i32 = 2_145_042_905;
/// The first instant of 4714-11-24 BC in microseconds since 1970-01-01.
pub const FIRST_MICROS: i64 = FIRST_DAY as i64 * DAY_MICROS;

/// Days since 1970-01-01 of a day of the calendar (the era method: 400 years are 146097 days).
pub fn days(date: Civil) -> i64 {
    let year = if date.month <= 2 { date.year - 1 } else { date.year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (date.month + 9).rem_euclid(12);
    let day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The day of the calendar that lies `days` after 1970-01-01.
pub fn civil(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year, month, day }
}

/// Whether February has 29 days.
pub fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// 28 to 31.
pub fn month_length(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 for Sunday to 6 for Saturday.
pub fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        let rows = [
            (0, (1970, 1, 1), 4),
            (i64::from(POSTGRES_EPOCH_DAYS), (2000, 1, 1), 6),
            (i64::from(FIRST_DAY), (-4713, 11, 24), 1),
            (i64::from(LAST_DATE), (5_874_897, 12, 31), 2),
            (-719_162, (1, 1, 1), 1),
        ];
        for (day, (year, month, month_day), week) in rows {
            let date = Civil { year, month, day: month_day };
            assert_eq!(civil(day), date);
            assert_eq!(days(date), day);
            assert_eq!(weekday(day), week, "{date:?}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let mut before = civil(-200_001);
        for day in -200_000..92_194 {
            let now = civil(day);
            let is_next = if now.day == 1 {
                before.day == month_length(before.year, before.month)
            } else {
                now.day == before.day + 1 && now.month == before.month
            };
            assert!(is_next, "{before:?} {now:?}");
            assert_eq!(days(now), day);
            before = now;
        }
    }
}
