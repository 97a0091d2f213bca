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
    let era = year.div_euclid(400);
    let of_era = u32::try_from(year.rem_euclid(400)).ok()?;
    days_of_era(of_era, month, day).map(|days| era * DAYS_OF_ERA + i64::from(days) - ERA_TO_1970)
}

/// Days of the 400 years after which the Gregorian calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;
/// Days from the first of March of the year -400, where [`days_of_era`] counts from, to 1970-01-01.
const ERA_TO_1970: i64 = 719_468 + DAYS_OF_ERA;

/// Days since the first of March 400 years before the year 0. Years are at most a few thousand, so that nothing overflows, and
/// begin in March here, so that the day that comes and goes is their last.
#[inline]
fn days_of_era(year: u32, month: u32, day: u32) -> Option<u32> {
    let last = LAST_DAYS.get(month as usize)?;
    let is_leap_day = (month, day) == (2, 29) && year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    if day.wrapping_sub(1) >= *last && !is_leap_day {
        return None;
    }
    let (year, month) = if month > 2 { (year + 400, month - 3) } else { (year + 399, month + 9) };
    Some(year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1)
}

/// The last day of each month in a common year; there is no month 0.
const LAST_DAYS: [u32; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

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

/// `YYYY-MM-DD HH:MM:SS` with no or six digits of a fraction, which most columns hold throughout. `None` says nothing of the
/// text but that [`any_moment`] must look at it.
#[inline]
fn plain_moment(text: &[u8]) -> Option<i64> {
    let (first, rest) = text.split_first_chunk::<8>()?;
    let (second, rest) = rest.split_first_chunk::<8>()?;
    let (third, fraction) = rest.split_first_chunk::<3>()?;
    let date = Pairs::of(*first, *b"0000-00-")?;
    let clock = Pairs::of(*second, *b"00 00:00").or_else(|| Pairs::of(*second, *b"00T00:00"))?;
    let [b':', tens, ones] = *third else { return None };
    let second = pair(tens, ones)?;
    let micros = match *fraction {
        [] => 0,
        [b'.', a, b, c, d, e, f] => {
            let fraction = Pairs::of([a, b, c, d, e, f, b'0', b'0'], *b"00000000")?;
            fraction.at(0) * 10_000 + fraction.at(2) * 100 + fraction.at(4)
        }
        _ => return None,
    };
    let days = days_of_era(date.at(0) * 100 + date.at(2), date.at(5), clock.at(0))?;
    let (hour, minute) = (clock.at(3), clock.at(6));
    let seconds = hour * 3_600 + minute * 60 + second;
    (hour < 24 && minute < 60 && second < 60)
        .then_some((i64::from(days) - ERA_TO_1970) * MICROS_PER_DAY + i64::from(seconds) * 1_000_000 + i64::from(micros))
}

/// Eight characters whose digits were read together: byte n has the number that the digits n and n + 1 write.
struct Pairs([u8; 8]);

impl Pairs {
    /// Characters in the form of a pattern: digits where it has `0`, the same mark where it has a mark.
    #[inline]
    fn of(text: [u8; 8], pattern: [u8; 8]) -> Option<Self> {
        const EACH: u64 = 0x0101_0101_0101_0101;
        let digits = u64::from_le_bytes(text) ^ u64::from_le_bytes(pattern);
        // The most that a byte may hold, taken from 127, leaves its highest bit off: 9 for a digit and nothing for a mark.
        let room = u64::from_le_bytes(pattern.map(|mark| if mark == b'0' { 0x7f - 9 } else { 0x7f }));
        let without_high_bits = digits & (EACH * 0x7f);
        if (digits | (without_high_bits + room)) & (EACH * 0x80) != 0 {
            return None;
        }
        // At most 9 * 10 + 9 in each byte, so none carries into its neighbour.
        Some(Self((digits * 10 + (digits >> 8)).to_le_bytes()))
    }

    /// The number of two digits, the first of which stands at this place.
    #[inline]
    fn at(&self, place: usize) -> u32 {
        self.0.get(place).copied().map_or(0, u32::from)
    }
}

fn pair(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then(|| u32::from(tens) * 10 + u32::from(ones))
}

/// A text as `timestamp` (microseconds on the clock) and its offset if it has one.
fn any_moment(text: &[u8]) -> Option<(i64, Option<i64>)> {
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
#[inline]
pub fn timestamp_of_text(text: &[u8]) -> Option<i64> {
    plain_moment(text).or_else(|| any_timestamp(text))
}

#[cold]
fn any_timestamp(text: &[u8]) -> Option<i64> {
    if let Some(positive) = infinity(text) {
        return Some(if positive { TIMESTAMP_INFINITY } else { TIMESTAMP_NEGATIVE_INFINITY });
    }
    any_moment(text).filter(|(_, offset)| offset.unwrap_or(0) == 0).map(|(micros, _)| micros)
}

/// A text as `timestamptz`; without an offset it is UTC, as SQLite reads it.
#[inline]
pub fn timestamptz_of_text(text: &[u8]) -> Option<i64> {
    plain_moment(text).or_else(|| any_timestamptz(text))
}

#[cold]
fn any_timestamptz(text: &[u8]) -> Option<i64> {
    if let Some(positive) = infinity(text) {
        return Some(if positive { TIMESTAMP_INFINITY } else { TIMESTAMP_NEGATIVE_INFINITY });
    }
    any_moment(text).map(|(micros, offset)| micros - offset.unwrap_or(0))
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
        assert_eq!(plain_moment(b"2024-02-29T23:59:59.999999"), Some(day + MICROS_PER_DAY - 1));
        assert_eq!(plain_moment(b"2024-02-29 23:59:59"), Some(day + MICROS_PER_DAY - 1_000_000));
        // Whatever byte is another one, the short way gives nothing or what the long one gives.
        for text in ["2024-02-29 23:59:59.999999", "1999-12-31T00:00:00", "0000-01-01 09:09:09.000001"] {
            for place in 0..text.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = text.as_bytes().to_vec();
                    changed[place] = byte;
                    let long = any_moment(&changed);
                    assert!(plain_moment(&changed).is_none_or(|short| long == Some((short, None))), "{changed:?}: {long:?}");
                }
            }
        }
        assert_eq!(date_of_text(b"2024-02-29 00:00:01"), None);
        assert_eq!(time_of_text(b"23:59:59.999999"), Some(MICROS_PER_DAY - 1));
        assert_eq!(time_of_text(b"24:00"), Some(MICROS_PER_DAY));
        assert_eq!(time_of_text(b"24:01"), None);
    }

    #[test]
    fn the_short_way_reads_every_plain_moment() {
        let mut seed = 3_u64;
        let mut next = |end: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % end
        };
        let mut found = 0;
        for round in 0..20_000 {
            let (year, month, day) = (next(10_000), next(14), next(33));
            let (hour, minute, second, micros) = (next(25), next(61), next(61), next(1_000_000));
            let mark = if next(2) == 0 { ' ' } else { 'T' };
            let mut text = format!("{year:04}-{month:02}-{day:02}{mark}{hour:02}:{minute:02}:{second:02}");
            if round % 2 == 0 {
                text.push_str(&format!(".{micros:06}"));
            }
            let date = chrono::NaiveDate::from_ymd_opt(year as i32, month as u32, day as u32);
            let micros = if round % 2 == 0 { micros as u32 } else { 0 };
            let known = date.and_then(|date| date.and_hms_micro_opt(hour as u32, minute as u32, second as u32, micros));
            let known = known.map(|moment| moment.and_utc().timestamp_micros());
            found += u32::from(known.is_some());
            assert_eq!(plain_moment(text.as_bytes()), known, "{text}");
            if (hour, minute, second, micros) != (24, 0, 0, 0) {
                assert_eq!(any_moment(text.as_bytes()).map(|(micros, _)| micros), known, "{text}");
            }
        }
        assert!(found > 10_000, "{found} were moments");
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
