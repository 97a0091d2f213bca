//! Dates, times and timestamps as SQLite applications store them (<https://www.sqlite.org/lang_datefunc.html>).
//!
//! | Cell | Meaning |
//! |---|---|
//! | TEXT | ISO 8601: `YYYY-MM-DD`, `YYYY-MM-DD HH:MM[:SS[.ffffff]]` with a space or `T`, and an optional `Z` or `±HH:MM` |
//! | INTEGER | seconds since 1970-01-01 UTC, in the years 0 to 9999, so that milliseconds are refused and not misread; not 1 to 5373484 |
//! | REAL | Julian day number, rounded to milliseconds as SQLite does |
//!
//! A column with numeric affinity, which every date type has, turns a Julian day without a fraction (noon) into an INTEGER;
//! integers that may be either are refused.
//!
//! What would lose something is refused: digits below microseconds, an offset in a `timestamp`, a time in a `date`.

use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

/// Microseconds of one day.
pub const MICROS_PER_DAY: i64 = 86_400_000_000;
/// 0000-01-01 and 10000-01-01 in seconds since 1970.
const UNIX_SECONDS: std::ops::Range<i64> = -62_167_219_200..253_402_300_800;
/// Integers that may be Julian days at noon as well as seconds of early 1970.
const AMBIGUOUS: std::ops::RangeInclusive<i64> = 1..=5_373_484;
/// The Julian days that SQLite's own functions accept.
const JULIAN_DAYS: std::ops::Range<f64> = 0.0..5_373_484.5;

/// Days since 1970-01-01 of a proleptic Gregorian date; `None` when the date does not exist.
pub fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let shifted_month = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    is_day(year, month, day).then_some(days)
}

/// Whether the proleptic Gregorian calendar has this day.
fn is_day(year: i64, month: u32, day: u32) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// A reader of ASCII digits and marks.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut number = 0_u32;
        for digit in digits {
            number = number * 10 + u32::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
        }
        self.0 = rest;
        Some(number)
    }

    fn mark(&mut self, marks: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        marks.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// `YYYY-MM-DD` as days.
    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4)?;
        self.mark(b"-")?;
        let month = self.digits(2)?;
        self.mark(b"-")?;
        days(i64::from(year), month, self.digits(2)?)
    }

    /// `HH:MM[:SS[.ffffff]]` as microseconds; further digits must be zeros.
    fn time(&mut self) -> Option<i64> {
        let hour = self.digits(2)?;
        self.mark(b":")?;
        let minute = self.digits(2)?;
        let second = if self.mark(b":").is_some() { self.digits(2)? } else { 0 };
        let mut micros = 0_i64;
        if self.mark(b".").is_some() {
            micros = self.fraction()?;
        }
        let whole = hour < 24 && minute < 60 && second < 60 || (hour, minute, second, micros) == (24, 0, 0, 0);
        whole.then(|| i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000 + micros)
    }

    fn fraction(&mut self) -> Option<i64> {
        let mut micros = 0_i64;
        let mut worth = 100_000_i64;
        self.digits(1).map(|digit| micros += i64::from(digit) * worth)?;
        while self.0.first().is_some_and(u8::is_ascii_digit) {
            worth /= 10;
            let digit = i64::from(self.digits(1)?);
            if worth == 0 && digit != 0 {
                return None;
            }
            micros += digit * worth;
        }
        Some(micros)
    }

    /// `Z` or `±HH:MM` as microseconds east; `None` inside when there is none.
    fn offset(&mut self) -> Option<Option<i64>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let sign = match self.mark(b"Zz+- ")? {
            b'Z' | b'z' => return Some(Some(0)),
            // Some writers put a space before the offset.
            b' ' => self.mark(b"+-")?,
            sign => sign,
        };
        let hours = self.digits(2)?;
        self.mark(b":");
        let minutes = self.digits(2)?;
        let micros = (hours < 16 && minutes < 60).then(|| i64::from(hours * 60 + minutes) * 60_000_000)?;
        Some(Some(if sign == b'-' { -micros } else { micros }))
    }
}

fn infinity(text: &[u8]) -> Option<bool> {
    match text {
        b"infinity" => Some(true),
        b"-infinity" => Some(false),
        _ => None,
    }
}

/// A text as `timestamp` (microseconds on the clock) and its offset if it has one.
fn moment_of_text(text: &[u8]) -> Option<(i64, Option<i64>)> {
    let mut scanner = Scanner(text);
    let date = scanner.date()?;
    let (time, offset) = if scanner.0.is_empty() {
        (0, None)
    } else {
        scanner.mark(b" T")?;
        (scanner.time()?, scanner.offset()?)
    };
    scanner.0.is_empty().then(|| (date * MICROS_PER_DAY + time, offset))
}

/// A text as `timestamp`. An offset is accepted only when it is zero.
pub fn timestamp_of_text(text: &[u8]) -> Option<i64> {
    if let Some(positive) = infinity(text) {
        return Some(if positive { TIMESTAMP_INFINITY } else { TIMESTAMP_NEGATIVE_INFINITY });
    }
    moment_of_text(text).filter(|(_, offset)| offset.unwrap_or(0) == 0).map(|(micros, _)| micros)
}

