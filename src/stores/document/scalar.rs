//! Conversions of single document values into what a column carries. Each answers `None` when anything would be lost.

use chrono::DateTime;

use super::value::{Decimal, DocumentValue};

/// Doubles hold every whole number up to this size.
const EXACT_DOUBLE: i64 = 1 << 53;
/// The kind of a number that neither an integer, nor a double, nor a decimal holds; its text is that of the number.
pub const BEYOND: &str = "number";
/// The first number with more than 38 digits.
const DECIMAL128_END: i128 = 100_000_000_000_000_000_000_000_000_000_000_000_000;

/// As `bigint`: integers, and whole doubles and decimals in range.
pub fn as_int(value: &DocumentValue<'_>) -> Option<i64> {
    match value {
        DocumentValue::Int(number) => Some(*number),
        // The cast is exact: the number is whole and below 2^53.
        DocumentValue::Double(number) if number.fract() == 0.0 && number.abs() <= EXACT_DOUBLE as f64 => Some(*number as i64),
        DocumentValue::Decimal(decimal) => i64::try_from(as_unscaled(*decimal, 0)?).ok(),
        _ => None,
    }
}

/// As `double precision`: doubles, and whole numbers that a double holds exactly. The numbers of JSON have no width
/// (`in_json`): they are read as `float8in` reads the same text, the nearest double, and only what is beyond all doubles is
/// none.
pub fn as_double(value: &DocumentValue<'_>, in_json: bool) -> Option<f64> {
    match value {
        DocumentValue::Double(number) => Some(*number),
        DocumentValue::Int(number) if in_json || (-EXACT_DOUBLE..=EXACT_DOUBLE).contains(number) => Some(*number as f64),
        DocumentValue::Decimal(Decimal::Finite { unscaled, exponent }) if in_json => nearest(&format!("{unscaled}e{exponent}")),
        DocumentValue::Other(BEYOND, text) if in_json => nearest(text),
        _ => None,
    }
}

fn nearest(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// The digits of a decimal at `scale`, at most 38 of them.
pub fn as_unscaled(decimal: Decimal, scale: u8) -> Option<i128> {
    let Decimal::Finite { unscaled, exponent } = decimal else { return None };
    if unscaled == 0 {
        return Some(0);
    }
    let shift = i64::from(exponent) + i64::from(scale);
    if shift == 0 {
        // Most decimals are stored with the digits that their column shows.
        return (-DECIMAL128_END < unscaled && unscaled < DECIMAL128_END).then_some(unscaled);
    }
    let power = 10_i128.checked_pow(u32::try_from(shift.unsigned_abs()).ok()?)?;
    let result = if shift >= 0 { unscaled.checked_mul(power)? } else { (unscaled % power == 0).then_some(unscaled / power)? };
    (-DECIMAL128_END < result && result < DECIMAL128_END).then_some(result)
}

/// As a decimal: decimals and integers.
pub fn as_decimal(value: &DocumentValue<'_>) -> Option<Decimal> {
    match value {
        DocumentValue::Decimal(decimal) => Some(*decimal),
        DocumentValue::Int(number) => Some(Decimal::Finite { unscaled: i128::from(*number), exponent: 0 }),
        _ => None,
    }
}

/// As microseconds since 1970-01-01 UTC within the years that both chrono and Postgres hold; texts in RFC 3339 form only
/// when `texts` says so.
pub fn as_micros(value: &DocumentValue<'_>, texts: bool) -> Option<i64> {
    match value {
        DocumentValue::Date(millis) => millis.checked_mul(1_000).filter(|micros| (MICROS_FIRST..MICROS_END).contains(micros)),
        DocumentValue::Text(text) if texts => DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_micros()),
        _ => None,
    }
}

/// 4714-11-24 00:00:00 BC, the first `timestamptz` (PostgreSQL manual, 8.5).
const MICROS_FIRST: i64 = -210_866_803_200_000_000;
/// One past the last moment of the carrier, in the year 294247: the largest value itself means infinity.
const MICROS_END: i64 = i64::MAX;

/// As `uuid` bytes; texts of 36 characters with dashes only when `texts` says so.
pub fn as_uuid(value: &DocumentValue<'_>, texts: bool) -> Option<[u8; 16]> {
    match value {
        DocumentValue::Uuid(bytes) => Some(*bytes),
        DocumentValue::Text(text) if texts => parse_uuid(text),
        _ => None,
    }
}

