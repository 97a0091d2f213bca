//! `timestamp` and `timestamptz` as text in every `DateStyle`; `timestamptz` in the session's time zone.
//!
//! Values are microseconds since 1970-01-01. PostgreSQL's own range ends at 294276 AD; 64 bits from 1970 end at
//! 294247-01-10, so the last 29 years cannot be carried and are refused.

use bytes::BufMut;

use super::calendar::{self, Civil, DAY_MICROS, FIRST_MICROS};
use super::datetime_input::{self, Kind, Special};
use super::{DateOrder, DateStyle, DisplaySettings, TimeZone, date, fault, time, zone};
use crate::error::Diagnosis;
use crate::pgtype::{TIMESTAMP_INFINITY, TIMESTAMP_NEGATIVE_INFINITY};

const DAY_NAMES: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// English month abbreviations, as PostgreSQL writes and reads them.
pub(super) const MONTH_NAMES: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes a `timestamp`.
pub fn write(micros: i64, display: &DisplaySettings, out: &mut impl BufMut) {
    if !write_special(micros, out) {
        let civil = write_local(micros, 0, display, out);
        date::write_era(civil, out);
    }
}

/// Writes a `timestamptz` in the session's zone.
pub fn write_tz(micros: i64, display: &DisplaySettings, out: &mut impl BufMut) {
    if write_special(micros, out) {
        return;
    }
    let offset = zone::offset_at(display.time_zone, micros);
    let civil = write_local(micros, offset, display, out);
    match zone_name(micros, display) {
        Some(name) => {
            out.put_u8(b' ');
            out.put_slice(name.as_bytes());
        }
        None => {
            if display.date_style == DateStyle::Postgres {
                out.put_u8(b' ');
            }
            time::write_offset(offset, out);
        }
    }
    date::write_era(civil, out);
}

/// Writes a moment as JSON shows it, without quotes: ISO 8601 with `T` whatever the style, the zone with its minutes
/// (`JsonEncodeDateTime`). Without `is_zoned` the value is a `timestamp`.
pub fn write_json(micros: i64, is_zoned: bool, display: &DisplaySettings, out: &mut impl BufMut) {
    if write_special(micros, out) {
        return;
    }
    let offset = if is_zoned { zone::offset_at(display.time_zone, micros) } else { 0 };
    let iso = DisplaySettings { date_style: DateStyle::Iso, ..display.clone() };
    let mut text = Vec::with_capacity(40);
    let civil = write_local(micros, offset, &iso, &mut text);
    for byte in text {
        out.put_u8(if byte == b' ' { b'T' } else { byte });
    }
    if is_zoned {
        time::write_offset(offset, out);
        if offset % 3_600 == 0 {
            out.put_slice(b":00");
        }
    }
    date::write_era(civil, out);
}

/// The abbreviation that styles other than ISO show in place of the offset.
fn zone_name(micros: i64, display: &DisplaySettings) -> Option<std::borrow::Cow<'static, str>> {
    if display.date_style == DateStyle::Iso {
        return None;
    }
    match display.time_zone {
        TimeZone::Named(_) => zone::abbreviation_at(display.time_zone, micros),
        // PostgreSQL names a zone set by number after its offset.
        TimeZone::Fixed(seconds) => {
            let mut name = Vec::new();
            time::write_offset(i64::from(seconds), &mut name);
            String::from_utf8(name).ok().map(std::borrow::Cow::Owned)
        }
    }
}

fn write_special(micros: i64, out: &mut impl BufMut) -> bool {
    match micros {
        TIMESTAMP_INFINITY => out.put_slice(b"infinity"),
        TIMESTAMP_NEGATIVE_INFINITY => out.put_slice(b"-infinity"),
        _ => return false,
    }
    true
}

/// Writes date and clock of an instant shifted by `offset` seconds.
fn write_local(micros: i64, offset: i64, display: &DisplaySettings, out: &mut impl BufMut) -> Civil {
    // Days and time apart, so that no shift can overflow.
    let shifted = micros.rem_euclid(DAY_MICROS) + offset * 1_000_000;
    let days = micros.div_euclid(DAY_MICROS) + shifted.div_euclid(DAY_MICROS);
    let clock = shifted.rem_euclid(DAY_MICROS);
    let civil = calendar::civil(days);
    if display.date_style == DateStyle::Postgres {
        write_postgres_style(days, civil, clock, display, out);
    } else {
        date::write_civil(civil, display, out);
        out.put_u8(b' ');
        time::write(clock, out);
    }
    civil
}

