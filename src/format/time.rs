//! `time` and `timetz` as text, and the clock part shared by every type with a time of day.
//!
//! `timetz` travels as its canonical text; its binary form (microseconds, seconds west) is read and written here too.

use bytes::BufMut;

use super::calendar::DAY_MICROS;
use super::datetime_input::{self, Kind};
use super::{DisplaySettings, fault, zone};
use crate::error::Diagnosis;

/// A `time with time zone`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZonedTime {
    /// Microseconds since local midnight, 0 to 86 400 000 000.
    pub micros: i64,
    /// Seconds east of UTC.
    pub offset: i64,
}

/// Writes a time of day: `04:05:06.789`, zeros of the fraction trimmed.
pub fn write(micros: i64, out: &mut impl BufMut) {
    let seconds = micros.div_euclid(1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let [a, b] = two(hour);
    let [c, d] = two(minute);
    let [e, f] = two(second);
    out.put_slice(&[a, b, b':', c, d, b':', e, f]);
    write_fraction(micros.rem_euclid(1_000_000), out);
}

/// Writes `.789` for 789000 microseconds and nothing for none.
pub fn write_fraction(micros: i64, out: &mut impl BufMut) {
    if micros == 0 {
        return;
    }
    let [a, b] = two(micros / 10_000);
    let [c, d] = two(micros / 100);
    let [e, f] = two(micros);
    let digits = [b'.', a, b, c, d, e, f];
    let kept = digits.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    out.put_slice(digits.get(..kept).unwrap_or(&digits));
}

/// The last two decimal digits.
#[expect(clippy::cast_possible_truncation, reason = "remainders of 10 are digits")]
pub(super) fn two(value: i64) -> [u8; 2] {
    [b'0' + (value / 10).rem_euclid(10) as u8, b'0' + value.rem_euclid(10) as u8]
}

/// Writes a numeric zone: `+05:30`, `-08`, `+00:19:32`.
pub fn write_offset(seconds_east: i64, out: &mut impl BufMut) {
    out.put_u8(if seconds_east < 0 { b'-' } else { b'+' });
    let size = seconds_east.abs();
    out.put_slice(&two(size / 3_600));
    let (minute, second) = (size / 60 % 60, size % 60);
    if minute != 0 || second != 0 {
        out.put_u8(b':');
        out.put_slice(&two(minute));
    }
    if second != 0 {
        out.put_u8(b':');
        out.put_slice(&two(second));
    }
}

/// Writes a `timetz`.
pub fn write_zoned(value: ZonedTime, out: &mut impl BufMut) {
    write(value.micros, out);
    write_offset(value.offset, out);
}

/// Reads a `time`; a date or zone beside it is allowed and ignored, as in PostgreSQL.
///
/// # Errors
/// 22007, 22008.
pub fn read(text: &str, display: &DisplaySettings) -> Result<i64, Diagnosis> {
    let parsed = datetime_input::parse(Kind::Time, text, display)?;
    parsed.time.ok_or_else(|| fault::invalid_datetime(Kind::Time.name(), text))
}

/// Reads a `timetz`. A zone name with changing offsets needs a date beside it; without a zone a fixed session zone counts.
///
/// # Errors
/// 22007, 22008; 0A000 where the offset would depend on today's date.
pub fn read_zoned(text: &str, display: &DisplaySettings) -> Result<ZonedTime, Diagnosis> {
    let parsed = datetime_input::parse(Kind::TimeTz, text, display)?;
    let micros = parsed.time.ok_or_else(|| fault::invalid_datetime(Kind::TimeTz.name(), text))?;
    let zone = parsed.zone.unwrap_or(display.time_zone);
    let offset = match (zone, parsed.date) {
        (super::TimeZone::Fixed(seconds), _) => i64::from(seconds),
        (super::TimeZone::Named(chrono_tz::Tz::UTC), _) => 0,
        (_, Some(date)) => {
            let local = super::calendar::days(date) * DAY_MICROS + micros;
            let utc = zone::to_utc(zone, local).ok_or_else(|| fault::datetime_range("timestamp", Some(text)))?;
            (local - utc) / 1_000_000
        }
        (_, None) => return Err(fault::unsupported("a time with time zone needs a numeric offset or a date beside its zone name")),
    };
    Ok(ZonedTime { micros, offset })
}

/// Writes the binary form: microseconds and seconds west.
///
/// # Errors
/// 22008 for an offset beyond 32 bits.
pub fn write_zoned_binary(value: ZonedTime, out: &mut impl BufMut) -> Result<(), Diagnosis> {
    let west = i32::try_from(-value.offset).map_err(|_cause| fault::datetime_range("time zone", None))?;
    out.put_i64(value.micros);
    out.put_i32(west);
    Ok(())
}

/// Reads the binary form.
///
/// # Errors
/// 22P03 for a wrong length, 22008 for a time beyond the day.
pub fn read_zoned_binary(bytes: &[u8]) -> Result<ZonedTime, Diagnosis> {
    let (micros, west) = bytes.split_first_chunk::<8>().ok_or_else(|| fault::binary(Kind::TimeTz.name()))?;
    let west: [u8; 4] = west.try_into().map_err(|_cause| fault::binary(Kind::TimeTz.name()))?;
    let offset = -i64::from(i32::from_be_bytes(west));
    if offset.abs() >= 16 * 3_600 {
        return Err(Diagnosis::new("22009", "time zone displacement out of range"));
    }
    Ok(ZonedTime { micros: check(i64::from_be_bytes(*micros))?, offset })
}

/// The same time if it lies within a day, 24:00 included.
///
/// # Errors
/// 22008.
pub fn check(micros: i64) -> Result<i64, Diagnosis> {
    if (0..=DAY_MICROS).contains(&micros) { Ok(micros) } else { Err(fault::datetime_range("time", None)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut out = Vec::new();
        write(read(text, &DisplaySettings::default()).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn shown_zoned(text: &str) -> String {
        let mut out = Vec::new();
        let value = read_zoned(text, &DisplaySettings::default()).unwrap();
        write_zoned(value, &mut out);
        let mut binary = Vec::new();
        write_zoned_binary(value, &mut binary).unwrap();
        assert_eq!(read_zoned_binary(&binary).unwrap(), value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_of_day() {
        for (input, expected) in [
            ("04:05:06.789", "04:05:06.789"),
            ("04:05", "04:05:00"),
            ("040506", "04:05:06"),
            ("04:05 AM", "04:05:00"),
            ("12:00 am", "00:00:00"),
            ("12:30pm", "12:30:00"),
            ("11:59:59 PM", "23:59:59"),
            ("24:00:00", "24:00:00"),
            ("23:59:59.9999999", "24:00:00"),
            ("23:59:60", "24:00:00"),
            ("04:05:06-08:00", "04:05:06"),
            ("2003-04-12 04:05:06", "04:05:06"),
            ("01:02:03.000001", "01:02:03.000001"),
            ("allballs", "00:00:00"),
        ] {
            assert_eq!(shown(input), expected, "{input}");
        }
        for (input, code) in
            [("25:00", "22008"), ("24:00:01", "22008"), ("12:60", "22008"), ("abc", "22007"), ("", "22007"), ("13:00 pm", "22008")]
        {
            assert_eq!(read(input, &DisplaySettings::default()).unwrap_err().sqlstate, code, "{input}");
        }
    }

    #[test]
    fn times_with_zone() {
        for (input, expected) in [
            ("04:05:06.789-8", "04:05:06.789-08"),
            ("04:05:06 PST", "04:05:06-08"),
            ("040506+0730", "04:05:06+07:30"),
            ("04:05:06+07:30:15", "04:05:06+07:30:15"),
            ("2003-07-12 04:05:06 America/New_York", "04:05:06-04"),
            ("04:05", "04:05:00+00"),
            ("00:00Z", "00:00:00+00"),
        ] {
            assert_eq!(shown_zoned(input), expected, "{input}");
        }
    }
}
