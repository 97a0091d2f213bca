//! Values of the binary result-set protocol (MySQL manual, "Binary Protocol Resultset Row"; MariaDB knowledge base,
//! "Resultset Row") as Arrow carriers. Pure functions over the bytes of one value; which one a column uses is chosen once,
//! in `types.rs`.
//!
//! **Invariant:** no bytes make a decoder panic; what does not fit is a [`Fault`] that the scan turns into an error naming
//! the column.

use std::net::{Ipv4Addr, Ipv6Addr};

use arrow::datatypes::{IntervalMonthDayNano, i256};

use crate::error::sqlstate;

/// Why a value cannot be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// SQLSTATE of the failure.
    pub(super) sqlstate: &'static str,
    /// The broken rule, as a clause.
    pub(super) rule: String,
}

impl Fault {
    fn new(sqlstate: &'static str, rule: impl Into<String>) -> Self {
        Self { sqlstate, rule: rule.into() }
    }
}

/// The bytes do not have the form of their type: the table changed under the scan, or the server is not what it says.
fn malformed() -> Fault {
    Fault::new(sqlstate::FDW_ERROR, "does not have the form of its type")
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], Fault> {
    raw.try_into().map_err(|_wrong_length| malformed())
}

/// `tinyint`
pub(super) fn tiny(raw: &[u8]) -> Result<i16, Fault> {
    Ok(i16::from(i8::from_le_bytes(fixed(raw)?)))
}

/// `tinyint unsigned`
pub(super) fn tiny_unsigned(raw: &[u8]) -> Result<i16, Fault> {
    Ok(i16::from(u8::from_le_bytes(fixed(raw)?)))
}

/// `tinyint(1)` as a truth value: zero is false, as in the server's own conditions.
pub(super) fn truth(raw: &[u8]) -> Result<bool, Fault> {
    Ok(fixed::<1>(raw)? != [0])
}

/// `smallint`
pub(super) fn small(raw: &[u8]) -> Result<i16, Fault> {
    Ok(i16::from_le_bytes(fixed(raw)?))
}

/// `smallint unsigned` and `year`
pub(super) fn small_unsigned(raw: &[u8]) -> Result<i32, Fault> {
    Ok(i32::from(u16::from_le_bytes(fixed(raw)?)))
}

/// `int`, and `mediumint` of both signs, which travels as four bytes.
pub(super) fn int(raw: &[u8]) -> Result<i32, Fault> {
    Ok(i32::from_le_bytes(fixed(raw)?))
}

/// `int unsigned`
pub(super) fn int_unsigned(raw: &[u8]) -> Result<i64, Fault> {
    Ok(i64::from(u32::from_le_bytes(fixed(raw)?)))
}

/// `bigint`
pub(super) fn big(raw: &[u8]) -> Result<i64, Fault> {
    Ok(i64::from_le_bytes(fixed(raw)?))
}

/// `bigint unsigned`, as `numeric(20,0)`
pub(super) fn big_unsigned(raw: &[u8]) -> Result<i128, Fault> {
    Ok(i128::from(u64::from_le_bytes(fixed(raw)?)))
}

/// `float`
pub(super) fn float(raw: &[u8]) -> Result<f32, Fault> {
    Ok(f32::from_le_bytes(fixed(raw)?))
}

/// `double`
pub(super) fn double(raw: &[u8]) -> Result<f64, Fault> {
    Ok(f64::from_le_bytes(fixed(raw)?))
}

/// The sign and the digits of a `decimal` with `scale` digits after the point; the point is left out.
fn decimal_digits(raw: &[u8], scale: usize) -> Result<(bool, Vec<u8>), Fault> {
    let (negative, digits) = match raw.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, raw),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, fraction) = digits.split_at(point);
    let fraction = fraction.split_first().map_or(fraction, |(_point, digits)| digits);
    let all: Vec<u8> = whole.iter().chain(fraction).copied().collect();
    if fraction.len() != scale || all.is_empty() || !all.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    Ok((negative, all))
}

