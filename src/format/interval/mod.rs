//! `interval` as text: the four styles out, every form of the manual (§8.5.4) in.
//!
//! An interval is months, days and microseconds, which never mix on output; on input only fractions cascade to the
//! smaller part, as in PostgreSQL.

mod fields;
mod input;

pub use fields::adjust;
pub use input::{read, read_as};

use bytes::BufMut;

use super::time::{two, write_fraction};
use super::{IntervalStyle, fault};
use crate::error::Diagnosis;

/// An `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Interval {
    /// Months, years included.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// The parts that are shown, each with its own sign.
struct Parts {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    fraction: i64,
}

impl Parts {
    fn of(value: Interval) -> Self {
        Self {
            years: i64::from(value.months) / 12,
            months: i64::from(value.months) % 12,
            days: i64::from(value.days),
            hours: value.micros / 3_600_000_000,
            minutes: value.micros / 60_000_000 % 60,
            seconds: value.micros / 1_000_000 % 60,
            fraction: value.micros % 1_000_000,
        }
    }

    fn has_clock(&self) -> bool {
        self.hours != 0 || self.minutes != 0 || self.has_seconds()
    }

    fn has_seconds(&self) -> bool {
        self.seconds != 0 || self.fraction != 0
    }

    fn is_clock_negative(&self) -> bool {
        self.hours < 0 || self.minutes < 0 || self.seconds < 0 || self.fraction < 0
    }
}

fn put_int(value: i64, out: &mut impl BufMut) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `SS.ffffff`, without sign, two digits before the point.
fn put_seconds(parts: &Parts, out: &mut impl BufMut) {
    out.put_slice(&two(parts.seconds.abs()));
    write_fraction(parts.fraction.abs(), out);
}

/// `S.ffffff`, without sign or leading zero.
fn put_short_seconds(parts: &Parts, out: &mut impl BufMut) {
    put_int(parts.seconds.abs(), out);
    write_fraction(parts.fraction.abs(), out);
}

/// Writes in the style the session asked for.
pub fn write(value: Interval, style: IntervalStyle, out: &mut impl BufMut) {
    let parts = Parts::of(value);
    match style {
        IntervalStyle::Postgres => write_postgres(&parts, out),
        IntervalStyle::PostgresVerbose => write_verbose(&parts, out),
        IntervalStyle::SqlStandard => write_sql_standard(&parts, out),
        IntervalStyle::Iso8601 => write_iso(&parts, out),
    }
}

fn write_postgres(parts: &Parts, out: &mut impl BufMut) {
    let mut is_empty = true;
    let mut is_before = false;
    for (value, unit) in [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day")] {
        if value == 0 {
            continue;
        }
        if !is_empty {
            out.put_u8(b' ');
        }
        // A plus shows where the sign turns from minus back.
        if is_before && value > 0 {
            out.put_u8(b'+');
        }
        put_int(value, out);
        out.put_u8(b' ');
        out.put_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        is_before = value < 0;
        is_empty = false;
    }
    if !is_empty && !parts.has_clock() {
        return;
    }
    if !is_empty {
        out.put_u8(b' ');
    }
    if parts.is_clock_negative() {
        out.put_u8(b'-');
    } else if is_before {
        out.put_u8(b'+');
    }
    put_hours(parts.hours.abs(), out);
    out.put_u8(b':');
    out.put_slice(&two(parts.minutes.abs()));
    out.put_u8(b':');
    put_seconds(parts, out);
}

fn put_hours(hours: i64, out: &mut impl BufMut) {
    if hours < 100 { out.put_slice(&two(hours)) } else { put_int(hours, out) }
}