/// Reads `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` in either case.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 || [8, 13, 18, 23].iter().any(|place| bytes.get(*place) != Some(&b'-')) {
        return None;
    }
    let mut uuid = [0_u8; 16];
    let mut digits = bytes.iter().enumerate().filter(|(place, _)| ![8, 13, 18, 23].contains(place)).map(|(_, digit)| *digit);
    for byte in &mut uuid {
        *byte = (hex_digit(digits.next()?)? << 4) | hex_digit(digits.next()?)?;
    }
    Some(uuid)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Appends a UUID in Postgres' form: lower case with dashes.
pub fn write_uuid(bytes: &[u8; 16], text: &mut String) {
    for (number, byte) in bytes.iter().enumerate() {
        if matches!(number, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        super::extended::write_hex(&[*byte], text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_convert_only_without_loss() {
        let finite = |unscaled, exponent| DocumentValue::Decimal(Decimal::Finite { unscaled, exponent });
        assert_eq!(as_int(&DocumentValue::Double(5.0)), Some(5));
        assert_eq!(as_int(&DocumentValue::Double(5.5)), None);
        assert_eq!(as_int(&DocumentValue::Double(1e18)), None);
        assert_eq!(as_int(&DocumentValue::Double(f64::NAN)), None);
        assert_eq!(as_int(&finite(500, -2)), Some(5));
        assert_eq!(as_int(&finite(1, 30)), None);
        assert_eq!(as_int(&DocumentValue::Text("5")), None);
        assert_eq!(as_double(&DocumentValue::Int(EXACT_DOUBLE + 1), false), None);
        assert_eq!(as_double(&DocumentValue::Int(7), false), Some(7.0));
        assert_eq!(as_double(&finite(1_234_567_890_123_456_785, -1), false), None);
        assert_eq!(as_unscaled(Decimal::Finite { unscaled: 150, exponent: -3 }, 2), Some(15));
        assert_eq!(as_unscaled(Decimal::Finite { unscaled: 151, exponent: -3 }, 2), None);
        assert_eq!(as_unscaled(Decimal::Finite { unscaled: 1, exponent: 38 }, 0), None);
        assert_eq!(as_unscaled(Decimal::Finite { unscaled: 0, exponent: 6111 }, 0), Some(0));
        assert_eq!(as_unscaled(Decimal::NaN, 0), None);
    }

    #[test]
    fn numbers_of_json_become_the_nearest_double() {
        let finite = |unscaled, exponent| DocumentValue::Decimal(Decimal::Finite { unscaled, exponent });
        let beyond = |text: &'static str| DocumentValue::Other(BEYOND, text);
        for (value, expected) in [
            (DocumentValue::Int(EXACT_DOUBLE + 1), Some(9_007_199_254_740_992.0)),
            (finite(1_234_567_890_123_456_785, -1), Some(123_456_789_012_345_680.0)),
            (finite(1, 999), None),
            (beyond("0.1000000000000000055511151231257827021181583404541015625"), Some(0.1)),
            (beyond("1e6145"), None),
            (DocumentValue::Other("regex", "1"), None),
            (DocumentValue::Text("1"), None),
        ] {
            assert_eq!(as_double(&value, true), expected);
        }
    }

    #[test]
    fn texts_become_moments_and_uuids_only_where_asked() {
        let moment = DocumentValue::Text("1970-01-01T01:00:00.000001+01:00");
        assert_eq!(as_micros(&moment, true), Some(1));
        assert_eq!(as_micros(&moment, false), None);
        assert_eq!(as_micros(&DocumentValue::Date(i64::MAX), true), None);
        let text = "00112233-4455-6677-8899-AABBCCDDEEFF";
        let uuid = as_uuid(&DocumentValue::Text(text), true).unwrap();
        let mut shown = String::new();
        write_uuid(&uuid, &mut shown);
        assert_eq!(shown, text.to_lowercase());
        assert_eq!(parse_uuid("00112233445566778899aabbccddeeff"), None);
        assert_eq!(parse_uuid("0011223-34455-6677-8899-aabbccddeeff"), None);
    }
}