/// `decimal(p, s)` of at most 38 digits: the unscaled number.
pub(super) fn decimal(raw: &[u8], scale: usize) -> Result<i128, Fault> {
    let (negative, digits) = match raw.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, raw),
    };
    let number = if digits.len() <= SHORT_DIGITS { short_decimal(digits, scale)? } else { long_decimal(digits, scale)? };
    Ok(if negative { -number } else { number })
}

/// As many digits as 64 bits hold, whatever they are.
const SHORT_DIGITS: usize = 19;

/// At most [`SHORT_DIGITS`] digits with one point. 128-bit arithmetic with its checks would cost more than all else that is done
/// for a row.
fn short_decimal(digits: &[u8], scale: usize) -> Result<i128, Fault> {
    let mut number = 0_u64;
    let mut point = None;
    for (place, byte) in digits.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(place),
            _ => return Err(malformed()),
        }
    }
    let after_point = point.map_or(0, |place| digits.len() - place - 1);
    if digits.is_empty() || after_point != scale { Err(malformed()) } else { Ok(number.into()) }
}

fn long_decimal(digits: &[u8], scale: usize) -> Result<i128, Fault> {
    let mut number: i128 = 0;
    let mut after_point: Option<usize> = None;
    for byte in digits {
        match (byte, after_point) {
            (b'0'..=b'9', _) => {
                let digit = i128::from(byte - b'0');
                number = number.checked_mul(10).and_then(|shifted| shifted.checked_add(digit)).ok_or_else(malformed)?;
                after_point = after_point.map(|count| count + 1);
            }
            (b'.', None) => after_point = Some(0),
            _ => return Err(malformed()),
        }
    }
    if after_point.unwrap_or(0) != scale { Err(malformed()) } else { Ok(number) }
}

/// `decimal(p, s)` of 39 to 65 digits: the unscaled number.
pub(super) fn wide_decimal(raw: &[u8], scale: usize) -> Result<i256, Fault> {
    let (negative, digits) = decimal_digits(raw, scale)?;
    let digits = std::str::from_utf8(&digits).map_err(|_not_digits| malformed())?;
    let number = i256::from_string(digits).ok_or_else(malformed)?;
    Ok(if negative { number.wrapping_neg() } else { number })
}

/// A computed decimal as an unscaled number with `scale` digits after the point: it may have fewer, and more where those are
/// zeros.
pub(super) fn scaled_decimal(raw: &[u8], scale: usize) -> Result<i256, Fault> {
    let point = raw.iter().position(|byte| *byte == b'.');
    let sent = point.map_or(0, |place| raw.len() - place - 1);
    let dropped = sent.saturating_sub(scale);
    let (kept, zeros) = raw.split_at(raw.len() - dropped);
    if zeros.iter().any(|byte| *byte != b'0') {
        return Err(Fault::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "has more digits after the point than its type"));
    }
    let kept = kept.strip_suffix(b".").unwrap_or(kept);
    let added = scale.saturating_sub(sent);
    let number = wide_decimal(kept, sent - dropped)?;
    let power = u32::try_from(added).ok().and_then(|added| i256::from_i128(10).checked_pow(added));
    let out_of_range = || Fault::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "is out of range for its type");
    power.and_then(|power| number.checked_mul(power)).ok_or_else(out_of_range)
}

/// A computed decimal as Postgres writes it: without the zeros in front that `zerofill` adds.
pub(super) fn plain_decimal(raw: &[u8]) -> Result<String, Fault> {
    let point = raw.iter().position(|byte| *byte == b'.').unwrap_or(raw.len());
    let (negative, digits) = decimal_digits(raw, raw.len().saturating_sub(point + 1))?;
    let after_point = raw.len().saturating_sub(point + 1);
    let (whole, fraction) = digits.split_at_checked(digits.len() - after_point).ok_or_else(malformed)?;
    let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
    let whole = whole.get(zeros.min(whole.len().saturating_sub(1))..).filter(|whole| !whole.is_empty()).unwrap_or(b"0");
    let text = |digits: &[u8]| digits.iter().copied().map(char::from).collect::<String>();
    let sign = if negative && digits.iter().any(|digit| *digit != b'0') { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{sign}{}{point}{}", text(whole), text(fraction)))
}

/// `bit(n)` as `n` digits; the server sends the bits as a big-endian number.
pub(super) fn bits(raw: &[u8], width: usize) -> Result<String, Fault> {
    if raw.len() != width.div_ceil(8) {
        return Err(malformed());
    }
    let all = raw.iter().flat_map(|byte| (0..8).rev().map(move |bit| if byte >> bit & 1 == 1 { '1' } else { '0' }));
    Ok(all.skip(raw.len() * 8 - width).collect())
}

/// Any text; the connection's character set is utf8mb4, so the server has converted it. Postgres text cannot hold U+0000,
/// so no client could be given it.
pub(super) fn text(raw: &[u8]) -> Result<&str, Fault> {
    let fault = |rule| Fault::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, rule);
    let text = std::str::from_utf8(raw).map_err(|_invalid| fault("is not valid UTF-8"))?;
    if text.contains('\0') { Err(fault("holds the character U+0000")) } else { Ok(text) }
}