fn write_verbose(parts: &Parts, out: &mut impl BufMut) {
    let mut is_empty = true;
    let mut is_before = false;
    out.put_u8(b'@');
    let units = [(parts.years, "year"), (parts.months, "mon"), (parts.days, "day"), (parts.hours, "hour"), (parts.minutes, "min")];
    for (value, unit) in units {
        if value == 0 {
            continue;
        }
        // The first part decides the sign of the whole; the others are shown relative to it.
        if is_empty {
            is_before = value < 0;
        }
        let shown = if is_before { -value } else { value };
        out.put_u8(b' ');
        put_int(shown, out);
        out.put_u8(b' ');
        out.put_slice(unit.as_bytes());
        if shown != 1 {
            out.put_u8(b's');
        }
        is_empty = false;
    }
    if parts.has_seconds() {
        let is_negative = parts.seconds < 0 || parts.fraction < 0;
        if is_empty {
            is_before = is_negative;
        }
        out.put_u8(b' ');
        if is_negative != is_before {
            out.put_u8(b'-');
        }
        put_short_seconds(parts, out);
        out.put_slice(if parts.seconds.abs() == 1 && parts.fraction == 0 { b" sec" } else { b" secs" });
        is_empty = false;
    }
    if is_empty {
        out.put_slice(b" 0");
    }
    if is_before {
        out.put_slice(b" ago");
    }
}

fn write_sql_standard(parts: &Parts, out: &mut impl BufMut) {
    let all = [parts.years, parts.months, parts.days, parts.hours, parts.minutes, parts.seconds, parts.fraction];
    let has_negative = all.iter().any(|&part| part < 0);
    let has_positive = all.iter().any(|&part| part > 0);
    let has_months = parts.years != 0 || parts.months != 0;
    if !has_negative && !has_positive {
        return out.put_u8(b'0');
    }
    if (has_negative && has_positive) || (has_months && (parts.days != 0 || parts.has_clock())) {
        // Not a value of the standard: every part takes its own sign.
        let sign = |is_negative: bool| if is_negative { b'-' } else { b'+' };
        out.put_u8(sign(parts.years < 0 || parts.months < 0));
        put_years_and_months(parts, out);
        out.put_slice(&[b' ', sign(parts.days < 0)]);
        put_int(parts.days.abs(), out);
        out.put_slice(&[b' ', sign(parts.is_clock_negative())]);
        return put_hours_and_clock(parts, out);
    }
    if has_negative {
        out.put_u8(b'-');
    }
    if has_months {
        return put_years_and_months(parts, out);
    }
    if parts.days != 0 {
        put_int(parts.days.abs(), out);
        out.put_u8(b' ');
    }
    put_hours_and_clock(parts, out);
}

fn put_years_and_months(parts: &Parts, out: &mut impl BufMut) {
    put_int(parts.years.abs(), out);
    out.put_u8(b'-');
    put_int(parts.months.abs(), out);
}

/// `H:MM:SS`, the hour without leading zero.
fn put_hours_and_clock(parts: &Parts, out: &mut impl BufMut) {
    put_int(parts.hours.abs(), out);
    out.put_u8(b':');
    out.put_slice(&two(parts.minutes.abs()));
    out.put_u8(b':');
    put_seconds(parts, out);
}

fn write_iso(parts: &Parts, out: &mut impl BufMut) {
    out.put_u8(b'P');
    for (value, unit) in [(parts.years, b'Y'), (parts.months, b'M'), (parts.days, b'D')] {
        if value != 0 {
            put_int(value, out);
            out.put_u8(unit);
        }
    }
    let is_zero = parts.years == 0 && parts.months == 0 && parts.days == 0 && !parts.has_clock();
    if is_zero {
        return out.put_slice(b"T0S");
    }
    if parts.has_clock() {
        out.put_u8(b'T');
    }
    for (value, unit) in [(parts.hours, b'H'), (parts.minutes, b'M')] {
        if value != 0 {
            put_int(value, out);
            out.put_u8(unit);
        }
    }
    if parts.has_seconds() {
        if parts.seconds < 0 || parts.fraction < 0 {
            out.put_u8(b'-');
        }
        put_short_seconds(parts, out);
        out.put_u8(b'S');
    }
}

/// Writes the binary form: microseconds, days, months.
pub fn write_binary(value: Interval, out: &mut impl BufMut) {
    out.put_i64(value.micros);
    out.put_i32(value.days);
    out.put_i32(value.months);
}

