//! `date` as text in every `DateStyle`.

use bytes::BufMut;

use super::calendar::{self, Civil, FIRST_DAY, LAST_DATE};
use super::datetime_input::{self, Kind, Special};
use super::time::two;
use super::{DateOrder, DateStyle, DisplaySettings, fault};
use crate::error::Diagnosis;
use crate::pgtype::{DATE_INFINITY, DATE_NEGATIVE_INFINITY};

/// Writes a date given in days since 1970-01-01.
pub fn write(days: i32, display: &DisplaySettings, out: &mut impl BufMut) {
    match days {
        DATE_INFINITY => out.put_slice(b"infinity"),
        DATE_NEGATIVE_INFINITY => out.put_slice(b"-infinity"),
        _ => {
            let date = calendar::civil(i64::from(days));
            write_civil(date, display, out);
            write_era(date, out);
        }
    }
}

/// Writes the numeric part, the year counted within its era; [`write_era`] follows where the style puts it.
pub(super) fn write_civil(date: Civil, display: &DisplaySettings, out: &mut impl BufMut) {
    let (month, day) = (two(date.month), two(date.day));
    let (first, second) = match display.date_order {
        DateOrder::Dmy => (day, month),
        DateOrder::Mdy | DateOrder::Ymd => (month, day),
    };
    match display.date_style {
        DateStyle::Iso => {
            write_year(date, out);
            let ([a, b], [c, d]) = (month, day);
            out.put_slice(&[b'-', a, b, b'-', c, d]);
        }
        DateStyle::Sql => write_year_last(first, b'/', second, date, out),
        DateStyle::Postgres => write_year_last(first, b'-', second, date, out),
        DateStyle::German => write_year_last(day, b'.', month, date, out),
    }
}

fn write_year_last([a, b]: [u8; 2], mark: u8, [c, d]: [u8; 2], date: Civil, out: &mut impl BufMut) {
    out.put_slice(&[a, b, mark, c, d, mark]);
    write_year(date, out);
}

/// The year within its era, with at least four digits.
pub(super) fn write_year(date: Civil, out: &mut impl BufMut) {
    let year = if date.year > 0 { date.year } else { 1 - date.year };
    if year > 9_999 {
        out.put_slice(itoa::Buffer::new().format(year).as_bytes());
        return;
    }
    out.put_slice(&two(year / 100));
    out.put_slice(&two(year));
}

/// ` BC` for years before 1.
pub(super) fn write_era(date: Civil, out: &mut impl BufMut) {
    if date.year <= 0 {
        out.put_slice(b" BC");
    }
}

/// Reads a date into days since 1970-01-01; a time or zone beside it is ignored.
///
/// # Errors
/// 22007, 22008; 0A000 for words that mean the current time.
pub fn read(text: &str, display: &DisplaySettings) -> Result<i32, Diagnosis> {
    let parsed = datetime_input::parse(Kind::Date, text, display)?;
    match parsed.special {
        Some(Special::Infinity) => return Ok(DATE_INFINITY),
        Some(Special::NegativeInfinity) => return Ok(DATE_NEGATIVE_INFINITY),
        Some(Special::Epoch) => return Ok(0),
        None => {}
    }
    let date = parsed.date.ok_or_else(|| fault::invalid_datetime(Kind::Date.name(), text))?;
    let days = i32::try_from(calendar::days(date)).ok();
    days.and_then(check).ok_or_else(|| fault::datetime_range("date", Some(text)))
}

/// The same day if PostgreSQL can store it.
pub fn check(days: i32) -> Option<i32> {
    let is_finite = (FIRST_DAY..=LAST_DATE).contains(&days);
    (is_finite || days == DATE_INFINITY || days == DATE_NEGATIVE_INFINITY).then_some(days)
}

/// Days since 1970-01-01 of a wire value, which counts from 2000-01-01.
///
/// # Errors
/// 22008.
pub fn from_wire(days: i32) -> Result<i32, Diagnosis> {
    if matches!(days, DATE_INFINITY | DATE_NEGATIVE_INFINITY) {
        return Ok(days);
    }
    let since_1970 = days.checked_add(calendar::POSTGRES_EPOCH_DAYS);
    let is_finite = |days: &i32| (FIRST_DAY..=LAST_DATE).contains(days);
    since_1970.filter(is_finite).ok_or_else(|| fault::datetime_range("date", None))
}