/// MariaDB's `uuid`, in lower case as Postgres writes it.
pub(super) fn uuid(raw: &[u8]) -> Result<String, Fault> {
    let text = text(raw)?.to_ascii_lowercase();
    let dashes = [8, 13, 18, 23];
    let fits = text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| if dashes.contains(&at) { byte == b'-' } else { byte.is_ascii_hexdigit() });
    if fits { Ok(text) } else { Err(malformed()) }
}

/// MariaDB's `inet4` and `inet6` as Postgres' `inet` writes a host address (`inet_net_ntop`).
pub(super) fn inet(raw: &[u8]) -> Result<String, Fault> {
    let text = text(raw)?;
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(address.to_string());
    }
    let address: Ipv6Addr = text.parse().map_err(|_not_an_address| malformed())?;
    // Postgres also writes addresses whose first 96 bits are zero with a dotted tail, except `::` and `::1`. Rust does so
    // only for the mapped ones.
    match address.segments() {
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 || low > 1 => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Ok(format!("::{a}.{b}.{c}.{d}"))
        }
        _ => Ok(address.to_string()),
    }
}

/// Microseconds in a day.
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A date or moment that no calendar has: `0000-00-00`, `2024-00-10`, or `2024-02-30` stored with `ALLOW_INVALID_DATES`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotADay;

/// What a temporal decoder found.
pub(super) type Moment<T> = Result<Result<T, NotADay>, Fault>;

/// `date`: days since 1970-01-01.
pub(super) fn date(raw: &[u8]) -> Moment<i32> {
    let (length, rest) = raw.split_first().ok_or_else(malformed)?;
    if usize::from(*length) != rest.len() {
        return Err(malformed());
    }
    match rest {
        [] => Ok(Err(NotADay)),
        // The server may add a time of day to a date in an expression; it is zero for a date column.
        [y0, y1, month, day, ..] => Ok(days(u16::from_le_bytes([*y0, *y1]), *month, *day).ok_or(NotADay)),
        _ => Err(malformed()),
    }
}

/// `datetime(n)` and, because the session runs in UTC, `timestamp(n)`: microseconds since 1970-01-01 00:00:00.
pub(super) fn moment(raw: &[u8]) -> Moment<i64> {
    let day = match date(raw)? {
        Ok(day) => i64::from(day),
        Err(none) => return Ok(Err(none)),
    };
    let clock = match raw.get(5..).unwrap_or_default() {
        [] => 0,
        [hour, minute, second] => clock(*hour, *minute, *second, [0; 4])?,
        [hour, minute, second, m0, m1, m2, m3] => clock(*hour, *minute, *second, [*m0, *m1, *m2, *m3])?,
        _ => return Err(malformed()),
    };
    Ok(Ok(day * MICROS_PER_DAY + clock))
}

fn clock(hour: u8, minute: u8, second: u8, micros: [u8; 4]) -> Result<i64, Fault> {
    let micros = i64::from(u32::from_le_bytes(micros));
    if hour > 23 || minute > 59 || second > 59 || micros > 999_999 {
        return Err(malformed());
    }
    Ok(((i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second)) * 1_000_000 + micros)
}