/// A text as `timestamptz`; without an offset it is UTC, as SQLite reads it.
pub fn timestamptz_of_text(text: &[u8]) -> Option<i64> {
    if let Some(positive) = infinity(text) {
        return Some(if positive { TIMESTAMP_INFINITY } else { TIMESTAMP_NEGATIVE_INFINITY });
    }
    moment_of_text(text).map(|(micros, offset)| micros - offset.unwrap_or(0))
}

/// An integer as a moment in microseconds.
pub fn moment_of_int(seconds: i64) -> Option<i64> {
    (UNIX_SECONDS.contains(&seconds) && !AMBIGUOUS.contains(&seconds)).then(|| seconds * 1_000_000)
}

/// A real as a moment in microseconds.
pub fn moment_of_real(julian: f64) -> Option<i64> {
    // The cast is in range: at most 4.7e14.
    JULIAN_DAYS.contains(&julian).then(|| ((julian * 86_400_000.0 + 0.5).floor() as i64 - 210_866_760_000_000) * 1_000)
}

/// A text as `date`; a time after it must be midnight.
pub fn date_of_text(text: &[u8]) -> Option<i32> {
    if let Some(positive) = infinity(text) {
        return Some(if positive { DATE_INFINITY } else { DATE_NEGATIVE_INFINITY });
    }
    date_of_micros(timestamp_of_text(text)?)
}

/// A moment at midnight as days since 1970-01-01.
pub fn date_of_micros(micros: i64) -> Option<i32> {
    (micros.rem_euclid(MICROS_PER_DAY) == 0).then(|| i32::try_from(micros.div_euclid(MICROS_PER_DAY)).ok()).flatten()
}

/// A text as `time`.
pub fn time_of_text(text: &[u8]) -> Option<i64> {
    let mut scanner = Scanner(text);
    let time = scanner.time()?;
    scanner.0.is_empty().then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::relational::literal::civil;

    #[test]
    fn days_and_dates_agree_over_the_whole_calendar() {
        for day in (-1_000_000..4_000_000).step_by(97) {
            let (year, month, day_of_month) = civil(day);
            assert_eq!(days(year, month, day_of_month), Some(day));
        }
        assert_eq!(days(2023, 2, 29), None);
        assert_eq!(days(2024, 13, 1), None);
        assert_eq!(days(2024, 0, 1), None);
        assert_eq!(days(2024, 4, 0), None);
    }

    #[test]
    fn texts_are_read_strictly() {
        let day = 19_782 * MICROS_PER_DAY; // 2024-02-29
        let rows: &[(&str, Option<i64>, Option<i64>)] = &[
            ("2024-02-29", Some(day), Some(day)),
            ("2024-02-29 00:00", Some(day), Some(day)),
            ("2024-02-29T01:02:03.5", Some(day + 3_723_500_000), Some(day + 3_723_500_000)),
            ("2024-02-29 00:00:00.123456", Some(day + 123_456), Some(day + 123_456)),
            ("2024-02-29 00:00:00.123456000", Some(day + 123_456), Some(day + 123_456)),
            ("2024-02-29 00:00:00.123456789", None, None),
            ("2024-02-29 00:00:00Z", Some(day), Some(day)),
            ("2024-02-29 00:00:00+00:00", Some(day), Some(day)),
            ("2024-02-29 02:00:00+02:00", None, Some(day)),
            ("2024-02-28 19:00:00 -0500", None, Some(day)),
            ("2023-02-29", None, None),
            ("2024-02-29 25:00:00", None, None),
            ("2024-02-29 24:00:00", Some(day + MICROS_PER_DAY), Some(day + MICROS_PER_DAY)),
            ("2024-2-9", None, None),
            ("20240229", None, None),
            ("2024-02-29 00:00:00 ", None, None),
            ("", None, None),
            ("infinity", Some(i64::MAX), Some(i64::MAX)),
        ];
        for (text, timestamp, timestamptz) in rows {
            assert_eq!(timestamp_of_text(text.as_bytes()), *timestamp, "{text}");
            assert_eq!(timestamptz_of_text(text.as_bytes()), *timestamptz, "{text}");
        }
        assert_eq!(date_of_text(b"2024-02-29"), Some(19_782));
        assert_eq!(date_of_text(b"2024-02-29 00:00:01"), None);
        assert_eq!(time_of_text(b"23:59:59.999999"), Some(MICROS_PER_DAY - 1));
        assert_eq!(time_of_text(b"24:00"), Some(MICROS_PER_DAY));
        assert_eq!(time_of_text(b"24:01"), None);
    }

    #[test]
    fn numbers_are_seconds_and_julian_days() {
        assert_eq!(moment_of_int(0), Some(0));
        assert_eq!(moment_of_int(-1), Some(-1_000_000));
        assert_eq!(moment_of_int(5_373_485), Some(5_373_485_000_000));
        assert_eq!(moment_of_int(2_440_588), None);
        assert_eq!(moment_of_int(1_700_000_000_000), None);
        assert_eq!(moment_of_real(2_440_587.5), Some(0));
        assert_eq!(moment_of_real(2_440_588.0), Some(MICROS_PER_DAY / 2));
        assert_eq!(moment_of_real(1_700_000_000.5), None);
        assert_eq!(moment_of_real(f64::NAN), None);
        assert_eq!(date_of_micros(moment_of_int(20_240_101).unwrap()), None);
    }
}