/// The wire value of days since 1970-01-01.
///
/// # Errors
/// 22008.
pub fn to_wire(days: i32) -> Result<i32, Diagnosis> {
    match check(days) {
        Some(DATE_INFINITY | DATE_NEGATIVE_INFINITY) => Ok(days),
        Some(days) => Ok(days - calendar::POSTGRES_EPOCH_DAYS),
        None => Err(fault::datetime_range("date", None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, style: DateStyle, order: DateOrder) -> String {
        let display = DisplaySettings { date_style: style, date_order: order, ..DisplaySettings::default() };
        let mut out = Vec::new();
        write(read(text, &display).unwrap(), &display, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn dates_of_the_manual() {
        for (input, order, expected) in [
            ("1999-01-08", DateOrder::Mdy, "1999-01-08"),
            ("January 8, 1999", DateOrder::Mdy, "1999-01-08"),
            ("1/8/1999", DateOrder::Mdy, "1999-01-08"),
            ("1/8/1999", DateOrder::Dmy, "1999-08-01"),
            ("1/18/1999", DateOrder::Mdy, "1999-01-18"),
            ("01/02/03", DateOrder::Mdy, "2003-01-02"),
            ("01/02/03", DateOrder::Dmy, "2003-02-01"),
            ("01/02/03", DateOrder::Ymd, "2001-02-03"),
            ("1999-Jan-08", DateOrder::Mdy, "1999-01-08"),
            ("Jan-08-1999", DateOrder::Mdy, "1999-01-08"),
            ("08-Jan-1999", DateOrder::Mdy, "1999-01-08"),
            ("08-Jan-99", DateOrder::Mdy, "1999-01-08"),
            ("19990108", DateOrder::Mdy, "1999-01-08"),
            ("990108", DateOrder::Mdy, "1999-01-08"),
            ("J2451187", DateOrder::Mdy, "1999-01-08"),
            ("January 8, 99 BC", DateOrder::Mdy, "0099-01-08 BC"),
            ("2 Jan 2024", DateOrder::Mdy, "2024-01-02"),
            ("Tue Jan 2 2024", DateOrder::Mdy, "2024-01-02"),
            ("2024-01-02 03:04:05", DateOrder::Mdy, "2024-01-02"),
            ("5874897-12-31", DateOrder::Mdy, "5874897-12-31"),
            ("4714-11-24 BC", DateOrder::Mdy, "4714-11-24 BC"),
            ("infinity", DateOrder::Mdy, "infinity"),
            ("-infinity", DateOrder::Mdy, "-infinity"),
            ("epoch", DateOrder::Mdy, "1970-01-01"),
            ("2000-02-29", DateOrder::Mdy, "2000-02-29"),
        ] {
            assert_eq!(shown(input, DateStyle::Iso, order), expected, "{input}");
        }
        for (style, order, expected) in [
            (DateStyle::Sql, DateOrder::Mdy, "12/17/1997"),
            (DateStyle::Sql, DateOrder::Dmy, "17/12/1997"),
            (DateStyle::Postgres, DateOrder::Mdy, "12-17-1997"),
            (DateStyle::Postgres, DateOrder::Dmy, "17-12-1997"),
            (DateStyle::German, DateOrder::Mdy, "17.12.1997"),
        ] {
            assert_eq!(shown("1997-12-17", style, order), expected);
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        for (input, code) in [
            ("2024-02-30", "22008"),
            ("2023-02-29", "22008"),
            ("2024-13-01", "22008"),
            ("0000-01-01", "22008"),
            ("5874898-01-01", "22008"),
            ("4714-11-23 BC", "22008"),
            ("2024-01", "22007"),
            ("abc", "22007"),
            ("", "22007"),
            ("today", "0A000"),
            ("1999-01-08 foo", "22007"),
        ] {
            assert_eq!(read(input, &DisplaySettings::default()).unwrap_err().sqlstate, code, "{input}");
        }
    }
}