/// `Wed Dec 17 07:37:16 1997`, or with `DMY` `Wed 17 Dec 07:37:16 1997`.
fn write_postgres_style(days: i64, civil: Civil, clock: i64, display: &DisplaySettings, out: &mut impl BufMut) {
    let name_of =
        |names: &[&'static str], index: i64| usize::try_from(index).ok().and_then(|at| names.get(at).copied()).unwrap_or("");
    let month = name_of(&MONTH_NAMES, civil.month - 1);
    out.put_slice(name_of(&DAY_NAMES, calendar::weekday(days)).as_bytes());
    out.put_u8(b' ');
    if display.date_order == DateOrder::Dmy {
        out.put_slice(&time::two(civil.day));
        out.put_u8(b' ');
        out.put_slice(month.as_bytes());
    } else {
        out.put_slice(month.as_bytes());
        out.put_u8(b' ');
        out.put_slice(&time::two(civil.day));
    }
    out.put_u8(b' ');
    time::write(clock, out);
    out.put_u8(b' ');
    date::write_year(civil, out);
}

/// Reads a `timestamp` into microseconds since 1970-01-01; a zone beside it is ignored.
///
/// # Errors
/// 22007, 22008; 0A000 for words that mean the current time.
pub fn read(text: &str, display: &DisplaySettings) -> Result<i64, Diagnosis> {
    read_local(Kind::Timestamp, text, display).map(|(micros, _)| micros)
}

/// Reads a `timestamptz` into microseconds since 1970-01-01 UTC; without a zone the session's counts.
///
/// # Errors
/// 22007, 22008, 22023 for an unknown zone; 0A000 for words that mean the current time.
pub fn read_tz(text: &str, display: &DisplaySettings) -> Result<i64, Diagnosis> {
    let (local, zone) = read_local(Kind::TimestampTz, text, display)?;
    if matches!(local, TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY) {
        return Ok(local);
    }
    let out_of_range = || fault::datetime_range("timestamp", Some(text));
    match zone {
        LocalZone::Utc => Ok(local),
        LocalZone::Session => zone::to_utc(display.time_zone, local).and_then(check).ok_or_else(out_of_range),
        LocalZone::Given(zone) => zone::to_utc(zone, local).and_then(check).ok_or_else(out_of_range),
    }
}

enum LocalZone {
    Utc,
    Session,
    Given(TimeZone),
}

fn read_local(kind: Kind, text: &str, display: &DisplaySettings) -> Result<(i64, LocalZone), Diagnosis> {
    let parsed = datetime_input::parse(kind, text, display)?;
    let micros = match parsed.special {
        Some(Special::Infinity) => return Ok((TIMESTAMP_INFINITY, LocalZone::Utc)),
        Some(Special::NegativeInfinity) => return Ok((TIMESTAMP_NEGATIVE_INFINITY, LocalZone::Utc)),
        Some(Special::Epoch) => return Ok((0, LocalZone::Utc)),
        None => {
            let date = parsed.date.ok_or_else(|| fault::invalid_datetime(kind.name(), text))?;
            calendar::days(date).checked_mul(DAY_MICROS).and_then(|day| day.checked_add(parsed.time.unwrap_or(0)))
        }
    };
    let zone = parsed.zone.map_or(LocalZone::Session, LocalZone::Given);
    // A zoned value may leave or enter the range by its shift, so only the shifted one is checked there.
    let micros = if matches!(kind, Kind::TimestampTz) { micros } else { micros.and_then(check) };
    micros.map(|micros| (micros, zone)).ok_or_else(|| fault::datetime_range("timestamp", Some(text)))
}

/// The same instant if it is finite and within the range that PostgreSQL and the carrier share.
pub fn check(micros: i64) -> Option<i64> {
    (FIRST_MICROS..TIMESTAMP_INFINITY).contains(&micros).then_some(micros)
}

/// Microseconds since 1970-01-01 of a wire value, which counts from 2000-01-01.
///
/// # Errors
/// 22008, also for the last 29 years of PostgreSQL's range, which the carrier lacks.
pub fn from_wire(micros: i64) -> Result<i64, Diagnosis> {
    if matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY) {
        return Ok(micros);
    }
    let since_1970 = micros.checked_add(calendar::POSTGRES_EPOCH_MICROS);
    since_1970.and_then(check).ok_or_else(|| fault::datetime_range("timestamp", None))
}