/// `time(n)`, a span from -838:59:59 to 838:59:59, as an `interval` of that many hours: it has no days, so that it shows as
/// the server shows it.
pub(super) fn span(raw: &[u8]) -> Result<IntervalMonthDayNano, Fault> {
    let (length, rest) = raw.split_first().ok_or_else(malformed)?;
    if usize::from(*length) != rest.len() {
        return Err(malformed());
    }
    let (negative, day_bytes, clock) = match rest {
        [] => return Ok(IntervalMonthDayNano::new(0, 0, 0)),
        [negative, d0, d1, d2, d3, hour, minute, second] => {
            (*negative, [*d0, *d1, *d2, *d3], clock(*hour, *minute, *second, [0; 4])?)
        }
        [negative, d0, d1, d2, d3, hour, minute, second, m0, m1, m2, m3] => {
            (*negative, [*d0, *d1, *d2, *d3], clock(*hour, *minute, *second, [*m0, *m1, *m2, *m3])?)
        }
        _ => return Err(malformed()),
    };
    let micros = i64::from(u32::from_le_bytes(day_bytes)).checked_mul(MICROS_PER_DAY).and_then(|days| days.checked_add(clock));
    let nanos = micros.and_then(|micros| micros.checked_mul(1_000)).ok_or_else(malformed)?;
    Ok(IntervalMonthDayNano::new(0, 0, if negative == 0 { nanos } else { -nanos }))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar, which is also the server's; `None` for a day that does not
/// exist. Counts in eras of 400 years that start on 1 March, so that the leap day ends its year.
fn days(year: u16, month: u8, day: u8) -> Option<i32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if day == 0 || day > last {
        return None;
    }
    let (year, month, day) = (i32::from(year), i32::from(month), i32::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_their_extremes_and_refuse_other_widths() {
        assert_eq!(tiny(&[0x80]), Ok(-128));
        assert_eq!(tiny_unsigned(&[0xff]), Ok(255));
        assert_eq!(small(&[0x00, 0x80]), Ok(-32768));
        assert_eq!(small_unsigned(&[0xff, 0xff]), Ok(65535));
        assert_eq!(int(&[0, 0, 0, 0x80]), Ok(i32::MIN));
        assert_eq!(int_unsigned(&[0xff; 4]), Ok(4_294_967_295));
        assert_eq!(big(&[0xff; 8]), Ok(-1));
        assert_eq!(big_unsigned(&[0xff; 8]), Ok(18_446_744_073_709_551_615));
        assert_eq!(truth(&[5]), Ok(true));
        assert!(int(&[0; 8]).is_err() && big(&[0; 4]).is_err() && tiny(&[]).is_err());
    }

    #[test]
    fn texts_without_nul_only() {
        assert_eq!(text("aü".as_bytes()), Ok("aü"));
        for raw in [b"a\0b".as_slice(), b"\0", b"\xff"] {
            assert_eq!(text(raw).map_err(|fault| fault.sqlstate), Err("22021"), "{raw:?}");
        }
    }

    #[test]
    fn decimals_of_every_width() {
        let rows: [(&[u8], usize, Option<i128>); 14] = [
            (b"0.00", 2, Some(0)),
            (b"-123.45", 2, Some(-12345)),
            (b"000012.30", 2, Some(1230)),
            (b"7", 0, Some(7)),
            (b"99999999999999999999999999999999999999", 0, Some(10_i128.pow(38) - 1)),
            (b"-9999999999999999999", 0, Some(1 - 10_i128.pow(19))),
            (b"-9999999999999999.99", 2, Some(1 - 10_i128.pow(18))),
            (b"99999999999999999.999", 3, Some(10_i128.pow(20) - 1)),
            (b"-", 0, None),
            (b"12.3.45678901234567890", 20, None),
            (b"1.5", 2, None),
            (b"", 0, None),
            (b"1e5", 0, None),
            (b"1.2.3", 1, None),
        ];
        for (raw, scale, expected) in rows {
            assert_eq!(decimal(raw, scale).ok(), expected, "{raw:?}");
            let wide = wide_decimal(raw, scale).ok();
            assert_eq!(wide, expected.map(i256::from_i128), "{raw:?}");
        }
        let nines = "9".repeat(65);
        assert_eq!(wide_decimal(format!("-{nines}").as_bytes(), 0).unwrap().to_string(), format!("-{nines}"));
    }

    #[test]
    fn dates_cover_the_range_and_know_what_is_no_day() {
        let date_of = |year: u16, month: u8, day: u8| {
            let [y0, y1] = year.to_le_bytes();
            date(&[4, y0, y1, month, day]).unwrap()
        };
        let rows = [
            ((1970, 1, 1), Ok(0)),
            ((1969, 12, 31), Ok(-1)),
            ((2000, 2, 29), Ok(11_016)),
            ((9999, 12, 31), Ok(2_932_896)),
            ((0, 1, 1), Ok(-719_528)),
            ((0, 0, 0), Err(NotADay)),
            ((2024, 0, 10), Err(NotADay)),
            ((2024, 2, 30), Err(NotADay)),
            ((1900, 2, 29), Err(NotADay)),
            ((2024, 13, 1), Err(NotADay)),
        ];
        for ((year, month, day), expected) in rows {
            assert_eq!(date_of(year, month, day), expected, "{year}-{month}-{day}");
        }
        assert_eq!(date(&[0]), Ok(Err(NotADay)));
        assert!(date(&[]).is_err() && date(&[4, 1]).is_err() && date(&[2, 1, 1]).is_err());
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut previous = days(0, 1, 1).unwrap() - 1;
        for year in 0..=9999 {
            for month in 1..=12 {
                for day in (1..=31).filter_map(|day| days(year, month, day)) {
                    assert_eq!(day, previous + 1);
                    previous = day;
                }
            }
        }
    }

    #[test]
    fn moments_of_every_length() {
        assert_eq!(moment(&[4, 0xb2, 0x07, 1, 2]), Ok(Ok(MICROS_PER_DAY)));
        assert_eq!(moment(&[7, 0xb2, 0x07, 1, 1, 0, 0, 1]), Ok(Ok(1_000_000)));
        assert_eq!(moment(&[11, 0xb1, 0x07, 12, 31, 23, 59, 59, 0x3f, 0x42, 0x0f, 0]), Ok(Ok(-1)));
        assert_eq!(moment(&[0]), Ok(Err(NotADay)));
        assert!(moment(&[7, 0xb2, 0x07, 1, 1, 24, 0, 0]).is_err() && moment(&[5, 0xb2, 0x07, 1, 1, 0]).is_err());
    }

    #[test]
    fn spans_are_wide_and_signed() {
        let nanos = |raw: &[u8]| span(raw).map(|span| (span.months, span.days, span.nanoseconds)).ok();
        let second = 1_000_000_000_i64;
        assert_eq!(nanos(&[0]), Some((0, 0, 0)));
        // 838:59:59 is 34 days and 22:59:59.
        assert_eq!(nanos(&[8, 0, 34, 0, 0, 0, 22, 59, 59]), Some((0, 0, (838 * 3600 + 59 * 60 + 59) * second)));
        assert_eq!(nanos(&[12, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]), Some((0, 0, -1000)));
        assert_eq!(nanos(&[8, 0, 34]), None);
        assert_eq!(nanos(&[8, 0, 0, 0, 0, 0, 0, 60, 0]), None);
    }

    #[test]
    fn texts_in_their_canonical_forms() {
        assert_eq!(bits(&[0x02, 0x81], 10).as_deref(), Ok("1010000001"));
        assert_eq!(bits(&[1], 1).as_deref(), Ok("1"));
        assert!(bits(&[1], 9).is_err());
        assert_eq!(uuid(b"123E4567-e89b-12d3-a456-426655440000").as_deref(), Ok("123e4567-e89b-12d3-a456-426655440000"));
        assert!(uuid(b"123e4567e89b12d3a456426655440000").is_err());
        let addresses = [
            ("10.0.0.1", "10.0.0.1"),
            ("2001:db8::ff00:42:8329", "2001:db8::ff00:42:8329"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            ("::192.0.2.1", "::192.0.2.1"),
            ("::1", "::1"),
            ("::", "::"),
        ];
        for (raw, expected) in addresses {
            assert_eq!(inet(raw.as_bytes()).as_deref(), Ok(expected));
        }
        assert_eq!(text(&[0xff]).unwrap_err().sqlstate, "22021");
    }
}