/// Reads the binary form.
///
/// # Errors
/// 22P03.
pub fn read_binary(bytes: &[u8]) -> Result<Interval, Diagnosis> {
    let bytes: &[u8; 16] = bytes.try_into().map_err(|_cause| fault::binary("interval"))?;
    let (micros, rest) = bytes.split_first_chunk::<8>().ok_or_else(|| fault::binary("interval"))?;
    let (days, months) = rest.split_first_chunk::<4>().ok_or_else(|| fault::binary("interval"))?;
    let months: [u8; 4] = months.try_into().map_err(|_cause| fault::binary("interval"))?;
    Ok(Interval { months: i32::from_be_bytes(months), days: i32::from_be_bytes(*days), micros: i64::from_be_bytes(*micros) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: Interval, style: IntervalStyle) -> String {
        let mut out = Vec::new();
        write(value, style, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn four_styles() {
        let rows = [
            (Interval { months: 14, days: 0, micros: 0 }, ["1 year 2 mons", "@ 1 year 2 mons", "1-2", "P1Y2M"]),
            (
                Interval { months: 0, days: 3, micros: 14_706_000_000 },
                ["3 days 04:05:06", "@ 3 days 4 hours 5 mins 6 secs", "3 4:05:06", "P3DT4H5M6S"],
            ),
            (
                Interval { months: -14, days: 3, micros: -14_706_000_000 },
                [
                    "-1 years -2 mons +3 days -04:05:06",
                    "@ 1 year 2 mons -3 days 4 hours 5 mins 6 secs ago",
                    "-1-2 +3 -4:05:06",
                    "P-1Y-2M3DT-4H-5M-6S",
                ],
            ),
            (Interval::default(), ["00:00:00", "@ 0", "0", "PT0S"]),
            (Interval { months: 0, days: 0, micros: -500_000 }, ["-00:00:00.5", "@ 0.5 secs ago", "-0:00:00.5", "PT-0.5S"]),
            (
                Interval { months: 1, days: -1, micros: 1_000_000 },
                ["1 mon -1 days +00:00:01", "@ 1 mon -1 days 1 sec", "+0-1 -1 +0:00:01", "P1M-1DT1S"],
            ),
            (Interval { months: 0, days: 0, micros: 360_000_000_000 }, ["100:00:00", "@ 100 hours", "100:00:00", "PT100H"]),
        ];
        let styles = [IntervalStyle::Postgres, IntervalStyle::PostgresVerbose, IntervalStyle::SqlStandard, IntervalStyle::Iso8601];
        for (value, expected) in rows {
            for (style, text) in styles.into_iter().zip(expected) {
                assert_eq!(shown(value, style), text);
                assert_eq!(read(text, style).unwrap(), value, "{text}");
            }
        }
    }

    #[test]
    fn forms_of_the_manual_are_read() {
        for (input, expected) in [
            ("1 day 02:03:04", "1 day 02:03:04"),
            ("1.5 days", "1 day 12:00:00"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 years", "1 year 6 mons"),
            ("2 weeks", "14 days"),
            ("1 century 2 decades", "120 years"),
            ("90 minutes", "01:30:00"),
            ("1h 30m 5s", "01:30:05"),
            ("1 year 2 months 3 days 4 hours 5 minutes 6 seconds", "1 year 2 mons 3 days 04:05:06"),
            ("P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"),
            ("P0001-02-03T04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("PT1.5S", "00:00:01.5"),
            ("P2W", "14 days"),
            ("-00:00:01", "-00:00:01"),
            ("1 day ago", "-1 days"),
            ("@ 1 minute 30 secs", "00:01:30"),
            ("30", "00:00:30"),
            ("10 milliseconds 5 us", "00:00:00.010005"),
            ("1-2", "1 year 2 mons"),
            ("-1 day +02:03:04", "-1 days +02:03:04"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("04:05", "04:05:00"),
            (":30", "00:00:30"),
            ("1 2 hours", "1 day 02:00:00"),
            ("5 mins 10", "00:05:10"),
            ("00:00:60", "00:01:00"),
            ("PT", "00:00:00"),
            ("P-1Y2M", "-10 mons"),
        ] {
            assert_eq!(shown(read(input, IntervalStyle::Postgres).unwrap(), IntervalStyle::Postgres), expected, "{input}");
        }
        for input in ["", "abc", "1 foo", "day", "P", "1 day 1 day", "--1 day", "1 2", "10 5 mins"] {
            assert_eq!(read(input, IntervalStyle::Postgres).unwrap_err().sqlstate, "22007", "{input}");
        }
        for input in ["3000000000 months", "1:60:00", "1-13"] {
            assert_eq!(read(input, IntervalStyle::Postgres).unwrap_err().sqlstate, "22015", "{input}");
        }
    }
}