/// The wire value of microseconds since 1970-01-01.
///
/// # Errors
/// 22008.
pub fn to_wire(micros: i64) -> Result<i64, Diagnosis> {
    if matches!(micros, TIMESTAMP_INFINITY | TIMESTAMP_NEGATIVE_INFINITY) {
        return Ok(micros);
    }
    let finite = check(micros).ok_or_else(|| fault::datetime_range("timestamp", None))?;
    Ok(finite - calendar::POSTGRES_EPOCH_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(zone_name: &str, style: DateStyle, order: DateOrder) -> DisplaySettings {
        DisplaySettings {
            time_zone: zone::named(zone_name).unwrap(),
            date_style: style,
            date_order: order,
            ..DisplaySettings::default()
        }
    }

    fn plain(text: &str, display: &DisplaySettings) -> String {
        let mut out = Vec::new();
        write(read(text, display).unwrap(), display, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn zoned(text: &str, display: &DisplaySettings) -> String {
        let mut out = Vec::new();
        write_tz(read_tz(text, display).unwrap(), display, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_in_iso() {
        let display = DisplaySettings::default();
        for (input, expected) in [
            ("2024-01-02 03:04:05", "2024-01-02 03:04:05"),
            ("2024-01-02T03:04:05.600Z", "2024-01-02 03:04:05.6"),
            ("20240102T030405", "2024-01-02 03:04:05"),
            ("2024-01-02 03:04:05.1234567", "2024-01-02 03:04:05.123457"),
            ("2024-01-02", "2024-01-02 00:00:00"),
            ("2024-01-02 24:00", "2024-01-03 00:00:00"),
            ("Jan 2 2024 3:04 PM", "2024-01-02 15:04:00"),
            ("4714-11-24 00:00:00 BC", "4714-11-24 00:00:00 BC"),
            ("0044-03-15 12:00 BC", "0044-03-15 12:00:00 BC"),
            ("294246-12-31 23:59:59.999999", "294246-12-31 23:59:59.999999"),
            ("10000-01-01", "10000-01-01 00:00:00"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("epoch", "1970-01-01 00:00:00"),
        ] {
            assert_eq!(plain(input, &display), expected, "{input}");
        }
        for (input, code) in [
            ("294276-12-31", "22008"),
            ("4714-11-23 23:59:59 BC", "22008"),
            ("2024-01-02 25:00", "22008"),
            ("now", "0A000"),
            ("03:04:05", "22007"),
        ] {
            assert_eq!(read(input, &display).unwrap_err().sqlstate, code, "{input}");
        }
    }

    #[test]
    fn zones_shift_both_ways() {
        let berlin = settings("Europe/Berlin", DateStyle::Iso, DateOrder::Mdy);
        for (input, expected) in [
            ("2024-07-01 12:00", "2024-07-01 12:00:00+02"),
            ("2024-01-01 12:00+00", "2024-01-01 13:00:00+01"),
            ("2024-01-01 12:00 America/New_York", "2024-01-01 18:00:00+01"),
            ("2024-01-01 12:00 PST", "2024-01-01 21:00:00+01"),
            ("2024-01-01 12:00-03:30", "2024-01-01 16:30:00+01"),
            ("1880-01-01 00:00+00", "1880-01-01 00:53:28+00:53:28"),
            ("0001-01-01 00:00:00+00 BC", "0001-01-01 00:53:28+00:53:28 BC"),
        ] {
            assert_eq!(zoned(input, &berlin), expected, "{input}");
        }
        assert_eq!(
            read_tz("2024-01-01 00:00 Nowhere/Land", &berlin).unwrap_err().message,
            "time zone \"nowhere/land\" not recognized"
        );
        assert_eq!(read_tz("2024-01-01 00:00+17", &berlin).unwrap_err().sqlstate, "22009");
    }

    #[test]
    fn other_styles() {
        for (style, order, expected) in [
            (DateStyle::Sql, DateOrder::Mdy, "12/17/1997 07:37:16.5 PST"),
            (DateStyle::Sql, DateOrder::Dmy, "17/12/1997 07:37:16.5 PST"),
            (DateStyle::Postgres, DateOrder::Mdy, "Wed Dec 17 07:37:16.5 1997 PST"),
            (DateStyle::Postgres, DateOrder::Dmy, "Wed 17 Dec 07:37:16.5 1997 PST"),
            (DateStyle::German, DateOrder::Dmy, "17.12.1997 07:37:16.5 PST"),
            (DateStyle::Iso, DateOrder::Dmy, "1997-12-17 07:37:16.5-08"),
        ] {
            let display = settings("America/Los_Angeles", style, order);
            assert_eq!(zoned("1997-12-17 07:37:16.5-08", &display), expected);
        }
    }
}
